"""
Thresholds: at which amount of usage a period is billed on account, before its end.
"""

from __future__ import annotations

from collections.abc import Sequence

_PREFIX = "on_account:"


def is_on_account(part: str) -> bool:
    """Whether a part of a period is usage billed before its end."""
    return part.startswith(_PREFIX)


def on_account(number: int) -> str:
    """The part that is the first, second, ... bill on account of a period."""
    return f"{_PREFIX}{number}"


def threshold(steps: Sequence[int], number: int) -> int:
    """
    The amount that the first, second, ... bill on account of a period is for.

    Args:
        steps: Minor units; ascending, at least one. Behind the last one its distance to the one
            before (to 0 if it is the only one) repeats.
        number: From 1.
    """
    if number <= len(steps):
        return steps[number - 1]
    last = steps[-1] - (steps[-2] if len(steps) > 1 else 0)
    return steps[-1] + last * (number - len(steps))
