"""The acceptance window (K16): bounds, codes, and that one bad time spoils only its own event."""

from __future__ import annotations

import pytest

from taximeter.errors import Rejected
from taximeter.events.acceptance import AcceptanceWindow, resolve_time, resolve_times
from taximeter.events.envelope import Event
from taximeter.instants import DAY, SECOND, parse_instant

NOW = parse_instant("2026-11-20T10:00:00Z")


def at(time: str | None) -> Event:
    return Event(id="a", type="t", subject="s", time=time)


def resolved(time: str | None, window: AcceptanceWindow | None = None) -> int | str:
    [result] = resolve_times([at(time)], NOW, window or AcceptanceWindow())
    return result


def test_an_event_without_time_happened_when_it_was_received():
    assert resolve_time(at(None), NOW) == NOW
    assert resolved(None) == NOW


def test_an_event_keeps_its_own_time():
    assert resolved("2026-11-20T10:59:00.000001+01:00") == NOW - 60 * SECOND + 1


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("2026-11-20T10:05:00Z", None),
        ("2026-11-20T10:05:00.000001Z", "timestamp_in_future"),
        ("2026-08-22T10:00:00Z", None),
        ("2026-08-22T09:59:59.999999Z", "timestamp_too_old"),
        ("2026-11-20T10:00:00", "invalid_timestamp"),
        ("yesterday", "invalid_timestamp"),
        ("", "invalid_timestamp"),
    ],
)
def test_both_bounds_of_the_window_are_inclusive(time, code):
    result = resolved(time)
    assert (result if isinstance(result, str) else None) == code


def test_the_window_is_the_namespaces_own():
    narrow = AcceptanceWindow(past_us=DAY, future_us=0)
    assert resolved("2026-11-19T09:59:59Z", narrow) == "timestamp_too_old"
    assert resolved("2026-11-20T10:00:01Z", narrow) == "timestamp_in_future"


def test_a_backfill_lifts_the_past_bound_only():
    window = AcceptanceWindow().for_backfill()
    assert resolved("1970-01-01T00:00:00Z", window) == 0
    assert resolved("2026-11-20T10:06:00Z", window) == "timestamp_in_future"


def test_neighbours_of_a_refused_event_keep_their_times():
    times = ["2026-11-20T09:00:00Z", "nonsense", "2027-01-01T00:00:00Z", None]
    assert resolve_times([at(time) for time in times], NOW) == [
        NOW - 3600 * SECOND,
        "invalid_timestamp",
        "timestamp_in_future",
        NOW,
    ]
    assert resolve_times([], NOW) == []


def test_bounds_are_inclusive_beside_a_refused_event_too():
    times = ["2026-08-22T10:00:00Z", "2026-11-20T10:05:00Z", "2027-01-01T00:00:00Z"]
    assert [type(result) for result in resolve_times([at(t) for t in times], NOW)] == [
        int,
        int,
        str,
    ]


def test_a_single_unreadable_time_is_refused():
    with pytest.raises(Rejected) as caught:
        resolve_time(at("2026-13-01T00:00:00Z"), NOW)
    assert caught.value.code == "invalid_timestamp"
