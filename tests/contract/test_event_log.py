"""The contract of `ports.EventLog`, for every adapter of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.crash.log_faults import entry, memory_directory, open_log

from taximeter.events.entry import Entry
from taximeter.ports import EventLog, LoggedEntry


class MemoryLog:
    """The contract in its simplest form: a list. Shows that the suite is about the port."""

    def __init__(self) -> None:
        self._logged: list[LoggedEntry] = []
        self.position = 0

    def append(self, entries: Sequence[Entry]) -> int:
        for each in entries:
            self._logged.append(LoggedEntry(self.position + 1, each))
            self.position += each.accepted
        return self.position

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        for logged in list(self._logged):
            last_seq = logged.first_seq + max(1, logged.entry.accepted) - 1
            if last_seq > after and (upto is None or logged.first_seq <= upto):
                yield logged


@contextmanager
def memory_log() -> Iterator[EventLog]:
    yield MemoryLog()


@contextmanager
def segment_log() -> Iterator[EventLog]:
    with memory_directory() as directory:
        log = open_log(directory, segment_bytes=1024)
        try:
            yield log
        finally:
            log.close()


Adapter = Callable[[], "contextmanager[EventLog]"]
adapters = pytest.mark.parametrize("adapter", [memory_log, segment_log])


@adapters
def test_an_empty_log_is_at_position_0_and_holds_nothing(adapter):
    with adapter() as log:
        assert log.position == 0
        assert list(log.read(0)) == []


@adapters
def test_each_accepted_event_moves_the_position_by_one(adapter):
    with adapter() as log:
        assert log.append([entry(1, accepted=3), entry(2, accepted=2, rejected=4)]) == 5
        assert log.append([entry(3)]) == 6
        assert log.position == 6


@adapters
def test_entries_come_back_as_they_were_with_the_seq_they_begin_at(adapter):
    first, second, third = (
        entry(1, accepted=3),
        entry(2, accepted=2, rejected=1),
        entry(3, size=900),
    )
    with adapter() as log:
        log.append([first, second])
        log.append([third])
        assert list(log.read(0)) == [
            LoggedEntry(1, first),
            LoggedEntry(4, second),
            LoggedEntry(6, third),
        ]


@adapters
def test_entries_without_accepted_events_are_kept_and_do_not_move_the_position(adapter):
    refused = entry(1, accepted=0, rejected=2)
    with adapter() as log:
        assert log.append([refused]) == 0
        assert list(log.read(0)) == [LoggedEntry(1, refused)]


@adapters
def test_an_entry_is_read_whole_if_any_of_its_events_is_asked_for(adapter):
    with adapter() as log:
        log.append([entry(1, accepted=5)])
        assert [logged.first_seq for logged in log.read(3, 4)] == [1]
        assert list(log.read(5)) == []


@adapters
def test_appending_nothing_changes_nothing(adapter):
    with adapter() as log:
        assert log.append([]) == 0
        assert list(log.read(0)) == []


@adapters
def test_reading_far_beyond_the_end_stops_at_the_end(adapter):
    with adapter() as log:
        log.append([entry(1)])
        assert len(list(log.read(0, 10**9))) == 1
        assert list(log.read(10**9)) == []


frames = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=4), max_size=8
)


@adapters
@settings(max_examples=60, deadline=None)
@given(frames=frames, data=st.data())
def test_any_range_gives_what_a_plain_list_gives(adapter, frames, data):
    with adapter() as log:
        oracle = MemoryLog()
        for number, shapes in enumerate(frames):
            batch = [entry(number, accepted=a, rejected=1, size=s) for a, s in shapes]
            assert log.append(batch) == oracle.append(batch)
        assert list(log.read(0)) == list(oracle.read(0))
        for _ in range(4):
            after = data.draw(st.integers(0, oracle.position + 1))
            upto = data.draw(st.integers(0, oracle.position))
            if after < upto:
                assert list(log.read(after, upto)) == list(oracle.read(after, upto))


@adapters
@settings(max_examples=60, deadline=None)
@given(frames=frames, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_reading_on_from_any_cut_misses_nothing_and_repeats_only_the_cut_entry(
    adapter, frames, cuts
):
    with adapter() as log:
        for number, shapes in enumerate(frames):
            log.append([entry(number, accepted=a, size=s) for a, s in shapes])
        bounds = sorted({0, *(min(cut, log.position) for cut in cuts), log.position})
        parts = [list(log.read(a, b)) for a, b in pairwise(bounds)]
        joined: list[LoggedEntry] = []
        for part in parts:
            joined += part[1:] if joined and part and part[0] == joined[-1] else part
        assert joined == list(log.read(0, log.position))
