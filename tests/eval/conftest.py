"""A small engine that reads by rule, a taxonomy of our own, and the command line around them."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import eval.engine
from eval.__main__ import app
from extractor.errors import JobshiftError
from extractor.records import (
    Candidate,
    JobPosting,
    JobResult,
    OccupationMatch,
    Provenance,
    Requirement,
    RoleAssessment,
    Skill,
    SkillMatch,
)
from extractor.spans import FoundSpan
from taxonomies.errors import TaxonomyNotInstalledError
from taxonomies.records import Concept, Taxonomy

CONCEPTS = (
    Concept("s/bake", "bake bread", "skill", ("baking loaves",)),
    Concept("s/prune", "prune trees", "skill"),
    Concept("k/accounting", "accounting", "knowledge", ("bookkeeping rules",)),
    Concept("k/python", "Python", "knowledge", ("Python programming",)),
    Concept("t/ovenware", "OvenWare", "tool"),
    Concept("o/baker", "baker", "occupation", ("bread maker", "oven hand")),
    Concept("o/gardener", "gardener", "occupation", ("tree surgeon",)),
    Concept("o/clerk", "accounting clerk", "occupation"),
)


class FakeEngine:
    """Finds preferred labels as they are written; ranks by shared words."""

    taxonomy = Taxonomy("mini", "3", "en", CONCEPTS)
    provenance = Provenance(
        jobshift="0.0",
        taxonomy="mini",
        taxonomy_version="3",
        taxonomy_sha256="ab" * 32,
        encoder="none",
    )

    def extract(self, text: str, *, title: str | None = None, id: str = "ad") -> JobResult:  # noqa: A002
        if "UNREADABLE" in text:
            return JobResult(id=id, error="this ad cannot be read")
        label = next((c for c in ("created", "threatened", "augmented") if c in text), None)
        role = RoleAssessment(
            label=label,
            nearest=label,
            probabilities={"created": 0.1, "augmented": 0.1, "threatened": 0.1, "unaffected": 0.1}
            | ({label: 0.7} if label else {}),
            channel="cognitive" if label == "threatened" else None,
            abstained=None if label else "no word of it",
        )
        return JobResult(id=id, skills=tuple(self._skills(text)), role=role)

    def _skills(self, text: str) -> Iterator[Skill]:
        for concept in self.taxonomy.of_kind("skill", "knowledge", "tool"):
            start = text.find(concept.label)
            if start < 0:
                continue
            status = self.requirements(text, [(start, start + len(concept.label))])[0]
            common = {
                "concept_id": concept.id,
                "label": concept.label,
                "kind": concept.kind,
                "score": 0.9,
                "requirement": status,
            }
            match = SkillMatch(
                start=start,
                end=start + len(concept.label),
                text=concept.label,
                method="sentence" if "implied" in text else "exact",
                zone="other",
                **common,
            )
            yield Skill(matches=(match,), **common)

    def extract_batch(
        self, postings: Iterable[JobPosting | JobResult], *, batch_size: int = 32
    ) -> Iterator[JobResult]:
        for posting in postings:
            assert isinstance(posting, JobPosting)
            yield self.extract(posting.text, title=posting.title, id=posting.id)

    def _rank(self, text: str, *kinds: str) -> list[Concept]:
        words = set(text.lower().split())
        shared = {
            c: len(words & set(" ".join(c.names).lower().split()))
            for c in self.taxonomy.of_kind(*kinds)
        }
        return sorted(shared, key=lambda c: -shared[c])

    def link_batch(self, texts: Sequence[str], *, k: int = 10) -> list[list[Candidate]]:
        return [
            [
                Candidate(concept_id=c.id, label=c.label, kind=c.kind, score=0.5)
                for c in self._rank(text, "skill", "knowledge", "tool")[:k]
            ]
            for text in texts
        ]

    def occupations_batch(
        self, titles: Sequence[str], texts: Sequence[str] | None = None, *, k: int = 10
    ) -> list[list[OccupationMatch]]:
        assert texts is None or len(texts) == len(titles)
        return [
            [
                OccupationMatch(concept_id=c.id, label=c.label, score=0.5)
                for c in self._rank(title, "occupation")[:k]
            ]
            for title in titles
        ]

    def spans_batch(self, texts: Sequence[str]) -> list[list[FoundSpan]]:
        """The first two words of a text as a skill and its last one as knowledge."""
        return [
            [
                FoundSpan(0, len(" ".join(words[:2])), "SKILL", 0.75),
                FoundSpan(len(text) - len(words[-1]), len(text), "KNOWLEDGE", 0.5),
            ]
            if len(words := text.split()) > 1
            else []
            for text in texts
        ]

    def requirements(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Requirement]:
        return ["negated" if text[:start].endswith("no ") else "required" for start, _ in spans]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def rows_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (or raw lines) to a file and gives its path."""

    def write(*rows: dict | str, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> Callable[..., Result]:
    """Runs the command line with the fake engine."""

    def load(taxonomy: str, encoder: str, threshold: float | None = None) -> FakeEngine:
        if taxonomy == "absent":
            raise TaxonomyNotInstalledError("taxonomy 'absent' is not installed")
        if encoder == "absent":
            raise JobshiftError("unknown encoder 'absent'")
        return engine

    monkeypatch.setattr(eval.engine, "load_engine", load)
    # Wide enough that no cell of a table is wrapped.
    runner = CliRunner(env={"COLUMNS": "200"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def report(invoke: Callable[..., Result], tmp_path: Path) -> Callable[..., dict]:
    """Runs the command line and gives the JSON report."""

    def run(*arguments: object) -> dict:
        out = tmp_path / "report.json"
        result = invoke(*arguments, "--json", out)
        assert result.exit_code == 0, result.output
        return json.loads(out.read_text(encoding="utf-8"))

    return run
