"""
From a meter's aggregate to a rated line: what all usage prices have in common.

    aggregate -> billable quantity (K12) -> transform -> free units -> model -> multipliers
              -> minimum or maximum
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from taximeter.catalog.prices import (
    CostPlus,
    Dynamic,
    Graduated,
    Matrix,
    Package,
    Percentage,
    PerUnit,
    Stairstep,
    UsagePrice,
    Volume,
)
from taximeter.rating import (
    cost_plus,
    dynamic,
    graduated,
    matrix,
    package,
    per_unit,
    percentage,
    stairstep,
    volume,
)
from taximeter.rating.bounds import bounded
from taximeter.rating.percentage import Band
from taximeter.rating.steps import RatedTier
from taximeter.rating.transform import transformed


class RatedLine(msgspec.Struct, frozen=True):
    """
    A quantity with its price, exact and explained:
    sum of the tiers' amounts x `multiplier` + `adjustment` = `amount`.

    Attributes:
        metered_pico: The aggregate in the meter's unit, or 0 if that is negative.
        quantity_pico: The same in the unit that is priced.
        free_pico: How much of that was free; the tiers hold the rest.
        tiers: Exact steps, in the order of the price's tiers; none for nothing to pay.
        multiplier: Product of the factors that apply, of dimensions and hours; 1 without.
        adjustment: What a minimum adds (positive) or a maximum takes off (negative). Nobody is
            paid for events of negative amounts: it also adds what such events are above the others.
        amount: Exact, in units of the currency; never negative.
    """

    metered_pico: int
    quantity_pico: int
    free_pico: int
    tiers: tuple[RatedTier, ...]
    multiplier: Fraction
    adjustment: Fraction
    amount: Fraction


_NOTHING: Final = Fraction(0)
_ONE: Final = Fraction(1)


def rate_line(
    price: UsagePrice,
    quantity_pico: int,
    events: int = 0,
    group: tuple[str | None, ...] = (),
    *,
    bands: Sequence[Band] = (),
    factor: Fraction = Fraction(1),
) -> RatedLine:
    """
    Rate one line.

    Args:
        quantity_pico: The meter's aggregate over the period and group; may be negative.
        events: How many were counted; for fees of each event.
        group: Values of the price's `group_by`, in its order.
        bands: Of a percentage with bounds for each event, see `percentage.limits`.
        factor: Of the hours of the day the quantity is of.
    """
    values = dict(zip(price.group_by, group, strict=True))
    metered = max(0, quantity_pico)
    billable = metered if price.transform is None else transformed(price.transform, metered)
    free = min(price.free_pico, billable)
    tiers = _rate_model(price, billable - free, events, values, bands)
    multiplier = _times(factor, _multiplier(price, values))
    unbounded = _times(_sum(tiers), multiplier)
    positive = unbounded if unbounded.numerator >= 0 else _NOTHING
    amount = bounded(positive, price.minimum, price.maximum)
    adjustment = _NOTHING if amount is unbounded else amount - unbounded
    return RatedLine(metered, billable, free, tiers, multiplier, adjustment, amount)


def _sum(tiers: tuple[RatedTier, ...]) -> Fraction:
    """Exact; of one tier, as nearly every line has, without an addition."""
    if len(tiers) == 1:
        return tiers[0].amount
    return sum((tier.amount for tier in tiers), _NOTHING)


def _times(amount: Fraction, factor: Fraction) -> Fraction:
    return amount if factor.numerator == factor.denominator else amount * factor


def _multiplier(price: UsagePrice, group: Mapping[str, str | None]) -> Fraction:
    product = _ONE
    for one in price.multipliers:
        product *= one.of(group[one.dimension])
    return product


def _rate_model(
    price: UsagePrice,
    quantity_pico: int,
    events: int,
    group: Mapping[str, str | None],
    bands: Sequence[Band],
) -> tuple[RatedTier, ...]:
    match price:
        case PerUnit():
            return per_unit.rate(price, quantity_pico)
        case Graduated():
            return graduated.rate(price, quantity_pico)
        case Volume():
            return volume.rate(price, quantity_pico)
        case Stairstep():
            return stairstep.rate(price, quantity_pico)
        case Package():
            return package.rate(price, quantity_pico)
        case Percentage():
            return percentage.rate(price, quantity_pico, events, bands)
        case Matrix():
            return matrix.rate(price, quantity_pico, group)
        case Dynamic():
            return dynamic.rate(quantity_pico)
        case CostPlus():
            return cost_plus.rate(price, quantity_pico, group)
        case _:
            raise TypeError(f"no model rates a {type(price).__name__}")
