"""
Prices as the catalogue writes them: reading, checking and dumping.

`price_models` says what they are. A dump has decimals as text and every dimension a price depends
on among its `group_by`, so that equal prices have equal dumps however they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from taximeter.catalog.price_fields import (
    MAX_GROUP_BY,
    check_members,
    check_texts,
    invalid,
    read_amount,
    read_choice,
    read_consent,
    read_divisor,
    read_list,
    read_names,
    read_object,
    read_optional_amount,
    read_quantity,
    read_text,
)
from taximeter.catalog.price_models import (
    Cell,
    Flat,
    Graduated,
    Matrix,
    Multiplier,
    Package,
    Percentage,
    PerUnit,
    Price,
    Rounding,
    Stairstep,
    Tier,
    Timing,
    Transform,
    UsagePrice,
    Volume,
)
from taximeter.meters.reading import suggestion
from taximeter.meters.values import dimension_value
from taximeter.money import format_exact
from taximeter.quantities import format_quantity

__all__ = [
    "Cell",
    "Flat",
    "Graduated",
    "Matrix",
    "Multiplier",
    "Package",
    "PerUnit",
    "Percentage",
    "Price",
    "Rounding",
    "Stairstep",
    "Tier",
    "Timing",
    "Transform",
    "UsagePrice",
    "Volume",
    "dump_price",
    "parse_price",
]

MAX_TIERS: Final = 100
MAX_CELLS: Final = 1000
MAX_FACTORS: Final = 1000


class PriceType(StrEnum):
    """What `type` says."""

    FLAT = "flat"
    PER_UNIT = "per_unit"
    GRADUATED = "graduated"
    VOLUME = "volume"
    STAIRSTEP = "stairstep"
    PACKAGE = "package"
    PERCENTAGE = "percentage"
    MATRIX = "matrix"


_USAGE_MEMBERS: Final = frozenset(
    {
        "meter", "transform", "free", "minimum", "maximum", "group_by", "filter", "multipliers",
        "allow_estimate",
    }
)  # fmt: skip


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
    if not isinstance(kind, str) or kind not in _PARSERS:
        hint = suggestion(kind, _PARSERS) if isinstance(kind, str) else ""
        raise invalid(f"{path}.type", f"{kind!r} is not one of {', '.join(_PARSERS)}{hint}")
    return _PARSERS[kind](key, document, path)


def dump_price(price: Price) -> dict[str, Any]:
    """The document `parse_price` reads the same price from; decimals are text."""
    match price:
        case Flat():
            amount = format_exact(price.amount)
            return {"type": "flat", "amount": amount, "timing": price.timing.value}
        case PerUnit():
            return _dump_usage(PriceType.PER_UNIT, price) | {"unit": format_exact(price.unit)}
        case Graduated():
            return _dump_usage(PriceType.GRADUATED, price) | _dump_tiers(price.tiers)
        case Volume():
            return _dump_usage(PriceType.VOLUME, price) | _dump_tiers(price.tiers)
        case Stairstep():
            tiers = [_dump_bound(tier) | _dump_fee(tier) for tier in price.tiers]
            return _dump_usage(PriceType.STAIRSTEP, price) | {"tiers": tiers}
        case Package():
            return _dump_usage(PriceType.PACKAGE, price) | {
                "size": format_quantity(price.size_pico),
                "amount": format_exact(price.amount),
            }
        case Percentage():
            fixed = {"fixed": format_exact(price.fixed)} if price.fixed else {}
            rate = {"rate": format_exact(price.rate)}
            return _dump_usage(PriceType.PERCENTAGE, price) | rate | fixed
        case Matrix():
            cells = [{"match": dict(c.match), "unit": format_exact(c.unit)} for c in price.cells]
            default = format_exact(price.default)
            return _dump_usage(PriceType.MATRIX, price) | {"cells": cells, "default": default}


def _dump_usage(kind: PriceType, price: UsagePrice) -> dict[str, Any]:
    optional = {
        "transform": None if price.transform is None else _dump_transform(price.transform),
        "free": format_quantity(price.free_pico) if price.free_pico else None,
        "minimum": None if price.minimum is None else format_exact(price.minimum),
        "maximum": None if price.maximum is None else format_exact(price.maximum),
        "group_by": list(price.group_by) or None,
        "filter": price.filter,
        "multipliers": {one.dimension: _dump_multiplier(one) for one in price.multipliers} or None,
        "allow_estimate": price.allow_estimate or None,
    }
    given = {name: value for name, value in optional.items() if value is not None}
    return {"type": kind.value, "meter": price.meter} | given


def _dump_transform(transform: Transform) -> dict[str, str]:
    return {
        "divide_by": format_quantity(transform.divide_by_pico),
        "round": transform.round.value,
    }


def _dump_multiplier(multiplier: Multiplier) -> dict[str, str]:
    factors = {value: format_exact(factor) for value, factor in multiplier.factors.items()}
    return factors | {"default": format_exact(multiplier.default)}


def _dump_tiers(tiers: tuple[Tier, ...]) -> dict[str, Any]:
    return {
        "tiers": [
            _dump_bound(tier)
            | {"unit": format_exact(tier.unit)}
            | (_dump_fee(tier) if tier.flat else {})
            for tier in tiers
        ]
    }


def _dump_bound(tier: Tier) -> dict[str, str]:
    return {} if tier.up_to_pico is None else {"up_to": format_quantity(tier.up_to_pico)}


def _dump_fee(tier: Tier) -> dict[str, str]:
    return {"flat": format_exact(tier.flat)}


# --- Reading ----------------------------------------------------------------------------------


def _parse_flat(key: str, document: Mapping[str, Any], path: str) -> Flat:
    check_members(document, {"type", "amount", "timing"}, path)
    timing = read_choice(document, "timing", [*Timing], Timing.ADVANCE, path)
    return Flat(key, read_amount(document, "amount", path), Timing(timing))


def _parse_per_unit(key: str, document: Mapping[str, Any], path: str) -> PerUnit:
    usage = _usage(document, path, {"unit"})
    return PerUnit(key=key, unit=read_amount(document, "unit", path), **usage)


def _parse_graduated(key: str, document: Mapping[str, Any], path: str) -> Graduated:
    usage = _usage(document, path, {"tiers"})
    return Graduated(key=key, tiers=_parse_tiers(document, path), **usage)


def _parse_volume(key: str, document: Mapping[str, Any], path: str) -> Volume:
    usage = _usage(document, path, {"tiers"})
    return Volume(key=key, tiers=_parse_tiers(document, path), **usage)


def _parse_stairstep(key: str, document: Mapping[str, Any], path: str) -> Stairstep:
    usage = _usage(document, path, {"tiers"})
    return Stairstep(key=key, tiers=_parse_tiers(document, path, per_unit=False), **usage)


def _parse_package(key: str, document: Mapping[str, Any], path: str) -> Package:
    usage = _usage(document, path, {"size", "amount"})
    size = read_divisor(document, "size", path)
    return Package(key=key, size_pico=size, amount=read_amount(document, "amount", path), **usage)


def _parse_percentage(key: str, document: Mapping[str, Any], path: str) -> Percentage:
    usage = _usage(document, path, {"rate", "fixed"})
    return Percentage(
        key=key,
        rate=read_amount(document, "rate", path),
        fixed=read_optional_amount(document, "fixed", path) or Fraction(0),
        **usage,
    )


def _parse_matrix(key: str, document: Mapping[str, Any], path: str) -> Matrix:
    cells = _parse_cells(document.get("cells"), f"{path}.cells")
    if document.get("default") is None:
        raise invalid(
            f"{path}.default", "is missing: the price of a unit that no cell fits (0 for free)"
        )
    depends_on = [name for cell in cells for name in cell.match]
    usage = _usage(document, path, {"cells", "default"}, depends_on)
    default = read_amount(document, "default", path)
    return Matrix(key=key, cells=cells, default=default, **usage)


_PARSERS: Final[dict[str, Callable[[str, Mapping[str, Any], str], Price]]] = {
    PriceType.FLAT: _parse_flat,
    PriceType.PER_UNIT: _parse_per_unit,
    PriceType.GRADUATED: _parse_graduated,
    PriceType.VOLUME: _parse_volume,
    PriceType.STAIRSTEP: _parse_stairstep,
    PriceType.PACKAGE: _parse_package,
    PriceType.PERCENTAGE: _parse_percentage,
    PriceType.MATRIX: _parse_matrix,
}


def _usage(
    document: Mapping[str, Any], path: str, own: set[str], depends_on: list[str] | None = None
) -> dict[str, Any]:
    """
    The members all usage prices share, as arguments of `UsagePrice`.

    Args:
        own: Members of the model itself.
        depends_on: Dimensions that the model itself looks at.
    """
    check_members(document, {"type"} | own | _USAGE_MEMBERS, path)
    minimum = read_optional_amount(document, "minimum", path)
    maximum = read_optional_amount(document, "maximum", path)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise invalid(f"{path}.minimum", "is above the maximum")
    multipliers = _parse_multipliers(document.get("multipliers"), f"{path}.multipliers")
    named = read_names(document.get("group_by"), f"{path}.group_by")
    group_by = (*named, *(depends_on or ()), *(one.dimension for one in multipliers))
    distinct = tuple(dict.fromkeys(group_by))
    if len(distinct) > MAX_GROUP_BY:
        raise invalid(path, f"depends on {len(distinct)} dimensions, at most {MAX_GROUP_BY}")
    return {
        "meter": read_text(document, "meter", path),
        "transform": _parse_transform(document.get("transform"), f"{path}.transform"),
        "free_pico": read_quantity(document.get("free", 0), f"{path}.free"),
        "minimum": minimum,
        "maximum": maximum,
        "group_by": distinct,
        "filter": None if document.get("filter") is None else read_text(document, "filter", path),
        "multipliers": multipliers,
        "allow_estimate": read_consent(document, "allow_estimate", path),
    }


def _parse_transform(document: Any, path: str) -> Transform | None:
    if document is None:
        return None
    fields = read_object(document, path, ("divide_by", "round"))
    rounding = read_choice(fields, "round", [*Rounding], Rounding.NONE, path)
    return Transform(read_divisor(fields, "divide_by", path), Rounding(rounding))


def _parse_multipliers(documents: Any, path: str) -> tuple[Multiplier, ...]:
    if documents is None:
        return ()
    if not isinstance(documents, Mapping):
        raise invalid(path, "must be an object of dimensions, like {region: {eu: 1.2}}")
    check_texts(documents, path)
    return tuple(
        _parse_multiplier(name, documents[name], f"{path}.{name}") for name in sorted(documents)
    )


def _parse_multiplier(dimension: str, document: Any, path: str) -> Multiplier:
    if not isinstance(document, Mapping) or not 1 <= len(document) <= MAX_FACTORS:
        raise invalid(path, f"must be an object of 1 to {MAX_FACTORS} values and their factors")
    check_texts(document, path)
    factors = {value: read_amount(document, value, path) for value in sorted(document)}
    default = factors.pop("default", Fraction(1))
    return Multiplier(dimension, factors, default)


def _parse_tiers(
    document: Mapping[str, Any], path: str, *, per_unit: bool = True
) -> tuple[Tier, ...]:
    """
    Args:
        per_unit: Tiers have a price of each unit, a flat fee, or both; else a fee only.
    """
    path = f"{path}.tiers"
    documents = read_list(document.get("tiers"), path, MAX_TIERS, "tiers")
    read = _parse_tier if per_unit else _parse_stair
    tiers = tuple(read(tier, f"{path}[{n}]") for n, tier in enumerate(documents))
    reached = 0
    for n, tier in enumerate(tiers[:-1]):
        if tier.up_to_pico is None:
            raise invalid(f"{path}[{n}].up_to", "is missing; only the last tier is open")
        if tier.up_to_pico <= reached:
            raise invalid(f"{path}[{n}].up_to", f"must be above {format_quantity(reached)}")
        reached = tier.up_to_pico
    if tiers[-1].up_to_pico is not None:
        raise invalid(
            f"{path}[{len(tiers) - 1}].up_to",
            "leaves larger quantities without a price; the last tier has no up_to",
        )
    return tiers


def _parse_tier(document: Any, path: str) -> Tier:
    fields = read_object(document, path, ("up_to", "unit", "flat"))
    if fields.get("unit") is None and fields.get("flat") is None:
        raise invalid(path, "has no price; give unit, flat or both")
    return Tier(
        up_to_pico=_parse_bound(fields, path),
        unit=read_optional_amount(fields, "unit", path) or Fraction(0),
        flat=read_optional_amount(fields, "flat", path) or Fraction(0),
    )


def _parse_stair(document: Any, path: str) -> Tier:
    fields = read_object(document, path, ("up_to", "flat"))
    return Tier(_parse_bound(fields, path), Fraction(0), read_amount(fields, "flat", path))


def _parse_bound(fields: Mapping[str, Any], path: str) -> int | None:
    up_to = fields.get("up_to")
    return None if up_to is None else read_quantity(up_to, f"{path}.up_to")


def _parse_cells(documents: Any, path: str) -> tuple[Cell, ...]:
    given = read_list(documents, path, MAX_CELLS, "cells")
    cells = tuple(_parse_cell(cell, f"{path}[{n}]") for n, cell in enumerate(given))
    _check_reached(cells, path)
    return cells


def _check_reached(cells: tuple[Cell, ...], path: str) -> None:
    """No cell stands behind one that fits all it fits."""
    seen: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
    for n, cell in enumerate(cells):
        for names, places in seen.items():
            if cell.match.keys() >= set(names):
                earlier = places.get(tuple(cell.match[name] for name in names))
                if earlier is not None:
                    raise invalid(
                        f"{path}[{n}].match",
                        f"is never reached: cells[{earlier}] fits all of it and stands before",
                    )
        seen.setdefault(tuple(cell.match), {})[tuple(cell.match.values())] = n


def _parse_cell(document: Any, path: str) -> Cell:
    fields = read_object(document, path, ("match", "unit"))
    match = fields.get("match")
    if not isinstance(match, Mapping) or not match:
        raise invalid(f"{path}.match", "must be an object of dimensions, like {model: opus}")
    check_texts(match, f"{path}.match")
    values = {name: dimension_value(match[name]) for name in sorted(match)}
    for name, value in values.items():
        if value is None:
            raise invalid(f"{path}.match.{name}", "must be a value; what has none is the default's")
    known = {name: value for name, value in values.items() if value is not None}
    return Cell(known, read_amount(fields, "unit", path))
