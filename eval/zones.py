"""Gold sections of ads: labels by place and hash, no text (`eval/data/zones.jsonl`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from extractor.records import ZONE_LABELS, ZoneLabel

GOLD = Path(__file__).parent / "data" / "zones.jsonl"

ASKING: tuple[ZoneLabel, ...] = ("title", "duties", "requirements", "nice_to_have")
"""Zones about the person and the work."""


class Span(NamedTuple):
    """A stretch of an ad with its label."""

    start: int
    end: int
    label: ZoneLabel


class GoldZones(BaseModel):
    """Sections of one ad, as a reader labelled them.

    Attributes:
        id: Id of the ad.
        sha256: Hash of its text: another text under the same id is another ad.
        zones: Sections in order; what lies between them was not labelled, since it mixes several.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    sha256: str
    zones: tuple[Span, ...]

    def fits(self, text: str) -> bool:
        """Whether the labels were made for this text."""
        return hashlib.sha256(text.encode()).hexdigest() == self.sha256

    @property
    def is_held_out(self) -> bool:
        """Whether nobody looked at the ad while working on the engine: every second one."""
        return self.sha256[0] >= "8"


def read_gold(path: Path = GOLD) -> dict[str, GoldZones]:
    """Read the labels, by id of the ad."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [GoldZones.model_validate_json(line) for line in lines]
    return {gold.id: gold for gold in found}


_CUT = re.compile(r"(?<=[.!?])\s+(?=\S)|\n")


def lines_of(text: str) -> Iterator[tuple[int, int]]:
    """Lines, cut behind full stops; a fixed rule, since the engine's sentences may change."""
    start = 0
    for match in _CUT.finditer(text):
        if text[start : match.start()].strip():
            yield start, match.start()
        start = match.end()
    if text[start:].strip():
        yield start, len(text)


def overlaps(text: str, gold: Sequence[Span], given: Sequence[Span]) -> NDArray[np.float64]:
    """Count the visible characters by gold and given label.

    Returns:
        Shape (labels, labels), rows are gold; characters that either leaves out do not count.
    """
    counts = np.zeros((len(ZONE_LABELS), len(ZONE_LABELS)))
    for right in gold:
        for other in given:
            start, end = max(right.start, other.start), min(right.end, other.end)
            if start < end:
                visible = sum(not character.isspace() for character in text[start:end])
                cell = ZONE_LABELS.index(right.label), ZONE_LABELS.index(other.label)
                counts[cell] += visible
    return counts


def label_of(text: str, spans: Sequence[Span], start: int, end: int) -> ZoneLabel | None:
    """The label of most visible characters of a stretch; None if none has one."""
    counts = overlaps(text, [Span(start, end, "other")], spans).sum(axis=0)
    return ZONE_LABELS[int(counts.argmax())] if counts.any() else None


_HEADINGS: tuple[tuple[ZoneLabel, str], ...] = (
    ("nice_to_have", r"nice to have|preferred|desirable|desired|bonus|a plus"),
    ("requirements", r"requirement|qualification|skill|experience|about you|who you are|criteria"),
    ("duties", r"responsibilit|dut(?:y|ies)|what you|the role|job description|tasks"),
    ("benefits", r"benefit|we offer|salary|remuneration|compensation|perks"),
    ("how_to_apply", r"apply|application|contact|deadline"),
    ("about", r"about|who we are|company|our |equal"),
)


def zones_by_headings(text: str) -> list[Span]:
    """Sections by keywords in short lines alone, as a first attempt would do it."""
    spans: list[Span] = []
    label: ZoneLabel = "other"
    for match in re.finditer(r"[^\n]*\n?", text):
        line = match[0].strip().lower()
        if 0 < len(line.split()) <= 6 and line[-1] not in ".,;":
            named = (name for name, words in _HEADINGS if re.search(words, line))
            label = next(named, label)
        if match[0]:
            spans.append(Span(match.start(), match.end(), label))
    return spans
