"""
Late usage in SQLite: `ports.LateBooks`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.ports.audit import AuditEntry
from taximeter.ports.late import LateUsage

_COLUMNS: Final = "l.rank, l.status, l.document"
_BILLED_TO: Final = """
WITH documents AS (
    SELECT customer, CAST(document AS TEXT) AS document FROM invoices
    WHERE namespace = :namespace AND status <> 'void'
), billed AS (
    SELECT customer, json_extract(document, '$.subjects') AS subjects FROM documents
    UNION ALL
    SELECT json_extract(cover.value, '$.customer'), json_extract(cover.value, '$.subjects')
    FROM documents, json_each(document, '$.covers') AS cover
)
SELECT DISTINCT subject.value, customer FROM billed, json_each(subjects) AS subject
WHERE subject.value IN (SELECT value FROM json_each(:subjects))
"""
_decoder = msgspec.json.Decoder(LateUsage)


class LateTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def note_late(
        self, namespace: str, found: Sequence[LateUsage], position: int
    ) -> list[LateUsage]:
        with self._connection.write() as sqlite:
            new = [one for one in found if not _added_to(sqlite, one)]
            for one in new:
                _insert(sqlite, one)
            sqlite.execute(
                "INSERT INTO late_positions (namespace, position) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
                (namespace, position),
            )
        return new

    def late_position(self, namespace: str) -> int | None:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT position FROM late_positions WHERE namespace = ?", (namespace,)
            ).fetchone()
        return None if found is None else int(found[0])

    def billed_until(self, namespace: str) -> int | None:
        with self._connection.read() as sqlite:
            (end,) = sqlite.execute(
                "SELECT max(period_end) FROM billed_periods WHERE namespace = ? "
                "AND part = 'period'",
                (namespace,),
            ).fetchone()
        return None if end is None else int(end)

    def open_late(self, namespace: str, by_invoice: str | None = None) -> list[LateUsage]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM late_usage l LEFT JOIN invoices i "
                "ON i.namespace = l.namespace AND i.id = l.by_invoice "
                "WHERE l.namespace = ? AND (l.status IN ('pending', 'held') OR "
                "(l.status = 'adjusted' AND (i.status = 'void' OR l.by_invoice = ?))) "
                "ORDER BY l.rank",
                (namespace, by_invoice),
            )
            return [_to_late(*one) for one in found]

    def late_of_period(self, namespace: str, subscription: str, start: int) -> list[LateUsage]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM late_usage l WHERE namespace = ? AND subscription = ? "
                "AND period_start = ? ORDER BY rank",
                (namespace, subscription, start),
            )
            return [_to_late(*one) for one in found]

    def billed_to(self, namespace: str, subjects: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        with self._connection.read() as sqlite:
            for subject, customer in sqlite.execute(
                _BILLED_TO, {"namespace": namespace, "subjects": rows.to_json(list(subjects))}
            ):
                found.setdefault(subject, set()).add(customer)
        return found

    def late(self, namespace: str, late_id: str) -> LateUsage | None:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM late_usage l WHERE namespace = ? AND id = ?",
                (namespace, late_id),
            ).fetchone()
        return None if found is None else _to_late(*found)

    def settle_late(
        self, found: Sequence[LateUsage], expected: Sequence[str], audit: AuditEntry | None = None
    ) -> bool:
        with self._connection.write() as sqlite:
            if any(_status(sqlite, one) not in expected for one in found):
                return False
            for one in found:
                _update(sqlite, one)
            if audit is not None:
                rows.add_audit(sqlite, audit)
        return True

    def late_usage(
        self,
        namespace: str,
        *,
        customer: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[LateUsage]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM late_usage l WHERE namespace = ? "
                "AND (? IS NULL OR customer = ?) AND (? IS NULL OR status = ?) "
                "AND (? IS NULL OR rank < ?) ORDER BY rank DESC LIMIT ?",
                (namespace, customer, customer, status, status, before, before, limit),
            )
            return [_to_late(*one) for one in found]


def _added_to(sqlite: sqlite3.Connection, found: LateUsage) -> bool:
    """Whether something is open for the same meter and period, which now counts this too."""
    row = sqlite.execute(
        f"SELECT {_COLUMNS} FROM late_usage l WHERE namespace = ? AND subscription = ? "
        "AND period_start = ? AND meter = ? AND status IN ('pending', 'held')",
        (found.namespace, found.subscription, found.period_start, found.meter),
    ).fetchone()
    if row is None:
        return False
    known = _to_late(*row)
    together = replace(
        known,
        events=known.events + found.events,
        retractions=known.retractions + found.retractions,
        position=max(known.position, found.position),
        quantity_pico=None,
        amount_minor=None,
    )
    _update(sqlite, together)
    return True


def _insert(sqlite: sqlite3.Connection, one: LateUsage) -> None:
    rows.insert(
        sqlite,
        "late_usage",
        namespace=one.namespace,
        id=one.id,
        customer=one.customer,
        subscription=one.subscription,
        period_start=one.period_start,
        meter=one.meter,
        status=one.status,
        by_invoice=one.by_invoice,
        document=rows.to_json(one),
    )


def _update(sqlite: sqlite3.Connection, one: LateUsage) -> None:
    sqlite.execute(
        "UPDATE late_usage SET status = ?, by_invoice = ?, document = ? "
        "WHERE namespace = ? AND id = ?",
        (one.status, one.by_invoice, rows.to_json(one), one.namespace, one.id),
    )


def _status(sqlite: sqlite3.Connection, one: LateUsage) -> str:
    (status,) = sqlite.execute(
        "SELECT status FROM late_usage WHERE namespace = ? AND id = ?", (one.namespace, one.id)
    ).fetchone()
    return str(status)


def _to_late(rank: int, status: str, document: str) -> LateUsage:
    return replace(_decoder.decode(document), rank=rank, status=status)
