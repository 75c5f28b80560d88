"""The search finds an order where there is one, and says so where there is none."""

from __future__ import annotations

import itertools
from typing import Any

from tests.audit.linear import linearise
from tests.audit.record import Record

_numbers = itertools.count(1)


def done(
    kind: str, start: int, end: int, balance: str | None, available: str = "", **ask: Any
) -> Record:
    """An operation on one wallet; without a balance it was refused."""
    name = f"op{next(_numbers)}"
    if kind in ("consume", "reserve", "grant"):
        ask = {"id": name, "feature": "chat"} | ask
    answer: dict[str, Any] = {"seq": None, "allowed": False}
    if balance is not None:
        answer = {"seq": 1, "balance_after": balance, "available_after": available or balance}
    return Record(name, kind, "w", ask, start, end, start, 1, 200, answer)


def test_operations_one_after_the_other_have_the_order_they_had() -> None:
    history = [
        done("grant", 0, 1, "5", amount="5"),
        done("consume", 2, 3, "3", amount="4"),
        done("consume", 4, 5, None, amount="8"),
    ]
    assert linearise(history) == history


def test_overlapping_debits_may_have_happened_in_either_order() -> None:
    grant = done("grant", 0, 1, "5", amount="5")
    one, other = done("consume", 2, 9, "3", amount="2"), done("consume", 3, 8, "4", amount="2")
    assert linearise([grant, one, other]) == [grant, other, one]


def test_two_debits_that_both_saw_the_whole_balance_have_no_order() -> None:
    grant = done("grant", 0, 1, "5", amount="5")
    both = [done("consume", 2, 9, "4", amount="2") for _ in range(2)]
    assert linearise([grant, *both]) is None


def test_an_order_against_real_time_is_none() -> None:
    grant = done("grant", 0, 1, "5", amount="5")
    first, then = done("consume", 2, 3, "3", amount="2"), done("consume", 4, 5, "4", amount="2")
    assert linearise([grant, first, then]) is None


def test_a_refusal_needs_an_instant_at_which_it_was_right() -> None:
    grant = done("grant", 0, 1, "5", amount="5")
    refused = done("consume", 2, 9, None, amount="10")
    assert linearise([grant, refused]) is None
    spent = done("consume", 3, 8, "4", amount="2")
    assert linearise([grant, refused, spent]) == [grant, spent, refused]


def test_what_is_held_cannot_be_spent_and_comes_back_when_it_is_settled_for_less() -> None:
    history = [
        done("grant", 0, 1, "5", amount="5"),
        done("reserve", 2, 3, "5", "1", id="h", amount="8"),
        done("consume", 4, 5, None, amount="4"),
        done("settle", 6, 7, "4", hold="h", feature="chat", amount="2"),
        done("settle", 8, 9, None, hold="h", feature="chat", amount="2"),
    ]
    assert linearise(history) == history


def test_one_identifier_has_one_effect_whoever_comes_first() -> None:
    grant = done("grant", 0, 1, "5", amount="5")
    twice = [done("consume", 2, 9, "4", id="same", amount="2") for _ in range(2)]
    after = done("consume", 10, 11, "3", amount="2")
    assert linearise([grant, *twice, after]) is not None
    doubled = done("consume", 10, 11, "2", amount="2")
    assert linearise([grant, *twice, doubled]) is None
