"""Labelled rows: one model a task, and the reader of JSON Lines files.

Rows are objects `{text, title?, spans?, links?, …}`; which fields a task needs is what its
model requires. Fields that no task knows are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from eval.errors import RowError
from eval.metrics import SEED
from extractor.records import Channel, MainRoleClass, Requirement, RoleClass

Text = Annotated[str, StringConstraints(pattern=r"\S")]
RowT = TypeVar("RowT", bound="Row")


class Row(BaseModel):
    """A row with a text.

    Attributes:
        text: Sentence, snippet or whole ad.
        title: Title of the ad where there is one.
        posting: The ad that a sentence comes from.
        pair: The pair that a row belongs to.
        sector: Sector or industry of the ad.
        industry: Stands in for `sector`.
        source: Where the row comes from; stands in for both.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: Text
    title: str | None = None
    posting: str | None = None
    pair: str | None = None
    sector: str | None = None
    industry: str | None = None
    source: str | None = None
    _file: str = PrivateAttr(default="")
    _file_number: int = PrivateAttr(default=0)
    _number: int = PrivateAttr(default=0)

    @property
    def place(self) -> str:
        """Where the row stands, for people."""
        return f"{self._file}, row {self._number}"

    @property
    def file(self) -> str:
        """The file that it was read from."""
        return self._file

    @property
    def named_sector(self) -> str | None:
        """The sector, or what comes nearest to it."""
        return self.sector or self.industry or self.source

    @property
    def document(self) -> tuple[int, str]:
        """What is resampled as one: the sentences of an ad, the rows of a pair.

        The file counts by its number among the files read, so that two runs agree wherever the
        files lie.
        """
        return self._file_number, self.posting or self.pair or str(self._number)


class Link(BaseModel):
    """A gold concept; `uri` is None where the taxonomy has none for the skill."""

    uri: str | None
    start: int | None = None
    end: int | None = None
    span: str | None = None


class GoldSpan(BaseModel):
    """A gold span; `text`, where given, is checked against the offsets."""

    start: int
    end: int
    label: str
    text: str | None = None


class LinkingRow(Row):
    """A sentence with gold concepts."""

    links: list[Link]


class ExtractionRow(Row):
    """A text with gold concepts, or with gold spans, of which only "none" is of use here."""

    links: list[Link] | None = None
    spans: list[GoldSpan] | None = None

    @model_validator(mode="after")
    def _has_gold(self) -> Self:
        if self.links is None and self.spans is None:
            raise ValueError("neither `links` nor `spans` is given")
        return self


class SpansRow(Row):
    """A text with all its gold spans."""

    spans: list[GoldSpan]

    @model_validator(mode="after")
    def _offsets_fit(self) -> Self:
        for span in self.spans:
            if not 0 <= span.start < span.end <= len(self.text):
                raise ValueError(
                    f"span {span.start}–{span.end} lies outside the text, which has "
                    f"{len(self.text)} characters"
                )
            if span.text is not None and self.text[span.start : span.end] != span.text:
                raise ValueError(
                    f"span {span.start}–{span.end} is {self.text[span.start : span.end]!r} in the "
                    f"text, but its own text is {span.text!r}"
                )
        return self


class GoldOccupation(BaseModel):
    """A gold occupation; `uri` is None where there is none."""

    uri: str | None


class OccupationRow(Row):
    """A job title with its occupation; the text stands in where there is no title.

    Attributes:
        occupation: The gold occupation; a list where each of several is right.
    """

    occupation: GoldOccupation | list[GoldOccupation] | None

    @property
    def uris(self) -> set[str]:
        """Ids of the gold occupations."""
        given = self.occupation if isinstance(self.occupation, list) else [self.occupation]
        return {one.uri for one in given if one and one.uri}


class Mention(BaseModel):
    """Words of the text and how they are asked for."""

    span: Text
    requirement: Requirement


class RequirementRow(Row):
    """A text with mentions."""

    mentions: list[Mention]
    _offsets: list[tuple[int, int]] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _find_mentions(self) -> Self:
        self._offsets = [find_span(self.text, mention.span) for mention in self.mentions]
        return self

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Start and end of every mention."""
        return self._offsets


class ZonesRow(Row):
    """An ad whose sections are labelled elsewhere, by its id."""

    id: str


class ConceptReference(BaseModel):
    """A concept by its id."""

    uri: str


class MustRow(Row):
    """A text with concepts that have to be found or have to be absent."""

    must: list[ConceptReference] = Field(default_factory=list)
    must_not: list[ConceptReference] = Field(default_factory=list)
    must_be_empty: bool = False

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if not self.model_fields_set & {"must", "must_not", "must_be_empty"}:
            raise ValueError("none of `must`, `must_not`, `must_be_empty` is given")
        return self


class RoleRow(Row):
    """An ad with its role class; `label` is None for an item that is no job."""

    title: str | None
    label: RoleClass | None
    nearest: MainRoleClass | None = None
    channel: Channel | None = None
    same_as_pair: bool | None = None

    @property
    def gold_nearest(self) -> MainRoleClass | None:
        """The main class; that of the label where the row does not say."""
        return self.nearest or (None if self.label == "unaffected" else self.label)


def find_span(text: str, span: str) -> tuple[int, int]:
    """Offsets of the first place where `span` stands on token boundaries.

    Words that stand nowhere on boundaries are taken from their first occurrence.

    Raises:
        ValueError: The text does not contain the span.
    """
    match = re.search(rf"(?<!\w){re.escape(span)}(?!\w)", text)
    start = match.start() if match else text.find(span)
    if start < 0:
        raise ValueError(f"the span {span!r} does not occur in the text")
    return start, start + len(span)


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Read the values of a JSON Lines file with the numbers of their lines; blank ones are skipped.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is no JSON.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: no valid JSON: {error}") from error


def read_rows(files: Iterable[Path], model: type[RowT]) -> list[RowT]:
    """Read and check labelled rows of JSON Lines files; blank lines are skipped.

    Raises:
        RowError: A file is missing, unreadable or empty, or a row is not what `model` asks for.
    """
    rows: list[RowT] = []
    for file_number, file in enumerate(files):
        try:
            lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        except OSError as error:
            raise RowError(f"{file}: cannot be read: {error.strerror}") from error
        found = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = model.model_validate_json(line)
            except ValidationError as error:
                raise RowError(f"{file}, row {number}: {_reason(error)}") from None
            row._file, row._file_number, row._number = str(file), file_number, number
            rows.append(row)
            found += 1
        if not found:
            raise RowError(f"{file}: the file is empty; one JSON object per line is expected")
    return rows


def sample_rows(rows: Sequence[RowT], limit: int | None, *, seed: int = SEED) -> list[RowT]:
    """At most `limit` rows, drawn at random with a fixed seed, in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    chosen = np.random.default_rng(seed).choice(len(rows), size=limit, replace=False)
    return [rows[index] for index in sorted(chosen)]


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "model_type":
            return f"expected {'an object in ' + field if field else 'a JSON object'}"
        case "missing":
            return f"the field `{field}` is missing"
        case "string_pattern_mismatch":
            return f"`{field}` is blank"
        case "value_error":
            return first["msg"].removeprefix("Value error, ")
        case "json_invalid":
            return f"no valid JSON: {first['ctx']['error'].replace(' line 1', '')}"
    given = f"; it is {str(first['input'])[:60]!r}"
    return f"`{field}`: {first['msg'][:1].lower()}{first['msg'][1:]}{given}"
