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
