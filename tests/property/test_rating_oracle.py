"""Rating against a unit-by-unit oracle, and the laws it keeps (K5, K8, K12)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property import rating_oracle
from tests.property.effort import thorough

from taximeter.catalog.prices import UsagePrice, dump_price, parse_price
from taximeter.quantities import parse_quantity
from taximeter.rating import rate_line

grains = st.sampled_from([Decimal(1), Decimal("0.25"), Decimal("0.000000000001"), Decimal(1000)])
unit_prices = st.decimals(0, 1000, places=12) | st.decimals(0, 5, places=2)
fees = st.just(Decimal(0)) | st.decimals(0, 100, places=2)


@st.composite
def tier_documents(draw: st.DrawFn, grain: Decimal) -> list[dict[str, Any]]:
    bounds = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
    tiers = [{"up_to": str(bound * grain)} for bound in bounds] + [{}]
    return [t | {"unit": str(draw(unit_prices)), "flat": str(draw(fees))} for t in tiers]


def usage_price(document: dict[str, Any]) -> UsagePrice:
    price = parse_price("usage", {"meter": "tokens"} | document)
    assert isinstance(price, UsagePrice)
    return price


@st.composite
def prices(draw: st.DrawFn) -> UsagePrice:
    """Any model, with free units and bounds."""
    document: dict[str, Any] = {"free": draw(st.integers(0, 20))}
    if draw(st.booleans()):
        document |= {"type": "per_unit", "unit": str(draw(unit_prices))}
    else:
        document |= {"type": "graduated", "tiers": draw(tier_documents(Decimal(1)))}
    if draw(st.booleans()):
        document["minimum"] = str(draw(st.decimals(0, 50, places=2)))
    if draw(st.booleans()):
        document["maximum"] = str(draw(st.decimals(50, 500, places=2)))
    return usage_price(document)


quantities = st.integers(-5 * 10**12, 200 * 10**12)


@thorough
@given(grain=grains, count=st.integers(0, 80), unit=unit_prices)
def test_per_unit_equals_the_sum_over_single_units(
    grain: Decimal, count: int, unit: Decimal
) -> None:
    price = usage_price({"type": "per_unit", "unit": str(unit)})
    quantity = count * grain
    expected = rating_oracle.per_unit(quantity, unit, grain)
    assert rate_line(price, parse_quantity(quantity)).amount == Fraction(expected)


@thorough
@given(data=st.data(), grain=grains, count=st.integers(0, 80), free=st.integers(0, 10))
def test_graduated_equals_the_sum_over_single_units(
    data: st.DataObject, grain: Decimal, count: int, free: int
) -> None:
    tiers = data.draw(tier_documents(grain))
    price = usage_price({"type": "graduated", "tiers": tiers, "free": str(free * grain)})
    steps = [
        (Decimal(t["up_to"]) if "up_to" in t else None, Decimal(t["unit"]), Decimal(t["flat"]))
        for t in tiers
    ]
    expected = rating_oracle.graduated(max(0, count - free) * grain, steps, grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == Fraction(expected)


@thorough
@given(price=prices(), one=quantities, other=quantities)
def test_more_usage_never_costs_less(price: UsagePrice, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert rate_line(price, less).amount <= rate_line(price, more).amount


@thorough
@given(price=prices(), quantity=quantities)
def test_the_steps_explain_the_whole_quantity_and_the_whole_amount(
    price: UsagePrice, quantity: int
) -> None:
    line = rate_line(price, quantity)
    assert line.quantity_pico == max(0, quantity)
    assert line.free_pico + sum(tier.quantity_pico for tier in line.tiers) == line.quantity_pico
    assert sum(tier.amount for tier in line.tiers) + line.adjustment == line.amount
    assert all(tier.quantity_pico > 0 for tier in line.tiers)
    assert price.minimum is None or line.amount >= price.minimum
    assert price.maximum is None or line.amount <= price.maximum


@thorough
@given(
    units=st.lists(unit_prices, min_size=2, max_size=4),
    one=st.integers(0, 60),
    other=st.integers(0, 60),
)
def test_falling_tier_prices_make_one_large_line_no_dearer_than_two_small_ones(
    units: list[Decimal], one: int, other: int
) -> None:
    falling = sorted(units, reverse=True)
    tiers = [{"up_to": 10 * (n + 1), "unit": str(unit)} for n, unit in enumerate(falling)]
    del tiers[-1]["up_to"]
    price = usage_price({"type": "graduated", "tiers": tiers})
    together, apart_one, apart_other = (
        rate_line(price, quantity * 10**12).amount for quantity in (one + other, one, other)
    )
    assert together <= apart_one + apart_other


@thorough
@given(data=st.data())
def test_without_fees_a_tier_bound_is_no_step_in_the_amount(data: st.DataObject) -> None:
    tiers = data.draw(tier_documents(Decimal(1)))
    for tier in tiers:
        del tier["flat"]
    price = usage_price({"type": "graduated", "tiers": tiers})
    dearest = max(Fraction(tier["unit"]) for tier in tiers)
    for tier in tiers[:-1]:
        bound = parse_quantity(tier["up_to"])
        step = rate_line(price, bound + 1).amount - rate_line(price, bound).amount
        assert step <= dearest * Fraction(1, 10**12)


@thorough
@given(price=prices())
def test_a_price_reads_back_from_its_dump(price: UsagePrice) -> None:
    document = dump_price(price)  # type: ignore[arg-type]
    assert parse_price(price.key, document) == price
    assert dump_price(parse_price(price.key, document)) == document
