"""
The Parquet files of the event store: immutable, named by the seqs they hold, never the truth.

    00000000000000000001-00000000000000131072.parquet

holds exactly the events 1 to 131072, one row each, so its own footer says whether it is whole.
A file appears under its name only when it is complete and synced. Whatever is missing, partial or
damaged is dropped and read from the log again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

VERSION: Final = "2"
"""Of the columns and of the spelling of leaves. Files of another version are rebuilt."""

_NAME: Final = re.compile(r"(\d{20})-(\d{20})\.parquet")
_UNFINISHED: Final = ".tmp"


class EventFile(NamedTuple):
    """One file; it holds the events first ... last."""

    first: int
    last: int
    path: Path

    @property
    def rows(self) -> int:
        return self.last - self.first + 1


def event_file(directory: Path, first: int, last: int) -> EventFile:
    return EventFile(first, last, directory / f"{first:020d}-{last:020d}.parquet")


def find_files(
    directory: Path, db: duckdb.DuckDBPyConnection, durable: int | None
) -> list[EventFile]:
    """
    The usable files, ascending and without overlap (but maybe with gaps). Others are deleted.

    Args:
        durable: Position of the log. A file beyond it was made from another log.
    """
    for leftover in directory.glob(f"*{_UNFINISHED}"):
        leftover.unlink()
    usable: list[EventFile] = []
    # At the same first seq the longest comes first: it is the others, compacted.
    for file in sorted(_named(directory), key=lambda f: (f.first, -f.last)):
        follows = not usable or file.first > usable[-1].last
        within = durable is None or file.last <= durable
        if follows and within and is_whole(file, db):
            usable.append(file)
        else:
            file.path.unlink()
    return usable


def _named(directory: Path) -> Iterable[EventFile]:
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None:
            yield EventFile(int(name[1]), int(name[2]), path)


def is_whole(file: EventFile, db: duckdb.DuckDBPyConnection) -> bool:
    """Whether the footer is readable, of this version, and counts one row an event."""
    source = {"path": str(file.path)}
    try:
        rows = db.execute("SELECT num_rows FROM parquet_file_metadata($path)", source).fetchall()
        found = db.execute(
            "SELECT value FROM parquet_kv_metadata($path) WHERE key = 'taximeter'::BLOB", source
        ).fetchall()
    except duckdb.Error:
        return False
    return rows == [(file.rows,)] and found == [(VERSION.encode(),)]


def is_readable(file: EventFile, db: duckdb.DuckDBPyConnection) -> bool:
    """Whether every value of it can be read: slow, for when a query has failed."""
    try:
        db.execute(
            "SELECT bit_xor(hash(COLUMNS(*))) FROM read_parquet($path)", {"path": str(file.path)}
        ).fetchall()
    except duckdb.Error:
        return False
    return True


def write_file(file: EventFile, rows: str, db: duckdb.DuckDBPyConnection) -> None:
    """
    Write the rows of a query, durably, under the file's name or not at all.

    Sorted by customer: usage and invoices ask for few subjects at a time, and a sorted column of
    subjects lets all other row groups be skipped.
    """
    unfinished = file.path.with_suffix(_UNFINISHED)
    target = str(unfinished).replace("'", "''")
    db.execute(
        f"COPY ({rows} ORDER BY namespace, subject, seq) TO '{target}' "
        f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{taximeter: '{VERSION}'}})"
    )
    _sync(unfinished, os.O_RDWR)
    unfinished.rename(file.path)
    _sync(file.path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def run_to_merge(files: list[EventFile], count: int, most_rows: int) -> list[EventFile]:
    """
    The first run of at least `count` adjacent files that together have at most `most_rows`.

    Merging only whole runs keeps the work per event bounded: each is rewritten once.
    """
    run: list[EventFile] = []
    for file in files:
        adjacent = bool(run) and file.first == run[-1].last + 1
        fits = sum(f.rows for f in run) + file.rows <= most_rows
        if run and not (adjacent and fits):
            if len(run) >= count:
                return run
            run = []
        if file.rows * count <= most_rows:
            run.append(file)
    return run if len(run) >= count else []
