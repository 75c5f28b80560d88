"""
Reading and writing of limits, rates and costs: the members of a metered entitlement.
"""

from __future__ import annotations

from typing import Any, Final

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.catalog.features import (
    CUSTOMER,
    Cost,
    Enforcement,
    Limit,
    Rate,
    RateKind,
    Reset,
    Rollover,
)
from taximeter.meters.reading import Fields, kind_of, suggestion
from taximeter.quantities import E12, exact_pico, format_quantity

UNLIMITED: Final = "unlimited"
LIMIT_MEMBERS: Final = ("limit", "enforcement", "grace", "reset", "rollover")
MAX_GRACE_PICO: Final = 10 * E12
MAX_ROLLOVER_WINDOWS: Final = 120
_SIMPLE: Final = tuple(r for r in Reset if r not in (Reset.ROLLING, Reset.FIRST_USE))
_LASTING: Final = (Reset.ROLLING, Reset.FIRST_USE)
_TILING: Final = tuple(r for r in _SIMPLE if r is not Reset.NEVER)


# --- limits -----------------------------------------------------------------------------------


def read_limit(fields: Fields, level: str) -> Limit | None:
    """
    Read `limit` and its companions; problems are noted in `fields`.

    Returns:
        None if there is no limit (absent, null or `unlimited`), or if it cannot be read.
    """
    before = len(fields.problems)
    enforcement = fields.choice("enforcement", Enforcement, default=Enforcement.HARD)
    reset, window_us = _reset(fields)
    limit = fields.members.get("limit")
    if limit is None or limit == UNLIMITED:
        for name in ("grace", "rollover"):
            if fields.members.get(name) is not None:
                fields.problem(name, "needs a limit")
        return None
    pico = exact_pico(limit)
    if pico is None or pico < 0:
        fields.problem(
            "limit", f"expected a quantity from 0, or {UNLIMITED!r}, found {kind_of(limit)}"
        )
    grace_pico = _grace(fields, enforcement)
    rollover = _rollover(fields, reset)
    if len(fields.problems) > before or pico is None or enforcement is None:
        return None
    return Limit(pico, reset, window_us, Enforcement(enforcement), grace_pico, rollover, level)


def dump_limit(limit: Limit) -> dict[str, Any]:
    """The members `read_limit` reads."""
    document: dict[str, Any] = {
        "limit": format_quantity(limit.limit_pico),
        "enforcement": limit.enforcement.value,
        "reset": _dump_reset(limit),
    }
    if limit.grace_pico is not None:
        document["grace"] = format_quantity(limit.grace_pico)
    if limit.rollover is not None:
        document["rollover"] = _dump_rollover(limit.rollover)
    return document


def _reset(fields: Fields) -> tuple[Reset, int | None]:
    value = fields.members.get("reset")
    if isinstance(value, dict):
        return _lasting_reset(fields.inside("reset", value))
    if isinstance(value, str) and value in _LASTING:
        fields.problem("reset", f"needs a length: {{{value}: 5h}}")
        return Reset.PERIOD, None
    chosen = fields.choice("reset", _SIMPLE, default=Reset.PERIOD)
    return Reset(chosen or Reset.PERIOD), None


def _lasting_reset(fields: Fields) -> tuple[Reset, int | None]:
    if len(fields.members) != 1:
        fields.problem("", "expected one of {rolling: 5h} and {first_use: 5h}")
        return Reset.PERIOD, None
    (name,) = fields.members
    if name not in _LASTING:
        fields.problem(name, f"unknown member{suggestion(name, _LASTING)}")
        return Reset.PERIOD, None
    window_us = read_duration(fields, name)
    return (Reset.PERIOD, None) if window_us is None else (Reset(name), window_us)


def read_duration(fields: Fields, name: str) -> int | None:
    """A required length of time in microseconds; None, with the problem noted, if wrong."""
    value = fields.members.get(name)
    length_us = parse_duration(value)
    if value is None:
        fields.problem(name, f"is required: {DURATION_RULE}")
    elif length_us is None:
        fields.problem(name, f"expected {DURATION_RULE}, found {kind_of(value)}")
    return length_us


def _dump_reset(limit: Limit) -> Any:
    if limit.window_us is None:
        return limit.reset.value
    return {limit.reset.value: format_duration(limit.window_us)}


def _grace(fields: Fields, enforcement: str | None) -> int | None:
    value = fields.members.get("grace")
    if value is None:
        return None
    pico = exact_pico(value)
    if pico is None or not 0 <= pico <= MAX_GRACE_PICO:
        fields.problem("grace", f"expected a share from 0 to 10, like 0.1, found {kind_of(value)}")
    elif enforcement == Enforcement.HARD:
        fields.problem("grace", "only a soft limit has a grace share, this one is hard")
    return pico


def _rollover(fields: Fields, reset: Reset) -> Rollover | None:
    value = fields.members.get("rollover")
    if value is None:
        return None
    inner = fields.inside("rollover", value)
    inner.only(("max", "expires"))
    if reset not in _TILING:
        fields.problem("rollover", f"a limit that resets {reset.value!r} has nothing to carry over")
    max_pico = _optional_quantity(inner, "max")
    expires = inner.members.get("expires", 1)
    if type(expires) is not int or not 1 <= expires <= MAX_ROLLOVER_WINDOWS:
        inner.problem(
            "expires",
            f"expected a whole number of periods from 1 to {MAX_ROLLOVER_WINDOWS}, "
            f"found {kind_of(expires)}",
        )
        return None
    return Rollover(max_pico, expires)


def _dump_rollover(rollover: Rollover) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if rollover.max_pico is not None:
        document["max"] = format_quantity(rollover.max_pico)
    if rollover.expires != 1:
        document["expires"] = rollover.expires
    return document


# --- rates ------------------------------------------------------------------------------------


def read_rate(fields: Fields) -> Rate | None:
    """Read one rate; None, with the problems noted, if it is wrong."""
    before = len(fields.problems)
    fields.only(("limit", "per", "burst", "kind", "level"))
    limit_pico = _positive(fields, "limit")
    per_us = read_duration(fields, "per")
    kind = fields.choice("kind", RateKind, default=RateKind.TOKEN_BUCKET)
    burst_pico = limit_pico
    if fields.members.get("burst") is not None:
        burst_pico = _positive(fields, "burst")
        if kind == RateKind.SLIDING_WINDOW:
            fields.problem("burst", "only a token bucket has a burst")
    level = fields.text("level") or CUSTOMER
    if len(fields.problems) > before:
        return None
    assert limit_pico is not None
    assert per_us is not None
    assert burst_pico is not None
    assert kind is not None
    return Rate(limit_pico, per_us, burst_pico, RateKind(kind), level)


def dump_rate(rate: Rate) -> dict[str, Any]:
    """The document `read_rate` reads."""
    document: dict[str, Any] = {
        "limit": format_quantity(rate.limit_pico),
        "per": format_duration(rate.per_us),
        "kind": rate.kind.value,
    }
    if rate.burst_pico != rate.limit_pico:
        document["burst"] = format_quantity(rate.burst_pico)
    if rate.level != CUSTOMER:
        document["level"] = rate.level
    return document


# --- costs ------------------------------------------------------------------------------------


def read_cost(fields: Fields, dimensions: frozenset[str]) -> Cost | None:
    """
    Read `cost`: credits for each unit, or an object of `by`, cases and `default`.

    Args:
        dimensions: What `by` may name: those of the feature's meter.
    """
    value = fields.members.get("cost")
    if value is None:
        return Cost()
    if not isinstance(value, dict):
        pico = _cost_pico(fields, "cost", value)
        return None if pico is None else Cost(pico)
    inner = fields.inside("cost", value)
    by = inner.text("by", required=True)
    if by is not None and by not in dimensions:
        known = ", ".join(sorted(dimensions)) or "none"
        inner.problem(
            "by", f"the meter has no dimension {by!r}{suggestion(by, dimensions)} (it has: {known})"
        )
    cases: dict[str, int] = {}
    for name, amount in sorted(inner.members.items()):
        if name != "by":
            pico = _cost_pico(inner, name, amount)
            if pico is not None:
                cases[name] = pico
    if not cases:
        inner.problem("", "names no cost")
    default_pico = cases.pop("default", None)
    return Cost(default_pico, by, cases)


def dump_cost(cost: Cost) -> Any:
    """The value `read_cost` reads."""
    default = None if cost.default_pico is None else format_quantity(cost.default_pico)
    if cost.by is None:
        return default
    document: dict[str, Any] = {"by": cost.by}
    document |= {name: format_quantity(pico) for name, pico in cost.cases.items()}
    if default is not None:
        document["default"] = default
    return document


def _cost_pico(fields: Fields, name: str, value: object) -> int | None:
    pico = exact_pico(value)
    if pico is None or pico < 0:
        fields.problem(name, f"expected credits for a unit, from 0, found {kind_of(value)}")
        return None
    return pico


def _positive(fields: Fields, name: str) -> int | None:
    value = fields.members.get(name)
    pico = exact_pico(value)
    if value is None:
        fields.problem(name, "is required")
        return None
    if pico is None or pico <= 0:
        fields.problem(name, f"expected a quantity above 0, found {kind_of(value)}")
        return None
    return pico


def _optional_quantity(fields: Fields, name: str) -> int | None:
    value = fields.members.get(name)
    if value is None:
        return None
    pico = exact_pico(value)
    if pico is None or pico < 0:
        fields.problem(name, f"expected a quantity from 0, found {kind_of(value)}")
        return None
    return pico
