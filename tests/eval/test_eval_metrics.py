"""Metrics against numbers worked out by hand and against scikit-learn."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from eval.metrics import LabelledSpan

LABELS = ["a", "b", "c", "d"]
Spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 6), st.sampled_from("xy")).map(
        lambda t: LabelledSpan(t[0], t[0] + t[1], t[2])
    ),
    max_size=6,
    unique=True,
)


def test_worked_examples_of_the_docstrings():
    result = doctest.testmod(metrics)
    assert result.attempted > 15
    assert result.failed == 0


@pytest.mark.parametrize("measure", [metrics.r_precision_at, metrics.recall_at])
def test_measures_of_a_ranking_need_something_relevant(measure):
    with pytest.raises(ValueError, match="at least one relevant"):
        measure(["a"], set(), 5)


@given(st.permutations(list("abcdefgh")), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_a_full_ranking_finds_everything(ranked, relevant):
    assert metrics.recall_at(ranked, relevant, 8) == 1
    assert metrics.r_precision_at(ranked, relevant, 8) == 1
    first = min(ranked.index(concept) for concept in relevant)
    assert metrics.reciprocal_rank(ranked, relevant) == 1 / (first + 1)


@given(Spans, Spans)
def test_overlap_is_strict_match_or_more_and_sees_characters(predicted, gold):
    strict = metrics.set_counts(set(predicted), set(gold))
    overlap = metrics.overlap_counts(predicted, gold)
    assert all(o >= s for o, s in zip(overlap, strict, strict=True))
    taken = {(at, s.label) for s in gold for at in range(s.start, s.end)}
    touching = [any((at, s.label) in taken for at in range(s.start, s.end)) for s in predicted]
    assert overlap[0] == sum(touching)


def test_undefined_values_are_nan_or_zero_as_documented():
    nothing, only_predicted = np.zeros(4), np.array([0.0, 3.0, 0.0, 0.0])
    assert np.isnan(metrics.f1(nothing))
    assert metrics.f1(only_predicted) == 0
    assert metrics.precision(nothing) == 0
    assert np.isnan(metrics.recall(only_predicted))
    assert np.isnan(metrics.kappa(np.array([[3.0, 0.0], [0.0, 0.0]])))


@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    gold = list(rng.choice(LABELS[:3], size=60))
    predicted = list(rng.choice(LABELS[:3], size=60))
    matrix = metrics.confusion(gold, predicted, LABELS).sum(axis=0)  # nobody has "d"
    assert np.array_equal(matrix, sklearn.confusion_matrix(gold, predicted, labels=LABELS))
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(gold, predicted))
    assert metrics.kappa(matrix) == pytest.approx(sklearn.cohen_kappa_score(gold, predicted))
    by_class = sklearn.f1_score(gold, predicted, average=None, labels=LABELS[:3])
    assert metrics.class_f1(matrix)[:3] == pytest.approx(by_class)
    assert np.isnan(metrics.class_f1(matrix)[3])
    macro = sklearn.f1_score(gold, predicted, average="macro")
    assert metrics.macro_f1(matrix) == pytest.approx(macro)


@pytest.mark.parametrize("seed", range(5))
def test_set_metrics_agree_with_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    gold, predicted = rng.random((2, 30, 12)) < 0.3
    counts = np.array(
        [
            metrics.set_counts(set(np.flatnonzero(p)), set(np.flatnonzero(g)))
            for p, g in zip(predicted, gold, strict=True)
        ]
    ).sum(axis=0)
    expected = sklearn.precision_recall_fscore_support(gold, predicted, average="micro")[:3]
    ours = metrics.precision(counts), metrics.recall(counts), metrics.f1(counts)
    assert ours == pytest.approx(expected)


def test_an_abstention_is_wrong_and_has_no_f1_of_its_own():
    labels = ["a", "b", "abstained"]
    matrix = metrics.confusion(["a", "a", "b"], ["a", "abstained", "b"], labels).sum(axis=0)
    assert metrics.accuracy(matrix) == pytest.approx(2 / 3)
    # F1 of a: 2·1 / (1 + 2); of b: 1; the abstention is no class.
    assert metrics.macro_f1(matrix, classes=2) == pytest.approx((2 / 3 + 1) / 2)


def test_confusion_refuses_unknown_labels():
    with pytest.raises(ValueError, match="'z'"):
        metrics.confusion(["a"], ["z"], ["a", "b"])


def test_a_confidence_of_zero_and_of_one_fall_into_the_outer_bins():
    counts = metrics.calibration_counts([0.0, 0.1, 1.0], [False, False, True]).sum(axis=0)
    assert counts[:, 0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert metrics.expected_calibration_error(counts) == pytest.approx(0.1 / 3)


def test_bootstrap_of_a_mean_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    sample = np.random.default_rng(0).exponential(size=200)
    counts = np.stack([sample, np.ones(200)], axis=1)
    ours = metrics.bootstrap(counts, {"mean": metrics.mean}, resamples=5000)["mean"]
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == pytest.approx(sample.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.02)


def test_bootstrap_draws_the_rows_of_a_document_together():
    # Ten documents of fifty equal rows each: as uncertain as ten rows, not as five hundred.
    values = np.repeat(np.arange(10.0), 50)
    counts = np.stack([values, np.ones(500)], axis=1)
    rows = metrics.bootstrap(counts, {"mean": metrics.mean})["mean"]
    together = metrics.bootstrap(
        counts, {"mean": metrics.mean}, documents=[int(value) for value in values]
    )["mean"]
    assert rows.value == together.value == 4.5
    assert together.high - together.low > 5 * (rows.high - rows.low)


def test_bootstrap_is_repeatable_and_bounded_by_the_sample():
    counts = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    first, second = (metrics.bootstrap(counts, {"m": metrics.mean}) for _ in range(2))
    assert first == second
    assert 0 <= first["m"].low <= first["m"].value <= first["m"].high <= 1


def test_bootstrap_leaves_out_what_is_undefined():
    assert metrics.bootstrap(np.zeros((3, 4)), {"recall": metrics.recall}) == {}
    assert metrics.bootstrap(np.zeros((0, 2)), {"mean": metrics.mean}) == {}
    single = metrics.bootstrap(np.array([[2.0, 1.0]]), {"mean": metrics.mean})["mean"]
    assert single == metrics.Estimate(2.0, 2.0, 2.0)


def test_percentiles_of_a_sample():
    estimate = metrics.bootstrap_percentiles(list(range(101)), {"p50": 50, "p95": 95})
    assert estimate["p50"].value == 50
    assert estimate["p95"].value == 95
    assert estimate["p50"].low < 50 < estimate["p50"].high
