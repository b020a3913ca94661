"""What an ad says about machine learning: words for building it and words for using it.

The lists are in `data/ai_skills.toml`. Matching is exact on whole words; whether a mention counts
is decided by its clause: who acts, whether it is negated, in which section it stands.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Literal, NamedTuple

from extractor.errors import ArtefactError
from extractor.records import BOILERPLATE_ZONES
from extractor.tasks import Clause

Group = Literal["topic", "building", "using", "ml_title", "data_science_title", "not_ml_title"]

_TOKEN = re.compile(r"[^\W_]+(?:\+\+|#)?")
_GAP = re.compile(r"\s{1,2}|\s?[/&’'‐–-]\s?|\.")
_MAX_TOKENS = 6


class AIMention(NamedTuple):
    """A surface form of the lists in a text."""

    start: int
    end: int
    text: str
    concept: str
    group: Group


def _fold(token: str) -> str:
    """Lower case without the plural "s"."""
    token = token.lower()
    return token[:-1] if len(token) > 3 and token.endswith("s") and token[-2] != "s" else token


class AIVocabulary:
    """Surface forms of concepts around machine learning, matched on token boundaries.

    Args:
        forms: For each group, surface forms and the concept that each stands for. A form in
            lower case matches in any case, a form with a capital letter in that case only.
        version: Version of the lists.
    """

    def __init__(self, forms: dict[Group, dict[str, str]], *, version: str) -> None:
        self.version = version
        # Keyed by the folded tokens; the exact form is kept where case matters.
        self._index: dict[Group, dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]]] = {}
        for group, concepts in forms.items():
            index = self._index.setdefault(group, {})
            for form, concept in concepts.items():
                tokens = tuple(_TOKEN.findall(form))
                if not 0 < len(tokens) <= _MAX_TOKENS:
                    raise ArtefactError(
                        f"AI list {group!r}: the form {form!r} has {len(tokens)} words; "
                        f"give 1 to {_MAX_TOKENS}"
                    )
                exact = tokens if form != form.lower() else ()
                index.setdefault(tuple(map(_fold, tokens)), []).append((exact, concept))
        self._first = {
            group: {key[0]: max(len(k) for k in index if k[0] == key[0]) for key in index}
            for group, index in self._index.items()
        }

    @classmethod
    def load(cls) -> AIVocabulary:
        """Read the lists that come with the package."""
        source = resources.files("extractor").joinpath("data/ai_skills.toml")
        lists = tomllib.loads(source.read_text(encoding="utf-8"))

        def by_form(name: str) -> dict[str, str]:
            return {form: concept for concept, forms in lists[name].items() for form in forms}

        titles = lists["titles"]
        return cls(
            {
                "topic": by_form("topic"),
                "building": by_form("building"),
                "using": by_form("using"),
                "ml_title": {form: form for form in titles["ml"]},
                "data_science_title": {form: form for form in titles["data_science"]},
                "not_ml_title": {form: form for form in titles["not_ml"]},
            },
            version=lists["version"],
        )

    def find(self, text: str, *groups: Group) -> Iterator[AIMention]:
        """Mentions of the given groups in reading order.

        The longest match wins; a stretch of text is matched once, by the first group that has it.
        """
        tokens = list(_TOKEN.finditer(text))
        words = [token.group() for token in tokens]
        folded = [_fold(word) for word in words]
        firsts = [self._first[group] for group in groups]
        starts = {word for word in folded if any(word in first for first in firsts)}
        i = 0 if starts else len(tokens)
        while i < len(tokens):
            if folded[i] not in starts:
                i += 1
                continue
            found = None
            for group in groups:
                longest = self._first[group].get(folded[i], 0)
                for length in range(min(longest, len(tokens) - i), 0, -1):
                    if found is not None and length <= found[0]:
                        break
                    concept = self._concept(group, words[i : i + length], folded[i : i + length])
                    if concept is not None and all(
                        _GAP.fullmatch(text, tokens[k].end(), tokens[k + 1].start())
                        for k in range(i, i + length - 1)
                    ):
                        found = (length, concept, group)
                        break
            if found is None:
                i += 1
                continue
            length, concept, group = found
            start, end = tokens[i].start(), tokens[i + length - 1].end()
            yield AIMention(start, end, text[start:end], concept, group)
            i += length

    def _concept(self, group: Group, words: list[str], folded: list[str]) -> str | None:
        for exact, concept in self._index[group].get(tuple(folded), ()):
            if not exact or all(
                word == form or word == form + "s" for word, form in zip(words, exact, strict=True)
            ):
                return concept
        return None


# --- Which mentions count --------------------------------------------------------------------


PREFERRED = 0.4
"""Weight of what is only preferred."""


class MLUse(NamedTuple):
    """A clause that speaks of machine learning as part of the work.

    Attributes:
        clause: The clause.
        mentions: Words of the lists in it.
        weight: 1, or less where it is only preferred.
        duty: Whether the person does it, rather than only knows it.
    """

    clause: Clause
    mentions: tuple[AIMention, ...]
    weight: float
    duty: bool


_BUILDING_VERB = re.compile(
    r"(?i)\b(?:build|develop|design|train|retrain|deploy|implement|evaluat|research|improv|optimi[sz]|"
    r"creat|engineer|productioni[sz]|monitor|maintain|operat|label|annotat|rat(?:e|ing)\b|audit|"
    r"govern|manag|own\b|lead|ship|test|validat|experiment|prototyp|integrat|scal|fine|tun(?:e|ing)|"
    r"architect|apply|applying|deliver|launch|writ|invent|publish|advanc|explor|defin|product|"
    r"utili[sz]|model|configur|orchestrat|contribut|work(?:ing)? on|serv(?:e|ing)|prepar)\w*"
)
_NEGATED = re.compile(
    r"(?i)\b(?:no|not|never|without|neither|nor|cannot|isn['’]t|aren['’]t|don['’]t|doesn['’]t|"
    r"won['’]t|rather than|instead of|(?:separate|another|other|different|own) (?:team|"
    r"department|group|unit|colleagues?)|(?:made|built|done|handled|developed|trained|run|"
    r"written|kept|looked after) by|left to|belongs? to|by (?:others|colleagues|a supplier|"
    r"an? outside)|outside (?:this|the) (?:post|role|job))\b"
)
_NOT_NEGATED = re.compile(
    r"(?i)\bnot (?:only|just|limited|merely)\b|\bnot to mention\b|\bno later\b"
)
_PREFERRED = re.compile(
    r"(?i)\b(?:preferred|preferabl[ey]|a plus|nice to have|bonus|desirable|desired|ideally|"
    r"advantage|advantageous|an asset|welcome|optional|would be good|familiarity|exposure to|"
    r"interest in)\b"
)
_EMPLOYER = re.compile(
    r"(?:we|our|us|who we are|about us|founded|backed|the company|the firm|as a company|"
    r"in \d{4})\b",
    re.IGNORECASE,
)
_NAMED_SUBJECT = re.compile(
    r"(?:(?:At|The)\s{1,9}+)?\b[A-Z][\w&'’.+-]{0,60}+(?:\s[A-Z][\w&'’.+-]{0,60}+){0,3},?\s{1,9}+"
    r"(?:is|are|was|has|builds?|makes?|develops?|"
    r"provides?|offers?|uses?|runs?|sells?|trains?|helps?|combines|abstracts|brews|serves|operates|"
    r"delivers|powers|enables|supplies|employs|we)\b"
)
_PERSON = re.compile(
    r"(?i)\b(?:you|your|you['’]ll|candidate|applicant|post-?holder|incumbent|role|position|job|he|she|"
    r"looking for|seeking|hiring|need an?|responsib\w+|duties|join)\b"
)
_RECRUITING = re.compile(
    r"(?i)\b(?:screen\w*|applications?|applicants?|recruit\w*|hiring process|interviews?|"
    r"your (?:cv|resume|data)|cover letter)\b"
)

_TEAM = re.compile(
    r"(?i)\bjoin(?:ing)?\b(?:(?! to | and | on an? mission|[,;:]).){1,100}|\bon an? mission\b.*|"
    r"\b(?:our|the company['’]s) (?:mission|vision)\b.*"
)
"""Whom one joins and what they are after: the employer within a sentence about the person."""

_OFFERED = re.compile(
    r"(?i)\b(?:you (?:can |may |will )?learn|learning (?:budget|opportunit\w+)|academy|"
    r"free (?:access|licen[cs]es?)|for private use|we (?:offer|give|provide) you|"
    r"for all (?:employees|staff)|in paid time)\b"
)
_DOES = re.compile(
    r"(?i)^\W*(?:you(?:['’]ll| will| own| lead| build| train| design| manage)\b|"
    r"your (?:job|task|work) is to\b)"
)


def about_employer(text: str) -> bool:
    """Whether a sentence speaks of the employer and not of the person or the work."""
    if _PERSON.search(text):
        return False
    return bool(_EMPLOYER.match(text) or _NAMED_SUBJECT.match(text))


def may_count(clause: Clause) -> bool:
    """Whether what a clause says of machine learning can count for the role.

    Negated clauses, sentences about the employer, the way it recruits or what it offers, and
    sections that describe neither person nor work count for nothing.
    """
    if clause.zone in BOILERPLATE_ZONES or clause.zone == "title":
        return False
    if clause.zone == "other" and _RECRUITING.search(clause.text):
        return False
    if clause.zone != "requirements" and (
        about_employer(clause.text) or _OFFERED.search(clause.text)
    ):
        return False
    return not _NEGATED.search(_NOT_NEGATED.sub(" ", clause.text))


def requirement_weight(clause: Clause) -> float:
    """1, or less where a clause says what is only preferred."""
    preferred = clause.zone == "nice_to_have" or _PREFERRED.search(clause.text)
    return PREFERRED if preferred else 1.0


def find_ml_use(
    clauses: Sequence[Clause], vocabulary: AIVocabulary
) -> tuple[list[MLUse], list[MLUse]]:
    """Clauses that are about building ML, and clauses that ask for the use of ML tools.

    Clauses that `may_count` refuses count for nothing. What is only said of the team that one
    joins counts as little as what is preferred, and is no duty.
    """
    building: list[MLUse] = []
    using: list[MLUse] = []
    for clause in clauses:
        found = tuple(
            mention._replace(start=clause.start + mention.start, end=clause.start + mention.end)
            for mention in vocabulary.find(clause.text, "using", "building", "topic")
        )
        if not found or not may_count(clause):
            continue
        weight = requirement_weight(clause)
        tools = tuple(m for m in found if m.group == "using")
        words = tuple(m for m in found if m.group != "using")
        if words:
            # A requirement that speaks of what "you" do is a duty under a wrong heading.
            by_person = clause.zone in ("duties", "other") or bool(_DOES.search(clause.text))
            of_team = [match.span() for match in _TEAM.finditer(clause.text)]
            if all(any(a <= word.start - clause.start < b for a, b in of_team) for word in words):
                by_person, weight = False, min(weight, PREFERRED)
            duty = bool(by_person and _BUILDING_VERB.search(clause.text))
            building.append(MLUse(clause, words, weight, duty))
        if tools:
            using.append(MLUse(clause, tools, weight, clause.zone == "duties"))
    return building, using
