"""
Recounts: what each invoice line was billed for, counted again from the events.

Scopes that differ only in customer and period share one statement: they become a table that the
events are joined with. Ten thousand customers with three prices are three passes, not thirty
thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import duckdb
import numpy as np

from taximeter.adapters.store.sql import (
    Place,
    Relation,
    Statement,
    Total,
    dimension_columns,
    meter_conditions,
    totals,
    value_column,
)
from taximeter.adapters.store.standing import seen
from taximeter.adapters.store.weighed import point_columns, reach, weighed
from taximeter.invoices.lineage import leaf_bytes, merkle_digest
from taximeter.meters.definition import Meter, weighs_time
from taximeter.ports import LineScope, Recount

NO_EVENTS: Final = merkle_digest(())
_FETCH_ROWS: Final = 50_000
_COUNTING: Final = tuple(
    name for name in Meter.__struct_fields__ if name not in ("key", "dimensions", "unit")
)
"""What a meter's number depends on, dimensions aside."""


def recount(
    db: duckdb.DuckDBPyConnection, relation: Relation, scopes: Sequence[LineScope]
) -> list[list[Recount]]:
    """
    One list per scope, ordered by group (None last).

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    found: list[list[Recount]] = [[] for _ in scopes]
    for alike in _alike(scopes):
        for (index, *group), counted in _counted(db, relation, scopes, alike):
            found[index].append(Recount(tuple(group), *counted))
    for rows in found:
        rows.sort(key=lambda row: [(text is None, text or "") for text in row.group])
    nothing = Recount((), 0, 0, NO_EVENTS)
    return [
        rows or ([] if scope.group_by else [nothing])
        for scope, rows in zip(scopes, found, strict=True)
    ]


def _alike(scopes: Sequence[LineScope]) -> list[list[int]]:
    """Indices of the scopes, those together that one statement can answer."""
    runs: dict[Any, list[int]] = {}
    for index, scope in enumerate(scopes):
        dimensions = tuple(sorted(scope.meter.dimensions.items()))
        meter = tuple(getattr(scope.meter, name) for name in _COUNTING)
        filters = (scope.meter.filter, scope.filter)
        key = (scope.namespace, meter, dimensions, filters, scope.group_by)
        runs.setdefault(key, []).append(index)
    return list(runs.values())


def _counted(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    scopes: Sequence[LineScope],
    alike: Sequence[int],
) -> Iterator[tuple[Place, tuple[int, int, str]]]:
    """Value in pico, events and digest of each (scope, group) with events, in order."""
    example = scopes[alike[0]]
    names = ["scope", *(f"g{i}" for i in range(len(example.group_by)))]
    place = ", ".join(names)
    cursor = db.cursor()  # its own, for it may be given up before its last row is read
    try:
        cursor.register("scopes", _scope_table(scopes, alike))
        events, parameters = _events_of(relation, example, scopes, alike)
        if weighs_time(example.meter):
            counted = _weighed(cursor, relation, scopes, alike, names)
        else:
            counted = totals(cursor, example.meter, place, events, parameters)
        cursor.execute(
            f"SELECT {place}, seq, id, source, type, subject, time, coalesce(data, 'null') "
            f"FROM ({events}) ORDER BY {place}, seq",
            parameters,
        )
        for at, rows in groupby(_fetched(cursor), key=itemgetter(slice(0, len(names)))):
            digest = merkle_digest(leaf_bytes(*row[len(names) :]) for row in rows)
            yield at, (*counted.pop(at), digest)
        for at, total in counted.items():
            yield at, (*total, NO_EVENTS)
    finally:
        cursor.close()


def _weighed(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    scopes: Sequence[LineScope],
    alike: Sequence[int],
    place: Sequence[str],
) -> dict[Place, Total]:
    """Places that have events or usage; a level may be left from before its period."""
    events, parameters = _points_of(relation, scopes[alike[0]], scopes, alike)
    found = weighed(
        db,
        scopes[alike[0]].meter,
        place,
        events,
        parameters,
        lambda at: (scopes[at[0]].period,),
    )
    return {at: total for at, (total,) in found if any(total)}


def _fetched(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_FETCH_ROWS):
        yield from rows


def _scope_table(scopes: Sequence[LineScope], alike: Sequence[int]) -> dict[str, Any]:
    """One row for each scope and subject."""
    rows = [
        (index, subject, scopes[index].period.start, scopes[index].period.end, scopes[index].upto)
        for index in alike
        for subject in dict.fromkeys(scopes[index].subjects)
    ]
    subjects = np.empty(len(rows), dtype=object)
    subjects[:] = [row[1] for row in rows]
    return {
        "scope": np.array([row[0] for row in rows], dtype=np.int64),
        "scope_subject": subjects,
        "scope_start": np.array([row[2] for row in rows], dtype=np.int64),
        "scope_end": np.array([row[3] for row in rows], dtype=np.int64),
        "scope_upto": np.array([row[4] for row in rows], dtype=np.int64),
    }


def _events_of(
    relation: Relation,
    example: LineScope,
    scopes: Sequence[LineScope],
    alike: Sequence[int],
) -> tuple[str, dict[str, Any]]:
    """The counted events of all these scopes, with `scope`, groups and `value`."""
    statement = Statement(relation)
    groups = _groups(statement, example)
    conditions = [
        f'"time" >= {statement.bind(min(scopes[i].period.start for i in alike))}',
        *_conditions(statement, example, scopes, alike),
    ]
    text = f"""
        SELECT * FROM (
            SELECT scope{groups}, {value_column(statement, example.meter)} AS value,
                   seq, id, source, "type", subject, "time", data
            FROM events JOIN scopes ON subject = scope_subject
                AND "time" >= scope_start AND "time" < scope_end AND {seen("scope_upto")}
            WHERE {" AND ".join(conditions)})
        WHERE value IS NOT NULL
    """
    return text, statement.parameters


def _points_of(
    relation: Relation,
    example: LineScope,
    scopes: Sequence[LineScope],
    alike: Sequence[int],
) -> tuple[str, dict[str, Any]]:
    """What `weighed` reads: the events of all these scopes and what they open with."""
    statement = Statement(relation)
    groups = _groups(statement, example)
    conditions = _conditions(statement, example, scopes, alike)
    within = ["subject = scope_subject", '"time" < scope_end', seen("scope_upto")]
    within += reach(example.meter, "scope_start")
    text = f"""
        SELECT scope, scope_start AS place_start{groups},
            {point_columns(statement, example.meter)}, "time"
        FROM events JOIN scopes ON {" AND ".join(within)} WHERE {" AND ".join(conditions)}
    """
    return text, statement.parameters


def _groups(statement: Statement, example: LineScope) -> str:
    dimensions = dimension_columns(statement, example.meter, example.group_by)
    return "".join(f", {text} AS g{i}" for i, text in enumerate(dimensions))


def _conditions(
    statement: Statement, example: LineScope, scopes: Sequence[LineScope], alike: Sequence[int]
) -> list[str]:
    return [
        f"namespace = {statement.bind(example.namespace)}",
        f'"time" < {statement.bind(max(scopes[i].period.end for i in alike))}',
        *meter_conditions(statement, example.meter, example.filter),
    ]
