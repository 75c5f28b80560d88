"""
A counter: one number that live state keeps.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.filters import And, Expression, parse_filter

Group: TypeAlias = tuple[str | None, ...]
"""One dimension text for each name in `group_by`; None where the event has none."""


class Counter(msgspec.Struct, frozen=True, eq=False):
    """
    One number (or one per group) that is kept for each customer and period.

    Two counters are equal when they count the same: renaming a unit or adding a dimension changes
    nothing, another path, filter or grouping does.

    Attributes:
        filter: A further filter beside the meter's own, or None.
        group_by: Names of the meter's dimensions; () for one number.
        key: Short stable text for snapshots, equal for equal counters and only for them. Derived;
            what is passed for it is ignored.
    """

    meter: Meter
    filter: str | None = None
    group_by: tuple[str, ...] = ()
    key: str = ""

    def __post_init__(self) -> None:
        digest = hashlib.sha256(msgspec.json.encode(self._identity())).hexdigest()
        # Once here and not at every look-up, of which each check makes one.
        msgspec.structs.force_setattr(self, "key", f"{self.meter.key}:{digest[:16]}")

    @property
    def expression(self) -> Expression | None:
        """Both filters together; None if every event of the type counts."""
        texts = (self.meter.filter, self.filter)
        terms = tuple(parse_filter(text) for text in texts if text is not None)
        return And(terms) if len(terms) > 1 else next(iter(terms), None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def _identity(self) -> tuple[object, ...]:
        meter = self.meter
        return (
            meter.key,
            meter.event_type,
            meter.aggregation,
            None if meter.aggregation is Aggregation.COUNT else meter.value,
            meter.filter,
            self.filter,
            self.group_by,
            tuple(meter.dimensions[name] for name in self.group_by),
            *_settings(meter),
        )


def _settings(meter: Meter) -> tuple[object, ...]:
    """What else changes the number; nothing for a meter without such settings."""
    settings = {
        "percentile": meter.percentile_pico,
        "mode": meter.mode,
        "series": meter.series,
        "timeout_s": meter.timeout_s,
        "per": meter.per,
        "stop": meter.stop,
        "precision": meter.precision,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return (given,) if given else ()
