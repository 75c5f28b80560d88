"""Shares of events: for every price, base and shares are the line's exact amount (K5, K8, K9)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.catalog.prices import parse_price
from taximeter.invoices.rated import Counted, Shares
from taximeter.quantities import E12
from taximeter.rating import rate_line

TIERS = [{"up_to": 3, "unit": "0.5", "flat": 1}, {"up_to": 7, "unit": "0.25"}, {"unit": "0.1"}]
PRICES: dict[str, dict[str, Any]] = {
    "per_unit": {"type": "per_unit", "unit": "0.037"},
    "graduated": {"type": "graduated", "tiers": TIERS, "free": "1.5"},
    "volume": {"type": "volume", "tiers": TIERS},
    "stairstep": {"type": "stairstep", "tiers": [{"up_to": 4, "flat": 2}, {"flat": 5}]},
    "package": {"type": "package", "size": 3, "amount": "0.7", "free": 1},
    "percentage": {"type": "percentage", "rate": "0.03", "fixed": "0.1"},
    "bounded": {"type": "per_unit", "unit": 1, "minimum": 4, "maximum": 9},
}
quantities = st.lists(st.integers(0, 5 * E12), max_size=12)


@thorough
@given(name=st.sampled_from(sorted(PRICES)), quantities=quantities)
def test_base_and_shares_are_the_exact_amount_and_each_step_adds_up(
    name: str, quantities: list[int]
) -> None:
    price = parse_price(name, {"meter": "m", **PRICES[name]})
    shares = Shares(price, (), Counted(0, 0))
    base = shares.rated.amount
    total = amount = 0
    for events, quantity in enumerate(quantities, start=1):
        total += quantity
        share = shares.next(Counted(total, events))
        amount += share.amount
        assert share.metered_pico == share.quantity_pico == quantity
        assert sum((step.quantity_pico for step in share.steps), 0) == quantity - share.free_pico
        # The oracle: the line as far as it went, priced from nothing, twice.
        before = rate_line(price, total - quantity, events - 1)
        after = rate_line(price, total, events)
        assert share.amount == after.amount - before.amount
        unbounded = sum((step.amount for step in share.steps), Fraction(0))
        assert unbounded == _steps(after) - _steps(before)
    assert base + amount == rate_line(price, total, len(quantities)).amount


def _steps(rated: Any) -> Fraction:
    return sum((tier.amount for tier in rated.tiers), Fraction(0))
