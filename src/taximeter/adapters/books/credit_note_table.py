"""
Credit notes and disputes in SQLite: `ports.CreditNoteBooks`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from taximeter.accounting.entries import given_away_minor
from taximeter.adapters.books import invoice_table, receivable_table, rows
from taximeter.adapters.books.connection import Connection
from taximeter.errors import Refused
from taximeter.invoices.credit_note import CreditNote, credit_note_bytes, parse_credit_note
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Status
from taximeter.invoices.states import UNISSUED
from taximeter.ports.audit import AuditEntry
from taximeter.ports.credit_notes import Dispute, StoredCreditNote

SERIES: Final = "CN-"
_NOTE: Final = (
    "namespace, id, invoice, customer, status, request, made_by, made_at, rank, number, "
    "decided_by, decided_at, document"
)
_DISPUTE: Final = (
    "namespace, id, invoice, line, customer, status, amount_minor, reason, opened_by, opened_at, "
    "rank, note, credit_note, resolved_by, resolved_at"
)
_requests = msgspec.json.Decoder(dict[str, Any])


class CreditNoteTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def issue_credit_note(
        self,
        note: StoredCreditNote,
        build: Callable[[str, Sequence[CreditNote]], CreditNote],
        audit: AuditEntry,
        funded: Mapping[str, int] | None = None,
    ) -> StoredCreditNote:
        with self._connection.write() as sqlite:
            invoice = invoice_table.require(sqlite, note.namespace, note.invoice)
            if Status(invoice.status) in {*UNISSUED, Status.VOID}:
                raise Refused(
                    "invoice_not_issued",
                    f"Invoice {invoice.id!r} is {invoice.status}; only what was issued, and is not "
                    "void, can be credited.",
                    status=invoice.status,
                )
            _check_open(sqlite, note)
            earlier = _issued(sqlite, note.namespace, note.invoice)
            number = invoice_table.next_number(sqlite, note.namespace, SERIES)
            built = build(invoice_table.numbered(SERIES, number), earlier)
            issued = replace(
                note, status="issued", number=built.number, document=credit_note_bytes(built)
            )
            _put(sqlite, issued, number)
            document = parse_invoice(invoice.document)
            returned_minor = sum(one.credits_minor for one in earlier)
            promotions_minor = given_away_minor(
                document, funded, returned_minor + built.credits_minor
            ) - given_away_minor(document, funded, returned_minor)
            receivable_table.credited(
                sqlite,
                note.namespace,
                note.id,
                document,
                nets=built.nets,
                tax_minor=built.tax_minor,
                now=built.issued_at,
                credits_minor=built.credits_minor,
                promotions_minor=promotions_minor,
                cause={"number": built.number, "reason": built.reason},
            )
            rows.add_audit(sqlite, audit)
            return issued

    def put_credit_note(self, note: StoredCreditNote, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            _check_open(sqlite, note)
            _put(sqlite, note, None)
            rows.add_audit(sqlite, audit)

    def credit_note(self, namespace: str, note_id: str) -> StoredCreditNote | None:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_NOTE} FROM credit_notes WHERE namespace = ? AND id = ?",
                (namespace, note_id),
            ).fetchone()
        return None if found is None else _to_note(found)

    def credit_notes(
        self,
        namespace: str,
        *,
        invoice: str | None,
        customer: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[StoredCreditNote]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_NOTE} FROM credit_notes WHERE namespace = ? "
                "AND (? IS NULL OR invoice = ?) AND (? IS NULL OR customer = ?) "
                "AND (? IS NULL OR status = ?) AND (? IS NULL OR rank < ?) "
                "ORDER BY rank DESC LIMIT ?",
                (namespace, invoice, invoice, customer, customer, status, status, before, before,
                 limit),
            )  # fmt: skip
            return [_to_note(row) for row in found]

    def correcting_notes(self, namespace: str, invoice: str) -> list[StoredCreditNote]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_NOTE} FROM credit_notes WHERE namespace = ? AND invoice = ? "
                "AND status <> 'rejected' AND json_extract(request, '$.corrects') ORDER BY rank",
                (namespace, invoice),
            )
            return [_to_note(row) for row in found]

    # --- disputes -----------------------------------------------------------------------------

    def put_dispute(self, dispute: Dispute, expected: str | None, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            known = _dispute(sqlite, dispute.namespace, dispute.invoice, dispute.line)
            if expected is None:
                if known is not None and known.status == "open":
                    return False
                members = msgspec.structs.asdict(dispute)
                del members["rank"]
                rows.insert(sqlite, "disputes", **members)
            else:
                if known is None or known.status != expected:
                    return False
                sqlite.execute(
                    "UPDATE disputes SET status = ?, note = ?, credit_note = ?, resolved_by = ?, "
                    "resolved_at = ? WHERE namespace = ? AND id = ?",
                    (dispute.status, dispute.note, dispute.credit_note, dispute.resolved_by,
                     dispute.resolved_at, dispute.namespace, dispute.id),
                )  # fmt: skip
            rows.add_audit(sqlite, audit)
        return True

    def dispute(self, namespace: str, invoice: str, line: str) -> Dispute | None:
        with self._connection.read() as sqlite:
            return _dispute(sqlite, namespace, invoice, line)

    def disputes(
        self,
        namespace: str,
        *,
        invoice: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[Dispute]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_DISPUTE} FROM disputes WHERE namespace = ? "
                "AND (? IS NULL OR invoice = ?) AND (? IS NULL OR status = ?) "
                "AND (? IS NULL OR rank < ?) ORDER BY rank DESC LIMIT ?",
                (namespace, invoice, invoice, status, status, before, before, limit),
            )
            return [_to_dispute(row) for row in found]

    def disputed(self, namespace: str, invoices: Sequence[str]) -> dict[str, dict[str, int]]:
        by_invoice: dict[str, dict[str, int]] = {}
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT invoice, line, amount_minor FROM disputes WHERE namespace = ? "
                "AND status = 'open' AND invoice IN (SELECT value FROM json_each(?)) ORDER BY rank",
                (namespace, rows.to_json(list(invoices))),
            )
            for invoice, line, minor in found:
                by_invoice.setdefault(invoice, {})[line] = minor
        return by_invoice


def _check_open(sqlite: sqlite3.Connection, note: StoredCreditNote) -> None:
    row = sqlite.execute(
        "SELECT status FROM credit_notes WHERE namespace = ? AND id = ?", (note.namespace, note.id)
    ).fetchone()
    if row is not None and row[0] != "pending":
        raise Refused(
            "credit_note_settled", f"Credit note {note.id!r} is {row[0]} already.", status=row[0]
        )


def _put(sqlite: sqlite3.Connection, note: StoredCreditNote, series_number: int | None) -> None:
    sqlite.execute(
        "INSERT INTO credit_notes (namespace, id, invoice, customer, status, request, made_by, "
        "made_at, number, series_number, decided_by, decided_at, document) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, id) DO UPDATE SET "
        "status = excluded.status, number = excluded.number, "
        "series_number = excluded.series_number, decided_by = excluded.decided_by, "
        "decided_at = excluded.decided_at, document = excluded.document",
        (note.namespace, note.id, note.invoice, note.customer, note.status,
         rows.to_json(note.request), note.made_by, note.made_at, note.number, series_number,
         note.decided_by, note.decided_at, note.document),
    )  # fmt: skip


def _issued(sqlite: sqlite3.Connection, namespace: str, invoice: str) -> list[CreditNote]:
    """Oldest first."""
    found = sqlite.execute(
        "SELECT document FROM credit_notes WHERE namespace = ? AND invoice = ? "
        "AND status = 'issued' ORDER BY rank",
        (namespace, invoice),
    )
    return [parse_credit_note(document) for (document,) in found]


def _to_note(row: tuple[Any, ...]) -> StoredCreditNote:
    members = dict(zip(_NOTE.split(", "), row, strict=True))
    members["request"] = _requests.decode(members["request"])
    return StoredCreditNote(**members)


def _dispute(sqlite: sqlite3.Connection, namespace: str, invoice: str, line: str) -> Dispute | None:
    row = sqlite.execute(
        f"SELECT {_DISPUTE} FROM disputes WHERE namespace = ? AND invoice = ? AND line = ? "
        "ORDER BY rank DESC LIMIT 1",
        (namespace, invoice, line),
    ).fetchone()
    return None if row is None else _to_dispute(row)


def _to_dispute(row: tuple[Any, ...]) -> Dispute:
    return Dispute(**dict(zip(_DISPUTE.split(", "), row, strict=True)))
