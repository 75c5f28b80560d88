"""
Usage of the last stretch of time, at whatever instant one looks.

Usage is kept in buckets of a 360th of the window (and at least 100 ms). The oldest bucket counts as
a whole until all of it has left the window: usage is never read too low, so that no true window
(now - length, now] ever holds more than was allowed; room comes back at most a bucket later than it
might.
"""

from __future__ import annotations

from typing import Any, Final

from taximeter.instants import SECOND

BUCKETS: Final = 360
MIN_BUCKET_US: Final = SECOND // 10
AHEAD_US: Final = 300 * SECOND
"""How far ahead an event may be stamped (K16) without pushing out what still counts."""

_NO_LOOK: Final = -1
_NONE_YET: Final = 1 << 63
"""After any bucket: the first use to come is the oldest."""


class RollingUsage:
    """
    Usage counts in the buckets of its own time; what is stamped ahead counts already. Old buckets
    go when newer usage comes, so what is kept depends on the events alone and not on their order.
    """

    __slots__ = (
        "_before",
        "_buckets",
        "_first",
        "_floor",
        "_newest",
        "_oldest",
        "_total",
        "_width",
        "_window",
    )

    def __init__(self, window_us: int, dumped: Any = ()) -> None:
        self._window = window_us
        self._width = max(-(-window_us // BUCKETS), MIN_BUCKET_US)
        self._buckets = {int(index): int(pico) for index, pico in dumped}
        self._total = sum(self._buckets.values())
        self._newest = max(self._buckets, default=-1)
        self._floor = self._floor_of(self._newest)
        # Of the last look: its first bucket, what the buckets before it hold together, and the
        # oldest one from it on. Derived, so that the next look at the same bucket is quick.
        self._first, self._before = _NO_LOOK, 0
        self._oldest = _NO_LOOK

    def add(self, at: int, pico: int) -> None:
        index = at // self._width
        if index < self._floor:
            return
        self._buckets[index] = self._buckets.get(index, 0) + pico
        self._total += pico
        if index < self._first:
            self._before += pico
        elif index < self._oldest:
            self._oldest = index
        if index > self._newest:
            self._newest = index
            self._drop_before(self._floor_of(index))

    def used_pico(self, now: int) -> int:
        first = self._first_at(now)
        if first != self._first:
            self._look_from(first)
        return self._total - self._before

    def resets_at(self, now: int, need_pico: int) -> int | None:
        """The first instant at which at least `need_pico` has left the window; None for never."""
        first, left = self._first_at(now), need_pico
        if first != self._first:
            self._look_from(first)
        if self._buckets.get(self._oldest, 0) >= need_pico:
            return self._leaves_at(self._oldest)
        for index in sorted(index for index in self._buckets if index >= first):
            left -= self._buckets[index]
            if left <= 0:
                return self._leaves_at(index)
        return None

    def merge(self, other: RollingUsage) -> None:
        for index, pico in other._buckets.items():
            self.add(index * self._width, pico)

    def prune(self, now: int) -> bool:
        self._drop_before(self._first_at(now))
        return bool(self._buckets)

    def dump(self) -> Any:
        return [[str(index), str(pico)] for index, pico in sorted(self._buckets.items())]

    def _first_at(self, now: int) -> int:
        """The first bucket that is not yet wholly before now - length."""
        return max(0, now - self._window) // self._width

    def _leaves_at(self, index: int) -> int:
        """The first instant whose window has nothing of a bucket."""
        return (index + 1) * self._width + self._window

    def _floor_of(self, newest: int) -> int:
        """The first bucket that may still be asked for when the newest usage may be ahead."""
        return max(0, newest * self._width - AHEAD_US - self._window) // self._width

    def _look_from(self, first: int) -> None:
        if 0 < first - self._first <= BUCKETS:
            passed = range(self._first, first)
            self._before += sum(self._buckets.get(index, 0) for index in passed)
        else:
            self._before = sum(pico for index, pico in self._buckets.items() if index < first)
        self._first = first
        self._oldest = min((index for index in self._buckets if index >= first), default=_NONE_YET)

    def _drop_before(self, floor: int) -> None:
        if floor <= self._floor:
            return
        if floor - self._floor <= BUCKETS:
            gone = [index for index in range(self._floor, floor) if index in self._buckets]
        else:
            gone = [index for index in self._buckets if index < floor]
        for index in gone:
            self._total -= self._buckets.pop(index)
        self._floor = floor
        self._first, self._before, self._oldest = _NO_LOOK, 0, _NO_LOOK
