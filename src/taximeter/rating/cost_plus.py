"""Cost plus: what the usage cost whoever sells it, and a markup."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from taximeter.catalog.prices import CostPlus
from taximeter.rating.steps import RatedTier


def rate(
    price: CostPlus, quantity_pico: int, group: Mapping[str, str | None]
) -> tuple[RatedTier, ...]:
    """
    One step, whose unit is the cost of a unit with the markup; none for a quantity of 0.

    Args:
        quantity_pico: Units, or with no list of costs the cost itself.
    """
    assert quantity_pico >= 0, quantity_pico
    if not quantity_pico:
        return ()
    costs = price.costs
    cost = Fraction(1) if costs is None else costs.of(group.get(costs.dimension))
    return (RatedTier(quantity_pico, cost * (1 + price.markup)),)
