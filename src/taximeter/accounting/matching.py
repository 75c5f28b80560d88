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


def match(amount_minor: int, invoices: Iterable[OpenInvoice]) -> list[Allocation]:
    """
    Pay the oldest due first, then the oldest issued, then by id, each as far as the money goes.

    Invoices that were given up are left alone: those are paid by name.
    """
    found = []
    for invoice in sorted(invoices, key=lambda one: (one.due_at, one.issued_at, one.id)):
        part = min(amount_minor, invoice.open_minor)
        if part > 0:
            found.append(Allocation(invoice.id, part))
            amount_minor -= part
    return found


def check_named(
    named: Iterable[Allocation],
    invoices: Mapping[str, OpenInvoice],
    customer: str,
    currency: str,
    left_minor: int,
) -> None:
    """
    Whether a payment can pay what it names.

    Args:
        invoices: Those it names, as far as they are issued.
        left_minor: What there is to allocate.

    Raises:
        Rejected: `currency_mismatch`, `exceeds_invoice`, `exceeds_payment`, `invalid_request`.
        Refused: `invoice_not_issued`.
    """
    asked: dict[str, int] = {}
    for part in named:
        invoice = invoices.get(part.invoice)
        if invoice is None:
            raise Refused(
                "invoice_not_issued",
                f"Invoice {part.invoice!r} is not issued, so nothing is owed on it.",
                invoice=part.invoice,
            )
        if invoice.customer != customer:
            raise Rejected(
                "invalid_request",
                f"Invoice {part.invoice!r} is of another customer, {invoice.customer!r}.",
            )
        if invoice.currency != currency:
            raise Rejected(
                "currency_mismatch",
                f"Invoice {part.invoice!r} is in {invoice.currency}, the payment in {currency}.",
                invoice=part.invoice,
            )
        if part.invoice in asked:
            raise Rejected("invalid_request", f"Invoice {part.invoice!r} is named twice.")
        if part.amount_minor > invoice.payable_minor:
            is_open = format_minor(invoice.payable_minor, currency)
            raise Rejected(
                "exceeds_invoice",
                f"{is_open} {currency} is open on invoice {part.invoice!r}, "
                f"less than {format_minor(part.amount_minor, currency)}.",
                invoice=part.invoice,
                open=is_open,
            )
        asked[part.invoice] = part.amount_minor
    if sum(asked.values()) > left_minor:
        left = format_minor(left_minor, currency)
        raise Rejected(
            "exceeds_payment",
            f"The invoices are to get {format_minor(sum(asked.values()), currency)} {currency}; "
            f"the payment has {left} left.",
            left=left,
        )
