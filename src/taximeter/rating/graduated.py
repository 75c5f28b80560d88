"""Graduated: each unit at the price of the tier it falls in (K8)."""

from __future__ import annotations

from taximeter.catalog.prices import Graduated
from taximeter.rating.steps import RatedTier


def rate(price: Graduated, quantity_pico: int) -> tuple[RatedTier, ...]:
    """
    One step for each tier that any of the quantity falls into, in the order of the tiers.

    `up_to` is inclusive: exactly 1,000 units of a tier up to 1,000 stay in it, and the flat fee
    of the next is not charged. The last tier is open, so that every unit has a price.
    """
    assert quantity_pico >= 0, quantity_pico
    steps: list[RatedTier] = []
    reached = 0
    for tier in price.tiers:
        if reached >= quantity_pico:
            break
        upper = quantity_pico if tier.up_to_pico is None else min(tier.up_to_pico, quantity_pico)
        steps.append(RatedTier(upper - reached, tier.unit, tier.flat))
        reached = upper
    return tuple(steps)
