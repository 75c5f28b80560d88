"""
Invoiced = posted = paid: issued invoices against the journal, and their status against both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from taximeter.accounting.entries import entries_of_issue, entry_of_issue
from taximeter.accounting.journal import Account, JournalEntry
from taximeter.accounting.standing import InvoiceStanding, settled
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.money import exponent
from taximeter.ports import StoredInvoice
from taximeter.reconciliation.gap import Cause, Gap, Repair, Stage
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

_BOOKED: Final = (Account.RECEIVABLE, Account.BALANCE, Account.TAX, Account.DEFERRED)
"""What an issue books for certain; what paid for its credits only the ledger knew."""

_UNBOOKED: Final = (Status.DRAFT, Status.IN_REVIEW)


async def gaps_of_money(core: Core, tenant: Tenant, stored: StoredInvoice) -> list[Gap]:
    """Those of one invoice."""
    if Status(stored.status) in _UNBOOKED or stored.number is None:
        return []
    books, invoice = core.books.books, parse_invoice(stored.document)
    ranked = await core.books.run(books.journal, tenant.name, invoice=stored.id)
    entries = [entry for _, entry in ranked]
    if stored.status == Status.VOID:
        return list(_void(invoice, entries))
    standings = await core.books.run(books.invoice_standings, tenant.name, [stored.id])
    return [
        *_posted(invoice, entries),
        *_paid(invoice, stored.status, standings.get(stored.id)),
    ]


def entries_again(tenant: Tenant, stored: StoredInvoice) -> tuple[JournalEntry, ...]:
    """What issuing an invoice books, from its document alone."""
    invoice = parse_invoice(stored.document)
    assert invoice.issued_at is not None, "only what was issued is booked"
    timezone = tenant.customers[invoice.customer].timezone
    return entries_of_issue(invoice, invoice.issued_at, timezone)


def _posted(invoice: Invoice, entries: Sequence[JournalEntry]) -> Iterator[Gap]:
    assert invoice.issued_at is not None, "it has a number"
    expected = entry_of_issue(invoice, invoice.issued_at)
    found = next((entry for entry in entries if entry.id == expected.id), None)
    for account in _BOOKED:
        should, is_now = expected.on(account), 0 if found is None else found.on(account)
        if should != is_now:
            yield _gap(
                invoice,
                Stage.INVOICED,
                Stage.POSTED,
                Cause.CODE if is_now else Cause.MISSING,
                should,
                is_now,
                account.value,
                Repair.LOOK if is_now or invoice.credits else Repair.REPOST,
                f"The journal has {'another amount' if is_now else 'nothing'} on {account.value} "
                f"for the issue of {invoice.number}.",
            )
    total = sum(posting.amount_minor for entry in entries for posting in entry.postings)
    if total:
        yield _gap(
            invoice, Stage.POSTED, Stage.POSTED, Cause.MISSING, 0, total, "balance",
            Repair.LOOK, f"The entries of {invoice.number} do not sum to zero.",
        )  # fmt: skip


def _paid(invoice: Invoice, status: str, standing: InvoiceStanding | None) -> Iterator[Gap]:
    if standing is None:
        return  # nothing is posted, and that is a gap already
    taken = standing.paid_minor + standing.credited_minor + standing.lost_minor
    should_be_open = standing.billed_minor - taken
    if should_be_open != standing.open_minor:
        yield _gap(
            invoice, Stage.POSTED, Stage.PAID, Cause.CODE, should_be_open, standing.open_minor,
            "open", Repair.LOOK, f"What is open on {invoice.number} is not what was not paid.",
        )  # fmt: skip
    elif status != settled(standing.open_minor, standing.lost_minor):
        yield _gap(
            invoice, Stage.POSTED, Stage.PAID, Cause.CODE, should_be_open, should_be_open,
            "status", Repair.LOOK, f"{invoice.number} is {status} by name and not by its payments.",
        )  # fmt: skip


def _void(invoice: Invoice, entries: Sequence[JournalEntry]) -> Iterator[Gap]:
    """What was booked for a void invoice is taken back."""
    left = sum(entry.on(Account.RECEIVABLE) for entry in entries)
    if left:
        yield _gap(
            invoice, Stage.INVOICED, Stage.POSTED, Cause.DUPLICATE, 0, left, "receivable",
            Repair.LOOK, f"{invoice.number} is void, and the journal still has it as owed.",
        )  # fmt: skip


def _gap(
    invoice: Invoice,
    upstream: Stage,
    downstream: Stage,
    cause: Cause,
    expected_minor: int,
    found_minor: int,
    what: str,
    repair: Repair,
    detail: str,
) -> Gap:
    unit = 10 ** exponent(invoice.currency)
    return Gap(
        upstream=upstream,
        downstream=downstream,
        cause=cause,
        expected=Fraction(expected_minor, unit),
        found=Fraction(found_minor, unit),
        unit=invoice.currency,
        customer=invoice.customer,
        period=invoice.period,
        target=f"{invoice.id}/{what}",
        repair=repair,
        detail=detail,
    )
