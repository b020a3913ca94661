"""Mentions by name: every place of a text where a name of a concept stands, word for word.

Matching is on whole words with an Aho-Corasick automaton over stemmed word sequences, so
"managing budgets" finds "manage budgets" and "work" is never split. Hyphens, slashes and blanks
are the same. Case is looked at where it must be:

- a capitalised one-word name whose lower-case form is an everyday word ("Go", "Excel",
  "Access") and an acronym ("SAP", "LESS") only match as they are written;
- a one-letter name ("C", "R"), and such a name at the start of a sentence, need company: another
  tool beside them, or a word such as "programming".

What is an everyday word is read off the taxonomy's own descriptions, so it needs no word list
and works for any taxonomy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ahocorasick_rs
import pyarrow as pa
import Stemmer
from pyarrow import ipc

from extractor.errors import ArtefactError
from taxonomies import Concept
from taxonomies.text import base_name

WORD = re.compile(r"\.NET\b|[^\W_]+(?:\+\+|#)?", re.UNICODE)
SENTENCE_START = re.compile(r"(?:^|[.!?:;•●▪*\n\r·–-])\s*$")
COMPANY_WORDS = frozenset(
    {
        *("api", "backend", "code", "coder", "coding", "database", "developer", "developers"),
        *("development", "framework", "frameworks", "language", "languages", "microsoft", "office"),
        *("package", "packages", "program", "programmer", "programming", "proficiency"),
        *("proficient", "script", "scripting", "scripts", "skills", "software", "spreadsheet"),
        *("spreadsheets", "stack", "statistical", "suite", "technologies", "tool", "tools"),
    }
)
LIST_GLUE = frozenset({",", "/", "", "and", "or", "&", ", and", ", or", ";", "|"})
COMPANY_WINDOW = 60
GLUE = "&'’-_@"

OPEN, CLOSE = "\x01", "\x02"


class Mention(NamedTuple):
    """A place where a name stands.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last character.
        concepts: Position of each concept that has this name, with how well the name fits:
            1 for a preferred label, less for a label without its qualifier, for alternative
            names, for names that several concepts share, and for single everyday words.
    """

    start: int
    end: int
    concepts: tuple[tuple[int, float], ...]


class Form(NamedTuple):
    """A name as the matcher keeps it.

    Attributes:
        concept: Position of the concept.
        text: The name as the taxonomy writes it.
        fit: See `Mention.concepts`.
        exact_case: Whether the text must be written exactly so.
        company: Whether the match must be in the company of other tools.
    """

    concept: int
    text: str
    fit: float
    exact_case: bool
    company: bool


def surface_forms(concept: Concept) -> tuple[str, ...]:
    """The names of a concept: its label, that without a qualifier, the alternative labels."""
    return tuple(dict.fromkeys((concept.label, base_name(concept.label), *concept.alt_labels)))


def _everyday_words(concepts: Iterable[Concept]) -> frozenset[str]:
    """Words that descriptions and multi-word names write in lower case."""
    words: set[str] = set()
    for concept in concepts:
        for text in (concept.description, *(n for n in concept.names if " " in n)):
            words.update(word for word in WORD.findall(text) if word.islower())
    return frozenset(words)


def _singular(word: str) -> str:
    """Strip a plural ending (Harman's S-stemmer, "How effective is suffixing?", JASIS 1991)."""
    if len(word) > 4 and word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def _base(word: str) -> str:
    """Strip inflection only: Snowball's stems are one for "generator" and "generation"."""
    word = _singular(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            word = word.removesuffix(ending)
            break
    word = word.rstrip("e")
    if len(word) > 2 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] + "y" if word.endswith("i") else word


@dataclass(frozen=True)
class MentionMatcher:
    """Finds names of concepts in text.

    Attributes:
        keys: Distinct stemmed word sequences.
        forms: For each key the names that it stands for.
    """

    keys: tuple[str, ...]
    forms: tuple[tuple[Form, ...], ...]

    def __post_init__(self) -> None:
        """Build the automaton (half a second for 80,000 keys)."""
        automaton = ahocorasick_rs.AhoCorasick(
            self.keys,
            matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
            store_patterns=False,
        )
        object.__setattr__(self, "_automaton", automaton)
        object.__setattr__(self, "_stem", Stemmer.Stemmer("english").stemWords)

    @classmethod
    def build(cls, concepts: Sequence[Concept]) -> MentionMatcher:
        """Collect the names of concepts.

        Args:
            concepts: Concepts; mentions refer to their positions.
        """
        everyday = _everyday_words(concepts)
        stem = Stemmer.Stemmer("english").stemWords
        by_key: dict[str, list[Form]] = {}
        for position, concept in enumerate(concepts):
            for name in surface_forms(concept):
                if words := WORD.findall(name):
                    key = _key(stem([word.lower() for word in words]))
                    form = _form(position, concept, name, words, everyday)
                    by_key.setdefault(key, []).append(form)
        return cls(tuple(by_key), tuple(tuple(forms) for forms in by_key.values()))

    def to_disk(self, path: Path) -> None:
        """Write the names into an Arrow file."""
        rows = [
            (key, form) for key, forms in zip(self.keys, self.forms, strict=True) for form in forms
        ]
        table = pa.table(
            {
                "key": pa.array([key for key, _ in rows], pa.string()),
                "concept": pa.array([form.concept for _, form in rows], pa.int32()),
                "text": pa.array([form.text for _, form in rows], pa.string()),
                "fit": pa.array([form.fit for _, form in rows], pa.float64()),
                "exact_case": pa.array([form.exact_case for _, form in rows], pa.bool_()),
                "company": pa.array([form.company for _, form in rows], pa.bool_()),
            }
        )
        with ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)

    @classmethod
    def from_disk(cls, path: Path) -> MentionMatcher:
        """Read what `to_disk` wrote.

        Raises:
            ArtefactError: The file is missing or damaged.
        """
        try:
            with pa.memory_map(str(path)) as source:
                table = ipc.open_file(source).read_all()
            columns = [table[name].to_pylist() for name in ("key", *Form._fields)]
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise ArtefactError(f"the names in {path} are missing or damaged: {error}") from error
        by_key: dict[str, list[Form]] = {}
        for key, *fields in zip(*columns, strict=True):
            by_key.setdefault(key, []).append(Form(*fields))
        return cls(tuple(by_key), tuple(tuple(forms) for forms in by_key.values()))

    def find(self, text: str) -> list[Mention]:
        """Find the names in a text.

        Longest matches win; matches do not overlap.

        Args:
            text: Any text.

        Returns:
            Mentions in order.
        """
        words = list(WORD.finditer(text))
        if not words:
            return []
        stems = self._stem([word.group().lower() for word in words])  # type: ignore[attr-defined]
        word_at: dict[int, int] = {}
        position = 0
        for number, stem in enumerate(stems):
            word_at[position] = number
            position += len(stem) + 2
        word_at[position] = len(words)
        found: list[tuple[int, int, list[Form]]] = []
        automaton = self._automaton  # type: ignore[attr-defined]
        for key, start, end in automaton.find_matches_as_indexes(_key(stems)):
            matched = words[word_at[start] : word_at[end]]
            forms = [form for form in self.forms[key] if _same_words(form, matched)]
            if forms:
                found.append((matched[0].start(), matched[-1].end(), forms))
        sure = [(start, end) for start, end, forms in found if not all(f.company for f in forms)]
        mentions = []
        for start, end, forms in found:
            starts_sentence = bool(SENTENCE_START.search(text, max(0, start - 20), start))
            accompanied: bool | None = None
            concepts: dict[int, float] = {}
            for form in forms:
                if form.company or (form.exact_case and starts_sentence and form.text.istitle()):
                    if accompanied is None:
                        accompanied = _in_company(text, start, end, sure)
                    if not accompanied:
                        continue
                concepts[form.concept] = max(form.fit, concepts.get(form.concept, 0.0))
            if concepts:
                best = max(concepts.values())
                # A name that is the label of one concept is not meant as a by-name of others.
                kept = {c: fit for c, fit in concepts.items() if best < 1.0 or fit == 1.0}
                shared = 1.0 if len(kept) == 1 or best == 1.0 else 0.8
                mentions.append(
                    Mention(start, end, tuple((c, fit * shared) for c, fit in sorted(kept.items())))
                )
        return mentions


def _key(stems: Sequence[str]) -> str:
    return "".join(f"{OPEN}{stem}{CLOSE}" for stem in stems)


def _form(
    position: int, concept: Concept, name: str, words: Sequence[str], everyday: frozenset[str]
) -> Form:
    """Decide how strictly a name is matched and how much a match says."""
    single = len(words) == 1
    word = words[0]
    common = single and word.lower() in everyday
    acronym = single and word.isupper() and word.isalpha() and len(word) <= 5
    proper = single and word[0].isupper()
    if name == concept.label:
        fit = 1.0
    elif name == base_name(concept.label):
        fit = 0.9
    else:
        fit = 0.3 if common else 0.7
    return Form(
        position,
        name,
        fit,
        exact_case=(len(word) == 1 and single) or acronym or (proper and common),
        company=(single and len(word) == 1) or (concept.kind == "tool" and common and not proper),
    )


def _same_words(form: Form, matched: Sequence[re.Match[str]]) -> bool:
    """Check what the stems left open: the case, and the endings."""
    words = WORD.findall(form.text)
    texts = [match.group() for match in matched]
    if form.exact_case:
        return texts == words
    normal = _singular if len(words) == 1 else _base
    return all(
        normal(one.lower()) == normal(other.lower())
        for one, other in zip(texts, words, strict=True)
    )


def _in_company(text: str, start: int, end: int, sure: Sequence[tuple[int, int]]) -> bool:
    """Whether a doubtful name stands beside another name or a word that speaks of software."""
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if (before and before in GLUE) or (after and after in GLUE):
        return False
    for other_start, other_end in sure:
        if other_start == start:
            continue
        gap = text[other_end:start] if other_end <= start else text[end:other_start]
        if len(gap) <= 6 and gap.strip().lower() in LIST_GLUE:
            return True
    window = text[max(0, start - COMPANY_WINDOW) : start] + " " + text[end : end + COMPANY_WINDOW]
    return not COMPANY_WORDS.isdisjoint(word.lower() for word in WORD.findall(window))
