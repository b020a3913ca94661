"""Cleaning of labels and descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

INVISIBLE = ("Cc", "Cf")
"""Unicode categories of control and format characters: zero width, soft hyphen, BOM, marks."""

_QUALIFIER = re.compile(r"(?<!\s)\s*+\([^()]*\)$")


def clean_text(text: str) -> str:
    """Remove what cannot be seen and bring white space to single blanks.

    Zero-width characters, soft hyphens, byte order marks and direction marks go; tabs, line
    ends and no-break spaces become blanks; the rest is brought to Unicode NFC.
    """
    if not text.isprintable():
        text = "".join(
            char for char in text if char.isspace() or unicodedata.category(char) not in INVISIBLE
        )
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def clean_labels(label: str, alt_labels: Iterable[str]) -> tuple[str, ...]:
    """Clean alternative labels and drop empty and repeated ones.

    Args:
        label: The preferred label, itself clean; alternatives equal to it are dropped.
        alt_labels: Alternative labels in any state.

    Returns:
        The labels that are left, in order, first spelling of each (case does not count).
    """
    seen = {label.casefold()}
    kept = []
    for alt_label in alt_labels:
        clean = clean_text(alt_label)
        if clean and clean.casefold() not in seen:
            seen.add(clean.casefold())
            kept.append(clean)
    return tuple(kept)


def base_name(label: str) -> str:
    """The label without a bracketed qualifier, so "Java" for "Java (computer programming)"."""
    return _QUALIFIER.sub("", label) or label
