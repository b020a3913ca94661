"""Reader of SKOS vocabularies (https://www.w3.org/TR/skos-reference/)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax import SAXException

from taxonomies.build import build_taxonomy
from taxonomies.errors import TaxonomyError, TaxonomyFormatError
from taxonomies.records import Concept, Taxonomy

_NESTED_ENTITY = re.compile(rb"""<!ENTITY\s[^'"<>]*(?:"[^"]*&(?!\#)|'[^']*&(?!\#))""")
SKOS_SUFFIXES = (".ttl", ".rdf", ".xml", ".skos")


def read_skos(
    path: str | Path,
    *,
    name: str | None = None,
    version: str | None = None,
    language: str | None = None,
) -> Taxonomy:
    """Read every `skos:Concept` of an RDF/XML or Turtle file.

    `prefLabel` gives the label, `altLabel` and `hiddenLabel` the alternatives, `definition` (or
    `scopeNote`) the description, `notation` the code, `broader` and the reverse of `narrower`
    the parents. All concepts get the kind `skill`. Labels without a language count for any;
    a concept without a label in the language chosen is left out.

    Args:
        path: A file ending in .ttl (Turtle) or .rdf, .xml, .skos (RDF/XML).
        name: Name of the taxonomy; by default that of the file.
        version: Its version, `unknown` by default.
        language: Language of the labels; by default English, or the only one there is.

    Raises:
        TaxonomyError: rdflib is not installed.
        TaxonomyFormatError: The file cannot be parsed, or has no label in that language.
    """
    try:
        import rdflib
        from rdflib.exceptions import ParserError
        from rdflib.namespace import RDF, SKOS
        from rdflib.plugins.parsers.notation3 import BadSyntax
    except ImportError as error:
        raise TaxonomyError(
            'reading SKOS needs rdflib; install it with: pip install "jobshift[skos]"'
        ) from error
    path = Path(path)
    graph = rdflib.Graph()
    try:
        data = path.read_bytes()
        if _NESTED_ENTITY.search(data):
            raise TaxonomyFormatError(
                f"{path} defines XML entities by other entities, which can blow up to any size; "
                "write them out"
            )
        graph.parse(data=data, format="turtle" if path.suffix.lower() == ".ttl" else "xml")
    except OSError as error:
        raise TaxonomyFormatError(f"{path} cannot be read: {error.strerror}") from error
    except (BadSyntax, SAXException, ParserError, UnicodeDecodeError) as error:
        raise TaxonomyFormatError(f"{path} is no valid RDF: {error}") from error
    subjects = sorted(set(graph.subjects(RDF.type, SKOS.Concept)), key=str)
    if not subjects:
        raise TaxonomyFormatError(f"{path} holds no skos:Concept")
    tags = Counter(
        label.language.lower().split("-")[0]
        for subject in subjects
        for label in graph.objects(subject, SKOS.prefLabel)
        if isinstance(label, rdflib.Literal) and label.language
    )
    chosen = language or ("en" if "en" in tags or len(tags) != 1 else next(iter(tags)))

    def texts(subject: Any, *predicates: Any) -> list[str]:
        found = [
            value
            for predicate in predicates
            for value in graph.objects(subject, predicate)
            if isinstance(value, rdflib.Literal)
            and (value.language or chosen).lower().split("-")[0] == chosen
        ]
        # A label in the plain language comes before one without any or with a region.
        return [str(v) for v in sorted(found, key=lambda v: (v.language != chosen, str(v)))]

    concepts = []
    for subject in subjects:
        labels = texts(subject, SKOS.prefLabel)
        if labels:
            broader = {*graph.objects(subject, SKOS.broader)}
            broader |= {*graph.subjects(SKOS.narrower, subject)}
            concepts.append(
                Concept(
                    id=str(subject),
                    label=labels[0],
                    kind="skill",
                    alt_labels=(*labels[1:], *texts(subject, SKOS.altLabel, SKOS.hiddenLabel)),
                    description=" ".join(texts(subject, SKOS.definition, SKOS.scopeNote)[:1]),
                    parents=tuple(sorted(map(str, broader))),
                    code=" ".join(sorted(map(str, graph.objects(subject, SKOS.notation)))[:1]),
                )
            )
    if not concepts:
        raise TaxonomyFormatError(
            f"{path} has no skos:prefLabel in {chosen!r}; its languages are "
            f"{', '.join(sorted(tags)) or '(none)'}"
        )
    return build_taxonomy(
        concepts, name=name or path.stem.lower(), version=version or "unknown", language=chosen
    )
