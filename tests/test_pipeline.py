"""The whole engine, over a mini taxonomy with an encoder that knows words only."""

import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from extractor import InvalidPostingError, JobPosting, JobResult, SkillExtractor
from extractor.components import text_of
from extractor.errors import ArtefactError
from extractor.records import MAX_CHARACTERS

AD = """Data Analyst

About us
Founded in 1987, Harbour Ltd makes power equipment.

What you will do
• Communicate with customers and manage budgets
• Build reports in Power BI, Python and SQL

Requirements
- Strong machine learning knowledge
- No experience with SAP needed

Nice to have
- Go

Benefits
Salary of 40,000 a year. We celebrate equality and diversity.
"""


def labels(result):
    return {skill.label for skill in result.skills}


def test_ad_gives_its_skills_and_nothing_of_the_boilerplate(mini_engine):
    result = mini_engine.extract(AD, title="Data Analyst")
    assert {
        "Python (computer programming)",
        "SQL",
        "Power BI",
        "manage budgets",
        "communicate with customers",
        "machine learning",
    } <= labels(result)
    assert not {
        "electrical power equipment",
        "determine salaries",
        "promote equality and diversity",
        "database management systems",
    } & labels(result)


def test_requirement_follows_sentence_and_zone(mini_engine):
    result = mini_engine.extract(AD, title="Data Analyst")
    asked = {skill.label: skill.requirement for skill in result.skills}
    assert asked["machine learning"] == "required"
    assert asked["SAP"] == "negated"


def test_every_offset_is_that_of_the_raw_text(mini_engine):
    result = mini_engine.extract(AD)
    matches = [match for skill in result.skills for match in skill.matches]
    assert matches
    for match in (*matches, *result.tasks):
        assert AD[match.start : match.end] == match.text


def test_concept_keeps_all_its_places(mini_engine):
    result = mini_engine.extract("You will write Python.\nYou must know Python.")
    (python,) = (s for s in result.skills if s.concept_id == "m:python")
    assert [match.start for match in python.matches] == [15, 37]


def test_html_keeps_offsets_and_gives_the_same_skills(mini_engine):
    html = "<p>You will write <b>Python</b></p><ul><li>and SQL&nbsp;queries</li></ul>"
    result = mini_engine.extract(html)
    assert {"m:python", "m:sql"} <= {skill.concept_id for skill in result.skills}
    for skill in result.skills:
        for match in skill.matches:
            assert html[match.start : match.end] == match.text


def test_posting_from_html_comes_with_levels_and_qualifications(mini_engine):
    html = (
        "<h3>Requirements</h3><ul><li>5+ years of Python &amp; advanced <b>SQL</b></li>"
        "<li>Bachelor's degree in mathematics</li><li>At least 3 years of experience</li></ul>"
    )
    posting = JobPosting.from_html("ad", html)
    result = mini_engine.extract(posting)

    skills = {skill.concept_id: skill for skill in result.skills}
    assert skills["m:python"].years.minimum == 5
    assert (skills["m:sql"].level, skills["m:sql"].years) == ("advanced", None)
    (match,) = skills["m:sql"].matches
    assert [html[a:b] for a, b in posting.source_spans(match.start, match.end)] == ["SQL"]
    (degree,) = result.qualifications
    assert (degree.kind, degree.level, degree.field) == ("degree", "bachelor", "mathematics")
    assert posting.text[degree.start : degree.end] == degree.text
    assert degree.requirement == "required"
    assert result.experience.years.minimum == 3


def test_an_ad_in_another_language_is_reported_and_not_read(mini_engine):
    german = (
        "Wir suchen eine Entwicklerin mit Kenntnissen in Python und SQL für unser Büro in Leipzig. "
        "Sie schreiben Abfragen, prüfen Daten und stimmen sich mit den Fachabteilungen ab."
    )
    english = JobPosting(id="en", text=AD)
    first, second = mini_engine.extract_batch([JobPosting(id="de", text=german), english])
    assert (first.id, first.language, first.skills, first.error) == ("de", "de", (), None)
    assert first.role.label is None
    assert "in German (de); only English is read" in first.role.abstained
    assert (second.id, second.language) == ("en", "en")
    assert second.skills


def test_role_and_occupation_come_with_scores(mini_engine):
    result = mini_engine.extract(AD, title="Data Analyst")
    assert result.occupations[0].label == "data analyst"
    assert sum(result.role.probabilities.values()) == pytest.approx(1.0)


def test_skills_alone_are_the_same_skills(mini_engine, mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    engine = SkillExtractor.load("mini", encoder="hashing", skills_only=True)
    alone, whole = engine.extract(AD), mini_engine.extract(AD)
    assert alone.skills == whole.skills != ()
    assert alone.zones == whole.zones
    assert (alone.role, alone.tasks, alone.occupations) == (None, (), ())
    assert whole.provenance.parts.keys() - alone.provenance.parts.keys() == {"roles", "ai_skills"}
    assert engine.link("plan budgets") == mini_engine.link("plan budgets")
    german = engine.extract("Wir suchen eine Fachkraft, die unsere Kunden freundlich berät. " * 5)
    assert (german.language, german.role) == ("de", None)
    with pytest.raises(ArtefactError, match="load it without skills_only"):
        engine.occupations_batch(["Nurse"])


def test_provenance_names_what_the_result_depends_on(mini_engine):
    provenance = mini_engine.extract(AD).provenance
    assert provenance.taxonomy == "mini"
    assert provenance.taxonomy_sha256 == mini_engine.taxonomy.sha256
    assert provenance.encoder == "hashing-256"
    assert {"linker", "roles", "ai_skills", "tokens"} <= provenance.parts.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("x" * (MAX_CHARACTERS + 1), "100,001 characters"),
        ("Python \ud800", "surrogate U\\+D800 at offset 7"),
    ],
)
def test_unreadable_text_is_refused_with_a_reason(mini_engine, text, message):
    with pytest.raises(InvalidPostingError, match=message):
        mini_engine.extract(text)


@pytest.mark.parametrize(
    "text",
    ["\x00", "a", "🙂", "\u200b", "<p></p>", "•", "\r\n\r\n.", "a\x00b\x07c", "<" * 500, "(" * 500],
)
def test_odd_text_gives_a_result(mini_engine, text):
    assert mini_engine.extract(text).error is None


def test_batch_is_lazy_ordered_and_one_to_one(mini_engine):
    taken = []

    def postings():
        for number in range(6):
            taken.append(number)
            if number == 2:
                yield JobResult(id="2", row=3, error="not an object")
            else:
                yield JobPosting(id=str(number), text="" if number == 4 else f"Python {number}")

    results = mini_engine.extract_batch(postings(), batch_size=2)
    first = next(results)
    assert taken == [0, 1]
    rest = list(results)
    assert [result.id for result in (first, *rest)] == list("012345")
    assert [bool(result.error) for result in (first, *rest)] == [0, 0, 1, 0, 1, 0]


def test_ad_that_breaks_a_component_costs_no_other(mini_engine, monkeypatch):
    linker = mini_engine.nlp.get_pipe("jobshift_linker")
    predict = linker.predict

    def breaking(docs):
        if any("boom" in doc.text for doc in docs):
            raise RuntimeError("broken")
        return predict(docs)

    monkeypatch.setattr(linker, "predict", breaking)
    ads = [JobPosting(id=str(i), text=text) for i, text in enumerate(("Python", "boom", "SQL"))]
    results = list(mini_engine.extract_batch(ads))
    assert [result.error for result in results] == [None, "ad '1': RuntimeError: broken", None]
    assert results[0].skills
    assert results[2].skills


def test_batch_size_changes_nothing(mini_engine):
    ads = [JobPosting(id=str(i), text=line) for i, line in enumerate(AD.splitlines()) if line]
    one = list(mini_engine.extract_batch(ads, batch_size=1))
    many = list(mini_engine.extract_batch(ads, batch_size=7))
    assert [labels(result) for result in one] == [labels(result) for result in many]


def test_link_ranks_without_a_threshold(mini_engine):
    (ranked,) = mini_engine.link_batch(["manage the budget"], k=5)
    assert ranked[0].concept_id == "m:budget"
    assert len(ranked) == 5
    assert mini_engine.link("manage the budget", k=5) == ranked


def test_a_part_of_a_document_has_its_own_text(mini_engine):
    doc = mini_engine.nlp("You plan budgets.  You know Java.\n")
    assert text_of(doc) == doc.text
    part = doc[5:9].as_doc(copy_user_data=True)
    assert text_of(part) == part.text != doc.text
    assert text_of(Doc(doc.vocab)) == ""


def test_requirements_take_any_spans(mini_engine):
    assert mini_engine.requirements("Java is a plus.", iter([(0, 4)])) == ["preferred"]
    assert mini_engine.requirements("Java is a plus.", []) == []


@pytest.mark.parametrize("span", [(-1, 3), (3, 3), (4, 2), (0, 99)])
def test_requirements_of_places_that_are_none(mini_engine, span):
    with pytest.raises(ValueError, match="is empty or lies outside"):
        mini_engine.requirements("You know Java.", [span])


def test_requirements_of_given_places(mini_engine):
    text = "You must know Python. No knowledge of SAP is needed."
    places = [(14, 20), (38, 41)]
    assert mini_engine.requirements(text, places) == ["required", "negated"]


def test_documents_survive_bytes(mini_engine):
    doc = mini_engine.nlp(AD)
    again = Doc(mini_engine.nlp.vocab).from_bytes(doc.to_bytes())
    assert [span.kb_id_ for span in again.spans["skills"]] == [
        span.kb_id_ for span in doc.spans["skills"]
    ]
    assert again.spans["skills"].attrs == doc.spans["skills"].attrs
    assert again._.jobshift_role == doc._.jobshift_role
    assert again.cats == doc.cats


def test_pipeline_saves_and_loads(mini_engine, mini_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    mini_engine.nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert again.pipe_names == mini_engine.nlp.pipe_names
    one, other = again(AD), mini_engine.nlp(AD)
    assert [span.kb_id_ for span in one.spans["skills"]]
    assert [s.kb_id_ for s in one.spans["skills"]] == [s.kb_id_ for s in other.spans["skills"]]


def test_components_work_in_a_pipeline_of_the_users(mini_engine, mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    nlp = spacy.blank("en")
    nlp.add_pipe("jobshift_zones")
    nlp.add_pipe("jobshift_mentions", config={"taxonomy": "mini", "encoder": "hashing"})
    doc = nlp("About us\nWe sell.\nRequirements\nPython")
    assert [span.text for span in doc.spans["mentions"]] == ["Python"]
    assert {span.label_ for span in doc.spans["zones"]} >= {"about", "requirements"}


PIECES = st.sampled_from(
    [
        *(
            "Python",
            "manage budgets",
            "\n",
            "\r\n",
            "• ",
            "<li>",
            "</p>",
            "&amp;",
            "\u00ad",
            "\u00a0",
        ),
        *(
            "Requirements:",
            "We offer",
            "😀",
            "e.g. ",
            "C++",
            ".NET",
            "(",
            "\x00",
            ". ",
            "é",
            "\u200b",
        ),
    ]
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(PIECES | st.text(max_size=4), min_size=1, max_size=25).map(" ".join))
def test_offsets_hold_for_any_text(mini_engine, text):
    (result,) = mini_engine.extract_batch([JobPosting(id="x", text=text)])
    if result.error is not None:
        assert "empty" in result.error or "surrogate" in result.error
        return
    for match in (*(m for skill in result.skills for m in skill.matches), *result.tasks):
        assert text[match.start : match.end] == match.text != ""
    for zone in result.zones:
        assert 0 <= zone.start < zone.end <= len(text)


def test_plain_texts_are_numbered_and_one_text_is_no_batch(mini_engine):
    results = list(mini_engine.extract_batch([AD, JobPosting(id="x", text=AD), "Python"]))
    assert [result.id for result in results] == ["1", "x", "3"]
    assert labels(results[0]) == labels(results[1])
    first, second, third = mini_engine.extract_batch([None, AD, float("nan")])
    assert (first.error, second.error) == ("ad 1 is None; give a text or a JobPosting", None)
    assert third.error == "ad 3 is nan; give a text or a JobPosting"
    with pytest.raises(TypeError, match="call extract"):
        next(mini_engine.extract_batch(AD))
