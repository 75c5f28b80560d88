"""
Corrections and backfills in SQLite: `ports.CorrectionBooks`.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any, Final

import msgspec

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.errors import Refused
from taximeter.ports.audit import AuditEntry
from taximeter.ports.corrections import BackfillPart, StoredBackfill, StoredCorrection

_CORRECTION: Final = "rank, namespace, id, status, document"
_BACKFILL: Final = "rank, namespace, id, status, document"
_PART: Final = "number, received_at, events, body, sent_from, spans"
_COLUMNS: Final = ("rank", "namespace", "id", "status", "seqs")
_documents = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_seqs = msgspec.json.Decoder(tuple[int, ...])
_spans = msgspec.json.Decoder(tuple[tuple[int, int], ...])


class CorrectionTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def put_correction(self, correction: StoredCorrection, audit: AuditEntry | None = None) -> None:
        with self._connection.write() as sqlite:
            if not _added(sqlite, "corrections", correction, audit, seqs=correction.seqs):
                _update(sqlite, "corrections", correction, audit)

    def drop_correction(self, namespace: str, correction_id: str) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "DELETE FROM corrections WHERE namespace = ? AND id = ? AND status = 'committing'",
                (namespace, correction_id),
            )

    def unfinished_corrections(self) -> list[StoredCorrection]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_CORRECTION}, seqs FROM corrections WHERE status = 'committing'"
                " ORDER BY rank"
            )
            return [_to_correction(*one) for one in found]

    def correction(self, namespace: str, correction_id: str) -> StoredCorrection | None:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_CORRECTION}, seqs FROM corrections WHERE namespace = ? AND id = ?",
                (namespace, correction_id),
            ).fetchone()
        return None if found is None else _to_correction(*found)

    def corrections(
        self, namespace: str, *, status: str | None, before: int | None, limit: int
    ) -> list[StoredCorrection]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_CORRECTION}, '[]' FROM corrections WHERE namespace = ?"
                " AND (? IS NULL OR status = ?) AND (? IS NULL OR rank < ?)"
                " ORDER BY rank DESC LIMIT ?",
                (namespace, status, status, before, before, limit),
            )
            return [_to_correction(*one) for one in found]

    # --- backfills ----------------------------------------------------------------------------

    def add_backfill(self, backfill: StoredBackfill, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            return _added(sqlite, "backfills", backfill, audit)

    def update_backfill(self, backfill: StoredBackfill, audit: AuditEntry | None = None) -> None:
        with self._connection.write() as sqlite:
            _update(sqlite, "backfills", backfill, audit)

    def backfill(self, namespace: str, backfill_id: str) -> StoredBackfill | None:
        with self._connection.read() as sqlite:
            return _find_backfill(sqlite, namespace, backfill_id)

    def backfills(self, namespace: str, *, before: int | None, limit: int) -> list[StoredBackfill]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_BACKFILL} FROM backfills WHERE namespace = ?"
                " AND (? IS NULL OR rank < ?) ORDER BY rank DESC LIMIT ?",
                (namespace, before, before, limit),
            )
            return [_to_backfill(*one) for one in found]

    def unfinished_backfills(self) -> list[StoredBackfill]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_BACKFILL} FROM backfills"
                " WHERE status IN ('committing', 'reverting') ORDER BY rank"
            )
            return [_to_backfill(*one) for one in found]

    def add_backfill_part(self, namespace: str, backfill_id: str, part: BackfillPart) -> int:
        with self._connection.write() as sqlite:
            backfill = _find_backfill(sqlite, namespace, backfill_id)
            if backfill is None or backfill.status != "open":
                raise Refused("backfill_closed", f"The backfill {backfill_id!r} is not open.")
            (last,) = sqlite.execute(
                "SELECT coalesce(max(number), 0) FROM backfill_parts"
                " WHERE namespace = ? AND backfill = ?",
                (namespace, backfill_id),
            ).fetchone()
            number: int = last + 1
            rows.insert(
                sqlite,
                "backfill_parts",
                namespace=namespace,
                backfill=backfill_id,
                number=number,
                received_at=part.received_at,
                events=part.events,
                body=part.body,
            )
            staged = msgspec.structs.replace(
                backfill,
                events=backfill.events + part.events,
                bytes=backfill.bytes + len(part.body),
            )
            _update(sqlite, "backfills", staged, None)
            return number

    def update_backfill_part(self, namespace: str, backfill_id: str, part: BackfillPart) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "UPDATE backfill_parts SET body = ?, sent_from = ?, spans = ?"
                " WHERE namespace = ? AND backfill = ? AND number = ?",
                (
                    part.body,
                    part.sent_from,
                    None if part.spans is None else rows.to_json(part.spans),
                    namespace,
                    backfill_id,
                    part.number,
                ),
            )

    def backfill_parts(
        self, namespace: str, backfill_id: str, *, after: int, limit: int
    ) -> list[BackfillPart]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_PART} FROM backfill_parts"
                " WHERE namespace = ? AND backfill = ? AND number > ? ORDER BY number LIMIT ?",
                (namespace, backfill_id, after, limit),
            )
            return [
                BackfillPart(
                    number,
                    received_at,
                    events,
                    body,
                    sent_from,
                    None if spans is None else _spans.decode(spans),
                )
                for number, received_at, events, body, sent_from, spans in found
            ]


def _added(
    sqlite: sqlite3.Connection,
    table: str,
    one: StoredCorrection | StoredBackfill,
    audit: AuditEntry | None,
    **columns: Any,
) -> bool:
    rows.add_namespace(sqlite, one.namespace)
    known = sqlite.execute(
        f"SELECT 1 FROM {table} WHERE namespace = ? AND id = ?", (one.namespace, one.id)
    ).fetchone()
    if known is not None:
        return False
    rows.insert(
        sqlite,
        table,
        namespace=one.namespace,
        id=one.id,
        status=one.status,
        document=_document(one),
        **{name: rows.to_json(value) for name, value in columns.items()},
    )
    if audit is not None:
        rows.add_audit(sqlite, audit)
    return True


def _update(
    sqlite: sqlite3.Connection,
    table: str,
    one: StoredCorrection | StoredBackfill,
    audit: AuditEntry | None,
) -> None:
    sqlite.execute(
        f"UPDATE {table} SET status = ?, document = ? WHERE namespace = ? AND id = ?",
        (one.status, _document(one), one.namespace, one.id),
    )
    if audit is not None:
        rows.add_audit(sqlite, audit)


def _document(one: StoredCorrection | StoredBackfill) -> str:
    """All but what has a column of its own."""
    members = msgspec.structs.asdict(one)
    return rows.to_json({n: v for n, v in members.items() if n not in _COLUMNS})


def _to_correction(
    rank: int, namespace: str, correction_id: str, status: str, document: str, seqs: str
) -> StoredCorrection:
    return StoredCorrection(
        rank=rank,
        namespace=namespace,
        id=correction_id,
        status=status,
        seqs=_seqs.decode(seqs),
        **_documents.decode(document),
    )


def _find_backfill(
    sqlite: sqlite3.Connection, namespace: str, backfill_id: str
) -> StoredBackfill | None:
    found = sqlite.execute(
        f"SELECT {_BACKFILL} FROM backfills WHERE namespace = ? AND id = ?",
        (namespace, backfill_id),
    ).fetchone()
    return None if found is None else _to_backfill(*found)


def _to_backfill(
    rank: int, namespace: str, backfill_id: str, status: str, document: str
) -> StoredBackfill:
    return StoredBackfill(
        rank=rank, namespace=namespace, id=backfill_id, status=status, **_documents.decode(document)
    )
