"""The content of the real default taxonomy, and its likeness to the official ESCO 1.1.1."""

import time
from pathlib import Path

import pytest

from taxonomies import TaxonomyNotInstalledError, load, manifest, read_esco

pytestmark = pytest.mark.model
OFFICIAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "esco-1.1.1"
ESCO = "http://data.europa.eu/esco/"


@pytest.fixture(scope="module")
def taxonomy():
    try:
        return load("default")
    except TaxonomyNotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def pairs(taxonomy):
    if not OFFICIAL.exists():
        pytest.skip("../shared/data/esco-1.1.1 is absent")
    official = read_esco(OFFICIAL)
    return [(one, official[one.id]) for one in taxonomy.concepts if one.id in official]


def test_counts(taxonomy):
    skills = [c for c in taxonomy.of_kind("skill", "knowledge") if c.id.startswith(f"{ESCO}skill/")]
    assert len(skills) >= 13_900
    assert all(skill.label and skill.description for skill in skills)
    # 13,586 of them have alternative labels in the wheels.
    assert sum(bool(skill.alt_labels) for skill in skills) >= 0.95 * 13_586
    occupations = list(taxonomy.of_kind("occupation"))
    assert sum(c.id.startswith(f"{ESCO}occupation/") for c in occupations) >= 3_030
    assert sum(c.id.startswith("onet:occupation/") for c in occupations) == 1_016
    assert all(c.code for c in occupations if c.id.startswith("onet:"))
    assert sum(c.id.startswith(f"{ESCO}isco/") for c in taxonomy.of_kind("group")) == 619
    assert sum(relation.type == "task" for relation in taxonomy.relations) == 18_796
    assert sum(c.kind == "tool" for c in taxonomy.concepts) > 8_500


def test_names_that_ads_use(taxonomy):
    labels = {c.label for c in taxonomy.of_kind("skill", "knowledge")}
    assert {
        "machine learning",
        "computer vision",
        "deep learning",
        "Angular",
        "lean manufacturing",
    } <= labels
    names = {name for c in taxonomy.of_kind("skill", "knowledge", "tool") for name in c.names}
    # ESCO 1.2.0 has it as another name of "ensure client orientation".
    assert "ensure customer orientation" in names
    assert {"Power BI", "Tableau", "Kubernetes", "PyTorch", "LangChain", "AWS", "Jira"} <= names
    assert {"R", "C", "SQL", "Excel", "SAP", "Go", "CI/CD", "RAG", "S/4HANA", "Xero"} <= names


def test_the_same_tool_is_one_concept(taxonomy):
    for name in ("Power BI", "Excel", "Python", "JavaScript", "Salesforce", "Docker", "R", "Jira"):
        owners = [
            c.label for c in taxonomy.of_kind("skill", "knowledge", "tool") if name in c.names
        ]
        assert len(owners) == 1, (name, owners)


def test_no_form_of_a_tool_is_an_everyday_word(taxonomy):
    made = {
        name
        for c in taxonomy.of_kind("tool")
        if not c.id.startswith("jobshift:")
        for name in c.alt_labels
    }
    everyday = {"Word", "Access", "Project", "Teams", "Office", "Notes", "Drive", "Analytics"}
    assert not made & everyday


def test_loading_takes_less_than_a_second(taxonomy):
    best = min(_seconds() for _ in range(3))
    assert best < 1.0
    assert manifest("default").sha256 == taxonomy.sha256


def _seconds():
    start = time.perf_counter()
    load("default")
    return time.perf_counter() - start


def test_labels_equal_the_official_ones(pairs):
    skills = [(one, two) for one, two in pairs if one.kind in ("skill", "knowledge")]
    assert len(skills) > 13_600
    assert sum(one.label == two.label for one, two in skills) / len(skills) >= 0.99
    occupations = [(one, two) for one, two in pairs if one.kind == "occupation"]
    assert sum(one.label == two.label for one, two in occupations) / len(occupations) >= 0.99


def test_kinds_equal_the_official_ones(pairs):
    assert sum(one.kind == two.kind for one, two in pairs) / len(pairs) >= 0.99


def test_alternative_labels_are_those_of_the_official_download(pairs):
    ours = theirs = both = 0
    for one, two in pairs:
        # Names added from O*NET and our supplement are meant to differ.
        if one.kind == "skill":
            left, right = ({name.casefold() for name in c.alt_labels} for c in (one, two))
            ours, theirs, both = ours + len(left), theirs + len(right), both + len(left & right)
    assert both / ours >= 0.96
    assert both / theirs >= 0.97
