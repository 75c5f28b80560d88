"""
The next segment, prepared before it is needed.

Blocks that are allocated and hold zeros already are the fastest to write durably: a sync then has
no metadata to store. Preparing takes a while, so a thread does it while the segment before fills;
when the log is faster than that, it goes on in blocks that are allocated only, and nobody waits.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from taximeter.adapters.log.disk import FULL, Disk, write_zeros

SPARE_NAME: Final = "next.tmp"
URGENT_NAME: Final = "urgent.tmp"


class Spare:
    """At most one prepared file in a log directory. Used by one thread at a time."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._path = directory / SPARE_NAME
        self._urgent_path = directory / URGENT_NAME
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="log-spare")
        self._pending: Future[int] | None = None

    def prepare(self, size: int) -> None:
        """Begin preparing `size` bytes, unless that has begun already."""
        if self._pending is None:
            self._pending = self._executor.submit(self._build, self._path, size, True)

    def take(self, size: int) -> tuple[int, Path]:
        """
        A file that reads as zeros, open for writing, and its path; the caller renames it.

        Raises:
            OSError: There is none; taking again tries again.
        """
        pending = self._pending
        if pending is not None and pending.done():
            self._pending = None
            try:
                return pending.result(), self._path
            except OSError as error:
                if error.errno not in FULL:
                    raise
        return self._build(self._urgent_path, size, False), self._urgent_path

    def discard(self) -> None:
        """Remove spare files, those of an earlier process too."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.exception() is None:
            self._disk.close(pending.result())
        self._remove(self._path)
        self._remove(self._urgent_path)

    def close(self) -> None:
        self.discard()
        self._executor.shutdown()

    def _build(self, path: Path, size: int, zeroed: bool) -> int:
        self._remove(path)
        fd = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._disk.allocate(fd, size)
            if zeroed:
                write_zeros(self._disk, fd, 0, size)
            # Once, at the end: on ext4 each sync of new blocks commits the journal, and doing that
            # for every piece, between the commits of the log, took 50 times as long.
            self._disk.fdatasync(fd)
        except OSError:
            self._disk.close(fd)
            self._remove(path)  # gives the blocks back to a full disk
            raise
        return fd

    def _remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(path)
