"""Files of job ads in, files of results out: JSONL, CSV and Parquet, told apart by suffix.

Both ways stream, so memory does not grow with the file. What is read is one to one with what
the file holds: a row that cannot be read becomes a `JobResult` with an `error` in its place.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from extractor.errors import InputFileError, InvalidPostingError, OutputFileError
from extractor.records import ROLE_CLASSES, JobPosting, JobResult

SUFFIXES = (".jsonl", ".csv", ".parquet")
"""File formats that are read and written."""

SCHEMA_VERSION = 2
"""Version of the columns of results; stands in the metadata of a Parquet file."""

_VERSION_KEY = b"jobshift.schema_version"
_ROWS_AT_ONCE = 256
_FIRST_ROWS = 100
_MAX_CELL = 10_000_000


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

Row = dict[str, Any] | InvalidPostingError


def read_postings(
    path: str | Path, *, columns: ColumnNames = DEFAULT_COLUMNS
) -> Iterator[JobPosting | JobResult]:
    """Read a file of ads, row by row.

    Blank lines of JSONL and CSV are no rows. Text must be UTF-8, with or without a byte order
    mark.

    Args:
        path: A `.jsonl`, `.csv` (with a header, separated by commas) or `.parquet` file.
        columns: Which column holds what.

    Returns:
        One record a row, in order: the posting, or a result with the error and the row number
        where the row cannot be read. A row without an id is called `row-N`, counted from 1.

    Raises:
        InputFileError: The file cannot be read at all: at once where that shows at its
            beginning, else (a Parquet file broken further on) while iterating.
    """
    path = Path(path)
    read_names, read_rows = _READERS[_input_suffix(path)]
    with _reading(path):
        _check_columns(path, read_names(path), columns)
    return _iterate_postings(path, read_rows, columns)


def _iterate_postings(
    path: Path, read_rows: Callable[[Path], Iterator[Row]], columns: ColumnNames
) -> Iterator[JobPosting | JobResult]:
    with _reading(path):
        for number, row in enumerate(read_rows(path), start=1):
            yield _to_posting(row, number, columns)


def _input_suffix(path: Path) -> str:
    with _reading(path):
        if path.is_dir():
            raise InputFileError(f"{path} is a folder; name one file in it")
        if not path.exists():
            raise InputFileError(f"{path!s:.200} does not exist; check the path")
        if not path.is_file():
            raise InputFileError(f"{path} is no regular file; save the ads to a file first")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputFileError(
            f"{path}: unknown suffix {path.suffix!r}; files of ads end in {', '.join(SUFFIXES)}"
        )
    if path.stat().st_size == 0:
        raise InputFileError(f"{path} is empty (0 bytes); check how it was made")
    return suffix


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeError) as error:
        hint = " (cut off or damaged? copy it again)" if path.suffix.lower() == ".parquet" else ""
        raise InputFileError(f"{path} cannot be read{hint}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _check_columns(path: Path, found: list[str], columns: ColumnNames) -> None:
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


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if content.strip():
                yield _parse_object(content, number)


def _parse_object(line: bytes, number: int) -> Row:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return InvalidPostingError(
            f"line {number} is not UTF-8 (byte 0x{line[error.start]:02X} at {error.start}); "
            "save the file as UTF-8"
        )
    except (ValueError, RecursionError) as error:
        return InvalidPostingError(f"line {number} is not valid JSON: {_one_line(error)}")
    if not isinstance(value, dict):
        return InvalidPostingError(
            f"line {number} holds a {type(value).__name__}, not an object; "
            'write one {"id": …, "text": …} a line'
        )
    return value


def _jsonl_names(path: Path) -> list[str]:
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


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputFileError(f"{path} is UTF-16; save it as UTF-8")


def _csv_header(path: Path) -> list[str]:
    _refuse_utf16(path)
    with _open_csv(path) as file:
        try:
            return next(csv.reader(file, strict=True))
        except (StopIteration, csv.Error) as error:
            raise InputFileError(
                f"{path} has no header in its first line ({_one_line(error) or 'blank'}); "
                "the first line must name the columns"
            ) from error


def _open_csv(path: Path) -> io.TextIOWrapper:
    # The module's limit of 131,072 characters a cell would refuse long ads without their id.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
    # Bytes that are not UTF-8 become lone surrogates, which make an error of their row alone.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_rows(path: Path) -> Iterator[Row]:
    with _open_csv(path) as file:
        # Not strict, an unclosed quote would swallow all rows behind it in silence.
        reader = csv.reader(file, strict=True)
        header = next(reader)
        while True:
            first_line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                lines = f"lines {first_line} to {reader.line_num}"
                yield InvalidPostingError(f"{lines} are not valid CSV: {_one_line(error)}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield InvalidPostingError(
                    f"line {first_line} has {len(cells)} cells, the header has {len(header)}; "
                    "put quotes around cells with commas or line breaks"
                )
                continue
            yield dict(zip(header, cells, strict=True))


def _parquet_names(path: Path) -> list[str]:
    with pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def _parquet_rows(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            try:
                yield from batch.to_pylist()
            except ValueError:  # a string that is not UTF-8, a date out of range: find the row
                for index in range(batch.num_rows):
                    try:
                        yield batch.slice(index, 1).to_pylist()[0]
                    except ValueError as error:
                        yield InvalidPostingError(f"the row cannot be read: {_one_line(error)}")


_READERS: dict[str, tuple[Callable[[Path], list[str]], Callable[[Path], Iterator[Row]]]] = {
    ".jsonl": (_jsonl_names, _jsonl_rows),
    ".csv": (_csv_header, _csv_rows),
    ".parquet": (_parquet_names, _parquet_rows),
}


def _to_posting(row: Row, number: int, columns: ColumnNames) -> JobPosting | JobResult:
    posting_id = f"row-{number}"
    try:
        if isinstance(row, InvalidPostingError):
            raise row
        posting_id = _cell(row, columns.id) or posting_id
        text = row.get(columns.body)
        if text is None:
            raise InvalidPostingError(f"the row has no text in {columns.body!r}")
        if not isinstance(text, str):
            raise InvalidPostingError(
                f"{columns.body!r} holds a {type(text).__name__}, the text must be a string"
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
    raise InvalidPostingError(f"{name!r} holds a {type(value).__name__}, it must be a string")


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
)
"""Columns of a CSV file of results, one row an ad.

`skills`, `tasks` and `qualifications` are JSON, `notes` are separated by semicolons, `occupation`
is the label of the best one. A cell that a spreadsheet would take for a formula has an apostrophe
before it.
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
        self._buffer: list[dict[str, Any]] = []
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
        try:
            if self._suffix == ".jsonl":
                self._file.write(result.model_dump_json().encode() + b"\n")
            elif self._suffix == ".csv":
                self._file.write(_csv_line(_flat_cells(result)))
            else:
                self._buffer.append(_arrow_row(result))
                if len(self._buffer) == _ROWS_AT_ONCE:
                    self._flush_rows()
        except OSError as error:
            self._fail(error)

    def append(self, path: Path) -> None:
        """Add all results of a file that a writer of the same format has written.

        Raises:
            OutputFileError: The file cannot be read, or the disk is full or gone.
        """
        try:
            if self._suffix == ".parquet":
                self._flush_rows()
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
                if self._suffix == ".parquet":
                    self._flush_rows()
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

    def _flush_rows(self) -> None:
        if self._buffer:
            self._parquet.write_table(pa.Table.from_pylist(self._buffer, schema=RESULT_SCHEMA))
            self._buffer.clear()

    def _fail(self, error: Exception) -> NoReturn:
        raise OutputFileError(f"{self.path} cannot be written: {_one_line(error)}") from error


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
    suffix = _input_suffix_of_results(path)
    with _reading(path):
        if suffix == ".parquet":
            yield from _parquet_results(path)
        else:
            yield from _jsonl_results(path)


def _input_suffix_of_results(path: Path) -> str:
    if path.suffix.lower() == ".csv":
        raise InputFileError(f"{path}: CSV holds only a part of a result; read JSONL or Parquet")
    if path.suffix.lower() == ".jsonl" and path.is_file() and path.stat().st_size == 0:
        return ".jsonl"  # the results of no ads
    return _input_suffix(path)


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
            for row in batch.to_pylist():
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
    ]
    return ["" if cell is None else _harmless(str(cell)) for cell in cells]


def _harmless(cell: str) -> str:
    """Keep a spreadsheet from running a cell as a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # a lone \r in a cell is quoted too
    return line.getvalue().encode()
