"""Spans that a trained model takes for a skill or for knowledge, whatever any taxonomy calls them.

Layers of its own go on from the states of word pieces behind the first of the encoder's layers, so
these are run once for both. Every run of up to `MAX_WIDTH` words then gets a score from its first
word, its last word, the words inside, the words around and its width. A semi-Markov CRF (Sarawagi &
Cohen, "Semi-Markov Conditional Random Fields for Information Extraction", NIPS 2004), one for each
label, turns the scores into the probability that exactly this run is marked, given that marked runs
of one label do not overlap. So the edges compete with each other, which a classifier of single
words cannot express, and SKILL and KNOWLEDGE may nest, as in SkillSpan (Zhang et al., NAACL 2022).
Trained by `python -m training.spans`.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from spacy.attrs import IDX, IS_SPACE, LENGTH  # type: ignore[import-not-found]
from spacy.tokens import Span
from torch import Tensor, nn
from torch.nn import functional

from extractor.encoders import (
    MINILM_HEADS,
    MINILM_WIDTH,
    TOGETHER,
    WINDOW,
    CachedEncoder,
    minilm_folder,
)
from extractor.errors import ArtefactError
from extractor.int8 import (
    AROUND,
    Int8Convolutions,
    Int8Heads,
    Int8Layers,
    Ranges,
    has_bfloat16,
    is_able,
    parts_of,
)
from extractor.interfaces import Reading
from extractor.weights import below, read_weights, split_ranges, with_ranges, write_weights

SCHEMA = 5
"""Version of the artefact's layout, and of what it goes on from."""

LABELS = ("SKILL", "KNOWLEDGE")
MAX_WIDTH = 16
"""Widest span in words; SkillSpan has two wider ones in a thousand."""

SHAPES = ("lower", "upper", "title", "mixed", "digits", "other")
"""How a word is written: the encoder itself reads lower case only."""
SHAPE_WIDTH = 16
"""Numbers that tell the heads how a word is written."""
ROLES = 5
"""What a word can be to a run: the first, the last, inside, before, behind."""

IMPOSSIBLE = -1e4
"""Score of a run that leaves the sentence."""
FAINT = 0.02
"""Probability of the model, before calibration, below which a run is no candidate at all."""
POSSIBLE = 0.1
"""Calibrated probability from which on the linker looks at a run, chosen or not."""

MODELS = Path(__file__).parent / "models" / "spans"
"""Holds a folder for each encoder of ours that a finder goes on from."""


class FoundSpan(NamedTuple):
    """A run of words that names a skill or knowledge.

    Attributes:
        start: Offset of its first character in the text that was read.
        end: Offset behind its last character.
        label: `SKILL` (what someone does, or is like) or `KNOWLEDGE` (what someone knows).
        probability: Calibrated probability that an expert marks exactly this run, or it with a lone
            bracket. Where several runs compete for the same words, that of each is small, however
            sure it is that the words are marked; see `decode`.
    """

    start: int
    end: int
    label: str
    probability: float


class Found(NamedTuple):
    """What was found in a sentence.

    Attributes:
        spans: Chosen spans in the order of the text; those of one label do not overlap.
        possible: Offsets of all runs of words that are at all possible, the chosen ones included,
            with the probability of the likelier label.
    """

    spans: list[FoundSpan]
    possible: list[tuple[int, int, float]]


class Places(NamedTuple):
    """Where the words of a sentence stand.

    Attributes:
        text: The sentence.
        starts: Offset of each word in it, shape (words,).
        ends: Offset behind each, shape (words,).
    """

    text: str
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def words(self, first: int = 0, stop: int | None = None) -> list[str]:
        """The words of a run, or all."""
        bounds = zip(self.starts[first:stop].tolist(), self.ends[first:stop].tolist(), strict=True)
        return [self.text[start:end] for start, end in bounds]


class Words(NamedTuple):
    """Words of a sentence, or of a part of a long one, as numbers.

    Attributes:
        states: The encoder's vectors of word pieces, with a mark before and behind, shape
            (pieces, width).
        pieces: For each word its first word piece and the one behind its last, shape (words, 2).
        shapes: For each word how it is written, a position in `SHAPES`, shape (words,).
    """

    states: NDArray[np.float16]
    pieces: NDArray[np.int64]
    shapes: NDArray[np.int64]


class Batch(NamedTuple):
    """Words of several sentences as tensors, padded with zeros.

    Attributes:
        states: Inner states of word pieces, shape (sentences, pieces, width).
        is_piece: Which of them are no padding, shape (sentences, pieces).
        pooling: Share of each piece in each word's mean, shape (sentences, words, pieces).
        shapes: As in `Words`, shape (sentences, words).
        is_word: Which words are no padding, shape (sentences, words).
    """

    states: Tensor
    is_piece: Tensor
    pooling: Tensor
    shapes: Tensor
    is_word: Tensor


class Candidate(NamedTuple):
    """A run of words with the probability that the model gives it.

    Attributes:
        start: Number of its first word.
        end: Number behind its last word.
        label: Position in `LABELS`.
        probability: Marginal probability of the CRF.
    """

    start: int
    end: int
    label: int
    probability: float


@lru_cache(maxsize=10_000)
def shape_of(word: str) -> int:
    """Position in `SHAPES` of how a word is written."""
    if any(character.isdigit() for character in word):
        name = "digits"
    elif word.islower():
        name = "lower"
    elif word.isupper() and len(word) > 1:
        name = "upper"
    elif word.istitle() or word.isupper():
        name = "title"
    else:
        name = "mixed" if word.isalpha() else "other"
    return SHAPES.index(name)


def read_words(places: Places, reading: Reading) -> list[Words]:
    """Turn a sentence into numbers.

    Args:
        places: Where its words stand.
        reading: The sentence as the encoder has read it.

    Returns:
        Its parts: one, or more if it is long, none if it has no words.
    """
    first = np.searchsorted(reading.offsets[:, 1], places.starts, side="right")
    stop = np.searchsorted(reading.offsets[:, 0], places.ends, side="left")
    stop = np.maximum(first, stop)
    shapes = np.fromiter(map(shape_of, places.words()), dtype=np.int64)
    window = np.minimum(first // WINDOW, len(reading.windows) - 1)
    parts = []
    for number in range(len(reading.windows)):
        shift = number * WINDOW - 1  # the mark before the pieces is the first state
        inside = np.flatnonzero(window == number)
        # Signs that the encoder does not know have no pieces, so there may be many of them.
        for at in range(0, len(inside), WINDOW):
            rows = inside[at : at + WINDOW]
            pieces = np.stack([first[rows], stop[rows]], axis=1) - shift
            states = reading.windows[number]
            parts.append(Words(states, np.minimum(pieces, len(states) - 1), shapes[rows]))
    return parts


def make_batch(parts: Sequence[Words]) -> Batch:
    """Pad words to one length."""
    count = len(parts)
    pieces, width = max(len(part.states) for part in parts), parts[0].states.shape[1]
    longest = max(len(part.pieces) for part in parts)
    states = np.zeros((count, pieces, width), dtype=np.float32)
    is_piece = np.zeros((count, pieces), dtype=np.bool_)
    pooling = np.zeros((count, longest, pieces), dtype=np.float32)
    shapes = np.zeros((count, longest), dtype=np.int64)
    is_word = np.zeros((count, longest), dtype=np.bool_)
    numbers = np.arange(pieces)
    for row, part in enumerate(parts):
        words = len(part.pieces)
        states[row, : len(part.states)] = part.states
        is_piece[row, : len(part.states)] = True
        first, stop = part.pieces[:, :1], part.pieces[:, 1:]
        inside = (first <= numbers) & (numbers < stop)
        pooling[row, :words] = inside / np.maximum(stop - first, 1)
        shapes[row, :words] = part.shapes
        is_word[row, :words] = True
    arrays = (states, is_piece, pooling, shapes, is_word)
    return Batch(*map(torch.from_numpy, arrays))


class TransformerLayers(nn.Module):
    """Layers of a BERT encoder, over states of word pieces.

    Args:
        config: Their configuration (`transformers.BertConfig`); as many are made as it says.
    """

    def __init__(self, config: Any) -> None:
        from transformers import BertModel

        super().__init__()
        self.width, self.count = int(config.hidden_size), int(config.num_hidden_layers)
        self.encoder = BertModel(config, add_pooling_layer=False).encoder

    @property
    def rounded(self) -> dict[str, nn.Module]:
        """Its parts whose inputs are rounded in 8-bit integers, by the name of the range."""
        return parts_of(list(self.encoder.layer))

    def forward(self, states: Tensor, is_piece: Tensor) -> Tensor:
        """States behind the layers, of the shape of `states`: (texts, pieces, width)."""
        hidden_by = (~is_piece)[:, None, None].float() * IMPOSSIBLE
        found: Tensor = self.encoder(states, attention_mask=hidden_by).last_hidden_state
        return found


class Convolutions(nn.Module):
    """Gated convolutions over states of word pieces that know nothing of their neighbours yet.

    As shipped a sixth of the work of `TransformerLayers`: each number of a state looks around by
    itself, then a gated linear layer takes them together (Kaiser et al., "Depthwise Separable
    Convolutions for Neural Machine Translation", ICLR 2018; Dauphin et al., "Language Modeling with
    Gated Convolutional Networks", ICML 2017).

    Args:
        width: Numbers of a state.
        count: Convolutions; each looks at `AROUND` pieces, its own in the middle.
        dropout: Share of numbers left out in training.
    """

    def __init__(self, width: int, count: int, *, dropout: float = 0.15) -> None:
        super().__init__()
        self.width, self.count = width, count
        self.first = nn.Linear(width, width)
        self.around = nn.ModuleList(
            [nn.Conv1d(width, width, AROUND, padding="same", groups=width) for _ in range(count)]
        )
        self.gated = nn.ModuleList([nn.Linear(width, 2 * width) for _ in range(count)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(count)])
        self.dropout = nn.Dropout(dropout)

    @property
    def rounded(self) -> dict[str, nn.Module]:
        """Its parts whose inputs are rounded in 8-bit integers, by the name of the range."""
        return {"first": self.first} | {str(n): part for n, part in enumerate(self.gated)}

    def forward(self, states: Tensor, is_piece: Tensor) -> Tensor:
        """States behind the convolutions, of the shape of `states`: (texts, pieces, width)."""
        kept = is_piece.unsqueeze(-1).to(states.dtype)
        states = self.first(states)
        for around, gated, norm in zip(self.around, self.gated, self.norms, strict=True):
            seen = around((states * kept).transpose(1, 2)).transpose(1, 2)
            states = norm(states + self.dropout(functional.glu(gated(seen), dim=-1)))
        return states


class Heads(nn.Module):
    """What is read off the vectors of words.

    Args:
        width: Numbers of a vector.
        hidden: Units in between.
        rank: Length of the vectors whose product scores first and last word together.
        dropout: Share of units left out in training.
    """

    def __init__(
        self, width: int, *, hidden: int = 256, rank: int = 64, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(width, hidden)
        # Of each word as the first, the last, one inside, the one before and the one behind.
        self.roles = nn.Linear(hidden, ROLES * len(LABELS))
        self.first = nn.Linear(hidden, len(LABELS) * rank)
        self.last = nn.Linear(hidden, len(LABELS) * rank)
        for layer in (self.first, self.last):
            nn.init.normal_(layer.weight, std=0.02)

    @property
    def rounded(self) -> dict[str, nn.Module]:
        """Its parts whose inputs are rounded in 8-bit integers, by the name of the range."""
        return {"hidden": self.hidden, "outputs": self.first}

    def forward(self, words: Tensor) -> Tensor:
        """Roles, vectors of first and of last words side by side, float32.

        Args:
            words: Shape (sentences, words, width).
        """
        hidden = self.dropout(functional.gelu(self.hidden(self.dropout(words))))
        outputs = [part(hidden).float() for part in (self.roles, self.first, self.last)]
        return torch.cat(outputs, dim=-1)


class SpanNetwork(nn.Module):
    """Scores every run of words for every label.

    Args:
        layers: Go on from the encoder's vectors of word pieces.
        heads: Read words off their states, with how each is written.
    """

    def __init__(
        self,
        layers: TransformerLayers | Convolutions | Int8Layers | Int8Convolutions,
        heads: Heads | Int8Heads,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.heads = heads
        self.shapes = nn.Embedding(len(SHAPES), SHAPE_WIDTH)
        # Word pieces are lower case; "Go" and "go" must differ before the layers read them.
        self.cases = nn.Embedding(len(SHAPES), layers.width)
        self.width = nn.Parameter(torch.full((len(LABELS), MAX_WIDTH), -2.0))
        nn.init.normal_(self.shapes.weight, std=0.1)
        nn.init.zeros_(self.cases.weight)

    @property
    def rounded(self) -> dict[str, nn.Module]:
        """Its parts whose inputs are rounded in 8-bit integers, by the name of the range."""
        return {
            f"{name}.{key}": part
            for name, module in (("layers", self.layers), ("heads", self.heads))
            for key, part in module.rounded.items()  # type: ignore[union-attr]
        }

    def forward(self, batch: Batch) -> Tensor:
        """Score all runs of words.

        Returns:
            Scores of shape (sentences, labels, words, MAX_WIDTH): of the run that starts at a word
            and is so many words wide, less one. A run that is not marked has score 0.
        """
        of_word = (batch.pooling > 0).to(batch.states.dtype).transpose(1, 2)
        states = batch.states + torch.bmm(of_word, self.cases(batch.shapes))
        states = self.layers(states, batch.is_piece)
        words = torch.bmm(batch.pooling.to(states.dtype), states)
        outputs = self.heads(torch.cat([words, self.shapes(batch.shapes)], dim=-1))
        by_label = (*batch.is_word.shape, -1, len(LABELS))
        roles = outputs[..., : ROLES * len(LABELS)].reshape(by_label).permute(2, 0, 3, 1)
        ends = outputs[..., ROLES * len(LABELS) :].view(*batch.is_word.shape, 2, len(LABELS), -1)
        first, last = ends.unbind(2)
        pairs = torch.einsum("silr,sjlr->slij", first, last) / math.sqrt(ends.shape[-1])
        return self._runs(roles, pairs, batch.is_word)

    def _runs(self, roles: Tensor, pairs: Tensor, is_word: Tensor) -> Tensor:
        """From scores of words and of pairs of words to those of runs."""
        length = is_word.shape[1]
        starts = torch.arange(length)[:, None]
        ends = starts + torch.arange(MAX_WIDTH)[None]
        within = ends < length
        ends = ends.clamp(max=length - 1)
        start, end, inside, before, behind = roles
        # Behind the last word is nothing, not the padding that longer sentences bring.
        behind = behind.masked_fill(~is_word[:, None], 0.0)
        sums = functional.pad(inside.cumsum(-1), (1, 0))
        start = start + functional.pad(before[..., :-1], (1, 0))
        end = end + functional.pad(behind[..., 1:], (0, 1))
        scores = (
            start[..., None]
            + end[:, :, ends]
            + sums[:, :, ends + 1]
            - sums[:, :, :-1, None]
            + pairs[:, :, starts, ends]
            + self.width[None, :, None, :]
        )
        possible = within[None] & is_word[:, ends]
        runs: Tensor = scores.masked_fill(~possible[:, None], IMPOSSIBLE)
        return runs


def log_partition(scores: Tensor) -> Tensor:
    """Logarithm of the sum, over all sets of runs that do not overlap, of exp(sum of scores).

    Args:
        scores: As `SpanNetwork.forward` gives them.

    Returns:
        One value for each sentence and label, shape (sentences, labels).
    """
    count, labels, _, widest = scores.shape
    sums = [scores.new_full((count, labels), IMPOSSIBLE)] * (widest - 1)
    sums.append(scores.new_zeros(count, labels))
    for runs in _by_end(scores).unbind(2):
        before = torch.stack(sums[-widest:], dim=-1)
        sums.append(torch.logaddexp(sums[-1], torch.logsumexp(before + runs, dim=-1)))
    return sums[-1]


def _by_end(scores: Tensor) -> Tensor:
    """Scores of runs by their last word instead of their first, the widest first."""
    count, labels, length, widest = scores.shape
    before_first = functional.pad(scores, (0, 0, widest - 1, 0), value=IMPOSSIBLE)
    starts = torch.arange(length)[:, None] + torch.arange(widest)[None]
    return before_first.flip(3).gather(2, starts.expand(count, labels, length, widest))


def marginals(scores: Tensor) -> Tensor:
    """Probability of each run: the derivative of `log_partition` by its score.

    Computed by the forward-backward algorithm, with no gradient.
    """
    count, labels, length, widest = scores.shape
    # Read from the end, a sentence is like any other, so both ways are gone at once.
    runs = torch.stack([_by_end(scores), scores.flip(2, 3)])
    # The sum over the words before each word, behind as many impossible ones as a run is wide.
    sums = scores.new_full((2, count, labels, widest + length), IMPOSSIBLE)
    sums[..., widest - 1] = 0.0
    for end in range(length):
        at = end + widest
        through = (sums[..., end:at] + runs[..., end, :]).logsumexp(-1)
        torch.logaddexp(sums[..., at - 1], through, out=sums[..., at])
    before, behind = sums[0], sums[1].flip(-1)
    ends = torch.arange(length)[:, None] + torch.arange(widest)[None] + 1
    around = before[..., widest - 1 : -1, None] + behind[..., ends]
    return (around + scores - before[..., -1, None, None]).exp()


def decode(candidates: Sequence[Candidate], thresholds: Sequence[float]) -> list[Candidate]:
    """Choose runs, most probable first, that overlap no chosen one of their label.

    A run must be possible, and what is gained by it must reach the threshold: half for its edges,
    half for its words, each as probable as the candidates say (minimum Bayes risk; Goel & Byrne,
    "Minimum Bayes-risk automatic speech recognition", 2000). So words that are surely part of some
    run are not lost where several edges compete for them.

    Args:
        candidates: Runs of one sentence.
        thresholds: For each label the lowest gain.

    Returns:
        Chosen runs in the order of the text.
    """
    covered: defaultdict[tuple[int, int], float] = defaultdict(float)
    for run in candidates:
        for word in range(run.start, run.end):
            covered[run.label, word] += run.probability
    chosen: list[Candidate] = []
    for run in sorted(candidates, key=lambda candidate: -candidate.probability):
        if run.probability < POSSIBLE:
            break
        words = range(run.start, run.end)
        within = fmean(min(covered[run.label, word], 1.0) for word in words)
        if (run.probability + within) / 2 >= thresholds[run.label] and not any(
            run.label == other.label and run.start < other.end and other.start < run.end
            for other in chosen
        ):
            chosen.append(run)
    return sorted(chosen)


class SpanFinder:
    """Finds skill and knowledge spans in sentences.

    Args:
        network: A trained network.
        encoder: The encoder whose vectors of word pieces it was trained on.
        calibration: For each label slope and intercept from the log-odds of the model to
            calibrated ones (Platt 1999).
        thresholds: For each label the gain below which `decode` chooses no run.
        version: Stands in provenance.
    """

    def __init__(
        self,
        network: SpanNetwork,
        encoder: CachedEncoder,
        *,
        calibration: Sequence[tuple[float, float]] = ((1.0, 0.0), (1.0, 0.0)),
        thresholds: Sequence[float] = (0.3, 0.3),
        version: str = "0",
    ) -> None:
        self.network = network.eval()
        self.encoder = encoder
        self.calibration = calibration
        self.thresholds = thresholds
        self.version = version
        # Layers in 8-bit integers keep their attention in 32 bits.
        self._half = has_bfloat16() and isinstance(network.layers, nn.Module)

    @classmethod
    def load(
        cls,
        encoder: CachedEncoder,
        folder: Path = MODELS / "accurate",
        *,
        integers: bool = True,
    ) -> SpanFinder:
        """Read a finder that `save` wrote.

        Args:
            encoder: The encoder that it goes on from.
            folder: Where it lies.
            integers: Whether 8-bit integers may be used; such a finder cannot be saved again.

        Raises:
            ArtefactError: A file is missing, damaged, or of another version of the package.
        """
        try:
            manifest: dict[str, Any] = json.loads((folder / "model.json").read_text("utf-8"))
            if manifest["schema"] != SCHEMA:
                raise ArtefactError(
                    f"the span finder in {folder} has schema {manifest['schema']}, this version "
                    f"reads {SCHEMA}: train it again with python -m training.spans"
                )
            if manifest["encoder"] != encoder.name:
                raise ArtefactError(
                    f"the span finder in {folder} goes on from the encoder "
                    f"{manifest['encoder']!r}, not from {encoder.name!r}: train one with "
                    "python -m training.spans"
                )
            tensors, ranges = split_ranges(read_weights(folder / "weights.safetensors"))
            if integers and ranges and is_able():
                of_layers = below(ranges, "layers.")
                network = SpanNetwork(
                    Int8Layers(below(tensors, "layers.encoder.layer."), of_layers, MINILM_HEADS)
                    if manifest["width"] == MINILM_WIDTH
                    else Int8Convolutions(below(tensors, "layers."), of_layers),
                    Int8Heads(below(tensors, "heads."), below(ranges, "heads.")),
                )
                in_bytes = ("layers.", "heads.")
                tensors = {k: v for k, v in tensors.items() if not k.startswith(in_bytes)}
            else:
                network = make_network(manifest["layers"], manifest["width"])
            network.load_state_dict(tensors)
            return cls(
                network,
                encoder,
                calibration=[tuple(pair) for pair in manifest["calibration"]],
                thresholds=manifest["thresholds"],
                version=manifest["version"],
            )
        except (OSError, KeyError, RuntimeError, json.JSONDecodeError) as error:
            raise ArtefactError(
                f"the span finder in {folder} cannot be read: {error!r}; reinstall the package or "
                "train it again with python -m training.spans"
            ) from error

    def save(self, folder: Path, ranges: Ranges = MappingProxyType({})) -> None:
        """Write the learned weights, matrices in 8 bits, and `model.json`.

        Args:
            folder: Where they are written.
            ranges: What `extractor.int8.find_ranges` gave for the network. Without them, it runs in
                more than 8 bits.

        Raises:
            ArtefactError: The finder was read with layers in 8 bits, which cannot be written.
        """
        if not isinstance(self.network.layers, nn.Module):
            raise ArtefactError("read the finder with integers=False to save it")
        folder.mkdir(parents=True, exist_ok=True)
        tensors = with_ranges(self.network.state_dict(), ranges)
        write_weights(folder / "weights.safetensors", tensors)
        self.save_decision(folder)

    def save_decision(self, folder: Path) -> None:
        """Write `model.json`, with calibration and thresholds, beside weights that lie there."""
        manifest = {
            "schema": SCHEMA,
            "version": self.version,
            "encoder": self.encoder.name,
            "width": self.network.layers.width,
            "layers": self.network.layers.count,
            "labels": LABELS,
            "calibration": self.calibration,
            "thresholds": self.thresholds,
        }
        (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")

    def find(self, sentences: Sequence[Span]) -> list[Found]:
        """Find the spans of sentences.

        Args:
            sentences: Sentences of documents.

        Returns:
            For each sentence what it holds, offsets in `sentence.text`; a span may lie within one
            of the other label.
        """
        places = [words_of(sentence) for sentence in sentences]
        found = self.candidates(self.read(places))
        return [self._found(*pair) for pair in zip(places, found, strict=True)]

    def _found(self, places: Places, runs: Sequence[Candidate]) -> Found:
        starts, ends = places.starts.tolist(), places.ends.tolist()
        runs = _without_lone_brackets(places, runs)
        spans = [
            FoundSpan(starts[run.start], ends[run.end - 1], LABELS[run.label], run.probability)
            for run in decode(runs, self.thresholds)
        ]
        possible: dict[tuple[int, int], float] = {}
        for run in runs:
            if run.probability >= POSSIBLE:
                at = starts[run.start], ends[run.end - 1]
                possible[at] = max(run.probability, possible.get(at, 0.0))
        return Found(spans, sorted((*at, p) for at, p in possible.items()))

    def read(self, sentences: Sequence[Places]) -> list[list[Words]]:
        """Sentences in parts, as `read_words` gives them, read by the encoder all at once.

        Args:
            sentences: Where the words of each stand, as `words_of` gives it.
        """
        readings = self.encoder.read([sentence.text for sentence in sentences])
        return list(map(read_words, sentences, readings))

    def candidates(self, sentences: Sequence[Sequence[Words]]) -> list[list[Candidate]]:
        """All runs of words that are not plainly none, with calibrated probabilities.

        Args:
            sentences: Sentences in parts, as `read` gives them.
        """
        parts = [(row, part) for row, found in enumerate(sentences) for part in found]
        shifts: list[int] = []
        for number, (row, _) in enumerate(parts):
            follows = number > 0 and parts[number - 1][0] == row
            shifts.append(shifts[-1] + len(parts[number - 1][1].pieces) if follows else 0)
        runs: list[list[Candidate]] = [[] for _ in sentences]
        for numbers in _batches([len(part.states) for _, part in parts]):
            # Twice as fast where the processor has such arithmetic.
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=self._half),
            ):
                probable = marginals(self.network(make_batch([parts[n][1] for n in numbers])))
            places = (probable > FAINT).nonzero()
            calibrated = self._calibrated(places[:, 1], probable[places.unbind(1)])
            for (place, label, start, width), value in zip(
                places.tolist(), calibrated.tolist(), strict=True
            ):
                number = numbers[place]
                first = shifts[number] + start
                runs[parts[number][0]].append(Candidate(first, first + width + 1, label, value))
        return runs

    def _calibrated(self, labels: Tensor, probabilities: Tensor) -> Tensor:
        slopes, intercepts = torch.tensor(self.calibration, dtype=torch.float64)[labels].unbind(1)
        return torch.sigmoid(slopes * probabilities.double().logit(1e-6) + intercepts)


def words_of(sentence: Span) -> Places:
    """Where the words of a sentence stand: its tokens without blanks."""
    columns = sentence.to_array([IDX, LENGTH, IS_SPACE])  # type: ignore[attr-defined]
    starts, lengths, is_space = columns.astype(np.int64).T
    starts, lengths = starts[is_space == 0] - sentence.start_char, lengths[is_space == 0]
    return Places(sentence.text, starts, starts + lengths)


def lone_bracket(text: str) -> str:
    """A "(" at the beginning or a ")" at the end of a text that lacks the other half; or ""."""
    lacking = text.count(")") - text.count("(")
    if lacking < 0 and text.startswith("("):
        return "("
    return ")" if lacking > 0 and text.endswith(")") else ""


def _without_lone_brackets(places: Places, runs: Sequence[Candidate]) -> list[Candidate]:
    """Runs without a lone bracket; the probabilities of those that become equal add up.

    SkillSpan has lost many brackets, so the model has not learned where they belong.
    """
    if "(" not in places.text and ")" not in places.text:
        return list(runs)
    sums: defaultdict[tuple[int, int, int], float] = defaultdict(float)
    for start, end, label, probability in runs:
        bracket = lone_bracket(places.text[places.starts[start] : places.ends[end - 1]])
        if bracket and places.words(start, start + 1) == [bracket] and end - start > 1:
            start += 1
        elif bracket and places.words(end - 1, end) == [bracket] and end - start > 1:
            end -= 1
        sums[start, end, label] += probability
    return [Candidate(*run, min(probability, 1.0)) for run, probability in sums.items()]


def make_network(layers: int, width: int, *, attention: str = "sdpa") -> SpanNetwork:
    """Make a network that has not learned yet.

    Args:
        layers: How many it has of its own.
        width: Numbers of the encoder's states. For states of MiniLM's width the layers are of its
            kind, for others convolutions.
        attention: How transformers is to compute attention, `sdpa` or `eager`.
    """
    heads = Heads(width + SHAPE_WIDTH)
    if width != MINILM_WIDTH:
        return SpanNetwork(Convolutions(width, layers), heads)
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        minilm_folder(), num_hidden_layers=layers, attn_implementation=attention
    )
    return SpanNetwork(TransformerLayers(config), heads)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of sentences of like lengths, `TOGETHER` word pieces at once."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if batch and (len(batch) + 1) * lengths[number] > TOGETHER:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
