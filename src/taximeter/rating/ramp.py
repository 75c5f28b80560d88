"""Ramp: what a price has become by some period of a subscription, or some instant."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from taximeter.catalog.prices import Price


def price_at(price: Price, number: int, at: int) -> Price:
    """
    The price as it is then, which has no ramp any more.

    Args:
        number: Of the billing period, 1 for the first that is charged.
        at: Microseconds since the epoch.
    """
    current = price
    for step in price.ramp:
        if step.from_period is not None and step.from_period <= number:
            current = step.price
        if step.from_at is not None and step.from_at <= at:
            current = step.price
    return replace(current, ramp=()) if current.ramp else current


def turning_points(prices: Iterable[Price]) -> set[int]:
    """Instants at which one of the prices becomes another."""
    return {step.from_at for price in prices for step in price.ramp if step.from_at is not None}
