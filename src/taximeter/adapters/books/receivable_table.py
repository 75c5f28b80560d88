"""
Issued invoices and what is open on them, inside a caller's transaction.

Who issues, voids or credits an invoice calls `issued`, `voided` or `credited` in the same
transaction: the document and its entries are there together or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from taximeter.accounting.entries import (
    entries_of_issue,
    entries_of_void,
    entry_of_allocation,
    entry_of_credit_note,
    entry_of_difference,
    entry_of_recognition,
    entry_of_recovery,
    entry_of_write_off,
    reversal_of,
)
from taximeter.accounting.journal import Account, EntryKind, JournalEntry
from taximeter.accounting.matching import Allocation, OpenInvoice
from taximeter.accounting.recognition import Service, month_of, services_of
from taximeter.accounting.recognition import credited as without
from taximeter.accounting.standing import InvoiceStanding, settled
from taximeter.accounting.unearned import Unearned
from taximeter.adapters.books import journal_table, rows
from taximeter.errors import Refused
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.periods import local_day
from taximeter.ports import StoredInvoice

_COLUMNS: Final = (
    "invoice, number, customer, currency, issued_at, due_at, open_minor, lost_minor, reminded"
)

_UNEARNED: Final = (
    "invoice, number, customer, currency, issued_on, deferred_minor, recognised_minor, services"
)
_services = msgspec.json.Decoder(tuple[Service, ...])


# --- what happens to an invoice -------------------------------------------------------------------


def issued(
    sqlite: sqlite3.Connection,
    stored: StoredInvoice,
    *,
    apply_balance: bool = True,
    funded: Mapping[str, int] | None = None,
) -> StoredInvoice:
    """
    Book an invoice that has just become issued, and pay it from the customer's balance.

    Args:
        stored: As it is in the books by now.
        apply_balance: Whether money the customer has with us pays it.
        funded: See `entries.entry_of_issue`.

    Returns:
        The same with the status it has then: one with nothing to pay is paid.
    """
    namespace, invoice = stored.namespace, parse_invoice(stored.document)
    assert invoice.number is not None, invoice.id
    assert invoice.issued_at is not None, invoice.id
    now, timezone = invoice.issued_at, _timezone(sqlite, namespace, invoice.customer)
    services = services_of(invoice, timezone)
    rows.insert(
        sqlite,
        "receivables",
        namespace=namespace,
        invoice=invoice.id,
        number=invoice.number,
        customer=invoice.customer,
        currency=invoice.currency,
        issued_at=now,
        issued_on=local_day(now, timezone).isoformat(),
        services=rows.to_json(services),
        due_at=now if invoice.due_at is None else invoice.due_at,
    )
    entries = entries_of_issue(invoice, now, timezone, funded)
    journal_table.post(sqlite, namespace, entries, now)
    if apply_balance:
        _apply_balance(sqlite, namespace, invoice.id, now)
    return replace(stored, status=settle(sqlite, namespace, invoice.id).value)


def _timezone(sqlite: sqlite3.Connection, namespace: str, customer: str) -> str:
    (document,) = sqlite.execute(
        "SELECT document FROM customers WHERE namespace = ? AND key = ?", (namespace, customer)
    ).fetchone()
    return rows.to_customer(document).timezone


def voided(
    sqlite: sqlite3.Connection, namespace: str, invoice_id: str, reason: str, now: int
) -> None:
    """
    Undo all entries of an issued invoice. What was paid on it is the customer's balance again.

    Raises:
        Refused: `invoice_final`: it was below zero, and the balance it gave was used.
    """
    entries = journal_table.of_invoice(sqlite, namespace, invoice_id)
    taken_off = [reversal_of(one, now, reason) for one in _standing_allocations(entries)]
    journal_table.post(sqlite, namespace, taken_off, now)
    booked = journal_table.of_invoice(sqlite, namespace, invoice_id)
    undone = entries_of_void(booked, now, reason)
    for entry in undone:
        _check_unused(sqlite, namespace, entry)
    journal_table.post(sqlite, namespace, undone, now)


def credited(
    sqlite: sqlite3.Connection,
    namespace: str,
    note: str,
    invoice: Invoice,
    *,
    nets: Mapping[str, int],
    tax_minor: int,
    now: int,
    credits_minor: int = 0,
    promotions_minor: int = 0,
    cause: Mapping[str, Any] | None = None,
) -> Status:
    """
    Book a credit note: what it takes back of each line's net (see `accounting.nets`), and the tax.

    Args:
        credits_minor: The part that goes back into grants of prepaid credit.
        promotions_minor: Of that, what nobody had paid for.

    Returns:
        The invoice's status now: one with nothing left to pay is paid.
    """
    (standing,) = invoices(sqlite, namespace, [invoice.id])
    entry = entry_of_credit_note(
        note,
        invoice,
        now,
        nets=nets,
        tax_minor=tax_minor,
        open_minor=standing.open_minor,
        lost_minor=standing.lost_minor,
        credits_minor=credits_minor,
        promotions_minor=promotions_minor,
        cause=cause,
    )
    journal_table.post(sqlite, namespace, [entry], now)
    left = unearned(sqlite, namespace, invoice.id)
    sqlite.execute(
        "UPDATE receivables SET services = ? WHERE namespace = ? AND invoice = ?",
        (rows.to_json(without(left.services, nets)), namespace, invoice.id),
    )
    left = unearned(sqlite, namespace, invoice.id)
    entry_id = f"credit_note:{note}:recognition"
    opened = month_of(journal_table.opened(sqlite, namespace))
    recognise(sqlite, namespace, left, entry_id, opened, month_of(now), now)
    return settle(sqlite, namespace, invoice.id)


def write_off(
    sqlite: sqlite3.Connection, namespace: str, invoice_id: str, reason: str, now: int
) -> Status:
    """
    Give up what is open on an invoice.

    Raises:
        Refused: `invoice_not_issued`: nothing is open on it.
    """
    found = invoices(sqlite, namespace, [invoice_id])
    if not found or found[0].open_minor == 0:
        raise Refused(
            "invoice_not_issued", f"Nothing is open on invoice {invoice_id!r} that could be lost."
        )
    entry_id = journal_table.next_id(sqlite, namespace, f"write_off:{invoice_id}")
    entry = entry_of_write_off(entry_id, found[0], now, reason)
    journal_table.post(sqlite, namespace, [entry], now)
    return settle(sqlite, namespace, invoice_id)


def allocate(
    sqlite: sqlite3.Connection,
    namespace: str,
    source: str,
    allocations: Iterable[Allocation],
    at: int,
    now: int,
    tolerance_minor: int = 0,
) -> list[str]:
    """
    Pay invoices from a balance; more than is open on one recovers what was given up.

    Args:
        source: Whose balance: a payment, credit note or invoice. It covers the sum.
        tolerance_minor: What may be missing of an invoice that counts as paid.

    Returns:
        Ids of the invoices that are paid now and were not before.
    """
    paid = []
    for part in allocations:
        (invoice,) = invoices(sqlite, namespace, [part.invoice])
        entry_id = journal_table.next_id(sqlite, namespace, f"allocation:{source}")
        amount_minor, missing_minor = part.amount_minor, invoice.open_minor - part.amount_minor
        entries = [entry_of_allocation(entry_id, source, invoice, at, amount_minor)]
        if missing_minor < 0:
            recovery = f"recovery:{entry_id}"
            entries.insert(0, entry_of_recovery(recovery, source, invoice, at, -missing_minor))
        elif 0 < missing_minor <= tolerance_minor:
            rest = f"difference:{entry_id}"
            entries.append(entry_of_difference(rest, source, invoice, at, missing_minor))
        journal_table.post(sqlite, namespace, entries, now)
        if settle(sqlite, namespace, part.invoice) is Status.PAID:
            paid.append(part.invoice)
    return paid


def settle(sqlite: sqlite3.Connection, namespace: str, invoice_id: str) -> Status:
    """Give an issued invoice the status that follows from what is open on it; a void one stays."""
    open_minor, lost_minor, status = sqlite.execute(
        "SELECT open_minor, lost_minor, status FROM receivables JOIN invoices "
        "ON invoices.namespace = receivables.namespace AND invoices.id = receivables.invoice "
        "WHERE receivables.namespace = ? AND receivables.invoice = ?",
        (namespace, invoice_id),
    ).fetchone()
    if status == Status.VOID.value:
        return Status.VOID
    wanted = settled(open_minor, lost_minor)
    if status != wanted.value:
        sqlite.execute(
            "UPDATE invoices SET status = ? WHERE namespace = ? AND id = ?",
            (wanted.value, namespace, invoice_id),
        )
    return wanted


def recognise(
    sqlite: sqlite3.Connection,
    namespace: str,
    invoice: Unearned,
    entry_id: str,
    before: date,
    month: date,
    now: int,
) -> int:
    """
    Book the difference between what an invoice has earned before a day and what was recognised.

    Args:
        month: Whose revenue it is.

    Returns:
        Minor units recognised now.
    """
    minor = invoice.to_recognise(before)
    if minor:
        entry = entry_of_recognition(entry_id, invoice, month, now, minor)
        journal_table.post(sqlite, namespace, [entry], now)
    return minor


def _standing_allocations(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Payments on an invoice that were not taken back."""
    reversed_ids = {entry.cause.get("reverses") for entry in entries}
    return [
        entry
        for entry in entries
        if entry.kind is EntryKind.ALLOCATION and entry.id not in reversed_ids
    ]


def _check_unused(sqlite: sqlite3.Connection, namespace: str, entry: JournalEntry) -> None:
    taken_minor = entry.on(Account.BALANCE)
    if entry.source is None or taken_minor <= 0:
        return
    (left_minor,) = sqlite.execute(
        "SELECT left_minor FROM customer_balances WHERE namespace = ? AND source = ?",
        (namespace, entry.source),
    ).fetchone()
    if left_minor < taken_minor:
        raise Refused(
            "invoice_final",
            f"Invoice {entry.invoice!r} gave the customer a balance, which has been used since.",
        )


def _apply_balance(sqlite: sqlite3.Connection, namespace: str, invoice_id: str, now: int) -> None:
    """Pay an invoice from the customer's balances, the oldest first."""
    (invoice,) = invoices(sqlite, namespace, [invoice_id])
    left = sqlite.execute(
        "SELECT source, left_minor FROM customer_balances WHERE namespace = ? AND customer = ? "
        "AND currency = ? AND left_minor > 0 ORDER BY rank",
        (namespace, invoice.customer, invoice.currency),
    ).fetchall()
    open_minor = invoice.open_minor
    for source, left_minor in left:
        part = min(open_minor, left_minor)
        if part > 0:
            allocate(sqlite, namespace, source, [Allocation(invoice_id, part)], now, now)
            open_minor -= part


# --- what is asked --------------------------------------------------------------------------------


def named(
    sqlite: sqlite3.Connection, namespace: str, names: Sequence[str]
) -> dict[str, OpenInvoice]:
    """Issued invoices by their ids or numbers; names of none are absent."""
    found = sqlite.execute(
        "SELECT value, invoices.id FROM json_each(?) JOIN invoices "
        "ON namespace = ? AND (invoices.id = value OR number = value)",
        (rows.to_json(list(names)), namespace),
    ).fetchall()
    by_id = {one.id: one for one in invoices(sqlite, namespace, [row[1] for row in found])}
    return {name: by_id[invoice_id] for name, invoice_id in found if invoice_id in by_id}


def invoices(sqlite: sqlite3.Connection, namespace: str, ids: Sequence[str]) -> list[OpenInvoice]:
    """Those of them that were issued, open or not, in the order of their ids."""
    found = sqlite.execute(
        f"SELECT {_COLUMNS} FROM receivables WHERE namespace = ? "
        "AND invoice IN (SELECT value FROM json_each(?)) ORDER BY invoice",
        (namespace, rows.to_json(list(ids))),
    )
    return [OpenInvoice(*row) for row in found]


def open_invoices(
    sqlite: sqlite3.Connection, namespace: str, customer: str | None, currency: str | None
) -> list[OpenInvoice]:
    """On which something is open, the oldest due first; of one customer or currency, or all."""
    found = sqlite.execute(
        f"SELECT {_COLUMNS} FROM receivables WHERE namespace = ? AND open_minor > 0 "
        "AND (? IS NULL OR customer = ?) AND (? IS NULL OR currency = ?) "
        "ORDER BY due_at, issued_at, invoice",
        (namespace, customer, customer, currency, currency),
    )
    return [OpenInvoice(*row) for row in found]


def due_invoices(
    sqlite: sqlite3.Connection, namespace: str, before: int, reminded: int
) -> list[OpenInvoice]:
    """Open ones due at or before an instant, with fewer steps told than `reminded`."""
    found = sqlite.execute(
        f"SELECT {_COLUMNS} FROM receivables WHERE namespace = ? AND open_minor > 0 "
        "AND due_at <= ? AND reminded < ? ORDER BY due_at, issued_at, invoice",
        (namespace, before, reminded),
    )
    return [OpenInvoice(*row) for row in found]


def open_invoices_at(
    sqlite: sqlite3.Connection, namespace: str, customer: str | None, at: int
) -> list[OpenInvoice]:
    """The same as it stood at a past instant, with everything dated at or before it."""
    found = sqlite.execute(
        "SELECT r.invoice, r.number, r.customer, r.currency, r.issued_at, r.due_at, "
        "sum(p.amount_minor), 0, r.reminded FROM receivables r JOIN journal_postings p "
        "ON p.namespace = r.namespace AND p.invoice = r.invoice AND p.account = 'receivable' "
        "AND p.at <= ? WHERE r.namespace = ? AND (? IS NULL OR r.customer = ?) "
        "GROUP BY r.invoice HAVING sum(p.amount_minor) <> 0 "
        "ORDER BY r.due_at, r.issued_at, r.invoice",
        (at, namespace, customer, customer),
    )
    return [OpenInvoice(*row) for row in found]


def standings(
    sqlite: sqlite3.Connection, namespace: str, ids: Sequence[str]
) -> dict[str, InvoiceStanding]:
    """Of those that were issued."""
    found = sqlite.execute(
        "SELECT e.invoice, e.kind, p.account, sum(p.amount_minor) FROM journal_entries e "
        "JOIN journal_postings p ON p.entry = e.rank "
        "WHERE e.namespace = ? AND e.invoice IN (SELECT value FROM json_each(?)) "
        "GROUP BY e.invoice, e.kind, p.account",
        (namespace, rows.to_json(list(ids))),
    )
    sums: dict[str, dict[tuple[str, str], int]] = {}
    for invoice, kind, account, minor in found:
        sums.setdefault(invoice, {})[kind, account] = minor
    return {
        one.id: _standing(sums.get(one.id, {}), one) for one in invoices(sqlite, namespace, ids)
    }


def _standing(sums: Mapping[tuple[str, str], int], invoice: OpenInvoice) -> InvoiceStanding:
    paid = (EntryKind.ALLOCATION, EntryKind.REVERSAL)
    return InvoiceStanding(
        billed_minor=sums.get((EntryKind.ISSUE, Account.RECEIVABLE), 0),
        paid_minor=sum(sums.get((kind, Account.BALANCE), 0) for kind in paid),
        credited_minor=-sums.get((EntryKind.CREDIT_NOTE, Account.RECEIVABLE), 0),
        lost_minor=invoice.lost_minor,
        open_minor=invoice.open_minor,
    )


def unearned(sqlite: sqlite3.Connection, namespace: str, invoice_id: str) -> Unearned:
    """Of one issued invoice, whether there is anything left to earn or not."""
    row = sqlite.execute(
        f"SELECT {_UNEARNED} FROM receivables WHERE namespace = ? AND invoice = ?",
        (namespace, invoice_id),
    ).fetchone()
    return _to_unearned(row)


def all_unearned(sqlite: sqlite3.Connection, namespace: str) -> list[Unearned]:
    """Of which something is deferred, the oldest first."""
    found = sqlite.execute(
        f"SELECT {_UNEARNED} FROM receivables WHERE namespace = ? AND deferred_minor <> 0 "
        "ORDER BY issued_at, invoice",
        (namespace,),
    )
    return [_to_unearned(row) for row in found]


def _to_unearned(row: tuple[Any, ...]) -> Unearned:
    invoice, number, customer, currency, issued_on, deferred_minor, recognised_minor, services = row
    return Unearned(
        invoice,
        number,
        customer,
        currency,
        date.fromisoformat(issued_on),
        deferred_minor,
        recognised_minor,
        _services.decode(services),
    )
