"""
Reading and writing of entitlements: what one plan grants of one feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, TypeVar

from taximeter.catalog.features import (
    CUSTOMER,
    PARENT,
    BooleanEntitlement,
    Entitlement,
    Feature,
    FeatureType,
    Limit,
    MeteredEntitlement,
    Rate,
    Reset,
    StaticEntitlement,
    ValueType,
)
from taximeter.catalog.limits import (
    LIMIT_MEMBERS,
    UNLIMITED,
    dump_cost,
    dump_limit,
    dump_rate,
    read_cost,
    read_limit,
    read_rate,
)
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.reading import KEY_RULE, Fields, is_key, kind_of
from taximeter.quantities import exact_pico, format_quantity

MAX_LIMITS: Final = 32
"""Limits and rates of one entitlement: each costs time in every decision."""

RESERVED_LEVELS: Final = frozenset({CUSTOMER, PARENT})
ADDITIVE: Final = frozenset({Aggregation.COUNT, Aggregation.SUM})
"""Meters whose usage of two stretches of time, or of two users, adds up to that of both."""

_T = TypeVar("_T", Limit, Rate)


def parse_entitlement(
    feature: Feature,
    meter: Meter | None,
    document: object,
    plan: Fields,
    levels: Iterable[str] = (),
) -> Entitlement | None:
    """
    Read what a plan grants of one feature.

    Args:
        meter: That of a metered feature; None if its definition could not be read.
        plan: The plan's `entitlements`, where problems are noted.
        levels: Declared scopes, outermost first: limits come in their order.

    Returns:
        None, with a problem noted, if it does not fit the feature.
    """
    match feature.type:
        case FeatureType.METERED:
            if document == UNLIMITED:
                return MeteredEntitlement(feature.key)
            fields = plan.inside(feature.key, document)
            return _parse_metered(feature.key, meter, fields, tuple(levels))
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
        case MeteredEntitlement():
            return _dump_metered(entitlement)
        case BooleanEntitlement(_, enabled):
            return enabled
        case StaticEntitlement(_, value):
            return value


# --- metered ----------------------------------------------------------------------------------


def _parse_metered(
    key: str, meter: Meter | None, fields: Fields, levels: tuple[str, ...]
) -> MeteredEntitlement:
    fields.only((*LIMIT_MEMBERS, "windows", "per", "rate", "credit", "cost"))
    main = read_limit(fields, CUSTOMER)
    limits = [] if main is None else [main]
    limits += _windows(fields, "windows", CUSTOMER)
    limits += _per_level(fields, levels)
    rates = _rates(fields)
    credit = _credit(fields)
    cost = None
    if credit is not None:
        cost = read_cost(fields, frozenset() if meter is None else frozenset(meter.dimensions))
        if main is None and limits and limits[0].level == CUSTOMER:
            # Else the first window would be what the plan includes before credit is spent.
            fields.problem("limit", "with credit and windows, say what is included: 0 for nothing")
    elif fields.members.get("cost") is not None:
        fields.problem("cost", "needs a credit that pays it, like credit: usd")
    _check_distinct(fields, "windows", limits)
    _check_distinct(fields, "rate", rates)
    if len(limits) + len(rates) > MAX_LIMITS:
        fields.problem("", f"has {len(limits) + len(rates)} limits, at most {MAX_LIMITS}")
    if meter is not None and meter.aggregation not in ADDITIVE:
        _check_not_additive(fields, meter, limits, rates, credit)
    return MeteredEntitlement(key, tuple(limits), tuple(rates), credit, cost)


def _windows(fields: Fields, name: str, level: str) -> list[Limit]:
    """Each member of a list (or a single one) is a limit by itself."""
    found = []
    for inner in _listed(fields, name):
        inner.only(LIMIT_MEMBERS)
        if inner.members.get("limit") in (None, UNLIMITED):
            inner.problem("limit", "is required: a quantity from 0")
            continue
        limit = read_limit(inner, level)
        if limit is not None:
            found.append(limit)
    return found


def _per_level(fields: Fields, levels: tuple[str, ...]) -> list[Limit]:
    value = fields.members.get("per")
    if value is None:
        return []
    inner = fields.inside("per", value)
    found = []
    declared = [level for level in levels if level in inner.members]
    for level in (*declared, *sorted(inner.members.keys() - set(declared))):
        if _is_level(inner, level, level):
            found += _windows(inner, level, level)
    return found


def _is_level(fields: Fields, name: str, level: str) -> bool:
    if level in RESERVED_LEVELS:
        fields.problem(name, f"{level!r} is no scope below the customer")
        return False
    if not is_key(level):
        fields.problem(name, f"{level[:40]!r} is not a key: {KEY_RULE}")
        return False
    return True


def _rates(fields: Fields) -> list[Rate]:
    found = []
    for inner in _listed(fields, "rate"):
        rate = read_rate(inner)
        if rate is not None and (rate.level == CUSTOMER or _is_level(inner, "level", rate.level)):
            found.append(rate)
    return found


def _credit(fields: Fields) -> str | None:
    credit = fields.text("credit")
    if credit is not None and not is_key(credit):
        fields.problem("credit", f"{credit[:40]!r} is not a key: {KEY_RULE}")
        return None
    if credit is not None and fields.members.get("limit") == UNLIMITED:
        fields.problem("credit", "nothing is left to pay for when the limit is unlimited")
    return credit


def _listed(fields: Fields, name: str) -> Iterable[Fields]:
    value = fields.members.get(name)
    if value is None:
        return
    if not isinstance(value, list | tuple):
        yield fields.inside(name, value)
        return
    for index, one in enumerate(value[: MAX_LIMITS + 1]):
        yield fields.inside(f"{name}[{index}]", one)


def _check_distinct(fields: Fields, name: str, found: list[_T]) -> None:
    """Two limits of the same window would be one number with two meanings."""
    keys = [one.key for one in found]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        fields.problem(name, f"there are two limits {key!r}; a window has one")


def _check_not_additive(
    fields: Fields, meter: Meter, limits: list[Limit], rates: list[Rate], credit: str | None
) -> None:
    """What has to add usage up piece by piece, and cannot."""
    why = f"meter {meter.key!r} is a {meter.aggregation.value}, whose parts do not add up"
    if any(limit.level != CUSTOMER for limit in limits):
        fields.problem("per", f"needs a count or sum: {why}")
    windows = {limit.reset.value for limit in limits if limit.reset is not Reset.PERIOD}
    if windows:
        fields.problem(
            "reset", f"needs a count or sum for {', '.join(sorted(windows))}: {why}; use period"
        )
    if any(limit.rollover for limit in limits):
        fields.problem("rollover", f"needs a count or sum: {why}")
    if rates:
        fields.problem("rate", f"needs a count or sum: {why}")
    if credit is not None:
        fields.problem("credit", f"needs a count or sum: {why}")


def _dump_metered(entitlement: MeteredEntitlement) -> dict[str, Any]:
    document: dict[str, Any] = {}
    main = entitlement.main
    if main is not None:
        document |= dump_limit(main)
    elif entitlement.credit is None:
        document["limit"] = UNLIMITED
    own = [dump_limit(one) for one in entitlement.limits[1:] if one.level == CUSTOMER]
    if own:
        document["windows"] = own
    per: dict[str, list[Any]] = {}
    for limit in entitlement.limits:
        if limit.level != CUSTOMER:
            per.setdefault(limit.level, []).append(dump_limit(limit))
    if per:
        document["per"] = {level: _single(limits) for level, limits in per.items()}
    if entitlement.rates:
        document["rate"] = _single([dump_rate(rate) for rate in entitlement.rates])
    if entitlement.credit is not None:
        document["credit"] = entitlement.credit
    if entitlement.cost is not None:
        document["cost"] = dump_cost(entitlement.cost)
    return document


def _single(documents: list[Any]) -> Any:
    """One is written without a list around it."""
    return documents[0] if len(documents) == 1 else documents


# --- static -----------------------------------------------------------------------------------


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
