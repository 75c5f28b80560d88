"""
Files as rows, in constant memory.

A source is opened once. `rows()` gives each row with its number from 1; `bytes_read()` says how
far the file is read, for the progress bar.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from taximeter.errors import Rejected

CHUNK: Final = 1 << 20
ROWS_AT_ONCE: Final = 2_000
LONGEST_FIELD: Final = 16 * 2**20
FORMATS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv",
                  ".tsv": "tsv", ".parquet": "parquet"}  # fmt: skip

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Source(Protocol):
    """A file of rows."""

    size: int | None

    def rows(self) -> Iterator[tuple[int, Any]]: ...
    def bytes_read(self) -> int: ...
    def columns(self) -> list[str] | None:
        """Of a table; None for JSON lines, which have none in common."""
        ...


def open_source(path: Path, form: str | None) -> Source:
    """
    Args:
        path: "-" for stdin.
        form: "jsonl", "csv", "tsv" or "parquet"; else by the file's name, and JSON lines on stdin.

    Raises:
        Rejected: `invalid_file`.
    """
    form = form or format_of(path)
    if form == "parquet":
        return ParquetSource(path)
    stream = sys.stdin.buffer if str(path) == "-" else _open(path)
    counted = CountedStream(stream)
    size = path.stat().st_size if str(path) != "-" else None
    content: BinaryIO = io.BufferedReader(counted, CHUNK)
    if path.suffix == ".gz":
        content = gzip.GzipFile(fileobj=content)  # type: ignore[assignment]
    if form == "jsonl":
        return LinesSource(content, counted, size)
    return CsvSource(content, counted, size, "\t" if form == "tsv" else ",")


def format_of(path: Path) -> str:
    if str(path) == "-":
        return "jsonl"
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    try:
        return FORMATS[suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise Rejected(
            "invalid_file", f"{path}: the name ends in none of {known}; say --format."
        ) from None


def digest_of(path: Path) -> str:
    """SHA-256 of the file's content, in hex."""
    digest = hashlib.sha256()
    with _open(path) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise Rejected("invalid_file", f"{path} cannot be read: {error.strerror}.") from error


class CountedStream(io.RawIOBase):
    """Counts what is read through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


class LinesSource:
    """JSON lines; a row is the line's bytes. Empty lines are not rows."""

    def __init__(self, stream: BinaryIO, counted: CountedStream, size: int | None) -> None:
        self._stream, self._counted, self.size = stream, counted, size

    def columns(self) -> None:
        return None

    def rows(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        for line in self._stream:
            stripped = line.strip()
            if stripped:
                number += 1
                yield number, stripped

    def bytes_read(self) -> int:
        return self._counted.count


class CsvSource:
    """CSV with a header line; a row is a dict of text."""

    def __init__(
        self, stream: BinaryIO, counted: CountedStream, size: int | None, delimiter: str
    ) -> None:
        self._counted, self.size = counted, size
        csv.field_size_limit(LONGEST_FIELD)
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(text, delimiter=delimiter, strict=True)
        self._columns = self._next() or []
        if len(set(self._columns)) != len(self._columns) or not self._columns:
            raise Rejected("invalid_file", "The CSV file has no header, or names a column twice.")

    def columns(self) -> list[str]:
        return self._columns

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        number = 0
        while (cells := self._next()) is not None:
            if cells:
                number += 1
                yield number, dict(zip(self._columns, cells, strict=False))

    def bytes_read(self) -> int:
        return self._counted.count

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            line = self._reader.line_num
            raise Rejected("invalid_file", f"CSV, line {line}: {error}.") from error


class ParquetSource:
    """Parquet, read in the file's own row order; a row is a dict of values."""

    def __init__(self, path: Path) -> None:
        import duckdb

        self.size = path.stat().st_size if path.exists() else None
        try:
            self._connection = duckdb.connect(":memory:")
            self._connection.execute("SET preserve_insertion_order = true")
            self._result = self._connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            # On a connection of its own: the one above is still giving its rows.
            count = duckdb.connect(":memory:").execute(
                "SELECT count(*) FROM read_parquet(?)", [str(path)]
            )
            self._count = int((count.fetchone() or (0,))[0])
        except duckdb.Error as error:
            raise Rejected("invalid_file", f"{path} cannot be read: {error}") from error
        self._columns = [column[0] for column in self._result.description]
        self._done = 0

    def columns(self) -> list[str]:
        return self._columns

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with closing(self._connection):
            while rows := self._result.fetchmany(ROWS_AT_ONCE):
                for row in rows:
                    self._done += 1
                    yield self._done, dict(zip(self._columns, row, strict=True))

    def bytes_read(self) -> int:
        return int((self.size or 0) * self._done / max(self._count, 1))


def decode_line(line: bytes) -> dict[str, Any]:
    """
    A JSON line as a row, fractions exact.

    Raises:
        Rejected: `invalid_json`.
    """
    try:
        row = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid_json", f"Not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise Rejected("invalid_event", "An event is a JSON object.")
    return row
