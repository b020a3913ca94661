from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from eval.rows import find_span
from extractor.errors import JobshiftError
from extractor.records import REQUIREMENTS, ZoneLabel
from extractor.requirement import classify_requirement
from extractor.zones import find_zones, split_sentences

ROWS = Path(__file__).parent / "data" / "requirement.jsonl"
log = logging.getLogger(__name__)


def status(text: str, span: str, zone: ZoneLabel = "other") -> str:
    start = text.index(span)
    return classify_requirement(text, start, start + len(span), zone)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("title", "required"),
        ("duties", "required"),
        ("requirements", "required"),
        ("nice_to_have", "preferred"),
        ("about", "mentioned"),
        ("benefits", "mentioned"),
        ("how_to_apply", "mentioned"),
        ("other", "required"),
    ],
)
def test_without_a_cue_the_zone_decides(zone: ZoneLabel, expected: str) -> None:
    assert status("Python", "Python", zone) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Must have Go; Rust desirable.", {"Go": "required", "Rust": "preferred"}),
        ("Java (required), Scala (preferred)", {"Java": "required", "Scala": "preferred"}),
        ("Experience with SQL, ideally dbt", {"SQL": "required", "dbt": "preferred"}),
        ("Welding is a plus but not required.", {"Welding": "preferred"}),
        ("Welsh is not essential.", {"Welsh": "negated"}),
        ("No experience with cranes needed.", {"cranes": "negated"}),
        ("Neither Perl nor Lua is required.", {"Perl": "negated", "Lua": "negated"}),
        ("This is not a programming post.", {"programming": "negated"}),
        ("You will be trained in bookbinding.", {"bookbinding": "mentioned"}),
        ("Instead of Excel we use Calc.", {"Excel": "negated", "Calc": "mentioned"}),
        ("We built our product in Rust.", {"Rust": "mentioned"}),
        ("Not only Java but also SQL is required.", {"Java": "required", "SQL": "required"}),
        ("Nobody starts here without first aid.", {"first aid": "required"}),
        ("Essential: baking. Desirable: brewing.", {"baking": "required", "brewing": "preferred"}),
    ],
)
def test_scope_of_cues(text: str, expected: dict[str, str]) -> None:
    assert {span: status(text, span) for span in expected} == expected


def test_a_cue_outweighs_the_zone() -> None:
    assert status("Tableau is a plus", "Tableau", "requirements") == "preferred"
    assert status("A driving licence is a must", "driving licence", "nice_to_have") == "required"
    assert status("You must pass a course in welding", "welding", "benefits") == "mentioned"


def test_mention_without_a_word() -> None:
    assert classify_requirement("C# -- x", 3, 5, "requirements") == "required"


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (0, 99), (3, 1)])
def test_offsets_outside_the_sentence(start: int, end: int) -> None:
    with pytest.raises(JobshiftError, match="does not lie in its sentence of 6 characters"):
        classify_requirement("Python", start, end, "other")


FIRST_OF_SECOND_SET = 330


def part_of(index: int) -> str:
    """Held out: every third row of the first set and every second one of the second, harder set."""
    if index < FIRST_OF_SECOND_SET:
        return "held out" if index % 3 == 2 else "tuned"
    return "second set, held out" if index % 2 else "second set, tuned"


def test_labelled_sentences() -> None:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    for index, row in enumerate(rows):
        text = row["text"]
        sentences = split_sentences(text, find_zones(text))
        for mention in row["mentions"]:
            assert mention["requirement"] in REQUIREMENTS
            start, end = find_span(text, mention["span"])
            total[part_of(index)] += 1
            for sentence in sentences:
                if sentence.start <= start < sentence.end:
                    got = classify_requirement(
                        sentence.text, start - sentence.start, end - sentence.start, sentence.zone
                    )
                    right[part_of(index)] += got == mention["requirement"]
    accuracy = {part: right[part] / total[part] for part in total}
    log.info("requirement accuracy: %s of %s mentions", accuracy, dict(total))
    assert len(rows) >= 430
    assert accuracy["tuned"] >= 0.93
    assert accuracy["held out"] >= 0.85
    assert accuracy["second set, tuned"] >= 0.95
    assert accuracy["second set, held out"] >= 0.75
