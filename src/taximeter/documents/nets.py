"""
Nets: each line and each discount on it without the taxes that are in its price.

E-invoices and FOCUS state amounts without tax. A tax that is in the prices is split per rate (K6);
here the net of the rate is laid out over all that is under it, so that the parts add up to it
exactly (K7).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import msgspec

from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.invoice import Invoice, Line


class LineNet(msgspec.Struct, frozen=True):
    """
    Minor units without tax.

    Attributes:
        listed_minor: The line before its discounts.
        discounts_minor: What each of its discounts takes off, in their order.
    """

    listed_minor: int
    discounts_minor: tuple[int, ...]

    @property
    def net_minor(self) -> int:
        return self.listed_minor - sum(self.discounts_minor)


def nets_of(invoice: Invoice) -> list[LineNet]:
    """In the order of the lines. Their nets and all taxes add up to the invoice's total."""
    found: dict[int, LineNet] = {}
    by_category: dict[str, list[int]] = {}
    for place, line in enumerate(invoice.lines):
        by_category.setdefault(line.tax_category, []).append(place)
    for category, places in by_category.items():
        inside = [tax for tax in invoice.taxes if tax.category == category and tax.inclusive]
        nets = _under([invoice.lines[place] for place in places], inside)
        found.update(zip(places, nets, strict=True))
    return [found[place] for place in range(len(invoice.lines))]


def _under(lines: Sequence[Line], inside: Sequence[AppliedTax]) -> list[LineNet]:
    """Lines of one category, of which these taxes are a part."""
    gross = [
        amount
        for line in lines
        for amount in (line.amount_minor, *(-one.amount_minor for one in line.discounts))
    ]
    if inside:
        tax = sum(one.amount_minor for one in inside)
        rate = sum((one.rate for one in inside), Fraction(0))
        gross = spread(sum(gross) - tax, gross, rate)
    parts = iter(gross)
    return [LineNet(next(parts), tuple(-next(parts) for _ in line.discounts)) for line in lines]


def spread(net_minor: int, gross_minor: Sequence[int], rate: Fraction) -> list[int]:
    """
    Lay a net amount out over the gross amounts it is the net of.

    Each share is gross / (1 + rate) rounded down; what is missing goes to the largest remainders,
    a minor unit each, ties to the lower index (K7). Unlike `money.allocate` it takes parts of
    either sign, as discounts and corrections have.

    Args:
        net_minor: The gross sum without tax, rounded once; so it lies within one unit of the sum
            of exact shares.

    Returns:
        Shares that add up to `net_minor`.
    """
    if net_minor < 0:  # split like the charge it takes back
        return [-share for share in spread(-net_minor, [-gross for gross in gross_minor], rate)]
    exact = [Fraction(gross) / (1 + rate) for gross in gross_minor]
    shares = [floor(value) for value in exact]
    missing = net_minor - sum(shares)
    order = sorted(range(len(shares)), key=lambda place: (shares[place] - exact[place], place))
    assert 0 <= missing <= len(order), (missing, gross_minor)
    for place in order[:missing]:
        shares[place] += 1
    return shares
