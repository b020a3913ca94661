"""Says how an ad asks for what it names: required, preferred, negated or only mentioned.

Cue phrases with a direction and a scope, as in NegEx and ConText (Harkema et al. 2009, "ConText:
An algorithm for determining negation, experiencer, and temporal status from clinical reports"):
a cue reaches forward or backward to the end of its clause, the nearest one counts. Where no cue
speaks, the section of the ad does. The phrases stand in `data/requirement_cues.json`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Literal, NamedTuple

from extractor.errors import JobshiftError
from extractor.records import Requirement, ZoneLabel
from extractor.zones import PhraseTable, Token, mask_markup, tokenize

__all__ = ["classify_requirement"]

_SUBJECTS = frozenset(["you", "we", "it", "they", "just", "only", "this", "our", "your"])
_Direction = Literal["forward", "backward", "both"]

_BY_ZONE: dict[ZoneLabel, Requirement] = {
    "title": "required",
    "duties": "required",
    "requirements": "required",
    "nice_to_have": "preferred",
    "about": "mentioned",
    "benefits": "mentioned",
    "how_to_apply": "mentioned",
    "other": "required",
}


class _Phrase(NamedTuple):
    kind: Literal["cue", "pseudo", "end"]
    status: Requirement
    direction: _Direction
    strong: bool
    # How many words away the mention may stand.
    reach: int


class _Cue(NamedTuple):
    first: int
    stop: int
    phrase: _Phrase


class _Cues(NamedTuple):
    phrases: PhraseTable[_Phrase]
    glue: frozenset[str]


@cache
def _cues() -> _Cues:
    source = resources.files("extractor") / "data" / "requirement_cues.json"
    data = json.loads(source.read_text(encoding="utf-8"))
    phrases: list[tuple[str, _Phrase]] = []
    for kind, key in (("pseudo", "pseudo"), ("end", "terminators")):
        phrases += [(text, _Phrase(kind, "mentioned", "both", True, 0)) for text in data[key]]  # type: ignore[arg-type]
    for group in data["cues"]:
        phrase = _Phrase(
            "cue",
            group["status"],
            group["direction"],
            group["strength"] == 2,
            group.get("reach", 60),
        )
        phrases += [(text, phrase) for text in group["phrases"]]
    return _Cues(PhraseTable(phrases), frozenset(data["glue"]))


class _Reading(NamedTuple):
    tokens: list[Token]
    forms: list[str]
    cues: list[_Cue]
    # Number of the clause of each token.
    clauses: list[int]


@lru_cache(maxsize=64)
def _read(sentence: str) -> _Reading:
    """Find the cues and the clauses of a sentence, once for all its mentions."""
    tokens = tokenize(mask_markup(sentence))
    forms = [token.form for token in tokens]
    table = _cues().phrases
    found = [
        _Cue(index, match[0], match[1])
        for index in table.starts(forms)
        if (match := table.longest(forms, index))
    ]
    # Of phrases that overlap the longest counts: "is not required", not "required".
    cues: list[_Cue] = []
    taken: set[int] = set()
    for cue in sorted(found, key=lambda cue: (cue.first - cue.stop, cue.first)):
        if taken.isdisjoint(range(cue.first, cue.stop)):
            taken.update(range(cue.first, cue.stop))
            cues.append(cue)
    cues.sort()
    ends = {cue.first for cue in cues if cue.phrase.kind == "end"}
    clauses: list[int] = []
    clause = 0
    for index, form in enumerate(forms):
        if form in (".", ";", "!", "?", "—") or index in ends:
            clause += 1
        clauses.append(clause)
    return _Reading(tokens, forms, [cue for cue in cues if cue.phrase.kind == "cue"], clauses)


def classify_requirement(sentence: str, start: int, end: int, zone: ZoneLabel) -> Requirement:
    """Say how a mention is asked for.

    Args:
        sentence: The sentence.
        start: Offset of the mention in the sentence.
        end: Offset behind its last character.
        zone: Section of the ad in which the sentence stands.

    Returns:
        The requirement status.

    Raises:
        JobshiftError: The mention does not lie in the sentence.
    """
    if not 0 <= start < end <= len(sentence):
        raise JobshiftError(
            f"mention [{start}, {end}) does not lie in its sentence of {len(sentence)} characters; "
            "give offsets into the sentence"
        )
    default = _BY_ZONE[zone]
    if zone == "benefits":
        return default
    reading = _read(sentence)
    inside = [
        i for i, token in enumerate(reading.tokens) if token.start < end and token.end > start
    ]
    if not inside:
        return default
    cue = _governing_cue(reading, inside[0], inside[-1] + 1)
    if cue is None:
        return default
    status = cue.phrase.status
    if status == "negated" and _softened(reading, cue):
        return "preferred"
    return status


def _governing_cue(reading: _Reading, first: int, stop: int) -> _Cue | None:
    clause = reading.clauses[first]
    strong = [
        cue
        for cue in reading.cues
        if cue.phrase.strong
        and reading.clauses[cue.first] <= clause <= reading.clauses[cue.stop - 1]
    ]
    ranked: list[tuple[float, int, _Cue]] = []
    for cue in strong:
        cost = _cost(reading, cue, first, stop, strong)
        if cost is not None:
            ranked.append((cost, cue.first, cue))
    if not ranked:
        return None
    best = min(ranked)[2]
    if best.first >= stop and best.phrase.status == "required":
        # "no experience with X needed", "neither X nor Y is required".
        for _, _, cue in sorted(ranked):
            if cue.stop <= first and cue.phrase.status == "negated":
                between = [
                    other for other in strong if cue.stop <= other.first and other.stop <= first
                ]
                if not between and "," not in reading.forms[stop : best.first]:
                    return cue
    return best


def _cost(
    reading: _Reading, cue: _Cue, first: int, stop: int, strong: Sequence[_Cue]
) -> float | None:
    """Distance of a cue from a mention; None where the mention lies outside its scope."""
    direction = cue.phrase.direction
    if direction == "forward" and _ends_clause(reading, cue.stop):
        direction = "backward"
    if cue.first < stop and first < cue.stop:
        # The cue runs over the mention ("not a programming post"), unless it is part of it.
        return 0.0 if cue.first < first or cue.stop > stop else None
    if cue.stop <= first:
        follows = cue.stop < len(reading.forms) and reading.forms[cue.stop] == ":"
        if direction == "backward" and not follows and reading.forms[cue.stop - 1] != ":":
            return None
        between = reading.forms[cue.stop : first]
        blockers = [c for c in strong if cue.stop <= c.first and c.stop <= first]
        if any(c.phrase.direction == "backward" for c in blockers):
            return None
        if cue.phrase.status == "negated" and _resumes(between):
            return None
        penalty = 3.0 * between.count(",")
    else:
        if direction == "forward":
            return None
        between = reading.forms[stop : cue.first]
        if ":" in between[:-1]:
            # A colon begins a reason ("no Java needed: a team …"), except in "Java: a plus".
            return None
        blockers = [c for c in strong if stop <= c.first and c.stop <= cue.first]
        if blockers:
            return None
        ahead = any(c.stop <= first and c.phrase.direction != "backward" for c in strong)
        penalty = (12.0 if ahead else 4.0) * between.count(",")
    if len(between) > cue.phrase.reach:
        return None
    return len(between) + penalty


def _ends_clause(reading: _Reading, stop: int) -> bool:
    """Whether nothing follows: "SQL yes, NoSQL no."."""
    return stop >= len(reading.forms) or reading.clauses[stop] != reading.clauses[stop - 1]


def _resumes(between: Sequence[str]) -> bool:
    """Whether a new statement begins: "No cooking, you serve"."""
    return any(
        mark == "," and following in _SUBJECTS for mark, following in itertools.pairwise(between)
    )


def _softened(reading: _Reading, cue: _Cue) -> bool:
    """Whether "not required" stands beside "a plus" about the same thing."""
    for other in reading.cues:
        if other.phrase.status != "preferred":
            continue
        if other.first < cue.first and cue.phrase.direction == "forward":
            continue
        between = (
            reading.forms[cue.stop : other.first]
            if other.first >= cue.stop
            else reading.forms[other.stop : cue.first]
        )
        if len(between) <= 6 and _cues().glue.issuperset(between):
            return True
    return False
