"""Tells in which language an ad is written.

The classifier is py3langid (Lui and Baldwin, langid.py, ACL 2012): deterministic, 5 MB, no network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import compress
from typing import Any

from extractor.zones import mask_markup

__all__ = ["ENGLISH", "LANGUAGE_NAMES", "detect_language"]

ENGLISH = "en"

SHORTEST = 80
"""Letters below which a text does not tell its language: names of tools look like any."""

PASSAGE = 200
"""Letters that are classified at once, so that mixed ads are seen."""

PASSAGES = 8
"""Passages of a long ad that are looked at, spread evenly."""

ENGLISH_SHARE = 1 / 3
"""From this share of its letters on, an ad that is partly English is read."""

NAMES_SHARE = 0.75
"""From this share of its letters in capitalised words on, a text is a list of names, which look
like any language; but not where it is written in capitals throughout."""

LIST_SHARE = 0.75
"""From so many commas and line ends a word on, a text is a list of single words, mostly tools."""

PLAIN_WORDS = frozenset(
    {
        *("and", "from", "our", "that", "the", "their", "they", "this", "which", "with", "you"),
        "your",
    }
)
"""Words of English prose that are rare in the other languages: "of", "for", "to" and "by" are words
of Dutch, Danish and Polish as well."""

PLAIN_SHARE = 0.08
"""From this share of them on, a passage is English without asking the classifier, which is loaded
for one ad in thirty: half a second and 100 MB."""

LANGUAGE_NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "es": "Spanish",
    "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovene", "sr": "Serbian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
"""Languages that are told apart besides English."""

_NO_WORDS = re.compile(r"https?://\S+|www\.\S+|[\w.+-]{1,64}@\S{1,64}|[\d_]+")
_NAME = re.compile(r"(?<!\w)[^\W\d_a-zß-öø-ÿ]\w*[a-z]\w*|(?<!\w)[A-Z]{1,5}(?!\w)")
_WORD = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[,;/|•·\n]")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@cache
def _identifier() -> Any:
    """The classifier, of frequent languages alone: names of tools look like rare ones."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([ENGLISH, *LANGUAGE_NAMES])
    return identifier


def detect_language(text: str) -> str | None:
    """Detect the language of an ad.

    Each passage is classified by itself; an English ad with a paragraph in another language stays
    English.

    Args:
        text: The ad.

    Returns:
        The code of ISO 639-1, or None if the text is too short to tell, or hardly more than a list
        of names or of single words.
    """
    words = _NO_WORDS.sub(" ", mask_markup(text))
    if sum(_count_letters(name) for name in _NAME.findall(words)) > NAMES_SHARE * _count_letters(
        words
    ) and any(map(str.islower, words)):
        return None
    every = list(_passages(words))
    passages = every[:: -(-len(every) // PASSAGES) or 1]
    sizes = list(map(_count_letters, passages))
    total = sum(sizes)
    if total < SHORTEST:
        return None
    plain = sum(compress(sizes, map(_is_plain, passages)))
    if plain >= ENGLISH_SHARE * total:
        return ENGLISH
    if len(_BETWEEN.findall(words)) >= LIST_SHARE * len(_WORD.findall(words)):
        return None
    letters: Counter[str] = Counter()
    for passage, size in zip(passages, sizes, strict=True):
        letters[str(_identifier().classify(passage)[0])] += size
    if letters[ENGLISH] >= ENGLISH_SHARE * total:
        return ENGLISH
    return max(letters, key=lambda code: letters[code])


def _is_plain(passage: str) -> bool:
    words = _WORD.findall(passage.lower())
    plain = sum(word in PLAIN_WORDS for word in words)
    # Where words are not parted by blanks, they cannot be counted.
    return plain >= PLAIN_SHARE * len(words) > 0 and not _WIDE.search(passage)


def _count_letters(text: str) -> int:
    # A Chinese, Japanese or Korean character says as much as several letters.
    return sum(map(str.isalpha, text)) + 3 * len(_WIDE.findall(text))


def _passages(text: str) -> Iterator[str]:
    """Cut a text into passages of whole lines; a long line is cut at blanks."""
    passage, letters = "", 0
    for line in text.split("\n"):
        for part in re.findall(r"(?:\S{1,400}\s*){1,60}", line) or [line]:
            passage += part + "\n"
            letters += _count_letters(part)
            if letters >= PASSAGE:
                yield passage
                passage, letters = "", 0
    if letters:
        yield passage
