"""Names are matched by whole words, with case and company where they must be."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.errors import ArtefactError
from extractor.mentions import MentionMatcher, surface_forms
from taxonomies import Concept

ROWS = (Path(__file__).parent / "data" / "mini_taxonomy.jsonl").read_text().splitlines()
CONCEPTS = tuple(
    Concept(
        row["id"],
        row["label"],
        row["kind"],
        tuple(row["alt_labels"]),
        description=row["description"],
    )
    for row in map(json.loads, ROWS)
    if row["kind"] != "occupation"
)
MATCHER = MentionMatcher.build(CONCEPTS)


def found(text):
    """(words of the text, id of the concept) for every mention."""
    return [
        (text[m.start : m.end], CONCEPTS[position].id)
        for m in MATCHER.find(text)
        for position, _ in m.concepts
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reports in Power BI.", [("Power BI", "m:powerbi")]),
        ("maintain power equipment", [("power equipment", "m:power")]),
        ("Managing budgets of teams", [("Managing budgets", "m:budget")]),
        ("PYTHON and python", [("PYTHON", "m:python"), ("python", "m:python")]),
        ("C++/Java", [("C++", "m:cpp"), ("Java", "m:java")]),
        ("Machine-learning models", [("Machine-learning", "m:ml")]),
        ("Python, R and SQL", [("Python", "m:python"), ("R", "m:r"), ("SQL", "m:sql")]),
        ("statistical programming in R", [("R", "m:r")]),
        ("services in Go or Python", [("Go", "m:go"), ("Python", "m:python")]),
        ("advanced Excel", [("Excel", "m:excel")]),
        ("SAP and Excel", [("SAP", "m:sap"), ("Excel", "m:excel")]),
        ("teams of twelve", []),
    ],
)
def test_names_that_stand_there(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "work",
        "We go the extra mile.",
        "Go to our website.",
        "You excel at service.",
        "Excel in your career!",
        "the sap of maple trees",
        "vitamin C, and plenty of it",
        "our R&D team",
        "the C-suite",
        "a Pythonic style",
        "javanese",
        "",
        "\n\t ",
        "•••",
    ],
)
def test_names_that_only_seem_to_stand_there(text):
    assert found(text) == []


def test_label_of_one_concept_is_not_taken_for_a_by_name_of_another():
    assert found("SQL") == [("SQL", "m:sql")]


def test_fit_is_lower_for_alternative_names():
    (label,) = MATCHER.find("manage budgets")
    (alternative,) = MATCHER.find("budget management")
    assert label.concepts[0][1] == 1.0
    assert alternative.concepts[0][1] < 1.0


def test_longest_name_wins():
    assert found("Microsoft Excel 365") == [("Microsoft Excel", "m:excel")]


def test_label_without_its_qualifier_is_a_name():
    assert surface_forms(CONCEPTS[0]) == ("Python (computer programming)", "Python")


def test_survives_the_disk(tmp_path):
    MATCHER.to_disk(tmp_path / "names.arrow")
    again = MentionMatcher.from_disk(tmp_path / "names.arrow")
    assert again == MATCHER
    assert again.find("Python") == MATCHER.find("Python")


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "names.arrow").write_bytes(b"not arrow")
    with pytest.raises(ArtefactError, match="damaged"):
        MentionMatcher.from_disk(tmp_path / "names.arrow")


PIECES = st.sampled_from(
    ["Python", "Go", "R", "C++", "manage budgets", " ", ",", "\n", "é", "😀", "-"]
)


@given(st.lists(PIECES | st.text(string.printable, max_size=5), max_size=30).map("".join))
def test_mentions_are_ordered_and_lie_in_the_text(text):
    end = 0
    for mention in MATCHER.find(text):
        assert end <= mention.start < mention.end <= len(text)
        assert text[mention.start : mention.end].strip() == text[mention.start : mention.end]
        end = mention.end
