"""Linking: from a sentence of an ad to the concepts that it names or implies, or to none.

A concept's score for a sentence adds up, each with a weight:

- the cosine of the sentence with the concept's label, plus that with its best name;
- the same for the candidate phrase that fits the concept best;
- BM25 of the sentence's rarer words against the names, standardised over all concepts;
- how well a name stands in the sentence word for word;
- the length of the label, since long labels catch fewer words by chance;
- its prior: how much ads ask for it, whatever the sentence.

How probable it is that a concept is right, a logistic regression says over the same values and

- how probable it is that its words, and any words of the sentence, name a skill at all, as the
  span finder has it;
- how far it stands out from the other concepts that were scored, and its rank among them.

A label that stands there, and is a proper name that the context accepts ("Excel", "SQL") or has two
words or more, is as sure as such labels are; and a tool must be named: no paraphrase of "Excel"
means Excel. Below a threshold the answer is "no concept". All numbers stand in
`models/linker/`, made by `python -m training.linker`, and `models/prior.json`, made by
`python -m training.prior`.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.encoders import CachedEncoder
from extractor.errors import ArtefactError
from extractor.index import FormIndex, WordScores, tokenize
from extractor.int8 import Table
from extractor.interfaces import Vectors
from extractor.mentions import LABEL_WORD
from extractor.phrases import Phrase

NEAREST = 15
"""Concepts looked at for each sentence and phrase. Rankings of judged sentences are as good as with
25 (see docs/linking.md)."""

LIKELY = 0.3
"""Probability of naming a skill above which concepts next to a phrase are looked at. Of the matches
in ads, 0.6 % change against looking at those of all phrases."""

BY_WORDS = 25
"""Concepts looked at for the lexical score."""
COMMON = 1000
"""A word of more names than these ("manage", "system") is left out of the lexical score of a
sentence that has others. They take three fifths of its time, and the rankings of judged sentences
are as good without them."""

TOGETHER = 1024
"""Sentences that are ranked at once."""
COMPARED = 2**17
"""Pairs of a concept and a phrase that are compared at once."""
ALTERNATIVES = 3
"""Most next best concepts that a link keeps."""

RANKED_BY = ("sentence", "phrase", "lexical", "exact", "length", "prior")
FEATURES = (*RANKED_BY, "marked", "asking", "share", "rank")
SHARPNESS = 6.0
"""Of the softmax over scores behind the feature `share`, its logarithm."""


class Named(NamedTuple):
    """A concept whose name stands in a sentence.

    Attributes:
        fit: How well the name fits (see `extractor.mentions.Mention`).
        phrase: The name as it stands there.
    """

    fit: float
    phrase: Phrase


class Query(NamedTuple):
    """A sentence to be linked.

    Attributes:
        text: The sentence.
        start: Offset of the sentence in the document.
        phrases: Its candidate phrases, offsets in the document.
        exact: Concepts whose name stands in the sentence, by position; each name is a phrase.
        refused: Concepts whose name stands in the sentence and means something else there.
        marks: Runs of words that may name a skill or knowledge, as (start, end, probability), in
            the order of the text.
    """

    text: str
    start: int
    phrases: tuple[Phrase, ...]
    exact: dict[int, Named]
    refused: frozenset[int] = frozenset()
    marks: tuple[tuple[int, int, float], ...] = ()

    @property
    def asking(self) -> float:
        """How probable it is that any words of the sentence name a skill."""
        return max((p for _, _, p in self.marks), default=0.0)

    @property
    def may_ask(self) -> bool:
        """Whether any words of the sentence may name a skill, or a clear name stands in it."""
        return bool(self.marks) or any(name.fit >= LABEL_WORD for name in self.exact.values())

    def marked(self) -> Vectors:
        """How probable it is that each phrase names a skill: the share of it that a run covers.

        Returns:
            Shape (phrases + 1,); the last number is that of the whole sentence.
        """
        starts = [start for start, _, _ in self.marks]
        longest = max((end - start for start, end, _ in self.marks), default=0)
        of_phrase = []
        for phrase in self.phrases:
            first = bisect_left(starts, phrase.start - longest)
            covered = (
                p * (min(phrase.end, end) - max(phrase.start, start))
                for start, end, p in self.marks[first : bisect_left(starts, phrase.end)]
            )
            of_phrase.append(max(0.0, max(covered, default=0.0)) / (phrase.end - phrase.start))
        of_phrase.append(self.asking)
        return np.asarray(of_phrase, dtype=np.float32)


class Ranking(NamedTuple):
    """Concepts for a query, best first.

    Attributes:
        concepts: Positions of the concepts in the index, shape (n,).
        scores: Scores that they are ranked by, shape (n,).
        probabilities: Estimated probability that each is right, shape (n,).
        features: Values behind both, shape (n, len(FEATURES)).
        phrases: For each concept the number of the phrase that fits best, -1 where the whole
            sentence fits better or there is no phrase, shape (n,). A named concept has its name.
    """

    concepts: NDArray[np.int64]
    scores: Vectors
    probabilities: Vectors
    features: Vectors
    phrases: NDArray[np.int64]


@dataclass(frozen=True)
class LinkerModel:
    """Learned numbers of the linker.

    Attributes:
        version: Stands in provenance.
        weights: Weight of each of `RANKED_BY` in the score.
        coefficients: Coefficient of each feature in the log-odds of being right.
        intercept: Intercept of the log-odds.
        named: Probability that a concept is right whose label stands in the sentence and is a
            proper name ("Excel", "SQL") or has two words or more. The regression cannot tell: what
            it knows are likenesses.
        threshold: Probability below which a concept is not returned.
    """

    version: str
    weights: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    named: float
    threshold: float

    @classmethod
    def load(cls, encoder: str = "accurate") -> LinkerModel:
        """Read the numbers that come with the package.

        Args:
            encoder: The one of our encoders that they were fitted with.

        Raises:
            ArtefactError: The file is of another version of the package.
        """
        source = resources.files("extractor") / "models" / "linker" / f"{encoder}.json"
        fields = json.loads(source.read_text(encoding="utf-8"))
        if tuple(fields["features"]) != FEATURES:
            raise ArtefactError(f"{source} is of another version; reinstall jobshift")
        return cls(
            version=fields["version"],
            weights=tuple(fields["weights"]),
            coefficients=tuple(fields["coefficients"]),
            intercept=fields["intercept"],
            named=fields["named"],
            threshold=fields["threshold"],
        )


def load_prior() -> dict[str, float]:
    """How much ads ask for concepts, as it comes with the package: logarithms by id, 0 the least.

    Concepts that are not listed are hardly asked for, or of a taxonomy that was not counted.
    """
    source = resources.files("extractor") / "models" / "prior.json"
    prior: dict[str, float] = json.loads(source.read_text(encoding="utf-8"))["concepts"]
    return prior


class Link(NamedTuple):
    """A concept found in a sentence.

    Attributes:
        concept: Position of the concept in the index.
        probability: Estimated probability that it is right.
        phrase: The phrase that names it; None if the sentence as a whole implies it.
        method: See `extractor.records.SkillMatch`.
        alternatives: Positions and probabilities of the next best concepts for the same words.
    """

    concept: int
    probability: float
    phrase: Phrase | None
    method: Literal["exact", "phrase", "sentence"]
    alternatives: tuple[tuple[int, float], ...]


class Linker:
    """Ranks the concepts of an index for sentences and decides which are meant.

    Args:
        index: Names of the concepts.
        encoder: The encoder that the index was made with.
        model: Weights and threshold.
        prior: How much ads ask for concepts, by id; 0 for those that are missing. Where all are
            missing, the taxonomy was not counted, and each has what words of an ad ask for on
            average.
    """

    def __init__(
        self,
        index: FormIndex,
        encoder: CachedEncoder,
        model: LinkerModel,
        prior: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.index = index
        self.encoder = encoder
        self.model = model
        counted = any(concept.id in prior for concept in index.concepts)
        unlisted = 0.0 if counted or not prior else _average(prior)
        self.prior = np.array([prior.get(c.id, unlisted) for c in index.concepts], np.float32)

    def rank(self, queries: Sequence[Query]) -> list[Ranking]:
        """Rank concepts for each query.

        `TOGETHER` sentences are read, searched and scored at once, each phrase in the context of
        its sentence.

        Returns:
            One ranking a query, of some sixty concepts each.
        """
        rankings: list[Ranking] = []
        for start in range(0, len(queries), TOGETHER):
            rankings += self._rank(queries[start : start + TOGETHER])
        return rankings

    def _rank(self, queries: Sequence[Query]) -> list[Ranking]:
        texts, parts = self.encoder.encode_parts(
            [query.text for query in queries],
            [
                [(phrase.start - query.start, phrase.end - query.start) for phrase in query.phrases]
                for query in queries
            ],
        )
        vectors = [
            np.concatenate([text[None], phrases])
            for text, phrases in zip(texts, parts, strict=True)
        ]
        # The search costs much, so phrases that hardly name a skill are not searched by; what the
        # others find is compared with them, too.
        marked = [query.marked() for query in queries]
        searched = [
            found[np.append(True, of_phrases[:-1] > LIKELY)] if query.marks else found
            for query, found, of_phrases in zip(queries, vectors, marked, strict=True)
        ]
        neighbours = self.index.nearest(np.concatenate(searched), NEAREST)
        words = tokenize([query.text for query in queries])
        lexical = [self.index.lexical_scores(tokens, most=COMMON) for tokens in words]
        numbers, concepts = self._candidates(queries, searched, neighbours, lexical)
        asked = Table.of(np.concatenate(vectors))
        ends = np.cumsum([len(found) for found in vectors]).tolist()
        bounds = np.searchsorted(numbers, np.arange(len(queries) + 1))
        ranked_by = np.zeros((len(concepts), len(RANKED_BY)), dtype=np.float32)
        phrases = np.full(len(concepts), -1)
        for number, (first, stop) in enumerate(pairwise(bounds.tolist())):
            if first < stop:
                rows = slice(first, stop)
                of_query = asked.part(ends[number] - len(vectors[number]), ends[number])
                ranked_by[rows, :4], phrases[rows] = self._compare(
                    queries[number], of_query, lexical[number], concepts[rows]
                )
        ranked_by[:, 4] = np.log1p(self.index.label_words[concepts])
        ranked_by[:, 5] = self.prior[concepts]
        whole = self._order(numbers, concepts, ranked_by, phrases, marked)
        return [
            Ranking._make(column[first:stop] for column in whole)
            for first, stop in pairwise(bounds)
        ]

    def _order(
        self,
        numbers: NDArray[np.int64],
        concepts: NDArray[np.int64],
        ranked_by: Vectors,
        phrases: NDArray[np.int64],
        marked: Sequence[Vectors],
    ) -> Ranking:
        """Rankings of several queries, one behind the other.

        Args:
            numbers: Number of the query that each concept is scored for, ascending, shape (pairs,).
            concepts: The concepts, shape (pairs,).
            ranked_by: What they are ranked by, shape (pairs, len(RANKED_BY)).
            phrases: As in `Ranking`, shape (pairs,).
            marked: What `Query.marked` gives for each query.
        """
        # Row by row: a product of matrices depends on how many rows there are, in the last digit.
        scores = (ranked_by * np.asarray(self.model.weights, dtype=np.float32)).sum(axis=1)
        order = np.lexsort((concepts, -scores, numbers))
        concepts, scores, phrases = concepts[order], scores[order], phrases[order]
        firsts = np.searchsorted(numbers, numbers)  # of each pair the best one of its query
        shares = SHARPNESS * (scores - scores[firsts])
        sums = np.bincount(numbers, np.exp(shares))
        ends = np.cumsum([len(of_phrases) for of_phrases in marked])
        of_sentence = (ends - 1)[numbers]
        starts = np.concatenate([[0], ends[:-1]])[numbers]
        probable = np.concatenate(marked)
        features = np.column_stack(
            [
                ranked_by[order],
                probable[np.where(phrases < 0, of_sentence, starts + phrases)],
                probable[of_sentence],
                shares - np.log(sums[numbers]),
                np.log1p(np.arange(len(order)) - firsts),
            ]
        ).astype(np.float32)
        return Ranking(concepts, scores, self.probabilities(concepts, features), features, phrases)

    def _candidates(
        self,
        queries: Sequence[Query],
        searched: Sequence[Vectors],
        neighbours: NDArray[np.int64],
        lexical: Sequence[WordScores],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Concepts that are scored for each query.

        Args:
            queries: Sentences.
            searched: Of each the vectors that were searched by.
            neighbours: Concepts next to these, a row each.
            lexical: Of each BM25 against the names.

        Returns:
            Numbers of queries, ascending, and the concepts of each, ascending, shape (pairs,) each.
        """
        total = len(self.index.concepts)

        def keys_of(concepts: NDArray[np.int64], counts: Sequence[int]) -> NDArray[np.int64]:
            return np.repeat(np.arange(len(counts)) * total, counts) + concepts

        def chained(found: Sequence[Collection[int]]) -> NDArray[np.int64]:
            concepts = np.fromiter(chain.from_iterable(found), dtype=np.int64)
            return keys_of(concepts, [len(of_query) for of_query in found])

        best = [scores.best(BY_WORDS) for scores in lexical]
        by_words = np.concatenate(best)
        named = keys_of(by_words, [len(of_query) for of_query in best])
        keys = np.concatenate(
            [
                keys_of(neighbours.ravel(), [neighbours.shape[1] * len(of) for of in searched]),
                named[~self.index.is_tool[by_words]],
                chained([query.exact for query in queries]),
            ]
        )
        keys = np.setdiff1d(keys, chained([query.refused for query in queries]))
        return keys // total, keys % total

    def _compare(
        self, query: Query, asked: Table, lexical: WordScores, concepts: NDArray[np.int64]
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Compare a query with concepts.

        Args:
            query: A sentence.
            asked: Vectors of the sentence and of its phrases.
            lexical: BM25 of the sentence against the names.
            concepts: Ascending positions, at least one.

        Returns:
            The first four of `RANKED_BY`, shape (concepts, 4), and `Ranking.phrases`.
        """
        found = np.zeros((len(concepts), 4), dtype=np.float32)
        phrases = np.full(len(concepts), -1)
        # A line of thousands of phrases is compared in parts.
        step = max(1, COMPARED // len(asked.bytes))
        for start in range(0, len(concepts), step):
            rows = slice(start, start + step)
            label, best = self.index.similarities(asked, concepts[rows])
            cosines = label + best
            sentence = phrase = cosines[0]
            if len(cosines) > 1:
                phrase = cosines[1:].max(axis=0)
                phrases[rows] = np.where(sentence > phrase, -1, cosines[1:].argmax(axis=0))
            found[rows, 0], found[rows, 1] = sentence, phrase
        found[:, 2] = lexical.standardised(concepts)
        for position, named in query.exact.items():
            row = int(np.searchsorted(concepts, position))
            if concepts[row : row + 1] != position:
                continue  # refused as well
            # A name is its own place, however well longer words around it fit.
            found[row, 3], phrases[row] = named.fit, query.phrases.index(named.phrase)
        return found, phrases

    def probabilities(self, concepts: NDArray[np.int64], features: Vectors) -> Vectors:
        """How probable it is that concepts are right.

        Args:
            concepts: Positions, shape (n,).
            features: Their values, shape (n, len(FEATURES)).
        """
        odds = (features * np.asarray(self.model.coefficients, dtype=np.float32)).sum(axis=1)
        implied = 1.0 / (1.0 + np.exp(-(odds + np.float32(self.model.intercept))))
        fit = features[:, FEATURES.index("exact")]
        named = self.model.named * fit
        sure = self.index.is_proper[concepts] | (fit == 1.0)
        found = np.where(sure, np.maximum(implied, named), implied)
        found = np.where(self.index.is_tool[concepts], named, found)
        return found.astype(np.float32)

    def decide(self, query: Query, ranking: Ranking) -> list[Link]:
        """Choose the concepts that a sentence means.

        A concept must reach the threshold. Of concepts that the same words speak for, the most
        probable one is returned and the next best become its alternatives.

        Returns:
            Links, most probable first.
        """
        order = np.argsort(-ranking.probabilities, kind="stable")
        # An alternative may lie below the threshold, but not far below.
        order = order[ranking.probabilities[order] >= self.model.threshold / 4]
        named = ranking.features[:, FEATURES.index("exact")] > 0
        rows_of_place: dict[tuple[int, int], list[int]] = {}
        for row in order:
            place = _place(query, int(ranking.phrases[row]))
            taken = next((other for other in rows_of_place if _overlap(other, place)), place)
            rows_of_place.setdefault(taken, []).append(int(row))
        chosen = []
        for rows in rows_of_place.values():
            first = rows[0]
            if ranking.probabilities[first] < self.model.threshold:
                continue
            number = int(ranking.phrases[first])
            phrase = query.phrases[number] if number >= 0 else None
            chosen.append(
                Link(
                    int(ranking.concepts[first]),
                    float(ranking.probabilities[first]),
                    phrase,
                    "sentence" if phrase is None else "exact" if named[first] else "phrase",
                    tuple(
                        (int(ranking.concepts[row]), float(ranking.probabilities[row]))
                        for row in rows[1 : 1 + ALTERNATIVES]
                    ),
                )
            )
        return chosen


def _average(prior: Mapping[str, float]) -> float:
    """Prior of the concept that some words of an ad ask for, on average."""
    values = np.fromiter(prior.values(), dtype=np.float64)
    return float(np.average(values, weights=np.expm1(values)))


def _place(query: Query, number: int) -> tuple[int, int]:
    """Offsets of a phrase; those of the whole sentence overlap none, so that it stands alone."""
    if number < 0:
        return (-1, -1)
    phrase = query.phrases[number]
    return (phrase.start, phrase.end)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one == other or (one[0] < other[1] and other[0] < one[1])
