"""
What the taxes of an invoice come to (K6).

Each rate is put once on the sum of the discounted nets of all its lines, and rounded once. Where
prices include the tax, the lines' sum is split the same way: with rates that come to R together, a
rate r has r / (1 + R) of it. Net and taxes then add up to the sum of the lines exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import msgspec

from taximeter.money import whole_minor
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.decide import Applying, Situation, Unknown, rates_for


class Taxable(msgspec.Struct, frozen=True):
    """
    What a line is taxed on.

    Attributes:
        category: As its price says; "" for the standard one.
        at: The last instant of what the line bills, microseconds.
        net_minor: Behind its discounts, with the tax that is in its price; may be negative.
    """

    category: str
    at: int
    net_minor: int


class _Sum(msgspec.Struct):
    """Of one rate: its lines, and exact parts of them that are taxes within the prices."""

    lines_minor: int = 0
    own_minor: Fraction = Fraction(0)
    others_minor: Fraction = Fraction(0)


def taxes_of(
    taxables: Iterable[Taxable], situation: Situation, currency: str
) -> tuple[AppliedTax, ...] | Unknown:
    """
    Lines of which nothing is left are passed over.

    Returns:
        By jurisdiction, name, category and rate; independent of the order of the lines.
    """
    known: dict[tuple[str, int], tuple[Applying, ...]] = {}
    sums: dict[Applying, _Sum] = {}
    for one in taxables:
        if not one.net_minor:
            continue
        place = (one.category, one.at)
        if place not in known:
            rates = rates_for(situation, one.category, one.at)
            if isinstance(rates, Unknown):
                return rates
            known[place] = rates
        if known[place]:  # most have none
            _add(sums, known[place], one.net_minor)
    return tuple(
        _applied(rate, sums[rate], currency)
        for rate in sorted(sums, key=lambda r: (r.jurisdiction, r.name, r.category, r.rate))
    )


def _add(sums: dict[Applying, _Sum], rates: tuple[Applying, ...], net_minor: int) -> None:
    together = sum((one.rate for one in rates if one.inclusive), Fraction(0))
    for rate in rates:
        found = sums.setdefault(rate, _Sum())
        found.lines_minor += net_minor
        if rate.inclusive:
            found.own_minor += net_minor * Fraction(rate.rate, 1 + together)
            found.others_minor += net_minor * Fraction(together - rate.rate, 1 + together)
        else:
            found.own_minor += net_minor * rate.rate


def _applied(rate: Applying, found: _Sum, currency: str) -> AppliedTax:
    amount = whole_minor(found.own_minor)
    included = amount + whole_minor(found.others_minor) if rate.inclusive else 0
    return AppliedTax(
        name=rate.name,
        jurisdiction=rate.jurisdiction,
        category=rate.category,
        rate=rate.rate,
        taxable_minor=found.lines_minor - included,
        amount_minor=amount,
        inclusive=rate.inclusive,
        note=rate.note,
    )
