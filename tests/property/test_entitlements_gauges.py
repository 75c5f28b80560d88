"""Gauges, rates and rollover against slow second implementations that keep every use."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import patient

from taximeter.catalog.features import Enforcement, Limit, Rate, RateKind, Reset, Rollover
from taximeter.entitlements.decide import decide
from taximeter.entitlements.gauge import Gauge
from taximeter.entitlements.rate import RateGauge
from taximeter.entitlements.rollover import carried_pico
from taximeter.instants import DAY, HOUR, MINUTE, SECOND, parse_instant
from taximeter.periods import WindowSize, windows

NOON = parse_instant("2026-03-28T12:00:00Z")  # the day before Berlin's clocks go forward
BERLIN = "Europe/Berlin"
Uses = list[tuple[int, int]]

near = st.integers(-3 * DAY, 3 * DAY).map(lambda offset: NOON + offset)
uses = st.lists(st.tuples(near, st.integers(-3, 20)), max_size=30)


def fed(gauge: Any, them: Uses) -> Any:
    for at, pico in them:
        gauge.add(at, pico)
    return gauge


# --- calendar windows -------------------------------------------------------------------------

SIZES = {
    Reset.HOUR: WindowSize.HOUR,
    Reset.DAY: WindowSize.DAY,
    Reset.WEEK: WindowSize.WEEK,
    Reset.MONTH: WindowSize.MONTH,
}


@patient
@given(st.sampled_from(sorted(SIZES)), st.sampled_from(["UTC", BERLIN]), uses)
def test_a_calendar_gauge_counts_what_is_in_the_local_window(
    reset: Reset, timezone: str, them: Uses
) -> None:
    """K2. The newest window with usage, whatever the order; and where it ends."""
    now = max((at for at, _ in them), default=NOON)
    tiles = windows(NOON - 70 * DAY, NOON + 70 * DAY, SIZES[reset], timezone)
    (window,) = [tile for tile in tiles if tile.contains(now)]
    gauge = fed(Gauge(Limit(5, reset), timezone), them)
    inside = sum(pico for at, pico in them if window.contains(at))
    assert gauge.used_pico(now) == max(0, inside)
    assert gauge.resets_at(now) == window.end


@pytest.mark.parametrize("reset", [Reset.DAY, Reset.ROLLING, Reset.NEVER])
@patient
@given(them=uses, order=st.randoms(use_true_random=False), cut=st.integers(0, 30))
def test_neither_order_nor_cuts_nor_a_restart_change_a_gauge(
    reset: Reset, them: Uses, order: Any, cut: int
) -> None:
    limit = Limit(5, reset, 5 * HOUR if reset is Reset.ROLLING else None)
    whole = fed(Gauge(limit, BERLIN), them)
    shuffled = [*them]
    order.shuffle(shuffled)
    assert fed(Gauge(limit, BERLIN), shuffled).dump() == whole.dump()
    first, rest = fed(Gauge(limit, BERLIN), them[:cut]), fed(Gauge(limit, BERLIN), them[cut:])
    loaded = fed(Gauge.load(limit, BERLIN, first.dump()), them[cut:])
    assert loaded.dump() == whole.dump()
    first.merge(rest)
    assert first.dump() == whole.dump()


@pytest.mark.parametrize("reset", [Reset.DAY, Reset.ROLLING])
@patient
@given(them=uses, looks=st.lists(near, max_size=5))
def test_looking_changes_nothing(reset: Reset, them: Uses, looks: list[int]) -> None:
    limit = Limit(5, reset, 5 * HOUR if reset is Reset.ROLLING else None)
    plain, looked = Gauge(limit, BERLIN), Gauge(limit, BERLIN)
    for n, (at, pico) in enumerate(them):
        plain.add(at, pico)
        looked.add(at, pico)
        if n < len(looks):
            looked.used_pico(looks[n])
            looked.resets_at(looks[n])
    assert plain.dump() == looked.dump()
    assert [plain.resets_at(at) for at in looks] == [looked.resets_at(at) for at in looks]
    assert [plain.used_pico(at) for at in looks] == [looked.used_pico(at) for at in looks]


# --- rolling ----------------------------------------------------------------------------------


@patient
@given(uses, st.integers(0, 2 * DAY), st.sampled_from([MINUTE, 5 * HOUR, DAY]))
def test_a_rolling_gauge_reads_no_less_than_the_true_window_and_at_most_a_bucket_more(
    them: Uses, later: int, length: int
) -> None:
    them = [(at, abs(pico)) for at, pico in them]
    now = max((at for at, _ in them), default=NOON) + later
    gauge = fed(Gauge(Limit(5, Reset.ROLLING, length), "UTC"), them)
    true = sum(pico for at, pico in them if now - length < at)
    wide = sum(pico for at, pico in them if now - length - length // 360 - SECOND // 10 < at)
    assert true <= gauge.used_pico(now) <= wide


@patient
@given(st.lists(st.tuples(st.integers(0, HOUR), st.integers(1, 4)), max_size=60))
def test_no_true_window_ever_holds_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    """Ask before each use, and count every stretch of five hours afterwards."""
    gauge = Gauge(Limit(10, Reset.ROLLING, 5 * HOUR), "UTC")
    now, used = NOON, []
    for wait, amount in steps:
        now += wait
        if decide("f", (gauge.reading(now, amount),), amount).allowed:
            gauge.add(now, amount)
            used.append((now, amount))
    for end, _ in used:
        assert sum(amount for at, amount in used if end - 5 * HOUR < at <= end) <= 10


@patient
@given(uses, st.integers(1, 20))
def test_the_instant_a_rolling_window_has_room_is_the_first_one(them: Uses, need: int) -> None:
    them = [(at, abs(pico)) for at, pico in them]
    now = max((at for at, _ in them), default=NOON)
    gauge = fed(Gauge(Limit(5, Reset.ROLLING, 5 * HOUR), "UTC"), them)
    used = gauge.used_pico(now)
    room_at = gauge.resets_at(now, need)
    if room_at is None:
        assert used < need
    else:
        assert gauge.used_pico(room_at) <= used - need
        assert gauge.used_pico(room_at - 1) > used - need


# --- from the first use -----------------------------------------------------------------------


@patient
@given(st.lists(st.tuples(st.integers(0, 8 * HOUR), st.integers(1, 9)), max_size=20))
def test_a_window_opens_with_the_first_use_after_the_last_one_ended(
    steps: list[tuple[int, int]],
) -> None:
    gauge = Gauge(Limit(5, Reset.FIRST_USE, 5 * HOUR), "UTC")
    now = NOON
    opened: list[Uses] = []
    for wait, pico in steps:
        now += wait
        gauge.add(now, pico)
        if opened and now < opened[-1][0][0] + 5 * HOUR:
            opened[-1].append((now, pico))
        else:
            opened.append([(now, pico)])
        assert gauge.used_pico(now) == sum(pico for _, pico in opened[-1])
        assert gauge.resets_at(now) == opened[-1][0][0] + 5 * HOUR


# --- rates ------------------------------------------------------------------------------------


@patient
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 12), st.booleans()), max_size=30),
)
def test_a_token_bucket_refills_as_if_drop_by_drop(
    limit: int, burst: int, steps: list[tuple[int, int, bool]]
) -> None:
    """A fact takes even what is not there; else only what fits. Exact, as the fractions say."""
    gauge = RateGauge(Rate(limit, SECOND, burst))
    now, level = NOON, Fraction(burst)
    for wait, amount, is_fact in steps:
        now += wait
        level = min(Fraction(burst), level + Fraction(limit * wait, SECOND))
        fits = amount <= level
        assert (gauge.retry_at(now, amount) == now) is fits
        assert decide("f", (gauge.reading(now, amount),), amount).allowed is fits
        assert gauge.available_pico(now) == max(0, int(level)) or level < 0
        if fits or is_fact:
            gauge.add(now, amount)
            level -= amount
        gauge = RateGauge.load(gauge.rate, gauge.dump())


@patient
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 30), st.integers(1, 9))
def test_the_instant_to_retry_at_is_the_first_that_fits(
    limit: int, burst: int, used: int, amount: int
) -> None:
    gauge = RateGauge(Rate(limit, SECOND, burst))
    gauge.add(NOON, used)
    retry_at = gauge.retry_at(NOON, amount)
    if retry_at is None:
        assert amount > burst
    else:
        assert gauge.available_pico(retry_at) >= amount
        assert retry_at == NOON or gauge.available_pico(retry_at - 1) < amount


@patient
@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 3)), max_size=40))
def test_a_sliding_rate_never_lets_more_through_in_any_stretch(
    steps: list[tuple[int, int]],
) -> None:
    gauge = RateGauge(Rate(5, SECOND, 5, RateKind.SLIDING_WINDOW))
    now, used = NOON, []
    for wait, amount in steps:
        now += wait
        if decide("f", (gauge.reading(now, amount),), amount).allowed:
            gauge.add(now, amount)
            used.append((now, amount))
    for end, _ in used:
        assert sum(amount for at, amount in used if end - SECOND < at <= end) <= 5


# --- rollover ---------------------------------------------------------------------------------


def carried_slowly(limit: int, used: list[int], most: int | None, expires: int) -> int:
    """Unit by unit: (window it is from) for each unit that is left."""
    left: list[int] = []
    for window, amount in enumerate(used):
        units = sorted(left) + [window] * limit
        units = units[amount:]
        left = [unit for unit in units if unit + expires > window]
        if most is not None:
            left = sorted(left)[max(0, len(left) - most) :]
    return len(left)


@patient
@given(
    st.integers(0, 6),
    st.lists(st.integers(-2, 14), max_size=12),
    st.none() | st.integers(0, 12),
    st.integers(1, 4),
)
def test_what_rolls_over_is_what_unit_by_unit_is_left(
    limit: int, used: list[int], most: int | None, expires: int
) -> None:
    rolling = Limit(limit, Reset.MONTH, rollover=Rollover(most, expires))
    expected = carried_slowly(limit, [max(0, one) for one in used], most, expires)
    assert carried_pico(rolling, used) == expected


@patient
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 11))
def test_a_history_that_is_cut_off_never_gives_more(used: list[int], kept: int) -> None:
    limit = Limit(4, Reset.MONTH, rollover=Rollover(None, 2))
    assert carried_pico(limit, used[-kept:]) <= carried_pico(limit, used)


@patient
@given(uses)
def test_a_gauge_carries_what_its_own_windows_left(them: Uses) -> None:
    limit = Limit(6, Reset.DAY, enforcement=Enforcement.HARD, rollover=Rollover(10, 2))
    gauge = fed(Gauge(limit, BERLIN), them)
    since = NOON - 5 * DAY
    tiles = windows(NOON - 6 * DAY, NOON + 6 * DAY, WindowSize.DAY, BERLIN)[1:-1]
    earlier = [tile for tile in tiles if since < tile.end <= NOON]
    used = [sum(pico for at, pico in them if tile.contains(at)) for tile in earlier]
    assert gauge.carried_pico(NOON, since) == carried_pico(limit, used)
