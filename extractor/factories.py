"""spaCy factories of the components: `nlp.add_pipe("jobshift_linker")` in any pipeline.

spaCy imports this module for every user who has jobshift installed, so it imports neither
faiss nor sentence-transformers.

    jobshift_zones         doc.spans["zones"], doc.spans["sentences"], sentence boundaries
    jobshift_mentions      doc.spans["mentions"]    names of concepts, word for word
    jobshift_spans         doc.spans["skill_spans"] skills and knowledge, listed in a taxonomy or
                                                    not
    jobshift_linker        doc.spans["skills"]      concepts of sentences; needs jobshift_mentions
                                                    before it, and finds less without jobshift_spans
    jobshift_requirement   attrs["requirement"] of doc.spans["skills"]
    jobshift_levels        attrs["level"], ["cefr"], ["years"] of doc.spans["skills"],
                           doc._.jobshift_experience
    jobshift_qualifications  doc.spans["qualifications"]
    jobshift_occupations   doc._.jobshift_occupations
    jobshift_roles         doc.cats, doc._.jobshift_role, doc.spans["tasks"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spacy.language import Language

if TYPE_CHECKING:
    from extractor import components

TAXONOMY_AND_ENCODER = {"taxonomy": "default", "encoder": "accurate"}


@Language.factory("jobshift_zones")
def make_zones(nlp: Language, name: str) -> components.Zones:
    """Make the component that reads sections and sentences; put it before a parser."""
    from extractor.components import Zones

    return Zones()


@Language.factory("jobshift_mentions", default_config=TAXONOMY_AND_ENCODER)
def make_mentions(nlp: Language, name: str, taxonomy: str, encoder: str) -> components.Mentions:
    """Make the component that finds names of concepts."""
    from extractor.components import Mentions
    from extractor.resources import load_resources

    return Mentions(load_resources(taxonomy, encoder))


@Language.factory("jobshift_spans", default_config={"encoder": "accurate"})
def make_spans(nlp: Language, name: str, encoder: str) -> components.SkillSpans:
    """Make the component that finds spans of skills and knowledge."""
    from extractor.components import SkillSpans
    from extractor.encoders import own_encoder
    from extractor.resources import shared_encoder
    from extractor.spans import MODELS, SpanFinder

    return SkillSpans(SpanFinder.load(shared_encoder(encoder), MODELS / own_encoder(encoder)))


@Language.factory("jobshift_linker", default_config=TAXONOMY_AND_ENCODER)
def make_linker(nlp: Language, name: str, taxonomy: str, encoder: str) -> components.SkillLinker:
    """Make the component that links sentences to concepts."""
    from extractor.components import SkillLinker
    from extractor.encoders import own_encoder
    from extractor.linker import LinkerModel
    from extractor.resources import load_resources

    model = LinkerModel.load(own_encoder(encoder))
    return SkillLinker(load_resources(taxonomy, encoder), model)


@Language.factory("jobshift_requirement")
def make_requirement(nlp: Language, name: str) -> components.SkillRequirement:
    """Make the component that says how each skill is asked for."""
    from extractor.components import SkillRequirement

    return SkillRequirement()


@Language.factory("jobshift_levels")
def make_levels(nlp: Language, name: str) -> components.SkillLevels:
    """Make the component that says how well and how long each skill must be known."""
    from extractor.components import SkillLevels

    return SkillLevels()


@Language.factory("jobshift_qualifications")
def make_qualifications(nlp: Language, name: str) -> components.Qualifications:
    """Make the component that finds degrees, certificates and licences."""
    from extractor.components import Qualifications

    return Qualifications()


@Language.factory("jobshift_occupations", default_config=TAXONOMY_AND_ENCODER)
def make_occupations(
    nlp: Language, name: str, taxonomy: str, encoder: str
) -> components.Occupations:
    """Make the component that finds the occupation."""
    from extractor.components import Occupations
    from extractor.resources import load_resources

    return Occupations(load_resources(taxonomy, encoder))


@Language.factory("jobshift_roles", default_config={"encoder": "accurate"})
def make_roles(nlp: Language, name: str, encoder: str) -> components.Roles:
    """Make the component that classifies the role."""
    from extractor.components import Roles
    from extractor.encoders import own_encoder
    from extractor.resources import shared_encoder
    from extractor.roles import MODELS, RoleClassifier

    return Roles(RoleClassifier.load(shared_encoder(encoder), MODELS / own_encoder(encoder)))
