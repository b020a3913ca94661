"""Slices: the parts of a set of rows, or of its concepts, that are scored apart.

A slice of rows holds the rows of one sector or length. A slice of concepts holds, of every row,
the gold and the predicted concepts of one kind, so that each slice has a precision, too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from eval.baselines import fold, stands_in
from eval.rows import LinkingRow, Row
from extractor.records import JobResult
from taxonomies.records import Taxonomy

LENGTHS = ((10, "to 10 words"), (25, "11 to 25 words"), (100, "26 to 100 words"))
LONGER = "over 100 words"
SPAN_LENGTHS = ((1, "1 word"), (3, "2 to 3 words"), (6, "4 to 6 words"))
LONGER_SPAN = "over 6 words"
FREQUENT = 10
"""Training rows from which on a concept counts as frequent."""


class Slicer:
    """Says to which slices a row and a concept in it belong.

    Args:
        taxonomy: Knows the kinds and the names of concepts.
        training: Labelled rows that a system was trained on; without any, concepts are not
            sliced by how often they were seen.
    """

    def __init__(self, taxonomy: Taxonomy, training: Iterable[LinkingRow] = ()) -> None:
        self.taxonomy = taxonomy
        self.seen = Counter(
            uri for row in training for uri in {link.uri for link in row.links} if uri
        )
        self._names = cache(self._fold_names)

    def of_row(self, row: Row) -> dict[str, str]:
        """Slices by sector, where the row names one, and by length of the text in words."""
        slices = {"length": bucket(len(row.text.split()), LENGTHS, LONGER)}
        if row.named_sector:
            slices["sector"] = row.named_sector
        return slices

    def of_concept(self, row: Row, concept_id: str) -> dict[str, str]:
        """Slices of a concept in a row.

        By kind; `named` if one of its names stands in the text word for word, else `implied`; by
        the number of training rows that it is linked to.
        """
        known = concept_id in self.taxonomy
        slices: dict[str, str] = {
            "kind": self.taxonomy[concept_id].kind if known else "not in the taxonomy"
        }
        if known:
            text = fold(row.text)
            named = any(stands_in(text, name) for name in self._names(concept_id))
            slices["mention"] = "named" if named else "implied"
        if self.seen:
            times = self.seen[concept_id]
            slices["frequency"] = (
                "not in training"
                if not times
                else f"in 1 to {FREQUENT - 1} training rows"
                if times < FREQUENT
                else f"in {FREQUENT} or more training rows"
            )
        return slices

    def _fold_names(self, concept_id: str) -> list[str]:
        concept = self.taxonomy[concept_id]
        # "Java (computer programming)" is named by "Java", too.
        bare = re.sub(r"\s*\([^)]*\)$", "", concept.label)
        return [fold(name) for name in {*concept.names, bare} if name]


def bucket(size: int, limits: Sequence[tuple[int, str]], beyond: str) -> str:
    """The name of the first limit that the size does not exceed.

    >>> bucket(10, LENGTHS, LONGER), bucket(11, LENGTHS, LONGER), bucket(500, LENGTHS, LONGER)
    ('to 10 words', '11 to 25 words', 'over 100 words')
    """
    return next((name for limit, name in limits if size <= limit), beyond)


def slice_order(name: str) -> tuple[int, str]:
    """Lengths from short to long, everything else by its name."""
    lengths = [label for _, label in (*LENGTHS, *SPAN_LENGTHS)] + [LONGER, LONGER_SPAN]
    return lengths.index(name) if name in lengths else 0, name


def zone_at(result: JobResult, offset: int) -> str:
    """Section of an ad, as the engine reads it, in which a place stands."""
    at = bisect_right(result.zones, offset, key=lambda zone: zone.start) - 1
    if at >= 0 and offset < result.zones[at].end:
        return result.zones[at].label
    return "other"
