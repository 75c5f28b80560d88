"""Transform: from the meter's unit to the unit that is priced."""

from __future__ import annotations

from taximeter.catalog.prices import Rounding, Transform
from taximeter.meters.rounding import half_up
from taximeter.quantities import E12


def transformed(transform: Transform, quantity_pico: int) -> int:
    """
    The quantity in priced units, rounded once for the line, half-up ties away from zero.

    Without rounding to whole units the quotient keeps twelve digits, as every quantity (K18).
    """
    assert quantity_pico >= 0, quantity_pico
    divisor = transform.divide_by_pico
    match transform.round:
        case Rounding.UP:
            return -(-quantity_pico // divisor) * E12
        case Rounding.HALF_UP:
            return half_up(quantity_pico, divisor) * E12
        case Rounding.NONE:
            return half_up(quantity_pico * E12, divisor)
