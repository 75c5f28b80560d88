"""
Automatic top-ups: when credit runs low, exactly one grant is made, in the step that spent it.
"""

from __future__ import annotations

import msgspec

from taximeter.instants import DAY


class TopUp(msgspec.Struct, frozen=True):
    """
    Attributes:
        below_pico: Available credit under which one is made.
        amount_pico: Of each grant, more than 0.
        cooldown_us: Least time between two.
        max_per_day: How many in any 24 hours; at least 1.
        lifetime_us: Until a grant expires; None for never.
    """

    credit: str
    below_pico: int
    amount_pico: int
    cooldown_us: int = 0
    max_per_day: int = 1
    lifetime_us: int | None = None

    def is_due(self, available_pico: int, made_at: list[int], at: int) -> bool:
        """`made_at` are the instants of former ones, oldest first."""
        due_at = self.due_at(available_pico, made_at)
        return due_at is not None and due_at <= at

    def due_at(self, available_pico: int, made_at: list[int]) -> int | None:
        """
        The first instant at which one may be made, 0 if there was none before; None while there
        is enough.
        """
        if available_pico >= self.below_pico:
            return None
        if not made_at:
            return 0
        due_at = made_at[-1] + self.cooldown_us
        if len(made_at) >= self.max_per_day:
            due_at = max(due_at, made_at[-self.max_per_day] + DAY)
        return due_at
