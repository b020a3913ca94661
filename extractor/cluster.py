"""The same run on a Ray cluster: Ray Data reads, an actor pool extracts, Ray Data writes.

Each file of ads (or each row group of a Parquet file) is read by one task; engines live in actors
that take batches as they become free. Results are written as Parquet files, rows numbered as a
local run numbers them, in any order.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from extractor.batch import BatchSummary, Counts, Manifest, check_errors_file, extract_rows
from extractor.errors import JobshiftError, OutputFileError
from extractor.files import (
    DEFAULT_COLUMNS,
    SCHEMA_VERSION,
    ColumnNames,
    Location,
    check_columns,
    count_rows,
    input_files,
    is_url,
    numbered_rows,
    results_of,
    results_table,
    to_posting,
    write_results,
)
from extractor.records import JobPosting, JobResult, Provenance

if TYPE_CHECKING:
    from extractor.pipeline import SkillExtractor

_MANIFEST = "_manifest.json"  # readers of Parquet pass over names with an underscore
_ROWS_A_FILE = 10_000


class _Unit(NamedTuple):
    """Rows of one file that one task reads.

    Attributes:
        file: The file.
        skip: So many rows before them are left out.
        rows: How many they are.
        first: Number of the first of them in the whole input.
    """

    file: str
    skip: int
    rows: int
    first: int


def run_on_ray(
    source: Location,
    target: Location,
    *,
    taxonomy: str = "default",
    encoder: str = "accurate",
    skills_only: bool = False,
    columns: ColumnNames = DEFAULT_COLUMNS,
    batch_size: int = 32,
    workers: int = 1,
    address: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    errors: str | Path | None = None,
    load: Callable[[], SkillExtractor] | None = None,
) -> BatchSummary:
    """Extract from every ad on a Ray cluster.

    Args:
        source: File of ads or a folder of such files: a path that all nodes see, or a URL.
        target: Folder for Parquet files: a path that all nodes see, or a URL.
        taxonomy: Name of a taxonomy that is installed on every node.
        encoder: Name of an encoder.
        skills_only: Whether duties, occupations and the role class are left out.
        columns: Which column of the input holds what.
        batch_size: Ads that an engine takes at once.
        workers: Engines, each in an actor with one core.
        address: The cluster; by default one that is running, else one on this machine.
        resume: Leave out rows that the target holds.
        overwrite: Drop what the target holds.
        errors: Also write the results of rows with an error to this local file, as JSONL.
        load: Gives the engine, instead of the taxonomy and the encoder.

    Returns:
        Counts over the whole input, also over what an earlier run had done.

    Raises:
        InputFileError: The input cannot be read.
        OutputFileError: The target holds something already, or cannot be resumed.
        JobshiftError: Ray is not installed.
    """
    start = time.perf_counter()
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise JobshiftError("--engine ray needs Ray: pip install 'jobshift[ray]'") from error
    if load is None:
        from extractor import SkillExtractor

        load = functools.partial(
            SkillExtractor.load, taxonomy, encoder=encoder, skills_only=skills_only
        )
    files = input_files(source)
    check_columns(files, columns)
    if errors:
        check_errors_file(Path(errors), overwrite=overwrite or resume)
    filesystem, folder = _open_target(target, resume=resume, overwrite=overwrite)
    if not ray.is_initialized():
        ray.init(address=address, logging_level=logging.ERROR)
    counts = ray.get([ray.remote(count_rows).remote(file) for file in files])
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        input_sha256=_hash_listing(source, files, counts),
        input_format="folder" if len(files) > 1 else "file",
        output_format="parquet",
        columns=columns.used,
        deduplication=None,
        provenance=ray.get(ray.remote(_provenance).remote(load)),
        input=str(source),
    )
    done = _resume(filesystem, folder, manifest, sum(counts))
    units = _units(files, counts, done)
    if units:
        rows = ray.data.from_items(
            [unit._asdict() for unit in units], override_num_blocks=len(units)
        ).flat_map(functools.partial(_read, columns=columns, done=done))
        rows.map_batches(
            _Extractor,
            fn_constructor_args=(load,),
            batch_size=batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        ).write_parquet(
            folder, filesystem=filesystem, compression="zstd", min_rows_per_file=_ROWS_A_FILE
        )
    found = _count_results(filesystem, folder, sum(counts))
    if errors:
        results = pyarrow.dataset.dataset(folder, filesystem=filesystem, format="parquet")
        wrong = results.to_batches(filter=pyarrow.dataset.field("error").is_valid())
        write_results(errors, (result for batch in wrong for result in results_of(batch)))
    return BatchSummary(
        **found.model_dump(),
        resumed_rows=int(done.sum()),
        seconds=time.perf_counter() - start,
        peak_memory_mb=None,
    )


class _Extractor:
    """An engine in an actor."""

    def __init__(self, load: Callable[[], SkillExtractor]) -> None:
        self.extractor = load()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [
            (row["row"], kind.model_validate_json(row["record"]))
            for row in batch.to_pylist()
            for kind in (JobPosting if row["readable"] else JobResult,)
        ]
        return results_table(extract_rows(self.extractor, rows))


def _read(unit: dict[str, Any], columns: ColumnNames, done: NDArray[np.bool_]) -> Iterator[Any]:
    """Rows of a unit that are not done, as Ray moves them."""
    rows = numbered_rows([unit["file"]], start=unit["skip"], columns=columns)
    for number, (_, row) in enumerate(islice(rows, unit["rows"]), start=unit["first"]):
        if not done[number - 1]:
            record = to_posting(row, number, columns)
            yield {
                "row": number,
                "readable": isinstance(record, JobPosting),
                "record": record.model_dump_json().encode(),
            }


def _provenance(load: Callable[[], SkillExtractor]) -> Provenance:
    return load().provenance


def _hash_listing(source: Location, files: list[Location], counts: list[int]) -> str:
    """Names and row counts tell inputs apart: to hash the content would read it once more."""
    prefix = len(str(source)) if len(files) > 1 else 0
    listing = "".join(
        f"{rows}  {str(file)[prefix:]}\n" for file, rows in zip(files, counts, strict=True)
    )
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def _units(files: list[Location], counts: list[int], done: NDArray[np.bool_]) -> list[_Unit]:
    units = []
    first = 1
    for file, rows in zip(files, counts, strict=True):
        for skip, length in _stretches(file, rows):
            if not done[first + skip - 1 : first + skip - 1 + length].all():
                units.append(_Unit(str(file), skip, length, first + skip))
        first += rows
    return units


def _stretches(file: Location, rows: int) -> list[tuple[int, int]]:
    """A Parquet file can be entered at any row group; another one is read from its beginning."""
    if not str(file).lower().endswith(".parquet"):
        return [(0, rows)]
    filesystem, path = _place(file)
    metadata = pq.read_metadata(path, filesystem=filesystem)
    lengths = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    return [(sum(lengths[:index]), length) for index, length in enumerate(lengths) if length]


def _place(path: Location) -> tuple[fs.FileSystem, str]:
    if is_url(path):
        filesystem, inner = fs.FileSystem.from_uri(str(path))
        return filesystem, inner
    return fs.LocalFileSystem(), str(Path(path).resolve())


def _open_target(target: Location, *, resume: bool, overwrite: bool) -> tuple[fs.FileSystem, str]:
    if resume and overwrite:
        raise OutputFileError("resume goes on with an earlier run, overwrite drops it: choose one")
    filesystem, folder = _place(target)
    folder = folder.rstrip("/")
    info = filesystem.get_file_info(folder)
    if info.type == fs.FileType.File:
        raise OutputFileError(f"{target} is a file; --engine ray writes a folder of Parquet files")
    if info.type == fs.FileType.NotFound:
        if any(folder.lower().endswith(suffix) for suffix in (".jsonl", ".csv", ".parquet")):
            raise OutputFileError(
                f"{target}: --engine ray writes a folder of Parquet files; name a folder"
            )
        filesystem.create_dir(folder)
        return filesystem, folder
    below = filesystem.get_file_info(fs.FileSelector(folder))
    if below and overwrite:
        if not any(file.base_name == _MANIFEST for file in below):
            raise OutputFileError(
                f"{target} holds no {_MANIFEST}, so it is not the output of a run; "
                "choose an empty folder"
            )
        filesystem.delete_dir_contents(folder)
    elif below and not resume:
        raise OutputFileError(
            f"{target} is not empty: go on with an earlier run (--resume), drop it (--overwrite) "
            "or choose another folder"
        )
    return filesystem, folder


def _resume(
    filesystem: fs.FileSystem, folder: str, manifest: Manifest, total: int
) -> NDArray[np.bool_]:
    """Which rows the target holds; a file that was not finished is deleted."""
    done = np.zeros(total, dtype=bool)
    path = f"{folder}/{_MANIFEST}"
    if filesystem.get_file_info(path).type == fs.FileType.NotFound:
        with filesystem.open_output_stream(path) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        return done
    with filesystem.open_input_stream(path) as file:
        manifest.check(file.read(), path)
    for info in filesystem.get_file_info(fs.FileSelector(folder)):
        if info.base_name != _MANIFEST:
            try:
                rows = pq.read_table(info.path, columns=["row"], filesystem=filesystem)["row"]
            except (pa.ArrowException, OSError):
                filesystem.delete_file(info.path)
            else:
                done[np.asarray(rows) - 1] = True
    return done


def _count_results(filesystem: fs.FileSystem, folder: str, total: int) -> Counts:
    counts = Counts()
    seen = np.zeros(total, dtype=np.int8)
    results = pyarrow.dataset.dataset(folder, filesystem=filesystem, format="parquet")
    if not results.files:
        return counts
    field = pyarrow.dataset.field
    wanted = {
        "row": field("row"),
        "error": field("error").is_valid(),
        "skills": pc.list_value_length(field("skills")),
        "role": pc.struct_field(field("role"), "label"),
        "has_role": field("role").is_valid(),
    }
    for batch in results.to_batches(columns=wanted):
        np.add.at(seen, np.asarray(batch["row"]) - 1, 1)
        roles = Counter(
            role or "abstained"
            for role, is_there, wrong in zip(
                batch["role"].to_pylist(),
                batch["has_role"].to_pylist(),
                batch["error"].to_pylist(),
                strict=True,
            )
            if is_there and not wrong
        )
        counts += Counts(
            rows=batch.num_rows,
            errors=pc.sum(batch["error"]).as_py() or 0,
            skills=pc.sum(batch["skills"]).as_py() or 0,
            roles=dict(roles),
        )
    if not (seen == 1).all():
        raise OutputFileError(
            f"{folder} lacks {int((seen == 0).sum()):,} rows and holds {int((seen > 1).sum()):,} "
            "more than once; start again (--overwrite)"
        )
    return counts
