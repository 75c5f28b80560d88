"""
Oracles for prices that look at more than a quantity: slow, and obvious enough to be believed.

They look at every event, every minute, every day and every seat by itself, and share nothing with
the package but the time zone data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = 60_000_000
DAY_MINUTES = 1440

Change = tuple[int, int]  # instant, seats from then on
Window = tuple[int, int, Sequence[int]]  # from and to in minutes of the day, ISO weekdays


def clamped(
    amounts: Sequence[Fraction],
    rate: Fraction,
    fixed: Fraction,
    least: Fraction | None,
    most: Fraction | None,
) -> Fraction:
    """Each event pays for itself, within its bounds."""
    total = Fraction(0)
    for amount in amounts:
        fee = rate * amount + fixed
        fee = fee if least is None else max(least, fee)
        fee = fee if most is None else min(most, fee)
        total += fee
    return max(Fraction(0), total)


# --- seats ------------------------------------------------------------------------------------


def seats_at(changes: Sequence[Change], at: int) -> int:
    found = 0
    for instant, seats in changes:
        if instant <= at:
            found = seats
    return found


def seat_days(changes: Sequence[Change], days: Sequence[tuple[int, int]], free: int) -> int:
    """
    Place by place: the day it is taken is in, the day it is left is out, and a stay that begins and
    ends on one day costs that day, unless it is charged already (K4).

    Args:
        changes: All there were; what is there before the first day was charged before.
        days: Bounds of the local days.
    """
    total = 0
    top = max((seats for _, seats in changes), default=0)
    for start, end in days:
        inside = [(at, seats) for at, seats in changes if start <= at < end]
        places = 0
        for place in range(1, top + 1):
            taken = seats_at(changes, start - 1) >= place
            came_and_went = came = False
            for _, seats in inside:
                if not taken and seats >= place:
                    taken = came = True
                elif taken and seats < place:
                    taken, came_and_went = False, came_and_went or came
            places += taken or came_and_went
        total += max(0, places - free)
    return total


def seat_time(changes: Sequence[Change], start: int, end: int, grain: int, free: int) -> int:
    """Instant by instant, in grains that every change is on."""
    return sum(grain * max(0, seats_at(changes, at) - free) for at in range(start, end, grain))


def peak(changes: Sequence[Change], start: int, end: int, grain: int) -> int:
    return max(seats_at(changes, at) for at in range(start, end, grain))


# --- hours of the day -------------------------------------------------------------------------


def window_at(windows: Sequence[Window], at: int, zone: str) -> int | None:
    """
    Which window holds an instant, by asking of each local day around it when its window begins and
    ends; None for none. Instants are microseconds.
    """
    for number, (start, end, weekdays) in enumerate(windows):
        local = datetime.fromtimestamp(at / 1e6, ZoneInfo(zone)).date()
        for back in range(-1, 3):
            day = local - timedelta(days=back)
            ends_on = day + timedelta(days=1) if end <= start or end == DAY_MINUTES else day
            if day.isoweekday() in weekdays:
                begins = first_at(day, start, zone)
                ends = first_at(ends_on, end % DAY_MINUTES, zone)
                if begins <= at < ends:
                    return number
    return None


@cache
def first_at(day: date, minutes: int, zone: str) -> int:
    """The first whole minute at which the local clock shows a time of a day, or a later one."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    at = int((noon - timedelta(hours=36)).timestamp())
    wanted = (day, divmod(minutes, 60))
    while True:
        clock = datetime.fromtimestamp(at, ZoneInfo(zone))
        if (clock.date(), (clock.hour, clock.minute)) >= wanted:
            return at * 1_000_000
        at += 60
