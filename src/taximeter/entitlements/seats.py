"""
Seats: a static whole number of places, each held by somebody by name.

A named seat is held until it is released; a concurrent one also ends by itself, at an instant that
is outside of it. Who holds a seat keeps it when the plan comes to have fewer: only new holders are
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from taximeter.entitlements.decide import Decision, Reason
from taximeter.instants import format_instant
from taximeter.quantities import E12

Holders: TypeAlias = Mapping[str, int | None]
"""Holder -> when its seat ends by itself; None for a named seat."""


def holding(holders: Holders, now: int) -> dict[str, int | None]:
    """Those who hold a seat at an instant."""
    return {one: until for one, until in holders.items() if until is None or now < until}


def assign(feature: str, seats: int, holders: Holders, holder: str, now: int) -> Decision:
    """
    Whether somebody may have a seat.

    Args:
        seats: How many there are: the value of the static feature.
        holder: Who asks; asking again for a seat one holds is allowed, also when all are taken.

    Returns:
        `enabled`, or `limit_reached` with when a seat is free by itself, if one ever is. The
        numbers are those before the seat is taken.
    """
    taken = holding(holders, now)
    if holder in taken or len(taken) < seats:
        return _seating(True, Reason.ENABLED, seats, len(taken))
    free_at = _free_at(taken, seats)
    detail = f"{feature} has {_count(seats)} and none is free for {holder!r}"
    help = "release the seat of somebody else, or add seats to the plan."
    if free_at is not None:
        detail += f"; one is at {format_instant(free_at)}"
        help = f"wait until {format_instant(free_at)}, {help}"
    return _seating(
        False,
        Reason.LIMIT_REACHED,
        seats,
        len(taken),
        free_at,
        f"{detail}.",
        f"{help[0].upper()}{help[1:]}",
    )


def _free_at(taken: Holders, seats: int) -> int | None:
    """When so many seats have ended by themselves that one is free; None if they never do."""
    ends = sorted(until for until in taken.values() if until is not None)
    needed = len(taken) - seats + 1
    return ends[needed - 1] if needed <= len(ends) else None


def _seating(
    allowed: bool,
    reason: Reason,
    seats: int,
    taken: int,
    free_at: int | None = None,
    detail: str | None = None,
    help: str | None = None,
) -> Decision:
    return Decision(
        allowed,
        reason,
        limit_pico=seats * E12,
        used_pico=taken * E12,
        reserved_pico=0,
        remaining_pico=max(0, seats - taken) * E12,
        overage_pico=max(0, taken - seats) * E12,
        resets_at=free_at,
        value=seats,
        detail=detail,
        help=help,
    )


def _count(seats: int) -> str:
    return "1 seat" if seats == 1 else f"{seats} seats"
