"""Proration: the share of a fee that falls on a part of its period, by days (K4)."""

from __future__ import annotations

from fractions import Fraction

import msgspec


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
