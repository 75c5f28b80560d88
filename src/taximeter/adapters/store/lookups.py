"""
Events themselves: lists, the events of a line, one by its seq, all for a fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import duckdb

from taximeter.adapters.store.rows import EVENT_COLUMNS, stored_event
from taximeter.adapters.store.sql import (
    NO_LEAVES,
    Relation,
    Statement,
    dimension_columns,
    meter_conditions,
    value_column,
)
from taximeter.adapters.store.standing import seen
from taximeter.adapters.store.usage import one_of
from taximeter.meters.filters import parse_filter
from taximeter.periods import Period
from taximeter.ports import EventsQuery, LineScope, Selection, StoredEvent

_FETCH_ROWS: Final = 10_000
_COLUMNS: Final = ", ".join(f'"{name}"' for name in EVENT_COLUMNS)
IS_USAGE: Final = "NOT (starts_with(type, 'taximeter.') AND starts_with(source, 'taximeter/'))"


def list_events(
    db: duckdb.DuckDBPyConnection, sources: Iterable[str], query: EventsQuery
) -> list[StoredEvent]:
    """
    Newest first.

    Args:
        sources: Relations that together hold all events, each newer than the ones behind it: most
            pages come from the first.
    """
    statement = Statement(NO_LEAVES)
    last = query.upto if query.before is None else min(query.upto, query.before - 1)
    conditions = [
        f"namespace = {statement.bind(query.namespace)}",
        f"seq <= {statement.bind(last)}",
    ]
    if query.subjects is not None:
        conditions.append(one_of(statement, "subject", query.subjects))
    if query.type is not None:
        conditions.append(f"type = {statement.bind(query.type)}")
    else:
        # The gate's own commands (a grant, a hold) are no usage; who wants them names their type.
        conditions.append(IS_USAGE)
    if query.start is not None:
        conditions.append(f'"time" >= {statement.bind(query.start)}')
    if query.end is not None:
        conditions.append(f'"time" < {statement.bind(query.end)}')
    found: list[StoredEvent] = []
    limit = statement.bind(query.limit)
    for source in sources:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(conditions)} "
            f"ORDER BY seq DESC LIMIT {limit}",
            statement.parameters,
        ).fetchall()
        found += map(stored_event, rows[: query.limit - len(found)])
        if len(found) == query.limit:
            break
    return found


def select(
    db: duckdb.DuckDBPyConnection, relation: Relation, selection: Selection
) -> list[StoredEvent]:
    """
    Ascending. The node's own commands are no usage and are left out.

    Raises:
        Rejected: `invalid_filter`.
    """
    statement = Statement(relation)
    last = selection.upto if selection.last is None else min(selection.upto, selection.last)
    conditions = [
        f"namespace = {statement.bind(selection.namespace)}",
        f"seq >= {statement.bind(selection.first)}",
        f"seq <= {statement.bind(last)}",
        IS_USAGE,
    ]
    if selection.standing:
        conditions.append(seen(statement.bind(selection.upto)))
    if selection.seqs is not None:
        seqs = statement.bind(list(selection.seqs))
        conditions.append(f"seq IN (SELECT unnest({seqs}::BIGINT[]))")
    if selection.subjects is not None:
        conditions.append(one_of(statement, "subject", selection.subjects))
    if selection.type is not None:
        conditions.append(f"type = {statement.bind(selection.type)}")
    if selection.start is not None:
        conditions.append(f'"time" >= {statement.bind(selection.start)}')
    if selection.end is not None:
        conditions.append(f'"time" < {statement.bind(selection.end)}')
    if selection.filter is not None:
        conditions.append(statement.condition(parse_filter(selection.filter)))
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} "
        f"ORDER BY seq LIMIT {statement.bind(selection.limit)}",
        statement.parameters,
    ).fetchall()
    return list(map(stored_event, rows))


def line_events(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    scope: LineScope,
    group: tuple[str | None, ...],
    after: int,
    limit: int,
) -> list[StoredEvent]:
    """
    Exactly the events `recount` counts for this scope and group, ascending.

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    assert len(group) == len(scope.group_by), (group, scope.group_by)
    statement = Statement(relation)
    dimensions = dimension_columns(statement, scope.meter, scope.group_by)
    conditions = [
        f"namespace = {statement.bind(scope.namespace)}",
        f"seq > {statement.bind(after)}",
        seen(statement.bind(scope.upto)),
        f'"time" >= {statement.bind(scope.period.start)}',
        f'"time" < {statement.bind(scope.period.end)}',
        *_in_parts(statement, scope),
        one_of(statement, "subject", scope.subjects),
        *meter_conditions(statement, scope.meter, scope.filter),
        f"({value_column(statement, scope.meter)}) IS NOT NULL",
        *(
            f"({text}) IS NOT DISTINCT FROM {statement.bind(fixed)}::VARCHAR"
            for text, fixed in zip(dimensions, group, strict=True)
        ),
    ]
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} "
        f"ORDER BY seq LIMIT {statement.bind(limit)}",
        statement.parameters,
    ).fetchall()
    return list(map(stored_event, rows))


def _in_parts(statement: Statement, scope: LineScope) -> list[str]:
    """That an event lies in one of the parts of its period, if not all of it counts."""
    parts = [
        f'("time" >= {statement.bind(part.start)} AND "time" < {statement.bind(part.end)})'
        for part in scope.parts
    ]
    return [f"({' OR '.join(parts)})"] if parts else []


def count_by_subject(
    db: duckdb.DuckDBPyConnection, namespace: str, upto: int, subjects: Sequence[str]
) -> dict[str, int]:
    """Subject -> how many events of any type it has that stand; those without are absent."""
    statement = Statement(NO_LEAVES)
    conditions = [
        f"namespace = {statement.bind(namespace)}",
        seen(statement.bind(upto)),
        "retracts IS NULL",
        one_of(statement, "subject", tuple(subjects)),
    ]
    rows = db.execute(
        f"SELECT subject, count(*) FROM events WHERE {' AND '.join(conditions)} GROUP BY subject",
        statement.parameters,
    ).fetchall()
    return dict(rows)


def find(
    db: duckdb.DuckDBPyConnection, source: str, namespace: str, seq: int
) -> StoredEvent | None:
    """
    One event.

    Args:
        source: The relation that holds it, if any does.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM {source} WHERE seq = $seq AND namespace = $namespace",
        {"seq": seq, "namespace": namespace},
    ).fetchall()
    return stored_event(rows[0]) if rows else None


def scan(
    db: duckdb.DuckDBPyConnection,
    namespace: str,
    upto: int,
    types: tuple[str, ...],
    subjects: tuple[str, ...] | None,
    *,
    after: int = 0,
    corrected: int | None = None,
    span: Period | None = None,
) -> Iterator[StoredEvent]:
    """
    All events of these types (and subjects) in any order; other queries may run meanwhile.

    Args:
        corrected: What was taken back up to this position is left out; None for `upto`.
        span: Only events with their own time in it; None for all.
    """
    if not types or subjects == ():
        return
    statement = Statement(NO_LEAVES)
    conditions = [
        f"namespace = {statement.bind(namespace)}",
        f"seq > {statement.bind(after)}",
        f"seq <= {statement.bind(upto)}",
        seen(statement.bind(upto if corrected is None else corrected)),
        one_of(statement, "type", types),
    ]
    if subjects is not None:
        conditions.append(one_of(statement, "subject", subjects))
    if span is not None:
        conditions.append(f'"time" >= {statement.bind(span.start)}')
        conditions.append(f'"time" < {statement.bind(span.end)}')
    cursor = db.cursor()
    try:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)}",
            statement.parameters,
        )
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from map(stored_event, rows)
    finally:
        cursor.close()


def received(
    db: duckdb.DuckDBPyConnection,
    namespace: str,
    upto: int,
    types: tuple[str, ...],
    span: Period,
) -> Iterator[StoredEvent]:
    """All events of these types that were received in a span, in the order of the log."""
    statement = Statement(NO_LEAVES)
    conditions = [
        f"namespace = {statement.bind(namespace)}",
        seen(statement.bind(upto)),
        one_of(statement, "type", types),
        f"received_at >= {statement.bind(span.start)}",
        f"received_at < {statement.bind(span.end)}",
    ]
    cursor = db.cursor()
    try:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} ORDER BY seq",
            statement.parameters,
        )
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from map(stored_event, rows)
    finally:
        cursor.close()
