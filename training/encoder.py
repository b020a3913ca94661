"""Tune the sentence encoder on the words of the taxonomy and on real sentences.

    python -m training.sentences --data ../shared/data --out sentences.jsonl
    python -m training.encoder --data ../shared/data --sentences sentences.jsonl

The base is all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers). Three vectors are learned
together: of a text, of a part of a text in its context (mean of its tokens), and of the tokens
that a concept attends to (as in ConTeXT-match, Decorte et al. 2025). Each is drawn towards the
label of its concept and away from the labels of the other concepts of the step (InfoNCE, van den
Oord et al. 2018), among them some that are hard to tell from it. Examples are

- alternative names of concepts;
- sentences of their descriptions, alone or beside a sentence of an ad;
- sentences that read like ads, made of templates and names (`training/ad_templates.toml`);
- sentences of our own, most of which say what a concept means without its words
  (`training/data/written/`): the marked words are drawn to the concept, and so is the sentence;
- sentences of ads whose concepts we judged (`training/data/judged/`), against the concepts that
  the base takes for them and that were not chosen;
- sentences of ads in which a name stands: the name is drawn to its concept, and so is the sentence;
  every candidate phrase is drawn to the vector that it has alone, so that pairs of phrases mean
  in context what they mean apart.

Word embeddings and the lowest layers stay as they are. What is written is a part of the way from
the base to the tuned weights, which generalises better than either end (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). Seeded; it logs its losses.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import taxonomies
from extractor.encoders import MiniLMEncoder, minilm_folder
from extractor.int8 import find_ranges, parts_of
from extractor.mentions import surface_forms
from extractor.weights import read_weights, with_ranges, write_weights
from taxonomies import Concept
from training.judged import Judged, read_judged
from training.rows import read_rows
from training.written import read_written

TARGET = Path(__file__).parents[1] / "extractor" / "models" / "encoders" / "minilm.safetensors"
TEMPLATES = Path(__file__).parent / "ad_templates.toml"
SCALE = 20.0
"""Inverse temperature of all softmaxes over concepts."""
TOKEN_SCALE = 20.0
"""Inverse temperature of a concept's attention over tokens."""
MIX = {"name": 20, "description": 8, "template": 6, "written": 32, "judged": 28, "ad": 14}
"""Examples of each sort in a step."""
HARD_SHARE = 0.67
"""Share of a step's concepts for which one that is hard to tell from it is added."""
NEAR = 16
"""How far down the nearest labels such a one may stand."""
MISTAKEN = 24
"""How far down the labels next to a judged sentence one may stand that is to be kept off it."""
SELF_SPANS = 3
"""Phrases of an ad's sentence that are drawn to their own vectors."""
SELF_WEIGHT = 3.0
LONG = 80
"""Characters from which on a text is no name."""
MAX_TOKENS = 48
TOGETHER = 64
KEPT = 0.8
"""How far from the base to the tuned weights."""
SAMPLE = 500
"""Sentences that the ranges of the 8-bit arithmetic are found on."""
FROZEN_LAYERS = 2
"""Lowest layers that stay those of the base, beside the word embeddings."""


@dataclass
class Example:
    """A text to learn from.

    Attributes:
        text: The text.
        targets: Concepts that the text as a whole means.
        parts: (start, end, concepts) of parts that mean a concept; no concepts for a part that is
            drawn to its own vector.
        defensible: Concepts that one might take, too: they do not compete with those that are
            meant.
        mistaken: None or one concept that only looks alike, to compete with them.
    """

    text: str
    targets: list[int]
    parts: list[tuple[int, int, list[int]]] = field(default_factory=list)
    defensible: list[int] = field(default_factory=list)
    mistaken: list[int] = field(default_factory=list)


class Examples:
    """Draws examples at random.

    Args:
        concepts: All concepts of the bank.
        sentences: Rows of `training.sentences`.
        judged: Sentences whose concepts we judged.
        seed: Of the draws.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        sentences: list[dict[str, Any]],
        judged: Sequence[Judged],
        seed: int,
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self.concepts = concepts
        self.sentences = sentences
        self.position = {concept.id: i for i, concept in enumerate(concepts)}
        self.names = [surface_forms(concept) for concept in concepts]
        self.esco = [i for i, concept in enumerate(concepts) if concept.kind != "tool"]
        self.tools = [i for i, concept in enumerate(concepts) if concept.kind == "tool"]
        self.named = [i for i in self.esco if len(self.names[i]) > 1]
        self.described = {
            i: [
                part
                for part in re.split(r"(?<=[.;:])\s+", self.concepts[i].description)
                if len(part.split()) > 3
            ]
            for i in self.esco
        }
        self.described = {i: parts for i, parts in self.described.items() if parts}
        self.with_description = sorted(self.described)
        self.with_names = [row for row in sentences if row["names"]]
        self.templates: dict[str, list[str]] = tomllib.loads(TEMPLATES.read_text("utf-8"))
        self.written_rows = [row for row in read_written() if not row.held_out]
        self.judged_rows = [row for row in judged if row.meant and not row.held_out]
        self.looks_like: list[list[int]] = [[] for _ in self.judged_rows]
        self.same: dict[str, list[int]] = defaultdict(list)
        self.of_kind: dict[str, list[int]] = defaultdict(list)
        for i, concept in enumerate(concepts):
            self.same[self.names[i][0].lower()].append(i)
            self.of_kind[concept.kind].append(i)

    def name(self) -> Example:
        """An alternative name."""
        concept = self.random.choice(self.named)
        return Example(self.random.choice(self.names[concept][1:]), [concept])

    def description(self) -> Example:
        """A sentence of a description; four in ten beside a sentence of an ad."""
        concept = self.random.choice(self.with_description)
        text = self.random.choice(self.described[concept])
        if self.random.random() < 0.4:
            pair = [text, self.random.choice(self.sentences)["text"]]
            self.random.shuffle(pair)
            text = " ".join(pair)
        return Example(text, [concept])

    def template(self) -> Example:
        """A sentence made of a template and one to three names of the kind that it asks for."""
        kind = self.random.choices(("skill", "knowledge", "tool"), (5, 3, 1))[0]
        count = self.random.choices((1, 2, 3), (4, 4, 3))[0]
        pool = self.tools if kind == "tool" else self.of_kind[kind]
        chosen = self.random.sample(pool, count)
        frame = self.random.choice(self.templates[kind])
        names = [self.random.choice(self.names[concept]) for concept in chosen]
        joined, spans = "", []
        for number, name in enumerate(names):
            if number:
                joined += self.random.choice((" and ", ", ")) if number == count - 1 else ", "
            spans.append((len(joined), len(joined) + len(name)))
            joined += name
        before, after = frame.split("{}")
        shift = len(before)
        parts = [
            (start + shift, end + shift, [concept])
            for (start, end), concept in zip(spans, chosen, strict=True)
        ]
        return Example(before + joined + after, chosen, parts)

    def written(self) -> Example:
        """A sentence of our own."""
        row = self.random.choice(self.written_rows)
        concept = self.position[row.concept]
        return Example(row.text, [concept], [(row.start, row.end, [concept])])

    def known(self, ids: Sequence[str]) -> list[int]:
        """Positions of concepts, those left out that the bank does not have."""
        return [self.position[i] for i in ids if i in self.position]

    def find_mistaken(self, encoder: Encoder, labels: Tensor) -> None:
        """For each judged sentence, list what an encoder takes it for and we did not choose.

        Most of these were shown to us; the linker's candidates, not the encoder's, were judged.
        """
        vectors = encoder.still([row.text for row in self.judged_rows])
        near = (vectors @ labels.T).topk(MISTAKEN).indices.tolist()
        self.looks_like = [
            sorted(set(found) - set(self.alike(self.known((*row.meant, *row.defensible)))))
            for row, found in zip(self.judged_rows, near, strict=True)
        ]

    def judged(self) -> Example:
        """A sentence of an ad whose concepts we judged."""
        number = self.random.randrange(len(self.judged_rows))
        row = self.judged_rows[number]
        parts: dict[tuple[int, int], list[int]] = defaultdict(list)
        for start, end, concept in row.places:
            parts[start, end] += self.known([concept])
        return Example(
            row.text,
            self.known(row.meant),
            [(start, end, ids) for (start, end), ids in parts.items() if ids],
            self.known(row.defensible),
            self.random.sample(self.looks_like[number], min(1, len(self.looks_like[number]))),
        )

    def ad(self) -> Example:
        """A sentence of an ad: seven in ten with a name of a concept."""
        row = self.random.choice(self.with_names if self.random.random() < 0.7 else self.sentences)
        parts = []
        targets: list[int] = []
        for start, end, ids in row["names"]:
            known = self.known(ids)
            if known:
                parts.append((start, end, known))
                # "Excel" stands for itself; that a sentence means a tool teaches nothing.
                targets += [c for c in known if self.concepts[c].kind != "tool"]
        phrases = row["phrases"]
        for start, end in self.random.sample(phrases, min(SELF_SPANS, len(phrases))):
            parts.append((start, end, []))
        return Example(row["text"], sorted(set(targets)), parts)

    def alike(self, concepts: Sequence[int]) -> list[int]:
        """All concepts that have a label of some concepts: they do not compete with them."""
        return [o for c in concepts for o in self.same[self.names[c][0].lower()]]

    def draw(self, mix: Mapping[str, int]) -> list[Example]:
        """Examples, as many of each sort as `mix` says."""
        return [getattr(self, sort)() for sort, count in mix.items() for _ in range(count)]


class Encoder(nn.Module):
    """MiniLM with mean pooling over texts and over parts of texts.

    Args:
        folder: The base model, as sentence-transformers lays it out.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        # The fused attention of torch is slow backwards in bfloat16 on a CPU.
        self.model = AutoModel.from_pretrained(
            folder,
            attn_implementation="eager",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        lowest = self.model.encoder.layer[:FROZEN_LAYERS]
        for part in (self.model.embeddings, self.model.pooler, *lowest):
            part.requires_grad_(False)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states (texts, tokens, dimension), mask, and character offsets of tokens."""
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        offsets = batch.pop("offset_mapping")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.model(**batch).last_hidden_state
        return hidden.float(), batch["attention_mask"], offsets

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts, shape (texts, dimension); texts of like length go together."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = []
        for start in range(0, len(order), TOGETHER):
            hidden, mask, _ = self.tokens([texts[i] for i in order[start : start + TOGETHER]])
            vectors.append(pool(hidden, mask))
        return torch.cat(vectors)[torch.tensor(order).argsort()]

    @torch.no_grad()
    def still(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts without gradient."""
        vectors: Tensor = self(texts)
        return vectors


def pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the tokens that count, at length 1."""
    weights = mask.unsqueeze(-1).float()
    return nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1).clamp(min=1), dim=-1)


def span_masks(
    offsets: Tensor, mask: Tensor, places: Sequence[tuple[int, int, int]]
) -> tuple[Tensor, Tensor]:
    """Which tokens lie in which part.

    Args:
        offsets: Character offsets of tokens, shape (texts, tokens, 2).
        mask: Which tokens are no padding, shape (texts, tokens).
        places: (text, start, end) of each part.

    Returns:
        Rows of the texts, shape (parts,), and masks of shape (parts, tokens).
    """
    rows = torch.tensor([row for row, _, _ in places])
    starts = torch.tensor([start for _, start, _ in places]).unsqueeze(1)
    ends = torch.tensor([end for _, _, end in places]).unsqueeze(1)
    left, right = offsets[rows, :, 0], offsets[rows, :, 1]
    inside = (left < ends) & (right > starts) & (right > left) & (mask[rows] > 0)
    return rows, inside


def softmax_loss(logits: Tensor, wanted: Sequence[tuple[int, int, Sequence[int]]]) -> Tensor:
    """Mean loss over rows, each of which may want several columns.

    Args:
        logits: Shape (rows, columns).
        wanted: (row, column, columns that do not compete with it).
    """
    rows = [row for row, _, _ in wanted]
    columns = torch.tensor([column for _, column, _ in wanted])
    blocked = torch.zeros(len(rows), logits.shape[1], dtype=torch.bool)
    for number, (_, _, friends) in enumerate(wanted):
        blocked[number, friends] = True
    blocked[torch.arange(len(rows)), columns] = False
    losses = nn.functional.cross_entropy(
        logits[rows].masked_fill(blocked, -1e4), columns, reduction="none"
    )
    weights = 1 / torch.bincount(torch.tensor(rows), minlength=len(logits))[rows]
    return (losses * weights).sum() / weights.sum()


def attended(hidden: Tensor, mask: Tensor, concepts: Tensor) -> Tensor:
    """Cosine of each concept with the tokens that it attends to.

    Args:
        hidden: Token vectors, shape (texts, tokens, dimension).
        mask: Which tokens count, shape (texts, tokens).
        concepts: Unit vectors, shape (concepts, dimension).

    Returns:
        Shape (texts, concepts).
    """
    unit = nn.functional.normalize(hidden, dim=-1)
    scores = torch.einsum("btd,cd->bct", unit, concepts)
    scores = scores.masked_fill(mask.unsqueeze(1) == 0, -1e4)
    weights = (TOKEN_SCALE * scores).softmax(-1)
    pooled = torch.einsum("bct,btd->bcd", weights, unit)
    return (nn.functional.normalize(pooled, dim=-1) * concepts).sum(-1)


class Negatives:
    """Draws concepts that are hard to tell from those of a batch.

    Args:
        vectors: Unit vectors of all labels, made by the encoder as it comes.
        seed: Of the draws.
    """

    def __init__(self, vectors: Tensor, seed: int) -> None:
        self.vectors = vectors
        self.random = random.Random(seed)  # noqa: S311 - a sample, not a secret

    def draw(self, wanted: Sequence[int]) -> list[int]:
        """For two in three of some concepts one of those next to it, none of them twice."""
        asked = [concept for concept in wanted if self.random.random() < HARD_SHARE]
        near = (self.vectors[asked] @ self.vectors.T).topk(NEAR).indices[:, 1:].tolist()
        return sorted({self.random.choice(row) for row in near} - set(wanted))


def step_losses(
    encoder: Encoder, examples: Examples, negatives: Negatives, drawn: Sequence[Example]
) -> dict[str, Tensor]:
    """The losses of one step, by name."""
    wanted = sorted(
        {c for e in drawn for ids in (e.targets, *(p[2] for p in e.parts)) for c in ids}
    )
    mistaken = {c for e in drawn for c in e.mistaken}
    compared = sorted({*wanted, *negatives.draw(wanted), *mistaken})
    column = {concept: number for number, concept in enumerate(compared)}
    shorts = [e for e in drawn if not e.parts and len(e.text) < LONG]
    longs = sorted((e for e in drawn if e not in shorts), key=lambda e: len(e.text))
    short = encoder([*(examples.names[c][0] for c in compared), *(e.text for e in shorts)])
    labels, names = short[: len(compared)], short[len(compared) :]

    sentences, parts, seen, attention = [], [], [], []
    half = len(longs) // 2
    for group in (longs[:half], longs[half:]):
        hidden, mask, offsets = encoder.tokens([e.text for e in group])
        sentences.append(pool(hidden, mask))
        places = [(row, start, end) for row, e in enumerate(group) for start, end, _ in e.parts]
        rows, inside = span_masks(offsets, mask, places)
        parts.append(pool(hidden[rows], inside))
        seen.append(inside.any(1))  # a part may lie behind the last token that is read
        attention.append(attended(hidden, mask, labels))
    part, read = torch.cat(parts), torch.cat(seen).tolist()
    texts = torch.cat([names, *sentences])
    means = [ids for e in longs for _, _, ids in e.parts]
    close = [e.defensible for e in longs for _ in e.parts]
    selves = [i for i, ids in enumerate(means) if not ids and read[i]]
    words = [e.text[start:end] for e in longs for start, end, _ in e.parts]
    alone = encoder.still([words[i] for i in selves])

    def wants(
        meant: Sequence[Sequence[int]], defensible: Sequence[Sequence[int]]
    ) -> list[tuple[int, int, list[int]]]:
        return [
            (row, column[c], [column[o] for o in examples.alike([*ids, *others]) if o in column])
            for row, (ids, others) in enumerate(zip(meant, defensible, strict=True))
            for c in ids
        ]

    every = [*shorts, *longs]

    return {
        "text": softmax_loss(
            SCALE * texts @ labels.T,
            wants([e.targets for e in every], [e.defensible for e in every]),
        ),
        "part": softmax_loss(
            SCALE * part @ labels.T,
            wants([ids if kept else [] for ids, kept in zip(means, read, strict=True)], close),
        ),
        "self": SELF_WEIGHT * (1 - (part[selves] * alone).sum(1)).mean(),
        "token": softmax_loss(
            SCALE * torch.cat(attention),
            wants([e.targets for e in longs], [e.defensible for e in longs]),
        ),
    }


def main() -> None:
    """Train, log, save the layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--sentences", type=Path, required=True, help="made by training.sentences")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=4e-5)
    parser.add_argument("--kept", type=float, default=KEPT, help="how far from the base to go")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    taxonomy = taxonomies.load("default")
    concepts = list(taxonomy.of_kind("skill", "knowledge", "tool"))
    rows = read_rows(options.sentences)
    examples = Examples(concepts, rows, read_judged(options.data), options.seed)
    encoder = Encoder(minilm_folder())
    labels = encoder.still([names[0] for names in examples.names])
    examples.find_mistaken(encoder, labels)
    negatives = Negatives(labels, options.seed)
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.rate, weight_decay=0.01)
    warmup = max(1, options.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warmup) * (1 - step / options.steps),
    )
    encoder.train()
    sums: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    for step in range(options.steps):
        losses = step_losses(encoder, examples, negatives, examples.draw(MIX))
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        for name, value in losses.items():
            sums[name] += float(value.detach())
        if (step + 1) % 50 == 0:
            means = " ".join(f"{name} {value / 50:.3f}" for name, value in sums.items())
            print(f"{step + 1:5} {time.perf_counter() - began:6.0f} s  {means}", flush=True)
            sums.clear()
    base = Encoder(minilm_folder()).model.state_dict()
    learned = {k: p.detach() for k, p in encoder.model.named_parameters() if p.requires_grad}
    change = {name: options.kept * (value - base[name]) for name, value in learned.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(options.out, change)
    write_ranges(options.out, [row["text"] for row in rows[:: max(1, len(rows) // SAMPLE)]])


def write_ranges(path: Path, texts: Sequence[str]) -> None:
    """Add the ranges of the 8-bit arithmetic to weights, as they are on sample texts."""
    change = read_weights(path)
    encoder = MiniLMEncoder("tuned", path, integers=False)
    ranges = find_ranges(parts_of(encoder.layers), lambda: encoder.encode(texts))
    write_weights(path, with_ranges(change, ranges))


if __name__ == "__main__":
    main()
