"""
Rated records: what each event of a line had a part in.

Tiers, free units and minimums belong to a quantity, not to an event. So an event's share is defined
by the order of the log: it is what the line's exact amount rose by when that event was counted. The
shares and the base (what the line costs before any event: a minimum, a level left from before) add
up to the exact amount, for every price and every aggregation, because they telescope. A share can
be negative: a volume price that falls, an average that sinks.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.catalog.prices import UsagePrice
from taximeter.rating import Band, RatedLine, RatedTier, rate_line


class Counted(msgspec.Struct, frozen=True):
    """
    The aggregate of a line after some of its events, in pico, and how many those were.

    Attributes:
        bands: Of a percentage with bounds for each event, see `rating.percentage`.
    """

    value_pico: int
    events: int
    bands: tuple[Band, ...] = ()


class StepShare(msgspec.Struct, frozen=True):
    """What one step of the price (see `RatedTier`) rose by; exact, in units of the currency."""

    quantity_pico: int
    unit: Fraction
    amount: Fraction


class Share(msgspec.Struct, frozen=True):
    """
    What a line rose by.

    Attributes:
        metered_pico: In the meter's unit.
        quantity_pico: In the unit that is priced.
        free_pico: How much of that was free.
        steps: Those of the price that changed, in its order.
        amount: Exact: steps x multiplier, within the line's minimum and maximum.
    """

    metered_pico: int
    quantity_pico: int
    free_pico: int
    steps: tuple[StepShare, ...]
    amount: Fraction


class Shares:
    """
    The shares of a line's events, one after the other.

    Args:
        group: Values of the price's `group_by`, in its order.
        before: What was counted before the next event; for a line from its beginning, what stood
            before any.
        factor: Of the hours of the day the line is of.
    """

    def __init__(
        self,
        price: UsagePrice,
        group: tuple[str | None, ...],
        before: Counted,
        factor: Fraction = Fraction(1),
    ) -> None:
        self._price = price
        self._group = group
        self._factor = factor
        self._rated = self._rate(before)

    @property
    def rated(self) -> RatedLine:
        """The line up to here."""
        return self._rated

    def next(self, after: Counted) -> Share:
        """The share of the event that took the line to `after`."""
        old, self._rated = self._rated, self._rate(after)
        new = self._rated
        return Share(
            metered_pico=new.metered_pico - old.metered_pico,
            quantity_pico=new.quantity_pico - old.quantity_pico,
            free_pico=new.free_pico - old.free_pico,
            steps=_rise(old.tiers, new.tiers),
            amount=new.amount - old.amount,
        )

    def _rate(self, counted: Counted) -> RatedLine:
        return rate_line(
            self._price,
            counted.value_pico,
            counted.events,
            self._group,
            bands=counted.bands,
            factor=self._factor,
        )


def _rise(old: tuple[RatedTier, ...], new: tuple[RatedTier, ...]) -> tuple[StepShare, ...]:
    """Step by step; one that was priced anew (a volume price) falls away and comes again."""
    rises: list[StepShare] = []
    for place in range(max(len(old), len(new))):
        was = old[place] if place < len(old) else None
        is_now = new[place] if place < len(new) else None
        if was is not None and is_now is not None and was.unit == is_now.unit:
            quantity_pico = is_now.quantity_pico - was.quantity_pico
            amount = is_now.amount - was.amount
            if quantity_pico or amount:
                rises.append(StepShare(quantity_pico, is_now.unit, amount))
            continue
        if was is not None:
            rises.append(StepShare(-was.quantity_pico, was.unit, -was.amount))
        if is_now is not None:
            rises.append(StepShare(is_now.quantity_pico, is_now.unit, is_now.amount))
    return tuple(rises)
