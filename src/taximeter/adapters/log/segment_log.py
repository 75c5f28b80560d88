"""
The embedded event log: segment files, one frame an append, one sync a frame.

An append writes its frame behind the last one, syncs, moves the acknowledged mark, and only then
moves the position. A failed write leaves the end where it was; a failed sync ends all appending,
because after it nobody knows which pages the disk has.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from taximeter.adapters.log.disk import FULL, Disk, write_all, write_zeros
from taximeter.adapters.log.layout import (
    GENESIS,
    MAX_FRAME_BYTES,
    Place,
    SegmentHeader,
    decode_segment_header,
    encode_frame,
    encode_segment_header,
    frame_bytes,
    segment_path,
)
from taximeter.adapters.log.mark import Acked, Mark
from taximeter.adapters.log.reader import LogReader, Spot, entries_of, last_seq
from taximeter.adapters.log.recovery import Recovered, recover
from taximeter.adapters.log.segment import SegmentInfo
from taximeter.adapters.log.spare import Spare
from taximeter.errors import Refused, Unavailable
from taximeter.events.entry import Entry, encode_entry
from taximeter.ports import LoggedEntry

LOCK_NAME: Final = "lock"
SEGMENT_BYTES: Final = 256 * 1024 * 1024
# Each segment is twice as large as the one before it, so that a small log costs little to begin.
FIRST_SEGMENT_BYTES: Final = 8 * 1024 * 1024

_logger = logging.getLogger("taximeter.log")


class _Open(NamedTuple):
    """The segment being written. `capacity` is what was prepared; a file may outgrow it."""

    fd: int
    first_seq: int
    seed: int
    capacity: int


class SegmentLog:
    """
    `ports.EventLog` on local files. Make one with `open`.

    `append`, `roll` and `close` are for one thread at a time; everything else is for any thread.
    """

    _open: _Open
    _last_frame: int  # its offset in the open segment; 0 while that is empty
    _mark: Mark
    _acked: Acked  # replaced whole, so that other threads never see half a change

    def __init__(
        self, disk: Disk, directory: Path, segment_bytes: int, now: Callable[[], int]
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._now = now
        self._spare = Spare(disk, directory)
        self._reader = LogReader(directory, disk=disk)
        self._closed_segments: list[SegmentInfo] = []
        self._failed: str | None = None
        self._closed = False
        self._dirty_end = 0  # a failed write may have left bytes up to here
        self._release = ExitStack()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        now: Callable[[], int],
        disk: Disk | None = None,
    ) -> Self:
        """
        Open the log in a directory, or begin one.

        Args:
            segment_bytes: Size a segment is closed at; a larger frame still fits.
            now: Microseconds since the epoch, for the times in headers.

        Raises:
            Refused: `log_locked`, if another log object, here or elsewhere, has it open.
            Damaged: `log_damaged`, with the file and the offset.
            Unavailable: `storage_full` or `storage_failed`.
        """
        log = cls(disk or Disk(), directory, segment_bytes, now)
        try:
            with log._storage_errors():
                log._start()
        except BaseException:
            log._release.close()
            raise
        return log

    @property
    def position(self) -> int:
        return self._acked.place.next_seq - 1

    @property
    def chain(self) -> str:
        """Hex SHA-256 that fixes every byte of every frame up to the last durable one."""
        return self._acked.place.chain.hex()

    @property
    def failed(self) -> str | None:
        """Why nothing can be appended until a restart; None while the disk is well."""
        return self._failed

    def segments(self) -> list[SegmentInfo]:
        """All segments, oldest first; the last one is being written."""
        segment, place = self._acked
        path = segment_path(self._directory, segment)
        open_one = SegmentInfo(path, segment, place.next_seq - 1, False, place.offset)
        return [*(s for s in self._closed_segments if s.first_seq < segment), open_one]

    def append(self, entries: Sequence[Entry]) -> int:
        """
        Write entries as one frame and sync.

        Args:
            entries: Together at most MAX_FRAME_BYTES encoded.

        Returns:
            The new position. Entries without accepted events are kept and do not move it.

        Raises:
            Unavailable: `storage_full` (nothing was kept, may be tried again) or `storage_failed`
                (for good: every later append fails too).
        """
        self._check_usable()
        if not entries:
            return self.position
        blobs = [encode_entry(entry) for entry in entries]
        accepted = sum(entry.accepted for entry in entries)
        size = frame_bytes(blobs)
        if size > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are allowed")
        with self._storage_errors():
            self._make_room(size)
            place = self._acked.place
            frame, header = encode_frame(blobs, accepted, place, self._open.seed, self._now())
            self._write(frame, place.offset)
            self._acknowledge(header.end(place.offset))
            self._last_frame = place.offset
        return self.position

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        """
        As `LogReader.read`; without `upto` everything durable at the time of the call, entries
        behind the last accepted event included.
        """
        if upto is not None:
            return self._reader.read(after, min(upto, self.position))
        return self._read_to(after, Spot(*self._acked))

    def _read_to(self, after: int, end: Spot) -> Iterator[LoggedEntry]:
        for _, frame in self._reader.frames(after, None, end):
            for logged in entries_of(frame):
                if last_seq(logged) > after:
                    yield logged

    def roll(self) -> None:
        """
        Close the segment being written and go on in a new one. Does nothing while the segment
        holds no accepted event: two segments cannot begin with the same seq.
        """
        self._check_usable()
        with self._storage_errors():
            self._roll()

    def close(self) -> None:
        """Release the directory. Everything appended is durable already."""
        if self._closed:
            return
        self._closed = True
        if self._failed is None:
            with suppress(OSError):
                self._mark.sync()
        self._release.close()

    # --- starting ---------------------------------------------------------------------------------

    def _start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._release.callback(os.close, _lock(self._directory))
        self._release.callback(self._spare.close)
        self._spare.discard()
        recovered = recover(self._disk, self._directory)
        if recovered is None:
            self._begin()
        else:
            self._resume(recovered)

    def _begin(self) -> None:
        header = SegmentHeader(1, self._now(), 0, 0, 0, GENESIS)
        # The mark comes first: a crash never leaves segments without one.
        self._set_mark(Acked(1, header.start))
        self._enter(header, min(self._segment_bytes, FIRST_SEGMENT_BYTES))
        self._release.callback(lambda: self._disk.close(self._open.fd))

    def _resume(self, recovered: Recovered) -> None:
        last = recovered.last
        self._open = _Open(last.fd, last.header.first_seq, last.seed, last.size)
        self._release.callback(lambda: self._disk.close(self._open.fd))
        self._closed_segments = recovered.closed
        self._last_frame = recovered.last_frame
        self._acked = Acked(last.header.first_seq, recovered.place)
        self._set_mark(self._acked)

    def _set_mark(self, acked: Acked) -> None:
        self._mark = Mark.create(self._disk, self._directory, acked)
        self._release.callback(self._mark.close)

    # --- appending --------------------------------------------------------------------------------

    def _make_room(self, size: int) -> None:
        offset, capacity = self._acked.place.offset, self._open.capacity
        if offset + size > capacity:
            self._roll()
        elif offset > capacity // 2:
            self._spare.prepare(self._next_size())

    def _write(self, frame: bytearray, offset: int) -> None:
        """The frame, and nothing but zeros behind it, durably."""
        self._wipe(offset)
        self._dirty_end = offset + len(frame)
        try:
            write_all(self._disk, self._open.fd, frame, offset)
        except OSError:
            # Best effort, so that not even a crash brings back what is refused now.
            with suppress(OSError):
                self._wipe(offset)
            raise
        self._sync(self._open.fd)
        self._dirty_end = 0

    def _wipe(self, offset: int) -> None:
        write_zeros(self._disk, self._open.fd, offset, self._dirty_end)
        self._dirty_end = 0

    def _acknowledge(self, place: Place) -> None:
        acked = Acked(self._open.first_seq, place)
        try:
            self._mark.set(acked)
        except OSError as error:
            raise self._fail(error) from error  # the frame is durable: it must not be tried again
        self._acked = acked

    # --- rolling ----------------------------------------------------------------------------------

    def _next_size(self) -> int:
        return min(self._segment_bytes, 2 * self._open.capacity)

    def _roll(self) -> None:
        old, place = self._open, self._acked.place
        if place.next_seq == old.first_seq:
            return
        header = SegmentHeader(
            place.next_seq, self._now(), old.first_seq, self._last_frame, place.offset, place.chain
        )
        # Nothing but frames may lie before the next segment, not even what a failed write left.
        self._disk.truncate(old.fd, place.offset)
        self._dirty_end = 0
        path = segment_path(self._directory, old.first_seq)
        closed = SegmentInfo(path, old.first_seq, place.next_seq - 1, True, place.offset)
        self._closed_segments.append(closed)
        try:
            self._enter(header, self._next_size())
        except BaseException:
            self._closed_segments.pop()
            raise
        self._disk.close(old.fd)

    def _enter(self, header: SegmentHeader, size: int) -> None:
        """Make the spare the segment being written. Its name appears complete or not at all."""
        block = encode_segment_header(header)
        decoded = decode_segment_header(block)
        assert decoded is not None
        fd, path = self._spare.take(size)
        try:
            write_all(self._disk, fd, block, 0)
            self._sync(fd)
            self._disk.rename(path, segment_path(self._directory, header.first_seq))
            self._sync_directory()
        except BaseException:
            self._disk.close(fd)
            raise
        self._open = _Open(fd, header.first_seq, decoded[1], size)
        self._last_frame = 0
        self._acked = Acked(header.first_seq, header.start)

    # --- failing ----------------------------------------------------------------------------------

    def _sync(self, fd: int) -> None:
        try:
            self._disk.fdatasync(fd)
        except OSError as error:
            raise self._fail(error) from error

    def _sync_directory(self) -> None:
        try:
            self._disk.sync_directory(self._directory)
        except OSError as error:
            raise self._fail(error) from error

    def _check_usable(self) -> None:
        if self._closed:
            raise Unavailable("shutting_down", "The event log is closed.")
        if self._failed is not None:
            raise Unavailable("storage_failed", self._failed)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turn what the operating system says into what a caller should do."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise Unavailable(
                    "storage_full",
                    f"The disk of {self._directory} is full; nothing of this request was stored.",
                    retry_after_s=5,
                ) from error
            raise self._fail(error) from error

    def _fail(self, error: OSError) -> Unavailable:
        """For good: what the disk holds after an error is known only after a restart."""
        self._failed = f"The event log in {self._directory} failed: {error}."
        _logger.error("%s Nothing is accepted until a restart.", self._failed)
        return Unavailable("storage_failed", self._failed)


def _lock(directory: Path) -> int:
    """Of the process: the kernel releases it however the process ends."""
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Refused(
            "log_locked", f"Another process uses {directory}.", file=str(directory / LOCK_NAME)
        ) from None
    return fd
