"""Money: ISO 4217 digits, exact amounts, the one rounding, the one allocation (K5, K7)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from taximeter.errors import Rejected
from taximeter.money import (
    EXPONENTS,
    Money,
    allocate,
    exponent,
    format_exact,
    format_minor,
    parse_amount,
    round_minor,
    whole_minor,
)


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("JPY", 0),
        ("KRW", 0),
        ("ISK", 0),
        ("USD", 2),
        ("EUR", 2),
        ("HUF", 2),
        ("KWD", 3),
        ("CLF", 4),
    ],
)
def test_a_currency_has_the_digits_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDT", "XAU", "XXX", "BTC", "DEM"])
def test_what_is_no_active_currency_is_refused(currency: str) -> None:
    with pytest.raises(Rejected) as caught:
        exponent(currency)
    assert caught.value.code == "unknown_currency"


def test_every_code_is_three_capitals() -> None:
    assert all(len(c) == 3 and c.isascii() and c.isupper() and c.isalpha() for c in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3, 4}


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (49, Fraction(49)),
        ("0.10", Fraction(1, 10)),
        (Decimal("0.000000000001"), Fraction(1, 10**12)),
        ("-5", Fraction(-5)),
    ],
)
def test_an_amount_is_read_exactly(value: int | Decimal | str, amount: Fraction) -> None:
    assert parse_amount(value) == amount


@pytest.mark.parametrize("value", ["", "1,00", "$1", True, 0.1, "0.0000000000001", Decimal("NaN")])
def test_what_is_no_exact_decimal_is_an_invalid_amount(value: object) -> None:
    with pytest.raises(Rejected) as caught:
        parse_amount(value)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_amount"


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("0.005", "USD", 1),
        ("-0.005", "USD", -1),
        ("0.015", "USD", 2),
        ("0.025", "USD", 3),
        ("0.0049999", "USD", 0),
        ("-0.0049999", "USD", 0),
        ("1.5", "JPY", 2),
        ("-2.5", "JPY", -3),
        ("0.0005", "KWD", 1),
        ("1e20", "USD", 10**22),
    ],
)
def test_rounding_is_half_up_with_ties_away_from_zero(
    amount: str, currency: str, minor: int
) -> None:
    assert round_minor(Fraction(amount), currency) == minor


def test_a_third_rounds_by_its_exact_value() -> None:
    assert round_minor(Fraction(1, 3), "USD") == 33
    assert round_minor(Fraction(2, 3), "USD") == 67


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (15700, "USD", "157.00"),
        (5, "USD", "0.05"),
        (-5, "USD", "-0.05"),
        (-15700, "USD", "-157.00"),
        (157, "JPY", "157"),
        (-157, "JPY", "-157"),
        (1, "KWD", "0.001"),
        (0, "USD", "0.00"),
    ],
)
def test_minor_units_are_written_with_the_currency_s_digits(
    minor: int, currency: str, text: str
) -> None:
    assert format_minor(minor, currency) == text


@pytest.mark.parametrize(
    ("amount", "min_digits", "text"),
    [
        (Fraction(1, 8), 0, "0.125"),
        (Fraction(1, 10), 2, "0.10"),
        (Fraction(1, 10), 0, "0.1"),
        (Fraction(-1, 1000), 2, "-0.001"),
        (Fraction(100), 0, "100"),
        (Fraction(100), 2, "100.00"),
        (Fraction(0), 2, "0.00"),
        (Fraction(1, 10**24), 0, "0." + "0" * 23 + "1"),
        (Fraction(49, 31), 2, "49/31"),
    ],
)
def test_an_exact_amount_is_written_with_all_its_digits(
    amount: Fraction, min_digits: int, text: str
) -> None:
    assert format_exact(amount, min_digits) == text
    assert Fraction(text) == amount


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (1, [1, 1], [1, 0]),
        (10, [1, 2, 0], [3, 7, 0]),
        (5, [3, 7], [2, 3]),
        (0, [1, 2], [0, 0]),
        (7, [1], [7]),
    ],
)
def test_allocation_gives_the_rest_to_the_largest_remainder_then_the_lower_index(
    total: int, weights: list[int], parts: list[int]
) -> None:
    assert allocate(total, weights) == parts


def test_money_shows_its_amount_as_text_with_its_currency() -> None:
    assert Money(1234, "USD").to_json() == {"amount": "12.34", "currency": "USD"}


@pytest.mark.parametrize(
    ("minor", "expected"), [("1/2", 1), ("-1/2", -1), ("3/2", 2), ("49/100", 0), ("7", 7)]
)
def test_a_share_of_minor_units_is_rounded_like_money(minor: str, expected: int) -> None:
    assert whole_minor(Fraction(minor)) == expected  # K5
