"""
Which events stand: corrections of the log, as a small table beside the events.

A retraction takes its event out of every answer that reflects the retraction's position, and of no
earlier one: what was billed before is counted again as it was billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb
import msgspec

from taximeter.ports import StoredEvent

TABLE: Final = """
CREATE OR REPLACE TABLE corrections (seq BIGINT, retracts BIGINT, replaces BIGINT)
"""
COLUMNS: Final = ("retracts", "replaces")
"""Of every relation of events: the seq of the event that this one takes back, or stands in for."""


def note(db: duckdb.DuckDBPyConnection, relation: str) -> bool:
    """Take up the corrections among some events; whether there were any."""
    (count,) = db.execute(
        f"INSERT INTO corrections SELECT seq, retracts, replaces FROM {relation} "
        "WHERE retracts IS NOT NULL OR replaces IS NOT NULL"
    ).fetchall()[0]
    return bool(count)


def with_standing(relation: str, *, corrected: bool) -> str:
    """
    A statement: the events of a relation with `retracted_by`, the seq of their retraction.

    Args:
        corrected: Whether there are any corrections. Nearly everybody has none, and pays nothing.
    """
    if not corrected:
        return f"SELECT *, NULL::BIGINT AS retracted_by FROM ({relation})"
    taken_back = "SELECT seq AS retracted_by, retracts AS of FROM corrections WHERE retracts > 0"
    return f"""
        SELECT all_events.*, retracted_by
        FROM ({relation}) AS all_events LEFT JOIN ({taken_back}) AS taken_back ON seq = of
    """


def seen(upto: str) -> str:
    """Condition: accepted up to a position, an SQL expression, and not taken back by then."""
    return f"(seq <= {upto} AND coalesce(retracted_by > {upto}, true))"


def newest_retraction(db: duckdb.DuckDBPyConnection) -> int:
    """The seq of the last event that takes one back; 0 if none does."""
    rows = db.execute("SELECT coalesce(max(seq), 0) FROM corrections WHERE retracts > 0").fetchall()
    return int(rows[0][0])


def annotated(
    db: duckdb.DuckDBPyConnection, events: Sequence[StoredEvent], upto: int
) -> list[StoredEvent]:
    """Events with what became of them up to a position."""
    seqs = [event.seq for event in events]
    if not seqs:
        return []
    rows = db.execute(
        "SELECT seq, retracts, replaces FROM corrections WHERE seq <= $upto "
        "AND (retracts IN (SELECT unnest($seqs::BIGINT[])) "
        "OR replaces IN (SELECT unnest($seqs::BIGINT[])))",
        {"upto": upto, "seqs": seqs},
    ).fetchall()
    if not rows:
        return list(events)
    retracted = {retracts: seq for seq, retracts, _ in rows if retracts is not None}
    replaced = {replaces: seq for seq, _, replaces in rows if replaces is not None}
    return [
        msgspec.structs.replace(
            event, retracted_by=retracted.get(event.seq), replaced_by=replaced.get(event.seq)
        )
        for event in events
    ]
