"""What clients have sent, in SQLite, and documents put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taximeter.accounting.journal import Account, JournalEntry
from taximeter.adapters.books import journal_table, rows
from taximeter.adapters.books.connection import Connection
from taximeter.periods import Period
from taximeter.ports import AuditEntry, SentCount, StoredInvoice

_FINAL: Final = "invoices_are_final_once_issued"

_SUM_AGAIN: Final = f"""
UPDATE receivables SET {
    ", ".join(
        f"{column} = (SELECT coalesce(sum(amount_minor), 0) FROM journal_postings p "
        f"WHERE p.namespace = :namespace AND p.invoice = :invoice AND p.account = '{account}')"
        for column, account in (
            ("open_minor", Account.RECEIVABLE),
            ("lost_minor", Account.WRITE_OFF),
            ("deferred_minor", Account.DEFERRED),
        )
    )
} WHERE namespace = :namespace AND invoice = :invoice
"""


class ReconciliationTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def put_sent_counts(self, namespace: str, counts: Sequence[SentCount], at: int) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, namespace)
            sqlite.executemany(
                "INSERT INTO sent_counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET events = excluded.events, reported_at = excluded.reported_at",
                [
                    (namespace, one.source, one.type, one.period.start, one.period.end,
                     one.events, at)
                    for one in counts
                ],
            )  # fmt: skip

    def sent_counts(self, namespace: str) -> list[SentCount]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT source, type, period_start, period_end, events FROM sent_counts "
                "WHERE namespace = ? ORDER BY period_start, period_end, source, type",
                (namespace,),
            )
            return [
                SentCount(source, type, Period(start, end), events)
                for source, type, start, end, events in found
            ]

    def forget_sent_counts(self, before: int) -> int:
        with self._connection.write() as sqlite:
            return sqlite.execute(
                "DELETE FROM sent_counts WHERE period_end < ?", (before,)
            ).rowcount

    def restore_invoice(self, invoice: StoredInvoice, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            # The rule that a document never changes was broken from outside; it is put aside for
            # this one statement, within the transaction that says who did so.
            (rule,) = sqlite.execute(
                "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", (_FINAL,)
            ).fetchone()
            sqlite.execute(f"DROP TRIGGER {_FINAL}")
            sqlite.execute(
                "UPDATE invoices SET document = ? WHERE namespace = ? AND id = ?",
                (invoice.document, invoice.namespace, invoice.id),
            )
            sqlite.execute(rule)
            rows.add_audit(sqlite, audit)

    def repost(self, namespace: str, entries: Sequence[JournalEntry], now: int) -> None:
        with self._connection.write() as sqlite:
            journal_table.post(sqlite, namespace, entries, now)
            for entry in entries:
                journal_table.complete(sqlite, namespace, entry)
            for invoice in {entry.invoice for entry in entries}:
                sqlite.execute(_SUM_AGAIN, {"namespace": namespace, "invoice": invoice})
