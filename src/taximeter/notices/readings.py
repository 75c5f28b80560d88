"""
Readings: the numbers of one customer at one instant, as alerts look at them.

Quantities are pico; instants microseconds. Windows are half-open [window_start, resets_at).
"""

from __future__ import annotations

import msgspec


def usage_name(feature: str, window: str) -> str:
    """Names the reading of one window of a feature; a feature's key has no slash in it."""
    return f"{feature}/{window}"


class FeatureReading(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        used_pico: Usage of the running window, at least 0.
        limit_pico: None for unlimited.
        window_start: When the running window began; it names the window.
        resets_at: Its end; None if it never ends.
        rolling: The window moves with every instant, so it has no name of its own.
    """

    used_pico: int
    limit_pico: int | None
    window_start: int
    resets_at: int | None
    rolling: bool = False


class BudgetReading(msgspec.Struct, frozen=True, gc=False):
    """As a feature's; a budget always has a limit."""

    used_pico: int
    limit_pico: int
    window_start: int
    resets_at: int | None
    rolling: bool = False


class CreditReading(msgspec.Struct, frozen=True, gc=False):
    """A balance, which may be negative, and what open reservations leave of it (K14)."""

    balance_pico: int
    available_pico: int


class Readings(msgspec.Struct, frozen=True):
    """
    By feature key, credit type and budget id; what the customer does not have is absent.

    Attributes:
        usage: A feature's is that of its main limit; `usage_name` has that of each window.
    """

    usage: dict[str, FeatureReading] = {}
    credits: dict[str, CreditReading] = {}
    budgets: dict[str, BudgetReading] = {}
