"""
Seats: a number that goes up and down during a period, and what it comes to.

    peak            the most at once, for the days that are charged
    prorated        each seat for the local days it is there (K4): the day it comes is in, the day
                    it goes is out, and one that comes and goes on one day costs that day
    time_weighted   each seat for exactly the time it is there, of the exact length of the period

Seats are places, not people: one that passes from somebody to somebody else stays one seat. What is
free, is so many seats at a time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import TypeAlias

import msgspec

from taximeter.catalog.prices import Seat, SeatMode
from taximeter.meters.rounding import half_up
from taximeter.periods import Period, local_day, local_midnight
from taximeter.quantities import E12
from taximeter.rating.bounds import bounded
from taximeter.rating.proration import Proration

Steps: TypeAlias = Sequence[tuple[int, int]]
"""(instant, seats from then on), ascending, instants distinct; none before the first."""


class SeatTime(msgspec.Struct, frozen=True):
    """
    What a history of seats comes to in one mode.

    Attributes:
        peak: The most at once.
        used, charged: Seats x days, or seats x microseconds; `charged` without the free ones.
        of: How many of those one seat has in a whole period.
    """

    peak: int
    used: int
    charged: int
    of: int


class RatedSeats(msgspec.Struct, frozen=True):
    """
    Seats with their price, exact: `unit` x `charged` / `of` + `adjustment` = `amount`.

    Attributes:
        unit: For one seat in a whole period.
        charged, of: As of `SeatTime`; of a time-weighted price in microseconds, else in days.
        adjustment: What a minimum adds or (negative) a maximum takes off.
    """

    mode: SeatMode
    peak: int
    unit: Fraction
    used: int
    charged: int
    of: int
    adjustment: Fraction
    amount: Fraction

    @property
    def quantity_pico(self) -> int:
        """Seats, on average over a whole period."""
        return half_up(self.used * E12, self.of)

    @property
    def free_pico(self) -> int:
        return self.quantity_pico - half_up(self.charged * E12, self.of)


def rate_seats(price: Seat, time: SeatTime) -> RatedSeats:
    """The fee for what seats come to."""
    unbounded = price.unit * Fraction(time.charged, time.of)
    amount = bounded(unbounded, price.minimum, price.maximum)
    return RatedSeats(
        price.mode,
        time.peak,
        price.unit,
        time.used,
        time.charged,
        time.of,
        amount - unbounded,
        amount,
    )


def seat_time(
    price: Seat,
    steps: Steps,
    period: Period,
    days: Proration,
    whole: Period,
    timezone: str,
    *,
    continues: bool = False,
) -> SeatTime:
    """
    What seats come to in the part of a period that a price is charged for.

    Args:
        days: The local days of the part that are charged, from its first on.
        whole: The calendar period it is, or is a part of.
        continues: Seats that are there at the start were charged up to it; else they come then.
    """
    before = _seats_before(steps, period.start) if continues else 0
    changes = [step for step in steps if period.start < step[0] < period.end]
    changes.insert(0, (period.start, _seats_at(steps, period.start)))
    peak = max(seats for _, seats in changes)
    match price.mode:
        case SeatMode.PEAK:
            charged = max(0, peak - price.free)
            return SeatTime(peak, peak * days.days, charged * days.days, days.of)
        case SeatMode.PRORATED:
            by_day = list(_by_day(before, changes, period, days.days, timezone))
            charged = sum(max(0, seats - price.free) for seats in by_day)
            return SeatTime(peak, sum(by_day), charged, days.of)
        case SeatMode.TIME_WEIGHTED:
            used = charged = 0
            for (start, seats), end in zip(changes, _ends(changes, period.end), strict=True):
                used += seats * (end - start)
                charged += max(0, seats - price.free) * (end - start)
            return SeatTime(peak, used, charged, whole.end - whole.start)


def _seats_at(steps: Steps, at: int) -> int:
    place = bisect_right(steps, at, key=lambda step: step[0])
    return steps[place - 1][1] if place else 0


def _seats_before(steps: Steps, at: int) -> int:
    place = bisect_left(steps, at, key=lambda step: step[0])
    return steps[place - 1][1] if place else 0


def _ends(changes: Steps, end: int) -> list[int]:
    return [*(at for at, _ in changes[1:]), end]


def _by_day(before: int, changes: Steps, period: Period, days: int, timezone: str) -> Iterator[int]:
    """Seats that are charged for each of the first local days of a period."""
    day, place = local_day(period.start, timezone), 0
    for _ in range(days):
        day += timedelta(days=1)
        midnight = min(period.end, local_midnight(day, timezone))
        following = bisect_left(changes, midnight, lo=place, key=lambda change: change[0])
        yield _seats_of_day(before, [seats for _, seats in changes[place:following]])
        if following > place:
            before = changes[following - 1][1]
        place = following


def _seats_of_day(before: int, changes: Sequence[int]) -> int:
    """Those there when the day ends, and those above that came and went meanwhile (K4)."""
    last = changes[-1] if changes else before
    came: list[tuple[int, int]] = []
    level = before
    for seats in changes:
        if seats > level:
            came.append((max(level, last), seats))
        level = seats
    return last + _covered(came)


def _covered(ranges: Iterable[tuple[int, int]]) -> int:
    """How many places (low, high] hold together; they may overlap."""
    total = reached = 0
    for low, high in sorted(ranges):
        total += max(0, high - max(low, reached))
        reached = max(reached, high)
    return total
