"""Matrix: a price of its own for each combination of dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from taximeter.catalog.prices import Matrix
from taximeter.rating.steps import RatedTier


def rate(
    price: Matrix, quantity_pico: int, group: Mapping[str, str | None]
) -> tuple[RatedTier, ...]:
    """
    One step at the price of the first cell that fits, else of the default; none for 0.

    Args:
        group: Value of each dimension the cells name; None fits no cell that names it.
    """
    assert quantity_pico >= 0, quantity_pico
    if not quantity_pico:
        return ()
    unit = next((cell.unit for cell in price.cells if cell.fits(group)), price.default)
    return (RatedTier(quantity_pico, unit),)
