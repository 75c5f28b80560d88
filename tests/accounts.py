"""
Books with customers and invoices in them, for tests of what is owed and paid.

Amounts are minor units and instants microseconds, as everywhere inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from taximeter.accounting.journal import Account
from taximeter.accounting.matching import OpenInvoice
from taximeter.accounting.payment import Payment, PaymentState
from taximeter.adapters.books import SqliteBooks, invoice_table, receivable_table
from taximeter.customers import Customer, Segment, Subscription
from taximeter.instants import parse_instant
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.invoices.states import issue
from taximeter.periods import Anchor, Cadence, Period
from taximeter.ports import (
    AuditEntry,
    BilledPeriod,
    CatalogVersion,
    StoredInvoice,
)
from taximeter.quantities import E12

NS = "default"


def at(text: str) -> int:
    """ "2026-11-01" or "2026-11-01T10:00" in UTC."""
    return parse_instant((text if "T" in text else f"{text}T00:00") + ":00Z")


def line(
    amount_minor: int, start: str = "2026-10-01", end: str = "2026-11-01", n: int = 1, **rest: Any
) -> Line:
    return Line(
        id=f"line_{n}",
        kind=Kind.FLAT,
        description="base",
        price="pro/base@1",
        period=Period(at(start), at(end)),
        quantity_pico=E12,
        amount_minor=amount_minor,
        **rest,
    )


def invoice(
    lines: Sequence[Line], id: str = "inv_1", customer: str = "acme", **rest: Any
) -> Invoice:
    base: dict[str, Any] = {"currency": "USD", "period": lines[0].period}
    base["subscription"] = f"sub_{customer}"
    return Invoice(id=id, customer=customer, lines=tuple(lines), **(base | rest))


def audit(action: str = "test") -> AuditEntry:
    return AuditEntry(0, NS, 0, "key_1", action, "t", {})


class Accounts:
    """The books of a few customers. Every method is one call of the books."""

    def __init__(
        self, path: Path, customers: Sequence[str] = ("acme",), timezone: str = "UTC"
    ) -> None:
        self.books = SqliteBooks(path / "books.db")
        self.books.add_catalog_version(CatalogVersion(NS, 1, b"{}", 0, "key_1"))
        for key in customers:
            self.books.put_customer(NS, Customer(key, timezone=timezone), audit())
            segment = Segment(0, "pro", 1, Cadence.MONTH)
            subscription = Subscription(
                f"sub_{key}", key, Anchor.CALENDAR, "UTC", segments=(segment,)
            )
            self.books.put_subscription(NS, subscription, audit())

    def draft(self, made: Invoice) -> StoredInvoice:
        stored = self._stored(made)
        period = BilledPeriod(made.subscription, 0, 0, part=made.id)
        assert self.books.add_invoice(stored, [period], audit())
        return stored

    def issue(self, made: Invoice, now: int, due_at: int | None = None) -> StoredInvoice:
        """Draft it and issue it."""
        self.draft(made)

        def issued(number: str) -> StoredInvoice:
            return self._stored(issue(made, number, now, due_at))

        return self.books.issue_invoice(NS, made.id, "INV-", issued, audit())

    def void(self, invoice_id: str, now: int) -> None:
        stored = self.books.invoice(NS, invoice_id)
        assert stored is not None
        entry = AuditEntry(0, NS, now, "key_1", "invoice.void", invoice_id, {"reason": "mistake"})
        assert self.books.replace_invoice(replace(stored, status="void"), stored.status, entry)

    def credit(self, note: str, invoice_id: str, nets: dict[str, int], now: int) -> None:
        """A credit note without tax."""
        with self.books._connection.write() as sqlite:
            found = invoice_table.require(sqlite, NS, invoice_id)
            receivable_table.credited(
                sqlite, NS, note, parse_invoice(found.document), nets=nets, tax_minor=0, now=now
            )

    def pay(
        self, id: str, amount_minor: int, now: int, customer: str = "acme", **rest: Any
    ) -> PaymentState:
        named = rest.pop("named", None)
        values: dict[str, Any] = {"currency": "USD", "at": now, "recorded_at": now} | rest
        payment = Payment(id=id, customer=customer, amount_minor=amount_minor, **values)
        return self.books.record_payment(NS, payment, named, audit()).state

    def status(self, invoice_id: str) -> str:
        found = self.books.invoice(NS, invoice_id)
        assert found is not None
        return found.status

    def open(self, customer: str | None = None) -> list[OpenInvoice]:
        return self.books.open_invoices(NS, customer=customer)

    def sums(self, currency: str = "USD") -> dict[Account, int]:
        """The trial balance in one currency, without what is zero."""
        return {
            one.account: one.amount_minor
            for one in self.books.trial_balance(NS)
            if one.currency == currency and one.amount_minor
        }

    def _stored(self, made: Invoice) -> StoredInvoice:
        return StoredInvoice(
            id=made.id,
            namespace=NS,
            number=made.number,
            customer=made.customer,
            subscription=made.subscription,
            status=made.status.value,
            period_start=made.period.start,
            period_end=made.period.end,
            created_at=0,
            document=canonical_bytes(made),
        )
