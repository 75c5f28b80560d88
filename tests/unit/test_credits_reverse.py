"""Usage that is taken back gives back what it cost, to who paid it (K19)."""

from __future__ import annotations

from tests.unit.credits_script import Script

from taximeter.credits.wallet import Wallet

TWO_GRANTS = """
    2026-03-01 grant soon 10 until 2026-04-01
    2026-03-01 grant paid 100
    2026-03-02 burn 25 chat
"""


def test_what_was_spent_returns_to_the_grants_that_paid() -> None:
    script = Script(TWO_GRANTS).run("2026-03-03 reverse 3 chat")
    assert script.last(1) == ["2026-03-03 reverse wallet/soon 10, wallet/paid 15, spent -25 = 110"]
    assert script.standing == "balance 110, reserved 0, available 110"


def test_what_a_grant_paid_that_has_ended_since_is_breakage() -> None:
    """It would have expired: giving it back as fresh credit would give more than was granted."""
    script = Script(TWO_GRANTS).run("2026-04-02 reverse 3 chat")
    assert script.last(1) == ["2026-04-02 reverse breakage 10, wallet/paid 15, spent -25 = 100"]


def test_overage_of_usage_that_is_taken_back_is_no_overage() -> None:
    script = Script("2026-03-01 grant g 10\n2026-03-02 burn 25 chat")
    assert script.last(1) == ["2026-03-02 overage overage -15, spent 15 = 0"]
    script.run("2026-03-03 reverse 2 chat").run("2026-03-03 reverse 3 chat")
    assert script.last(2) == [
        "2026-03-03 reverse wallet/g 10, spent -10 = 10",
        "2026-03-03 reverse overage 15, spent -15 = 10",
    ]


def test_an_overdraft_of_usage_that_is_taken_back_is_owed_no_more() -> None:
    script = Script(
        """
        2026-03-01 grant g 10
        2026-03-02 hold h 5 chat
        2026-03-03 settle h 30 beyond
        """
    )
    assert script.standing == "balance -20, reserved 0, available -20"
    script.run("2026-03-04 reverse 2 chat")
    assert script.standing == "balance 10, reserved 0, available 10"
    assert script.wallet.overdraft_pico == 0


def test_a_repaid_overdraft_returns_as_the_credit_that_is_spent_next() -> None:
    script = Script(
        """
        2026-03-01 grant g 10
        2026-03-02 hold h 5 chat
        2026-03-03 settle h 30 beyond
        2026-03-04 grant later 50
        2026-03-05 reverse 2 chat
        """
    )
    assert script.last(1) == ["2026-03-05 reverse wallet/g 10, wallet/later 20, spent -30 = 60"]


def test_credit_that_comes_back_pays_what_another_feature_owes() -> None:
    script = Script(
        """
        2026-03-01 grant g 10
        2026-03-02 burn 10 chat
        2026-03-03 hold h 0 image
        2026-03-03 settle h 4 beyond
        2026-03-04 reverse 2 chat
        """
    )
    assert script.last(2) == [
        "2026-03-04 reverse wallet/g 10, spent -10 = 6",
        "2026-03-04 repay wallet/g -4, overdraft 4 = 6",
    ]


def test_a_used_up_lot_that_was_dropped_takes_credit_again() -> None:
    """Used-up lots that never end are dropped when there are too many."""
    script = Script("2026-03-01 grant first 1\n2026-03-01 burn 1 chat")
    script.run("\n".join(f"2026-03-02 grant g{n} 1\n2026-03-02 burn 1 chat" for n in range(300)))
    assert script.wallet.drawn("first") is None
    script.run("2026-03-03 reverse 2 chat")
    assert script.last(1) == ["2026-03-03 reverse wallet/first 1, spent -1 = 1"]
    assert Wallet.load(script.wallet.dump()).dump() == script.wallet.dump()
