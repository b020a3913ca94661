"""Ads that repeat an earlier one, word for word or nearly so.

Near ones share nine tenths of their word 5-grams, which MinHash estimates (Broder, "On the
resemblance and containment of documents", 1997) and locality-sensitive hashing finds.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from typing import NamedTuple

from rensa import RMinHash, RMinHashLSH

from extractor.records import Duplicate

SHINGLE_WORDS = 5
SIMILARITY = 0.9
"""Share of common word 5-grams (Jaccard) from which on two ads are taken for one."""

_PERMUTATIONS = 128
_BANDS = 16  # an ad of similarity .9 is missed once in 5,000 times
_WORD = re.compile(r"\w+")


class _Seen(NamedTuple):
    id: str
    title: str
    sketch: RMinHash


class _Window:
    """The different ads of a stretch of the input."""

    def __init__(self) -> None:
        self.exact: dict[bytes, int] = {}
        self.rows: dict[int, _Seen] = {}
        self.lsh = RMinHashLSH(threshold=SIMILARITY, num_perm=_PERMUTATIONS, num_bands=_BANDS)


class DuplicateFinder:
    """Tells for each ad of a stream whether it repeats one before it, under the same title.

    Memory is bounded: an ad is compared with the last `window` to twice `window` different ones.

    Args:
        window: Different ads after which the older half is forgotten; 2 kB each.
    """

    def __init__(self, *, window: int = 50_000) -> None:
        self.window = window
        self._windows = [_Window(), _Window()]

    @property
    def version(self) -> str:
        """What the findings depend on."""
        return f"rensa {version('rensa')}, {SIMILARITY}, {self.window}"

    def find(self, row: int, id: str, title: str, text: str) -> Duplicate | None:  # noqa: A002
        """Look for an ad, and remember it if it is a new one.

        Args:
            row: Its row.
            id: Its id.
            title: Its title, or "".
            text: Its text.

        Returns:
            The ad that it repeats, which itself repeats none; None if there is no such ad.
        """
        title = " ".join(title.casefold().split())
        digest = hashlib.blake2b(
            f"{title}\n{text}".encode("utf-8", "surrogatepass"), digest_size=16
        ).digest()
        for seen in self._windows:
            if digest in seen.exact:
                first = seen.exact[digest]
                return Duplicate(row=first, id=seen.rows[first].id, exact=True)
        sketch = RMinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update(_shingles(text))
        for seen in self._windows:
            alike = [
                (-sketch.jaccard(other.sketch), row_of_other)
                for row_of_other in seen.lsh.query(sketch)
                if (other := seen.rows[row_of_other]).title == title
            ]
            if alike and -min(alike)[0] >= SIMILARITY:
                first = min(alike)[1]
                return Duplicate(row=first, id=seen.rows[first].id, exact=False)
        newest = self._windows[-1]
        if len(newest.rows) == self.window:
            newest = _Window()
            self._windows = [self._windows[-1], newest]
        newest.exact[digest] = row
        newest.rows[row] = _Seen(id, title, sketch)
        newest.lsh.insert(row, sketch)
        return None


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    count = max(1, len(words) - SHINGLE_WORDS + 1)
    return [" ".join(words[start : start + SHINGLE_WORDS]) for start in range(count)]
