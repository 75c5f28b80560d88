"""
What the files of a log hold: found when it is opened, or checked from end to end.

Opening reads the header and the last frame's header of each closed segment, which fix each other
through the chain, and the last segment whole. Only one kind of imperfection is forgiven: a tail
behind the acknowledged mark that holds no later frame. That is what a crash during an append
leaves, since at most one frame is ever being written. Anything else is damage, and refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from taximeter.adapters.log.disk import Disk, write_zeros
from taximeter.adapters.log.layout import (
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    GENESIS,
    SEGMENT_HEADER_BYTES,
    Place,
    SegmentHeader,
    decode_frame_header,
    list_segments,
)
from taximeter.adapters.log.mark import Acked, read_mark
from taximeter.adapters.log.segment import Segment, SegmentInfo, missing

_SCAN_BYTES: Final = 1024 * 1024
_logger = logging.getLogger("taximeter.log")


class Recovered(NamedTuple):
    """
    A log ready to be appended to.

    Attributes:
        last: The segment to append to, open for writing; the caller closes it.
        last_frame: Offset of its last frame, 0 if it has none.
        place: Where the next frame goes.
    """

    closed: list[SegmentInfo]
    last: Segment
    last_frame: int
    place: Place


def recover(disk: Disk, directory: Path) -> Recovered | None:
    """
    Find the end of a log and remove a torn tail. The caller holds the lock of the directory.

    Returns:
        None for a directory in which no log was begun.

    Raises:
        Damaged: `log_damaged`, with the file and the offset.
    """
    acked = read_mark(disk, directory)
    segments = _check_names(directory, acked)
    if not segments:
        return None
    closed = [_check_closed(disk, directory, *pair) for pair in pairwise(segments)]
    _check_acked_segment(directory, acked, closed, segments)
    last = Segment(disk, directory, segments[-1], os.O_RDWR)
    try:
        # What is found is about to be relied on, so it must be on the disk, and be read from there.
        disk.fdatasync(last.fd)
        disk.forget_cache(last.fd)
        last_frame, place = _find_end(last, acked)
        _drop_torn_tail(disk, last, place)
    except BaseException:
        last.close()
        raise
    return Recovered(closed, last, last_frame, place)


def verify(directory: Path, *, disk: Disk | None = None) -> Iterator[SegmentInfo]:
    """
    Read and check every byte that was acknowledged, yielding each segment as it is done.

    Works on a log in use: what lies behind the acknowledged mark is left to the next start.

    Raises:
        Damaged: `log_damaged`, with the file and the offset.
    """
    disk = disk or Disk()
    acked = read_mark(disk, directory)
    segments = _check_names(directory, acked)
    for first_seq, following in zip_longest(segments, segments[1:]):
        with Segment(disk, directory, first_seq) as segment:
            _, place = _find_end(segment, acked)
            if following is not None:
                info = _check_closed(disk, directory, first_seq, following)
                if info.bytes != place.offset:
                    raise segment.damaged(place.offset, "is not as it was written")
        yield SegmentInfo(
            segment.path, first_seq, place.next_seq - 1, following is not None, place.offset
        )


def _check_names(directory: Path, acked: Acked | None) -> list[int]:
    """The segments there are, which must begin with the first and reach the acknowledged one."""
    segments = list_segments(directory)
    if segments and segments[0] != 1:
        raise missing(directory, 1)
    begun = acked is not None and acked.place.offset > SEGMENT_HEADER_BYTES
    if acked is not None and begun and acked.segment not in segments:
        raise missing(directory, acked.segment)
    return segments


def _check_closed(disk: Disk, directory: Path, first_seq: int, following: int) -> SegmentInfo:
    """A closed segment against what the header of the one behind it says about its end."""
    with Segment(disk, directory, following) as next_segment:
        says = next_segment.header
    if says.previous_first_seq != first_seq:
        raise missing(directory, says.previous_first_seq)
    with Segment(disk, directory, first_seq) as segment:
        if first_seq == 1 and segment.header.chain != GENESIS:
            raise segment.damaged(0, "does not begin the log")
        if not _ends_as(segment, says):
            raise segment.damaged(says.previous_last, "does not end where the next segment begins")
    return SegmentInfo(segment.path, first_seq, following - 1, True, says.previous_end)


def _ends_as(segment: Segment, says: SegmentHeader) -> bool:
    block = segment.take(says.previous_last, FRAME_HEADER_BYTES)
    header = decode_frame_header(block, segment.seed)
    end = Place(says.first_seq, says.previous_end, says.chain)
    return (
        header is not None
        and header.end(says.previous_last) == end
        and segment.size >= says.previous_end
    )


def _check_acked_segment(
    directory: Path, acked: Acked | None, closed: list[SegmentInfo], segments: list[int]
) -> None:
    """A mark inside a closed segment (left behind by a power failure) must lie inside it."""
    for info in closed:
        if acked and acked.segment == info.first_seq and acked.place.offset > info.bytes:
            raise missing(directory, info.last_seq + 1)


def _find_end(segment: Segment, acked: Acked | None) -> tuple[int, Place]:
    """
    Walk a segment to the end of its intact frames.

    Returns:
        Offset of the last frame, 0 if there is none, and where the next one would stand.
    """
    last_frame, place = 0, segment.header.start
    mark = acked.place if acked and acked.segment == segment.header.first_seq else None
    reached = mark is None or mark == place
    while frame := segment.frame_at(place):
        last_frame, place = place.offset, frame.end
        reached = reached or mark == place
    if not reached:
        raise segment.damaged(place.offset, "lacks an acknowledged frame as it was written")
    return last_frame, place


def _drop_torn_tail(disk: Disk, segment: Segment, place: Place) -> None:
    """Zero what a crash left of the frame at `place`; refuse if a later frame follows it."""
    end = _end_of_tail(segment, place)
    if end == place.offset:
        return
    write_zeros(disk, segment.fd, place.offset, end)
    disk.fdatasync(segment.fd)
    _logger.warning(
        "dropped %d bytes of an unacknowledged frame at %s, offset %d",
        end - place.offset,
        segment.path,
        place.offset,
    )


def _end_of_tail(segment: Segment, place: Place) -> int:
    """Behind the last byte that is not zero, from `place` on."""
    end = place.offset
    for offset in range(place.offset, segment.size, _SCAN_BYTES):
        # Overlapping by one header, so that none is cut in two.
        block = bytes(segment.take(offset, _SCAN_BYTES + FRAME_HEADER_BYTES))
        used = len(block.rstrip(b"\0"))
        if used:
            end = max(end, offset + used)
            _refuse_later_frame(segment, place, offset, block)
    return end


def _refuse_later_frame(segment: Segment, place: Place, offset: int, block: bytes) -> None:
    at = block.find(FRAME_MAGIC)
    while at >= 0:
        if offset + at > place.offset and decode_frame_header(block[at:], segment.seed):
            raise segment.damaged(place.offset, "is damaged before the last frame")
        at = block.find(FRAME_MAGIC, at + 1)
