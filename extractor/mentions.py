"""Mentions by name: every place of a text where a name of a concept stands, word for word.

Matching is on sequences of whole, stemmed words, so
"managing budgets" finds "manage budgets" and "work" is never split. Hyphens, slashes, blanks and
single line ends are the same, "&" is "and", soft hyphens are nothing; no name goes on behind the
end of a sentence. Compounds are found joined and apart ("front end", "NodeJS") where the
taxonomy itself or the capitals of the name show both, and the words that a coordination leaves
out are filled in ("project and product management").

What a one-word name may also be ("Go", "Java", "SAP", "R") is noted when the names are
collected; `extractor.homonyms` decides by the context. Which words are words of every day is read
off the taxonomy's own descriptions, besides a short list.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import Stemmer
from pyarrow import ipc

from extractor.errors import ArtefactError
from extractor.homonyms import EVERYDAY_WORDS, LANGUAGES, PROPER_NAMES, Context, Doubt, Place
from taxonomies import Concept
from taxonomies.delimit import FUNCTION_WORDS
from taxonomies.text import base_name

INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
"""Soft hyphen, zero-width characters and byte order mark: they may stand within a word."""
WORD = re.compile(
    rf"\.NET\b|(?<!\w)\.[Nn]et\b|&|\b[Cc][ \u00a0]\+\+|[^\W_]+(?:[{INVISIBLE}]+[^\W_]+)*(?:\+\+|#)?"
)
BREAK = re.compile(r"[.!?;:|•●▪]\s|[()\[\]]|\n\s*\n|\n\s*[-–*•●▪·]")
"""Between two words: no name goes on behind it."""
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
CONJUNCTIONS = frozenset({"and", "or", "&"})
NOT_SHARED = CONJUNCTIONS | frozenset(
    {
        *("a", "an", "are", "be", "can", "has", "have", "is", "its", "more", "my", "new", "not"),
        *("other", "our", "that", "the", "their", "they", "this", "to", "we", "will", "you"),
        "your",
    }
)
"""Words beside a conjunction, or before what it joins, that tell of no common part."""
FILLED_IN = 0.7
"""How well a name fits of which a coordination shows but a part."""
LABEL_WORD = 0.7
"""How well a label fits that is a single ordinary word: "statistics"."""
LOOSE_NAME = 0.2
"""How well an alternative name fits that is no proper name. ESCO's are loose ("maths" for
`geometry`): of 160 that stood in labelled sentences 1 in 12 was the concept's, of labels of two
words or more half to nine in ten."""
PRODUCT_MAKERS = ("Microsoft", "Adobe", "Apache", "Autodesk", "Google")
PRODUCT_ENDINGS = (".js", " App", " Framework")
_UNSEEN = str.maketrans("", "", INVISIBLE + " \u00a0")


DOUBTFUL = frozenset({Doubt.everyday, Doubt.product, Doubt.letter})


class Mention(NamedTuple):
    """A place where a name stands.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last character.
        concepts: Position of each concept that has this name, with how well the name fits:
            1 for a preferred label, less for a label without its qualifier or of one ordinary
            word, for alternative names, and for names that several concepts share.
        refused: Positions of concepts that have this name and are not meant here: Java, where
            "Java" is the island, or where the context says too little. An acronym in small letters
            of which the context says nothing is in neither: "sql" means little else.
    """

    start: int
    end: int
    concepts: tuple[tuple[int, float], ...]
    refused: tuple[int, ...] = ()


class Form(NamedTuple):
    """A name as the matcher keeps it.

    Attributes:
        concept: Position of the concept.
        text: The name as the taxonomy writes it.
        fit: See `Mention.concepts`.
        doubt: Why the same word may mean something else.
    """

    concept: int
    text: str
    fit: float
    doubt: Doubt

    @property
    def named(self) -> bool:
        """Whether it has capitals, as the names of tools and languages have."""
        return not self.text.islower()


FORM_TYPES = (
    pa.list_(pa.int32()),
    pa.list_(pa.string()),
    pa.list_(pa.float64()),
    pa.list_(pa.string()),
)
"""Types of the columns that hold the fields of `Form`."""


def surface_forms(concept: Concept) -> tuple[str, ...]:
    """The names of a concept: its label, that without a qualifier, the alternative labels."""
    return tuple(dict.fromkeys((concept.label, base_name(concept.label), *concept.alt_labels)))


def _everyday_words(concepts: Iterable[Concept]) -> frozenset[str]:
    """Words that descriptions and multi-word names mostly write in lower case."""
    small: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    for concept in concepts:
        names = () if concept.kind == "tool" else concept.names
        for text in (concept.description, *(name for name in names if " " in name)):
            words = WORD.findall(text)
            small.update(word for word in words if word.islower())
            capital.update(word.lower() for word in words[1:] if not word.islower())
    shown = {word for word, count in small.items() if count > capital[word]}
    return frozenset(shown | EVERYDAY_WORDS)


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
        names: A row for each distinct sequence of stemmed words (`key`), with the lists `concept`,
            `text`, `fit` and `doubt` of the names that it stands for (see `Form`). It stays in
            Arrow, since a text has few of them.
    """

    names: pa.Table

    def __post_init__(self) -> None:
        """Make the tables that names are looked up in."""
        keys = self.names["key"].to_pylist()
        longest: dict[str, int] = {}
        for key in keys:
            words = key.count(" ") + 1
            if words > 1:
                pair = " ".join(key.split(" ", 2)[:2])
                longest[pair] = max(words, longest.get(pair, 0))
        object.__setattr__(self, "_stem", Stemmer.Stemmer("english").stemWords)
        object.__setattr__(self, "_numbers", {key: number for number, key in enumerate(keys)})
        object.__setattr__(self, "_longest", longest)
        columns = [self.names[name].combine_chunks() for name in Form._fields]

        @lru_cache(maxsize=10_000)
        def forms(key: int) -> tuple[Form, ...]:
            rows = zip(*(column[key].as_py() for column in columns), strict=True)
            return tuple(Form(c, text, fit, Doubt(doubt)) for c, text, fit, doubt in rows)

        object.__setattr__(self, "_forms", forms)

    @classmethod
    def build(cls, concepts: Sequence[Concept]) -> MentionMatcher:
        """Collect the names of concepts.

        Args:
            concepts: Concepts; mentions refer to their positions.
        """
        everyday = _everyday_words(concepts)
        compounds = _Compounds(concepts)
        stem = Stemmer.Stemmer("english").stemWords
        by_key: dict[str, list[Form]] = {}
        for form in _forms(concepts, everyday):
            for text in (form.text, *compounds.variants(form.text)):
                if words := WORD.findall(text):
                    key = _key(stem([_normal(word) for word in words]))
                    by_key.setdefault(key, []).append(form._replace(text=text))
        columns = {
            name: pa.array([[form[n] for form in forms] for forms in by_key.values()], kind)
            for n, (name, kind) in enumerate(zip(Form._fields, FORM_TYPES, strict=True))
        }
        return cls(pa.table({"key": pa.array(by_key, pa.string()), **columns}))

    def to_disk(self, path: Path) -> None:
        """Write the names into an Arrow file."""
        with ipc.new_file(str(path), self.names.schema) as file:
            file.write_table(self.names)

    @classmethod
    def from_disk(cls, path: Path) -> MentionMatcher:
        """Read what `to_disk` wrote.

        Raises:
            ArtefactError: The file is missing or damaged.
        """
        try:
            with pa.memory_map(str(path)) as source:
                return cls(ipc.open_file(source).read_all())
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            raise ArtefactError(f"the names in {path} are missing or damaged: {error}") from error

    def find(self, text: str) -> list[Mention]:
        """Find the names in a text that are meant as such; see `read`."""
        return [mention for mention in self.read(text) if mention.concepts]

    def read(self, text: str) -> list[Mention]:
        """Find the names in a text, and the words that could be names and are not meant so.

        Longest matches win; matches do not overlap.

        Args:
            text: Any text.

        Returns:
            Mentions in order; one without `concepts` names none for sure.
        """
        words = list(WORD.finditer(text))
        if not words:
            return []
        stems = self._stem([_normal(word.group()) for word in words])  # type: ignore[attr-defined]
        found = self._found(text, words, stems)
        places = [
            Place(
                first,
                last,
                tool=any(form.doubt is not Doubt.none or form.named for form in forms),
                doubtful=all(form.doubt in DOUBTFUL for form in forms),
            )
            for first, last, forms in found
        ]
        context = Context(text, [word.span() for word in words], places)
        mentions = []
        for number, (first, last, forms) in enumerate(found):
            meant: dict[tuple[str, Doubt], bool | None] = {}
            concepts: dict[int, float] = {}
            refused: set[int] = set()
            for form in forms:
                reading = (form.text, form.doubt)
                if form.doubt is not Doubt.none and reading not in meant:
                    meant[reading] = context.is_meant(number, *reading)
                if meant.get(reading, True):
                    concepts[form.concept] = max(form.fit, concepts.get(form.concept, 0.0))
                elif meant[reading] is False or form.doubt is not Doubt.acronym:
                    refused.add(form.concept)
            best = max(concepts.values(), default=0.0)
            # A name that is the label of one concept is not meant as a by-name of others.
            least = 1.0 if best == 1.0 else LABEL_WORD if best >= LABEL_WORD else 0.0
            kept = {c: fit for c, fit in concepts.items() if fit >= least}
            shared = 1.0 if len(kept) == 1 or best == 1.0 else 0.8
            mentions.append(
                Mention(
                    words[first].start(),
                    words[last].end(),
                    tuple((c, fit * shared) for c, fit in sorted(kept.items())),
                    tuple(sorted(refused - concepts.keys())),
                )
            )
        return mentions

    def _found(
        self, text: str, words: Sequence[re.Match[str]], stems: Sequence[str]
    ) -> list[tuple[int, int, list[Form]]]:
        """First word, last word and forms of every place where a name may stand, in order."""
        # No name goes on behind the end of its stretch.
        ends = [len(words)] * len(words)
        for number in range(len(words) - 1, 0, -1):
            broken = BREAK.search(text, words[number - 1].end(), words[number].start() + 1)
            ends[number - 1] = number if broken else ends[number]
        found: list[tuple[int, int, list[Form]]] = []
        number = 0
        while number < len(words):
            key, stop = self._match(stems, number, ends[number])
            if key is not None and (forms := self._same(key, words[number:stop])):
                found.append((number, stop - 1, forms))
            number = stop
        taken = {word for first, last, _ in found for word in range(first, last + 1)}
        for number, word in enumerate(words):
            if word.group().lower() in CONJUNCTIONS and _may_share(words, number):
                for own, others in _filled_in(number, len(words)):
                    here = [words[other] for other in others]
                    if own in taken or not _one_stretch(text, words, own, *others):
                        continue
                    key = self._numbers.get(_key([stems[other] for other in others]))  # type: ignore[attr-defined]
                    if key is not None and (forms := self._same(key, here)):
                        found.append((own, own, [f._replace(fit=f.fit * FILLED_IN) for f in forms]))
                        taken.add(own)
        found.sort(key=lambda place: place[0])
        return found

    def _match(self, stems: Sequence[str], first: int, end: int) -> tuple[int | None, int]:
        """The longest name from a word on, by number, and the word behind it."""
        longest: dict[str, int] = self._longest  # type: ignore[attr-defined]
        numbers: dict[str, int] = self._numbers  # type: ignore[attr-defined]
        if first + 1 < end and (widest := longest.get(f"{stems[first]} {stems[first + 1]}")):
            for stop in range(min(first + widest, end), first + 1, -1):
                key = numbers.get(_key(stems[first:stop]))
                if key is not None:
                    return key, stop
        return numbers.get(stems[first]), first + 1

    def _same(self, key: int, matched: Sequence[re.Match[str]]) -> list[Form]:
        texts = [_normal(match.group()) for match in matched]
        return [form for form in self._forms(key) if _same_words(form, texts)]  # type: ignore[attr-defined]


@lru_cache(maxsize=10_000)
def _normal(word: str) -> str:
    """A word of a text as it is compared: small, without what cannot be seen."""
    return "and" if word == "&" else word.lower().translate(_UNSEEN)


def _filled_in(conjunction: int, count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """What a coordination may stand for: a word, and the words of the whole name.

    For "project and product management" the word is "project" and the name "project management";
    for "manage budgets and teams" it is "teams" and "manage teams".
    """
    before, behind = conjunction - 1, conjunction + 1
    if before >= 0:
        for head in (2, 3):
            if conjunction + head < count:
                tail = range(behind + 1, conjunction + head + 1)
                yield before, (before, *tail)
    if before >= 1 and behind < count:
        yield behind, (before - 1, behind)


def _may_share(words: Sequence[re.Match[str]], conjunction: int) -> bool:
    """Whether the words around a conjunction may share a part: no pronouns, no auxiliaries."""
    around = {
        words[number].group().lower()
        for number in range(max(0, conjunction - 2), min(len(words), conjunction + 2))
        if number != conjunction
    }
    return around.isdisjoint(NOT_SHARED)


def _one_stretch(text: str, words: Sequence[re.Match[str]], *numbers: int) -> bool:
    """Whether only blanks, hyphens and slashes stand between the first and the last word."""
    first, last = min(numbers), max(numbers)
    return all(
        len(gap) <= 3 and not gap.strip(" -/\n\u00a0")
        for gap in (text[words[n].end() : words[n + 1].start()] for n in range(first, last))
    )


def _key(stems: Sequence[str]) -> str:
    return " ".join(stems)


def _forms(concepts: Sequence[Concept], everyday: frozenset[str]) -> Iterator[Form]:
    """The names of all concepts, and products without their makers."""
    products: dict[str, list[int]] = defaultdict(list)
    known = set()
    for position, concept in enumerate(concepts):
        for name in surface_forms(concept):
            known.add(name)
            if words := WORD.findall(name):
                yield _form(position, concept, name, words, everyday)
        for product in _products(concept):
            products[product].append(position)
    for product, positions in products.items():
        if len(positions) == 1 and product not in known:
            yield Form(positions[0], product, 0.7, Doubt.product)


def _products(concept: Concept) -> Iterator[str]:
    """What one-word names leave out: "Word" of "Microsoft Word", "Express" of "Express.js"."""
    if concept.kind not in ("tool", "knowledge"):
        return
    candidates = [
        name.removeprefix(f"{maker} ")
        for name in concept.names
        for maker in PRODUCT_MAKERS
        if name == concept.label or name.lower() == f"{maker} {concept.label}".lower()
    ]
    candidates += [name.removesuffix(end) for name in concept.names for end in PRODUCT_ENDINGS]
    for product in dict.fromkeys(candidates):
        if product.isalpha() and product.istitle() and product not in concept.names:
            yield product


def _form(
    position: int, concept: Concept, name: str, words: Sequence[str], everyday: frozenset[str]
) -> Form:
    """Decide what a name may be confused with and how much a match says."""
    word = words[0]
    common = len(words) == 1 and word.lower() in everyday
    named = not name.islower()
    if name in (concept.label, base_name(concept.label)):
        fit = (1.0 if name == concept.label else 0.9) if named or len(words) > 1 else LABEL_WORD
    else:
        fit = 0.7 if named else LOOSE_NAME
    if len(words) > 1:
        doubt = Doubt.none
    elif len(word) == 1:
        doubt = Doubt.letter
    elif common and (named or concept.kind == "tool"):
        doubt = Doubt.everyday
    elif not named:
        doubt = Doubt.none
    elif word in LANGUAGES or concept.description.startswith(f"The {word} language"):
        doubt = Doubt.language
    elif word.lower() in PROPER_NAMES:
        doubt = Doubt.proper
    elif word.isupper() and word.isalpha() and len(word) <= 5:
        doubt = Doubt.acronym
    else:
        doubt = Doubt.firm
    return Form(position, name, fit, doubt)


class _Compounds:
    """Other spellings of compounds: joined, or apart.

    Args:
        concepts: Their names show which compounds are written both ways.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        names = [WORD.findall(name) for concept in concepts for name in concept.names]
        lowered = [[word.lower() for word in words] for words in names]
        self._words = {word for words in lowered for word in words}
        pairs = Counter(
            pair
            for words in lowered
            for pair in pairwise(words)
            if FUNCTION_WORDS.isdisjoint(pair)
            and "".join(pair).isalpha()
            and len(pair[1]) > 2
            and (len(pair[0]) > 2 or pair[0] == "e")
        )
        # Rare ones first, so that of two ways to part a word the usual one stays.
        usual_last = (pair for pair, _ in reversed(pairs.most_common()))
        self._apart = {"".join(p): p for p in usual_last if "".join(p) in self._words}

    def variants(self, name: str) -> Iterator[str]:
        """Spellings of a name with one compound written the other way.

        Args:
            name: A name as the taxonomy writes it.
        """
        words = WORD.findall(name)
        for number, word in enumerate(words):
            rest = (words[:number], words[number + 1 :])
            if apart := self._apart.get(word.lower()):
                yield " ".join((*rest[0], *apart, *rest[1]))
            elif (parts := CAMEL.split(word)) and len(parts) == 2 and min(map(len, parts)) > 2:
                yield " ".join((*rest[0], *parts, *rest[1]))
            elif word.lower() == ".net":
                yield " ".join((*rest[0], "dot", "net", *rest[1]))
        for number, pair in enumerate(pairwise(words)):
            joined = "".join(pair)
            named = len(words) == 2 and all(word[0].isupper() or word == "js" for word in pair)
            if joined.lower() in self._apart or (named and joined.lower() not in self._words):
                yield " ".join((*words[:number], joined, *words[number + 2 :]))


def _same_words(form: Form, texts: Sequence[str]) -> bool:
    """Check the endings, which the stems left open."""
    words = [_normal(word) for word in WORD.findall(form.text)]
    normal = _singular if len(words) == 1 else _base
    if form.doubt is not Doubt.none:
        return list(texts) == words
    return all(
        one == other or normal(one) == normal(other)
        for one, other in zip(texts, words, strict=True)
    )
