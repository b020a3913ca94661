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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extractor.ai_skills import AIVocabulary, MLUse, about_employer, find_ml_use
from extractor.errors import ArtefactError
from extractor.interfaces import Encoder
from extractor.records import (
    BOILERPLATE_ZONES,
    Channel,
    Evidence,
    MainRoleClass,
    OccupationMatch,
    RoleAssessment,
    RoleClass,
    Sentence,
    SkillMatch,
    TaskMatch,
    TaskScores,
)
from extractor.role_model import FEATURES, TASK_KINDS, TITLE_CLASSES, Floats, RoleModel
from extractor.tasks import ZONE_WEIGHTS, Clause, find_clauses

MAX_EVIDENCE = 12
_EPSILON = 0.02
_TITLE_EPSILON = 0.07
"""Bounds of a title's probability: alone it never settles what the duties can contradict."""


class RoleInput(NamedTuple):
    """What the classifier reads of an ad.

    Attributes:
        title: Job title, where there is one.
        text: The raw text; offsets refer to it.
        sentences: Its sentences with their zones.
        skills: Skills found in it.
        occupations: Occupations of the taxonomy that fit, best first.
    """

    title: str | None
    text: str
    sentences: Sequence[Sentence]
    skills: tuple[SkillMatch, ...] = ()
    occupations: tuple[OccupationMatch, ...] = ()


@dataclass(frozen=True)
class RoleFeatures:
    """Everything that the decision rests on, for one ad.

    Attributes:
        values: Value of each feature in `FEATURES`.
        title: Title as it was read; empty if there is none.
        title_probabilities: Probability of each of `TITLE_CLASSES` by title and occupation.
        clauses: Clauses with weight.
        weights: Share of each clause in the work; they add up to 1, or to 0 without duties.
        kinds: Probability of each of `TASK_KINDS` for each clause, shape (clauses, 4).
        building: Clauses about building ML.
        using: Clauses that ask for the use of ML tools.
        amount: Evidence in duties, in clauses.
    """

    values: dict[str, float]
    title: str
    title_probabilities: Floats
    clauses: tuple[Clause, ...]
    weights: Floats
    kinds: Floats
    building: tuple[MLUse, ...]
    using: tuple[MLUse, ...]
    amount: float

    @property
    def shares(self) -> Floats:
        """Share of the work of each kind of duty; adds up to 1, or to 0 without duties."""
        return self.weights @ self.kinds if len(self.clauses) else np.zeros(len(TASK_KINDS))


@cache
def occupation_classes() -> dict[str, tuple[str, bool]]:
    """Our class of each occupation: code → (one of `TITLE_CLASSES`, whether it is clear)."""
    source = resources.files("extractor").joinpath("data/occupation_classes.csv")
    classes = {}
    for row in csv.DictReader(source.read_text(encoding="utf-8").splitlines()):
        label = row["label"]
        if label == "unaffected":
            label = "skilled" if row["nearest"] == "augmented" else "manual"
        classes[row["code"]] = (label, row["certainty"] == "clear")
    return classes


# --- Title ----------------------------------------------------------------------------------

_TITLE_NOISE = re.compile(
    r"(?i)\([^)]*\)|\[[^]]*\]|\bjobs?\b\s*$|\bband \d\w?\b|\b(?:remote|hybrid|on-?site|"
    r"full[- ]time|part[- ]time|temp(?:orary)? to hire|contract|\d+(?:st|nd|rd|th) shift|"
    r"m/f/d|f/m/d|urgent(?:ly)?|hiring|vacancy|wanted)\b|\b\d+\b"
)

_GENDERED_TITLE = re.compile(r"(?i)(?:(?<=sales)|(?<=chair)|(?<=spokes))(?:wo)?man\b")
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


def _log_odds(probability: float, bound: float = _EPSILON) -> float:
    clipped = min(max(probability, bound), 1.0 - bound)
    return math.log(clipped / (1.0 - clipped))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, value))))


class RoleClassifier:
    """Assesses roles.

    Args:
        encoder: The encoder that the model belongs to.
        model: Learned parts.
        vocabulary: Words about building and using ML.
    """

    def __init__(self, encoder: Encoder, model: RoleModel, vocabulary: AIVocabulary) -> None:
        self.encoder = encoder
        self.model = model
        self.vocabulary = vocabulary

    @classmethod
    def load(cls, encoder: Encoder, folder: Path | None = None) -> RoleClassifier:
        """Load lists and weights.

        Args:
            encoder: Turns clauses and titles into vectors.
            folder: Folder of a role model; by default the one that comes with the package.

        Raises:
            ArtefactError: The model is missing, damaged, or belongs to another encoder.
        """
        folder = folder or Path(str(resources.files("extractor").joinpath("models/roles")))
        model = RoleModel.load(folder)
        dimension = model.task.hidden_weights.shape[1]
        if (encoder.name, encoder.dimension) != (model.encoder, dimension):
            raise ArtefactError(
                f"the role model in {folder} belongs to the encoder {model.encoder!r} with "
                f"{dimension} dimensions, not to {encoder.name!r} with {encoder.dimension}: use "
                "that encoder, or train a model for yours with python -m training.roles --encoder"
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
        clauses = [find_clauses(ad.sentences) for ad in ads]
        texts = [clause.core for found in clauses for clause in found]
        vectors = self.encoder.encode([*texts, *titles])
        kinds = self.model.task.probabilities(vectors[: len(texts)])
        is_duty = self.model.duty.probabilities(vectors[: len(texts)])[:, 1]
        by_title = self.model.title.probabilities(vectors[len(texts) :])
        result = []
        at = 0
        for i, ad in enumerate(ads):
            rows = slice(at, at + len(clauses[i]))
            at = rows.stop
            result.append(
                self._features(ad, titles[i], by_title[i], clauses[i], kinds[rows], is_duty[rows])
            )
        return result

    def _features(
        self,
        ad: RoleInput,
        title: str,
        by_title: Floats,
        clauses: Sequence[Clause],
        kinds: Floats,
        is_duty: Floats,
    ) -> RoleFeatures:
        weights = _clause_weights(clauses, is_duty)
        amount = float(
            sum(
                1.0 if clause.share is not None else ZONE_WEIGHTS[clause.zone] * p
                for clause, p in zip(clauses, is_duty, strict=True)
            )
        )
        probabilities = _title_probabilities(title, by_title, ad.occupations)
        building, using = find_ml_use(clauses, ad.skills, self.vocabulary)
        shares = weights @ kinds if len(clauses) else np.zeros(len(TASK_KINDS))
        cognitive, physical, knowledge, situated = (float(share) for share in shares)
        threatened = float(probabilities[1] / max(1e-9, 1.0 - probabilities[0]))
        augmented, skilled, manual = (float(p) for p in probabilities[2:])
        known = amount / (amount + 1.0)
        # What the ad says about the working time outweighs what the title suggests.
        stated = min(1.0, sum(clause.share or 0.0 for clause in clauses))
        by_duties, by_name = known * (1.0 + stated), 1.0 - 0.6 * stated
        values = _ml_values(ad.title or title, building, self.vocabulary, len(clauses)) | {
            "title_threatened": by_name * _log_odds(threatened, _TITLE_EPSILON),
            "title_augmented": by_name
            * _log_odds(augmented / max(1e-9, augmented + skilled + manual), _TITLE_EPSILON),
            "title_nearest": _log_odds(
                (threatened + manual) / max(1e-9, threatened + manual + augmented + skilled)
            ),
            "routine_duties": by_duties * _log_odds(cognitive + physical),
            "knowledge_duties": by_duties * _log_odds(knowledge / max(1e-9, knowledge + situated)),
            "uses_ml_tools": min(1.0, sum(use.weight for use in using)),
        }
        return RoleFeatures(
            values=values,
            title=title,
            title_probabilities=probabilities,
            clauses=tuple(clauses),
            weights=weights,
            kinds=kinds,
            building=tuple(building),
            using=tuple(using),
            amount=amount,
        )

    def _score(self, step: str, values: dict[str, float]) -> float:
        weights = self.model.steps[step]
        return weights["bias"] + sum(weights[name] * values[name] for name in FEATURES[step])

    def probabilities(self, features: RoleFeatures) -> dict[RoleClass, float]:
        """Probability of each class, by the steps of the definition in their order."""
        created, threatened, augmented = (
            _sigmoid(self._score(step, features.values))
            for step in ("created", "threatened", "augmented")
        )
        return {
            "created": created,
            "augmented": (1 - created) * (1 - threatened) * augmented,
            "threatened": (1 - created) * threatened,
            "unaffected": (1 - created) * (1 - threatened) * (1 - augmented),
        }

    def nearest(self, features: RoleFeatures) -> MainRoleClass:
        """The main class that fits best, also where the label is `unaffected`."""
        probabilities = self.probabilities(features)
        label = max(probabilities, key=lambda name: probabilities[name])
        if label != "unaffected":
            return label
        return "threatened" if self._score("nearest", features.values) > 0 else "augmented"

    def _assess(
        self, ad: RoleInput, features: RoleFeatures
    ) -> tuple[RoleAssessment, tuple[TaskMatch, ...]]:
        probabilities = self.probabilities(features)
        tasks = _tasks(features)
        reason = _reason_to_abstain(features)
        if reason is not None:
            return (
                RoleAssessment(
                    label=None, nearest=None, probabilities=probabilities, abstained=reason
                ),
                tasks,
            )
        label = max(probabilities, key=lambda name: probabilities[name])
        nearest = self.nearest(features)
        channel: Channel | None = None
        notes = []
        if label == "threatened":
            channel = _channel(features)
            if any(use.weight == 1.0 for use in features.using):
                notes.append("transforming")
        assessment = RoleAssessment(
            label=label,
            nearest=nearest,
            probabilities=probabilities,
            channel=channel,
            evidence=self._evidence(ad, features, label),
            notes=tuple(notes),
        )
        return assessment, tasks

    def _evidence(
        self, ad: RoleInput, features: RoleFeatures, label: RoleClass
    ) -> tuple[Evidence, ...]:
        """Reasons in the units of the decision: weight of the feature times its value."""
        steps, values = self.model.steps, features.values
        reasons: list[Evidence] = []

        def add(
            kind: Any, text: str, points_to: RoleClass, weight: float, at: Any, note: str
        ) -> None:
            start, end = (at.start, at.end) if at is not None else (None, None)
            reasons.append(
                Evidence(
                    kind=kind, text=text, points_to=points_to, weight=round(weight, 3),
                    start=start, end=end, note=note,
                )
            )  # fmt: skip

        created = steps["created"]
        total = sum(use.weight for use in features.building) or 1.0
        of_building = sum(
            created[name] * values[name] for name in ("ml_duties", "ml_skills", "ml_density")
        )
        for use in features.building:
            note = "builds, runs or governs ML" if use.duty else "knows how to build ML"
            names = ", ".join(dict.fromkeys(mention.text for mention in use.mentions))
            at: Any = use.clause if use.duty else use.mentions[0]
            add(
                "task" if use.duty else "skill",
                ad.text[at.start : at.end],
                "created",
                of_building * use.weight / total,
                at,
                f"{note}: {names}",
            )
        for use in features.using:
            mention = use.mentions[0]
            weight = steps["augmented"]["uses_ml_tools"] * use.weight
            add("skill", mention.text, "augmented", weight, mention, "asks to use ML tools")
        if features.title:
            weight = created["ml_title"] * values["ml_title"]
            weight += created["data_title"] * values["data_title"]
            if weight > 0:
                add("title", features.title, "created", weight, None, "title of ML work")
        if features.title and features.title_probabilities[0] < 0.5:
            for_title: RoleClass
            best = int(features.title_probabilities[1:].argmax()) + 1
            for_title = ("threatened", "augmented", "unaffected", "unaffected")[best - 1]
            step, name = (
                ("threatened", "title_threatened")
                if for_title == "threatened" or label == "threatened"
                else ("augmented", "title_augmented")
            )
            weight = abs(steps[step][name] * values[name])
            source = ad.occupations[0].label if ad.occupations else ""
            note = f"by title, {features.title_probabilities[best]:.0%}"
            add("title", features.title, for_title, weight, None, note)
            if source:
                add("occupation", source, for_title, weight / 2, None, "closest occupation")
        routine = features.kinds[:, :2].sum(axis=1)
        for i, clause in enumerate(features.clauses):
            share = float(features.weights[i])
            kind = int(features.kinds[i].argmax())
            points_to: RoleClass = ("threatened", "threatened", "augmented", "unaffected")[kind]
            if points_to == "threatened":
                weight = (
                    steps["threatened"]["routine_duties"] * share * _log_odds(float(routine[i]))
                )
                note = f"routine work ({TASK_KINDS[kind]})"
            else:
                weight = steps["augmented"]["knowledge_duties"] * share
                weight *= abs(_log_odds(float(features.kinds[i][kind])))
                note = ("analysis, judgement or contact", "hands-on work")[kind - 2]
            if clause.share is not None:
                note += f", {clause.share:.0%} of the time"
            if share > 0 and weight > 0.01:
                add("task", ad.text[clause.start : clause.end], points_to, weight, clause, note)
        reasons.sort(key=lambda reason: (-abs(reason.weight), reason.start or 0))
        return tuple(reasons[:MAX_EVIDENCE])


def _ml_values(
    title: str, building: Sequence[MLUse], vocabulary: AIVocabulary, clauses: int
) -> dict[str, float]:
    other_trade = any(True for _ in vocabulary.find(title, "not_ml_title"))
    groups = {m.group for m in vocabulary.find(title, "ml_title", "data_science_title")}
    strength: dict[str, float] = {}
    for use in building:
        for mention in use.mentions:
            strength[mention.concept] = max(strength.get(mention.concept, 0.0), use.weight)
    duties = sum(use.weight for use in building if use.duty)
    return {
        "ml_title": float("ml_title" in groups and not other_trade),
        "data_title": float("data_science_title" in groups and not other_trade),
        "ml_duties": math.log1p(min(duties, 8.0)),
        "ml_skills": math.log1p(min(sum(strength.values()), 8.0)),
        "ml_density": min(1.0, 4.0 * sum(use.weight for use in building) / max(clauses, 4)),
    }


def _clause_weights(clauses: Sequence[Clause], is_duty: Floats) -> Floats:
    """Share of each clause in the work: as stated, and the rest spread over the other duties."""
    if not clauses:
        return np.zeros(0)
    stated = np.array([c.share if c.share is not None else 0.0 for c in clauses])
    free = np.array(
        [
            0.0
            if c.share is not None
            else ZONE_WEIGHTS[c.zone] * c.emphasis * p * (0.2 if about_employer(c.text) else 1.0)
            for c, p in zip(clauses, is_duty, strict=True)
        ]
    )
    rest = max(0.0, 1.0 - float(stated.sum()))
    weights = stated + rest * free / free.sum() if free.sum() > 0 else stated
    total = float(weights.sum())
    return np.asarray(weights / total) if total > 0 else np.zeros(len(clauses))


def _title_probabilities(
    title: str, by_title: Floats, occupations: Sequence[OccupationMatch]
) -> Floats:
    """Classes by the title's words, mixed with those of the matched occupations."""
    uniform = np.full(len(TITLE_CLASSES), 1.0 / len(TITLE_CLASSES))
    result = by_title if title else uniform
    table = occupation_classes()
    votes = np.zeros(len(TITLE_CLASSES))
    for match in occupations:
        known = _lookup(match.code, table)
        if known is not None:
            label, clear = known
            votes[TITLE_CLASSES.index(label)] += match.score * (1.0 if clear else 0.6)
    total = float(votes.sum())
    if total > 0:
        trust = min(0.4, 0.4 * occupations[0].score) if title else 0.7
        prior = 0.9 * votes / total + 0.1 * uniform
        result = (1 - trust) * result + trust * prior
    return np.asarray(result)


def _lookup(code: str, table: dict[str, tuple[str, bool]]) -> tuple[str, bool] | None:
    """Class of a code: O*NET-SOC as it is, ISCO-08 by its longest known prefix."""
    if code in table:
        return table[code]
    digits = code.split(".")[0]
    if digits.isdigit():
        for length in range(min(4, len(digits)), 0, -1):
            if digits[:length] in table:
                return table[digits[:length]]
    return table.get(f"{code}.00")


def _channel(features: RoleFeatures) -> Channel:
    cognitive, physical = features.shares[:2]
    return "physical" if physical > cognitive else "cognitive"


def _tasks(features: RoleFeatures) -> tuple[TaskMatch, ...]:
    """Clauses that count as duties, with the exposure of each."""
    tasks = []
    for clause, weight, kinds in zip(
        features.clauses, features.weights, features.kinds, strict=True
    ):
        if weight * len(features.clauses) < 0.5 or clause.zone in BOILERPLATE_ZONES:
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


def _reason_to_abstain(features: RoleFeatures) -> str | None:
    if not features.title and features.amount < 1.0:
        return "the ad has no title and no sentence that describes a duty"
    if features.amount < 0.2 and not features.building:
        best = float(features.title_probabilities.max())
        if best < 0.5:
            return "no duties were found, and the title alone does not tell"
    return None
