"""Credit notes and disputes: a part of the books."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from taximeter.invoices.credit_note import CreditNote
from taximeter.ports.audit import AuditEntry


class StoredCreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """
    A credit note as its canonical JSON and what it is found by.

    Attributes:
        rank: Grows with each; 0 until stored.
        status: "pending" (waits for a second person), "issued" or "rejected".
        request: What was asked for, as it was asked.
        document: None until issued.
    """

    namespace: str
    id: str
    invoice: str
    customer: str
    status: str
    request: dict[str, Any]
    made_by: str
    made_at: int
    rank: int = 0
    number: str | None = None
    decided_by: str | None = None
    decided_at: int | None = None
    document: bytes | None = None


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """
    A line of an issued invoice that its customer disputes.

    Attributes:
        rank: Grows with each; 0 until stored.
        status: "open", "rejected" or "credited".
        amount_minor: What of the invoice nobody is reminded of while it is open.
    """

    namespace: str
    id: str
    invoice: str
    line: str
    customer: str
    status: str
    amount_minor: int
    reason: str
    opened_by: str
    opened_at: int
    rank: int = 0
    note: str = ""
    credit_note: str | None = None
    resolved_by: str | None = None
    resolved_at: int | None = None


class CreditNoteBooks(Protocol):
    """See `Books`."""

    def issue_credit_note(
        self,
        note: StoredCreditNote,
        build: Callable[[str, Sequence[CreditNote]], CreditNote],
        audit: AuditEntry,
        funded: Mapping[str, int] | None = None,
    ) -> StoredCreditNote:
        """Give it the next number ("CN-000001", ...) of a gapless series, store what
        `build(number, credit notes the invoice has)` returns and book it, in one transaction: if
        `build` raises, nothing happened. `funded`: of the credit that pays the invoice, see
        `accounting.entries`. Refused (`invoice_not_issued`) if the invoice is not
        issued, or void; (`credit_note_settled`) if it was issued or rejected before."""
        ...

    def put_credit_note(self, note: StoredCreditNote, audit: AuditEntry) -> None:
        """Store one that is not issued. Refused (`credit_note_settled`) if it was issued or
        rejected before."""
        ...

    def credit_note(self, namespace: str, note_id: str) -> StoredCreditNote | None: ...
    def credit_notes(
        self,
        namespace: str,
        *,
        invoice: str | None,
        customer: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[StoredCreditNote]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def correcting_notes(self, namespace: str, invoice: str) -> list[StoredCreditNote]:
        """Those that stand for an adjustment (`corrects`), issued or pending, oldest first."""
        ...

    def put_dispute(self, dispute: Dispute, expected: str | None, audit: AuditEntry) -> bool:
        """Add one (`expected` None), or store what became of it; False, and nothing stored, if the
        line is disputed already, or its status is not `expected`."""
        ...

    def dispute(self, namespace: str, invoice: str, line: str) -> Dispute | None:
        """The newest one of a line."""
        ...

    def disputes(
        self,
        namespace: str,
        *,
        invoice: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[Dispute]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def disputed(self, namespace: str, invoices: Sequence[str]) -> dict[str, dict[str, int]]:
        """Invoice -> line -> what of it is disputed now; invoices without are absent."""
        ...
