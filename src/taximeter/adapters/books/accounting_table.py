"""
The journal and what it adds up to, in SQLite: the part of `ports.Books` about accounts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import Any

from taximeter.accounting.credits import Booked, Worth, entry_of_credits
from taximeter.accounting.journal import Account, EntryKind, JournalEntry
from taximeter.accounting.matching import OpenInvoice
from taximeter.accounting.recognition import (
    format_month,
    month_of,
    month_start,
    next_month,
    parse_month,
)
from taximeter.accounting.standing import InvoiceStanding
from taximeter.accounting.unearned import Unearned
from taximeter.adapters.books import journal_table, receivable_table, rows
from taximeter.adapters.books.connection import Connection
from taximeter.ports import AuditEntry
from taximeter.ports.accounting import AccountTotal, ClosedMonth


class AccountingTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def write_off(
        self, namespace: str, invoice_id: str, reason: str, now: int, audit: AuditEntry
    ) -> None:
        with self._connection.write() as sqlite:
            receivable_table.write_off(sqlite, namespace, invoice_id, reason, now)
            rows.add_audit(sqlite, audit)

    def open_invoices(
        self, namespace: str, *, customer: str | None = None, at: int | None = None
    ) -> list[OpenInvoice]:
        with self._connection.read() as sqlite:
            if at is None:
                return receivable_table.open_invoices(sqlite, namespace, customer, None)
            return receivable_table.open_invoices_at(sqlite, namespace, customer, at)

    def due_invoices(self, namespace: str, before: int, reminded: int) -> list[OpenInvoice]:
        with self._connection.read() as sqlite:
            return receivable_table.due_invoices(sqlite, namespace, before, reminded)

    def invoice_standings(self, namespace: str, ids: Sequence[str]) -> dict[str, InvoiceStanding]:
        with self._connection.read() as sqlite:
            return receivable_table.standings(sqlite, namespace, ids)

    def note_reminded(self, namespace: str, invoice_id: str, step: int) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "UPDATE receivables SET reminded = max(reminded, ?) "
                "WHERE namespace = ? AND invoice = ?",
                (step, namespace, invoice_id),
            )

    def journal(
        self,
        namespace: str,
        *,
        start: int | None = None,
        end: int | None = None,
        customer: str | None = None,
        invoice: str | None = None,
        after: tuple[int, int] | None = None,
        limit: int | None = None,
    ) -> list[tuple[int, JournalEntry]]:
        clauses: list[str] = ["namespace = ?"]
        values: list[Any] = [namespace]
        wanted = {
            "at >= ?": start, "at < ?": end, "customer = ?": customer, "invoice = ?": invoice,
        }  # fmt: skip
        for clause, value in wanted.items():
            if value is not None:
                clauses.append(clause)
                values.append(value)
        if after is not None:
            clauses.append("(at, rank) > (?, ?)")
            values += after
        where = f"{' AND '.join(clauses)} ORDER BY at, rank LIMIT ?"
        with self._connection.read() as sqlite:
            return journal_table.read_ranked(
                sqlite, where, (*values, -1 if limit is None else limit)
            )

    def trial_balance(
        self, namespace: str, *, upto: int | None = None, start: int | None = None
    ) -> list[AccountTotal]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT account, currency, sum(amount_minor) FROM journal_postings "
                "WHERE namespace = ? AND (? IS NULL OR at <= ?) AND (? IS NULL OR at >= ?) "
                "GROUP BY account, currency",
                (namespace, upto, upto, start, start),
            )
            sums = [AccountTotal(Account(account), *rest) for account, *rest in found]
        order = {account: place for place, account in enumerate(Account)}
        return sorted(sums, key=lambda one: (one.currency, order[one.account]))

    # --- recognition --------------------------------------------------------------------------

    def unearned(self, namespace: str) -> list[Unearned]:
        with self._connection.read() as sqlite:
            return receivable_table.all_unearned(sqlite, namespace)

    def closed_months(self, namespace: str) -> list[ClosedMonth]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT month, closed_at FROM closed_months WHERE namespace = ? ORDER BY month",
                (namespace,),
            )
            return [ClosedMonth(parse_month(month), closed_at, 0) for month, closed_at in found]

    def close_month(
        self,
        namespace: str,
        month: date,
        now: int,
        audit: AuditEntry,
        credits: Sequence[Worth] = (),
    ) -> ClosedMonth:
        with self._connection.write() as sqlite:
            known = sqlite.execute(
                "SELECT closed_at FROM closed_months WHERE namespace = ? AND month = ?",
                (namespace, format_month(month)),
            ).fetchone()
            if known is not None:
                return ClosedMonth(month, known[0], 0)
            booked = 0
            for one in _open_months(sqlite, namespace, month):
                booked += _recognise_all(sqlite, namespace, one, now)
                if one == month:
                    booked += _book_credits(sqlite, namespace, credits, month, now)
                rows.insert(
                    sqlite,
                    "closed_months",
                    namespace=namespace,
                    month=format_month(one),
                    end_at=month_start(next_month(one)),
                    closed_at=now,
                )
            rows.add_audit(sqlite, audit)
            return ClosedMonth(month, now, booked)


def _open_months(sqlite: sqlite3.Connection, namespace: str, last: date) -> list[date]:
    """Every month with entries, up to one, that is not closed; and that one. Oldest first."""
    opened = journal_table.opened(sqlite, namespace)
    (first,) = sqlite.execute(
        "SELECT min(at) FROM journal_entries WHERE namespace = ? AND at >= ?", (namespace, opened)
    ).fetchone()
    month = last if first is None else min(last, month_of(first))
    if opened:
        month = month_of(opened)  # months follow each other without a gap
    months = []
    while month <= last:
        months.append(month)
        month = next_month(month)
    return months or [last]


def _recognise_all(sqlite: sqlite3.Connection, namespace: str, month: date, now: int) -> int:
    """How many invoices had earned something."""
    booked = 0
    for invoice in receivable_table.all_unearned(sqlite, namespace):
        entry_id = f"close:{format_month(month)}:{invoice.id}"
        booked += (
            receivable_table.recognise(
                sqlite, namespace, invoice, entry_id, next_month(month), month, now
            )
            != 0
        )
    return booked


def _book_credits(
    sqlite: sqlite3.Connection,
    namespace: str,
    credits: Sequence[Worth],
    month: date,
    now: int,
) -> int:
    """How many customers' credit was sold, spent or has expired."""
    found = [
        entry_of_credits(worth, _booked_credits(sqlite, namespace, worth, month), month, now)
        for worth in credits
    ]
    entries = [entry for entry in found if entry is not None]
    journal_table.post(sqlite, namespace, entries, now)
    return len(entries)


def _booked_credits(
    sqlite: sqlite3.Connection, namespace: str, worth: Worth, month: date
) -> Booked:
    """By the end of a month."""
    found = sqlite.execute(
        "SELECT e.kind, p.account, sum(p.amount_minor) FROM journal_entries e "
        "JOIN journal_postings p ON p.entry = e.rank "
        "WHERE e.namespace = ? AND e.customer = ? AND e.at < ? AND e.currency = ? "
        "AND (e.kind = 'credits' OR p.account = 'prepaid_credits') GROUP BY e.kind, p.account",
        (namespace, worth.customer, month_start(next_month(month)), worth.currency),
    )
    sums = {(kind, account): minor for kind, account, minor in found}
    left_minor = -sum(m for (_, account), m in sums.items() if account == Account.CREDITS)
    return Booked(
        sold_minor=sums.get((EntryKind.CREDITS, Account.CASH), 0),
        expired_minor=-sums.get((EntryKind.CREDITS, Account.BREAKAGE), 0),
        left_minor=left_minor,
    )
