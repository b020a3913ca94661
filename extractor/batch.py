"""Runs over files of ads that can be stopped at any time and gone on with.

Finished parts lie beside the target in `TARGET.parts/`, each written whole or not at all, with a
manifest of what they are made from; at the end they are joined into the target. A part counts once
its `.json` is there, which is written last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from extractor.errors import InvalidPostingError, JobshiftError, OutputFileError
from extractor.files import (
    DEFAULT_COLUMNS,
    SCHEMA_VERSION,
    ColumnNames,
    Location,
    ResultWriter,
    Row,
    check_columns,
    count_rows,
    encode_results,
    id_of,
    input_files,
    numbered_rows,
    output_suffix,
    replace,
    to_posting,
)
from extractor.records import JobPosting, JobResult, Provenance, Record
from extractor.workers import Workers, use_one_thread

if TYPE_CHECKING:
    from extractor.duplicates import DuplicateFinder
    from extractor.pipeline import SkillExtractor

MAX_BATCH_SIZE = 1024
"""Most ads that the engine takes at once: memory grows with them, speed hardly does."""

SECONDS_PER_AD = 60.0
"""Time after which a worker is taken to hang on an ad."""

_MANIFEST = "manifest.json"

_WARM_UP = JobPosting(
    id="warm-up",
    title="Data analyst",
    text="Your tasks:\n- Clean data in Python and write weekly reports for the sales team\n\n"
    "Requirements:\n- Bachelor's degree and two years of experience with databases\n",
)
"""Read before workers are forked, so that they share what is loaded when it is first needed."""

NumberedRow = tuple[int, Row | JobResult]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """What a run did.

    Attributes:
        rows: Rows of the input, each with one result.
        errors: Rows whose result is an error.
        duplicates: Rows that repeat an earlier one, if they were looked for.
        skills: Skills over all ads.
        roles: Ads by role class, with `abstained` for those without one.
        resumed_rows: Rows that an earlier run had done.
        seconds: Duration of this run.
        peak_memory_mb: Most memory that was held, in MB (10^6 bytes): of the one process, or, of
            several workers, of all together, what they share counted once; None where the system
            does not tell.
    """

    rows: int
    errors: int
    duplicates: int = 0
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
        """Mean number of skills of the ads that were read."""
        read = self.rows - self.errors - self.duplicates
        return self.skills / read if read else 0.0


class Counts(Record):
    """What some results hold."""

    rows: int = 0
    errors: int = 0
    duplicates: int = 0
    skills: int = 0
    roles: dict[str, int] = Field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            rows=self.rows + other.rows,
            errors=self.errors + other.errors,
            duplicates=self.duplicates + other.duplicates,
            skills=self.skills + other.skills,
            roles=dict(Counter(self.roles) + Counter(other.roles)),
        )


class Chunk(NamedTuple):
    """Results as they are written.

    Attributes:
        counts: What they hold.
        results: All of them, in the format of the target.
        errors: Those with an error, as JSONL.
    """

    counts: Counts
    results: bytes
    errors: bytes


class Manifest(Record):
    """What the parts are made from."""

    schema_version: int
    input_sha256: str
    input_format: str
    output_format: str
    columns: dict[str, str]
    deduplication: str | None
    provenance: Provenance
    input: str

    def check(self, earlier: bytes, path: object) -> None:
        """Refuse to go on with a run that was another one; the input may have moved.

        Args:
            earlier: The manifest of that run.
            path: Where it was found.

        Raises:
            OutputFileError: It is damaged, or differs.
        """
        try:
            found = Manifest.model_validate_json(earlier)
        except ValidationError as error:
            raise OutputFileError(
                f"{path} cannot be read, so the run cannot go on: start again (--overwrite)"
            ) from error
        old, new = (
            record.model_dump(exclude={"input", "provenance"})
            | {f"provenance {name}": value for name, value in record.provenance}
            for record in (found, self)
        )
        changes = [
            f"{name.replace('_', ' ')} was {old[name]}, is {new[name]}"
            for name in old
            if old[name] != new[name]
        ]
        if changes:
            raise OutputFileError(
                f"the run of {path} cannot be resumed, since this differs from it: "
                f"{'; '.join(changes)}. Put it back as it was, or start again (--overwrite)"
            )


def run_batch(
    extractor: SkillExtractor,
    source: str | Path,
    target: str | Path,
    *,
    columns: ColumnNames = DEFAULT_COLUMNS,
    batch_size: int = 32,
    part_rows: int = 1000,
    workers: int = 1,
    seconds_per_ad: float = SECONDS_PER_AD,
    deduplicate: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    errors: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BatchSummary:
    """Extract from every ad of a file or a folder of files, one result a row in the same order.

    Rows are counted before the work starts, so that a file that cannot be read shows at once.
    When the run is stopped, by Ctrl-C, an error or a full disk, what is done is kept for `resume`;
    when it is killed, all but the part that was being written.

    Args:
        extractor: The engine.
        source: File of ads or a folder of such files; see `read_postings`.
        target: File of results; JSONL, CSV or Parquet by suffix.
        columns: Which column of the input holds what.
        batch_size: Ads that the engine takes at once, at most `MAX_BATCH_SIZE`.
        part_rows: Rows after which a part is finished; few more than that are ever lost.
        workers: Processes that do the work. With one, it is done in this process. Several, each
            on one thread, are forked from it (on Linux) and share the engine's memory; one that
            dies or hangs is replaced, and the ad that it was reading becomes an error row.
        seconds_per_ad: Time after which a worker is taken to hang; not looked at with one worker.
        deduplicate: Read ads that repeat an earlier one, exactly or nearly, no second time: their
            result names that one in `duplicate_of` and is empty otherwise.
        resume: Go on with an earlier run of the same input and engine, if there is one.
        overwrite: Drop an earlier run and replace an existing target.
        errors: Also write the results of rows with an error there, as JSONL.
        progress: Called with the rows done and the rows of the input.

    Returns:
        Counts over the whole input, also over parts of earlier runs.

    Raises:
        InputFileError: The input cannot be read.
        OutputFileError: The target cannot be written, is there already, or cannot be resumed.
        JobshiftError: An option has a value that cannot be.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    errors = Path(errors) if errors else None
    folder = _parts_folder(target)
    for name, value, most in (
        ("batch_size", batch_size, MAX_BATCH_SIZE),
        ("part_rows", part_rows, 1_000_000),
        ("workers", workers, 256),
    ):
        if not 1 <= value <= most:
            raise JobshiftError(f"{name} must lie between 1 and {most:,}, not be {value:,}")
    check_targets(source, target, errors=errors, resume=resume, overwrite=overwrite)
    files = input_files(source)
    check_columns(files, columns)
    total = sum(map(count_rows, files))
    finder = _make_finder() if deduplicate else None
    manifest = _plan(extractor, source, files, target, columns, finder)

    def work(rows: list[NumberedRow]) -> Chunk:
        postings = [(number, to_posting(row, number, columns)) for number, row in rows]
        return _encode(extract_rows(extractor, postings), target.suffix)

    def failed(row: NumberedRow, reason: str) -> Chunk:
        number, content = row
        name = row_id(content, number, columns)
        result = JobResult(id=name, row=number, error=f"ad {name!r}: {reason}")
        return _encode([result], target.suffix)

    with _writing(folder):
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=resume)
        with FileLock(folder / "lock", timeout=1):
            parts = _load_parts(folder, manifest)
            resumed = done = sum(part.rows for part in parts)
            if progress:
                progress(done, total)
            rows = _rows(files, columns, finder, done)
            at_once = min(batch_size, part_rows)
            to_do = iter(lambda: list(islice(rows, at_once)), [])
            if workers > 1:
                use_one_thread()
                list(extractor.extract_batch([_WARM_UP]))
            pool = (
                None
                if workers == 1
                else Workers(work, failed, count=workers, seconds=seconds_per_ad)
            )
            chunks = pool.map(to_do) if pool else map(work, to_do)
            memory = [0.0]
            while done < total:
                path = folder / _part_name(len(parts), target.suffix)
                part, failure = _write_part(
                    chunks, path, min(part_rows, total - done), done, total, progress
                )
                _save(path.with_suffix(".json"), part)
                parts.append(part)
                if failure:
                    raise failure
                done += part.rows
                memory.append(_shared_memory_mb(pool.pids) if pool else 0.0)
            _join(folder, len(parts), target, errors)
        shutil.rmtree(folder)

    counts = sum(parts, Counts())
    return BatchSummary(
        **counts.model_dump(),
        resumed_rows=resumed,
        seconds=time.perf_counter() - start,
        peak_memory_mb=max(memory) if pool else peak_memory_mb(),
    )


def extract_rows(
    extractor: SkillExtractor, rows: Sequence[tuple[int, JobPosting | JobResult]]
) -> list[JobResult]:
    """Extract from rows of a file, be it here, in a worker or on a cluster.

    Args:
        extractor: The engine, which takes them as one batch.
        rows: Numbers and records of the rows.

    Returns:
        One result a row, in order.
    """
    postings = [posting for _, posting in rows]
    results = list(extractor.extract_batch(postings, batch_size=max(1, len(postings))))
    if len(results) != len(rows):
        raise RuntimeError(f"the engine gave {len(results)} results for {len(rows)} ads")
    return [
        result.model_copy(update={"row": number})
        for (number, _), result in zip(rows, results, strict=True)
    ]


def row_id(row: Row | JobResult, number: int, columns: ColumnNames) -> str:
    """Id of the result of a row."""
    if isinstance(row, JobResult):
        return row.id
    try:
        return id_of(row, number, columns)
    except InvalidPostingError:
        return f"row-{number}"


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
        if source.is_dir() and source.resolve() in path.resolve().parents:
            raise OutputFileError(
                f"{path} lies in the folder of the input, and would be read as input the next "
                "time; write the results to another folder"
            )
    if errors:
        check_errors_file(errors, overwrite=True)
        if errors.resolve() == target.resolve():
            raise OutputFileError(
                f"{errors} is to hold the results; collect the rows with errors in another file"
            )
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


def check_errors_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file for rows with errors that must not be written.

    Raises:
        OutputFileError: Its suffix is another one, its folder is missing, or it is there already.
    """
    output_suffix(path)
    if path.suffix.lower() != ".jsonl":
        raise OutputFileError(f"{path}: rows with errors are written as JSONL; end it in .jsonl")
    if path.exists() and not overwrite:
        raise OutputFileError(f"{path} exists: choose another name or replace it (--overwrite)")


def _make_finder() -> DuplicateFinder:
    from extractor.duplicates import DuplicateFinder

    return DuplicateFinder()


def _plan(
    extractor: SkillExtractor,
    source: Path,
    files: Sequence[Location],
    target: Path,
    columns: ColumnNames,
    finder: DuplicateFinder | None,
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        input_sha256=_hash_files(source, files),
        input_format="".join(source.suffixes[-2:]).lower() if source.is_file() else "folder",
        output_format=target.suffix.lower(),
        columns=columns.used,
        deduplication=finder.version if finder else None,
        provenance=extractor.provenance,
        input=str(source),
    )


def _hash_files(source: Path, files: Sequence[Location]) -> str:
    """SHA-256 of a file, or of the names and hashes of the files of a folder."""
    hashes = {}
    for path in map(Path, files):
        with path.open("rb") as file:
            hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
    if source in hashes:
        return hashes[source]
    listing = "".join(
        f"{digest}  {path.relative_to(source).as_posix()}\n" for path, digest in hashes.items()
    )
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def _load_parts(folder: Path, planned: Manifest) -> list[Counts]:
    """Parts of an earlier run of the same plan; without one, the plan is laid down."""
    path = folder / _MANIFEST
    if not path.exists():
        _save(path, planned)
        return []
    planned.check(path.read_bytes(), path)
    parts: list[Counts] = []
    for count in sorted(folder.glob("part-*.json")):
        part = folder / _part_name(len(parts), planned.output_format)
        if count != part.with_suffix(".json") or not part.exists():
            raise OutputFileError(f"{part} is gone: start again (--overwrite)")
        try:
            parts.append(Counts.model_validate_json(count.read_bytes()))
        except ValidationError as error:
            raise OutputFileError(f"{count} is damaged: start again (--overwrite)") from error
    return parts


def _save(path: Path, record: Record) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(record.model_dump_json(indent=2).encode())
        file.flush()
        os.fsync(file.fileno())
    replace(temporary, path)


def _parts_folder(target: Path) -> Path:
    return target.with_name(f"{target.name}.parts")


def _part_name(index: int, suffix: str) -> str:
    return f"part-{index:06}{suffix.lower()}"


def _errors_of(part: Path) -> Path:
    return part.with_suffix(".errors.jsonl")


def _rows(
    files: Sequence[Location], columns: ColumnNames, finder: DuplicateFinder | None, done: int
) -> Iterator[NumberedRow]:
    """The rows that are not done, those that repeat another one as the result that says so."""
    if finder is None:
        yield from numbered_rows(files, start=done, columns=columns)
        return
    # What is done is looked at again, so that the rest is compared with it as it would have been.
    for number, row in numbered_rows(files, columns=columns):
        marked = _mark(row, number, columns, finder)
        if number > done:
            yield number, marked


def _mark(row: Row, number: int, columns: ColumnNames, finder: DuplicateFinder) -> Row | JobResult:
    posting = row if isinstance(row, dict) else {}
    text, title = posting.get(columns.body), posting.get(columns.title)
    if not isinstance(text, str) or not text.strip():
        return row
    name = row_id(row, number, columns)
    found = finder.find(number, name, title if isinstance(title, str) else "", text)
    return JobResult(id=name, row=number, duplicate_of=found) if found else row


def _encode(results: Sequence[JobResult], suffix: str) -> Chunk:
    wrong = [result for result in results if result.error]
    roles: Counter[str] = Counter(
        result.role.label or "abstained" for result in results if result.role and not result.error
    )
    counts = Counts(
        rows=len(results),
        errors=len(wrong),
        duplicates=sum(result.duplicate_of is not None for result in results),
        skills=sum(len(result.skills) for result in results),
        roles=dict(roles),
    )
    return Chunk(counts, encode_results(results, suffix.lower()), encode_results(wrong, ".jsonl"))


def _write_part(
    chunks: Iterator[Chunk],
    path: Path,
    rows: int,
    done: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Counts, BaseException | None]:
    """Write chunks of `rows` results or more; fewer if the engine fails or is interrupted."""
    counts = Counts()
    failure: BaseException | None = None
    with ResultWriter(path) as part, ResultWriter(_errors_of(path)) as error_rows:
        while counts.rows < rows:
            try:
                chunk = next(chunks)
            except StopIteration:
                raise OutputFileError(
                    f"the input has only {done + counts.rows:,} of the {total:,} rows that it had "
                    "at the beginning; leave it as it is while it is read"
                ) from None
            except BaseException as error:
                # Also on Ctrl-C: raised again by the caller, once what is done is safe.
                if not counts.rows:
                    raise
                failure = error
                break
            part.write_encoded(chunk.results)
            error_rows.write_encoded(chunk.errors)
            counts += chunk.counts
            if progress:
                progress(done + counts.rows, total)
    return counts, failure


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


def _shared_memory_mb(pids: Iterable[int]) -> float:
    """Memory of this process and others, what they share counted once (PSS), in MB."""
    kilobytes = 0
    for pid in ("self", *pids):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6
