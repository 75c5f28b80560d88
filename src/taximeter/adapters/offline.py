"""
A data directory read without a server, or beside one: log, books, ledger and snapshots are only
read; what is worked out again goes to a scratch directory.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from taximeter.adapters.books import SqliteBooks
from taximeter.adapters.ledger import SqliteLedger
from taximeter.adapters.log import LogReader, verify
from taximeter.adapters.log.layout import Place
from taximeter.adapters.log.reader import Spot, entries_of
from taximeter.adapters.snapshots import SnapshotFiles
from taximeter.errors import Rejected
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.instants import DAY, SECOND
from taximeter.live.snapshot import Snapshot, decode
from taximeter.ports import LoggedEntry
from taximeter.services.tenant import Tenant


class DataDirectory:
    """
    Args:
        data: Of a node, running or not.
        scratch: For copies; made if missing.

    Attributes:
        position: The last acknowledged event when this was opened. Every byte up to there has
            been checked.

    Raises:
        Rejected: `invalid_file`: there is no log in that directory.
        Damaged: `log_damaged`.
    """

    def __init__(self, data: Path, scratch: Path) -> None:
        if not (data / "log").is_dir() or not (data / "books.db").is_file():
            raise Rejected("invalid_file", f"{data} is not a data directory.")
        scratch.mkdir(parents=True, exist_ok=True)
        self.log_directory = data / "log"
        self._data, self._scratch = data, scratch
        self._reader = LogReader(self.log_directory)
        segments = list(verify(self.log_directory))
        self.position = segments[-1].last_seq if segments else 0
        self._end: Spot | None = None
        if segments:
            last = segments[-1]
            self._end = Spot(last.first_seq, Place(last.last_seq + 1, last.bytes, b""))

    def books(self) -> SqliteBooks:
        """A copy of the books as they are at this moment."""
        return SqliteBooks(self._copy("books.db"))

    def ledger(self) -> SqliteLedger | None:
        """A copy of the ledger; None if there is none yet."""
        if not (self._data / "ledger.db").exists():
            return None
        return SqliteLedger(self._copy("ledger.db"))

    def _copy(self, name: str) -> Path:
        """By SQLite itself, which copes with a writer."""
        copy = self._scratch / name
        copy.unlink(missing_ok=True)
        source = f"file:{self._data / name}?mode=ro"
        with (
            closing(sqlite3.connect(source, uri=True)) as old,
            closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new)
        return copy

    def snapshot(self) -> Snapshot | None:
        """The newest one that is whole and not ahead of what was read."""
        if not (self._data / "live").is_dir():
            return None
        for content in SnapshotFiles(self._data / "live").newest_first():
            found = decode(content)
            if found is not None and found.position <= self.position:
                return found
        return None

    def entries(self, upto: int, idle: int) -> Iterator[LoggedEntry]:
        """
        The log from its first entry.

        Args:
            upto: Position to stop at.
            idle: So many entries without accepted events behind it belong to it.
        """
        if self._end is None:
            return
        for _, frame in self._reader.frames(0, None, self._end):
            for logged in entries_of(frame):
                if logged.first_seq > upto:
                    if logged.entry.accepted or not idle:
                        return
                    idle -= 1
                yield logged

    def new_tenant(self, name: str) -> Tenant:
        """One that no event arrives at, so nothing is asked of its window and its secret."""
        return Tenant(name, b"", AcceptanceWindow(90 * DAY, 300 * SECOND))

    def forget(self) -> None:
        """Remove what was worked out."""
        shutil.rmtree(self._scratch, ignore_errors=True)
