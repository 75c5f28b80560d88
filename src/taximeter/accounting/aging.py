"""
Aging: how long what is open has been due.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from taximeter.accounting.matching import OpenInvoice
from taximeter.instants import DAY
from taximeter.money import format_minor

BUCKETS: Final = ("current", "1-30", "31-60", "61-90", "90+")
_UPTO: Final = ((0, "current"), (30, "1-30"), (60, "31-60"), (90, "61-90"))


def days_overdue(due_at: int, at: int) -> int:
    """0 before `due_at`; 1 from then on for 24 hours, then 2, and so on."""
    return max(0, (at - due_at) // DAY + 1)


def bucket_of(due_at: int, at: int) -> str:
    """One of `BUCKETS`."""
    days = days_overdue(due_at, at)
    return next((name for most, name in _UPTO if days <= most), BUCKETS[-1])


def aged(invoices: Iterable[OpenInvoice], at: int) -> list[dict[str, Any]]:
    """
    What is open at an instant, one row for each customer and currency, in their order.

    Args:
        invoices: As they stood at that instant.
    """
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for invoice in invoices:
        if invoice.open_minor:
            row = rows.setdefault((invoice.customer, invoice.currency), dict.fromkeys(BUCKETS, 0))
            row[bucket_of(invoice.due_at, at)] += invoice.open_minor
    return [
        {
            "customer": customer,
            "currency": currency,
            "total": format_minor(sum(row.values()), currency),
            "buckets": {name: format_minor(minor, currency) for name, minor in row.items()},
        }
        for (customer, currency), row in sorted(rows.items())
    ]


def aged_totals(invoices: Iterable[OpenInvoice], at: int) -> list[dict[str, Any]]:
    """The same for all customers together, one row for each currency."""
    everyone = [replace(invoice, customer="") for invoice in invoices]
    return [
        {name: value for name, value in row.items() if name != "customer"}
        for row in aged(everyone, at)
    ]
