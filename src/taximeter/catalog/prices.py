"""
Prices as the catalogue writes them: reading, checking and dumping.

`price_models` says what they are, `price_reading` and `price_dumping` have each type. A dump has
decimals as text and every dimension a price depends on among its `group_by`, so that equal prices
have equal dumps however they were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from taximeter.catalog.price_dumping import dump_model
from taximeter.catalog.price_fields import invalid
from taximeter.catalog.price_models import (
    Cell,
    CostPlus,
    Costs,
    DayWindow,
    Dynamic,
    Flat,
    Graduated,
    Matrix,
    Multiplier,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceType,
    RampStep,
    Rounding,
    Seat,
    SeatCount,
    SeatMode,
    Stairstep,
    Tier,
    Timing,
    Transform,
    UsagePrice,
    Volume,
)
from taximeter.catalog.price_reading import PARSERS
from taximeter.catalog.price_variants import difference, dump_step, read_steps, varied
from taximeter.meters.reading import suggestion

__all__ = [
    "Cell",
    "CostPlus",
    "Costs",
    "DayWindow",
    "Dynamic",
    "Flat",
    "Graduated",
    "Matrix",
    "Multiplier",
    "Package",
    "PerUnit",
    "Percentage",
    "Price",
    "PriceType",
    "RampStep",
    "Rounding",
    "Seat",
    "SeatCount",
    "SeatMode",
    "Stairstep",
    "Tier",
    "Timing",
    "Transform",
    "UsagePrice",
    "Volume",
    "dump_price",
    "dump_variant",
    "parse_price",
    "parse_variant",
]


def parse_price(key: str, document: Mapping[str, Any], path: str | None = None) -> Price:
    """
    Read one member of a plan's `prices`.

    Args:
        document: Decoded JSON or YAML; numbers are `int`, `Decimal` or text, never `float`.
        path: What messages call the price; by default "prices.KEY".

    Raises:
        Rejected: `catalog_invalid` for an unknown type or member, a missing one, or one that
            makes no sense; `invalid_amount` for an amount that is no exact decimal. The message
            begins with the path.
    """
    path = path or f"prices.{key}"
    if not isinstance(document, Mapping):
        raise invalid(path, "must be an object with a type")
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in PARSERS:
        hint = suggestion(kind, PARSERS) if isinstance(kind, str) else ""
        raise invalid(f"{path}.type", f"{kind!r} is not one of {', '.join(PARSERS)}{hint}")
    base, steps = read_steps(
        {n: v for n, v in document.items() if n != "ramp"}, document.get("ramp"), path
    )
    price = PARSERS[kind](key, base, path)
    ramp = []
    for where, members, from_period, from_at in steps:
        step = PARSERS[kind](key, varied(base, members, where), where)
        ramp.append(RampStep(_same_count(price, step, where), from_period, from_at))
    return replace(price, ramp=tuple(ramp)) if ramp else price


def parse_variant(price: Price, members: Mapping[str, Any], path: str) -> Price:
    """
    The same price with other amounts, as `members` say; its ramp, if it has one, among them.

    Raises:
        Rejected: As `parse_price`; also for members that would make another price of it.
    """
    if price.ramp and "ramp" not in members:
        raise invalid(f"{path}.ramp", "is missing: the price has one, and it has amounts, too")
    own = {name: value for name, value in members.items() if name != "ramp"}
    document = varied(dump_price(replace(price, ramp=())), own, path)
    if members.get("ramp") is not None:
        document["ramp"] = members["ramp"]
    return _same_count(price, parse_price(price.key, document, path), path)


def _same_count(price: Price, other: Price, path: str) -> Price:
    if (
        isinstance(price, UsagePrice)
        and isinstance(other, UsagePrice)
        and other.group_by != price.group_by
    ):
        raise invalid(path, "looks at dimensions the price does not; name them in its group_by")
    return other


def dump_price(price: Price) -> dict[str, Any]:
    """The document `parse_price` reads the same price from; decimals are text."""
    document = dump_model(price)
    if price.name:
        document["name"] = price.name
    if price.tax_category:
        document["tax_category"] = price.tax_category
    if price.priced_in is not None:
        document["priced_in"] = price.priced_in
    if price.ramp:
        document["ramp"] = [dump_step(one, dump_variant(price, one.price)) for one in price.ramp]
    return document


def dump_variant(price: Price, other: Price) -> dict[str, Any]:
    """The members `parse_variant` makes the other one of the price with."""
    document = dump_price(other)
    ramp = {"ramp": document.pop("ramp")} if other.ramp else {}
    return difference(dump_price(replace(price, ramp=())), document) | ramp
