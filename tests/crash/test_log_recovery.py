"""Opening a log after its files were cut, flipped, swapped or lost."""

from __future__ import annotations

import logging
import os
import random
import shutil
from pathlib import Path

import pytest
from tests.crash.log_faults import (
    SMALL_SEGMENT,
    UnsyncedDisk,
    contents,
    entry,
    memory_directory,
    open_log,
)

from taximeter.adapters.log import SegmentLog, verify
from taximeter.errors import Damaged
from taximeter.events.entry import Entry

FULL = os.environ.get("TAXIMETER_TEST_FULL") == "1"


@pytest.fixture
def tmp_path():
    with memory_directory() as directory:
        yield directory


class Written:
    """A closed log, and how far it had come after each append."""

    def __init__(self, directory: Path, appends: int, segment_bytes: int = SMALL_SEGMENT) -> None:
        self.directory = directory
        self.marks: list[bytes] = []
        self.entries: list[Entry] = []
        log = open_log(directory, segment_bytes=segment_bytes)
        for number in range(appends):
            self.entries.append(entry(number, accepted=number % 3, rejected=1))
            log.append(self.entries[-1:])
            self.marks.append((directory / "acked").read_bytes())
            # What is acknowledged ends here, in the segment being written.
            self.end = log.segments()[-1].bytes
        self.position, self.chain = log.position, log.chain
        self.segments = [info.path for info in log.segments()]
        log.close()

    @property
    def last(self) -> Path:
        return self.segments[-1]


def frame_ends(written: Written, entries: int) -> list[int]:
    """Ends of the frames of a one-segment log, newest last."""
    return [_end(mark) for mark in written.marks[-entries:]]


def _end(mark: bytes) -> int:
    return max(int.from_bytes(slot[24:32], "little") for slot in (mark[:512], mark[512:]))


def opened(directory: Path) -> SegmentLog | None:
    """None if the log refuses to open, naming a file and an offset."""
    try:
        return open_log(directory)
    except Damaged as damaged:
        refusal = damaged
    assert refusal.code == "log_damaged"
    assert str(directory) in str(refusal.details["file"])
    assert isinstance(refusal.details["offset"], int)
    return None


def copy_with(written: Written, to: Path, last: bytes, mark: bytes) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(written.directory, to)
    (to / written.last.name).write_bytes(last)
    (to / "acked").write_bytes(mark)
    return to


@pytest.mark.parametrize("zeroed", [False, True], ids=["truncated", "zeroed"])
def test_a_tail_cut_at_any_byte_loses_only_frames_that_were_not_acknowledged(tmp_path, zeroed):
    written = Written(tmp_path / "log", appends=6)
    whole = written.last.read_bytes()
    ends = frame_ends(written, 4)
    for known in (0, 2):  # frames behind `ends[known]` were never acknowledged
        mark = written.marks[len(written.marks) - 4 + known]
        for cut in range(ends[0], ends[-1]):
            left = whole[:cut] + (bytes(len(whole) - cut) if zeroed else b"")
            log = opened(copy_with(written, tmp_path / "cut", left, mark))
            if cut < ends[known]:
                assert log is None, f"an acknowledged frame was dropped at {cut}"
                continue
            assert log is not None, f"an unacknowledged tail cut at {cut} stopped the start"
            kept = 3 + sum(end <= cut for end in ends[1:])
            assert contents(log) == written.entries[:kept]
            log.append([entry(99)])
            log.close()
            again = open_log(tmp_path / "cut")
            assert contents(again) == [*written.entries[:kept], entry(99)]
            again.close()


def test_dropping_a_torn_tail_is_said_once(tmp_path, caplog):
    written = Written(tmp_path / "log", appends=3)
    content = bytearray(written.last.read_bytes())
    content[written.end - 1] ^= 1
    with caplog.at_level(logging.WARNING, "taximeter.log"):
        copy = copy_with(written, tmp_path / "torn", bytes(content), written.marks[-2])
        open_log(copy).close()
        open_log(copy).close()
    begin = frame_ends(written, 2)[0]
    path = copy / written.last.name
    said = (
        f"dropped {written.end - begin} bytes of an unacknowledged frame at {path}, offset {begin}"
    )
    assert [record.message for record in caplog.records] == [said]


def test_damage_before_the_last_frame_is_not_a_torn_tail_even_without_a_mark(tmp_path):
    written = Written(tmp_path / "log", appends=4)
    (written.directory / "acked").unlink()
    content = bytearray(written.last.read_bytes())
    second_to_last = frame_ends(written, 3)[0]
    for byte in range(second_to_last, frame_ends(written, 2)[0]):
        content[byte] ^= 16
        written.last.write_bytes(content)
        with pytest.raises(Damaged) as refused:
            open_log(written.directory)
        assert refused.value.details == {"file": str(written.last), "offset": second_to_last}
        content[byte] ^= 16


def test_one_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path):
    written = Written(tmp_path / "log", appends=60)
    assert len(written.segments) >= 3
    rng = random.Random(20261120)
    files = [*written.segments, written.directory / "acked"]
    found = 0
    named: set[object] = set()
    flips = 20_000 if FULL else 600
    for _ in range(flips):
        path = rng.choice(files)
        byte = rng.randrange(min(path.stat().st_size, written.end + 700))
        original = flip(path, byte, 1 << rng.randrange(8))
        mark = (written.directory / "acked").read_bytes()
        log = None
        try:
            list(verify(written.directory, disk=UnsyncedDisk()))
            log = open_log(written.directory)
            assert contents(log) == written.entries
            assert (log.position, log.chain) == (written.position, written.chain)
        except Damaged as damaged:
            found += 1
            named.add(damaged.details["file"])
        finally:
            if log:
                log.close()
            (written.directory / "acked").write_bytes(mark)
            path.write_bytes(original)
    assert found > flips // 2
    assert named <= {str(file) for file in files}


def flip(path: Path, byte: int, bit: int) -> bytes:
    """Flip a bit in place; the content before."""
    original = path.read_bytes()
    changed = bytearray(original)
    changed[byte] ^= bit
    path.write_bytes(changed)
    return original


def test_with_a_mark_left_behind_a_flip_may_only_drop_the_last_frame(tmp_path):
    """After a power failure the last frame alone cannot be told from a torn one."""
    written = Written(tmp_path / "log", appends=8)
    whole = written.last.read_bytes()
    last_frame = frame_ends(written, 2)[0]
    for byte in range(512, written.end):
        flipped = bytearray(whole)
        flipped[byte] ^= 1
        log = opened(copy_with(written, tmp_path / "flip", bytes(flipped), written.marks[0]))
        assert (log is None) == (byte < last_frame)
        if log:
            assert contents(log) == written.entries[:-1]
            log.close()


@pytest.fixture
def three_segments(tmp_path) -> Written:
    written = Written(tmp_path / "log", appends=60)
    assert len(written.segments) == 3
    return written


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_segment_is_named(three_segments, which):
    three_segments.segments[which].unlink()
    with pytest.raises(Damaged) as refused:
        open_log(three_segments.directory)
    assert refused.value.details["file"] == str(three_segments.segments[which])


def test_all_segments_missing_is_not_a_new_log(three_segments):
    for path in three_segments.segments:
        path.unlink()
    with pytest.raises(Damaged):
        open_log(three_segments.directory)


def test_swapped_segments_are_found(three_segments, tmp_path):
    first, second, _ = three_segments.segments
    first.rename(tmp_path / "swap")
    second.rename(first)
    (tmp_path / "swap").rename(second)
    assert opened(three_segments.directory) is None


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_segment_of_another_log_is_found(three_segments, tmp_path, which):
    """Same names, same sizes, other events."""
    other = open_log(tmp_path / "other")
    for each in three_segments.entries:
        changed = Entry("other__", each.received_at, each.format, each.verdicts, each.body)
        other.append([changed])
    other.close()
    name = three_segments.segments[which].name
    shutil.copy(tmp_path / "other" / name, three_segments.directory / name)
    assert opened(three_segments.directory) is None


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kept", [0, 100, 512, 2000, -1])
def test_a_truncated_closed_segment_is_found(three_segments, which, kept):
    path = three_segments.segments[which]
    path.write_bytes(path.read_bytes()[:kept])
    assert opened(three_segments.directory) is None


def test_a_last_segment_rolled_back_to_an_older_state_is_found(tmp_path):
    log = open_log(tmp_path / "log")
    log.append([entry(1)])
    older = log.segments()[-1].path.read_bytes()
    log.append([entry(2)])
    path = log.segments()[-1].path
    log.close()
    path.write_bytes(older)
    assert opened(tmp_path / "log") is None


def test_verify_finds_damage_inside_a_closed_segment(three_segments):
    path = three_segments.segments[0]
    flip(path, 1500, 4)
    with pytest.raises(Damaged) as refused:
        list(verify(three_segments.directory))
    assert refused.value.details["file"] == str(path)


def test_reading_finds_damage_inside_a_closed_segment(three_segments):
    flip(three_segments.segments[0], 1500, 4)
    log = open_log(three_segments.directory)
    with pytest.raises(Damaged):
        contents(log)
    log.close()


def test_a_disk_that_cannot_be_read_is_named(three_segments):
    class Unreadable(UnsyncedDisk):
        def pread(self, fd: int, length: int, offset: int) -> bytes:
            if length >= 512:
                raise OSError(5, "Input/output error")
            return super().pread(fd, length, offset)

    with pytest.raises(Damaged) as refused:
        open_log(three_segments.directory, Unreadable())
    assert refused.value.details == {"file": str(three_segments.segments[1]), "offset": 0}
