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


def volume(quantity: Decimal, steps: Sequence[Step], grain: Decimal) -> Decimal:
    """Every grain costs what the last one costs; the fee of that tier is paid once."""
    if quantity <= 0:
        return Decimal(0)
    _, unit, flat = steps[_tier_of(quantity, steps)]
    return EXACT.add(per_unit(quantity, unit, grain), flat)


def package(quantity: Decimal, size: Decimal, amount: Decimal, grain: Decimal) -> Decimal:
    """A new package is opened for a grain that no opened one has room for."""
    room = total = counted = Decimal(0)
    while counted < quantity:
        if room == 0:
            total = EXACT.add(total, amount)
            room = size
        counted = EXACT.add(counted, grain)
        room = EXACT.subtract(room, grain)
    return total


def rounded_units(quantity: Decimal, divisor: Decimal, rounding: str, grain: Decimal) -> int:
    """Whole priced units: one for each divisor filled, and maybe one for what is left."""
    units = 0
    left = counted = Decimal(0)
    while counted < quantity:
        counted = EXACT.add(counted, grain)
        left = EXACT.add(left, grain)
        if left == divisor:
            units, left = units + 1, Decimal(0)
    counts = left > 0 if rounding == "up" else EXACT.add(left, left) >= divisor
    return units + (1 if counts else 0)


def matrix(
    usage: Sequence[tuple[str, str | None]],
    cells: Sequence[tuple[str | None, str | None, Decimal]],
    default: Decimal,
) -> Decimal:
    """One unit each, of a model in a region; a cell that leaves one open has None there."""
    total = Decimal(0)
    for model, region in usage:
        price = default
        for cell_model, cell_region, unit in reversed(cells):
            if cell_model in (None, model) and cell_region in (None, region):
                price = unit
        total = EXACT.add(total, price)
    return total


def percentage(amounts: Sequence[Decimal], rate: Decimal, fixed: Decimal) -> Decimal:
    """Each event pays for itself."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, EXACT.add(EXACT.multiply(amount, rate), fixed))
    return total
