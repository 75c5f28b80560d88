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

from msgspec.structs import replace

from taximeter.catalog.price_fields import (
    MAX_GROUP_BY,
    check_members,
    invalid,
    read_amount,
    read_choice,
    read_consent,
    read_divisor,
    read_names,
    read_optional_amount,
    read_optional_text,
    read_quantity,
    read_text,
    read_whole,
)
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
from taximeter.catalog.price_parts import (
    dump_cells,
    dump_costs,
    dump_day_window,
    dump_multiplier,
    dump_stairs,
    dump_tiers,
    dump_transform,
    read_cells,
    read_costs,
    read_day_windows,
    read_multipliers,
    read_tiers,
    read_transform,
)
from taximeter.catalog.price_variants import difference, dump_step, read_steps, varied
from taximeter.meters.reading import suggestion
from taximeter.money import format_exact
from taximeter.quantities import format_quantity

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
    SEAT = "seat"
    DYNAMIC = "dynamic"
    COST_PLUS = "cost_plus"


_COMMON_MEMBERS: Final = frozenset({"type", "name", "tax_category", "priced_in", "ramp"})
_USAGE_MEMBERS: Final = frozenset(
    {
        "meter", "transform", "free", "minimum", "maximum", "group_by", "filter", "multipliers",
        "time_of_day", "allow_estimate",
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
    base, steps = read_steps(
        {n: v for n, v in document.items() if n != "ramp"}, document.get("ramp"), path
    )
    price = _PARSERS[kind](key, base, path)
    ramp = []
    for where, members, from_period, from_at in steps:
        step = _PARSERS[kind](key, varied(base, members, where), where)
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
    document = _dump_model(price)
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


def _dump_model(price: Price) -> dict[str, Any]:
    match price:
        case Flat():
            amount = format_exact(price.amount)
            return {"type": "flat", "amount": amount, "timing": price.timing.value}
        case Seat():
            return _dump_seat(price)
        case PerUnit():
            return _dump_usage(PriceType.PER_UNIT, price) | {"unit": format_exact(price.unit)}
        case Graduated():
            return _dump_usage(PriceType.GRADUATED, price) | dump_tiers(price.tiers)
        case Volume():
            return _dump_usage(PriceType.VOLUME, price) | dump_tiers(price.tiers)
        case Stairstep():
            return _dump_usage(PriceType.STAIRSTEP, price) | dump_stairs(price.tiers)
        case Package():
            return _dump_usage(PriceType.PACKAGE, price) | {
                "size": format_quantity(price.size_pico),
                "amount": format_exact(price.amount),
            }
        case Percentage():
            return _dump_usage(PriceType.PERCENTAGE, price) | _dump_percentage(price)
        case Matrix():
            default = format_exact(price.default)
            cells = dump_cells(price.cells)
            return _dump_usage(PriceType.MATRIX, price) | {"cells": cells, "default": default}
        case Dynamic():
            return _dump_usage(PriceType.DYNAMIC, price)
        case CostPlus():
            costs = {} if price.costs is None else {"costs": dump_costs(price.costs)}
            markup = {"markup": format_exact(price.markup)}
            return _dump_usage(PriceType.COST_PLUS, price) | markup | costs


def _dump_usage(kind: PriceType, price: UsagePrice) -> dict[str, Any]:
    optional = {
        "transform": None if price.transform is None else dump_transform(price.transform),
        "free": format_quantity(price.free_pico) if price.free_pico else None,
        **_dump_bounds(price),
        "group_by": list(price.group_by) or None,
        "filter": price.filter,
        "multipliers": {one.dimension: dump_multiplier(one) for one in price.multipliers} or None,
        "time_of_day": [dump_day_window(one) for one in price.time_of_day] or None,
        "allow_estimate": price.allow_estimate or None,
    }
    return {"type": kind.value, "meter": price.meter} | _given(optional)


def _dump_seat(price: Seat) -> dict[str, Any]:
    optional = {
        "count": None if price.count is None else price.count.value,
        "free": str(price.free) if price.free else None,
        **_dump_bounds(price),
    }
    return {
        "type": PriceType.SEAT.value,
        "feature": price.feature,
        "unit": format_exact(price.unit),
        "mode": price.mode.value,
    } | _given(optional)


def _dump_percentage(price: Percentage) -> dict[str, Any]:
    amounts = {
        "rate": price.rate,
        "fixed": price.fixed or None,
        "min_per_event": price.min_per_event,
        "max_per_event": price.max_per_event,
    }
    return {name: format_exact(amount) for name, amount in _given(amounts).items()}


def _dump_bounds(price: UsagePrice | Seat) -> dict[str, str | None]:
    return {
        "minimum": None if price.minimum is None else format_exact(price.minimum),
        "maximum": None if price.maximum is None else format_exact(price.maximum),
    }


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


# --- Reading ----------------------------------------------------------------------------------


def _parse_flat(key: str, document: Mapping[str, Any], path: str) -> Flat:
    check_members(document, {"amount", "timing"} | _COMMON_MEMBERS, path)
    timing = read_choice(document, "timing", [*Timing], Timing.ADVANCE, path)
    amount = read_amount(document, "amount", path)
    return Flat(key, amount, Timing(timing), **_common(document, path))


def _parse_seat(key: str, document: Mapping[str, Any], path: str) -> Seat:
    own = {"feature", "unit", "mode", "count", "free", "minimum", "maximum"}
    check_members(document, own | _COMMON_MEMBERS, path)
    mode = read_choice(document, "mode", [*SeatMode], SeatMode.PRORATED, path)
    count = None
    if document.get("count") is not None:
        count = SeatCount(read_choice(document, "count", [*SeatCount], "", path))
    return Seat(
        key=key,
        feature=read_text(document, "feature", path),
        unit=read_amount(document, "unit", path),
        mode=SeatMode(mode),
        count=count,
        free=read_whole(document, "free", path),
        **_bounds(document, path),
        **_common(document, path),
    )


def _parse_per_unit(key: str, document: Mapping[str, Any], path: str) -> PerUnit:
    usage = _usage(document, path, {"unit"})
    return PerUnit(key=key, unit=read_amount(document, "unit", path), **usage)


def _parse_graduated(key: str, document: Mapping[str, Any], path: str) -> Graduated:
    usage = _usage(document, path, {"tiers"})
    return Graduated(key=key, tiers=read_tiers(document, path), **usage)


def _parse_volume(key: str, document: Mapping[str, Any], path: str) -> Volume:
    usage = _usage(document, path, {"tiers"})
    return Volume(key=key, tiers=read_tiers(document, path), **usage)


def _parse_stairstep(key: str, document: Mapping[str, Any], path: str) -> Stairstep:
    usage = _usage(document, path, {"tiers"})
    return Stairstep(key=key, tiers=read_tiers(document, path, per_unit=False), **usage)


def _parse_package(key: str, document: Mapping[str, Any], path: str) -> Package:
    usage = _usage(document, path, {"size", "amount"})
    size = read_divisor(document, "size", path)
    return Package(key=key, size_pico=size, amount=read_amount(document, "amount", path), **usage)


def _parse_percentage(key: str, document: Mapping[str, Any], path: str) -> Percentage:
    usage = _usage(document, path, {"rate", "fixed", "min_per_event", "max_per_event"})
    least = read_optional_amount(document, "min_per_event", path)
    most = read_optional_amount(document, "max_per_event", path)
    if least is not None and most is not None and least > most:
        raise invalid(f"{path}.min_per_event", "is above max_per_event")
    price = Percentage(
        key=key,
        rate=read_amount(document, "rate", path),
        fixed=read_optional_amount(document, "fixed", path) or Fraction(0),
        min_per_event=least,
        max_per_event=most,
        **usage,
    )
    if price.is_clamped and (price.free_pico or price.transform is not None):
        member = "free" if price.free_pico else "transform"
        raise invalid(f"{path}.{member}", "is of the sum, and bounds for each event are not; "
                      "drop one of them")  # fmt: skip
    return price


def _parse_matrix(key: str, document: Mapping[str, Any], path: str) -> Matrix:
    cells = read_cells(document.get("cells"), f"{path}.cells")
    if document.get("default") is None:
        raise invalid(
            f"{path}.default", "is missing: the price of a unit that no cell fits (0 for free)"
        )
    depends_on = [name for cell in cells for name in cell.match]
    usage = _usage(document, path, {"cells", "default"}, depends_on)
    default = read_amount(document, "default", path)
    return Matrix(key=key, cells=cells, default=default, **usage)


def _parse_dynamic(key: str, document: Mapping[str, Any], path: str) -> Dynamic:
    return Dynamic(key=key, **_usage(document, path, set()))


def _parse_cost_plus(key: str, document: Mapping[str, Any], path: str) -> CostPlus:
    costs = read_costs(document.get("costs"), f"{path}.costs")
    depends_on = [costs.dimension] if costs is not None and costs.dimension else []
    usage = _usage(document, path, {"markup", "costs"}, depends_on)
    return CostPlus(key=key, markup=read_amount(document, "markup", path), costs=costs, **usage)


_PARSERS: Final[dict[str, Callable[[str, Mapping[str, Any], str], Price]]] = {
    PriceType.FLAT: _parse_flat,
    PriceType.PER_UNIT: _parse_per_unit,
    PriceType.GRADUATED: _parse_graduated,
    PriceType.VOLUME: _parse_volume,
    PriceType.STAIRSTEP: _parse_stairstep,
    PriceType.PACKAGE: _parse_package,
    PriceType.PERCENTAGE: _parse_percentage,
    PriceType.MATRIX: _parse_matrix,
    PriceType.SEAT: _parse_seat,
    PriceType.DYNAMIC: _parse_dynamic,
    PriceType.COST_PLUS: _parse_cost_plus,
}


def _common(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {
        "name": read_optional_text(document, "name", path) or "",
        "tax_category": read_optional_text(document, "tax_category", path) or "",
        "priced_in": read_optional_text(document, "priced_in", path),
    }


def _bounds(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    minimum = read_optional_amount(document, "minimum", path)
    maximum = read_optional_amount(document, "maximum", path)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise invalid(f"{path}.minimum", "is above the maximum")
    return {"minimum": minimum, "maximum": maximum}


def _usage(
    document: Mapping[str, Any], path: str, own: set[str], depends_on: list[str] | None = None
) -> dict[str, Any]:
    """
    The members all usage prices share, as arguments of `UsagePrice`.

    Args:
        own: Members of the model itself.
        depends_on: Dimensions that the model itself looks at.
    """
    check_members(document, own | _COMMON_MEMBERS | _USAGE_MEMBERS, path)
    multipliers = read_multipliers(document.get("multipliers"), f"{path}.multipliers")
    named = read_names(document.get("group_by"), f"{path}.group_by")
    group_by = (*named, *(depends_on or ()), *(one.dimension for one in multipliers))
    distinct = tuple(dict.fromkeys(group_by))
    if len(distinct) > MAX_GROUP_BY:
        raise invalid(path, f"depends on {len(distinct)} dimensions, at most {MAX_GROUP_BY}")
    return {
        "meter": read_text(document, "meter", path),
        "transform": read_transform(document.get("transform"), f"{path}.transform"),
        "free_pico": read_quantity(document.get("free", 0), f"{path}.free"),
        **_bounds(document, path),
        "group_by": distinct,
        "filter": read_optional_text(document, "filter", path),
        "multipliers": multipliers,
        "time_of_day": read_day_windows(document.get("time_of_day"), f"{path}.time_of_day"),
        "allow_estimate": read_consent(document, "allow_estimate", path),
        **_common(document, path),
    }
