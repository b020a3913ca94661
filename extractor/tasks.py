"""The duties of an ad: clauses that say what the person does, and how much of the time.

A share of time that is stated in words ("three quarters of each shift on the line", "60 % of
your time") weighs its clause; without one, clauses count alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from extractor.records import Sentence, ZoneLabel

MAX_CLAUSES = 80
"""Most clauses that are read of one ad; real ads have 10 to 50."""

FEW_CLAUSES = 14
"""Up to so many clauses, lists within a clause are cut into their items."""

MIN_ITEM = 12
"""Fewest characters of an item of its own."""

ZONE_WEIGHTS: dict[ZoneLabel, float] = {
    "duties": 1.0,
    "other": 1.0,
    "title": 0.0,
    "requirements": 0.3,
    "nice_to_have": 0.1,
    "about": 0.0,
    "benefits": 0.0,
    "how_to_apply": 0.0,
}
"""How much a clause of a section says about the work."""


class Clause(NamedTuple):
    """A part of a sentence that may describe a duty.

    Attributes:
        start: Offset in the ad.
        end: Offset behind the last character.
        text: The words.
        zone: Section of its sentence.
        share: Stated share of the working time, or None.
        emphasis: Factor of an adverb of frequency ("mainly", "occasionally"), else 1.
        whole: For an item of a list, the words of the clause that it was cut from.
    """

    start: int
    end: int
    text: str
    zone: ZoneLabel
    share: float | None = None
    emphasis: float = 1.0
    whole: str | None = None

    @property
    def context(self) -> str:
        """The work that the clause belongs to: an item of a list is clearer among the others."""
        return self.core if self.whole is None else self._replace(text=self.whole).core

    @property
    def core(self) -> str:
        """The work alone: without stated shares, and without the subject.

        Who does it, man or woman, and how often must not change what kind of work it is.
        """
        text = _SHARES.sub(" ", self.text) if self.share is not None else self.text
        text = _LEAD.sub("", text.strip())
        text = _GENDERED.sub(lambda match: _NEUTRAL[match[0].lower()], text)
        return " ".join(text.split()) or self.text


def place_in(sentence: str, words: str, at: int) -> tuple[int, int] | None:
    """Where some words of a clause stand in their sentence, so that both are read at once.

    Args:
        sentence: The sentence.
        words: `Clause.core` or `Clause.context`.
        at: Offset in the sentence from which they are looked for.

    Returns:
        Offsets, or None where the words are not those of the sentence: cleaned, or about her or
        him, since who does the work must not change what kind of work it is.
    """
    start = sentence.find(words, at)
    if start < 0 or _GENDERED.search(sentence):
        return None
    return start, start + len(words)


_LEAD = re.compile(
    r"(?i)^(?:(?:and|but|while|roughly|about|around|some|nearly|almost|approximately|up to|then|"
    r"(?:you|she|he|they|we) (?:will |can |shall |also )*(?:spend|be spending|be)?|you['’]ll|"
    r"the (?:post-?holder|candidate|successful (?:candidate|applicant)|incumbent|person|jobholder)"
    r"(?: will)?|(?:is|are) (?:spent|for|given to|devoted to)|spent|goes (?:to|into|on)|is|are|"
    r"will be|in which you|where you|on|of|the)\b[\s,:]*)+"
)
_NEUTRAL = {"she": "they", "he": "they", "her": "their", "his": "their", "him": "them"}
_GENDERED = re.compile(r"(?i)\b(?:she|he|her|his|him)\b")


_NUMBERS = {
    "one": 1, "a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "hundred": 100,
}  # fmt: skip
_DENOMINATORS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "twentieth": 20,
}  # fmt: skip
_NUMBER = rf"(?:\d+(?:\.\d+)?|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})"
_TENS = r"(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?"
_TIME = (
    r"(?:hours?|time|shifts?|days?|weeks?|months?|years?|work(?:ing)?|jobs?|roles?|posts?|"
    r"positions?|dut(?:y|ies)|tasks?|workload|mornings?|afternoons?|it|them)"
)
_OF_TIME = (
    rf"\s+(?:of|in)\s+(?:(?:the|your|each|every|this|his|her|their|all|a|our|any|working|paid|total|"
    rf"normal|usual|typical|average|whole)\s+)*{_TIME}\b"
)
_SHARES = re.compile(
    rf"""(?ix)
    \b(?:
        (?P<percent>{_NUMBER}{_TENS})\s?(?:%|per\s?cent\b|percent\b){_OF_TIME}
      | (?P<numerator>{_NUMBER})[\s-](?P<denominator>{"|".join(_DENOMINATORS)})s?{_OF_TIME}
      | (?P<half>half)(?:{_OF_TIME}|\s+(?:the|your|each|every)\s+(?:working\s+)?{_TIME}\b)
      | (?P<part>{_NUMBER})\s+(?:out\s+)?of\s+(?:(?:the|your|every|each)\s+)?(?P<whole>{_NUMBER})
        \s+(?:working\s+)?(?:hours|days|shifts|weeks|mornings|afternoons|duties|tasks)\b
      | (?P<most>(?:almost|nearly|practically)\s+all(?:{_OF_TIME})
          | (?:most|the\s+bulk|the\s+majority|the\s+greater\s+part)\s+of\s+(?:the|your|each|every|
            his|her|their|this)\s+(?:working\s+)?(?:hours|time|shift|day|week|work|job|role)\b)
      | (?P<rest>the\s+(?:rest|remainder|other\s+half|remaining\s+\w+(?:\s+\w+)?)\b)
    )"""
)
_BARE_PERCENT = re.compile(rf"(?i)(?P<percent>\b{_NUMBER}{_TENS})\s?(?:%|per\s?cent\b|percent\b)")
_MAINLY = re.compile(
    r"(?i)\b(?:mainly|mostly|primarily|chiefly|predominantly|principally|above all|largely|"
    r"for the most part|main(?:ly)? (?:task|duty|job)|bulk of)\b"
)
_SELDOM = re.compile(
    r"(?i)\b(?:occasional(?:ly)?|now and then|from time to time|once in a while|rarely|seldom|"
    r"sometimes|once a (?:month|quarter|year)|when (?:needed|required|time allows)|ad[- ]hoc|"
    r"other duties|as assigned|may (?:also )?be asked)\b"
)
_BREAK = re.compile(r"[;,]|\s(?:and|but|while|whereas|with)\s")
_LIST = re.compile(r"(?:,|:)\s+(?:and\s+|or\s+)?")
_SPLIT = re.compile(
    r"(?<!\s)\s{0,200}(?:[;•·●▪◦■\n\r]++|(?<=[.!?])\s+(?=[A-Z(])|\s[–—*-]+\s"
    r"|(?<=[a-z.)]{3})(?=[A-Z][a-z]+\s))\s*+"
)
_SIGNS = (" of ", "%", "cent", "half", "Half", " rest", "remain")
"""One of these stands in every statement of a share; most sentences have none."""

_NO_SHARE_OF_WORK = re.compile(
    r"(?i)\b(?:salary|pay|wages?|bonus|commission|discount|allowance|remote|travel|increase|growth|"
    r"off|pension|offices?|on-?site|stand|standing|walk|lift|lifting|sit|sitting|positions|physical|"
    r"indoors|outdoors|home|match|qualifications|innovation)\b"
)


def _number(word: str) -> float:
    parts = word.lower().replace("-", " ").split()
    return sum(float(_NUMBERS.get(part, 0) or (part if part[0].isdigit() else 0)) for part in parts)


def _stated(match: re.Match[str]) -> float | None:
    """The share that a match states; None for "the rest"."""
    found = match.groupdict()
    if found["percent"]:
        return _number(found["percent"]) / 100
    if found["numerator"]:
        return _number(found["numerator"]) / _DENOMINATORS[found["denominator"].lower()]
    if found["half"]:
        return 0.5
    if found["part"]:
        return _number(found["part"]) / max(_number(found["whole"]), 1.0)
    if found["most"]:
        return 0.9 if "all" in found["most"].lower() else 0.75
    return None


def _shares(text: str) -> list[tuple[int, float | None]]:
    """Where shares of time are stated in a sentence, and how large they are."""
    if not any(sign in text for sign in _SIGNS) or _NO_SHARE_OF_WORK.search(text):
        return []
    found = [(m.start(), _stated(m)) for m in _SHARES.finditer(text)]
    if not any(share is not None for _, share in found):
        # Percentages without a noun of time count where they divide the work among items.
        percents = [(m.start(), _number(m["percent"]) / 100) for m in _BARE_PERCENT.finditer(text)]
        total = sum(share for _, share in percents)
        divided = len(percents) > 1 and 0.9 <= total <= 1.05
        return list(percents) if divided else []
    return [(at, share) for at, share in found if share is None or 0.0 < share <= 1.0]


def split_clauses(sentence: Sentence) -> list[Clause]:
    """Split a sentence into the clauses that stand for duties of their own.

    A sentence that states shares of time is cut between them, so that every share keeps its
    list of tasks; others are cut at semicolons, bullets and where lines were run together.
    """
    text = sentence.text
    shares = _shares(text)
    if shares:
        cuts = [0]
        for (before, _), (at, _) in pairwise(shares):
            if text[max(0, at - 1)] == "(":  # the share stands behind its tasks
                cuts.append(text.find(")", before) + 1 or at)
                continue
            breaks = [m.start() for m in _BREAK.finditer(text, before, at)]
            cuts.append(breaks[-1] if breaks else at)
        spans = list(zip(cuts, [*cuts[1:], len(text)], strict=True))
        stated = sum(share for _, share in shares if share is not None)
        open_shares = sum(share is None for _, share in shares)
        rest = max(0.0, 1.0 - stated) / open_shares if open_shares else 0.0
        values: list[float | None] = [rest if share is None else share for _, share in shares]
    else:
        cuts = [0, *(m.end() for m in _SPLIT.finditer(text))]
        ends = [*(m.start() for m in _SPLIT.finditer(text)), len(text)]
        spans = [(a, b) for a, b in zip(cuts, ends, strict=True) if b > a]
        values = [None] * len(spans)
    clauses = []
    for (start, end), share in zip(spans, values, strict=True):
        words = text[start:end]
        start += len(words) - len(words.lstrip(" \t,;•·●▪◦■*–—-"))
        end -= len(words) - len(words.rstrip(" \t,;"))
        if end - start < 4:
            continue
        words = text[start:end]
        emphasis = 2.5 if _MAINLY.search(words) else 0.3 if _SELDOM.search(words) else 1.0
        offset = sentence.start
        clauses.append(Clause(offset + start, offset + end, words, sentence.zone, share, emphasis))
    return clauses


def _split_list(clause: Clause) -> list[Clause]:
    """Cut "you load, deliver, scan and return" into its items, which divide its weight."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _LIST.finditer(clause.text):
        # A single word ("filling, labelling and boxing") stays with the next item.
        if match.start() - start >= MIN_ITEM and len(clause.text) - match.end() >= MIN_ITEM:
            spans.append((start, match.start()))
            start = match.end()
    spans.append((start, len(clause.text)))
    if len(spans) == 1:
        return [clause]
    share = None if clause.share is None else clause.share / len(spans)
    return [
        clause._replace(
            start=clause.start + a,
            end=clause.start + b,
            text=clause.text[a:b],
            share=share,
            emphasis=clause.emphasis / len(spans),
            whole=clause.text,
        )
        for a, b in spans
    ]


def find_clauses(sentences: Sequence[Sentence]) -> list[Clause]:
    """Clauses of an ad that may describe duties, at most `MAX_CLAUSES`.

    Clauses of sections that never describe the work are left out, except where they state a
    share of the working time: then the section was taken for something it is not.
    """
    clauses = [
        clause
        for sentence in sentences
        for clause in split_clauses(sentence)
        if ZONE_WEIGHTS[clause.zone] > 0 or clause.share is not None
    ]
    if len(clauses) <= FEW_CLAUSES:
        clauses = [part for clause in clauses for part in _split_list(clause)]
    if len(clauses) > MAX_CLAUSES:
        ranked = sorted(
            range(len(clauses)),
            key=lambda i: (clauses[i].share is None, -ZONE_WEIGHTS[clauses[i].zone], i),
        )
        clauses = [clauses[i] for i in sorted(ranked[:MAX_CLAUSES])]
    return clauses
