"""Reading each type of price from its document, refused with the path of the mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

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
    CostPlus,
    Dynamic,
    Flat,
    Graduated,
    Matrix,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceType,
    Seat,
    SeatCount,
    SeatMode,
    Stairstep,
    Timing,
    Volume,
)
from taximeter.catalog.price_parts import (
    read_cells,
    read_costs,
    read_day_windows,
    read_multipliers,
    read_tiers,
    read_transform,
)

_COMMON_MEMBERS: Final = frozenset({"type", "name", "tax_category", "priced_in", "ramp"})
_USAGE_MEMBERS: Final = frozenset(
    {
        "meter", "transform", "free", "minimum", "maximum", "group_by", "filter", "multipliers",
        "time_of_day", "allow_estimate",
    }
)  # fmt: skip


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


PARSERS: Final[dict[str, Callable[[str, Mapping[str, Any], str], Price]]] = {
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
