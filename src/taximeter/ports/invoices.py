"""Invoices: a part of the books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from taximeter.ports.audit import AuditEntry


class StoredInvoice(msgspec.Struct, frozen=True):
    """An invoice as its canonical JSON and the columns it is found by."""

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


class InvoiceBooks(Protocol):
    """Invoices from draft to end. See `Books`."""

    def add_invoice(self, invoice: StoredInvoice, audit: AuditEntry) -> bool:
        """False if that subscription and period already has a live (not void) invoice. A period
        is known by its start: an end that moved does not make it another one."""
        ...

    def issue_invoice(
        self,
        namespace: str,
        invoice_id: str,
        expected: str,
        build: Callable[[str], StoredInvoice],
        audit: AuditEntry,
    ) -> StoredInvoice:
        """Give a draft the next number ("INV-000001", ...) of its namespace's gapless series and
        store what `build(number)` returns, in one transaction: if `build` raises, nothing
        happened. `expected` is the status it must have, else Refused (`invoice_not_draft`)."""
        ...

    def replace_invoice(self, invoice: StoredInvoice, expected: str, audit: AuditEntry) -> bool:
        """Move an invoice to another status; False if its status is not `expected`. The document
        of an issued invoice never changes (Refused, `invoice_final`): the status beside it is
        the one that counts."""
        ...

    def billed_periods(self, namespace: str) -> set[tuple[str, int]]:
        """(subscription, start of period) of every invoice that is not void."""
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
