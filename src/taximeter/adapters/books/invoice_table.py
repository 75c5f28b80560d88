"""Invoices, the periods they bill and their numbers, inside a caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

import msgspec

from taximeter.adapters.books import receivable_table, rows
from taximeter.errors import NotFound, Refused
from taximeter.invoices.adjustments import adjusting
from taximeter.invoices.invoice import Status
from taximeter.invoices.states import UNISSUED, check_issuable
from taximeter.ports import BilledPeriod, StoredInvoice


def add(
    sqlite: sqlite3.Connection, invoice: StoredInvoice, periods: Sequence[BilledPeriod]
) -> bool:
    assert invoice.number is None, "only issuing gives an invoice its number"
    if any(_is_billed(sqlite, invoice.namespace, period) for period in periods):
        return False
    rows.insert(sqlite, "invoices", **msgspec.structs.asdict(invoice))
    for period in periods:
        _insert_billed(sqlite, invoice, period)
    return True


def _insert_billed(
    sqlite: sqlite3.Connection, invoice: StoredInvoice, period: BilledPeriod
) -> None:
    rows.insert(
        sqlite,
        "billed_periods",
        namespace=invoice.namespace,
        subscription=period.subscription,
        period_start=period.start,
        part=period.part,
        period_end=period.end,
        invoice=invoice.id,
    )


def _is_billed(sqlite: sqlite3.Connection, namespace: str, period: BilledPeriod) -> bool:
    found = sqlite.execute(
        "SELECT 1 FROM billed_periods WHERE namespace = ? AND subscription = ? "
        "AND period_start = ? AND part = ?",
        (namespace, period.subscription, period.start, period.part),
    )
    return found.fetchone() is not None


def issue(
    sqlite: sqlite3.Connection,
    namespace: str,
    invoice_id: str,
    series: str,
    build: Callable[[str], StoredInvoice],
    funded: Mapping[str, int] | None = None,
) -> StoredInvoice:
    current = require(sqlite, namespace, invoice_id)
    check_issuable(invoice_id, Status(current.status))
    # Taken and used in the same transaction: whatever fails after this line, also the process,
    # gives the number back.
    number = next_number(sqlite, namespace, series)
    issued = build(numbered(series, number))
    _move(sqlite, issued, series, number)
    return receivable_table.issued(sqlite, issued, funded=funded)


def book_unbooked(sqlite: sqlite3.Connection) -> None:
    """Book invoices that a version without a journal has issued."""
    found = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE status = 'issued' AND NOT EXISTS ("
        "SELECT 1 FROM receivables WHERE receivables.namespace = invoices.namespace "
        "AND receivables.invoice = invoices.id) ORDER BY rank"
    )
    for row in found.fetchall():
        receivable_table.issued(sqlite, rows.to_invoice(row), apply_balance=False)


def next_number(sqlite: sqlite3.Connection, namespace: str, series: str) -> int:
    """The next number of a series, from 1; the transaction that takes it has to use it."""
    (number,) = sqlite.execute(
        "INSERT INTO number_series (namespace, series, last) VALUES (?, ?, 1) "
        "ON CONFLICT (namespace, series) DO UPDATE SET last = last + 1 RETURNING last",
        (namespace, series),
    ).fetchone()
    return int(number)


def numbered(series: str, number: int) -> str:
    """How a number of a series is written, such as "INV-000042"."""
    return f"{series}{number:06}"


def replace(
    sqlite: sqlite3.Connection,
    invoice: StoredInvoice,
    expected: str,
    reason: str,
    now: int,
    adjusts: Sequence[BilledPeriod] | None = None,
) -> bool:
    """
    Args:
        reason, now: Of the end of one that is void.
        adjusts: See `ports.InvoiceBooks`.
    """
    current = require(sqlite, invoice.namespace, invoice.id)
    if current.status != expected:
        return False
    if Status(expected) not in UNISSUED and invoice.document != current.document:
        raise Refused("invoice_final", "The document of an issued invoice never changes.")
    _move(sqlite, invoice)
    if adjusts is not None:
        _put_adjusted(sqlite, invoice, adjusts)
    if invoice.status == Status.VOID.value:
        sqlite.execute(
            "DELETE FROM billed_periods WHERE namespace = ? AND invoice = ?",
            (invoice.namespace, invoice.id),
        )
        if Status(expected) not in UNISSUED:
            receivable_table.voided(sqlite, invoice.namespace, invoice.id, reason, now)
    return True


def _put_adjusted(
    sqlite: sqlite3.Connection, invoice: StoredInvoice, adjusts: Sequence[BilledPeriod]
) -> None:
    sqlite.execute(
        "DELETE FROM billed_periods WHERE namespace = ? AND invoice = ? AND part LIKE ?",
        (invoice.namespace, invoice.id, adjusting("%")),
    )
    for period in adjusts:
        _insert_billed(sqlite, invoice, period)


def require(sqlite: sqlite3.Connection, namespace: str, invoice_id: str) -> StoredInvoice:
    found = find(sqlite, namespace, invoice_id)
    if found is None:
        raise NotFound("not_found", "There is no such invoice.")
    return found


def find(sqlite: sqlite3.Connection, namespace: str, invoice_id: str) -> StoredInvoice | None:
    row = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE namespace = ? AND id = ?",
        (namespace, invoice_id),
    ).fetchone()
    return None if row is None else rows.to_invoice(row)


def of_period(
    sqlite: sqlite3.Connection, namespace: str, subscription: str, start: int
) -> list[StoredInvoice]:
    found = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE namespace = ? AND id IN ("
        "SELECT invoice FROM billed_periods WHERE namespace = ? AND subscription = ? "
        "AND period_start = ?) ORDER BY rank",
        (namespace, namespace, subscription, start),
    )
    return [rows.to_invoice(row) for row in found]


def billed_periods(sqlite: sqlite3.Connection, namespace: str) -> dict[tuple[str, int, str], str]:
    found = sqlite.execute(
        "SELECT subscription, period_start, part, invoice FROM billed_periods WHERE namespace = ?",
        (namespace,),
    )
    return {(subscription, start, part): invoice for subscription, start, part, invoice in found}


def drafts_made_by(sqlite: sqlite3.Connection, namespace: str, at: int, limit: int) -> list[str]:
    found = sqlite.execute(
        "SELECT id FROM invoices WHERE namespace = ? AND status = 'draft' AND created_at <= ? "
        "ORDER BY rank LIMIT ?",
        (namespace, at, limit),
    )
    return [invoice for (invoice,) in found]


def listed(
    sqlite: sqlite3.Connection,
    namespace: str,
    customer: str | None,
    status: str | None,
    after: str | None,
    limit: int,
) -> list[StoredInvoice]:
    clauses, values = ["namespace = ?"], [namespace]
    for column, value in (("customer", customer), ("status", status)):
        if value is not None:
            clauses.append(f"{column} = ?")
            values.append(value)
    if after is not None:
        clauses.append("rank < (SELECT rank FROM invoices WHERE namespace = ? AND id = ?)")
        values += [namespace, after]
    found = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE {' AND '.join(clauses)} "
        "ORDER BY rank DESC LIMIT ?",
        (*values, limit),
    )
    return [rows.to_invoice(row) for row in found]


def since(
    sqlite: sqlite3.Connection, namespace: str, customers: Sequence[str], at: int
) -> list[StoredInvoice]:
    marks = ", ".join("?" * len(customers))
    found = sqlite.execute(
        f"SELECT {rows.INVOICE_COLUMNS} FROM invoices WHERE namespace = ? "
        f"AND customer IN ({marks}) AND period_end > ? AND status <> 'void' "
        "ORDER BY period_start, rank",
        (namespace, *customers, at),
    )
    return [rows.to_invoice(row) for row in found]


def _move(
    sqlite: sqlite3.Connection,
    invoice: StoredInvoice,
    series: str | None = None,
    series_number: int | None = None,
) -> None:
    """Store an invoice's new status, document, review and number. Whom it bills cannot change."""
    moved = sqlite.execute(
        "UPDATE invoices SET status = ?, number = ?, series = coalesce(?, series), "
        "series_number = coalesce(?, series_number), document = ?, review = ?, "
        "period_start = ?, period_end = ? "
        "WHERE namespace = ? AND id = ? AND customer = ? AND subscription = ?",
        (
            invoice.status,
            invoice.number,
            series,
            series_number,
            invoice.document,
            invoice.review,
            invoice.period_start,
            invoice.period_end,
            invoice.namespace,
            invoice.id,
            invoice.customer,
            invoice.subscription,
        ),
    )
    assert moved.rowcount == 1, "an invoice keeps its id and customer"
