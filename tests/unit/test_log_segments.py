"""Segments, rolling, locking and following of `SegmentLog`."""

from __future__ import annotations

import threading

import pytest
from tests.crash.log_faults import UnsyncedDisk, contents, entry, memory_directory, open_log

from taximeter.adapters.log import LogReader, SegmentLog, segment_log, verify
from taximeter.adapters.log.layout import frame_bytes
from taximeter.adapters.log.segment_log import FIRST_SEGMENT_BYTES
from taximeter.errors import Refused, Unavailable
from taximeter.events.entry import Entry, encode_entry
from taximeter.events.envelope import Format
from taximeter.ports import LoggedEntry


@pytest.fixture
def directory():
    with memory_directory() as parent:
        yield parent / "log"


def test_an_opened_log_continues_where_the_closed_one_ended(directory):
    log = open_log(directory)
    log.append([entry(1, accepted=3)])
    chain = log.chain
    log.close()
    log = open_log(directory)
    assert (log.position, log.chain) == (3, chain)
    assert log.append([entry(2)]) == 4
    assert list(log.read(0)) == [LoggedEntry(1, entry(1, accepted=3)), LoggedEntry(4, entry(2))]
    log.close()


def test_segments_are_named_by_their_first_seq_and_tile_the_log(directory):
    log = open_log(directory)
    for number in range(100):
        log.append([entry(number, accepted=2)])
    infos = log.segments()
    assert len(infos) > 3
    assert [info.path.name for info in infos] == [f"{info.first_seq:020d}.seg" for info in infos]
    assert infos[0].first_seq == 1
    assert infos[-1].last_seq == log.position
    assert [i.last_seq + 1 for i in infos[:-1]] == [i.first_seq for i in infos[1:]]
    assert [i.closed for i in infos] == [True] * (len(infos) - 1) + [False]
    assert all(i.bytes == i.path.stat().st_size for i in infos[:-1])
    log.close()
    log = open_log(directory)
    assert log.segments() == infos
    assert list(verify(directory)) == infos
    log.close()


def test_rolling_closes_a_segment_early_unless_it_holds_no_accepted_event(directory):
    log = open_log(directory)
    log.roll()
    log.append([entry(1, accepted=0, rejected=1)])
    log.roll()
    assert len(log.segments()) == 1
    log.append([entry(2)])
    log.roll()
    log.roll()
    assert [info.first_seq for info in log.segments()] == [1, 2]
    assert contents(log) == [entry(1, accepted=0, rejected=1), entry(2)]
    log.close()


def test_a_segment_without_accepted_events_grows_rather_than_rolls(directory):
    log = open_log(directory)
    refused = [entry(number, accepted=0, rejected=1) for number in range(200)]
    for each in refused:
        log.append([each])
    assert len(log.segments()) == 1
    log.close()
    log = open_log(directory)
    assert contents(log) == refused
    assert log.append([entry(1)]) == 1
    log.close()


def test_a_frame_larger_than_a_segment_fits(directory):
    log = open_log(directory)
    large = entry(2, size=50_000)
    for each in (entry(1), large, entry(3)):
        log.append([each])
    log.close()
    log = open_log(directory)
    assert contents(log) == [entry(1), large, entry(3)]
    log.close()


def test_a_frame_beyond_the_limit_is_the_callers_mistake(directory, monkeypatch):
    monkeypatch.setattr(segment_log, "MAX_FRAME_BYTES", frame_bytes([encode_entry(entry(1))]))
    log = open_log(directory)
    with pytest.raises(ValueError, match="at most"):
        log.append([entry(1), entry(2)])
    assert log.append([entry(1)]) == 1
    log.close()


def test_the_first_segment_of_a_large_log_is_small(directory):
    log = SegmentLog.open(directory, now=lambda: 0)
    assert log.segments()[0].path.stat().st_size == FIRST_SEGMENT_BYTES
    log.close()


def test_a_directory_is_for_one_log_at_a_time(directory):
    log = open_log(directory)
    with pytest.raises(Refused) as refused:
        open_log(directory)
    assert refused.value.code == "log_locked"
    log.close()
    open_log(directory).close()


def test_a_closed_log_accepts_nothing_and_closes_again(directory):
    log = open_log(directory)
    log.close()
    log.close()
    with pytest.raises(Unavailable) as refused:
        log.append([entry(1)])
    assert refused.value.code == "shutting_down"


def test_the_chain_fixes_content_and_order(directory):
    chains = set()
    for name, order in {"a": (1, 2), "b": (2, 1), "c": (1, 3)}.items():
        log = open_log(directory / name)
        for number in order:
            log.append([entry(number)])
        chains.add(log.chain)
        log.close()
    assert len(chains) == 3


def test_a_body_that_looks_like_a_frame_is_only_a_body(directory):
    log = open_log(directory)
    log.append([entry(1)])
    image = log.segments()[0].path.read_bytes()[512:800]
    hostile = Entry("default", 2, Format.ARRAY, b"\0", image)
    log.append([hostile])
    log.append([entry(3)])
    path, end = log.segments()[0].path, log.segments()[0].bytes
    log.close()
    (directory / "acked").unlink()
    path.write_bytes(path.read_bytes()[: end - 1])
    log = open_log(directory)
    assert contents(log) == [entry(1), hostile]
    log.close()


def test_reading_on_does_not_start_over(directory):
    reads: list[int] = []

    class Counting(UnsyncedDisk):
        def pread(self, fd: int, length: int, offset: int) -> bytes:
            reads.append(offset)
            return super().pread(fd, length, offset)

    log = open_log(directory, segment_bytes=8 * 1024 * 1024)
    for number in range(400):
        log.append([entry(number, size=10_000)])
    reader = LogReader(directory, disk=Counting())
    assert len(list(reader.read(0, 400))) == 400
    log.append([entry(400)])
    reads.clear()
    assert [logged.first_seq for logged in reader.read(400, 401)] == [401]
    assert min(offset for offset in reads if offset) > 4_000_000
    # Going back uses the index: at most a step before the place.
    reads.clear()
    assert [logged.first_seq for logged in reader.read(350, 351)] == [351]
    assert min(offset for offset in reads if offset) > 2_400_000
    log.close()


def test_going_back_finds_every_entry_wherever_the_index_points(directory):
    log = open_log(directory, segment_bytes=8 * 1024 * 1024)
    for number in range(60):
        log.append([entry(number, accepted=1 + number % 2, size=100_000)])
    reader = LogReader(directory)
    everything = list(reader.read(0, log.position))
    for logged in reversed(everything):
        last = logged.first_seq + logged.entry.accepted - 1
        assert list(reader.read(last - 1, last)) == [logged]
    log.close()


def test_a_reader_follows_a_log_while_it_is_written(directory):
    log = open_log(directory, segment_bytes=16 * 1024)
    reader = LogReader(directory)
    expected = [
        entry(number, accepted=number % 4, rejected=1, size=30 + number % 200)
        for number in range(1500)
    ]

    def write() -> None:
        for start in range(0, len(expected), 3):
            log.append(expected[start : start + 3])

    writer = threading.Thread(target=write)
    writer.start()
    followed: list[Entry] = []
    position = 0
    while writer.is_alive() or position < log.position:
        durable = log.position
        followed += [logged.entry for logged in reader.read(position, durable)]
        position = durable
    writer.join()
    followed += [logged.entry for logged in log.read(position)]
    assert followed == expected
    assert len(log.segments()) > 5
    log.close()


def test_verify_works_while_the_log_is_written(directory):
    log = open_log(directory, segment_bytes=16 * 1024)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            log.append([entry(number)])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            durable = log.position
            assert [info.last_seq for info in verify(directory)][-1] >= durable
    finally:
        stop.set()
        writer.join()
    log.close()
