"""Spans that a trained model takes for a skill or for knowledge, whatever any taxonomy calls them.

The lower layers of MiniLM read the words of a sentence; every run of up to `MAX_WIDTH` words then
gets a score from its first word, its last word, the words inside, the words around and its width.
A semi-Markov CRF (Sarawagi & Cohen, "Semi-Markov Conditional Random Fields for Information
Extraction", NIPS 2004), one for each label, turns the scores into the probability that exactly
this run is marked, given that marked runs of one label do not overlap. So the edges compete with
each other, which a classifier of single words cannot express, and SKILL and KNOWLEDGE may nest, as
in SkillSpan (Zhang et al., NAACL 2022). Trained by `python -m training.spans`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from spacy.tokens import Span
from torch import Tensor, nn
from torch.nn import functional

from extractor.encoders import minilm_folder
from extractor.errors import ArtefactError
from extractor.weights import read_weights, write_weights

SCHEMA = 1
"""Version of the artefact's layout."""

LABELS = ("SKILL", "KNOWLEDGE")
MAX_WIDTH = 16
"""Widest span in words; SkillSpan has two wider ones in a thousand."""

MAX_PIECES = 126
"""Word pieces read together; a longer sentence is read in parts."""
MAX_WORD_PIECES = 16
"""Word pieces of one word that are looked at: addresses and keys have hundreds."""
BATCH_PIECES = 4096

SHAPES = ("lower", "upper", "title", "mixed", "digits", "other")
"""How a word is written: the encoder itself reads lower case only."""

IMPOSSIBLE = -1e4
"""Score of a run that leaves the sentence."""
FAINT = 0.02
"""Probability below which a run is no candidate at all."""

MODEL_FOLDER = Path(__file__).parent / "models" / "spans"


class FoundSpan(NamedTuple):
    """A run of words that names a skill or knowledge.

    Attributes:
        start: Offset of its first character in the text that was read.
        end: Offset behind its last character.
        label: `SKILL` (what someone does, or is like) or `KNOWLEDGE` (what someone knows).
        probability: Calibrated probability that an expert marks exactly this run.
    """

    start: int
    end: int
    label: str
    probability: float


class Words(NamedTuple):
    """Words of a sentence, or of a part of a long one, as numbers.

    Attributes:
        pieces: Word pieces of each word.
        tags: Number of each word's part of speech.
        deps: Number of each word's dependency.
        shapes: Number of each word's way of writing.
    """

    pieces: list[list[int]]
    tags: list[int]
    deps: list[int]
    shapes: list[int]


class Batch(NamedTuple):
    """Words of several sentences as tensors, padded with zeros.

    Attributes:
        pieces: Word pieces with the marks of start and end, shape (sentences, pieces).
        is_piece: Which of them are no padding, shape (sentences, pieces).
        pooling: Share of each piece in each word's mean, shape (sentences, words, pieces).
        features: Tags, deps and shapes, shape (3, sentences, words).
        is_word: Which words are no padding, shape (sentences, words).
    """

    pieces: Tensor
    is_piece: Tensor
    pooling: Tensor
    features: Tensor
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


@dataclass(frozen=True)
class Reader:
    """Turns parsed sentences into numbers.

    Attributes:
        tokenizer: A fast tokenizer of transformers.
        tags: Parts of speech (`token.tag_`) by number; an unknown one is 0.
        deps: Dependencies (`token.dep_`) by number; an unknown one is 0.
    """

    tokenizer: Any
    tags: dict[str, int]
    deps: dict[str, int]

    def read(self, sentences: Sequence[Sequence[Any]]) -> list[list[Words]]:
        """Read sentences, each a list of spaCy tokens without blanks.

        Returns:
            For each sentence its parts: one, or more if it is long, none if it has no words.
        """
        if not any(sentences):
            return [[] for _ in sentences]
        encoded = self.tokenizer(
            [[token.text for token in sentence] for sentence in sentences],
            is_split_into_words=True,
            add_special_tokens=False,
            verbose=False,
        )
        parts = []
        for row, sentence in enumerate(sentences):
            pieces: list[list[int]] = [[] for _ in sentence]
            for piece, word in zip(encoded["input_ids"][row], encoded.word_ids(row), strict=True):
                if word is not None and len(pieces[word]) < MAX_WORD_PIECES:
                    pieces[word].append(piece)
            unknown = [self.tokenizer.unk_token_id]
            words = Words(
                [known or unknown for known in pieces],
                [self.tags.get(token.tag_, 0) for token in sentence],
                [self.deps.get(token.dep_, 0) for token in sentence],
                [shape_of(token.text) for token in sentence],
            )
            parts.append(list(_parts(words)))
        return parts

    def batch(self, sentences: Sequence[Words]) -> Batch:
        """Pad sentences to one length."""
        lengths = [2 + sum(map(len, words.pieces)) for words in sentences]
        count, longest = len(sentences), max(len(words.pieces) for words in sentences)
        pieces = torch.zeros(count, max(lengths), dtype=torch.long)
        is_piece = torch.zeros(count, max(lengths), dtype=torch.long)
        pooling = torch.zeros(count, longest, max(lengths))
        features = torch.zeros(3, count, longest, dtype=torch.long)
        is_word = torch.zeros(count, longest, dtype=torch.bool)
        for row, words in enumerate(sentences):
            flat = [self.tokenizer.cls_token_id]
            for number, word in enumerate(words.pieces):
                pooling[row, number, len(flat) : len(flat) + len(word)] = 1 / len(word)
                flat.extend(word)
            flat.append(self.tokenizer.sep_token_id)
            pieces[row, : len(flat)] = torch.tensor(flat)
            is_piece[row, : len(flat)] = 1
            is_word[row, : len(words.pieces)] = True
            for kind, values in enumerate((words.tags, words.deps, words.shapes)):
                features[kind, row, : len(values)] = torch.tensor(values)
        return Batch(pieces, is_piece, pooling, features, is_word)


def _parts(words: Words) -> Iterator[Words]:
    start = pieces = 0
    for number, word in enumerate(words.pieces):
        if pieces + len(word) > MAX_PIECES:
            yield _cut(words, start, number)
            start, pieces = number, 0
        pieces += len(word)
    if words.pieces:
        yield _cut(words, start, len(words.pieces))


def _cut(words: Words, start: int, end: int) -> Words:
    pieces, tags, deps, shapes = words
    return Words(pieces[start:end], tags[start:end], deps[start:end], shapes[start:end])


class SpanNetwork(nn.Module):
    """Scores every run of words for every label.

    Args:
        config: Configuration of the encoder (`transformers.BertConfig`); as many layers are made
            as it says.
        tags: Number of parts of speech.
        deps: Number of dependencies.
        hidden: Units behind the scores.
        rank: Length of the vectors whose product scores first and last word together.
        dropout: Share of units left out in training, from the encoder's layers up.
    """

    def __init__(
        self,
        config: Any,
        *,
        tags: int,
        deps: int,
        hidden: int = 256,
        rank: int = 64,
        dropout: float = 0.2,
    ) -> None:
        from transformers import BertModel

        super().__init__()
        self.rank = rank
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.features = nn.ModuleList(
            [nn.Embedding(tags + 1, 32), nn.Embedding(deps + 1, 32), nn.Embedding(len(SHAPES), 16)]
        )
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(config.hidden_size + 80, hidden)
        # Of each word as the first, the last, one inside, the one before and the one behind.
        self.roles = nn.Linear(hidden, 5 * len(LABELS))
        self.first = nn.Linear(hidden, len(LABELS) * rank)
        self.last = nn.Linear(hidden, len(LABELS) * rank)
        self.width = nn.Parameter(torch.full((len(LABELS), MAX_WIDTH), -2.0))
        for table in self.features:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]
        for layer in (self.first, self.last):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        """Score all runs of words.

        Returns:
            Scores of shape (sentences, labels, words, MAX_WIDTH): of the run that starts at a word
            and is so many words wide, less one. A run that is not marked has score 0.
        """
        states = self.encoder(
            input_ids=batch.pieces, attention_mask=batch.is_piece
        ).last_hidden_state
        words = torch.bmm(batch.pooling.to(states.dtype), states)
        tables = zip(self.features, batch.features, strict=True)
        joined = torch.cat([words, *(table(values) for table, values in tables)], dim=-1)
        hidden = self.dropout(functional.gelu(self.hidden(self.dropout(joined))))
        count, length = batch.is_word.shape
        shape = (count, length, -1, len(LABELS))
        roles = self.roles(hidden).float().view(shape).permute(2, 0, 3, 1)
        first = self.first(hidden).float().view(count, length, len(LABELS), self.rank)
        last = self.last(hidden).float().view(count, length, len(LABELS), self.rank)
        pairs = torch.einsum("silr,sjlr->slij", first, last) / math.sqrt(self.rank)
        return self._runs(roles, pairs, batch.is_word)

    def _runs(self, roles: Tensor, pairs: Tensor, is_word: Tensor) -> Tensor:
        """From scores of words and of pairs of words to those of runs."""
        length = is_word.shape[1]
        starts = torch.arange(length)[:, None]
        ends = starts + torch.arange(MAX_WIDTH)[None]
        within = ends < length
        ends = ends.clamp(max=length - 1)
        start, end, inside, before, behind = roles
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
    count, labels, length, widest = scores.shape
    before_first = functional.pad(scores, (0, 0, widest - 1, 0), value=IMPOSSIBLE)
    starts = torch.arange(length)[:, None] - torch.arange(widest)[None] + widest - 1
    by_end = before_first.gather(2, starts.expand(count, labels, length, widest))
    sums = [scores.new_full((count, labels), IMPOSSIBLE)] * (widest - 1)
    sums.append(scores.new_zeros(count, labels))
    for runs in by_end.unbind(2):
        before = torch.stack(sums[: -widest - 1 : -1], dim=-1)
        sums.append(torch.logaddexp(sums[-1], torch.logsumexp(before + runs, dim=-1)))
    return sums[-1]


def marginals(scores: Tensor) -> Tensor:
    """Probability of each run: the derivative of `log_partition` by its score."""
    with torch.enable_grad():
        leaf = scores.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(log_partition(leaf).sum(), leaf)
    return gradient


def decode(candidates: Sequence[Candidate], thresholds: Sequence[float]) -> list[Candidate]:
    """Choose runs, most probable first, that overlap no chosen one of their label.

    Args:
        candidates: Runs of one sentence.
        thresholds: For each label the lowest probability.

    Returns:
        Chosen runs in the order of the text.
    """
    chosen: list[Candidate] = []
    for one in sorted(candidates, key=lambda candidate: -candidate.probability):
        if one.probability >= thresholds[one.label] and not any(
            one.label == other.label and one.start < other.end and other.start < one.end
            for other in chosen
        ):
            chosen.append(one)
    return sorted(chosen)


class SpanFinder:
    """Finds skill and knowledge spans in parsed sentences.

    Args:
        network: A trained network.
        reader: Reads what the network was trained on.
        calibration: For each label slope and intercept from the log-odds of the model to
            calibrated ones (Platt 1999).
        thresholds: For each label the calibrated probability below which nothing is returned.
        version: Stands in provenance.
    """

    def __init__(
        self,
        network: SpanNetwork,
        reader: Reader,
        *,
        calibration: Sequence[tuple[float, float]] = ((1.0, 0.0), (1.0, 0.0)),
        thresholds: Sequence[float] = (0.3, 0.3),
        version: str = "0",
    ) -> None:
        self.network = network.eval()
        self.reader = reader
        self.calibration = calibration
        self.thresholds = thresholds
        self.version = version
        able = torch.cpu.get_capabilities()
        self._half = bool(able.get("avx512_bf16") or able.get("amx_bf16"))

    @classmethod
    def load(cls, folder: Path = MODEL_FOLDER) -> SpanFinder:
        """Read a finder that `save` wrote.

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
            network, reader = make_network(manifest)
            tensors = read_weights(folder / "weights.safetensors")
            network.load_state_dict(network.state_dict() | tensors)
            return cls(
                network,
                reader,
                calibration=[tuple(pair) for pair in manifest["calibration"]],
                thresholds=manifest["thresholds"],
                version=manifest["version"],
            )
        except (OSError, KeyError, RuntimeError, json.JSONDecodeError) as error:
            raise ArtefactError(
                f"the span finder in {folder} cannot be read: {error!r}; reinstall the package or "
                "train it again with python -m training.spans"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the learned weights, matrices in 8 bits, and `model.json`.

        What lies below the layers that were trained stays with the encoder's package.
        """
        folder.mkdir(parents=True, exist_ok=True)
        trained = {
            name: values
            for name, values in self.network.state_dict().items()
            if not name.startswith("encoder.embeddings.")
        }
        write_weights(folder / "weights.safetensors", trained)
        manifest = {
            "schema": SCHEMA,
            "version": self.version,
            "layers": self.network.encoder.config.num_hidden_layers,
            "labels": LABELS,
            "tags": list(self.reader.tags),
            "deps": list(self.reader.deps),
            "calibration": self.calibration,
            "thresholds": self.thresholds,
        }
        (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")

    def find(self, sentences: Sequence[Span]) -> list[list[FoundSpan]]:
        """Find the spans of sentences.

        Args:
            sentences: Sentences of documents that have been tagged and parsed.

        Returns:
            For each sentence its spans in the order of the text, offsets in `sentence.text`. Spans
            of one label do not overlap; a span of the other label may lie within.
        """
        tokens = [[token for token in sentence if not token.is_space] for sentence in sentences]
        found = []
        candidates = self.candidates(self.reader.read(tokens))
        for sentence, words, runs in zip(sentences, tokens, candidates, strict=True):
            spans = []
            for run in decode(runs, self.thresholds):
                first, last = run.start, run.end - 1
                # SkillSpan has lost its brackets, so the model has not learned where they belong.
                inside = [word.text for word in words[first : last + 1]]
                if last > first and inside[-1] == ")" and inside.count(")") > inside.count("("):
                    last -= 1
                elif last > first and inside[0] == "(" and inside.count("(") > inside.count(")"):
                    first += 1
                start = words[first].idx - sentence.start_char
                end = words[last].idx + len(words[last]) - sentence.start_char
                spans.append(FoundSpan(start, end, LABELS[run.label], run.probability))
            found.append(spans)
        return found

    def candidates(self, sentences: Sequence[Sequence[Words]]) -> list[list[Candidate]]:
        """All runs of words that are not plainly none, with calibrated probabilities.

        Args:
            sentences: Sentences in parts, as `Reader.read` gives them.
        """
        parts = [(row, part) for row, found in enumerate(sentences) for part in found]
        shifts: list[int] = []
        for number, (row, _) in enumerate(parts):
            follows = number > 0 and parts[number - 1][0] == row
            shifts.append(shifts[-1] + len(parts[number - 1][1].pieces) if follows else 0)
        runs: list[list[Candidate]] = [[] for _ in sentences]
        for numbers in _batches([sum(map(len, part.pieces)) for _, part in parts]):
            # Twice as fast where the processor has such arithmetic.
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=self._half),
            ):
                scores = self.network(self.reader.batch([parts[n][1] for n in numbers]))
            # A tensor made in inference mode may never get a gradient.
            probable = marginals(scores.clone())
            places = (probable > FAINT).nonzero()
            values = probable[places.unbind(1)].tolist()
            for (place, label, start, width), value in zip(places.tolist(), values, strict=True):
                number = numbers[place]
                first = shifts[number] + start
                runs[parts[number][0]].append(
                    Candidate(first, first + width + 1, label, self._calibrated(label, value))
                )
        return runs

    def _calibrated(self, label: int, probability: float) -> float:
        slope, intercept = self.calibration[label]
        inner = min(max(probability, 1e-6), 1 - 1e-6)
        odds = slope * math.log(inner / (1 - inner)) + intercept
        return 1 / (1 + math.exp(-odds))


def make_network(manifest: dict[str, Any]) -> tuple[SpanNetwork, Reader]:
    """Make the network that `model.json` describes, with the encoder's weights, and its reader."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer

    folder = minilm_folder()
    config = AutoConfig.from_pretrained(folder, num_hidden_layers=manifest["layers"])
    tags = {tag: number for number, tag in enumerate(manifest["tags"], start=1)}
    deps = {dep: number for number, dep in enumerate(manifest["deps"], start=1)}
    network = SpanNetwork(config, tags=len(tags), deps=len(deps))
    known = network.encoder.state_dict()
    network.encoder.load_state_dict(
        known | {k: v for k, v in load_file(folder / "model.safetensors").items() if k in known}
    )
    return network, Reader(AutoTokenizer.from_pretrained(folder), tags, deps)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of sentences of like lengths, `BATCH_PIECES` word pieces together."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if batch and (len(batch) + 1) * (lengths[number] + 2) > BATCH_PIECES:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
