"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv` (Thakur et al. 2021)."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.errors import EvaluationError
from eval.rows import LinkingRow, json_lines
from taxonomies.records import SKILL_KINDS, Taxonomy

SPLIT = "test"


def write_folder(
    folder: Path, rows: Sequence[LinkingRow], taxonomy: Taxonomy, *, split: str = SPLIT
) -> int:
    """Write rows as queries and the skill concepts of a taxonomy as the corpus.

    Args:
        folder: Made if it is not there.
        rows: Rows with links; those without a URI of the taxonomy are left out.
        taxonomy: Its concepts are the documents: the label is the title, the other names and the
            description are the text.
        split: Name of the file of judgements.

    Returns:
        Number of queries.

    Raises:
        EvaluationError: No row has a concept of the taxonomy, or a file cannot be written.
    """
    concepts = list(taxonomy.of_kind(*SKILL_KINDS))
    known = {concept.id for concept in concepts}
    gold = [sorted({link.uri for link in row.links if link.uri} & known) for row in rows]
    judged = zip(rows, gold, strict=True)
    queries = [(f"q{n}", row, uris) for n, (row, uris) in enumerate(judged, start=1) if uris]
    if not queries:
        raise EvaluationError(f"no row is linked to a concept of taxonomy {taxonomy.name}")
    try:
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        _write_lines(
            folder / "corpus.jsonl",
            (
                {
                    "_id": concept.id,
                    "title": concept.label,
                    "text": "; ".join([*concept.alt_labels, concept.description or ""]).strip("; "),
                }
                for concept in concepts
            ),
        )
        _write_lines(
            folder / "queries.jsonl", ({"_id": name, "text": row.text} for name, row, _ in queries)
        )
        with (folder / "qrels" / f"{split}.tsv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, delimiter="\t", lineterminator="\n")
            writer.writerow(("query-id", "corpus-id", "score"))
            writer.writerows((name, uri, 1) for name, _, uris in queries for uri in uris)
    except OSError as error:
        raise EvaluationError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return len(queries)


def read_rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the judged queries of a folder as rows of `linking`.

    The ids of documents become the URIs: rank them with the taxonomy that they come from, or
    install the corpus as one (`corpus_rows`). Judgements with a score of 0 are none.

    Yields:
        Rows in the order of the queries; of several splits all, with the split in each row.

    Raises:
        EvaluationError: A file is missing or not in the format.
    """
    splits = sorted((folder / "qrels").glob("*.tsv"))
    if not splits:
        raise EvaluationError(f"{folder}: there is no qrels/*.tsv")
    titles = {one["id"]: one["label"] for one in corpus_rows(folder)}
    texts = {
        str(one["_id"]): one["text"] for one in _lines(folder / "queries.jsonl", "_id", "text")
    }
    for path in splits:
        relevant: dict[str, list[str]] = defaultdict(list)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, parts in enumerate(csv.reader(lines, delimiter="\t"), start=1):
                if number == 1 and parts and parts[-1] == "score":
                    continue
                if len(parts) != 3 or not parts[2].lstrip("-").isdigit():
                    raise EvaluationError(
                        f"{path}, line {number}: expected query-id, corpus-id and score"
                    )
                query, document, score = parts
                if query not in texts or document not in titles:
                    missing = query if query not in texts else document
                    raise EvaluationError(
                        f"{path}, line {number}: {missing!r} is in neither queries nor corpus"
                    )
                if int(score) > 0:
                    relevant[query].append(document)
        for query, text in texts.items():
            if query in relevant:
                links = [{"uri": one, "label": titles[one]} for one in relevant[query]]
                yield {"id": query, "text": text, "links": links, "split": path.stem}


def corpus_rows(folder: Path) -> list[dict[str, str]]:
    """The corpus as `id`, `label` and `description`, the columns of an own taxonomy.

    Raises:
        EvaluationError: The corpus is missing or not in the format.
    """
    return [
        {
            "id": str(one["_id"]),
            "label": str(one.get("title") or one["text"]).strip(),
            "description": str(one["text"]) if one.get("title") else "",
        }
        for one in _lines(folder / "corpus.jsonl", "_id", "text")
    ]


def write_corpus(path: Path, folder: Path) -> None:
    """Write the corpus as a CSV file that `jobshift taxonomy install --from` reads.

    Raises:
        EvaluationError: The corpus is not in the format, or the file cannot be written.
    """
    rows = corpus_rows(folder)
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, ("id", "label", "alt_labels", "description"))
            writer.writeheader()
            writer.writerows(row | {"alt_labels": ""} for row in rows)
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error


def _write_lines(path: Path, records: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _lines(path: Path, *fields: str) -> list[dict[str, Any]]:
    try:
        numbered = list(json_lines(path))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}, {error}") from error
    for number, record in numbered:
        if not isinstance(record, dict) or not set(fields) <= record.keys():
            raise EvaluationError(f"{path}, line {number}: expected an object with {fields}")
    return [record for _, record in numbered]
