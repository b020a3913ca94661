"""The last step of every reader: clean, check and complete a taxonomy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from taxonomies.errors import TaxonomyFormatError
from taxonomies.records import Concept, Relation, Taxonomy
from taxonomies.text import clean_labels, clean_text


def build_taxonomy(
    concepts: Iterable[Concept],
    relations: Iterable[Relation] = (),
    *,
    name: str,
    version: str,
    language: str,
    licence: str = "",
) -> Taxonomy:
    """Clean labels, check ids and derive the `broader` relations from the parents.

    Parents that are no concept (the schemes at the top of ESCO) are left out.

    Raises:
        TaxonomyFormatError: There is no concept, an id is empty or given twice, a label is
            empty, or a text holds a lone surrogate.
    """
    cleaned: dict[str, Concept] = {}
    for concept in concepts:
        label = clean_text(concept.label)
        if not concept.id:
            raise TaxonomyFormatError(
                f"a concept labelled {label!r} has no id; give every one an id"
            )
        if not label:
            raise TaxonomyFormatError(f"concept {concept.id!r}: the label is empty; give it one")
        if concept.id in cleaned:
            raise TaxonomyFormatError(
                f"the id {concept.id!r} is given twice, to {cleaned[concept.id].label!r} and to "
                f"{label!r}; ids must be unique"
            )
        cleaned[concept.id] = replace(
            concept,
            label=label,
            alt_labels=clean_labels(label, concept.alt_labels),
            description=clean_text(concept.description),
        )
        _refuse_surrogates(cleaned[concept.id])
    if not cleaned:
        raise TaxonomyFormatError(f"{name}: the source holds no concept")
    complete = tuple(
        replace(
            concept,
            parents=tuple(
                parent
                for parent in dict.fromkeys(concept.parents)
                if parent in cleaned and parent != concept.id
            ),
        )
        for concept in cleaned.values()
    )
    broader = (
        Relation(concept.id, parent, "broader")
        for concept in complete
        for parent in concept.parents
    )
    return Taxonomy(
        name=name,
        version=version,
        language=language,
        concepts=complete,
        relations=tuple(dict.fromkeys((*broader, *relations))),
        licence=licence,
    )


def _refuse_surrogates(concept: Concept) -> None:
    for value in (concept.id, *concept.names, concept.description, concept.code, *concept.parents):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise TaxonomyFormatError(
                f"concept {concept.id!a}: {value!a} holds a lone surrogate; decode the source "
                "again with its right encoding"
            ) from None
