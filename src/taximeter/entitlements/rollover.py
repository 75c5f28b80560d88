"""
Rollover: what earlier windows left unused.

The unused part of a window lives on for `expires` further ones. Within a window what was carried is
used first, the oldest of it before all, and then the window's own allowance. Carried together never
exceed `max`: what is beyond is lost, the oldest of it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taximeter.catalog.features import Limit

MAX_HISTORY: Final = 120
"""
Windows looked back at. Usage before them can only have made more be carried, never less, so that a
history cut off gives at most what the whole would give.
"""


def carried_pico(
    limit: Limit, used_pico: Sequence[int], allowances_pico: Sequence[int] | None = None
) -> int:
    """
    What rolled over into the running window.

    Args:
        used_pico: Usage of each window before the running one, oldest first; below zero counts as
            zero. Begins with the first window the customer had the allowance for.
        allowances_pico: The limit in force in each of them, where it was not always the present
            one: an upgrade adds nothing to what an earlier window left.

    Returns:
        To be added to the limit of the running window; 0 for a limit without rollover.
    """
    rollover = limit.rollover
    if rollover is None:
        return 0
    used_pico = used_pico[-MAX_HISTORY:]
    if allowances_pico is None:
        allowances_pico = [limit.limit_pico] * len(used_pico)
    carried: list[int] = []  # by window, oldest first; at most `expires` of them
    for used, allowance in zip(used_pico, allowances_pico[-MAX_HISTORY:], strict=True):
        unused = _spend([*carried, allowance], max(0, used))
        carried = _capped(unused[-rollover.expires :], rollover.max_pico)
    return sum(carried)


def _spend(parts: list[int], used_pico: int) -> list[int]:
    """What is left of each part when they are used one after the other."""
    left = []
    for part in parts:
        taken = min(part, used_pico)
        used_pico -= taken
        left.append(part - taken)
    return left


def _capped(parts: list[int], max_pico: int | None) -> list[int]:
    if max_pico is None:
        return parts
    return _spend(parts, max(0, sum(parts) - max_pico))
