"""Rating against a unit-by-unit oracle, and the laws it keeps (K5, K8, K9, K12, K18)."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.property import rating_oracle
from tests.property.effort import patient, thorough

from taximeter.catalog.prices import (
    Stairstep,
    Tier,
    UsagePrice,
    Volume,
    dump_price,
    parse_price,
)
from taximeter.quantities import E12, format_quantity, parse_quantity
from taximeter.rating import RatedLine, rate_line
from taximeter.rating.volume import tier_of

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
def model_members(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    if kind == "per_unit":
        return {"unit": str(draw(unit_prices))}
    if kind == "package":
        size = draw(st.decimals("0.5", 30, places=1))
        return {"size": str(size), "amount": str(draw(unit_prices))}
    tiers = draw(tier_documents(Decimal(1)))
    if kind == "stairstep":
        tiers = [{name: value for name, value in t.items() if name != "unit"} for t in tiers]
    return {"tiers": tiers}


@st.composite
def prices(draw: st.DrawFn) -> UsagePrice:
    """Any model but those that look at a group, with free units, a transform and bounds."""
    document: dict[str, Any] = {"free": draw(st.integers(0, 20))}
    kind = draw(st.sampled_from(["per_unit", "graduated", "volume", "stairstep", "package"]))
    document |= {"type": kind} | draw(model_members(kind))
    if draw(st.booleans()):
        document["transform"] = {
            "divide_by": str(draw(st.decimals("0.001", 7, places=3))),
            "round": draw(st.sampled_from(["up", "half_up", "none"])),
        }
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
    expected = rating_oracle.graduated(max(0, count - free) * grain, steps_of(tiers), grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == Fraction(expected)


def steps_of(tiers: list[dict[str, Any]]) -> list[rating_oracle.Step]:
    return [
        (Decimal(t["up_to"]) if "up_to" in t else None, Decimal(t["unit"]), Decimal(t["flat"]))
        for t in tiers
    ]


@thorough
@given(data=st.data(), grain=grains, count=st.integers(0, 80), free=st.integers(0, 10))
def test_volume_equals_the_sum_over_single_units(
    data: st.DataObject, grain: Decimal, count: int, free: int
) -> None:
    tiers = data.draw(tier_documents(grain))
    price = usage_price({"type": "volume", "tiers": tiers, "free": str(free * grain)})
    expected = rating_oracle.volume(max(0, count - free) * grain, steps_of(tiers), grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == Fraction(expected)


@patient
@given(data=st.data(), grain=grains, count=st.integers(0, 80), free=st.integers(0, 10))
def test_a_stairstep_is_volume_without_a_price_of_units(
    data: st.DataObject, grain: Decimal, count: int, free: int
) -> None:
    tiers = data.draw(tier_documents(grain))
    stairs = [{name: t[name] for name in t if name != "unit"} for t in tiers]
    price = usage_price({"type": "stairstep", "tiers": stairs, "free": str(free * grain)})
    steps = [(up_to, Decimal(0), flat) for up_to, _, flat in steps_of(tiers)]
    expected = rating_oracle.volume(max(0, count - free) * grain, steps, grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == Fraction(expected)


@thorough
@given(
    grain=grains,
    count=st.integers(0, 80),
    free=st.integers(0, 10),
    size=st.integers(1, 20),
    amount=unit_prices,
)
def test_packages_are_those_that_are_opened_unit_by_unit(
    grain: Decimal, count: int, free: int, size: int, amount: Decimal
) -> None:
    """K9"""
    price = usage_price(
        {
            "type": "package",
            "size": str(size * grain),
            "amount": str(amount),
            "free": str(free * grain),
        }
    )
    expected = rating_oracle.package(max(0, count - free) * grain, size * grain, amount, grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == Fraction(expected)


@patient
@given(
    grain=grains,
    count=st.integers(0, 80),
    divisor=st.integers(1, 20),
    rounding=st.sampled_from(["up", "half_up"]),
)
def test_whole_priced_units_are_those_filled_unit_by_unit(
    grain: Decimal, count: int, divisor: int, rounding: str
) -> None:
    transform = {"divide_by": str(divisor * grain), "round": rounding}
    price = usage_price({"type": "per_unit", "unit": 1, "transform": transform})
    expected = rating_oracle.rounded_units(count * grain, divisor * grain, rounding, grain)
    assert rate_line(price, parse_quantity(count * grain)).amount == expected


@patient
@given(quantity=st.integers(0, 10**30), divisor=st.integers(1, 10**18))
def test_a_quotient_is_right_to_half_of_the_twelfth_digit(quantity: int, divisor: int) -> None:
    """K18"""
    exact = Fraction(quantity, divisor)
    transform = {"divide_by": format_quantity(divisor), "round": "none"}
    line = rate_line(usage_price({"type": "per_unit", "unit": 1, "transform": transform}), quantity)
    assert abs(Fraction(line.quantity_pico, E12) - exact) <= Fraction(1, 2 * E12)


models = st.sampled_from(["opus", "haiku", "sonnet"])
regions = st.sampled_from([None, "eu", "us"])


@st.composite
def cell_lists(draw: st.DrawFn) -> list[tuple[str | None, str | None, Decimal]]:
    """Each with a model, a region or both; the more exact ones first, so that all are reached."""
    drawn = draw(st.sets(st.tuples(st.none() | models, regions), min_size=1, max_size=6))
    cells = [pair for pair in drawn if pair != (None, None)] or [("opus", None)]
    cells.sort(key=lambda pair: (sum(one is None for one in pair), str(pair)))
    return [(model, region, draw(unit_prices)) for model, region in cells]


@patient
@given(
    usage=st.lists(st.tuples(models, regions), max_size=30),
    cells=cell_lists(),
    default=unit_prices,
)
def test_a_matrix_prices_groups_as_it_would_single_units(
    usage: list[tuple[str, str | None]],
    cells: list[tuple[str | None, str | None, Decimal]],
    default: Decimal,
) -> None:
    documents = []
    for model, region, unit in cells:
        match = {"model": model, "region": region}
        known = {name: value for name, value in match.items() if value is not None}
        documents.append({"match": known, "unit": str(unit)})
    price = usage_price(
        {
            "type": "matrix",
            "group_by": ["model", "region"],
            "cells": documents,
            "default": str(default),
        }
    )
    groups = Counter(usage)
    total = sum(
        (rate_line(price, n * E12, n, group).amount for group, n in groups.items()), Fraction(0)
    )
    assert total == Fraction(rating_oracle.matrix(usage, cells, default))


@patient
@given(
    amounts=st.lists(st.decimals(0, 10**6, places=2), max_size=30),
    rate=unit_prices,
    fixed=fees,
)
def test_a_percentage_of_the_sum_is_the_sum_of_what_each_event_pays(
    amounts: list[Decimal], rate: Decimal, fixed: Decimal
) -> None:
    price = usage_price({"type": "percentage", "rate": str(rate), "fixed": str(fixed)})
    quantity = sum(map(parse_quantity, amounts))
    expected = rating_oracle.percentage(amounts, rate, fixed)
    assert rate_line(price, quantity, len(amounts)).amount == Fraction(expected)


@patient
@given(
    usage=st.lists(models, max_size=30),
    costs=st.dictionaries(models, unit_prices),
    default=unit_prices,
    markup=fees,
)
def test_cost_plus_is_the_cost_of_each_unit_and_a_markup_on_all_of_it(
    usage: list[str], costs: dict[str, Decimal], default: Decimal, markup: Decimal
) -> None:
    listed = {"by": "model", "default": str(default)} | {m: str(c) for m, c in costs.items()}
    price = usage_price({"type": "cost_plus", "markup": str(markup), "costs": listed})
    total = sum(
        (rate_line(price, n * E12, n, (model,)).amount for model, n in Counter(usage).items()),
        Fraction(0),
    )
    cost = sum((Fraction(costs.get(model, default)) for model in usage), Fraction(0))
    assert total == cost * (1 + Fraction(markup))


@patient
@given(amounts=st.lists(st.decimals(0, 10**6, places=6), max_size=30))
def test_a_dynamic_price_is_the_sum_of_what_events_say(amounts: list[Decimal]) -> None:
    quantity = sum(map(parse_quantity, amounts))
    expected = sum(map(Fraction, amounts), Fraction(0))
    assert rate_line(usage_price({"type": "dynamic"}), quantity, 1).amount == expected


@patient
@given(
    price=prices(),
    quantity=quantities,
    factor=st.decimals(0, 10, places=2),
    other=st.decimals(0, 10, places=2),
)
def test_multipliers_scale_what_the_model_says_and_bounds_hold_after_them(
    price: UsagePrice, quantity: int, factor: Decimal, other: Decimal
) -> None:
    multipliers = {"region": {"eu": str(factor)}, "tier": {"fast": str(other), "default": 2}}
    unbounded = replace(price, minimum=None, maximum=None)
    document = dump_price(price) | {"multipliers": multipliers}  # type: ignore[arg-type]
    multiplied = usage_price(document)
    base = rate_line(unbounded, quantity).amount
    for group, product in (
        (("eu", "fast"), Fraction(factor) * Fraction(other)),
        (("us", "slow"), Fraction(2)),
        ((None, "fast"), Fraction(other)),
    ):
        expected = base * product
        expected = expected if price.minimum is None else max(expected, price.minimum)
        expected = expected if price.maximum is None else min(expected, price.maximum)
        assert rate_line(multiplied, quantity, 0, group).amount == expected


@thorough
@given(price=prices(), one=quantities, other=quantities)
def test_more_usage_never_costs_less(price: UsagePrice, one: int, other: int) -> None:
    """Volume and stairstep only inside a tier: a larger total can reach a cheaper one."""
    less, more = sorted((one, other))
    lower, higher = rate_line(price, less), rate_line(price, more)
    if isinstance(price, Volume | Stairstep):
        inside = lower.tiers and higher.tiers
        assume(inside and _tier(price, lower) is _tier(price, higher))
    assert lower.amount <= higher.amount


def _tier(price: Volume | Stairstep, line: RatedLine) -> Tier:
    return tier_of(price.tiers, line.quantity_pico - line.free_pico)


@patient
@given(price=prices(), quantity=st.integers(-5 * E12, 0))
def test_nothing_used_costs_nothing_but_the_minimum(price: UsagePrice, quantity: int) -> None:
    assert rate_line(price, quantity).amount == (price.minimum or 0)


@thorough
@given(price=prices(), quantity=quantities)
def test_the_steps_explain_the_whole_quantity_and_the_whole_amount(
    price: UsagePrice, quantity: int
) -> None:
    line = rate_line(price, quantity)
    assert line.metered_pico == max(0, quantity)
    assert price.transform is not None or line.quantity_pico == line.metered_pico
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
