"""Records of a taxonomy: concepts, the relations between them, and the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, get_args

Kind = Literal["skill", "knowledge", "tool", "occupation", "group"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SKILL_KINDS: tuple[Kind, ...] = ("skill", "knowledge", "tool")
"""Kinds that a skill mention can link to; the rest describe jobs or the hierarchy."""

RelationType = Literal["broader", "essential", "optional", "related", "task", "tool", "member"]


class Relation(NamedTuple):
    """A typed edge between two concepts, or from an occupation to the text of a task.

    Attributes:
        source: Id of the concept that the edge starts from: for `broader` the narrower one, for
            `essential`, `optional`, `tool` and `task` the occupation, for `member` the concept.
        target: Id of the concept that it points to; for `task` the task statement itself, for
            `member` the name of the collection.
        type: What the edge says.
    """

    source: str
    target: str
    type: RelationType


@dataclass(frozen=True, slots=True)
class Concept:
    """One entry of a taxonomy.

    Attributes:
        id: URI or namespaced code, unique in its taxonomy.
        label: Preferred name.
        kind: What it is.
        alt_labels: Other names, without the label itself and without duplicates.
        description: Definition or scope in one or a few sentences; may be empty.
        parents: Ids of the broader concepts.
        code: The code of a classification where there is one (ISCO-08, O*NET-SOC), else empty.
    """

    id: str
    label: str
    kind: Kind
    alt_labels: tuple[str, ...] = ()
    description: str = ""
    parents: tuple[str, ...] = ()
    code: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The label, then the alternative labels."""
        return (self.label, *self.alt_labels)


@dataclass(frozen=True)
class Taxonomy:
    """A named, versioned set of concepts.

    Attributes:
        name: Name under which it is installed, such as `default` or `esco-1.1.1`.
        version: Version as its publisher states it.
        language: ISO 639-1 code of the labels.
        concepts: All concepts, in the order of their source.
        relations: Edges between them.
        licence: Terms and attribution asked for by the publisher.
    """

    name: str
    version: str
    language: str
    concepts: tuple[Concept, ...]
    relations: tuple[Relation, ...] = field(default=(), repr=False)
    licence: str = ""

    @cached_property
    def by_id(self) -> dict[str, Concept]:
        """Concepts by id."""
        return {concept.id: concept for concept in self.concepts}

    @cached_property
    def sha256(self) -> str:
        """Hash over every concept and relation: equal content, equal hash."""
        digest = hashlib.sha256()
        for concept in self.concepts:
            fields = (concept.id, concept.label, concept.kind, concept.description, concept.code)
            digest.update(
                "\x1f".join((*fields, *concept.alt_labels, "", *concept.parents)).encode()
            )
            digest.update(b"\x1e")
        for relation in self.relations:
            digest.update("\x1f".join(relation).encode())
            digest.update(b"\x1e")
        return digest.hexdigest()

    def __len__(self) -> int:
        """Number of concepts."""
        return len(self.concepts)

    def __getitem__(self, concept_id: str) -> Concept:
        """The concept with this id.

        Raises:
            KeyError: There is none.
        """
        return self.by_id[concept_id]

    def __contains__(self, concept_id: object) -> bool:
        """Whether a concept has this id."""
        return concept_id in self.by_id

    def of_kind(self, *kinds: Kind) -> Iterator[Concept]:
        """Concepts of any of the given kinds, in order."""
        return (concept for concept in self.concepts if concept.kind in kinds)
