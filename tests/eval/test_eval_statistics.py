"""Metrics against independent implementations, and the statistics of runs by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from eval.datasets import bio_spans
from eval.metrics import Estimate, LabelledSpan


@pytest.mark.parametrize("seed", range(3))
def test_ranking_agrees_with_trec_eval(seed):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(seed)
    corpus = [f"d{n}" for n in range(40)]
    ranked, relevant = {}, {}
    for query in range(20):
        name = f"q{query}"
        ranked[name] = [str(one) for one in rng.permutation(corpus)[:25]]
        relevant[name] = {str(one) for one in rng.choice(corpus, rng.integers(1, 9), False)}
    theirs = pytrec_eval.RelevanceEvaluator(
        {name: dict.fromkeys(found, 1) for name, found in relevant.items()},
        {"recip_rank", "recall.5,10", "P.5,10", "Rprec"},
    ).evaluate(
        {
            name: {one: float(-place) for place, one in enumerate(found)}
            for name, found in ranked.items()
        }
    )
    for name, found in ranked.items():
        gold, expected = relevant[name], theirs[name]
        assert metrics.reciprocal_rank(found, gold) == pytest.approx(expected["recip_rank"])
        assert metrics.r_precision_at(found, gold, len(gold)) == pytest.approx(expected["Rprec"])
        for k in (5, 10):
            assert metrics.recall_at(found, gold, k) == pytest.approx(expected[f"recall_{k}"])
            r_precision = expected[f"P_{k}"] * k / min(k, len(gold))
            assert metrics.r_precision_at(found, gold, k) == pytest.approx(r_precision)


@pytest.mark.parametrize("seed", range(3))
def test_spans_agree_with_nervaluate(seed):
    nervaluate = pytest.importorskip("nervaluate")
    rng = np.random.default_rng(seed)
    kinds = ["O", "O", "B-SKILL", "I-SKILL", "B-KNOWLEDGE", "I-KNOWLEDGE"]
    gold, predicted = ([list(rng.choice(kinds, 15)) for _ in range(40)] for _ in range(2))

    def clean(tags):
        """An I that continues nothing becomes a B: readers differ about what it is."""
        return [
            tag
            if tag[0] != "I" or (at and tags[at - 1][1:] == tag[1:] and tags[at - 1] != "O")
            else "B" + tag[1:]
            for at, tag in enumerate(tags)
        ]

    gold, predicted = [clean(t) for t in gold], [clean(t) for t in predicted]
    words = [f"w{n}" for n in range(15)]

    def spans(tags):
        return {
            LabelledSpan(s["start"], s["end"], s["label"]) for s in bio_spans(words, tags, "SKILL")
        }

    counts = np.array(
        [metrics.set_counts(spans(p), spans(g)) for p, g in zip(predicted, gold, strict=True)]
    ).sum(axis=0)
    results = nervaluate.Evaluator(
        gold, predicted, tags=["SKILL", "KNOWLEDGE"], loader="list"
    ).evaluate()
    theirs = results["overall"]["strict"]
    assert theirs.precision == pytest.approx(float(metrics.precision(counts)))
    assert theirs.recall == pytest.approx(float(metrics.recall(counts)))
    assert theirs.f1 == pytest.approx(float(metrics.f1(counts)))


def test_a_paired_difference_is_narrower_than_the_two_intervals():
    rng = np.random.default_rng(3)
    easy = rng.random(300) < 0.5
    first = np.stack([easy, np.ones(300)], axis=1).astype(float)
    second = first.copy()
    second[np.flatnonzero(~easy)[:15], 0] = 1  # right wherever the first is, and 15 times more
    a, b = (metrics.bootstrap(c, {"accuracy": metrics.mean})["accuracy"] for c in (first, second))
    gain = metrics.difference(b, a)
    assert gain.value == pytest.approx(15 / 300)
    assert 0 < gain.low < gain.value < gain.high < 0.08
    assert a.high > b.low  # the intervals overlap, and yet the difference is certain
    assert gain.p == pytest.approx(2 / 1001)
    assert metrics.difference(a, b).p == gain.p


def test_a_paired_difference_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 150))
    b += 0.05
    ones = np.ones(150)
    ours = metrics.difference(
        *(
            metrics.bootstrap(np.stack([v, ones], 1), {"m": metrics.mean}, resamples=4000)["m"]
            for v in (b, a)
        )
    )
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: (y - x).mean(axis=axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.01)


def test_differences_need_the_same_rows():
    counts = np.ones((4, 2))
    few = metrics.bootstrap(counts[:3], {"m": metrics.mean})["m"]
    many = metrics.bootstrap(counts, {"m": metrics.mean})["m"]
    with pytest.raises(ValueError, match="not measured on the same rows"):
        metrics.difference(few, many)
    with pytest.raises(ValueError, match="not measured on the same rows"):
        metrics.difference(many, Estimate.exact(1.0))


answers = st.lists(
    st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()), min_size=1, max_size=30
)


@given(answers)
def test_risk_and_coverage_by_counting(given_answers):
    confidences, right = zip(*given_answers, strict=True)
    curve = metrics.risk_coverage(confidences, right)
    for threshold, coverage, risk in zip(*curve, strict=True):
        kept = [hit for score, hit in given_answers if score >= threshold]
        assert coverage == pytest.approx(len(kept) / len(given_answers))
        assert risk == pytest.approx(kept.count(False) / len(kept))
    area = metrics.area_under_risk_coverage(metrics.aurc_counts(confidences, right).sum(axis=0))
    by_hand = np.mean(
        [
            [hit for score, hit in given_answers if score >= threshold].count(False)
            / sum(score >= threshold for score, _ in given_answers)
            for threshold, _ in given_answers
        ]
    )
    assert float(area) == pytest.approx(by_hand)


def test_reliability_leaves_out_empty_bins():
    counts = metrics.calibration_counts([0.2, 0.9, 0.85], [False, True, False]).sum(axis=0)
    assert metrics.reliability(counts) == [
        {"n": 1, "confidence": 0.2, "accuracy": 0.0},
        {"n": 2, "confidence": 0.875, "accuracy": 0.5},
    ]
