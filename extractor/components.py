"""The spaCy components: each computes with `predict` and writes with `set_annotations`.

All work on lists of documents; calling one with a single document is a batch of one. What they
write is plain data (span groups with parallel lists in `attrs`, dictionaries in `doc._`), so a
document survives `to_bytes`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, Generic, TypeVar, cast

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

from extractor.errors import ArtefactError
from extractor.levels import Mastery, find_experience, find_mastery
from extractor.linker import Link, Linker, LinkerModel, Named, Query, load_prior
from extractor.mentions import Mention
from extractor.occupations import OccupationFinder
from extractor.phrases import Phrase, candidate_phrases
from extractor.qualifications import find_qualifications
from extractor.records import (
    BOILERPLATE_ZONES,
    Experience,
    OccupationMatch,
    Qualification,
    Requirement,
    RoleAssessment,
    Sentence,
    TaskMatch,
    Zone,
    ZoneLabel,
)
from extractor.requirement import classify_requirement
from extractor.resources import Resources
from extractor.roles import RoleClassifier, RoleInput
from extractor.spans import Found, SpanFinder
from extractor.zones import find_zones, split_sentences

for _name in (
    "jobshift_title",
    "jobshift_text",
    "jobshift_experience",
    "jobshift_occupations",
    "jobshift_role",
):
    if not Doc.has_extension(_name):
        Doc.set_extension(_name, default=None)

LETTER = re.compile(r"[^\W\d_]")
OCCUPATION_TEXT = 400
"""Characters about the work from which on no further sentence counts for the occupation."""
OCCUPATIONS = 5

Prediction = TypeVar("Prediction")
Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut a stream into lists of `size` items, the last one possibly shorter."""
    if size < 1:
        raise ValueError(f"the batch size must be at least 1, not {size}")
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch


class Component(Generic[Prediction]):
    """Base of the components: from `predict` and `set_annotations` to a spaCy pipe.

    Components have nothing to save: a pipeline's configuration names all that they load.
    """

    def predict(self, docs: Sequence[Doc]) -> list[Prediction]:
        """Compute what is to be written, one prediction a document; change nothing."""
        raise NotImplementedError

    def set_annotations(self, doc: Doc, prediction: Prediction) -> None:
        """Write a prediction into its document; compute nothing."""
        raise NotImplementedError

    def __call__(self, doc: Doc) -> Doc:
        """Process one document."""
        return self._process([doc])[0]

    def pipe(self, docs: Iterable[Doc], *, batch_size: int = 32) -> Iterator[Doc]:
        """Process a stream of documents in batches."""
        for batch in batches(docs, batch_size):
            yield from self._process(batch)

    def _process(self, docs: list[Doc]) -> list[Doc]:
        for doc, prediction in zip(docs, self.predict(docs), strict=True):
            self.set_annotations(doc, prediction)
        return docs


class Zones(Component[tuple[list[Zone], list[Sentence]]]):
    """Reads sections and sentences, and sets the sentence boundaries."""

    def predict(self, docs: Sequence[Doc]) -> list[tuple[list[Zone], list[Sentence]]]:
        """Find sections and sentences in the raw text."""
        layouts = []
        for doc in docs:
            if len(doc) and doc.has_annotation("DEP"):
                raise ArtefactError(
                    "jobshift_zones must stand before the parser, which keeps to its sentences: "
                    'nlp.add_pipe("jobshift_zones", first=True)'
                )
            text = text_of(doc)
            zones = find_zones(text, doc._.jobshift_title)
            layouts.append((zones, split_sentences(text, zones)))
        return layouts

    def set_annotations(self, doc: Doc, prediction: tuple[list[Zone], list[Sentence]]) -> None:
        """Write `doc.spans["zones"]`, `doc.spans["sentences"]` and the boundaries."""
        zones, sentences = prediction
        layout = _group(doc, "zones", [(z.start, z.end, z.label) for z in zones])
        layout.attrs["start"] = [zone.start for zone in zones]
        layout.attrs["end"] = [zone.end for zone in zones]
        layout.attrs["label"] = [zone.label for zone in zones]
        doc.spans["zones"] = layout
        group = _group(doc, "sentences", [(s.start, s.end, s.zone) for s in sentences])
        doc.spans["sentences"] = group
        set_sentence_starts(doc, [0, *(cut for s in group for cut in (s.start, s.end))])


class Mentions(Component[list[Mention]]):
    """Finds names of concepts, word for word."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def predict(self, docs: Sequence[Doc]) -> list[list[Mention]]:
        """Find the names in each document, those included that are not meant as such."""
        return [self.resources.index.skills.matcher.read(text_of(doc)) for doc in docs]

    def set_annotations(self, doc: Doc, prediction: list[Mention]) -> None:
        """Write `doc.spans["mentions"]`.

        `attrs` holds the lists `start`, `end` and `concepts` ([id, fit] pairs), parallel to the
        spans; a span is widened to whole tokens, `start` and `end` are exact. `attrs["refused"]`
        lists [start, end, ids] of words that have the name of a concept and do not mean it.
        """
        named = [mention for mention in prediction if mention.concepts]
        group = _group(doc, "mentions", [(m.start, m.end, "") for m in named])
        group.attrs["start"] = [mention.start for mention in named]
        group.attrs["end"] = [mention.end for mention in named]
        concepts = self.resources.index.skills.concepts
        group.attrs["concepts"] = [
            [[concepts[position].id, fit] for position, fit in mention.concepts]
            for mention in named
        ]
        group.attrs["refused"] = [
            [mention.start, mention.end, [concepts[position].id for position in mention.refused]]
            for mention in prediction
            if mention.refused
        ]
        doc.spans["mentions"] = group


class SkillSpans(Component[Found]):
    """Finds spans that name a skill or knowledge, known to the taxonomy or not."""

    def __init__(self, finder: SpanFinder) -> None:
        self.finder = finder

    def predict(self, docs: Sequence[Doc]) -> list[Found]:
        """Read the sentences of all documents that may ask for something in one batch.

        The sentence of a document that has but one is read whatever its zone, which only the
        sections of a whole ad tell reliably.
        """
        sentences: list[Span] = []
        numbers: list[int] = []
        for number, doc in enumerate(docs):
            every = list(_sentence_spans(doc))
            asking = every if len(every) == 1 else list(_asking_sentences(doc))
            sentences.extend(asking)
            numbers.extend([number] * len(asking))
        predictions = [Found([], []) for _ in docs]
        for number, span, found in zip(
            numbers, sentences, self.finder.find(sentences), strict=True
        ):
            shift, whole = span.start_char, predictions[number]
            whole.spans.extend(
                one._replace(start=one.start + shift, end=one.end + shift) for one in found.spans
            )
            whole.possible.extend((a + shift, b + shift, p) for a, b, p in found.possible)
        return predictions

    def set_annotations(self, doc: Doc, prediction: Found) -> None:
        """Write `doc.spans["skill_spans"]`, in the order of the text.

        A span's `label_` is `SKILL` or `KNOWLEDGE`; spans of the two labels may nest. `attrs` holds
        the list `score`, parallel to the spans, and `possible`, the [start, end, probability] of
        all runs of words that the linker is to look at.
        """
        group = _group(doc, "skill_spans", [(s.start, s.end, s.label) for s in prediction.spans])
        group.attrs["score"] = [span.probability for span in prediction.spans]
        group.attrs["possible"] = [list(run) for run in prediction.possible]
        doc.spans["skill_spans"] = group


class SkillLinker(Component[list[tuple[Sentence, Link]]]):
    """Links the sentences of a document to concepts."""

    def __init__(self, resources: Resources, model: LinkerModel) -> None:
        self.resources = resources
        self.linker = Linker(resources.index.skills, resources.encoder, model, load_prior())
        self.positions = {
            concept.id: position for position, concept in enumerate(resources.index.skills.concepts)
        }

    def queries(self, doc: Doc) -> list[tuple[Sentence, Query]]:
        """The sentences of a document that may hold a skill, with their phrases and names.

        A sentence in which the span finder holds no words possible, and without a clear name, is
        not looked at: what that loses is in docs/linking.md.
        """
        _refuse_unprepared(doc)
        mentions = _mentions(doc, self.positions)
        starts = [mention.start for mention in mentions]
        marks = _marks(doc)
        begins = [start for start, _, _ in marks]
        found = []
        spans = list(_asking_sentences(doc))
        for span, sentence in zip(spans, _sentences(doc, spans), strict=True):
            named, marked = mentions[_within(span, starts)], marks[_within(span, begins)]
            query = _query(span, named, marked)
            if query.may_ask or "skill_spans" not in doc.spans:
                found.append((sentence, query))
        return found

    def queries_of(self, docs: Iterable[Doc]) -> list[Query]:
        """One query a document, for documents that are one sentence, whatever its zone."""
        return [_query(doc[:], _mentions(doc, self.positions), _marks(doc)) for doc in docs]

    def predict(self, docs: Sequence[Doc]) -> list[list[tuple[Sentence, Link]]]:
        """Link all sentences of all documents in one batch."""
        queries = [self.queries(doc) for doc in docs]
        flat = [query for found in queries for _, query in found]
        rankings = iter(self.linker.rank(flat))
        return [
            [
                (sentence, link)
                for sentence, query in found
                for link in self.linker.decide(query, next(rankings))
            ]
            for found in queries
        ]

    def set_annotations(self, doc: Doc, prediction: list[tuple[Sentence, Link]]) -> None:
        """Write `doc.spans["skills"]`, in the order of the text.

        A span's `label_` is the kind of its concept and its `kb_id_` the concept's id;
        `attrs` holds the lists `start`, `end`, `score`, `method`, `zone`, `requirement` and
        `alternatives` (lists of [id, score]), parallel to the spans.
        """
        concepts = self.resources.index.skills.concepts
        placed = sorted(
            (
                (link.phrase.start, link.phrase.end, sentence, link)
                if link.phrase
                else (sentence.start, sentence.end, sentence, link)
                for sentence, link in prediction
            ),
            key=lambda item: (item[0], item[1], -item[3].probability),
        )
        spans, attrs = [], _skill_attrs()
        for start, end, sentence, link in placed:
            concept = concepts[link.concept]
            spans.append(_span(doc, start, end, concept.kind, concept.id))
            attrs["start"].append(start)
            attrs["end"].append(end)
            attrs["score"].append(link.probability)
            attrs["method"].append(link.method)
            attrs["zone"].append(sentence.zone)
            attrs["requirement"].append("mentioned")
            attrs["alternatives"].append([[concepts[c].id, p] for c, p in link.alternatives])
        doc.spans["skills"] = SpanGroup(doc, name="skills", spans=spans, attrs=attrs)


class SkillRequirement(Component[list[Requirement]]):
    """Says how each skill is asked for."""

    def predict(self, docs: Sequence[Doc]) -> list[list[Requirement]]:
        """Classify every span of `doc.spans["skills"]` by its sentence and zone."""
        predictions = []
        for doc in docs:
            attrs = doc.spans["skills"].attrs if "skills" in doc.spans else _skill_attrs()
            places = zip(attrs["start"], attrs["end"], strict=True)
            predictions.append(requirements_of(doc, list(places)))
        return predictions

    def set_annotations(self, doc: Doc, prediction: list[Requirement]) -> None:
        """Write the attribute `requirement` of `doc.spans["skills"]`."""
        if "skills" in doc.spans:
            doc.spans["skills"].attrs["requirement"] = list(prediction)


class SkillLevels(Component[tuple[list[Mastery], Experience | None]]):
    """Says how well and how long each skill must be known, and how much experience is asked for."""

    def predict(self, docs: Sequence[Doc]) -> list[tuple[list[Mastery], Experience | None]]:
        """Read the wording around every span of `doc.spans["skills"]`."""
        predictions = []
        for doc in docs:
            sentences = sentences_of(doc)
            attrs = doc.spans["skills"].attrs if "skills" in doc.spans else _skill_attrs()
            places = list(zip(attrs["start"], attrs["end"], strict=True))
            masteries = [
                Mastery()
                if sentence is None or method == "sentence"
                else find_mastery(sentence.text, start - sentence.start, end - sentence.start)
                for sentence, method, (start, end) in zip(
                    _sentences_at(sentences, places), attrs["method"], places, strict=True
                )
            ]
            predictions.append((masteries, find_experience(sentences)))
        return predictions

    def set_annotations(
        self, doc: Doc, prediction: tuple[list[Mastery], Experience | None]
    ) -> None:
        """Write `level`, `cefr`, `years` of `doc.spans["skills"]`; `doc._.jobshift_experience`."""
        masteries, experience = prediction
        if "skills" in doc.spans:
            attrs = doc.spans["skills"].attrs
            attrs["level"] = [mastery.level for mastery in masteries]
            attrs["cefr"] = [mastery.cefr for mastery in masteries]
            attrs["years"] = [mastery.years and mastery.years.model_dump() for mastery in masteries]
        doc._.jobshift_experience = experience and experience.model_dump(mode="json")


class Qualifications(Component[list[Qualification]]):
    """Finds degrees, certificates and licences."""

    def predict(self, docs: Sequence[Doc]) -> list[list[Qualification]]:
        """Find the qualifications in the sentences of each document."""
        return [find_qualifications(sentences_of(doc)) for doc in docs]

    def set_annotations(self, doc: Doc, prediction: list[Qualification]) -> None:
        """Write `doc.spans["qualifications"]`, in the order of the text.

        A span's `label_` is its kind; `attrs["record"]` holds the fields of `Qualification`.
        """
        group = _group(doc, "qualifications", [(q.start, q.end, q.kind) for q in prediction])
        group.attrs["record"] = [q.model_dump(mode="json") for q in prediction]
        doc.spans["qualifications"] = group


class Occupations(Component[list[OccupationMatch]]):
    """Finds the occupations that title and text describe."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        index = resources.index.occupations
        self.finder = OccupationFinder(index, resources.encoder) if index is not None else None

    def rank(
        self, titles: Sequence[str], works: Sequence[Sequence[str]], *, k: int = OCCUPATIONS
    ) -> list[list[OccupationMatch]]:
        """Rank occupations by titles and passages; none if the taxonomy has no occupations."""
        if self.finder is None:
            return [[] for _ in titles]
        concepts = self.finder.index.concepts
        return [
            [
                OccupationMatch(
                    concept_id=concepts[position].id,
                    label=concepts[position].label,
                    code=concepts[position].code,
                    score=score,
                )
                for position, score in ranked
            ]
            for ranked in self.finder.rank(titles, works, k=k)
        ]

    def predict(self, docs: Sequence[Doc]) -> list[list[OccupationMatch]]:
        """Rank occupations by the title and the first sentences about the work."""
        titles, works = [], []
        for doc in docs:
            sentences = sentences_of(doc)
            titles.append(title_of(doc, sentences))
            work = [s.text for s in sentences if s.zone in {"duties", "other"}]
            before = accumulate(map(len, work), initial=0)
            works.append([s for s, n in zip(work, before, strict=False) if n < OCCUPATION_TEXT])
        return self.rank(titles, works)

    def set_annotations(self, doc: Doc, prediction: list[OccupationMatch]) -> None:
        """Write `doc._.jobshift_occupations`, best first."""
        doc._.jobshift_occupations = [match.model_dump(mode="json") for match in prediction]


class Roles(Component[tuple[RoleAssessment, tuple[TaskMatch, ...]]]):
    """Classifies the role by what machine learning does to it."""

    def __init__(self, classifier: RoleClassifier) -> None:
        self.classifier = classifier

    def inputs(self, docs: Sequence[Doc]) -> list[RoleInput]:
        """What the classifier reads of each document."""
        ads = []
        for doc in docs:
            occupations = tuple(
                OccupationMatch(**match) for match in doc._.jobshift_occupations or ()
            )
            sentences = sentences_of(doc)
            title = title_of(doc, sentences) or None
            ads.append(RoleInput(title, text_of(doc), sentences, occupations))
        return ads

    def predict(self, docs: Sequence[Doc]) -> list[tuple[RoleAssessment, tuple[TaskMatch, ...]]]:
        """Assess all documents in one batch."""
        return self.classifier.assess_batch(self.inputs(docs))

    def set_annotations(
        self, doc: Doc, prediction: tuple[RoleAssessment, tuple[TaskMatch, ...]]
    ) -> None:
        """Write `doc.cats`, `doc._.jobshift_role` and `doc.spans["tasks"]`."""
        role, tasks = prediction
        doc.cats.update({str(label): p for label, p in role.probabilities.items()})
        doc._.jobshift_role = role.model_dump(mode="json")
        group = _group(doc, "tasks", [(t.start, t.end, t.scores.channel) for t in tasks])
        group.attrs["start"] = [task.start for task in tasks]
        group.attrs["end"] = [task.end for task in tasks]
        group.attrs["scores"] = [task.scores.model_dump(mode="json") for task in tasks]
        doc.spans["tasks"] = group


def set_sentence_starts(doc: Doc, starts: Sequence[int]) -> None:
    """Write the sentence boundaries, which a parser, if there is one, is to keep.

    All at once, since spaCy looks through the whole document each time that a token's is set.

    Args:
        doc: A document that is not parsed yet.
        starts: Positions of the first tokens of sentences; len(doc) is ignored.
    """
    values = np.full(len(doc) + 1, -1, dtype=np.int64)
    values[list(starts)] = 1
    doc.from_array(["SENT_START"], values[:-1].astype(np.uint64))  # type: ignore[arg-type]


def text_of(doc: Doc) -> str:
    """The text of a document, which spaCy puts together from the tokens each time."""
    text: str | None = doc._.jobshift_text
    # A part of a document that is made one of its own may come with the text of the whole.
    if text is None or not len(doc) or len(text) != doc[-1].idx + len(doc[-1].text_with_ws):
        text = doc._.jobshift_text = doc.text
    return text


def sentences_of(doc: Doc) -> list[Sentence]:
    """The sentences of a document as plain records."""
    return _sentences(doc, _sentence_spans(doc))


def title_of(doc: Doc, sentences: Sequence[Sentence]) -> str:
    """The given title, or the line of the text that is one, or ""."""
    title: str | None = doc._.jobshift_title
    return title or next((s.text for s in sentences if s.zone == "title"), "")


def requirements_of(doc: Doc, places: Sequence[tuple[int, int]]) -> list[Requirement]:
    """How the text asks for what stands at each of some places.

    Args:
        doc: A document with zones and sentences.
        places: Offsets (start, end) in the text.

    Returns:
        One requirement a place; `mentioned` for a place outside of all sentences.
    """
    found: list[Requirement] = []
    for sentence, (start, end) in zip(
        _sentences_at(sentences_of(doc), places), places, strict=True
    ):
        if sentence is None:
            found.append("mentioned")
        else:
            stop = min(end, sentence.end)
            found.append(
                classify_requirement(
                    sentence.text, start - sentence.start, stop - sentence.start, sentence.zone
                )
            )
    return found


def _sentences_at(
    sentences: Sequence[Sentence], places: Iterable[tuple[int, int]]
) -> Iterator[Sentence | None]:
    """The sentence in which each place begins."""
    starts = [sentence.start for sentence in sentences]
    for start, _ in places:
        number = bisect_right(starts, start) - 1
        inside = number >= 0 and start < sentences[number].end
        yield sentences[number] if inside else None


def _sentence_spans(doc: Doc) -> Iterable[Span]:
    """Sentences with their zones; any sentences where zones were not read."""
    if "sentences" in doc.spans:
        group: Iterable[Span] = doc.spans["sentences"]
        return group
    if len(doc) and not doc.has_annotation("SENT_START"):
        raise ArtefactError(
            "the document has no sentences: put jobshift_zones, or a sentencizer, before the "
            "other components of jobshift"
        )
    return doc.sents


def _asking_sentences(doc: Doc) -> Iterator[Span]:
    """Sentences that may ask for a skill: with letters, and not a title or about the employer."""
    text = text_of(doc)
    for span in _sentence_spans(doc):
        if (
            span.label_ not in BOILERPLATE_ZONES
            and span.label_ != "title"
            and LETTER.search(text, span.start_char, span.end_char)
        ):
            yield span


def _refuse_unprepared(doc: Doc) -> None:
    """Say what is missing, since the linker would find little or nothing without it."""
    if "mentions" not in doc.spans:
        raise ArtefactError("jobshift_linker needs jobshift_mentions before it")


def _sentences(doc: Doc, spans: Iterable[Span]) -> list[Sentence]:
    text, sentences = text_of(doc), []
    for span in spans:
        start, end = span.start_char, span.end_char
        zone = cast("ZoneLabel", span.label_ or "other")
        sentences.append(Sentence(start, end, text[start:end], zone))
    return sentences


def _span(doc: Doc, start: int, end: int, label: str, kb_id: str = "") -> Span:
    span = doc.char_span(start, end, label=label, kb_id=kb_id, alignment_mode="expand")
    if span is None:
        raise ValueError(f"[{start}, {end}) lies outside of the document ({len(doc.text)})")
    return span


def _group(doc: Doc, name: str, places: Sequence[tuple[int, int, str]]) -> SpanGroup:
    spans = [_span(doc, start, end, label) for start, end, label in places if start < end]
    return SpanGroup(doc, name=name, spans=spans)


def _mentions(doc: Doc, positions: dict[str, int]) -> list[Mention]:
    """What `Mentions` wrote, in the order of the text."""
    attrs = doc.spans["mentions"].attrs if "mentions" in doc.spans else {}
    columns = (attrs.get(name, []) for name in ("start", "end", "concepts"))
    named = [
        Mention(start, end, tuple((positions[i], fit) for i, fit in concepts))
        for start, end, concepts in zip(*columns, strict=True)
    ]
    refused = [
        Mention(start, end, (), tuple(positions[i] for i in ids))
        for start, end, ids in attrs.get("refused", [])
    ]
    return sorted(named + refused)


def _query(
    sentence: Span,
    mentions: Sequence[Mention],
    marks: Sequence[tuple[int, int, float]],
) -> Query:
    """What the linker looks at in a sentence: its words, phrases and the names in it."""
    within = [m for m in mentions if sentence.start_char <= m.start and m.end <= sentence.end_char]
    named = [mention for mention in within if mention.concepts]
    words, offset = sentence.text, sentence.start_char
    exact: dict[int, Named] = {}
    # A part of a name is no phrase of its own: "ML" in "ML models".
    phrases = {
        phrase.text.lower(): phrase
        for phrase in candidate_phrases(sentence, [(start, end) for start, end, _ in marks])
        if not any(m.start <= phrase.start and phrase.end <= m.end for m in named)
    }
    names: dict[str, Phrase] = {}
    for mention in named:
        text = words[mention.start - offset : mention.end - offset]
        phrase = names.setdefault(text.lower(), Phrase(mention.start, mention.end, text))
        for position, fit in mention.concepts:
            if position not in exact or fit > exact[position].fit:
                exact[position] = Named(fit, phrase)
    refused = {position for mention in within for position in mention.refused} - exact.keys()
    every = tuple(sorted((phrases | names).values()))
    return Query(words, offset, every, exact, frozenset(refused), tuple(marks))


def _marks(doc: Doc) -> list[tuple[int, int, float]]:
    """Runs of words that may name a skill, with their probability, in the order of the text."""
    if "skill_spans" not in doc.spans:
        return []
    return sorted((a, b, p) for a, b, p in doc.spans["skill_spans"].attrs["possible"])


def _within(sentence: Span, starts: Sequence[int]) -> slice:
    """Which of some sorted offsets lie in a sentence."""
    return slice(bisect_left(starts, sentence.start_char), bisect_left(starts, sentence.end_char))


def _skill_attrs() -> dict[str, list[Any]]:
    names = ("start", "end", "score", "method", "zone", "requirement", "alternatives")
    return {name: [] for name in names}
