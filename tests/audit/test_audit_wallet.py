"""The auditor's wallet against what a person works out: K13, K14, K19."""

from __future__ import annotations

import pytest
from tests.audit.amounts import E12, pico, plain
from tests.audit.wallet import NEVER, Hold, Lot, Wallet


def lot(name: str, units: int, priority: int = 0, expires_at: int = NEVER, **terms: object) -> Lot:
    return Lot(name, units * E12, priority, terms.pop("effective_at", 0), expires_at, **terms)  # type: ignore[arg-type]


def wallet(*lots: Lot) -> Wallet:
    made = Wallet()
    for one in lots:
        made.grant(one)
    return made


def remaining(of: Wallet) -> dict[str, int]:
    return {one.id: one.remaining // E12 for one in of.lots}


def held(of: Wallet, units: int, until: int = 100, name: str = "h", feature: str = "chat") -> Hold:
    hold = Hold(name, feature, units * E12, until)
    of.hold(hold, units * E12)
    return hold


@pytest.mark.parametrize("text", ["0", "1", "-0.25", "0.000000000001", "12345.6789"])
def test_amounts_are_exact_both_ways(text: str) -> None:
    assert plain(pico(text)) == text


@pytest.mark.parametrize("text", ["", "1e3", "0.0000000000001", "NaN", "--1", "+1"])
def test_what_is_no_plain_decimal_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        pico(text)


def test_credit_burns_by_priority_then_expiry_then_start_then_id() -> None:
    lots = [
        lot("e", 1), lot("d", 1), lot("c", 1, effective_at=-1), lot("b", 1, expires_at=9),
        lot("a", 1, priority=1, expires_at=1), lot("f", 1, priority=-1),
    ]  # fmt: skip
    made = wallet(*lots)
    order = []
    while made.lots:
        order.append(made.lots[0].id)
        made.spend(E12, "chat")
    assert order == ["f", "b", "c", "d", "e", "a"]


def test_a_lot_is_usable_until_but_not_at_its_expiry() -> None:
    made = wallet(lot("a", 5, expires_at=10))
    made.advance(9)
    assert made.usable("chat") == 5 * E12
    made.advance(10)
    assert (made.usable("chat"), made.balance, made.totals.broken) == (0, 0, 5 * E12)
    assert made.by_time == {10: -5 * E12}


def test_a_lot_counts_from_its_start() -> None:
    made = wallet(lot("a", 5, effective_at=10))
    assert (made.balance, made.next_change_at) == (0, 10)
    made.advance(10)
    assert made.balance == 5 * E12


def test_a_restricted_lot_pays_only_for_its_features_but_can_be_moved() -> None:
    made = wallet(lot("a", 5, features=("image",)), lot("b", 1))
    assert [made.usable(f) // E12 for f in ("chat", "image", None)] == [1, 6, 6]


def test_a_hold_lowers_what_is_available_not_the_balance() -> None:
    made = wallet(lot("a", 5))
    held(made, 3)
    assert (made.balance, made.available) == (5 * E12, 2 * E12)


def test_a_hold_outlives_its_lot_and_what_returns_is_breakage() -> None:
    made = wallet(lot("a", 5, expires_at=10))
    hold = held(made, 3)
    made.advance(10)
    assert made.balance == 3 * E12
    made.settle(hold, 2 * E12)
    assert (made.balance, made.totals.spent, made.totals.broken) == (0, 2 * E12, 3 * E12)


def test_a_hold_lapses_at_the_end_of_its_time() -> None:
    made = wallet(lot("a", 5))
    held(made, 3, until=10)
    made.advance(9)
    assert made.available == 2 * E12
    made.advance(10)
    assert (made.available, made.resolved) == (5 * E12, {"h": "lapsed"})


def test_settling_beyond_everything_is_a_debt_that_the_next_credit_repays() -> None:
    made = wallet(lot("a", 5))
    made.settle(held(made, 3), 7 * E12)
    assert (made.balance, made.debts) == (-2 * E12, {"chat": 2 * E12})
    made.grant(lot("b", 3))
    assert (made.balance, made.usable("chat"), made.debts) == (E12, E12, {})


def test_a_debt_is_not_repaid_by_credit_for_something_else() -> None:
    made = wallet(lot("a", 1))
    made.settle(held(made, 1), 3 * E12)
    made.grant(lot("b", 5, features=("image",)))
    assert (made.balance, made.usable("image"), made.debts) == (3 * E12, 5 * E12, {"chat": 2 * E12})


def test_usage_takes_what_is_free_and_the_rest_is_overage() -> None:
    made = wallet(lot("a", 5))
    held(made, 3)
    made.use(4 * E12, "chat")
    assert (made.balance, made.available, made.totals.overage) == (3 * E12, 0, 2 * E12)


def test_voiding_takes_back_what_is_free_and_leaves_what_is_held() -> None:
    made = wallet(lot("a", 5))
    hold = held(made, 3)
    assert made.void(made.known["a"]) == 2 * E12
    assert (made.balance, made.available) == (3 * E12, 0)
    made.release(hold)
    assert (made.balance, made.totals.broken) == (0, 3 * E12)


def test_moved_credit_keeps_its_terms() -> None:
    source, target = wallet(lot("a", 2, expires_at=10), lot("b", 5, priority=1)), wallet()
    source.move(3 * E12, target, "t")
    assert (remaining(source), remaining(target)) == ({"b": 4}, {"a~t": 2, "b~t": 1})
    target.advance(10)
    assert remaining(target) == {"b~t": 1}


def test_only_paid_credit_that_has_begun_and_is_free_can_be_refunded() -> None:
    paid, given, later = lot("a", 5, paid=True), lot("b", 5), lot("c", 5, paid=True, effective_at=9)
    made = wallet(paid, given, later)
    held(made, 3)
    assert [made.refundable(one) // E12 for one in (paid, given, later)] == [2, 0, 0]


def test_a_copy_goes_its_own_way() -> None:
    made = wallet(lot("a", 5, expires_at=10))
    held(made, 3)
    twin = made.copy()
    twin.advance(200)
    assert (twin.balance, made.balance, made.available) == (0, 5 * E12, 2 * E12)
    made.settle(made.holds["h"], 3 * E12)
    assert twin.resolved == {"h": "lapsed"}


def test_everything_that_came_is_there_or_went() -> None:
    made = wallet(lot("a", 5, expires_at=10), lot("b", 5))
    made.settle(held(made, 8), 2 * E12)
    made.advance(50)
    made.use(9 * E12, "chat")
    assert made.check() is None
    made.lots.append(lot("x", 1))
    assert made.check() is not None
