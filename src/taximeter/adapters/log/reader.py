"""
Reading the log while it is written, in the writing process or in another one.

A reader never decides by itself where the log ends: it is told a durable position (or, inside the
writing process, the exact end), and every frame up to there must be present and intact.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from taximeter.adapters.log.disk import Disk
from taximeter.adapters.log.layout import Place, list_segments, segment_path, split_payload
from taximeter.adapters.log.segment import Frame, Segment, missing
from taximeter.events.entry import decode_entry
from taximeter.ports import LoggedEntry

_INDEX_STEP: Final = 1024 * 1024


class Spot(NamedTuple):
    """A place and the segment it is in; spots of a log are ordered."""

    segment: int
    place: Place


class _Resume(NamedTuple):
    """Where reading goes on after everything up to `upto` was read."""

    upto: int
    spot: Spot


class LogReader:
    """
    The entries of a log directory, for as many readers as there are.

    Repeated calls are cheap: one that goes on where the last ended starts right there, any other
    at most 1 MiB before its place once that part of the log has been passed.

    Args:
        directory: Of a `SegmentLog`; it may be open in another process.
    """

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or Disk()
        self._resume: _Resume | None = None
        self._index: dict[int, list[Place]] = {}
        self._index_lock = threading.Lock()

    def read(self, after: int, upto: int) -> Iterator[LoggedEntry]:
        """
        Entries holding any seq in (after, upto], in order. An entry without accepted events
        belongs to the seq that would have been the next: reading (a, b] and then (b, c] gives
        each entry once.

        Args:
            upto: A position the writer has reported as durable.

        Raises:
            Damaged: `log_damaged`, if anything up to there is not as it was written.
        """
        if upto <= after:
            return
        spot = None
        for begin, frame in self.frames(after, upto, None):
            spot = Spot(begin.segment, frame.end)
            for logged in entries_of(frame):
                if logged.first_seq <= upto and last_seq(logged) > after:
                    yield logged
                if last_seq(logged) > upto:
                    spot = begin  # not all of this frame was read
        if spot is not None:
            self._resume = _Resume(upto, spot)

    def frames(
        self, after: int, upto: int | None, end: Spot | None
    ) -> Generator[tuple[Spot, Frame], None, None]:
        """
        Frames, and where they begin, that may hold an entry standing after `after`; up to the one
        that holds `upto`, if given, and not beyond `end`, if given. One of the two must be.
        """
        segment_seq, place = self._find(after)
        while True:
            with Segment(self._disk, self._directory, segment_seq) as segment:
                while (upto is None or place.next_seq <= upto) and (
                    end is None or (segment_seq, place.offset) < (end.segment, end.place.offset)
                ):
                    header = segment.header_at(place)
                    if header is None:
                        break
                    following = header.end(place.offset)
                    if following.next_seq > after:
                        frame = segment.frame_at(place)
                        if frame is None:
                            raise segment.damaged(place.offset, "is not as it was written")
                        yield Spot(segment_seq, place), frame
                    place = following
                    self._remember(segment_seq, place)
                else:
                    return
                segment_seq, place = self._next_segment(segment, place)

    def _next_segment(self, segment: Segment, place: Place) -> tuple[int, Place]:
        """The start of the segment behind one that ends at `place`."""
        first_seq = place.next_seq
        exists = segment_path(self._directory, first_seq).exists()
        if not exists or first_seq == segment.header.first_seq:
            raise segment.damaged(place.offset, "is not as it was written")
        with Segment(self._disk, self._directory, first_seq) as following:
            header = following.header
        if (header.previous_end, header.chain) != (place.offset, place.chain):
            raise segment.damaged(place.offset, "is not as it was written")
        return first_seq, header.start

    def _find(self, after: int) -> Spot:
        """A spot before which no entry stands after `after`, as near as is known."""
        resume = self._resume
        if resume is not None and resume.upto == after:
            return resume.spot
        segments = list_segments(self._directory)
        if not segments or segments[0] != 1:
            raise missing(self._directory, 1)
        first_seq = segments[max(0, bisect_right(segments, after) - 1)]
        with self._index_lock:
            places = self._index.get(first_seq, [])
            known = bisect_right(places, after, key=lambda place: place.next_seq)
            if known:
                return Spot(first_seq, places[known - 1])
        with Segment(self._disk, self._directory, first_seq) as segment:
            return Spot(first_seq, segment.header.start)

    def _remember(self, segment: int, place: Place) -> None:
        with self._index_lock:
            places = self._index.setdefault(segment, [])
            if place.offset >= (places[-1].offset if places else 0) + _INDEX_STEP:
                places.append(place)


def entries_of(frame: Frame) -> Iterator[LoggedEntry]:
    """All entries of a frame, each with the seq its accepted events begin at."""
    seq = frame.header.first_seq
    for blob in split_payload(frame.payload):
        entry = decode_entry(blob)
        yield LoggedEntry(seq, entry)
        seq += entry.accepted


def last_seq(logged: LoggedEntry) -> int:
    """Of its accepted events; of an entry without any, the seq that would have been the next."""
    return logged.first_seq + max(1, logged.entry.accepted) - 1
