"""
Matching: which invoices a sum of money pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from taximeter.errors import Refused, Rejected
from taximeter.money import format_minor


class OpenInvoice(msgspec.Struct, frozen=True):
    """
    An issued invoice and what is open on it.

    Attributes:
        due_at: When it is to be paid, microseconds; of one without terms, when it was issued.
        open_minor: Still to be paid; 0 for one that is paid or given up.
        lost_minor: Given up, and not recovered since.
        reminded: How many steps of the dunning schedule have been told.
    """

    id: str
    number: str
    customer: str
    currency: str
    issued_at: int
    due_at: int
    open_minor: int
    lost_minor: int = 0
    reminded: int = 0

    @property
    def payable_minor(self) -> int:
        """What a payment that names it may pay; of one given up, that is a recovery."""
        return self.open_minor + self.lost_minor


class Allocation(msgspec.Struct, frozen=True):
    """A part of a payment on one invoice; minor units, above 0."""

    invoice: str
    amount_minor: int


class Named(msgspec.Struct, frozen=True):
    """An invoice a payment names, by id or number; without an amount, as much of it as it can."""

    invoice: str
    amount_minor: int | None = None


def match(amount_minor: int, invoices: Iterable[OpenInvoice]) -> list[Allocation]:
    """
    Pay the oldest due first, then the oldest issued, then by number, each as far as the money goes.

    Invoices that were given up are left alone: those are paid by name.
    """
    found = []
    for invoice in sorted(invoices, key=_age):
        part = min(amount_minor, invoice.open_minor)
        if part > 0:
            found.append(Allocation(invoice.id, part))
            amount_minor -= part
    return found


def _age(invoice: OpenInvoice) -> tuple[int, int, int, str]:
    # A shorter number is a smaller one: INV-999999 comes before INV-1000000.
    return invoice.due_at, invoice.issued_at, len(invoice.number), invoice.number


def match_named(
    named: Iterable[Named],
    invoices: Mapping[str, OpenInvoice],
    customer: str,
    currency: str,
    left_minor: int,
) -> list[Allocation]:
    """
    What a payment pays of the invoices it names.

    Args:
        invoices: Those it names, by the names it has for them, as far as they are issued.
        left_minor: What there is to allocate.

    Raises:
        Rejected: `currency_mismatch`, `exceeds_invoice`, `exceeds_payment`, `invalid_request`.
        Refused: `invoice_not_issued`.
    """
    found: dict[str, int] = {}
    for part in named:
        invoice = _payable(part.invoice, invoices, customer, currency)
        if invoice.id in found:
            raise Rejected("invalid_request", f"Invoice {part.invoice!r} is named twice.")
        free_minor = max(0, left_minor - sum(found.values()))
        amount_minor = part.amount_minor
        if amount_minor is None:
            amount_minor = min(invoice.payable_minor, free_minor)
        if amount_minor > invoice.payable_minor:
            is_open = format_minor(invoice.payable_minor, currency)
            raise Rejected(
                "exceeds_invoice",
                f"{is_open} {currency} is open on invoice {part.invoice!r}, "
                f"less than {format_minor(amount_minor, currency)}.",
                invoice=part.invoice,
                open=is_open,
            )
        if amount_minor > free_minor:
            left = format_minor(left_minor, currency)
            raise Rejected(
                "exceeds_payment",
                f"The payment has {left} {currency} left; the invoices it names are to get more.",
                left=left,
            )
        found[invoice.id] = amount_minor
    return [Allocation(invoice, minor) for invoice, minor in found.items() if minor]


def _payable(
    name: str, invoices: Mapping[str, OpenInvoice], customer: str, currency: str
) -> OpenInvoice:
    invoice = invoices.get(name)
    if invoice is None:
        raise Refused(
            "invoice_not_issued",
            f"There is no issued invoice {name!r}, so nothing is owed on it.",
            invoice=name,
        )
    if invoice.customer != customer:
        raise Rejected(
            "invalid_request",
            f"Invoice {name!r} is of customer {invoice.customer!r}, not of {customer!r}.",
        )
    if invoice.currency != currency:
        raise Rejected(
            "currency_mismatch",
            f"Invoice {name!r} is in {invoice.currency}, the payment in {currency}.",
            invoice=name,
        )
    return invoice
