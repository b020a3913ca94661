"""The tasks: each gives the engine and its baselines the same rows and scores them alike."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

import taxonomies
from eval import metrics
from eval.baselines import (
    BM25,
    FOLDS,
    MIN_ROWS_FOR_FOLDS,
    ExactLabels,
    RolePrediction,
    majority,
    read_ilo_roles,
    role_by_majority,
    role_by_occupation,
    role_by_skills,
    role_by_title,
    roles_by_tfidf,
)
from eval.cases import Answer, Case, Mark
from eval.engine import Engine
from eval.errors import EvaluationError
from eval.metrics import Estimate, LabelledSpan
from eval.rows import (
    ExtractionRow,
    GoldSpan,
    LinkingRow,
    MustRow,
    OccupationRow,
    RequirementRow,
    RoleRow,
    Row,
    SpansRow,
    ZonesRow,
)
from eval.slices import LONGER_SPAN, SPAN_LENGTHS, Slicer, bucket, slice_order, zone_at
from eval.zones import (
    ASKING,
    Span,
    label_of,
    lines_of,
    overlaps,
    read_gold,
    zones_by_headings,
)
from extractor import SkillExtractor
from extractor.batch import peak_memory_mb
from extractor.records import (
    BOILERPLATE_ZONES,
    REQUIREMENTS,
    ROLE_CLASSES,
    ZONE_LABELS,
    JobPosting,
    JobResult,
    Skill,
)
from extractor.role_model import LabelledFeatures, fit_steps
from extractor.roles import RoleClassifier
from extractor.spans import FoundSpan, lone_bracket
from extractor.zones import mask_markup
from taxonomies.errors import TaxonomyNotInstalledError
from taxonomies.records import SKILL_KINDS, Kind, Taxonomy

Estimates = dict[str, Estimate]
Measure = Callable[[Sequence[str], Set[str]], float]
"""Scores the ranked ids of one query against the relevant ones."""

ItemT = TypeVar("ItemT")

ENGINE = "jobshift"
TFIDF = "TF-IDF regression, 5 folds"
RANKED = 100
"""Depth of a ranking; a first relevant concept further down counts 0 in `mrr`."""

BATCH = 32
LATENCY_ADS = 100
SPAN_LABELS = ("SKILL", "KNOWLEDGE")
ABSTAINED = "abstained"
ILO_EXPOSURE = Path(__file__).parents[2] / "shared" / "data" / "ai-exposure" / "isco08.jsonl"
"""Exposure of unit groups as ILO published it, beside the checkout; not ours to ship."""

ROLE_LABELS: tuple[str, ...] = (*ROLE_CLASSES, ABSTAINED)

WARM_UP = "We look for an accountant who prepares annual accounts.\n- Knowledge of tax law"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)|\n")


class Level(StrEnum):
    """What the queries of `linking` are."""

    sentence = "sentence"
    span = "span"


@dataclass(frozen=True)
class Run:
    """What a task works on.

    Attributes:
        engine: The engine under evaluation.
        rows: Rows of the task's own model.
        level: Queries of `linking`: whole sentences or labelled spans.
        load_seconds: How long the engine took to load.
        cross_fit: Whether the engine's role classes are given by weights fitted out of fold.
        training: Labelled rows that the engine was trained on, for slices by frequency.
    """

    engine: Engine
    rows: Sequence[Any]
    level: Level = Level.sentence
    load_seconds: float = 0.0
    cross_fit: bool = False
    training: Sequence[LinkingRow] = ()


class Slice(NamedTuple):
    """Figures of the engine on a part of the rows, or of their concepts.

    Attributes:
        n: Number of rows, queries or ads of which something belongs to it.
        metrics: Estimates on it.
    """

    n: int
    metrics: Estimates


@dataclass
class Outcome:
    """What a task found.

    Attributes:
        n: Number of rows that count in at least one metric.
        systems: Metrics of the engine first, then of the baselines, the main one first.
        notes: Remarks on rows left out, errors and the like.
        details: More for the JSON report, such as the confusion matrix.
        slices: Figures of the engine by dimension (`kind`, `length`, …) and name of the slice.
        cases: Every row with what was expected and given, for the list of errors.
    """

    n: int
    systems: dict[str, Estimates]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    slices: dict[str, dict[str, Slice]] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)


class Task(NamedTuple):
    """A task: the rows that it reads, and the function that scores them."""

    rows: type[Row]
    score: Callable[[Run], Outcome]


# Linking and occupations: rankings.


class Ranked(NamedTuple):
    """A concept in a ranking; its score is None where the ranking has none."""

    id: str
    label: str
    score: float | None


def linking(run: Run) -> Outcome:
    """Rank all skill concepts for each sentence or labelled span that has a gold concept."""
    rows: Sequence[LinkingRow] = run.rows
    queries = [query for row in rows for query in _link_queries(row, run.level)]

    def rank(batch: Sequence[_Query]) -> list[list[Ranked]]:
        linked = run.engine.link_batch([query.text for query in batch], k=RANKED)
        return [[Ranked(c.concept_id, c.label, c.score) for c in found] for found in linked]

    measures: dict[str, Measure] = {
        "mrr": metrics.reciprocal_rank,
        **{f"rp@{k}": partial(metrics.r_precision_at, k=k) for k in (1, 5, 10)},
        "recall@50": partial(metrics.recall_at, k=50),
    }
    return _ranking(run, queries, rank, SKILL_KINDS, measures)


def occupations(run: Run) -> Outcome:
    """Rank all occupations for each title."""
    rows: Sequence[OccupationRow] = run.rows
    queries = [_Query(row, row.title or row.text, row.uris) for row in rows if row.uris]
    with_ads = any(query.row.text != query.text for query in queries)

    def rank(batch: Sequence[_Query]) -> list[list[Ranked]]:
        titles = [query.text for query in batch]
        ads = [query.row.text for query in batch] if with_ads else None
        matched = run.engine.occupations_batch(titles, ads, k=RANKED)
        return [[Ranked(m.concept_id, m.label, m.score) for m in found] for found in matched]

    measures: dict[str, Measure] = {
        "accuracy@1": partial(metrics.recall_at, k=1),
        "recall@5": partial(metrics.recall_at, k=5),
        "recall@10": partial(metrics.recall_at, k=10),
        "mrr": metrics.reciprocal_rank,
    }
    return _ranking(run, queries, rank, ("occupation",), measures)


class _Query(NamedTuple):
    row: Row
    text: str
    gold: set[str]


def _link_queries(row: LinkingRow, level: Level) -> list[_Query]:
    links = [link for link in row.links if link.uri]
    if level is Level.sentence:
        gold = {str(link.uri) for link in links}
        return [_Query(row, row.text, gold)] if gold else []
    spans: dict[tuple[int | None, int | None, str], set[str]] = defaultdict(set)
    for link in links:
        if not link.span:
            raise EvaluationError(
                f"{row.place}: a link has no `span`; use --level sentence with this file"
            )
        spans[link.start, link.end, link.span].add(str(link.uri))
    return [_Query(row, span, gold) for (_, _, span), gold in spans.items()]


def _ranking(
    run: Run,
    queries: Sequence[_Query],
    rank: Callable[[Sequence[_Query]], list[list[Ranked]]],
    kinds: tuple[Kind, ...],
    measures: Mapping[str, Measure],
) -> Outcome:
    if not queries:
        raise EvaluationError("no usable rows: none has the URI of a gold concept")
    bm25 = BM25(run.engine.taxonomy.of_kind(*kinds))
    ranked = [found for batch in _batches(queries) for found in rank(batch)]
    ids = [[candidate.id for candidate in found] for found in ranked]
    documents = [query.row.document for query in queries]
    scored = {
        ENGINE: _ranking_estimates(measures, ids, [query.gold for query in queries], documents),
        "BM25": _ranking_estimates(
            measures,
            bm25.rank([query.text for query in queries], RANKED),
            [query.gold for query in queries],
            documents,
        ),
    }
    certain = [
        (found[0].score or 0.0, found[0].id in query.gold) if found else (0.0, False)
        for found, query in zip(ranked, queries, strict=True)
    ]
    calibration, curves = _confidence(certain, documents)
    scored[ENGINE] |= calibration
    used = len({query.row.place for query in queries})
    notes = _left_out(len(run.rows) - used, "without the URI of a gold concept")
    if len(queries) != used:
        notes.append(f"{len(queries)} queries")
    slicer = Slicer(run.engine.taxonomy, run.training)
    outcome = Outcome(
        used,
        scored,
        notes,
        curves,
        slices=_ranking_slices(slicer, queries, ids, measures),
        cases=[
            _ranking_case(run.engine.taxonomy, slicer, query, found)
            for query, found in zip(queries, ranked, strict=True)
        ],
    )
    return _with_missing(outcome, run, (uri for query in queries for uri in query.gold))


def _ranking_estimates(
    measures: Mapping[str, Measure],
    ranked: Sequence[Sequence[str]],
    gold: Sequence[Set[str]],
    documents: Sequence[Hashable],
) -> Estimates:
    values = {
        name: [measure(ids, relevant) for ids, relevant in zip(ranked, gold, strict=True)]
        for name, measure in measures.items()
    }
    return means(values, documents)


def _ranking_slices(
    slicer: Slicer,
    queries: Sequence[_Query],
    ranked: Sequence[Sequence[str]],
    measures: Mapping[str, Measure],
) -> dict[str, dict[str, Slice]]:
    """Slices of queries, and of gold concepts.

    In the latter a query's other gold concepts are taken out of its list.
    """
    members: _Members = defaultdict(lambda: defaultdict(list))
    for number, query in enumerate(queries):
        for dimension, name in slicer.of_row(query.row).items():
            members[dimension][name].append((number, query.gold))
        within: dict[tuple[str, str], set[str]] = defaultdict(set)
        for concept_id in query.gold:
            for key in slicer.of_concept(query.row, concept_id).items():
                within[key].add(concept_id)
        for (dimension, name), gold in within.items():
            members[dimension][name].append((number, gold))

    def estimates(chosen: Sequence[tuple[int, Set[str]]]) -> Estimates:
        lists = [
            [i for i in ranked[number] if i in gold or i not in queries[number].gold]
            for number, gold in chosen
        ]
        return _ranking_estimates(
            measures,
            lists,
            [gold for _, gold in chosen],
            [queries[number].row.document for number, _ in chosen],
        )

    return _sliced(members, estimates)


def _ranking_case(
    taxonomy: Taxonomy, slicer: Slicer, query: _Query, found: Sequence[Ranked]
) -> Case:
    rank = metrics.reciprocal_rank([candidate.id for candidate in found], query.gold)
    places = {candidate.id: place for place, candidate in enumerate(found, start=1)}
    return Case(
        query.row.place,
        query.text,
        1 - rank,
        [
            Answer(
                f"{_label(taxonomy, uri)} (rank {places.get(uri, f'over {RANKED}')})",
                uri,
                None,
                places.get(uri) == 1,
            )
            for uri in sorted(query.gold, key=lambda uri: places.get(uri, RANKED + 1))
        ],
        [Answer(one.label, one.id, one.score, one.id in query.gold) for one in found[:5]],
        slices=_case_slices(slicer, query.row, query.gold),
    )


# Extraction, must, spans: what stands in a text.


def extraction(run: Run) -> Outcome:
    """Compare the returned set of concepts with the gold set."""
    rows: Sequence[ExtractionRow] = run.rows
    with_gold, empty = [], []
    for row in rows:
        if any(link.uri for link in row.links or ()):
            with_gold.append(row)
        elif not row.links and not row.spans:
            empty.append(row)
    used = [*with_gold, *empty]
    if not used:
        raise EvaluationError("no usable rows: none has a gold URI, and none is without any skill")
    gold = [{str(link.uri) for link in row.links or () if link.uri} for row in with_gold]
    results, notes = read_ads(run.engine, used)
    scored = {}
    for system, found in _concept_sets(run, used, results).items():
        counts = [metrics.set_counts(a, b) for a, b in zip(found, gold, strict=False)]
        scored[system] = {
            **precision_recall_f1(counts, with_gold),
            **_concepts_per_empty_row(found[len(with_gold) :], empty),
        }
    certain, documents = [], []
    for row, result, uris in zip(with_gold, results, gold, strict=False):
        for skill in _asked(result):
            certain.append((skill.score, skill.concept_id in uris))
            documents.append(row.document)
    calibration, curves = _confidence(certain, documents)
    scored[ENGINE] |= calibration
    notes += _left_out(
        len(rows) - len(used), "whose skills have no URI: neither gold nor without skills"
    )
    notes.append(f"{len(with_gold)} rows with gold URIs, {len(empty)} rows without any skill")
    slicer = Slicer(run.engine.taxonomy, run.training)
    nothing: set[str] = set()
    outcome = Outcome(
        len(used),
        scored,
        notes,
        curves,
        slices=_extraction_slices(slicer, with_gold, gold, results),
        cases=[
            _concept_case(run.engine.taxonomy, slicer, row, result, uris)
            for row, result, uris in zip(
                used, results, [*gold, *(nothing for _ in empty)], strict=True
            )
        ],
    )
    return _with_missing(outcome, run, (uri for uris in gold for uri in uris if uri))


def _asked(result: JobResult) -> list[Skill]:
    return [skill for skill in result.skills if skill.requirement != "negated"]


def _extraction_slices(
    slicer: Slicer,
    rows: Sequence[ExtractionRow],
    gold: Sequence[Set[str]],
    results: Sequence[JobResult],
) -> dict[str, dict[str, Slice]]:
    """Slices of rows, and of concepts: gold and returned ones of a slice are compared apart.

    The section counts where a row has a gold place for each link.
    """
    members: _Members = defaultdict(lambda: defaultdict(list))
    for number, (row, uris, result) in enumerate(zip(rows, gold, results, strict=False)):
        found = {skill.concept_id for skill in _asked(result)}
        for dimension, name in slicer.of_row(row).items():
            members[dimension][name].append((number, (found, uris)))
        zones: dict[str, str] = {}
        links = [link for link in row.links or () if link.uri]
        if all(link.start is not None for link in links):
            zones = {skill.concept_id: skill.matches[0].zone for skill in _asked(result)}
            zones |= {str(link.uri): zone_at(result, link.start or 0) for link in links}
        within: dict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(
            lambda: (set(), set())
        )
        for side, concepts in enumerate((found, uris)):
            for concept_id in concepts:
                keys = slicer.of_concept(row, concept_id)
                if concept_id in zones:
                    keys["zone"] = zones[concept_id]
                for key in keys.items():
                    within[key][side].add(concept_id)
        for (dimension, name), pair in within.items():
            members[dimension][name].append((number, pair))

    def estimates(chosen: Sequence[tuple[int, tuple[Set[str], Set[str]]]]) -> Estimates:
        return precision_recall_f1(
            [metrics.set_counts(*pair) for _, pair in chosen], [rows[n] for n, _ in chosen]
        )

    return _sliced(members, estimates)


def _concept_case(
    taxonomy: Taxonomy, slicer: Slicer, row: Row, result: JobResult, gold: Set[str]
) -> Case:
    skills = _asked(result)
    found = {skill.concept_id for skill in skills}
    marks = [
        Mark(m.start, m.end, "right" if m.concept_id in gold else "wrong", m.label)
        for skill in skills
        for m in skill.matches
    ]
    if isinstance(row, ExtractionRow):
        marks += [
            Mark(link.start, link.end, "missed", _label(taxonomy, link.uri))
            for link in row.links or ()
            if link.uri and link.uri not in found and link.start is not None and link.end
        ]
    return Case(
        row.place,
        row.text,
        len(found ^ gold),
        [Answer(_label(taxonomy, uri), uri, None, uri in found) for uri in sorted(gold)],
        [Answer(s.label, s.concept_id, s.score, s.concept_id in gold) for s in skills],
        marks,
        _case_slices(slicer, row, gold),
    )


def must(run: Run) -> Outcome:
    """Count demanded concepts that are found, and forbidden ones."""
    rows: Sequence[MustRow] = run.rows
    results, notes = read_ads(run.engine, rows)
    demanded = [{reference.uri for reference in row.must} for row in rows]
    forbidden = [{reference.uri for reference in row.must_not} for row in rows]
    empty = [index for index, row in enumerate(rows) if row.must_be_empty]
    used = sum(bool(row.must or row.must_not or row.must_be_empty) for row in rows)
    if not used:
        raise EvaluationError(
            "no usable rows: none has concepts in `must` or `must_not`, none `must_be_empty`"
        )
    scored = {}
    for system, found in _concept_sets(run, rows, results).items():
        recall = [
            (len(uris & concepts), len(uris)) if uris else None
            for concepts, uris in zip(found, demanded, strict=True)
        ]
        violations = [
            (float(bool(uris & concepts)), 1) if uris else None
            for concepts, uris in zip(found, forbidden, strict=True)
        ]
        scored[system] = {
            **_mean_of_terms("must_recall", recall, rows),
            **_mean_of_terms("must_not_violations", violations, rows),
            **_concepts_per_empty_row([found[i] for i in empty], [rows[i] for i in empty]),
        }
    notes += _left_out(len(rows) - used, "that demand and forbid nothing")
    slicer = Slicer(run.engine.taxonomy)
    cases = []
    for row, result, asked, refused in zip(rows, results, demanded, forbidden, strict=True):
        case = _concept_case(run.engine.taxonomy, slicer, row, result, asked)
        given = {skill.concept_id for skill in _asked(result)}
        unwanted = given if row.must_be_empty else given & refused
        cases.append(replace(case, loss=len(asked - given) + len(unwanted)))
    outcome = Outcome(used, scored, notes, cases=cases)
    return _with_missing(outcome, run, (uri for uris in (*demanded, *forbidden) for uri in uris))


def spans(run: Run) -> Outcome:
    """Compare spans with gold spans: those of the span finder, and the places of linked skills."""
    rows: Sequence[SpansRow] = run.rows
    labels_of_file: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels_of_file[row.file].update(span.label for span in row.spans)
    all_labels = set().union(*labels_of_file.values())
    if not all_labels:
        raise EvaluationError("no usable rows: none has a gold span")
    results, notes = read_ads(run.engine, rows)
    exact = ExactLabels(run.engine.taxonomy.of_kind(*SKILL_KINDS))
    systems = {
        ENGINE: [
            {LabelledSpan(one.start, one.end, one.label) for one in found}
            for found in found_spans(run.engine, rows, results)
        ],
        "exact labels": [
            {LabelledSpan(m.start, m.end, _span_label(m.kind)) for m in exact.find(row.text)}
            for row in rows
        ],
        "linked skills": [_predicted_spans(result) for result in results],
    }
    gold = [{_gold_span(row.text, span) for span in row.spans} for row in rows]
    mended = sum(
        LabelledSpan(span.start, span.end, span.label) not in spans_
        for row, spans_ in zip(rows, gold, strict=True)
        for span in row.spans
    )
    if mended:
        notes.append(f"gold spans taken without a bracket that has no other half: {mended}")
    scored: dict[str, Estimates] = {}
    for system, predicted in systems.items():
        scored[system] = {}
        for label in sorted(all_labels, key=_span_label_order):
            # A file that does not label skills and knowledge says nothing about precision.
            chosen = [
                index
                for index, row in enumerate(rows)
                if label in labels_of_file[row.file]
                or (label in SPAN_LABELS and labels_of_file[row.file] & set(SPAN_LABELS))
            ]
            scored[system].update(
                _span_metrics(
                    label,
                    [predicted[index] for index in chosen],
                    [gold[index] for index in chosen],
                    [rows[index] for index in chosen],
                )
            )
    others = sorted(all_labels - set(SPAN_LABELS))
    if others:
        notes.append(f"{', '.join(others)}: recall only, by a prediction of either label")
    slicer = Slicer(run.engine.taxonomy)
    return Outcome(
        len(rows),
        scored,
        notes,
        slices=_span_slices(slicer, rows, systems[ENGINE], gold, results),
        cases=[
            _span_case(slicer, row, predicted, right)
            for row, predicted, right in zip(rows, systems[ENGINE], gold, strict=True)
        ],
    )


def _span_slices(
    slicer: Slicer,
    rows: Sequence[SpansRow],
    predicted: Sequence[set[LabelledSpan]],
    gold: Sequence[set[LabelledSpan]],
    results: Sequence[JobResult],
) -> dict[str, dict[str, Slice]]:
    """Slices of rows, and of spans by their own length and section; both labels together."""
    members: _Members = defaultdict(lambda: defaultdict(list))
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        pair = [
            {span for span in side[number] if span.label in SPAN_LABELS}
            for side in (predicted, gold)
        ]
        for dimension, name in slicer.of_row(row).items():
            members[dimension][name].append((number, pair))
        within: dict[tuple[str, str], list[set[LabelledSpan]]] = defaultdict(lambda: [set(), set()])
        for side, spans_ in enumerate(pair):
            for span in spans_:
                words = len(row.text[span.start : span.end].split())
                within["span length", bucket(words, SPAN_LENGTHS, LONGER_SPAN)][side].add(span)
                within["zone", zone_at(result, span.start)][side].add(span)
        for (dimension, name), sides in within.items():
            members[dimension][name].append((number, sides))

    def estimates(chosen: Sequence[tuple[int, Sequence[set[LabelledSpan]]]]) -> Estimates:
        found: Estimates = {}
        for way, count in (("strict", metrics.set_counts), ("overlap", metrics.overlap_counts)):
            counts = [count(pair[0], pair[1]) for _, pair in chosen]
            scores = precision_recall_f1(counts, [rows[number] for number, _ in chosen])
            found |= {f"{way}_{name}": estimate for name, estimate in scores.items()}
        return found

    return _sliced(members, estimates)


def _span_case(
    slicer: Slicer, row: SpansRow, predicted: set[LabelledSpan], gold: set[LabelledSpan]
) -> Case:
    known = {span for span in gold if span.label in SPAN_LABELS}
    # A file of another label says nothing about what else stands there.
    given = predicted if known or not gold else set()

    def answers(spans_: set[LabelledSpan], others: set[LabelledSpan]) -> list[Answer]:
        return [
            Answer(f"{row.text[one.start : one.end]} [{one.label}]", right=one in others)
            for one in sorted(spans_)
        ]

    return Case(
        row.place,
        row.text,
        len(given ^ gold),
        answers(gold, given),
        answers(given, gold),
        [
            *(Mark(*s[:2], "right" if s in gold else "wrong", s.label) for s in sorted(given)),
            *(Mark(*s[:2], "missed", s.label) for s in sorted(gold - given)),
        ],
        slicer.of_row(row),
    )


def _span_label_order(label: str) -> tuple[bool, bool, str]:
    return label not in SPAN_LABELS, label != SPAN_LABELS[0], label


def _span_label(kind: str) -> str:
    return "SKILL" if kind == "skill" else "KNOWLEDGE"


def found_spans(
    engine: Engine, rows: Sequence[Row], results: Sequence[JobResult]
) -> list[list[FoundSpan]]:
    """Spans of the span finder in each row; none in rows that gave an error."""
    found: list[list[FoundSpan]] = [[] for _ in rows]
    readable = [number for number, result in enumerate(results) if not result.error]
    for batch in _batches(readable):
        for number, spans_ in zip(
            batch, engine.spans_batch([rows[number].text for number in batch]), strict=True
        ):
            found[number] = list(spans_)
    return found


def _gold_span(text: str, span: GoldSpan) -> LabelledSpan:
    """A gold span without a lone bracket at its edge, as the span finder gives its own."""
    start, end = span.start, span.end
    inside = text[start:end]
    bracket = lone_bracket(inside)
    kept = (inside.removeprefix("(") if bracket == "(" else inside.removesuffix(bracket)).strip()
    if bracket and kept:
        start += inside.index(kept)
        end = start + len(kept)
    return LabelledSpan(start, end, span.label)


def _predicted_spans(result: JobResult) -> set[LabelledSpan]:
    return {
        LabelledSpan(match.start, match.end, _span_label(match.kind))
        for skill in result.skills
        for match in skill.matches
        if match.method != "sentence"
    }


def _span_metrics(
    label: str,
    predicted: list[set[LabelledSpan]],
    gold: list[set[LabelledSpan]],
    rows: Sequence[Row],
) -> Estimates:
    named = label in SPAN_LABELS
    right = [{span for span in spans_ if span.label == label} for spans_ in gold]
    given = [
        {span for span in spans_ if span.label == label}
        if named
        else {span._replace(label=label) for span in spans_}
        for spans_ in predicted
    ]
    estimates: Estimates = {}
    for way, count in (("strict", metrics.set_counts), ("overlap", metrics.overlap_counts)):
        counts = [count(a, b) for a, b in zip(given, right, strict=True)]
        for name, estimate in precision_recall_f1(counts, rows).items():
            if named or name == "recall":
                estimates[f"{way}_{name}/{label}"] = estimate
    return estimates


# Requirement and roles: classes.


def requirement(run: Run) -> Outcome:
    """Compare how mentions are asked for."""
    rows: Sequence[RequirementRow] = [row for row in run.rows if row.mentions]
    if not rows:
        raise EvaluationError("no usable rows: none has a mention")
    gold = [mention.requirement for row in rows for mention in row.mentions]
    documents = [row.document for row in rows for _ in row.mentions]
    predicted = [
        status for row in rows for status in run.engine.requirements(row.text, row.offsets)
    ]
    scored, matrices = {}, {}
    systems: dict[str, Sequence[str]] = {
        ENGINE: predicted,
        "majority": [str(majority(gold))] * len(gold),
    }
    for system, statuses in systems.items():
        cells = metrics.confusion(gold, statuses, REQUIREMENTS)
        scored[system] = metrics.bootstrap(
            cells,
            {"accuracy": metrics.accuracy, **_f1_by_class(REQUIREMENTS)},
            documents=documents,
        )
        matrices[system] = cells
    notes = _left_out(len(run.rows) - len(rows), "without a mention")
    notes.append(f"{len(gold)} mentions")
    given = iter(predicted)
    return Outcome(
        len(rows),
        scored,
        notes,
        {"confusion": _confusion(matrices[ENGINE], REQUIREMENTS)},
        cases=[_requirement_case(row, [next(given) for _ in row.mentions]) for row in rows],
    )


def _requirement_case(row: RequirementRow, given: Sequence[str]) -> Case:
    right = [one == mention.requirement for one, mention in zip(given, row.mentions, strict=True)]
    return Case(
        row.place,
        row.text,
        right.count(False),
        [
            Answer(f"{mention.span}: {mention.requirement}", right=r)
            for mention, r in zip(row.mentions, right, strict=True)
        ],
        [
            Answer(f"{mention.span}: {g}", right=r)
            for mention, g, r in zip(row.mentions, given, right, strict=True)
        ],
        [
            Mark(*place, "right" if r else "wrong", g)
            for place, g, r in zip(row.offsets, given, right, strict=True)
        ],
    )


def zones(run: Run) -> Outcome:
    """Compare the sections of ads, by visible character and by line.

    `employer_read_as_asking` is the share of lines about the employer, benefits or the
    application that are taken for the work or the person, `asking_lost` the reverse;
    `matches_about_employer` is the share of returned matches that stand there by the gold.
    """
    gold = read_gold()
    labelled: Sequence[ZonesRow] = [row for row in run.rows if row.id in gold]
    rows = [row for row in labelled if gold[row.id].fits(row.text)]
    if not rows:
        raise EvaluationError("no usable rows: eval/data/zones.jsonl labels none of these ads")
    results, notes = read_ads(run.engine, rows)
    exact = ExactLabels(run.engine.taxonomy.of_kind(*SKILL_KINDS))
    systems: dict[str, list[list[Span]]] = {
        ENGINE: [[Span(z.start, z.end, z.label) for z in result.zones] for result in results],
        "headings": [zones_by_headings(row.text) for row in rows],
        "all other": [[Span(0, len(row.text), "other")] for row in rows],
    }
    starts = {
        ENGINE: [[m.start for s in result.skills for m in s.matches] for result in results],
        "headings": [[match.start for match in exact.find(row.text)] for row in rows],
    }
    held_out = np.array([gold[row.id].is_held_out for row in rows])
    scored: dict[str, Estimates] = {}
    details: dict[str, Any] = {}
    for system, given in systems.items():
        characters, lines = [], []
        for row, spans_ in zip(rows, given, strict=True):
            right = gold[row.id].zones
            characters.append(overlaps(row.text, right, spans_))
            pairs = [
                (label_of(row.text, right, *line), label_of(row.text, spans_, *line) or "other")
                for line in lines_of(row.text)
            ]
            known = [(str(one), str(other)) for one, other in pairs if one]
            cells = metrics.confusion(
                [one for one, _ in known], [other for _, other in known], ZONE_LABELS
            )
            lines.append(cells.sum(axis=0))
        by_character, by_line = np.array(characters), np.array(lines)
        scored[system] = {
            **metrics.bootstrap(by_character, {"accuracy/characters": metrics.accuracy}),
            **metrics.bootstrap(
                by_line,
                {
                    "accuracy/lines": metrics.accuracy,
                    "employer_read_as_asking": partial(_read_as, BOILERPLATE_ZONES, ASKING),
                    "asking_lost": partial(_read_as, ASKING, BOILERPLATE_ZONES),
                    **_f1_by_class(ZONE_LABELS),
                },
            ),
        }
        if held_out.any():
            scored[system] |= metrics.bootstrap(
                by_line[held_out],
                {
                    "held_out/accuracy/lines": metrics.accuracy,
                    "held_out/employer_read_as_asking": partial(
                        _read_as, BOILERPLATE_ZONES, ASKING
                    ),
                    "held_out/asking_lost": partial(_read_as, ASKING, BOILERPLATE_ZONES),
                },
            )
        if system in starts:
            where = [
                [label_of(row.text, gold[row.id].zones, at, at + 1) for at in places]
                for row, places in zip(rows, starts[system], strict=True)
            ]
            terms = [
                (float(sum(label in BOILERPLATE_ZONES for label in found)), float(len(found)))
                for found in ([label for label in labels if label] for labels in where)
            ]
            scored[system] |= _mean_of_terms("matches_about_employer", terms, rows)
        details[system] = _confusion(by_line, ZONE_LABELS)
    notes.append(f"{int(held_out.sum())} of the ads held out: nobody looked at them while tuning")
    notes.append("matches_about_employer of the baseline: names of concepts, word for word")
    if len(rows) < len(labelled):
        notes.append(f"left out: {len(labelled) - len(rows)} ads whose text has changed")
    cases = [
        _zones_case(row, gold[row.id].zones, spans_)
        for row, spans_ in zip(rows, systems[ENGINE], strict=True)
    ]
    return Outcome(len(rows), scored, notes, {"confusion": details[ENGINE]}, cases=cases)


def _zones_case(row: ZonesRow, gold: Sequence[Span], given: Sequence[Span]) -> Case:
    lines = [
        (line, right, label_of(row.text, given, *line) or "other")
        for line in lines_of(row.text)
        if (right := label_of(row.text, gold, *line))
    ]
    wrong = [(line, right, label) for line, right, label in lines if right != label]
    return Case(
        row.place,
        row.text,
        len(wrong),
        [Answer(right, row.text[line[0] : line[1]][:40]) for line, right, _ in wrong],
        [Answer(label, row.text[line[0] : line[1]][:40]) for line, _, label in wrong],
        [Mark(*line, "wrong", f"{label}, not {right}") for line, right, label in wrong],
    )


def _read_as(gold: Sequence[str], given: Sequence[str], matrix: metrics.Array) -> metrics.Array:
    """Share of lines of some zones that are taken for one of others."""
    rows = matrix[..., [ZONE_LABELS.index(label) for label in gold], :]
    wrong = rows[..., [ZONE_LABELS.index(label) for label in given]]
    totals = np.stack([wrong.sum(axis=(-2, -1)), rows.sum(axis=(-2, -1))], axis=-1)
    return metrics.mean(totals)


def roles(run: Run) -> Outcome:
    """Compare role classes."""
    rows: Sequence[RoleRow] = [row for row in run.rows if row.label]
    if not rows:
        raise EvaluationError("no usable rows: none has a label")
    results, notes = read_ads(run.engine, rows)
    gold = [str(row.label) for row in rows]
    constant = role_by_majority(
        gold,
        [row.gold_nearest for row in rows if row.gold_nearest],
        [row.channel for row in rows if row.channel],
    )
    if run.cross_fit:
        ours = _roles_out_of_fold(run, rows, results)
        notes.append(
            f"{ENGINE}: weights of the decision fitted on these rows out of fold ({FOLDS} folds); "
            "heads and word lists as shipped"
        )
    else:
        ours = [_role_prediction(result) for result in results]
        notes.append(f"{ENGINE}: the model as shipped, fitted on what its card names")
    systems = {
        ENGINE: ours,
        "title keywords": [role_by_title(row.title or "") for row in rows],
        "AI skills": [role_by_skills(row.title, row.text) for row in rows],
        "majority": [constant] * len(rows),
    }
    if ILO_EXPOSURE.exists():
        classes, codes = read_ilo_roles(ILO_EXPOSURE), _isco_codes(run.engine.taxonomy)
        systems["occupation (ILO)"] = [
            role_by_occupation(
                (codes.get(match.concept_id, "") for match in result.occupations), classes
            )
            for result in results
        ]
    else:
        notes.append(f"without the baseline of ILO's classes: there is no {ILO_EXPOSURE}")
    texts = [f"{row.title or ''}\n{row.text}" for row in rows]
    learned = roles_by_tfidf(texts, gold, [row.document for row in rows])
    if learned:
        systems[TFIDF] = learned
    scored = {system: _role_metrics(rows, predicted) for system, predicted in systems.items()}
    if learned:
        scored[TFIDF].pop("channel_accuracy", None)  # it learns classes, not channels
    matrix = metrics.confusion(gold, [p.label or ABSTAINED for p in systems[ENGINE]], ROLE_LABELS)
    notes += _left_out(len(run.rows) - len(rows), "without a label")
    details: dict[str, Any] = {"confusion": _confusion(matrix, ROLE_LABELS)}
    certain = [
        (max(p.probabilities.values()), p.label == label)
        for p, label in zip(ours, gold, strict=True)
        if p.probabilities
    ]
    if certain:
        details |= _confidence(certain, range(len(certain)))[1]
    slicer = Slicer(run.engine.taxonomy)
    return Outcome(
        len(rows),
        scored,
        notes,
        details,
        slices=_role_slices(slicer, rows, ours),
        cases=[_role_case(slicer, row, p) for row, p in zip(rows, ours, strict=True)],
    )


def _role_slices(
    slicer: Slicer, rows: Sequence[RoleRow], predicted: Sequence[RolePrediction]
) -> dict[str, dict[str, Slice]]:
    members: _Members = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        for dimension, name in slicer.of_row(row).items():
            members[dimension][name].append((number, None))

    def estimates(chosen: Sequence[tuple[int, None]]) -> Estimates:
        right = [float(predicted[number].label == rows[number].label) for number, _ in chosen]
        return means({"accuracy": right}, [rows[number].document for number, _ in chosen])

    return _sliced(members, estimates)


def _role_case(slicer: Slicer, row: RoleRow, given: RolePrediction) -> Case:
    label, probabilities = str(row.label), given.probabilities or {}
    ranked = sorted(probabilities, key=lambda one: -probabilities[one])
    return Case(
        row.place,
        f"{row.title or ''}\n{row.text}",
        0.0 if given.label == label else 1 - probabilities.get(label, 0.0),
        [Answer(label, right=given.label == label)],
        [Answer(one, "", probabilities[one], one == label) for one in ranked]
        or [Answer(given.label or ABSTAINED)],
        slices=slicer.of_row(row) | {"gold": label},
    )


def _isco_codes(taxonomy: Taxonomy) -> dict[str, str]:
    """ISCO-08 codes of occupations; those that a taxonomy lacks are taken from ESCO 1.1.1."""
    sources = [taxonomy]
    # Where it is not installed, the taxonomy's own codes have to do.
    with suppress(TaxonomyNotInstalledError):
        sources.insert(0, taxonomies.load("esco-1.1.1"))
    return {
        concept.id: concept.code
        for source in sources
        for concept in source.of_kind("occupation")
        if concept.code.isdigit()
    }


def _roles_out_of_fold(
    run: Run, rows: Sequence[RoleRow], results: Sequence[JobResult]
) -> list[RolePrediction]:
    """Classes by weights of the decision that have not seen the row, nor its pair."""
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        raise EvaluationError(
            "--cross-fit needs scikit-learn: pip install 'jobshift[eval]'"
        ) from None
    if len({str(row.document) for row in rows}) < MIN_ROWS_FOR_FOLDS:
        raise EvaluationError(f"--cross-fit needs at least {MIN_ROWS_FOR_FOLDS} documents")
    if not isinstance(run.engine, SkillExtractor):
        raise EvaluationError("--cross-fit needs the engine of jobshift")
    nlp = run.engine.nlp
    component: Any = nlp.get_pipe("jobshift_roles")
    docs = []
    for row in rows:
        doc = nlp.make_doc(mask_markup(row.text))
        doc._.jobshift_title = row.title
        docs.append(doc)
    with nlp.select_pipes(enable=["jobshift_zones", "jobshift_occupations"]):
        read = list(nlp.pipe(docs))
    shipped = component.classifier
    features = shipped.features(component.inputs(read))
    ads = [
        LabelledFeatures(found.values, str(row.label), row.gold_nearest)
        for found, row in zip(features, rows, strict=True)
    ]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=metrics.SEED)
    labels = [ad.label for ad in ads]
    predictions = [_role_prediction(result) for result in results]
    for seen, unseen in folds.split(labels, labels, [str(row.document) for row in rows]):
        model = replace(shipped.model, steps=fit_steps([ads[i] for i in seen]))
        fitted = RoleClassifier(shipped.encoder, model, shipped.vocabulary)
        for i in unseen:
            if predictions[i].label is None:
                continue
            given = {str(c): p for c, p in fitted.probabilities(features[i]).items()}
            predictions[i] = predictions[i]._replace(
                label=max(given, key=lambda c: given[c]),
                nearest=fitted.nearest(features[i]),
                probabilities=given,
            )
    return predictions


def _role_prediction(result: JobResult) -> RolePrediction:
    role = result.role
    if role is None:
        return RolePrediction(None)
    probabilities = {str(label): p for label, p in role.probabilities.items()}
    return RolePrediction(role.label, role.nearest, role.channel, probabilities or None)


def _role_metrics(rows: Sequence[RoleRow], predicted: Sequence[RolePrediction]) -> Estimates:
    gold = [str(row.label) for row in rows]
    documents = [row.document for row in rows]
    pairs = list(zip(rows, predicted, strict=True))
    estimates = metrics.bootstrap(
        metrics.confusion(gold, [p.label or ABSTAINED for p in predicted], ROLE_LABELS),
        {
            "accuracy": metrics.accuracy,
            "macro_f1": partial(metrics.macro_f1, classes=len(ROLE_CLASSES)),
            "kappa": metrics.kappa,
            **_f1_by_class(ROLE_CLASSES),
        },
        documents=documents,
    )
    certain = [
        (row, *max(p.probabilities.items(), key=lambda item: item[1]))
        for row, p in pairs
        if p.probabilities
    ]
    estimates |= _confidence(
        [(probability, label == row.label) for row, label, probability in certain],
        [row.document for row, _, _ in certain],
    )[0]
    estimates |= means({"abstained": [float(p.label is None) for p in predicted]}, documents)
    nearest = [
        (float(p.nearest == row.gold_nearest), 1) if row.gold_nearest else None for row, p in pairs
    ]
    estimates |= _mean_of_terms("nearest_accuracy", nearest, rows)
    channel = [(float(p.channel == row.channel), 1) if row.channel else None for row, p in pairs]
    estimates |= _mean_of_terms("channel_accuracy", channel, rows)
    by_pair: dict[Hashable, list[bool]] = defaultdict(list)
    for row, p in pairs:
        if row.pair is not None and row.same_as_pair is not None:
            by_pair[row.document].append(p.label == row.label)
    both = {pair: float(all(right)) for pair, right in by_pair.items() if len(right) == 2}
    return estimates | means({"pairs_right": list(both.values())}, list(both))


# Speed.


def speed(run: Run) -> Outcome:
    """Measure throughput over batches and latency over single ads.

    Ads whose latency is taken are none of those whose throughput is taken: an engine that
    remembers sentences would else be measured on what it has seen.
    """
    rows: Sequence[Row] = run.rows
    if len(rows) < 2:
        raise EvaluationError("speed needs at least two ads: one for latency, one for throughput")
    step = max(2, -(-len(rows) // LATENCY_ADS))
    single = [row for index, row in enumerate(rows) if index % step == 0]
    many = [row for index, row in enumerate(rows) if index % step]
    engine = run.engine
    exact = ExactLabels(engine.taxonomy.of_kind(*SKILL_KINDS))

    started = time.perf_counter()
    engine.extract(WARM_UP)
    notes = [
        f"first ad after loading, not counted: {time.perf_counter() - started:.2f} s",
        f"latency of {len(single)} single ads, throughput of {len(many)} others in batches of "
        f"{BATCH}",
    ]
    errors: list[JobResult] = []

    def read_one(row: Row) -> None:
        # As a batch of one: an ad that cannot be read gives an error, not an end.
        errors.extend(_failed(engine.extract_batch(_postings([row]), batch_size=1)))

    def read_batch(batch: Sequence[Row]) -> None:
        errors.extend(_failed(engine.extract_batch(_postings(batch), batch_size=BATCH)))

    def match_one(row: Row) -> None:
        exact.find(row.text)

    def match_batch(batch: Sequence[Row]) -> None:
        for row in batch:
            exact.find(row.text)

    load = Estimate.exact(run.load_seconds)
    scored = {
        ENGINE: {
            **_throughput(many, read_batch),
            **_latency(single, read_one),
            "load_s": load,
            "peak_rss_mb": Estimate.exact(peak_memory_mb() or float("nan")),
        },
        "exact labels": {**_throughput(many, match_batch), **_latency(single, match_one)},
    }
    notes += _error_note(errors)
    threads = thread_count()
    notes.append("threads: " + ", ".join(f"{name} {count}" for name, count in threads.items()))
    return Outcome(len(rows), scored, notes, {"threads": threads})


def _throughput(rows: Sequence[Row], work: Callable[[Sequence[Row]], None]) -> Estimates:
    counts = []
    for batch in _batches(rows):
        started = time.perf_counter()
        work(batch)
        seconds = time.perf_counter() - started
        texts = [row.text for row in batch]
        counts.append((len(texts), sum(map(count_sentences, texts)), sum(map(len, texts)), seconds))
    return metrics.bootstrap(
        np.array(counts, dtype=np.float64),
        {
            name: partial(_per_second, column)
            for column, name in enumerate(("ads_per_s", "sentences_per_s", "chars_per_s"))
        },
    )


def _per_second(column: int, sums: metrics.Array) -> metrics.Array:
    return metrics.mean(sums[..., [column, 3]])


def _latency(rows: Sequence[Row], work: Callable[[Row], None]) -> Estimates:
    milliseconds = []
    for row in rows:
        started = time.perf_counter()
        work(row)
        milliseconds.append((time.perf_counter() - started) * 1000)
    return metrics.bootstrap_percentiles(milliseconds, {"latency_p50_ms": 50, "latency_p95_ms": 95})


def count_sentences(text: str) -> int:
    """Sentences by a fixed rule: lines, cut behind full stops, question and exclamation marks.

    Not the engine's own sentences: the figure stays comparable when these change.
    """
    return sum(bool(part.strip()) for part in _SENTENCE_END.split(text))


def thread_count() -> dict[str, int]:
    """Threads of the libraries that compute, where they are loaded, and cores of the machine."""
    threads = {"cores": os.cpu_count() or 1}
    if "torch" in sys.modules:
        threads["torch"] = int(sys.modules["torch"].get_num_threads())
    if "faiss" in sys.modules:
        threads["faiss"] = int(sys.modules["faiss"].omp_get_max_threads())
    return threads


# Shared.


def _batches(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _postings(rows: Iterable[Row]) -> Iterator[JobPosting]:
    return (JobPosting(id=row.place, text=row.text, title=row.title) for row in rows)


def read_ads(engine: Engine, rows: Sequence[Row]) -> tuple[list[JobResult], list[str]]:
    """One result a row, and a note about errors.

    Raises:
        EvaluationError: The engine gave fewer or more.
    """
    results = list(engine.extract_batch(_postings(rows)))
    if len(results) != len(rows):
        raise EvaluationError(f"the engine gave {len(results)} results for {len(rows)} ads")
    return results, _error_note(_failed(results))


def _failed(results: Iterable[JobResult]) -> list[JobResult]:
    return [result for result in results if result.error]


def _error_note(failed: Sequence[JobResult]) -> list[str]:
    if not failed:
        return []
    return [
        f"{len(failed)} rows gave an error and count as no answer; the first: {failed[0].error}"
    ]


def _left_out(count: int, reason: str) -> list[str]:
    return [f"left out: {count} rows {reason}"] if count else []


_Members = dict[str, dict[str, list[tuple[int, Any]]]]
"""Dimension → slice → numbers of rows and what of each belongs to the slice."""


def _sliced(
    members: _Members, estimates: Callable[[Sequence[tuple[int, Any]]], Estimates]
) -> dict[str, dict[str, Slice]]:
    return {
        dimension: {
            name: Slice(len(slices[name]), estimates(slices[name]))
            for name in sorted(slices, key=slice_order)
        }
        for dimension, slices in members.items()
    }


def _case_slices(slicer: Slicer, row: Row, concepts: Iterable[str]) -> dict[str, str]:
    """Slices of a row; those of its concepts where all of them agree."""
    slices = slicer.of_row(row)
    found: dict[str, set[str]] = defaultdict(set)
    for concept_id in concepts:
        for dimension, name in slicer.of_concept(row, concept_id).items():
            found[dimension].add(name)
    return slices | {
        dimension: next(iter(names)) if len(names) == 1 else "several"
        for dimension, names in found.items()
    }


def _label(taxonomy: Taxonomy, concept_id: str | None) -> str:
    return taxonomy[concept_id].label if concept_id and concept_id in taxonomy else str(concept_id)


CURVE_POINTS = 50


def _confidence(
    certain: Sequence[tuple[float, bool]], documents: Sequence[Hashable]
) -> tuple[Estimates, dict[str, Any]]:
    """Calibration and risk-coverage of answers with their confidence, as figures and as curves."""
    if not certain:
        return {}, {}
    confidences, right = [score for score, _ in certain], [hit for _, hit in certain]
    bins = metrics.calibration_counts(confidences, right)
    estimates = {
        **metrics.bootstrap(bins, {"ece": metrics.expected_calibration_error}, documents=documents),
        **metrics.bootstrap(
            metrics.aurc_counts(confidences, right),
            {"aurc": metrics.area_under_risk_coverage},
            documents=documents,
        ),
    }
    curve = metrics.risk_coverage(confidences, right)
    last = len(curve.threshold) - 1
    points = sorted({round(at) for at in np.linspace(0, last, min(last + 1, CURVE_POINTS))})
    return estimates, {
        "calibration": metrics.reliability(bins.sum(axis=0)),
        "risk_coverage": [
            {
                "threshold": round(float(curve.threshold[at]), 6),
                "coverage": round(float(curve.coverage[at]), 6),
                "risk": round(float(curve.risk[at]), 6),
            }
            for at in points
        ],
    }


def _concept_sets(
    run: Run, rows: Sequence[Row], results: Sequence[JobResult]
) -> dict[str, list[set[str]]]:
    """Concepts that each system says are asked for or mentioned: negated ones are not."""
    exact = ExactLabels(run.engine.taxonomy.of_kind(*SKILL_KINDS))
    return {
        ENGINE: [{skill.concept_id for skill in _asked(result)} for result in results],
        "exact labels": [{match.concept_id for match in exact.find(row.text)} for row in rows],
    }


def _with_missing(outcome: Outcome, run: Run, gold: Iterable[str]) -> Outcome:
    uris, taxonomy = set(gold), run.engine.taxonomy
    missing = sorted(uri for uri in uris if uri not in taxonomy)
    outcome.details["gold_uris"] = {"distinct": len(uris), "missing": missing}
    if missing:
        outcome.notes.append(
            f"{len(missing)} of {len(uris)} labelled URIs are not in taxonomy {taxonomy.name} "
            f"{taxonomy.version}, so cannot be found; the first: {missing[0]}"
        )
    return outcome


def precision_recall_f1(
    counts: Sequence[tuple[int, int, int, int]], rows: Sequence[Row]
) -> Estimates:
    """Micro-averaged precision, recall and F1 of the counts of rows."""
    return metrics.bootstrap(
        np.array(counts, dtype=np.float64).reshape(-1, 4),
        {"precision": metrics.precision, "recall": metrics.recall, "f1": metrics.f1},
        documents=[row.document for row in rows],
    )


def _concepts_per_empty_row(found: Sequence[set[str]], rows: Sequence[Row]) -> Estimates:
    return means(
        {"concepts_per_empty_row": [float(len(concepts)) for concepts in found]},
        [row.document for row in rows],
    )


def means(values: Mapping[str, Sequence[float]], documents: Sequence[Hashable]) -> Estimates:
    """Means of columns, one value a row."""
    estimates: Estimates = {}
    for name, column in values.items():
        counts = np.stack([np.asarray(column, dtype=np.float64), np.ones(len(column))], axis=1)
        estimates |= metrics.bootstrap(counts, {name: metrics.mean}, documents=documents)
    return estimates


def _mean_of_terms(
    name: str, terms: Sequence[tuple[float, float] | None], rows: Sequence[Row]
) -> Estimates:
    """The mean over rows that have terms, given as their sum and number."""
    counted = [(term, row.document) for term, row in zip(terms, rows, strict=True) if term]
    return metrics.bootstrap(
        np.array([term for term, _ in counted], dtype=np.float64).reshape(-1, 2),
        {name: metrics.mean},
        documents=[document for _, document in counted],
    )


def _f1_by_class(labels: Sequence[str]) -> dict[str, metrics.Metric]:
    return {f"f1/{label}": partial(_f1_of, index) for index, label in enumerate(labels)}


def _f1_of(index: int, matrix: metrics.Array) -> metrics.Array:
    value: metrics.Array = metrics.class_f1(matrix)[..., index]
    return value


def _confusion(cells: metrics.Array, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    matrix = cells.sum(axis=0).astype(int)
    return {
        gold: dict(zip(labels, map(int, row), strict=True))
        for gold, row in zip(labels, matrix, strict=True)
        if gold != ABSTAINED
    }


TASKS: dict[str, Task] = {
    "linking": Task(LinkingRow, linking),
    "extraction": Task(ExtractionRow, extraction),
    "spans": Task(SpansRow, spans),
    "occupations": Task(OccupationRow, occupations),
    "requirement": Task(RequirementRow, requirement),
    "must": Task(MustRow, must),
    "zones": Task(ZonesRow, zones),
    "roles": Task(RoleRow, roles),
    "speed": Task(Row, speed),
}
