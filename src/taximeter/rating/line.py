"""
From a meter's aggregate to a rated line: what all usage prices have in common.

    aggregate -> billable quantity (K12) -> free units -> model -> minimum or maximum (K10)
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.catalog.prices import Graduated, PerUnit, UsagePrice
from taximeter.rating import graduated, per_unit
from taximeter.rating.steps import RatedTier


class RatedLine(msgspec.Struct, frozen=True):
    """
    A quantity with its price, exact and explained: the tiers' amounts + `adjustment` = `amount`.

    Attributes:
        quantity_pico: Billable quantity: the aggregate, or 0 if that is negative.
        free_pico: How much of it was free; the tiers hold the rest.
        tiers: Exact steps, in the order of the price's tiers; none for nothing to pay.
        adjustment: What a minimum adds (positive) or a maximum takes off (negative).
        amount: Exact, in units of the currency; never negative.
    """

    quantity_pico: int
    free_pico: int
    tiers: tuple[RatedTier, ...]
    adjustment: Fraction
    amount: Fraction


def rate_line(price: UsagePrice, quantity_pico: int) -> RatedLine:
    """
    Rate one line.

    Args:
        price: `PerUnit` or `Graduated`.
        quantity_pico: The meter's aggregate over the period and group; may be negative.
    """
    billable = max(0, quantity_pico)
    free = min(price.free_pico, billable)
    tiers = _rate_model(price, billable - free)
    unbounded = sum((tier.amount for tier in tiers), Fraction(0))
    amount = _bounded(unbounded, price.minimum, price.maximum)
    return RatedLine(billable, free, tiers, amount - unbounded, amount)


def _rate_model(price: UsagePrice, quantity_pico: int) -> tuple[RatedTier, ...]:
    match price:
        case PerUnit():
            return per_unit.rate(price, quantity_pico)
        case Graduated():
            return graduated.rate(price, quantity_pico)
        case _:
            raise TypeError(f"no model rates a {type(price).__name__}")


def _bounded(amount: Fraction, minimum: Fraction | None, maximum: Fraction | None) -> Fraction:
    if minimum is not None and amount < minimum:
        return minimum
    if maximum is not None and amount > maximum:
        return maximum
    return amount
