"""
Recurrence: when a grant comes again.

Occurrence n is at the local wall-clock time of occurrence 0, n units later. The day is clamped to
the end of a shorter month and always counted from the original one, so that it never drifts: a
31st comes on 28 February and on 31 March (K3). A local time that the clocks skip is the first
instant after the gap; one that comes twice is the earlier (K2). Hours are elapsed hours, whatever
the clocks do.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import HOUR, SECOND, from_datetime, to_datetime
from taximeter.periods import zone

_TEXT: Final = re.compile(r"P(?:([1-9]\d{0,3})([YMWD])|T([1-9]\d{0,3})H)", re.ASCII)
_MONTHS: Final = {"Y": 12, "M": 1}
_DAYS: Final = {"W": 7, "D": 1}


class Recurrence(msgspec.Struct, frozen=True):
    """
    Every so many months, days or hours; exactly one of them is not 0.

    Attributes:
        months, days, hours: Length of one step.
    """

    months: int = 0
    days: int = 0
    hours: int = 0

    def occurrence(self, n: int, anchor_at: int, timezone: str) -> int | None:
        """
        The instant of occurrence n; number 0 is the anchor itself.

        Returns:
            Microseconds since the epoch; None beyond the year 9999.
        """
        if n == 0:
            return anchor_at
        if self.hours:
            at = anchor_at + n * self.hours * HOUR
            return at if _in_calendar(at) else None
        anchor = to_datetime(anchor_at).astimezone(zone(timezone)).replace(tzinfo=None)
        try:
            local = self._later(anchor, n)
            return _instant(local, timezone)
        except (OverflowError, ValueError):
            return None

    def last_by(self, at: int, anchor_at: int, timezone: str) -> int:
        """The greatest n whose occurrence is not after an instant; 0 if none is."""
        n = max(0, self._about(at - anchor_at) - 2)
        while (following := self.occurrence(n + 1, anchor_at, timezone)) is not None:
            if following > at:
                break
            n += 1
        return n

    def _later(self, anchor: datetime, n: int) -> datetime:
        if self.days:
            return anchor + timedelta(days=n * self.days)
        years, month = divmod(anchor.month - 1 + n * self.months, 12)
        year = anchor.year + years
        day = min(anchor.day, monthrange(year, month + 1)[1])
        return anchor.replace(year=year, month=month + 1, day=day)

    def _about(self, elapsed: int) -> int:
        """How many steps of the longest months fit: never more than one above what really does."""
        longest = self.hours or 24 * (self.days or 31 * self.months)
        return elapsed // (longest * HOUR)


@lru_cache(maxsize=256)
def parse_recurrence(text: str) -> Recurrence:
    """
    Read an ISO 8601 duration of one unit: P1Y, P1M, P2W, P7D, PT5H; 1 to 9999 of it.

    Raises:
        Rejected: `invalid_request`.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise Rejected(
            "invalid_request",
            f"recurrence: {text[:40]!r} is not a duration of one unit such as P1M (every month), "
            "P2W, P7D, P1Y or PT5H",
        )
    if match[3]:
        return Recurrence(hours=int(match[3]))
    number, unit = int(match[1]), match[2]
    if unit in _MONTHS:
        return Recurrence(months=number * _MONTHS[unit])
    return Recurrence(days=number * _DAYS[unit])


def _instant(local: datetime, timezone: str) -> int | None:
    """The instant of a local time; in a gap, the gap's end; of two, the earlier."""
    rules = zone(timezone)
    # PEP 495: fold=0 reads a repeated time as the earlier one, and a skipped one with the offset
    # from before the gap, which names an instant after it; fold=1 is the other way round.
    first, second = (from_datetime(local.replace(tzinfo=rules, fold=fold)) for fold in (0, 1))
    at = _end_of_gap(second, first, timezone) if second < first else first
    return at if _in_calendar(at) else None


def _end_of_gap(before: int, after: int, timezone: str) -> int:
    """The first instant with the clock as it is at `after`; clocks change at whole seconds."""
    rules = zone(timezone)
    changed = to_datetime(after).astimezone(rules).utcoffset()
    low, high = before // SECOND, after // SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if to_datetime(middle * SECOND).astimezone(rules).utcoffset() == changed:
            high = middle
        else:
            low = middle
    return high * SECOND


def _in_calendar(at: int) -> bool:
    return at < _END


_END: Final = from_datetime(datetime(9999, 12, 31, tzinfo=UTC))
