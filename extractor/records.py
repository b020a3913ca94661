"""Records that cross the package's boundary: what goes in and what comes out.

Offsets are Python string offsets into `JobPosting.text`; `text[start:end]` of the posting is
always the `text` of the record. Probabilities and scores lie in [0, 1].
"""

from __future__ import annotations

from bisect import bisect_right
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

Level = Literal["basic", "intermediate", "advanced", "native"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Proficiency, lowest first; `native` of languages only."""

Cefr = Literal["A1", "A2", "B1", "B2", "C1", "C2"]
"""Level of a language in the Common European Framework of Reference."""

QualificationKind = Literal["degree", "certificate", "licence"]
EducationLevel = Literal["secondary", "vocational", "associate", "bachelor", "master", "doctorate"]
"""Level of a degree; one that the ad does not say counts as a first degree, `bachelor`."""

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

MAX_LABEL_CHARACTERS = 2_000
"""Longest title or id."""

MAX_HTML_CHARACTERS = 2_000_000
"""Longest page that is read."""


class Record(BaseModel):
    """Base of the public records: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceRun(NamedTuple):
    """A stretch of a text and the stretch of HTML that it comes from.

    Attributes:
        start: Offset of its first character in the text.
        end: Offset behind its last character.
        source_start: Offset of its first character in the HTML.
        source_end: Offset behind its last character there; equal to `source_start` where the
            layout adds what the HTML does not hold (line breaks, bullets).
    """

    start: int
    end: int
    source_start: int
    source_end: int

    @property
    def is_verbatim(self) -> bool:
        """Whether text and HTML match character by character."""
        return self.end - self.start == self.source_end - self.source_start


class HtmlSource(Record):
    """HTML and where in it each part of its visible text stands.

    Attributes:
        html: The source.
        runs: What the text is made of, in its order and without gaps.
    """

    html: str
    runs: tuple[SourceRun, ...]


class JobPosting(Record):
    """One job ad as it is read.

    Attributes:
        id: Identifier, copied to the result.
        text: The ad, plain text or Markdown: offsets in the result refer to this string.
        title: Job title where the source has it apart from the text.
        date: Date of the ad as the source writes it.
        industry: Industry as the source writes it.
        meta: Anything else, carried through untouched.
        source: The HTML that the text was read from, for `source_spans`.
    """

    id: str
    text: str
    title: str | None = None
    date: str | None = None
    industry: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)
    source: HtmlSource | None = None

    @classmethod
    def from_html(
        cls,
        id: str,  # noqa: A002
        html: str,
        *,
        title: str | None = None,
        date: str | None = None,
        industry: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> JobPosting:
        """Read the visible text of an ad that is HTML.

        Blocks become lines, list items get a bullet, character references are decoded; what a
        browser does not show is left out. The same HTML always gives the same text.

        Args:
            id: Copied to the result.
            html: A page, or the part of it that holds the ad.
            title: The job title, where it is known apart from the page.
            date: Date of the ad as the source writes it.
            industry: Industry as the source writes it.
            meta: Anything else, carried through untouched.

        Raises:
            TypeError: The HTML is no string.
            InvalidPostingError: The page is too long.
        """
        from extractor.markup import read_html

        if not isinstance(html, str):
            raise TypeError(f"the HTML of ad {id!r} is {html!r:.80}, wanted a string")
        if len(html) > MAX_HTML_CHARACTERS:
            raise InvalidPostingError(
                f"ad {id!r}: the HTML has {len(html):,} characters, the limit is "
                f"{MAX_HTML_CHARACTERS:,}; give only the part of the page that holds the ad"
            )
        text, source = read_html(html)
        return cls(
            id=id,
            text=text,
            title=title,
            date=date,
            industry=industry,
            meta=meta or {},
            source=source,
        )

    def source_spans(self, start: int, end: int) -> list[tuple[int, int]]:
        """Find where the HTML, or the text if there is none, holds a stretch of the text.

        A stretch that runs over tags has several spans, none of which holds a tag: wrap each to
        highlight it. Line breaks and bullets that the layout added stand nowhere.

        Args:
            start: Offset in the text, such as `match.start`.
            end: Offset behind its last character.

        Returns:
            Offsets (start, end) in the source, in the order of the text.

        Raises:
            InvalidPostingError: The offsets do not lie in the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise InvalidPostingError(
                f"ad {self.id!r}: [{start}, {end}) does not lie in the text of "
                f"{len(self.text):,} characters; give offsets of a result of this ad"
            )
        if self.source is None:
            return [(start, end)] if start < end else []
        runs = self.source.runs
        spans: list[tuple[int, int]] = []
        for run in runs[bisect_right(runs, start, key=lambda run: run.end) :]:
            if run.start >= end:
                break
            first, last = run.source_start, run.source_end
            if run.is_verbatim:
                first, last = (
                    first + max(0, start - run.start),
                    last - max(0, run.end - end),
                )
            if spans and spans[-1][1] == first:
                spans[-1] = (spans[-1][0], last)
            elif first < last:
                spans.append((first, last))
        return spans

    def check(self, *, max_characters: int = MAX_CHARACTERS) -> None:
        """Refuse a text that cannot be read.

        Raises:
            InvalidPostingError: The text is blank, longer than `max_characters`, or holds a
                lone surrogate (the mark of a file decoded wrongly); the title or the id is
                longer than `MAX_LABEL_CHARACTERS`.
        """
        if not self.text.strip():
            raise InvalidPostingError(
                f"ad {self.id!r}: the page shows no text; give the HTML that holds the ad"
                if self.source
                else f"ad {self.id!r}: the text is empty; give the ad's full text"
            )
        if len(self.text) > max_characters:
            raise InvalidPostingError(
                f"ad {self.id!r}: the text has {len(self.text):,} characters, the limit is "
                f"{max_characters:,}; split the file into single ads"
            )
        for name, value in (("text", self.text), ("title", self.title or ""), ("id", self.id)):
            if name != "text" and len(value) > MAX_LABEL_CHARACTERS:
                raise InvalidPostingError(
                    f"ad {self.id[:40]!r}: the {name} has {len(value):,} characters, the limit is "
                    f"{MAX_LABEL_CHARACTERS:,}; is the right column named for it?"
                )
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


class Years(Record):
    """Years of experience.

    Attributes:
        minimum: The least that is asked for; months are parts of a year.
        maximum: The most, or None if there is no limit.
    """

    minimum: float
    maximum: float | None = None


class Experience(Record):
    """How much experience the ad asks for overall, and where it says so."""

    start: int
    end: int
    text: str
    years: Years
    requirement: Requirement
    zone: ZoneLabel


class Qualification(Record):
    """A degree, certificate or licence that the ad asks for or mentions.

    Attributes:
        start: Offset of the first character.
        end: Offset behind the last character.
        text: The words of the ad, `posting.text[start:end]`.
        kind: `degree` (schooling and apprenticeships included), `certificate` or `licence`.
        level: Level of a degree.
        field: First subject of a degree, in the words of the ad.
        requirement: How the ad asks for it.
        zone: Section of the ad in which it stands.
    """

    start: int
    end: int
    text: str
    kind: QualificationKind
    level: EducationLevel | None = None
    field: str | None = None
    requirement: Requirement
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
        level: How well it must be known, where the ad says so there.
        cefr: Level of a language in the CEFR, where the ad names it.
        years: How long it must have been used, where the ad says so there.
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
    level: Level | None = None
    cefr: Cefr | None = None
    years: Years | None = None


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
        level: Highest level of its matches.
        cefr: Level of a language in the CEFR that goes with it.
        years: Most years of its matches.
    """

    concept_id: str
    label: str
    kind: str
    score: Probability
    requirement: Requirement
    matches: tuple[SkillMatch, ...]
    level: Level | None = None
    cefr: Cefr | None = None
    years: Years | None = None


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


class Duplicate(Record):
    """The ad that another one repeats.

    Attributes:
        row: Its row in the input.
        id: Its id.
        exact: Whether title and text are the same; otherwise they are nearly so.
    """

    row: int
    id: str
    exact: bool


class JobResult(Record):
    """All that was found in one ad, or why nothing could be.

    Attributes:
        id: Id of the posting; for a record without one, `row-N`.
        skills: Skills, most certain first.
        tasks: Duties with their exposure.
        occupations: Occupations that fit, best first.
        role: The role class; None if there is an error, or the engine gives skills only.
        zones: Sections of the ad, in order.
        qualifications: Degrees, certificates and licences, in the order of the text.
        experience: How much experience is asked for overall; None if the ad does not say.
        language: Language of the ad (ISO 639-1). Only English is read: of an ad in another
            language nothing but this is returned, and `role` abstains with that reason.
        error: What was wrong with the record, or None.
        row: Row number in the input file, from 1, where there is one.
        duplicate_of: The earlier ad of the same input that this one repeats, whose result holds
            for both; then nothing else is filled in.
        provenance: What the result depends on; None if there is an error.
    """

    id: str
    skills: tuple[Skill, ...] = ()
    tasks: tuple[TaskMatch, ...] = ()
    occupations: tuple[OccupationMatch, ...] = ()
    role: RoleAssessment | None = None
    zones: tuple[Zone, ...] = ()
    qualifications: tuple[Qualification, ...] = ()
    experience: Experience | None = None
    language: str | None = None
    error: str | None = None
    row: int | None = None
    duplicate_of: Duplicate | None = None
    provenance: Provenance | None = None
