"""Train the fast encoder: one vector a word piece, no layers.

    python -m training.sentences --data ../shared/data --out sentences.jsonl
    python -m training.static --data ../shared/data --sentences sentences.jsonl

A text's vector is the mean of its word pieces' vectors. These begin as what the accurate encoder
makes of each piece alone, reduced by principal components and weighted down the more frequent they
are (Minish Lab's model2vec; Arora et al., "A Simple but Tough-to-Beat Baseline for Sentence
Embeddings", ICLR 2017), and then learn from the same examples and by the same softmax over all
concepts as the accurate one (`training.encoder`). Writes
extractor/models/encoders/static.safetensors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

import taxonomies
from extractor.encoders import load_encoder, minilm_folder
from extractor.weights import write_weights
from training.encoder import SCALE, Example, Examples, softmax_loss
from training.judged import read_judged
from training.rows import read_rows

TARGET = Path(__file__).parents[1] / "extractor" / "models" / "encoders" / "static.safetensors"
DIMENSION = 256
MIX = {"name": 160, "description": 50, "template": 50, "written": 160, "judged": 120, "ad": 80}
"""Examples of each sort in a step."""


def first_vectors(tokenizer: Tokenizer) -> NDArray[np.float32]:
    """What the accurate encoder makes of each word piece, shape (pieces, DIMENSION)."""
    pieces = [str(tokenizer.id_to_token(i)) for i in range(tokenizer.get_vocab_size())]
    vectors = load_encoder("accurate").encode([piece.removeprefix("##") for piece in pieces])
    centred = vectors - vectors.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    # Pieces are sorted by frequency; rank stands for probability, as Zipf's law has it.
    ranks = np.arange(1, len(pieces) + 1)
    probability = (1 / ranks) / (1 / ranks).sum()
    weights = 1e-4 / (1e-4 + probability)
    start: NDArray[np.float32] = centred @ components[:DIMENSION].T * weights[:, None]
    return start.astype(np.float32)


class Static(nn.Module):
    """Mean of word-piece vectors.

    Args:
        tokenizer: Of the accurate encoder.
        vectors: Shape (pieces, dimension).
    """

    def __init__(self, tokenizer: Tokenizer, vectors: NDArray[np.float32]) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.table = nn.EmbeddingBag.from_pretrained(torch.from_numpy(vectors), freeze=False)

    def bags(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of all pieces of all texts, and where each text begins."""
        ids = [e.ids for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        starts = np.cumsum([0, *map(len, ids[:-1])])
        return torch.tensor([i for line in ids for i in line]), torch.from_numpy(starts)

    def forward(self, bags: tuple[Tensor, Tensor]) -> Tensor:
        """Unit vectors, shape (texts, dimension)."""
        return nn.functional.normalize(self.table(*bags), dim=-1)


def flat(examples: Sequence[Example]) -> list[tuple[str, list[int], list[int]]]:
    """Texts and named parts of examples, what they mean, and what one might take them for."""
    texts = [(e.text, e.targets, e.defensible) for e in examples]
    parts = [
        (e.text[start:end], ids, e.defensible) for e in examples for start, end, ids in e.parts
    ]
    return [example for example in (*texts, *parts) if example[1]]


def main() -> None:
    """Train, log, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--sentences", type=Path, required=True, help="made by training.sentences")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    concepts = list(taxonomies.load("default").of_kind("skill", "knowledge", "tool"))
    rows = read_rows(options.sentences)
    examples = Examples(concepts, rows, read_judged(options.data), options.seed)
    tokenizer: Tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = Static(tokenizer, first_vectors(tokenizer))
    labels = model.bags([names[0] for names in examples.names])
    optimizer = torch.optim.Adam(model.parameters(), lr=options.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, options.steps)
    began, total = time.perf_counter(), 0.0
    for step in range(1, options.steps + 1):
        drawn = flat(examples.draw(MIX))
        logits = SCALE * model(model.bags([text for text, _, _ in drawn])) @ model(labels).T
        wanted = [
            (row, concept, examples.alike([*ids, *defensible]))
            for row, (_, ids, defensible) in enumerate(drawn)
            for concept in ids
        ]
        loss = softmax_loss(logits, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 50 == 0:
            print(f"{step:5} {time.perf_counter() - began:6.0f} s  {total / 50:.3f}", flush=True)
            total = 0.0
    write_weights(options.out, {"table": model.table.weight.detach()})


if __name__ == "__main__":
    main()
