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


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, "0"),
        (1, "1.10"),
        (1000, "101"),
        ("1000.000000000001", "85.00000000000008"),
        (2500, "205"),
        (-7, "0"),
    ],
)
def test_volume_prices_all_units_at_the_tier_of_the_total(
    quantity: str | int, expected: str
) -> None:
    """K8: the bound is inclusive, the fee of that one tier is charged, nothing for nothing."""
    assert amount(price(type="volume", tiers=TIERS), quantity) == Fraction(expected)


def test_a_volume_line_is_explained_by_one_step() -> None:
    line = rate_line(price(type="volume", tiers=TIERS), 2500 * E12)
    assert line.tiers == (RatedTier(2500 * E12, Fraction("0.08"), Fraction(5)),)


def test_a_stairstep_charges_the_fee_of_its_tier_whatever_lies_in_it() -> None:
    stairs = price(type="stairstep", tiers=[{"up_to": 10, "flat": 20}, {"flat": 50}])
    quantities = [0, "0.1", 10, "10.1", 10**6]
    assert [amount(stairs, quantity) for quantity in quantities] == [0, 20, 20, 50, 50]


def test_a_package_that_is_begun_is_paid_after_the_free_units() -> None:
    """K9"""
    packages = price(type="package", size=1000, amount=5, free=100)
    quantities = [0, 100, "100.1", 1100, "1100.000000000001", 2101]
    assert [amount(packages, quantity) for quantity in quantities] == [0, 0, 5, 5, 10, 15]
    assert rate_line(packages, 2101 * E12).tiers == (
        RatedTier(2001 * E12, Fraction(5), packages=3),
    )


def test_a_percentage_takes_its_share_of_the_sum_and_a_fee_for_each_event() -> None:
    fees = price(type="percentage", rate="0.029", fixed="0.30")
    line = rate_line(fees, 200 * E12, events=3)
    assert line.amount == Fraction("6.70")
    assert line.tiers == (RatedTier(200 * E12, Fraction("0.029"), Fraction("0.90")),)


def test_events_that_cancel_each_other_out_still_cost_their_fees() -> None:
    fees = price(type="percentage", rate="0.029", fixed="0.30")
    assert rate_line(fees, 0, events=2).amount == Fraction("0.60")
    assert rate_line(fees, -50 * E12, events=2).amount == Fraction("0.60"), "K12: no refund"
    assert rate_line(fees, 0).tiers == ()


CELLS = [
    {"match": {"model": "opus", "region": "eu"}, "unit": "0.06"},
    {"match": {"model": "opus"}, "unit": "0.05"},
]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (("opus", "eu"), "0.60"),
        (("opus", "us"), "0.50"),
        (("opus", None), "0.50"),
        (("haiku", "eu"), "0.10"),
        ((None, None), "0.10"),
    ],
)
def test_the_first_cell_that_fits_is_the_price_and_else_the_default(
    group: tuple[str | None, ...], expected: str
) -> None:
    matrix = price(type="matrix", cells=CELLS, default="0.01")
    assert matrix.group_by == ("model", "region")
    assert rate_line(matrix, 10 * E12, 1, group).amount == Fraction(expected)


def test_multipliers_of_several_dimensions_multiply_and_bounds_come_after() -> None:
    multiplied = price(
        type="per_unit",
        unit=1,
        maximum=30,
        multipliers={"region": {"eu": "1.2"}, "tier": {"fast": 2, "batch": "0.5", "default": 1}},
    )
    assert multiplied.group_by == ("region", "tier")
    line = rate_line(multiplied, 10 * E12, 1, ("eu", "fast"))
    assert (line.multiplier, line.amount, line.adjustment) == (Fraction("2.4"), 24, 0)
    assert rate_line(multiplied, 10 * E12, 1, ("us", None)).amount == 10
    assert rate_line(multiplied, 20 * E12, 1, ("eu", "fast")).adjustment == -18
    assert rate_line(multiplied, 10 * E12, 1, (None, "batch")).amount == 5


def test_usage_without_a_value_has_the_default_factor() -> None:
    by_region = {"region": {"eu": 3, "default": 2}}
    multiplied = price(type="per_unit", unit=1, multipliers=by_region)
    factors = [rate_line(multiplied, E12, 1, (region,)).amount for region in ("eu", "us", None)]
    assert factors == [3, 2, 2]


@pytest.mark.parametrize(
    ("rounding", "quantities"),
    [
        ("up", [("0", 0), ("0.1", 1), ("1000", 1), ("1000.1", 2)]),
        ("half_up", [("0", 0), ("499.9", 0), ("500", 1), ("1499.9", 1), ("1500", 2)]),
        ("none", [("0", 0), ("500", "0.5"), ("1234", "1.234"), ("0.000000000001", 0)]),
    ],
)
def test_a_transform_makes_priced_units_of_metered_ones(
    rounding: str, quantities: list[tuple[str, int | str]]
) -> None:
    thousands = price(type="per_unit", unit=1, transform={"divide_by": 1000, "round": rounding})
    for metered, expected in quantities:
        assert amount(thousands, metered) == Fraction(expected)


def test_free_units_and_tiers_are_in_priced_units() -> None:
    thousands = price(
        type="graduated",
        transform={"divide_by": 1000, "round": "up"},
        free=1,
        tiers=[{"up_to": 2, "unit": 10}, {"unit": 8}],
    )
    line = rate_line(thousands, parse_quantity("3000.5"))
    assert (line.metered_pico, line.quantity_pico) == (parse_quantity("3000.5"), 4 * E12)
    assert (line.free_pico, line.amount) == (E12, 28)
    assert rate_line(thousands, 700 * E12).free_pico == E12, "one thousand is begun, and free"


def test_more_free_units_than_were_priced_are_not_used_up() -> None:
    thousands = price(type="per_unit", unit=1, free=5, transform={"divide_by": 1000})
    line = rate_line(thousands, 2000 * E12)
    assert (line.quantity_pico, line.free_pico, line.amount) == (2 * E12, 2 * E12, 0)


def test_only_a_usage_price_is_rated_by_quantity() -> None:
    with pytest.raises(TypeError, match="UsagePrice"):
        rate_line(UsagePrice(key="p", meter="m"), 0)
