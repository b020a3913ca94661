"""Sentences of our own in the manner of job ads, each for one concept of the default taxonomy.

Most say what the concept means without its words, since that is what names, descriptions and
distant supervision cannot teach. `training/data/written/*.tsv` holds a line for each: the id of
the concept (of ESCO's URIs the last part), a tab, and the sentence with square brackets around the
words that mean it.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "data" / "written"
ESCO = "http://data.europa.eu/esco/skill/"
HELD_OUT = 20
"""One sentence in so many is not trained on."""

_LINE = re.compile(r"([^\t]+)\t([^][]*)\[([^][]+)\]([^][]*)")


class Written(NamedTuple):
    """A sentence for a concept.

    Attributes:
        concept: Id of the concept.
        text: The sentence.
        start: Offset of the words that mean the concept.
        end: Offset behind them.
    """

    concept: str
    text: str
    start: int
    end: int

    @property
    def held_out(self) -> bool:
        """Whether the sentence is kept for development."""
        return zlib.crc32(self.text.encode()) % HELD_OUT == 0


def read_written(folder: Path = FOLDER) -> list[Written]:
    """Read all sentences.

    Raises:
        ValueError: A line is not of the form that the module describes.
    """
    rows = []
    for path in sorted(folder.glob("*.tsv")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{path}, line {number}: wanted an id, a tab, and one [part]")
            concept, before, part, behind = match.groups()
            start = len(before)
            concept_id = concept if ":" in concept else ESCO + concept
            rows.append(Written(concept_id, before + part + behind, start, start + len(part)))
    return rows
