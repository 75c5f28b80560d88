"""Windows, rates and what rolls over, by example: boundaries, clock changes, month ends, memory."""

from __future__ import annotations

import pytest

from taximeter.catalog.features import Enforcement, Limit, Rate, RateKind, Reset, Rollover
from taximeter.entitlements.gauge import Gauge
from taximeter.entitlements.local_windows import local_windows
from taximeter.entitlements.rate import RateGauge, retry_after_s
from taximeter.entitlements.readings import Kind, Reading
from taximeter.entitlements.rollover import carried_pico
from taximeter.instants import DAY, HOUR, MINUTE, SECOND, format_instant, parse_instant

E12 = 10**12
BERLIN = "Europe/Berlin"


def t(text: str) -> int:
    return parse_instant(text)


def day_of(at: str, timezone: str = BERLIN, reset: Reset = Reset.DAY) -> tuple[str, str]:
    window = local_windows(reset, timezone).containing(t(at))
    return format_instant(window.start), format_instant(window.end)


# --- calendar ---------------------------------------------------------------------------------


def test_a_window_ends_before_the_instant_it_resets_at() -> None:
    gauge = Gauge(Limit(10, Reset.DAY), BERLIN)
    gauge.add(t("2026-11-20T22:59:59.999999Z"), 3)
    gauge.add(t("2026-11-20T23:00:00Z"), 4)
    assert gauge.used_pico(t("2026-11-20T22:59:59.999999Z")) == 3
    assert gauge.used_pico(t("2026-11-20T23:00:00Z")) == 4
    assert gauge.resets_at(t("2026-11-20T23:00:00Z")) == t("2026-11-21T23:00:00Z")


@pytest.mark.parametrize(
    ("reset", "at", "start", "end"),
    [
        # Clocks go forward on 29 March and back on 25 October 2026: days of 23 and 25 hours.
        (Reset.DAY, "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        (Reset.DAY, "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        (Reset.HOUR, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        (Reset.WEEK, "2026-03-29T21:59:59Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"),
        (Reset.MONTH, "2026-01-31T23:00:00Z", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z"),
        (Reset.MONTH, "2028-02-29T12:00:00Z", "2028-01-31T23:00:00Z", "2028-02-29T23:00:00Z"),
        (Reset.YEAR, "2026-12-31T22:59:59Z", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"),
    ],
)
def test_calendar_windows_are_those_of_the_wall_clock(
    reset: Reset, at: str, start: str, end: str
) -> None:
    """K2."""
    assert day_of(at, BERLIN, reset) == (start, end)


def test_the_hour_around_a_change_of_half_an_hour_is_longer() -> None:
    """On Lord Howe Island clocks go back by half an hour: 1:30 comes twice."""
    assert day_of("2026-04-04T15:10:00Z", "Australia/Lord_Howe", Reset.HOUR) == (
        "2026-04-04T14:00:00Z",
        "2026-04-04T15:30:00Z",
    )


def test_never_has_one_window_and_no_end() -> None:
    gauge = Gauge(Limit(10, Reset.NEVER), "UTC")
    gauge.add(t("2020-01-01T00:00:00Z"), 3)
    gauge.add(t("2030-01-01T00:00:00Z"), 4)
    assert (gauge.used_pico(t("2026-01-01T00:00:00Z")), gauge.resets_at(0)) == (7, None)
    assert gauge.prune(t("2040-01-01T00:00:00Z"))


def test_windows_that_can_no_longer_matter_are_forgotten() -> None:
    gauge = Gauge(Limit(10, Reset.HOUR), "UTC")
    for hour in range(500):
        gauge.add(hour * HOUR, 1)
    assert len(gauge.dump()) == 3
    assert gauge.used_pico(499 * HOUR) == 1
    assert gauge.prune(499 * HOUR)
    assert not gauge.prune(501 * HOUR)
    assert gauge.dump() == []


# --- rolling ----------------------------------------------------------------------------------


def test_a_use_leaves_a_rolling_window_at_most_a_360th_late() -> None:
    gauge = Gauge(Limit(10, Reset.ROLLING, HOUR), "UTC")
    gauge.add(DAY + 4 * SECOND, 3)
    free_at = gauge.resets_at(DAY + 30 * MINUTE)
    assert free_at is not None
    assert DAY + 4 * SECOND + HOUR <= free_at <= DAY + 4 * SECOND + HOUR + 10 * SECOND
    assert (gauge.used_pico(free_at - 1), gauge.used_pico(free_at)) == (3, 0)


def test_a_use_stamped_ahead_counts_already_and_pushes_nothing_out() -> None:
    gauge = Gauge(Limit(10, Reset.ROLLING, 10 * SECOND), "UTC")
    gauge.add(DAY, 3)
    gauge.add(DAY + 300 * SECOND, 4)
    assert gauge.used_pico(DAY + SECOND) == 7


def test_a_rolling_window_keeps_a_bounded_number_of_buckets() -> None:
    gauge = Gauge(Limit(10, Reset.ROLLING, 5 * HOUR), "UTC")
    for minute in range(10_000):
        gauge.add(minute * MINUTE, 1)
    assert len(gauge.dump()) <= 360 + 300 // 50 + 2
    assert gauge.used_pico(9_999 * MINUTE) == 300 + 1  # the oldest bucket counts as a whole
    assert not gauge.prune(9_999 * MINUTE + 6 * HOUR)


def test_a_rolling_reading_says_when_the_amount_asked_for_fits() -> None:
    gauge = Gauge(Limit(10, Reset.ROLLING, HOUR), "UTC")
    gauge.add(DAY, 6)
    gauge.add(DAY + 20 * MINUTE, 4)
    small, large, never = (gauge.reading(DAY + 30 * MINUTE, n).resets_at for n in (6, 7, 11))
    assert small is not None
    assert large is not None
    assert large - small == 20 * MINUTE
    assert never is None


# --- from the first use -----------------------------------------------------------------------


def first_use() -> Gauge:
    gauge = Gauge(Limit(10, Reset.FIRST_USE, 5 * HOUR), "UTC")
    gauge.add(DAY, 3)
    return gauge


def test_a_window_from_the_first_use_is_half_open() -> None:
    gauge = first_use()
    end = DAY + 5 * HOUR
    assert (gauge.used_pico(end - 1), gauge.used_pico(end)) == (3, 0)
    assert (gauge.resets_at(end - 1), gauge.resets_at(end)) == (end, None)
    gauge.add(end - 1, 1)
    assert gauge.used_pico(end - 1) == 4
    gauge.add(end, 7)
    assert (gauge.used_pico(end), gauge.resets_at(end)) == (7, end + 5 * HOUR)


def test_nothing_and_less_than_nothing_open_no_window() -> None:
    gauge = Gauge(Limit(10, Reset.FIRST_USE, 5 * HOUR), "UTC")
    gauge.add(DAY, 0)
    gauge.add(DAY, -2)
    assert (gauge.used_pico(DAY), gauge.resets_at(DAY)) == (0, None)


def test_a_late_use_of_an_earlier_window_changes_nothing() -> None:
    gauge = first_use()
    gauge.add(DAY + 6 * HOUR, 4)
    gauge.add(DAY + 4 * HOUR, 9)
    assert gauge.used_pico(DAY + 6 * HOUR) == 4


def test_a_late_use_between_two_windows_counts_in_the_open_one() -> None:
    gauge = first_use()
    gauge.add(DAY + 6 * HOUR, 4)
    gauge.add(DAY + 5 * HOUR, 2)
    assert gauge.used_pico(DAY + 6 * HOUR) == 6
    gauge.add(DAY + 20 * HOUR, 1)
    gauge.add(DAY + 12 * HOUR, 8)  # it would have opened one of its own, long over
    assert gauge.used_pico(DAY + 20 * HOUR) == 1


def test_a_window_from_the_first_use_survives_a_restart_and_is_forgotten_in_the_end() -> None:
    gauge = first_use()
    again = Gauge.load(gauge.limit, "UTC", gauge.dump())
    assert again.dump() == gauge.dump()
    assert again.resets_at(DAY) == DAY + 5 * HOUR
    assert again.prune(DAY + 5 * HOUR)
    assert not again.prune(DAY + 10 * HOUR)


def test_gauges_that_depend_on_the_order_cannot_be_merged() -> None:
    with pytest.raises(AssertionError, match="first_use:5h cannot be merged"):
        first_use().merge(first_use())


# --- readings ---------------------------------------------------------------------------------


def test_a_reading_has_the_terms_of_its_limit() -> None:
    limit = Limit(10, Reset.DAY, enforcement=Enforcement.SOFT, grace_pico=E12 // 10, level="user")
    gauge = Gauge(limit, BERLIN)
    gauge.add(t("2026-11-20T12:00:00Z"), 3)
    reading = gauge.reading(t("2026-11-20T12:00:00Z"), reserved_pico=2, scope="u7")
    assert reading == Reading(
        10, 3, 2, t("2026-11-20T23:00:00Z"), Enforcement.SOFT, E12 // 10, "user", "u7",
        key="user:day",
    )  # fmt: skip


def test_a_reading_includes_what_rolled_over() -> None:
    gauge = Gauge(Limit(10, Reset.DAY, rollover=Rollover(8)), "UTC")
    gauge.add(DAY, 4)
    gauge.add(2 * DAY, 1)
    reading = gauge.reading(2 * DAY, since=DAY)
    assert (reading.limit_pico, reading.used_pico, reading.room_pico()) == (16, 1, 15)


# --- rollover ---------------------------------------------------------------------------------


def test_unused_units_live_one_more_period_and_are_used_first() -> None:
    limit = Limit(100, rollover=Rollover())
    assert carried_pico(limit, []) == 0
    assert carried_pico(limit, [60]) == 40
    assert carried_pico(limit, [60, 30]) == 100  # of 40 + 100: 10 of the 40 left, and gone
    assert carried_pico(limit, [60, 150]) == 0


def test_carried_units_expire_after_their_periods_and_never_exceed_the_maximum() -> None:
    assert carried_pico(Limit(100, rollover=Rollover(None, 2)), [0, 0, 0]) == 200
    assert carried_pico(Limit(100, rollover=Rollover(150, 2)), [0, 0, 0]) == 150
    assert carried_pico(Limit(100), [0]) == 0


def test_what_exceeds_the_maximum_is_lost_from_the_oldest() -> None:
    limit = Limit(1, rollover=Rollover(10, 2))
    assert carried_pico(limit, [0, 0, 0], [10, 1, 1]) == 2


def test_an_upgrade_adds_nothing_to_what_an_earlier_period_left() -> None:
    after_upgrade = Limit(1000, rollover=Rollover())
    assert carried_pico(after_upgrade, [60], [100]) == 40


# --- rates ------------------------------------------------------------------------------------

MINUTELY = Rate(60 * E12, MINUTE, 10 * E12)


def test_a_bucket_starts_full_and_refills_steadily() -> None:
    gauge = RateGauge(MINUTELY)
    gauge.add(DAY, 10 * E12)
    assert gauge.available_pico(DAY) == 0
    assert gauge.available_pico(DAY + SECOND) == E12
    assert gauge.available_pico(DAY + SECOND - 1) == E12 - E12 // SECOND
    assert gauge.available_pico(DAY + HOUR) == 10 * E12


def test_usage_beyond_the_burst_is_paid_back_in_time() -> None:
    gauge = RateGauge(MINUTELY)
    gauge.add(DAY, 70 * E12)
    assert gauge.retry_at(DAY, E12) == DAY + 61 * SECOND
    assert gauge.used_pico(DAY) == 70 * E12


def test_more_than_the_burst_never_fits() -> None:
    assert RateGauge(MINUTELY).retry_at(DAY, 10 * E12 + 1) is None


def test_a_rate_reading_is_what_is_left_of_the_burst() -> None:
    gauge = RateGauge(MINUTELY)
    gauge.add(DAY, 8 * E12)
    reading = gauge.reading(DAY, 5 * E12, scope=None)
    assert (reading.kind, reading.key, reading.remaining_pico) == (Kind.RATE, "rate:1m", 2 * E12)
    assert reading.resets_at == DAY + 3 * SECOND
    assert gauge.reading(DAY, 2 * E12).resets_at is None


def test_the_header_fields_round_what_is_left_down_and_time_up() -> None:
    gauge = RateGauge(MINUTELY)
    gauge.add(DAY, 7 * E12 + 1)
    fields = gauge.fields("chat", DAY)
    assert fields.policy == '"chat:rate:1m";q=60;w=60'
    assert fields.limit == '"chat:rate:1m";r=2;t=1'
    assert gauge.fields("chat", DAY + MINUTE).limit == '"chat:rate:1m";r=10;t=0'
    assert retry_after_s(DAY, DAY + 1) == 1
    assert retry_after_s(DAY, DAY + 61 * SECOND) == 61


def test_a_bucket_goes_on_where_it_was_when_its_rate_changes() -> None:
    gauge = RateGauge(MINUTELY)
    gauge.add(DAY, 10 * E12)
    faster = RateGauge.load(Rate(120 * E12, MINUTE, 10 * E12), gauge.dump())
    assert faster.retry_at(DAY, 10 * E12) == DAY + 10 * SECOND  # full when it would have been
    assert faster.available_pico(DAY + 10 * SECOND) == 10 * E12


def test_a_sliding_window_has_no_burst_beyond_its_limit() -> None:
    gauge = RateGauge(Rate(60 * E12, MINUTE, 60 * E12, RateKind.SLIDING_WINDOW))
    gauge.add(DAY, 60 * E12)
    retry_at = gauge.retry_at(DAY + SECOND, E12)
    assert retry_at is not None
    assert DAY + MINUTE <= retry_at <= DAY + MINUTE + SECOND
    assert RateGauge.load(gauge.rate, gauge.dump()).available_pico(DAY + SECOND) == 0


@pytest.mark.parametrize("kind", RateKind)
def test_a_rate_nobody_uses_any_more_is_forgotten(kind: RateKind) -> None:
    gauge = RateGauge(Rate(60 * E12, MINUTE, 60 * E12, kind))
    gauge.add(DAY, E12)
    assert gauge.prune(DAY)
    assert not gauge.prune(DAY + HOUR)
