"""Delimiting of names that a source runs together.

One wheel holds `label alt_label alt_label … description` divided by blanks only. Other wheels
know parts of the same names, in a form that is itself ambiguous (joined by commas, though names
hold commas) or older. Each function here joins two such views; what cannot be told apart is
left out rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from taxonomies.text import clean_text

_BLANK = re.compile(r";? ")
MAX_WORDS_OF_TITLE = 9
FUNCTION_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with")
)
MAX_WORDS_ALONE = 3
"""A run of words of unknown names this short is nearly always one name."""


def split_joined(joined: str, run_together: str) -> list[str]:
    """Split names joined by line ends or `, ` with the help of the same names joined by blanks.

    A comma that stands in both texts belongs to a name; one that stands in the first only
    divides two names. Where the two texts do not agree, line ends alone divide if there are
    any, else every comma does.

    Args:
        joined: `apply a rule, check plans, maps` with names in order.
        run_together: `apply a rule check plans, maps`, the same names in the same order.

    Returns:
        `["apply a rule", "check plans, maps"]`.
    """
    lines = [clean_text(line) for line in joined.split("\n")]
    names = []
    there = 0
    for line in filter(None, lines):
        start = here = 0
        while here < len(line):
            if run_together[there : there + 1] == line[here]:
                here, there = here + 1, there + 1
                continue
            # Some names end in a semicolon that only the second text has kept.
            blank = _BLANK.match(run_together, there)
            if not line.startswith(", ", here) or not blank:
                return lines if len(lines) > 1 else joined.split(", ")
            names.append(line[start:here])
            start = here = here + 2
            there = blank.end()
        names.append(line[start:])
        if blank := _BLANK.match(run_together, there):
            there = blank.end()
    return names


def tile(run_together: str, known: Iterable[str]) -> tuple[list[str], list[str]]:
    """Cover a run of names with known ones as far as possible, whatever their case.

    Args:
        run_together: Names divided by blanks.
        known: Names that may stand in it.

    Returns:
        The known names that cover most of the words, and the runs of words between them, each
        in order.
    """
    words = run_together.split()
    folded = run_together.casefold().split()
    by_first: dict[str, list[list[str]]] = {}
    for name in known:
        if split := name.casefold().split():
            by_first.setdefault(split[0], []).append(split)
    # best[i]: covered words and, with minus, the number of pieces up to word i; last piece.
    best: list[tuple[int, int, int, bool]] = [(0, 0, 0, True)]
    for end in range(1, len(words) + 1):
        covered, pieces, _, was_known = best[end - 1]
        best.append((covered, pieces - was_known, end - 1, False))
        for start in range(end):
            for split in by_first.get(folded[start], ()):
                if start + len(split) == end and folded[start:end] == split:
                    covered, pieces, _, _ = best[start]
                    best[end] = max(best[end], (covered + len(split), pieces - 1, start, True))
    found: list[str] = []
    gaps: list[str] = []
    end = len(words)
    while end:
        start, is_known = best[end][2:]
        if is_known:
            found.append(" ".join(words[start:end]))
        else:
            while start and not best[start][3]:
                start = best[start][2]
            gaps.append(" ".join(words[start:end]))
        end = start
    return found[::-1], gaps[::-1]


def strip_known(run_together: str, known: Iterable[str]) -> tuple[list[str], str]:
    """Take known names off the start of a text, longest first.

    Returns:
        The names in order, and the rest of the text.
    """
    names = sorted(known, key=len, reverse=True)
    found = []
    rest = run_together
    while name := next((name for name in names if rest.startswith(f"{name} ")), None):
        found.append(name)
        rest = rest[len(name) + 1 :]
    return found, rest


def alone(gap: str, run_together: str) -> list[str]:
    """The gap as a single name if it looks like one, else nothing.

    One name is short, repeats no word and neither begins nor ends with a function word; and a
    common noun by itself is a name only if nothing else stands in the run.
    """
    words = gap.casefold().split()
    if len(words) > MAX_WORDS_ALONE or len(set(words)) < len(words):
        return []
    if words[0] in FUNCTION_WORDS or words[-1] in FUNCTION_WORDS:
        return []
    if len(words) == 1 and gap.islower() and gap != run_together:
        return []
    return [gap]


def split_occupation(text: str) -> tuple[str, str] | None:
    """Label and description of an occupation in a text that holds both.

    ESCO's descriptions begin with the plural of the label ("Heads of department lead …"), so
    the label is the longest run of words at the start that comes again in the plural. Where
    there are no alternative labels, two blanks stand between label and description.

    Returns:
        Label and description; None where they cannot be told apart.
    """
    label, _, description = text.strip().partition("  ")
    if description[:1].isupper() and len(label.split()) <= MAX_WORDS_OF_TITLE:
        return clean_text(label), clean_text(description)
    words = text.split()
    best = (False, 0, 0)
    for start in range(1, len(words)):
        if not words[start][0].islower():
            best = max(best, (*_repeated(words, start), -start))
    has_plural, length, start = best
    for place in range(1, min(4, len(words) - 1)):
        # "head waiter/head waitress": the plural has no second "head".
        if not has_plural and words[place].partition("/")[2] == words[0]:
            length = place + 2
    if not length:
        return None
    return " ".join(words[:length]), " ".join(words[-start:])


def _repeated(words: list[str], start: int) -> tuple[bool, int]:
    """Whether the words at `start` repeat the first words in the plural, and how many do."""
    here, there = 0, start
    has_plural = False
    while here < start and there < len(words):
        once, again = (_folded(words[place]) for place in (here, there))
        if once == _folded(words[0]) and words[here - 1] not in FUNCTION_WORDS and here:
            break
        if again in _plurals(once):
            has_plural = True
        elif again == "at" != once:
            # "history teacher secondary school": "History teachers at secondary schools …"
            there += 1
            continue
        elif again != once:
            break
        here, there = here + 1, there + 1
    while here and words[here - 1].casefold() in FUNCTION_WORDS:
        here -= 1
    return has_plural, here


def _folded(word: str) -> str:
    # Label and description differ in "eBusiness" and "E-business".
    return word.casefold().rstrip(",").replace("e-", "e", 1 if word[:2].casefold() == "e-" else 0)


def _plurals(word: str) -> set[str]:
    if "/" in word:
        first, second = word.split("/", 1)
        return {f"{a}/{b}" for a in _plurals(first) for b in _plurals(second)}
    head, hyphen, tail = word.partition("-")
    plurals = {f"{word}s", f"{word}es", f"{word}'s", f"{head}s{hyphen}{tail}"}
    for singular, plural in (("y", "ies"), ("man", "men"), ("person", "people"), ("fe", "ves")):
        if word.endswith(singular):
            plurals.add(word.removesuffix(singular) + plural)
    return plurals
