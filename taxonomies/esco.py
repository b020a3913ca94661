"""Reader of the official ESCO download (https://esco.ec.europa.eu/en/use-esco/download)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from taxonomies.build import build_taxonomy
from taxonomies.errors import TaxonomyFormatError
from taxonomies.files import SourceFiles
from taxonomies.records import Concept, Kind, Relation, RelationType, Taxonomy

LICENCE = (
    "This service uses the ESCO classification of the European Commission. "
    "https://esco.ec.europa.eu (free reuse, Commission Decision 2011/833/EU)"
)
ISCO = "http://data.europa.eu/esco/isco/C"

_LABELS_APART = re.compile(r"\n|\s\|\s")
_VERSION = re.compile(r"(?:\bv|esco[-_ ]*v?)(\d+(?:\.\d+){1,2})(?![\d.]*\d)", re.I)
_TABLES: tuple[tuple[str, Kind], ...] = (
    ("skills", "skill"),
    ("skillGroups", "group"),
    ("occupations", "occupation"),
    ("ISCOGroups", "group"),
)
_WITHDRAWN = ("obsolete", "deprecated")


def read_esco(
    path: str | Path,
    *,
    name: str = "esco",
    version: str | None = None,
    language: str | None = None,
) -> Taxonomy:
    """Read the CSV download of ESCO 1.0 to 1.2.

    Args:
        path: The unpacked folder, the zip, or a folder that holds the zips.
        name: Name of the taxonomy.
        version: Version of ESCO; by default what the names of the files say, else `unknown`.
        language: Language of the labels; by default English, or the only one there is.

    Returns:
        Skills, knowledge, skill groups, occupations (`code` is the ISCO-08 code) and ISCO
        groups; relations `essential` and `optional` from an occupation or a skill to a skill,
        `broader` for the hierarchy and `member` for collections, named as their files are
        (`digitalSkills`, `green`, …).

    Raises:
        TaxonomyFormatError: No file of skills in that language, or one that cannot be read.
    """
    files = SourceFiles(Path(path))
    language = _language(files, language)

    def table(stem: str) -> str | None:
        return files.find(rf"{stem}(_{language})?\.csv")

    parents: dict[str, list[str]] = defaultdict(list)
    for stem in ("broaderRelationsSkillPillar", "broaderRelationsOccPillar"):
        for row in _rows(files, table(stem), ("conceptUri", "broaderUri")):
            parents[row["conceptUri"]].append(row["broaderUri"])
    concepts: dict[str, Concept] = {}
    for stem, kind in _TABLES:
        for row in _rows(files, table(stem), ("conceptUri", "preferredLabel")):
            if row.get("status", "").lower() not in _WITHDRAWN:
                concept = _concept(row, kind, parents)
                # A skill that is also a group stands in two tables and counts once.
                concepts.setdefault(concept.id, concept)
    relations = [
        Relation(row["occupationUri"], row["skillUri"], _strength(row))
        for row in _rows(
            files, table("occupationSkillRelations"), ("occupationUri", "relationType", "skillUri")
        )
    ]
    relations += [
        Relation(row["originalSkillUri"], row["relatedSkillUri"], _strength(row))
        for row in _rows(
            files,
            table("skillSkillRelations"),
            ("originalSkillUri", "relationType", "relatedSkillUri"),
        )
    ]
    for file in files.names:
        if match := re.fullmatch(rf"(\w+)Collection_{language}\.csv", file, re.I):
            relations += [
                Relation(row["conceptUri"], match[1], "member")
                for row in files.rows(file, ("conceptUri",))
            ]
    return build_taxonomy(
        concepts.values(),
        relations,
        name=name,
        version=version or _stated_version(files),
        language=language,
        licence=LICENCE,
    )


def looks_like_esco(files: SourceFiles) -> bool:
    """Whether these are the files of an ESCO download."""
    return files.find(r"skills_\w+\.csv") is not None


def _language(files: SourceFiles, language: str | None) -> str:
    found = [
        match[1].lower()
        for file in files.names
        if (match := re.fullmatch(r"skills_(\w+)\.csv", file, re.I))
    ]
    if not found:
        raise TaxonomyFormatError(
            f"{files.path} is no ESCO download: it holds no skills_en.csv (or _de, _fr, …); "
            "choose the classification in CSV"
        )
    chosen = language or ("en" if "en" in found or len(found) > 1 else found[0])
    if chosen not in found:
        raise TaxonomyFormatError(
            f"{files.path} holds no skills_{chosen}.csv; its languages are {', '.join(found)}"
        )
    return chosen


def _rows(
    files: SourceFiles, table: str | None, required: tuple[str, ...]
) -> Iterator[dict[str, str]]:
    if table:
        yield from files.rows(table, required)


def _concept(row: dict[str, str], kind: Kind, parents: dict[str, list[str]]) -> Concept:
    uri = row["conceptUri"]
    if kind == "skill" and row.get("skillType") == "knowledge":
        kind = "knowledge"
    isco = row.get("iscoGroup", "")
    return Concept(
        id=uri,
        label=row["preferredLabel"],
        kind=kind,
        alt_labels=(
            *_LABELS_APART.split(row.get("altLabels", "")),
            *_LABELS_APART.split(row.get("hiddenLabels", "")),
        ),
        description=row.get("description") or row.get("definition", ""),
        parents=tuple(parents.get(uri, (ISCO + isco,) if isco else ())),
        code=isco or row.get("code", ""),
    )


def _strength(row: dict[str, str]) -> RelationType:
    return "essential" if row["relationType"] == "essential" else "optional"


def _stated_version(files: SourceFiles) -> str:
    names = [file.name for file in (files.path, *files.zips)]
    return next((match[1] for name in names if (match := _VERSION.search(name))), "unknown")
