"""No pattern and no reader of ours takes more than linear time, whatever the text.

Work that grows with the square of the length takes minutes at a million characters; the limits
here are tens of times what linear work takes.
"""

import importlib
import pkgutil
import re
import signal
from contextlib import contextmanager

import pytest

import extractor
import taxonomies
from extractor.language import detect_language
from extractor.levels import find_experience, find_mastery
from extractor.markup import read_html
from extractor.qualifications import find_qualifications
from extractor.records import MAX_CHARACTERS
from extractor.requirement import classify_requirement
from extractor.zones import find_zones, mask_markup, split_sentences


def patterns():
    """All compiled patterns of our modules, also those in tables."""
    found = {}

    def collect(name, value, depth=0):
        if isinstance(value, re.Pattern):
            if isinstance(value.pattern, str):
                found.setdefault((value.pattern, value.flags), (name, value))
        elif isinstance(value, dict) and depth < 3:
            for inner in value.values():
                collect(name, inner, depth + 1)
        elif isinstance(value, list | tuple | set | frozenset) and depth < 3:
            for inner in value:
                collect(name, inner, depth + 1)

    for package in (extractor, taxonomies):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                collect(f"{module.name}.{name}", value)
    return list(found.values())


LONG = 1_000_000
WHOLE = {
    "one letter": "a" * LONG,
    "blanks": " " * LONG,
    "nested brackets": "(" * (LONG // 2) + ")" * (LONG // 2),
    "nested tags": "<" * (LONG // 2) + ">" * (LONG // 2),
    "alternating punctuation": ".,-;" * (LONG // 4),
}
UNITS = [
    *"aA1 \t\n-.,;:/&#*•'\"([{|+_@é$%=",
    *(
        "()",
        "[]",
        "<a ",
        "&amp;",
        "- ",
        ". ",
        ", ",
        "a ",
        "A ",
        "a-",
        "1-",
        "1.",
        "1 ",
        "a,",
        "a, ",
    ),
    *(
        "A. ",
        "a/",
        "a\n",
        " \n",
        "\n\n",
        "-\n",
        "* ",
        "or ",
        "and ",
        "a and ",
        "years ",
        "no ",
        "e.g. ",
    ),
    *(
        "A&",
        "1+ ",
        "10 years ",
        "a: ",
        "A:\n",
        "?!",
        "<b>",
        "</",
        "http://",
        "www.",
        "a@",
        "_-",
        "'s",
    ),
    *("Required ", "experience ", "degree in ", "'a", "C1 ", "to ", "not ", "of the ", "(i)", "o "),
]
MANY = [unit * (10_000 // len(unit)) + end for unit in UNITS for end in ("", "!(x")]


@contextmanager
def within(seconds, what):
    """Fail when the time is over: `re` lets a signal in, so nothing runs on for hours."""

    def stop(*_):
        raise AssertionError(f"more than {seconds} s for {what!r}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def scan(pattern, text):
    for _ in pattern.finditer(text):
        pass
    pattern.fullmatch(text)


@pytest.mark.parametrize(("name", "pattern"), patterns(), ids=lambda value: str(value)[:60])
def test_patterns_are_linear(name, pattern):
    for text in MANY:
        with within(1, text[:20] + text[-3:]):  # 1 ms is usual
            scan(pattern, text)
    for kind, text in WHOLE.items():
        with within(5, kind):
            scan(pattern, text)


def read(text):
    masked = mask_markup(text)
    zones = find_zones(masked, None)
    sentences = split_sentences(masked, zones)
    detect_language(text)
    find_experience(sentences)
    find_qualifications(sentences)
    for sentence in sentences[:2000]:
        find_mastery(sentence.text, 0, 1)
        classify_requirement(sentence.text, 0, 1, sentence.zone)


@pytest.mark.parametrize("unit", UNITS)
def test_reading_is_linear(unit):
    text = (unit * MAX_CHARACTERS)[:MAX_CHARACTERS]
    with within(10, unit):
        read(text)


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "<", "<b>", "<div>", "</p>", "<p ", "<!--", "&", "&amp;", "&#", "<li>", "(", "\n"),
        *("<table><tr><td>", "<b><i></b>", "<a href='", "<select><option>", "<svg><title>"),
    ],
)
def test_html_is_read_in_linear_time(unit):
    with within(20, unit):
        read_html(unit * (200_000 // len(unit)))
