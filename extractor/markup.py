"""Reads HTML: its visible text, laid out as a browser would, with the way back to the source.

Parsing is JustHTML's, which follows the HTML standard. Whitespace collapses as in CSS, blocks
become lines, list items get a bullet, cells of a row are parted by " | ".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from html import unescape
from html.entities import html5
from typing import TYPE_CHECKING, Any, NamedTuple

from extractor.records import HtmlSource, SourceRun

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_html"]

_PARAGRAPHS = frozenset((
    "address", "blockquote", "dl", "fieldset", "figure", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "ol", "p", "pre", "table", "ul",
))  # fmt: skip
_LINES = frozenset((
    "article", "aside", "body", "caption", "center", "dd", "details", "dialog", "div", "dt",
    "figcaption", "footer", "header", "hgroup", "legend", "li", "main", "menu", "nav", "search",
    "section", "summary", "tbody", "tfoot", "thead", "tr",
))  # fmt: skip
_UNSEEN = frozenset((
    "applet", "area", "audio", "canvas", "datalist", "embed", "frame", "frameset", "head",
    "iframe", "input", "map", "math", "meter", "noembed", "noframes", "noscript", "object",
    "optgroup", "option", "param", "picture", "progress", "rp", "script", "select", "source",
    "style", "svg", "template", "textarea", "title", "track", "video", "wbr",
))  # fmt: skip
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_STRETCH = re.compile(r"[ \t\n\r\f]+|[^ \t\n\r\f]+")
_REFERENCE = re.compile(r"&(?:#(?:[0-9]{1,16}|[xX][0-9a-fA-F]{1,16})|[A-Za-z][A-Za-z0-9]{0,31});?")
_MARKUP = re.compile(r"<[A-Za-z/!?]")


def read_html(html: str) -> tuple[str, HtmlSource]:
    """Read the visible text of a page or a fragment.

    Scripts, styles, comments, form fields, media and elements that are hidden by an attribute or
    by their own `style` are left out; style sheets are not read.

    Args:
        html: A whole page or a part of one; broken markup is read as a browser reads it.

    Returns:
        The text, and where in the source each part of it stands.
    """
    from justhtml import JustHTML

    page = JustHTML(html, sanitize=False, track_node_locations=True)
    writer = _Writer(html)
    for step, node in _walk(page.root):
        if node.name == "#text":
            writer.add_text(node.data, node.origin_offset)
        elif step == "enter":
            writer.enter(node)
        else:
            writer.leave(node)
    return writer.finish()


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Visit what is shown, in document order; without recursion, since pages nest deeply."""
    stack: list[tuple[str, Any]] = [("enter", child) for child in reversed(root.children)]
    while stack:
        step, node = stack.pop()
        if step == "enter":
            if node.name == "#text":
                yield step, node
            elif node.name[0] not in "#!" and node.name not in _UNSEEN and not _is_hidden(node):
                yield step, node
                stack.append(("leave", node))
                stack += [("enter", child) for child in reversed(node.children or ())]
        else:
            yield step, node


def _is_hidden(node: Any) -> bool:
    attributes = node.attrs or {}
    if "hidden" in attributes or (node.name == "dialog" and "open" not in attributes):
        return True
    return _HIDING.search(attributes.get("style") or "") is not None


class _List(NamedTuple):
    ordered: bool
    items: list[Any]


class _Writer:
    """Lays out text; what parts two texts is only written once the second one comes."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.parts: list[str] = []
        self.runs: list[SourceRun] = []
        self.length = 0
        self.breaks = 0
        self.space: tuple[int, int] | None = None
        self.marker = ""
        self.new_cell = False
        self.preformatted = 0
        self.lists: list[_List] = []

    def enter(self, node: Any) -> None:
        name = node.name
        if name == "br":
            self.breaks = min(2, self.breaks + 1)
            self.space = None
        self._part(name)
        if name in ("ol", "ul"):
            self.lists.append(_List(name == "ol", []))
        elif name == "li":
            items = self.lists[-1].items if self.lists else []
            items.append(node)
            self.marker = f"{len(items)}. " if self.lists and self.lists[-1].ordered else "- "
        elif name in ("td", "th"):
            self.new_cell = True
        elif name == "pre":
            self.preformatted += 1

    def leave(self, node: Any) -> None:
        name = node.name
        self._part(name)
        if name in ("ol", "ul"):
            self.lists.pop()
        elif name == "li":
            self.marker = ""
        elif name == "tr":
            self.new_cell = False
        elif name == "pre":
            self.preformatted -= 1

    def _part(self, name: str) -> None:
        if name in _PARAGRAPHS or name in _LINES:
            self.breaks = max(self.breaks, 2 if name in _PARAGRAPHS else 1)
            self.space = None

    def add_text(self, data: str, origin: int) -> None:
        """Add the characters of a text node that begins at an offset of the source."""
        if self.html.startswith(data, origin):
            places = [SourceRun(0, len(data), origin, origin + len(data))]
        else:
            places = list(_align(data, self.html, origin))
        for match in _STRETCH.finditer(data):
            start, end = match.span()
            blank = data[start] in " \t\n\r\f"
            if blank and not self.preformatted:
                if self.length and not self.breaks and self.space is None:
                    inside = _within(places, start, end)
                    self.space = inside[0].source_start, inside[-1].source_end
                continue
            if not (blank and self.breaks):
                self._separate(origin)
                for run in _within(places, start, end):
                    self._write(data[run.start : run.end], run.source_start, run.source_end)

    def _separate(self, origin: int) -> None:
        """Write the line breaks, bullet or blank that are due before a text."""
        if self.breaks:
            if self.length:
                self._write("\n" * self.breaks, origin, origin)
        elif self.new_cell:
            self._write(" | ", origin, origin)
        elif self.space is not None:
            self._write(" ", *self.space)
        if self.marker:
            self._write(self.marker, origin, origin)
        self.breaks, self.space, self.marker, self.new_cell = 0, None, "", False

    def _write(self, text: str, source_start: int, source_end: int) -> None:
        end = self.length + len(text)
        verbatim = source_end - source_start == len(text) > 0
        last = self.runs[-1] if self.runs else None
        if verbatim and last and last.is_verbatim and last.source_end == source_start:
            self.runs[-1] = SourceRun(last.start, end, last.source_start, source_end)
        else:
            self.runs.append(SourceRun(self.length, end, source_start, source_end))
        self.parts.append(text)
        self.length = end

    def finish(self) -> tuple[str, HtmlSource]:
        return "".join(self.parts), HtmlSource(html=self.html, runs=tuple(self.runs))


def _within(places: list[SourceRun], start: int, end: int) -> list[SourceRun]:
    """The parts of runs that lie between two offsets of the text; runs are in its order."""
    found = []
    number = bisect_right(places, start, key=lambda run: run.end)
    while number < len(places) and places[number].start < end:
        run = places[number]
        first, last = max(start, run.start), min(end, run.end)
        if run.is_verbatim:
            shift = run.source_start - run.start
            found.append(SourceRun(first, last, first + shift, last + shift))
        else:
            found.append(SourceRun(first, last, run.source_start, run.source_end))
        number += 1
    return found


def _align(data: str, html: str, origin: int) -> Iterator[SourceRun]:
    """Say where the characters of a text node come from.

    The parser has decoded character references, made one line break of CR LF, dropped NUL, and
    joined texts between which stood a tag without meaning.
    """
    position, index, end = origin, 0, len(html)
    while index < len(data):
        start, place = index, position
        while (
            index < len(data)
            and position < end
            and data[index] == html[position]
            and html[position] not in "&<\r"
        ):
            index, position = index + 1, position + 1
        if index > start:
            yield SourceRun(start, index, place, position)
        if index == len(data):
            return
        if position >= end:
            yield SourceRun(index, len(data), end, end)
            return
        taken, length = _decoded(data, index, html, position)
        if taken:
            yield SourceRun(index, index + taken, position, position + length)
        index, position = index + taken, position + length


def _decoded(data: str, index: int, html: str, position: int) -> tuple[int, int]:
    """How many characters of a text come from how many of the source, where these differ."""
    mark = html[position]
    if mark == "&" and (reference := _REFERENCE.match(html, position)):
        for length in _reference_lengths(reference[0]):
            value = unescape(html[position : position + length])
            if data.startswith(value, index):
                return len(value), length
    if (
        mark == "<"
        and _MARKUP.match(html, position)
        and data[index : index + 2] != html[position : position + 2]
    ):
        close = html.find(">", position)
        return 0, (close + 1 if close >= 0 else len(html)) - position
    if mark == "\r" and data[index] == "\n":
        return 1, 2 if html.startswith("\r\n", position) else 1
    return int(mark == data[index]), 1


def _reference_lengths(reference: str) -> Iterator[int]:
    """Lengths of the character references that a stretch may begin with, longest first."""
    if reference[1] == "#":
        yield len(reference)
    else:
        yield from (n for n in range(len(reference), 2, -1) if reference[1:n] in html5)
