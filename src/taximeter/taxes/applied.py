"""A tax as an invoice shows it."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import msgspec

EXEMPT: Final = "exempt"
REVERSE_CHARGE: Final = "reverse_charge"


class AppliedTax(msgspec.Struct, frozen=True):
    """
    One rate on all its lines, rounded once (K6).

    Attributes:
        name: As the law calls it, such as "VAT".
        jurisdiction: Country, or country and region, such as "DE" or "US-CA".
        category: That the rate is for; "" for the standard one, which lines of a category without
            a rate of its own have, too.
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
