"""
Dunning: when a customer is reminded of an invoice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from taximeter.accounting.matching import OpenInvoice
from taximeter.instants import DAY


class Reminder(msgspec.Struct, frozen=True):
    """
    Attributes:
        step: 1 for the first one.
        at: When it was to be told; what was missed while a node was off is told later.
    """

    invoice: OpenInvoice
    step: int
    at: int


def reminders(invoices: Iterable[OpenInvoice], days: Sequence[int], now: int) -> list[Reminder]:
    """
    Everything to be told by now and not told yet, the longest awaited first.

    Args:
        days: Of the schedule, after the due date; ascending. 0 is the due date itself.
    """
    found = [
        Reminder(invoice, step, invoice.due_at + after * DAY)
        for invoice in invoices
        if invoice.open_minor > 0
        for step, after in enumerate(days, 1)
        if step > invoice.reminded and invoice.due_at + after * DAY <= now
    ]
    return sorted(found, key=lambda one: (one.at, one.invoice.id, one.step))
