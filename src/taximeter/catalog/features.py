"""
Features and entitlements: what a product can be asked for, and what a plan grants of it.

A feature is declared once; each plan entitles to it in its own measure. A boolean feature is there
or not, a static one has a value (seats, a region), a metered one has usage and perhaps a limit.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.meters.reading import Fields, kind_of
from taximeter.quantities import exact_pico, format_quantity

UNLIMITED: Final = "unlimited"


class FeatureType(StrEnum):
    BOOLEAN = "boolean"
    METERED = "metered"
    STATIC = "static"


class ValueType(StrEnum):
    """What values a static feature takes."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    JSON = "json"


class Enforcement(StrEnum):
    """What happens at the limit: hard refuses, soft allows and reports the overage."""

    HARD = "hard"
    SOFT = "soft"


class Feature(msgspec.Struct, frozen=True):
    """
    Attributes:
        meter: Key of the meter that counts its usage; only and always for a metered feature.
        value_type: Only and always for a static feature.
    """

    key: str
    type: FeatureType
    meter: str | None = None
    value_type: ValueType | None = None


class MeteredEntitlement(msgspec.Struct, frozen=True, tag="metered"):
    """
    Usage of a metered feature in each billing period of the subscription.

    Attributes:
        limit_pico: Usage included in a period; None for unlimited.
    """

    feature: str
    limit_pico: int | None = None
    enforcement: Enforcement = Enforcement.HARD


class BooleanEntitlement(msgspec.Struct, frozen=True, tag="boolean"):
    feature: str
    enabled: bool


class StaticEntitlement(msgspec.Struct, frozen=True, tag="static"):
    """`value` has the type the feature declares; a decimal is kept as its canonical text."""

    feature: str
    value: Any


Entitlement: TypeAlias = MeteredEntitlement | BooleanEntitlement | StaticEntitlement


def parse_feature(key: str, fields: Fields) -> Feature | None:
    """Read one member of `features`; None, with the problems noted, if its type is unknown."""
    fields.only(("type", "meter", "value_type"))
    chosen = fields.choice("type", FeatureType)
    if chosen is None:
        return None
    kind = FeatureType(chosen)
    meter, value_type = None, None
    if kind is FeatureType.METERED:
        meter = fields.text("meter", required=True)
    elif "meter" in fields.members:
        fields.problem("meter", f"only a metered feature has a meter, this one is {kind}")
    if kind is FeatureType.STATIC:
        value_type = fields.choice("value_type", ValueType)
    elif "value_type" in fields.members:
        fields.problem("value_type", f"only a static feature has values, this one is {kind}")
    return Feature(key, kind, meter, ValueType(value_type) if value_type else None)


def dump_feature(feature: Feature) -> dict[str, Any]:
    """The document `parse_feature` reads."""
    document: dict[str, Any] = {"type": feature.type.value}
    if feature.meter is not None:
        document["meter"] = feature.meter
    if feature.value_type is not None:
        document["value_type"] = feature.value_type.value
    return document


def parse_entitlement(feature: Feature, document: object, plan: Fields) -> Entitlement | None:
    """
    Read what a plan grants of one feature.

    Args:
        plan: The plan's `entitlements`, where problems are noted.

    Returns:
        None, with a problem noted, if it does not fit the feature.
    """
    match feature.type:
        case FeatureType.METERED:
            return _parse_metered(feature, document, plan)
        case FeatureType.BOOLEAN:
            if isinstance(document, bool):
                return BooleanEntitlement(feature.key, document)
            plan.problem(
                feature.key,
                f"{feature.key} is a boolean feature: expected true or false, "
                f"found {kind_of(document)}",
            )
            return None
        case FeatureType.STATIC:
            return _parse_static(feature, document, plan)


def dump_entitlement(entitlement: Entitlement) -> Any:
    """The document `parse_entitlement` reads."""
    match entitlement:
        case MeteredEntitlement(_, limit_pico, enforcement):
            limit = UNLIMITED if limit_pico is None else format_quantity(limit_pico)
            return {"limit": limit, "enforcement": enforcement.value, "reset": "period"}
        case BooleanEntitlement(_, enabled):
            return enabled
        case StaticEntitlement(_, value):
            return value


def _parse_metered(feature: Feature, document: object, plan: Fields) -> Entitlement | None:
    if document == UNLIMITED:
        return MeteredEntitlement(feature.key)
    fields = plan.inside(feature.key, document)
    fields.only(("limit", "enforcement", "reset"), later=("credit", "cost", "rollover"))
    reset = fields.members.get("reset", "period")
    if reset != "period":
        fields.problem(
            "reset", f"expected 'period', the only reset of this version, found {kind_of(reset)}"
        )
    enforcement = fields.choice("enforcement", Enforcement, default=Enforcement.HARD)
    if enforcement is None:
        return None
    return MeteredEntitlement(feature.key, _limit_pico(fields), Enforcement(enforcement))


def _limit_pico(fields: Fields) -> int | None:
    limit = fields.members.get("limit")
    if limit is None or limit == UNLIMITED:
        return None
    pico = exact_pico(limit)
    if pico is None or pico < 0:
        fields.problem(
            "limit", f"expected a quantity from 0, or {UNLIMITED!r}, found {kind_of(limit)}"
        )
        return None
    return pico


def _parse_static(feature: Feature, document: object, plan: Fields) -> Entitlement | None:
    value = _typed(feature.value_type, document)
    if value is _WRONG:
        plan.problem(
            feature.key,
            f"{feature.key} is a static feature: expected a value of type {feature.value_type}, "
            f"found {kind_of(document)}",
        )
        return None
    return StaticEntitlement(feature.key, value)


_WRONG: Final = object()


def _typed(value_type: ValueType | None, value: object) -> object:
    match value_type, value:
        case ValueType.BOOLEAN, bool():
            return value
        case ((ValueType.INTEGER | ValueType.DECIMAL), bool()):
            return _WRONG
        case ValueType.INTEGER, int():
            return value
        case ValueType.STRING, str():
            return value
        case ValueType.DECIMAL, (int() | str() | Decimal()):
            pico = exact_pico(value)
            return _WRONG if pico is None else format_quantity(pico)
        case ((ValueType.JSON | None), _):
            return value
        case _:
            return _WRONG
