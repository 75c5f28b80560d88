"""
One segment file, read frame by frame.

Read with `pread`, not through a mapping: a damaged disk then raises an error that names the file
and the offset, where a mapping would kill the process with SIGBUS.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from taximeter.adapters.log.disk import Disk, read_up_to
from taximeter.adapters.log.layout import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    FrameHeader,
    Place,
    decode_frame_header,
    decode_segment_header,
    follows,
    segment_path,
)
from taximeter.errors import Damaged

BLOCK_BYTES: Final = 256 * 1024


class SegmentInfo(NamedTuple):
    """
    A segment as it stands. `last_seq` is `first_seq - 1` while it holds no accepted event.

    Attributes:
        closed: Whether it is complete and will never change again.
        bytes: Header and frames, without the zeros prepared behind them.
    """

    path: Path
    first_seq: int
    last_seq: int
    closed: bool
    bytes: int


class Frame(NamedTuple):
    """A frame whose chain has been checked."""

    header: FrameHeader
    payload: memoryview
    end: Place


class Segment:
    """
    An open segment.

    Raises:
        Damaged: `log_damaged`, if it is missing, unreadable, or not the segment of that name.
    """

    def __init__(
        self, disk: Disk, directory: Path, first_seq: int, flags: int = os.O_RDONLY
    ) -> None:
        self._disk = disk
        self.path = segment_path(directory, first_seq)
        try:
            self.fd = disk.open(self.path, flags)
        except FileNotFoundError:
            raise missing(directory, first_seq) from None
        self._block, self._block_at = b"", 0
        try:
            decoded = decode_segment_header(bytes(self.take(0, SEGMENT_HEADER_BYTES)))
            if decoded is None or decoded[0].first_seq != first_seq:
                raise self.damaged(0, "has no valid header of the segment it is named after")
        except BaseException:
            self.close()
            raise
        self.header, self.seed = decoded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._disk.close(self.fd)

    @property
    def size(self) -> int:
        """Of the file, prepared zeros included."""
        return os.fstat(self.fd).st_size

    def header_at(self, place: Place) -> FrameHeader | None:
        """The header of the frame at a place, its payload unchecked; None if there is none."""
        header = decode_frame_header(self.take(place.offset, FRAME_HEADER_BYTES), self.seed)
        return header if header and header.first_seq == place.next_seq else None

    def frame_at(self, place: Place) -> Frame | None:
        """The frame that was written at a place; None if there is none, or not as written."""
        header = self.header_at(place)
        if header is None:
            return None
        frame = self.take(place.offset, FRAME_HEADER_BYTES + header.payload_bytes)
        if len(frame) < FRAME_HEADER_BYTES + header.payload_bytes or not follows(place, frame):
            return None
        return Frame(header, frame[FRAME_HEADER_BYTES:], header.end(place.offset))

    def take(self, offset: int, length: int) -> memoryview:
        """Bytes at an offset, fewer only at the end of the file."""
        start = offset - self._block_at
        if start < 0 or start + length > len(self._block):
            try:
                self._block = read_up_to(self._disk, self.fd, max(length, BLOCK_BYTES), offset)
            except OSError as error:
                raise self.damaged(offset, f"cannot be read ({error.strerror})") from error
            self._block_at, start = offset, 0
        return memoryview(self._block)[start : start + length]

    def damaged(self, offset: int, what: str) -> Damaged:
        return Damaged(
            "log_damaged",
            f"{self.path} {what} (offset {offset}); see docs/operating/recovery.md.",
            file=str(self.path),
            offset=offset,
        )


def missing(directory: Path, first_seq: int) -> Damaged:
    path = segment_path(directory, first_seq)
    return Damaged(
        "log_damaged",
        f"{path} is missing; see docs/operating/recovery.md.",
        file=str(path),
        offset=0,
    )
