"""Records that cross the package's boundary: what goes in and what comes out.

Offsets are Python string offsets into `JobPosting.text`; `text[start:end]` of the posting is
always the `text` of the record. Probabilities and scores lie in [0, 1].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from extractor.errors import InvalidPostingError

ZoneLabel = Literal[
    "title",
    "duties",
    "requirements",
    "nice_to_have",
    "about",
    "benefits",
    "how_to_apply",
    "other",
]
ZONE_LABELS: tuple[ZoneLabel, ...] = get_args(ZoneLabel)

BOILERPLATE_ZONES: tuple[ZoneLabel, ...] = ("about", "benefits", "how_to_apply")
"""Zones that describe the employer or the offer, not the person or the work."""

Requirement = Literal["required", "preferred", "negated", "mentioned"]
REQUIREMENTS: tuple[Requirement, ...] = get_args(Requirement)

RoleClass = Literal["created", "augmented", "threatened", "unaffected"]
ROLE_CLASSES: tuple[RoleClass, ...] = get_args(RoleClass)
MainRoleClass = Literal["created", "augmented", "threatened"]

ROLE_NAMES: dict[RoleClass, str] = {
    "created": "ML-created",
    "augmented": "ML-augmented",
    "threatened": "ML-threatened",
    "unaffected": "unaffected",
}
"""How a class is shown to people."""

Channel = Literal["cognitive", "physical"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]

MAX_CHARACTERS = 100_000
"""Longest ad that is read; real ads stay below 30,000 characters."""


class Record(BaseModel):
    """Base of the public records: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobPosting(Record):
    """One job ad as it is read.

    Attributes:
        id: Identifier, copied to the result.
        text: The ad, raw: offsets in the result refer to this string.
        title: Job title where the source has it apart from the text.
        date: Date of the ad as the source writes it.
        industry: Industry as the source writes it.
        meta: Anything else, carried through untouched.
    """

    id: str
    text: str
    title: str | None = None
    date: str | None = None
    industry: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)

    def check(self, *, max_characters: int = MAX_CHARACTERS) -> None:
        """Refuse a text that cannot be read.

        Raises:
            InvalidPostingError: The text is blank, longer than `max_characters`, or holds a
                lone surrogate (the mark of a file decoded wrongly).
        """
        if not self.text.strip():
            raise InvalidPostingError(f"ad {self.id!r}: the text is empty; give the ad's full text")
        if len(self.text) > max_characters:
            raise InvalidPostingError(
                f"ad {self.id!r}: the text has {len(self.text):,} characters, the limit is "
                f"{max_characters:,}; split the file into single ads"
            )
        for name, value in (("text", self.text), ("title", self.title or ""), ("id", self.id)):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InvalidPostingError(
                    f"ad {self.id!r}: the {name} holds a lone surrogate "
                    f"U+{ord(value[error.start]):04X} at offset {error.start}; decode the source "
                    "again with its right encoding"
                ) from None


class Sentence(NamedTuple):
    """A sentence or list item of an ad, inside the package."""

    start: int
    end: int
    text: str
    zone: ZoneLabel


class Candidate(Record):
    """A concept that a text may mean."""

    concept_id: str
    label: str
    kind: str
    score: Probability


class SkillMatch(Record):
    """One place in the ad that names or implies a skill.

    A concept that is found in several places has one match a place.

    Attributes:
        start: Offset of the first character.
        end: Offset behind the last character.
        text: The words of the ad, `posting.text[start:end]`.
        concept_id: Id of the concept in the taxonomy.
        label: Its preferred label.
        kind: `skill`, `knowledge` or `tool`.
        score: Estimated probability that the concept is right.
        method: `exact` (a name of the concept stands there), `phrase` (a phrase means it) or
            `sentence` (the whole sentence implies it).
        requirement: How the ad asks for it.
        zone: Section of the ad in which it stands.
        alternatives: Next best concepts, best first.
    """

    start: int
    end: int
    text: str
    concept_id: str
    label: str
    kind: str
    score: Probability
    method: Literal["exact", "phrase", "sentence"]
    requirement: Requirement
    zone: ZoneLabel
    alternatives: tuple[Candidate, ...] = ()


class Skill(Record):
    """A concept that the ad asks for or mentions, with all its places.

    Attributes:
        concept_id: Id of the concept in the taxonomy.
        label: Its preferred label.
        kind: `skill`, `knowledge` or `tool`.
        score: Best score of its matches.
        requirement: Strongest way in which it is asked for: `required` before `preferred`
            before `mentioned` before `negated`.
        matches: Its places in the ad, in order.
    """

    concept_id: str
    label: str
    kind: str
    score: Probability
    requirement: Requirement
    matches: tuple[SkillMatch, ...]


class OccupationMatch(Record):
    """An occupation of the taxonomy that the ad may describe.

    Attributes:
        concept_id: Id of the occupation in the taxonomy.
        label: Its preferred label.
        code: Its code, ISCO-08 with ESCO's digits or O*NET-SOC.
        score: Estimated probability that it is the right one.
    """

    concept_id: str
    label: str
    code: str = ""
    score: Probability


class TaskScores(Record):
    """What machine learning does to a task.

    Attributes:
        automation: How much of it ML-driven automation does by itself.
        augmentation: How much ML speeds it up while a person decides.
        channel: Kind of routine work that the automated part is.
    """

    automation: Probability
    augmentation: Probability
    channel: Channel


class TaskMatch(Record):
    """A duty of the ad and its exposure to machine learning."""

    start: int
    end: int
    text: str
    scores: TaskScores


class Evidence(Record):
    """One reason for a role class.

    Attributes:
        kind: `title`, `task`, `skill` or `occupation`.
        text: The words that count, or the label of the occupation.
        points_to: The class that it speaks for.
        weight: Its share in the decision, in log-odds or as the rule counts it.
        start: Offset in the text; None where the evidence is no part of it.
        end: Offset behind its last character, or None.
        note: What about it counts, in words.
        source: What the weight comes from, with its version.
    """

    kind: Literal["title", "task", "skill", "occupation"]
    text: str
    points_to: RoleClass
    weight: float
    start: int | None = None
    end: int | None = None
    note: str = ""
    source: str = ""


class RoleAssessment(Record):
    """What machine learning does to the role, by `docs/role-classes.md`.

    Attributes:
        label: The class; None if the assessor abstains.
        nearest: The main class that fits best; equal to `label` unless that is `unaffected`.
        probabilities: Estimated probability of each class; they add up to 1.
        channel: For `threatened`: cognitive or physical routine.
        evidence: Reasons, heaviest first.
        flips_without: The smallest set of evidence without which the label would be another:
            positions in `evidence`. Empty if no part of the evidence changes it.
        flips_to: The label that it would be then, or None.
        notes: Remarks such as `transforming` (threatened, and the ad asks to use ML tools).
        abstained: Why there is no label, or None.
    """

    label: RoleClass | None
    nearest: MainRoleClass | None
    probabilities: dict[RoleClass, Probability]
    channel: Channel | None = None
    evidence: tuple[Evidence, ...] = ()
    flips_without: tuple[int, ...] = ()
    flips_to: RoleClass | None = None
    notes: tuple[str, ...] = ()
    abstained: str | None = None


class Zone(Record):
    """A section of the ad."""

    start: int
    end: int
    label: ZoneLabel


class Provenance(Record):
    """Everything a result depends on.

    Attributes:
        jobshift: Version of the package.
        taxonomy: Name of the taxonomy.
        taxonomy_version: Its version.
        taxonomy_sha256: Hash of its content.
        encoder: Name of the sentence encoder.
        parts: Versions of the lists and trained parts.
    """

    jobshift: str
    taxonomy: str
    taxonomy_version: str
    taxonomy_sha256: str
    encoder: str
    parts: dict[str, str] = Field(default_factory=dict)


class JobResult(Record):
    """All that was found in one ad, or why nothing could be.

    Attributes:
        id: Id of the posting; for a record without one, `row-N`.
        skills: Skills, most certain first.
        tasks: Duties with their exposure.
        occupations: Occupations that fit, best first.
        role: The role class; None if there is an error.
        zones: Sections of the ad, in order.
        error: What was wrong with the record, or None.
        row: Row number in the input file, from 1, where there is one.
        provenance: What the result depends on; None if there is an error.
    """

    id: str
    skills: tuple[Skill, ...] = ()
    tasks: tuple[TaskMatch, ...] = ()
    occupations: tuple[OccupationMatch, ...] = ()
    role: RoleAssessment | None = None
    zones: tuple[Zone, ...] = ()
    error: str | None = None
    row: int | None = None
    provenance: Provenance | None = None
