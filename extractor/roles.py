"""What machine learning does to a role: `docs/role-classes.md` says what the classes mean.

The decision follows the order of the definition: created, else threatened, else augmented, else
unaffected. Each step is a logistic model of a few named features, so that every part of it can
be told to the user: the title, the kinds of duties and their shares of the working time, and
what the ad asks for in machine learning.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.ai_skills import (
    AIVocabulary,
    MLUse,
    about_employer,
    find_ml_use,
    may_count,
    requirement_weight,
)
from extractor.encoders import CachedEncoder
from extractor.errors import ArtefactError
from extractor.interfaces import Vectors
from extractor.records import (
    BOILERPLATE_ZONES,
    Channel,
    Evidence,
    MainRoleClass,
    OccupationMatch,
    RoleAssessment,
    RoleClass,
    Sentence,
    TaskMatch,
    TaskScores,
)
from extractor.role_model import (
    FEATURES,
    TASK_KINDS,
    TITLE_CLASSES,
    TITLE_KINDS,
    Floats,
    RoleModel,
)
from extractor.tasks import ZONE_WEIGHTS, Clause, find_clauses, place_in

MAX_EVIDENCE = 12
MAX_REMOVED = 6
"""Largest set of evidence that is tried for a change of the label."""

ML_THRESHOLD = 0.8
"""From which learned score on a clause without a listed word speaks of building ML."""

ML_THRESHOLD_OF_ML_TITLE = 0.5
"""The same where the title names ML work, which makes it likely."""

OCCUPATION_TRUST = 0.4
"""Share of the occupation's class in that of a title, if the occupation is certain."""

OCCUPATION_CLASSES_VERSION = "1.0.0"
_EPSILON = 0.02
_NOTHING = 1e-300
"""A sum below which nothing is shared out."""
_TITLE_EPSILON = 0.15
"""Bounds of a title's probability: alone it never settles what the duties can contradict."""


class RoleInput(NamedTuple):
    """What the classifier reads of an ad.

    Attributes:
        title: Job title, where there is one.
        text: The raw text; offsets refer to it.
        sentences: Its sentences with their zones.
        occupations: Occupations of the taxonomy that fit, best first.
    """

    title: str | None
    text: str
    sentences: Sequence[Sentence]
    occupations: tuple[OccupationMatch, ...] = ()


class _Parts(NamedTuple):
    """What was read in an ad, before it is combined: any part of it can be left out.

    Attributes:
        title: Title as it was read; empty if there is none.
        by_title: Probability of each of `TITLE_CLASSES` by the words of the title.
        ml_title: Whether the title names ML work (1 or 0), and whether it names data science.
        votes: Class of the matched occupations, by score; sums to their certainty.
        physical: Probability by title and score of the matched occupations that the routine is
            physical, less those that it is cognitive.
        clauses: Clauses that may describe the work.
        stated: The share of the working time that each states, nan where there is none.
        in_zone: How much a duty counts in the zone of each.
        emphasis: How much each counts as a duty by its wording.
        kinds: Probability of each of `TASK_KINDS` for each clause, shape (clauses, 4).
        clarity: How plain the kind of each is.
        is_duty: Probability that a clause describes the work.
        building: Clauses about building ML.
        using: Clauses that ask for the use of ML tools.
        unlisted: Position of clauses that speak of building ML without a listed word, and the
            learned score above the threshold, in (0, 1].
    """

    title: str
    by_title: Floats
    ml_title: tuple[float, float]
    votes: Floats
    physical: float
    clauses: tuple[Clause, ...]
    stated: Floats
    in_zone: Floats
    emphasis: Floats
    kinds: Floats
    clarity: Floats
    is_duty: Floats
    building: tuple[MLUse, ...]
    using: tuple[MLUse, ...]
    unlisted: dict[int, float]


MODELS = Path(__file__).parent / "models" / "roles"
"""Holds a folder for each encoder of ours that a model was trained on."""

CLASSES: tuple[RoleClass, ...] = ("created", "augmented", "threatened", "unaffected")
ML_VALUES = ("ml_duties", "ml_skills", "ml_density", "ml_unlisted", "uses_ml_tools")
"""Features that tell of building and using ML."""

TITLE, OCCUPATION = "title", "occupation"
Item = str | tuple[int, int]
"""A part of an ad that evidence rests on: the title, the occupation, or a place in the text."""


@dataclass(frozen=True)
class RoleFeatures:
    """Everything that the decision rests on, for one ad.

    Attributes:
        values: Value of each feature in `FEATURES`.
        parts: What they were computed from.
        title_probabilities: Probability of each of `TITLE_CLASSES` by title and occupation.
        weights: Share of each clause in the work; they add up to 1, or to 0 without duties.
        amount: Evidence in duties, in clauses.
    """

    values: dict[str, float]
    parts: _Parts
    title_probabilities: Floats
    weights: Floats
    amount: float

    @property
    def shares(self) -> Floats:
        """Share of the work of each kind of duty; adds up to 1, or to 0 without duties."""
        return _shares(self.weights, self.parts.kinds)


@cache
def occupation_channels() -> dict[str, Channel]:
    """Channel of each occupation that is threatened."""
    return {row["code"]: row["channel"] for row in _occupation_table() if row["channel"]}


@cache
def _occupation_table() -> list[dict[str, Any]]:
    source = resources.files("extractor").joinpath("data/occupation_classes.csv")
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


@cache
def occupation_classes() -> dict[str, tuple[str, bool]]:
    """Our class of each occupation: code → (one of `TITLE_CLASSES`, whether it is clear)."""
    classes = {}
    for row in _occupation_table():
        label = row["label"]
        if label == "unaffected":
            label = "skilled" if row["nearest"] == "augmented" else "manual"
        classes[row["code"]] = (label, row["certainty"] == "clear")
    return classes


def occupation_class(code: str) -> tuple[str, bool] | None:
    """Our class of an occupation and whether it is clear.

    Args:
        code: O*NET-SOC, or ISCO-08 with or without further digits: its longest known prefix
            counts.

    Returns:
        One of `TITLE_CLASSES`, and whether it is clear; None for a code without a class.
    """
    known = _known_code(code)
    return occupation_classes()[known] if known else None


def _known_code(code: str) -> str | None:
    """The code under which the table has an occupation."""
    table, digits = occupation_classes(), code.split(".")[0]
    prefixes = (
        [digits[:length] for length in range(min(4, len(digits)), 0, -1)]
        if digits.isdigit()
        else []
    )
    return next((known for known in (code, *prefixes, f"{code}.00") if known in table), None)


# --- Title ----------------------------------------------------------------------------------

_TITLE_NOISE = re.compile(
    r"(?i)\([^()]*\)|\[[^][]*\]|\bjobs?\b\s*$|\bband \d\w?\b|\b(?:remote|hybrid|on-?site|"
    r"full[- ]time|part[- ]time|temp(?:orary)? to hire|contract|\d+(?:st|nd|rd|th) shift|"
    r"m/f/d|f/m/d|urgent(?:ly)?|hiring|vacancy|wanted)\b|\b\d+\b"
)

_GENDERED_TITLE = re.compile(r"(?i)(?:(?<=sales)|(?<=chair)|(?<=spokes))(?:wo)?man\b")
_HIRING = re.compile(
    r"(?i)\b(?:(?:is|are|we['’]re) (?:\w+ )?(?:looking|searching|recruiting|hiring|seeking)|"
    r"(?:we|clinic|company|practice|office) (?:needs?|seeks?|wants?)|"
    r"an? (?:\w++ ){1,6}(?:wanted|sought))\b"
)
_TITLE_LEVEL = re.compile(
    r"(?i)\b(?:intern(?:ship)?|trainee|senior|junior|mid|level|lead|head|entry|graduate|new|bank|"
    r"i{1,3}|iv|sr|jr)\b\.?"
)


def clean_title(title: str) -> str:
    """Drop brackets, contract terms and places from a title."""
    core = re.split(r"\s[-–—|@]\s|\s?[-–—|]\s|\|", _TITLE_NOISE.sub(" ", title))
    kept = next((part for part in core if _TITLE_LEVEL.sub("", part).strip(" -–—,:;|/.")), title)
    kept = _GENDERED_TITLE.sub("person", kept)
    return " ".join(kept.replace("/", " / ").split()).strip(" -–—,:;|/") or title.strip()


def _title_of(ad: RoleInput) -> str:
    if ad.title and ad.title.strip():
        return clean_title(ad.title)
    first = ad.text.strip().split("\n", 1)[0].strip()
    if 2 < len(first) <= 80 and first[-1] not in ".!?:;," and len(first.split()) <= 10:
        return clean_title(first)
    return ""


# --- Decision -------------------------------------------------------------------------------


def _log_odds(probabilities: Floats, bound: float = _EPSILON) -> Floats:
    clipped = np.clip(probabilities, bound, 1.0 - bound)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))


def _likeliest(probabilities: Mapping[RoleClass, float]) -> RoleClass:
    return max(probabilities, key=lambda label: probabilities[label])


class RoleClassifier:
    """Assesses roles.

    Args:
        encoder: The encoder that the model belongs to.
        model: Learned parts.
        vocabulary: Words about building and using ML.
    """

    def __init__(self, encoder: CachedEncoder, model: RoleModel, vocabulary: AIVocabulary) -> None:
        self.encoder = encoder
        self.model = model
        self.vocabulary = vocabulary

    @classmethod
    def load(cls, encoder: CachedEncoder, folder: Path | None = None) -> RoleClassifier:
        """Load lists and weights.

        Args:
            encoder: Turns clauses and titles into vectors.
            folder: Folder of a role model; by default that of the encoder `accurate`.

        Raises:
            ArtefactError: The model is missing, damaged, or belongs to another encoder.
        """
        folder = folder or MODELS / "accurate"
        model = RoleModel.load(folder)
        if not model.belongs_to(encoder):
            raise ArtefactError(
                f"the role model in {folder} belongs to the encoder {model.encoder!r} with "
                f"{len(model.probe)} dimensions; {encoder.name!r} with {encoder.dimension} gives "
                "other vectors: use that encoder, or train a model for yours with python -m "
                "training.roles --encoder"
            )
        return cls(encoder, model, AIVocabulary.load())

    def assess_batch(
        self, ads: Sequence[RoleInput]
    ) -> list[tuple[RoleAssessment, tuple[TaskMatch, ...]]]:
        """Assess ads, with one call of the encoder for all of them.

        Returns:
            For each ad its role class and its duties, in the order of the ads.
        """
        return [self._assess(ad, found) for ad, found in zip(ads, self.features(ads), strict=True)]

    def features(self, ads: Sequence[RoleInput]) -> list[RoleFeatures]:
        """What the decision rests on, for each ad."""
        titles = [_title_of(ad) for ad in ads]
        clauses = [
            [clause for clause in find_clauses(ad.sentences) if not _repeats(ad.title, clause)]
            for ad in ads
        ]
        cores, contexts = self._read(ads, clauses)
        kinds = (self.model.task.probabilities(cores) + self.model.task.probabilities(contexts)) / 2
        is_duty = self.model.duty.probabilities(cores)[:, 1]
        about_ml = self.model.ml.probabilities(cores)[:, 1]
        title_kinds = self.model.title.probabilities(self.encoder.encode(titles))
        result = []
        at = 0
        for i, ad in enumerate(ads):
            rows = slice(at, at + len(clauses[i]))
            at = rows.stop
            ml_title = _ml_title(ad.title or titles[i], self.vocabulary)
            threshold = ML_THRESHOLD_OF_ML_TITLE if ml_title[0] else ML_THRESHOLD
            building, using = find_ml_use(clauses[i], self.vocabulary)
            listed = {(use.clause.start, use.clause.end) for use in (*building, *using)}
            unlisted = {
                k: float((score - threshold) / (1 - threshold)) * requirement_weight(clause)
                for k, (clause, score) in enumerate(zip(clauses[i], about_ml[rows], strict=True))
                if score > threshold
                and (clause.start, clause.end) not in listed
                and may_count(clause)
            }
            parts = _Parts(
                title=titles[i],
                by_title=_by_class(title_kinds[i]),
                ml_title=ml_title,
                votes=_votes(ad.occupations),
                physical=_physical(title_kinds[i]) + _physical_occupation(ad.occupations),
                clauses=tuple(clauses[i]),
                stated=_floats(np.nan if c.share is None else c.share for c in clauses[i]),
                in_zone=_floats(ZONE_WEIGHTS[clause.zone] for clause in clauses[i]),
                emphasis=_floats(c.emphasis * _about_work(c.text) for c in clauses[i]),
                kinds=kinds[rows],
                clarity=kinds[rows].max(axis=1, initial=0.0) ** 2,
                is_duty=is_duty[rows],
                building=tuple(building),
                using=tuple(using),
                unlisted=unlisted,
            )
            result.append(_combine(parts))
        return result

    def _read(
        self, ads: Sequence[RoleInput], clauses: Sequence[Sequence[Clause]]
    ) -> tuple[Vectors, Vectors]:
        """Vectors of the cores and of the contexts of all clauses, shape (clauses, dimension) each.

        Sentences are read whole, which the linker does too, and clauses are parts of them; what
        does not stand there word for word is read alone.
        """
        parts: dict[str, list[tuple[int, int]]] = {}
        places: list[tuple[str, int]] = []
        for ad, found in zip(ads, clauses, strict=True):
            starts = [sentence.start for sentence in ad.sentences]
            for clause in found:
                sentence = ad.sentences[bisect_right(starts, clause.start) - 1]
                at = clause.start - sentence.start
                # The context of an item begins before it.
                for words, since in (
                    (clause.core, at),
                    (clause.context, 0 if clause.whole else at),
                ):
                    place = place_in(sentence.text, words, since)
                    text = sentence.text if place else words
                    of_text = parts.setdefault(text, [])
                    places.append((text, len(of_text)))
                    of_text.append(place or (0, len(words)))
        _, found_vectors = self.encoder.encode_parts(list(parts), list(parts.values()))
        vectors = dict(zip(parts, found_vectors, strict=True))
        shape = (-1, 2, self.encoder.dimension)
        pairs = np.array([vectors[text][n] for text, n in places], dtype=np.float32).reshape(shape)
        return pairs[:, 0], pairs[:, 1]

    def _score(self, step: str, values: Mapping[str, Any]) -> Any:
        weights = self.model.steps[step]
        return weights["bias"] + sum(weights[name] * values[name] for name in FEATURES[step])

    def _probabilities(self, values: Mapping[str, Floats]) -> Floats:
        """Probability of each of `CLASSES`, by the steps of the definition in their order.

        Args:
            values: Values of features, each of shape (ads,).

        Returns:
            Shape (ads, 4).
        """
        created, threatened, augmented = (
            _sigmoid(self._score(step, values)) for step in ("created", "threatened", "augmented")
        )
        rest = (1 - created) * (1 - threatened)
        return np.stack(
            [created, rest * augmented, (1 - created) * threatened, rest * (1 - augmented)], axis=1
        )

    def probabilities(self, features: RoleFeatures) -> dict[RoleClass, float]:
        """Probability of each class."""
        values = {name: np.array([value]) for name, value in features.values.items()}
        found: list[float] = self._probabilities(values)[0].tolist()
        return dict(zip(CLASSES, found, strict=True))

    def nearest(self, features: RoleFeatures) -> MainRoleClass:
        """The main class that fits best, also where the label is `unaffected`."""
        label = _likeliest(self.probabilities(features))
        if label != "unaffected":
            return label
        return "threatened" if self._score("nearest", features.values) > 0 else "augmented"

    def _assess(
        self, ad: RoleInput, features: RoleFeatures
    ) -> tuple[RoleAssessment, tuple[TaskMatch, ...]]:
        probabilities = self.probabilities(features)
        tasks = _tasks(features)
        reason = _reason_to_abstain(ad, features)
        if reason is not None:
            return (
                RoleAssessment(
                    label=None, nearest=None, probabilities=probabilities, abstained=reason
                ),
                tasks,
            )
        label = _likeliest(probabilities)
        channel: Channel | None = None
        notes = []
        if label == "threatened":
            channel = _channel(features)
            if any(use.weight == 1.0 for use in features.parts.using):
                notes.append("transforming")
        items, evidence = self._evidence(ad, features)
        flips_without, flips_to = self._flip(features, label, items)
        assessment = RoleAssessment(
            label=label,
            nearest=self.nearest(features),
            probabilities=probabilities,
            channel=channel,
            evidence=evidence,
            flips_without=flips_without,
            flips_to=flips_to,
            notes=tuple(notes),
        )
        return assessment, tasks

    def _flip(
        self, features: RoleFeatures, label: RoleClass, items: Sequence[Item]
    ) -> tuple[tuple[int, ...], RoleClass | None]:
        """The smallest set of evidence without which the label is another one.

        Sets of one and two are tried in full. Larger ones grow by the item that lowers the
        label's probability most, and are then rid of what they do not need.
        """
        distinct = list(dict.fromkeys(items))
        own = CLASSES.index(label)

        def tried(removals: Sequence[Sequence[Item]]) -> tuple[Floats, NDArray[np.bool_]]:
            left = _without(features.parts, [frozenset(removed) for removed in removals])
            found = self._probabilities(left.values)
            return found[:, own], found.argmax(axis=1) != own

        def flipped(removed: Sequence[Item]) -> tuple[tuple[int, ...], RoleClass | None]:
            left = _without(features.parts, [frozenset(removed)])
            places = tuple(i for i, item in enumerate(items) if item in removed)
            return places, CLASSES[int(self._probabilities(left.values)[0].argmax())]

        for size in (1, 2):
            removals = list(combinations(distinct, size))
            if removals:
                probabilities, is_other = tried(removals)
                if is_other.any():
                    return flipped(removals[np.where(is_other, probabilities, np.inf).argmin()])
        removed: list[Item] = []
        while len(removed) < min(MAX_REMOVED, len(distinct)):
            more = [[*removed, item] for item in distinct if item not in removed]
            probabilities, is_other = tried(more)
            best = int(probabilities.argmin())
            removed = more[best]
            if len(removed) > 2 and is_other[best]:
                for item in removed[:-1]:
                    fewer = [other for other in removed if other != item]
                    if tried([fewer])[1].all():
                        removed = fewer
                return flipped(removed)
        return (), None

    def _evidence(
        self, ad: RoleInput, features: RoleFeatures
    ) -> tuple[list[Item], tuple[Evidence, ...]]:
        """Reasons in the units of the decision: weight of the feature times its value.

        Returns:
            What each reason rests on, and the reasons, heaviest first.
        """
        steps, values, parts = self.model.steps, features.values, features.parts
        reasons: list[tuple[Item, Evidence]] = []
        roles, lists = f"roles {self.model.version}", f"ai_skills {self.vocabulary.version}"
        of_titles = f"{roles}, O*NET titles"
        of_tasks = f"{roles}, task labels of GPTs are GPTs and ILO"
        of_occupations = f"occupation_classes {OCCUPATION_CLASSES_VERSION}"

        def add(
            kind: Any, text: str, points_to: RoleClass, weight: float, item: Item, note: str,
            source: str,
        ) -> None:  # fmt: skip
            start, end = (None, None) if isinstance(item, str) else item
            reason = Evidence(
                kind=kind, text=text, points_to=points_to, weight=round(weight, 3),
                start=start, end=end, note=note, source=source,
            )  # fmt: skip
            if abs(weight) > 0.01:
                reasons.append((item, reason))

        created = steps["created"]
        total = sum(use.weight for use in parts.building) or 1.0
        of_building = sum(
            created[name] * values[name] for name in ("ml_duties", "ml_skills", "ml_density")
        )
        for use in parts.building:
            note = "builds, runs or governs ML" if use.duty else "knows how to build ML"
            names = ", ".join(dict.fromkeys(mention.text for mention in use.mentions))
            at: Any = use.clause if use.duty else use.mentions[0]
            add(
                "task" if use.duty else "skill",
                ad.text[at.start : at.end],
                "created",
                of_building * use.weight / total,
                (at.start, at.end),
                f"{note}: {names}",
                lists,
            )
        for i, score in parts.unlisted.items():
            clause = parts.clauses[i]
            weight = created["ml_unlisted"] * values["ml_unlisted"]
            add(
                "task",
                ad.text[clause.start : clause.end],
                "created",
                weight * score / sum(parts.unlisted.values()),
                (clause.start, clause.end),
                "reads like building ML, by a learned score",
                f"{roles}, ai_skills and scored requirement statements",
            )
        for use in parts.using:
            mention = use.mentions[0]
            weight = steps["augmented"]["uses_ml_tools"] * use.weight
            place = (mention.start, mention.end)
            add("skill", mention.text, "augmented", weight, place, "asks to use ML tools", lists)
        if parts.title:
            weight = created["ml_title"] * values["ml_title"]
            weight += created["data_title"] * values["data_title"]
            add("title", parts.title, "created", weight, TITLE, "title of ML work", lists)
        for item, text, source in (
            (TITLE, parts.title, of_titles),
            (OCCUPATION, ad.occupations[0].label if ad.occupations else "", of_occupations),
        ):
            chances = parts.by_title if item == TITLE else parts.votes
            if not text or not chances.any() or chances[0] >= 0.5:
                continue
            best = int(chances[1:].argmax()) + 1
            points_to: RoleClass = ("threatened", "augmented", "unaffected", "unaffected")[best - 1]
            by_threat = points_to == "threatened"
            step = "threatened" if by_threat else "augmented"
            name = f"title_{step}"
            if item == TITLE:
                # Against a title that tells nothing, with the occupations left out of both.
                bare = _combine(parts, frozenset([OCCUPATION]))
                note = f"class of such titles, {chances[best]:.0%}"
            else:
                bare, note = features, f"occupation that fits best, p = {chances.sum():.2f}"
            other = _combine(parts, frozenset([TITLE, OCCUPATION] if item == TITLE else [item]))
            weight = abs(steps[step][name] * (bare.values[name] - other.values[name]))
            add(item, text, points_to, weight, item, note, source)
        routine, odds = _log_odds(parts.kinds[:, :2].sum(axis=1)), _log_odds(parts.kinds)
        for i, clause in enumerate(parts.clauses):
            share = float(features.weights[i])
            kind = int(parts.kinds[i].argmax())
            points_to = ("threatened", "threatened", "augmented", "unaffected")[kind]
            if points_to == "threatened":
                weight = steps["threatened"]["routine_duties"] * share
                weight *= float(routine[i])
                note = f"routine work ({TASK_KINDS[kind]})"
            else:
                weight = steps["augmented"]["knowledge_duties"] * share
                weight *= abs(float(odds[i, kind]))
                note = ("analysis, judgement or contact", "hands-on work")[kind - 2]
            if clause.share is not None:
                note += f", {clause.share:.0%} of the time"
            text = ad.text[clause.start : clause.end]
            if share > 0:
                place = (clause.start, clause.end)
                add("task", text, points_to, weight, place, note, of_tasks)
        reasons.sort(key=lambda reason: (-abs(reason[1].weight), reason[1].start or 0))
        kept = reasons[:MAX_EVIDENCE]
        return [item for item, _ in kept], tuple(reason for _, reason in kept)


class _Left(NamedTuple):
    """What is left of an ad without some of its parts, for several choices of these.

    Attributes:
        values: Value of each feature in `FEATURES`, shape (choices,).
        title_probabilities: Probability of each of `TITLE_CLASSES`, shape (choices, 5).
        weights: Share of each clause in the work, shape (choices, clauses).
        amount: Evidence in duties, in clauses, shape (choices,).
    """

    values: dict[str, Floats]
    title_probabilities: Floats
    weights: Floats
    amount: Floats


def _combine(parts: _Parts, removed: AbstractSet[Item] = frozenset()) -> RoleFeatures:
    """Features of an ad, or of what is left of it without some of its parts."""
    left = _without(parts, [removed])
    values = {name: float(of_choice[0]) for name, of_choice in left.values.items()}
    return RoleFeatures(
        values, parts, left.title_probabilities[0], left.weights[0], float(left.amount[0])
    )


def _without(parts: _Parts, removals: Sequence[AbstractSet[Item]]) -> _Left:
    """What is left of an ad without each of some sets of its parts."""
    gone = np.zeros((len(removals), len(parts.clauses)), dtype=np.bool_)
    rows_at: dict[Item, list[int]] = {}
    for row, clause in enumerate(parts.clauses):
        rows_at.setdefault((clause.start, clause.end), []).append(row)
    for choice, removed in enumerate(removals):
        for item in removed:
            gone[choice, rows_at.get(item, [])] = True
    is_duty = np.where(gone, 0.0, parts.is_duty)
    stated = np.where(gone, np.nan, parts.stated)
    is_stated = ~np.isnan(stated)
    # A clause that could be of any kind says less than one whose kind is plain.
    counted = parts.in_zone * is_duty
    weights = _clause_weights(stated, counted * parts.emphasis * parts.clarity)
    amount = np.where(is_stated, 1.0, counted).sum(axis=1)
    titled = np.array([bool(parts.title) and TITLE not in removed for removed in removals])
    probabilities = np.stack(
        [
            _title_probabilities(
                parts.by_title if is_titled else None,
                np.zeros(len(TITLE_CLASSES)) if OCCUPATION in removed else parts.votes,
            )
            for is_titled, removed in zip(titled, removals, strict=True)
        ]
    )
    cognitive, physical, knowledge, situated = _shares(weights, parts.kinds).T
    created, threatened, augmented, skilled, manual = probabilities.T
    known = amount / (amount + 1.0)
    # What the ad says about the working time outweighs what the title suggests.
    told = np.minimum(1.0, np.where(is_stated, stated, 0.0).sum(axis=1))
    by_duties, by_name = known * (1.0 + told), 1.0 - 0.6 * told
    ml_title, data_title = parts.ml_title

    def share(one: Floats, other: Floats) -> Floats:
        return np.asarray(one / np.maximum(1e-9, one + other))

    values = _ml_values(parts, removals) | {
        "ml_title": ml_title * titled,
        "data_title": data_title * titled,
        "title_threatened": by_name
        * _log_odds(threatened / np.maximum(1e-9, 1.0 - created), _TITLE_EPSILON),
        "title_augmented": by_name * _log_odds(share(augmented, skilled + manual), _TITLE_EPSILON),
        "title_nearest": _log_odds(share(threatened + manual, augmented + skilled)),
        "routine_duties": by_duties * _log_odds(cognitive + physical),
        "knowledge_duties": by_duties * _log_odds(share(knowledge, situated)),
    }
    return _Left(values, probabilities, weights, amount)


def _shares(weights: Floats, kinds: Floats) -> Floats:
    """Share of each kind of duty, shape (…, 4), of those of clauses, shape (…, clauses)."""
    return np.asarray(weights @ kinds)


def _repeats(title: str | None, clause: Clause) -> bool:
    """Whether a clause at the head of an ad is the title again."""
    if not title or clause.start > 200 or clause.zone == "duties":
        return False
    words, again = (re.findall(r"\w+", text.lower()) for text in (title, clause.text))
    return again[: len(words)] == words[: len(again)] and len(again) <= len(words) + 4


def _ml_title(title: str, vocabulary: AIVocabulary) -> tuple[float, float]:
    """Whether a title names ML work, and whether it names data science."""
    other_trade = any(True for _ in vocabulary.find(title, "not_ml_title"))
    groups = {m.group for m in vocabulary.find(title, "ml_title", "data_science_title")}
    return (
        float("ml_title" in groups and not other_trade),
        float("data_science_title" in groups and not other_trade),
    )


def _ml_values(parts: _Parts, removals: Sequence[AbstractSet[Item]]) -> dict[str, Floats]:
    """What is left of building and using ML without each of some sets of parts."""

    def places(use: MLUse) -> set[Item]:
        first = use.mentions[0]
        return {(use.clause.start, use.clause.end), (first.start, first.end)}

    building, using = ([(use, places(use)) for use in u] for u in (parts.building, parts.using))
    unlisted = [
        (score, (parts.clauses[row].start, parts.clauses[row].end))
        for row, score in parts.unlisted.items()
    ]
    found = np.zeros((len(ML_VALUES), len(removals)))
    for choice, removed in enumerate(removals):
        strength: dict[str, float] = {}
        duties = weight = 0.0
        for use, at in building:
            if at.isdisjoint(removed):
                weight += use.weight
                duties += use.weight * use.duty
                for mention in use.mentions:
                    strength[mention.concept] = max(strength.get(mention.concept, 0.0), use.weight)
        found[:, choice] = (
            math.log1p(min(duties, 8.0)),
            math.log1p(min(sum(strength.values()), 8.0)),
            min(1.0, 4.0 * weight / max(len(parts.clauses), 4)),
            math.log1p(min(sum(s for s, at in unlisted if at not in removed), 4.0)),
            min(1.0, sum(use.weight for use, at in using if at.isdisjoint(removed))),
        )
    return dict(zip(ML_VALUES, found, strict=True))


@lru_cache(maxsize=10_000)
def _about_work(text: str) -> float:
    """Less than 1 for a clause that speaks of the employer, or only names whom it looks for."""
    if about_employer(text) or (_HIRING.search(text) and len(text.split()) <= 14):
        return 0.2
    return 1.0


def _clause_weights(stated: Floats, free: Floats) -> Floats:
    """Share of each clause in the work: as stated, and the rest spread over the other duties.

    Args:
        stated: Shares, nan where none is stated, shape (…, clauses).
        free: How much each counts that states none, of the same shape.
    """
    is_free = np.isnan(stated)
    free, weights = np.where(is_free, free, 0.0), np.where(is_free, 0.0, stated)
    rest = np.maximum(0.0, 1.0 - weights.sum(axis=-1, keepdims=True))
    weights += rest * free / np.maximum(free.sum(axis=-1, keepdims=True), _NOTHING)
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), _NOTHING))


def _floats(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _votes(occupations: Sequence[OccupationMatch]) -> Floats:
    """Class of the matched occupations; sums to their certainty, at most 1."""
    votes = np.zeros(len(TITLE_CLASSES))
    for match in occupations:
        known = occupation_class(match.code)
        if known is not None:
            label, clear = known
            votes[TITLE_CLASSES.index(label)] += match.score * (1.0 if clear else 0.6)
    return votes / max(1.0, float(votes.sum()))


def _by_class(kinds: Floats) -> Floats:
    """Probability of `TITLE_CLASSES` from that of `TITLE_KINDS`."""
    return np.array([kinds[0], kinds[1] + kinds[2], *kinds[3:]])


def _physical(kinds: Floats) -> float:
    return float(kinds[TITLE_KINDS.index("physical")] - kinds[TITLE_KINDS.index("cognitive")])


def _physical_occupation(occupations: Sequence[OccupationMatch]) -> float:
    sign = {"physical": 1.0, "cognitive": -1.0}
    channels = occupation_channels()
    return sum(
        match.score * sign.get(channels.get(_known_code(match.code) or "", ""), 0.0)
        for match in occupations
    )


def _title_probabilities(by_title: Floats | None, votes: Floats) -> Floats:
    """Classes by the title's words, mixed with those of the occupation by its certainty."""
    uniform = np.full(len(TITLE_CLASSES), 1.0 / len(TITLE_CLASSES))
    certainty = float(votes.sum())
    if certainty == 0:
        return uniform if by_title is None else by_title
    prior = 0.9 * votes / certainty + 0.1 * uniform
    if by_title is None:
        return np.asarray((1 - certainty) * uniform + certainty * prior)
    trust = OCCUPATION_TRUST * certainty
    return np.asarray((1 - trust) * by_title + trust * prior)


def _channel(features: RoleFeatures) -> Channel:
    cognitive, physical = features.shares[:2]
    return "physical" if physical - cognitive + features.parts.physical > 0 else "cognitive"


def _tasks(features: RoleFeatures) -> tuple[TaskMatch, ...]:
    """Clauses that count as duties, with the exposure of each."""
    tasks = []
    parts = features.parts
    weights = _clause_weights(parts.stated, parts.in_zone * parts.is_duty * parts.emphasis)
    for clause, weight, kinds in zip(parts.clauses, weights, parts.kinds, strict=True):
        if weight * len(parts.clauses) < 0.5 or clause.zone in BOILERPLATE_ZONES:
            continue
        cognitive, physical, knowledge, _ = (float(kind) for kind in kinds)
        tasks.append(
            TaskMatch(
                start=clause.start,
                end=clause.end,
                text=clause.text,
                scores=TaskScores(
                    automation=min(1.0, cognitive + physical),
                    augmentation=knowledge,
                    channel="cognitive" if cognitive >= physical else "physical",
                ),
            )
        )
    return tuple(tasks)


def _reason_to_abstain(ad: RoleInput, features: RoleFeatures) -> str | None:
    few = len(features.parts.clauses) <= 1 and features.amount < 0.5
    if (few and not ad.title) or (not features.parts.title and features.amount < 1.0):
        return "the ad has no title and no sentence that describes a duty"
    if features.amount < 0.2 and not features.parts.building:
        best = float(features.title_probabilities.max())
        if best < 0.5:
            return "no duties were found, and the title alone does not tell"
    return None
