"""
The rolling window of a rule: how much of something there was in the stretch of time that ends with
an event.

Events count at their own time, in buckets of a 60th of the window (and at least a second). The
oldest bucket counts as a whole until all of it has left, and the newest as a whole as soon as it
has begun: what truly lies within the window is never missed, and what lies up to a bucket beside it
may be counted. The result depends on the events and their order in the log, on nothing else.
"""

from __future__ import annotations

from typing import Any, Final

from taximeter.instants import DAY, SECOND

BUCKETS: Final = 60
MIN_BUCKET_US: Final = SECOND
AHEAD_US: Final = 300 * SECOND
"""How far ahead an event may be stamped (K16) without hiding others. One that comes further behind
the newest counts for those after it, but is not judged itself."""

LATE_US: Final = DAY
"""An event that arrives later than this is history: no rule looks at it."""

MAX_VALUES: Final = 1000
"""Users, keys, ... of one customer that one rule keeps apart: those seen last."""


class Window:
    """What one value (a customer, a user) did lately."""

    __slots__ = ("_ahead", "_buckets", "_floor", "_head", "_reach", "_sum", "_width")

    def __init__(self, window_us: int, dumped: Any = ()) -> None:
        self._width = max(-(-window_us // BUCKETS), MIN_BUCKET_US)
        # Buckets behind the newest that an event in it looks at: those that overlap the window.
        self._reach = -(-window_us // self._width)
        self._ahead = -(-AHEAD_US // self._width)
        self._buckets = {int(index): int(pico) for index, pico in dumped}
        self._move_to(max(self._buckets, default=-1))

    def add(self, at: int, pico: int) -> int | None:
        """
        Count an event.

        Returns:
            How much the window that ends with it holds, with it; None if it is so far behind the
            newest one that this is not known any more.
        """
        index = at // self._width
        if index < self._floor:
            return None
        if index > self._head:
            self._move_to(index)
        self._buckets[index] = self._buckets.get(index, 0) + pico
        if self._head - self._reach <= index:
            self._sum += pico
        if index == self._head:
            return self._sum
        return self._ending_in(index) if index >= self._head - self._ahead else None

    def is_over(self, now: int) -> bool:
        """Whether nothing here can matter to an event that arrives from now on."""
        return (self._head + self._reach + 1) * self._width < now - LATE_US

    def dump(self) -> list[list[str]]:
        return [[str(index), str(pico)] for index, pico in sorted(self._buckets.items())]

    def _ending_in(self, index: int) -> int:
        get = self._buckets.get
        return sum(get(one, 0) for one in range(index - self._reach, index + 1))

    def _move_to(self, index: int) -> None:
        """Begin a new bucket, and forget those behind the floor."""
        self._head = index
        self._floor = floor = index - self._ahead - self._reach
        for one in [one for one in self._buckets if one < floor]:
            del self._buckets[one]
        self._sum = self._ending_in(index)


class Windows:
    """
    The windows of one rule for one customer, by value: "" for the customer as a whole.

    Attributes:
        window_us: Length of each.
    """

    __slots__ = ("_windows", "window_us")

    def __init__(self, window_us: int, dumped: Any = ()) -> None:
        self.window_us = window_us
        self._windows = {value: Window(window_us, window) for value, window in dumped}

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, value: str, at: int, pico: int) -> int | None:
        """As `Window.add`, in the window of a value."""
        # Taken out and put back: the order says which value was seen last.
        window = self._windows.pop(value, None)
        if window is None:
            window = Window(self.window_us)
            if len(self._windows) >= MAX_VALUES:
                del self._windows[next(iter(self._windows))]
        self._windows[value] = window
        return window.add(at, pico)

    def prune(self, now: int) -> bool:
        """Forget what cannot matter any more; whether anything is left."""
        self._windows = {v: one for v, one in self._windows.items() if not one.is_over(now)}
        return bool(self._windows)

    def dump(self) -> list[list[Any]]:
        """In the order they were seen, which is part of what they are."""
        return [[value, window.dump()] for value, window in self._windows.items()]
