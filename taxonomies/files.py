"""Files of a source, be it a folder, a zip (also a wheel) or a folder that holds zips."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from taxonomies.errors import TaxonomyFormatError

MAX_BYTES = 1 << 30
"""Largest file that is read out of a zip; the largest of ESCO and O*NET have 50 MB."""


class SourceFiles:
    """Text files of a source, found by name wherever in it they lie.

    Args:
        path: A folder, a zip file or a folder that holds zip files.

    Attributes:
        path: The folder or file.
        names: Names of all files without their folders, sorted.
        zips: Zip files found in a folder.

    Raises:
        TaxonomyFormatError: The path does not exist, is neither, or is a broken zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise TaxonomyFormatError(f"{path} does not exist; give a folder or a zip file")
        self._places: dict[str, tuple[Path, str | None]] = {}
        self.zips: tuple[Path, ...] = ()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            self.zips = tuple(file for file in files if file.suffix.lower() in (".zip", ".whl"))
            for archive in self.zips:
                self._add_members(archive)
            for file in files:
                self._places[file.name] = (file, None)
        else:
            self._add_members(path)
        self.names = tuple(sorted(self._places))

    def _add_members(self, archive: Path) -> None:
        try:
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    if not info.is_dir():
                        self._places[PurePosixPath(info.filename).name] = (archive, info.filename)
        except (zipfile.BadZipFile, OSError) as error:
            raise TaxonomyFormatError(f"{archive} cannot be read as a zip file: {error}") from error

    def find(self, pattern: str) -> str | None:
        """The first name that a regular expression matches wholly, ignoring case."""
        return next((name for name in self.names if re.fullmatch(pattern, name, re.I)), None)

    def read(self, name: str) -> str:
        """Text of a file in UTF-8, without byte order mark.

        Raises:
            TaxonomyFormatError: The file is missing, broken, too large or not UTF-8.
        """
        if name not in self._places:
            raise TaxonomyFormatError(f"{self.path} holds no {name}")
        place, member = self._places[name]
        if member is None:
            return read_text(place)
        try:
            with zipfile.ZipFile(place) as opened:
                if opened.getinfo(member).file_size > MAX_BYTES:
                    raise TaxonomyFormatError(f"{place}: {member} is larger than 1 GB")
                raw = opened.read(member)
        # zipfile reports an encrypted member as RuntimeError, an unknown method as
        # NotImplementedError.
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError) as error:
            raise TaxonomyFormatError(f"{self.path}: {name} cannot be read: {error}") from error
        return _decode(raw, f"{self.path}: {name}")

    def rows(
        self, name: str, required: tuple[str, ...] = (), *, delimiter: str = ","
    ) -> Iterator[dict[str, str]]:
        """Rows of a file with a header line, missing cells as empty strings.

        Args:
            name: Name of the file.
            required: Columns without which it cannot be used.
            delimiter: What stands between cells; tab-separated files are read without quoting.

        Raises:
            TaxonomyFormatError: As `read`; or a column is missing or a row has too many cells.
        """
        yield from table_rows(
            self.read(name), f"{self.path}: {name}", required, delimiter=delimiter
        )


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, without byte order mark.

    Raises:
        TaxonomyFormatError: The file is missing, cannot be read or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TaxonomyFormatError(f"{path} cannot be read: {error.strerror}") from error
    return _decode(raw, str(path))


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaxonomyFormatError(
            f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error


def table_rows(
    text: str, where: str, required: tuple[str, ...] = (), *, delimiter: str = ","
) -> Iterator[dict[str, str]]:
    """Rows of a delimited text with a header line, missing cells as empty strings.

    Raises:
        TaxonomyFormatError: A required column is missing or given twice, a row has more cells
            than the header, or the quoting is broken; named with `where` and the line.
    """
    lines = io.StringIO(text, newline="")
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        missing = [column for column in required if header.count(column) != 1]
        if missing:
            raise TaxonomyFormatError(
                f"{where} needs the column {missing[0]!r} once; its columns are: "
                f"{', '.join(header) or '(none, the file is empty)'}"
            )
        for cells in reader:
            if len(cells) > len(header):
                raise TaxonomyFormatError(
                    f"{where}, line {reader.line_num}: {len(cells)} cells, but the header has "
                    f"{len(header)}; quote cells that hold the delimiter"
                )
            if cells:
                yield dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise TaxonomyFormatError(f"{where}, line {reader.line_num}: {error}") from error
