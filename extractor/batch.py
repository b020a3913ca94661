"""Runs over a file of ads that can be stopped at any time and gone on with.

Finished parts lie beside the target in `TARGET.parts/`, each written whole or not at all, with a
manifest of what they were made from; at the end they are joined into the target.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import ValidationError

from extractor.errors import OutputFileError
from extractor.files import (
    DEFAULT_COLUMNS,
    SCHEMA_VERSION,
    ColumnNames,
    ResultWriter,
    output_suffix,
    read_postings,
    replace,
)
from extractor.records import JobResult, Provenance, Record

if TYPE_CHECKING:
    from extractor.pipeline import SkillExtractor

_MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """What a run did.

    Attributes:
        rows: Rows of the input, each with one result.
        errors: Rows whose result is an error.
        skills: Skills over all ads.
        roles: Ads by role class, with `abstained` for those without one.
        resumed_rows: Rows that an earlier run had done.
        seconds: Duration of this run.
        peak_memory_mb: Most memory that the process has held, in MB (10^6 bytes); None where the
            system does not tell.
    """

    rows: int
    errors: int
    skills: int
    roles: dict[str, int]
    resumed_rows: int
    seconds: float
    peak_memory_mb: float | None

    @property
    def ads_per_s(self) -> float:
        """Speed of this run, loading of the models not counted."""
        return (self.rows - self.resumed_rows) / self.seconds if self.seconds else 0.0

    @property
    def skills_per_ad(self) -> float:
        """Mean number of skills of the ads without error."""
        read = self.rows - self.errors
        return self.skills / read if read else 0.0


class _Part(Record):
    rows: int
    errors: int
    skills: int
    roles: dict[str, int]


class _Manifest(Record):
    """What the parts were made from, and the parts."""

    schema_version: int
    input_sha256: str
    input_format: str
    output_format: str
    columns: dict[str, str]
    provenance: Provenance
    input: str
    parts: tuple[_Part, ...] = ()

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def changes(self, planned: _Manifest) -> list[str]:
        """What is not the same in a planned run, in words; a moved input is."""
        old = self.model_dump(exclude={"input", "parts"})
        new = planned.model_dump(exclude={"input", "parts"})
        for values in (old, new):
            values |= {
                f"provenance {name}": value for name, value in values.pop("provenance").items()
            }
        return [
            f"{name.replace('_', ' ')} was {old[name]}, is {new[name]}"
            for name in old
            if old[name] != new[name]
        ]


def run_batch(
    extractor: SkillExtractor,
    source: str | Path,
    target: str | Path,
    *,
    columns: ColumnNames = DEFAULT_COLUMNS,
    batch_size: int = 32,
    part_rows: int = 1000,
    resume: bool = False,
    overwrite: bool = False,
    errors: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BatchSummary:
    """Extract from every ad of a file, one result a row in the same order.

    The input is read through once before the work starts, so that a damaged file shows at once.
    When the run is stopped, by Ctrl-C or an error, what is done is kept for `resume`.

    Args:
        extractor: The engine.
        source: File of ads; JSONL, CSV or Parquet by suffix.
        target: File of results; JSONL, CSV or Parquet by suffix.
        columns: Which column of the input holds what.
        batch_size: Ads that the engine takes at once.
        part_rows: Rows after which a part is finished; more than that are never lost.
        resume: Go on with an earlier run of the same input and engine, if there is one.
        overwrite: Drop an earlier run and replace an existing target.
        errors: Also write the results of rows with an error there, as JSONL.
        progress: Called with the rows done and the rows of the input.

    Returns:
        Counts over the whole file, also over parts of earlier runs.

    Raises:
        InputFileError: The input cannot be read.
        OutputFileError: The target cannot be written, is there already, or cannot be resumed.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    errors = Path(errors) if errors else None
    folder = _parts_folder(target)
    check_targets(source, target, errors=errors, resume=resume, overwrite=overwrite)
    total = sum(1 for _ in read_postings(source, columns=columns))
    manifest = _plan(extractor, source, target, columns)

    with _writing(folder):
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=resume)
        with FileLock(folder / "lock", timeout=0):
            manifest = _load_manifest(folder, manifest)
            resumed = done = manifest.rows
            postings = islice(read_postings(source, columns=columns), done, total)
            results = extractor.extract_batch(postings, batch_size=batch_size)
            numbered = _number(results, done, total, progress)
            while done < total:
                part, failure = _write_part(
                    numbered,
                    folder / _part_name(len(manifest.parts), target.suffix),
                    min(part_rows, total - done),
                )
                manifest = manifest.model_copy(update={"parts": (*manifest.parts, part)})
                _save_manifest(folder, manifest)
                if failure:
                    raise failure
                done += part.rows
            _join(folder, len(manifest.parts), target, errors)
        shutil.rmtree(folder)

    return BatchSummary(
        rows=total,
        errors=sum(part.errors for part in manifest.parts),
        skills=sum(part.skills for part in manifest.parts),
        roles=dict(sum((Counter(part.roles) for part in manifest.parts), Counter())),
        resumed_rows=resumed,
        seconds=time.perf_counter() - start,
        peak_memory_mb=peak_memory_mb(),
    )


def check_targets(
    source: Path, target: Path, *, errors: Path | None, resume: bool, overwrite: bool
) -> None:
    """Refuse a target that a run must not write to.

    Raises:
        OutputFileError: It is there already, is the input, has an unknown suffix, or holds an
            unfinished run and neither `resume` nor `overwrite` is asked for.
    """
    if resume and overwrite:
        raise OutputFileError("resume goes on with an earlier run, overwrite drops it: choose one")
    for path in filter(None, (target, errors)):
        output_suffix(path)
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputFileError(f"{path} is the input; write the results to another file")
    if errors and errors.suffix.lower() != ".jsonl":
        raise OutputFileError(f"{errors}: rows with errors are written as JSONL; end it in .jsonl")
    folder = _parts_folder(target)
    if overwrite or (resume and folder.exists()):
        return
    if folder.exists():
        raise OutputFileError(
            f"{folder} holds an unfinished run: go on with it (--resume) or drop it (--overwrite)"
        )
    for path in filter(None, (target, errors)):
        if path.exists():
            done = " and no unfinished run lies beside it" if resume else ""
            raise OutputFileError(
                f"{path} exists{done}: choose another name or replace it (--overwrite)"
            )


def _plan(extractor: SkillExtractor, source: Path, target: Path, columns: ColumnNames) -> _Manifest:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _Manifest(
        schema_version=SCHEMA_VERSION,
        input_sha256=digest,
        input_format=source.suffix.lower(),
        output_format=target.suffix.lower(),
        columns=columns.used,
        provenance=extractor.provenance,
        input=str(source),
    )


def _load_manifest(folder: Path, planned: _Manifest) -> _Manifest:
    path = folder / _MANIFEST
    if not path.exists():
        return planned  # the earlier run, if any, was stopped before its first part was done
    try:
        found = _Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise OutputFileError(
            f"{path} cannot be read, so the run cannot go on: start again (--overwrite)"
        ) from error
    changes = found.changes(planned)
    if changes:
        raise OutputFileError(
            f"{folder} cannot be resumed, since this differs from the run that made it: "
            f"{'; '.join(changes)}. Put it back as it was, or start again (--overwrite)"
        )
    for index in range(len(found.parts)):
        part = folder / _part_name(index, planned.output_format)
        if not part.exists():
            raise OutputFileError(f"{part} is gone: start again (--overwrite)")
    return found


def _save_manifest(folder: Path, manifest: _Manifest) -> None:
    temporary = folder / f"{_MANIFEST}.tmp"
    with temporary.open("wb") as file:
        file.write(manifest.model_dump_json(indent=2).encode())
        file.flush()
        os.fsync(file.fileno())
    replace(temporary, folder / _MANIFEST)


def _parts_folder(target: Path) -> Path:
    return target.with_name(f"{target.name}.parts")


def _part_name(index: int, suffix: str) -> str:
    return f"part-{index:06}{suffix.lower()}"


def _errors_of(part: Path) -> Path:
    return part.with_suffix(".errors.jsonl")


def _number(
    results: Iterator[JobResult],
    done: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[JobResult]:
    for row, result in enumerate(results, start=done + 1):
        if progress:
            progress(row, total)
        yield result.model_copy(update={"row": row})


def _write_part(
    results: Iterator[JobResult], path: Path, rows: int
) -> tuple[_Part, BaseException | None]:
    """Write up to `rows` results; fewer if the engine fails or is interrupted meanwhile."""
    written = errors = skills = 0
    roles: Counter[str] = Counter()
    failure: BaseException | None = None
    with ResultWriter(path) as part, ResultWriter(_errors_of(path)) as error_rows:
        while written < rows:
            try:
                result = next(results)
            except StopIteration:
                raise RuntimeError("the engine gave fewer results than it got ads") from None
            except BaseException as error:
                # Also on Ctrl-C: raised again by the caller, once what is done is safe.
                if not written:
                    raise
                failure = error
                break
            part.write(result)
            written += 1
            skills += len(result.skills)
            if result.error:
                error_rows.write(result)
                errors += 1
            elif result.role:
                roles[result.role.label or "abstained"] += 1
    return _Part(rows=written, errors=errors, skills=skills, roles=dict(roles)), failure


def _join(folder: Path, parts: int, target: Path, errors: Path | None) -> None:
    paths = [folder / _part_name(index, target.suffix) for index in range(parts)]
    joined = folder / f"joined{target.suffix}"
    with ResultWriter(joined) as writer:
        for path in paths:
            writer.append(path)
    if errors:
        with ResultWriter(errors) as writer:
            for path in paths:
                writer.append(_errors_of(path))
    replace(joined, target)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except Timeout as error:
        raise OutputFileError(f"another run is writing to {folder}; wait for its end") from error
    except OSError as error:
        raise OutputFileError(f"{folder} cannot be written: {error}") from error


def peak_memory_mb() -> float | None:
    """Largest memory of this process so far, in MB of 10⁶ bytes; None where it is not told."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
