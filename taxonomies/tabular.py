"""Reader of a taxonomy as a table: CSV, TSV or JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taxonomies.build import build_taxonomy
from taxonomies.errors import TaxonomyFormatError
from taxonomies.files import read_text, table_rows
from taxonomies.records import KINDS, Concept, Taxonomy
from taxonomies.text import clean_text

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")

_REQUIRED = ("id", "label", "alt_labels")
_LISTS_APART = re.compile(r"[\n|]")


def read_table(
    path: str | Path,
    *,
    name: str | None = None,
    version: str | None = None,
    language: str | None = None,
) -> Taxonomy:
    """Read one concept a row.

    Columns: `id`, `label`, `alt_labels`, and where wanted `description`, `kind` (by default
    `skill`), `parents` and `code`. Lists are JSON lists in JSON lines; in a table they are
    divided by `|` or line ends.

    Args:
        path: A file ending in .csv, .tsv or .jsonl, in UTF-8.
        name: Name of the taxonomy; by default that of the file.
        version: Its version, `unknown` by default.
        language: ISO 639-1 code of its labels, `en` by default.

    Raises:
        TaxonomyFormatError: A column is missing, an id is empty or given twice, a label is
            empty, a kind is unknown; with the number of the row, the first being 1.
    """
    path = Path(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise TaxonomyFormatError(f"{path} must end in {', '.join(TABLE_SUFFIXES)}")
    rows = _json_rows(path) if path.suffix.lower() == ".jsonl" else _delimited_rows(path)
    concepts = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        concept = _concept(row, where)
        if concept.id in first:
            raise TaxonomyFormatError(
                f"{where}: the id {concept.id!r} is that of row {first[concept.id]} too; "
                "ids must be unique"
            )
        first[concept.id] = number
        concepts.append(concept)
    return build_taxonomy(
        concepts,
        name=name or path.stem.lower(),
        version=version or "unknown",
        language=language or "en",
    )


def _delimited_rows(path: Path) -> Iterator[dict[str, Any]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    yield from table_rows(read_text(path), str(path), _REQUIRED, delimiter=delimiter)


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TaxonomyFormatError(f"{path}, row {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise TaxonomyFormatError(f"{path}, row {number} is no JSON object: {line[:60]!r}")
        missing = [column for column in _REQUIRED if column not in row]
        if missing:
            raise TaxonomyFormatError(f"{path}, row {number} lacks {missing[0]!r}")
        yield row


def _concept(row: dict[str, Any], where: str) -> Concept:
    kind = _string(row, "kind", where) or "skill"
    if kind not in KINDS:
        raise TaxonomyFormatError(f"{where}: unknown kind {kind!r}; known are {', '.join(KINDS)}")
    concept = Concept(
        id=_string(row, "id", where),
        label=clean_text(_string(row, "label", where)),
        kind=kind,
        alt_labels=_strings(row, "alt_labels", where),
        description=_string(row, "description", where),
        parents=_strings(row, "parents", where),
        code=_string(row, "code", where),
    )
    for field in ("id", "label"):
        if not getattr(concept, field):
            raise TaxonomyFormatError(f"{where}: the {field} is empty; give every concept one")
    return concept


def _string(row: dict[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TaxonomyFormatError(f"{where}: {field} must be a string, not {value!r}")
    return str(value).strip()


def _strings(row: dict[str, Any], field: str, where: str) -> tuple[str, ...]:
    value = row.get(field)
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise TaxonomyFormatError(f"{where}: {field} must be a list of strings, not {value!r}")
        return tuple(item.strip() for item in value if item.strip())
    text = _string(row, field, where)
    return tuple(item.strip() for item in _LISTS_APART.split(text) if item.strip())
