"""
The next segment, prepared before it is needed.

Blocks that are allocated and hold zeros already are the fastest to write durably: a sync then has
no metadata to store. Preparing takes a while, so a thread does it while the segment before fills.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from taximeter.adapters.log.disk import FULL, Disk, write_zeros

SPARE_NAME: Final = "next.tmp"


class Spare:
    """At most one prepared file in a log directory. Used by one thread at a time."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self.path = directory / SPARE_NAME
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="log-spare")
        self._pending: Future[int] | None = None

    def prepare(self, size: int) -> None:
        """Begin preparing `size` bytes, unless that has begun already."""
        if self._pending is None:
            self._pending = self._executor.submit(self._build, size)

    def take(self, size: int) -> int:
        """
        A file at `path`, open for writing and all zeros; the caller renames it.

        Raises:
            OSError: It could not be prepared; taking again tries again.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                return pending.result()
            except OSError as error:
                if error.errno not in FULL:
                    raise
        return self._build(size)

    def discard(self) -> None:
        """Remove a spare file, one of an earlier process too."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.exception() is None:
            self._disk.close(pending.result())
        self._remove()

    def close(self) -> None:
        self.discard()
        self._executor.shutdown()

    def _build(self, size: int) -> int:
        self._remove()
        fd = self._disk.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._disk.allocate(fd, size)
            write_zeros(self._disk, fd, 0, size)
            # Once, at the end: on ext4 each sync of new blocks commits the journal, and doing that
            # for every piece, between the commits of the log, took 50 times as long.
            self._disk.fdatasync(fd)
        except OSError:
            self._disk.close(fd)
            self._remove()  # gives the blocks back to a full disk
            raise
        return fd

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(self.path)
