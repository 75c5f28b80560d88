"""
Parts that several prices are made of, read and dumped: transforms, multipliers, tiers, cells,
costs, hours of the day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from taximeter.catalog.price_fields import (
    check_texts,
    invalid,
    read_amount,
    read_choice,
    read_divisor,
    read_list,
    read_object,
    read_optional_amount,
    read_quantity,
    read_text,
)
from taximeter.catalog.price_models import (
    Cell,
    Costs,
    DayWindow,
    Multiplier,
    Rounding,
    Tier,
    Transform,
)
from taximeter.meters.values import dimension_value
from taximeter.money import format_exact
from taximeter.quantities import format_quantity

MAX_TIERS: Final = 100
MAX_CELLS: Final = 1000
MAX_FACTORS: Final = 1000
MAX_DAY_WINDOWS: Final = 24

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


# --- transforms and multipliers ---------------------------------------------------------------


def read_transform(document: Any, path: str) -> Transform | None:
    if document is None:
        return None
    fields = read_object(document, path, ("divide_by", "round"))
    rounding = read_choice(fields, "round", [*Rounding], Rounding.NONE, path)
    return Transform(read_divisor(fields, "divide_by", path), Rounding(rounding))


def dump_transform(transform: Transform) -> dict[str, str]:
    return {
        "divide_by": format_quantity(transform.divide_by_pico),
        "round": transform.round.value,
    }


def read_multipliers(documents: Any, path: str) -> tuple[Multiplier, ...]:
    if documents is None:
        return ()
    if not isinstance(documents, Mapping):
        raise invalid(path, "must be an object of dimensions, like {region: {eu: 1.2}}")
    check_texts(documents, path)
    return tuple(
        _read_multiplier(name, documents[name], f"{path}.{name}") for name in sorted(documents)
    )


def _read_multiplier(dimension: str, document: Any, path: str) -> Multiplier:
    factors = _read_factors(document, path)
    default = factors.pop("default", Fraction(1))
    return Multiplier(dimension, factors, default)


def _read_factors(document: Any, path: str) -> dict[str, Fraction]:
    if not isinstance(document, Mapping) or not 1 <= len(document) <= MAX_FACTORS:
        raise invalid(path, f"must be an object of 1 to {MAX_FACTORS} values and their factors")
    check_texts(document, path)
    return {value: read_amount(document, value, path) for value in sorted(document)}


def dump_multiplier(multiplier: Multiplier) -> dict[str, str]:
    factors = {value: format_exact(factor) for value, factor in multiplier.factors.items()}
    return factors | {"default": format_exact(multiplier.default)}


# --- costs ------------------------------------------------------------------------------------


def read_costs(document: Any, path: str) -> Costs | None:
    """Of a unit: one amount, or {by: DIMENSION, VALUE: amount, default: amount}."""
    if document is None:
        return None
    if not isinstance(document, Mapping):
        return Costs("", {}, read_amount({"costs": document}, "costs", path.rpartition(".")[0]))
    dimension = read_text(document, "by", path)
    costs = _read_factors({name: document[name] for name in document if name != "by"}, path)
    if "default" not in costs:
        raise invalid(f"{path}.default", "is missing: the cost of a unit of any other value")
    default = costs.pop("default")
    return Costs(dimension, costs, default)


def dump_costs(costs: Costs) -> str | dict[str, str]:
    if not costs.dimension:
        return format_exact(costs.default)
    units = {value: format_exact(unit) for value, unit in costs.units.items()}
    return {"by": costs.dimension} | units | {"default": format_exact(costs.default)}


# --- hours of the day -------------------------------------------------------------------------


def read_day_windows(documents: Any, path: str) -> tuple[DayWindow, ...]:
    if documents is None:
        return ()
    given = read_list(documents, path, MAX_DAY_WINDOWS, "windows")
    found = tuple(_read_day_window(one, f"{path}[{n}]") for n, one in enumerate(given))
    for n, one in enumerate(found):
        if name_of_window(one) in [name_of_window(other) for other in found[:n]]:
            raise invalid(f"{path}[{n}]", "is never reached: these hours stand before already")
    return found


def _read_day_window(document: Any, path: str) -> DayWindow:
    fields = read_object(document, path, ("from", "to", "days", "factor"))
    start, end = (_read_clock(fields, name, path) for name in ("from", "to"))
    if start == _DAY_MINUTES:
        raise invalid(f"{path}.from", "must be before 24:00")
    if start == end:
        raise invalid(f"{path}.to", "must be another time; the whole day is 00:00 to 24:00")
    factor = read_amount(fields, "factor", path)
    return DayWindow(start, end, factor, _read_days(fields.get("days"), f"{path}.days"))


def _read_clock(fields: Mapping[str, Any], name: str, path: str) -> int:
    """Minutes of the day."""
    found = _CLOCK.fullmatch(read_text(fields, name, path))
    minutes = int(found[1]) * 60 + int(found[2]) if found else _DAY_MINUTES + 1
    if minutes > _DAY_MINUTES:
        raise invalid(f"{path}.{name}", 'must be a local time such as "22:00"')
    return minutes


def _read_days(value: Any, path: str) -> tuple[int, ...]:
    if value is None:
        return tuple(range(1, 8))
    days = read_list(value, path, 7, "days")
    if any(day not in DAYS for day in days) or len({*days}) < len(days):
        raise invalid(path, f"must be different days of {', '.join(DAYS)}")
    return tuple(sorted(DAYS.index(day) + 1 for day in days))


def dump_day_window(window: DayWindow) -> dict[str, Any]:
    hours: dict[str, Any] = {"from": _clock(window.start), "to": _clock(window.end)}
    days = {} if len(window.days) == 7 else {"days": [DAYS[day - 1] for day in window.days]}
    return hours | days | {"factor": format_exact(window.factor)}


def name_of_window(window: DayWindow) -> str:
    """What a line calls the hours it is of: "22:00-06:00", "sat,sun 00:00-24:00"."""
    days = "" if len(window.days) == 7 else ",".join(DAYS[day - 1] for day in window.days) + " "
    return f"{days}{_clock(window.start)}-{_clock(window.end)}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


# --- tiers ------------------------------------------------------------------------------------


def read_tiers(
    document: Mapping[str, Any], path: str, *, per_unit: bool = True
) -> tuple[Tier, ...]:
    """
    Args:
        per_unit: Tiers have a price of each unit, a flat fee, or both; else a fee only.
    """
    path = f"{path}.tiers"
    documents = read_list(document.get("tiers"), path, MAX_TIERS, "tiers")
    read = _read_tier if per_unit else _read_stair
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


def _read_tier(document: Any, path: str) -> Tier:
    fields = read_object(document, path, ("up_to", "unit", "flat"))
    if fields.get("unit") is None and fields.get("flat") is None:
        raise invalid(path, "has no price; give unit, flat or both")
    return Tier(
        up_to_pico=_read_bound(fields, path),
        unit=read_optional_amount(fields, "unit", path) or Fraction(0),
        flat=read_optional_amount(fields, "flat", path) or Fraction(0),
    )


def _read_stair(document: Any, path: str) -> Tier:
    fields = read_object(document, path, ("up_to", "flat"))
    return Tier(_read_bound(fields, path), Fraction(0), read_amount(fields, "flat", path))


def _read_bound(fields: Mapping[str, Any], path: str) -> int | None:
    up_to = fields.get("up_to")
    return None if up_to is None else read_quantity(up_to, f"{path}.up_to")


def dump_tiers(tiers: tuple[Tier, ...]) -> dict[str, Any]:
    return {
        "tiers": [
            _dump_bound(tier)
            | {"unit": format_exact(tier.unit)}
            | (_dump_fee(tier) if tier.flat else {})
            for tier in tiers
        ]
    }


def dump_stairs(tiers: tuple[Tier, ...]) -> dict[str, Any]:
    return {"tiers": [_dump_bound(tier) | _dump_fee(tier) for tier in tiers]}


def _dump_bound(tier: Tier) -> dict[str, str]:
    return {} if tier.up_to_pico is None else {"up_to": format_quantity(tier.up_to_pico)}


def _dump_fee(tier: Tier) -> dict[str, str]:
    return {"flat": format_exact(tier.flat)}


# --- cells ------------------------------------------------------------------------------------


def read_cells(documents: Any, path: str) -> tuple[Cell, ...]:
    given = read_list(documents, path, MAX_CELLS, "cells")
    cells = tuple(_read_cell(cell, f"{path}[{n}]") for n, cell in enumerate(given))
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


def _read_cell(document: Any, path: str) -> Cell:
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


def dump_cells(cells: tuple[Cell, ...]) -> list[dict[str, Any]]:
    return [{"match": dict(cell.match), "unit": format_exact(cell.unit)} for cell in cells]
