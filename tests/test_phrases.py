"""Phrases of a sentence: the parts of it that may each name a skill, with offsets."""

import pytest
import spacy

from extractor.phrases import LONGEST_ITEM, candidate_phrases

NLP = spacy.blank("en")


def phrases(text, *runs):
    """The words of each phrase; runs are given by their words."""
    places = [(text.index(run), text.index(run) + len(run)) for run in runs]
    found = candidate_phrases(NLP(text)[:], places)
    assert all(text[phrase.start : phrase.end] == phrase.text for phrase in found)
    return [phrase.text for phrase in found]


@pytest.mark.parametrize(
    ("text", "runs", "expected"),
    [
        (
            "You design and implement REST APIs.",
            ["implement REST APIs", "REST APIs"],
            {"design", "implement REST APIs", "REST APIs"},
        ),
        ("Knows SQL, Ada/C++ & R; Rust", [], {"Knows SQL", "Ada", "C++", "R", "Rust"}),
        ("of the costs; with us", ["the costs"], {"costs", "the costs"}),
        ("IT support, in IT", ["IT support", "IT"], {"IT support", "IT"}),
        ("keep on call, on our own", ["keep on call"], {"keep on call"}),
    ],
)
def test_parts_that_may_name_a_skill(text, runs, expected):
    assert set(phrases(text, *runs)) == expected


@pytest.mark.parametrize("text", ["", "and the", "Strong experience.", "- , ;", "\n"])
def test_no_phrase_in_words_that_name_nothing(text):
    assert phrases(text) == []


def test_no_phrase_twice_and_in_order():
    found = phrases("Java, Java and java; Ada", "Ada", "Java")
    assert found == ["Java", "Ada"]


def test_long_items_are_no_phrases():
    words = " ".join(f"word{n}" for n in range(LONGEST_ITEM))
    assert phrases(words) == [words]
    assert phrases(words + " longer") == []


def test_offsets_are_those_of_the_document():
    doc = NLP("We grow. You plan budgets. Join us.")
    sentence = doc[3:7]
    start = doc.text.index("plan budgets")
    found = candidate_phrases(sentence, [(start, start + 12), (0, 7), (start + 1, start + 12)])
    assert [(phrase.start, phrase.text) for phrase in found] == [(start, "plan budgets")]
