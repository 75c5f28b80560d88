"""
One SQLite connection: durable transactions, one user at a time, errors in our own words.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from taximeter.adapters.books.migrations import migrate
from taximeter.errors import Damaged, TaximeterError, Unavailable

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Connection:
    """
    The books' file, opened and migrated.

    Not a connection pool and not thread-safe, on purpose: the engine calls the books from one
    executor thread, and SQLite has one writer anyway. Use from two threads at once is a defect
    of ours and trips an assertion instead of interleaving two transactions.

    Args:
        path: The database; made if missing.
        busy_timeout_ms: How long to wait while another process (a backup, `doctor`) writes.
        prepare: Brings the schema up to date, inside a transaction.

    Raises:
        Damaged: `books_damaged` or `incompatible_data`.
        Unavailable: `log_locked` if another process holds the file too long.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = 5_000,
        prepare: Callable[[sqlite3.Connection], None] = migrate,
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Damaged(
                "incompatible_data",
                f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed.",
            )
        self._in_use = threading.Lock()
        self._failed = False
        with _translated():
            self._sqlite = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(busy_timeout_ms, prepare)
            except BaseException:
                self._sqlite.close()
                raise

    def _prepare(self, busy_timeout_ms: int, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._sqlite.execute(f"PRAGMA busy_timeout = {busy_timeout_ms:d}")
        self._sqlite.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on disk when it returns, in WAL mode too.
        self._sqlite.execute("PRAGMA synchronous = FULL")
        self._sqlite.execute("PRAGMA foreign_keys = ON")
        with self.write() as sqlite:
            prepare(sqlite)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it durable at the end of the block, or none of it."""
        with self._exclusive("BEGIN IMMEDIATE") as sqlite:
            yield sqlite

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with self._exclusive("BEGIN") as sqlite:
            yield sqlite

    @contextmanager
    def _exclusive(self, begin: str) -> Iterator[sqlite3.Connection]:
        entered = self._in_use.acquire(blocking=False)
        assert entered, "the books are used by one caller at a time"
        try:
            with _translated():
                self._check_writable(begin)
                self._sqlite.execute(begin)
                try:
                    yield self._sqlite
                    self._sqlite.execute("COMMIT")
                except BaseException as error:
                    self._note_failure(error)
                    if self._sqlite.in_transaction:
                        self._sqlite.execute("ROLLBACK")
                    raise
        finally:
            self._in_use.release()

    def _check_writable(self, begin: str) -> None:
        # After a failed sync nobody knows which pages reached the disk; writing on as if they
        # had would build on sand. Reads go on.
        if self._failed and begin != "BEGIN":
            raise Unavailable("storage_failed", "The disk refused an earlier write to the books.")

    def _note_failure(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.Error) and _primary(error) == sqlite3.SQLITE_IOERR:
            self._failed = True

    def integrity_findings(self) -> list[str]:
        """What SQLite's own checks find wrong; empty for sound books. Reads the whole file."""
        with self.read() as sqlite:
            integrity = [row[0] for row in sqlite.execute("PRAGMA integrity_check")]
            orphans = sqlite.execute("PRAGMA foreign_key_check").fetchall()
        findings = [text for text in integrity if text != "ok"]
        return findings + [f"{row[0]} row {row[1]} names a missing {row[2]}" for row in orphans]

    def close(self) -> None:
        self._sqlite.close()


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors that are not defects of ours, in the words of `taximeter.errors`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error) or error from error


def _meaning(error: sqlite3.Error) -> TaximeterError | None:
    code = _primary(error)
    if code in _DAMAGED:
        return Damaged("books_damaged", f"books.db is damaged: {error}")
    if code in _BUSY:
        return Unavailable("log_locked", "Another process is writing to books.db.")
    if code == sqlite3.SQLITE_FULL:
        return Unavailable("storage_full", "The disk is full; nothing was written to the books.")
    if code == sqlite3.SQLITE_IOERR:
        return Unavailable("storage_failed", f"The disk refused an access to the books: {error}")
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return Unavailable("storage_failed", f"books.db cannot be opened for writing: {error}")
    return None


def _primary(error: sqlite3.Error) -> int | None:
    """The primary result code; extended codes carry more in the higher bytes."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF
