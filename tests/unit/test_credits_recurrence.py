"""When a grant comes again: month ends without drift (K3), clocks that change (K2)."""

from __future__ import annotations

import pytest

from taximeter.credits.recurrence import parse_recurrence
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant


def occurrences(text: str, anchor: str, count: int, timezone: str = "UTC") -> list[str | None]:
    step, anchor_at = parse_recurrence(text), parse_instant(anchor)
    found = (step.occurrence(n, anchor_at, timezone) for n in range(count))
    return [None if at is None else format_instant(at) for at in found]


def test_a_31st_comes_on_the_last_day_of_shorter_months_and_does_not_drift() -> None:
    assert occurrences("P1M", "2027-01-31T10:30:00.000001Z", 5) == [
        "2027-01-31T10:30:00.000001Z",
        "2027-02-28T10:30:00.000001Z",
        "2027-03-31T10:30:00.000001Z",
        "2027-04-30T10:30:00.000001Z",
        "2027-05-31T10:30:00.000001Z",
    ]


@pytest.mark.parametrize(
    ("anchor", "february"),
    [
        ("2028-01-29T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("2027-01-29T00:00:00Z", "2027-02-28T00:00:00Z"),
        ("2027-01-28T00:00:00Z", "2027-02-28T00:00:00Z"),
    ],
)
def test_february_takes_its_own_last_day(anchor: str, february: str) -> None:
    assert occurrences("P1M", anchor, 2)[1] == february


def test_a_29_february_comes_back_every_year_and_on_its_own_day_in_a_leap_year() -> None:
    assert occurrences("P1Y", "2028-02-29T12:00:00Z", 5)[1:] == [
        "2029-02-28T12:00:00Z",
        "2030-02-28T12:00:00Z",
        "2031-02-28T12:00:00Z",
        "2032-02-29T12:00:00Z",
    ]


def test_several_months_weeks_and_days() -> None:
    assert occurrences("P3M", "2026-11-30T00:00:00Z", 2)[1] == "2027-02-28T00:00:00Z"
    assert occurrences("P2W", "2026-12-25T00:00:00Z", 2)[1] == "2027-01-08T00:00:00Z"
    assert occurrences("P30D", "2026-12-25T00:00:00Z", 2)[1] == "2027-01-24T00:00:00Z"


def test_days_keep_the_local_time_over_a_change_of_the_clocks() -> None:
    assert occurrences("P1D", "2026-03-28T09:00:00+01:00", 3, "Europe/Berlin") == [
        "2026-03-28T08:00:00Z",
        "2026-03-29T07:00:00Z",
        "2026-03-30T07:00:00Z",
    ]


def test_hours_are_elapsed_hours_over_a_change_of_the_clocks() -> None:
    assert occurrences("PT24H", "2026-03-28T09:00:00+01:00", 2, "Europe/Berlin") == [
        "2026-03-28T08:00:00Z",
        "2026-03-29T08:00:00Z",
    ]


def test_a_skipped_local_time_is_the_first_instant_after_the_gap() -> None:
    """Berlin has no 02:30 on 29 March 2026: the clocks go from 02:00 to 03:00 at 01:00Z."""
    assert occurrences("P1D", "2026-03-28T02:30:00+01:00", 3, "Europe/Berlin") == [
        "2026-03-28T01:30:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:30:00Z",
    ]


def test_a_local_time_that_comes_twice_is_the_earlier() -> None:
    """Berlin has 02:30 at 00:30Z and again at 01:30Z on 25 October 2026."""
    assert occurrences("P1D", "2026-10-24T02:30:00+02:00", 3, "Europe/Berlin") == [
        "2026-10-24T00:30:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-26T01:30:00Z",
    ]


def test_a_local_day_that_never_was_gives_two_occurrences_at_one_instant() -> None:
    """Samoa had no 30 December 2011; the one of that day begins with the next."""
    assert occurrences("P1D", "2011-12-29T00:00:00-10:00", 3, "Pacific/Apia")[1:] == [
        "2011-12-30T10:00:00Z",
        "2011-12-30T10:00:00Z",
    ]


def test_nothing_recurs_beyond_the_calendar() -> None:
    assert occurrences("P1Y", "9998-06-01T00:00:00Z", 3) == [
        "9998-06-01T00:00:00Z",
        "9999-06-01T00:00:00Z",
        None,
    ]
    assert occurrences("PT9999H", "9999-12-01T00:00:00Z", 2)[1] is None


@pytest.mark.parametrize("text", ["P1Y", "P1M", "P2W", "P10D", "PT5H", "PT1H"])
@pytest.mark.parametrize("anchor", ["2024-02-29T23:30:00Z", "2026-10-24T00:30:00Z"])
def test_the_running_occurrence_is_the_last_that_has_begun(text: str, anchor: str) -> None:
    step, anchor_at = parse_recurrence(text), parse_instant(anchor)
    for n in (0, 1, 2, 7, 50):
        at = step.occurrence(n, anchor_at, "Europe/Berlin")
        assert at is not None
        assert step.last_by(at, anchor_at, "Europe/Berlin") == n
        assert step.last_by(at - 1, anchor_at, "Europe/Berlin") == max(0, n - 1)


@pytest.mark.parametrize(
    "text",
    ["", "P", "P0M", "P01M", "P1", "1M", "p1m", "P1M1D", "PT1M", "P1H", "P1.5D", "-P1M", "P99999D"],
)
def test_anything_but_one_unit_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="duration of one unit") as caught:
        parse_recurrence(text)
    assert caught.value.code == "invalid_request"
