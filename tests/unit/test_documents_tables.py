"""Tables: CSV that no spreadsheet executes, lines as they are, FOCUS that adds up."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import papers
from tests.papers import LINES, discounted, fee, invoice, paper, tax

from taximeter.documents.exports import FOCUS_COLUMNS, focus_table, line_table
from taximeter.documents.paper import Paper
from taximeter.documents.tables import Column, ColumnType, Table, csv_bytes, inert, original
from taximeter.documents.words import grouped, plain, span
from taximeter.instants import parse_instant
from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.invoice import Invoice, Kind
from taximeter.periods import Period

DANGEROUS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x")


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("text", DANGEROUS)
def test_text_that_begins_like_a_formula_gets_a_quote(text: str) -> None:
    table = Table((Column("a"),), ((text,),))
    ((cell,),) = [row.values() for row in read(csv_bytes(table))]
    assert cell == f"'{text}"
    assert original(cell) == text


def test_numbers_stay_numbers_even_below_zero() -> None:
    table = Table((Column("n", ColumnType.DECIMAL),), (("-12.50",), (None,)))
    assert csv_bytes(table) == b'n\r\n-12.50\r\n""\r\n'


@given(st.text(max_size=20))
def test_every_text_can_be_had_back(text: str) -> None:
    assert original(inert(text)) == text
    assert not inert(text).startswith(DANGEROUS)


def test_half_a_character_does_not_stop_an_export() -> None:
    assert csv_bytes(Table((Column("a"),), (("\ud800",),))) == b"a\r\n?\r\n"


def test_lines_are_exported_as_they_are_on_the_document() -> None:
    first, tiered, images = read(csv_bytes(line_table([paper()])))
    assert (first["number"], first["status"], first["amount"]) == ("INV-000042", "issued", "49.00")
    assert (tiered["quantity"], tiered["events"], tiered["position"]) == ("2500", "812", "0:91822")
    assert (images["used_by"], images["subscription"]) == ("acme-labs", "sub_2")
    assert (images["period_start"], images["period_end"]) == (
        "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z",
    )  # fmt: skip


# --- FOCUS ------------------------------------------------------------------------------------


def billed(one: Paper) -> Decimal:
    return sum((Decimal(r["BilledCost"]) for r in read(csv_bytes(focus_table([one])))), Decimal())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5_000, 90_000), st.integers(0, 900)), max_size=6),
    st.sampled_from(["0", "0.07", "0.19", "0.0825"]),
    st.booleans(),
    st.integers(0, 500),
)
def test_billed_cost_adds_up_to_the_amount_due(
    amounts: list[tuple[int, int]], rate: str, inclusive: bool, paid: int
) -> None:
    """Whatever is taken off, taxed, or paid by credit."""
    lines = [
        discounted(fee(amount, id=str(place)), ("d", min(off, max(amount, 0))))
        for place, (amount, off) in enumerate(amounts)
    ]
    credits = (papers.credit(paid),) if paid else ()
    of = invoice(lines, taxes=(tax(lines, rate, inclusive=inclusive),), credits=credits)
    assert billed(paper(of)) == Decimal(of.amount_due_minor) / 100


def test_rows_of_discounts_taxes_and_credits() -> None:
    lines = (discounted(LINES[0], ("launch", 490)),)
    of = invoice(lines, taxes=(tax(lines),), credits=(papers.credit(1000),))
    line, vat, grant = read(csv_bytes(focus_table([paper(of)])))
    assert (line["ListCost"], line["BilledCost"], line["EffectiveCost"]) == (
        "49.00", "44.10", "44.10",
    )  # fmt: skip
    assert (line["ChargeCategory"], line["ChargeFrequency"]) == ("Purchase", "Recurring")
    assert (vat["ChargeCategory"], vat["BilledCost"]) == ("Tax", "8.38")
    assert vat["ChargeDescription"] == "VAT DE 19 %"
    assert (grant["ChargeCategory"], grant["BilledCost"]) == ("Credit", "-10.00")


def test_each_kind_of_line_has_a_category_of_focus() -> None:
    lines = [fee(100, id=kind.value, kind=kind) for kind in Kind]
    rows = read(csv_bytes(focus_table([paper(invoice(lines, taxes=()))])))
    found = dict(zip(Kind, (row["ChargeCategory"] for row in rows), strict=True))
    assert found == {
        Kind.FLAT: "Purchase", Kind.USAGE: "Usage", Kind.SEAT: "Purchase",
        Kind.MINIMUM: "Adjustment", Kind.MAXIMUM: "Adjustment", Kind.COMMITMENT: "Purchase",
        Kind.ADJUSTMENT: "Usage", Kind.ON_ACCOUNT: "Adjustment",
    }  # fmt: skip
    corrected = [row["ChargeClass"] for row in rows if row["ChargeClass"]]
    assert corrected == ["Correction"], "an adjustment is of a period that was billed before"


def test_what_is_given_back_is_a_negative_correction() -> None:
    rows = read(csv_bytes(focus_table([papers.credit_note()])))
    assert {row["ChargeClass"] for row in rows} == {"Correction"}
    assert [row["BilledCost"] for row in rows] == ["-10.00", "-1.90"]


def test_focus_has_each_mandatory_column_once_with_its_type() -> None:
    types = {column.name: column.type for column in FOCUS_COLUMNS}
    assert len(types) == len(FOCUS_COLUMNS)
    mandatory = """BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd
        BillingPeriodStart ChargeCategory ChargeClass ChargeDescription ChargePeriodEnd
        ChargePeriodStart ContractedCost EffectiveCost InvoiceIssuerName ListCost PricingQuantity
        PricingUnit ProviderName PublisherName ServiceCategory ServiceName"""
    assert set(mandatory.split()) <= set(types)
    assert types["ListUnitPrice"] is types["BilledCost"] is ColumnType.DECIMAL
    assert types["ChargePeriodEnd"] is ColumnType.INSTANT
    assert types["InvoiceId"] is ColumnType.TEXT


# --- words ------------------------------------------------------------------------------------


def test_text_from_outside_says_what_it_says_and_does_nothing() -> None:
    assert plain("a\x00b\u2028c\ud800d") == "a b c d"
    assert plain("invoice\u202efdp.exe") == "invoice[U+202E]fdp.exe"
    assert plain("x" * 700) == "x" * 599 + "…"
    assert plain("שלום") == "שלום", "a language that runs to the left is no trick"


def test_numbers_are_grouped_and_nothing_else() -> None:
    numbers = ["0", "1234567.5", "-1234.00", "49/31", "-49/31", "123"]
    assert [grouped(number) for number in numbers] == [
        "0", "1,234,567.5", "−1,234.00", "49/31", "−49/31", "123",
    ]  # fmt: skip


def test_a_period_is_told_by_its_local_days() -> None:
    def told(start: str, end: str) -> str:
        return span(Period(parse_instant(start), parse_instant(end)), "Europe/Berlin")

    assert told("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z") == "1 Nov 2026 – 30 Nov 2026"
    assert told("2026-11-01T10:00:00Z", "2026-11-01T12:00:00Z") == "1 Nov 2026"
    summer = told("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")
    assert summer == "25 Oct 2026", "a day of 25 hours is one day (K2)"


def test_papers_of_this_test_add_up() -> None:
    of: Invoice = invoice()
    (one,) = of.taxes
    assert isinstance(one, AppliedTax)
    assert one.amount_minor == round(Fraction(19, 100) * of.subtotal_minor)
