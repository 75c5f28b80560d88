"""Percentage: a share of the summed amount, and a fixed fee for each event."""

from __future__ import annotations

from taximeter.catalog.prices import Percentage
from taximeter.rating.steps import RatedTier


def rate(price: Percentage, quantity_pico: int, events: int) -> tuple[RatedTier, ...]:
    """
    One step, with the fees of all events as its flat fee; none where there is nothing to pay for.

    Both parts are linear, so that the sum and the number of events say as much as each event by
    itself. Events whose amounts cancel each other out still cost their fees.
    """
    assert quantity_pico >= 0, quantity_pico
    fees = price.fixed * events
    return (RatedTier(quantity_pico, price.rate, fees),) if quantity_pico or fees else ()
