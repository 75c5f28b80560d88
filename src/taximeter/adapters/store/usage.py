"""
Usage: one meter over explicit windows, exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np

from taximeter.adapters.store.sql import (
    Relation,
    Statement,
    dimension_columns,
    meter_conditions,
    totals,
    value_column,
)
from taximeter.adapters.store.standing import seen
from taximeter.adapters.store.weighed import point_columns, reach, weighed
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.ports import UsageQuery, UsageRow


def usage(db: duckdb.DuckDBPyConnection, relation: Relation, query: UsageQuery) -> list[UsageRow]:
    """
    Rows ordered by window, then group (None last).

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    statement = Statement(relation)
    upto = statement.bind(query.upto)
    dimensions = dimension_columns(statement, query.meter, query.group_by)
    conditions = [
        f"namespace = {statement.bind(query.namespace)}",
        seen(upto) if query.corrected else f"seq <= {upto}",
        *meter_conditions(statement, query.meter, query.filter),
    ]
    windows = [w for w in query.windows if w.start < w.end]
    if not windows or query.subjects == ():
        return []
    if query.subjects is not None:
        conditions.append(one_of(statement, "subject", query.subjects))
    conditions.append(f'"time" < {statement.bind(windows[-1].end)}')
    names = [f"g{index}" for index in range(len(dimensions))]
    groups = "".join(f", {text} AS {name}" for text, name in zip(dimensions, names, strict=True))
    start = statement.bind(windows[0].start)
    if weighs_time(query.meter):
        conditions += reach(query.meter, start)
        events = f"""
            SELECT {start}::BIGINT AS place_start{groups}, {point_columns(statement, query.meter)},
                "time" FROM events WHERE {" AND ".join(conditions)}
        """
        return _weighed_rows(db, query, ["place_start", *names], events, statement)
    conditions.append(f'"time" >= {start}')
    value = value_column(statement, query.meter)
    with _buckets(db, query.windows) as (joined, window):
        events = f"""
            SELECT {window} AS win{groups}, {value} AS value, "time", id
            FROM events {joined} WHERE {" AND ".join(conditions)}
        """
        place = ", ".join(["win", *names])
        found = totals(db, query.meter, place, events, statement.parameters)
    return [UsageRow(at[0], at[1:], *total) for at, total in found.items()]


def _weighed_rows(
    db: duckdb.DuckDBPyConnection,
    query: UsageQuery,
    place: Sequence[str],
    events: str,
    statement: Statement,
) -> list[UsageRow]:
    indices = [index for index, one in enumerate(query.windows) if one.start < one.end]
    windows = [query.windows[index] for index in indices]
    found = [
        UsageRow(index, at[1:], *total)
        for at, of_windows in weighed(
            db, query.meter, place, events, statement.parameters, lambda _: windows
        )
        for index, total in zip(indices, of_windows, strict=True)
        if any(total)
    ]
    return sorted(found, key=lambda row: (row.window, [(v is None, v or "") for v in row.group]))


def one_of(statement: Statement, column: str, values: Sequence[str]) -> str:
    """A condition; a single value is compared, so that sorted files can be skipped by it."""
    if len(values) == 1:
        return f"{column} = {statement.bind(values[0])}"
    return f"{column} IN (SELECT unnest({statement.bind(list(values))}::VARCHAR[]))"


@contextmanager
def _buckets(db: duckdb.DuckDBPyConnection, windows: Sequence[Period]) -> Iterator[tuple[str, str]]:
    """
    The join that finds the window of a time, and its column.

    A range join would compare each event with many windows. Time is cut into equal buckets
    instead, each window is listed once for every bucket it touches, and a hash join by bucket
    leaves a handful of windows to compare exactly.
    """
    if len(windows) == 1:
        yield "", "0"
        return
    start = min(window.start for window in windows)
    span = max(window.end for window in windows) - start
    length = sum(window.end - window.start for window in windows)  # more than the span if rolling
    width = max(1, span // (4 * len(windows)), length // (8 * len(windows)))
    listed = [
        (bucket, index, window.start, window.end)
        for index, window in enumerate(windows)
        if window.start < window.end
        for bucket in range((window.start - start) // width, (window.end - 1 - start) // width + 1)
    ]
    table = np.array(listed, dtype=np.int64)
    names = ("bucket", "win", "win_start", "win_end")
    db.register("windows", {name: table[:, i].copy() for i, name in enumerate(names)})
    try:
        bucket_of = f'("time" - {start}) // {width}'
        within = '"time" >= win_start AND "time" < win_end'
        yield f"JOIN windows ON bucket = {bucket_of} AND {within}", "win"
    finally:
        db.unregister("windows")
