"""Labels of one's own: what Label Studio, Prodigy and a table hold, as rows.

A label is a span with a category (`SKILL`, `KNOWLEDGE`, …), or a concept: then its name is the id
of one, or it carries the id. A category goes to `spans`, a concept to `links`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.errors import EvaluationError
from eval.rows import json_lines

Record = dict[str, Any]


def read_label_studio(path: Path) -> Iterator[Record]:
    """Tasks as Label Studio exports them (JSON, not JSON-MIN).

    Of several annotations of a task the last one counts that was not cancelled. A region of
    `labels` is a span; a `taxonomy`, `choices` or `textarea` of the same region (`perRegion`) that
    holds an id makes it a link. Offsets refer to the text of the task.

    Raises:
        EvaluationError: The file is no such export, or an offset does not fit.
    """
    tasks = _load(path)
    if not isinstance(tasks, list):
        raise EvaluationError(f"{path}: expected the list of tasks of an export as JSON")
    for number, task in enumerate(tasks, start=1):
        where = f"{path}, task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(task.get("annotations"), list):
            raise EvaluationError(
                f"{where}: expected `data` and `annotations`; export as JSON, not as JSON-MIN"
            )
        done = [one for one in task["annotations"] if not one.get("was_cancelled")]
        if not done:
            continue  # skipped by the annotator, so nothing is known of it
        regions: dict[str, Record] = {}
        text = None
        for result in done[-1].get("result", []):
            value = result.get("value", {})
            region = regions.setdefault(result.get("id", ""), {})
            if "start" in value and "end" in value:
                text = data.get(_field(task, result, data))
                region |= {"start": value["start"], "end": value["end"]}
            if result.get("type") in ("labels", "hypertextlabels"):
                region["label"] = next(iter(value.get(result["type"]) or value["labels"]), "")
            elif result.get("type") in ("taxonomy", "choices", "textarea"):
                region["uri"] = _concept(value)
        text = text if text is not None else data.get("text")
        row = _row(where, f"task-{task.get('id', number)}", text, regions.values())
        yield row | {key: data[key] for key in ("title", "sector", "industry") if data.get(key)}


def read_prodigy(path: Path) -> Iterator[Record]:
    """Examples as `prodigy db-out` writes them; those not accepted are left out.

    A span is a link if its label is an id, or if it has a `kb_id`.

    Raises:
        EvaluationError: The file is no such output, or an offset does not fit.
    """
    for number, example in enumerate(_load_lines(path), start=1):
        where = f"{path}, example {number}"
        if not isinstance(example, dict) or "text" not in example:
            raise EvaluationError(f"{where}: expected an object with `text`")
        if example.get("answer", "accept") != "accept":
            continue
        regions = [
            {
                "start": span.get("start"),
                "end": span.get("end"),
                "label": span.get("label", ""),
                "uri": span.get("kb_id") or "",
            }
            for span in example.get("spans") or []
        ]
        meta = example.get("meta") or {}
        name = str(meta.get("id") or example.get("_input_hash") or f"example-{number}")
        yield _row(where, name, example["text"], regions) | {
            key: meta[key] for key in ("title", "sector", "industry") if meta.get(key)
        }


def read_csv(path: Path) -> Iterator[Record]:
    """A table with one label a line: `text`, then `span` or `start` and `end`, `label` or `uri`.

    Lines with the same `id`, or without ids the same text, are one row. A line with neither a span
    nor a label says that the text has none.

    Raises:
        EvaluationError: A column is missing, or an offset or a span does not fit.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            records = list(csv.DictReader(lines))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    if not records or "text" not in records[0]:
        raise EvaluationError(f"{path}: expected a table with a column `text`")
    if not {"uri", "label"} & records[0].keys():
        raise EvaluationError(f"{path}: expected a column `uri` or `label`")
    groups: dict[str, list[tuple[int, Record]]] = {}
    for number, record in enumerate(records, start=2):
        groups.setdefault(record.get("id") or record["text"], []).append((number, record))
    for place, group in enumerate(groups.values(), start=1):
        first = group[0][1]
        regions = []
        for number, record in group:
            region: Record = {"label": record.get("label") or "", "uri": record.get("uri") or ""}
            if not region["label"] and not region["uri"]:
                continue
            if record.get("start") and record.get("end"):
                region |= {"start": int(record["start"]), "end": int(record["end"])}
            elif span := record.get("span"):
                start = first["text"].find(span)
                if start < 0:
                    raise EvaluationError(
                        f"{path}, line {number}: the span {span!r} does not occur in the text"
                    )
                region |= {"start": start, "end": start + len(span)}
            regions.append(region)
        where = f"{path}, line {group[0][0]}"
        row = _row(where, first.get("id") or f"row-{place}", first["text"], regions)
        yield row | {key: first[key] for key in ("title", "sector", "industry") if first.get(key)}


def _row(where: str, name: str, text: Any, regions: Any) -> Record:
    if not isinstance(text, str) or not text.strip():
        raise EvaluationError(f"{where}: has no text")
    spans, links = [], []
    for region in regions:
        start, end = region.get("start"), region.get("end")
        placed = start is not None and end is not None
        if placed and not 0 <= start < end <= len(text):
            raise EvaluationError(
                f"{where}: the span {start}–{end} lies outside the text of {len(text)} characters"
            )
        label, uri = region.get("label", ""), region.get("uri", "")
        if not uri and ":" in label:
            label, uri = "", label  # the label itself is an id
        place = {"start": start, "end": end} if placed else {}
        words = text[start:end] if placed else None
        if uri:
            links.append({"uri": uri, **place, **({"span": words} if words else {})})
        if label and placed:
            spans.append({**place, "label": label.upper(), "text": words})
    row: Record = {"id": name, "text": text, "spans": spans}
    if links or not spans:
        row["links"] = links
    return row


def _field(task: Record, result: Record, data: Record) -> str:
    """Name of the text that a region refers to: Label Studio names the tag, mostly alike."""
    name = str(result.get("to_name", "text"))
    if name in data:
        return name
    texts = [key for key, value in data.items() if isinstance(value, str)]
    return "text" if "text" in data else max(texts, key=lambda key: len(data[key]), default="text")


def _concept(value: Record) -> str:
    """The id in the value of a taxonomy, choice or text that belongs to a region."""
    given = value.get("taxonomy") or value.get("choices") or value.get("text") or [""]
    first = given[0] if isinstance(given, list) else given
    last = first[-1] if isinstance(first, list) else first
    return str(last).strip()


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: no valid JSON: {error}") from error


def _load_lines(path: Path) -> list[Any]:
    try:
        return [value for _, value in json_lines(path)]
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: no valid JSON Lines: {error}") from error
