"""
Usage by calendar window: each event counts in its own, late ones too.
"""

from __future__ import annotations

from typing import Any, Final

from taximeter.entitlements.local_windows import FOR_EVER, LocalWindows

SPARE_WINDOWS: Final = 2
"""Beside the running one: an event may be stamped a little ahead, and the one before is kept."""


class CalendarUsage:
    """
    Args:
        history: How many windows before the running one are needed, for what rolls over.

    Only the newest windows with usage are kept, as many as may be asked for. What is kept depends
    on the events alone and not on their order.
    """

    __slots__ = ("_keep", "_used", "_windows")

    def __init__(self, windows: LocalWindows, history: int, dumped: Any = ()) -> None:
        self._windows = windows
        self._keep = 1 + SPARE_WINDOWS + history
        self._used = {int(start): int(pico) for start, pico in dumped}

    def add(self, at: int, pico: int) -> None:
        start = self._windows.containing(at).start
        used = self._used
        used[start] = used.get(start, 0) + pico
        if len(used) > self._keep:
            del used[min(used)]

    def used_pico(self, now: int) -> int:
        return self.used_from(self._windows.containing(now).start)

    def used_from(self, start: int) -> int:
        """Usage of the window that begins at an instant; may be negative."""
        return self._used.get(start, 0)

    def resets_at(self, now: int, need_pico: int) -> int | None:
        window = self._windows.containing(now)
        return None if window is FOR_EVER else window.end

    def merge(self, other: CalendarUsage) -> None:
        for start, pico in other._used.items():
            self._used[start] = self._used.get(start, 0) + pico
        for start in sorted(self._used)[: -self._keep]:
            del self._used[start]

    def prune(self, now: int) -> bool:
        window = self._windows.containing(now)
        if self._keep == 1 + SPARE_WINDOWS:  # nothing rolls over
            self._used = {s: pico for s, pico in self._used.items() if s >= window.start}
        return bool(self._used)

    def dump(self) -> Any:
        return [[str(start), str(pico)] for start, pico in sorted(self._used.items())]
