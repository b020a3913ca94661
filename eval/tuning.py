"""Thresholds tuned on labels of one's own, with the figure that they reach on rows not seen."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.engine import Engine
from eval.errors import EvaluationError
from eval.metrics import Difference, Estimate, LabelledSpan
from eval.report import plain, sha256_of
from eval.rows import ExtractionRow, Row, SpansRow
from eval.tasks import SPAN_LABELS, found_spans, read_ads

LOWEST = 0.02
GRID = np.round(np.arange(LOWEST, 0.96, 0.01), 2)
FOLDS = 5
MIN_DOCUMENTS = 20
"""Fewer ads say nothing about a threshold; 50 are a start."""


@dataclass(frozen=True)
class Tuned:
    """A threshold and what it is worth.

    Attributes:
        threshold: Best on all rows.
        shipped: The one that comes with the engine.
        before: F1 of the shipped one.
        after: F1 where each fifth of the ads is judged by the threshold that is best on the others.
        gain: `after` minus `before`, paired.
        curve: (threshold, precision, recall, F1) over the grid, on all rows.
    """

    threshold: float
    shipped: float
    before: Estimate
    after: Estimate
    gain: Difference
    curve: list[tuple[float, float, float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without resamples."""
        estimates = plain({"before": self.before, "after": self.after})
        return {
            "threshold": self.threshold,
            "shipped": self.shipped,
            **estimates,
            "gain": self.gain._asdict(),
            "curve": [[round(value, 4) for value in point] for point in self.curve],
        }


def tune_threshold(
    counts: NDArray[np.float64], documents: Sequence[Hashable], shipped: float
) -> Tuned:
    """Choose the threshold of best F1, and estimate by cross-validation what it is worth.

    Args:
        counts: Counts as of `metrics.set_counts` for each row and threshold of the grid, shape
            (rows, grid, 4).
        documents: Which ad each row belongs to; those of one ad stay in one fold.
        shipped: The threshold to compare with; the nearest of the grid stands in for it.

    Raises:
        EvaluationError: There are too few ads, or none has gold.
    """
    names = list(dict.fromkeys(documents))
    if len(names) < MIN_DOCUMENTS:
        raise EvaluationError(
            f"only {len(names)} labelled ads; tuning needs at least {MIN_DOCUMENTS}, and 50 are a "
            "start"
        )
    if not counts[..., 3].any():
        raise EvaluationError("no row has a gold label of this kind")
    order = np.random.default_rng(metrics.SEED).permutation(len(names))
    fold_of = {names[number]: place % FOLDS for place, number in enumerate(order)}
    folds = np.array([fold_of[document] for document in documents])
    unseen = np.zeros((len(counts), 4))
    for fold in range(FOLDS):
        unseen[folds == fold] = counts[folds == fold, _best(counts[folds != fold])]
    was = int(np.abs(GRID - shipped).argmin())
    f1 = {"f1": metrics.f1}
    before = metrics.bootstrap(counts[:, was], f1, documents=documents)["f1"]
    after = metrics.bootstrap(unseen, f1, documents=documents)["f1"]
    sums = counts.sum(axis=0)
    curve = zip(
        GRID.tolist(),
        metrics.precision(sums).tolist(),
        metrics.recall(sums).tolist(),
        metrics.f1(sums).tolist(),
        strict=True,
    )
    return Tuned(
        float(GRID[_best(counts)]),
        shipped,
        before,
        after,
        metrics.difference(after, before),
        list(curve),
    )


def _best(counts: NDArray[np.float64]) -> int:
    """Position of the highest threshold of the best F1, to a thousandth."""
    f1 = np.nan_to_num(metrics.f1(counts.sum(axis=0)))
    return int(np.flatnonzero(f1 >= f1.max() - 1e-3)[-1])


def concept_counts(engine: Engine, rows: Sequence[ExtractionRow]) -> NDArray[np.float64]:
    """Counts of concepts at each threshold, by an engine that returns all from `LOWEST` on.

    Rows without any link count, too: what is returned for them is wrong.
    """
    results, _ = read_ads(engine, rows)
    counts = np.zeros((len(rows), len(GRID), 4))
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        gold = {str(link.uri) for link in row.links or () if link.uri}
        scores = {s.concept_id: s.score for s in result.skills if s.requirement != "negated"}
        for place, threshold in enumerate(GRID):
            found = {one for one, score in scores.items() if score >= threshold}
            counts[number, place] = metrics.set_counts(found, gold)
    return counts


def span_counts(engine: Engine, rows: Sequence[SpansRow], label: str) -> NDArray[np.float64]:
    """Counts of spans of a label at each threshold; below the shipped one nothing is returned."""
    results, _ = read_ads(engine, rows)
    found = found_spans(engine, rows, results)
    counts = np.zeros((len(rows), len(GRID), 4))
    for number, (row, spans) in enumerate(zip(rows, found, strict=True)):
        gold = {LabelledSpan(s.start, s.end, s.label) for s in row.spans if s.label == label}
        for place, threshold in enumerate(GRID):
            given = {
                LabelledSpan(s.start, s.end, s.label)
                for s in spans
                if s.label == label and s.probability >= threshold
            }
            counts[number, place] = metrics.set_counts(given, gold)
    return counts


def tune(
    linked: Sequence[ExtractionRow],
    spans: Sequence[SpansRow],
    engine: Engine,
    shipped: float,
) -> dict[str, Tuned]:
    """Tune what the rows have labels for: `concepts`, and `SKILL` and `KNOWLEDGE` spans.

    Args:
        linked: Rows with links.
        spans: Rows with spans.
        engine: An engine whose threshold is `LOWEST`.
        shipped: The threshold of concepts that it comes with.

    Raises:
        EvaluationError: There are too few rows, or none has a label.
    """
    tuned = {}
    if any(link.uri for row in linked for link in row.links or ()):
        counts = concept_counts(engine, linked)
        tuned["concepts"] = tune_threshold(counts, _documents(linked), shipped)
    for label in SPAN_LABELS:
        if any(span.label == label for row in spans for span in row.spans):
            counts = span_counts(engine, spans, label)
            tuned[label] = tune_threshold(counts, _documents(spans), LOWEST)
    if not tuned:
        raise EvaluationError(
            "nothing to tune: no row has a link with a URI, or a span SKILL or KNOWLEDGE"
        )
    return tuned


def settings(
    tuned: dict[str, Tuned], *, taxonomy: str, encoder: str, files: Sequence[Path], command: str
) -> dict[str, Any]:
    """What is saved: arguments for `SkillExtractor.load`, thresholds of spans, and their origin."""
    load: dict[str, Any] = {"taxonomy": taxonomy, "encoder": encoder}
    if "concepts" in tuned:
        load["threshold"] = tuned["concepts"].threshold
    return {
        "load": load,
        "spans": {label: tuned[label].threshold for label in SPAN_LABELS if label in tuned},
        "tuned": {name: one.to_dict() for name, one in tuned.items()},
        "data": {str(path): sha256_of(path) for path in files},
        "command": command,
    }


def _documents(rows: Sequence[Row]) -> list[Hashable]:
    return [row.document for row in rows]
