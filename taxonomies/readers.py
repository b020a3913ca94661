"""Choice of the reader by a look at the source."""

from __future__ import annotations

from pathlib import Path

from taxonomies.errors import TaxonomyFormatError
from taxonomies.esco import looks_like_esco, read_esco
from taxonomies.files import SourceFiles
from taxonomies.onet import OCCUPATIONS, read_onet
from taxonomies.records import Taxonomy
from taxonomies.skos import SKOS_SUFFIXES, read_skos
from taxonomies.tabular import TABLE_SUFFIXES, read_table


def read_taxonomy(
    path: str | Path,
    *,
    name: str | None = None,
    version: str | None = None,
    language: str | None = None,
) -> Taxonomy:
    """Read a taxonomy, whatever its form.

    Args:
        path: An ESCO or O*NET download (folder or zip), a CSV, TSV or JSON lines file, or a
            SKOS file in RDF/XML or Turtle.
        name: Name of the taxonomy; by default the name of the file or folder.
        version: Its version; by default what the source says, else `unknown`.
        language: Language of its labels; by default English, or the only one there is.

    Raises:
        TaxonomyFormatError: The source is none of these, or cannot be read as one.
    """
    path = Path(path)
    name = name or path.stem.lower()
    suffix = path.suffix.lower()
    if path.is_file() and suffix in TABLE_SUFFIXES:
        return read_table(path, name=name, version=version, language=language)
    if path.is_file() and suffix in SKOS_SUFFIXES:
        return read_skos(path, name=name, version=version, language=language)
    files = SourceFiles(path)
    if looks_like_esco(files):
        return read_esco(path, name=name, version=version, language=language)
    if OCCUPATIONS in files.names:
        return read_onet(path, name=name, version=version, language=language)
    raise TaxonomyFormatError(
        f"{path} is no known taxonomy: expected an ESCO download (skills_en.csv), an O*NET "
        f"archive ({OCCUPATIONS}), or a file ending in "
        f"{', '.join((*TABLE_SUFFIXES, *SKOS_SUFFIXES))}"
    )
