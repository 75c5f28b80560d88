"""Rounding and allocation against `decimal` and against their own laws (K5, K7)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.money import (
    EXPONENTS,
    allocate,
    exponent,
    format_exact,
    format_minor,
    parse_amount,
    round_minor,
)

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.decimals(-(10**12), 10**12, places=12) | st.decimals(-1, 1, places=4)
weights = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)


@thorough
@given(amount=amounts, currency=currencies)
def test_rounding_agrees_with_the_decimal_module(amount: Decimal, currency: str) -> None:
    digit = Decimal(1).scaleb(-exponent(currency))
    expected = amount.quantize(digit, ROUND_HALF_UP, Context(prec=60))
    minor = round_minor(parse_amount(amount), currency)
    assert minor == int(expected.scaleb(exponent(currency)))
    assert Decimal(format_minor(minor, currency)) == expected


@thorough
@given(amount=st.fractions(), currency=currencies)
def test_rounding_moves_an_amount_by_at_most_half_a_minor_unit_and_mirrors_at_zero(
    amount: Fraction, currency: str
) -> None:
    minor = round_minor(amount, currency)
    assert abs(Fraction(minor, 10 ** exponent(currency)) - amount) <= Fraction(
        1, 2 * 10 ** exponent(currency)
    )
    assert round_minor(-amount, currency) == -minor


@thorough
@given(amount=st.fractions(), digits=st.integers(0, 4))
def test_an_exact_amount_reads_back_from_its_text(amount: Fraction, digits: int) -> None:
    assert Fraction(format_exact(amount, digits)) == amount


@thorough
@given(total=st.integers(-(10**15), 10**15), parts=weights)
def test_an_allocation_sums_exactly_and_each_part_is_within_one_unit(
    total: int, parts: list[int]
) -> None:
    shares = allocate(total, parts)
    assert sum(shares) == total
    for share, weight in zip(shares, parts, strict=True):
        exact = Fraction(total * weight, sum(parts))
        assert abs(share - exact) < 1
        assert weight > 0 or share == 0
    assert allocate(-total, parts) == [-share for share in shares]


@thorough
@given(total=st.integers(0, 200), parts=st.lists(st.integers(0, 9), min_size=1).filter(any))
def test_an_allocation_gives_unit_by_unit_to_whoever_is_furthest_behind(
    total: int, parts: list[int]
) -> None:
    """Largest remainder, the slow way: whole shares first, then one unit at a time."""
    scale = sum(parts)
    shares = [total * weight // scale for weight in parts]
    left = [Fraction(total * weight, scale) - s for weight, s in zip(parts, shares, strict=True)]
    for _ in range(total - sum(shares)):
        furthest = left.index(max(left))
        shares[furthest] += 1
        left[furthest] = Fraction(-1)
    assert allocate(total, parts) == shares
