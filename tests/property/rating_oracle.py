"""
An oracle for rating, unit by unit: slow, and obvious enough to be believed.

It walks the quantity one grain at a time and asks of each grain which tier it lies in. It shares
nothing with the package: its arithmetic is `decimal`, its input plain tuples.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact

EXACT = Context(prec=200, traps=[Inexact])

# up_to (None: open), price of a unit, flat fee
Step = tuple[Decimal | None, Decimal, Decimal]


def per_unit(quantity: Decimal, unit: Decimal, grain: Decimal) -> Decimal:
    total = Decimal(0)
    counted = Decimal(0)
    while counted < quantity:
        counted = EXACT.add(counted, grain)
        total = EXACT.add(total, EXACT.multiply(grain, unit))
    return total


def graduated(quantity: Decimal, steps: Sequence[Step], grain: Decimal) -> Decimal:
    """Quantity and bounds are multiples of the grain, so that no grain lies across a bound."""
    total = Decimal(0)
    counted = Decimal(0)
    entered: set[int] = set()
    while counted < quantity:
        counted = EXACT.add(counted, grain)
        tier = _tier_of(counted, steps)
        if tier not in entered:
            entered.add(tier)
            total = EXACT.add(total, steps[tier][2])
        total = EXACT.add(total, EXACT.multiply(grain, steps[tier][1]))
    return total


def _tier_of(last_grain: Decimal, steps: Sequence[Step]) -> int:
    """The first tier whose inclusive bound the grain does not pass."""
    for number, (up_to, _, _) in enumerate(steps):
        if up_to is None or last_grain <= up_to:
            return number
    raise AssertionError("the last tier is open")
