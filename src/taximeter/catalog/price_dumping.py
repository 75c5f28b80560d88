"""Prices as documents: decimals as text, and only the members that say something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    Stairstep,
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
)
from taximeter.money import format_exact
from taximeter.quantities import format_quantity


def dump_model(price: Price) -> dict[str, Any]:
    """A price without what all prices have in common, see `prices.dump_price`."""
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
