"""The only source of "now"."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of "now"; the core takes instants as arguments."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...
