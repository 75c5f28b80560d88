"""
Variants of a price: the same price with other amounts, from a later period on or in another
currency.

A variant is written as the members it has other than the price: `{from_period: 4, unit: 0.05}`. It
can never change what is counted, nor into which lines, so that one count serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from taximeter.catalog.price_fields import invalid, read_list
from taximeter.catalog.price_models import RampStep
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant

MAX_STEPS: Final = 120

AMOUNTS: Final = frozenset(
    {
        "amount", "unit", "tiers", "size", "rate", "fixed", "min_per_event", "max_per_event",
        "cells", "default", "markup", "costs", "free", "minimum", "maximum", "multipliers",
    }
)  # fmt: skip
"""Members that a variant may have of its own."""

Step = tuple[str, Mapping[str, Any], int | None, int | None]
"""Path, members, and from which period or instant on."""


def varied(document: Mapping[str, Any], members: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The document with other amounts; null takes a member away."""
    for name in members:
        if name not in AMOUNTS:
            exists = ", ".join(sorted(AMOUNTS))
            raise invalid(f"{path}.{name}", f"only amounts differ here: {exists}")
    together = {**document, **members}
    return {name: value for name, value in together.items() if value is not None}


def difference(document: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The members with which `varied` makes the other document of the first."""
    names = sorted(document.keys() | other.keys())
    return {name: other.get(name) for name in names if document.get(name) != other.get(name)}


def read_steps(
    document: Mapping[str, Any], ramp: Any, path: str
) -> tuple[Mapping[str, Any], list[Step]]:
    """
    The price as it begins, and its further steps, each told apart from that beginning.

    A step from period 1 is how it begins; its members need not be given twice.
    """
    if ramp is None:
        return document, []
    path = f"{path}.ramp"
    given = read_list(ramp, path, MAX_STEPS, "steps")
    steps = [_read_step(one, f"{path}[{n}]") for n, one in enumerate(given)]
    _check_ascending(steps)
    where, members, from_period, _ = steps[0]
    if from_period == 1:
        return varied(document, members, where), steps[1:]
    return document, steps


def _read_step(document: Any, path: str) -> Step:
    if not isinstance(document, Mapping):
        raise invalid(path, "must be an object like {from_period: 4, unit: 0.05}")
    members = {n: v for n, v in document.items() if n not in ("from_period", "from")}
    period, at = document.get("from_period"), document.get("from")
    if (period is None) == (at is None):
        raise invalid(path, "must say from_period (1 is the first) or from (an instant)")
    if at is not None:
        return path, members, None, _read_instant(at, f"{path}.from")
    if type(period) is not int or not 1 <= period <= 10_000:
        raise invalid(f"{path}.from_period", "must be a whole number from 1 to 10000")
    return path, members, period, None


def _read_instant(value: Any, path: str) -> int:
    try:
        return parse_instant(value if isinstance(value, str) else "")
    except Rejected:
        raise invalid(path, "must be an instant such as 2027-01-01T00:00:00Z") from None


def _check_ascending(steps: Sequence[Step]) -> None:
    for (_, _, period, at), (path, _, next_period, next_at) in pairwise(steps):
        if (period is None) != (next_period is None):
            raise invalid(path, "all steps say from_period, or all say from")
        if (next_period or next_at or 0) <= (period or at or 0):
            raise invalid(path, "must begin after the step before it")


def dump_step(step: RampStep, members: Mapping[str, Any]) -> dict[str, Any]:
    if step.from_at is not None:
        return {"from": format_instant(step.from_at), **members}
    return {"from_period": step.from_period, **members}
