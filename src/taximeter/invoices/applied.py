"""What is taken off or added behind the lines: discounts, taxes, prepaid credits (K10)."""

from __future__ import annotations

from fractions import Fraction

import msgspec


class LineDiscount(msgspec.Struct, frozen=True):
    """The part of a discount that falls on one line (K7), minor units; not negative."""

    id: str
    amount_minor: int


class AppliedDiscount(msgspec.Struct, frozen=True):
    """A discount as it was given on an invoice; `amount_minor` is the sum of its lines' parts."""

    id: str
    name: str
    amount_minor: int


class AppliedTax(msgspec.Struct, frozen=True):
    """
    One rate on all its lines, rounded once (K6).

    Attributes:
        name: As the law calls it, such as "VAT".
        jurisdiction: Country, or country and region, such as "DE" or "US-CA".
        category: Of the lines, as their prices say; "" for the standard one.
        rate: 19/100 for 19 %.
        taxable_minor: What the rate was put on: discounted nets; of an inclusive tax without it.
        inclusive: The amount is a part of the lines, and not added to them.
        note: Why nothing is due: "exempt" or "reverse_charge"; None where the rate says it all.
    """

    name: str
    jurisdiction: str
    category: str
    rate: Fraction
    taxable_minor: int
    amount_minor: int
    inclusive: bool = False
    note: str | None = None


class AppliedCredit(msgspec.Struct, frozen=True):
    """What a grant of prepaid credit paid of an invoice, in minor units; above 0."""

    grant: str
    credit: str
    amount_minor: int
