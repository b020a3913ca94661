"""Metrics as pure functions on ids and counts, and bootstrap intervals around them.

A metric over a file is a function of *counts summed over rows* (true positives, cells of a
confusion matrix, a sum and the number of its terms). Resampling rows then is one matrix
product: the weights of the resamples times the counts of the rows.

Resamples are drawn with a fixed seed. Two systems on the same rows are therefore resampled alike,
and the difference of their resampled values is that of a paired bootstrap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Metric = Callable[[Array], Array]
"""Maps summed counts, with any number of leading axes (the resamples), to values."""

SEED = 20260
RESAMPLES = 1000
CONFIDENCE = 0.95
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its 95 % bootstrap interval.

    Attributes:
        value: The value on the rows as they are.
        low: Lower bound.
        high: Upper bound.
        resampled: Values on the resamples, shape (resamples,); none where nothing was resampled.
        drawn: Says from which documents the resamples were drawn: where two are equal, the n-th
            resample of both consists of the same documents.
    """

    value: float
    low: float
    high: float
    resampled: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    drawn: str = field(default="", repr=False, compare=False)

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """A value that is known, or measured once."""
        return cls(value, value, value)


class Difference(NamedTuple):
    """How much a system gains over another on the same rows.

    Attributes:
        value: Its value minus that of the other.
        low: Lower bound of the 95 % interval of the paired bootstrap.
        high: Upper bound.
        p: Two-sided p-value: how rarely resamples fall on the other side of 0.
    """

    value: float
    low: float
    high: float
    p: float


class LabelledSpan(NamedTuple):
    """A labelled stretch of text, `end` behind the last character."""

    start: int
    end: int
    label: str


# Ranking: one query, its ranked ids (best first, no duplicates) and the set of relevant ids.


def reciprocal_rank(ranked: Sequence[str], relevant: Set[str]) -> float:
    """One divided by the rank of the first relevant id; 0 if none is ranked.

    >>> reciprocal_rank(["a", "b", "c"], {"c", "b"})
    0.5
    >>> reciprocal_rank(["a"], {"z"})
    0.0
    """
    for rank, candidate in enumerate(ranked, start=1):
        if candidate in relevant:
            return 1 / rank
    return 0.0


def r_precision_at(ranked: Sequence[str], relevant: Set[str], k: int) -> float:
    """R-precision at k: relevant ids in the top k over min(k, number of relevant ids).

    The measure of Decorte et al. (2022), "Design of negative sampling strategies for distantly
    supervised skill extraction".

    >>> r_precision_at(["a", "x", "b", "c"], {"a", "b", "c"}, 1)
    1.0
    >>> r_precision_at(["a", "x", "b", "c"], {"a", "b"}, 2)
    0.5
    >>> r_precision_at(["x", "y", "b"], {"b"}, 3)
    1.0

    Raises:
        ValueError: `relevant` is empty: the measure is undefined.
    """
    if not relevant:
        raise ValueError("R-precision needs at least one relevant id")
    return len(relevant & set(ranked[:k])) / min(k, len(relevant))


def recall_at(ranked: Sequence[str], relevant: Set[str], k: int) -> float:
    """Share of the relevant ids that stand in the top k.

    >>> recall_at(["a", "x", "b"], {"a", "b", "c", "d"}, 3)
    0.5

    Raises:
        ValueError: `relevant` is empty: the measure is undefined.
    """
    if not relevant:
        raise ValueError("recall needs at least one relevant id")
    return len(relevant & set(ranked[:k])) / len(relevant)


# Sets and spans. Counts are [predictions that hit, predictions, gold that is hit, gold].


def set_counts(predicted: Set[Hashable], gold: Set[Hashable]) -> tuple[int, int, int, int]:
    """Counts of a predicted set against the gold set.

    >>> set_counts({"a", "b", "c"}, {"b", "c", "d", "e"})
    (2, 3, 2, 4)
    """
    hits = len(predicted & gold)
    return hits, len(predicted), hits, len(gold)


def overlap_counts(
    predicted: Collection[LabelledSpan], gold: Collection[LabelledSpan]
) -> tuple[int, int, int, int]:
    """Counts where spans match if they share a character and have the same label.

    A prediction may hit several gold spans and be hit by several: precision counts
    predictions, recall counts gold spans.

    >>> gold = [LabelledSpan(0, 5, "SKILL"), LabelledSpan(8, 12, "SKILL")]
    >>> overlap_counts([LabelledSpan(4, 9, "SKILL"), LabelledSpan(5, 8, "SKILL")], gold)
    (1, 2, 2, 2)
    """

    def hits(spans: Collection[LabelledSpan], others: Collection[LabelledSpan]) -> int:
        return sum(
            any(a.label == b.label and a.start < b.end and b.start < a.end for b in others)
            for a in spans
        )

    return hits(predicted, gold), len(predicted), hits(gold, predicted), len(gold)


def precision(counts: Array) -> Array:
    """Share of predictions that hit; 0 where nothing is predicted.

    Args:
        counts: Shape (…, 4).

    >>> float(precision(np.array([2.0, 3.0, 2.0, 4.0]))) == 2 / 3
    True
    """
    return _ratio(counts[..., 0], counts[..., 1], empty=0.0)


def recall(counts: Array) -> Array:
    """Share of the gold that is hit; NaN where there is no gold.

    Args:
        counts: Shape (…, 4).

    >>> float(recall(np.array([2.0, 3.0, 2.0, 4.0])))
    0.5
    """
    return _ratio(counts[..., 2], counts[..., 3])


def f1(counts: Array) -> Array:
    """Harmonic mean of precision and recall.

    It is 0 where there are only predictions or only gold, NaN where there is neither.

    Args:
        counts: Shape (…, 4).

    >>> round(float(f1(np.array([2.0, 3.0, 2.0, 4.0]))), 4)  # 2 · 2/3 · 1/2 / (2/3 + 1/2)
    0.5714
    """
    p, r = precision(counts), _ratio(counts[..., 2], counts[..., 3], empty=0.0)
    value = _ratio(2 * p * r, p + r, empty=0.0)
    return np.where(counts[..., 1] + counts[..., 3] > 0, value, np.nan)


def mean(sums: Array) -> Array:
    """Sum over number of terms; NaN where there are none.

    Args:
        sums: Shape (…, 2): sums and numbers of terms.
    """
    return _ratio(sums[..., 0], sums[..., 1])


# Classification, on confusion matrices with the gold in rows and the prediction in columns.


def confusion(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> NDArray[np.float64]:
    """The confusion matrix of every row, to be summed over rows.

    Args:
        gold: Right labels.
        predicted: Predicted labels, as many.
        labels: All labels, in the order of the matrix; an abstention is a label too.

    Returns:
        An array of shape (rows, labels, labels) with a single 1 per row.

    >>> confusion(["a", "b", "b"], ["a", "b", "a"], ["a", "b"]).sum(axis=0)
    array([[1., 0.],
           [1., 1.]])

    Raises:
        ValueError: `gold` and `predicted` differ in length, or a label is unknown.
    """
    position = {label: index for index, label in enumerate(labels)}
    cells = np.zeros((len(gold), len(labels), len(labels)))
    for row, (right, given) in enumerate(zip(gold, predicted, strict=True)):
        if right not in position or given not in position:
            raise ValueError(f"labels {right!r}, {given!r}: expected two of {list(labels)}")
        cells[row, position[right], position[given]] = 1
    return cells


def accuracy(matrix: Array) -> Array:
    """Share of rows on the diagonal.

    >>> float(accuracy(np.array([[1.0, 0.0], [1.0, 2.0]])))
    0.75
    """
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def class_f1(matrix: Array) -> Array:
    """F1 of every class; NaN for a class that is neither in the gold nor predicted.

    Returns:
        An array of shape (…, labels).

    >>> class_f1(np.array([[1.0, 0.0], [1.0, 2.0]])).round(4)  # 2/3 and 4/5
    array([0.6667, 0.8   ])
    """
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _ratio(2 * diagonal, matrix.sum(axis=-1) + matrix.sum(axis=-2))


def macro_f1(matrix: Array, classes: int | None = None) -> Array:
    """Unweighted mean of F1 over the classes present in gold or prediction.

    Args:
        matrix: Shape (…, labels, labels).
        classes: Number of leading labels that are classes; the rest (an abstention) is only
            ever predicted and has no F1. All by default.

    >>> float(macro_f1(np.array([[1.0, 0.0], [1.0, 2.0]])).round(4))
    0.7333
    """
    values = class_f1(matrix)[..., :classes]
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1))


def kappa(matrix: Array) -> Array:
    """Cohen's kappa: agreement beyond what the margins alone would give.

    NaN where gold and prediction consist of one and the same class.

    >>> float(kappa(np.array([[1.0, 0.0], [1.0, 2.0]])))  # (.75 − .5) / (1 − .5)
    0.5
    """
    n = matrix.sum(axis=(-2, -1))
    by_chance = _ratio((matrix.sum(axis=-1) * matrix.sum(axis=-2)).sum(axis=-1), n * n)
    return _ratio(accuracy(matrix) - by_chance, 1 - by_chance)


def calibration_counts(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = CALIBRATION_BINS
) -> Array:
    """Every row's share in the bins of a reliability diagram, to be summed over rows.

    Bins have equal width; a confidence on a border belongs to the lower bin, as in Guo et al.
    (2017), "On calibration of modern neural networks".

    Returns:
        An array of shape (rows, bins, 3): row counted, its confidence, right or not.
    """
    counts = np.zeros((len(confidences), bins, 3))
    for row, (confidence, right) in enumerate(zip(confidences, correct, strict=True)):
        counts[row, max(int(np.ceil(confidence * bins)) - 1, 0)] = 1, confidence, right
    return counts


def expected_calibration_error(counts: Array) -> Array:
    """Mean distance between confidence and accuracy over bins, weighted by their size.

    Args:
        counts: Summed `calibration_counts`, shape (…, bins, 3).

    >>> rows = calibration_counts([0.95, 0.95, 0.55, 0.65], [True, False, True, True])
    >>> float(expected_calibration_error(rows.sum(axis=0)).round(4))  # (.9 + .45 + .35) / 4
    0.425
    """
    distance = np.abs(counts[..., 1] - counts[..., 2]).sum(axis=-1)
    return _ratio(distance, counts[..., 0].sum(axis=-1))


def reliability(counts: Array) -> list[dict[str, float]]:
    """The bins of a reliability diagram that are not empty.

    Args:
        counts: Summed `calibration_counts`, shape (bins, 3).

    Returns:
        For each bin its number `n`, mean `confidence` and `accuracy`.

    >>> reliability(calibration_counts([0.95, 0.97, 0.5], [True, False, True]).sum(axis=0))
    [{'n': 1, 'confidence': 0.5, 'accuracy': 1.0}, {'n': 2, 'confidence': 0.96, 'accuracy': 0.5}]
    """
    return [
        {"n": int(n), "confidence": round(total / n, 6), "accuracy": round(right / n, 6)}
        for n, total, right in counts.tolist()
        if n
    ]


class RiskCoverage(NamedTuple):
    """Answering only from a confidence on: the curve of El-Yaniv & Wiener (2010).

    Attributes:
        threshold: Confidences from the highest to the lowest, each once.
        coverage: Share of the answers that reach it.
        risk: Share of these that are wrong.
    """

    threshold: Array
    coverage: Array
    risk: Array


def risk_coverage(confidences: Sequence[float], correct: Sequence[bool]) -> RiskCoverage:
    """The risk-coverage curve of an answerer that may abstain.

    Answers of the same confidence are given or withheld together.

    >>> curve = risk_coverage([0.9, 0.4, 0.8, 0.4], [True, False, False, True])
    >>> curve.threshold.tolist(), curve.coverage.tolist()
    ([0.9, 0.8, 0.4], [0.25, 0.5, 1.0])
    >>> curve.risk.tolist()  # 0 of 1, 1 of 2, 2 of 4
    [0.0, 0.5, 0.5]
    """
    given = np.asarray(confidences, dtype=np.float64)
    threshold, inverse = np.unique(-given, return_inverse=True)
    answers = np.bincount(inverse, minlength=len(threshold)).astype(np.float64)
    wrong = np.bincount(inverse, weights=~np.asarray(correct, dtype=bool), minlength=len(threshold))
    return RiskCoverage(
        -threshold, answers.cumsum() / max(len(given), 1), wrong.cumsum() / answers.cumsum()
    )


def aurc_counts(confidences: Sequence[float], correct: Sequence[bool]) -> Array:
    """Every answer as its own cell, for `area_under_risk_coverage`.

    Confidences are rounded to two decimals, which bounds the number of cells.

    Returns:
        An array of shape (answers, distinct confidences, 2): answers and wrong ones at each
        confidence, highest first; to be summed over rows.
    """
    given = np.round(np.asarray(confidences, dtype=np.float64), 2)
    threshold, inverse = np.unique(-given, return_inverse=True)
    counts = np.zeros((len(given), len(threshold), 2))
    counts[np.arange(len(given)), inverse, 0] = 1
    counts[np.arange(len(given)), inverse, 1] = ~np.asarray(correct, dtype=bool)
    return counts


def area_under_risk_coverage(counts: Array) -> Array:
    """Mean risk over the answers, each at the coverage where it is just given (AURC).

    The lower, the better; Geifman et al. (2019), "Bias-reduced uncertainty estimation for deep
    neural classifiers".

    Args:
        counts: Summed `aurc_counts`, shape (…, distinct confidences, 2).

    >>> rows = aurc_counts([0.9, 0.4, 0.8, 0.4], [True, False, False, True])
    >>> float(area_under_risk_coverage(rows.sum(axis=0)))  # (0 + 1/2 + 1/2 + 1/2) / 4
    0.375
    """
    answers, wrong = counts[..., 0], counts[..., 1]
    risk = _ratio(wrong.cumsum(axis=-1), answers.cumsum(axis=-1), empty=0.0)
    return _ratio((risk * answers).sum(axis=-1), answers.sum(axis=-1))


# Intervals.


def bootstrap(
    counts: Array,
    metrics: Mapping[str, Metric],
    *,
    documents: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Estimate]:
    """Metrics with percentile bootstrap intervals, rows drawn with replacement.

    Args:
        counts: Shape (rows, …); what the metrics take is its sum over rows.
        metrics: Functions of summed counts by name.
        documents: Which document every row belongs to; rows of one document are drawn
            together (a cluster bootstrap). Every row on its own by default.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Returns:
        An estimate for every metric that is defined. Resamples in which a metric is undefined
        do not count in its interval.
    """
    names: Sequence[Hashable] = range(len(counts))
    if documents is not None:
        position = {document: index for index, document in enumerate(dict.fromkeys(documents))}
        grouped = np.zeros((len(position), *counts.shape[1:]))
        np.add.at(grouped, [position[document] for document in documents], counts)
        counts, names = grouped, list(position)
    if not len(counts):
        return {}
    n, shape = len(counts), counts.shape[1:]
    flat = counts.reshape(n, -1)
    sums = np.concatenate([weights @ flat for weights in _draws(n, resamples, seed)])
    sums = sums.reshape(resamples, *shape)
    drawn = hashlib.sha256(repr((list(names), seed)).encode()).hexdigest()[:16]
    estimates = {}
    for name, metric in metrics.items():
        value = float(metric(counts.sum(axis=0)))
        if not np.isnan(value):
            estimates[name] = _interval(value, metric(sums), drawn)
    return estimates


def difference(ours: Estimate, theirs: Estimate) -> Difference:
    """Gain of one estimate over another, both on the same rows (Koehn 2004).

    >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    >>> right = bootstrap(rows, {"accuracy": mean})["accuracy"]
    >>> difference(right, right)
    Difference(value=0.0, low=0.0, high=0.0, p=1.0)

    Raises:
        ValueError: They were not drawn from the same documents, or not resampled as often.
    """
    if ours.drawn != theirs.drawn or len(ours.resampled) != len(theirs.resampled):
        raise ValueError("the two figures were not measured on the same rows")
    gains = ours.resampled - theirs.resampled
    gains = gains[~np.isnan(gains)]
    value = ours.value - theirs.value
    if not len(gains):
        return Difference(value, value, value, 1.0)
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(gains, [tail, 100 - tail])
    # Counting the sample itself as one more resample keeps p above 0 (Davison & Hinkley 1997).
    rare = (min(int((gains <= 0).sum()), int((gains >= 0).sum())) + 1) / (len(gains) + 1)
    return Difference(value, float(low), float(high), min(1.0, 2 * rare))


def bootstrap_percentiles(
    values: Sequence[float],
    percentiles: Mapping[str, float],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Estimate]:
    """Percentiles of a sample with percentile bootstrap intervals.

    Args:
        values: The sample, not empty.
        percentiles: Which percentile (0 to 100) under which name.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    sample = np.asarray(values, dtype=np.float64)
    drawn = sample[np.random.default_rng(seed).integers(len(sample), size=(resamples, len(sample)))]
    return {
        name: _interval(float(np.percentile(sample, q)), np.percentile(drawn, q, axis=1), "")
        for name, q in percentiles.items()
    }


def _draws(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each of n documents stands in each resample, some resamples at a time."""
    rng = np.random.default_rng(seed)
    uniform = np.full(n, 1 / n)
    at_once = max(1, 4_000_000 // n)  # bounds memory to some 64 MB
    for start in range(0, resamples, at_once):
        yield rng.multinomial(n, uniform, size=min(at_once, resamples - start)).astype(np.float64)


def _interval(value: float, resampled: Array, drawn: str) -> Estimate:
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Estimate.exact(value)
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(defined, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), resampled, drawn)


def _ratio(above: Array, below: Array, empty: float = np.nan) -> Array:
    """Quotient, `empty` where the divisor is 0."""
    result: Array = np.divide(
        above, below, out=np.full(np.shape(above), empty, dtype=np.float64), where=below != 0
    )
    return result
