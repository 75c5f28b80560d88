"""
Where the levels of a period stand: their integral and their peak so far, kept up to date.

A check asks for them again and again, and going through all points each time would make it slower
the more events there were. A standing follows points that arrive in order, at a constant cost
each; for a late one, it is made anew from all points.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple


class _Open(NamedTuple):
    """A level that holds, weighed from `since` on, until `lapses` if nothing happens before."""

    since: int
    lapses: int
    level: int


class Standing:
    """
    Attributes:
        start: Of the period; what was before has no weight.
        horizon: Time of the newest point it knows.
    """

    __slots__ = ("_moment", "_open", "_peak", "_settled", "_timeout", "_weight", "horizon", "start")

    def __init__(self, start: int, timeout: int) -> None:
        self.start = start
        self.horizon = start
        self._timeout = timeout
        # In the order of their newest points, which is also the order in which they lapse.
        self._open: dict[Hashable, _Open] = {}
        self._settled = 0  # integral of what holds no longer
        self._weight = 0  # sum of the open levels
        self._moment = 0  # sum of the open levels, each x `since`
        self._peak = 0  # up to, but without, the horizon

    def put(self, series: Hashable, at: int, level: int) -> None:
        """
        Set the level of a series; the last call for an instant counts.

        `at` is at or after the horizon. Before `start`, calls ascend by `at`.
        """
        if at > self.horizon:
            self._peak = max(self._peak, self._weight)
            self._lapse(at)
            self.horizon = at
        held = self._open.pop(series, None)
        if held is not None:
            self._settle(held, max(at, held.since))
        if level and at + self._timeout > self.start:
            opened = _Open(max(at, self.start), at + self._timeout, level)
            self._open[series] = opened
            self._weight += level
            self._moment += level * opened.since

    def _settle(self, held: _Open, end: int) -> None:
        self._settled += held.level * (end - held.since)
        self._weight -= held.level
        self._moment -= held.level * held.since

    def _lapse(self, at: int) -> None:
        while self._open:
            series = next(iter(self._open))
            if self._open[series].lapses > at:
                return
            held = self._open.pop(series)
            self._settle(held, held.lapses)

    def integral(self, until: int) -> int:
        """Level x time over [start, until), with `until` at or after the horizon."""
        total = self._settled + self._weight * until - self._moment
        for held in self._open.values():
            if held.lapses >= until:
                break
            total -= held.level * (until - held.lapses)
        return total

    def peak(self, until: int) -> int:
        """The greatest sum of levels over [start, until), at least 0; of levels not negative."""
        if until <= self.horizon:
            return self._peak
        return max(self._peak, self._weight)
