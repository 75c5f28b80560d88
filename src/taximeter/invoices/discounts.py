"""
Discounts: what is taken off the lines of an invoice before tax (K10).

Discounts are given in the order they are named, each on what those before it have left; together
they never take more than there is. Every one falls on the lines it is for, by largest remainder
(K7), so that each tax is put on the right net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from taximeter.invoices.applied import AppliedDiscount, LineDiscount
from taximeter.invoices.invoice import Kind, Line
from taximeter.money import allocate, whole_minor

_NEVER: Final = frozenset({Kind.ADJUSTMENT})
"""An adjustment is the difference of two prices of an old period, which had its own discounts."""


class Discount(msgspec.Struct, frozen=True, kw_only=True):
    """
    One of `percent`, `amount_minor` and `free_pico` is what is taken off, each period anew.

    Attributes:
        id: What a line and an invoice cite.
        percent: A share of the lines: 1/5 for 20 %; above 0, at most 1.
        amount_minor: Above 0, of `currency`; on an invoice in another one it gives nothing.
        free_pico: Units of one price that are free, valued at what the first units of its lines
            cost; a flat fee of a tier is not waived by them.
        prices: Keys such as "tokens", or "pro/tokens" with their plan or add-on; () for all.
        periods: In how many billing periods it is given, from the first on; None for ever.
    """

    id: str
    name: str = ""
    percent: Fraction | None = None
    amount_minor: int | None = None
    currency: str = ""
    free_pico: int | None = None
    prices: tuple[str, ...] = ()
    periods: int | None = None

    def is_for(self, line: Line) -> bool:
        """Whether a line is one of those it is taken off."""
        if line.kind in _NEVER:
            return False
        if not self.prices:
            return True
        plan, _, key = line.price.rpartition("@")[0].rpartition("/")
        addon = plan.rpartition("+")[2]
        return not {key, f"{plan}/{key}", f"{addon}/{key}"}.isdisjoint(self.prices)


def apply_discounts(
    lines: Sequence[Line],
    discounts: Iterable[Discount],
    currency: str,
    given: Mapping[str, int] | None = None,
) -> tuple[tuple[Line, ...], tuple[AppliedDiscount, ...]]:
    """
    Give discounts on lines, of one subscription or of several that share them.

    Args:
        lines: With their minimum and maximum; discounts they carry already count as given.
        discounts: Those due in the period, in their order.
        given: What each gave in this period on earlier invoices, minor units: an amount and free
            units are given once, however often a period is billed.

    Returns:
        The lines with the part of each discount that falls on them, and what each came to; those
        that came to nothing are left out.
    """
    result = list(lines)
    applied: list[AppliedDiscount] = []
    for discount in discounts:
        places = [place for place, line in enumerate(result) if discount.is_for(line)]
        before = 0 if given is None else given.get(discount.id, 0)
        parts = _parts(discount, [result[place] for place in places], currency, before)
        for place, part in zip(places, parts, strict=True):
            if part:
                line = result[place]
                taken = (*line.discounts, LineDiscount(discount.id, part))
                result[place] = replace(line, discounts=taken)
        if any(parts):
            applied.append(AppliedDiscount(discount.id, discount.name, sum(parts)))
    return tuple(result), tuple(applied)


def _parts(discount: Discount, lines: Sequence[Line], currency: str, given_minor: int) -> list[int]:
    """What falls on each line, minor units; at most what is left of it."""
    left = [line.net_minor for line in lines]
    whole = sum(left)  # a cap is a negative line and takes part
    weights = [max(0, one) for one in left]
    if discount.free_pico is not None:
        return _within(whole, given_minor, _free_parts(discount.free_pico, lines, currency))
    if whole <= 0:
        return [0] * len(lines)
    if discount.percent is not None:
        total = whole_minor(discount.percent * whole)
    else:
        assert discount.amount_minor is not None, discount
        is_ours = discount.currency == currency
        total = min(max(0, discount.amount_minor - given_minor), whole) if is_ours else 0
    return allocate(total, weights)


def _within(whole: int, given_minor: int, parts: list[int]) -> list[int]:
    """Parts less what was given of them, the first first, and within what there is."""
    room = max(0, whole)
    cut: list[int] = []
    for part in parts:
        known = min(part, given_minor)
        given_minor -= known
        cut.append(min(part - known, room))
        room -= cut[-1]
    return cut


def _free_parts(free_pico: int, lines: Sequence[Line], currency: str) -> list[int]:
    """Units are used up line by line, of each by its tiers in their order."""
    parts: list[int] = []
    for line in lines:
        value, whole = Fraction(0), Fraction(0)
        for tier in line.tiers:
            taken = min(free_pico, tier.quantity_pico)
            if taken:
                value += (tier.amount - tier.flat) * Fraction(taken, tier.quantity_pico)
            free_pico -= taken
            whole += tier.amount
        value, whole = value * line.multiplier, whole * line.multiplier
        # A maximum has taken off a part of the units' value already; a minimum stays due.
        whole = max(whole, whole + line.adjustment)
        share = Fraction(value, whole) if whole else Fraction(0)
        parts.append(whole_minor(share * max(0, line.net_minor)))
    return parts


def total_of(applied: Iterable[AppliedDiscount]) -> tuple[AppliedDiscount, ...]:
    """Discounts given on several parts of an invoice, each once, in the order of the first."""
    totals: dict[str, AppliedDiscount] = {}
    for one in applied:
        known = totals.get(one.id)
        amount = one.amount_minor + (0 if known is None else known.amount_minor)
        totals[one.id] = AppliedDiscount(one.id, one.name, amount)
    return tuple(totals.values())
