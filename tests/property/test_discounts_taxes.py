"""Discounts and taxes against slow second implementations that count minor units one by one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.invoices.discounts import Discount, apply_discounts
from taximeter.invoices.invoice import Kind, Line
from taximeter.parties import Party
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.apply import Taxable, taxes_of
from taximeter.taxes.decide import Situation
from taximeter.taxes.rules import Registration, TaxRate, TaxRules

PRICES = ("a", "b", "c")
AMOUNTS = st.integers(-50, 400)
LINES = st.lists(st.tuples(st.sampled_from(PRICES), AMOUNTS), max_size=6)
SHARES = st.fractions(Fraction(1, 50), 1, max_denominator=50)
NAMED = st.lists(st.sampled_from(PRICES), max_size=2).map(tuple)
DISCOUNTS = st.lists(
    st.tuples(NAMED, st.one_of(SHARES, st.integers(1, 300))).map(
        lambda one: Discount(
            id=f"{one}",
            prices=one[0],
            percent=one[1] if isinstance(one[1], Fraction) else None,
            amount_minor=one[1] if isinstance(one[1], int) else None,
            currency="EUR",
        )
    ),
    max_size=4,
)


def lines_of(amounts: Sequence[tuple[str, int]]) -> list[Line]:
    return [
        Line(
            id=str(place),
            kind=Kind.USAGE,
            description=price,
            price=f"pro/{price}@1",
            period=Period(0, 1),
            quantity_pico=E12,
            amount_minor=amount,
        )
        for place, (price, amount) in enumerate(amounts)
    ]


def half_up(amount: Fraction) -> int:
    """K5, by looking at both neighbours."""
    size = abs(amount)
    down = size.numerator // size.denominator
    nearest = down + 1 if (down + 1) - size <= size - down else down
    return nearest if amount >= 0 else -nearest


def slow_discounts(
    amounts: Sequence[tuple[str, int]], discounts: Sequence[Discount]
) -> list[list[int]]:
    """For each discount, what it takes off each line; every cent is handed out on its own (K7)."""
    left = [amount for _, amount in amounts]
    table: list[list[int]] = []
    for discount in discounts:
        mine = [
            place
            for place, (price, _) in enumerate(amounts)
            if not discount.prices or price in discount.prices
        ]
        whole = sum(left[place] for place in mine)
        cents = 0
        if whole > 0 and discount.percent is not None:
            cents = half_up(whole * discount.percent)
        elif whole > 0 and discount.amount_minor is not None:
            cents = min(whole, discount.amount_minor)
        positive = [place for place in mine if left[place] > 0]
        scale = sum(left[place] for place in positive)
        ideal = {place: Fraction(cents * left[place], scale) for place in positive}
        parts = [0] * len(amounts)
        for _ in range(cents):
            place = max(positive, key=lambda one: (ideal[one] - parts[one], -one))
            parts[place] += 1
        left = [one - part for one, part in zip(left, parts, strict=True)]
        table.append(parts)
    return table


@thorough
@given(LINES, DISCOUNTS)
def test_discounts_are_those_of_counting_cents(
    amounts: list[tuple[str, int]], discounts: list[Discount]
) -> None:
    """K7, K10."""
    discounts = [
        Discount(id=str(n), percent=d.percent, amount_minor=d.amount_minor, currency="EUR",
                 prices=d.prices)
        for n, d in enumerate(discounts)
    ]  # fmt: skip
    after, applied = apply_discounts(lines_of(amounts), discounts, "EUR")
    table = slow_discounts(amounts, discounts)
    found = [
        [sum(p.amount_minor for p in line.discounts if p.id == one.id) for line in after]
        for one in discounts
    ]
    assert found == table
    assert {one.id: one.amount_minor for one in applied} == {
        one.id: sum(parts) for one, parts in zip(discounts, table, strict=True) if sum(parts)
    }


@thorough
@given(LINES, DISCOUNTS)
def test_no_line_is_discounted_below_zero_and_none_that_is_a_credit(
    amounts: list[tuple[str, int]], discounts: list[Discount]
) -> None:
    after, applied = apply_discounts(lines_of(amounts), discounts, "EUR")
    for line in after:
        assert line.net_minor >= min(0, line.amount_minor)
        assert line.net_minor <= line.amount_minor
    taken = sum(line.amount_minor - line.net_minor for line in after)
    assert taken == sum(one.amount_minor for one in applied)


# --- taxes ------------------------------------------------------------------------------------

CATEGORIES = ("", "x", "y")
NETS = st.lists(st.tuples(st.sampled_from(CATEGORIES), st.integers(-10_000, 10_000)), max_size=8)
RATES = st.fractions(0, 1, max_denominator=1000)
WORLDS = st.tuples(
    st.lists(RATES, min_size=1, max_size=2), st.lists(RATES, max_size=2), st.booleans()
)


def situation_of(standard: list[Fraction], special: list[Fraction], inclusive: bool) -> Situation:
    rates = [
        TaxRate(name=f"tax {n}", country="CA", category=category, rate=rate)
        for category, found in (("", standard), ("x", special))
        for n, rate in enumerate(found)
    ]
    registrations = (Registration(country="CA", inclusive=inclusive),)
    return Situation(TaxRules(registrations, tuple(rates)), None, Party(country="CA"))


def taxes(nets: Sequence[tuple[str, int]], situation: Situation) -> tuple[AppliedTax, ...]:
    found = taxes_of([Taxable(category, 5, net) for category, net in nets], situation, "CAD")
    assert isinstance(found, tuple)
    return found


def slow_taxes(
    nets: Sequence[tuple[str, int]],
    standard: list[Fraction],
    special: list[Fraction],
    inclusive: bool,
) -> dict[tuple[str, str, Fraction], tuple[int, int]]:
    """Tax name, category of the rate, rate -> sum of its lines and tax, rate by rate (K6)."""
    lines: dict[tuple[str, str, Fraction], list[tuple[int, Fraction]]] = {}
    for category, net in nets:
        if not net:
            continue
        here: list[tuple[str, str, Fraction]] = []
        for n in range(max(len(standard), len(special))):
            if category == "x" and n < len(special):
                here.append((f"tax {n}", "x", special[n]))
            elif n < len(standard):
                here.append((f"tax {n}", "", standard[n]))
        together = sum((rate for _, _, rate in here), Fraction(0))
        for key in here:
            base = Fraction(net) / (1 + together) if inclusive else Fraction(net)
            lines.setdefault(key, []).append((net, base * key[2]))
    return {
        key: (sum(net for net, _ in found), half_up(sum((tax for _, tax in found), Fraction(0))))
        for key, found in lines.items()
    }


@thorough
@given(NETS, WORLDS)
def test_taxes_are_those_of_the_slow_way(
    nets: list[tuple[str, int]], world: tuple[list[Fraction], list[Fraction], bool]
) -> None:
    """K6."""
    found = taxes(nets, situation_of(*world))
    slow = slow_taxes(nets, *world)
    assert {(t.name, t.category, t.rate): t.amount_minor for t in found} == {
        key: amount for key, (_, amount) in slow.items()
    }
    for tax in found:
        of_lines, _ = slow[tax.name, tax.category, tax.rate]
        assert tax.inclusive is world[2]
        if not tax.inclusive:
            assert tax.taxable_minor == of_lines


@thorough
@given(NETS, WORLDS, st.randoms(use_true_random=False))
def test_taxes_do_not_depend_on_the_order_of_lines_nor_on_how_they_are_cut(
    nets: list[tuple[str, int]],
    world: tuple[list[Fraction], list[Fraction], bool],
    random: Random,
) -> None:
    situation = situation_of(*world)
    shuffled = sorted(nets, key=lambda one: random.random())
    cut = [(c, part) for c, net in shuffled for part in (net - 1, 1) if net]
    whole = taxes(nets, situation)
    assert taxes(shuffled, situation) == whole
    assert [
        (t.taxable_minor, t.amount_minor) for t in taxes(cut, situation) if t.taxable_minor
    ] == [(t.taxable_minor, t.amount_minor) for t in whole if t.taxable_minor]


@thorough
@given(NETS, RATES)
def test_a_tax_in_the_price_and_its_net_are_the_price(
    nets: list[tuple[str, int]], rate: Fraction
) -> None:
    """K6: nothing is lost between net and tax."""
    found = taxes(nets, situation_of([rate], [], True))
    assert sum(t.taxable_minor + t.amount_minor for t in found) == sum(net for _, net in nets)


@thorough
@given(NETS, WORLDS)
def test_a_credit_is_taxed_as_the_charge_it_reverses(
    nets: list[tuple[str, int]], world: tuple[list[Fraction], list[Fraction], bool]
) -> None:
    situation = situation_of(*world)
    back = taxes([(category, -net) for category, net in nets], situation)
    assert [-one.amount_minor for one in back] == [
        one.amount_minor for one in taxes(nets, situation)
    ]
