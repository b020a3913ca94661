"""The seams of the engine: what can be exchanged, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

AT_ONCE = 2**20
"""Numbers of a matrix that tells which word pieces belong to which places."""


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


class Reading(NamedTuple):
    """A text as an encoder has read it, word piece by word piece.

    Attributes:
        vector: What `Encoder.encode` gives for the text, shape (dimension,).
        offsets: Where each word piece stands in the text, shape (pieces, 2), ascending.
        states: What each word piece means where it stands, shape (pieces, dimension).
        windows: What word pieces are behind the first of the encoder's layers, if it has any, for
            models that go on with layers of their own: one array for each stretch of the text that
            is read at once, of shape (its pieces with a mark before and behind, width).
    """

    vector: Vectors
    offsets: NDArray[np.int32]
    states: NDArray[np.float16]
    windows: tuple[NDArray[np.float16], ...]

    def parts(self, places: Sequence[tuple[int, int]]) -> Vectors:
        """Vectors of parts of the text: the mean of their word pieces.

        Args:
            places: Offsets (start, end).

        Returns:
            Shape (len(places), dimension), length 1. A part without a word piece has the vector of
            the text.
        """
        import torch

        bounds = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        first = np.searchsorted(self.offsets[:, 1], bounds[:, :1], side="right")
        stop = np.searchsorted(self.offsets[:, 0], bounds[:, 1:], side="left")
        states, numbers = torch.from_numpy(self.states).float(), np.arange(len(self.states))
        found = np.empty((len(bounds), self.states.shape[1]), dtype=np.float32)
        # A product takes half the time of running sums, and memory for places times word pieces.
        # It is PyTorch's, whose threads and those of NumPy's products would wait for each other.
        step = max(1, AT_ONCE // max(1, len(states)))
        for start in range(0, len(bounds), step):
            rows = slice(start, start + step)
            inside = (first[rows] <= numbers) & (numbers < stop[rows])
            found[rows] = (torch.from_numpy(inside).float() @ states).numpy()
        found[(stop <= first)[:, 0]] = self.vector
        return unit(found)


def unit(vectors: Vectors) -> Vectors:
    """Vectors at length 1, shape (..., dimension)."""
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


@runtime_checkable
class ContextEncoder(Encoder, Protocol):
    """An encoder that also sees the parts of a text in their context."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Read texts, so that their parts can be looked at without another pass.

        Args:
            texts: Any number of texts.
        """
        ...
