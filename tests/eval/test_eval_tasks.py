"""Every task through the command line, with a fake engine and numbers worked out by hand."""

import json
import time

import pytest

from eval.tasks import TASKS, count_sentences


def values(metrics):
    return {name: estimate["value"] for name, estimate in metrics.items()}


def link(uri, span=None, start=None):
    return {"uri": uri, "label": "", "span": span, "start": start}


def test_linking_of_sentences(report, rows_file):
    path = rows_file(
        {"text": "bake bread", "links": [link("s/bake"), link(None)]},
        {"text": "accounting", "links": [link("k/python"), link("k/accounting")]},
        {"text": "trees", "links": [link("gone")]},
        {"text": "nothing", "links": [link(None)]},
        {"text": "nothing", "links": []},
    )
    result = report("linking", path)
    found = values(result["metrics"])
    assert result["n"] == 3
    assert found["mrr"] == pytest.approx(2 / 3)
    assert found["rp@1"] == pytest.approx(2 / 3)
    # The second row ranks accounting first and, shared words being equal, Python fourth.
    assert found["rp@5"] == pytest.approx(2 / 3)
    assert found["recall@50"] == pytest.approx(2 / 3)
    # BM25 knows no more than the names: Python is not in its second list.
    assert values(result["baseline"])["recall@50"] == pytest.approx((1 + 1 / 2) / 3)
    assert result["gold_uris"] == {"distinct": 4, "missing": ["gone"]}
    assert any("1 of 4 labelled URIs are not in taxonomy mini 3" in n for n in result["notes"])
    assert any("2 rows without the URI" in note for note in result["notes"])


def test_linking_of_spans_asks_for_each_span_once(report, rows_file):
    row = {
        "text": "baking loaves, Python programming",
        "links": [
            link("s/bake", "baking loaves", 0),
            link(None, "baking loaves", 0),
            link("k/python", "Python programming", 15),
            link("k/accounting", "Python programming", 15),
        ],
    }
    result = report("linking", rows_file(row), "--level", "span")
    assert result["n"] == 1
    assert "2 queries" in result["notes"]
    # Second query: python first, accounting third of four: 1/min(1, 2) and 2/2.
    assert values(result["metrics"])["rp@1"] == 1
    assert values(result["metrics"])["rp@5"] == 1
    assert values(result["baseline"])["rp@5"] == pytest.approx((1 + 1 / 2) / 2)


def test_extraction_of_rows_of_both_kinds(report, rows_file):
    path = rows_file(
        # Two right, one wrong (OvenWare), one missed (k/accounting).
        {
            "text": "bake bread with OvenWare and Python",
            "links": [link("s/bake"), link("k/python"), link("k/accounting"), link(None)],
        },
        {"text": "no Python", "links": [link("k/python")]},  # negated: not returned
        {"text": "bake bread, prune trees", "links": []},
        {"text": "prune trees", "spans": []},
        {"text": "prune trees", "links": [link(None)]},
        {"text": "prune", "spans": [{"start": 0, "end": 5, "label": "SKILL"}]},
    )
    result = report("extraction", path)
    found = values(result["metrics"])
    assert result["n"] == 4
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 4)
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["concepts_per_empty_row"] == 1.5
    assert values(result["baseline"])["recall"] == pytest.approx(3 / 4)
    assert any("2 rows whose skills have no URI" in note for note in result["notes"])


def test_spans_by_label(report, rows_file):
    spans = [
        {"start": 0, "end": 10, "label": "SKILL"},
        {"start": 15, "end": 33, "label": "KNOWLEDGE"},
    ]
    # Found in each row: its first two words as SKILL, its last one as KNOWLEDGE. "bake bread" is
    # right, "programming" lies in a longer gold span.
    path = rows_file(
        {"text": "bake bread and Python programming", "spans": spans},
        {"text": "implied prune trees", "spans": []},
        {"text": "prune trees", "spans": []},
    )
    # A file of another label: recall only, and its predictions do not count above.
    soft = rows_file(
        {"text": "prune trees", "spans": [{"start": 0, "end": 11, "label": "SOFT_SKILL"}]},
        {"text": "patience", "spans": [{"start": 0, "end": 8, "label": "SOFT_SKILL"}]},
        name="soft.jsonl",
    )
    result = report("spans", path, soft)
    found = values(result["metrics"])
    assert found["strict_precision/SKILL"] == pytest.approx(1 / 3)
    assert found["strict_recall/SKILL"] == 1
    assert found["strict_f1/SKILL"] == pytest.approx(1 / 2)
    assert found["strict_f1/KNOWLEDGE"] == 0
    assert found["overlap_f1/KNOWLEDGE"] == pytest.approx(1 / 2)
    assert found["strict_recall/SOFT_SKILL"] == found["overlap_recall/SOFT_SKILL"] == 0.5
    assert "strict_precision/SOFT_SKILL" not in found
    # Linked: "bake bread", "Python" and "prune trees"; an implied skill has no place.
    linked = values(result["baselines"]["linked skills"])
    assert linked["strict_precision/SKILL"] == pytest.approx(1 / 2)
    assert linked["overlap_f1/KNOWLEDGE"] == 1
    # Exact labels take the implied skill for named, too.
    assert values(result["baseline"])["strict_precision/SKILL"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("bake bread )", 0, 12), ("bake bread (", 0, 10), ("bake bread", 0, 10)],
)
def test_gold_spans_end_before_a_lone_bracket(report, rows_file, text, start, end):
    gold = {"start": start, "end": end, "label": "SKILL"}
    result = report("spans", rows_file({"text": text, "spans": [gold]}))
    assert values(result["baselines"]["linked skills"])["strict_f1/SKILL"] == 1
    mended = "gold spans taken without a bracket that has no other half: 1"
    assert (mended in result["notes"]) == (end == 12)


def test_occupations(report, rows_file):
    path = rows_file(
        {"title": "oven hand", "text": "oven hand", "occupation": {"uri": "o/baker"}},
        {"title": "baker", "text": "An ad", "occupation": {"uri": "o/clerk"}},
        {"text": "x", "occupation": None},
        {"text": "x", "occupation": {"uri": None}},
    )
    result = report("occupations", path)
    assert result["n"] == 2
    # One confidence for both answers, one of which is wrong: the risk is 1/2 at full coverage.
    assert values(result["metrics"]) == pytest.approx(
        {"accuracy@1": 0.5, "recall@5": 1.0, "recall@10": 1.0, "mrr": (1 + 1 / 3) / 2}
        | {"ece": 0, "aurc": 0.5}
    )
    assert values(result["baseline"])["recall@10"] == 0.5


def test_requirement(report, rows_file):
    def mention(span, status):
        return {"span": span, "requirement": status}

    path = rows_file(
        {
            "text": "no maths but yoga",
            "mentions": [mention("maths", "negated"), mention("yoga", "required")],
        },
        {"text": "chess is nice", "mentions": [mention("chess", "preferred")]},
        {"text": "Latin a must", "mentions": [mention("Latin", "required")]},
        {"text": "nothing", "mentions": []},
    )
    result = report("requirement", path)
    found = values(result["metrics"])
    assert result["n"] == 3
    assert found["accuracy"] == 0.75
    # Three predicted as required, two of them right, none missed.
    assert found["f1/required"] == pytest.approx(4 / 5)
    assert found["f1/preferred"] == 0
    assert "f1/mentioned" not in found
    assert values(result["baseline"])["accuracy"] == 0.5
    assert result["confusion"]["preferred"]["required"] == 1


def test_must(report, rows_file):
    path = rows_file(
        {"text": "bake bread", "must": [{"uri": "s/bake"}, {"uri": "s/prune"}], "must_not": []},
        {"text": "Python", "must": [{"uri": "k/python"}], "must_not": [{"uri": "s/bake"}]},
        {"text": "OvenWare", "must": [], "must_not": [{"uri": "t/ovenware"}, {"uri": "x"}]},
        {"text": "no Python here, OvenWare", "must_be_empty": True, "title": "Clerk"},
        {"text": "no Python", "must_be_empty": True},
        {"text": "nothing", "must": []},
    )
    result = report("must", path)
    assert result["n"] == 5
    assert values(result["metrics"]) == pytest.approx(
        {"must_recall": 2 / 3, "must_not_violations": 1 / 2, "concepts_per_empty_row": 1 / 2}
    )
    assert values(result["baseline"])["concepts_per_empty_row"] == 1.5


def role(text, label, **more):
    return {"title": "Baker", "text": text, "label": label, **more}


def test_roles(report, rows_file, monkeypatch, tmp_path):
    monkeypatch.setattr("eval.tasks.ILO_EXPOSURE", tmp_path / "absent.jsonl")
    path = rows_file(
        role("created", "created"),
        role("threatened", "threatened", nearest="threatened", channel="cognitive"),
        role("threatened", "threatened", nearest="threatened", channel="physical"),
        role("threatened", "augmented"),
        role("by hand", "unaffected", nearest="threatened"),
        role("a grant", None),
    )
    result = report("roles", path)
    found = values(result["metrics"])
    assert result["n"] == 5
    assert found["accuracy"] == 3 / 5
    assert found["abstained"] == 1 / 5
    assert found["f1/created"] == 1
    assert found["f1/threatened"] == pytest.approx(4 / 5)
    assert found["macro_f1"] == pytest.approx((1 + 4 / 5 + 0 + 0) / 4)
    assert found["nearest_accuracy"] == 3 / 5
    assert found["channel_accuracy"] == 1 / 2
    # By chance: (created 1·1 + threatened 2·3) / 25; an abstention is a label of its own.
    assert found["kappa"] == pytest.approx((0.6 - 0.28) / (1 - 0.28))
    # Four rows at .7, three of them right; one at .1, whose first class is wrong.
    assert found["ece"] == pytest.approx((abs(2.8 - 3) + 0.1) / 5)
    assert "pairs_right" not in found
    assert result["confusion"]["unaffected"]["abstained"] == 1
    assert list(result["baselines"]) == ["title keywords", "AI skills", "majority"]
    assert any("without the baseline of ILO" in note for note in result["notes"])
    assert result["baselines"]["title keywords"] == result["baseline"]
    assert values(result["baseline"])["f1/augmented"] == pytest.approx(2 / 6)
    assert values(result["baselines"]["majority"])["accuracy"] == 2 / 5
    assert values(result["baselines"]["majority"])["ece"] == pytest.approx(0)


def test_pairs_are_right_only_if_both_are(report, rows_file):
    path = rows_file(
        role("created", "created", pair="A", same_as_pair=False),
        role("augmented", "augmented", pair="A", same_as_pair=False),
        role("created", "created", pair="B", same_as_pair=True),
        role("by hand", "created", pair="B", same_as_pair=True),
        role("created", "created", pair="C", same_as_pair=True),  # its other half is missing
    )
    assert values(report("roles", path)["metrics"])["pairs_right"] == 0.5


def test_roles_have_a_baseline_of_published_exposure(report, rows_file, monkeypatch, tmp_path):
    published = tmp_path / "isco.jsonl"
    published.write_text('{"isco": "7512", "ilo_potential_2025": "Not Exposed"}\n')
    monkeypatch.setattr("eval.tasks.ILO_EXPOSURE", published)
    result = report("roles", rows_file(role("x", "augmented"), role("y", "threatened")))
    # The engine finds no occupation, so the class is the one without any.
    assert values(result["baselines"]["occupation (ILO)"])["accuracy"] == 1 / 2


def test_roles_have_a_learned_baseline_from_fifty_rows_on(report, rows_file):
    pytest.importorskip("sklearn")
    path = rows_file(*[role(label, label) for label in ["created", "augmented"] * 25])
    learned = report("roles", path)["baselines"]["TF-IDF regression, 5 folds"]
    assert values(learned)["accuracy"] == 1


def test_an_ad_that_gives_an_error_counts_as_no_answer(report, rows_file):
    path = rows_file(role("created", "created"), role("UNREADABLE", "created"))
    result = report("roles", path)
    assert values(result["metrics"])["accuracy"] == 0.5
    assert any("1 rows gave an error" in n and "cannot be read" in n for n in result["notes"])


def test_speed(report, rows_file, engine, monkeypatch):
    batch = type(engine).extract_batch

    def slowly(self, postings, **options):
        time.sleep(0.02)
        yield from batch(self, postings, **options)

    monkeypatch.setattr(type(engine), "extract_batch", slowly)
    path = rows_file(*[{"text": f"bake bread. Number {i}"} for i in range(10)])
    result = report("speed", path)
    found = values(result["metrics"])
    assert set(found) == {
        "ads_per_s",
        "sentences_per_s",
        "chars_per_s",
        "latency_p50_ms",
        "latency_p95_ms",
        "load_s",
        "peak_rss_mb",
    }
    # Five ads in at least 20 ms, each of two sentences and twenty characters.
    assert 0 < found["ads_per_s"] <= 250
    assert found["sentences_per_s"] == pytest.approx(2 * found["ads_per_s"])
    assert found["chars_per_s"] == pytest.approx(20 * found["ads_per_s"])
    assert 0 < found["latency_p50_ms"] <= found["latency_p95_ms"]
    assert 10 < found["peak_rss_mb"] < 100_000
    assert values(result["baseline"])["ads_per_s"] > found["ads_per_s"]
    assert result["threads"]["cores"] >= 1


def test_sentences_are_counted_by_lines_and_ends():
    assert count_sentences("Bake bread. Prune trees!\n\n- Use 3.5 litres\n") == 3


def test_the_report_says_all_that_it_depends_on(invoke, rows_file, tmp_path):
    path, out = rows_file({"text": "bake", "links": [link("s/bake")]}), tmp_path / "out.json"
    result = invoke("linking", path, "--json", out)
    assert result.exit_code == 0
    for words in ("mrr", "BM25", "linking: 1 rows", "taxonomy mini 3 (abababababab)", "numpy"):
        assert words in result.stdout
    content = json.loads(out.read_text())
    assert content["task"] == "linking"
    assert content["files"] == [str(path)]
    assert content["versions"]["jobshift"] == "0.0"
    assert content["versions"]["numpy"]
    assert content["seconds"] >= 0
    assert content["provenance"]["taxonomy_sha256"] == "ab" * 32
    assert set(content["metrics"]["mrr"]) == {"value", "low", "high"}
    assert set(content["metrics"]) == set(content["baseline"]) | {"ece", "aurc"}


def test_limit_draws_a_sample_and_says_so(report, rows_file):
    path = rows_file(*[{"text": "bake", "links": [link("s/bake")]}] * 20)
    result = report("linking", path, "--limit", 7)
    assert result["n"] == 7
    assert any("a random sample of 7 of 20 rows" in note for note in result["notes"])


def fails(result, *words):
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("task", TASKS)
def test_unusable_files_end_with_status_2(invoke, rows_file, tmp_path, task):
    fails(invoke(task, tmp_path / "none.jsonl"), "error:", "none.jsonl", "cannot be read")
    fails(invoke(task, rows_file("")), "error:", "the file is empty")
    fails(invoke(task, rows_file("7")), "error:", "row 1: expected a JSON object")
    fails(invoke(task, rows_file({"id": "x"})), "error:", "row 1: ", "is missing")


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("linking", {"text": "a", "links": [link(None)]}),
        ("extraction", {"text": "a", "links": [link(None)]}),
        ("spans", {"text": "a", "spans": []}),
        ("occupations", {"text": "a", "occupation": None}),
        ("requirement", {"text": "a", "mentions": []}),
        ("must", {"text": "a", "must": []}),
        ("roles", {"text": "a", "title": "b", "label": None}),
        ("speed", {"text": "a"}),
    ],
)
def test_no_usable_rows_end_with_status_2(invoke, rows_file, task, row):
    words = "at least two ads" if task == "speed" else "no usable rows"
    fails(invoke(task, rows_file(row)), "error:", words)


def test_unusable_options_end_with_status_2(invoke, rows_file, tmp_path):
    path = rows_file({"text": "bake", "links": [link("s/bake")]})
    fails(invoke("poetry", path), "poetry")
    fails(invoke("linking", path, "--taxonomy", "absent"), "'absent' is not installed")
    fails(invoke("linking", path, "--encoder", "absent"), "unknown encoder 'absent'")
    fails(invoke("linking", path, "--level", "span"), "row 1: a link has no `span`")
    fails(invoke("must", path, "--level", "span"), "--level belongs to linking")
    fails(invoke("linking", path, "--limit", "0"), "--limit")
    fails(invoke("linking", path, "--json", tmp_path / "no" / "out.json"), "folder that exists")
    fails(invoke("linking"), "FILE")


@pytest.mark.model
def test_the_real_engine_scores_well_on_its_own_labels(rows_file, tmp_path):
    from typer.testing import CliRunner

    from eval.__main__ import app
    from eval.engine import load_engine

    concepts = list(load_engine("default", "accurate").taxonomy.of_kind("skill"))[:40]
    path = rows_file(*[{"text": c.label, "links": [link(c.id)]} for c in concepts])
    result = CliRunner().invoke(app, ["linking", str(path), "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    found = values(json.loads((tmp_path / "out.json").read_text())["metrics"])
    assert found["recall@50"] == 1
    assert found["mrr"] > 0.9


def test_cross_fit_reaches_the_task(invoke, rows_file):
    result = invoke("roles", rows_file(role("created", "created")), "--cross-fit")
    assert result.exit_code == 2
    assert "--cross-fit needs at least 50 documents" in result.output
    other = invoke("speed", rows_file({"text": "a"}, {"text": "b"}), "--cross-fit")
    assert "--cross-fit belongs to roles" in other.output
