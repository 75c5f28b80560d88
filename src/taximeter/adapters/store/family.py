"""
Families: scopes that one pass over the events can count together.

Their meters count at the same places by the same groups. A place is whose events, of when, up to
which position; a measure is one meter with its filters, and has a column of values of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from taximeter.adapters.store.sql import (
    Relation,
    Statement,
    dimension_columns,
    meter_conditions,
    needs_histogram,
    quantity_bound,
    value_column,
)
from taximeter.adapters.store.standing import seen
from taximeter.adapters.store.weighed import point_columns, reach
from taximeter.meters.definition import Meter, check_dimension, weighs_time
from taximeter.periods import Period
from taximeter.ports import LineScope

_COUNTING: Final = tuple(
    name for name in Meter.__struct_fields__ if name not in ("key", "dimensions", "unit")
)
"""What a meter's number depends on, dimensions aside."""

_EVENT: Final = 'seq, id, source, "type", subject, "time", data'

Spot: TypeAlias = tuple[tuple[str, ...], Period, int, tuple[Period, ...]]
"""Whose events, of when, up to which position; and of which parts of that, if not of all of it."""


class Measure(msgspec.Struct, frozen=True):
    """
    What one column of a pass counts.

    Attributes:
        example: Any of its scopes: they have meter, filters and groups in common.
        key: Equal for measures that count alike.
        scopes: For each place of the family, the indices of the scopes that ask for it.
    """

    example: LineScope
    key: Any
    scopes: list[list[int]]

    @property
    def meter(self) -> Meter:
        return self.example.meter


class Family(msgspec.Struct, frozen=True):
    """
    Measures that one pass counts.

    Attributes:
        spots: The places; a statement calls each by its index.
    """

    spots: tuple[Spot, ...]
    measures: tuple[Measure, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """`place`, then one for each member of `group_by`."""
        return ("place", *(f"g{i}" for i in range(len(self.measures[0].example.group_by))))

    @property
    def values(self) -> tuple[str, ...]:
        """The column of each measure."""
        return tuple(f"v{i}" for i in range(len(self.measures)))


def families_of(scopes: Sequence[LineScope]) -> list[Family]:
    """
    Raises:
        Rejected: `invalid_parameter` for an unknown dimension.
    """
    families: dict[Any, Family] = {}
    for counting, alike in _alike(scopes).items():
        places: dict[Spot, list[int]] = {}
        for index in alike:
            scope = scopes[index]
            spot = (scope.subjects, scope.period, scope.upto, scope.parts)
            places.setdefault(spot, []).append(index)
        measure = Measure(scopes[alike[0]], counting, list(places.values()))
        family = Family(tuple(places), (measure,))
        key = alike[0] if _is_alone(measure.meter) else _pass_of(family)
        known = families.get(key)
        families[key] = Family(
            family.spots, (measure,) if known is None else (*known.measures, measure)
        )
    return list(families.values())


def _alike(scopes: Sequence[LineScope]) -> dict[Any, list[int]]:
    """Indices of the scopes, those together that differ only in their place, by what they count."""
    runs: dict[Any, list[int]] = {}
    keys: dict[int, Any] = {}
    for index, scope in enumerate(scopes):
        # Thousands of scopes share one meter: what it depends on is put together once.
        meter = keys.get(id(scope.meter))
        if meter is None:
            counting = tuple(getattr(scope.meter, name) for name in _COUNTING)
            meter = keys[id(scope.meter)] = (
                counting,
                tuple(sorted(scope.meter.dimensions.items())),
            )
        key = (scope.namespace, meter, scope.filter, scope.group_by, scope.within)
        runs.setdefault(key, []).append(index)
    return runs


def _is_alone(meter: Meter) -> bool:
    return weighs_time(meter) or needs_histogram(meter)


def _pass_of(family: Family) -> Any:
    """Equal for families that one pass can count."""
    example = family.measures[0].example
    return (example.namespace, _group_paths(example), family.spots)


def _group_paths(scope: LineScope) -> tuple[str, ...]:
    for name in scope.group_by:
        check_dimension(scope.meter, name)
    return tuple(scope.meter.dimensions[name] for name in scope.group_by)


# --- statements -------------------------------------------------------------------------------


def place_table(
    family: Family, places: Sequence[int], after: Mapping[int, int] | None = None
) -> dict[str, Any]:
    """
    One row for each place, subject and part of its period: what statements join events with, as
    `places`.

    Args:
        after: Of a place: only events behind this position.
    """
    after = after or {}
    rows = [
        (place, subject, part.start, part.end, upto, after.get(place, 0))
        for place in places
        for subjects, period, upto, parts in (family.spots[place],)
        for subject in dict.fromkeys(subjects)
        for part in parts or (period,)
    ]
    names = np.empty(len(rows), dtype=object)
    names[:] = [row[1] for row in rows]
    return {
        "place": np.array([row[0] for row in rows], dtype=np.int64),
        "place_subject": names,
        "place_start": np.array([row[2] for row in rows], dtype=np.int64),
        "place_end": np.array([row[3] for row in rows], dtype=np.int64),
        "place_upto": np.array([row[4] for row in rows], dtype=np.int64),
        "place_after": np.array([row[5] for row in rows], dtype=np.int64),
    }


def counted_events(
    relation: Relation, family: Family, places: Sequence[int], after: int = 0
) -> tuple[str, dict[str, Any]]:
    """
    A statement of the events at some places: `columns`, `values` (NULL where a measure does not
    count the event) and the event's own columns.

    Args:
        after: The least that the places have for `place_after`.

    Raises:
        Rejected: `invalid_filter`.
    """
    statement = Statement(relation)
    first = min(family.spots[place][1].start for place in places)
    conditions = [
        f'"time" >= {statement.bind(first)}',
        f"seq > {statement.bind(after)}",
        *_within(statement, family, places),
    ]
    selections = _selections(statement, family)
    values = [_value(statement, measure) for measure in family.measures]
    distinct = list(dict.fromkeys(selections))
    if len(distinct) > 1:
        values = [
            f"CASE WHEN {selection} THEN {value} END"
            for selection, value in zip(selections, values, strict=True)
        ]
    conditions.append(f"({' OR '.join(f'({one})' for one in distinct)})")
    named = ", ".join(
        f"{value} AS {name}" for name, value in zip(family.values, values, strict=True)
    )
    joined = [
        "subject = place_subject",
        '"time" >= place_start',
        '"time" < place_end',
        seen("place_upto"),
        "seq > place_after",
    ]
    text = f"""
        SELECT place{_groups(statement, family)}, {named}, {_EVENT}
        FROM {relation.behind(after)} JOIN places ON {" AND ".join(joined)}
        WHERE {" AND ".join(conditions)}
    """
    return text, statement.parameters


def points(relation: Relation, family: Family, places: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """What `weighed` reads: the events at some places and what they open with."""
    statement = Statement(relation)
    (measure,) = family.measures
    (selection,) = _selections(statement, family)
    conditions = [*_within(statement, family, places), selection]
    joined = ["subject = place_subject", '"time" < place_end', seen("place_upto")]
    joined += reach(measure.meter, "place_start")
    text = f"""
        SELECT place, place_start{_groups(statement, family)},
            {point_columns(statement, measure.meter)}, "time"
        FROM events JOIN places ON {" AND ".join(joined)} WHERE {" AND ".join(conditions)}
    """
    return text, statement.parameters


def _within(statement: Statement, family: Family, places: Sequence[int]) -> list[str]:
    """Bounds that let files, and parts of them, be skipped."""
    spots = [family.spots[place] for place in places]
    subjects = [subject for names, *_ in spots for subject in names]
    return [
        f"namespace = {statement.bind(family.measures[0].example.namespace)}",
        f'"time" < {statement.bind(max(period.end for _, period, *_ in spots))}',
        f"subject BETWEEN {statement.bind(min(subjects))} AND {statement.bind(max(subjects))}",
    ]


def _value(statement: Statement, measure: Measure) -> str:
    """The column a measure counts; NULL where it does not count an event."""
    value = value_column(statement, measure.meter)
    bounds = zip((">=", "<"), measure.example.within, strict=True)
    conditions = [
        f"{value} {sign} {quantity_bound(statement, bound)}"
        for sign, bound in bounds
        if bound is not None
    ]
    return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END" if conditions else value


def _selections(statement: Statement, family: Family) -> list[str]:
    """The condition of each measure; the same text for the same condition."""
    known: dict[Any, str] = {}
    for measure in family.measures:
        key = _selection(measure)
        if key not in known:
            conditions = meter_conditions(statement, measure.meter, measure.example.filter)
            known[key] = " AND ".join(conditions)
    return [known[_selection(measure)] for measure in family.measures]


def _selection(measure: Measure) -> tuple[str, str | None, str | None]:
    return (measure.meter.event_type, measure.meter.filter, measure.example.filter)


def _groups(statement: Statement, family: Family) -> str:
    example = family.measures[0].example
    dimensions = dimension_columns(statement, example.meter, example.group_by)
    return "".join(f", {text} AS g{i}" for i, text in enumerate(dimensions))
