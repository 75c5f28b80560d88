"""What is taken off or added behind the lines: discounts, taxes, prepaid credits (K10)."""

from __future__ import annotations

import msgspec

from taximeter.taxes.applied import AppliedTax

__all__ = ["AppliedCredit", "AppliedDiscount", "AppliedTax", "LineDiscount"]


class LineDiscount(msgspec.Struct, frozen=True):
    """The part of a discount that falls on one line (K7), minor units; not negative."""

    id: str
    amount_minor: int


class AppliedDiscount(msgspec.Struct, frozen=True):
    """A discount as it was given on an invoice; `amount_minor` is the sum of its lines' parts."""

    id: str
    name: str
    amount_minor: int


class AppliedCredit(msgspec.Struct, frozen=True):
    """What a grant of prepaid credit paid of an invoice, in minor units; above 0."""

    grant: str
    credit: str
    amount_minor: int
