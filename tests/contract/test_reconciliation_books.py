"""What clients sent, and what was lost and is put back: `ports.ReconciliationBooks`, the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.adapters.ledger import SqliteLedger
from taximeter.ledger.transaction import Kind, Posting, Transaction
from taximeter.periods import Period
from taximeter.ports import LedgerRow, SentCount, WalletRows

DAY = Period(0, 86_400)
NEXT = Period(86_400, 2 * 86_400)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqliteBooks]:
    opened = SqliteBooks(tmp_path / "books.db")
    yield opened
    opened.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def test_what_is_said_again_replaces_what_was_said(books: SqliteBooks) -> None:
    books.put_sent_counts("ns", [SentCount("api", "t", DAY, 5), SentCount("api", "t", NEXT, 1)], 1)
    books.put_sent_counts("ns", [SentCount("api", "t", DAY, 7), SentCount("app", "t", DAY, 2)], 2)
    assert books.sent_counts("ns") == [
        SentCount("api", "t", DAY, 7),
        SentCount("app", "t", DAY, 2),
        SentCount("api", "t", NEXT, 1),
    ]
    assert books.sent_counts("other") == []


def test_counts_of_periods_long_past_are_forgotten(books: SqliteBooks) -> None:
    books.put_sent_counts("ns", [SentCount("api", "t", DAY, 5), SentCount("api", "t", NEXT, 1)], 1)
    assert books.forget_sent_counts(DAY.end) == 0, "it ended then, not before"
    assert books.forget_sent_counts(DAY.end + 1) == 1
    assert [one.period for one in books.sent_counts("ns")] == [NEXT]


def row(ordinal: int, balance: int, customer: str = "acme") -> LedgerRow:
    postings = (Posting("wallet/g", 10), Posting("issued/free", -10))
    return LedgerRow(
        "ns",
        customer,
        "usd",
        ordinal,
        Transaction(ordinal, ordinal, Kind.GRANT, {}, postings, balance),
    )


def test_a_wallet_shows_how_many_of_its_transactions_are_booked(ledger: SqliteLedger) -> None:
    ledger.append([row(1, 10), row(2, 20), row(1, 5, "bolt")], 3)
    assert ledger.wallets("ns") == {
        ("acme", "usd"): WalletRows(2, 2, 20),
        ("bolt", "usd"): WalletRows(1, 1, 5),
    }
    assert ledger.wallets("other") == {}


def test_what_is_missing_is_booked_again_and_what_is_there_stays(ledger: SqliteLedger) -> None:
    """Also in the middle, where `append` does not look; sums are those of the transactions."""
    ledger.append([row(1, 10), row(3, 30)], 3)
    assert ledger.restore([row(1, 999), row(2, 20), row(3, 999)]) == 1
    found = ledger.transactions("ns", "acme", credit=None, start=None, end=None, after=0, limit=10)
    assert sorted(one.transaction.ordinal for _, one in found) == [1, 2, 3]
    assert {one.transaction.balance_after_pico for _, one in found} == {10, 20, 30}
    assert {one.account: one.amount_pico for one in ledger.sums("ns")} == {
        "issued/free": -30, "wallet": 30,
    }  # fmt: skip
    assert ledger.restore([row(2, 20)]) == 0
    ledger.append([row(4, 40)], 4)
    assert ledger.wallets("ns")["acme", "usd"] == WalletRows(4, 4, 40)
