"""
E-invoices: valid by the published schemas and rules of EN 16931, exact to the cent, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace
from tests import papers
from tests.einvoices import problems_of
from tests.papers import LINES, discounted, fee, invoice, paper, tax, usage

from taximeter.documents.cii import cii
from taximeter.documents.einvoice import EInvoice, einvoice_of
from taximeter.documents.nets import nets_of, spread
from taximeter.documents.paper import Paper
from taximeter.documents.ubl import ubl
from taximeter.errors import Rejected
from taximeter.invoices.invoice import Adjusts, Invoice, Kind, Status
from taximeter.parties import Party
from taximeter.quantities import E12
from taximeter.rating import RatedTier

FOOD = fee(1070, id="line_9", description="books", tax_category="reduced")
BOTH = (*LINES, FOOD)
WIDE = (
    discounted(LINES[0], ("launch", 490)),
    discounted(papers.TIERED, ("launch", 1570), ("loyal", 100)),
    discounted(FOOD, ("launch", 107)),
)
BACK = fee(
    -1234, id="line_5", kind=Kind.ADJUSTMENT,
    adjusts=Adjusts("inv_00", "INV-000001", papers.PERIOD, 2000, 766),
)  # fmt: skip
YEN = (usage(1234567, 1234567, RatedTier(1234567 * E12, Fraction(1))),)
OTHER_EU = replace(papers.BUYER, country="FR", tax_id="FR12345678901")

PAPERS: dict[str, Paper] = {
    "simple": paper(),
    "several rates": paper(
        invoice(BOTH, taxes=(tax(BOTH), tax(BOTH, "0.07", category="reduced")))
    ),
    "two categories of one rate": paper(
        invoice(BOTH, taxes=(tax(BOTH), tax(BOTH, category="reduced")))
    ),
    "reverse charge": paper(invoice(taxes=(tax(LINES, "0", note="reverse_charge"),))),
    "exempt": paper(invoice(taxes=(tax(LINES, "0", note="exempt"),))),
    "partly exempt": paper(
        invoice(BOTH, taxes=(tax(BOTH), tax(BOTH, "0", category="reduced", note="exempt")))
    ),
    "zero rated": paper(invoice(taxes=(tax(LINES, "0"),))),
    "without any tax": paper(invoice(taxes=())),
    "discounts of the document and of a line": paper(
        invoice(WIDE, taxes=(tax(WIDE), tax(WIDE, "0.07", category="reduced")))
    ),
    "prices that include tax": paper(
        invoice(WIDE, taxes=(
            tax(WIDE, inclusive=True), tax(WIDE, "0.07", category="reduced", inclusive=True),
        ))
    ),
    "credits": paper(invoice(credits=(papers.credit(10000), papers.credit(5000, "b")))),
    "paid by credits altogether": paper(
        invoice((fee(10000),), credits=(papers.credit(11900),))
    ),
    "nothing to pay": paper(invoice((fee(0), usage(0, 0)))),
    "a correction": paper(invoice((fee(4900), BACK))),
    "less than nothing": paper(invoice((BACK,))),
    "credit note": papers.credit_note(),
    "no due day": paper(invoice(due_at=None)),
    "a tax id that is no VAT id": paper(
        invoice(issuer=replace(papers.ISSUER, tax_id="12/345/67890"))
    ),
    "yen": paper(invoice(YEN, currency="JPY", taxes=(tax(YEN, "0.1", currency="JPY"),))),
    "dinars of two digits": paper(
        invoice((fee(10000),), currency="KWD", taxes=(tax((fee(10000),), "0.1"),))
    ),
    "hostile text": paper(
        invoice((fee(100, description='<a x="&">]]>&#0;\x00\x0b\u202e'), fee(1, id="l<>&")))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("syntax", [cii, ubl])
def test_the_published_schema_and_rules_find_nothing_wrong(
    name: str, syntax: Callable[[EInvoice], bytes]
) -> None:
    xml = syntax(einvoice_of(PAPERS[name]))
    assert problems_of(xml) == []
    assert xml == syntax(einvoice_of(PAPERS[name])), "the same bytes again (K20)"


def test_the_judge_finds_what_is_wrong() -> None:
    xml = cii(einvoice_of(paper()))
    wrong = re.sub(rb"<ram:GrandTotalAmount>[^<]*", b"<ram:GrandTotalAmount>1.00", xml)
    assert any("BR-CO-15" in one for one in problems_of(wrong))
    broken = xml.replace(b"<ram:TypeCode>380</ram:TypeCode>", b"", 1)
    assert problems_of(broken)[0].startswith("XSD: ")


@pytest.mark.parametrize("name", PAPERS)
def test_it_says_the_same_amounts_as_the_invoice(name: str) -> None:
    of = PAPERS[name].invoice
    digits = {"JPY": 0, "KWD": 3}.get(of.currency, 2)
    einvoice = einvoice_of(PAPERS[name])

    def minor(text: str) -> int:
        return int(Decimal(text).scaleb(digits))

    assert minor(einvoice.grand_total) == of.total_minor
    assert minor(einvoice.payable) == of.amount_due_minor
    assert minor(einvoice.prepaid) == of.credits_applied_minor
    assert minor(einvoice.tax_total) == of.tax_minor
    assert sum(minor(one.amount) for one in einvoice.taxes) == of.tax_minor
    for line in einvoice.lines:
        price, base = Fraction(line.price), Fraction(line.base or 1)
        taken = sum(Fraction(one.amount) for one in line.allowances)
        reckoned = Fraction(line.quantity) * price / base - taken
        assert abs(reckoned - Fraction(line.net)) <= Fraction(1, 2 * 10**digits), line


def test_a_discount_on_one_line_is_the_lines_and_on_several_the_documents_by_rate() -> None:
    einvoice = einvoice_of(PAPERS["discounts of the document and of a line"])
    wide = [(one.reason, one.amount, one.vat and one.vat.percent) for one in einvoice.allowances]
    assert wide == [("launch deal", "20.60", "19"), ("launch deal", "1.07", "7")]
    own = {line.id: [(a.reason, a.amount) for a in line.allowances] for line in einvoice.lines}
    assert own == {"line_1": [], "line_2": [("loyal deal", "1.00")], "line_9": []}


def test_tiers_have_no_unit_price_so_the_amount_is_for_all_units() -> None:
    flat, tiered, images = einvoice_of(paper()).lines
    assert (flat.quantity, flat.price, flat.base) == ("1", "49.00", None)
    assert (tiered.quantity, tiered.price, tiered.base) == ("2500", "157.00", "2500")
    assert "1,000 × 0.10 = 100.00" in tiered.description
    assert (images.price, images.base) == ("49381.87", "1234567"), "20 of them were free"
    (plain,) = einvoice_of(PAPERS["yen"]).lines
    assert (plain.quantity, plain.price, plain.base) == ("1234567", "1", None)


def test_a_period_is_its_first_and_last_day_where_the_customer_is() -> None:
    days = einvoice_of(paper()).days
    assert (days.first.isoformat(), days.last.isoformat()) == ("2026-11-01", "2026-11-30")


def missing(one: Paper) -> str:
    with pytest.raises(Rejected) as refused:
        einvoice_of(one)
    assert refused.value.code == "einvoice_incomplete"
    return str(refused.value.details["missing"])


def test_what_is_missing_is_told_all_at_once() -> None:
    assert missing(paper(papers.draft(()))) == (
        "a number (it is a draft), a line, issuer.name, issuer.country, billed_to.name, "
        "billed_to.country, issuer.tax_id"
    )
    assert missing(paper(invoice(billed_to=Party(name="Acme")))) == "billed_to.country"
    assert missing(paper(status=Status.VOID)) == "validity (it is void)"
    reverse = (tax(LINES, "0", note="reverse_charge"),)
    bare = replace(papers.BUYER, tax_id="12345")
    assert "billed_to.tax_id" in missing(paper(invoice(taxes=reverse, billed_to=bare)))


def test_what_the_standard_cannot_say_is_refused() -> None:
    fils = invoice((fee(10001),), currency="KWD", taxes=())
    assert "two digits" in missing(paper(fils))
    sales = replace(tax(LINES), name="Sales tax", jurisdiction="US-CA")
    assert "Sales tax of US-CA is none" in missing(paper(invoice(taxes=(sales,))))
    two = (tax(LINES), tax(LINES, "0.05"))
    assert missing(paper(invoice(taxes=two))).startswith("one VAT rate for each line")
    assert "one VAT rate" in missing(paper(invoice(BOTH))), "taxed on less than its lines"


def test_a_category_without_a_rate_of_its_own_has_the_standard_one() -> None:
    """As taxes are decided: of the category before the standard one, and reverse charge for all."""
    together = [replace(line, tax_category="") for line in BOTH]
    for applied in (tax(together), tax(together, "0", note="reverse_charge")):
        einvoice = einvoice_of(paper(invoice(BOTH, taxes=(applied,))))
        assert len({line.vat for line in einvoice.lines}) == len(einvoice.taxes) == 1
        assert problems_of(ubl(einvoice)) == []


def test_what_cannot_be_told_by_line_still_adds_up_in_rows() -> None:
    """K7: as from a tax engine outside, two taxes in the prices of the same lines."""
    taxes = tuple(replace(tax(LINES, rate, inclusive=True), name=rate) for rate in ("0.05", "0.07"))
    of = invoice(taxes=taxes)
    assert sum(net.net_minor for net in nets_of(of)) + of.tax_minor == of.total_minor


def test_text_from_outside_stays_text() -> None:
    tree = etree.fromstring(cii(einvoice_of(PAPERS["hostile text"])))
    names = [one.text for one in tree.iter("{*}Name")]
    assert '<a x="&">]]>&#0;  [U+202E]' in names


CATEGORIES = {"": "0.19", "reduced": "0.07", "free": "0"}


@st.composite
def any_invoice(draw: st.DrawFn) -> Invoice:
    """Lines of three categories, discounts on some or all, tax beside the prices or in them."""
    amounts = st.integers(-20_000, 200_000)
    chosen = st.tuples(amounts, st.sampled_from(list(CATEGORIES)), st.integers(0, 3))
    lines = []
    for place, (minor, category, some) in enumerate(draw(st.lists(chosen, min_size=1, max_size=6))):
        line = fee(minor, id=str(place), tax_category=category, quantity_pico=some * E12)
        offs = [("wide", 7), ("narrow", 100)][: min(some, 2)] if minor > 200 else []
        lines.append(discounted(line, *offs))
    inclusive = draw(st.booleans())
    taxes = [
        tax(lines, rate, category=category, inclusive=inclusive)
        for category, rate in CATEGORIES.items()
        if any(line.tax_category == category for line in lines)
    ]
    paid = draw(st.integers(0, 1000))
    return invoice(lines, taxes=tuple(taxes), credits=(papers.credit(paid),) if paid else ())


@settings(max_examples=50, deadline=None)
@given(any_invoice())
def test_totals_follow_from_lines_allowances_and_taxes(of: Invoice) -> None:
    """The sums the standard asks for (BR-CO-10 to BR-CO-16, BR-S-08)."""
    said = einvoice_of(paper(of))
    lines = sum(Decimal(line.net) for line in said.lines)
    allowances = sum(Decimal(one.amount) for one in said.allowances)
    assert Decimal(said.line_total) == lines
    assert Decimal(said.allowance_total) == allowances
    assert Decimal(said.tax_basis) == lines - allowances
    assert Decimal(said.tax_total) == sum(Decimal(one.amount) for one in said.taxes)
    assert Decimal(said.grand_total) == Decimal(said.tax_basis) + Decimal(said.tax_total)
    assert Decimal(said.payable) == Decimal(said.grand_total) - Decimal(said.prepaid)
    for one in said.taxes:
        under = sum(Decimal(line.net) for line in said.lines if line.vat == one.vat)
        under -= sum(Decimal(taken.amount) for taken in said.allowances if taken.vat == one.vat)
        assert Decimal(one.taxable) == under


@settings(max_examples=12, deadline=None)
@given(any_invoice(), st.sampled_from([cii, ubl]))
def test_the_judge_finds_nothing_wrong_with_any_invoice(
    of: Invoice, syntax: Callable[[EInvoice], bytes]
) -> None:
    assert problems_of(syntax(einvoice_of(paper(of)))) == []


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-10_000, 100_000), min_size=1, max_size=8),
    st.sampled_from(["0", "0.07", "0.19", "0.0825", "0.25"]),
)
def test_lines_without_the_tax_in_them_add_up_to_its_base(amounts: list[int], rate: str) -> None:
    """K6, K7: each share is at most one unit from the exact one, and none is lost."""
    lines = [fee(amount, id=str(place)) for place, amount in enumerate(amounts)]
    applied = tax(lines, rate, inclusive=True)
    nets = nets_of(invoice(lines, taxes=(applied,)))
    assert sum(net.net_minor for net in nets) == applied.taxable_minor
    for net, amount in zip(nets, amounts, strict=True):
        assert abs(net.net_minor - Fraction(amount) / (1 + Fraction(rate))) < 1


def test_what_is_left_over_goes_to_the_largest_remainders_ties_to_the_first() -> None:
    """K7: 3 x 1.00 with 50 % in it is 2.00 net; 66 and two thirds each."""
    assert spread(200, [100, 100, 100], Fraction(1, 2)) == [67, 67, 66]
    assert spread(-200, [-100, -100, -100], Fraction(1, 2)) == [-67, -67, -66]
    assert spread(0, [100, -100], Fraction(1, 2)) == [67, -67]
