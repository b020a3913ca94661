"""Ranking and deciding, on vectors worked out by hand; exact search against brute force."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import taxonomies
from extractor.encoders import CachedEncoder, HashingEncoder
from extractor.errors import ArtefactError
from extractor.index import FormIndex, build_index, load_index, tokenize
from extractor.int8 import Table
from extractor.linker import FEATURES, Linker, LinkerModel, Named, Query, Ranking, load_prior
from extractor.phrases import Phrase
from taxonomies import Concept

CONCEPTS = (
    Concept("a", "manage budgets", "skill", ("budget management", "plan budgets")),
    Concept("b", "Java (computer programming)", "knowledge"),
    Concept("c", "drive forklifts", "skill", ("forklift driving",)),
)
ENCODER = HashingEncoder(64)
INDEX = FormIndex.build(CONCEPTS, ENCODER)
WEIGHTS = (1.0, 1.0, 0.0, 1.0, 0.0, 0.0)
MODEL = LinkerModel("test", WEIGHTS, (2.0, 2.0, 0.0, 1.0, *[0.0] * 6), -4.0, 0.8, 0.5)


def test_search_agrees_with_brute_force():
    names = ["manage budgets", "budget management", "plan budgets"]
    names += ["Java (computer programming)", "Java", "drive forklifts", "forklift driving"]
    vectors = ENCODER.encode(names)
    query = ENCODER.encode(["budgets", "java"])
    cosines = query @ vectors.T
    means = np.stack(
        [vectors[:3].mean(axis=0), vectors[3:5].mean(axis=0), vectors[5:].mean(axis=0)]
    )
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    order = np.argsort(-query @ means.T, axis=1, kind="stable")
    np.testing.assert_array_equal(INDEX.nearest(query, 9), order)
    np.testing.assert_array_equal(INDEX.nearest(query, 2), order[:, :2])
    label, best = INDEX.similarities(Table.of(query), np.array([0, 1, 2]))
    bare = [cosines[:, 0], cosines[:, [3, 4]].max(axis=1), cosines[:, 5]]
    np.testing.assert_allclose(label, np.stack(bare, axis=1), atol=0.005)
    every = [cosines[:, :3].max(axis=1), cosines[:, 3:5].max(axis=1), cosines[:, 5:].max(axis=1)]
    np.testing.assert_allclose(best, np.stack(every, axis=1), atol=0.005)


def test_prior_ranks_concepts_that_ads_ask_for_first():
    query = Query("forklifts and budgets", 0, (), {})
    weights = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    model = LinkerModel("test", weights, (0.0,) * len(FEATURES), 0.0, 0.0, 0.5)
    linker = Linker(INDEX, CachedEncoder(ENCODER), model, {"c": 2.0, "a": 1.0, "unknown": 9.0})
    (found,) = linker.rank([query])
    assert [INDEX.concepts[c].id for c in found.concepts] == ["c", "a", "b"]
    assert found.scores.tolist() == [2.0, 1.0, 0.0]
    other = Linker(INDEX, CachedEncoder(ENCODER), model, {"x": 2.0, "y": 0.0})
    assert other.prior.tolist() == [2.0] * 3  # a taxonomy that was not counted


@pytest.mark.model
def test_shipped_prior_speaks_of_concepts_of_the_default_taxonomy():
    known = {concept.id for concept in taxonomies.load("default").of_kind("skill", "knowledge")}
    prior = load_prior()
    assert prior.keys() <= known
    assert all(0 < value < 12 for value in prior.values())


def test_tools_are_found_by_name_alone():
    tools = FormIndex.build((Concept("t", "Excel", "tool"),), ENCODER)
    assert tools.nearest(ENCODER.encode(["Excel"]), 5).shape == (1, 0)
    linker = Linker(tools, CachedEncoder(ENCODER), MODEL)
    phrase = Phrase(3, 8, "Excel")
    named = Query("In Excel", 0, (phrase,), {0: Named(0.9, phrase)})
    rankings = linker.rank([Query("In Excel", 0, (phrase,), {}), named])
    assert len(rankings[0].concepts) == 0
    assert linker.decide(named, rankings[0]) == []
    (link,) = linker.decide(named, rankings[1])
    assert (link.phrase, link.method) == (phrase, "exact")
    assert link.probability == pytest.approx(0.8 * 0.9)


def test_name_that_means_something_else_is_no_candidate():
    phrase = Phrase(0, 4, "Java")
    query = Query("Java", 0, (phrase,), {}, frozenset({1}))
    (ranking,) = Linker(INDEX, CachedEncoder(ENCODER), MODEL).rank([query])
    assert 1 not in ranking.concepts


def test_words_of_many_names_are_passed_over_beside_rarer_ones(monkeypatch):
    monkeypatch.setattr("extractor.linker.COMMON", 2)
    linker = Linker(INDEX, CachedEncoder(ENCODER), MODEL)
    texts = "budgets and java", "budgets"
    mixed, common = linker.rank([Query(text, 0, (), {}) for text in texts])
    lexical = FEATURES.index("lexical")

    def of_budgets(ranking):
        return ranking.features[list(ranking.concepts).index(0), lexical]

    assert of_budgets(mixed) < 0 < of_budgets(common)


def test_lexical_score_prefers_the_concept_that_shares_words():
    scores = INDEX.lexical_scores(*tokenize(["planning of budgets"]))
    every = np.arange(len(CONCEPTS))
    values = scores.standardised(every)
    assert values.argmax() == scores.best(1) == 0
    assert 2 not in scores.concepts
    assert values[2] == values.min()
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-6)
    # Three names have the word "budget".
    assert list(INDEX.lexical_scores(["budget", "java"], most=3).concepts) == [0, 1]
    assert list(INDEX.lexical_scores(["budget", "java"], most=2).concepts) == [1]
    assert list(INDEX.lexical_scores(["budget"], most=2).concepts) == [0]
    nothing = INDEX.lexical_scores(*tokenize(["the of and"]))
    assert not len(nothing.best(5))
    assert not nothing.standardised(every).any()


def test_best_phrase_and_exact_name_decide():
    phrases = (Phrase(0, 4, "Java"), Phrase(9, 23, "budget planner"))
    linker = Linker(INDEX, CachedEncoder(ENCODER), MODEL)
    query = Query("Java and budget planner", 0, phrases, {1: Named(1.0, phrases[0])})
    (ranking,) = linker.rank([query])
    assert ranking.concepts[0] == 1
    assert ranking.phrases[0] == 0
    assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
    links = linker.decide(query, ranking)
    assert (links[0].concept, links[0].method) == (1, "exact")
    assert linker.rank([]) == []


def test_a_line_of_many_phrases_is_compared_in_parts(monkeypatch):
    words = "manage budgets and plan budgets and drive forklifts"
    phrases = tuple(Phrase(a, b, words[a:b]) for a, b in ((0, 14), (19, 31), (36, 51)))
    linker, query = Linker(INDEX, CachedEncoder(ENCODER), MODEL), Query(words, 0, phrases, {})
    (whole,) = linker.rank([query])
    monkeypatch.setattr("extractor.linker.COMPARED", 1)
    (parts,) = linker.rank([query])
    assert len(whole.concepts) == 3
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_queries_are_ranked_alike_alone_and_together():
    linker = Linker(INDEX, CachedEncoder(ENCODER), MODEL)
    java = Phrase(0, 4, "Java")
    queries = [
        Query("Java and budgets", 0, (java,), {1: Named(1.0, java)}, frozenset({0})),
        Query("x", 0, (), {}, frozenset(range(len(INDEX.concepts)))),
        Query("drive forklifts and plan budgets", 0, (Phrase(0, 15, "drive forklifts"),), {}),
    ]
    together = linker.rank(queries)
    assert [len(ranking.concepts) for ranking in together] == [2, 0, 3]
    assert together[2].phrases[0] in (-1, 0)
    for query, ranking in zip(queries, together, strict=True):
        (alone,) = linker.rank([query])
        for one, other in zip(alone, ranking, strict=True):
            np.testing.assert_array_equal(one, other)


def ranking(*rows):
    """A ranking of (concept, probability, phrase) rows."""
    concepts, probabilities, phrases = zip(*rows, strict=True)
    return Ranking(
        np.array(concepts),
        np.array(probabilities, dtype=np.float32),
        np.array(probabilities, dtype=np.float32),
        np.zeros((len(rows), len(FEATURES)), dtype=np.float32),
        np.array(phrases),
    )


def test_same_words_give_one_concept_and_alternatives():
    query = Query(
        "x" * 30, 0, (Phrase(0, 5, "xxxxx"), Phrase(3, 9, "xxxxxx"), Phrase(20, 25, "x")), {}
    )
    links = Linker(INDEX, CachedEncoder(ENCODER), MODEL).decide(
        query, ranking((0, 0.9, 0), (1, 0.8, 1), (2, 0.6, 2))
    )
    assert [link.concept for link in links] == [0, 2]
    assert links[0].alternatives == ((1, pytest.approx(0.8)),)


def test_nothing_above_the_threshold_is_no_concept():
    query = Query("x", 0, (Phrase(0, 1, "x"),), {})
    assert Linker(INDEX, CachedEncoder(ENCODER), MODEL).decide(query, ranking((0, 0.49, 0))) == []


def test_whole_sentence_is_the_span_where_it_fits_better_than_any_phrase():
    query = Query("x", 0, (Phrase(0, 1, "x"),), {})
    (link,) = Linker(INDEX, CachedEncoder(ENCODER), MODEL).decide(query, ranking((0, 0.9, -1)))
    assert (link.phrase, link.method) == (None, "sentence")


def test_index_survives_the_disk(tmp_path):
    INDEX.to_disk(tmp_path / "skills")
    again = FormIndex.from_disk(tmp_path / "skills", CONCEPTS)
    assert all(map(torch.equal, again.forms, INDEX.forms))
    found, wanted = (index.lexical_scores(["budget"]) for index in (again, INDEX))
    np.testing.assert_array_equal(found.concepts, wanted.concepts)
    np.testing.assert_allclose(found.scores, wanted.scores)
    with pytest.raises(ArtefactError, match="other concepts"):
        FormIndex.from_disk(tmp_path / "skills", CONCEPTS[:2])
    for damaged in ({"bytes": INDEX.forms.bytes[1:]}, {"bytes": INDEX.forms.bytes.float()}):
        save_file(INDEX.forms._asdict() | damaged, tmp_path / "skills" / "forms.safetensors")
        with pytest.raises(ArtefactError, match="other concepts"):
            FormIndex.from_disk(tmp_path / "skills", CONCEPTS)
    (tmp_path / "skills" / "forms.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="missing or damaged"):
        FormIndex.from_disk(tmp_path / "skills", CONCEPTS)


def test_index_of_other_content_is_refused(mini_cache, monkeypatch):
    import taxonomies

    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    taxonomy = taxonomies.load("mini")
    encoder = HashingEncoder()
    folder = build_index("mini", encoder=encoder)
    assert load_index(taxonomy, encoder).skills.concepts
    manifest = (folder / "manifest.json").read_text()
    try:
        (folder / "manifest.json").write_text(manifest.replace(taxonomy.sha256, "0" * 64))
        with pytest.raises(ArtefactError, match="taxonomy_sha256"):
            load_index(taxonomy, encoder)
    finally:
        (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ArtefactError, match="jobshift taxonomy install mini"):
        load_index(taxonomy, HashingEncoder(32))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_manifest_is_refused_and_built_again(mini_cache, monkeypatch, content):
    import taxonomies

    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    taxonomy, encoder = taxonomies.load("mini"), HashingEncoder()
    manifest = build_index("mini", encoder=encoder) / "manifest.json"
    manifest.write_text(content)
    with pytest.raises(ArtefactError, match="jobshift taxonomy install mini"):
        load_index(taxonomy, encoder)
    build_index("mini", encoder=encoder)
    assert load_index(taxonomy, encoder).skills.concepts


def test_empty_taxonomy_is_refused():
    with pytest.raises(ArtefactError, match="no concept"):
        FormIndex.build((), ENCODER)
