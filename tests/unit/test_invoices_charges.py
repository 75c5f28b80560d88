"""Which price for which part of a period, and for which days (K4, K20)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taximeter.catalog.prices import Price, parse_price
from taximeter.instants import DAY, HOUR, parse_instant
from taximeter.invoices.charges import Charge, Priced, Stretch, charged_days, charges_of
from taximeter.periods import Period, local_day
from taximeter.rating import Proration

BASE = {"type": "flat", "amount": 30}
TOKENS = {"type": "per_unit", "meter": "tokens", "unit": "0.01"}
NOVEMBER = Period(parse_instant("2026-11-01T00:00:00Z"), parse_instant("2026-12-01T00:00:00Z"))


def at(text: str) -> int:
    return parse_instant(text)


def priced(name: str = "pro", version: int = 1, quantity: int = 1, **documents: Any) -> Priced:
    documents = documents or {"base": BASE, "tokens": TOKENS}
    prices: dict[str, Price] = {key: parse_price(key, one) for key, one in documents.items()}
    return Priced(name, version, 1, prices, quantity=quantity, seats=dict.fromkeys(prices, 5))


SEATS = {"type": "seat", "feature": "seats", "unit": 30}
NIGHT = {"from": "22:00", "to": "06:00", "factor": "0.5"}


def cut(*parts: tuple[str, Priced | None]) -> list[Stretch]:
    """November in stretches from (day and time, what it is priced by; None is a pause of pro)."""
    starts = [parse_instant(f"2026-11-{when}:00Z") for when, _ in parts]
    ends = [*starts[1:], NOVEMBER.end]
    return [
        Stretch(Period(start, end), (one or priced(),), one is None)
        for start, end, (_, one) in zip(starts, ends, parts, strict=True)
    ]


def days(stretches: list[Stretch], timezone: str = "UTC", **how: bool) -> list[int]:
    return charged_days(stretches, timezone, **how)


def shown(charges: tuple[Charge, ...]) -> list[tuple[str, str, str, int | None]]:
    return [
        (
            charge.reference,
            _day(charge.period.start),
            _day(charge.period.end),
            charge.days and charge.days.days,
        )
        for charge in charges
    ]


def _day(instant: int) -> str:
    return local_day(instant, "UTC").isoformat()[5:]


# --- days -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "counted"),
    [
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 30),
        ("2026-11-01T00:00:01Z", "2026-12-01T00:00:00Z", 30),
        ("2026-11-12T10:00:00Z", "2026-12-01T00:00:00Z", 19),
        ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z", 1),
        ("2026-11-01T00:00:00Z", "2026-11-11T18:00:00Z", 10),
        ("2026-11-12T10:00:00Z", "2026-11-12T18:00:00Z", 1),
    ],
)
def test_the_start_day_counts_the_end_day_does_not_and_one_day_is_the_least(
    start: str, end: str, counted: int
) -> None:
    active = Stretch(Period(at(start), at(end)), (priced(),))
    assert days([active]) == [counted]
    (charge, _) = charges_of([active], NOVEMBER, "UTC")
    assert charge.days is not None
    assert (charge.days.days, charge.days.of) == (counted, 30)


def test_days_are_those_of_the_customer_s_zone() -> None:
    """23:30 UTC on the 11th is the 12th in Berlin; the month there begins at 23:00 UTC."""
    active = Stretch(Period(at("2026-11-11T23:30:00Z"), at("2026-11-30T23:00:00Z")), (priced(),))
    assert days([active], "Europe/Berlin") == [19]


def test_a_month_with_a_change_of_the_clocks_has_its_calendar_days() -> None:
    march = Period(at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z"))
    active = Stretch(Period(at("2026-03-28T23:00:00Z"), march.end), (priced(),))
    charge = charges_of([active], march, "Europe/Berlin")[0]
    assert charge.days is not None
    assert (charge.days.days, charge.days.of) == (3, 31)


def test_a_day_belongs_to_the_plan_that_has_it_at_its_end() -> None:
    assert days(cut(("01T00:00", priced()), ("11T10:00", priced()), ("11T12:00", priced()))) == [
        10, 0, 20,
    ]  # fmt: skip


def test_days_of_a_pause_are_free_and_a_pause_inside_a_day_costs_nothing_more() -> None:
    pro = priced()
    assert days(cut(("01T00:00", pro), ("11T10:00", None), ("21T10:00", pro))) == [10, 0, 10]
    assert days(cut(("01T00:00", pro), ("11T10:00", None), ("11T12:00", pro))) == [10, 0, 20]


def test_of_two_visits_on_one_day_the_later_is_charged() -> None:
    pro = priced()
    visits = cut(("05T08:00", pro), ("05T09:00", None), ("05T10:00", pro), ("05T11:00", None))
    assert days(visits) == [0, 0, 1, 0]


def test_a_visit_of_a_day_is_charged_by_the_plan_it_ended_with() -> None:
    visit = cut(("05T08:00", priced()), ("05T09:00", priced("max")), ("05T10:00", None))
    assert days(visit) == [0, 1, 0]


def test_a_day_that_is_charged_before_or_behind_the_period_is_not_charged_again() -> None:
    """It was cancelled on the first day of a period; another cadence began on that day."""
    morning = [Stretch(Period(NOVEMBER.start, NOVEMBER.start + 10 * HOUR), (priced(),))]
    assert days(morning) == [1]
    assert days(morning, began_before=True) == [0]
    assert days(morning, goes_on=True) == [0]
    assert charges_of(morning, NOVEMBER, "UTC", goes_on=True)[0].days is None, "no fee of no days"


@given(
    hours=st.lists(st.integers(0, 30 * 24), min_size=1, max_size=6, unique=True),
    pauses=st.lists(st.booleans(), min_size=6, max_size=6),
    began_before=st.booleans(),
)
def test_no_day_is_charged_twice_and_none_is_lost(
    hours: list[int], pauses: list[bool], began_before: bool
) -> None:
    """Day by day: one that is charged time at its end, or was all of a visit, is charged once."""
    starts = [NOVEMBER.start + hour * HOUR for hour in sorted(hours)]
    ends = [*starts[1:], NOVEMBER.end + HOUR]
    stretches = [
        Stretch(Period(start, end), (priced(),), paused)
        for start, end, paused in zip(starts, ends, pauses, strict=False)
    ]
    assert sum(days(stretches, began_before=began_before)) == sum(
        _is_charged(stretches, NOVEMBER.start + day * DAY, began_before) for day in range(31)
    )


def _is_charged(stretches: list[Stretch], midnight: int, began_before: bool) -> bool:
    """Who is there when the day ends pays for it; else who came and went on this day."""
    night = midnight + DAY
    charged = [one.period for one in stretches if not one.paused]
    if any(period.contains(night - 1) for period in charged):
        return True
    ends = {period.end for period in charged}
    for period in charged:
        goes_on = period.start in ends or (began_before and period is stretches[0].period)
        if midnight <= period.start < night and not goes_on:
            return True  # not there at the end of the day, so it also went
    return False


# --- charges ----------------------------------------------------------------------------------


def test_a_change_of_plan_splits_every_price_at_its_instant() -> None:
    charges = charges_of(cut(("01T00:00", priced()), ("11T10:00", priced("max"))), NOVEMBER, "UTC")
    assert shown(charges) == [
        ("pro/base@1", "11-01", "11-11", 10),
        ("pro/tokens@1", "11-01", "11-11", None),
        ("max/base@1", "11-11", "12-01", 20),
        ("max/tokens@1", "11-11", "12-01", None),
    ]
    assert charges[1].period.end == charges[3].period.start == at("2026-11-11T10:00:00Z")


def test_a_new_version_splits_only_the_prices_that_differ() -> None:
    """A limit that is raised must not start the tiers again."""
    dearer = priced(version=2, base=BASE, tokens={**TOKENS, "unit": "0.02"})
    charges = charges_of(cut(("01T00:00", priced()), ("11T10:00", dearer)), NOVEMBER, "UTC")
    assert shown(charges) == [
        ("pro/base@1", "11-01", "12-01", 30),
        ("pro/tokens@1", "11-01", "11-11", None),
        ("pro/tokens@2", "11-11", "12-01", None),
    ]


def test_another_counter_splits_a_price_although_it_is_the_same() -> None:
    pro = priced()
    other = Priced("pro", 1, 2, pro.prices, {"tokens": "defined anew"})
    charges = charges_of(cut(("01T00:00", pro), ("11T00:00", other)), NOVEMBER, "UTC")
    assert [charge.metering for charge in charges] == [1, 1, 2]


def test_a_pause_splits_fees_and_leaves_usage_whole() -> None:
    pro = priced()
    paused = cut(("01T00:00", pro), ("11T00:00", None), ("21T00:00", pro))
    assert shown(charges_of(paused, NOVEMBER, "UTC")) == [
        ("pro/base@1", "11-01", "11-11", 10),
        ("pro/base@1", "11-21", "12-01", 10),
        ("pro/tokens@1", "11-01", "12-01", None),
    ]


def test_what_is_paused_all_through_is_idle() -> None:
    (tokens,) = charges_of(cut(("01T00:00", None)), NOVEMBER, "UTC")
    assert tokens.idle
    assert not charges_of(cut(("01T00:00", priced())), NOVEMBER, "UTC")[1].idle


def test_another_quantity_of_an_add_on_splits_its_fees_and_not_its_usage() -> None:
    one, two = (priced("pro+boost", quantity=n, base=BASE, tokens=TOKENS) for n in (1, 2))
    charges = charges_of(cut(("01T00:00", one), ("11T00:00", two)), NOVEMBER, "UTC")
    assert [(charge.quantity, charge.days and charge.days.days) for charge in charges] == [
        (1, 10), (2, 20), (1, None),
    ]  # fmt: skip


# --- seats and hours --------------------------------------------------------------------------


def test_seats_are_charged_for_days_like_a_fee_and_a_pause_begins_them_anew() -> None:
    """K4: seats that are there after a pause come then, those before a change stay."""
    seats = priced(seats=SEATS)
    stretches = cut(("01T00:00", seats), ("05T12:00", None), ("11T12:00", seats))
    stretches[1] = Stretch(stretches[1].period, (seats,), paused=True)
    first, second = charges_of(stretches, NOVEMBER, "UTC", began_before=True, goes_on=True)
    assert [one.days and one.days.days for one in (first, second)] == [4, 20]
    assert (first.continues, second.continues) == (True, False)
    assert first.contracted == ((NOVEMBER.start, 5),)
    assert first.whole == second.whole == NOVEMBER


def test_seats_on_the_same_terms_are_one_charge_with_all_its_counts() -> None:
    """K20"""
    before = priced(seats=SEATS)
    after = replace(before, seats={"seats": 9})
    stretches = cut(("01T00:00", before), ("11T12:00", after))
    (charge,) = charges_of(stretches, NOVEMBER, "UTC")
    assert charge.contracted == ((NOVEMBER.start, 5), (at("2026-11-11T12:00:00Z"), 9))
    assert charge.days == Proration(30, 30)


def test_a_price_by_hours_is_a_charge_for_each_window_the_period_has() -> None:
    tokens = priced(tokens=TOKENS | {"time_of_day": [NIGHT]})
    evening = Period(at("2026-11-10T20:00:00Z"), at("2026-11-10T23:00:00Z"))
    night, rest = charges_of([Stretch(evening, (tokens,))], NOVEMBER, "Europe/Berlin")
    assert (night.hours, rest.hours) == ("22:00-06:00", "other hours")
    assert night.parts == (Period(at("2026-11-10T21:00:00Z"), evening.end),)
    assert rest.parts == (Period(evening.start, at("2026-11-10T21:00:00Z")),)
    assert (night.factor, rest.factor) == (Fraction(1, 2), Fraction(1))
    assert {one.reference for one in (night, rest)} == {"pro/tokens@1"}


def test_hours_the_period_does_not_have_are_no_charge() -> None:
    tokens = priced(tokens=TOKENS | {"time_of_day": [NIGHT]})
    noon = Period(at("2026-11-10T11:00:00Z"), at("2026-11-10T13:00:00Z"))
    (only,) = charges_of([Stretch(noon, (tokens,))], NOVEMBER, "UTC")
    assert only.hours == "other hours"
