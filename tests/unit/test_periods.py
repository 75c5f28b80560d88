"""Periods: local midnights, schedules without drift, windows that tile (K1-K4)."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from taximeter import periods
from taximeter.errors import Rejected
from taximeter.instants import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    format_instant,
    from_datetime,
    parse_instant,
)
from taximeter.periods import (
    Anchor,
    Cadence,
    Period,
    Schedule,
    WindowSize,
    check_timezone,
    local_day,
    local_midnight,
    timezones,
    windows,
)

BERLIN = "Europe/Berlin"


def at(text: str) -> int:
    return parse_instant(text)


def starts(schedule: Schedule, count: int) -> list[str]:
    return [format_instant(schedule.nth(n).start) for n in range(count)]


# --- Period -----------------------------------------------------------------------------------


def test_a_period_contains_its_start_but_not_its_end() -> None:
    period = Period(10, 20)
    assert period.contains(10)
    assert period.contains(19)
    assert not period.contains(20)
    assert not period.contains(9)


def test_periods_that_only_touch_do_not_overlap() -> None:
    assert not Period(10, 20).overlaps(Period(20, 30))
    assert Period(10, 20).overlap(Period(20, 30)) is None
    assert Period(10, 20).overlap(Period(15, 30)) == Period(15, 20)
    assert not Period(10, 20).overlaps(Period(15, 15))


def test_a_period_is_shown_by_its_instants() -> None:
    period = Period(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"))
    expected = {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert period.to_json() == expected


# --- Zones and midnights ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "europe/berlin", "../etc/passwd", "Europe", "zone.tab", "\x00"]
)
def test_what_is_no_iana_name_is_an_unknown_timezone(name: str) -> None:
    for use in (
        lambda: check_timezone(name),
        lambda: local_midnight(date(2026, 1, 1), name),
        lambda: windows(0, DAY, WindowSize.NONE, name),
    ):
        with pytest.raises(Rejected) as caught:
            use()
        assert caught.value.code == "unknown_timezone"


def test_zone_rules_come_from_the_package_and_not_from_the_machine(tmp_path: Path) -> None:
    """A machine whose Berlin keeps Tokyo time bills Berlin by Berlin time."""
    (tmp_path / "Europe").mkdir()
    package = Path(periods.tzdata.__file__).parent
    (tmp_path / BERLIN).write_bytes((package / "zoneinfo" / "Asia" / "Tokyo").read_bytes())
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[tmp_path])
    forget_zones()
    try:
        machine = zoneinfo.ZoneInfo.no_cache(BERLIN)
        assert datetime(2026, 1, 1, tzinfo=machine).utcoffset() == timedelta(hours=9)
        assert local_midnight(date(2026, 1, 1), BERLIN) == at("2025-12-31T23:00:00Z")
    finally:
        zoneinfo.reset_tzpath(to=before)
        forget_zones()


def forget_zones() -> None:
    zoneinfo.ZoneInfo.clear_cache()
    periods.zone.cache_clear()
    periods.local_midnight.cache_clear()


def test_every_zone_of_the_package_can_be_used() -> None:
    assert len(timezones()) > 590
    assert timezones() >= {"UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Pacific/Apia"}


@pytest.mark.parametrize(
    ("day", "timezone", "expected"),
    [
        ("2026-11-01", "UTC", "2026-11-01T00:00:00Z"),
        ("2026-11-01", BERLIN, "2026-10-31T23:00:00Z"),
        ("2026-07-01", BERLIN, "2026-06-30T22:00:00Z"),
        ("2026-11-01", "Asia/Kolkata", "2026-10-31T18:30:00Z"),
        ("2026-11-01", "Asia/Kathmandu", "2026-10-31T18:15:00Z"),
        # 00:00 does not exist: the clocks go from 00:00 to 01:00, the day begins at 01:00
        ("2024-04-26", "Africa/Cairo", "2024-04-25T22:00:00Z"),
        ("2025-03-09", "America/Havana", "2025-03-09T05:00:00Z"),
        ("2025-09-07", "America/Santiago", "2025-09-07T04:00:00Z"),
        # from half past eleven to half past twelve: the gap began before midnight
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30:00Z"),
        # a whole day does not exist
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        # 00:00 comes twice: the clocks go from 01:00 back to 00:00, or from 00:01 to 23:01
        ("2025-11-02", "America/Havana", "2025-11-02T04:00:00Z"),
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30:00Z"),
    ],
)
def test_a_day_begins_at_its_first_instant(day: str, timezone: str, expected: str) -> None:
    midnight = periods.local_midnight(date.fromisoformat(day), timezone)
    assert midnight == from_datetime(datetime.fromisoformat(expected))


def test_a_day_that_has_begun_is_not_left_again_when_clocks_go_back_over_midnight() -> None:
    """St John's, 2010-11-07: 00:01 was followed by 23:01 of the day before."""
    zone = "America/St_Johns"
    begun = at("2010-11-07T02:30:00Z")
    assert local_day(begun - 1, zone) == date(2010, 11, 6)
    assert local_day(begun, zone) == date(2010, 11, 7)
    assert local_day(begun + 30 * MINUTE, zone) == date(2010, 11, 7)


# --- Schedules --------------------------------------------------------------------------------


def test_the_first_period_starts_at_the_exact_start_the_others_at_midnight() -> None:
    schedule = Schedule(at("2026-11-12T10:11:12.000013Z"), Cadence.MONTH, Anchor.CALENDAR, BERLIN)
    assert starts(schedule, 3) == [
        "2026-11-12T10:11:12.000013Z",
        "2026-11-30T23:00:00Z",
        "2026-12-31T23:00:00Z",
    ]


def test_a_31st_goes_to_the_28th_and_back_to_the_31st() -> None:
    schedule = Schedule(at("2026-01-31T00:00:00Z"), Cadence.MONTH, Anchor.ANNIVERSARY, "UTC")
    assert [day[:10] for day in starts(schedule, 6)] == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
        "2026-05-31",
        "2026-06-30",
    ]


def test_a_29th_of_february_comes_back_in_the_next_leap_year() -> None:
    schedule = Schedule(at("2028-02-29T12:00:00Z"), Cadence.YEAR, Anchor.ANNIVERSARY, "UTC")
    assert [day[:10] for day in starts(schedule, 5)] == [
        "2028-02-29",
        "2029-02-28",
        "2030-02-28",
        "2031-02-28",
        "2032-02-29",
    ]


@pytest.mark.parametrize(
    ("cadence", "second", "third"),
    [
        (Cadence.DAY, "2026-11-13", "2026-11-14"),
        (Cadence.WEEK, "2026-11-16", "2026-11-23"),
        (Cadence.MONTH, "2026-12-01", "2027-01-01"),
        (Cadence.QUARTER, "2027-01-01", "2027-04-01"),
        (Cadence.YEAR, "2027-01-01", "2028-01-01"),
    ],
)
def test_calendar_periods_begin_with_the_calendar(
    cadence: Cadence, second: str, third: str
) -> None:
    schedule = Schedule(at("2026-11-12T10:00:00Z"), cadence, Anchor.CALENDAR, "UTC")
    assert [day[:10] for day in starts(schedule, 3)] == ["2026-11-12", second, third]


@pytest.mark.parametrize(
    ("cadence", "second", "third"),
    [
        (Cadence.DAY, "2026-12-01", "2026-12-02"),
        (Cadence.WEEK, "2026-12-07", "2026-12-14"),
        (Cadence.MONTH, "2026-12-30", "2027-01-30"),
        (Cadence.QUARTER, "2027-02-28", "2027-05-30"),
        (Cadence.YEAR, "2027-11-30", "2028-11-30"),
    ],
)
def test_anniversary_periods_begin_on_the_day_of_the_start(
    cadence: Cadence, second: str, third: str
) -> None:
    schedule = Schedule(at("2026-11-30T10:00:00Z"), cadence, Anchor.ANNIVERSARY, "UTC")
    assert [day[:10] for day in starts(schedule, 3)] == ["2026-11-30", second, third]


def test_the_anchor_day_is_the_local_one() -> None:
    """23:30 UTC on the 30th is the 31st in Berlin."""
    schedule = Schedule(at("2026-12-30T23:30:00Z"), Cadence.MONTH, Anchor.ANNIVERSARY, BERLIN)
    assert starts(schedule, 2)[1] == "2027-01-30T23:00:00Z"


def test_the_whole_of_a_first_period_is_its_full_calendar_period() -> None:
    start = at("2026-11-12T10:00:00Z")
    by_calendar = Schedule(start, Cadence.MONTH, Anchor.CALENDAR, "UTC")
    by_start = Schedule(start, Cadence.MONTH, Anchor.ANNIVERSARY, "UTC")
    assert by_calendar.whole(0) == Period(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"))
    assert by_start.whole(0) == Period(at("2026-11-12T00:00:00Z"), at("2026-12-12T00:00:00Z"))
    assert by_calendar.whole(1) == by_calendar.nth(1)


def test_an_instant_at_a_boundary_belongs_to_the_later_period() -> None:
    schedule = Schedule(at("2026-11-12T10:00:00Z"), Cadence.MONTH, Anchor.CALENDAR, BERLIN)
    boundary = schedule.nth(1).start
    assert schedule.index(boundary - 1) == 0
    assert schedule.index(boundary) == 1
    assert schedule.containing(boundary) == schedule.nth(1)


def test_before_the_start_there_is_no_period() -> None:
    schedule = Schedule(at("2026-11-12T10:00:00Z"), Cadence.MONTH, Anchor.CALENDAR, BERLIN)
    assert schedule.index(schedule.start - 1) == -1
    assert schedule.index(schedule.start) == 0
    assert schedule.ended_by(schedule.start - 1) == 0


def test_a_period_has_ended_at_its_end_and_not_before() -> None:
    schedule = Schedule(at("2026-11-12T10:00:00Z"), Cadence.MONTH, Anchor.CALENDAR, BERLIN)
    end = schedule.nth(4).end
    assert schedule.ended_by(end - 1) == 4
    assert schedule.ended_by(end) == 5


def test_a_schedule_that_starts_in_the_repeated_hour_before_midnight_goes_forward() -> None:
    start = at("2010-11-07T03:00:00Z")  # the clock shows 2010-11-06 again
    schedule = Schedule(start, Cadence.DAY, Anchor.ANNIVERSARY, "America/St_Johns")
    assert schedule.whole(0).start <= schedule.nth(0).start < schedule.nth(0).end


def test_periods_after_the_year_9999_are_refused() -> None:
    schedule = Schedule(at("9999-11-12T10:00:00Z"), Cadence.MONTH, Anchor.CALENDAR, BERLIN)
    for use in (lambda: schedule.nth(1), lambda: schedule.nth(10**9)):
        with pytest.raises(Rejected) as caught:
            use()
        assert caught.value.code == "invalid_timestamp"


# --- Windows ----------------------------------------------------------------------------------


def test_windows_are_clipped_to_the_range() -> None:
    found = windows(at("2026-11-20T10:30:00Z"), at("2026-11-20T12:15:00Z"), WindowSize.HOUR, "UTC")
    assert [(format_instant(w.start)[11:16], format_instant(w.end)[11:16]) for w in found] == [
        ("10:30", "11:00"),
        ("11:00", "12:00"),
        ("12:00", "12:15"),
    ]


def test_hours_follow_the_local_clock() -> None:
    found = windows(
        at("2026-11-20T10:00:00Z"), at("2026-11-20T12:00:00Z"), WindowSize.HOUR, "Asia/Kolkata"
    )
    assert [format_instant(w.start)[11:16] for w in found] == ["10:00", "10:30", "11:30"]


def test_a_half_hour_change_of_the_clocks_makes_one_long_hour() -> None:
    """Lord Howe goes from 02:00 to 02:30: the hours after it are again full ones on the clock."""
    lengths = [
        (w.end - w.start) // MINUTE
        for w in windows(
            at("2025-10-04T13:30:00Z"),
            at("2025-10-04T18:00:00Z"),
            WindowSize.HOUR,
            "Australia/Lord_Howe",
        )
    ]
    assert lengths == [60, 90, 60, 60]


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (WindowSize.DAY, 59),
        (WindowSize.WEEK, 9),
        (WindowSize.MONTH, 2),
        (WindowSize.NONE, 1),
    ],
)
def test_days_weeks_and_months_are_cut_at_local_midnight(size: WindowSize, count: int) -> None:
    start, end = at("2025-12-31T23:00:00Z"), at("2026-02-28T23:00:00Z")
    found = windows(start, end, size, BERLIN)
    assert len(found) == count
    assert all(format_instant(w.start).endswith("T23:00:00Z") for w in found)
    if size is WindowSize.WEEK:
        assert all(local_day(w.start, BERLIN).weekday() == 0 for w in found[1:])


def test_an_empty_range_has_no_windows() -> None:
    assert windows(DAY, DAY, WindowSize.NONE, "UTC") == ()
    assert windows(2 * DAY, DAY, WindowSize.HOUR, "UTC") == ()


def test_the_day_that_was_skipped_has_no_window() -> None:
    """Samoa had no 30 December 2011."""
    start = local_midnight(date(2011, 12, 29), "Pacific/Apia")
    end = local_midnight(date(2012, 1, 1), "Pacific/Apia")
    found = windows(start, end, WindowSize.DAY, "Pacific/Apia")
    assert [local_day(w.start, "Pacific/Apia").day for w in found] == [29, 31]


def test_too_many_windows_are_refused_before_they_are_made() -> None:
    assert len(windows(0, 5 * DAY, WindowSize.DAY, "UTC", limit=5)) == 5
    with pytest.raises(Rejected) as caught:
        windows(0, 5 * DAY + 1, WindowSize.DAY, "UTC", limit=5)
    assert caught.value.code == "too_many_windows"


@pytest.mark.parametrize("timezone", ["UTC", BERLIN, "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("size", [s for s in WindowSize if s is not WindowSize.MINUTE])
def test_windows_tile_a_year_without_gap_or_overlap(timezone: str, size: WindowSize) -> None:
    start, end = at("2025-03-20T05:06:07.000008Z"), at("2026-04-20T05:06:07Z")
    found = windows(start, end, size, timezone)
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == other.start for one, other in itertools.pairwise(found))
    assert all(w.start < w.end for w in found)


def test_minutes_tile_through_a_change_of_the_clocks() -> None:
    start = at("2026-10-25T00:00:30Z")
    found = windows(start, start + 2 * HOUR, WindowSize.MINUTE, BERLIN)
    assert len(found) == 121
    assert all(w.start % MINUTE == 0 for w in found[1:])
    assert {w.end - w.start for w in found} == {MINUTE, 30 * SECOND}


def test_a_day_window_has_as_many_hours_as_the_day() -> None:
    def hours(day: date) -> int:
        start, end = (local_midnight(d, BERLIN) for d in (day, day + timedelta(days=1)))
        assert windows(start, end, WindowSize.DAY, BERLIN) == (Period(start, end),)
        return len(windows(start, end, WindowSize.HOUR, BERLIN))

    assert hours(date(2026, 3, 29)) == 23
    assert hours(date(2026, 10, 25)) == 25
    assert hours(date(2026, 10, 26)) == 24
