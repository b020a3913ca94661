"""An engine that finds the word "Python", for tests of what lies around the engine."""

import time

from extractor.errors import InvalidPostingError
from extractor.records import (
    Candidate,
    Evidence,
    Experience,
    JobPosting,
    JobResult,
    OccupationMatch,
    Provenance,
    Qualification,
    RoleAssessment,
    Skill,
    SkillMatch,
    TaskMatch,
    TaskScores,
    Years,
    Zone,
)

PROVENANCE = Provenance(
    jobshift="0.1.0",
    taxonomy="mini",
    taxonomy_version="1",
    taxonomy_sha256="0" * 64,
    encoder="none",
    parts={"ai-skills": "1", "roles": "2"},
)
CANDIDATE = Candidate(concept_id="mini:py", label="Python", kind="knowledge", score=0.9)


class FakeExtractor:
    """Stands in for `SkillExtractor`; `seconds` is what an ad takes."""

    def __init__(self, *, seconds=0.0, provenance=PROVENANCE, fail_at=None, failure=None):
        self.seconds = seconds
        self.provenance = provenance
        self.fail_at = fail_at
        self.failure = failure
        self.seen = []

    @classmethod
    def load(cls, taxonomy="default", *, encoder="accurate", skills_only=False):
        return cls()

    def extract(self, text, *, title=None, id="ad"):  # noqa: A002 - as the engine has it
        if isinstance(text, JobPosting):
            id, text, title = text.id, text.text, text.title  # noqa: A001
        JobPosting(id=id, text=text, title=title).check()
        start = text.find("Python")
        skills = ()
        if start >= 0:
            match = SkillMatch(
                start=start,
                end=start + 6,
                text="Python",
                concept_id="mini:py",
                label="Python",
                kind="knowledge",
                score=0.875,
                method="exact",
                requirement="required",
                zone="requirements",
                alternatives=(CANDIDATE,),
                level="advanced",
                years=Years(minimum=2.5),
            )
            skills = (
                Skill(
                    concept_id="mini:py",
                    label="Python",
                    kind="knowledge",
                    score=0.875,
                    requirement="required",
                    matches=(match,),
                    level="advanced",
                    years=Years(minimum=2.5),
                ),
            )
        scores = TaskScores(automation=0.25, augmentation=0.75, channel="cognitive")
        return JobResult(
            id=id,
            skills=skills,
            tasks=(TaskMatch(start=0, end=4, text=text[:4], scores=scores),),
            occupations=(OccupationMatch(concept_id="mini:1", label="analyst", score=0.5),),
            role=RoleAssessment(
                label="augmented",
                nearest="augmented",
                probabilities={
                    "created": 0.125,
                    "augmented": 0.625,
                    "threatened": 0.125,
                    "unaffected": 0.125,
                },
                evidence=(
                    Evidence(
                        kind="task",
                        text=text[:4],
                        points_to="augmented",
                        weight=1.5,
                        start=0,
                        end=4,
                    ),
                ),
            ),
            zones=(Zone(start=0, end=len(text), label="other"),),
            qualifications=(
                Qualification(
                    start=0,
                    end=2,
                    text=text[:2],
                    kind="degree",
                    level="master",
                    requirement="required",
                    zone="other",
                ),
            ),
            experience=Experience(
                start=0,
                end=2,
                text=text[:2],
                years=Years(minimum=3, maximum=5),
                requirement="required",
                zone="other",
            ),
            language="en",
            provenance=self.provenance,
        )

    def extract_batch(self, postings, *, batch_size=32):
        for posting in postings:
            time.sleep(self.seconds)
            if self.fail_at is not None and len(self.seen) == self.fail_at:
                raise self.failure
            self.seen.append(posting.id)
            if isinstance(posting, JobResult):
                yield posting
                continue
            try:
                yield self.extract(posting.text, title=posting.title, id=posting.id)
            except InvalidPostingError as error:
                yield JobResult(id=posting.id, error=str(error))

    def link_batch(self, texts, *, k=10):
        return [[CANDIDATE][:k] for _ in texts]
