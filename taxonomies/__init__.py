"""Taxonomies of skills and occupations: records, readers and the user's cache of them.

taxonomy = taxonomies.load("default")      # after `jobshift taxonomy install default`
taxonomy = taxonomies.read_taxonomy("my-skills.csv")
"""

from __future__ import annotations

from taxonomies.errors import (
    TaxonomyDownloadError,
    TaxonomyError,
    TaxonomyFormatError,
    TaxonomyNotInstalledError,
)
from taxonomies.esco import read_esco
from taxonomies.onet import read_onet
from taxonomies.readers import read_taxonomy
from taxonomies.records import (
    KINDS,
    SKILL_KINDS,
    Concept,
    Kind,
    Relation,
    RelationType,
    Taxonomy,
)
from taxonomies.skos import read_skos
from taxonomies.store import (
    InstalledTaxonomy,
    available,
    cache_folder,
    folder,
    install,
    installed,
    load,
    manifest,
    remove,
)
from taxonomies.tabular import read_table

__all__ = [
    "KINDS",
    "SKILL_KINDS",
    "Concept",
    "InstalledTaxonomy",
    "Kind",
    "Relation",
    "RelationType",
    "Taxonomy",
    "TaxonomyDownloadError",
    "TaxonomyError",
    "TaxonomyFormatError",
    "TaxonomyNotInstalledError",
    "available",
    "cache_folder",
    "folder",
    "install",
    "installed",
    "load",
    "manifest",
    "read_esco",
    "read_onet",
    "read_skos",
    "read_table",
    "read_taxonomy",
    "remove",
]
