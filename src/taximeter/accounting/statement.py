"""
Statements: a customer's account over a span of time, as the customer would keep it.

What is owed on invoices less what the customer has with us; above zero the customer owes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taximeter.accounting.journal import Account, JournalEntry
from taximeter.instants import format_instant
from taximeter.money import format_minor


def statements(entries: Iterable[JournalEntry], start: int | None) -> list[dict[str, Any]]:
    """
    One for each currency: its opening, every change, its closing, which is what is open on invoices
    less what is on account.

    Args:
        entries: All of one customer until the end of the span, in order.
        start: What is before it is in the opening; None for all of it.
    """
    sheets: dict[str, _Sheet] = {}
    for entry in entries:
        sheet = sheets.setdefault(entry.currency, _Sheet(entry.currency))
        sheet.on_account_minor -= entry.on(Account.BALANCE)
        minor = entry.on(Account.RECEIVABLE) + entry.on(Account.BALANCE)
        if not minor:
            continue  # a payment finds its invoice: nothing changes between us
        if start is not None and entry.at < start:
            sheet.carry(minor)
        else:
            sheet.add(entry, minor)
    return [sheet.to_json() for _, sheet in sorted(sheets.items())]


class _Sheet:
    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.opening_minor = self.balance_minor = self.on_account_minor = 0
        self.items: list[dict[str, Any]] = []

    def carry(self, minor: int) -> None:
        self.opening_minor += minor
        self.balance_minor += minor

    def add(self, entry: JournalEntry, minor: int) -> None:
        self.balance_minor += minor
        self.items.append(
            {
                "at": format_instant(entry.at),
                "kind": entry.kind.value,
                "invoice": entry.invoice,
                "number": entry.cause.get("number"),
                "reference": entry.cause.get("reference") or entry.cause.get("reason"),
                "amount": format_minor(minor, self.currency),
                "balance": format_minor(self.balance_minor, self.currency),
            }
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "currency": self.currency,
            "opening": format_minor(self.opening_minor, self.currency),
            "items": self.items,
            "closing": format_minor(self.balance_minor, self.currency),
            "open": format_minor(self.balance_minor + self.on_account_minor, self.currency),
            "on_account": format_minor(self.on_account_minor, self.currency),
        }
