"""The baselines, on a taxonomy of our own."""

import pytest

from eval.baselines import (
    BM25,
    ExactLabels,
    read_ilo_roles,
    role_by_majority,
    role_by_occupation,
    role_by_skills,
    role_by_title,
    roles_by_tfidf,
)
from eval.errors import EvaluationError
from taxonomies.records import Concept


def test_bm25_ranks_concepts_by_their_best_name(engine):
    index = BM25(engine.taxonomy.of_kind("skill", "knowledge", "tool"))
    ranked = index.rank(["You are baking loaves and trees", "Python", "zeppelin", ""], 10)
    assert ranked[0][:2] == ["s/bake", "s/prune"]
    assert ranked[1:] == [["k/python"], [], []]
    assert len(index.rank(["baking trees accounting Python"], 2)[0]) == 2


def test_bm25_needs_concepts():
    with pytest.raises(EvaluationError, match="no concept"):
        BM25([])


def test_bm25_keeps_one_letter_names_and_signs():
    index = BM25([Concept("c", "C", "tool"), Concept("cpp", "C++", "tool")])
    assert index.rank(["C++", "c"], 5) == [["cpp"], ["c"]]


def test_exact_labels_stand_on_token_boundaries_whatever_their_case():
    labels = [("a", "work"), ("b", "team work"), ("c", "C++"), ("d", "teaM  x"), ("e", "Work")]
    exact = ExactLabels(Concept(id_, label, "skill") for id_, label in labels)
    text = "İ: homework, TEAM\nWORK; c++ work"
    found = [(text[m.start : m.end], m.concept_id) for m in exact.find(text)]
    assert found == [("TEAM\nWORK", "b"), ("c++", "c"), ("work", "a"), ("work", "e")]
    assert ExactLabels([]).find(text) == []


@pytest.mark.parametrize(
    ("title", "label", "channel"),
    [
        ("Senior Machine-Learning Engineer", "augmented", None),
        ("Senior Machine Learning Engineer", "created", None),
        ("AI ethicist", "created", None),
        ("Maid", "augmented", None),
        ("Payroll clerk", "threatened", "cognitive"),
        ("Warehouse picker", "threatened", "physical"),
        ("Registered Nurse", "unaffected", None),
    ],
)
def test_role_by_title_reads_whole_words(title, label, channel):
    prediction = role_by_title(title)
    assert (prediction.label, prediction.channel) == (label, channel)
    assert prediction.probabilities == {label: 1.0}


def test_majority_gives_shares_as_probabilities():
    prediction = role_by_majority(["a", "b", "b", "b"], ["b"], [])
    assert prediction == ("b", "b", None, {"a": 0.25, "b": 0.75})


def test_tfidf_predicts_rows_that_it_has_not_seen():
    pytest.importorskip("sklearn")
    words = {"created": "neural models", "threatened": "pack boxes"}
    labels = ["created", "threatened"] * 30
    texts = [f"{words[label]} number{index}" for index, label in enumerate(labels)]
    predictions = roles_by_tfidf(texts, labels, range(60))
    assert [prediction.label for prediction in predictions] == labels
    assert all(sum(p.probabilities.values()) == pytest.approx(1) for p in predictions)
    # All that tells a row's class is its own document, which is always held out.
    secret = [f"word{index // 2}" for index in range(60)]
    alone = roles_by_tfidf(secret, [labels[i // 2] for i in range(60)], [i // 2 for i in range(60)])
    assert sum(p.label == labels[i // 2] for i, p in enumerate(alone)) < 45


def test_tfidf_is_left_out_where_there_is_too_little():
    assert roles_by_tfidf(["a"] * 49, ["x", "y"] * 24 + ["x"], range(49)) is None
    assert roles_by_tfidf(["a"] * 60, ["x"] * 56 + ["y"] * 4, range(60)) is None


@pytest.mark.parametrize(
    ("codes", "label", "nearest"),
    [
        (["", "4132"], "threatened", "threatened"),
        (["2221.1", "4132"], "unaffected", "augmented"),
        (["", "43-9021.00"], "augmented", "augmented"),
    ],
)
def test_role_by_occupation_takes_the_first_known_group(tmp_path, codes, label, nearest):
    published = tmp_path / "isco.jsonl"
    published.write_text(
        '{"isco": "4132", "ilo_potential_2025": "Exposed: Gradient 4"}\n'
        '{"isco": "2221", "ilo_potential_2025": "Minimal Exposure"}\n'
        '{"isco": "0110", "ilo_potential_2025": null}\n'
    )
    classes = read_ilo_roles(published)
    assert len(classes) == 2
    assert role_by_occupation(codes, classes)[:2] == (label, nearest)


def test_role_by_skills_needs_two_clauses_about_building_ml():
    one = "Tasks\n- Train machine learning models\n- Plan releases"
    assert role_by_skills("Engineer", one).label == "augmented"
    assert role_by_skills("Engineer", one + "\n- Deploy PyTorch models").label == "created"
