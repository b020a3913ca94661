"""The engine as a model of WorkRB (the package `workrb`), a benchmark for this field.

    import workrb
    from eval.workrb_model import JobshiftEncoder, JobshiftLinker

    task = workrb.tasks.HouseSkillExtractRanking(split="val", languages=["en"])
    workrb.evaluate(JobshiftLinker("esco-1.1.1"), tasks=[task], output_folder="runs/workrb")

WorkRB gives the texts of queries and of targets and asks for a matrix of scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from workrb.models.base import ModelInterface
from workrb.registry import register_model
from workrb.types import ModelInputType

from eval.baselines import fold
from eval.engine import Engine, load_engine
from extractor.encoders import load_encoder
from extractor.interfaces import Encoder
from taxonomies.records import SKILL_KINDS

BATCH = 32
LISTED = 200
"""Concepts that the linker ranks; beyond them the encoder does."""


class _Ranker(ModelInterface):  # type: ignore[misc]
    """What both have in common: no head of classes, so that classes are ranked by their labels."""

    @property
    def classification_label_space(self) -> None:
        """There is none."""
        return

    def _compute_classification(
        self,
        texts: list[str],
        targets: list[str],
        input_type: ModelInputType,
        target_input_type: ModelInputType | None = None,
    ) -> torch.Tensor:
        """Scores of classes as of targets.

        Returns:
            Shape (texts, targets).
        """
        found: torch.Tensor = self._compute_rankings(
            texts, targets, input_type, target_input_type or input_type
        )
        return found


@register_model()
class JobshiftEncoder(_Ranker):
    """A sentence encoder of jobshift alone: cosines of texts.

    Args:
        encoder: A name that `extractor.encoders.load_encoder` knows, or an encoder.
    """

    def __init__(self, encoder: str | Encoder = "accurate") -> None:
        self.encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return f"jobshift-encoder-{self.encoder.name}"

    @property
    def description(self) -> str:
        """What it is."""
        return "Cosine of sentence vectors by an encoder of jobshift."

    def _compute_rankings(
        self,
        queries: list[str],
        targets: list[str],
        query_input_type: ModelInputType,
        target_input_type: ModelInputType,
    ) -> torch.Tensor:
        """Cosines.

        Returns:
            Shape (queries, targets).
        """
        return torch.from_numpy(cosines(self.encoder, queries, targets))


@register_model()
class JobshiftLinker(_Ranker):
    """The linker of jobshift: names, phrases, vectors and BM25 together.

    It ranks the concepts of its taxonomy. A target that is no name of one of them, and what the
    linker does not list, is ranked behind by the encoder, so that every target has a score. Queries
    that are job titles are ranked among occupations.

    Args:
        taxonomy: An installed taxonomy, of the version that the task asks for.
        encoder: Name of the sentence encoder.
        engine: An engine that is loaded already.
    """

    def __init__(
        self,
        taxonomy: str = "default",
        encoder: str = "accurate",
        *,
        engine: Engine | None = None,
        fallback: Encoder | None = None,
    ) -> None:
        self.engine = engine or load_engine(taxonomy, encoder)
        self.fallback = fallback or load_encoder(encoder)

    @property
    def name(self) -> str:
        """Names of taxonomy and encoder."""
        used = self.engine.provenance
        return f"jobshift-linker-{used.taxonomy}-{used.encoder}"

    @property
    def description(self) -> str:
        """What it is."""
        used = self.engine.provenance
        return f"The linker of jobshift {used.jobshift}, taxonomy {used.taxonomy_version}."

    def _compute_rankings(
        self,
        queries: list[str],
        targets: list[str],
        query_input_type: ModelInputType,
        target_input_type: ModelInputType,
    ) -> torch.Tensor:
        """Probabilities of the linker, plus 1 for what it lists; cosines for the others.

        Returns:
            Shape (queries, targets).
        """
        # Cosines lie in [-1, 1]; what the linker lists goes before them all.
        scores = cosines(self.fallback, queries, targets)
        is_title = target_input_type == ModelInputType.JOB_TITLE
        positions = self._positions(targets, is_title)
        for start in range(0, len(queries), BATCH):
            batch = queries[start : start + BATCH]
            ranked: Sequence[Sequence[Any]] = (
                self.engine.occupations_batch(batch, k=LISTED)
                if is_title
                else self.engine.link_batch(batch, k=LISTED)
            )
            for row, found in enumerate(ranked, start=start):
                # The order of the linker counts: it is not that of its probabilities.
                for rank, candidate in enumerate(found):
                    for column in positions.get(candidate.concept_id, ()):
                        scores[row, column] = 2 - rank / LISTED
        return torch.from_numpy(scores)

    def _positions(self, targets: Sequence[str], is_title: bool) -> dict[str, list[int]]:
        kinds = ("occupation",) if is_title else SKILL_KINDS
        concepts = list(self.engine.taxonomy.of_kind(*kinds))
        ids = {fold(concept.label): concept.id for concept in reversed(concepts)}
        for concept in concepts:
            for name in concept.names:
                ids.setdefault(fold(name), concept.id)
        positions: dict[str, list[int]] = {}
        for column, target in enumerate(targets):
            if concept_id := ids.get(fold(target.strip())):
                positions.setdefault(concept_id, []).append(column)
        return positions


def cosines(encoder: Encoder, queries: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Cosine of every query with every target.

    Returns:
        float32 of shape (queries, targets).
    """
    found: np.ndarray = encoder.encode(queries) @ encoder.encode(targets).T
    return found.astype(np.float32)
