"""
Percentage: a share of the summed amount, and a fixed fee for each event.

Both are linear, so that the sum and the number of events say as much as each event by itself. With
bounds for each event they are linear in parts: below some amount every event costs the minimum,
above another one the maximum. So the sum and the number of events in each of these bands do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from taximeter.catalog.prices import Percentage
from taximeter.quantities import E12
from taximeter.rating.bounds import bounded
from taximeter.rating.steps import RatedTier


class Band(NamedTuple):
    """Events whose amounts lie between two limits, and the sum of their amounts."""

    events: int
    value_pico: int


def limits(price: Percentage) -> tuple[int, ...]:
    """
    Amounts at which one band ends and the next begins, ascending, in pico.

    An event of an amount below the first is in the first band, of one from the last on in the last.
    """
    if not price.rate:
        return ()
    least, most = price.min_per_event, price.max_per_event
    below = () if least is None else (-(-_reaching(price, least) // 1),)
    above = () if most is None else (_reaching(price, most) // 1 + 1,)
    return (*below, *above)


def rate(
    price: Percentage, quantity_pico: int, events: int, bands: Sequence[Band] = ()
) -> tuple[RatedTier, ...]:
    """
    One step for each band with events, the fees of its events as its flat fee; without bounds one
    step, and none where there is nothing to pay for.

    Events whose amounts cancel each other out still cost their fees.

    Args:
        quantity_pico: The sum of all amounts; not negative.
        bands: One for each part the `limits` make; only of a price that has bounds for each event.
    """
    if not price.is_clamped:
        assert quantity_pico >= 0, quantity_pico
        fees = price.fixed * events
        return (RatedTier(quantity_pico, price.rate, fees),) if quantity_pico or fees else ()
    assert len(bands) == len(limits(price)) + 1, "bounds of events need the events' own amounts"
    return tuple(_steps(price, bands))


def _steps(price: Percentage, bands: Sequence[Band]) -> Iterator[RatedTier]:
    for band, fee in zip(bands, _fees(price), strict=True):
        if band.events and fee is None:
            yield RatedTier(band.value_pico, price.rate, price.fixed * band.events)
        elif band.events and fee is not None:
            yield RatedTier(band.value_pico, Fraction(0), fee * band.events)


def _fees(price: Percentage) -> list[Fraction | None]:
    """What an event of each band costs; None: rate and fixed."""
    if not price.rate:
        return [bounded(price.fixed, price.min_per_event, price.max_per_event)]
    below = [price.min_per_event] if price.min_per_event is not None else []
    above = [price.max_per_event] if price.max_per_event is not None else []
    return [*below, None, *above]


def _reaching(price: Percentage, fee: Fraction) -> Fraction:
    """The amount that costs so much, in pico."""
    return Fraction(fee - price.fixed, price.rate) * E12
