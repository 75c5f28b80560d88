"""Reconciliation: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from taximeter.accounting.journal import JournalEntry
from taximeter.periods import Period
from taximeter.ports.audit import AuditEntry
from taximeter.ports.invoices import StoredInvoice


class SentCount(msgspec.Struct, frozen=True):
    """
    What a client says it has sent.

    Attributes:
        source: Of the events, as they name it themselves.
        period: Of the times of the events.
        events: Distinct ones, however often each was sent.
    """

    source: str
    type: str
    period: Period
    events: int


class ReconciliationBooks(Protocol):
    """What clients have sent, and documents put back. See `Books`."""

    def put_sent_counts(self, namespace: str, counts: Sequence[SentCount], at: int) -> None:
        """What is said again of the same source, type and period replaces what was said before."""
        ...

    def sent_counts(self, namespace: str) -> list[SentCount]:
        """By period, then source and type."""
        ...

    def forget_sent_counts(self, before: int) -> int:
        """Delete those of periods that ended before; returns how many."""
        ...

    def restore_invoice(self, invoice: StoredInvoice, audit: AuditEntry) -> None:
        """Put back the document that an invoice had before somebody altered the file. The caller
        has shown that it is the one its digest names."""
        ...

    def repost(self, namespace: str, entries: Sequence[JournalEntry], now: int) -> None:
        """Book what of these entries is not booked, as a whole or in part."""
        ...
