"""Per unit: the same price for every unit."""

from __future__ import annotations

from taximeter.catalog.prices import PerUnit
from taximeter.rating.steps import RatedTier


def rate(price: PerUnit, quantity_pico: int) -> tuple[RatedTier, ...]:
    """One step for the whole quantity, none for a quantity of 0."""
    assert quantity_pico >= 0, quantity_pico
    return (RatedTier(quantity_pico, price.unit),) if quantity_pico else ()
