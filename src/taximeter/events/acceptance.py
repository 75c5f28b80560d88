"""
When an event happened, and whether that is still, or already, acceptable (K16).

Both bounds are inclusive: an event exactly as old as the window allows is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.instants import DAY, MAX_INSTANT, SECOND, parse_instant

INVALID: Final = "invalid_timestamp"
TOO_OLD: Final = "timestamp_too_old"
IN_FUTURE: Final = "timestamp_in_future"

_WORTH_COMPILED: Final = 16


class AcceptanceWindow(msgspec.Struct, frozen=True):
    """
    How far from the time of receipt an event of a namespace may lie.

    Attributes:
        past_us: Microseconds before; not negative.
        future_us: Microseconds after; not negative.
    """

    past_us: int = 90 * DAY
    future_us: int = 300 * SECOND

    def for_backfill(self) -> AcceptanceWindow:
        """The window of an explicit import: the past has no bound, the future keeps its own."""
        return AcceptanceWindow(MAX_INSTANT, self.future_us)


DEFAULT_WINDOW: Final = AcceptanceWindow()


def resolve_time(event: Event, received_at: int) -> int:
    """
    When the event happened: its own time, or the time of receipt if it has none.

    Raises:
        Rejected: `invalid_timestamp`.
    """
    return received_at if event.time is None else parse_instant(event.time)


def resolve_times(
    events: Sequence[Event],
    received_at: int,
    window: AcceptanceWindow = DEFAULT_WINDOW,
) -> list[int | str]:
    """
    Resolve a batch and hold it against the window.

    Args:
        received_at: Microseconds since the epoch.

    Returns:
        Per event its instant, or the code it is rejected with: `invalid_timestamp`,
        `timestamp_too_old` or `timestamp_in_future`.
    """
    earliest = received_at - window.past_us
    latest = received_at + window.future_us
    if len(events) >= _WORTH_COMPILED:
        quick = _resolve_uniform(events, earliest, latest)
        if quick is not None:
            return quick
    try:
        times = [received_at if e.time is None else parse_instant(e.time) for e in events]
    except Rejected:
        return [_resolve(event, received_at, earliest, latest) for event in events]
    # Two passes in C tell at once that a batch is clean, and nearly all are.
    if not times or (min(times) >= earliest and max(times) <= latest):
        return list[int | str](times)
    return [_outside(time, earliest, latest) or time for time in times]


def _resolve_uniform(events: Sequence[Event], earliest: int, latest: int) -> list[int | str] | None:
    """All at once, for a batch of one clear shape within the window; None for any other."""
    from taximeter.events.clockface import read_uniform

    texts = [event.time for event in events]
    if None in texts:
        return None
    instants = read_uniform(cast(list[str], texts))
    if instants is None or instants.min() < earliest or instants.max() > latest:
        return None
    found: list[int | str] = instants.tolist()
    return found


def _resolve(event: Event, received_at: int, earliest: int, latest: int) -> int | str:
    try:
        time = resolve_time(event, received_at)
    except Rejected as rejected:
        return rejected.code
    return _outside(time, earliest, latest) or time


def _outside(time: int, earliest: int, latest: int) -> str | None:
    if time < earliest:
        return TOO_OLD
    return IN_FUTURE if time > latest else None
