"""Stairstep: one fee, that of the tier that holds the total."""

from __future__ import annotations

from fractions import Fraction

from taximeter.catalog.prices import Stairstep
from taximeter.rating.steps import RatedTier
from taximeter.rating.volume import tier_of


def rate(price: Stairstep, quantity_pico: int) -> tuple[RatedTier, ...]:
    """One step; none, and no fee, for a quantity of 0, as K8 has it for volume."""
    assert quantity_pico >= 0, quantity_pico
    if not quantity_pico:
        return ()
    return (RatedTier(quantity_pico, Fraction(0), tier_of(price.tiers, quantity_pico).flat),)
