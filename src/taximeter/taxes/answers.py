"""
What a tax engine outside answers: read strictly, and believed only as far as it adds up.

    {"taxes": [{"name": "VAT", "jurisdiction": "DE", "category": "", "rate": "0.19",
                "taxable": "149.50", "amount": "28.41", "inclusive": false, "note": null}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

import msgspec

from taximeter.errors import Rejected
from taximeter.money import exponent, parse_amount
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.decide import Unknown
from taximeter.taxes.documents import Exact

MAX_TAXES: Final = 200
MAX_TEXT: Final = 100


class TaxItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    jurisdiction: str
    rate: Exact
    taxable: Exact
    amount: Exact
    category: str = ""
    inclusive: bool = False
    note: Literal["exempt", "reverse_charge"] | None = None


class TaxAnswer(msgspec.Struct, frozen=True):
    taxes: tuple[TaxItem, ...]


_decoder = msgspec.json.Decoder(TaxAnswer, float_hook=Decimal)


def read_answer(
    body: bytes, nets_minor: Sequence[int], currency: str
) -> tuple[AppliedTax, ...] | Unknown:
    """
    Args:
        nets_minor: The discounted lines that were asked about.
        currency: Of all amounts; they may have no more digits than it has.

    Returns:
        `Unknown` if it is no answer, a rate is not from 0 to 1, more is taxed than was sold, or
        an amount is further from rate x taxable than rounding each line can bring it.
    """
    try:
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unknown(f"The tax engine's answer cannot be read: {str(error)[:200]}.")
    if len(answer.taxes) > MAX_TAXES:
        return Unknown(f"The tax engine answered more than {MAX_TAXES} taxes.")
    sold = sum(abs(net) for net in nets_minor)
    found: list[AppliedTax] = []
    for place, item in enumerate(answer.taxes):
        tax = _read_item(item, currency)
        problem = _problem_of(tax, sold, len(nets_minor)) if tax is not None else "is not a tax"
        if tax is None or problem is not None:
            return Unknown(f"The tax engine's taxes[{place}] {problem}.")
        found.append(tax)
    return tuple(found)


def _read_item(item: TaxItem, currency: str) -> AppliedTax | None:
    texts = (item.name, item.jurisdiction, item.category)
    if not item.name or not all(len(t) <= MAX_TEXT and t.isprintable() for t in texts):
        return None
    try:
        rate = parse_amount(item.rate)
    except Rejected:
        return None
    taxable, amount = (_minor(value, currency) for value in (item.taxable, item.amount))
    if taxable is None or amount is None:
        return None
    return AppliedTax(
        name=item.name,
        jurisdiction=item.jurisdiction,
        category=item.category,
        rate=rate,
        taxable_minor=taxable,
        amount_minor=amount,
        inclusive=item.inclusive,
        note=item.note,
    )


def _minor(value: object, currency: str) -> int | None:
    try:
        exact: Fraction = parse_amount(value) * 10 ** exponent(currency)  # type: ignore[arg-type]
    except Rejected:
        return None
    return int(exact) if exact.denominator == 1 else None


def _problem_of(tax: AppliedTax, sold_minor: int, lines: int) -> str | None:
    if not 0 <= tax.rate <= 1:
        return "has a rate that is not from 0 to 1"
    if abs(tax.taxable_minor) > sold_minor:
        return "taxes more than the lines come to"
    if abs(tax.amount_minor - tax.rate * tax.taxable_minor) > max(1, lines):
        return "has an amount that is not rate x taxable"
    return None
