"""Package: units come in packages, and one that is begun is paid (K9)."""

from __future__ import annotations

from taximeter.catalog.prices import Package
from taximeter.rating.steps import RatedTier


def rate(price: Package, quantity_pico: int) -> tuple[RatedTier, ...]:
    """One step of ceil(quantity / size) packages; none for a quantity of 0."""
    assert quantity_pico >= 0, quantity_pico
    if not quantity_pico:
        return ()
    packages = -(-quantity_pico // price.size_pico)
    return (RatedTier(quantity_pico, price.amount, packages=packages),)
