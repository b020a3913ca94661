"""Files of job ads in, files of results out: JSONL, CSV and Parquet, told apart by suffix.

Both ways stream, so memory does not grow with the file. What is read is one to one with what
the file holds: a row that cannot be read becomes a `JobResult` with an `error` in its place.
Nothing is unpacked to disk, and no limit here can be passed by a file that is compressed.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import gzip
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, NoReturn, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import ValidationError

from extractor.errors import InputFileError, InvalidPostingError, OutputFileError
from extractor.records import ROLE_CLASSES, JobPosting, JobResult

SUFFIXES = (".jsonl", ".csv", ".parquet")
"""File formats that are read and written."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Compressions that JSONL and CSV are read in, by the suffix behind that of the format."""

SCHEMA_VERSION = 3
"""Version of the columns of results; stands in the metadata of a Parquet file."""

MAX_ROW_BYTES = 16_000_000
"""Longest row of JSONL or CSV that is read; of a longer one nothing is held in memory."""

_VERSION_KEY = b"jobshift.schema_version"
_ROWS_AT_ONCE = 256
_ROWS_A_GROUP = 1024
_FIRST_ROWS = 100
_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnNames:
    """Which column of a file holds what; all others go into `JobPosting.meta`.

    Only the text must be there, or, if `html` names a column, that one instead: it holds HTML,
    which nothing is taken for by itself. A name other than the default must exist in the file.
    """

    id: str = "id"
    text: str = "text"
    title: str = "title"
    date: str = "date"
    industry: str = "industry"
    html: str | None = None

    @property
    def body(self) -> str:
        """The column that the ad is read from."""
        return self.html or self.text

    @property
    def used(self) -> dict[str, str]:
        """Names of the columns that are read, by what they hold."""
        names = {field.name: getattr(self, field.name) for field in fields(self)}
        names.pop("text" if self.html else "html")
        return names


DEFAULT_COLUMNS = ColumnNames()

Location = str | Path
"""A path, or the URL of a file that pyarrow reads (`s3://…`, `gs://…`, `hdfs://…`, `file://…`)."""

Row = dict[str, Any] | InvalidPostingError
"""A row as the file has it, or what keeps it from being read."""


def read_postings(
    path: Location, *, columns: ColumnNames = DEFAULT_COLUMNS
) -> Iterator[JobPosting | JobResult]:
    """Read a file of ads, or all files of a folder, row by row.

    Blank lines of JSONL and CSV are no rows. Text must be UTF-8, with or without a byte order
    mark.

    Args:
        path: A `.jsonl`, `.csv` (with a header, separated by commas; both also with `.gz` or
            `.zst` behind it) or `.parquet` file, or a folder of such files, which are read in
            the order of their names.
        columns: Which column holds what.

    Returns:
        One record a row, in order: the posting, or a result with the error and the row number
        where the row cannot be read. A row without an id is called `row-N`, counted from 1 and
        on over all files of a folder.

    Raises:
        InputFileError: The file cannot be read at all: at once where that shows at its
            beginning, else (a Parquet file broken further on) while iterating.
    """
    files = input_files(path)
    check_columns(files, columns)
    return (to_posting(row, number, columns) for number, row in numbered_rows(files))


def input_files(path: Location) -> list[Location]:
    """The files of ads at a place, in the order in which they are read.

    Args:
        path: A file, or a folder: then all files below it that end in a known suffix, but for
            those in whose path a name begins with a dot or an underscore or ends in `.parts`.

    Raises:
        InputFileError: There is none, or one is empty or has an unknown suffix.
    """
    with _reading(path):
        if is_url(path):
            filesystem, place = fs.FileSystem.from_uri(str(path))
            if filesystem.get_file_info(place).type != fs.FileType.Directory:
                return [_checked_input(path)]
            selector = fs.FileSelector(place, recursive=True)
            below = [
                (info.path[len(place) :].strip("/"), info)
                for info in filesystem.get_file_info(selector)
            ]
            files: list[Location] = [
                f"{str(path).rstrip('/')}/{name}"
                for name, info in sorted(below, key=lambda item: item[0])
                if info.type == fs.FileType.File and _is_input(Path(name))
            ]
        elif Path(path).is_dir():
            files = sorted(
                file
                for file in Path(path).rglob("*")
                if file.is_file() and _is_input(file.relative_to(path))
            )
        else:
            return [_checked_input(Path(path))]
    if not files:
        raise InputFileError(
            f"{path} holds no files of ads; they end in {', '.join(SUFFIXES)} "
            f"(the first two also with {' or '.join(COMPRESSIONS)} behind it)"
        )
    return [_checked_input(file) for file in files]


def check_columns(files: Iterable[Location], columns: ColumnNames) -> None:
    """Refuse files that lack a column.

    Raises:
        InputFileError: A column is not there, or is there twice, or a file cannot be read.
    """
    for file in files:
        with _reading(file):
            _check_columns(file, _reader(file).names(file), columns)


def numbered_rows(
    files: Iterable[Location], *, start: int = 0, columns: ColumnNames | None = None
) -> Iterator[tuple[int, Row]]:
    """Rows of some files with their numbers.

    Args:
        files: What `input_files` gives.
        start: So many rows are left out.
        columns: If given, all other columns are left out.

    Yields:
        The number of the row, counted from 1 over all files, and the row.

    Raises:
        InputFileError: A file turns out to be damaged.
    """
    number = 0
    for file in files:
        with _reading(file):
            reader = _reader(file)
            names = None if columns is None else set(columns.used.values())
            skipped = min(start - number, reader.count(file)) if number < start else 0
            number += skipped
            for row in reader.rows(file, names, skipped):
                number += 1
                yield number, row


def count_rows(file: Location) -> int:
    """Number of rows of a file, read through from beginning to end.

    Raises:
        InputFileError: The file is damaged.
    """
    with _reading(file):
        return _reader(file).count(file)


def is_url(path: Location) -> bool:
    """Whether a place is named by a URL."""
    return isinstance(path, str) and "://" in path


def _is_input(path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) or part.endswith(".parts") for part in path.parts)
    return not hidden and _format_of(path)[0] in SUFFIXES


def _format_of(path: Location) -> tuple[str, str | None]:
    """Suffix of the format and name of the compression."""
    path = Path(path)
    compression = COMPRESSIONS.get(path.suffix.lower())
    return (Path(path.stem) if compression else path).suffix.lower(), compression


def _checked_input(path: Location) -> Location:
    with _reading(path):
        if is_url(path):
            filesystem, place = fs.FileSystem.from_uri(str(path))
            info = filesystem.get_file_info(place)
            exists, regular, size = (
                info.type != fs.FileType.NotFound,
                info.type == fs.FileType.File,
                info.size,
            )
        else:
            path = Path(path)
            exists, regular = path.exists(), path.is_file()
            size = path.stat().st_size if regular else 0
        if not exists:
            raise InputFileError(f"{path!s:.200} does not exist; check the path")
        if not regular:
            raise InputFileError(f"{path} is no regular file; save the ads to a file first")
    suffix, compression = _format_of(path)
    if suffix not in SUFFIXES or (compression and suffix == ".parquet"):
        raise InputFileError(
            f"{path}: unknown suffix {''.join(Path(path).suffixes[-2:])!r}; files of ads end in "
            f"{', '.join(SUFFIXES)}, the first two also with {' or '.join(COMPRESSIONS)} behind it"
        )
    if not size:
        raise InputFileError(f"{path} is empty (0 bytes); check how it was made")
    return path


@contextmanager
def _reading(path: Location) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeError, EOFError) as error:
        suffix, compression = _format_of(path)
        damaged = compression or suffix == ".parquet"
        hint = " (cut off or damaged? copy it again)" if damaged else ""
        raise InputFileError(f"{path} cannot be read{hint}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _check_columns(path: Location, found: list[str], columns: ColumnNames) -> None:
    shown = ", ".join(repr(name[:40]) for name in found[:30]) or "none"
    hint = ""
    if len(found) == 1 and any(mark in found[0] for mark in ";\t"):
        hint = "; the columns of a CSV file must be separated by commas"
    for role, name in columns.used.items():
        required = role == "text" or name != getattr(DEFAULT_COLUMNS, role)
        if required and name not in found:
            raise InputFileError(
                f"{path} has no column {name!r} for the {role}; columns found: {shown}{hint}. "
                f"Name the right one (--{role}-column)"
            )
        if found.count(name) > 1:
            raise InputFileError(f"{path} has more than one column {name!r}; rename one of them")


@contextmanager
def open_input(path: Location) -> Iterator[IO[bytes]]:
    """Open a file of bytes, decompressed if its suffix says so."""
    with ExitStack() as opened:
        if is_url(path):
            filesystem, place = fs.FileSystem.from_uri(str(path))
            file = opened.enter_context(filesystem.open_input_file(place))
        else:
            file = opened.enter_context(Path(path).open("rb"))
        compression = _format_of(path)[1]
        if compression == "gzip":
            file = opened.enter_context(gzip.GzipFile(fileobj=file))
        elif compression:
            file = opened.enter_context(pa.CompressedInputStream(file, compression))
        yield io.BufferedReader(file, _READ_AT_ONCE) if compression or is_url(path) else file


class _TooLongError(ValueError):
    """A line or a row is longer than `MAX_ROW_BYTES`."""


class _Lines:
    """Lines of a file, none of them longer than a row may be.

    Args:
        file: The bytes; a byte order mark at its beginning is left out.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0
        self._room = MAX_ROW_BYTES

    def start_row(self) -> None:
        """Begin to count the bytes of a row."""
        self._room = MAX_ROW_BYTES

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self._file.readline(self._room + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > self._room:
            while line and not line.endswith(b"\n"):
                line = self._file.readline(_READ_AT_ONCE)
            raise _TooLongError(
                f"line {self.number} makes the row longer than the {MAX_ROW_BYTES:,} bytes that "
                "a row may have; is a line end or a quote missing?"
            )
        self._room -= len(line)
        return line.removeprefix(codecs.BOM_UTF8) if self.number == 1 else line


def _jsonl_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | InvalidPostingError]]:
    """Numbers and contents of the lines that are not blank."""
    lines = _Lines(file)
    while True:
        lines.start_row()
        try:
            line = next(lines, None)
        except _TooLongError as error:
            yield lines.number, InvalidPostingError(str(error))
            continue
        if line is None:
            return
        if line.strip():
            yield lines.number, line


def _jsonl_rows(path: Location, names: Set[str] | None = None, skip: int = 0) -> Iterator[Row]:
    with open_input(path) as file:
        for number, line in islice(_jsonl_lines(file), skip, None):
            row = _parse_object(line, number) if isinstance(line, bytes) else line
            if names is not None and isinstance(row, dict):
                row = {name: value for name, value in row.items() if name in names}
            yield row


def _count_jsonl(path: Location) -> int:
    with open_input(path) as file:
        return sum(1 for _ in _jsonl_lines(file))


def _parse_object(line: bytes, number: int) -> Row:
    try:
        value = json.loads(line.decode().strip())
    except UnicodeDecodeError as error:
        return InvalidPostingError(
            f"line {number} is not UTF-8 (byte 0x{line[error.start]:02X} at {error.start}); "
            "save the file as UTF-8"
        )
    except (ValueError, RecursionError) as error:
        return InvalidPostingError(f"line {number} is not valid JSON: {_one_line(error)}")
    if not isinstance(value, dict):
        return InvalidPostingError(
            f"line {number} must be an object, not {type(value).__name__}: "
            'write one {"id": …, "text": …} a line'
        )
    return value


def _jsonl_names(path: Location) -> list[str]:
    """Fields of the first rows; rows differ, so a column is missing only if no row has it."""
    _refuse_utf16(path)
    rows = list(islice(_jsonl_rows(path), _FIRST_ROWS))
    if not rows:
        raise InputFileError(f"{path} holds blank lines only; check how it was made")
    objects = [row for row in rows if isinstance(row, dict)]
    if not objects:
        # Then every one of these rows is reported by itself.
        return list(DEFAULT_COLUMNS.used.values())
    return list(dict.fromkeys(name for row in objects for name in row))


def _refuse_utf16(path: Location) -> None:
    with open_input(path) as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputFileError(f"{path} is UTF-16; save it as UTF-8")


def _csv_header(path: Location) -> list[str]:
    _refuse_utf16(path)
    with open_input(path) as file:
        try:
            return next(_csv_records(_Lines(file)))
        except (StopIteration, csv.Error, _TooLongError) as error:
            if "new-line character" in str(error):
                raise InputFileError(
                    f"{path} has lines that end in a lone carriage return (or is no CSV at all); "
                    "save it with LF or CRLF"
                ) from error
            raise InputFileError(
                f"{path} has no header in its first line ({_one_line(error) or 'blank'}); "
                "the first line must name the columns"
            ) from error


def _csv_records(lines: _Lines) -> Iterator[list[str]]:
    # The module's limit of 131,072 characters a cell would refuse long ads without their id.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    # Bytes that are not UTF-8 become lone surrogates, which make an error of their row alone.
    decoded = (line.decode("utf-8", "surrogateescape") for line in lines)
    # Not strict, an unclosed quote would swallow all rows behind it in silence.
    return csv.reader(decoded, strict=True)


def _csv_rows(path: Location, names: Set[str] | None = None, skip: int = 0) -> Iterator[Row]:
    yield from islice(_all_csv_rows(path, names), skip, None)


def _all_csv_rows(path: Location, names: Set[str] | None) -> Iterator[Row]:
    with open_input(path) as file:
        lines = _Lines(file)
        records = _csv_records(lines)
        header = next(records)
        while True:
            lines.start_row()
            first_line = lines.number + 1
            try:
                cells = next(records)
            except StopIteration:
                return
            except _TooLongError as error:
                yield InvalidPostingError(str(error))
                records = _csv_records(lines)  # an error of the source ends the one that read it
                continue
            except csv.Error as error:
                found = f"lines {first_line} to {lines.number}"
                yield InvalidPostingError(f"{found} are not valid CSV: {_one_line(error)}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield InvalidPostingError(
                    f"line {first_line} has {len(cells)} cells, the header has {len(header)}; "
                    "put quotes around cells with commas or line breaks"
                )
                continue
            row = dict(zip(header, cells, strict=True))
            yield row if names is None else {name: row[name] for name in row if name in names}


def _count_csv(path: Location) -> int:
    return sum(1 for _ in _csv_rows(path))


@contextmanager
def _open_parquet(path: Location) -> Iterator[pq.ParquetFile]:
    # Pages are read as they are needed: row groups of any size take the same memory.
    with (
        open_input(path) as file,
        pq.ParquetFile(file, buffer_size=_READ_AT_ONCE, pre_buffer=False) as parquet,
    ):
        yield parquet


def _parquet_names(path: Location) -> list[str]:
    with _open_parquet(path) as file:
        return list(file.schema_arrow.names)


def _parquet_rows(path: Location, names: Set[str] | None = None, skip: int = 0) -> Iterator[Row]:
    with _open_parquet(path) as file:
        wanted = [name for name in file.schema_arrow.names if names is None or name in names]
        groups = list(range(file.num_row_groups))
        while groups and skip >= (rows := file.metadata.row_group(groups[0]).num_rows):
            skip -= rows
            groups.pop(0)
        for batch in file.iter_batches(_ROWS_AT_ONCE, groups, wanted):
            batch, skip = batch.slice(skip), max(0, skip - batch.num_rows)
            try:
                yield from batch.to_pylist()
            except ValueError:  # a string that is not UTF-8, a date out of range: find the row
                for index in range(batch.num_rows):
                    try:
                        yield batch.slice(index, 1).to_pylist()[0]
                    except ValueError as error:
                        yield InvalidPostingError(f"the row cannot be read: {_one_line(error)}")


def _count_parquet(path: Location) -> int:
    with _open_parquet(path) as file:
        return int(file.metadata.num_rows)


class _Reader(NamedTuple):
    """How a format is read.

    Attributes:
        names: The columns of a file.
        rows: Its rows, of all columns or those given, but for so many at its beginning.
        count: The number of its rows.
    """

    names: Callable[[Location], list[str]]
    rows: Callable[[Location, Set[str] | None, int], Iterator[Row]]
    count: Callable[[Location], int]


_READERS = {
    ".jsonl": _Reader(_jsonl_names, _jsonl_rows, _count_jsonl),
    ".csv": _Reader(_csv_header, _csv_rows, _count_csv),
    ".parquet": _Reader(_parquet_names, _parquet_rows, _count_parquet),
}


def _reader(path: Location) -> _Reader:
    return _READERS[_format_of(path)[0]]


def to_posting(row: Row | JobResult, number: int, columns: ColumnNames) -> JobPosting | JobResult:
    """Make a posting of a row, or a result with the error that keeps it from being one.

    Args:
        row: A row as the file has it; a result is passed through.
        number: Its number, counted from 1.
        columns: Which column holds what.
    """
    posting_id = f"row-{number}"
    try:
        if isinstance(row, JobResult):
            return row
        if isinstance(row, InvalidPostingError):
            raise row
        posting_id = id_of(row, number, columns)
        text = row.get(columns.body)
        if text is None:
            raise InvalidPostingError(f"the row has no text in {columns.body!r}")
        if not isinstance(text, str):
            raise InvalidPostingError(
                f"{columns.body!r} must be a string, not {type(text).__name__}"
            )
        _check_characters(text, columns.body)
        known = set(columns.used.values())
        about: dict[str, Any] = {
            "title": _cell(row, columns.title),
            "date": _cell(row, columns.date),
            "industry": _cell(row, columns.industry),
            "meta": {name: value for name, value in row.items() if name not in known},
        }
        if columns.html:
            return JobPosting.from_html(posting_id, text, **about)
        return JobPosting(id=posting_id, text=text, **about)
    except InvalidPostingError as error:
        return JobResult(id=posting_id, row=number, error=str(error))


def id_of(row: Row, number: int, columns: ColumnNames) -> str:
    """Id of a row, `row-N` if it has none.

    Raises:
        InvalidPostingError: The id is no string or number.
    """
    return (isinstance(row, dict) and _cell(row, columns.id)) or f"row-{number}"


def _cell(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, float) and math.isnan(value):
        return None  # how data frames write a missing value
    if isinstance(value, datetime.date):  # or a datetime, its subclass
        return value.isoformat()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        _check_characters(value or "", name)
        return value if value and value.strip() else None
    raise InvalidPostingError(f"{name!r} must be a string, not {type(value).__name__}")


def _check_characters(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidPostingError(
            f"{name!r} holds a broken character (U+{ord(value[error.start]):04X} at offset "
            f"{error.start}); decode the source again with its right encoding, save it as UTF-8"
        ) from None


def _struct(**types: pa.DataType) -> pa.DataType:
    return pa.struct(list(types.items()))


_STRING, _SCORE, _OFFSET = pa.string(), pa.float64(), pa.int64()
_CONCEPT = {"concept_id": _STRING, "label": _STRING, "kind": _STRING, "score": _SCORE}
_PLACE = {"start": _OFFSET, "end": _OFFSET, "text": _STRING}
_YEARS = _struct(minimum=_SCORE, maximum=_SCORE)
_MASTERY = {"level": _STRING, "cefr": _STRING, "years": _YEARS}
_MATCH = _struct(
    **_PLACE,
    **_CONCEPT,
    method=_STRING,
    requirement=_STRING,
    zone=_STRING,
    alternatives=pa.list_(_struct(**_CONCEPT)),
    **_MASTERY,
)
_EVIDENCE = _struct(
    kind=_STRING, **_PLACE, points_to=_STRING, weight=_SCORE, note=_STRING, source=_STRING
)
_ROLE = _struct(
    label=_STRING,
    nearest=_STRING,
    probabilities=_struct(**dict.fromkeys(ROLE_CLASSES, _SCORE)),
    channel=_STRING,
    evidence=pa.list_(_EVIDENCE),
    flips_without=pa.list_(pa.int64()),
    flips_to=_STRING,
    notes=pa.list_(_STRING),
    abstained=_STRING,
)
RESULT_SCHEMA = pa.schema(
    {
        "id": _STRING,
        "row": pa.int64(),
        "error": _STRING,
        "role": _ROLE,
        "skills": pa.list_(
            _struct(**_CONCEPT, requirement=_STRING, matches=pa.list_(_MATCH), **_MASTERY)
        ),
        "tasks": pa.list_(
            _struct(
                **_PLACE, scores=_struct(automation=_SCORE, augmentation=_SCORE, channel=_STRING)
            )
        ),
        "occupations": pa.list_(
            _struct(concept_id=_STRING, label=_STRING, code=_STRING, score=_SCORE)
        ),
        "zones": pa.list_(_struct(start=_OFFSET, end=_OFFSET, label=_STRING)),
        "qualifications": pa.list_(
            _struct(
                **_PLACE,
                kind=_STRING,
                level=_STRING,
                field=_STRING,
                requirement=_STRING,
                zone=_STRING,
            )
        ),
        "experience": _struct(**_PLACE, years=_YEARS, requirement=_STRING, zone=_STRING),
        "language": _STRING,
        "duplicate_of": _struct(row=pa.int64(), id=_STRING, exact=pa.bool_()),
        "provenance": _struct(
            jobshift=_STRING,
            taxonomy=_STRING,
            taxonomy_version=_STRING,
            taxonomy_sha256=_STRING,
            encoder=_STRING,
            parts=pa.map_(_STRING, _STRING),
        ),
    },
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)
"""Columns of a Parquet file of results: the fields of `JobResult`, nested as they are.

`role.probabilities` is a struct with one column a class, `provenance.parts` a map; skills, their
matches, tasks, occupations, zones and evidence are lists of structs.
"""

CSV_COLUMNS = (
    "id",
    "row",
    "error",
    "role",
    "nearest",
    *(f"p_{name}" for name in ROLE_CLASSES),
    "channel",
    "notes",
    "abstained",
    "occupation",
    "skills",
    "tasks",
    "qualifications",
    "years_minimum",
    "years_maximum",
    "language",
    "duplicate_of",
)
"""Columns of a CSV file of results, one row an ad.

`skills`, `tasks` and `qualifications` are JSON, `notes` are separated by semicolons, `occupation`
is the label of the best one, `duplicate_of` the row of the ad that this one repeats. A cell that a
spreadsheet would take for a formula has an apostrophe before it.
"""


class ResultWriter:
    """Writes results to one file, atomically: it is there whole or not at all.

    Use it as a context manager; on an exception nothing is left behind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Self:
        """Open a temporary file beside the target.

        Raises:
            OutputFileError: The suffix is unknown or the place cannot be written.
        """
        self._suffix = output_suffix(self.path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._buffer: list[JobResult] = []
        self._tables: list[pa.Table] = []
        try:
            self._file = self._temporary.open("wb")
        except OSError as error:
            self._fail(error)
        if self._suffix == ".parquet":
            self._parquet = pq.ParquetWriter(self._file, RESULT_SCHEMA, compression="zstd")
        elif self._suffix == ".csv":
            self._file.write(_csv_line(CSV_COLUMNS))
        return self

    def write(self, result: JobResult) -> None:
        """Add one result.

        Raises:
            OutputFileError: The disk is full or gone.
        """
        self._buffer.append(result)
        if self._suffix != ".parquet" or len(self._buffer) == _ROWS_AT_ONCE:
            self._flush_results()

    def write_encoded(self, content: bytes) -> None:
        """Add what `encode_results` made of some results for this format.

        Raises:
            OutputFileError: The disk is full or gone.
        """
        try:
            if self._suffix == ".parquet":
                with pa.ipc.open_stream(content) as stream:
                    self._tables.append(stream.read_all())
                if sum(table.num_rows for table in self._tables) >= _ROWS_A_GROUP:
                    self._flush_tables()
            else:
                self._file.write(content)
        except OSError as error:
            self._fail(error)

    def append(self, path: Path) -> None:
        """Add all results of a file that a writer of the same format has written.

        Raises:
            OutputFileError: The file cannot be read, or the disk is full or gone.
        """
        try:
            if self._suffix == ".parquet":
                self._flush_tables()
                with pq.ParquetFile(path) as file:
                    for index in range(file.num_row_groups):
                        self._parquet.write_table(file.read_row_group(index))
                return
            with path.open("rb") as file:
                if self._suffix == ".csv":
                    file.readline()
                shutil.copyfileobj(file, self._file)
        except (OSError, pa.ArrowException) as error:
            self._fail(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the file in its place, or remove what was written.

        Raises:
            OutputFileError: The disk is full or gone.
        """
        try:
            if error is None:
                self._flush_results()
                if self._suffix == ".parquet":
                    self._flush_tables()
                    self._parquet.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                replace(self._temporary, self.path)
        except OSError as failure:
            self._fail(failure)
        finally:
            with suppress(OSError, ValueError):
                if self._suffix == ".parquet":
                    self._parquet.close()
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _flush_results(self) -> None:
        if self._buffer:
            self.write_encoded(encode_results(self._buffer, self._suffix))
            self._buffer.clear()

    def _flush_tables(self) -> None:
        if self._tables:
            self._parquet.write_table(pa.concat_tables(self._tables).combine_chunks())
            self._tables.clear()

    def _fail(self, error: Exception) -> NoReturn:
        raise OutputFileError(f"{self.path} cannot be written: {_one_line(error)}") from error


def encode_results(results: Sequence[JobResult], suffix: str) -> bytes:
    """Lay out results as `ResultWriter.write_encoded` takes them.

    This is most of the work of writing, so it is done where the results are made.

    Args:
        results: Any number of results.
        suffix: The format that they are written in.
    """
    if suffix == ".jsonl":
        return b"".join(result.model_dump_json().encode() + b"\n" for result in results)
    if suffix == ".csv":
        return b"".join(_csv_line(_flat_cells(result)) for result in results)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, RESULT_SCHEMA) as stream:
        stream.write_table(results_table(results))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def results_table(results: Sequence[JobResult]) -> pa.Table:
    """Results as an Arrow table with the columns of `RESULT_SCHEMA`."""
    return pa.Table.from_pylist([_arrow_row(result) for result in results], schema=RESULT_SCHEMA)


def write_results(path: str | Path, results: Iterable[JobResult]) -> None:
    """Write results to a JSONL, CSV or Parquet file, atomically.

    Args:
        path: Where to; an existing file is replaced.
        results: Any number of results; they are not held in memory.

    Raises:
        OutputFileError: The suffix is unknown or the place cannot be written.
    """
    with ResultWriter(path) as writer:
        for result in results:
            writer.write(result)


def output_suffix(path: Path) -> str:
    """The format in which results are written to a path.

    Raises:
        OutputFileError: The suffix is unknown, the folder does not exist, or the path is a folder.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputFileError(
            f"{path}: unknown suffix {path.suffix!r}; results end in {', '.join(SUFFIXES)}"
        )
    try:
        if path.is_dir():
            raise OutputFileError(f"{path} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise OutputFileError(
                f"{path} cannot be written: create the folder {path.parent} first"
            )
    except OSError as error:
        raise OutputFileError(f"{path} cannot be written: {error.strerror}") from error
    return suffix


def replace(source: Path, target: Path) -> None:
    """Rename a file over another, and make that survive a loss of power.

    Raises:
        OSError: It cannot be renamed.
    """
    source.replace(target)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_results(path: str | Path) -> Iterator[JobResult]:
    """Read results back from a JSONL or Parquet file.

    Raises:
        InputFileError: The file cannot be read, holds something else than results, or was
            written by a later version of jobshift.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        raise InputFileError(f"{path}: CSV holds only a part of a result; read JSONL or Parquet")
    suffix = path.suffix.lower()
    if suffix == ".jsonl" and path.is_file() and path.stat().st_size == 0:
        return  # the results of no ads
    _checked_input(path)
    with _reading(path):
        if suffix == ".parquet":
            yield from _parquet_results(path)
        else:
            yield from _jsonl_results(path)


def _jsonl_results(path: Path) -> Iterator[JobResult]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield JobResult.model_validate_json(line)
            except ValidationError as error:
                raise InputFileError(
                    f"{path}, line {number}: no jobshift result: {_one_line(error)}"
                ) from error


def _parquet_results(path: Path) -> Iterator[JobResult]:
    with pq.ParquetFile(path) as file:
        version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY)
        if version is None:
            raise InputFileError(f"{path} holds no jobshift results; ads are read as postings")
        if int(version) > SCHEMA_VERSION:
            raise InputFileError(
                f"{path} has schema version {int(version)}, this jobshift reads up to "
                f"{SCHEMA_VERSION}; upgrade jobshift"
            )
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            yield from results_of(batch)


def results_of(table: pa.RecordBatch) -> Iterator[JobResult]:
    """Results that `results_table` laid out."""
    for row in table.to_pylist():
        if row["role"]:
            probabilities = row["role"]["probabilities"]
            row["role"]["probabilities"] = {
                name: value for name, value in probabilities.items() if value is not None
            }
        if row["provenance"]:
            row["provenance"]["parts"] = dict(row["provenance"]["parts"])
        yield JobResult.model_validate(row)


def _arrow_row(result: JobResult) -> dict[str, Any]:
    row = result.model_dump(mode="json")
    if row["provenance"]:
        row["provenance"]["parts"] = list(row["provenance"]["parts"].items())
    return row


def _flat_cells(result: JobResult) -> list[str]:
    role = result.role
    probabilities = role.probabilities if role else {}
    row = result.model_dump(mode="json", include={"skills", "tasks", "qualifications"})
    years = result.experience.years if result.experience else None
    cells: list[object] = [
        result.id,
        result.row,
        result.error,
        role and role.label,
        role and role.nearest,
        *(probabilities.get(name) for name in ROLE_CLASSES),
        role and role.channel,
        "; ".join(role.notes) if role else None,
        role and role.abstained,
        result.occupations[0].label if result.occupations else None,
        json.dumps(row["skills"], ensure_ascii=False),
        json.dumps(row["tasks"], ensure_ascii=False),
        json.dumps(row["qualifications"], ensure_ascii=False),
        years and years.minimum,
        years and years.maximum,
        result.language,
        result.duplicate_of and result.duplicate_of.row,
    ]
    return ["" if cell is None else _harmless(str(cell)) for cell in cells]


def _harmless(cell: str) -> str:
    """Keep a spreadsheet from running a cell as a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # a lone \r in a cell is quoted too
    return line.getvalue().encode()
