"""Train the span finder on SkillSpan, with soft skills of Sayfullina and sentences of ads.

    python -m training.spans --data ../shared/data

1. Teachers, alike but for their seed, learn from the expert spans of SkillSpan (train) and from
   snippets of Sayfullina et al. (train) with one soft skill each: all that these say is that some
   span meets this place.
2. They read sentences of unlabelled ads, and a student learns the mean of their probabilities
   (self-training with soft labels) together with what the teachers learned from and with sentences
   of ads of all trades that were marked in SkillSpan's manner with a language model's help.
3. Calibration and thresholds are fitted on SkillSpan (dev).

Teachers have all layers of MiniLM for their own. The student goes on from the states of word pieces
behind the encoder's first layers, which stay as they are, and begins with some of the upper layers
of the first teacher where it has layers alike. Weights are averaged over the last steps. Seeded.
Writes extractor/models/spans/ENCODER with its card.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from spacy.language import Language
from spacy.tokens import Span
from torch import Tensor, nn

from extractor.components import Zones
from extractor.encoders import (
    LAYERS,
    SHARED,
    CachedEncoder,
    MiniLMEncoder,
    load_encoder,
    minilm_folder,
)
from extractor.int8 import find_ranges
from extractor.interfaces import Encoder
from extractor.pipeline import make_doc
from extractor.records import BOILERPLATE_ZONES
from extractor.spans import (
    IMPOSSIBLE,
    LABELS,
    MAX_WIDTH,
    MODELS,
    Candidate,
    Places,
    SpanFinder,
    SpanNetwork,
    TransformerLayers,
    Words,
    decode,
    log_partition,
    make_batch,
    make_network,
    words_of,
)
from extractor.weights import read_weights, split_ranges, write_weights
from extractor.zones import mask_markup
from training.judged import is_held_out
from training.rows import Row, read_rows

CARD = Path(__file__).with_name("spans_card.md")
MARKED = Path(__file__).parent / "data" / "marked" / "ads.tsv"
"""Id of an ad, offsets of a sentence, and the spans in it: "S@0:10 K@5:10"."""
MARKS = {"S": "SKILL", "K": "KNOWLEDGE"}
MARK = re.compile(r"([SK])@(\d+):(\d+)")
BATCH_PIECES = 900
SENTENCES_AN_AD = 30
LAYER_RATE = 1.5e-4
LAYER_DECAY = 0.85
HEAD_RATE = 1e-3
PLACE_WEIGHT = 0.3
"""Weight of a sentence of which one place is labelled, and not as SkillSpan would."""
AD_WEIGHT = 0.5
TEACHERS = 4
TEACHER_EPOCHS = 4
SAMPLE = 500
"""Sentences of ads that the ranges of the 8-bit arithmetic are found on."""
THRESHOLDS = np.arange(0.1, 0.61, 0.02)


class Example(NamedTuple):
    """A sentence to learn from.

    Attributes:
        words: The sentence, or a part of a long one.
        kind: `spans` (all runs are known), `place` (some run of the label meets the only one) or
            `soft` (of an ad; marked or taught).
        runs: Runs of words; their probability is 1 but for what is taught.
    """

    words: Words
    kind: str
    runs: list[Candidate]


def labelled(nlp: Language, finder: SpanFinder, rows: Sequence[Row], kind: str) -> list[Example]:
    """Examples of rows with `text` and `spans`; equal rows give one example."""
    distinct = {(row["text"], json.dumps(row["spans"])): row for row in rows}.values()
    sentences = [words_of(make_doc(nlp, row["text"])[:]) for row in distinct]
    examples = []
    for row, places, parts in zip(distinct, sentences, finder.read(sentences), strict=True):
        runs = [_run(places, span) for span in row["spans"]]
        start = 0
        for part in parts:
            end = start + len(part.pieces)
            # A run over the cut of a long sentence is lost.
            inside = [
                _shifted(run, -start) for run in runs if start <= run.start and run.end <= end
            ]
            if kind != "place" or inside:
                examples.append(Example(part, kind, inside))
            start = end
    return examples


def _run(places: Places, span: dict[str, Any]) -> Candidate:
    inside = np.flatnonzero((places.starts < span["end"]) & (span["start"] < places.ends))
    label = LABELS.index(span["label"]) if span["label"] in LABELS else 0
    return Candidate(int(inside[0]), int(inside[-1]) + 1, label, 1.0)


def _shifted(run: Candidate, shift: int) -> Candidate:
    """Move a run by some words."""
    return run._replace(start=run.start + shift, end=run.end + shift)


def ad_sentences(nlp: Language, path: Path, limit: int, seed: int) -> list[Span]:
    """Distinct sentences of unlabelled ads, outside of what describes the employer."""
    rows = read_rows(path)
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    rng.shuffle(rows)
    zones = Zones()

    found: dict[str, Span] = {}
    for row in rows:
        doc = make_doc(nlp, mask_markup(row["text"]))
        doc._.jobshift_title = row.get("title")
        zones(doc)
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


def read_marked(data: Path, *, held_out: bool) -> list[Row]:
    """Sentences of ads of all trades, marked in the manner of SkillSpan.

    Args:
        data: Folder of the labelled sets and ads, which hold the text.
        held_out: Whether those of held-out ads are read, or all others.

    Returns:
        Rows with `text` and `spans`.

    Raises:
        ValueError: A line names an ad that is not there, or has a mark that cannot be read.
    """
    ads = {row["id"]: mask_markup(row["text"]) for row in read_rows(data / "ads/ads.jsonl")}
    rows: list[Row] = []
    for number, line in enumerate(MARKED.read_text(encoding="utf-8").splitlines(), start=1):
        ad, start, end, marks = line.split("\t")
        spans = MARK.findall(marks)
        if ad not in ads or len(spans) != len(marks.split()):
            raise ValueError(f"{MARKED}, line {number}: {ad} is no ad, or a mark of {marks!r} none")
        if is_held_out(ad) == held_out:
            rows.append(
                {
                    "text": ads[ad][int(start) : int(end)],
                    "spans": [
                        {"label": MARKS[label], "start": int(first), "end": int(last)}
                        for label, first, last in spans
                    ],
                }
            )
    return rows


def begin_as_minilm(layers: TransformerLayers) -> None:
    """Begin as all layers of MiniLM as it comes."""
    base = load_file(minilm_folder() / "model.safetensors")
    layers.load_state_dict({name: base[name] for name in layers.state_dict()})


def inherit(student: SpanNetwork, teacher: SpanNetwork) -> None:
    """Begin with a teacher's scores and with some of its layers, evenly apart.

    As in Sanh et al., "DistilBERT, a distilled version of BERT" (2019), but of the layers above
    those that the encoder shares.
    """
    last = teacher.layers.count - 1
    chosen = np.linspace(SHARED, last, student.layers.count).round().astype(int)
    known = teacher.state_dict()

    def in_teacher(name: str) -> str:
        return re.sub(
            r"(?<=^layers\.encoder\.layer\.)\d+", lambda number: str(chosen[int(number[0])]), name
        )

    student.load_state_dict({name: known[in_teacher(name)] for name in student.state_dict()})


def taught(
    teachers: Sequence[SpanFinder], finder: SpanFinder, sentences: Sequence[Span]
) -> list[Example]:
    """Examples of unlabelled sentences with the mean probabilities that teachers give."""
    found = []
    for start in range(0, len(sentences), 1000):
        part = [words_of(sentence) for sentence in sentences[start : start + 1000]]
        # All teachers go on from one encoder.
        read = teachers[0].read(part)
        given = [teacher.candidates(read) for teacher in teachers]
        for parts, *runs in zip(finder.read(part), *given, strict=True):
            if len(parts) == 1:
                shares: defaultdict[tuple[int, int, int], float] = defaultdict(float)
                for run in (run for of_teacher in runs for run in of_teacher):
                    shares[run[:3]] += run.probability / len(teachers)
                means = [Candidate(*place, share) for place, share in shares.items()]
                found.append(Example(parts[0], "soft", means))
    return found


def loss_of(network: SpanNetwork, examples: Sequence[Example]) -> Tensor:
    """Summed loss of examples of one kind.

    `spans` and `soft`: cross-entropy of the runs. `place`: negative logarithm of the probability
    that some run of the label shares a word with the given one.
    """
    batch = make_batch([example.words for example in examples])
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(batch)
    total = log_partition(scores)
    if examples[0].kind == "place":
        starts = torch.arange(scores.shape[2])[:, None]
        ends = starts + torch.arange(MAX_WIDTH)[None] + 1
        meets = torch.stack([(starts < e.runs[0].end) & (e.runs[0].start < ends) for e in examples])
        labels = torch.tensor([example.runs[0].label for example in examples])
        rows = torch.arange(len(examples))
        without = log_partition(scores[rows, labels, None].masked_fill(meets[:, None], IMPOSSIBLE))
        gap = (without[:, 0] - total[rows, labels]).clamp(max=-1e-4)
        met: Tensor = torch.log(-torch.expm1(gap)).sum()
        return -PLACE_WEIGHT * met
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
        sizes = [(e.kind, len(e.words.states), e) for e in order[start : start + 600]]
        batch: list[Example] = []
        for kind, size, example in sorted(sizes, key=lambda item: item[:2]):
            if batch and (batch[0].kind != kind or (len(batch) + 1) * size > BATCH_PIECES):
                found.append(batch)
                batch = []
            batch.append(example)
        found.append(batch)
    rng.shuffle(found)
    return found


def parameter_groups(network: SpanNetwork) -> list[dict[str, Any]]:
    """Learning rates: lower for lower layers."""
    if not isinstance(network.layers, TransformerLayers):
        return [{"params": list(network.parameters()), "lr": HEAD_RATE}]
    groups = [
        {"params": list(layer.parameters()), "lr": LAYER_RATE * LAYER_DECAY**depth}
        for depth, layer in enumerate(reversed(list(network.layers.encoder.layer)))
    ]
    heads = [p for name, p in network.named_parameters() if not name.startswith("layers.")]
    return [*groups, {"params": heads, "lr": HEAD_RATE}]


def train(network: SpanNetwork, examples: Sequence[Example], *, epochs: int, seed: int) -> None:
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
            loss = loss_of(network, batch)
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


def fit_decision(
    finder: SpanFinder, gold: Sequence[Example], places: Sequence[Example]
) -> dict[str, float]:
    """Fit calibration and thresholds of a finder in place.

    The threshold of a label is the one with the best sum of strict and overlap F1.

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
    for label in range(len(LABELS)):
        scored = []
        for threshold in THRESHOLDS:
            found = [decode(runs, (float(threshold),) * len(LABELS)) for runs in candidates]
            strict, overlap = f1_scores(counts(found, gold, label))
            scored.append((strict + overlap, round(float(threshold), 2)))
        thresholds.append(max(scored)[1])
    finder.thresholds = thresholds
    of_places = finder.candidates([[example.words] for example in places])
    figures["Sayfullina recall"] = place_recall(finder, of_places, places)
    found = [decode(runs, thresholds) for runs in candidates]
    for label, name in enumerate(LABELS):
        strict, overlap = f1_scores(counts(found, gold, label))
        figures |= {f"{name} strict F1": strict, f"{name} overlap F1": overlap}
    return figures


def place_recall(
    finder: SpanFinder, found: Sequence[Sequence[Candidate]], gold: Sequence[Example]
) -> float:
    """Share of labelled places that some span of either label meets."""
    met = 0
    for runs, example in zip(found, gold, strict=True):
        place = example.runs[0]
        met += any(
            run.start < place.end and place.start < run.end
            for run in decode(runs, finder.thresholds)
        )
    return met / len(gold)


def write_card(
    folder: Path, finder: SpanFinder, figures: dict[str, float], origin: str, command: str
) -> None:
    """Write the model card.

    Args:
        folder: Folder of the model.
        finder: The finder as shipped.
        figures: Its figures, by name.
        origin: What it was trained on.
        command: What makes it again.
    """
    tensors, _ = split_ranges(read_weights(folder / "weights.safetensors"))
    parameters = sum(values.numel() for values in tensors.values())
    is_transformer = any(".attention." in name for name in tensors)
    fields = {
        "command": command,
        "kind": f"layers of MiniLM behind the first {SHARED} of the encoder"
        if is_transformer
        else "gated convolutions over the encoder's word pieces",
        "encoder": folder.name,
        "version": finder.version,
        "origin": origin,
        "layers": finder.network.layers.count,
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
    parser.add_argument("--out", type=Path, help="folder of the model")
    parser.add_argument(
        "--teachers", type=Path, default=Path("runs/teachers"), help="folder; trained if missing"
    )
    parser.add_argument("--encoder", default="accurate", help="whose word pieces it goes on from")
    parser.add_argument("--layers", type=int, default=2, help="its own, after the encoder's")
    parser.add_argument("--epochs", type=int, default=8, help="of the student")
    parser.add_argument("--ads", type=int, default=40000, help="sentences of ads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="6")
    options = parser.parse_args()
    out: Path = options.out or MODELS / options.encoder
    torch.set_num_threads(1)

    nlp = spacy.blank("en")

    def new_finder(encoder: Encoder, layers: int, seed: int) -> SpanFinder:
        torch.manual_seed(seed)
        # The fused attention of torch is slow backwards on a CPU.
        network = make_network(layers, encoder.dimension, attention="eager")
        if isinstance(network.layers, TransformerLayers):
            begin_as_minilm(network.layers)
        return SpanFinder(network, CachedEncoder(encoder, size=1), version=options.version)

    known: dict[tuple[str, str], tuple[list[Example], list[Example], list[Example]]] = {}

    def examples(
        finder: SpanFinder, split: str
    ) -> tuple[list[Example], list[Example], list[Example]]:
        # Of SkillSpan, of Sayfullina and marked ones, alike for all finders of one encoder.
        key = finder.encoder.name, split
        if key not in known:
            spans = read_rows(options.data / f"skillspan/{split}.jsonl")
            places = read_rows(options.data / f"sayfullina/{split}.jsonl")
            marked = read_marked(options.data, held_out=split == "dev")
            known[key] = (
                labelled(nlp, finder, spans, "spans"),
                labelled(nlp, finder, places, "place"),
                labelled(nlp, finder, marked, "soft"),
            )
        return known[key]

    def report(name: str, finder: SpanFinder) -> dict[str, float]:
        spans, places, marked = examples(finder, "dev")
        figures = fit_decision(finder, spans, places)
        candidates = finder.candidates([[example.words] for example in marked])
        found = [decode(runs, finder.thresholds) for runs in candidates]
        for label, kind in enumerate(LABELS):
            strict, overlap = f1_scores(counts(found, marked, label))
            figures |= {f"{kind} strict F1, all trades": strict}
            figures |= {f"{kind} overlap F1, all trades": overlap}
        print(name, figures, finder.thresholds, finder.calibration, flush=True)
        return figures

    minilm = MiniLMEncoder("all-MiniLM-L6-v2", shared=0)
    teachers = []
    for seed in range(options.seed, options.seed + TEACHERS):
        teacher = new_finder(minilm, LAYERS, seed)
        path = options.teachers / f"{seed}.safetensors"
        if not path.exists():
            spans, places, _ = examples(teacher, "train")
            train(teacher.network, [*spans, *places], epochs=TEACHER_EPOCHS, seed=seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_weights(path, teacher.network.state_dict())
        # Read back, so that it teaches the same whether it was trained now or before.
        teacher.network.load_state_dict(read_weights(path))
        report(f"teacher {seed}", teacher)
        teacher.calibration = ((1.0, 0.0),) * len(LABELS)
        teachers.append(teacher)

    finder = new_finder(load_encoder(options.encoder), options.layers, options.seed)
    if isinstance(finder.network.layers, TransformerLayers):
        inherit(finder.network, teachers[0].network)
    spans, places, marked = examples(finder, "train")
    sentences = ad_sentences(nlp, options.data / "ads/ads.jsonl", options.ads, options.seed)
    soft = taught(teachers, finder, sentences)
    learned = [*spans, *places, *marked, *soft]
    train(finder.network, learned, epochs=options.epochs, seed=options.seed)
    report("student", finder)
    sample = finder.read([words_of(sentence) for sentence in sentences[:SAMPLE]])
    ranges = find_ranges(finder.network.rounded, lambda: finder.candidates(sample))
    finder.save(out, ranges)
    # The card tells of what is shipped: weights in 8 bits.
    finder = SpanFinder.load(finder.encoder, out)
    figures = report("shipped", finder)
    finder.save_decision(out)
    origin = (
        f"{len(spans):,} sentences of SkillSpan, {len(places):,} snippets of Sayfullina et al., "
        f"{len(marked):,} marked and {len(soft):,} other sentences of ads; "
        f"seed {options.seed}, {TEACHERS} teachers, "
        f"{TEACHER_EPOCHS} epochs of theirs, {options.epochs} of the student"
    )
    command = (
        f"python -m training.spans --data … --encoder {options.encoder} --layers {options.layers} "
        f"--epochs {options.epochs}"
    )
    write_card(out, finder, figures, origin, command)


if __name__ == "__main__":
    main()
