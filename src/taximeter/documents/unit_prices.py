"""Unit prices: of a line whose amount one price explains."""

from __future__ import annotations

from fractions import Fraction

from taximeter.invoices.invoice import Line
from taximeter.money import round_minor
from taximeter.quantities import E12


def price_of(line: Line) -> Fraction | None:
    """
    The one price of a line for a unit, a package or a seat apart; in the currency of the price.

    Returns:
        None for several tiers, packages, flat fees beside the units, and what is no price by unit.
    """
    if line.seats is not None:
        return line.seats.unit
    if len(line.tiers) != 1 or line.tiers[0].flat or line.tiers[0].packages is not None:
        return None
    return line.tiers[0].unit


def explaining_price(line: Line, amount_minor: int, currency: str) -> Fraction | None:
    """
    The price that comes to an amount for the quantity of the line, and nothing else: no included
    units, no bounds, no tax in it. None if there is none.
    """
    price = price_of(line)
    if price is None or line.conversions:
        return None
    each = price * line.multiplier
    reckoned = round_minor(each * Fraction(line.quantity_pico, E12), currency)
    return each if reckoned == amount_minor else None
