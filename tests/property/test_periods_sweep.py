"""
Every zone of the tz database, every day of three years, or of seven: the days and months tile.

About twenty zones each year have a day without a midnight or with two, so this is not exotic.
The expectation uses only the other direction, from an instant to the local clock, which is never
ambiguous.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import FULL, thorough

from taximeter.instants import HOUR, MINUTE, SECOND, parse_instant
from taximeter.periods import (
    Anchor,
    Cadence,
    Schedule,
    WindowSize,
    local_day,
    local_midnight,
    timezones,
    windows,
    zone,
)

ZONES: Final = sorted(timezones())
SLICES: Final = 12  # so that parallel workers can share the sweep
FIRST: Final = date(2024 if FULL else 2025, 1, 1)
LAST: Final = date(2031 if FULL else 2028, 1, 1)
DAYS: Final = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
# The zones whose clocks do the strangest things around midnight.
ODD: Final = (
    "Africa/Cairo",
    "America/Havana",
    "America/Nuuk",
    "America/Santiago",
    "America/Scoresbysund",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "UTC",
)
ODD_DAYS: Final = (
    ("America/Toronto", date(1919, 3, 31)),
    ("America/St_Johns", date(2010, 11, 7)),
    ("Pacific/Apia", date(2011, 12, 31)),
    ("Africa/Cairo", date(2024, 4, 26)),
    ("America/Havana", date(2025, 3, 9)),
    ("America/Havana", date(2025, 11, 2)),
    ("Asia/Beirut", date(2025, 3, 30)),
    ("America/Scoresbysund", date(2026, 3, 29)),
)


@pytest.mark.parametrize("part", range(SLICES))
def test_every_day_of_every_zone_begins_where_the_day_before_ends(part: int) -> None:
    wrong = [problem for name in ZONES[part::SLICES] for problem in _misplaced_midnights(name)]
    assert wrong == []


def _misplaced_midnights(name: str) -> list[tuple[str, date]]:
    rules = zone(name)
    clock = datetime.fromtimestamp
    wrong = []
    last = 0
    for day in DAYS:
        midnight = local_midnight(day, name)
        second = midnight // SECOND
        before, begun = clock(second - 1, rules).date(), clock(second, rules).date()
        if not (last < midnight and before < day == begun):
            wrong.append((name, day))
        last = midnight
    return wrong


@pytest.mark.parametrize("part", range(SLICES))
def test_the_months_of_every_zone_tile_for_both_anchors(part: int) -> None:
    start = parse_instant("2024-01-31T12:34:56.789012Z")
    for name in ZONES[part::SLICES]:
        for anchor in Anchor:
            schedule = Schedule(start, Cadence.MONTH, anchor, name)
            periods = [schedule.nth(n) for n in range(84)]
            assert periods[0].start == start
            assert all(one.end == other.start for one, other in pairwise(periods)), name
            assert all(period.start < period.end for period in periods), name
            assert [schedule.index(p.start) for p in periods] == list(range(84)), name
            assert [schedule.index(p.end - 1) for p in periods] == list(range(84)), name


@pytest.mark.parametrize(("name", "day"), ODD_DAYS)
def test_a_minute_by_minute_search_finds_the_same_first_instant_of_an_odd_day(
    name: str, day: date
) -> None:
    noon_before = (day.toordinal() - date(1970, 1, 1).toordinal()) * 24 * HOUR - 30 * HOUR
    minutes = range(noon_before, noon_before + 60 * HOUR, MINUTE)
    clock = (datetime.fromtimestamp(m // SECOND, zone(name)).date() for m in minutes)
    assert local_midnight(day, name) == next(
        minute for minute, shown in zip(minutes, clock, strict=True) if shown >= day
    )


starts = st.integers(parse_instant("2024-01-01T00:00:00Z"), parse_instant("2029-01-01T00:00:00Z"))
schedules = st.builds(
    Schedule,
    start=starts,
    cadence=st.sampled_from(Cadence),
    anchor=st.sampled_from(Anchor),
    timezone=st.sampled_from(ODD),
)


@thorough
@given(schedule=schedules, n=st.integers(0, 200))
def test_periods_tile_and_know_their_own_number(schedule: Schedule, n: int) -> None:
    period = schedule.nth(n)
    assert period.start < period.end == schedule.nth(n + 1).start
    assert schedule.index(period.start) == schedule.index(period.end - 1) == n
    assert schedule.ended_by(period.end) == n + 1
    assert schedule.ended_by(period.end - 1) == n
    whole = schedule.whole(n)
    assert whole.end == period.end
    assert whole.start <= period.start
    assert (whole == period) or n == 0


@thorough
@given(schedule=schedules, n=st.integers(1, 200))
def test_a_boundary_is_computed_from_the_anchor_and_does_not_drift(
    schedule: Schedule, n: int
) -> None:
    """K3 by the calendar alone: the anchor's day of the month, or the last of a shorter one."""
    anchor = local_day(schedule.start, schedule.timezone)
    boundary = local_day(schedule.nth(n).start, schedule.timezone)
    months = {Cadence.MONTH: 1, Cadence.QUARTER: 3, Cadence.YEAR: 12}.get(schedule.cadence)
    if schedule.anchor is Anchor.CALENDAR:
        if months:
            assert boundary.day == 1
        if schedule.cadence is Cadence.WEEK:
            assert boundary.weekday() == 0
        return
    if months is None:
        assert (boundary - anchor).days == n * (7 if schedule.cadence is Cadence.WEEK else 1)
        return
    apart = (boundary.year - anchor.year) * 12 + boundary.month - anchor.month
    assert apart == n * months
    shortened = (boundary + timedelta(days=1)).day == 1 and boundary.day < anchor.day
    assert boundary.day == anchor.day or shortened


@thorough
@given(
    start=starts,
    length=st.integers(1, 40 * 24 * HOUR),
    size=st.sampled_from([s for s in WindowSize if s is not WindowSize.MINUTE]),
    name=st.sampled_from(ODD),
)
def test_windows_tile_their_range_and_are_cut_on_the_local_clock(
    start: int, length: int, size: WindowSize, name: str
) -> None:
    found = windows(start, start + length, size, name)
    assert (found[0].start, found[-1].end) == (start, start + length)
    assert all(one.end == other.start for one, other in pairwise(found))
    for window in found[1:]:
        shown = datetime.fromtimestamp(window.start // SECOND, zone(name))
        assert (window.start % SECOND, shown.second, shown.minute) == (0, 0, 0)
        if size in (WindowSize.DAY, WindowSize.WEEK, WindowSize.MONTH):
            assert local_midnight(shown.date(), name) == window.start
