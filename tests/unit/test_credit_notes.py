"""Credit notes by example and against what has to hold of all of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taximeter.errors import Rejected
from taximeter.invoices.applied import AppliedDiscount, AppliedTax, LineDiscount
from taximeter.invoices.credit_note import (
    CreditLine,
    CreditNote,
    amount_of_quantity,
    amounts_of_total,
    credit_note_bytes,
    draft_note,
    left_of,
    left_of_lines,
    parse_credit_note,
    taxed_lines,
)
from taximeter.invoices.invoice import Invoice, Kind, Line, Status
from taximeter.money import round_minor
from taximeter.periods import Period
from taximeter.quantities import E12


def line(number: int, minor: int, category: str = "", off: int = 0, units: int = 1) -> Line:
    return Line(
        id=f"line_{number}",
        kind=Kind.FLAT,
        description=f"fee {number}",
        price="pro/fee@1",
        period=Period(0, 10),
        quantity_pico=units * E12,
        amount_minor=minor,
        tax_category=category,
        discounts=(LineDiscount("d", off),) if off else (),
    )


def tax(lines: list[Line], rate: str, category: str = "", *, inclusive: bool = False) -> AppliedTax:
    """K6: on the sum of its lines, rounded once."""
    base = sum(one.net_minor for one in lines if one.tax_category == category)
    part = Fraction(rate) / (1 + Fraction(rate)) if inclusive else Fraction(rate)
    amount = round_minor(base * part / 100, "EUR")
    taxable = base - amount if inclusive else base
    return AppliedTax("VAT", "DE", category, Fraction(rate), taxable, amount, inclusive)


def invoice(lines: list[Line], taxes: tuple[AppliedTax, ...] = ()) -> Invoice:
    off = sum(one.amount_minor - one.net_minor for one in lines)
    return Invoice(
        id="inv_1",
        customer="acme",
        subscription="sub_1",
        currency="EUR",
        period=Period(0, 10),
        lines=tuple(lines),
        status=Status.ISSUED,
        number="INV-000001",
        discounts=(AppliedDiscount("d", "", off),) if off else (),
        taxes=taxes,
    )


def note(of: Invoice, earlier: list[CreditNote], total: int | None = None,
         **amounts: int) -> CreditNote:  # fmt: skip
    if total is not None:
        amounts = amounts_of_total(of, earlier, total)
    lines = [CreditLine(line=k, description=k, amount_minor=v) for k, v in amounts.items()]
    number = f"CN-{len(earlier) + 1:06}"
    return draft_note(of, earlier, lines, note_id=f"n{len(earlier)}", number=number, at=7,
                      reason="why", total_minor=total)  # fmt: skip


def test_tax_is_given_back_by_category() -> None:
    lines = [line(1, 10000), line(2, 5000, "book")]
    billed = invoice(lines, (tax(lines, "0.19"), tax(lines, "0.07", "book")))
    back = note(billed, [], line_2=1000)
    assert [(one.category, one.taxable_minor, one.amount_minor) for one in back.taxes] == [
        ("book", 1000, 70)
    ]
    assert back.total_minor == 1070


def test_a_tax_in_the_prices_is_a_part_of_what_is_given_back() -> None:
    lines = [line(1, 11900)]
    billed = invoice(lines, (tax(lines, "0.19", inclusive=True),))
    back = note(billed, [], line_1=1190)
    assert (back.total_minor, back.tax_minor, back.nets) == (1190, 190, {"line_1": 1000})


def test_a_standard_rate_is_on_the_lines_without_a_rate_of_their_own() -> None:
    lines = [line(1, 10000), line(2, 5000, "software"), line(3, 700, "book")]
    standard = AppliedTax("VAT", "DE", "", Fraction("0.19"), 15000, 2850)
    billed = invoice(lines, (standard, tax(lines, "0.07", "book")))
    assert [one.id for one in taxed_lines(billed, standard)] == ["line_1", "line_2"]


def test_no_more_of_a_line_than_it_is_behind_its_discounts() -> None:
    billed = invoice([line(1, 1000, off=100), line(2, 500)])
    assert left_of_lines(billed, [note(billed, [], line_1=300)]) == {"line_1": 600, "line_2": 500}
    with pytest.raises(Rejected, match=r"9\.00 EUR left"):
        note(billed, [], line_1=901)


def test_no_more_of_an_invoice_than_negative_lines_leave() -> None:
    billed = invoice([line(1, 1000), line(2, -400)])
    with pytest.raises(Rejected, match=r"6\.00 EUR left"):
        note(billed, [], line_1=601)


def test_a_part_of_a_quantity_is_rounded_once() -> None:
    """K5: 1/3 of 1.00 is 0.33, 2/3 are 0.67."""
    third = line(1, 100, units=3)
    assert [amount_of_quantity(third, n * E12, "EUR") for n in (1, 2, 3)] == [33, 67, 100]


def test_its_bytes_say_all_of_it() -> None:
    lines = [line(1, 10000)]
    back = note(invoice(lines, (tax(lines, "0.19"),)), [], line_1=333)
    assert parse_credit_note(credit_note_bytes(back)) == back


AMOUNTS = st.lists(st.integers(1, 50_000), min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    AMOUNTS,
    st.sampled_from(["0.19", "0.07", "0.255", "0.081"]),
    st.booleans(),
    st.lists(st.integers(1, 100), max_size=6),
)
def test_parts_add_up_to_the_invoice_and_never_above(
    amounts: list[int], rate: str, inclusive: bool, shares: list[int]
) -> None:
    """K6, K7: whatever is taken back first, everything is the invoice, tax by tax."""
    lines = [line(n, minor, off=minor // 3) for n, minor in enumerate(amounts)]
    billed = invoice(lines, (tax(lines, rate, inclusive=inclusive),))
    notes: list[CreditNote] = []
    for share in shares:
        total = left_of(billed, notes) * share // 200
        if total and any(amounts_of_total(billed, notes, total).values()):
            one = note(billed, notes, total)
            assert one.total_minor == total
            assert all(part.amount_minor >= 0 for part in one.taxes)
            assert sum(one.nets.values()) + one.tax_minor == total
            notes.append(one)
    left = left_of_lines(billed, notes)
    if left:
        notes.append(note(billed, notes, **left))
    assert left_of(billed, notes) == 0
    assert sum(one.tax_minor for one in notes) == billed.tax_minor
    assert sum(one.subtotal_minor for one in notes) == sum(one.net_minor for one in lines)
