"""
The spool: tracked items on disk until they are answered, so that they outlive the process.

A directory may be shared by any number of processes. Each writes segment files of its own and
holds a lock on them; a segment whose lock is free belongs to nobody alive, and whoever takes the
lock sends what is in it. Items may so be sent twice, which is harmless: their identities are
fixed. A segment is deleted when everything in it is answered.

One item a line: CRC-32 of the rest, kind, JSON. A line that was torn by a crash fails its
checksum and is counted, not sent.

Durability: an item is with the operating system when `append` returns, so it survives the death
of the process. With `fsync` it is on the disk, so it survives a power failure too.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = ".spool"
SEGMENT_BYTES: Final = 1 << 18


class Segment:
    """One file. `pending` items of it are not answered yet."""

    __slots__ = ("fd", "path", "pending", "recovered", "size")

    def __init__(self, path: Path, fd: int, size: int = 0) -> None:
        self.path, self.fd, self.size = path, fd, size
        self.pending = 0
        self.recovered = False


class Line(NamedTuple):
    kind: bytes
    text: bytes


class Full(OSError):
    """The spool has reached its size."""


class Spool:
    """
    Not thread-safe: its owner holds a lock.

    Args:
        directory: Made if missing, readable by its owner only.
        max_bytes: What the segments of this process may take together.
        fsync: Whether each append waits for the disk.
    """

    def __init__(self, directory: Path, *, max_bytes: int, fsync: bool) -> None:
        if fcntl is None:
            raise OSError("a spool needs file locks, which this system does not have")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.waiting: deque[Segment] = deque()  # items of these are on disk only
        self.damaged = 0
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._bytes = 0
        self._current: Segment | None = None
        self._number = 0
        self._prefix = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._own: set[str] = set()

    # --- writing ------------------------------------------------------------------------------

    def append(self, kind: bytes, text: bytes) -> Segment:
        """
        Raises:
            Full: There is no room.
            OSError: The disk refused it; nothing of it remains.
        """
        line = _sealed(kind, text)
        if self._bytes + len(line) > self._max_bytes:
            raise Full(f"the spool holds {self._bytes} bytes already")
        segment = self._writable()
        self._write(segment, line)
        segment.size += len(line)
        segment.pending += 1
        self._bytes += len(line)
        return segment

    def append_waiting(self, kind: bytes, text: bytes) -> None:
        """Append an item that is kept on disk only, for lack of memory."""
        if self._current is not None and self._current not in self.waiting:
            self._roll()
        segment = self.append(kind, text)
        if segment not in self.waiting:
            self.waiting.append(segment)

    def _writable(self) -> Segment:
        if self._current is not None and self._current.size >= SEGMENT_BYTES:
            self._roll()
        if self._current is None:
            self._current = self._create()
        return self._current

    def _create(self) -> Segment:
        while True:
            self._number += 1
            path = self.directory / f"{self._prefix}-{self._number}{SUFFIX}"
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(path, flags, 0o600)
            # Between these two lines another process may take it for an orphan, and delete it.
            if _lock(fd) and os.fstat(fd).st_nlink:
                if self._fsync:
                    _sync_directory(self.directory)
                self._own.add(path.name)
                return Segment(path, fd)
            os.close(fd)

    def _write(self, segment: Segment, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(segment.fd, line[written:])
            if self._fsync:
                os.fdatasync(segment.fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(segment.fd, segment.size)
            raise

    def _roll(self) -> None:
        segment, self._current = self._current, None
        if segment is not None and not segment.pending:
            self._delete(segment)

    # --- reading ------------------------------------------------------------------------------

    def load(self) -> tuple[Segment, list[Line]] | None:
        """Take the oldest segment that waits on disk; None if none does."""
        while self.waiting:
            segment = self.waiting.popleft()
            if segment is self._current:
                self._current = None
            lines = list(self._lines(segment))
            segment.pending = len(lines)
            if lines:
                return segment, lines
            self._delete(segment)
        return None

    def _lines(self, segment: Segment) -> Iterator[Line]:
        for raw in _raw_lines(segment):
            line = _unsealed(raw)
            if line is None:
                self.damaged += 1
            else:
                yield line

    def orphans(self) -> list[Segment]:
        """
        Lock the segments of processes that are gone. Touches nothing of this object, so it may
        run while others append.
        """
        paths = sorted(self.directory.glob(f"*{SUFFIX}"))
        found = (self._orphan(path) for path in paths if path.name not in self._own)
        return [segment for segment in found if segment is not None]

    def _orphan(self, path: Path) -> Segment | None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return None  # its owner has just finished with it
        if not _lock(fd) or not os.fstat(fd).st_nlink:
            os.close(fd)
            return None
        segment = Segment(path, fd, os.fstat(fd).st_size)
        segment.recovered = True
        segment.pending = sum(1 for raw in _raw_lines(segment) if _unsealed(raw))
        return segment

    def adopt(self, orphans: list[Segment]) -> int:
        """
        Let orphans wait here, before everything else.

        Returns:
            How many items they hold.
        """
        for segment in reversed(orphans):
            self._own.add(segment.path.name)
            self._bytes += segment.size
            self.waiting.appendleft(segment)
        return sum(segment.pending for segment in orphans)

    # --- done ---------------------------------------------------------------------------------

    def done(self, segment: Segment) -> None:
        """One item of the segment is answered."""
        segment.pending -= 1
        if segment.pending:
            return
        if segment is self._current:
            # Emptied instead of deleted: under light traffic that is one call instead of four. If
            # it fails, its items are sent once more some day, which is harmless.
            with suppress(OSError):
                os.ftruncate(segment.fd, 0)
            self._bytes -= segment.size
            segment.size = 0
        else:
            self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        self._bytes -= segment.size
        self._own.discard(segment.path.name)
        with suppress(OSError):
            segment.path.unlink()
        os.close(segment.fd)

    def close(self) -> None:
        """Give up the locks; what is not answered stays for the next process."""
        for segment in {*self.waiting, *([self._current] if self._current else [])}:
            if not segment.pending:
                with suppress(OSError):
                    segment.path.unlink()
            with suppress(OSError):
                os.close(segment.fd)
        self.waiting.clear()
        self._current = None

    def abandon(self, others: set[Segment]) -> None:
        """
        Let go of these and of the own ones, and touch no file. In a forked child: the descriptors
        it inherited would keep the parent's locks after the parent's death.
        """
        for segment in {*self.waiting, *others, *([self._current] if self._current else [])}:
            with suppress(OSError):
                os.close(segment.fd)


def _raw_lines(segment: Segment) -> list[bytes]:
    content = os.pread(segment.fd, os.fstat(segment.fd).st_size, 0)
    return [raw for raw in content.split(b"\n") if raw]


def _sealed(kind: bytes, text: bytes) -> bytes:
    rest = kind + text
    return b"%08x" % zlib.crc32(rest) + rest + b"\n"


def _unsealed(raw: bytes) -> Line | None:
    try:
        crc = int(raw[:8], 16)
    except ValueError:
        return None
    if len(raw) < 10 or zlib.crc32(raw[8:]) != crc:
        return None
    return Line(raw[8:9], raw[9:])


def _sync_directory(directory: Path) -> None:
    """So that a power failure does not take the file's name."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
