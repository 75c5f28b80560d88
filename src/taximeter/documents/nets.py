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
from taximeter.money import allocate


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


def tax_of(invoice: Invoice, line: Line) -> AppliedTax | None:
    """
    The tax on a line: of its category, else the standard one; None where there is none, or where
    several are and it takes more than the invoice to tell them apart.
    """
    found = [tax for tax in invoice.taxes if tax.category == line.tax_category]
    found = found or [tax for tax in invoice.taxes if not tax.category]
    return found[0] if len(found) == 1 else None


def taxed_by_line(invoice: Invoice) -> bool:
    """Whether each line has one tax, and those of a tax add up to what it was put on."""
    on_lines = [(line.net_minor, tax_of(invoice, line)) for line in invoice.lines]
    if any(net_minor and tax is None for net_minor, tax in on_lines) and invoice.taxes:
        return False
    return all(
        sum(net_minor for net_minor, tax in on_lines if tax is one) == _taxed_minor(one)
        for one in invoice.taxes
    )


def _taxed_minor(tax: AppliedTax) -> int:
    return tax.taxable_minor + (tax.amount_minor if tax.inclusive else 0)


def nets_of(invoice: Invoice) -> list[LineNet]:
    """In the order of the lines. Their nets and all taxes add up to the invoice's total."""
    gross = [
        [line.amount_minor, *(-d.amount_minor for d in line.discounts)] for line in invoice.lines
    ]
    if not any(tax.inclusive for tax in invoice.taxes):
        nets = gross
    elif taxed_by_line(invoice):
        nets = _by_rate(invoice, gross)
    else:
        nets = _in_proportion(invoice, gross)
    return [LineNet(listed, tuple(-off for off in offs)) for listed, *offs in nets]


def _by_rate(invoice: Invoice, gross: list[list[int]]) -> list[list[int]]:
    nets = list(gross)
    for tax in invoice.taxes:
        under = [n for n, line in enumerate(invoice.lines) if tax_of(invoice, line) is tax]
        if tax.inclusive:
            parts = iter(spread(tax.taxable_minor, [g for n in under for g in gross[n]], tax.rate))
            for n in under:
                nets[n] = [next(parts) for _ in gross[n]]
    return nets


def _in_proportion(invoice: Invoice, gross: list[list[int]]) -> list[list[int]]:
    """Several taxes on one line, or from outside: all of them over all lines, by size (K7)."""
    inside = sum(tax.amount_minor for tax in invoice.taxes if tax.inclusive)
    sizes = [abs(line.net_minor) for line in invoice.lines]
    shares = allocate(inside, sizes) if any(sizes) else [0] * len(sizes)
    return [[listed - own, *offs] for (listed, *offs), own in zip(gross, shares, strict=True)]


def spread(net_minor: int, gross_minor: Sequence[int], rate: Fraction) -> list[int]:
    """
    Lay a net amount out over the gross amounts it is the net of.

    Each share is gross / (1 + rate) rounded down; what is missing goes to the largest remainders,
    a minor unit each, ties to the lower index (K7). Unlike `money.allocate` it takes parts of
    either sign, as discounts and corrections have.

    Args:
        net_minor: The gross sum without tax, rounded once; of a part that is given back, within a
            unit of that.

    Returns:
        Shares that add up to `net_minor`.
    """
    if net_minor < 0:  # split like the charge it takes back
        return [-share for share in spread(-net_minor, [-gross for gross in gross_minor], rate)]
    exact = [Fraction(gross) / (1 + rate) for gross in gross_minor]
    shares = [floor(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda place: (shares[place] - exact[place], place))
    each, left = divmod(net_minor - sum(shares), len(order)) if order else (0, 0)
    for rank, place in enumerate(order):
        shares[place] += each + (rank < left)
    return shares
