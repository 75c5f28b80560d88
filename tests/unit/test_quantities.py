"""Quantities: exact, 26 + 12 digits, refused in constant time when outside (K18)."""

from __future__ import annotations

import time
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.errors import Rejected
from taximeter.quantities import E12, MAX_PICO, exact_pico, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("value", "pico"),
    [
        (0, 0),
        (812, 812 * E12),
        (-3, -3 * E12),
        (10**26 - 1, (10**26 - 1) * E12),
        ("0.5", E12 // 2),
        ("-0.000000000001", -1),
        ("1e3", 1000 * E12),
        ("15E-1", 15 * E12 // 10),
        ("1.5000000000000000", 15 * E12 // 10),
        ("99999999999999999999999999.999999999999", MAX_PICO),
        (Decimal("12.5"), 125 * E12 // 10),
        (Decimal("-0"), 0),
        (Decimal("1E+25"), 10**25 * E12),
        (Decimal("0E-99999"), 0),
    ],
)
def test_a_quantity_is_read_exactly(value: int | Decimal | str, pico: int) -> None:
    assert parse_quantity(value) == pico


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        1.0,
        None,
        [],
        {},
        b"1",
        "",
        " 1",
        "1 ",
        "+1",
        ".5",
        "1.",
        "007",
        "1_000",
        "1,5",
        "0x10",
        "NaN",
        "Infinity",
        "١",
        "1e",
        "--1",
        10**26,
        -(10**26),
        "100000000000000000000000000",
        "0.0000000000001",
        "1e26",
        "1e-13",
        "1e999999999999999999999",
        "1." + "0" * 100,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("1E+26"),
        Decimal("1E-13"),
        Decimal("1.0000000000001"),
    ],
)
def test_what_is_no_such_decimal_is_an_invalid_quantity(value: object) -> None:
    assert exact_pico(value) is None
    with pytest.raises(Rejected) as caught:
        parse_quantity(value)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_quantity"


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1E+300000"),
        Decimal("1E-300000"),
        Decimal("-1E+999999999999"),
        Decimal("9" * 250_000),
        "1E+999999999",
        "9" * 250_000,
        10**250_000,
    ],
    ids=["1E+300000", "1E-300000", "-1E+12 digits", "250,000 nines", "text", "long text", "int"],
)
def test_huge_numbers_are_refused_without_writing_them_out(value: int | Decimal | str) -> None:
    started = time.process_time()
    for _ in range(100):
        assert exact_pico(value) is None
    assert time.process_time() - started < 0.5, "int(Decimal('1E+300000')) alone takes seconds"


def test_the_caller_s_decimal_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        assert parse_quantity(Decimal("123456.789")) == 123_456_789 * E12 // 1000
        assert exact_pico(Decimal("1E-13")) is None


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (812 * E12, "812"),
        (E12 // 2, "0.5"),
        (-3 * E12, "-3"),
        (-1, "-0.000000000001"),
        (0, "0"),
        (1000 * E12, "1000"),
        (MAX_PICO, "99999999999999999999999999.999999999999"),
    ],
)
def test_a_quantity_is_written_plainly(pico: int, text: str) -> None:
    assert format_quantity(pico) == text


@given(pico=st.integers(-MAX_PICO, MAX_PICO))
def test_every_quantity_reads_back_from_its_text_and_its_decimal(pico: int) -> None:
    text = format_quantity(pico)
    assert parse_quantity(text) == pico
    assert parse_quantity(Decimal(text)) == pico


@given(digits=st.integers(-(10**45), 10**45), exponent=st.integers(-40, 40))
def test_a_decimal_is_accepted_exactly_when_it_is_a_whole_number_of_pico_in_bounds(
    digits: int, exponent: int
) -> None:
    power = exponent + 12
    scaled, rest = (digits * 10**power, 0) if power >= 0 else divmod(digits, 10**-power)
    expected = scaled if rest == 0 and abs(scaled) <= MAX_PICO else None
    assert (
        exact_pico(Decimal((digits < 0, tuple(map(int, str(abs(digits)))), exponent))) == expected
    )
