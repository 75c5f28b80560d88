"""Rating: tiers, free units, bounds, proration, by hand (K4, K8, K10, K12)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from taximeter.catalog.prices import UsagePrice, parse_price
from taximeter.quantities import E12, parse_quantity
from taximeter.rating import RatedTier, rate_line

TIERS = [{"up_to": 1000, "unit": "0.10", "flat": 1}, {"unit": "0.08", "flat": 5}]
NO_TRUE_UP = Fraction(0)


def price(**document: Any) -> UsagePrice:
    parsed = parse_price("p", {"meter": "tokens"} | document)
    assert isinstance(parsed, UsagePrice)
    return parsed


def amount(of: UsagePrice, quantity: str | int) -> Fraction:
    return rate_line(of, parse_quantity(quantity)).amount


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, "0"),
        (1, "1.10"),
        (1000, "101"),
        ("1000.000000000001", "106.00000000000008"),
        (1001, "106.08"),
        (2500, "226"),
        (-7, "0"),
    ],
)
def test_a_bound_is_inclusive_and_a_fee_is_charged_once_if_its_tier_is_reached(
    quantity: str | int, expected: str
) -> None:
    assert amount(price(type="graduated", tiers=TIERS), quantity) == Fraction(expected)


def test_a_graduated_line_is_explained_tier_by_tier() -> None:
    line = rate_line(price(type="graduated", tiers=TIERS), 2500 * E12)
    assert line.tiers == (
        RatedTier(1000 * E12, Fraction("0.10"), Fraction(1)),
        RatedTier(1500 * E12, Fraction("0.08"), Fraction(5)),
    )
    assert [tier.amount for tier in line.tiers] == [101, 125]
    assert line.amount == 226
    assert line.adjustment == NO_TRUE_UP


def test_a_line_per_unit_is_one_step() -> None:
    line = rate_line(price(type="per_unit", unit="0.005"), 3 * E12)
    assert line.tiers == (RatedTier(3 * E12, Fraction("0.005")),)
    assert line.amount == Fraction("0.015"), "nothing is rounded here"


def test_free_units_go_before_the_tiers() -> None:
    line = rate_line(price(type="graduated", tiers=TIERS, free=500), 1500 * E12)
    assert line.free_pico == 500 * E12
    assert line.amount == 101, "the 1,000 units left stay in the first tier"


def test_usage_within_the_free_units_costs_nothing_and_reaches_no_tier() -> None:
    line = rate_line(price(type="graduated", tiers=TIERS, free=500), 300 * E12)
    assert (line.quantity_pico, line.free_pico, line.tiers, line.amount) == (
        300 * E12,
        300 * E12,
        (),
        0,
    )


def test_a_negative_aggregate_bills_as_nothing() -> None:
    line = rate_line(price(type="per_unit", unit=1), -5 * E12)
    assert (line.quantity_pico, line.amount) == (0, 0)


def test_a_minimum_lifts_a_line_also_without_usage() -> None:
    minimum = price(type="per_unit", unit=1, minimum=10)
    assert [amount(minimum, quantity) for quantity in (0, 4, 10, 11)] == [10, 10, 10, 11]
    assert rate_line(minimum, 4 * E12).adjustment == 6


def test_a_maximum_caps_a_line() -> None:
    maximum = price(type="per_unit", unit=1, maximum=10)
    assert [amount(maximum, quantity) for quantity in (0, 9, 10, 11)] == [0, 9, 10, 10]
    assert rate_line(maximum, 12 * E12).adjustment == -2


def test_only_a_usage_price_is_rated_by_quantity() -> None:
    with pytest.raises(TypeError, match="UsagePrice"):
        rate_line(UsagePrice(key="p", meter="m"), 0)
