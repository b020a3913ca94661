"""Reads the layout of an ad: markup, sections and sentences.

Everything works on plain strings, in linear time, and returns offsets into the raw text. The
wordings (headings, cues of single sentences) stand in `data/zone_headings.json`.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast

from extractor.records import BOILERPLATE_ZONES, Sentence, Zone, ZoneLabel

__all__ = ["PhraseTable", "Token", "find_zones", "mask_markup", "split_sentences", "tokenize"]

MAX_SENTENCE = 1_000
"""Longest sentence in characters; a longer one is cut at a blank."""

# --- Markup ---------------------------------------------------------------------------------

_BLOCK_TAG = (
    r"p|div|br|hr|li|ul|ol|dl|dt|dd|table|tr|td|th|thead|tbody|h[1-6]|section|article|header"
    r"|footer|blockquote|pre|body|html|head|main|aside|nav|figure|form"
)
_INLINE_TAG = (
    r"a|b|i|u|s|em|strong|span|font|small|big|sub|sup|img|input|button|label|code|mark|center"
    r"|script|style|iframe|svg|path|meta|link"
)
_TAG = re.compile(
    rf"<(?P<close>/?)(?:(?P<block>{_BLOCK_TAG})|(?P<inline>{_INLINE_TAG}))"
    r"(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>|<!DOCTYPE[^<>]*>|<!\[CDATA\[|\]\]>|<!--|-->",
    re.IGNORECASE,
)
FILLER = "\u2003"
"""Stands where markup was: a blank, but not one of those that the author put between columns."""
_ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z]{2,8}\d{0,2});")
_INVISIBLE = str.maketrans(
    {
        **{chr(c): " " for c in range(0xA0) if not chr(c).isprintable()},
        **dict.fromkeys("\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufffc\ufffd", " "),
        **dict.fromkeys("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u180e", " "),
        **dict.fromkeys("\u2000\u2001\u2002\u2004\u2005\u2006\u2007\u2008\u2009", " "),
        **dict.fromkeys("\u200a\u202f\u205f\u3000", " "),
        **dict.fromkeys("\n\v\f\x85\u2028\u2029", "\n"),
    }
)


def mask_markup(text: str) -> str:
    r"""Blank out what is no text, without moving anything.

    HTML tags, entities, and invisible or control characters become blanks, one for one. The last
    character of a tag that starts a block becomes a line break; an entity becomes its character
    and blanks. Only names of HTML tags count, so `<EMAIL>`, `<3` and `a < b` stay.

    Args:
        text: Raw text of an ad.

    Returns:
        A text of the same length, with "\n" as the only kind of line break.
    """
    if "<" in text or "]]>" in text:
        text = _mask_tags(text)
    if "&" in text:
        text = _ENTITY.sub(_mask_entity, text)
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    # A single line of plain characters, as most sentences are, has nothing to be masked any more.
    return text if text.isascii() and text.isprintable() else text.translate(_INVISIBLE)


def _mask_tags(text: str) -> str:
    parts: list[str] = []
    position = 0
    unclosed: set[str] = set()
    for match in _TAG.finditer(text):
        start, end = match.span()
        if start < position:
            continue
        name = (match["inline"] or "").lower()
        closing = ""
        if match[0] == "<!--":
            closing = "-->"
        elif name in ("script", "style") and not match["close"]:
            closing = f"</{name}"
        if closing and closing not in unclosed:
            found = text.find(closing, end)
            if found < 0:
                unclosed.add(closing)
            else:
                end = found
        parts.append(text[position:start])
        # Line breaks inside a tag or a script say nothing about the layout.
        parts.append(FILLER * (end - start - 1) + ("\n" if match["block"] else FILLER))
        position = end
    return "".join([*parts, text[position:]])


def _mask_entity(match: re.Match[str]) -> str:
    character = html.unescape(match[0])
    return character.ljust(len(match[0]), FILLER) if len(character) == 1 else match[0]


# --- Words and phrases ----------------------------------------------------------------------


class Token(NamedTuple):
    """A word, number or mark of punctuation in its comparable form, with its place."""

    form: str
    start: int
    end: int


_TOKEN = re.compile(
    r"[^\W\d_]+(?:['’](?:[tTdDsSmM]|[lL]{2}|[rRvV][eE])\b)?|\d+(?:[.,]\d+)*"
    r"|[,:;.!?()%£$€&/+—]"
)
# "QualificationsStrong", "skillsExperience": a lost line end; "JavaScript", "PowerPoint": none.
_GLUED = re.compile(
    r"(?<=[a-z]{3})(?:(?<=tions)|(?<=ments)|(?<=lities)|(?<=iption)|(?<=rview)|(?<=mmary)|(?<=kills)"
    r"|(?<=nefits)|(?<=uties)|(?<=perience))(?=[A-Z][a-z])"
    r"|(?:(?<=[a-z]{3})|(?<=[A-Z]{2}))(?=(?:Experienced?|Ability|Able|Strong|Excellent|Knowledge|Proficien(?:t|cy)|Must"
    r"|Bachelor|Minimum|You|Your|We|The|This|Familiar(?:ity)?|Good|Develop|Manage|Design|Work|Working"
    r"|Provide|Support|Ensure|Lead|Build|Create|Maintain|Assist|Perform|Collaborate|Conduct|Prepare"
    r"|Coordinate|Monitor|Implement|Participate|Understanding|Responsibilities|Requirements|Preferred"
    r"|Qualifications|Previous|Proven|Demonstrated|Required|Benefits)\b)"
)
_SUFFIXES = {"ll": "will", "re": "are", "ve": "have", "d": "would", "m": "am", "s": "'s"}
_AND = frozenset("&/+")
_BEFORE_IS = frozenset(["what", "who", "it", "that", "here", "there", "where", "how"])


def tokenize(text: str) -> list[Token]:
    """Cut a text into comparable words.

    Case is dropped, contractions are written out ("you'll" gives "you" and "will"), hyphens part
    words, numbers become "##", and "&", "/" and "+" become "and".

    Args:
        text: Masked text.

    Returns:
        The tokens in order.
    """
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        form = match[0].lower()
        start, end = match.span()
        if form.isalpha():
            if len(form) > 8 and (glued := _GLUED.search(text, start, end)):
                cut = glued.start()
                tokens.append(Token(text[start:cut].lower(), start, cut))
                start, form = cut, text[cut:end].lower()
            tokens.append(Token(form, start, end))
        elif form[0].isdecimal():
            tokens.append(Token("##", start, end))
        else:
            word, _, suffix = form.replace("’", "'").partition("'")
            if suffix == "t":
                tokens.append(Token(word.removesuffix("n") or word, start, end - 3))
                tokens.append(Token("not", end - 3, end))
            elif suffix:
                cut = end - len(suffix) - 1
                tokens.append(Token(word, start, cut))
                second = "is" if suffix == "s" and word in _BEFORE_IS else _SUFFIXES[suffix]
                tokens.append(Token(second, cut, end))
            else:
                tokens.append(Token("and" if form in _AND else form, start, end))
    return tokens


Value = TypeVar("Value")
_ELEMENT = re.compile(r"\(([^()]*)\)|(\S+)")
_Words: TypeAlias = list[str]
_Choices: TypeAlias = list[list[_Words]]


class PhraseTable(Generic[Value]):
    """Finds phrases in a list of words: a prefix tree over words.

    A phrase is written as words; `(a|b c|)` are alternatives, `*` is any word, `...` none to four
    words, `##` a number and `^` the start of a sentence. The first phrase that is given wins over
    others of the same words.
    """

    def __init__(self, phrases: Iterable[tuple[str, Value]]) -> None:
        self._root = _Node[Value]()
        self._root.ahead = [([], _parse(phrase), value) for phrase, value in phrases]

    def starts(self, forms: Sequence[str]) -> list[int]:
        """Indices of the words that a phrase can begin with, which most words are not."""
        first = self._root.open()
        return [index for index, form in enumerate(forms) if form in first]

    def matches(self, forms: Sequence[str], start: int) -> Iterator[tuple[int, Value]]:
        """Find the phrases that begin at a word.

        Args:
            forms: Forms of the words.
            start: Index of the first word.

        Yields:
            Index behind the last word of a phrase, and the value of the phrase.
        """
        first = self._root.open().get(forms[start])
        if first is None:
            return
        stack: list[tuple[int, _Node[Value]]] = [(start + 1, first)]
        while stack:
            index, node = stack.pop()
            following = node.open()
            if node.values:
                yield index, node.values[0]
            if index < len(forms):
                form = forms[index]
                # The word itself goes on top, so that it is tried before `*`.
                if "*" in following and form not in ",.:;!?":
                    stack.append((index + 1, following["*"]))
                if form in following:
                    stack.append((index + 1, following[form]))

    def longest(self, forms: Sequence[str], start: int) -> tuple[int, Value] | None:
        """Find the longest phrase that begins at a word, as `matches` gives it."""
        return max(self.matches(forms, start), key=lambda match: match[0], default=None)


class _Node(Generic[Value]):
    """Where some words of phrases have been read.

    All alternatives of all phrases are many more than texts have, so a node is made when it is
    first met.

    Attributes:
        ahead: What is left of phrases: words, then choices, and the value of the phrase.
        values: Values of phrases that end here.
    """

    __slots__ = ("_following", "ahead", "values")

    def __init__(self) -> None:
        self.ahead: list[tuple[_Words, _Choices, Value]] = []
        self.values: list[Value] = []
        self._following: dict[str, _Node[Value]] = {}

    def open(self) -> dict[str, _Node[Value]]:
        """The nodes that follow, by word."""
        ahead = self.ahead
        if ahead:
            following: dict[str, _Node[Value]] = {}
            values = []
            for words, choices, value in ahead:
                beginnings = [(words, choices)] if words else list(_beginnings(choices))
                for (word, *others), rest in beginnings:
                    node = following.setdefault(word, _Node())
                    node.ahead.append((others, rest, value))
                if not words and all([] in alternatives for alternatives in choices):
                    values.append(value)
            # In this order, so that another thread finds all or makes the same again.
            self._following, self.values = following, values
            self.ahead = []
        return self._following


def _parse(phrase: str) -> _Choices:
    """A phrase as a list of choices, each a list of alternatives."""
    choices: _Choices = []
    for match in _ELEMENT.finditer(phrase):
        alternatives = match[1].split("|") if match[1] is not None else [match[2]]
        if alternatives == ["..."]:
            choices.append([["*"] * count for count in range(5)])
        else:
            choices.append([_pattern_words(alternative) for alternative in alternatives])
    return choices


def _beginnings(choices: _Choices) -> Iterator[tuple[_Words, _Choices]]:
    """The first words that a phrase may have, and the choices that follow them."""
    if choices:
        for words in choices[0]:
            if words:
                yield words, choices[1:]
            else:
                yield from _beginnings(choices[1:])


def _pattern_words(text: str) -> list[str]:
    words: list[str] = []
    for word in text.split():
        words += [word] if word in ("*", "^", "##") else [token.form for token in tokenize(word)]
    return words


# --- The list of wordings -------------------------------------------------------------------

_Scope = Literal["section", "line"]


class _Heading(NamedTuple):
    label: ZoneLabel
    scope: _Scope
    # The text under it may be about anything: "Job description", "Summary".
    mixed: bool


class _Wordings(NamedTuple):
    headings: PhraseTable[_Heading]
    grammar: dict[str, str]
    cues: PhraseTable[tuple[ZoneLabel, int]]
    # Closed classes of words, by name.
    words: dict[str, frozenset[str]]


@cache
def _wordings() -> _Wordings:
    source = resources.files("extractor") / "data" / "zone_headings.json"
    data = json.loads(source.read_text(encoding="utf-8"))
    headings = [
        (phrase, _Heading("duties" if mixed else label, "section", mixed))
        for label, phrases in data["headings"].items()
        for mixed in (label == "overview",)
        for phrase in phrases
    ]
    fields = [
        (phrase, _Heading(label, "line", mixed=False))
        for label, phrases in data["fields"].items()
        for phrase in phrases
    ]
    cues = [
        (phrase, (label, int(weight)))
        for label, groups in data["sentence_cues"].items()
        for weight, phrases in sorted(groups.items(), reverse=True)
        for phrase in phrases
    ]
    grammar = data["grammar"]
    return _Wordings(
        headings=PhraseTable([*fields, *headings]),
        grammar={
            word: kind
            for kind in ("connectors", "modifiers", "preferred", "duties", "requirements")
            for word in grammar[kind]
        },
        cues=PhraseTable(cues),
        words={name: frozenset(words) for name, words in data["words"].items()},
    )


# --- Units: headings, sentences and list items ----------------------------------------------


class _Unit(NamedTuple):
    start: int
    end: int
    heading: _Heading | None
    # Ends the line that it stands on: fields reach no farther.
    line: int


_BULLET = re.compile(
    r"(?:[^\S\n]{0,200}+(?:[•·▪●◦○■□►▶▸➢➤➔→✓✔✅☑➡★☆※◆◇–—*¤§»›>#|+~=_\u2022-\u2043\u2190-\u2bff\uf000-\uf8ff"
    r"\U0001f300-\U0001faff\ufe0f-]++|o(?=[^\S\n])|\(?\d{1,2}(?:\.\d{1,2}){0,2}[.)](?=\s|[A-Z])"
    r"|\(?[a-zA-Z]\)(?=\s)|\([ivx]{1,4}\)))++[^\S\n]*"
)
_SPLIT = re.compile(
    r"[.!?…]+[\"'”’)\]]*(?=\s|$|[A-Z(•·*\-])"
    r"|;(?=\s)"
    r"|[•▪●◦■□►▶▸➢➤✓✔✅☑※◆\u2023\u2043\u25aa-\u25ff\u2700-\u27bf\uf000-\uf8ff\U0001f300-\U0001faff]"
    r"|(?<=\s)[·*](?=\s)|(?<=\s)-(?=\s[A-Z])|(?<!\s)[^\S\u2003]{3,}+(?=[A-Z])"
)
_MAY_END = re.compile(
    r"(?:[A-Za-z]|(?:[A-Za-z]{1,3}\.){1,9}[A-Za-z]{1,3}|[Ii]nc|[Ll]td|[Cc]o|[Cc]orp|etc|[Bb]ros|[Uu]niv)$"
)
_WORD_BEFORE = re.compile(r"[^\s(\"'“‘/,;:]{1,30}$")


def _lines(masked: str) -> Iterator[tuple[int, int]]:
    """Give the logical lines: a line broken by hard wrapping is one."""
    spans: list[tuple[int, int]] = []
    position = 0
    for line in masked.split("\n"):
        spans.append((position, position + len(line)))
        position += len(line) + 1
    lengths = [len(masked[start:end].rstrip()) for start, end in spans]
    width = max(lengths, default=0)
    wrapped = width <= 110 and sum(length > 0.7 * width for length in lengths) >= 3
    start, end = spans[0]
    for next_start, next_end in spans[1:]:
        if _continues(masked[start:end], masked[next_start:next_end], width if wrapped else None):
            end = next_end
        else:
            yield start, end
            start, end = next_start, next_end
    yield start, end


def _continues(line: str, following: str, width: int | None) -> bool:
    """Whether a line goes on in the next one."""
    tail = line[-200:].rstrip()
    head = following[:200].lstrip()
    if not tail or not head or tail[-1] in ".!?:;•" or _BULLET.match(head):
        return False
    last = tail.rpartition(" ")[2].lower()
    if head[0].islower() and (last in _wordings().words["open_ends"] or tail[-1] in ",&/"):
        return True
    # Within an item of a list, what goes on is indented, or begins small.
    if _BULLET.match(line.lstrip()) and head[0].isupper() and not following[0].isspace():
        return False
    if width is None or not (head[0].islower() or head[0].isupper() or head[0] in "(\"'“<"):
        return False
    # Hard wrapping fills a line: its end is one only if the next word found no room on it.
    last_line = line.rpartition("\n")[2].rstrip()
    room = len(last_line) + 1 + len(head.split(maxsplit=1)[0]) > width - (
        12 if head[0].islower() else 0
    )
    return room and len(last_line) > 40


class _Layout(NamedTuple):
    units: tuple[_Unit, ...]
    tokens: list[Token]
    # Offset of each token, to find those of a unit.
    starts: list[int]

    def within(self, start: int, end: int) -> list[Token]:
        """Give the tokens that begin in a span."""
        return self.tokens[bisect_left(self.starts, start) : bisect_left(self.starts, end)]


@lru_cache(maxsize=4)
def _read_layout(text: str) -> _Layout:
    """Cut a text into headings and sentences, once for its zones and its sentences."""
    masked = mask_markup(text)
    tokens = tokenize(masked)
    layout = _Layout((), tokens, [token.start for token in tokens])
    glued = [
        token.start
        for before, token in itertools.pairwise(tokens)
        if before.end == token.start
        and masked[token.start].isupper()
        and masked[before.end - 1].isalpha()
    ]
    units: list[_Unit] = []
    for number, (start, end) in enumerate(_lines(masked)):
        position = start
        for first, last, heading in _find_headings(masked, start, end, layout.within(start, end)):
            _cut_sentences(text, masked, position, first, number, units, glued)
            units.append(_Unit(first, last, heading, number))
            position = last
        _cut_sentences(text, masked, position, end, number, units, glued)
    return layout._replace(units=tuple(units))


def _cut_sentences(
    text: str,
    masked: str,
    start: int,
    end: int,
    number: int,
    units: list[_Unit],
    glued: Sequence[int],
) -> None:
    inner = glued[bisect_right(glued, start) : bisect_left(glued, end)]
    for first, last in itertools.pairwise([start, *inner, end]):
        _cut_stretch(text, masked, first, last, number, units)


def _cut_stretch(
    text: str, masked: str, start: int, end: int, number: int, units: list[_Unit]
) -> None:
    position = start
    dashes = masked.count(" - ", start, end) >= 3
    for match in _SPLIT.finditer(masked, start, end):
        at = match.start()
        mark = masked[at]
        if at < position:
            continue
        if mark in ".!?…":
            if _ends_sentence(masked, position, match, end):
                _add_sentences(masked, position, match.end(), number, units)
                position = match.end()
            continue
        if (
            (mark == "-" and not dashes)
            or (mark == ";" and not _splits_list(masked, position, at, end))
            # Blanks that stand for a tag part no sentences.
            or (mark.isspace() and not text[at : match.end()].isspace())
        ):
            continue
        _add_sentences(masked, position, at, number, units)
        position = match.end()
    _add_sentences(masked, position, end, number, units)


def _splits_list(masked: str, start: int, at: int, end: int) -> bool:
    """Whether a semicolon parts two items of some length: "Python; SQL; R" stays together."""
    before = masked[max(start, at - 60) : at].split()
    after = masked[at + 1 : min(end, at + 60)].partition(";")[0].split()
    return len(before) >= 3 and len(after) >= 2


def _ends_sentence(masked: str, start: int, match: re.Match[str], end: int) -> bool:
    at, after = match.span()
    following = masked[after : after + 40].lstrip(" \n\t*-–•\"'“‘(")
    word = _WORD_BEFORE.search(masked[max(start, at - 30) : at])
    before = word[0] if word else ""
    if after >= end or not following.strip():
        return True
    if not masked[after].isspace():
        # "teams.Experience with" lost its blank; "Node.js", "ASP.NET", "U.S." did not.
        return (
            bool(
                re.search(r"(?:[a-z]{3}|[\d)%]|[A-Z]{3})$", masked[max(start, at - 3) : at] or " ")
            )
            and bool(re.match(r"[A-Z][a-z]+[ ,']|(?:A|I) |[•·*(]", masked[after : after + 30]))
            and not re.match(r"(?:Js|Net|Io|Ai|Com|Org)\b", masked[after : after + 4])
            and (before.count(".") == 0)
        )
    if masked[at] != ".":
        return masked[at] != "…" or following[0].isupper()
    if before.lower() in _wordings().words["abbreviations"]:
        return False
    if not before and at == start:
        return False
    if following[0].islower() and not re.match(r"[a-z]+[A-Z]", following):
        return masked[after : after + 40].lstrip()[0] in "•*"
    if before.isdigit() and len(before) <= 2 and masked[max(start, at - 10) : at].strip() == before:
        return False
    if _MAY_END.match(before):
        return following.split(maxsplit=1)[0].lower().rstrip(",.:") in _wordings().words["starters"]
    return True


def _add_sentences(masked: str, start: int, end: int, number: int, units: list[_Unit]) -> None:
    """Add a stretch as one sentence, without bullets and blanks; cut it if it is too long."""
    while start < end:
        if bullet := _BULLET.match(masked, start, end):
            start = bullet.end()
        while start < end and (masked[start].isspace() or masked[start] in "•·*;,|–—-"):
            start += 1
        stop = min(end, start + MAX_SENTENCE)
        if stop < end:
            stop = max(masked.rfind(" ", start + 1, stop), masked.rfind("\n", start + 1, stop))
            stop = stop if stop > start else start + MAX_SENTENCE
        following = stop
        while stop > start and (masked[stop - 1].isspace() or masked[stop - 1] in "•·*;|–—"):
            stop -= 1
        if stop > start:
            units.append(_Unit(start, stop, None, number))
        start = following


# --- Headings -------------------------------------------------------------------------------


def _find_headings(
    masked: str, start: int, end: int, tokens: list[Token]
) -> Iterator[tuple[int, int, _Heading]]:
    forms = [token.form for token in tokens]
    index = 0
    while index < len(tokens):
        first = tokens[index]
        if index > 0 and not (masked[first.start].isupper() or forms[index - 1] in ".:;!?"):
            index += 1
            continue
        found = _heading_at(masked, tokens, forms, index, start, end)
        if found is None:
            index += 1
            continue
        count, last, heading = found
        numbered = _BULLET.fullmatch(masked, start, first.start) is not None
        yield start if index == 0 or numbered else first.start, last, heading
        index += count
        while index < len(tokens) and tokens[index].start < last:
            index += 1


# What may stand behind a heading that has its line to itself.
_ALONE = re.compile(
    r"[\s:;.…?!*#_~=\-–—|>]{0,120}+(?:\([^()\n]{0,60}\)[\s:;.…?!*#_~=\-–—|]{0,120}+)?$",
)
# What parts a heading from the text behind it on the same line.
_MARK = re.compile(
    r"[*_]{0,3}\s{0,3}(?:\([^()\n]{0,50}\)\s?)?[:：][*_]{0,3}"
    r"|\?(?=\s{0,3}[A-Z])|\s{1,3}[–—-]{1,3}(?=\s)"
)


def _heading_at(
    masked: str, tokens: list[Token], forms: list[str], index: int, start: int, end: int
) -> tuple[int, int, _Heading] | None:
    """Read a heading that begins at a token of the line from `start` to `end`.

    Returns:
        Number of its tokens, offset behind it and its mark, and what it says; or None.
    """
    wordings = _wordings()
    listed = wordings.headings.longest(forms, index)
    composed = _compose_heading(forms, index, wordings.grammar)
    found = max((f for f in (listed, composed) if f), key=lambda f: f[0], default=None)
    if found is None:
        asks = index == 0 and len(forms) <= 11 and forms[-1] == "?"
        if asks and forms[0] in wordings.words["question_words"]:
            return len(forms), end, _Heading("other", "section", mixed=True)
        return None
    stop, heading = found
    count = stop - index
    first, tail = tokens[index].start, tokens[stop - 1].end
    lead = masked[start:first] if first - start <= 12 else "text"
    at_start = not lead.strip() or _BULLET.fullmatch(lead.rstrip() + " ") is not None
    alone = end - tail <= 100 and _ALONE.match(masked[tail:end]) is not None
    if at_start and alone:
        # "- Technical skills" is an item of a list, "- Technical skills:" a heading.
        listed_item = bool(lead.strip(" \t\n*#_.()0123456789")) and not re.search(
            "[:?]", masked[tail:end]
        )
        return None if listed_item else (count, end, heading)

    capital = masked[first].isupper()
    titled = all(
        masked[token.start].isupper() or len(token.form) <= 3 or not token.form.isalpha()
        for token in tokens[index:stop]
    )
    titled = titled and capital
    before = masked[max(start, first - 12) : first]
    boundary = (
        not before.strip()
        or before.rstrip(' \t\n*_#"“')[-1:] in tuple(".!?:;•·●▪)…|>-–—")
        or before.endswith("   ")
    )
    if mark := _MARK.match(masked, tail, min(end, tail + 80)):
        colon = mark[0].rstrip("*_")[-1] in ":："
        if not colon:
            accepted = at_start or titled
        elif heading.scope == "line":
            accepted = at_start or (boundary and capital)
        else:
            short = heading.label == "nice_to_have" or forms[index] in ("required", "essential")
            accepted = at_start or (capital and (boundary or short or (titled and (count > 1))))
        return (count, mark.end(), heading) if accepted else None

    if heading.scope == "line" or not capital or end - start < 120 or alone:
        return None
    return (
        (count, tail, heading)
        if _runs_on(
            masked, tokens, index, stop, end, titled=titled, boundary=boundary, heading=heading
        )
        else None
    )


def _runs_on(
    masked: str,
    tokens: list[Token],
    index: int,
    stop: int,
    end: int,
    *,
    titled: bool,
    boundary: bool,
    heading: _Heading,
) -> bool:
    """Whether a heading has lost its line end: "Responsibilities Design and build …"."""
    words = _wordings().words
    first, tail = tokens[index].start, tokens[stop - 1].end
    rest = masked[tail : min(end, tail + 40)]
    following = rest.lstrip(" \t\n*_")
    if not following or rest[0] in ",.;)'’-/":
        return False
    if not (following[0].isupper() or following[0].isdecimal() or following[0] in "•·●▪-–*"):
        return False
    if stop < len(tokens) and tokens[stop].form in words["not_after_heading"]:
        return False
    forms = [token.form for token in tokens[index:stop]]
    if forms[0] == "about" and forms[-1] not in words["after_about"]:
        return False
    shouted = masked[first:tail].isupper() and len(forms[0]) > 3 and not following[:6].isupper()
    if len(forms) == 1:
        return forms[0] in words["single_headings"] and (boundary or shouted)
    usual = len(forms) > 2 or heading.label in (
        "duties",
        "requirements",
        "nice_to_have",
        "benefits",
    )
    return (titled and (boundary or usual or shouted)) or (boundary and len(forms) > 2)


def _compose_heading(
    forms: Sequence[str], index: int, grammar: dict[str, str]
) -> tuple[int, _Heading] | None:
    """Read a heading made of usual words: "Minimum Education and Experience Requirements"."""
    label: ZoneLabel | None = None
    preferred = required = False
    stop = index
    for position in range(index, min(index + 9, len(forms))):
        kind = grammar.get(forms[position])
        if kind is None or (position == index and kind == "connectors"):
            break
        if kind in ("duties", "requirements"):
            label = label or cast("ZoneLabel", kind)
            stop = position + 1
        elif kind == "preferred":
            preferred = True
            stop = position + 1 if label else stop
        elif forms[position] in ("required", "mandatory", "necessary", "minimum"):
            required = True
            stop = position + 1 if label else stop
    if label is None:
        return None
    if preferred and not required and label == "requirements":
        label = "nice_to_have"
    return stop, _Heading(label, "section", mixed=False)


# --- Zones ----------------------------------------------------------------------------------

_RULE = re.compile(r"(?:^|\n)[^\S\n]*([-–—_=*~#])(?:[^\S\n]*\1){4,}[^\S\n]*(?:\n|$)")
"""A ruled line, which ends a section; right below a heading it is its underline."""


def find_zones(text: str, title: str | None = None) -> list[Zone]:
    """Find the sections of an ad.

    Headings open a section. In an ad, or a part of one, without headings each sentence is judged
    by its own wording; under a heading only statements that clearly belong elsewhere are: equal
    opportunities, pay and benefits, how to apply.

    Args:
        text: Raw text, also HTML.
        title: Job title, where the source has it.

    Returns:
        Zones in order without gaps, from 0 to the length of the text; none for an empty text.
    """
    if not text:
        return []
    spans: list[tuple[int, ZoneLabel]] = []
    section: _Heading | None = None
    field: _Heading | None = None
    field_line = -1
    layout = _read_layout(text)
    units = layout.units
    items = end = 0
    for position, unit in enumerate(units):
        label: ZoneLabel
        gap = text[end : unit.start]
        end = unit.end
        if section is not None and unit.heading is None:
            if _RULE.search(gap) and units[position - 1].heading is None:
                section = None
            elif "\n" in gap and gap.rpartition("\n")[2].strip():
                items += 1
            elif "\n" in gap and items > 1 and _is_paragraph(text[unit.start : unit.end]):
                # Behind its list a section has ended, whether or not a heading says so.
                section = section._replace(mixed=True)
        if unit.heading is not None:
            items = 0
            label = unit.heading.label
            if unit.heading.scope == "line":
                field, field_line = unit.heading, unit.line
                if position + 1 < len(units) and units[position + 1].line != unit.line:
                    field_line = units[position + 1].line
            else:
                previous = units[position - 1].heading if position else None
                if previous and previous.label == "nice_to_have" and label == "requirements":
                    # "Preferred Qualifications:" with "Experience in" right below.
                    label = "nice_to_have"
                section, field = unit.heading._replace(label=label), None
        elif field is not None and unit.line <= field_line and unit.end - unit.start <= 200:
            # A field has one value; where line ends are lost, more follows that is none.
            label, field = field.label, None
        elif position == 0 and _is_title(text, units, title):
            label = "title"
        else:
            field = None
            label = _sentence_zone(
                text[unit.start : unit.end], layout.within(unit.start, unit.end), section
            )
        spans.append((unit.start, label))
    if not spans:
        return [Zone(start=0, end=len(text), label="other")]
    merged = [spans[0]]
    for start, label in spans[1:]:
        if label != merged[-1][1]:
            merged.append((start, label))
    starts = [0] + [start for start, _ in merged[1:]] + [len(text)]
    return [
        Zone(start=start, end=end, label=label)
        for start, end, (_, label) in zip(starts, starts[1:], merged, strict=False)
    ]


def _is_paragraph(line: str) -> bool:
    return len(line) > 60 and line[-1] in ".!?"


def _is_title(text: str, units: Sequence[_Unit], title: str | None) -> bool:
    first = units[0]
    line = text[first.start : first.end]
    if title is not None:
        return _plain(line) == _plain(title)
    words = line.split()
    return (
        len(units) > 1
        and units[1].line != first.line
        and len(words) <= 10
        and len(line) <= 80
        and line[-1] not in ".!?:;,"
        and all(word[0].isupper() or len(word) <= 3 or not word[0].isalpha() for word in words)
    )


def _plain(text: str) -> str:
    return " ".join(token.form for token in tokenize(text))


def _sentence_zone(sentence: str, tokens: Sequence[Token], section: _Heading | None) -> ZoneLabel:
    scores = _score(sentence, tokens)
    asked = max(scores["requirements"], scores["duties"])
    boilerplate = max(BOILERPLATE_ZONES, key=lambda label: scores[label])
    strength = scores[boilerplate]
    if section is not None and section.label in BOILERPLATE_ZONES:
        if asked >= 4 and asked > strength + 1:
            return "requirements" if scores["requirements"] >= scores["duties"] else "duties"
        return boilerplate if strength >= max(4, scores[section.label] + 1) else section.label
    if section is not None and not section.mixed:
        clear = (strength >= 4 and strength > asked) or (strength >= 3 and asked <= 1)
        return boilerplate if clear else section.label
    if strength >= 2 and strength > asked:
        return boilerplate
    if section is not None:
        return (
            "requirements" if scores["requirements"] > max(scores["duties"], 2) else section.label
        )
    if asked >= 2:
        return "requirements" if scores["requirements"] >= scores["duties"] else "duties"
    return "other"


_NAME_FIRST = re.compile(
    r"(?:At )?[A-Z][\w&.-]{0,60}+(?:['’]s)?(?: (?:[A-Z&][\w&'’.-]{0,60}+|of|and|de|the)){0,4}"
    r"(?:,[^,]{0,60},)? "
    r"(?:was|has|were|makes|builds|provides|offers|operates|serves|runs|sells|supplies"
    r"|develops|designs|manufactures|delivers|helps|employs|began|started|grew|uses|owns|supports)\b"
    r"|[A-Z]\w{1,60}+(?: [A-Z]\w{1,60}+)?['’]s (?!degree|licen)[\w -]{1,80}"
    r" (?:is|are|was|has|\w{1,40}s)\b"
)
_PAST = re.compile(
    r"(?:The|We|Our|It|Its|In \d{4}|Last year|Since|This|Three|Two|One)\b[^,.;]{0,60}"
    r" (?:was|were|began|built|won|sold|grew|became|made|moved|opened|discovered|launched|started"
    r"|acquired|created|invented|published|came|went|finances|looks after|houses|belongs)\b"
)


def _statement(sentence: str, forms: Sequence[str]) -> float:
    """How much a sentence looks like one about the employer, by its grammar alone."""
    if len(forms) < 2 or "you" in forms or "candidate" in forms or "applicant" in forms:
        return 0.0
    if _NAME_FIRST.match(sentence) or _PAST.match(sentence):
        return 2.0
    words = _wordings().words
    third_person = (
        sentence.endswith(".")
        and forms[1] in words["determiners"]
        and not words["finite_verbs"].isdisjoint(forms[3:9])
        and words["work_nouns"].isdisjoint(forms[2:5])
    )
    return 2.0 if third_person else 0.0


def _begins_with_duty(forms: Sequence[str], wordings: _Wordings) -> bool:
    return (
        len(forms) > 1
        and _is_duty_verb(forms[1], wordings.words["duty_verbs"])
        and wordings.words["finite_verbs"].isdisjoint(forms[2:4])
    )


def _score(sentence: str, tokens: Sequence[Token]) -> dict[ZoneLabel, float]:
    wordings = _wordings()
    forms = ["^", *(token.form for token in tokens)]
    scores: dict[ZoneLabel, float] = dict.fromkeys(
        ("requirements", "duties", "about", "benefits", "how_to_apply"), 0.0
    )
    for index in wordings.cues.starts(forms):
        for _, (label, weight) in wordings.cues.matches(forms, index):
            best = scores[label]
            scores[label] = max(best, weight) + (0.25 if best else 0.0)
    if _begins_with_duty(forms, wordings):
        scores["duties"] = max(
            scores["duties"], 3.5 if forms[1] in wordings.words["addressed_verbs"] else 6.0
        )
    if not scores["requirements"] and not scores["duties"]:
        scores["about"] += _statement(sentence, forms)
    return scores


def _is_duty_verb(form: str, verbs: frozenset[str]) -> bool:
    if form in verbs or (form.endswith("s") and form[:-1] in verbs):
        return True
    if form.endswith("es"):
        return form[:-2] in verbs
    if form.endswith("ing"):
        stem = form[:-3]
        return stem in verbs or stem + "e" in verbs or (len(stem) > 2 and stem[:-1] in verbs)
    return False


def split_sentences(text: str, zones: Sequence[Zone]) -> list[Sentence]:
    """Cut an ad into sentences and list items.

    Args:
        text: Raw text, also HTML.
        zones: Its zones, from `find_zones`.

    Returns:
        Sentences in order, without bullets and headings; each is `text[start:end]` and carries
        the zone in which it starts.
    """
    sentences: list[Sentence] = []
    current = 0
    for unit in _read_layout(text).units:
        while current + 1 < len(zones) and zones[current].end <= unit.start:
            current += 1
        if unit.heading is None:
            label: ZoneLabel = zones[current].label if zones else "other"
            sentences.append(Sentence(unit.start, unit.end, text[unit.start : unit.end], label))
    return sentences
