"""
Periods: half-open stretches of time, the schedule they are billed by, the windows usage is shown
in (K1-K3).

A boundary is local midnight in the customer's IANA zone. Zone rules are read from the `tzdata`
package and never from the operating system, so that every machine with the same lock file draws
the same boundary.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import tzdata

from taximeter.errors import Rejected
from taximeter.instants import DAY, HOUR, MAX_INSTANT, MINUTE, SECOND, format_instant

TZDATA_VERSION: Final[str] = tzdata.IANA_VERSION
MAX_WINDOWS: Final = 10_000

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class Period(msgspec.Struct, frozen=True, order=True):
    """Half-open [start, end), both in microseconds since the epoch: `end` is outside."""

    start: int
    end: int

    def contains(self, at: int) -> bool:
        return self.start <= at < self.end

    def overlaps(self, other: Period) -> bool:
        """Whether they share an instant; periods that only touch do not."""
        return max(self.start, other.start) < min(self.end, other.end)

    def overlap(self, other: Period) -> Period | None:
        """The stretch they share, or None."""
        if not self.overlaps(other):
            return None
        return Period(max(self.start, other.start), min(self.end, other.end))

    def to_json(self) -> dict[str, Any]:
        """{"start": "2026-11-01T00:00:00Z", "end": ...}"""
        return {"start": format_instant(self.start), "end": format_instant(self.end)}


# --- Zones ------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def timezones() -> frozenset[str]:
    """Every zone name the `tzdata` package knows."""
    return frozenset(importlib.resources.files("tzdata").joinpath("zones").read_text().split())


def check_timezone(name: str) -> str:
    """
    The name itself, if it is a zone.

    Raises:
        Rejected: `unknown_timezone`.
    """
    if name not in timezones():
        raise Rejected(
            "unknown_timezone", f"{name[:64]!r} is not an IANA time zone such as Europe/Berlin"
        )
    return name


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """
    The rules of a zone. `ZoneInfo(name)` would prefer the files of the operating system, which
    differ between machines; hence `from_file`.

    Raises:
        Rejected: `unknown_timezone`.
    """
    path = importlib.resources.files("tzdata").joinpath(
        "zoneinfo", *check_timezone(name).split("/")
    )
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _local(at: int, timezone: str) -> datetime:
    """The local clock at an instant, to the second."""
    try:
        return datetime.fromtimestamp(at // SECOND, zone(timezone))
    except (OverflowError, ValueError):
        raise _beyond_calendar() from None


def _offset(at: int, timezone: str) -> int:
    """Local time minus UTC at an instant, in microseconds."""
    return _micros(_local(at, timezone).utcoffset())


def _offset_at_midnight(day: date, timezone: str, fold: int) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone(timezone), fold=fold)
    return _micros(midnight.utcoffset())


def _micros(offset: timedelta | None) -> int:
    assert offset is not None
    return offset // timedelta(microseconds=1)


def _transition(before: int, after: int, timezone: str) -> int:
    """The first instant in (before, after] with the offset that holds at `after`."""
    target = _offset(after, timezone)
    while after - before > SECOND:
        middle = (before + after) // (2 * SECOND) * SECOND
        if _offset(middle, timezone) == target:
            after = middle
        else:
            before = middle
    return after


@lru_cache(maxsize=65_536)
def local_midnight(day: date, timezone: str) -> int:
    """
    The instant a local day begins (K2).

    Returns:
        Microseconds since the epoch. Where the clocks skip 00:00: the first instant after the
        gap. Where 00:00 comes twice: the earlier.

    Raises:
        Rejected: `unknown_timezone`.
    """
    naive = (day.toordinal() - _EPOCH_ORDINAL) * DAY
    # PEP 495: fold=0 reads a repeated time as the earlier one, and a skipped one with the offset
    # from before the gap, fold=1 with the offset from after it.
    first, second = (_offset_at_midnight(day, timezone, fold) for fold in (0, 1))
    if first < second:
        return _transition(naive - second - SECOND, naive - first, timezone)
    return naive - first


def local_clock(day: date, minutes: int, timezone: str) -> int:
    """
    The instant the local clock comes to a time of a day, by the same rules as midnight (K2).

    Args:
        minutes: Since 00:00, below 24 hours.
    """
    if not minutes:
        return local_midnight(day, timezone)
    naive = (day.toordinal() - _EPOCH_ORDINAL) * DAY + minutes * MINUTE
    clock = datetime(day.year, day.month, day.day, *divmod(minutes, 60), tzinfo=zone(timezone))
    first, second = (_micros(clock.replace(fold=fold).utcoffset()) for fold in (0, 1))
    if first < second:
        return _transition(naive - second - SECOND, naive - first, timezone)
    return naive - first


def local_day(at: int, timezone: str) -> date:
    """
    The local calendar day an instant belongs to: the one with midnight <= at < next midnight.

    It is the date a wall clock shows, except where clocks set back over midnight show yesterday
    once more: a day that has begun is not left again.
    """
    day = _local(at, timezone).date()
    tomorrow = _add_days(day, 1)
    return tomorrow if local_midnight(tomorrow, timezone) <= at else day


# --- Billing periods --------------------------------------------------------------------------


class Cadence(StrEnum):
    """How long a billing period is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Anchor(StrEnum):
    """Where periods begin: with the calendar (1st, Monday, 1 January) or on the start's own day."""

    CALENDAR = "calendar"
    ANNIVERSARY = "anniversary"


_DAYS: Final = {Cadence.DAY: 1, Cadence.WEEK: 7}
_MONTHS: Final = {Cadence.MONTH: 1, Cadence.QUARTER: 3, Cadence.YEAR: 12}


class Schedule(msgspec.Struct, frozen=True):
    """
    The periods of one subscription: 0 begins at `start` exactly, all others at local midnights.

    Attributes:
        start: Microseconds since the epoch.
        timezone: IANA name.
    """

    start: int
    cadence: Cadence
    anchor: Anchor
    timezone: str

    def nth(self, n: int) -> Period:
        """Period n, from 0. Each is computed from the original anchor, so none drifts (K3)."""
        assert n >= 0, n
        return Period(self.start if n == 0 else self._boundary(n), self._boundary(n + 1))

    def whole(self, n: int) -> Period:
        """
        The full calendar period that period n is, or for n = 0 may be the last part of: what a
        price for a period is a price for (K4).
        """
        assert n >= 0, n
        return Period(self._boundary(n), self._boundary(n + 1))

    def index(self, at: int) -> int:
        """The n whose period contains the instant; -1 before the start."""
        if at < self.start:
            return -1
        n = self._calendar_index(local_day(at, self.timezone))
        return n - 1 if n > 0 and self._boundary(n) > at else n

    def containing(self, at: int) -> Period:
        """The period that contains an instant, which is not before the start."""
        return self.nth(self.index(at))

    def ended_by(self, at: int) -> int:
        """How many periods have ended: those with end <= at."""
        return max(0, self.index(at))

    def _anchor_day(self) -> date:
        day = local_day(self.start, self.timezone)
        return day if self.anchor is Anchor.ANNIVERSARY else _aligned(day, self.cadence)

    def _boundary(self, n: int) -> int:
        return local_midnight(_add(self._anchor_day(), self.cadence, n), self.timezone)

    def _calendar_index(self, day: date) -> int:
        """The index by calendar months alone: one too high before the anchor day of a month."""
        first = self._anchor_day()
        if self.cadence in _DAYS:
            return (day - first).days // _DAYS[self.cadence]
        months = (day.year - first.year) * 12 + day.month - first.month
        return months // _MONTHS[self.cadence]


def _aligned(day: date, cadence: Cadence) -> date:
    """First day of the calendar period that holds the day."""
    match cadence:
        case Cadence.DAY:
            return day
        case Cadence.WEEK:
            return _add_days(day, -day.weekday())
        case Cadence.MONTH:
            return day.replace(day=1)
        case Cadence.QUARTER:
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case Cadence.YEAR:
            return day.replace(month=1, day=1)


def _add(day: date, cadence: Cadence, n: int) -> date:
    if cadence in _DAYS:
        return _add_days(day, n * _DAYS[cadence])
    return _add_months(day, n * _MONTHS[cadence])


def _add_days(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise _beyond_calendar() from None


def _add_months(day: date, months: int) -> date:
    """Same day of a later month, or its last day if it is shorter (K3)."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    if year > date.max.year:
        raise _beyond_calendar()
    return date(year, month + 1, min(day.day, _days_in_month(year, month + 1)))


def _days_in_month(year: int, month: int) -> int:
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _beyond_calendar() -> Rejected:
    return Rejected("invalid_timestamp", "periods and windows end with the year 9999")


# --- Usage windows ----------------------------------------------------------------------------


class WindowSize(StrEnum):
    """What usage is summed over; `none` is the whole range at once."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    NONE = "none"


_CADENCES: Final = {
    WindowSize.DAY: Cadence.DAY,
    WindowSize.WEEK: Cadence.WEEK,
    WindowSize.MONTH: Cadence.MONTH,
}
_CLOCK_SIZES: Final = {WindowSize.MINUTE: MINUTE, WindowSize.HOUR: HOUR}


def windows(
    start: int, end: int, size: WindowSize, timezone: str, limit: int = MAX_WINDOWS
) -> tuple[Period, ...]:
    """
    Cut [start, end) at the local boundaries of a size: the parts tile it, ascending, none empty.

    Days, weeks (from Monday) and months are cut at local midnights. Hours and minutes are cut
    where the local clock shows a full one; across a change of the clocks that is no multiple of
    an hour, the hour around it is longer or shorter instead of lying askew ever after.

    Raises:
        Rejected: `unknown_timezone`; `too_many_windows` if there would be more than `limit`.
    """
    check_timezone(timezone)
    next_boundary = _boundaries(size, timezone)
    found: list[Period] = []
    while start < end:
        if len(found) == limit:
            raise Rejected(
                "too_many_windows",
                f"the range has more than {limit} {size} windows; ask for a shorter range or "
                "larger windows",
                limit=limit,
            )
        boundary = min(end, next_boundary(start))
        found.append(Period(start, boundary))
        start = boundary
    return tuple(found)


def _boundaries(size: WindowSize, timezone: str) -> Callable[[int], int]:
    """The function from an instant to the first boundary after it."""
    if size in _CADENCES:
        return lambda at: _next_midnight(at, _CADENCES[size], timezone)
    if size in _CLOCK_SIZES:
        return lambda at: _next_on_clock(at, _CLOCK_SIZES[size], timezone)
    return lambda _: MAX_INSTANT + 1


def _next_midnight(at: int, cadence: Cadence, timezone: str) -> int:
    return local_midnight(_add(_aligned(local_day(at, timezone), cadence), cadence, 1), timezone)


def _next_on_clock(at: int, size: int, timezone: str) -> int:
    offset = _offset(at, timezone)
    boundary = at + size - (at + offset) % size
    if _offset(boundary, timezone) == offset:
        return boundary
    changed = _transition(at, boundary, timezone)
    return changed + -(changed + _offset(changed, timezone)) % size
