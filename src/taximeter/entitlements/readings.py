"""
Readings: where one limit stands at one instant, and what credit could pay beyond it.

A decision weighs many constraints at once: the customer's own windows, allowances of a user or a
key, budgets, rates. Each is read into the same few numbers, whatever keeps them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from taximeter.catalog.features import CUSTOMER, Cost, Enforcement
from taximeter.credits.cost import affordable_pico, cost_pico
from taximeter.quantities import E12

NO_ROOM: Final = -1
POOLED: Final = "pooled"
"""Key of the first reading of a customer that has no limit of its own and shares a parent's."""


class Kind(StrEnum):
    """What sets the bound: the plan's limit, somebody's budget, or a rate."""

    LIMIT = "limit"
    BUDGET = "budget"
    RATE = "rate"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """
    One constraint at one instant.

    Attributes:
        limit_pico: Allowance of the running window with what rolled over; None for no limit.
        used_pico: So far in the window, without the amount asked for; below zero counts as zero.
        reserved_pico: Held by open reservations, not negative.
        resets_at: When room comes back, microseconds; None if it does not by itself.
        grace_pico: As of a `Limit`: only with soft, None for endless overage.
        level: `customer`, `parent`, or the scope level it holds for.
        scope: The value of that level (`u7`); None for the customer itself.
        key: Stable name: the key of its `Limit` or `Rate`, the id of a budget.
        pace_pico: Of a rate: what flows back in each length; `limit_pico` is the burst.
        credit: What it counts, if that is spending of a credit; None: units of the feature.
        cost: Of a constraint in credit: what a unit of the feature takes of it. None: nothing.
        cost_case: The usage's value of the dimension that the cost goes by.
    """

    limit_pico: int | None
    used_pico: int = 0
    reserved_pico: int = 0
    resets_at: int | None = None
    enforcement: Enforcement = Enforcement.HARD
    grace_pico: int | None = None
    level: str = CUSTOMER
    scope: str | None = None
    kind: Kind = Kind.LIMIT
    key: str = "period"
    pace_pico: int | None = None
    credit: str | None = None
    cost: Cost | None = None
    cost_case: str | None = None

    @property
    def ceiling_pico(self) -> int | None:
        """The most that may ever be used in the window; None for no bound."""
        limit_pico = self.limit_pico
        if limit_pico is None or self.enforcement is Enforcement.HARD:
            return limit_pico
        if self.grace_pico is None:
            return None
        return limit_pico + limit_pico * self.grace_pico // E12

    @property
    def remaining_pico(self) -> int | None:
        """Limit - used - reserved, at least 0; None without a limit."""
        if self.limit_pico is None:
            return None
        return max(0, self.limit_pico - max(0, self.used_pico) - self.reserved_pico)

    def room_pico(self) -> int | None:
        """Units of the feature that are allowed still; negative beyond it, None for no bound."""
        # A decision asks every constraint: the usual one is answered without a further call.
        hard = self.enforcement is Enforcement.HARD
        bound_pico = self.limit_pico if hard else self.ceiling_pico
        if bound_pico is None:
            return None
        used_pico = self.used_pico
        left_pico = bound_pico - self.reserved_pico - (used_pico if used_pico > 0 else 0)
        return left_pico if self.credit is None else self._units(left_pico)

    def included_pico(self) -> int | None:
        """Units of the feature up to the limit itself, without grace; as `room_pico`."""
        if self.limit_pico is None:
            return None
        left_pico = self.limit_pico - self.reserved_pico - max(0, self.used_pico)
        return left_pico if self.credit is None else self._units(left_pico)

    def largest_pico(self) -> int | None:
        """
        What to ask for instead: `room_pico`, without what only rounding lets through, and of a rate
        whole units, because what flows back in a moment is no sensible amount.
        """
        room_pico = self.room_pico()
        if room_pico is None or room_pico <= 0:
            return room_pico
        if self.kind is Kind.RATE:
            return room_pico // E12 * E12 or room_pico
        if self.cost is None:
            return room_pico
        left_pico = (self.ceiling_pico or 0) - self.reserved_pico - max(0, self.used_pico)
        return whole_units(self.cost, left_pico, self.cost_case)

    def _units(self, credit_pico: int) -> int | None:
        if credit_pico < 0:
            return NO_ROOM
        if self.cost is None:
            return None
        return affordable_pico(self.cost, credit_pico, self.cost_case)


def whole_units(cost: Cost, credit_pico: int, case: str | None) -> int | None:
    """
    The most units whose exact cost, before rounding, is within some credit; None for no bound.

    One pico more could round down to the same credit, but nobody would ask for 4.000000000001.
    """
    unit_pico = cost.per_unit_pico(case)
    return max(0, credit_pico) * E12 // unit_pico if unit_pico else None


class Funds(msgspec.Struct, frozen=True, gc=False):
    """
    Credit that pays for what the main limit does not include.

    Attributes:
        cost: Credit for a unit of the feature.
        cost_case: The usage's value of the dimension that the cost goes by.
        available_pico: What may be spent on the feature now (K14).
    """

    credit: str
    cost: Cost
    available_pico: int
    cost_case: str | None = None

    def is_sold(self) -> bool:
        """Whether usage of this case can be paid with credit at all."""
        return self.cost.per_unit_pico(self.cost_case) is not None

    def cost_pico(self, units_pico: int) -> int:
        """Credit for some units; only if `is_sold`."""
        cost = cost_pico(self.cost, units_pico, self.cost_case)
        assert cost is not None, self
        return cost

    def affordable_pico(self) -> int | None:
        """The most units that can be paid for; None for no bound."""
        if not self.is_sold():
            return 0
        return affordable_pico(self.cost, self.available_pico, self.cost_case)

    def largest_pico(self) -> int | None:
        """As `affordable_pico`, without what only rounding lets through."""
        return whole_units(self.cost, self.available_pico, self.cost_case) if self.is_sold() else 0
