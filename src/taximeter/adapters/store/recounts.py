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
from typing import Any, Final, TypeAlias

import duckdb
import numpy as np

from taximeter.adapters.store.sql import (
    Relation,
    Statement,
    aggregated,
    dimension_columns,
    finished,
    meter_conditions,
    value_column,
)
from taximeter.invoices.lineage import leaf_bytes, merkle_digest
from taximeter.ports import LineScope, Recount

Place: TypeAlias = tuple[Any, ...]  # (index of the scope, *group)

_FETCH_ROWS: Final = 50_000


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
    nothing = Recount((), 0, 0, merkle_digest(()))
    return [
        rows or ([] if scope.group_by else [nothing])
        for scope, rows in zip(scopes, found, strict=True)
    ]


def _alike(scopes: Sequence[LineScope]) -> list[list[int]]:
    """Indices of the scopes, those together that one statement can answer."""
    runs: dict[Any, list[int]] = {}
    for index, scope in enumerate(scopes):
        dimensions = tuple(sorted(scope.meter.dimensions.items()))
        meter = (scope.meter.event_type, scope.meter.aggregation, scope.meter.value)
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
    aggregation = scopes[alike[0]].meter.aggregation
    names = ["scope", *(f"g{i}" for i in range(len(scopes[alike[0]].group_by)))]
    place = ", ".join(names)
    cursor = db.cursor()  # its own, for it may be given up before its last row is read
    try:
        cursor.register("scopes", _scope_table(scopes, alike))
        events, parameters = _events_of(relation, scopes[alike[0]], scopes, alike)
        totals = aggregated(
            cursor,
            lambda aggregate: (
                f"SELECT {place}, {aggregate}, count(*) FROM ({events}) "
                f"GROUP BY {place} ORDER BY {place}"
            ),
            parameters,
            aggregation,
        )
        cursor.execute(
            f"SELECT {place}, seq, id, source, type, subject, time, coalesce(data, 'null') "
            f"FROM ({events}) ORDER BY {place}, seq",
            parameters,
        )
        leaves = groupby(_fetched(cursor), key=itemgetter(slice(0, len(names))))
        for total, (at, rows) in zip(totals, leaves, strict=True):
            assert tuple(total[:-2]) == at, "both statements order alike"
            digest = merkle_digest(leaf_bytes(*row[len(names) :]) for row in rows)
            yield at, (finished(aggregation, total[-2], total[-1]), total[-1], digest)
    finally:
        cursor.close()


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
    dimensions = dimension_columns(statement, example.meter, example.group_by)
    groups = "".join(f", {text} AS g{i}" for i, text in enumerate(dimensions))
    conditions = [
        f"namespace = {statement.bind(example.namespace)}",
        f'"time" >= {statement.bind(min(scopes[i].period.start for i in alike))}',
        f'"time" < {statement.bind(max(scopes[i].period.end for i in alike))}',
        *meter_conditions(statement, example.meter, example.filter),
    ]
    text = f"""
        SELECT * FROM (
            SELECT scope{groups}, {value_column(statement, example.meter)} AS value,
                   seq, id, source, "type", subject, "time", data
            FROM events JOIN scopes ON subject = scope_subject
                AND "time" >= scope_start AND "time" < scope_end AND seq <= scope_upto
            WHERE {" AND ".join(conditions)})
        WHERE value IS NOT NULL
    """
    return text, statement.parameters
