"""Sentences of ads with the concepts that they ask for, judged by us.

For each sentence the linker's 24 to 48 best concepts of ESCO 1.1.1 were read and judged: those that
are meant, those that one might defend, and, by being in neither list, those that only look alike.
Missing ones were added by label. In sentences of SkillSpan (train) what experts had marked was
judged span by span. Sentences that ask for nothing have no concepts.

`training/data/judged/*.tsv` holds no text, only where it stands: the id of a row of
`skillspan/train.jsonl` or `ads/ads.jsonl`, the offsets of the sentence in the row's text, the
concepts that are meant, and those that might be (of ESCO's URIs the last part; parted by blanks).
Behind a meant concept stand, where known, the offsets in the sentence of the words that mean it:
`id@start:end`.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from extractor.zones import mask_markup
from training.rows import read_rows
from training.written import ESCO

FOLDER = Path(__file__).parent / "data" / "judged"
FILES = {"skillspan": "skillspan/train.jsonl", "ads": "ads/ads.jsonl"}
HELD_OUT = 6
"""One ad in so many is kept for development: nothing learns what its sentences mean. Their mere
text is read like that of other unlabelled ads (`training.sentences`, `training.spans`)."""


class Judged(NamedTuple):
    """A sentence with its concepts.

    Attributes:
        ad: Id of the ad that it stands in.
        text: The sentence.
        meant: Ids of the concepts that it asks for.
        places: (start, end, id) of words that mean one of them.
        defensible: Ids of concepts that one might take, too.
    """

    ad: str
    text: str
    meant: tuple[str, ...]
    places: tuple[tuple[int, int, str], ...]
    defensible: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether its ad is kept for development."""
        return is_held_out(self.ad)


def is_posting(ad: str) -> bool:
    """Whether the id is that of a posting of SkillSpan, not of another ad."""
    return ad.startswith(("house-", "tech-"))


def is_held_out(ad: str) -> bool:
    """Whether an ad, or a posting of SkillSpan, is kept for development."""
    return zlib.crc32(ad.encode()) % HELD_OUT == 0


def read_judged(data: Path, folder: Path = FOLDER) -> list[Judged]:
    """Read all sentences, in the order of the files.

    Args:
        data: Folder of the labelled sets and ads, which hold the text.
        folder: What was judged.

    Raises:
        ValueError: A line names a row that is not there.
    """
    found = []
    for path in sorted(folder.glob("*.tsv")):
        rows = {row["id"]: row for row in read_rows(data / FILES[path.stem])}
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            row_id, start, end, meant, defensible = line.split("\t")
            if row_id not in rows:
                raise ValueError(f"{path}, line {number}: {row_id} is not in {FILES[path.stem]}")
            row = rows[row_id]
            links = [one.partition("@") for one in meant.split()]
            found.append(
                Judged(
                    ad=row.get("posting", row_id),
                    text=mask_markup(row["text"])[int(start) : int(end)],
                    meant=tuple(ESCO + link for link, _, _ in links),
                    places=tuple(
                        (int(place.partition(":")[0]), int(place.partition(":")[2]), ESCO + link)
                        for link, _, place in links
                        if place
                    ),
                    defensible=tuple(ESCO + link for link in defensible.split()),
                )
            )
    return found
