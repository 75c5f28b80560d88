"""
Cost: from a quantity of usage to an amount of credit.

Credits are rounded in one place, here: the exact product of quantity and cost per unit, half-up
with ties away from zero to 10^-12 of the credit. Everything after it is whole pico.
"""

from __future__ import annotations

import msgspec

from taximeter.quantities import E12


class Cost(msgspec.Struct, frozen=True):
    """
    Credit per unit of usage, the same for all of it or by the value of one dimension.

    Attributes:
        default_pico: Pico of credit for one unit, not negative; None: what no case names is not
            sold.
        by: The dimension the cases are values of; None without cases.
        cases: Dimension value, as text -> pico of credit for one unit.
    """

    default_pico: int | None
    by: str | None = None
    cases: dict[str, int] = {}

    def unit_pico(self, value: str | None) -> int | None:
        """
        Pico of credit for one unit.

        Args:
            value: The usage's value of the dimension, None if it has none.

        Returns:
            None if usage of that value is not sold.
        """
        if value is None:
            return self.default_pico
        return self.cases.get(value, self.default_pico)

    def cost_pico(self, quantity_pico: int, value: str | None) -> int | None:
        """The cost of a quantity; of a negative one, minus that of its opposite. None: not sold."""
        unit_pico = self.unit_pico(value)
        if unit_pico is None:
            return None
        cost_pico = (2 * abs(quantity_pico) * unit_pico + E12) // (2 * E12)
        return -cost_pico if quantity_pico < 0 else cost_pico

    def affordable_pico(self, credit_pico: int, value: str | None) -> int | None:
        """
        The greatest quantity that costs at most so much credit, in pico.

        Args:
            credit_pico: Nothing is affordable below 0.

        Returns:
            None if there is no greatest, because a unit costs nothing or is not sold.
        """
        unit_pico = self.unit_pico(value)
        if not unit_pico:
            return None
        # Half-up: a product rounds to at most c as long as it stays below c + 1/2.
        return max(0, ((2 * credit_pico + 1) * E12 - 1) // (2 * unit_pico))
