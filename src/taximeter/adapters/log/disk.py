"""
The system calls of the log, in one place, so that tests can make any of them fail, fall short or
forget what was not synced.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

# Nothing was stored and nothing is doubtful: the write may be repeated once there is room.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CANNOT_ALLOCATE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Disk:
    """Each method is one system call and raises OSError as that does."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve blocks. Where the file system cannot, writing zeros reserves them anyway."""
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        """Make names in a directory durable; a file's own sync does not."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_cache(self, fd: int) -> None:
        """Drop clean cached pages, so that the next read sees what the disk really has."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def write_all(disk: Disk, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write everything, going on after short and interrupted writes."""
    left = memoryview(data)
    while left:
        try:
            written = disk.pwrite(fd, left, offset)
        except InterruptedError:
            continue
        if written == 0:
            raise OSError(errno.EIO, "the disk accepted no bytes")
        left, offset = left[written:], offset + written


def write_zeros(disk: Disk, fd: int, start: int, end: int, *, step: int = 1024 * 1024) -> None:
    zeros = bytes(min(step, max(0, end - start)))
    for offset in range(start, end, step):
        write_all(disk, fd, zeros[: end - offset], offset)


def read_up_to(disk: Disk, fd: int, length: int, offset: int) -> bytes:
    """`length` bytes, fewer only at the end of the file."""
    block = disk.pread(fd, length, offset)
    while len(block) < length and (
        more := disk.pread(fd, length - len(block), offset + len(block))
    ):
        block += more
    return block
