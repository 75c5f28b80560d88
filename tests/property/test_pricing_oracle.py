"""Prices by events, seats and hours against oracles that look at each by itself (K2, K4, K20)."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.property import pricing_oracle as oracle
from tests.property.effort import patient

from taximeter.catalog.price_parts import read_day_windows
from taximeter.catalog.prices import Percentage, Seat, parse_price
from taximeter.instants import DAY, HOUR, MINUTE, parse_instant
from taximeter.periods import Period, local_day, local_midnight
from taximeter.quantities import E12
from taximeter.rating import Band, Proration, rate_line, rate_seats, seat_time
from taximeter.rating.daytime import OTHER_HOURS, hours_of
from taximeter.rating.percentage import limits

# --- bounds for each event --------------------------------------------------------------------

cents = st.decimals(0, 20, places=2)
amounts = st.lists(st.integers(-5 * E12, 60 * E12) | st.integers(-20, 60).map(E12.__mul__))


@st.composite
def clamped_prices(draw: st.DrawFn) -> Percentage:
    bounds = sorted((draw(cents), draw(cents)))
    document: dict[str, Any] = {"rate": draw(st.sampled_from(["0", "0.029", "0.1", "1", "3"]))}
    document["fixed"] = draw(cents)
    which = draw(st.sampled_from([(0,), (1,), (0, 1)]))
    for place in which:
        document[("min_per_event", "max_per_event")[place]] = bounds[place]
    price = parse_price("p", {"type": "percentage", "meter": "paid"} | document)
    assert isinstance(price, Percentage)
    return price


def bands_of(price: Percentage, values: list[int]) -> tuple[Band, ...]:
    bounds = limits(price)
    bands = [Band(0, 0)] * (len(bounds) + 1)
    for value in values:
        events, total = bands[bisect_right(bounds, value)]
        bands[bisect_right(bounds, value)] = Band(events + 1, total + value)
    return tuple(bands)


@patient
@given(price=clamped_prices(), values=amounts)
def test_bands_cost_what_their_events_cost_one_by_one(price: Percentage, values: list[int]) -> None:
    line = rate_line(price, sum(values), len(values), bands=bands_of(price, values))
    each = [Fraction(value, E12) for value in values]
    assert line.amount == oracle.clamped(
        each, price.rate, price.fixed, price.min_per_event, price.max_per_event
    )
    assert sum(tier.amount for tier in line.tiers) + line.adjustment == line.amount


@patient
@given(price=clamped_prices(), values=st.lists(st.integers(0, 60 * E12)), more=st.integers(0, E12))
def test_one_more_event_never_costs_less(price: Percentage, values: list[int], more: int) -> None:
    def cost(found: list[int]) -> Fraction:
        return rate_line(price, sum(found), len(found), bands=bands_of(price, found)).amount

    assert cost(values) <= cost([*values, more])


def test_an_event_at_a_bound_costs_exactly_that() -> None:
    """The band begins with the first amount that costs the bound, and ends behind the last."""
    document = {"type": "percentage", "meter": "paid", "rate": "0.1", "fixed": "0.3"}
    price = parse_price("p", document | {"min_per_event": 1, "max_per_event": 5})
    assert isinstance(price, Percentage)
    assert limits(price) == (7 * E12, 47 * E12 + 1)


# --- seats ------------------------------------------------------------------------------------

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
MARCH = parse_instant("2026-03-27T00:00:00Z")  # Berlin springs forward on the 29th


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int]]:
    hours = draw(st.lists(st.integers(-30, 140), max_size=12, unique=True))
    return [(MARCH + hour * HOUR, draw(st.integers(0, 4))) for hour in sorted(hours)]


def seat_price(mode: str, free: int = 0) -> Seat:
    document = {"type": "seat", "feature": "s", "unit": 30, "mode": mode, "free": free}
    price = parse_price("s", document)
    assert isinstance(price, Seat)
    return price


@st.composite
def charged_parts(draw: st.DrawFn) -> tuple[Period, str]:
    start = MARCH + draw(st.integers(0, 60)) * HOUR
    end = start + draw(st.integers(1, 96)) * HOUR
    return Period(start, end), draw(st.sampled_from(ZONES))


@patient
@given(changes=histories(), part=charged_parts(), free=st.integers(0, 2))
def test_seats_are_charged_place_by_place_and_day_by_day(
    changes: list[tuple[int, int]], part: tuple[Period, str], free: int
) -> None:
    """K4"""
    period, zone = part
    first = local_day(period.start, zone)
    count = (local_day(period.end, zone) - first).days
    midnights = [local_midnight(first + timedelta(days=n), zone) for n in range(count + 1)]
    days = [(max(period.start, a), b) for a, b in pairwise(midnights)]
    found = seat_time(
        seat_price("prorated", free), changes, period, Proration(count, 30), period, zone,
        continues=True,
    )  # fmt: skip
    assert found.charged == oracle.seat_days(changes, days, free)


@patient
@given(changes=histories(), part=charged_parts(), free=st.integers(0, 2))
def test_seats_are_charged_for_every_instant_they_were_there(
    changes: list[tuple[int, int]], part: tuple[Period, str], free: int
) -> None:
    period, zone = part
    price = seat_price("time_weighted", free)
    found = seat_time(price, changes, period, Proration(1, 30), period, zone)
    assert found.charged == oracle.seat_time(changes, period.start, period.end, HOUR, free)
    assert found.of == period.end - period.start
    assert found.peak == oracle.peak(changes, period.start, period.end, HOUR)


@patient
@given(changes=histories(), cut=st.integers(1, 95))
def test_a_period_cut_anywhere_charges_the_same_time_and_no_day_twice(
    changes: list[tuple[int, int]], cut: int
) -> None:
    """K20"""
    whole = Period(MARCH, MARCH + 96 * HOUR)
    parts = Period(MARCH, MARCH + cut * HOUR), Period(MARCH + cut * HOUR, whole.end)

    def charged(mode: str, period: Period, continues: bool) -> int:
        days = (local_day(period.end, "UTC") - local_day(period.start, "UTC")).days
        return seat_time(
            seat_price(mode), changes, period, Proration(days, 30), whole, "UTC",
            continues=continues,
        ).charged  # fmt: skip

    first, second = parts
    weighted = charged("time_weighted", first, True) + charged("time_weighted", second, True)
    assert weighted == charged("time_weighted", whole, True)
    if cut % 24 == 0:
        days = charged("prorated", first, True) + charged("prorated", second, True)
        assert days == charged("prorated", whole, True)


@patient
@given(
    changes=histories(),
    part=charged_parts(),
    more=st.integers(0, 3),
    mode=st.sampled_from(["peak", "prorated", "time_weighted"]),
)
def test_more_seats_never_cost_less(
    changes: list[tuple[int, int]], part: tuple[Period, str], more: int, mode: str
) -> None:
    period, zone = part
    days = (local_day(period.end, zone) - local_day(period.start, zone)).days
    price = seat_price(mode)
    fewer, most = (
        seat_time(price, found, period, Proration(days, 30), period, zone)
        for found in (changes, [(at, seats + more) for at, seats in changes])
    )
    assert rate_seats(price, fewer).amount <= rate_seats(price, most).amount


def test_places_that_are_taken_twice_on_a_day_cost_one_day_each() -> None:
    """K4: no day is charged twice."""
    counts = [0, 2, 0, 3, 1]
    changes = [(MARCH + hour * HOUR, seats) for hour, seats in enumerate(counts)]
    day = Period(MARCH, MARCH + DAY)
    found = seat_time(seat_price("prorated"), changes, day, Proration(1, 30), day, "UTC")
    assert found.charged == oracle.seat_days(changes, [(day.start, day.end)], 0) == 3


def test_a_seat_that_passes_on_is_one_seat() -> None:
    """Ann leaves at ten and bob comes at noon: one place, one day."""
    changes = [(MARCH, 1), (MARCH + 10 * HOUR, 0), (MARCH + 12 * HOUR, 1)]
    day = Period(MARCH, MARCH + DAY)
    found = seat_time(seat_price("prorated"), changes, day, Proration(1, 30), day, "UTC")
    assert (found.charged, found.peak) == (1, 1)


@pytest.mark.parametrize(("continues", "charged"), [(False, 2), (True, 1)])
def test_seats_that_leave_on_the_first_day_cost_it_only_where_they_came_on_it(
    continues: bool, charged: int
) -> None:
    """K4: the end day is out, but coming and going on one day is a day."""
    changes = [(MARCH - DAY, 2), (MARCH + 10 * HOUR, 1)]
    day = Period(MARCH, MARCH + DAY)
    found = seat_time(
        seat_price("prorated"), changes, day, Proration(1, 30), day, "UTC", continues=continues
    )
    assert found.charged == charged


def test_seats_of_a_part_of_a_period_pay_its_days_at_their_peak() -> None:
    """K4: three seats on 19 of November's 30 days."""
    november = Period(parse_instant("2026-11-01T00:00:00Z"), parse_instant("2026-12-01T00:00:00Z"))
    part = Period(parse_instant("2026-11-12T10:00:00Z"), november.end)
    price = seat_price("peak")
    time = seat_time(price, [(part.start, 3)], part, Proration(19, 30), november, "UTC")
    assert rate_seats(price, time).amount == Fraction(3 * 30 * 19, 30)


# --- hours of the day -------------------------------------------------------------------------

AUTUMN = parse_instant("2026-10-22T00:00:00Z")  # Berlin falls back on the 25th, Lord Howe did


@st.composite
def window_documents(draw: st.DrawFn) -> dict[str, Any]:
    clock = st.sampled_from(["00:00", "01:30", "02:00", "02:30", "03:00", "06:00", "22:00"])
    start, end = draw(st.lists(clock, min_size=2, max_size=2, unique=True))
    document: dict[str, Any] = {"from": start, "to": end, "factor": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        days = st.sampled_from(["mon", "thu", "fri", "sat", "sun"])
        document["days"] = draw(st.lists(days, min_size=1, max_size=4, unique=True))
    return document


@patient
@given(
    documents=st.lists(
        window_documents(), min_size=1, max_size=3, unique_by=lambda d: (d["from"], d["to"])
    ),
    begin=st.integers(0, 48),
    length=st.integers(1, 5 * 24),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    spring=st.booleans(),
)
@example([{"from": "02:30", "to": "03:00", "factor": 0}], 0, 120, "Europe/Berlin", True)
@example([{"from": "02:30", "to": "03:00", "factor": 0}], 0, 120, "Europe/Berlin", False)
def test_every_instant_is_in_the_hours_the_local_clock_says(
    documents: list[dict[str, Any]], begin: int, length: int, zone: str, spring: bool
) -> None:
    """K2: also where the clocks skip a time, and where it comes twice."""
    windows = read_day_windows(documents, "w")
    start = (MARCH if spring else AUTUMN) + begin * HOUR
    period = Period(start, start + length * HOUR)
    found = hours_of(windows, period, zone)
    assert found[-1].name == OTHER_HOURS
    parts = sorted(part for hours in found for part in hours.parts)
    assert [part.start for part in parts] == [start, *(part.end for part in parts[:-1])]
    assert parts[-1].end == period.end
    plain = [(one.start, one.end, one.days) for one in windows]
    for at in range(period.start, period.end, 7 * HOUR + 30 * MINUTE):
        number = oracle.window_at(plain, at, zone)
        hours = found[-1 if number is None else number]
        assert any(part.contains(at) for part in hours.parts)
