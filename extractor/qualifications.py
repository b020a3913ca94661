"""Degrees, certificates and licences that an ad names: qualifications that are no skills.

Pure functions over strings, in linear time. Names of certificates stand in
`data/level_cues.json`; what is called certificate or licence is found without being listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from extractor.levels import level_wordings
from extractor.records import (
    BOILERPLATE_ZONES,
    EducationLevel,
    Qualification,
    QualificationKind,
    Sentence,
)
from extractor.requirement import classify_requirement
from extractor.zones import mask_markup

__all__ = ["find_qualifications"]


class _Found(NamedTuple):
    start: int
    end: int
    kind: QualificationKind
    level: EducationLevel | None = None
    field: str | None = None


_S = r"(?:['’]?s|s['’])?"
_DEGREES: tuple[tuple[EducationLevel, str], ...] = (
    ("doctorate", r"(?:Ph\.?\s?D\b\.?|DPhil|EdD|[Dd]octorate|[Dd]octoral\s(?:degree|studies))"),
    (
        "master",
        rf"(?:[Mm]aster{_S}\s(?:[Dd]egree|[Ll]evel|in\b|of\s[A-Z]\w+)|[Mm]aster(?:['’]s|s['’])"
        r"|Masters\b|M\.?Sc\b\.?|MBA\b|M\.?Eng\b|M\.?Phil\b|M\.S\.|M\.A\."
        r"|MS(?=[ /,]+(?:in|or|degree|Ph))|MA(?=\s(?:in|degree))"
        r"|(?:[Aa]dvanced|[Pp]ost-?graduate|[Gg]raduate)\s(?:[Uu]niversity\s)?"
        r"(?:[Dd]egree|[Qq]ualification)|LL\.?M\b|MPH\b)",
    ),
    (
        "associate",
        rf"(?:[Aa]ssociate{_S}\s(?:[Dd]egree|of\s[A-Z]\w+)|HND\b|HNC\b|[Ff]oundation\s[Dd]egree)",
    ),
    (
        "secondary",
        r"(?:[Hh]igh\s?-?[Ss]chool(?:\s(?:[Dd]iploma|[Ee]ducation|[Gg]raduate|[Dd]egree|[Ll]eaver))?"
        r"|GED\b|GCSEs?\b|A-?\s?[Ll]evels?\b(?=\s(?:in|or|and)|[,.;)]|$)"
        r"|[Ss]econdary\s(?:[Ss]chool|[Ee]ducation)|[Ss]chool[\s-][Ll]eaving\s[Cc]ertificate|Abitur\b)",
    ),
    (
        "vocational",
        r"(?:(?:[Ll]evel\s\d\s)?N?S?VQ\b(?:\s[Ll]evel\s\d)?|City\s(?:&|and)\sGuilds(?:\s[Ll]evel\s\d)?"
        r"|BTEC\b|[Aa]pprenticeship\b|(?:[Vv]ocational|[Tt]rade)\s(?:[Tt]raining|[Qq]ualifications?"
        r"|[Ee]ducation|[Ss]chool|[Dd]egree|[Dd]iploma)|(?:[Tt]echnical|[Tt]rade|[Vv]ocational)\s"
        r"(?:[Cc]ollege|[Ss]chool)\s[Dd]iploma|[Dd]iploma(?=\s(?:in|of|or|level)|[,.;)]|$))",
    ),
    (
        "bachelor",
        rf"(?:[Bb]achelor{_S}(?:\s(?:[Dd]egree|[Ll]evel|of\s[A-Z]\w+))?|B\.?Sc\b\.?|B\.?Eng\b"
        r"|BMus\b|BBA\b|BA\b(?!\.?\s(?:team|role))|B\.A\.|B\.S\."
        r"|BS(?=[ /,]+(?:in|or|degree|M|/))|LL\.?B\b"
        r"|[Uu]ndergraduate\s[Dd]egree"
        r"|(?:(?:[Uu]niversity|[Cc]ollege|[Hh]onou?rs|[Ff]our[- ]year|4[- ]year|[Hh]igher)\s){1,2}"
        r"(?:[Dd]egree|[Ee]ducation)|[Dd]egree\b)",
    ),
)
_DEGREE = re.compile(
    r"(?<![\w.-])(?:"
    + "|".join(f"(?P<{level}>{pattern})" for level, pattern in _DEGREES)
    + r")(?![\w-])"
)
_FIELD = re.compile(
    r"(?:\s(?:[Dd]egree|[Qq]ualification|[Dd]iploma))?\s\(?(?:in|of)\s"
    r"(?P<field>(?!(?:a|an|the|our|this|grade)\b)[\w&/'’-]{1,40}"
    r"(?:\s(?!&)(?!(?:or|and|with|from|is|are|was|plus|required|preferred|as|at|for|by|a|an|the|to|who"
    r"|that"
    r"|ideally|desirable|desired|would|will|equivalent|degree|field|preferably|related|relevant)\b)[\w&/'’-]{1,40}){0,4})"
)
_GRADES = re.compile(r"\sgrades?\s[\w*-]{1,3}(?:\s(?:or|to|and)\s\w+)?(?=\sin\b)")
_FIELD_BEFORE = re.compile(r"(?P<field>[A-Za-z][\w&/-]{1,40})\s$")
_NO_FIELD = frozenset((
    "a", "an", "the", "or", "and", "in", "of", "university", "college", "relevant", "related",
    "appropriate", "technical", "required", "good", "first", "second", "no", "any", "your",
    "their", "equivalent", "similar", "advanced", "graduate", "bachelor's", "master's",
    "bachelors", "masters", "honours", "honors", "with", "this", "that", "suitable",
    "science-based", "higher", "professional", "recognised", "recognized", "accredited",
    "four-year", "4-year", "minimum", "completed", "have", "has", "hold", "year", "high",
    "some", "great", "varying", "certain", "certificate", "or/and", "stem", "is", "to",
))  # fmt: skip
_NO_DEGREE_AFTER = re.compile(
    r"\sof\s(?!science|arts|engineering)|-?\s?(?:angle|celsius)", re.IGNORECASE
)
_LICENCE = re.compile(
    r"(?<![\w-])(?P<name>(?:(?!(?:a|an|the|and|or|valid|current|full|clean|have|has|hold|with|your"
    r"|own|active|must|of|in|no|for|to|as|is|uk|us|eu|state|appropriate|relevant|required|possess"
    r"|professional|any|their|our|software|under|open|source|commercial)\b)"
    r"[\w'’&+/]{1,30}\s){1,3})(?:licen[cs]es?|registration)\b"
    r"(?!\s(?:agreement|fee|plate|number|process|form|key))",
    re.IGNORECASE,
)
_LICENCE_WORD = re.compile(r"licen[cs]e|registration", re.IGNORECASE)
_CERTIFICATE = re.compile(
    r"(?<![\w-])(?P<name>(?:[A-Z][\w&+./-]{0,30}\s(?:(?:in|of|and|&)\s)?){1,4}(?:[a-z]{1,20}\s)?)"
    r"(?P<word>[Cc]ertificat(?:ion|e))s?\b"
)
_ARTICLE = re.compile(
    r"(?:A|An|The|Your|Current|Valid|Must|Have|Hold|Has|And|Or|Possess|Any|Relevant)\s"
)
_LICENSED = re.compile(
    r"(?<![\w-])(?:driv(?:ing|er['’]?s?)|pilot|forklift)\s(?:licen[cs]e)", re.IGNORECASE
)


@cache
def _listed() -> re.Pattern[str]:
    data = level_wordings()
    groups = (f"(?P<{kind}>{'|'.join(data[kind])})" for kind in ("certificates", "licences"))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(groups)})(?![\w-])")


def find_qualifications(sentences: Iterable[Sentence]) -> list[Qualification]:
    """Find the qualifications that an ad asks for or mentions.

    Args:
        sentences: Sentences of the ad with their zones; those about the employer are left out.

    Returns:
        Qualifications in the order of the text.
    """
    found = []
    for sentence in sentences:
        if sentence.zone in BOILERPLATE_ZONES or sentence.zone == "title":
            continue
        masked = mask_markup(sentence.text)
        for item in _find(masked):
            found.append(  # noqa: PERF401 - a comprehension would be hard to read
                Qualification(
                    start=sentence.start + item.start,
                    end=sentence.start + item.end,
                    text=sentence.text[item.start : item.end],
                    kind=item.kind,
                    level=item.level,
                    field=item.field,
                    requirement=classify_requirement(
                        sentence.text, item.start, item.end, sentence.zone
                    ),
                    zone=sentence.zone,
                )
            )
    return found


def _find(masked: str) -> list[_Found]:
    """Qualifications of a sentence; of those that overlap, the longest."""
    chosen: list[_Found] = []
    for item in sorted([*_degrees(masked), *_papers(masked)], key=lambda f: (f.start, -f.end)):
        if chosen and item.start < chosen[-1].end:
            if item.end - item.start > chosen[-1].end - chosen[-1].start:
                chosen[-1] = item
        else:
            chosen.append(item)
    return chosen


def _degrees(masked: str) -> Iterator[_Found]:
    found: list[_Found] = []
    for match in _DEGREE.finditer(masked):
        level: EducationLevel = match.lastgroup  # type: ignore[assignment]
        start, end = match.span()
        field = None
        if match[0].lower() == "degree":
            if _NO_DEGREE_AFTER.match(masked, end):
                continue
            before = _FIELD_BEFORE.search(masked[max(0, start - 40) : start])
            if before and before["field"].lower() not in _NO_FIELD:
                field = before["field"]
                start -= len(before[0])
        if match[0] == "MBA":
            field = "business"
        grades = _GRADES.match(masked, end)
        if stated := _FIELD.match(masked, grades.end() if grades else end):
            field = stated["field"]
            end = stated.end()
        elif masked.startswith((" degree", " Degree"), end):
            end += len(" degree")
        found.append(_Found(start, end, "degree", level, field))
    # "a bachelor's or master's degree in history": the field belongs to both.
    for index in range(len(found) - 2, -1, -1):
        item, following = found[index], found[index + 1]
        if item.field is None and following.start - item.end <= 5:
            found[index] = item._replace(field=following.field)
        elif following.field is None and item.field and 0 <= following.start - item.end <= 2:
            found[index + 1] = following._replace(field=item.field)
    yield from found


def _papers(masked: str) -> Iterator[_Found]:
    for match in _listed().finditer(masked):
        kind: QualificationKind = "certificate" if match.lastgroup == "certificates" else "licence"
        yield _Found(*match.span(), kind)
    # Most sentences speak of neither, and the patterns look at every word.
    if "ertificat" in masked:
        for match in _CERTIFICATE.finditer(masked):
            start = match.start()
            if article := _ARTICLE.match(masked, start):
                start = article.end()
            if start < match.start("word"):
                yield _Found(start, match.end(), "certificate")
    if _LICENCE_WORD.search(masked):
        for match in (*_LICENCE.finditer(masked), *_LICENSED.finditer(masked)):
            yield _Found(*match.span(), "licence")
