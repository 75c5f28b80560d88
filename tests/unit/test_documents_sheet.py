"""The sheet: how a line says where its amount comes from."""

from __future__ import annotations

from fractions import Fraction

from msgspec.structs import replace
from tests import papers
from tests.papers import fee, invoice, paper, usage

from taximeter.catalog.prices import SeatMode
from taximeter.catalog.rates import Conversion
from taximeter.documents.einvoice import einvoice_of
from taximeter.documents.exports import focus_table
from taximeter.documents.sheet import SheetLine, sheet_of
from taximeter.instants import parse_instant
from taximeter.invoices.invoice import Adjusts, Kind, Line, Status
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import RatedSeats, RatedTier

THOUSAND = RatedTier(1000 * E12, Fraction("0.01"))
PLAIN = usage(1000, 1000, THOUSAND)


def shown(line: Line) -> SheetLine:
    (section,) = sheet_of(paper(invoice((line,)))).sections
    (found,) = section.lines
    return found


def test_one_price_stands_in_its_column_and_tiers_are_told_below() -> None:
    assert (shown(PLAIN).unit, shown(PLAIN).notes) == ("0.01", ())
    assert shown(papers.TIERED).unit == ""
    assert shown(papers.TIERED).notes == ("1,000 × 0.10 = 100.00", "1,500 × 0.038 = 57.00")
    packages = RatedTier(2500 * E12, Fraction(5), Fraction(1), packages=3)
    assert shown(usage(1600, 2500, packages)).notes == ("3 packages × 5.00 + 1.00 = 16.00",)


def test_what_changes_the_amount_is_told_in_the_order_it_is_reckoned() -> None:
    """K10: included units, tiers, multiplier, bound."""
    line = replace(
        PLAIN, metered_pico=5 * E12, free_pico=20 * E12, multiplier=Fraction(5, 4),
        adjustment=Fraction("-2.5"), hours="night",
    )  # fmt: skip
    assert shown(line).notes == (
        "5 metered", "night", "20 included", "× 1.25", "held to the maximum: −2.50",
    )  # fmt: skip


def test_a_price_in_another_currency_says_so_and_at_which_rate() -> None:
    rate = Conversion("GBP", "EUR", Fraction("1.17"), parse_instant("2026-10-31T23:00:00Z"), 3)
    line = replace(PLAIN, amount_minor=1170, conversions=(rate,))
    assert shown(line).unit == "0.01 GBP"
    assert shown(line).notes == ("1 GBP = 1.17 EUR, since 1 Nov 2026",)
    (said,) = einvoice_of(paper(invoice((line,)))).lines
    assert (said.quantity, said.price, said.base) == ("1000", "11.70", "1000"), "in EUR"
    table = focus_table([paper(invoice((line,)))])
    focus = dict(zip((one.name for one in table.columns), table.rows[0], strict=True))
    assert (focus["PricingCurrency"], focus["BillingCurrency"]) == ("GBP", "EUR")
    assert focus["ListUnitPrice"] is None


def test_seats_say_how_many_and_for_how_long() -> None:
    seats = RatedSeats(
        SeatMode.PRORATED, 12, Fraction(30), 330, 300, 30, Fraction(0), Fraction(300)
    )
    line = fee(30000, kind=Kind.SEAT, seats=seats, quantity_pico=10 * E12)
    assert shown(line).unit == "30.00"
    assert shown(line).notes == ("12 seats at most, 10 in the mean of the period",)
    peak = replace(seats, mode=SeatMode.PEAK, charged=360)
    assert shown(replace(line, seats=peak)).notes == ("12 seats at most at one time",)
    (said,) = einvoice_of(paper(invoice((line,)))).lines
    assert (said.quantity, said.price, said.base) == ("10", "30", None)


def test_a_correction_names_the_invoice_and_both_amounts() -> None:
    """K15."""
    period = Period(parse_instant("2026-09-30T22:00:00Z"), parse_instant("2026-10-31T23:00:00Z"))
    adjusts = Adjusts("inv_0", "INV-000007", period, 15700, 15800)
    line = fee(100, kind=Kind.ADJUSTMENT, adjusts=adjusts)
    told = "1 Oct 2026 – 31 Oct 2026: now 158.00, billed before 157.00"
    assert shown(line).notes == ("Corrects invoice INV-000007", told)
    named = replace(line, description="tokens, correction of INV-000007", period=period)
    assert shown(named).notes == (told,), "nothing twice"


def test_a_void_invoice_asks_for_nothing_and_a_paid_one_says_what_it_said() -> None:
    assert sheet_of(paper(status=Status.VOID)).deadline == "void"
    assert sheet_of(paper(status=Status.PAID)) == sheet_of(paper())


def test_lines_of_several_subscriptions_stand_apart_with_their_own_sum() -> None:
    """As with children whose parent pays."""
    first, second = sheet_of(paper()).sections
    assert (first.title, first.subtotal) == ("Acme Robotics · pro", "206.00")
    assert (second.title, second.subtotal) == ("Acme Labs · pro", "49,381.87")
    mixed = paper(invoice((PLAIN, fee(1, subscription="sub_2"), fee(2, id="late"))))
    assert [len(one.lines) for one in sheet_of(mixed).sections] == [2, 1], "each once"
    twice = paper(invoice((PLAIN, fee(1, subscription="sub_2"))))
    assert [one.title for one in sheet_of(twice).sections] == [
        "Acme Robotics · pro (sub_1)", "Acme Robotics · pro (sub_2)",
    ], "told apart where they would be called the same"  # fmt: skip
    (alone,) = sheet_of(paper(invoice((PLAIN,)))).sections
    assert (alone.title, alone.subtotal) == ("", "")


def test_whom_nothing_is_known_of_is_called_by_name_or_key() -> None:
    unnamed = paper(papers.draft(), names={})
    (billed_to,) = sheet_of(unnamed).parties
    assert billed_to.name == "acme"
