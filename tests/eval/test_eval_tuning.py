"""Thresholds tuned on labels of one's own."""

import json

import numpy as np
import pytest

from eval.errors import EvaluationError
from eval.tuning import GRID, tune_threshold
from extractor import SkillExtractor


def counts_of(rows):
    """Counts of rows given as [(score, right), …] and the number of gold concepts."""
    counts = np.zeros((len(rows), len(GRID), 4))
    for number, (scored, gold) in enumerate(rows):
        for place, threshold in enumerate(GRID):
            kept = [right for score, right in scored if score >= threshold]
            counts[number, place] = sum(kept), len(kept), sum(kept), gold
    return counts


def test_the_best_threshold_separates_right_from_wrong():
    rows = [([(0.6, True), (0.3, False)], 1)] * 30
    tuned = tune_threshold(counts_of(rows), list(range(30)), 0.1)
    assert tuned.threshold == 0.6  # of those that are best, the highest
    assert tuned.before.value == pytest.approx(2 / 3)
    assert tuned.after.value == 1
    assert tuned.gain.low == tuned.gain.value == pytest.approx(1 / 3)
    at = {point[0]: point[1:] for point in tuned.curve}
    assert at[0.3] == (0.5, 1.0, pytest.approx(2 / 3))
    assert at[0.31] == (1.0, 1.0, 1.0)


def test_noise_gains_nothing_on_ads_not_seen():
    rng = np.random.default_rng(0)
    rows = [([(score, rng.random() < 0.5) for score in rng.random(4)], 2) for _ in range(40)]
    tuned = tune_threshold(counts_of(rows), list(range(40)), 0.02)
    best = max(point[3] for point in tuned.curve)
    assert tuned.after.value <= best
    assert tuned.gain.low <= 0


def test_too_little_to_tune_on():
    with pytest.raises(EvaluationError, match="only 3 labelled ads"):
        tune_threshold(np.ones((6, len(GRID), 4)), [1, 1, 2, 2, 3, 3], 0.1)
    with pytest.raises(EvaluationError, match="no row has a gold label"):
        tune_threshold(np.zeros((30, len(GRID), 4)), list(range(30)), 0.1)


def test_tune_by_command(invoke, rows_file, tmp_path):
    spans = [{"start": 0, "end": 10, "label": "SKILL"}]
    links = [{"uri": "s/bake"}]
    path = rows_file(*[{"text": "bake bread well", "spans": spans, "links": links}] * 25)
    out = tmp_path / "jobshift.json"
    result = invoke("tune", path, "--out", out, "--taxonomy", "mini")
    assert result.exit_code == 0, result.output
    assert "no gain beyond chance" in result.output
    content = json.loads(out.read_text())
    # The concept has score .9, the span probability .75.
    assert content["load"] == {"taxonomy": "mini", "encoder": "accurate", "threshold": 0.9}
    assert content["spans"] == {"SKILL": 0.75}
    assert content["tuned"]["concepts"]["after"]["value"] == 1
    empty = rows_file(*[{"text": "a", "spans": []}] * 25, name="empty.jsonl")
    result = invoke("tune", empty, "--out", out)
    assert result.exit_code == 2
    assert "nothing to tune" in result.output


def test_thresholds_outside_of_probabilities_are_refused(invoke, rows_file):
    path = rows_file({"text": "bake bread", "links": [{"uri": "s/bake"}]})
    assert "expected a number in (0, 1]" in invoke("linking", path, "--threshold", "1.5").output
    with pytest.raises(ValueError, match="does not lie in"):
        SkillExtractor.load(threshold=0.0)


@pytest.mark.model
def test_a_saved_configuration_loads():
    text = "Manage a team of welders. Experience with Python and customer service is a must."
    shipped = SkillExtractor.load()
    strict = SkillExtractor.load(taxonomy="default", encoder="accurate", threshold=0.5)
    expected = {s.concept_id for s in shipped.extract(text).skills if s.score >= 0.5}
    assert {s.concept_id for s in strict.extract(text).skills} == expected
    assert strict.provenance.parts["linker"].endswith("threshold 0.5")
    assert "threshold" not in shipped.provenance.parts["linker"]
