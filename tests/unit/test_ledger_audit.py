"""Statements add up; the audit proves a ledger from its transactions alone (K19)."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.credits_script import Script

from taximeter.instants import parse_instant
from taximeter.ledger.audit import audit
from taximeter.ledger.statement import statement, trial_balance
from taximeter.ledger.transaction import Kind, Posting, Transaction
from taximeter.quantities import E12

STORY = """
    2026-03-01 grant paid 100 until 2026-04-01
    2026-03-01 grant gift 10 promotional priority -1
    2026-03-02 burn 12 chat
    2026-03-03 burn 200 chat
    2026-03-04 grant more 50
    2026-03-04 hold h 20 chat
    2026-03-05 settle h 80 beyond
    2026-03-06 grant last 100 until 2026-04-01
    2026-03-07 refund last 5
    2026-03-08 grant wrong 7
    2026-03-08 void wrong
    2026-04-01
"""


def ledger() -> list[Transaction]:
    return Script(STORY).transactions


def changed(number: int, **members: object) -> list[Transaction]:
    """The story with one transaction changed."""
    found = ledger()
    found[number - 1] = msgspec.structs.replace(found[number - 1], **members)
    return found


def test_a_statement_says_where_credit_came_from_and_where_it_went() -> None:
    assert statement(ledger()).to_json() == {
        "opening": "0",
        "granted": "267",
        "voided": "7",
        "spent": "292",
        "overage": "102",
        "expired": "65",
        "refunded": "5",
        "transferred": "0",
        "closing": "0",
    }


def test_statements_of_two_halves_follow_one_another() -> None:
    whole = ledger()
    for cut in range(len(whole) + 1):
        first = statement(whole[:cut])
        assert first.closing_pico == (whole[cut - 1].balance_after_pico if cut else 0)
        second = statement(whole[cut:], first.closing_pico)
        assert second.closing_pico == whole[-1].balance_after_pico


def test_all_accounts_together_are_zero() -> None:
    accounts = trial_balance(ledger())
    assert sum(accounts.values()) == 0
    assert list(accounts) == sorted(accounts)
    assert accounts["issued/paid"] == -250 * E12
    assert accounts["issued/promotional"] == -10 * E12
    assert accounts["overdraft"] == accounts["wallet/paid"] == 0


def test_a_transaction_reads_like_the_documented_answer() -> None:
    assert ledger()[2].to_json() == {
        "ordinal": 3,
        "at": "2026-03-02T00:00:00Z",
        "kind": "spend",
        "cause": {"by": "test"},
        "postings": [
            {"account": "wallet/gift", "amount": "-10"},
            {"account": "wallet/paid", "amount": "-2"},
            {"account": "spent", "amount": "12"},
        ],
        "balance_after": "98",
    }


def test_an_honest_ledger_has_no_findings() -> None:
    assert audit(ledger()) == []
    assert audit([]) == []


@pytest.mark.parametrize(
    ("forged", "finding"),
    [
        (ledger()[1:], "transaction 2 follows transaction 0"),
        (ledger()[:3] + ledger()[4:], "transaction 5 follows transaction 3"),
        (changed(4, at=parse_instant("2026-03-01T00:00:00Z")), "booked earlier than the one"),
        (changed(3, balance_after_pico=97 * E12), "says the balance is 97, its postings make it"),
        (changed(3, postings=()), "transaction 3 has no postings"),
        (
            changed(3, postings=(Posting("wallet/gift", -10 * E12), Posting("spent", 11 * E12))),
            "transaction 3 sums to 1, not to 0",
        ),
        (
            changed(3, postings=(Posting("wallet/gift", -12 * E12), Posting("spent", 12 * E12))),
            "transaction 3 takes wallet/gift below zero, to -2",
        ),
        (
            changed(2, postings=(Posting("issued/paid", 0), Posting("wallet/gift", 0))),
            "transaction 2 posts nothing to issued/paid",
        ),
        (
            changed(2, postings=(Posting("issued/paid", -E12), Posting("overdraft", E12))),
            "transaction 2 repays 1 more overdraft than there was",
        ),
        (
            changed(2, postings=(Posting("nowhere", -10 * E12), Posting("wallet/gift", 10 * E12))),
            "come to -10, the last balance is 0",
        ),
    ],
)
def test_each_forgery_is_found(forged: list[Transaction], finding: str) -> None:
    assert any(finding in found for found in audit(forged)), audit(forged)


def test_every_kind_of_transaction_occurs_in_some_story() -> None:
    text = "2026-01-01 grant g 10 every P1M rolls 5\n2026-02-01 burn 1 x\n2026-02-02 reverse 5 x"
    more = Script(text).transactions
    kinds = {one.kind for one in [*ledger(), *more]}
    assert kinds == set(Kind) - {Kind.TRANSFER}  # between two wallets
