"""The seams of the engine: what can be exchanged, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into unit vectors.

    Attributes:
        name: Stands in provenance and in the manifest of every index made with it.
        dimension: Length of a vector.
    """

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts.

        Args:
            texts: Any number of texts, also none.

        Returns:
            An array of shape (len(texts), dimension), float32, rows of Euclidean length 1.
        """
        ...


@runtime_checkable
class ContextEncoder(Encoder, Protocol):
    """An encoder that also sees the parts of a text in their context."""

    def encode_parts(
        self, texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Vectors, list[Vectors]]:
        """Encode texts, and parts of them by the same reading.

        Args:
            texts: Any number of texts.
            parts: For each text the offsets (start, end) of its parts.

        Returns:
            Vectors of the texts as `encode` gives them, and for each text those of its parts,
            float32, of shape (number of parts, dimension) and length 1.
        """
        ...
