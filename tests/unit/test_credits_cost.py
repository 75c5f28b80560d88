"""Cost of usage in credit: exact, rounded once, half-up with ties away from zero (K5)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.credits.cost import affordable_pico, cost_pico
from taximeter.quantities import E12


class ByModel:
    """0.02 a unit, 0.03 of opus, nothing of a free model."""

    def per_unit_pico(self, value: str | None) -> int | None:
        return {None: 20_000_000_000, "opus": 30_000_000_000, "free": 0}.get(value)


class Each:
    def __init__(self, unit_pico: int) -> None:
        self.unit_pico = unit_pico

    def per_unit_pico(self, value: str | None) -> int | None:
        return self.unit_pico


def test_a_quantity_costs_its_product_by_dimension() -> None:
    assert cost_pico(ByModel(), 3 * E12, None) == 60_000_000_000
    assert cost_pico(ByModel(), 3 * E12, "opus") == 90_000_000_000
    assert cost_pico(ByModel(), 3 * E12, "free") == 0


def test_what_has_no_cost_is_not_sold() -> None:
    assert cost_pico(ByModel(), E12, "haiku") is None
    assert affordable_pico(ByModel(), E12, "haiku") is None


@pytest.mark.parametrize(
    ("quantity_pico", "unit_pico", "cost"),
    [
        (1, E12 // 2, 1),  # half a pico: up
        (1, E12 // 2 - 1, 0),
        (3, E12 // 2, 2),
        (-1, E12 // 2, -1),  # a tie goes away from zero
        (-1, E12 // 2 - 1, 0),
        (0, 5, 0),
        (10**38 - 1, 10**38 - 1, (10**38 - 1) ** 2 // E12),
    ],
)
def test_the_product_is_rounded_once_to_a_pico(
    quantity_pico: int, unit_pico: int, cost: int
) -> None:
    exact = Fraction(quantity_pico * unit_pico, E12)
    assert abs(Fraction(cost) - exact) <= Fraction(1, 2)
    assert cost_pico(Each(unit_pico), quantity_pico) == cost


def test_what_costs_nothing_has_no_limit_and_below_zero_nothing_is_affordable() -> None:
    assert affordable_pico(ByModel(), 5, "free") is None
    assert affordable_pico(ByModel(), 0) == 24
    assert affordable_pico(ByModel(), -1) == 0
    assert affordable_pico(ByModel(), -(10**20)) == 0


@given(unit=st.integers(1, 10**20), credit=st.integers(0, 10**25))
def test_the_greatest_affordable_quantity_costs_no_more_and_one_pico_more_does(
    unit: int, credit: int
) -> None:
    most = affordable_pico(Each(unit), credit)
    assert most is not None
    cost, beyond = cost_pico(Each(unit), most), cost_pico(Each(unit), most + 1)
    assert cost is not None
    assert beyond is not None
    assert cost <= credit < beyond
