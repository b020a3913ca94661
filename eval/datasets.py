"""Labelled sets by name: what they are, where a user gets them, and readers of their formats.

Each reader turns the files as they are published into our rows. Texts given as tokens are joined
by single blanks, which is how the spans of their offsets are counted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval import beir
from eval.annotations import read_csv, read_label_studio, read_prodigy
from eval.baselines import fold
from eval.errors import EvaluationError
from eval.rows import json_lines
from taxonomies.records import SKILL_KINDS, Concept, Taxonomy

Record = dict[str, Any]

NO_CONCEPT = {"label not present", "underspecified", "no_label", "no label", ""}
"""Labels of TECH, HOUSE and their like that stand for no concept, in small letters."""


class Dataset(NamedTuple):
    """A labelled set, or a format.

    Attributes:
        task: Task that it is for.
        size: How many rows it has, as its authors or our copy say.
        licence: As stated where it is published.
        source: Where a user gets it.
        read: Reads its files, given the taxonomy where it is needed, into rows; None for our own
            sets, which are rows already.
        files: What the reader takes.
        needs_taxonomy: Whether labels have to be looked up.
    """

    task: str
    size: str
    licence: str
    source: str
    read: Callable[[Sequence[Path], Taxonomy | None], Iterator[Record]] | None = None
    files: str = ""
    needs_taxonomy: bool = False


def convert(name: str, files: Sequence[Path], taxonomy: Taxonomy | None) -> list[Record]:
    """Read a set as published.

    Args:
        name: A name in `DATASETS`.
        files: Its files.
        taxonomy: Where its labels are looked up, for sets that need it.

    Raises:
        EvaluationError: The name is unknown or one of our own sets, the taxonomy is missing, or a
            file is not in the format.
    """
    if name not in DATASETS:
        raise EvaluationError(f"unknown set {name!r}; known are {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    if dataset.read is None:
        raise EvaluationError(f"{name}: its files are rows already: {dataset.source}")
    if dataset.needs_taxonomy and taxonomy is None:
        raise EvaluationError(f"{name}: its labels have no ids; name a taxonomy with --taxonomy")
    rows = list(dataset.read(files, taxonomy))
    if not rows:
        raise EvaluationError(f"{', '.join(map(str, files))}: no rows of {name}")
    return rows


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write rows as JSON Lines.

    Raises:
        EvaluationError: The file cannot be written.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error


def read_records(path: Path) -> list[Record]:
    """Read the records of a JSON Lines, JSON, CSV, TSV or Parquet file.

    Raises:
        EvaluationError: The file cannot be read, or its suffix is none of these.
    """
    try:
        match path.suffix:
            case ".jsonl":
                return [record for _, record in json_lines(path)]
            case ".json":
                content = json.loads(path.read_text(encoding="utf-8-sig"))
                return list(content.values()) if isinstance(content, dict) else content
            case ".csv" | ".tsv":
                with path.open(encoding="utf-8-sig", newline="") as lines_:
                    separator = "," if path.suffix == ".csv" else "\t"
                    return list(csv.DictReader(lines_, delimiter=separator))
            case ".parquet":
                import pyarrow.parquet as pq

                records: list[Record] = pq.read_table(path).to_pylist()
                return records
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: not in the format of its suffix: {error}") from error
    raise EvaluationError(f"{path}: expected .jsonl, .json, .csv, .tsv or .parquet")


# Tokens and tags.


def bio_spans(tokens: Sequence[str], tags: Sequence[str], label: str) -> list[Record]:
    """Spans of BIO tags over tokens that are joined by single blanks.

    A tag is `B`, `I` or `O`, or `B-TYPE`, whose type then is the label. An `I` without a beginning
    begins a span, as conlleval counts it.

    >>> bio_spans(["use", "SQL", "and", "R"], ["O", "B", "O", "B"], "KNOWLEDGE")[1]
    {'start': 12, 'end': 13, 'label': 'KNOWLEDGE', 'text': 'R'}

    Raises:
        ValueError: There are not as many tags as tokens, or a tag is none of these.
    """
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens but {len(tags)} tags")
    text, spans, at, previous = " ".join(tokens), list[Record](), 0, ""
    for token, tag in zip(tokens, tags, strict=True):
        mark, _, kind = tag.partition("-")
        if mark not in ("B", "I", "O"):
            raise ValueError(f"the tag {tag!r} is none of B, I, O")
        kind = (kind or label).upper()
        end = at + len(token)
        if mark == "B" or (mark == "I" and previous != kind):
            spans.append({"start": at, "end": end, "label": kind})
        elif mark == "I":
            spans[-1]["end"] = end
        previous = kind if mark != "O" else ""
        at = end + 1
    return [span | {"text": text[span["start"] : span["end"]]} for span in spans]


def _tagged(**labels: str) -> Callable[[Sequence[Path], Taxonomy | None], Iterator[Record]]:
    """Reader of records with `tokens` and columns of tags, or of CoNLL files."""

    def read(files: Sequence[Path], taxonomy: Taxonomy | None) -> Iterator[Record]:
        for path in files:
            records = (
                read_records(path)
                if path.suffix in (".jsonl", ".json", ".parquet")
                else list(_conll(path))
            )
            for number, record in enumerate(records, start=1):
                columns = [name for name in record if name.startswith("tags")]
                if "tokens" not in record or not columns:
                    raise EvaluationError(
                        f"{path}, record {number}: expected `tokens` and `tags…`; it has "
                        f"{', '.join(record)}"
                    )
                tokens = record["tokens"]
                try:
                    spans = [
                        span
                        for name in columns
                        for span in bio_spans(
                            tokens,
                            record[name],
                            labels.get(name, name.removeprefix("tags").strip("_") or "SKILL"),
                        )
                    ]
                except ValueError as error:
                    raise EvaluationError(f"{path}, record {number}: {error}") from error
                row: Record = {
                    "id": f"{path.stem}-{number}",
                    "text": " ".join(tokens),
                    "spans": sorted(spans, key=lambda span: (span["start"], span["end"])),
                }
                if source := record.get("source"):
                    row["source"] = source
                if "idx" in record:
                    # SkillSpan numbers its ads; sentences of one are drawn together.
                    row["posting"] = f"{source or path.stem}-{record['idx']}"
                if row["text"].strip():
                    yield row

    return read


def _conll(path: Path) -> Iterator[Record]:
    """Sentences of a token and its tag a line, with blank lines between them."""
    tokens, tags = list[str](), list[str]()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate([*lines, ""], start=1):
        parts = line.split()
        if len(parts) == 1:
            raise EvaluationError(f"{path}, line {number}: expected a token and its tag")
        if parts:
            tokens.append(parts[0])
            tags.append(parts[-1])
        elif tokens:
            yield {"tokens": tokens, "tags": tags}
            tokens, tags = [], []


# Sentences and labels.


class _Concepts:
    """Concepts by label."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._ids: dict[str, str] = {}
        concepts = list(concepts)
        for concept in concepts:
            self._ids.setdefault(fold(concept.label), concept.id)
        for concept in concepts:
            for name in concept.names:
                self._ids.setdefault(fold(name), concept.id)

    def find(self, label: str) -> str | None:
        return self._ids.get(fold(label.strip()))


def _sentence_labels(files: Sequence[Path], taxonomy: Taxonomy | None) -> Iterator[Record]:
    """Records of a `sentence` and a `label`, several a sentence; some with the `span`."""
    assert taxonomy  # noqa: S101 - `convert` refuses a missing one
    concepts = _Concepts(taxonomy.of_kind(*SKILL_KINDS))
    for path in files:
        rows: dict[str, Record] = {}
        for number, record in enumerate(read_records(path), start=1):
            sentence = record.get("sentence")
            if not isinstance(sentence, str) or not {"label", "skill", "skills"} & record.keys():
                raise EvaluationError(
                    f"{path}, record {number}: expected `sentence` and `label`; it has "
                    f"{', '.join(record)}"
                )
            given = record.get("label", record.get("skill", record.get("skills")))
            row = rows.setdefault(
                sentence, {"id": f"{path.stem}-{len(rows) + 1}", "text": sentence, "links": []}
            )
            for label in [given] if isinstance(given, str) else given or []:
                row["links"].append(_link(sentence, str(label), record, concepts))
        for row in rows.values():
            # A sentence that is labelled as one without any skill has no links at all.
            row["links"] = [link for link in row["links"] if link]
            if row["text"].strip():
                yield row


def _link(sentence: str, label: str, record: Record, concepts: _Concepts) -> Record | None:
    span = record.get("sub_span") or record.get("subspan") or record.get("span")
    if label.lower() in ("no_label", "no label", "") and not span:
        return None
    link: Record = {
        "uri": None if label.lower() in NO_CONCEPT else concepts.find(label),
        "label": label,
    }
    if isinstance(span, str) and (start := sentence.find(span)) >= 0:
        link |= {"start": start, "end": start + len(span), "span": span}
    return link


# Titles.


def _jobbert(files: Sequence[Path], taxonomy: Taxonomy | None) -> Iterator[Record]:
    """Records of `vacancy_job_title`, `esco_job_title` and `esco_URI`."""
    for path in files:
        for number, record in enumerate(read_records(path), start=1):
            title, uri = record.get("vacancy_job_title"), record.get("esco_URI")
            if not title or not uri:
                raise EvaluationError(
                    f"{path}, record {number}: expected `vacancy_job_title` and `esco_URI`; it has "
                    f"{', '.join(record)}"
                )
            occupation = {"uri": uri, "label": record.get("esco_job_title")}
            yield {
                "id": f"{path.stem}-{number}",
                "title": title,
                "text": title,
                "occupation": occupation,
            }


def _melo(files: Sequence[Path], taxonomy: Taxonomy | None) -> Iterator[Record]:
    """`queries` (`text`, `labels`: rows of the corpus) and `corpus` (`text`: names of ESCO)."""
    assert taxonomy  # noqa: S101 - `convert` refuses a missing one
    if len(files) != 2:
        raise EvaluationError("melo: give two files, the queries and the corpus")
    queries, corpus = (read_records(path) for path in files)
    concepts = _Concepts(taxonomy.of_kind("occupation"))
    ids = [concepts.find(str(one.get("text", ""))) for one in corpus]
    for number, query in enumerate(queries, start=1):
        if "text" not in query or not isinstance(query.get("labels"), list):
            raise EvaluationError(f"{files[0]}, record {number}: expected `text` and `labels`")
        if any(not 0 <= label < len(ids) for label in query["labels"]):
            raise EvaluationError(
                f"{files[0]}, record {number}: a label is no row of {files[1]} with {len(ids)} rows"
            )
        uris = {ids[label] for label in query["labels"]} - {None}
        yield {
            "id": f"melo-{number}",
            "title": query["text"],
            "text": query["text"],
            "occupation": [{"uri": uri} for uri in sorted(map(str, uris))],
        }


def _beir(files: Sequence[Path], taxonomy: Taxonomy | None) -> Iterator[Record]:
    if len(files) != 1:
        raise EvaluationError("beir: give one folder with corpus.jsonl, queries.jsonl and qrels/")
    yield from beir.read_rows_of(files[0])


def _each(
    read: Callable[[Path], Iterator[Record]],
) -> Callable[[Sequence[Path], Taxonomy | None], Iterator[Record]]:
    return lambda files, taxonomy: (row for path in files for row in read(path))


_HUB = "https://huggingface.co/datasets"

DATASETS: Mapping[str, Dataset] = {
    "skillspan": Dataset(
        "spans",
        "4,800 + 3,174 (+ test) sentences",
        "MIT",
        f"https://github.com/kris927b/SkillSpan, {_HUB}/jjzha/skillspan",
        _tagged(tags_skill="SKILL", tags_knowledge="KNOWLEDGE"),
        "train.json(l), dev.json(l): tokens, tags_skill, tags_knowledge, idx, source",
    ),
    "green": Dataset(
        "spans",
        "about 10,000 sentences",
        "see its repository",
        f"https://github.com/acp19tag/skill-extraction-dataset, {_HUB}/jjzha/green",
        _tagged(tags_skill="SKILL", tags="SKILL"),
        "CoNLL (token, tag) or JSON Lines: tokens, tags_skill",
    ),
    "sayfullina": Dataset(
        "spans",
        "3,705 + 1,855 (+ test) snippets, one soft skill each: recall only",
        "MIT or CC BY, by copy",
        f"{_HUB}/jjzha/sayfullina",
        _tagged(tags_skill="SOFT_SKILL", tags="SOFT_SKILL"),
        "CoNLL (token, tag) or JSON Lines: tokens, tags_skill",
    ),
    "tech": Dataset(
        "linking, extraction",
        "101 (+ test) sentences, 75 with a concept",
        "MIT or CC BY 4.0, by copy",
        f"{_HUB}/TechWolf/skill-extraction-tech",
        _sentence_labels,
        "sentence, label, span?, sub_span?",
        needs_taxonomy=True,
    ),
    "house": Dataset(
        "linking, extraction",
        "77 (+ test) sentences, 61 with a concept",
        "MIT or CC BY 4.0, by copy",
        f"{_HUB}/TechWolf/skill-extraction-house",
        _sentence_labels,
        "sentence, label, span?, sub_span?",
        needs_taxonomy=True,
    ),
    "techwolf": Dataset(
        "linking, extraction",
        "test only",
        "see its card",
        f"{_HUB}/TechWolf/skill-extraction-techwolf",
        _sentence_labels,
        "sentence, label",
        needs_taxonomy=True,
    ),
    "skillskape": Dataset(
        "linking, extraction",
        "6,353 + 1,316 (+ test) synthetic sentences",
        "MIT",
        f"https://github.com/magantoine/JobSkape, {_HUB}/jjzha/skillskape",
        _sentence_labels,
        "sentence, label (or skills: a list)",
        needs_taxonomy=True,
    ),
    "jobbert": Dataset(
        "occupations",
        "15,463 (+ test) titles of vacancies",
        "none stated",
        f"{_HUB}/TechWolf/JobBERT-evaluation-dataset",
        _jobbert,
        "vacancy_job_title, esco_job_title, esco_URI",
    ),
    "melo": Dataset(
        "occupations",
        "48 sets; usa_q_en_c_en is English",
        "see its card",
        f"{_HUB}/Avature/MELO-Benchmark",
        _melo,
        "two files: queries (text, labels), corpus (text)",
        needs_taxonomy=True,
    ),
    "homonyms": Dataset("must", "281 sentences", "MIT (ours)", "tests/data/homonyms.jsonl"),
    "boilerplate": Dataset("must", "208 sentences", "MIT (ours)", "tests/data/boilerplate.jsonl"),
    "requirement": Dataset(
        "requirement", "434 sentences", "MIT (ours)", "tests/data/requirement.jsonl"
    ),
    "role-ads": Dataset("roles", "50 ads", "MIT (ours)", "tests/data/role_ads.jsonl"),
    "role-pairs": Dataset(
        "roles",
        "64 + 64 ads in pairs",
        "MIT (ours)",
        "tests/data/role_pairs.jsonl, tests/data/role_pairs_untouched.jsonl",
    ),
    "zones": Dataset(
        "zones", "154 ads, labels without text", "MIT (ours)", "eval/data/zones.jsonl"
    ),
    "beir": Dataset(
        "linking",
        "any folder",
        "its own",
        "any BEIR or MTEB retrieval set",
        _beir,
        "a folder with corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv",
    ),
    "label-studio": Dataset(
        "spans, extraction",
        "your own",
        "yours",
        "Label Studio: Export, JSON",
        _each(read_label_studio),
        "the exported .json",
    ),
    "prodigy": Dataset(
        "spans, extraction",
        "your own",
        "yours",
        "prodigy db-out DATASET > labels.jsonl",
        _each(read_prodigy),
        "the .jsonl",
    ),
    "csv": Dataset(
        "spans, extraction",
        "your own",
        "yours",
        "a table with one label a line",
        _each(read_csv),
        "text, uri and (span or start, end), label?, id?, title?",
    ),
}
"""Every set and format that the project knows, by name."""
