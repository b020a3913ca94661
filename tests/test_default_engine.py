"""The engine as users get it: the default taxonomy, the real encoder, the example ads."""

from pathlib import Path

import pytest

from extractor import SkillExtractor
from extractor.index import build_index

pytestmark = pytest.mark.model

EXAMPLES = Path(__file__).parents[1] / "examples"


def read(name):
    return (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def labels(result):
    return {skill.label for skill in result.skills}


def found(engine, text):
    return labels(engine.extract(text))


def test_example_ad_gives_its_skills_and_its_class(engine):
    result = engine.extract(read("data-analyst"), title="Data Analyst")
    right = {
        "A/B testing",
        "GDPR",
        "Git",
        "Google Analytics",
        "Microsoft Excel",
        "PostgreSQL",
        "Power BI",
        "Python (computer programming)",
        "R",
        "SAS",
        "SQL",
        "Snowflake",
        "Tableau",
        "data protection",
        "dbt",
        "manage time",
        "pandas",
        "statistics",
        "think analytically",
    }
    assert right <= labels(result)
    assert result.role.label == "augmented"
    asked = {skill.label: skill.requirement for skill in result.skills}
    assert asked["SQL"] == "required"
    assert asked["Git"] == "preferred"
    assert asked["machine learning"] == "negated"
    assert asked["Java (computer programming)"] == "negated"
    assert result.occupations[0].label == "data analyst"


@pytest.mark.parametrize(
    ("name", "title", "label"),
    [
        ("ml-engineer", "Machine Learning Engineer", "created"),
        ("data-analyst", "Data Analyst", "augmented"),
        ("warehouse-operative", "Warehouse Operative", "threatened"),
    ],
)
def test_example_ads_have_their_class_with_and_without_a_title(engine, name, title, label):
    for given in (title, None):
        role = engine.extract(read(name), title=given).role
        assert role.label == label
        assert role.nearest == label
        assert max(role.probabilities, key=role.probabilities.get) == label
        assert role.evidence


def test_words_are_never_split(engine):
    assert not any(
        len(m.text) == 1 for s in engine.extract("You work well.").skills for m in s.matches
    )


def test_power_bi_is_no_electrical_equipment(engine):
    skills = found(engine, "You build dashboards in Power BI.")
    assert "Power BI" in skills
    assert not any("electric" in label or "power equipment" in label for label in skills)


@pytest.mark.parametrize(
    "text",
    [
        "Salary: 45,000 to 55,000 a year, depending on experience.",
        "We offer a competitive salary and a company pension.",
        "We are an equal opportunity employer and value diversity at our company.",
        "All applicants are considered regardless of race, religion, gender or disability.",
    ],
)
def test_boilerplate_gives_no_skill(engine, text):
    assert found(engine, text) == set()


def test_every_match_has_span_label_and_score(engine):
    text = read("ml-engineer")
    matches = [match for skill in engine.extract(text).skills for match in skill.matches]
    assert len(matches) >= 15
    for match in matches:
        assert text[match.start : match.end] == match.text
        assert match.label
        assert 0 < match.score <= 1
        assert engine.taxonomy[match.concept_id].label == match.label


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("Services written in Go and Java", "Go", True),
        ("You go the extra mile for guests.", "Go", False),
        ("Statistics in R or SAS", "R", True),
        ("Our R&D department is growing.", "R", False),
        ("Advanced Excel and Word", "Microsoft Excel", True),
        ("A place to excel at what you do.", "Microsoft Excel", False),
        ("Deploy with Docker and Kubernetes", "Kubernetes", True),
        ("Build agents with LangChain and PyTorch", "LangChain", True),
        ("Experience with SAP is required", "SAP R3", True),
    ],
)
def test_names_that_are_also_words(engine, text, label, expected):
    names = {
        name for s in engine.extract(text).skills for name in engine.taxonomy[s.concept_id].names
    }
    assert (label in names) == expected


def test_link_ranks_the_whole_taxonomy(engine):
    ranked = engine.link("keep customers happy", k=20)
    assert len(ranked) == 20
    assert any("customer" in candidate.label for candidate in ranked[:5])


def test_occupation_of_a_title(engine):
    (ranked,) = engine.occupations_batch(["Sr. Data Scientist (m/f/d)"])
    assert ranked[0].label.lower().startswith("data scientist")


def test_fast_engine_needs_no_transformer(mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    build_index("mini", encoder="fast")
    monkeypatch.setattr(
        "extractor.encoders.MiniLMEncoder.__init__", lambda *_: pytest.fail("MiniLM was loaded")
    )
    engine = SkillExtractor.load("mini", encoder="fast")
    text = "Warehouse worker\n\nYour duties:\n- Operate a forklift and pack boxes all day\n"
    result = engine.extract(text, title="Warehouse worker")
    assert result.role is not None
    assert result.role.label == "threatened"
    assert "m:forklift" in {skill.concept_id for skill in result.skills}
    assert all(text[m.start : m.end] == m.text for skill in result.skills for m in skill.matches)
    assert result.provenance is not None
    assert result.provenance.encoder == engine.resources.encoder.name
