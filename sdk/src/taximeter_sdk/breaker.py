"""
The breaker: while the server is away, requests should not each wait to find that out.
"""

from __future__ import annotations

from typing import Final

OPEN_AFTER: Final = 3
OPEN_S: Final = 0.5


class Breaker:
    """After 3 failures in a row nothing is asked for half a second, then one try decides."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    def is_open(self, now: float) -> bool:
        if self._failures < OPEN_AFTER:
            return False
        if now < self._open_until:
            return True
        self._open_until = now + OPEN_S  # this one tries; the others wait for what it finds
        return False

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now: float, retry_after_s: float = 0.0) -> None:
        """A server that asks for a pause gets it, up to ten seconds of it."""
        self._failures += 1
        self._open_until = now + max(OPEN_S, min(retry_after_s, 10.0))
