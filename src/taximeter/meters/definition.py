"""
What a meter is: which events it selects and how it turns them into one quantity.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import MAX_NAME_LENGTH
from taximeter.instants import SECOND
from taximeter.meters.expressions import MAX_EXPRESSION_LENGTH, parse_value
from taximeter.meters.kinds import OVER_TIME, SESSIONS, Aggregation, Mode, Per, Precision
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
from taximeter.meters.settings import (
    SETTINGS,
    dump_settings,
    read_filter,
    read_settings,
    read_text,
    well_formed,
)

__all__ = [
    "Aggregation",
    "Meter",
    "amount_path",
    "check_dimension",
    "dump_meter",
    "is_estimate",
    "parse_meter",
    "weighs_time",
]

MAX_DIMENSIONS: Final = 16


class Meter(msgspec.Struct, frozen=True):
    """
    One meter. Instances come from `parse_meter`, so paths and filter are known to be well formed.

    Attributes:
        key: Unique in its namespace.
        event_type: Only events of exactly this type.
        value: Expression of the aggregated value (`expressions`); for `unique` the path of what is
            counted, for sessions the path of what names the session; None only for `count`, which
            ignores it.
        dimensions: Name -> path, for grouping and for price multipliers.
        filter: Only events this expression is true for; None for all.
        unit: What one of it is called ("token"); never changes a number.
        percentile_pico: Of `percentile`, in pico: 95 is 95 x 10^12.
        mode: Of `weighted_sum`.
        series: Path of what has a level of its own beside the subject, or None.
        timeout_s: Whole seconds; None for no end by silence, never for sessions.
        per: Of `weighted_sum` and `session`.
        stop: Filter that is true for the events that end a session, or None.
        precision: Of `unique`.
    """

    key: str
    event_type: str
    aggregation: Aggregation
    value: str | None = None
    dimensions: dict[str, str] = {}
    filter: str | None = None
    unit: str | None = None
    percentile_pico: int | None = None
    mode: Mode | None = None
    series: str | None = None
    timeout_s: int | None = None
    per: Per | None = None
    stop: str | None = None
    precision: Precision | None = None

    @property
    def timeout(self) -> int | None:
        """`timeout_s` in microseconds."""
        return None if self.timeout_s is None else self.timeout_s * SECOND

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
    fields.only(("event_type", "aggregation", "value", "dimensions", "filter", "unit", *SETTINGS))
    choice = fields.choice("aggregation", Aggregation)
    aggregation = Aggregation(choice) if choice else None
    meter = Meter(
        key=key,
        event_type=fields.text("event_type", required=True) or "",
        aggregation=aggregation or Aggregation.COUNT,
        value=_value(fields, aggregation),
        dimensions=_dimensions(fields),
        filter=read_filter(fields, "filter"),
        unit=fields.text("unit"),
        **(read_settings(fields, aggregation) if aggregation is not None else {}),
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
    return document | dump_settings(meter)


def _value(fields: Fields, aggregation: Aggregation | None) -> str | None:
    if isinstance(fields.members.get("value"), list | tuple):
        fields.problem("value", "is one path or expression; add several up: data.a + data.b")
        return None
    text = read_text(fields, "value", "a path or an expression", MAX_EXPRESSION_LENGTH)
    if text is None:
        if aggregation not in (None, Aggregation.COUNT) and fields.members.get("value") is None:
            what = "session, like data.call_id" if aggregation in SESSIONS else "value"
            example = "" if aggregation in SESSIONS else ", like data.tokens"
            fields.problem("value", f"{aggregation} needs the path of a {what}{example}")
        return None
    if aggregation in (Aggregation.UNIQUE, *SESSIONS) or path_problem(text) is None:
        return well_formed(fields, "value", text)
    try:
        parse_value(text)
    except Rejected as error:
        # A lone word is a path somebody mistyped; what is wrong with it as such says more.
        plain = re.fullmatch(r"[\w.-]+", text) is not None
        fields.problem("value", (path_problem(text) if plain else None) or error.message)
    return text


def _dimensions(fields: Fields) -> dict[str, str]:
    dimensions: dict[str, str] = {}
    named = fields.keyed("dimensions")
    if len(named) > MAX_DIMENSIONS:
        fields.problem("dimensions", f"a meter has at most {MAX_DIMENSIONS}")
    for name, path in sorted(named.items()):
        if not isinstance(path, str):
            fields.problem(f"dimensions.{name}", f"expected a path, found {kind_of(path)}")
        elif well_formed(fields, f"dimensions.{name}", path):
            dimensions[name] = path
    return dimensions


# --- what others ask --------------------------------------------------------------------------


def is_estimate(meter: Meter) -> bool:
    """Whether its numbers are estimates: a price has to consent to them."""
    return meter.precision is Precision.SKETCH


def weighs_time(meter: Meter) -> bool:
    """Whether its quantity grows while time passes, also without events."""
    return meter.aggregation in OVER_TIME


def amount_path(meter: Meter) -> str | None:
    """
    The one path where an event of this meter says how much; None if there is no such place: it
    counts events, weighs time, or computes its value.
    """
    counts = meter.aggregation in (Aggregation.COUNT, Aggregation.UNIQUE, *OVER_TIME)
    path = None if counts else meter.value
    return path if path is not None and path_problem(path) is None else None


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
