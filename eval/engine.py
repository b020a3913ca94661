"""What the evaluation asks of the engine, and how it gets one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from extractor.records import (
    Candidate,
    JobPosting,
    JobResult,
    OccupationMatch,
    Provenance,
    Requirement,
)
from taxonomies.records import Taxonomy

if TYPE_CHECKING:
    from extractor.spans import FoundSpan


class Engine(Protocol):
    """The part of `extractor.SkillExtractor` that is evaluated."""

    @property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that results speak of."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Everything that results depend on."""
        ...

    def extract(self, text: str, *, title: str | None = None, id: str = "ad") -> JobResult:  # noqa: A002
        """Read one ad."""
        ...

    def extract_batch(
        self, postings: Iterable[JobPosting | JobResult], *, batch_size: int = 32
    ) -> Iterator[JobResult]:
        """Read many ads, one result each and in order."""
        ...

    def link_batch(self, texts: Sequence[str], *, k: int = 10) -> list[list[Candidate]]:
        """The k best skill concepts of the whole taxonomy for each text."""
        ...

    def spans_batch(self, texts: Sequence[str]) -> list[list[FoundSpan]]:
        """The spans of skills and knowledge in each text."""
        ...

    def occupations_batch(
        self, titles: Sequence[str], texts: Sequence[str] | None = None, *, k: int = 10
    ) -> list[list[OccupationMatch]]:
        """The k best occupations for each title."""
        ...

    def requirements(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Requirement]:
        """How the text asks for each span."""
        ...


def load_engine(taxonomy: str, encoder: str, threshold: float | None = None) -> Engine:
    """Load the engine that users load.

    Args:
        taxonomy: Name of an installed taxonomy.
        encoder: Name of the sentence encoder.
        threshold: Probability from which on concepts are returned; the shipped one if None.

    Raises:
        JobshiftError: The encoder is unknown or a part is missing.
        TaxonomyError: The taxonomy is not installed.
    """
    from extractor import SkillExtractor

    return SkillExtractor.load(taxonomy, encoder=encoder, threshold=threshold)
