"""
The only places that read the time of day.
"""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000


class SandboxClock(SystemClock):
    """
    A clock that can be set, for trying out months in seconds. It runs like the system's until it
    is set; from then on it stands still until it is set again.
    """

    def __init__(self) -> None:
        self._set_to: int | None = None

    def now(self) -> int:
        return super().now() if self._set_to is None else self._set_to

    def set(self, now: int) -> None:
        self._set_to = now
