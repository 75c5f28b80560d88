"""
Usage: one meter over explicit windows, exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np

from taximeter.adapters.store.sql import (
    Statement,
    aggregate_column,
    dimension_columns,
    meter_conditions,
    pico_of,
    value_column,
)
from taximeter.meters.aggregate import mean_pico
from taximeter.meters.definition import Aggregation
from taximeter.periods import Period
from taximeter.ports import UsageQuery, UsageRow
from taximeter.quantities import E12


def usage(
    db: duckdb.DuckDBPyConnection, columns: Collection[str], query: UsageQuery
) -> list[UsageRow]:
    """
    Rows ordered by window, then group (None last).

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    windows = [w for w in query.windows if w.start < w.end]
    statement = Statement(columns)
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
    selected = [f"{text} AS {name}" for text, name in zip(dimensions, names, strict=True)]
    value = value_column(statement, query.meter)
    with _buckets(db, query.windows) as (joined, window):
        text = f"""
            SELECT {", ".join(["win", *names])},
                   {aggregate_column(query.meter.aggregation)}, count(*)
            FROM (SELECT {", ".join([f"{window} AS win", *selected])},
                         {value} AS value, "time", id
                  FROM events {joined}
                  WHERE {" AND ".join(conditions)})
            WHERE value IS NOT NULL
            GROUP BY {", ".join(["win", *names])}
            ORDER BY {", ".join(["win", *names])}
        """
        rows = db.execute(text, statement.parameters).fetchall()
    return [
        UsageRow(
            window=row[0],
            group=tuple(row[1:-2]),
            value_pico=finished(query.meter.aggregation, row[-2], row[-1]),
            events=row[-1],
        )
        for row in rows
    ]


def finished(aggregation: Aggregation, state: Any, events: int) -> int:
    """The quantity in pico of what `sql.aggregate_column` gave."""
    match aggregation:
        case Aggregation.COUNT:
            return events * E12
        case Aggregation.UNIQUE:
            return int(state) * E12
        case Aggregation.SUM:
            return _total(state)
        case Aggregation.AVG:
            return mean_pico(_total(state), events)
        case Aggregation.LAST:
            return pico_of(_members(state)[2])
        case _:
            return pico_of(state)


def _total(state: Any) -> int:
    whole, rest = _members(state)
    return int(whole) * E12 + pico_of(rest)


def _members(row: Any) -> Sequence[Any]:
    return tuple(row.values()) if isinstance(row, dict) else row


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
