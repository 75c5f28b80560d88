"""Bounds: what something comes to at least and at most."""

from __future__ import annotations

from fractions import Fraction


def bounded(amount: Fraction, minimum: Fraction | None, maximum: Fraction | None) -> Fraction:
    """The amount within its bounds, of which None is none; `minimum` is not above `maximum`."""
    if minimum is not None and amount < minimum:
        return minimum
    if maximum is not None and amount > maximum:
        return maximum
    return amount
