"""One row of the invoices, read and moved inside a caller's transaction."""

from __future__ import annotations

import sqlite3

from taximeter.adapters.books import rows
from taximeter.ports import StoredInvoice


def has_live(sqlite: sqlite3.Connection, invoice: StoredInvoice) -> bool:
    found = sqlite.execute(
        "SELECT 1 FROM invoices WHERE namespace = ? AND subscription = ? "
        "AND period_start = ? AND status <> 'void'",
        (invoice.namespace, invoice.subscription, invoice.period_start),
    )
    return found.fetchone() is not None


def find(sqlite: sqlite3.Connection, namespace: str, invoice_id: str) -> StoredInvoice | None:
    row = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE namespace = ? AND id = ?",
        (namespace, invoice_id),
    ).fetchone()
    return None if row is None else rows.to_invoice(row)


def move(sqlite: sqlite3.Connection, invoice: StoredInvoice, series: int | None = None) -> None:
    """Store an invoice's new status, document and number. What it bills cannot change."""
    moved = sqlite.execute(
        "UPDATE invoices SET status = ?, number = ?, series = coalesce(?, series), document = ? "
        "WHERE namespace = ? AND id = ? AND customer = ? AND subscription = ? "
        "AND period_start = ? AND period_end = ?",
        (
            invoice.status,
            invoice.number,
            series,
            invoice.document,
            invoice.namespace,
            invoice.id,
            invoice.customer,
            invoice.subscription,
            invoice.period_start,
            invoice.period_end,
        ),
    )
    assert moved.rowcount == 1, "an invoice keeps its id, customer and period"
