from __future__ import annotations

import json
import logging
import time
from collections import Counter
from pathlib import Path

import pytest

from eval.rows import find_span
from extractor.language import detect_language
from extractor.levels import Mastery, find_experience, find_mastery, join_mastery
from extractor.qualifications import find_qualifications
from extractor.records import Sentence, Years
from extractor.requirement import classify_requirement
from extractor.zones import find_zones, split_sentences

ROWS = Path(__file__).parent / "data" / "levels.jsonl"
log = logging.getLogger(__name__)


def mastery(text: str, span: str) -> Mastery:
    start = text.index(span)
    return find_mastery(text, start, start + len(span))


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("5+ years of Python", (5, None)),
        ("at least three years' experience with Python", (3, None)),
        ("2-4 years of Python", (2, 4)),
        ("Python (2 – 4 yrs)", (2, 4)),
        ("18 months of Python", (1.5, None)),
        ("up to 3 years of Python", (0, 3)),
        ("3 years of Go, strong Python", None),
        ("We have used Python for 10 years", None),
        ("Python. 3 years of Go", None),
    ],
)
def test_years(text: str, years: tuple[float, float | None] | None) -> None:
    found = mastery(text, "Python").years
    assert (found and (found.minimum, found.maximum)) == years


@pytest.mark.parametrize(
    ("text", "span", "level", "cefr"),
    [
        ("basic German", "German", "basic", None),
        ("fluent in English and French", "French", "advanced", None),
        ("C1 level French", "French", "advanced", "C1"),
        ("German (B2)", "German", "intermediate", "B2"),
        ("advanced Excel", "Excel", "advanced", None),
        ("Advanced Excel skills", "Advanced Excel", "advanced", None),
        ("working knowledge of SQL", "SQL", "intermediate", None),
        ("native Dutch; some Danish", "Danish", "basic", None),
        ("strong team player who writes Python", "Python", None, None),
        ("Python and SQL", "SQL", None, None),
    ],
)
def test_proficiency(text: str, span: str, level: str | None, cefr: str | None) -> None:
    found = mastery(text, span)
    assert (found.level, found.cefr) == (level, cefr)


def test_places_are_joined() -> None:
    short, long = Years(minimum=1), Years(minimum=4, maximum=6)
    joined = join_mastery([Mastery("basic", None, long), Mastery("advanced", "C1", short)])
    assert joined == Mastery("advanced", "C1", long)
    assert join_mastery([]) == Mastery()


def test_boilerplate_asks_for_nothing() -> None:
    text = "A degree in law and 5 years of experience."
    assert find_qualifications([Sentence(0, len(text), text, "about")]) == []
    assert find_experience([Sentence(0, len(text), text, "benefits")]) is None
    assert find_experience([Sentence(0, len(text), text, "requirements")]) is not None


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("NMC registration required", "NMC registration"),
        ("HGV LICENCE required", "HGV LICENCE"),
        ("An AWS certification helps", "AWS certification"),
        ("AWS Certificate", "AWS Certificate"),
        ("We write software", None),
    ],
)
def test_certificates_and_licences(text: str, paper: str | None) -> None:
    found = find_qualifications([Sentence(0, len(text), text, "requirements")])
    assert [item.text for item in found] == ([paper] if paper else [])


def test_labelled_sentences() -> None:
    """Every second row was never looked at, only counted."""
    right: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    for index, row in enumerate(rows):
        part = "held out" if index % 2 else "tuned"
        text = row["text"]
        sentences = split_sentences(text, find_zones(text))
        for skill in row["skills"]:
            start, end = find_span(text, skill["span"])
            sentence = next(s for s in sentences if s.start <= start < s.end)
            found = find_mastery(sentence.text, start - sentence.start, end - sentence.start)
            years = found.years and [found.years.minimum, found.years.maximum]
            for name, value in (("level", found.level), ("cefr", found.cefr), ("years", years)):
                total[part, name] += 1
                right[part, name] += value == skill[name]
        stated = find_experience(sentences)
        total[part, "experience"] += 1
        years = stated and [stated.years.minimum, stated.years.maximum]
        right[part, "experience"] += years == row["experience"]
        left = find_qualifications(sentences)
        total[part, "qualification precision"] += len(left)
        for gold in row["qualifications"]:
            start, end = find_span(text, gold["span"])
            total[part, "qualification recall"] += 1
            for found_one in left:
                if (
                    (found_one.kind, found_one.level) == (gold["kind"], gold["level"])
                    and found_one.start < end
                    and start < found_one.end
                ):
                    left.remove(found_one)
                    right[part, "qualification recall"] += 1
                    right[part, "qualification precision"] += 1
                    break
    accuracy = {key: round(right[key] / total[key], 3) for key in sorted(total)}
    log.info("levels: %s of %s", accuracy, dict(total))
    assert len(rows) >= 100
    assert min(value for (part, _), value in accuracy.items() if part == "tuned") >= 0.95
    assert min(value for (part, _), value in accuracy.items() if part == "held out") >= 0.9


GERMAN = (
    "Wir suchen ab sofort eine erfahrene Buchhalterin für unser Büro in Leipzig. Sie erstellen "
    "Monatsabschlüsse, prüfen Rechnungen und stimmen Konten ab. Wir bieten 30 Tage Urlaub."
)
FRENCH = (
    "Nous recherchons un développeur Python pour rejoindre notre équipe à Lyon. Vous concevrez "
    "des services web et participerez à la revue de code. Anglais courant exigé."
)
ENGLISH = (
    "We are looking for an experienced accountant for our office. You prepare monthly accounts, "
    "check invoices and reconcile the ledger with the bank every week.\n"
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        (FRENCH, "fr"),
        (ENGLISH, "en"),
        (ENGLISH * 2 + GERMAN, "en"),
        (GERMAN * 3 + "\n" + FRENCH, "de"),
        ("Java, Spring, Hibernate, Maven, JUnit, Docker, Kubernetes, Jenkins, Git, Jira", None),
        ("Python, SQL, Excel, Tableau, Power BI, SAP, AutoCAD, Photoshop, InDesign, " * 2, None),
        ("Buchhalterin", None),
        ("12345 ...", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert detect_language(text) == language
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (
            "Python, SQL, Java, Docker, Kubernetes, Git, Linux, Jenkins, Terraform, Kafka, " * 2,
            None,
        ),
        ("- Python\n" * 40, None),
        (
            "python, sql, docker, kubernetes, terraform, ansible, jenkins, pandas, numpy, "
            "scikit-learn, pytorch, tensorflow, airflow, dbt, kafka",
            None,
        ),
        (
            "PYTHON, SQL, DOCKER, KUBERNETES, TERRAFORM, ANSIBLE, JENKINS, PANDAS, NUMPY, KAFKA",
            None,
        ),
        (
            "- Entwicklung von Datenbanken\n- Betreuung der Kunden\n- Erstellung von Berichten\n",
            None,
        ),
        ("WIR SUCHEN EINEN MITARBEITER FUER UNSER LAGER IN BERLIN MIT VIEL ERFAHRUNG " * 2, "de"),
    ],
)
def test_names_do_not_tell_a_language(text: str, language: str | None) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        # Small words that English shares with others, and English names, do not make it English.
        (
            "Vi søger en bogholder til vores kontor i Aarhus. Du har ansvar for bilag, for moms "
            "og for løn, og du arbejder tæt sammen med resten af teamet for at nå vores mål.",
            "da",
        ),
        (
            "Wij zoeken een ervaren magazijnmedewerker of chauffeur die in het weekend of "
            "'s avonds kan werken. We bieden een vast contract of een tijdelijk contract.",
            "nl",
        ),
        (
            "Poszukujemy osoby do pracy w magazynie. Mile widziane doświadczenie, by od razu "
            "zacząć. To praca dla osób, które chcą się uczyć, by po roku prowadzić własny zespół.",
            "pl",
        ),
        (
            "我们正在招聘一名软件工程师，负责 Internet of Things 平台的开发与维护，"
            "熟悉 Python and SQL，具有良好的沟通能力和团队合作精神，"
            "本科以上学历，有相关工作经验者优先考虑，待遇优厚。",
            "zh",
        ),
    ],
)
def test_small_words_of_other_languages(text: str, language: str) -> None:
    assert detect_language(text) == language


UNITS = ["a", "a ", "[(", "(", "a'", "2 years ", "degree in ", "A. ", "<", "1 ", "experience in "]


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_the_length(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.perf_counter()
    sentences = split_sentences(text, find_zones(text))
    find_qualifications(sentences)
    find_experience(sentences)
    detect_language(text)
    for sentence in sentences[:50]:
        classify_requirement(sentence.text, 0, 1, "other")
        find_mastery(sentence.text, 0, 1)
    assert time.perf_counter() - started < 30
