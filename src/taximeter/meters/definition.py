"""
What a meter is: which events it selects and how it turns them into one quantity.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import MAX_NAME_LENGTH
from taximeter.meters.filters import parse_filter
from taximeter.meters.paths import path_problem
from taximeter.meters.reading import (
    KEY_RULE,
    DocumentInvalid,
    Fields,
    Problem,
    is_key,
    kind_of,
    suggestion,
)

MAX_DIMENSIONS: Final = 16


class Aggregation(StrEnum):
    """How the values of many events become one quantity (K12)."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE = "unique"
    LAST = "last"


LATER_AGGREGATIONS: Final = ("weighted_sum", "percentile")
"""Part of the public interface, but not of this version: refused by name, never ignored."""


class Meter(msgspec.Struct, frozen=True):
    """
    One meter. Instances come from `parse_meter`, so paths and filter are known to be well formed.

    Attributes:
        key: Unique in its namespace.
        event_type: Only events of exactly this type.
        value: Path of the aggregated value; None only for `count`, which ignores it.
        dimensions: Name -> path, for grouping and for price multipliers.
        filter: Only events this expression is true for; None for all.
        unit: What one of it is called ("token"); never changes a number.
    """

    key: str
    event_type: str
    aggregation: Aggregation
    value: str | None = None
    dimensions: dict[str, str] = {}
    filter: str | None = None
    unit: str | None = None

    def __hash__(self) -> int:  # the generated one would hash the dict
        return hash((self.key, self.event_type, self.aggregation, self.value, self.filter))


def parse_meter(key: str, document: object) -> Meter:
    """
    Read one meter of a catalogue document.

    Raises:
        DocumentInvalid: `catalog_invalid` with every problem; paths are relative to the meter.
    """
    problems: list[Problem] = []
    fields = Fields(document, "", problems)
    if not is_key(key):
        fields.problem("", f"{str(key)[:40]!r} is not a key: {KEY_RULE}")
    fields.only(
        ("event_type", "aggregation", "value", "dimensions", "filter", "unit"),
        later=("percentile",),
    )
    aggregation = _aggregation(fields)
    meter = Meter(
        key=key,
        event_type=fields.text("event_type", required=True) or "",
        aggregation=aggregation or Aggregation.COUNT,
        value=_value(fields, aggregation),
        dimensions=_dimensions(fields),
        filter=_filter(fields),
        unit=fields.text("unit"),
    )
    assert len(meter.event_type) <= MAX_NAME_LENGTH, "Fields.text bounds it"
    if problems:
        raise DocumentInvalid(problems)
    return meter


def dump_meter(meter: Meter) -> dict[str, Any]:
    """The document `parse_meter` reads, without absent members."""
    document: dict[str, Any] = {
        "event_type": meter.event_type,
        "aggregation": meter.aggregation.value,
    }
    if meter.value is not None:
        document["value"] = meter.value
    if meter.dimensions:
        document["dimensions"] = dict(sorted(meter.dimensions.items()))
    if meter.filter is not None:
        document["filter"] = meter.filter
    if meter.unit is not None:
        document["unit"] = meter.unit
    return document


def _aggregation(fields: Fields) -> Aggregation | None:
    known = tuple(kind.value for kind in Aggregation)
    name = fields.members.get("aggregation")
    if isinstance(name, str) and name in LATER_AGGREGATIONS:
        fields.problem(
            "aggregation",
            f"{name!r} is not supported by this version, which has {', '.join(known)}",
        )
        return None
    choice = fields.choice("aggregation", known)
    return Aggregation(choice) if choice else None


def _value(fields: Fields, aggregation: Aggregation | None) -> str | None:
    path = fields.text("value")
    if path is not None:
        return _well_formed(fields, "value", path)
    needed = aggregation not in (None, Aggregation.COUNT)
    if needed and fields.members.get("value") is None:
        fields.problem("value", f"{aggregation} needs the path of a value, like data.tokens")
    return None


def _dimensions(fields: Fields) -> dict[str, str]:
    dimensions: dict[str, str] = {}
    named = fields.keyed("dimensions")
    if len(named) > MAX_DIMENSIONS:
        fields.problem("dimensions", f"a meter has at most {MAX_DIMENSIONS}")
    for name, path in sorted(named.items()):
        if not isinstance(path, str):
            fields.problem(f"dimensions.{name}", f"expected a path, found {kind_of(path)}")
        elif _well_formed(fields, f"dimensions.{name}", path):
            dimensions[name] = path
    return dimensions


def _filter(fields: Fields) -> str | None:
    text = fields.members.get("filter")
    if text is None:
        return None
    if not isinstance(text, str):
        fields.problem("filter", f"expected a filter expression, found {kind_of(text)}")
        return None
    try:
        parse_filter(text)
    except Rejected as error:
        fields.problem("filter", error.message)
    return text


def _well_formed(fields: Fields, name: str, path: str) -> str | None:
    problem = path_problem(path)
    if problem is None:
        return path
    fields.problem(name, problem)
    return None


def check_dimension(meter: Meter, name: str) -> None:
    """
    Make sure a meter can be grouped by a name.

    Raises:
        Rejected: `invalid_parameter`, listing the dimensions there are.
    """
    if name in meter.dimensions:
        return
    known = ", ".join(sorted(meter.dimensions)) or "none"
    raise Rejected(
        "invalid_parameter",
        f"meter {meter.key!r} has no dimension {name!r}{suggestion(name, meter.dimensions)}"
        f" (it has: {known})",
        meter=meter.key,
        dimension=name,
    )
