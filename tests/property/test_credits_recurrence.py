"""Occurrences against a clock that is watched minute by minute (K2, K3)."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.credits.recurrence import Recurrence
from taximeter.instants import MINUTE, from_datetime, to_datetime
from taximeter.periods import zone

zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/Sao_Paulo",  # changed at midnight
        "Australia/Lord_Howe",  # changes by half an hour
        "Africa/Casablanca",  # changes around Ramadan
        "Asia/Kathmandu",
        "Pacific/Apia",  # skipped 30 December 2011
    ]
)
steps = st.builds(Recurrence, months=st.integers(1, 14)) | st.builds(
    Recurrence, days=st.integers(1, 60)
)
years = st.integers(2008, 2020)
# Many anchors within hours of some change of the clocks, and at the ends of months.
anchors = st.builds(
    datetime, years, st.integers(1, 12), st.integers(1, 28), st.integers(0, 23), st.integers(0, 59)
) | st.builds(
    datetime,
    years,
    st.sampled_from([1, 3, 8, 10, 12]),
    st.integers(24, 31),
    st.integers(0, 3),
    st.sampled_from([0, 15, 30, 59]),
)


def watched(day: datetime, timezone: str) -> int:
    """The first minute at which a local clock shows a time or a later one."""
    at = from_datetime((day - timedelta(hours=27)).replace(tzinfo=UTC))
    while to_datetime(at).astimezone(zone(timezone)).replace(tzinfo=None) < day:
        at += MINUTE
    return at


def due_day(anchor: datetime, step: Recurrence, n: int) -> datetime:
    if step.days:
        return anchor + n * timedelta(days=step.days)
    year, month = anchor.year, anchor.month
    for _ in range(n * step.months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return anchor.replace(
        year=year, month=month, day=min(anchor.day, calendar.monthrange(year, month)[1])
    )


@thorough
@given(anchor=anchors, step=steps, n=st.integers(1, 30), timezone=zones)
def test_an_occurrence_is_when_the_local_clock_first_shows_its_time(
    anchor: datetime, step: Recurrence, n: int, timezone: str
) -> None:
    anchor_at = from_datetime(anchor.replace(tzinfo=UTC))
    local = to_datetime(anchor_at).astimezone(zone(timezone)).replace(tzinfo=None)
    expected = watched(due_day(local, step, n), timezone)
    assert step.occurrence(n, anchor_at, timezone) == expected


@thorough
@given(anchor=anchors, step=steps, n=st.integers(0, 40), timezone=zones)
def test_occurrences_never_go_back_and_each_is_found_by_its_instant(
    anchor: datetime, step: Recurrence, n: int, timezone: str
) -> None:
    anchor_at = from_datetime(anchor.replace(tzinfo=UTC))
    this = step.occurrence(n, anchor_at, timezone)
    following = step.occurrence(n + 1, anchor_at, timezone)
    assert this is not None
    assert following is not None
    assert this <= following
    assert step.last_by(following - 1, anchor_at, timezone) <= n
    found = step.last_by(this, anchor_at, timezone)
    assert found >= n
    assert step.occurrence(found, anchor_at, timezone) == this
