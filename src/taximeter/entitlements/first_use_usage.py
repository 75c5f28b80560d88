"""
Usage of a window that opens with a use.

The first use after a window ended opens the next one, exactly at its own time. Which use is the
first follows the order of the log: one that arrives late for an earlier window changes nothing any
more; one that came in between counts in the window that is open.
"""

from __future__ import annotations

from typing import Any


class FirstUseUsage:
    """Fixed windows of one length. A use is an amount above zero; less is a correction."""

    __slots__ = ("_ended", "_start", "_used", "_window")

    def __init__(self, window_us: int, dumped: Any = None) -> None:
        self._window = window_us
        start, ended, used = dumped or (None, "0", "0")
        self._start: int | None = None if start is None else int(start)
        self._ended = int(ended)  # end of the window before the open one
        self._used = int(used)

    def add(self, at: int, pico: int) -> None:
        start = self._start
        if start is None or at >= start + self._window:
            if pico > 0:
                self._ended = 0 if start is None else start + self._window
                self._start, self._used = at, pico
        elif at >= start or (at >= self._ended and at > start - self._window):
            self._used += pico

    def used_pico(self, now: int) -> int:
        return self._used if self._is_open(now) else 0

    def resets_at(self, now: int, need_pico: int) -> int | None:
        return (
            self._start + self._window if self._start is not None and self._is_open(now) else None
        )

    def prune(self, now: int) -> bool:
        if self._start is not None and now >= self._start + 2 * self._window:
            self._start, self._used, self._ended = None, 0, 0
        return self._start is not None

    def dump(self) -> Any:
        start = None if self._start is None else str(self._start)
        return [start, str(self._ended), str(self._used)]

    def _is_open(self, now: int) -> bool:
        return self._start is not None and now < self._start + self._window
