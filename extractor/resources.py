"""What the components share: a taxonomy, its index and an encoder, loaded once per process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import taxonomies
from extractor.encoders import CachedEncoder, load_encoder
from extractor.index import TaxonomyIndex, load_index
from extractor.interfaces import Encoder
from taxonomies import Taxonomy


@dataclass(frozen=True)
class Resources:
    """Large objects behind the components.

    Attributes:
        taxonomy: The installed taxonomy.
        encoder: The encoder, with a memory of the texts seen last.
        index: The taxonomy's names, embedded by that encoder.
    """

    taxonomy: Taxonomy
    encoder: CachedEncoder
    index: TaxonomyIndex


_encoders: dict[str, CachedEncoder] = {}
_resources: dict[tuple[Path, str], Resources] = {}


def shared_encoder(encoder: str | Encoder) -> CachedEncoder:
    """One encoder object per name, with its cache.

    Args:
        encoder: A name for `load_encoder`, or an encoder of the caller's own, which is then
            known under its `name`.
    """
    key = encoder if isinstance(encoder, str) else encoder.name
    if key not in _encoders:
        loaded = load_encoder(encoder) if isinstance(encoder, str) else encoder
        cached = CachedEncoder(loaded)
        _encoders[key] = _encoders[loaded.name] = cached
    return _encoders[key]


def load_resources(taxonomy: str, encoder: str | Encoder) -> Resources:
    """Load a taxonomy with its index, or hand out what was loaded before.

    Args:
        taxonomy: Name of an installed taxonomy.
        encoder: An encoder or the name of one.

    Raises:
        TaxonomyNotInstalledError: There is no such taxonomy in the cache.
        ArtefactError: It has no index for this encoder, or the encoder cannot be loaded.
    """
    cached = shared_encoder(encoder)
    # The folder also tells taxonomies of one name in two caches apart.
    key = (taxonomies.folder(taxonomy), cached.name)
    if key not in _resources:
        loaded = taxonomies.load(taxonomy)
        _resources[key] = Resources(loaded, cached, load_index(loaded, cached))
    return _resources[key]
