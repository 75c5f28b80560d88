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
    aggregated,
    dimension_columns,
    finished,
    meter_conditions,
    value_column,
)
from taximeter.periods import Period
from taximeter.ports import UsageQuery, UsageRow


def usage(db: duckdb.DuckDBPyConnection, relation: Relation, query: UsageQuery) -> list[UsageRow]:
    """
    Rows ordered by window, then group (None last).

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    windows = [w for w in query.windows if w.start < w.end]
    statement = Statement(relation)
    dimensions = dimension_columns(statement, query.meter, query.group_by)
    conditions = [
        f"namespace = {statement.bind(query.namespace)}",
        f"seq <= {statement.bind(query.upto)}",
        *meter_conditions(statement, query.meter, query.filter),
    ]
    if not windows or query.subjects == ():
        return []
    conditions += [
        f'"time" >= {statement.bind(windows[0].start)}',
        f'"time" < {statement.bind(windows[-1].end)}',
    ]
    if query.subjects is not None:
        conditions.append(one_of(statement, "subject", query.subjects))
    names = [f"g{index}" for index in range(len(dimensions))]
    place = ", ".join(["win", *names])
    selected = [f"{text} AS {name}" for text, name in zip(dimensions, names, strict=True)]
    value = value_column(statement, query.meter)
    with _buckets(db, query.windows) as (joined, window):
        counted = f"""
            SELECT {", ".join([f"{window} AS win", *selected])}, {value} AS value, "time", id
            FROM events {joined} WHERE {" AND ".join(conditions)}
        """
        rows = aggregated(
            db,
            lambda aggregate: (
                f"SELECT {place}, {aggregate}, count(*) FROM ({counted}) "
                f"WHERE value IS NOT NULL GROUP BY {place} ORDER BY {place}"
            ),
            statement.parameters,
            query.meter.aggregation,
        )
    return [
        UsageRow(
            window=row[0],
            group=tuple(row[1:-2]),
            value_pico=finished(query.meter.aggregation, row[-2], row[-1]),
            events=row[-1],
        )
        for row in rows
    ]


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
    width = max(1, span // (4 * len(windows)))
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
