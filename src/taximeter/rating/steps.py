"""The steps a rated quantity is explained by."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.quantities import E12


class RatedTier(msgspec.Struct, frozen=True):
    """
    A part of the quantity that one price applies to.

    Attributes:
        quantity_pico: Units of the part; above zero.
        unit: Price of each.
        flat: Fee charged once for the part.
    """

    quantity_pico: int
    unit: Fraction
    flat: Fraction = Fraction(0)

    @property
    def amount(self) -> Fraction:
        """Exact: units x unit price + flat fee."""
        return Fraction(self.quantity_pico, E12) * self.unit + self.flat
