"""How well and how long a skill must be known: proficiency, CEFR levels and years of experience.

Pure functions over strings, in linear time. As with the requirement, a wording reaches over the
items of its list until another one, a verb or the end of the clause. The wordings stand in
`data/level_cues.json`.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

from extractor.records import BOILERPLATE_ZONES, Cefr, Experience, Level, Sentence, Years
from extractor.requirement import classify_requirement
from extractor.zones import PhraseTable, Token, mask_markup, tokenize

__all__ = ["Mastery", "find_experience", "find_mastery", "join_mastery"]

LONGEST_CAREER = 30
"""Most years that an ad asks for; higher numbers are ages and histories of firms."""

_REACH = 4
"""Most words between a wording and a skill, or between two skills of a list."""

_CEFR_LEVEL: dict[str, Level] = {"A": "basic", "B": "intermediate", "C": "advanced"}


class Mastery(NamedTuple):
    """How well and how long the skill at one place must be known."""

    level: Level | None = None
    cefr: Cefr | None = None
    years: Years | None = None


# --- Years ----------------------------------------------------------------------------------

_NUMERALS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_WORDS = {word: number for number, word in enumerate(_NUMERALS)} | {
    "half a": 0.5,
    "a": 1,
    "an": 1,
    "several": 3,
    "couple of": 2,
}
_NUMBER = rf"(?:\d{{1,2}}(?:[.,]\d)?|{'|'.join(sorted(_WORDS, key=len, reverse=True))})"
_UNIT = r"(?P<unit>years?|yrs?|months?|mos)\b"
_YEARS = re.compile(
    rf"\b(?:(?P<low>{_NUMBER})\s{{0,2}}\+?\s{{0,2}}(?:-|–|—|to|or|and)\s{{0,2}}(?P<high>{_NUMBER})"
    rf"|(?P<only>{_NUMBER}))(?:\s?\(\d{{1,2}}\))?\s{{0,2}}(?P<plus>\+|plus|or more)?\s{{0,2}}-?"
    rf"\s{{0,2}}{_UNIT}['’]?(?:\s(?:or\s(?P<two>two|so)|plus|or\s(?:more|longer)|minimum))?",
    re.IGNORECASE,
)
# "10+ years in software, 5+ of them in C++"
_MORE_YEARS = re.compile(
    r"(?<![\w.,])(?P<only>\d{1,2})\s?(?P<plus>\+)(?=\s(?:of (?:them|which|those)|in|with)\b)"
)
_MOST = re.compile(
    r"(?:up to|less than|under|no more than|maximum(?: of)?|max\.?|below)\s{0,2}$", re.I
)
_NO_EXPERIENCE_BEFORE = re.compile(
    r"(?:after|within|every|each|past|last|next|first|once|ago|than in|over the)\s{0,2}"
    r"(?:the\s|a\s)?$",
    re.IGNORECASE,
)
_NO_EXPERIENCE_AFTER = re.compile(
    r"\s{0,2}-?(?:old\b|of age|ago\b|contract|probation|fixed|term\b|of service|in business|degree"
    r"|program|course|plan\b|warranty|limit|from\b|after\b|extension|university|college"
    r"|maximum contract|post\b(?!-)|position|project|appointment|history)",
    re.IGNORECASE,
)
_EMPLOYER = re.compile(
    r"\b(?:we|our|us|founded|company|firm|founders|reports? to|manager with|team of)\b",
    re.IGNORECASE,
)
_FOR = re.compile(r"\bfor\b[\w\s]{0,14}$")
_EXPERIENCE_OF = re.compile(r"experience\W{0,3}(?:of|:|\()?\W{0,3}[\w\s]{0,12}$", re.IGNORECASE)
_A_DEGREE = re.compile(r"\bdegree\b", re.IGNORECASE)
_GENERAL = re.compile(
    r"\s{0,2}(?:in (?:the|a|an)\b|in \w{1,40} \w|as an?\b|at an?\b|\w{1,40} a\b|\w{0,2}$|[.,;]"
    r"|of which)"
)
_PERSON = re.compile(
    r"\b(?:you|your|candidates?|applicants?|must|should|minimum|at least|require[sd]?|need(?:s|ed)?"
    r"|looking for|seeking)\b",
    re.IGNORECASE,
)
_IN_EXPERIENCE = re.compile(
    r"\s{0,2}(?:\+|of|in|as)?\s{0,2}(?P<words>(?:(?!(?:of|with|using|in|on)\b)[\w’'/&-]{1,40}\s{1,2}){0,5}?)"
    r"(?:experience|exp\b|track record)(?P<tool>\s(?:with|using|of|on)\b)?",
    re.IGNORECASE,
)


class _YearsCue(NamedTuple):
    start: int
    end: int
    years: Years
    # In brackets or behind "for": it says something of what stands before it.
    behind: bool


def _value(text: str) -> float:
    word = " ".join(text.lower().split())
    return float(_WORDS[word]) if word in _WORDS else float(word.replace(",", "."))


def _find_years(masked: str) -> list[_YearsCue]:
    cues: list[_YearsCue] = []
    if not re.search(r"\b(?:years?|yrs?|months?|mos)\b", masked, re.IGNORECASE):
        return cues
    for match in _YEARS.finditer(masked):
        before, after = (
            masked[max(0, match.start() - 40) : match.start()],
            masked[match.end() :][:30],
        )
        single = match["only"] or ""
        if single.lower() in ("a", "an") and not match["two"]:
            continue
        if _NO_EXPERIENCE_BEFORE.search(before) or _NO_EXPERIENCE_AFTER.match(after):
            continue
        scale = 1.0 if match["unit"].lower().startswith("y") else 1 / 12
        low: float | None
        high: float | None
        if single:
            low, high = _value(single), 2.0 if match["two"] == "two" else None
            if _MOST.search(before):
                low, high = 0.0, low
        else:
            low, high = _value(match["low"]), _value(match["high"])
            if low > high:
                low, high = high, None
        low = round(low * scale, 2)
        high = None if high is None else round(high * scale, 2)
        if max(low, high or 0) > LONGEST_CAREER or _of_employer(masked, match.start()):
            continue
        behind = (
            before.rstrip().endswith("(") or re.search(r"\bfor\b[\w\s]{0,14}$", before) is not None
        )
        cues.append(_YearsCue(match.start(), match.end(), Years(minimum=low, maximum=high), behind))
    if cues:
        cues += [
            _YearsCue(match.start(), match.end(), Years(minimum=float(match["only"])), behind=False)
            for match in _MORE_YEARS.finditer(masked)
        ]
    return sorted(cues, key=lambda cue: cue.start)


def _of_employer(masked: str, at: int) -> bool:
    """Whether the years are those of the firm or of other people in it."""
    clause = re.split(r"[.;!?]", masked[max(0, at - 150) : at])[-1]
    return _EMPLOYER.search(clause) is not None and _PERSON.search(clause) is None


def find_experience(sentences: Iterable[Sentence]) -> Experience | None:
    """Find how much experience an ad asks for overall.

    Years with a single tool do not count; of alternatives in one sentence ("a bachelor's degree
    with 5 years or a master's with 3") the lowest counts, of sentences the highest.

    Args:
        sentences: Sentences of the ad, with their zones.

    Returns:
        The statement that asks for most, or None.
    """
    found: list[Experience] = []
    for sentence in sentences:
        if sentence.zone in BOILERPLATE_ZONES:
            continue
        masked = mask_markup(sentence.text)
        with_degree = _A_DEGREE.search(masked) is not None
        stated = []
        for cue in _find_years(masked):
            tail = _IN_EXPERIENCE.match(masked, cue.end)
            tool = tail is not None and tail["tool"] is not None
            head = _EXPERIENCE_OF.search(masked, max(0, cue.start - 40), cue.start)
            general = _GENERAL.match(masked, cue.end)
            if (tail and not tool) or ((head or general) and not cue.behind) or with_degree:
                status = classify_requirement(sentence.text, cue.start, cue.end, sentence.zone)
                if status in ("required", "preferred"):
                    stated.append((cue, status))
        if stated:
            choice = min if re.search(r"\bor\b", masked) else max
            cue, status = choice(stated, key=lambda item: item[0].years.minimum)
            found.append(
                Experience(
                    start=sentence.start + cue.start,
                    end=sentence.start + cue.end,
                    text=sentence.text[cue.start : cue.end],
                    years=cue.years,
                    requirement=status,
                    zone=sentence.zone,
                )
            )
    required = [item for item in found if item.requirement == "required"] or found
    return max(required, key=lambda item: item.years.minimum, default=None)


# --- Proficiency ----------------------------------------------------------------------------


class _Cue(NamedTuple):
    first: int
    stop: int
    level: Level
    cefr: Cefr | None
    before: bool
    after: bool


@cache
def level_wordings() -> dict[str, Any]:
    """The file of wordings."""
    source = resources.files("extractor") / "data" / "level_cues.json"
    data: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return data


@cache
def _tables() -> tuple[PhraseTable[Level], PhraseTable[Level]]:
    data = level_wordings()
    before, after = (
        PhraseTable(
            [(phrase, level) for level, phrases in data[side].items() for phrase in phrases]
        )
        for side in ("before", "after")
    )
    return before, after


_CEFR = re.compile(r"(?<![\w.])(?P<low>[ABC][12])(?:\s?[/–-]\s?[ABC][12])?(?:\+|\b)")
_ENDS = frozenset(".;!?—")
_BREAKS = frozenset((
    "to", "who", "that", "which", "while", "you", "we", "is", "are", "will", "for", "as", "by",
    "from", "but", "not", "no", "if", "would", "where", "when", "your", "our", "knowledge",
    "experience",
))  # fmt: skip
_LIST = frozenset([",", "and", "or"])


class _Reading(NamedTuple):
    tokens: list[Token]
    starts: list[int]
    forms: list[str]
    cues: list[_Cue]
    years: list[_YearsCue]


@lru_cache(maxsize=64)
def _read(sentence: str) -> _Reading:
    masked = mask_markup(sentence)
    tokens = tokenize(masked)
    starts = [token.start for token in tokens]
    forms = [token.form for token in tokens]
    before, after = _tables()
    cues: list[_Cue] = []
    read = 0
    for index in sorted({*before.starts(forms), *after.starts(forms)}):
        if index < read:
            continue
        found = before.longest(forms, index)
        behind = after.longest(forms, index)
        stop = max(found[0] if found else 0, behind[0] if behind else 0)
        if not stop:
            continue
        read = stop
        chosen = found if found and found[0] == stop else behind
        assert chosen is not None  # noqa: S101 - for the type checker
        cues.append(
            _Cue(
                index,
                stop,
                chosen[1],
                None,
                before=found is not None and found[0] == stop,
                after=behind is not None and behind[0] == stop,
            )
        )
    for match in _CEFR.finditer(masked):
        first, stop = bisect_left(starts, match.start()), bisect_left(starts, match.end())
        name: Any = match["low"]
        cues.append(_Cue(first, stop, _CEFR_LEVEL[name[0]], name, before=True, after=True))
    return _Reading(tokens, starts, forms, cues, _find_years(masked))


def find_mastery(sentence: str, start: int, end: int) -> Mastery:
    """Say how well and how long a skill must be known.

    Args:
        sentence: The sentence.
        start: Offset of the skill in the sentence.
        end: Offset behind its last character.
    """
    reading = _read(sentence)
    inside = [
        i for i, token in enumerate(reading.tokens) if token.start < end and start < token.end
    ]
    if not inside:
        return Mastery()
    first, stop = inside[0], inside[-1] + 1
    cue = _nearest_cue(reading, first, stop)
    return Mastery(
        cue.level if cue else None,
        cue.cefr if cue else None,
        _nearest_years(reading, start, end, first, stop),
    )


def _nearest_cue(reading: _Reading, first: int, stop: int) -> _Cue | None:
    ranked: list[tuple[float, int, _Cue]] = []
    for cue in reading.cues:
        if first <= cue.first < stop:
            if cue.before and cue.first == first and cue.stop < stop:
                ranked.append((0.0, cue.first, cue))  # "Advanced Excel" as a whole is the mention
            continue
        if cue.stop <= first and cue.before:
            between = reading.forms[cue.stop : first]
            if (cue.cefr is None or between in ([], ["level"])) and _joins(
                reading, cue.stop, first
            ):
                ranked.append((len(between), cue.first, cue))
        elif cue.first >= stop and cue.after:
            between = reading.forms[stop : cue.first]
            marked = bool(between) and between[0] in (":", "(")
            at_end = _closes(reading, cue.stop)
            close = not between or between in (["is"], ["level"], ["at"], [":"], ["("])
            if (cue.cefr or marked or at_end) and (close or _joins(reading, stop, cue.first)):
                # What stands right behind a skill says more of it than what stands before its list.
                ranked.append((len(between) - (1.5 if cue.cefr or marked else 0.0), cue.first, cue))
    return min(ranked)[2] if ranked else None


def _closes(reading: _Reading, stop: int) -> bool:
    """Whether a wording ends its clause or item: "Excel at an advanced level, …"."""
    return stop >= len(reading.forms) or reading.forms[stop] in _ENDS | {",", ")", "or", "and"}


def _joins(reading: _Reading, start: int, stop: int) -> bool:
    """Whether the words between a wording and a skill only list things."""
    length = 0
    for form in reading.forms[start:stop]:
        if form in _ENDS or form in _BREAKS or form in (":", "("):
            return False
        length = 0 if form in _LIST else length + 1
        if length > _REACH:
            return False
    others = any(start <= cue.first < stop for cue in reading.cues)
    return not others


def _nearest_years(reading: _Reading, start: int, end: int, first: int, stop: int) -> Years | None:
    ranked: list[tuple[int, Years]] = []
    for cue in reading.years:
        before = bisect_left(reading.starts, cue.start)
        behind = bisect_left(reading.starts, cue.end)
        if cue.end <= start and not cue.behind:
            between = reading.forms[behind:first]
            stretch, weight = (behind, first), len(between)
        elif cue.start >= end:
            between = reading.forms[stop:before]
            opener = between[:1] in (["("], [":"], [","]) or "for" in between
            if not (opener and (cue.behind or between[:1] == [":"])):
                continue
            stretch, weight = (stop, before), len(between) - 1
        else:
            continue
        if len(between) > 9 or not _ENDS.isdisjoint(between):
            continue
        if any(stretch[0] <= other.first < stretch[1] for other in reading.cues):
            continue
        if any(cue.end <= other.start < start for other in reading.years):
            continue
        if "," in between and not {"degree", "knowledge", "skills", "ability"}.isdisjoint(between):
            continue
        ranked.append((weight, cue.years))
    return min(ranked, key=lambda item: item[0])[1] if ranked else None


def join_mastery(masteries: Sequence[Mastery]) -> Mastery:
    """Join what several places say of one skill: the highest level, the most years."""
    order: tuple[Level, ...] = ("basic", "intermediate", "advanced", "native")
    levels = [m for m in masteries if m.level]
    best = max(levels, key=lambda m: (order.index(m.level or "basic"), m.cefr or ""), default=None)
    years = [m.years for m in masteries if m.years]
    return Mastery(
        best.level if best else None,
        best.cefr if best else None,
        max(years, key=lambda y: y.minimum, default=None),
    )
