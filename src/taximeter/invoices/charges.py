"""
Charges: which prices a period is billed by, each for which part of it.

A subscription can change inside a period. Its parts are stretches; a price that goes on from one
stretch to the next unchanged is one charge, and one that changes is split there (K20): each part is
rated on its own, with tiers that start again.

A fee, flat or for seats, is charged for days (K4): the day something begins is in, the day it ends
is out, so that of two plans on one day the later one has it. Days of a pause are free. A stretch of
charged time that begins and ends on one day is charged for that day, unless the day is charged
already.

A price by hours of the day is a charge for each of its windows, and one for all other hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from taximeter.catalog.prices import Flat, Price, Seat, UsagePrice
from taximeter.catalog.rates import Conversion
from taximeter.periods import Period, local_day
from taximeter.rating import Proration, Steps
from taximeter.rating.daytime import hours_of


class Priced(msgspec.Struct, frozen=True):
    """
    A plan, or an add-on, as a stretch is billed by it.

    Attributes:
        name: "pro", or "pro+boost" for an add-on.
        version: The catalogue version its prices are cited from.
        metering: The catalogue version whose meters count.
        counters: Price -> key of the counter that counts for it; prices that are flat are absent.
        quantity: How many of an add-on; its flat fees are charged so often.
        seats: Price of seats -> how many the contract grants.
        conversions: Price -> how its amounts become those of the invoice; absent where they are.
    """

    name: str
    version: int
    metering: int
    prices: Mapping[str, Price]
    counters: Mapping[str, str] = {}
    quantity: int = 1
    seats: Mapping[str, int] = {}
    conversions: Mapping[str, tuple[Conversion, ...]] = {}


class Stretch(msgspec.Struct, frozen=True):
    """A part of a period that is billed by the same prices."""

    period: Period
    priced: tuple[Priced, ...]
    paused: bool = False


class Charge(msgspec.Struct, frozen=True):
    """
    One price over one part of a period.

    Attributes:
        reference: "PLAN/PRICE@VERSION", what its lines cite.
        days: What a fee is charged for; None for a usage price.
        idle: All of it was paused: it gives a line only if there was usage nevertheless.
        hours: The hours of the day it is of, as a line names them; "" for all of them. `parts` are
            those of the period then, ascending, and `factor` is what the usage in them costs.
        whole: The calendar period it is in, for seats, and `contracted` how many of them the
            contract grants; `continues` if seats were charged up to the start.
    """

    reference: str
    name: str
    price: Price
    period: Period
    metering: int
    counter: str = ""
    quantity: int = 1
    days: Proration | None = None
    idle: bool = False
    conversions: tuple[Conversion, ...] = ()
    hours: str = ""
    parts: tuple[Period, ...] = ()
    factor: Fraction = Fraction(1)
    whole: Period | None = None
    contracted: Steps = ()
    continues: bool = False


def charges_of(
    stretches: Sequence[Stretch],
    whole: Period,
    timezone: str,
    *,
    began_before: bool = False,
    goes_on: bool = False,
) -> tuple[Charge, ...]:
    """
    The charges of a period, in the order in which its stretches name their prices; parts of one
    price follow each other.

    Args:
        stretches: Ascending, adjacent, not empty.
        whole: The calendar period they are, or are a part of.
        began_before, goes_on: See `charged_days`.
    """
    days = charged_days(stretches, timezone, began_before=began_before, goes_on=goes_on)
    of = max(1, (_day(whole.end, timezone) - _day(whole.start, timezone)).days)
    found: list[Charge] = []
    latest: dict[tuple[str, str], int] = {}
    ranks: dict[tuple[str, str], int] = {}
    continues = began_before
    for stretch, charged in zip(stretches, days, strict=True):
        for priced in stretch.priced:
            for price in priced.prices.values():
                ranks.setdefault((priced.name, price.key), len(ranks))
                if stretch.paused and not isinstance(price, UsagePrice):
                    continue
                charge = _charge(stretch, priced, price, Proration(charged, of))
                if isinstance(price, Seat):
                    charge = _for_seats(charge, priced, whole, continues)
                place = latest.get((priced.name, price.key))
                if place is not None and _is_continued(found[place], charge):
                    found[place] = _joined(found[place], charge)
                else:
                    latest[priced.name, price.key] = len(found)
                    found.append(charge)
        continues = not stretch.paused
    found.sort(key=lambda charge: (ranks[charge.name, charge.price.key], charge.period.start))
    charged_for = [charge for charge in found if charge.days is None or charge.days.days]
    return tuple(part for charge in charged_for for part in _by_hours(charge, timezone))


def charged_days(
    stretches: Sequence[Stretch],
    timezone: str,
    *,
    began_before: bool = False,
    goes_on: bool = False,
) -> list[int]:
    """
    How many local days each stretch is charged for; no day twice.

    Args:
        began_before: The first stretch goes on from charged time before the period, so its first
            day is no start.
        goes_on: Charged time goes on behind the period, which has the day the period ends on.
    """
    days = [0 if stretch.paused else _days(stretch.period, timezone) for stretch in stretches]
    following = stretches[-1].period.end if goes_on else None
    for run in reversed(_runs(stretches)):
        start = stretches[run[0]].period.start
        day = _day(start, timezone)
        is_start = run[0] > 0 or not began_before
        day_is_left = following is None or _day(following, timezone) > day
        if is_start and day_is_left and not any(days[place] for place in run):
            days[run[-1]] = 1
        following = start
    return days


@lru_cache(maxsize=4096)
def _day(at: int, timezone: str) -> date:
    """Thousands of customers share the boundaries of their periods."""
    return local_day(at, timezone)


def _days(period: Period, timezone: str) -> int:
    return (_day(period.end, timezone) - _day(period.start, timezone)).days


def _runs(stretches: Sequence[Stretch]) -> list[list[int]]:
    """Places of stretches that follow each other without a pause between."""
    runs: list[list[int]] = []
    was_paused = True
    for place, stretch in enumerate(stretches):
        if not stretch.paused and was_paused:
            runs.append([])
        if not stretch.paused:
            runs[-1].append(place)
        was_paused = stretch.paused
    return runs


def _charge(stretch: Stretch, priced: Priced, price: Price, days: Proration) -> Charge:
    return Charge(
        reference=f"{priced.name}/{price.key}@{priced.version}",
        name=priced.name,
        price=price,
        period=stretch.period,
        metering=priced.metering,
        counter=priced.counters.get(price.key, ""),
        quantity=priced.quantity if isinstance(price, Flat) else 1,
        days=None if isinstance(price, UsagePrice) else days,
        idle=stretch.paused,
        conversions=priced.conversions.get(price.key, ()),
    )


def _for_seats(charge: Charge, priced: Priced, whole: Period, continues: bool) -> Charge:
    contracted = ((charge.period.start, priced.seats[charge.price.key]),)
    return replace(charge, whole=whole, contracted=contracted, continues=continues)


def _by_hours(charge: Charge, timezone: str) -> Iterator[Charge]:
    """The charge itself, or one for each of its price's hours that the period has."""
    windows = charge.price.time_of_day if isinstance(charge.price, UsagePrice) else ()
    if not windows:
        yield charge
        return
    for hours in hours_of(windows, charge.period, timezone):
        if hours.parts:
            yield replace(charge, hours=hours.name, parts=hours.parts, factor=hours.factor)


def _is_continued(before: Charge, after: Charge) -> bool:
    return before.period.end == after.period.start and (
        (before.price, before.counter, before.quantity, before.conversions)
        == (after.price, after.counter, after.quantity, after.conversions)
    )


def _joined(before: Charge, after: Charge) -> Charge:
    days = before.days
    if days is not None and after.days is not None:
        days = Proration(days.days + after.days.days, days.of)
    return replace(
        before,
        period=Period(before.period.start, after.period.end),
        days=days,
        idle=before.idle and after.idle,
        contracted=(*before.contracted, *after.contracted),
    )
