"""
Profile: what was used in periods of the past, taken on into those to come.

The quantity of a period to come is the mean of the past ones times the growth, once for each
period; rounded half up to a quantity's twelve digits, as the number of events is to whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TypeAlias

import msgspec

from taximeter.meters.rounding import half_up

Group: TypeAlias = tuple[str | None, ...]


class Used(msgspec.Struct, frozen=True):
    """What one group came to in one period."""

    quantity_pico: int
    events: int


def mean_of(periods: Sequence[dict[Group, Used]]) -> dict[Group, tuple[Fraction, Fraction]]:
    """Quantity in pico and events of each group in a mean period, exact; absent is zero."""
    groups: dict[Group, None] = dict.fromkeys(group for one in periods for group in one)
    return {group: _mean([one[group] for one in periods if group in one], len(periods))
            for group in groups}  # fmt: skip


def _mean(found: Iterable[Used], periods: int) -> tuple[Fraction, Fraction]:
    used = list(found)
    quantity = sum(one.quantity_pico for one in used)
    return Fraction(quantity, periods), Fraction(sum(one.events for one in used), periods)


def grown(mean: tuple[Fraction, Fraction], growth: Fraction, nth: int) -> Used:
    """
    Args:
        growth: From one period to the next: 0.1 for 10% more.
        nth: Which period to come, from 1.
    """
    factor = (1 + growth) ** nth
    quantity, events = (part * factor for part in mean)
    return Used(
        half_up(quantity.numerator, quantity.denominator),
        half_up(events.numerator, events.denominator),
    )
