"""
Nets: what is left of each line behind its discounts and without the taxes that are in its price.

E-invoices and FOCUS state lines without tax. A tax that is in the prices is split per rate (K6);
here the net of the rate is laid out over its lines, so that they add up to it exactly (K7).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from taximeter.invoices.invoice import Invoice


def nets_of(invoice: Invoice) -> list[int]:
    """
    Minor units in the order of the lines. With all taxes they add up to the total.
    """
    nets = [line.net_minor for line in invoice.lines]
    by_category: dict[str, list[int]] = {}
    for place, line in enumerate(invoice.lines):
        by_category.setdefault(line.tax_category, []).append(place)
    for category, places in by_category.items():
        taxes = [tax for tax in invoice.taxes if tax.category == category and tax.inclusive]
        if taxes:
            gross = [nets[place] for place in places]
            net = sum(gross) - sum(tax.amount_minor for tax in taxes)
            rate = sum((tax.rate for tax in taxes), Fraction(0))
            for place, share in zip(places, spread(net, gross, rate), strict=True):
                nets[place] = share
    return nets


def spread(net_minor: int, gross_minor: Sequence[int], rate: Fraction) -> list[int]:
    """
    Lay a net amount out over the gross amounts it is the net of.

    Each share is gross / (1 + rate) rounded down; what is missing goes to the largest remainders,
    a minor unit each, ties to the lower index (K7). Unlike `money.allocate` it takes lines of
    either sign, as corrections have.

    Args:
        net_minor: The gross sum without tax, rounded once; so it lies within one unit of the sum
            of exact shares.

    Returns:
        Shares that add up to `net_minor`.
    """
    exact = [Fraction(gross) / (1 + rate) for gross in gross_minor]
    shares = [floor(value) for value in exact]
    missing = net_minor - sum(shares)
    order = sorted(range(len(shares)), key=lambda place: (shares[place] - exact[place], place))
    assert 0 <= missing <= len(order), (missing, gross_minor)
    for place in order[:missing]:
        shares[place] += 1
    return shares
