"""Invoices: a part of the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from taximeter.ports.audit import AuditEntry


class StoredInvoice(msgspec.Struct, frozen=True):
    """
    An invoice as its canonical JSON and the columns it is found by.

    Attributes:
        review: What a person is to look at, and what came of it, as JSON; None without.
    """

    id: str
    namespace: str
    number: str | None
    customer: str
    subscription: str
    status: str
    period_start: int
    period_end: int
    created_at: int
    document: bytes
    review: str | None = None


class BilledPeriod(msgspec.Struct, frozen=True):
    """
    What an invoice bills: a period of a subscription, known by its start: an end that moved does
    not make it another one. `part` is "period", or what is billed of it before its end.
    """

    subscription: str
    start: int
    end: int
    part: str = "period"


class InvoiceBooks(Protocol):
    """Invoices from draft to end. See `Books`."""

    def add_invoice(
        self, invoice: StoredInvoice, periods: Sequence[BilledPeriod], audit: AuditEntry
    ) -> bool:
        """False if one of the periods is on a live (not void) invoice already."""
        ...

    def issue_invoice(
        self,
        namespace: str,
        invoice_id: str,
        series: str,
        build: Callable[[str], StoredInvoice],
        audit: AuditEntry,
        *,
        funded: Mapping[str, int] | None = None,
    ) -> StoredInvoice:
        """Give a draft the next number ("INV-000001", ...) of a gapless series, store what
        `build(number)` returns and book it, in one transaction: if `build` raises, nothing
        happened. One with nothing to pay is paid. Refused (`invoice_not_draft`,
        `invoice_in_review`) for another status. `funded`: see `accounting.entry_of_issue`."""
        ...

    def replace_invoice(
        self,
        invoice: StoredInvoice,
        expected: str,
        audit: AuditEntry,
        *,
        adjusts: Sequence[BilledPeriod] | None = None,
    ) -> bool:
        """Move an invoice to another status; False if its status is not `expected`. The document
        of an issued invoice never changes (Refused, `invoice_final`): the status beside it is
        the one that counts. The periods of one that is void may be billed again, and what was
        booked of it is undone (Refused, `invoice_final`, if a balance it gave is used).
        `adjusts`: the old periods that a draft made again corrects; None for the same."""
        ...

    def drafts_made_by(self, namespace: str, at: int, limit: int) -> list[str]:
        """Ids of drafts that were made at or before an instant, oldest first."""
        ...

    def billed_periods(self, namespace: str) -> dict[tuple[str, int, str], str]:
        """(subscription, start, part) -> invoice, of every invoice that is not void."""
        ...

    def invoices_of_period(
        self, namespace: str, subscription: str, start: int
    ) -> list[StoredInvoice]:
        """Those that are not void and bill something of a period, oldest first."""
        ...

    def invoice(self, namespace: str, invoice_id: str) -> StoredInvoice | None: ...
    def invoices(
        self,
        namespace: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> list[StoredInvoice]:
        """Newest first; `after` is the id of the last one seen."""
        ...

    def invoices_since(
        self, namespace: str, customers: Sequence[str], at: int
    ) -> list[StoredInvoice]:
        """Invoices to these customers that are not void and whose period ends after an instant:
        those that bill what was used then, or correct it. Oldest period first."""
        ...
