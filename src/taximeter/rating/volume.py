"""Volume: all units at the price of the tier that holds the total (K8)."""

from __future__ import annotations

from collections.abc import Sequence

from taximeter.catalog.prices import Tier, Volume
from taximeter.rating.steps import RatedTier


def rate(price: Volume, quantity_pico: int) -> tuple[RatedTier, ...]:
    """One step, with the flat fee of its tier; none, and no fee, for a quantity of 0."""
    assert quantity_pico >= 0, quantity_pico
    if not quantity_pico:
        return ()
    tier = tier_of(price.tiers, quantity_pico)
    return (RatedTier(quantity_pico, tier.unit, tier.flat),)


def tier_of(tiers: Sequence[Tier], quantity_pico: int) -> Tier:
    """The tier that holds a total: the first whose inclusive bound it does not pass."""
    return next(
        tier for tier in tiers if tier.up_to_pico is None or quantity_pico <= tier.up_to_pico
    )
