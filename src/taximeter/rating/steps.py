"""The steps a rated quantity is explained by."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.quantities import E12


class RatedTier(msgspec.Struct, frozen=True):
    """
    A part of the quantity that one price applies to.

    Attributes:
        quantity_pico: Units of the part; negative only for amounts of events that are.
        unit: Price of each; of each package where there are packages.
        flat: Fee charged for the part.
        packages: How many were begun; None where units are not sold in packages.
    """

    quantity_pico: int
    unit: Fraction
    flat: Fraction = Fraction(0)
    packages: int | None = None

    @property
    def amount(self) -> Fraction:
        """Exact: units (or packages) x unit price + flat fee."""
        unit = self.unit
        if self.packages is not None:
            fees = Fraction(self.packages * unit.numerator, unit.denominator)
        else:  # in one step: every line of every invoice comes along here
            fees = Fraction(self.quantity_pico * unit.numerator, E12 * unit.denominator)
        return fees + self.flat if self.flat else fees
