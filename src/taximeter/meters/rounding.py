"""
The only rounding of a quantity: half-up, ties away from zero, to a whole pico (12 decimal places).

A mean, a weighted sum and a product of decimals need it; each is rounded once, at its end.
"""

from __future__ import annotations


def half_up(numerator: int, denominator: int) -> int:
    """
    numerator / denominator as the nearest integer; a tie goes away from zero.

    `denominator` > 0.
    """
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
