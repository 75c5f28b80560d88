"""Ledgers against the replay: a right one agrees, and each forgery is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.audit.books import Books, compare
from tests.audit.judge import Verdict, judge
from tests.audit.record import Record
from tests.audit.workload import instant

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
Ledger = list[dict[str, Any]]


def at(seconds: float) -> str:
    return instant(NOW + int(seconds * SECOND))


def history() -> list[Record]:
    """10 granted for two seconds, 4 spent after one."""

    def record(kind: str, seconds: float, ask: dict[str, Any], answer: dict[str, Any]) -> Record:
        wall = NOW + int(seconds * SECOND)
        return Record(kind, kind, "w", ask, wall, wall + 1000, wall, 1, 200, answer)

    grant = {"id": "g", "amount": "10", "expires_at": NOW + 2 * SECOND}
    debit = {"id": "d", "feature": "chat", "amount": "8"}
    return [
        record("grant", 0, grant, {"seq": 1, "balance_after": "10", "available_after": "10"}),
        record("consume", 1, debit, {"seq": 2, "balance_after": "6", "available_after": "6"}),
    ]


def entry(ordinal: int, seq: int, seconds: float, kind: str, **more: Any) -> dict[str, Any]:
    postings = [{"account": name, "amount": amount} for name, amount in more["postings"].items()]
    return {
        "ordinal": ordinal, "seq": seq, "at": at(seconds), "kind": kind, "cause": more["cause"],
        "amount": more["amount"], "balance_after": more["after"], "postings": postings,
    }  # fmt: skip


def ledger() -> Ledger:
    return [
        entry(
            1, 1, 0, "grant", amount="10", after="10", cause={"by": "me", "grant": "g"},
            postings={"issued/promotional": "-10", "wallet/g": "10"},
        ),
        entry(
            2, 2, 1, "spend", amount="-4", after="6", cause={"do": "usage", "seq": 2},
            postings={"wallet/g": "-4", "spent": "4"},
        ),
        entry(
            3, 3, 2, "expire", amount="-6", after="0", cause={"by": "time", "grant": "g"},
            postings={"wallet/g": "-6", "breakage": "6"},
        ),
    ]  # fmt: skip


def books(told: Ledger) -> Books:
    return Books(
        ledgers={"w": told},
        balances={
            "w": {"balance": "0", "available": "0", "reserved": "0", "as_of": {"time": at(5)}}
        },
        past={"w": (at(1.5), "6")},
        trial=[
            ("usd", "issued/promotional", "-10"), ("usd", "wallet", "0"), ("usd", "spent", "4"),
            ("usd", "breakage", "6"),
        ],
        at=NOW + 4 * SECOND,
        quiet=True,
    )  # fmt: skip


def judged(told: Books) -> Verdict:
    verdict = judge(history(), told.instants())
    compare(told, verdict)
    return verdict


def test_a_right_ledger_agrees_with_the_answers() -> None:
    assert str(judged(books(ledger()))) == ""


def lose_an_entry(told: Ledger) -> None:
    del told[1]


def forge_a_balance(told: Ledger) -> None:
    told[1]["balance_after"] = "7"


def unbalance(told: Ledger) -> None:
    told[1]["postings"][1]["amount"] = "5"


def spend_less(told: Ledger) -> None:
    """Sound in itself: only the answers know better."""
    told[1] |= {"amount": "-3", "balance_after": "7"}
    told[1]["postings"] = [
        {"account": "wallet/g", "amount": "-3"}, {"account": "spent", "amount": "3"},
    ]  # fmt: skip
    told[2] |= {"amount": "-7"}
    told[2]["postings"] = [
        {"account": "wallet/g", "amount": "-7"}, {"account": "breakage", "amount": "7"},
    ]  # fmt: skip


def expire_later(told: Ledger) -> None:
    told[2]["at"] = instant(NOW + 2 * SECOND + 1)


def never_expire(told: Ledger) -> None:
    del told[2]


def to_another_account(told: Ledger) -> None:
    told[2]["postings"][1]["account"] = "refunded"


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (lose_an_entry, "unsound ledger"),
        (forge_a_balance, "unsound ledger"),
        (unbalance, "unsound ledger"),
        (spend_less, "ledger tells otherwise"),
        (expire_later, "time did something else"),
        (never_expire, "time did something else"),
        (to_another_account, "wrong account"),
    ],
)
def test_a_forged_ledger_is_found(forge: Callable[[Ledger], None], kind: str) -> None:
    told = ledger()
    forge(told)
    found = {finding.kind for finding in judged(books(told)).findings}
    assert kind in found, found


def test_a_trial_balance_that_is_not_zero_or_not_that_of_the_ledgers_is_found() -> None:
    for account, amount in (("breakage", "7"), ("spent", "5")):
        told = copy.deepcopy(books(ledger()))
        told.trial[:] = [(c, a, amount if a == account else n) for c, a, n in told.trial]
        assert {finding.kind for finding in judged(told).findings} == {"trial balance"}


def test_a_wrong_balance_now_or_in_the_past_is_found() -> None:
    told = books(ledger())
    told.balances["w"]["reserved"] = "1"  # type: ignore[index]
    told.past["w"] = (at(0.5), "6")
    kinds = {finding.kind for finding in judged(told).findings}
    assert kinds == {"wrong balance in the end", "wrong balance in the past"}
