"""
Prices as the catalogue writes them: reading, checking and dumping; `rating` applies them.

All amounts are exact and in the currency of the plan. A usage price bills one meter: first the
free units go, then its model prices the rest, then its minimum and maximum bound the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.money import format_exact, parse_amount
from taximeter.quantities import E12, MAX_PICO, exact_pico, format_quantity

MAX_TIERS: Final = 100
MAX_GROUP_BY: Final = 8


class Timing(StrEnum):
    """When a flat fee is due: with the period it is for, or when that period has ended."""

    ADVANCE = "advance"
    ARREARS = "arrears"


class Flat(msgspec.Struct, frozen=True):
    """A fee for each period, whatever is used. `amount` is for a whole period; not negative."""

    key: str
    amount: Fraction
    timing: Timing = Timing.ADVANCE


class UsagePrice(msgspec.Struct, frozen=True, kw_only=True):
    """
    What all prices of a meter share.

    Attributes:
        free_pico: Units of each line that cost nothing, before the model sees the rest.
        minimum: What a line comes to at least, even without usage; None for no bound.
        maximum: What a line comes to at most; None for no bound.
        group_by: Dimensions of the meter; one line for each combination of their values.
        filter: Expression an event must satisfy to be billed here, or None.
        allow_estimate: Consent to bill a meter that estimates; refused without it.
    """

    key: str
    meter: str
    free_pico: int = 0
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    group_by: tuple[str, ...] = ()
    filter: str | None = None
    allow_estimate: bool = False


class PerUnit(UsagePrice, frozen=True, kw_only=True):
    """The same price for every unit."""

    unit: Fraction


class Tier(msgspec.Struct, frozen=True):
    """
    One step of a tiered price.

    Attributes:
        up_to_pico: The last quantity inside the tier (K8); None for the open last one.
        unit: Price of each unit in the tier.
        flat: Charged once if any quantity falls into the tier.
    """

    up_to_pico: int | None
    unit: Fraction
    flat: Fraction = Fraction(0)


class Graduated(UsagePrice, frozen=True, kw_only=True):
    """Each unit at the price of the tier it falls in; the bounds ascend, the last tier is open."""

    tiers: tuple[Tier, ...]


Price = Flat | PerUnit | Graduated

_USAGE_MEMBERS: Final = frozenset(
    {"meter", "free", "minimum", "maximum", "group_by", "filter", "allow_estimate"}
)
_TIER_MEMBERS: Final = frozenset({"up_to", "unit", "flat"})


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
        raise _invalid(path, "must be an object with a type")
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise _invalid(f"{path}.type", f"{kind!r} is not one of {', '.join(_PARSERS)}")
    return _PARSERS[kind](key, document, path)


def dump_price(price: Price) -> dict[str, Any]:
    """The document `parse_price` reads the same price from; decimals are text."""
    match price:
        case Flat():
            amount = format_exact(price.amount)
            return {"type": "flat", "amount": amount, "timing": price.timing.value}
        case PerUnit():
            return {"type": "per_unit"} | _dump_usage(price) | {"unit": format_exact(price.unit)}
        case Graduated():
            tiers = [_dump_tier(tier) for tier in price.tiers]
            return {"type": "graduated"} | _dump_usage(price) | {"tiers": tiers}


def _dump_usage(price: UsagePrice) -> dict[str, Any]:
    optional = {
        "free": format_quantity(price.free_pico) if price.free_pico else None,
        "minimum": None if price.minimum is None else format_exact(price.minimum),
        "maximum": None if price.maximum is None else format_exact(price.maximum),
        "group_by": list(price.group_by) or None,
        "filter": price.filter,
        "allow_estimate": price.allow_estimate or None,
    }
    return {"meter": price.meter} | {k: v for k, v in optional.items() if v is not None}


def _dump_tier(tier: Tier) -> dict[str, str]:
    document = {} if tier.up_to_pico is None else {"up_to": format_quantity(tier.up_to_pico)}
    document["unit"] = format_exact(tier.unit)
    if tier.flat:
        document["flat"] = format_exact(tier.flat)
    return document


# --- Reading ----------------------------------------------------------------------------------


def _parse_flat(key: str, document: Mapping[str, Any], path: str) -> Flat:
    _check_members(document, {"type", "amount", "timing"}, path)
    timing = document.get("timing", Timing.ADVANCE.value)
    if not isinstance(timing, str) or timing not in {t.value for t in Timing}:
        raise _invalid(f"{path}.timing", f"{timing!r} is not one of {', '.join(Timing)}")
    return Flat(key, _amount(document, "amount", path), Timing(timing))


def _parse_per_unit(key: str, document: Mapping[str, Any], path: str) -> PerUnit:
    _check_members(document, {"type", "unit"} | _USAGE_MEMBERS, path)
    return PerUnit(key=key, unit=_amount(document, "unit", path), **_usage(document, path))


def _parse_graduated(key: str, document: Mapping[str, Any], path: str) -> Graduated:
    _check_members(document, {"type", "tiers"} | _USAGE_MEMBERS, path)
    tiers = _parse_tiers(document.get("tiers"), f"{path}.tiers")
    return Graduated(key=key, tiers=tiers, **_usage(document, path))


_PARSERS: Final[dict[str, Callable[[str, Mapping[str, Any], str], Price]]] = {
    "flat": _parse_flat,
    "per_unit": _parse_per_unit,
    "graduated": _parse_graduated,
}


def _usage(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The members all usage prices share, as arguments of `UsagePrice`."""
    minimum = _optional_amount(document, "minimum", path)
    maximum = _optional_amount(document, "maximum", path)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise _invalid(f"{path}.minimum", "is above the maximum")
    return {
        "meter": _text(document, "meter", path),
        "free_pico": _quantity(document.get("free", 0), f"{path}.free"),
        "minimum": minimum,
        "maximum": maximum,
        "group_by": _names(document.get("group_by"), f"{path}.group_by"),
        "filter": None if document.get("filter") is None else _text(document, "filter", path),
        "allow_estimate": _consent(document, path),
    }


def _consent(document: Mapping[str, Any], path: str) -> bool:
    value = document.get("allow_estimate", False)
    if not isinstance(value, bool):
        raise _invalid(f"{path}.allow_estimate", "must be true or false")
    return value


def _parse_tiers(documents: Any, path: str) -> tuple[Tier, ...]:
    if not isinstance(documents, list | tuple) or not 1 <= len(documents) <= MAX_TIERS:
        raise _invalid(path, f"must be a list of 1 to {MAX_TIERS} tiers")
    tiers = tuple(_parse_tier(tier, f"{path}[{n}]") for n, tier in enumerate(documents))
    reached = 0
    for n, tier in enumerate(tiers[:-1]):
        if tier.up_to_pico is None:
            raise _invalid(f"{path}[{n}].up_to", "is missing; only the last tier is open")
        if tier.up_to_pico <= reached:
            raise _invalid(f"{path}[{n}].up_to", f"must be above {format_quantity(reached)}")
        reached = tier.up_to_pico
    if tiers[-1].up_to_pico is not None:
        raise _invalid(
            f"{path}[{len(tiers) - 1}].up_to",
            "leaves larger quantities without a price; the last tier has no up_to",
        )
    return tiers


def _parse_tier(document: Any, path: str) -> Tier:
    if not isinstance(document, Mapping):
        raise _invalid(path, "must be an object of up_to, unit and flat")
    _check_members(document, _TIER_MEMBERS, path)
    if document.get("unit") is None and document.get("flat") is None:
        raise _invalid(path, "has no price; give unit, flat or both")
    up_to = document.get("up_to")
    return Tier(
        up_to_pico=None if up_to is None else _quantity(up_to, f"{path}.up_to"),
        unit=_optional_amount(document, "unit", path) or Fraction(0),
        flat=_optional_amount(document, "flat", path) or Fraction(0),
    )


def _check_members(
    document: Mapping[str, Any], known: set[str] | frozenset[str], path: str
) -> None:
    unknown = [str(name) for name in document if name not in known]
    if unknown:
        exists = ", ".join(sorted(known))
        raise _invalid(f"{path}.{min(unknown)}", f"is unknown; there are {exists}")


def _amount(document: Mapping[str, Any], name: str, path: str) -> Fraction:
    amount = _optional_amount(document, name, path)
    if amount is None:
        raise _invalid(f"{path}.{name}", "is missing")
    return amount


def _optional_amount(document: Mapping[str, Any], name: str, path: str) -> Fraction | None:
    value: int | Decimal | str | None = document.get(name)
    if value is None:
        return None
    try:
        amount = parse_amount(value)
    except Rejected as error:
        raise Rejected(error.code, f"{path}.{name}: {error.message}", path=path) from None
    if amount < 0:
        raise _invalid(f"{path}.{name}", "must not be negative")
    return amount


def _quantity(value: Any, path: str) -> int:
    pico = exact_pico(value)
    if pico is None or pico < 0:
        raise _invalid(
            path, f"must be a quantity from 0 to {format_quantity(MAX_PICO // E12 * E12)}"
        )
    return pico


def _text(document: Mapping[str, Any], name: str, path: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(f"{path}.{name}", "is missing" if value is None else "must be a text")
    return value


def _names(value: Any, path: str) -> tuple[str, ...]:
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or len(names) > MAX_GROUP_BY:
        raise _invalid(path, f"must be a list of at most {MAX_GROUP_BY} dimensions")
    if not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names):
        raise _invalid(path, "must name different dimensions of the meter")
    return tuple(names)


def _invalid(path: str, what: str) -> Rejected:
    return Rejected("catalog_invalid", f"{path}: {what}", path=path)
