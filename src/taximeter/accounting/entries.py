"""
What happens to an invoice or a payment -> the entry that books it.

    issue         receivable + prepaid credits  =  deferred revenue + tax
    recognition   deferred revenue              =  revenue
    payment       cash                          =  customer balance
    allocation    customer balance              =  receivable
    credit note   deferred revenue + tax        =  receivable, or customer balance if it was paid
    write-off     write-off                     =  receivable

Left is debited, right is credited. All money passes the customer's balance, so an over-payment, a
credit note on a paid invoice and an invoice below zero are one thing: a balance not used yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from msgspec.structs import replace

from taximeter.accounting.journal import (
    Account,
    EntryKind,
    JournalEntry,
    postings,
    totals,
)
from taximeter.accounting.matching import OpenInvoice
from taximeter.accounting.nets import nets_of
from taximeter.accounting.payment import Payment
from taximeter.accounting.recognition import (
    earned_by_month,
    format_month,
    month_start,
    next_month,
    services_of,
)
from taximeter.accounting.unearned import Unearned
from taximeter.instants import SECOND
from taximeter.invoices.invoice import Invoice
from taximeter.periods import local_day

# --- invoices -------------------------------------------------------------------------------------


def entry_of_issue(
    invoice: Invoice, at: int, funded: Mapping[str, int] | None = None
) -> JournalEntry:
    """
    An invoice becomes due. One below zero becomes a balance of the customer instead.

    Args:
        funded: Grant -> minor units that had been paid for what it pays of this invoice; the rest
            of that is a promotion. A grant that is absent was paid in full.
    """
    due_minor, balance_minor = max(0, invoice.amount_due_minor), min(0, invoice.amount_due_minor)
    paid_minor = sum(
        min(one.amount_minor, (funded or {}).get(one.grant, one.amount_minor))
        for one in invoice.credits
    )
    return JournalEntry(
        id=f"issue:{invoice.id}",
        at=at,
        kind=EntryKind.ISSUE,
        customer=invoice.customer,
        currency=invoice.currency,
        invoice=invoice.id,
        source=invoice.id if balance_minor else None,
        cause={"number": invoice.number},
        postings=postings(
            {
                Account.RECEIVABLE: due_minor,
                Account.BALANCE: balance_minor,
                Account.CREDITS: paid_minor,
                Account.PROMOTIONS: invoice.credits_applied_minor - paid_minor,
                Account.TAX: -invoice.tax_minor,
                Account.DEFERRED: -sum(nets_of(invoice).values()),
            }
        ),
    )


def entries_of_issue(
    invoice: Invoice, at: int, timezone: str, funded: Mapping[str, int] | None = None
) -> tuple[JournalEntry, ...]:
    """
    The issue, and what the days before it have earned: an entry a month, dated in that month.

    Args:
        timezone: The customer's.
    """
    services = services_of(invoice, timezone)
    earned = earned_by_month(services, local_day(at, timezone))
    return (
        entry_of_issue(invoice, at, funded),
        *(
            entry_of_recognition(
                f"issue:{invoice.id}:{format_month(month)}", invoice, month, at, minor
            )
            for month, minor in earned.items()
        ),
    )


def entry_of_recognition(
    entry_id: str, invoice: Invoice | Unearned, month: date, at: int, earned_minor: int
) -> JournalEntry:
    """
    Revenue of a month; negative for what turns out not to have been earned.

    Args:
        at: Now. It is booked then, or with the last second of its month if that has passed.
    """
    return JournalEntry(
        id=entry_id,
        at=min(at, month_start(next_month(month)) - SECOND),
        kind=EntryKind.RECOGNITION,
        customer=invoice.customer,
        currency=invoice.currency,
        invoice=invoice.id,
        cause={"number": invoice.number, "month": format_month(month)},
        postings=postings({Account.DEFERRED: earned_minor, Account.REVENUE: -earned_minor}),
    )


def entry_of_credit_note(
    note: str,
    invoice: Invoice,
    at: int,
    *,
    nets: Mapping[str, int],
    tax_minor: int,
    open_minor: int,
    lost_minor: int = 0,
    credits_minor: int = 0,
    promotions_minor: int = 0,
    cause: Mapping[str, Any] | None = None,
) -> JournalEntry:
    """
    A part of an invoice is taken back: from what is open on it, then from what was given up of it;
    what was paid already goes to the customer's balance.

    Args:
        nets: Line -> what is taken back of its net (see `nets_of`), minor units, not negative.
        tax_minor: The tax on it.
        open_minor: What is open on the invoice by now.
        lost_minor: What of it was given up.
        credits_minor: The part that goes back into grants of prepaid credit.
        promotions_minor: Of that, what nobody had paid for (see `given_away_minor`).
    """
    total_minor = sum(nets.values()) + tax_minor - credits_minor
    off_minor = min(total_minor, open_minor)
    found_minor = min(total_minor - off_minor, lost_minor)
    back_minor = total_minor - off_minor - found_minor
    return JournalEntry(
        id=f"credit_note:{note}",
        at=at,
        kind=EntryKind.CREDIT_NOTE,
        customer=invoice.customer,
        currency=invoice.currency,
        invoice=invoice.id,
        source=note if back_minor else None,
        cause={
            "number": invoice.number,
            "credit_note": note,
            "lines": dict(nets),
            **(cause or {}),
        },
        postings=postings(
            {
                Account.RECEIVABLE: -off_minor,
                Account.BALANCE: -back_minor,
                Account.WRITE_OFF: -found_minor,
                Account.CREDITS: promotions_minor - credits_minor,
                Account.PROMOTIONS: -promotions_minor,
                Account.TAX: tax_minor,
                Account.DEFERRED: sum(nets.values()),
            }
        ),
    )


def given_away_minor(invoice: Invoice, funded: Mapping[str, int] | None, last_minor: int) -> int:
    """
    What nobody had paid for of the last credit that pays an invoice. What goes back goes back in
    that order: the credit taken last is the first to return.

    Args:
        funded: See `entry_of_issue`.
        last_minor: So much of the credit, 0 to all of it.
    """
    given_minor = 0
    for one in reversed(invoice.credits):
        part_minor = min(one.amount_minor, last_minor)
        last_minor -= part_minor
        free_minor = max(0, one.amount_minor - (funded or {}).get(one.grant, one.amount_minor))
        given_minor += part_minor * free_minor // one.amount_minor
    return given_minor


def entries_of_void(
    booked: Iterable[JournalEntry], at: int, reason: str
) -> tuple[JournalEntry, ...]:
    """
    Everything that was booked of an invoice, undone: one entry, and one more for each balance that
    it gave the customer. What sums to nothing needs none.

    Args:
        booked: All entries of one invoice, without payments on it: they are taken off before.
    """
    by_source: dict[str | None, list[JournalEntry]] = {}
    for entry in booked:
        by_source.setdefault(entry.source, []).append(entry)
    return tuple(
        JournalEntry(
            id=f"void:{entries[0].invoice}" + (f":{source}" if source else ""),
            at=at,
            kind=EntryKind.VOID,
            customer=entries[0].customer,
            currency=entries[0].currency,
            invoice=entries[0].invoice,
            source=source,
            cause={"reason": reason},
            postings=undone,
        )
        for source, entries in by_source.items()
        if (undone := postings({account: -minor for account, minor in totals(entries).items()}))
    )


def entry_of_write_off(entry_id: str, invoice: OpenInvoice, at: int, reason: str) -> JournalEntry:
    """What is open on an invoice is given up, tax and all."""
    return _of_invoice(
        entry_id,
        EntryKind.WRITE_OFF,
        invoice,
        at,
        {Account.RECEIVABLE: -invoice.open_minor, Account.WRITE_OFF: invoice.open_minor},
        {"reason": reason},
    )


def entry_of_difference(
    entry_id: str, source: str, invoice: OpenInvoice, at: int, amount_minor: int
) -> JournalEntry:
    """The little that a payment leaves open is let go; it comes back if the payment goes."""
    entry = _of_invoice(
        entry_id,
        EntryKind.DIFFERENCE,
        invoice,
        at,
        {Account.RECEIVABLE: -amount_minor, Account.DIFFERENCES: amount_minor},
        {},
    )
    return replace(entry, source=source)


def entry_of_recovery(
    entry_id: str, source: str, invoice: OpenInvoice, at: int, amount_minor: int
) -> JournalEntry:
    """A part of what was given up is owed again, because it is being paid."""
    entry = _of_invoice(
        entry_id,
        EntryKind.RECOVERY,
        invoice,
        at,
        {Account.RECEIVABLE: amount_minor, Account.WRITE_OFF: -amount_minor},
        {},
    )
    return replace(entry, source=source)


def _of_invoice(
    entry_id: str,
    kind: EntryKind,
    invoice: OpenInvoice,
    at: int,
    amounts: Mapping[Account, int],
    cause: Mapping[str, Any],
) -> JournalEntry:
    return JournalEntry(
        id=entry_id,
        at=max(at, invoice.issued_at),
        kind=kind,
        customer=invoice.customer,
        currency=invoice.currency,
        invoice=invoice.id,
        cause={"number": invoice.number, **cause},
        postings=postings(amounts),
    )


# --- payments -------------------------------------------------------------------------------------


def entry_of_payment(payment: Payment) -> JournalEntry:
    """Money comes in and is the customer's, until it pays something."""
    return JournalEntry(
        id=f"payment:{payment.id}",
        at=payment.at,
        kind=EntryKind.PAYMENT,
        customer=payment.customer,
        currency=payment.currency,
        source=payment.id,
        cause={"reference": payment.reference, "origin": payment.origin},
        postings=postings(
            {Account.CASH: payment.amount_minor, Account.BALANCE: -payment.amount_minor}
        ),
    )


def entry_of_allocation(
    entry_id: str, source: str, invoice: OpenInvoice, at: int, amount_minor: int
) -> JournalEntry:
    """
    Money on the customer's balance pays an invoice.

    Args:
        source: The payment, credit note or invoice that put the money there.
        at: Not before the invoice was issued, even if the money came earlier.
    """
    return JournalEntry(
        id=entry_id,
        at=max(at, invoice.issued_at),
        kind=EntryKind.ALLOCATION,
        customer=invoice.customer,
        currency=invoice.currency,
        invoice=invoice.id,
        source=source,
        cause={"number": invoice.number},
        postings=postings({Account.BALANCE: amount_minor, Account.RECEIVABLE: -amount_minor}),
    )


def entry_of_refund(entry_id: str, payment: Payment, at: int, amount_minor: int) -> JournalEntry:
    """A part of a payment that pays nothing goes back to the customer."""
    return JournalEntry(
        id=entry_id,
        at=at,
        kind=EntryKind.REFUND,
        customer=payment.customer,
        currency=payment.currency,
        source=payment.id,
        cause={"reference": payment.reference},
        postings=postings({Account.BALANCE: amount_minor, Account.CASH: -amount_minor}),
    )


def reversal_of(entry: JournalEntry, at: int, reason: str) -> JournalEntry:
    """The same amounts the other way round."""
    return JournalEntry(
        id=f"reversal:{entry.id}",
        at=max(at, entry.at),
        kind=EntryKind.REVERSAL,
        customer=entry.customer,
        currency=entry.currency,
        invoice=entry.invoice,
        source=entry.source,
        cause={"reverses": entry.id, "reason": reason},
        postings=postings({one.account: -one.amount_minor for one in entry.postings}),
    )
