"""Values of events as quantities, distinct things and dimensions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.meters.values import canonical_text, dimension_value, number_text, quantity_pico


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (Decimal("-0.00"), "0"),
        (Decimal("1.00"), "1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-12.50"), "-12.5"),
        (Decimal("0.001"), "0.001"),
        (Decimal("0.50"), "0.5"),
        (Decimal("1E-38"), "0." + "0" * 37 + "1"),
        (Decimal("1E-39"), "1e-39"),
        (10**37, "1" + "0" * 37),
        (10**38, "1e38"),
        (Decimal("1.25E+999999"), "1.25e999999"),
    ],
)
def test_a_number_has_one_short_text(number: int | Decimal, text: str) -> None:
    assert number_text(number) == text


def test_a_number_too_long_for_python_to_write_still_has_a_text() -> None:
    assert number_text(-(10**5000)) == "-1e5000"
    with pytest.raises(Rejected, match="found a huge number"):
        quantity_pico(10**5000, "data.x")


@pytest.mark.parametrize("n", [10**37, 10**38, 10**38 - 1, 123 * 10**40, -(10**38)])
def test_an_integer_and_an_equal_decimal_have_the_same_text(n: int) -> None:
    assert number_text(n) == number_text(Decimal(n))


def test_canonical_text_sorts_members_and_has_no_blanks() -> None:
    value = {"b": [1, Decimal("1.50"), None], "a": {"é": True, "A": "x\n\"'"}}
    assert canonical_text(value) == r"""{"a":{"A":"x\n\"'","é":true},"b":[1,1.5,null]}"""


def test_numbers_and_strings_are_distinct_but_spellings_of_a_number_are_not() -> None:
    assert canonical_text(1) == canonical_text(Decimal("1.0")) != canonical_text("1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("opus", "opus"),
        ("", ""),
        (Decimal("1.50"), "1.5"),
        (1, "1"),
        (True, "true"),
        (False, "false"),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ([], "[]"),
    ],
)
def test_a_dimension_is_text_or_missing(value: Any, text: str | None) -> None:
    assert dimension_value(value) == text


@pytest.mark.parametrize(
    ("value", "pico"),
    [
        (3, 3 * 10**12),
        ("0.5", 5 * 10**11),
        (Decimal("-1E-12"), -1),
        (10**26 - 1, (10**26 - 1) * 10**12),
    ],
)
def test_a_quantity_is_exact(value: Any, pico: int) -> None:
    assert quantity_pico(value, "data.x") == pico


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "the boolean true"),
        ("many", "the string 'many'"),
        ("", "the string ''"),
        (10**26, "the number 1000"),
        (10**40, "a huge number"),
        (Decimal("1E-13"), "the number 1E-13"),
        ({}, "an object"),
        ([1], "a list"),
        ("x" * 5000, "the string 'xxx"),
        (Decimal("1E+999999"), "the number 1E+999999"),
    ],
)
def test_what_is_no_quantity_is_named_with_its_path(value: Any, found: str) -> None:
    with pytest.raises(Rejected) as refused:
        quantity_pico(value, "data.tokens")
    assert refused.value.code == "invalid_quantity"
    assert refused.value.message.startswith(
        "data.tokens: expected a decimal number with at most 26 integer and 12 fractional digits, "
        f"found {found}"
    )
    assert len(refused.value.message) < 200
