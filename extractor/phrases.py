"""Candidate phrases of a sentence: the parts of it that may each name a skill.

A sentence of an ad often asks for several skills at once ("design and maintain REST APIs and coach
junior developers"). Its embedding blurs them, so the linker also looks at its phrases: every run of
words that the span finder holds possible, those included that it does not choose in the end (the
whole of "coach junior developers" as well as its parts), and the items of lists. Noun chunks and
verbs with their objects, as a dependency parser finds them, rank concepts no better
(docs/adr/0007-no-parser.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from spacy.tokens import Span, Token

LONGEST_ITEM = 12
"""Most words of a list's item; a longer one is a clause with several phrases."""
LIST_MARKS = frozenset({",", ";", "/", "and", "or", "&", "(", ")", ":", "|", "•", "+"})
GENERIC_WORDS = frozenset(
    {
        *("ability", "advanced", "advantage", "aspects", "background", "candidate", "capability"),
        *("company", "competence", "excellent", "experience", "expertise", "familiarity", "good"),
        *("individual", "industry", "job", "knowledge", "level", "location", "member"),
        *("opportunity", "organisation", "organization", "passion", "person", "plus", "position"),
        *("proficiency", "proven", "range", "requirements", "responsibilities", "role", "skill"),
        *("skills", "strong", "understanding", "variety", "work", "working", "year", "years"),
    }
)
"""Words that ads put around skills; alone they name none."""
EDGE_WORDS = frozenset(
    {
        *("a", "all", "an", "and", "any", "are", "as", "at", "be", "been", "both", "by", "can"),
        *(
            "could",
            "do",
            "does",
            "for",
            "from",
            "has",
            "have",
            "he",
            "her",
            "his",
            "how",
            "i",
            "if",
        ),
        *("in", "into", "is", "it", "its", "may", "me", "might", "must", "my", "no", "not", "of"),
        *("on", "or", "other", "our", "own", "she", "should", "so", "such", "than", "that", "the"),
        *("their", "then", "there", "these", "they", "this", "those", "to", "us", "via", "was"),
        *("we", "what", "when", "where", "which", "who", "will", "with", "within", "would", "you"),
        *("your", "yours"),
    }
)
"""Words that an item of a list neither begins nor ends with: "IT", in capitals, is another word."""


class Phrase(NamedTuple):
    """A part of a sentence.

    Attributes:
        start: Offset of its first character in the document.
        end: Offset behind its last character.
        text: Its words.
    """

    start: int
    end: int
    text: str


def candidate_phrases(sentence: Span, runs: Iterable[tuple[int, int]] = ()) -> list[Phrase]:
    """List the phrases of a sentence that may each name a skill.

    Args:
        sentence: A sentence of a document.
        runs: Offsets in the document of runs of words that may name a skill; such as lie outside of
            the sentence are passed over.

    Returns:
        Phrases without duplicates, in the order of their start; none if the sentence has only
        stop words, generic words and punctuation.
    """
    words = [token for token in sentence if not token.is_space]
    found: dict[str, Phrase] = {}
    for tokens in (*_runs(words, runs), *_list_items(words)):
        if not all(_is_generic(token) for token in tokens):
            start, end = tokens[0].idx, tokens[-1].idx + len(tokens[-1])
            phrase = Phrase(start, end, tokens[0].doc[tokens[0].i : tokens[-1].i + 1].text)
            found.setdefault(phrase.text.lower(), phrase)
    return sorted(found.values())


def _is_generic(token: Token) -> bool:
    return _is_edge(token) or token.lower_ in GENERIC_WORDS


def _is_edge(token: Token) -> bool:
    return token.is_punct or (token.lower_ in EDGE_WORDS and not token.is_upper)


def _runs(words: list[Token], runs: Iterable[tuple[int, int]]) -> list[list[Token]]:
    """The words of each run."""
    starts = {word.idx: number for number, word in enumerate(words)}
    ends = {word.idx + len(word): number for number, word in enumerate(words, start=1)}
    return [
        words[starts[start] : ends[end]] for start, end in runs if start in starts and end in ends
    ]


def _list_items(words: list[Token]) -> list[list[Token]]:
    """Stretches between commas, slashes and conjunctions, without words at their edges."""
    items: list[list[Token]] = [[]]
    for word in words:
        if word.lower_ in LIST_MARKS:
            items.append([])
        else:
            items[-1].append(word)
    return [item for item in map(_stripped, items) if len(item) <= LONGEST_ITEM]


def _stripped(tokens: list[Token]) -> list[Token]:
    while tokens and _is_edge(tokens[0]):
        tokens = tokens[1:]
    while tokens and _is_edge(tokens[-1]):
        tokens = tokens[:-1]
    return tokens
