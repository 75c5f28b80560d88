"""
Calendar windows of limits: hours, days, weeks, months and years in a customer's time zone (K2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from taximeter.catalog.features import Reset
from taximeter.instants import HOUR, MAX_INSTANT
from taximeter.periods import Anchor, Cadence, Period, Schedule, WindowSize, windows

_CADENCES: Final = {
    Reset.DAY: Cadence.DAY,
    Reset.WEEK: Cadence.WEEK,
    Reset.MONTH: Cadence.MONTH,
    Reset.YEAR: Cadence.YEAR,
}
FOR_EVER: Final = Period(0, MAX_INSTANT + 1)
CALENDAR_RESETS: Final = frozenset({Reset.HOUR, Reset.NEVER, *_CADENCES})


class LocalWindows:
    """
    Windows of one size in one time zone, half-open. They tile all time, so that each instant is in
    exactly one; `never` has a single one.

    All gauges of a size and zone share one of these, so that it is worked out once, and not for
    each of ten thousand users, where midnight is.
    """

    __slots__ = ("_earlier", "_latest", "_schedule", "_timezone")

    def __init__(self, reset: Reset, timezone: str) -> None:
        assert reset in CALENDAR_RESETS, reset
        cadence = _CADENCES.get(reset)
        self._timezone = timezone
        self._schedule: Schedule | None = None
        if cadence is not None:
            self._schedule = Schedule(0, cadence, Anchor.CALENDAR, timezone)
        self._latest = self._earlier = FOR_EVER if reset is Reset.NEVER else Period(0, 0)

    def containing(self, at: int) -> Period:
        """The window an instant is in."""
        latest = self._latest
        if latest.start <= at < latest.end:
            return latest
        if self._earlier.start <= at < self._earlier.end:  # a late event
            return self._earlier
        found = self._find(at)
        if found.start > latest.start:
            self._latest, self._earlier = found, latest
        else:
            self._earlier = found
        return found

    def before(self, window: Period) -> Period | None:
        """The window before one; None if there is none since 1970."""
        return None if window.start <= 0 else self.containing(window.start - 1)

    def _find(self, at: int) -> Period:
        if self._schedule is not None:
            return self._schedule.whole(self._schedule.index(at))
        # Cutting begins well before, so that the cut before `at` is one of the local clock.
        around = windows(at - 3 * HOUR, at + 3 * HOUR, WindowSize.HOUR, self._timezone)
        return next(window for window in around if window.contains(at))


@lru_cache(maxsize=4096)
def local_windows(reset: Reset, timezone: str) -> LocalWindows:
    """The shared windows of a size and zone."""
    return LocalWindows(reset, timezone)
