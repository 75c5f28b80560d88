"""
Cost: from a quantity of usage to an amount of credit.

Credits are rounded in one place, here: the exact product of quantity and cost per unit, half-up
with ties away from zero to 10^-12 of the credit. Everything after it is whole pico.
"""

from __future__ import annotations

from typing import Protocol

from taximeter.quantities import E12


class UnitCost(Protocol):
    """What a unit of usage costs, in pico of credit, not negative; None: it is not sold."""

    def per_unit_pico(self, value: str | None) -> int | None:
        """By the usage's value of the dimension that costs go by; None if it has none."""


def cost_pico(cost: UnitCost, quantity_pico: int, value: str | None = None) -> int | None:
    """
    The cost of a quantity.

    Args:
        quantity_pico: A negative one costs minus what its opposite costs.
        value: The usage's value of the dimension that costs go by, None if it has none.

    Returns:
        Pico of credit; None if usage of that value is not sold.
    """
    unit_pico = cost.per_unit_pico(value)
    if unit_pico is None:
        return None
    rounded_pico = (2 * abs(quantity_pico) * unit_pico + E12) // (2 * E12)
    return -rounded_pico if quantity_pico < 0 else rounded_pico


def affordable_pico(cost: UnitCost, credit_pico: int, value: str | None = None) -> int | None:
    """
    The greatest quantity that costs at most so much credit, in pico.

    Args:
        credit_pico: Below 0 nothing is affordable.

    Returns:
        None if there is no greatest, because a unit costs nothing or is not sold.
    """
    unit_pico = cost.per_unit_pico(value)
    if not unit_pico:
        return None
    # Half-up: a product rounds to at most c as long as it stays below c + 1/2.
    return max(0, ((2 * credit_pico + 1) * E12 - 1) // (2 * unit_pico))
