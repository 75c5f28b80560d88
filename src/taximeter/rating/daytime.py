"""
Hours of the day: which parts of a period lie in which of a price's windows.

A window is told by the local clock and begins on a local day. Where the clock skips the time, it
begins (or ends) with the first instant after the gap; where the time comes twice, with the earlier
(K2). Every instant of a period is in exactly one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final

import msgspec

from taximeter.catalog.price_parts import name_of_window
from taximeter.catalog.prices import DayWindow
from taximeter.periods import Period, local_clock, local_day

OTHER_HOURS: Final = "other hours"
_DAY_MINUTES: Final = 24 * 60


class Hours(msgspec.Struct, frozen=True):
    """
    The part of a period that lies in one of a price's windows, or in none.

    Attributes:
        name: As lines call it.
        factor: What usage in these hours costs more or less.
        parts: Ascending and apart; may be none.
    """

    name: str
    factor: Fraction
    parts: tuple[Period, ...]


@lru_cache(maxsize=1024)
def hours_of(windows: tuple[DayWindow, ...], period: Period, timezone: str) -> tuple[Hours, ...]:
    """
    The hours of each window, of which the first that holds an instant counts; and at last what is
    in none of them. Thousands of customers share the answer.
    """
    left = [period]
    found: list[Hours] = []
    for window in windows:
        spans = _spans(window, period, timezone)
        parts = tuple(_common(left, spans))
        found.append(Hours(name_of_window(window), window.factor, parts))
        left = list(_without(left, spans))
    return (*found, Hours(OTHER_HOURS, Fraction(1), tuple(left)))


def named_hours(windows: tuple[DayWindow, ...], name: str, period: Period, timezone: str) -> Hours:
    """Those a line calls by a name; one of these windows has it."""
    return next(one for one in hours_of(windows, period, timezone) if one.name == name)


def _spans(window: DayWindow, period: Period, timezone: str) -> list[Period]:
    """Where a window is around a period; ascending and apart."""
    first = local_day(period.start, timezone) - timedelta(days=1)
    days = (local_day(period.end, timezone) - first).days + 1
    found: list[Period] = []
    for day in (first + timedelta(days=n) for n in range(days)):
        if day.isoweekday() not in window.days:
            continue
        span = _span(window, day, timezone)
        if found and span.start <= found[-1].end:
            found[-1] = Period(found[-1].start, max(found[-1].end, span.end))
        elif span.start < span.end:
            found.append(span)
    return found


def _span(window: DayWindow, day: date, timezone: str) -> Period:
    """The window that begins on a day; empty where the clocks skip all of it."""
    minutes = window.end + (_DAY_MINUTES if window.end <= window.start else 0)
    ends_on = day + timedelta(days=minutes // _DAY_MINUTES)
    start = local_clock(day, window.start, timezone)
    return Period(start, max(start, local_clock(ends_on, minutes % _DAY_MINUTES, timezone)))


def _common(parts: Sequence[Period], spans: Sequence[Period]) -> Iterator[Period]:
    for part in parts:
        for span in spans:
            shared = part.overlap(span)
            if shared is not None:
                yield shared


def _without(parts: Sequence[Period], spans: Sequence[Period]) -> Iterator[Period]:
    for part in parts:
        at = part.start
        for span in spans:
            if span.start < part.end and span.end > at:
                if span.start > at:
                    yield Period(at, span.start)
                at = max(at, span.end)
        if at < part.end:
            yield Period(at, part.end)
