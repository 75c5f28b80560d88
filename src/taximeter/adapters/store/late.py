"""
News about the past: events with old times, and corrections of old events, in a span of the log.
"""

from __future__ import annotations

from typing import Final

import duckdb

from taximeter.adapters.store.lookups import IS_USAGE
from taximeter.adapters.store.sql import NO_LEAVES, Statement
from taximeter.adapters.store.usage import one_of
from taximeter.instants import DAY
from taximeter.ports import LateQuery, LateRow

_COLUMNS: Final = 'seq, subject, type, "time"'


def late(db: duckdb.DuckDBPyConnection, query: LateQuery) -> list[LateRow]:
    """By subject, type and day. An amendment is a retraction and an event."""
    statement = Statement(NO_LEAVES)
    conditions = [f"namespace = {statement.bind(query.namespace)}", IS_USAGE]
    span = f"> {statement.bind(query.after)} AND {{seq}} <= {statement.bind(query.upto)}"
    before = statement.bind(query.before)
    if query.subjects is not None:
        conditions.append(one_of(statement, "subject", query.subjects))
    usage = " AND ".join([*conditions, f'"time" < {before}'])
    news, taken_back = (f"{seq} {span.format(seq=seq)}" for seq in ("seq", "taken_back.noted"))
    rows = db.execute(
        f"""
        WITH taken_back AS (
            SELECT seq AS noted, retracts FROM corrections WHERE retracts IS NOT NULL
        ), news AS (
            SELECT {_COLUMNS}, seq AS noted, 0 AS back FROM events WHERE {usage} AND {news}
            UNION ALL
            SELECT {_COLUMNS}, taken_back.noted, 1
            FROM events JOIN taken_back ON seq = taken_back.retracts
            WHERE {usage} AND {taken_back}
        )
        SELECT subject, type, min("time"), max("time"), count(*) FILTER (back = 0)::BIGINT,
               sum(back)::BIGINT, max(noted)
        FROM news GROUP BY subject, type, "time" // {DAY}
        ORDER BY subject, type, min("time")
        """,
        statement.parameters,
    ).fetchall()
    return [LateRow(*row) for row in rows]
