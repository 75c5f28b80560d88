"""
The clocks of this machine.

Leases and holds expire by a clock that nobody can set back and that goes on while the machine
sleeps; only events carry the wall clock's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final


def _boottime() -> Callable[[], float]:
    # The monotonic clock of Linux stands still while the machine is suspended; leases on the
    # server do not.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


elapsed: Final[Callable[[], float]] = _boottime()
"""Seconds since some start; only differences mean anything."""


def now_text() -> str:
    """The present instant as RFC 3339 with microseconds."""
    return instant_text(datetime.now(UTC))


def instant_text(at: datetime) -> str:
    """
    Raises:
        ValueError: The time has no offset: we would have to guess.
    """
    if at.tzinfo is None:
        raise ValueError("a time needs an offset: datetime.now(UTC), not datetime.now()")
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def read_instant(text: object) -> datetime | None:
    """An instant of an answer, aware; None for null."""
    if text is None:
        return None
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
