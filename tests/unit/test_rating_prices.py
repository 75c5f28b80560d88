"""Prices as the catalogue writes them: what is read, what is refused and how it is named."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from taximeter.catalog.prices import (
    Flat,
    Graduated,
    Matrix,
    PerUnit,
    Tier,
    Timing,
    dump_price,
    parse_price,
)
from taximeter.errors import Rejected
from taximeter.quantities import E12

FLAT = {"type": "flat", "amount": 49, "timing": "advance"}
PER_UNIT = {"type": "per_unit", "meter": "images", "unit": "0.02"}
GRADUATED = {
    "type": "graduated",
    "meter": "tokens",
    "tiers": [{"up_to": 1000, "unit": Decimal("0.10")}, {"unit": "0.08", "flat": 0}],
}


VOLUME = GRADUATED | {"type": "volume"}
STAIRSTEP = {
    "type": "stairstep",
    "meter": "tokens",
    "tiers": [{"up_to": 10, "flat": 20}, {"flat": 0}],
}
PACKAGE = {"type": "package", "meter": "tokens", "size": 1000, "amount": 5}
PERCENTAGE = {"type": "percentage", "meter": "paid", "rate": "0.029", "fixed": "0.30"}
MATRIX: dict[str, Any] = {
    "type": "matrix",
    "meter": "tokens",
    "cells": [{"match": {"model": "opus"}, "unit": "0.03"}],
    "default": "0.01",
}


def test_a_flat_price_is_read() -> None:
    assert parse_price("base", FLAT) == Flat("base", Fraction(49), Timing.ADVANCE)
    assert parse_price("base", FLAT | {"timing": "arrears"}) == Flat(
        "base", Fraction(49), Timing.ARREARS
    )


def test_a_price_per_unit_is_read() -> None:
    assert parse_price("images", PER_UNIT) == PerUnit(
        key="images", meter="images", unit=Fraction(1, 50)
    )


def test_a_graduated_price_is_read() -> None:
    assert parse_price("tokens", GRADUATED) == Graduated(
        key="tokens",
        meter="tokens",
        tiers=(Tier(1000 * E12, Fraction(1, 10)), Tier(None, Fraction(2, 25))),
    )


def test_the_members_every_usage_price_has_are_read() -> None:
    price = parse_price(
        "images",
        PER_UNIT
        | {
            "free": "0.5",
            "minimum": 5,
            "maximum": "100",
            "group_by": ["model", "region"],
            "filter": "data.cached != true",
        },
    )
    assert isinstance(price, PerUnit)
    assert price.free_pico == E12 // 2
    assert (price.minimum, price.maximum) == (Fraction(5), Fraction(100))
    assert price.group_by == ("model", "region")
    assert price.filter == "data.cached != true"


@pytest.mark.parametrize(
    "document",
    [
        FLAT,
        PER_UNIT,
        PER_UNIT | {"transform": {"divide_by": "0.5"}, "multipliers": {"tier": {"fast": 2}}},
        GRADUATED,
        VOLUME,
        STAIRSTEP,
        PACKAGE,
        PERCENTAGE,
        MATRIX,
    ],
)
def test_a_price_reads_back_from_its_dump(document: dict[str, Any]) -> None:
    price = parse_price("key", document)
    dumped = dump_price(price)
    assert parse_price("key", dumped) == price
    assert next(iter(dumped)) == "type"


def test_lines_are_split_by_all_that_a_price_depends_on() -> None:
    price = parse_price(
        "tokens", MATRIX | {"group_by": ["team"], "multipliers": {"region": {"eu": 2}}}
    )
    assert isinstance(price, Matrix)
    assert price.group_by == ("team", "model", "region")
    assert dump_price(price)["group_by"] == ["team", "model", "region"]


def test_a_cell_matches_numbers_and_booleans_as_dimensions_have_them() -> None:
    cell = {"match": {"size": 2, "fast": True, "x": Decimal("1.50")}, "unit": 1}
    price = parse_price("p", MATRIX | {"cells": [cell]})
    assert isinstance(price, Matrix)
    assert price.cells[0].match == {"fast": "true", "size": "2", "x": "1.5"}


def test_a_dump_has_decimals_as_text_and_leaves_out_what_is_not_set() -> None:
    assert dump_price(parse_price("tokens", GRADUATED)) == {
        "type": "graduated",
        "meter": "tokens",
        "tiers": [{"up_to": "1000", "unit": "0.1"}, {"unit": "0.08"}],
    }


def tiers(*documents: Any) -> dict[str, Any]:
    return {"type": "graduated", "meter": "tokens", "tiers": list(documents)}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "prices.p.type"),
        ({"type": "stairs", "meter": "m"}, "prices.p.type"),
        ({"type": ["flat"]}, "prices.p.type"),
        ({"type": "flat"}, "prices.p.amount"),
        ({"type": "flat", "amount": -1}, "prices.p.amount"),
        ({"type": "flat", "amount": 1, "timing": "later"}, "prices.p.timing"),
        ({"type": "flat", "amount": 1, "meter": "m"}, "prices.p.meter"),
        ({"type": "per_unit", "unit": 1}, "prices.p.meter"),
        ({"type": "per_unit", "meter": "m"}, "prices.p.unit"),
        (PER_UNIT | {"meter": 7}, "prices.p.meter"),
        (PER_UNIT | {"unit": "-0.01"}, "prices.p.unit"),
        (PER_UNIT | {"units": 1}, "prices.p.units"),
        (PER_UNIT | {"multipliers": []}, "prices.p.multipliers"),
        (PER_UNIT | {"free": -1}, "prices.p.free"),
        (PER_UNIT | {"free": True}, "prices.p.free"),
        (PER_UNIT | {"minimum": 5, "maximum": 4}, "prices.p.minimum"),
        (PER_UNIT | {"group_by": [1]}, "prices.p.group_by"),
        (PER_UNIT | {"group_by": ["a", "a"]}, "prices.p.group_by"),
        (PER_UNIT | {"group_by": {"a": 1}}, "prices.p.group_by"),
        (PER_UNIT | {"filter": ""}, "prices.p.filter"),
        (tiers(), "prices.p.tiers"),
        ({"type": "graduated", "meter": "m"}, "prices.p.tiers"),
        (tiers({"up_to": 10, "unit": 1}), "prices.p.tiers[0].up_to"),
        (tiers({"unit": 1}, {"unit": 2}), "prices.p.tiers[0].up_to"),
        (tiers({"up_to": 0, "unit": 1}, {"unit": 2}), "prices.p.tiers[0].up_to"),
        (
            tiers({"up_to": 10, "unit": 1}, {"up_to": 10, "unit": 1}, {"unit": 2}),
            "prices.p.tiers[1].up_to",
        ),
        (tiers({"up_to": "many", "unit": 1}, {"unit": 2}), "prices.p.tiers[0].up_to"),
        (tiers({}), "prices.p.tiers[0]"),
        (tiers(7), "prices.p.tiers[0]"),
        (tiers({"unit": -1}), "prices.p.tiers[0].unit"),
        (tiers({"unit": 1, "price": 1}), "prices.p.tiers[0].price"),
        (tiers({"up_to": 5, "unit": 1}), "prices.p.tiers[0].up_to"),
        (VOLUME | {"tiers": [{"up_to": 5, "unit": 1}]}, "prices.p.tiers[0].up_to"),
        (STAIRSTEP | {"tiers": [{"unit": 1}]}, "prices.p.tiers[0].unit"),
        (STAIRSTEP | {"tiers": [{"up_to": 5}, {"flat": 1}]}, "prices.p.tiers[0].flat"),
        (PACKAGE | {"size": 0}, "prices.p.size"),
        (PACKAGE | {"size": None}, "prices.p.size"),
        (PACKAGE | {"amount": None}, "prices.p.amount"),
        (PACKAGE | {"unit": 1}, "prices.p.unit"),
        (PERCENTAGE | {"rate": None}, "prices.p.rate"),
        (PERCENTAGE | {"rate": "-0.1"}, "prices.p.rate"),
        (PERCENTAGE | {"fixed": "-0.1"}, "prices.p.fixed"),
        (MATRIX | {"cells": []}, "prices.p.cells"),
        (MATRIX | {"cells": [7]}, "prices.p.cells[0]"),
        (MATRIX | {"cells": [{"unit": 1}]}, "prices.p.cells[0].match"),
        (MATRIX | {"cells": [{"match": {}, "unit": 1}]}, "prices.p.cells[0].match"),
        (MATRIX | {"cells": [{"match": {"a": None}, "unit": 1}]}, "prices.p.cells[0].match.a"),
        (MATRIX | {"cells": [{"match": {"a": "x"}}]}, "prices.p.cells[0].unit"),
        (MATRIX | {"cells": MATRIX["cells"] * 2}, "prices.p.cells[1].match"),
        (
            MATRIX
            | {
                "cells": [
                    {"match": {"model": "opus"}, "unit": 1},
                    {"match": {"region": "eu"}, "unit": 1},
                    {"match": {"region": "eu", "model": "opus"}, "unit": 2},
                ]
            },
            "prices.p.cells[2].match",
        ),
        (MATRIX | {"default": None}, "prices.p.default"),
        (MATRIX | {"default": -1}, "prices.p.default"),
        (MATRIX | {"group_by": [f"d{n}" for n in range(8)]}, "prices.p"),
        (PER_UNIT | {"transform": 1000}, "prices.p.transform"),
        (PER_UNIT | {"transform": {}}, "prices.p.transform.divide_by"),
        (PER_UNIT | {"transform": {"divide_by": 0}}, "prices.p.transform.divide_by"),
        (PER_UNIT | {"transform": {"divide_by": 2, "round": "down"}}, "prices.p.transform.round"),
        (PER_UNIT | {"transform": {"divide_by": 2, "by": 2}}, "prices.p.transform.by"),
        (PER_UNIT | {"multipliers": {"region": 2}}, "prices.p.multipliers.region"),
        (PER_UNIT | {"multipliers": {"region": {}}}, "prices.p.multipliers.region"),
        (PER_UNIT | {"multipliers": {"tier": {1: 2}}}, "prices.p.multipliers.tier.1"),
        (PER_UNIT | {"multipliers": {"tier": {"a": -1}}}, "prices.p.multipliers.tier.a"),
        (PER_UNIT | {"multipliers": {1: {"a": 2}, "1": {"a": 2}}}, "prices.p.multipliers.1"),
        (MATRIX | {"cells": [{"match": {1: "a"}, "unit": 1}]}, "prices.p.cells[0].match.1"),
        (FLAT | {"multipliers": {"tier": {"a": 2}}}, "prices.p.multipliers"),
        (tiers(*[{"up_to": n + 1, "unit": 1} for n in range(100)], {"unit": 1}), "prices.p.tiers"),
    ],
)
def test_what_makes_no_price_is_refused_by_its_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_price("p", document)
    assert caught.value.code == "catalog_invalid"
    assert caught.value.details["path"] == path
    assert caught.value.message.startswith(f"{path}: ")


def test_an_unknown_member_is_answered_with_those_there_are() -> None:
    with pytest.raises(Rejected, match=r"there are allow_estimate, filter, free, group_by, .*unit"):
        parse_price("p", PER_UNIT | {"unit_price": 1})


def test_an_unknown_type_is_answered_with_those_there_are() -> None:
    with pytest.raises(Rejected, match="flat, per_unit, graduated"):
        parse_price("p", {"type": "stairs"})
    with pytest.raises(Rejected, match="did you mean 'package'"):
        parse_price("p", {"type": "packages"})


@pytest.mark.parametrize("amount", [0.1, "ten", True, "0.0000000000001"])
def test_an_amount_that_is_no_exact_decimal_is_refused_by_its_path(amount: object) -> None:
    with pytest.raises(Rejected, match=r"^plans\.pro\.prices\.p\.unit: ") as caught:
        parse_price("p", PER_UNIT | {"unit": amount}, path="plans.pro.prices.p")
    assert caught.value.code == "invalid_amount"


@pytest.mark.parametrize(
    "document",
    [
        {"type": "flat", "amount": 1},
        {"type": "per_unit", "meter": "m", "unit": 1},
        {"type": "seat", "feature": "seats", "unit": 1},
    ],
)
def test_every_price_can_have_a_name_for_its_lines(document: dict[str, Any]) -> None:
    price = parse_price("p", document | {"name": "Input tokens"})
    assert price.name == "Input tokens"
    assert parse_price("p", dump_price(price)) == price
    assert "name" not in dump_price(parse_price("p", document))
