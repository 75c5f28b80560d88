"""Entries, nets, recognition, matching and aging: the pure part of money owed (K19)."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.accounts import at, invoice, line

from taximeter.accounting.aging import aged, aged_totals, bucket_of
from taximeter.accounting.credits import Booked, Worth, entry_of_credits, worth_of
from taximeter.accounting.dunning import reminders
from taximeter.accounting.entries import (
    entries_of_issue,
    entries_of_void,
    entry_of_credit_note,
    entry_of_issue,
    given_away_minor,
    reversal_of,
)
from taximeter.accounting.journal import Account, EntryKind, JournalEntry, totals
from taximeter.accounting.matching import Allocation, Named, OpenInvoice, match, match_named
from taximeter.accounting.nets import nets_of
from taximeter.accounting.recognition import (
    Service,
    credited,
    earned_by_month,
    month_of,
    month_start,
    next_month,
    parse_month,
    services_of,
)
from taximeter.accounting.standing import settled
from taximeter.errors import Refused, Rejected
from taximeter.instants import DAY, SECOND
from taximeter.invoices.applied import AppliedCredit, AppliedDiscount, AppliedTax, LineDiscount
from taximeter.ledger.transaction import Kind, Transaction
from taximeter.ledger.transaction import Posting as CreditPosting
from taximeter.money import allocate
from taximeter.quantities import E12

VAT = AppliedTax("VAT", "DE", "", Fraction(19, 100), 10_000, 1_900)
NOV = at("2026-11-01")


def amounts(entry: object) -> dict[str, int]:
    return {one.account.value: one.amount_minor for one in entry.postings}  # type: ignore[attr-defined]


# --- nets -----------------------------------------------------------------------------------------


def test_a_net_is_a_line_without_its_discounts_and_without_the_tax_in_it() -> None:
    inclusive = replace(VAT, taxable_minor=8_403, amount_minor=1_597, inclusive=True)
    made = invoice(
        [line(12_000, discounts=(LineDiscount("d", 2_000),))],
        discounts=(AppliedDiscount("d", "d", 2_000),),
        taxes=(inclusive,),
    )
    assert nets_of(made) == {"line_1": 10_000 - 1_597}
    assert made.total_minor == 10_000


def test_a_tax_in_the_prices_is_split_over_the_lines_of_its_category_only() -> None:
    food = replace(VAT, category="food", taxable_minor=934, amount_minor=66, inclusive=True)
    made = invoice(
        [line(500, tax_category="food"), line(700, n=2), line(500, n=3, tax_category="food")],
        taxes=(food,),
    )
    assert nets_of(made) == {"line_1": 467, "line_2": 700, "line_3": 467}


@given(
    amounts_=st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=6),
    discount=st.integers(0, 500),
    tax=st.integers(-300, 900),
    inclusive=st.booleans(),
)
def test_nets_and_taxes_are_together_the_total(
    amounts_: list[int], discount: int, tax: int, inclusive: bool
) -> None:
    """Also for discounts that no line carries, and for lines that take something back."""
    made = invoice(
        [line(minor, n=n) for n, minor in enumerate(amounts_, 1)],
        discounts=(AppliedDiscount("d", "d", discount),) if discount else (),
        taxes=(replace(VAT, amount_minor=tax, inclusive=inclusive),),
    )
    assert sum(nets_of(made).values()) + tax == made.total_minor
    entry = entry_of_issue(replace(made, number="INV-1"), NOV)
    assert entry.balanced


# --- entries --------------------------------------------------------------------------------------


def test_an_issue_debits_what_is_due_and_the_credit_that_pays_the_rest() -> None:
    made = invoice(
        [line(10_000)],
        number="INV-1",
        taxes=(VAT,),
        credits=(AppliedCredit("paid", "usd", 3_000), AppliedCredit("gift", "usd", 1_000)),
    )
    entry = entry_of_issue(made, NOV, funded={"paid": 2_400, "gift": 0})
    assert amounts(entry) == {
        "receivable": 7_900,
        "prepaid_credits": 2_400,
        "promotions": 1_600,
        "tax_payable": -1_900,
        "deferred_revenue": -10_000,
    }
    assert amounts(entry_of_issue(made, NOV))["prepaid_credits"] == 4_000


def test_an_invoice_below_zero_is_a_balance_of_the_customer() -> None:
    entry = entry_of_issue(invoice([line(-500)], number="INV-2"), NOV)
    assert amounts(entry) == {"customer_balance": -500, "deferred_revenue": 500}
    assert entry.source == "inv_1"


def test_what_was_used_before_the_issue_is_revenue_of_the_months_it_was_used_in() -> None:
    made = invoice([line(3_100, "2026-09-16", "2026-10-16")], number="INV-1")
    entries = entries_of_issue(made, at("2026-10-16"), "UTC")
    assert [(one.kind, one.cause.get("month"), one.on(Account.REVENUE)) for one in entries] == [
        (EntryKind.ISSUE, None, 0),
        # 30 days: the first ten get the cents that are over (K7).
        (EntryKind.RECOGNITION, "2026-09", -15 * 103 - 10),
        (EntryKind.RECOGNITION, "2026-10", -15 * 103),
    ]
    assert [one.at for one in entries] == [
        at("2026-10-16"), at("2026-10-01") - SECOND, at("2026-10-16"),
    ]  # fmt: skip


def test_a_fee_in_advance_is_deferred() -> None:
    made = invoice([line(4_900, "2026-11-01", "2026-12-01")], number="INV-1")
    (entry,) = entries_of_issue(made, NOV, "UTC")
    assert amounts(entry) == {"receivable": 4_900, "deferred_revenue": -4_900}


def test_a_credit_note_takes_from_what_is_open_and_gives_back_the_rest() -> None:
    made = invoice([line(10_000)], number="INV-1", taxes=(VAT,))
    entry = entry_of_credit_note(
        "cn_1", made, NOV, nets={"line_1": 5_000}, tax_minor=950, open_minor=900
    )
    assert amounts(entry) == {
        "receivable": -900, "customer_balance": -5_050,
        "tax_payable": 950, "deferred_revenue": 5_000,
    }  # fmt: skip
    assert entry.balanced


def test_credit_that_returns_is_the_last_that_was_taken_and_what_it_had_cost() -> None:
    """10.00 of a grant that was sold at 0.80, then 20.00 of a gift: 25.00 of it come back."""
    paid = (AppliedCredit("sold", "usd", 1_000), AppliedCredit("gift", "usd", 2_000))
    made = invoice([line(10_000)], number="INV-1", credits=paid)
    funded = {"sold": 800, "gift": 0}
    parts = [given_away_minor(made, funded, minor) for minor in (0, 500, 2_000, 2_500, 3_000)]
    assert parts == [0, 500, 2_000, 2_100, 2_200]
    entry = entry_of_credit_note(
        "cn_1", made, NOV, nets={"line_1": 9_500}, tax_minor=0, open_minor=7_000,
        credits_minor=2_500, promotions_minor=2_100,
    )  # fmt: skip
    assert amounts(entry) == {
        "receivable": -7_000, "prepaid_credits": -400, "promotions": -2_100,
        "deferred_revenue": 9_500,
    }  # fmt: skip
    rest = entry_of_credit_note(
        "cn_2", made, NOV, nets={"line_1": 500}, tax_minor=0, open_minor=0,
        credits_minor=500, promotions_minor=2_200 - 2_100,
    )  # fmt: skip
    booked = [entry_of_issue(made, NOV, funded), entry, rest]
    assert not any(totals(booked).values()), "what was taken back whole leaves nothing"


def test_a_void_leaves_nothing_of_what_was_booked() -> None:
    made = invoice([line(10_000)], number="INV-1", taxes=(VAT,))
    booked = entries_of_issue(made, NOV, "UTC")
    undone = entries_of_void(booked, NOV + 1, "mistake")
    assert not any(totals([*booked, *undone]).values())
    assert all(one.balanced for one in undone)
    assert entries_of_void([*booked, *undone], NOV + 2, "again") == ()


def test_a_reversal_is_the_entry_the_other_way_round_and_never_before_it() -> None:
    entry = entry_of_issue(invoice([line(700)], number="INV-1"), NOV)
    undone = reversal_of(entry, NOV - 5, "mistake")
    assert totals([entry, undone]) == {Account.RECEIVABLE: 0, Account.DEFERRED: 0}
    assert (undone.at, undone.cause["reverses"]) == (NOV, "issue:inv_1")


def test_json_has_a_side_for_each_amount() -> None:
    entry = entry_of_issue(invoice([line(700)], number="INV-1"), NOV)
    assert entry.to_json()["postings"] == [
        {"account": "receivable", "debit": "7.00"},
        {"account": "deferred_revenue", "credit": "7.00"},
    ]


# --- recognition ----------------------------------------------------------------------------------

SERVICES = st.builds(
    Service,
    st.just("line_1"),
    st.dates(date(2023, 12, 1), date(2024, 3, 31)),
    st.integers(1, 400),
    st.integers(-100_000, 100_000),
)


@given(SERVICES, st.integers(-3, 410))
def test_days_earn_what_an_allocation_over_equal_days_gives_them(
    service: Service, done: int
) -> None:
    """K7, by the one function that knows it."""
    days = allocate(service.net_minor, [1] * service.days)
    day = date.fromordinal(service.first.toordinal() + done)
    assert service.earned_before(day) == sum(days[: max(0, done)])


@given(st.lists(SERVICES, max_size=4))
def test_months_sum_exactly_to_what_there_was_to_earn(services: list[Service]) -> None:
    months = earned_by_month(services, date(2030, 1, 1))
    assert sum(months.values()) == sum(one.net_minor for one in services)
    assert list(months) == sorted(months)
    assert all(month.day == 1 for month in months)


def test_a_day_is_one_of_the_customers_calendar() -> None:
    """October in Berlin begins at 22:00 UTC of 30 September."""
    october = line(3_100)
    local = replace(october.period, start=at("2026-09-30T22:00"), end=at("2026-10-31T23:00"))
    (service,) = services_of(invoice([replace(october, period=local)]), "Europe/Berlin")
    assert (service.first, service.days) == (date(2026, 10, 1), 31)
    (abroad,) = services_of(invoice([replace(october, period=local)]), "UTC")
    assert (abroad.first, abroad.days) == (date(2026, 9, 30), 32)


def test_a_period_of_no_length_is_earned_on_its_day() -> None:
    (service,) = services_of(invoice([line(100, "2026-10-05", "2026-10-05")]), "UTC")
    assert (service.first, service.days) == (date(2026, 10, 5), 1)


def test_what_was_credited_is_not_earned() -> None:
    services = services_of(invoice([line(3_100), line(700, n=2)]), "UTC")
    assert [one.net_minor for one in credited(services, {"line_1": 3_000})] == [100, 700]


def test_months_of_the_books_are_those_of_utc() -> None:
    december = parse_month("2026-12")
    assert next_month(december) == date(2027, 1, 1)
    assert month_start(december) == at("2026-12-01")
    assert month_of(at("2027-01-01") - 1) == december
    assert month_of(at("2027-01-01")) == date(2027, 1, 1)
    assert month_of(-1) == date(1969, 12, 1)
    for text in ("2026-13", "2026-1", "2026-1-", "26-01", "", "2026-12-01", "９999-01"):
        with pytest.raises(Rejected) as caught:
            parse_month(text)
        assert caught.value.code == "invalid_parameter"
    with pytest.raises(Rejected):
        next_month(date(9999, 12, 1))


# --- prepaid credit -------------------------------------------------------------------------------


def booked(kind: Kind, lot: str, units: int) -> Transaction:
    posting = CreditPosting(f"wallet/{lot}", units * E12)
    return Transaction(1, NOV, kind, {}, (posting, CreditPosting("other", -units * E12)), 0)


def cost(lot: str) -> Fraction:
    return {"paid": Fraction(1, 3)}.get(lot, Fraction(0))


def test_credit_is_worth_what_was_paid_for_what_is_left_of_it() -> None:
    wallet = [
        booked(Kind.GRANT, "paid", 100), booked(Kind.GRANT, "gift", 50),
        booked(Kind.SPEND, "paid", -40), booked(Kind.SPEND, "gift", -50),
        booked(Kind.EXPIRE, "paid", -10), booked(Kind.REFUND, "paid", -5),
    ]  # fmt: skip
    worth = worth_of(wallet, "acme", "USD", cost)
    assert worth == Worth("acme", "USD", 3_167, 333, 1_500)


@given(
    st.lists(st.tuples(st.sampled_from((Kind.SPEND, Kind.EXPIRE)), st.integers(1, 30)), max_size=12)
)
def test_month_by_month_nothing_of_what_was_sold_is_lost(steps: list[tuple[Kind, int]]) -> None:
    """Whatever the months are, at the end all that was paid is revenue, breakage, or owed."""
    wallet = [booked(Kind.GRANT, "paid", 100)]
    entries: list[JournalEntry] = []
    left, month = 100, date(2026, 1, 1)
    for kind, most in [*steps, (Kind.SPEND, 100)]:
        units = min(most, left)
        left -= units
        wallet.append(booked(kind, "paid", -units))
        worth = worth_of(wallet, "acme", "USD", cost)
        entry = entry_of_credits(worth, _known(entries), month, NOV)
        entries += [] if entry is None else [entry]
        month = next_month(month)
        assert -totals(entries).get(Account.CREDITS, 0) == worth.left_minor
        assert entry_of_credits(worth, _known(entries), month, NOV) is None, "again is nothing"
    sums = totals(entries)
    assert sums.get(Account.CREDITS, 0) == 0
    assert sums[Account.CASH] == 3_333
    assert sums.get(Account.REVENUE, 0) + sums.get(Account.BREAKAGE, 0) == -3_333
    assert all(one.balanced for one in entries)


def _known(entries: list[JournalEntry]) -> Booked:
    sums = totals(entries)
    return Booked(
        sums.get(Account.CASH, 0), -sums.get(Account.BREAKAGE, 0), -sums.get(Account.CREDITS, 0)
    )


# --- matching, aging, dunning ---------------------------------------------------------------------


def owed(
    id: str, open_minor: int, due: int = NOV, issued: int = NOV, **rest: object
) -> OpenInvoice:
    base = OpenInvoice(id, f"INV-{id}", "acme", "USD", issued, due, open_minor)
    return replace(base, **rest)


def test_money_pays_the_oldest_due_first_then_the_oldest_issued_then_by_number() -> None:
    invoices = [
        owed("d", 10, NOV + 2), owed("c", 10, NOV, NOV + 1), owed("b", 10), owed("a", 10),
    ]  # fmt: skip
    assert match(35, invoices) == [
        Allocation("a", 10), Allocation("b", 10), Allocation("c", 10), Allocation("d", 5),
    ]  # fmt: skip
    assert match(0, invoices) == []


def test_what_was_given_up_is_paid_only_by_name() -> None:
    lost = owed("lost", 0, lost_minor=100)
    assert match(100, [lost]) == []
    named = match_named([Named("lost")], {"lost": lost}, "acme", "USD", 70)
    assert named == [Allocation("lost", 70)]


@pytest.mark.parametrize(
    ("part", "invoice_", "left", "code"),
    [
        (Named("a", 5), None, 10, "invoice_not_issued"),
        (Named("a", 5), owed("a", 10, customer="other"), 10, "invalid_request"),
        (Named("a", 5), owed("a", 10, currency="EUR"), 10, "currency_mismatch"),
        (Named("a", 11), owed("a", 10), 20, "exceeds_invoice"),
        (Named("a", 10), owed("a", 10), 9, "exceeds_payment"),
    ],
)
def test_a_payment_cannot_pay_what_it_should_not(
    part: Named, invoice_: OpenInvoice | None, left: int, code: str
) -> None:
    known = {} if invoice_ is None else {"a": invoice_}
    with pytest.raises((Rejected, Refused)) as caught:
        match_named([part], known, "acme", "USD", left)
    assert caught.value.code == code


def test_an_invoice_is_named_once() -> None:
    part = Named("a", 1)
    with pytest.raises(Rejected) as caught:
        match_named([part, part], {"a": owed("a", 10)}, "acme", "USD", 10)
    assert "twice" in caught.value.message


def test_an_invoice_is_overdue_from_the_due_instant_on() -> None:
    assert [
        bucket_of(NOV, NOV + after)
        for after in (
            -1, 0, 30 * DAY - 1, 30 * DAY, 60 * DAY - 1, 60 * DAY, 90 * DAY - 1, 90 * DAY,
        )
    ] == ["current", "1-30", "1-30", "31-60", "31-60", "61-90", "61-90", "90+"]  # fmt: skip


def test_aging_has_a_row_for_each_customer_and_currency() -> None:
    invoices = [
        owed("a", 100), owed("b", 50, NOV - 40 * DAY), owed("c", 7, currency="JPY"),
        owed("d", 0), owed("e", 1, customer="zeta"),
    ]  # fmt: skip
    rows = aged(invoices, NOV)
    assert [(row["customer"], row["currency"], row["total"]) for row in rows] == [
        ("acme", "JPY", "7"), ("acme", "USD", "1.50"), ("zeta", "USD", "0.01"),
    ]  # fmt: skip
    assert rows[1]["buckets"] == {
        "current": "0.00", "1-30": "1.00", "31-60": "0.50", "61-90": "0.00", "90+": "0.00",
    }  # fmt: skip
    assert [(row["currency"], row["total"]) for row in aged_totals(invoices, NOV)] == [
        ("JPY", "7"), ("USD", "1.51"),
    ]  # fmt: skip


def test_each_reminder_is_due_once_and_missed_ones_come_oldest_first() -> None:
    late, later = owed("b", 5, NOV), owed("a", 5, NOV + 5 * DAY, reminded=1)
    found = reminders([later, late, owed("paid", 0)], (0, 7, 14), NOV + 12 * DAY)
    assert [(one.invoice.id, one.step, one.at) for one in found] == [
        ("b", 1, NOV), ("b", 2, NOV + 7 * DAY), ("a", 2, NOV + 12 * DAY),
    ]  # fmt: skip
    assert reminders([late], (0, 7), NOV - 1) == []
    assert reminders([late], (), NOV + DAY) == []


def test_the_status_follows_from_what_is_open_and_what_is_lost() -> None:
    assert [settled(o, lost).value for o, lost in ((5, 0), (5, 5), (0, 5), (0, 0))] == [
        "issued", "issued", "uncollectible", "paid",
    ]  # fmt: skip
