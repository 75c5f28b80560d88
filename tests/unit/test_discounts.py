"""Discounts: what is taken off which line, in which order, in which periods (K7, K10)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from taximeter.errors import Rejected
from taximeter.invoices.applied import AppliedDiscount
from taximeter.invoices.coupons import CustomerDiscount, is_given_until
from taximeter.invoices.discount_documents import Periods, TermsDocument, dump_terms, read_terms
from taximeter.invoices.discounts import Discount, apply_discounts, total_of
from taximeter.invoices.invoice import Kind, Line
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import RatedTier

MONTH = Period(0, 30 * 86_400_000_000)
HALF = Discount(id="half", percent=Fraction(1, 2))
TEN = Discount(id="ten", amount_minor=1_000, currency="EUR")


def line(amount: int, price: str = "tokens", kind: Kind = Kind.USAGE, **members: Any) -> Line:
    return Line(
        id=f"line_{price}",
        kind=kind,
        description=price,
        price=f"pro/{price}@3",
        period=MONTH,
        quantity_pico=E12,
        amount_minor=amount,
        **members,
    )


def tier(units: int, unit: str, flat: str = "0") -> RatedTier:
    return RatedTier(units * E12, Fraction(unit), Fraction(flat))


def given(
    lines: list[Line],
    *discounts: Discount,
    currency: str = "EUR",
    before: dict[str, int] | None = None,
) -> list[list[int]]:
    """What falls on each line, of each discount that does."""
    after, applied = apply_discounts(lines, discounts, currency, before)
    totals: dict[str, int] = {}
    for one in after:
        for part in one.discounts:
            totals[part.id] = totals.get(part.id, 0) + part.amount_minor
    assert {one.id: one.amount_minor for one in applied} == totals
    return [[part.amount_minor for part in one.discounts] for one in after]


def test_a_percentage_is_rounded_once_and_falls_on_its_lines_by_largest_remainder() -> None:
    """K5, K7: a third of 1.00 is 0.33 over 0.33, 0.33, 0.34, not three times 0.11."""
    third = Discount(id="d", percent=Fraction(1, 3))
    assert given([line(33), line(33), line(34)], third) == [[11], [11], [11]]
    assert given([line(1), line(1), line(1)], third) == [[1], [], []], "ties to the lower index"
    assert given([line(1)], HALF) == [[1]], "half a cent goes away from zero"


def test_each_discount_is_put_on_what_those_before_it_have_left() -> None:
    assert given([line(5_000)], TEN, HALF) == [[1_000, 2_000]]
    assert given([line(5_000)], HALF, TEN) == [[2_500, 1_000]]


def test_no_discount_takes_more_than_there_is() -> None:
    assert given([line(600), line(300)], TEN) == [[600], [300]]
    assert given([line(600)], TEN, HALF) == [[600]]
    assert given([line(0)], HALF) == [[]]


def test_a_cap_takes_part_so_that_a_share_is_of_what_is_due() -> None:
    """K10: the cap comes before discounts."""
    capped = [line(10_000), line(-2_000, "cap", Kind.MAXIMUM)]
    assert given(capped, HALF) == [[4_000], []]
    assert given([line(1_000), line(-1_000, "cap", Kind.MAXIMUM)], HALF) == [[], []]


def test_an_adjustment_of_an_old_period_is_left_as_it_is() -> None:
    assert given([line(1_000), line(500, kind=Kind.ADJUSTMENT)], HALF) == [[500], []]


def test_an_amount_is_for_invoices_in_its_own_currency() -> None:
    assert given([line(5_000)], TEN, currency="USD") == [[]]


@pytest.mark.parametrize(
    ("prices", "parts"),
    [
        ((), [[500], [50]]),
        (("tokens",), [[500], []]),
        (("pro/base",), [[], [50]]),
        (("basic/base", "tok"), [[], []]),
    ],
)
def test_a_discount_is_for_the_prices_it_names(
    prices: tuple[str, ...], parts: list[list[int]]
) -> None:
    some = Discount(id="some", percent=Fraction(1, 2), prices=prices)
    assert given([line(1_000), line(100, "base", Kind.FLAT)], some) == parts


def test_a_price_of_an_add_on_is_named_by_it_in_whatever_plan() -> None:
    pack = replace(line(1_000), price="pro+boost/pack@3")
    for name, parts in (("boost/pack", [500]), ("pro+boost/pack", [500]), ("pro/pack", [])):
        some = Discount(id="some", percent=Fraction(1, 2), prices=(name,))
        assert given([pack], some) == [parts]


def free(units: int) -> Discount:
    return Discount(id="free", free_pico=units * E12, prices=("tokens",))


def test_free_units_are_the_first_ones_at_what_those_cost() -> None:
    """1,000 at 0.10 and 1,500 at 0.08 with a fee of 2: 1,200 free units are 100 + 16."""
    tiers = (tier(1_000, "0.10"), tier(1_500, "0.08", flat="2"))
    assert given([line(22_200, tiers=tiers)], free(1_200)) == [[11_600]]
    assert given([line(22_200, tiers=tiers)], free(9_999)) == [[22_000]], "the fee stays"
    assert given([line(22_200, tiers=tiers)], free(1_200), HALF) == [[11_600, 5_300]]
    assert given([line(22_200, tiers=tiers)], HALF, free(1_200)) == [[11_100, 5_800]]


def test_free_units_are_used_up_line_by_line() -> None:
    lines = [line(500, tiers=(tier(5, "1"),)), line(1_600, tiers=(tier(8, "2"),))]
    assert given(lines, free(6)) == [[500], [200]]


def test_free_units_neither_waive_a_minimum_nor_count_beyond_a_maximum() -> None:
    ten = (tier(10, "1"),)
    lifted = line(4_900, tiers=ten, adjustment=Fraction(39))
    assert given([lifted], free(10)) == [[1_000]]
    capped = line(500, tiers=ten, adjustment=Fraction(-5))
    assert given([capped], free(5)) == [[250]]


def test_free_units_of_a_multiplied_price_are_worth_what_they_cost() -> None:
    doubled = line(2_000, tiers=(tier(10, "1"),), multiplier=Fraction(2))
    assert given([doubled], free(5)) == [[1_000]]


def test_a_period_that_was_billed_in_part_has_each_discount_once() -> None:
    """Usage of 100.00 was billed on account, with 10.00 off, or half, or 60 of 1,000 units free."""
    tiers = (tier(1_500, "0.10"),)
    rest = [line(15_000, tiers=tiers), line(-10_000, kind=Kind.ON_ACCOUNT)]
    assert given(rest, TEN, before={"ten": 1_000}) == [[], []]
    assert given(rest, TEN, before={"ten": 400}) == [[600], []]
    assert given(rest, HALF, before={"half": 5_000}) == [[2_500], []]
    assert given(rest, free(1_000), before={"free": 6_000}) == [[4_000], []]


def test_what_one_discount_gave_on_several_parts_of_an_invoice_is_shown_once() -> None:
    parts = [
        AppliedDiscount("a", "A", 5),
        AppliedDiscount("b", "B", 1),
        AppliedDiscount("a", "A", 2),
    ]
    assert total_of(parts) == (AppliedDiscount("a", "A", 7), AppliedDiscount("b", "B", 1))


# --- periods ----------------------------------------------------------------------------------


def test_a_discount_is_given_from_the_period_that_contains_its_instant_until_it_ends() -> None:
    goes_on = CustomerDiscount(id="d", customer="acme", terms=HALF, given_at=50)
    assert [is_given_until(goes_on, end) for end in (50, 51, 200)] == [False, True, True]
    ended = replace(goes_on, ended_at=100)
    assert [is_given_until(ended, end) for end in (100, 101)] == [True, False]


# --- documents --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        TermsDocument(percent="12.5", duration="forever"),
        TermsDocument(name="Ten", amount="10.00", currency="EUR", duration="once"),
        TermsDocument(free_units="0.5", prices=("tokens",), duration=Periods(3)),
        TermsDocument(amount="7", currency="JPY", prices=("a", "pro/b"), duration="once"),
        TermsDocument(amount="0.001", currency="KWD", duration="once"),
    ],
)
def test_terms_are_read_and_written_without_loss(document: TermsDocument) -> None:
    terms = read_terms(document, "d", periods=None)
    again = read_terms(TermsDocument(**dump_terms(terms) | {"prices": terms.prices,
                                                           "duration": document.duration}),
                       "d", periods=None)  # fmt: skip
    assert again == terms


def test_a_mistake_in_terms_names_the_place_it_is_at() -> None:
    with pytest.raises(Rejected, match=r"discounts\[2\]\.percent"):
        read_terms(TermsDocument(percent="200"), "d", periods=None, where="discounts[2].")
