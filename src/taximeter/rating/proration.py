"""Proration: the share of a fee that falls on a part of its period, by days (K4)."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.periods import Period, local_day


class Proration(msgspec.Struct, frozen=True):
    """Active local days, and local calendar days of the whole period they are out of."""

    days: int
    of: int

    @property
    def share(self) -> Fraction:
        """1 for a whole period."""
        return Fraction(self.days, self.of)

    @property
    def partial(self) -> bool:
        return self.days < self.of


def prorate_days(active: Period, whole: Period, timezone: str) -> Proration:
    """
    Count the days a fee is due for: the start day in, the end day out.

    Starting and ending on the same local day counts one day. The denominator is the whole
    calendar period, however early the active part begins or ends; clamping it to the active part
    would bill a full fee for a fraction.

    Args:
        active: What is billed; inside `whole`.
        whole: The full period the fee is a price for, see `Schedule.whole`.
    """
    assert whole.start <= active.start <= active.end <= whole.end, (active, whole)
    first = local_day(active.start, timezone)
    days = (local_day(active.end, timezone) - first).days
    of = (local_day(whole.end, timezone) - local_day(whole.start, timezone)).days
    return Proration(days=max(1, days), of=max(1, of))
