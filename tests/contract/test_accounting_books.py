"""The contract of `ports.AccountingBooks`: what must hold whatever the code above does (K19)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.accounts import NS, Accounts, at, audit, invoice, line

from taximeter.accounting.entries import entry_of_payment
from taximeter.accounting.journal import Account, EntryKind
from taximeter.accounting.matching import Named
from taximeter.accounting.payment import Payment
from taximeter.adapters.books import SqliteBooks, journal_table
from taximeter.errors import Refused, Rejected
from taximeter.instants import DAY
from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.invoice import Status
from taximeter.notices.signature import Secret
from taximeter.ports import PaymentSource

NOV = at("2026-11-01")
PAYMENT = Payment(id="p1", customer="acme", currency="USD", amount_minor=500, at=NOV)


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    made = Accounts(tmp_path, ("acme", "beta"))
    yield made
    made.books.close()


def test_an_entry_is_booked_once(accounts: Accounts) -> None:
    entry = entry_of_payment(PAYMENT)
    with accounts.books._connection.write() as books:
        journal_table.post(books, NS, [entry, entry], NOV)
    with accounts.books._connection.write() as books:
        journal_table.post(books, NS, [entry], NOV)
    assert [found for _, found in accounts.books.journal(NS)] == [entry]


def test_the_journal_can_only_grow(accounts: Accounts, tmp_path: Path) -> None:
    accounts.issue(invoice([line(100)]), NOV)
    accounts.pay("p1", 60, NOV)
    accounts.books.close_month(NS, date(2026, 10, 1), NOV, audit())
    with sqlite3.connect(tmp_path / "books.db") as books:
        for table in ("journal_entries", "journal_postings", "payments", "closed_months"):
            with pytest.raises(sqlite3.IntegrityError):
                books.execute(f"DELETE FROM {table}")
        for change in (
            "journal_entries SET at = 0",
            "journal_postings SET amount_minor = 1",
            "payments SET amount_minor = 1",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                books.execute(f"UPDATE {change}")
    books.close()


def test_an_entry_that_would_pay_twice_is_not_booked_by_anybody(accounts: Accounts) -> None:
    accounts.issue(invoice([line(100)]), NOV)
    accounts.pay("p1", 100, NOV)
    (_, allocation) = next(
        item for item in accounts.books.journal(NS) if item[1].kind is EntryKind.ALLOCATION
    )
    again = replace(allocation, id="allocation:p1:2")
    with pytest.raises(sqlite3.IntegrityError), accounts.books._connection.write() as books:
        journal_table.post(books, NS, [again], NOV)
    assert accounts.sums() == {Account.CASH: 100, Account.REVENUE: -100}


def test_books_that_are_opened_again_say_the_same(accounts: Accounts, tmp_path: Path) -> None:
    accounts.issue(invoice([line(100, "2026-11-01", "2026-12-01")]), NOV, NOV + DAY)
    accounts.pay("p1", 130, NOV)
    accounts.books.close()
    again = SqliteBooks(tmp_path / "books.db")
    try:
        state = again.payment(NS, "p1")
        assert state is not None
        assert (state.allocated, state.left_minor) == ({"inv_1": 100}, 30)
        assert again.unearned(NS)[0].deferred_minor == -100
    finally:
        again.close()


def test_invoices_issued_before_there_was_a_journal_are_booked_when_the_books_open(
    accounts: Accounts, tmp_path: Path
) -> None:
    old = replace(invoice([line(100)]), status=Status.ISSUED, number="INV-000001", issued_at=NOV)
    accounts.draft(invoice([line(100)]))
    with sqlite3.connect(tmp_path / "books.db") as books:
        books.execute(
            "UPDATE invoices SET status = 'issued', number = 'INV-000001', series = 'INV-', "
            "series_number = 1, document = ?",
            (canonical_bytes(old),),
        )
    books.close()
    for _ in range(2):
        accounts.books.close()
        accounts.books = SqliteBooks(tmp_path / "books.db")
        assert accounts.sums() == {Account.RECEIVABLE: 100, Account.REVENUE: -100}


def test_another_namespace_has_none_of_it(accounts: Accounts) -> None:
    accounts.issue(invoice([line(100)]), NOV)
    accounts.pay("p1", 100, NOV)
    source = PaymentSource(NS, "bank", "src_1", (Secret("whsec_x"),), NOV)
    accounts.books.put_payment_source(source, audit())
    books = accounts.books
    assert books.journal("other") == []
    assert books.trial_balance("other") == []
    assert books.open_invoices("other", at=NOV) == []
    assert books.payment("other", "p1") is None
    assert books.payments("other", customer=None, before=None, limit=9) == []
    assert books.invoice_standings("other", ["inv_1"]) == {}
    assert books.payment_sources("other") == []
    assert books.payment_source_of("src_1") == source


def test_an_invoice_below_zero_pays_the_next_one(accounts: Accounts) -> None:
    accounts.issue(invoice([line(-30)]), NOV)
    assert accounts.status("inv_1") == "paid"
    assert accounts.sums()[Account.BALANCE] == -30
    accounts.issue(invoice([line(100)], "inv_2"), NOV + 1)
    assert [(one.id, one.open_minor) for one in accounts.open()] == [("inv_2", 70)]
    with pytest.raises(Refused) as caught:
        accounts.void("inv_1", NOV + 2)
    assert caught.value.code == "invoice_final"
    assert accounts.status("inv_1") == "paid", "nothing of it was done"


def test_a_void_invoice_below_zero_takes_its_balance_back(accounts: Accounts) -> None:
    accounts.issue(invoice([line(-30)]), NOV)
    accounts.void("inv_1", NOV + 2)
    assert accounts.sums() == {}


def test_a_credit_note_takes_back_what_its_line_had_earned(accounts: Accounts) -> None:
    """A fee of 92 days; one was earned when it was issued, and 31 more with October's close."""
    fee = invoice([line(9_200, "2026-09-30", "2026-12-31")])
    accounts.issue(fee, at("2026-10-01"))
    assert accounts.sums()[Account.REVENUE] == -100
    accounts.books.close_month(NS, date(2026, 10, 1), NOV, audit())
    assert accounts.sums()[Account.REVENUE] == -3_200
    accounts.credit("cn_1", "inv_1", {"line_1": 4_600}, NOV)
    assert accounts.sums() == {
        Account.RECEIVABLE: 4_600,
        Account.DEFERRED: -3_000,
        Account.REVENUE: -1_600,
    }
    accounts.books.close_month(NS, date(2026, 12, 1), at("2027-01-01"), audit())
    assert accounts.sums() == {Account.RECEIVABLE: 4_600, Account.REVENUE: -4_600}


def test_a_payment_before_its_invoice_pays_it_when_it_is_issued(accounts: Accounts) -> None:
    accounts.pay("p1", 100, NOV - 10 * DAY)
    accounts.issue(invoice([line(100)]), NOV)
    (entry,) = (e for _, e in accounts.books.journal(NS) if e.kind is EntryKind.ALLOCATION)
    assert entry.at == NOV
    assert accounts.books.open_invoices(NS, at=NOV - 1) == []


def test_whoever_names_another_customers_invoice_is_refused(accounts: Accounts) -> None:
    accounts.issue(invoice([line(100)]), NOV)
    with pytest.raises(Rejected):
        accounts.pay("p1", 100, NOV, "beta", named=[Named("inv_1")])
    assert accounts.books.payments(NS, customer=None, before=None, limit=9) == []


def test_months_are_closed_in_order_without_a_gap(accounts: Accounts) -> None:
    accounts.issue(invoice([line(9_200, "2026-08-01", "2026-11-01")]), at("2026-08-01"))
    accounts.books.close_month(NS, date(2026, 10, 1), NOV, audit())
    closed = accounts.books.closed_months(NS)
    assert [one.month for one in closed] == [date(2026, month, 1) for month in (8, 9, 10)]
    by_month = {e.cause["month"]: e.on(Account.REVENUE) for _, e in accounts.books.journal(NS)
                if e.kind is EntryKind.RECOGNITION}  # fmt: skip
    assert by_month == {"2026-08": -3_100, "2026-09": -3_000, "2026-10": -3_100}
    accounts.pay("p1", 1, at("2026-09-15"))
    (entry,) = (e for _, e in accounts.books.journal(NS) if e.kind is EntryKind.PAYMENT)
    assert entry.at == NOV, "the first instant that is open"


def test_due_invoices_are_those_still_to_be_told(accounts: Accounts) -> None:
    accounts.issue(invoice([line(100)]), NOV, NOV + DAY)
    accounts.issue(invoice([line(100)], "inv_2"), NOV, NOV + 3 * DAY)
    due = accounts.books.due_invoices
    assert [one.id for one in due(NS, NOV + DAY - 1, 2)] == []
    assert [one.id for one in due(NS, NOV + 3 * DAY, 2)] == ["inv_1", "inv_2"]
    accounts.books.note_reminded(NS, "inv_1", 2)
    accounts.books.note_reminded(NS, "inv_1", 1)
    assert [one.id for one in due(NS, NOV + 3 * DAY, 2)] == ["inv_2"]
    accounts.pay("p1", 200, NOV)
    assert due(NS, NOV + 3 * DAY, 9) == []
