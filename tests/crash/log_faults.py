"""Disks that lie, fail and forget, and small logs to try them on."""

from __future__ import annotations

import errno
import itertools
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from taximeter.adapters.log import SegmentLog
from taximeter.adapters.log.disk import Disk
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format

SMALL_SEGMENT = 4096


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A directory in memory if there is such a thing: for thousands of small logs."""
    shm = Path("/dev/shm")
    where = shm if os.access(shm, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="taximeter-log-", dir=where) as directory:
        yield Path(directory)


def entry(number: int, *, accepted: int = 1, rejected: int = 0, size: int = 40) -> Entry:
    """A distinct entry; its body is what tells it from any other."""
    body = f'{{"id":"{number}"}}'.encode().ljust(size)
    return Entry("default", number, Format.ARRAY, bytes(accepted) + b"\x03" * rejected, body)


class UnsyncedDisk(Disk):
    """For tests that are not about syncing: the same, faster."""

    def fdatasync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def open_log(
    directory: Path, disk: Disk | None = None, segment_bytes: int = SMALL_SEGMENT
) -> SegmentLog:
    ticks = itertools.count(1_000_000)
    return SegmentLog.open(
        directory, segment_bytes=segment_bytes, now=lambda: next(ticks), disk=disk or UnsyncedDisk()
    )


def contents(log: SegmentLog) -> list[Entry]:
    return [logged.entry for logged in log.read(0)]


@dataclass
class FaultyDisk(Disk):
    """
    Fails the nth of the named calls, once or from then on.

    Attributes:
        short: Write half of what is asked instead of failing.
    """

    calls: frozenset[str]
    nth: int
    error: int = errno.EIO
    persistent: bool = False
    short: bool = False
    seen: int = 0
    fired: bool = False
    synced_again: bool = False
    _bad_fds: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _due(self, call: str) -> bool:
        if call not in self.calls:
            return False
        with self._lock:
            self.seen += 1
            due = self.seen == self.nth or (self.persistent and self.seen > self.nth)
            self.fired = self.fired or due
            return due

    def _maybe_fail(self, call: str) -> None:
        if self._due(call):
            raise OSError(self.error, os.strerror(self.error))

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if self._due("pwrite"):
            half = memoryview(data)[: len(data) // 2]
            written = os.pwrite(fd, half, offset)  # the half of a failing write stays on the disk
            if self.short and written:
                return written
            raise OSError(self.error, os.strerror(self.error))
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self.synced_again = self.synced_again or fd in self._bad_fds
        try:
            self._maybe_fail("fdatasync")
        except OSError:
            self._bad_fds.add(fd)
            raise

    def close(self, fd: int) -> None:
        self._bad_fds.discard(fd)
        super().close(fd)

    def allocate(self, fd: int, size: int) -> None:
        self._maybe_fail("allocate")
        super().allocate(fd, size)

    def rename(self, old: Path, new: Path) -> None:
        self._maybe_fail("rename")
        super().rename(old, new)

    def truncate(self, fd: int, size: int) -> None:
        self._maybe_fail("truncate")
        super().truncate(fd, size)

    def sync_directory(self, path: Path) -> None:
        self._maybe_fail("sync_directory")


@dataclass
class _Inode:
    durable: bytearray = field(default_factory=bytearray)
    # (offset, bytes) of a write, or (size, None) of a change of size
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)


class ForgetfulDisk(Disk):
    """
    Does everything, and knows what a power failure would leave: synced data for certain, each
    512-byte sector of an unsynced write or not, a leading part of the unsynced name changes.
    """

    SECTOR = 512

    def __init__(self) -> None:
        self._open: dict[int, _Inode] = {}
        self._inodes: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._name_changes: list[tuple[str, _Inode | None]] = []
        self._lock = threading.RLock()

    def open(self, path: Path, flags: int) -> int:
        with self._lock:
            fd = super().open(path, flags)
            if path.name not in self._inodes:
                self._set_name(path.name, _Inode())
            elif flags & os.O_TRUNC:
                self._inodes[path.name].pending.append((0, None))
            self._open[fd] = self._inodes[path.name]
            return fd

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        with self._lock:
            self._open[fd].pending.append((offset, bytes(data)))
            return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        with self._lock:
            inode = self._open[fd]
            for change in inode.pending:
                _apply(inode.durable, *change)
            inode.pending.clear()

    def allocate(self, fd: int, size: int) -> None:
        with self._lock:
            self._open[fd].pending.append((size, None))
            super().allocate(fd, size)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            self._open[fd].pending.append((size, None))
            super().truncate(fd, size)

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            super().rename(old, new)
            inode = self._inodes[old.name]
            self._set_name(new.name, inode)
            self._set_name(old.name, None)

    def unlink(self, path: Path) -> None:
        with self._lock:
            super().unlink(path)
            self._set_name(path.name, None)

    def sync_directory(self, path: Path) -> None:
        with self._lock:
            self._durable_names = dict(self._inodes)
            self._name_changes.clear()

    def after_power_failure(self, directory: Path, rng: random.Random) -> None:
        """Write one of the states the disk may be in now."""
        with self._lock:
            names = dict(self._durable_names)
            for name, inode in self._name_changes[: rng.randint(0, len(self._name_changes))]:
                names.pop(name, None) if inode is None else names.__setitem__(name, inode)
            directory.mkdir()
            for name, inode in names.items():
                (directory / name).write_bytes(self._torn(inode, rng))

    def _torn(self, inode: _Inode, rng: random.Random) -> bytearray:
        content = bytearray(inode.durable)
        likely = rng.choice((0.1, 0.5, 0.9))
        for at, data in inode.pending:
            if data is None:
                if rng.random() < likely:
                    _apply(content, at, None)
                continue
            start = at
            while start < at + len(data):
                end = min(at + len(data), (start // self.SECTOR + 1) * self.SECTOR)
                if rng.random() < likely:
                    _apply(content, start, data[start - at : end - at])
                start = end
        return content

    def _set_name(self, name: str, inode: _Inode | None) -> None:
        self._name_changes.append((name, inode))
        if inode is None:
            del self._inodes[name]
        else:
            self._inodes[name] = inode


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
    else:
        content.extend(bytes(max(0, at + len(data) - len(content))))
        content[at : at + len(data)] = data
