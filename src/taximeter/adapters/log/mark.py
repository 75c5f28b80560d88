"""
The mark: up to where the log has been acknowledged, kept beside the segments in the file `acked`.

It is written after each successful sync and not synced itself. A killed process leaves it exact,
because the page cache outlives the process; a power failure may leave it behind, never ahead. So
damage before the mark is damage for certain, and only what lies behind it can be a torn tail.

Two slots are written in turn, so that a write that fails halfway leaves the mark before it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple, Self
from zlib import crc32

from taximeter.adapters.log.disk import Disk, read_up_to, write_all
from taximeter.adapters.log.layout import Place
from taximeter.errors import Damaged

MARK_NAME: Final = "acked"
_MAGIC = b"TXMACK\r\n"
_MARK = struct.Struct("<8sQQQ32s")  # magic, segment, next_seq, offset, chain
_CHECKSUM = struct.Struct("<I")
_SLOT_BYTES: Final = _MARK.size + _CHECKSUM.size
_SLOTS_AT: Final = (0, 512)  # a sector each


class Acked(NamedTuple):
    """Everything before `place` of the segment that begins with `segment` was acknowledged."""

    segment: int
    place: Place


class Mark:
    """The mark of the one process that holds the log's lock."""

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self._fd = fd
        self._writes = 0

    @classmethod
    def create(cls, disk: Disk, directory: Path, acked: Acked) -> Self:
        """Replace whatever is there by a new, durable mark."""
        path, new = directory / MARK_NAME, directory / f"{MARK_NAME}.new"
        mark = cls(disk, disk.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        try:
            mark.set(acked)
            mark.sync()
            disk.rename(new, path)
            disk.sync_directory(directory)
        except BaseException:
            mark.close()
            raise
        return mark

    def set(self, acked: Acked) -> None:
        slot = _SLOTS_AT[self._writes % 2]
        self._writes += 1
        write_all(self._disk, self._fd, _encode(acked), slot)

    def sync(self) -> None:
        self._disk.fdatasync(self._fd)

    def close(self) -> None:
        self._disk.close(self._fd)


def read_mark(disk: Disk, directory: Path) -> Acked | None:
    """
    The mark on disk; None if there is no such file.

    Raises:
        Damaged: `log_damaged`, if the file is not a mark.
    """
    path = directory / MARK_NAME
    try:
        fd = disk.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        slots = [_decode(read_up_to(disk, fd, _SLOT_BYTES, at)) for at in _SLOTS_AT]
    finally:
        disk.close(fd)
    acked = max(filter(None, slots), default=None)  # the later one
    if acked is None:
        raise Damaged(
            "log_damaged",
            f"{path} does not hold a mark; see docs/operating/recovery.md.",
            file=str(path),
            offset=0,
        )
    return acked


def _encode(acked: Acked) -> bytes:
    fields = _MARK.pack(_MAGIC, acked.segment, *acked.place)
    return fields + _CHECKSUM.pack(crc32(fields))


def _decode(block: bytes) -> Acked | None:
    if len(block) < _SLOT_BYTES or block[_MARK.size :] != _CHECKSUM.pack(
        crc32(block[: _MARK.size])
    ):
        return None
    magic, segment, *place = _MARK.unpack_from(block)
    return Acked(segment, Place(*place)) if magic == _MAGIC else None
