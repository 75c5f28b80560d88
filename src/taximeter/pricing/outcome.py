"""
Outcome: what customers pay by one version of the prices and by another, and what is left of it.

Revenue is what invoices come to after discounts and before tax. Amounts are minor units, rounded
once for each customer; totals are their sums (K5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taximeter.money import format_minor


class Outcome(msgspec.Struct, frozen=True):
    """
    One customer, in one currency.

    Attributes:
        periods: How many billing periods were rated.
        before_minor, after_minor: None where that version has nothing in this currency.
        cost_minor: What the usage costs the seller; None if no rate in this currency says so.
    """

    customer: str
    currency: str
    periods: int
    before_minor: int | None
    after_minor: int | None
    cost_minor: int | None = None

    @property
    def difference_minor(self) -> int | None:
        """After - before: above 0 the customer pays more; None where there is only one side."""
        if self.before_minor is None or self.after_minor is None:
            return None
        return self.after_minor - self.before_minor


class Total(msgspec.Struct, frozen=True):
    """
    All customers of one currency.

    Attributes:
        less, more, same: How many pay less, more, or the same.
    """

    currency: str
    customers: int
    periods: int
    before_minor: int
    after_minor: int
    cost_minor: int | None
    less: int
    more: int
    same: int


def totals_of(outcomes: Iterable[Outcome]) -> list[Total]:
    """One for each currency, by its code."""
    by_currency: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_currency.setdefault(one.currency, []).append(one)
    return [_total(currency, found) for currency, found in sorted(by_currency.items())]


def _total(currency: str, outcomes: Sequence[Outcome]) -> Total:
    costs = [one.cost_minor for one in outcomes if one.cost_minor is not None]
    differences = [d for one in outcomes if (d := one.difference_minor) is not None]
    return Total(
        currency=currency,
        customers=len(outcomes),
        periods=sum(one.periods for one in outcomes),
        before_minor=sum(one.before_minor or 0 for one in outcomes),
        after_minor=sum(one.after_minor or 0 for one in outcomes),
        cost_minor=sum(costs) if costs else None,
        less=sum(d < 0 for d in differences),
        more=sum(d > 0 for d in differences),
        same=sum(d == 0 for d in differences),
    )


def by_difference(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those whose bill changes most first; ties by customer."""
    return sorted(
        outcomes,
        key=lambda one: (-abs(one.difference_minor or 0), one.customer, one.currency),
    )


def outcome_json(one: Outcome) -> dict[str, Any]:
    return {"customer": one.customer, "periods": one.periods} | _sides(one)


def total_json(total: Total) -> dict[str, Any]:
    counts = {
        "customers": total.customers,
        "periods": total.periods,
        "pay_less": total.less,
        "pay_more": total.more,
        "pay_the_same": total.same,
    }
    return counts | _sides(total)


def _sides(one: Outcome | Total) -> dict[str, Any]:
    """Both revenues and margins, and what lies between them."""
    before, after, cost = one.before_minor, one.after_minor, one.cost_minor

    def text(minor: int | None) -> str | None:
        return None if minor is None else format_minor(minor, one.currency)

    def less(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a - b

    return {
        "currency": one.currency,
        "before": text(before),
        "after": text(after),
        "difference": text(less(after, before)),
        "cost": text(cost),
        "margin_before": text(less(before, cost)),
        "margin_after": text(less(after, cost)),
    }
