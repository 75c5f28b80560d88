"""
Payments: money that came in, and where it came from.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.money import exponent, format_minor, parse_amount

MAX_MINOR: Final = 10**15
"""Of one payment. Sums of many stay far below what the books can hold."""


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """
    Money received from a customer. A fact: it is reversed, never changed.

    Attributes:
        id: As who reports it names it; the same payment again is found by it.
        amount_minor: Above 0.
        at: When the money was received, microseconds.
        reference: Of the bank or the processor; free text.
        origin: "api", or the webhook source that told it.
        recorded_at: When it became known.
        reversed_at: When it was taken back; None while it stands.
        reason: Of the reversal.
    """

    id: str
    customer: str
    currency: str
    amount_minor: int
    at: int
    reference: str = ""
    origin: str = "api"
    recorded_at: int = 0
    reversed_at: int | None = None
    reason: str = ""

    def same_as(self, other: Payment) -> bool:
        """Whether both tell of the same money, whoever told it first."""
        return (self.customer, self.currency, self.amount_minor, self.reference) == (
            other.customer,
            other.currency,
            other.amount_minor,
            other.reference,
        )


class PaymentState(msgspec.Struct, frozen=True):
    """
    A payment and what became of it.

    Attributes:
        allocated: Invoice -> what it pays of it, minor units; in the order of their first parts.
        numbers: Invoice -> its number, of the same.
        refunded_minor: Paid back to the customer.
        left_minor: On the customer's account, not used yet.
    """

    payment: Payment
    allocated: dict[str, int]
    numbers: dict[str, str]
    refunded_minor: int
    left_minor: int

    @property
    def status(self) -> str:
        if self.payment.reversed_at is not None:
            return "reversed"
        return "unallocated" if self.left_minor else "allocated"

    def to_json(self) -> dict[str, Any]:
        payment, currency = self.payment, self.payment.currency
        reversed_at = payment.reversed_at
        return {
            "id": payment.id,
            "customer": payment.customer,
            "status": self.status,
            "amount": format_minor(payment.amount_minor, currency),
            "currency": currency,
            "at": format_instant(payment.at),
            "reference": payment.reference,
            "origin": payment.origin,
            "recorded_at": format_instant(payment.recorded_at),
            "invoices": [
                {
                    "invoice": invoice,
                    "number": self.numbers[invoice],
                    "amount": format_minor(minor, currency),
                }
                for invoice, minor in self.allocated.items()
            ],
            "refunded": format_minor(self.refunded_minor, currency),
            "unallocated": format_minor(self.left_minor, currency),
            "reversed_at": None if reversed_at is None else format_instant(reversed_at),
            "reason": payment.reason or None,
        }


def exact_minor(value: int | Decimal | str, currency: str) -> int:
    """
    An amount that somebody moves, in minor units: above 0, and no finer than the currency.

    Raises:
        Rejected: `invalid_amount`, `unknown_currency`.
    """
    scaled: Fraction = parse_amount(value) * 10 ** exponent(currency)
    if scaled.denominator != 1 or not 0 < scaled <= MAX_MINOR:
        raise Rejected(
            "invalid_amount",
            f"amount: {value} is no amount of {currency}: above 0, at most {exponent(currency)} "
            "digits behind the point.",
        )
    return scaled.numerator
