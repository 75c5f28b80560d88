"""Dynamic: the amount stands on the event."""

from __future__ import annotations

from fractions import Fraction

from taximeter.rating.steps import RatedTier


def rate(quantity_pico: int) -> tuple[RatedTier, ...]:
    """One step for the whole sum, at 1 for each unit of the currency; none for 0."""
    assert quantity_pico >= 0, quantity_pico
    return (RatedTier(quantity_pico, Fraction(1)),) if quantity_pico else ()
