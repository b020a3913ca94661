"""Slices, lists of errors, comparisons, reports of folders and the suite, by the command line."""

import json

import pytest

from eval import suite
from eval.metrics import Estimate
from eval.report import hardware, pack, unpack
from eval.run import Options
from eval.slices import Slicer
from eval.suite import Entry, compare_with, run_suite


def link(uri, span=None, start=None):
    return {"uri": uri, "span": span, "start": start, "end": start + len(span) if span else None}


BAKERY = {"text": "bake bread and no Python", "links": [link("s/bake")], "sector": "food"}
OFFICE = {"text": "accounting and OvenWare", "links": [link("k/accounting")], "sector": "office"}
IMPLIED = {"text": "we make loaves", "links": [link("s/bake")], "sector": "food"}


def value(part, metric):
    return part["metrics"][metric]["value"]


def test_extraction_by_slice(report, rows_file):
    training = rows_file(
        *[{"text": "x", "links": [link("s/bake"), link("s/bake")]} for _ in range(10)],
        {"text": "y", "links": [link("t/ovenware")]},
        name="train.jsonl",
    )
    slices = report("extraction", rows_file(BAKERY, OFFICE, IMPLIED), "--train", training)["slices"]
    # Of kind: OvenWare, a tool, is returned and not gold; one of two skills is found.
    assert value(slices["kind"]["tool"], "precision") == 0
    assert value(slices["kind"]["skill"], "recall") == 0.5
    assert value(slices["kind"]["skill"], "precision") == 1
    assert value(slices["kind"]["knowledge"], "f1") == 1
    assert slices["kind"]["skill"]["n"] == 2
    assert value(slices["mention"]["named"], "recall") == 1
    assert value(slices["mention"]["implied"], "recall") == 0
    assert value(slices["sector"]["food"], "recall") == 0.5
    assert value(slices["sector"]["office"], "precision") == 0.5
    assert value(slices["frequency"]["in 10 or more training rows"], "recall") == 0.5
    assert value(slices["frequency"]["in 1 to 9 training rows"], "precision") == 0
    assert value(slices["frequency"]["not in training"], "recall") == 1
    assert slices["length"]["to 10 words"]["n"] == 3


def test_linking_by_slice_takes_the_other_gold_out_of_the_list(report, rows_file):
    row = {"text": "prune bread bake", "links": [link("s/bake"), link("s/prune")]}
    both = {"text": "bake bread accounting", "links": [link("s/bake"), link("k/accounting")]}
    slices = report("linking", rows_file(row, both))["slices"]
    # "bake bread" shares two words and stands before accounting, which is first without it.
    assert value(slices["kind"]["knowledge"], "mrr") == 1
    assert slices["kind"]["skill"]["n"] == 2
    assert value(slices["kind"]["skill"], "rp@5") == 1


def test_spans_by_length_and_section(report, rows_file):
    spans = [
        {"start": 0, "end": 10, "label": "SKILL"},
        {"start": 15, "end": 33, "label": "KNOWLEDGE"},
    ]
    path = rows_file({"text": "bake bread and Python programming", "spans": spans})
    slices = report("spans", path)["slices"]
    assert value(slices["span length"]["2 to 3 words"], "strict_recall") == 0.5
    assert value(slices["span length"]["1 word"], "strict_precision") == 0
    assert value(slices["zone"]["other"], "overlap_f1") == 1


def test_names_in_brackets_and_alternative_names_count_as_named(engine):
    slicer = Slicer(engine.taxonomy)

    class Row:
        text = "You know the BOOKKEEPING rules, not javascript"

    assert slicer.of_concept(Row, "k/accounting")["mention"] == "named"
    assert slicer.of_concept(Row, "s/prune")["mention"] == "implied"
    assert slicer.of_concept(Row, "gone") == {"kind": "not in the taxonomy"}


def test_slices_are_shown_if_asked_for(invoke, rows_file):
    path = rows_file(BAKERY, OFFICE)
    assert "by sector" in invoke("extraction", path, "--slices").stdout
    assert "by sector" not in invoke("extraction", path).stdout


def test_confidence_of_concepts(report, rows_file):
    content = report("extraction", rows_file(BAKERY, OFFICE))
    # Three concepts of score .9, two of them right.
    assert content["calibration"] == [
        {"n": 3, "confidence": 0.9, "accuracy": pytest.approx(2 / 3, abs=1e-5)}
    ]
    assert content["metrics"]["ece"]["value"] == pytest.approx(0.9 - 2 / 3)
    assert content["risk_coverage"][0]["coverage"] == 1
    assert content["metrics"]["aurc"]["value"] == pytest.approx(1 / 3)


def test_errors_are_written_worst_first(invoke, rows_file, tmp_path):
    very_wrong = {"text": "prune trees <b> OvenWare", "links": [link("k/python", "trees", 6)]}
    right = {"text": "bake bread", "links": [link("s/bake")]}
    out = tmp_path / "errors.jsonl"
    result = invoke("extraction", rows_file(right, OFFICE, very_wrong), "--errors", out)
    assert result.exit_code == 0, result.output
    first, second = [json.loads(line) for line in out.read_text().splitlines()]
    assert first["loss"] == 3
    assert second["loss"] == 1
    assert first["gold"] == [{"label": "Python", "id": "k/python", "score": None, "right": False}]
    assert {one["label"]: one["right"] for one in second["predicted"]} == {
        "accounting": True,
        "OvenWare": False,
    }
    assert {"start": 6, "end": 11, "verdict": "missed", "label": "Python"} in first["marks"]
    page = out.with_suffix(".html").read_text()
    assert page.count("<section") == 2
    assert "missed: Python" in page
    assert "&lt;" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("task", "row", "loss"),
    [
        ("linking", {"text": "Python bread", "links": [link("k/accounting")]}, 3 / 4),
        ("occupations", {"text": "x", "title": "gardener", "occupation": {"uri": "o/baker"}}, 0.5),
        (
            "requirement",
            {"text": "no yoga", "mentions": [{"span": "yoga", "requirement": "required"}]},
            1,
        ),
        ("must", {"text": "bake bread", "must_be_empty": True}, 1),
        ("must", {"text": "bake bread", "must": [{"uri": "k/python"}], "must_not": []}, 1),
        ("spans", {"text": "aa bb cc", "spans": [{"start": 0, "end": 2, "label": "SKILL"}]}, 3),
        ("roles", {"text": "created", "title": "t", "label": "augmented"}, 0.9),
    ],
)
def test_every_task_lists_its_errors(invoke, rows_file, tmp_path, task, row, loss):
    out = tmp_path / "errors.jsonl"
    result = invoke(task, rows_file(row), "--errors", out)
    assert result.exit_code == 0, result.output
    (case,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert case["loss"] == pytest.approx(loss)
    assert case["gold"] or task == "must"


def test_a_soft_skill_that_is_missed_is_an_error_and_nothing_else(invoke, rows_file, tmp_path):
    out = tmp_path / "errors.jsonl"
    spans = [{"start": 3, "end": 5, "label": "SOFT_SKILL"}]
    invoke("spans", rows_file({"text": "aa bb cc", "spans": spans}), "--errors", out)
    (case,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert case["loss"] == 1
    assert case["predicted"] == []


def test_compare_two_runs(invoke, rows_file, tmp_path, engine, monkeypatch):
    path = rows_file(*[BAKERY] * 10, *[IMPLIED] * 10)
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert invoke("extraction", path, "--json", first).exit_code == 0
    monkeypatch.setattr(type(engine), "_skills", lambda self, text: iter(()))
    assert invoke("extraction", path, "--json", second).exit_code == 0
    result = invoke("compare", first, second)
    assert result.exit_code == 0, result.output
    line = next(line for line in result.stdout.splitlines() if " recall " in line)
    assert "-0.500" in line
    assert "0.002 *" in line
    same = invoke("compare", first, first, "--second-system", "exact labels").stdout
    recall = next(line for line in same.splitlines() if " recall " in line)
    assert "+0.000" in recall
    assert "1.000" in recall


def test_what_cannot_be_compared(invoke, rows_file, tmp_path):
    a, b, c = (tmp_path / f"{name}.json" for name in "abc")
    one, other = rows_file(BAKERY), rows_file(OFFICE, name="other.jsonl")
    invoke("extraction", one, "--json", a)
    invoke("extraction", other, "--json", b)
    invoke("linking", one, "--json", c)
    (tmp_path / "bad.json").write_text("{}")
    for arguments, words in (
        ((a, b), "made on other files"),
        ((a, c), "a report of linking"),
        ((a, tmp_path / "bad.json"), "no report of"),
        ((a, tmp_path / "none.json"), "cannot be read"),
        ((a, a, "--first-system", "oracle"), "has no system 'oracle'"),
    ):
        result = invoke("compare", *arguments)
        assert result.exit_code == 2
        assert words in result.output.replace("\n", "")


def test_packed_resamples_survive():
    import numpy as np

    estimate = Estimate(0.5, 0.25, 0.75, np.array([0.5, np.nan, 0.25]), "x")
    back = unpack({"value": 0.5, "low": 0.25, "high": 0.75}, pack(estimate))
    assert back == estimate
    assert back.drawn == "x"
    np.testing.assert_array_equal(back.resampled, estimate.resampled)
    assert len(unpack({"value": 0, "low": 0, "high": 0}, pack(estimate, 2)).resampled) == 2


def test_report_of_a_folder(invoke, rows_file, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    folder.mkdir()
    assert invoke("report", folder).exit_code == 2
    path = rows_file(BAKERY, OFFICE, {"text": "a | <b>", "links": []})
    invoke("extraction", path, "--json", folder / "extraction.json")
    invoke("linking", path, "--json", folder / "linking.json")
    result = invoke("report", folder)
    assert result.exit_code == 0, result.output
    markdown = (folder / "report.md").read_text()
    assert "## extraction" in markdown
    assert "| kind | n | precision | recall | f1 |" in markdown
    assert "SHA-256" in markdown
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 6  # figures, calibration, and risk and coverage of two runs
    assert "<script" not in page
    assert 'src="' not in page
    again = page
    invoke("report", folder)
    assert (folder / "report.html").read_text() == again


def entry(name="bakery", metric="recall", **more):
    return Entry(name, "extraction", ("rows.jsonl",), (metric,), **more)


@pytest.fixture
def small_suite(monkeypatch, engine, rows_file, tmp_path):
    """A suite of one entry on twenty rows; gives a function that runs it."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(suite.engine, "load_engine", lambda *a: engine)
    rows_file(*[BAKERY] * 20)

    def run(*entries, **more):
        return run_suite(
            tmp_path / "out",
            shared=tmp_path,
            baselines=tmp_path / "baselines.json",
            suite=entries or (entry(),),
            **more,
        )

    return run


def test_a_suite_passes_what_does_not_fall(small_suite, tmp_path):
    (check,) = small_suite().checks
    assert check.note == "not recorded yet"
    small_suite(record=True)
    result = small_suite()
    assert [(c.recorded, c.measured, c.failed) for c in result.checks] == [(1.0, 1.0, "")]
    assert not result.has_failed
    assert (tmp_path / "out" / "report.html").exists()


def test_a_suite_fails_what_falls(small_suite, engine, monkeypatch):
    small_suite(record=True)
    skills = type(engine)._skills
    calls = iter(range(1000))
    monkeypatch.setattr(
        type(engine), "_skills", lambda self, text: skills(self, text) if next(calls) % 2 else ()
    )
    result = small_suite()
    assert result.has_failed
    assert result.checks[0].measured == 0.5
    assert result.checks[0].failed.startswith("fell: -0.500")


def test_a_fall_within_the_noise_passes(small_suite, engine, monkeypatch):
    small_suite(record=True)
    skills = type(engine)._skills
    calls = iter(range(1000))
    monkeypatch.setattr(
        type(engine), "_skills", lambda self, text: skills(self, text) if next(calls) else ()
    )
    result = small_suite()
    assert result.checks[0].measured == 0.95
    assert not result.has_failed


def test_other_rows_have_to_be_recorded_again(small_suite, rows_file):
    small_suite(record=True)
    rows_file(*[OFFICE] * 20)
    assert "record again" in small_suite().checks[0].failed


def test_what_is_missing_is_said(small_suite):
    result = small_suite(Entry("lost", "linking", ("none.jsonl",), ("mrr",)), entry())
    assert result.missing[0].startswith("lost: there is no ")
    assert list(result.reports) == ["bakery"]
    assert not result.has_failed


def test_speed_is_compared_on_the_same_machine_only(small_suite, rows_file):
    rows_file({"text": "bake bread"}, {"text": "prune trees"}, {"text": "Python"})
    speed = Entry("speed", "speed", ("rows.jsonl",), ("ads_per_s",))
    report = small_suite(speed).reports["speed"]
    found = report.outcome.systems["jobshift"]["ads_per_s"]
    recorded = {
        "data": [suite.sha256_of(path) for path in report.files],
        "hardware": hardware(),
        "resamples": {"ads_per_s": pack(found, 5)},
    }
    twice = {"ads_per_s": {"value": found.value * 3, "low": 0.0, "high": 0.0}}
    (check,) = compare_with(speed, report, recorded | {"metrics": twice})
    assert check.failed == "slower by half"
    (check,) = compare_with(speed, report, recorded | {"metrics": twice, "hardware": {}})
    assert check.note == "another machine"


def test_lower_is_better_for_what_is_wrong(small_suite, engine, monkeypatch, rows_file):
    rows_file(*[{"text": "prune", "links": []}] * 20)
    wrong = entry(metric="concepts_per_empty_row")
    small_suite(wrong, record=True)
    rows = list(engine._skills("prune trees"))
    monkeypatch.setattr(type(engine), "_skills", lambda self, text: iter(rows))
    assert small_suite(wrong).has_failed


def test_the_suite_knows_its_recorded_runs():
    recorded = suite.read_baselines()
    names = [one.name for one in suite.SUITE]
    assert len(names) == len(set(names))
    assert set(recorded) <= set(names)
    for one in suite.SUITE:
        assert one.task in one.command
        if one.folder == "own":
            assert all(path.exists() for path in one.paths(suite.SHARED))
        if one.name in recorded:
            assert set(recorded[one.name]["metrics"]) == set(one.bars)
            assert recorded[one.name]["command"] == one.command


def test_the_command_of_an_entry_says_how_it_is_run():
    one = entry(options=Options(taxonomy="esco-1.1.1", limit=5))
    assert one.command == (
        "python -m eval extraction ../shared/data/rows.jsonl --taxonomy esco-1.1.1 --limit 5"
    )


def test_unknown_runs_end_with_status_2(invoke, tmp_path):
    result = invoke("suite", "--out", tmp_path, "--only", "poetry")
    assert result.exit_code == 2
    assert "unknown run 'poetry'" in result.output
