"""Money owed, paid and earned: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol

import msgspec

from taximeter.accounting.credits import Worth
from taximeter.accounting.journal import Account, JournalEntry
from taximeter.accounting.matching import Named, OpenInvoice
from taximeter.accounting.payment import Payment, PaymentState
from taximeter.accounting.standing import InvoiceStanding
from taximeter.accounting.unearned import Unearned
from taximeter.notices.signature import Secret
from taximeter.ports.audit import AuditEntry


class Settlement(msgspec.Struct, frozen=True):
    """
    What a call about a payment has done.

    Attributes:
        paid: Invoices that are paid now and were not before.
        is_new: False for a payment that was known already: nothing was done.
    """

    state: PaymentState
    paid: tuple[str, ...] = ()
    is_new: bool = True


class AccountTotal(msgspec.Struct, frozen=True):
    """All postings on one account in one currency; a debit positive, minor units."""

    account: Account
    currency: str
    amount_minor: int


class ClosedMonth(msgspec.Struct, frozen=True):
    """
    A month of the books that is closed.

    Attributes:
        entries: How many its close has booked; 0 if it was closed before.
    """

    month: date
    closed_at: int
    entries: int


class PaymentSource(msgspec.Struct, frozen=True):
    """
    Who may tell of payments by webhook.

    Attributes:
        token: The part of its address that nobody can guess.
        secrets: What its messages are signed with, the newest first.
    """

    namespace: str
    id: str
    token: str
    secrets: tuple[Secret, ...]
    created_at: int


class PaymentBooks(Protocol):
    """Payments and who tells of them. See `Books`."""

    def record_payment(
        self,
        namespace: str,
        payment: Payment,
        named: Sequence[Named] | None,
        audit: AuditEntry,
        tolerance_minor: int = 0,
    ) -> Settlement:
        """
        Book a payment and pay invoices with it: the named ones, or the oldest due first; what is
        left stays on the customer's account. An invoice of which no more than `tolerance_minor` is
        missing then counts as paid. One whose id is known and that tells of the same money changes
        nothing.

        Raises `payment_conflict` for an id with other content, and what `match_named` raises.
        """
        ...

    def allocate_payment(
        self,
        namespace: str,
        payment_id: str,
        named: Sequence[Named] | None,
        now: int,
        audit: AuditEntry,
        tolerance_minor: int = 0,
    ) -> Settlement:
        """Pay invoices with what is left of one. Refused (`payment_reversed`)."""
        ...

    def refund_payment(
        self,
        namespace: str,
        payment_id: str,
        refund_id: str | None,
        amount_minor: int | None,
        now: int,
        audit: AuditEntry,
    ) -> Settlement:
        """Book that some of what is left of one, or all of it, was paid back; once for each
        `refund_id`. Rejected
        (`exceeds_payment`), Refused (`payment_reversed`)."""
        ...

    def reverse_payment(
        self, namespace: str, payment_id: str, reason: str, now: int, audit: AuditEntry
    ) -> Settlement:
        """Undo one: the invoices it paid are open again. One that is reversed already stays so.
        Refused (`payment_refunded`) if some of it was paid back."""
        ...

    def payment(self, namespace: str, payment_id: str) -> PaymentState | None: ...
    def payments(
        self, namespace: str, *, customer: str | None, before: int | None, limit: int
    ) -> list[tuple[int, PaymentState]]:
        """With their ranks, newest first; `before` is the rank of the last one seen."""
        ...

    def put_payment_source(self, source: PaymentSource, audit: AuditEntry) -> None:
        """Add or replace; its token stays the one it first had."""
        ...

    def delete_payment_source(self, namespace: str, source_id: str, audit: AuditEntry) -> bool:
        """False if there is none."""
        ...

    def payment_sources(self, namespace: str) -> list[PaymentSource]: ...
    def payment_source_of(self, token: str) -> PaymentSource | None: ...


class AccountingBooks(PaymentBooks, Protocol):
    """The journal and what it adds up to. See `Books`."""

    def write_off(
        self, namespace: str, invoice_id: str, reason: str, now: int, audit: AuditEntry
    ) -> None:
        """Give up what is open on an invoice. Refused (`invoice_not_issued`)."""
        ...

    def open_invoices(
        self, namespace: str, *, customer: str | None = None, at: int | None = None
    ) -> list[OpenInvoice]:
        """The oldest due first; now, or as it stood at an instant."""
        ...

    def due_invoices(self, namespace: str, before: int, reminded: int) -> list[OpenInvoice]:
        """Due at or before an instant, with fewer steps told than `reminded`."""
        ...

    def invoice_standings(self, namespace: str, ids: Sequence[str]) -> dict[str, InvoiceStanding]:
        """Of those that were issued."""
        ...

    def note_reminded(self, namespace: str, invoice_id: str, step: int) -> None:
        """A step of the dunning schedule was told."""
        ...

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
        """(rank, entry) with start <= at < end, by (at, rank); `after` is that of the last one."""
        ...

    def trial_balance(
        self, namespace: str, *, upto: int | None = None, start: int | None = None
    ) -> list[AccountTotal]:
        """Every account with postings in start <= at <= upto; each currency sums to zero."""
        ...

    def unearned(self, namespace: str) -> list[Unearned]: ...
    def closed_months(self, namespace: str) -> list[ClosedMonth]:
        """Oldest first."""
        ...

    def close_month(
        self,
        namespace: str,
        month: date,
        now: int,
        audit: AuditEntry,
        credits: Sequence[Worth] = (),
    ) -> ClosedMonth:
        """Recognise what was earned in it and before; nothing is dated in it afterwards.
        `credits`: what prepaid credit is worth at its end."""
        ...
