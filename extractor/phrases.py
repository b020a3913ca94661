"""Candidate phrases of a sentence: the parts of it that may each name a skill.

A sentence of an ad often asks for several skills at once ("design and maintain REST APIs and
coach junior developers"). Its embedding blurs them, so the linker also looks at its phrases:
noun chunks, verbs with their objects (shared objects of coordinated verbs included), list
items, what coordinated nouns share ("project and product management"), single nouns and
predicative adjectives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from spacy.tokens import Span, Token

MAX_PHRASE_TOKENS = 8
LIST_MARKS = frozenset({",", ";", "/", "and", "or", "&", "(", ")", ":", "|", "•", "+"})
STRIPPED_POS = frozenset({"DET", "PUNCT", "SPACE", "CCONJ", "ADP", "PRON", "SYM", "PART", "SCONJ"})
OBJECT_DEPS = frozenset({"dobj", "obj", "attr", "oprd"})
SHARED_DEPS = frozenset({"amod", "compound", "nmod"})
NOUN_POS = frozenset({"NOUN", "PROPN"})
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


class Phrase(NamedTuple):
    """A part of a sentence.

    Attributes:
        start: Offset of its first character in the document.
        end: Offset behind its last character.
        text: Its words. Where words are shared ("design and test APIs", "project and product
            management"), those that are meant, without what stands between them. For a verb
            the offsets take in the object; for "project management" they are those of
            "project", so that it does not overlap "product management".
    """

    start: int
    end: int
    text: str


def _trim(tokens: list[Token]) -> list[Token]:
    """Drop determiners, pronouns, punctuation and conjunctions at both ends."""
    while tokens and tokens[0].pos_ in STRIPPED_POS:
        tokens = tokens[1:]
    while tokens and tokens[-1].pos_ in STRIPPED_POS:
        tokens = tokens[:-1]
    return tokens


def _phrase(tokens: list[Token]) -> Phrase | None:
    tokens = _trim(tokens)
    if not tokens or len(tokens) > MAX_PHRASE_TOKENS:
        return None
    if all(token.is_stop or token.lower_ in GENERIC_WORDS for token in tokens):
        return None
    first, last = tokens[0], tokens[-1]
    if last.i - first.i + 1 == len(tokens):
        text = first.doc[first.i : last.i + 1].text
    else:
        text = " ".join(token.text for token in tokens)
    return Phrase(first.idx, last.idx + len(last), text)


def _chunk_of(token: Token, chunks: dict[int, Span]) -> list[Token]:
    """The noun chunk around a token, or the token with its direct modifiers."""
    chunk = chunks.get(token.i)
    if chunk is not None:
        return list(chunk)
    return [t for t in token.lefts if t.dep_ in {"amod", "compound"}] + [token]


def _noun_phrases(chunks: dict[int, Span]) -> Iterator[list[Token]]:
    """Noun chunks, alone and with their "of …" complement."""
    for chunk in chunks.values():
        yield list(chunk)
        for preposition in chunk.root.rights:
            if preposition.dep_ == "prep":
                for complement in preposition.rights:
                    if complement.dep_ in {"pobj", "pcomp"}:
                        yield [*chunk, preposition, *_chunk_of(complement, chunks)]


def _verb_phrases(sentence: Span, chunks: dict[int, Span]) -> Iterator[list[Token]]:
    """Verbs with each of their objects; coordinated verbs share the last one's objects."""
    for verb in sentence:
        if verb.pos_ not in {"VERB", "AUX"} or verb.is_stop:
            continue
        objects = [t for t in verb.rights if t.dep_ in OBJECT_DEPS]
        prepositions = [t for t in verb.rights if t.dep_ in {"prep", "dative", "agent"}]
        if not objects:
            for conjunct in verb.conjuncts:
                if conjunct.i > verb.i:
                    objects = [t for t in conjunct.rights if t.dep_ in OBJECT_DEPS]
                    if objects:
                        break
        for head in objects:
            for noun in (head, *head.conjuncts):
                yield [verb, *_chunk_of(noun, chunks)]
        for preposition in prepositions:
            for complement in preposition.rights:
                if complement.dep_ in {"pobj", "pcomp"}:
                    for noun in (complement, *complement.conjuncts):
                        yield [verb, preposition, *_chunk_of(noun, chunks)]


def _shared_parts(sentence: Span, chunks: dict[int, Span]) -> Iterator[Phrase]:
    """Coordinated nouns with the part that only one of them shows.

    "Project and product management" has "project management", "data cleaning and analysis" has
    "data analysis", "financial, tax and labour law" has "financial law" and "tax law".
    """
    for token in sentence:
        joined = list(token.conjuncts)
        if (
            token.dep_ in SHARED_DEPS
            and token.head.i > token.i
            and (joined or token.dep_ == "nmod")
        ):
            for modifier in (token, *joined):
                if modifier.i + 1 < token.head.i and sentence.start <= modifier.i:
                    yield _elliptic(modifier, f"{modifier.text} {token.head.text}")
        chunk = chunks.get(token.i)
        if chunk is None or len(chunk) < 2:
            continue
        for bare in joined:
            if bare.pos_ not in NOUN_POS or not _is_bare(bare, chunks):
                continue
            if bare.i > token.i:
                shared = [t.text for t in _trim(list(chunk[:-1])) if t.dep_ == "compound"]
                if shared:
                    yield _elliptic(bare, " ".join((*shared, bare.text)))
            elif bare.i + 2 == chunk.start:
                rest = chunk[1:] if chunk[1].text != "-" else chunk[2:]
                yield _elliptic(bare, f"{bare.text.removesuffix('-')} {rest.text}")


def _is_bare(token: Token, chunks: dict[int, Span]) -> bool:
    chunk = chunks.get(token.i)
    return chunk is None or len(chunk) == 1


def _elliptic(token: Token, text: str) -> Phrase:
    return Phrase(token.idx, token.idx + len(token.text.removesuffix("-")), text)


def _list_items(sentence: Span) -> Iterator[list[Token]]:
    """Stretches between commas, slashes and conjunctions."""
    item: list[Token] = []
    for token in sentence:
        if token.lower_ in LIST_MARKS:
            yield item
            item = []
        else:
            item.append(token)
    yield item


def _words(sentence: Span) -> Iterator[list[Token]]:
    """Single nouns and predicative adjectives."""
    for token in sentence:
        if token.is_stop or (len(token) < 2 and not token.is_upper):
            continue
        if token.pos_ in NOUN_POS or (token.pos_ == "ADJ" and token.dep_ in {"acomp", "conj"}):
            yield [token]


def _noun_chunks(sentence: Span) -> Iterator[Span]:
    """The same as `sentence.noun_chunks`, which goes through the whole document."""
    rules = sentence.doc.noun_chunks_iterator  # type: ignore[attr-defined]
    for start, end, _ in rules(sentence) if rules else ():
        if sentence.start <= start and end <= sentence.end:
            yield sentence.doc[start:end]


def candidate_phrases(sentence: Span) -> list[Phrase]:
    """List the phrases of a parsed sentence that may each name a skill.

    Args:
        sentence: A sentence of a document that has been tagged and parsed.

    Returns:
        Phrases without duplicates, in the order of their start; none if the sentence has only
        stop words, generic words and punctuation.
    """
    chunks = {chunk.root.i: chunk for chunk in _noun_chunks(sentence)}
    found: dict[str, Phrase] = {}
    for tokens in (
        *_noun_phrases(chunks),
        *_verb_phrases(sentence, chunks),
        *_list_items(sentence),
        *_words(sentence),
    ):
        phrase = _phrase(tokens)
        if phrase is not None:
            found.setdefault(phrase.text.lower(), phrase)
    for phrase in _shared_parts(sentence, chunks):
        if phrase.start < phrase.end:  # a lone hyphen shares nothing
            found.setdefault(phrase.text.lower(), phrase)
    return sorted(found.values())
