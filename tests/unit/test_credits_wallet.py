"""Wallets by example: the contract of K13, K14 and K19 as text."""

from __future__ import annotations

import pytest
from tests.unit.credits_script import Script, grant, instant

from taximeter.credits.wallet import Burned, Wallet
from taximeter.instants import HOUR
from taximeter.quantities import E12

AT = instant("2026-03-10")
CAUSE = {"by": "test"}


def wallet_with(*grants: str) -> Wallet:
    """Of lines like `g1 100 until 2026-04-01`, granted on 1 March."""
    return Script("\n".join(f"2026-03-01 grant {line}" for line in grants)).wallet


def burn_order(*grants: str) -> list[str]:
    wallet = wallet_with(*grants)
    _, burned = wallet.burn(wallet.balance_pico, "chat", AT, CAUSE)
    return [lot for lot, _ in burned.parts]


# --- burn-down ----------------------------------------------------------------------------------


def test_unused_credit_becomes_breakage_at_expiry() -> None:
    script = Script("""
        2026-03-01 grant g1 100 until 2026-04-01
        2026-03-10 burn 30 chat
        2026-04-01
    """)
    assert script.ledger == [
        "2026-03-01 grant issued/paid -100, wallet/g1 100 = 100",
        "2026-03-10 spend wallet/g1 -30, spent 30 = 70",
        "2026-04-01 expire wallet/g1 -70, breakage 70 = 0",
    ]


def test_a_grant_is_spendable_from_its_start_until_but_not_at_its_expiry() -> None:
    """K13: [effective_at, expires_at)."""
    script = Script("2026-03-01 grant g 100 from 2026-03-02 until 2026-03-03")
    script.run("2026-03-01T23:59:59.999999 burn 1 chat")
    script.run("2026-03-02 burn 2 chat")
    script.run("2026-03-02T23:59:59.999999 burn 3 chat")
    script.run("2026-03-03 burn 4 chat")
    assert script.answers == ["overage 1", "overage 0", "overage 0", "overage 4"]
    assert script.wallet.lots() == []


def test_burn_order_is_priority_then_expiry_then_start_then_id() -> None:
    """K13, with each tie broken by the next in line, and no expiry last."""
    assert burn_order(
        "never 1",
        "z 1 until 2026-05-01",
        "a 1 until 2026-05-01",
        "older 1 until 2026-05-01 from 2026-02-01",
        "sooner 1 until 2026-04-01",
        "late-but-first 1 priority -1",
        "last 1 until 2026-03-11 priority 1",
    ) == ["late-but-first", "sooner", "older", "a", "z", "never", "last"]


def test_burn_order_does_not_depend_on_the_order_of_granting() -> None:
    grants = ["b 1", "a 1", "d 1 until 2026-04-01", "c 1 until 2026-04-01"]
    assert burn_order(*grants) == burn_order(*reversed(grants)) == ["c", "d", "a", "b"]


def test_ids_are_compared_as_text() -> None:
    assert burn_order("g10 1", "g9 1", "G9 1") == ["G9", "g10", "g9"]


def test_a_grant_pays_only_for_its_features() -> None:
    wallet = wallet_with("images 10 for image until 2026-04-01", "all 5")
    assert wallet.burn(7 * E12, "chat", AT, CAUSE)[1] == Burned((("all", 5 * E12),), 2 * E12)
    assert wallet.available_pico("image") == 10 * E12
    assert wallet.available_pico("chat") == 0


def test_a_debit_of_no_feature_is_paid_by_credit_for_everything_only() -> None:
    wallet = wallet_with("images 10 for image", "all 5")
    assert wallet.can_cover(5 * E12, None)
    assert not wallet.can_cover(5 * E12 + 1, None)
    assert wallet.burn(6 * E12, None, AT, CAUSE)[1] == Burned((("all", 5 * E12),), E12)


def test_usage_beyond_all_credit_is_noted_as_overage_and_the_balance_stays_at_zero() -> None:
    script = Script("""
        2026-03-01 grant g 10
        2026-03-02 burn 12 chat
        2026-03-03 burn 5 chat
        2026-03-04 grant h 10
    """)
    assert script.ledger == [
        "2026-03-01 grant issued/paid -10, wallet/g 10 = 10",
        "2026-03-02 spend wallet/g -10, spent 10 = 0",
        "2026-03-02 overage overage -2, spent 2 = 0",
        "2026-03-03 overage overage -5, spent 5 = 0",
        "2026-03-04 grant issued/paid -10, wallet/h 10 = 10",
    ]


def test_burning_nothing_books_nothing() -> None:
    assert Wallet("usd", "acme").burn(0, "chat", AT, CAUSE) == ([], Burned((), 0))


def test_usage_that_comes_late_is_booked_now_because_a_wallet_never_goes_back() -> None:
    wallet = wallet_with("g 10")
    wallet.advance(AT)
    (booked,), _ = wallet.burn(E12, "chat", AT - HOUR, CAUSE)
    assert (booked.at, wallet.at) == (AT, AT)
    assert wallet.advance(AT - HOUR) == []
    assert wallet.at == AT


def test_a_used_up_grant_is_shown_until_it_ends() -> None:
    wallet = wallet_with("g 10 until 2026-04-01", "h 1")
    wallet.burn(11 * E12, "chat", AT, CAUSE)
    assert [(lot.id, lot.remaining_pico) for lot in wallet.lots()] == [("g", 0), ("h", 0)]
    assert wallet.advance(instant("2026-04-01")) == []
    assert [lot.id for lot in wallet.lots()] == ["h"]


def test_a_lot_is_shown_by_the_id_of_its_grant_and_its_own_name() -> None:
    script = Script("2026-03-01 grant g 10 every P1M rolls 5 for chat\n2026-04-01 hold h 6 chat")
    assert [lot.to_json() for lot in script.wallet.lots()] == [
        {
            "id": "g",
            "lot": "g#2",
            "stage": "live",
            "remaining": "15",
            "reserved": "6",
            "amount": "10",
            "priority": 0,
            "effective_at": "2026-04-01T00:00:00Z",
            "expires_at": "2026-05-01T00:00:00Z",
            "features": ["chat"],
            "kind": "paid",
        }
    ]


def test_years_of_used_up_top_ups_do_not_pile_up() -> None:
    wallet = wallet_with("dated 1 until 2027-01-01", "kept 5 priority 1")
    for n in range(1000):
        wallet.grant(grant(f"g{n}", "1", at=AT, credit="usd"), AT)
        wallet.burn(E12, "chat", AT, CAUSE)
    wallet.burn(E12, "chat", AT, CAUSE)
    shown = {lot.id for lot in wallet.lots()}
    assert len(shown) <= 256
    assert shown >= {"dated", "kept", "g999"}
    assert wallet.balance_pico == 5 * E12


# --- grants and time ----------------------------------------------------------------------------


def test_a_grant_that_begins_later_is_issued_then() -> None:
    script = Script("2026-03-01 grant g 10 from 2026-03-05")
    assert script.ledger == []
    assert script.wallet.next_change_at == instant("2026-03-05")
    assert script.wallet.lots()[0].stage == "pending"
    script.run("2026-03-06")
    assert script.ledger == ["2026-03-05 grant issued/paid -10, wallet/g 10 = 10"]
    assert script.wallet.next_change_at is None


def test_a_grant_that_has_expired_already_is_issued_and_is_breakage_at_once() -> None:
    script = Script("2026-03-10 grant g 10 from 2026-03-01 until 2026-03-10")
    assert script.ledger == [
        "2026-03-10 grant issued/paid -10, wallet/g 10 = 10",
        "2026-03-10 expire wallet/g -10, breakage 10 = 0",
    ]


def test_at_one_instant_a_lot_ends_before_another_begins() -> None:
    script = Script("""
        2026-03-01 grant b 10 until 2026-04-01
        2026-03-01 grant a 20 from 2026-04-01
        2026-04-02
    """)
    assert script.last(2) == [
        "2026-04-01 expire wallet/b -10, breakage 10 = 0",
        "2026-04-01 grant issued/paid -20, wallet/a 20 = 20",
    ]


def test_unused_credit_rolls_over_up_to_the_cap_and_the_rest_is_breakage() -> None:
    script = Script("""
        2026-01-31 grant g 100 every P1M rolls 30
        2026-02-10 burn 20 chat
        2026-02-28
        2026-03-31
    """)
    assert script.ledger == [
        "2026-01-31 grant issued/paid -100, wallet/g 100 = 100",
        "2026-02-10 spend wallet/g -20, spent 20 = 80",
        "2026-02-28 expire wallet/g -50, breakage 50 = 30",
        "2026-02-28 rollover wallet/g -30, wallet/g#2 30 = 30",
        "2026-02-28 grant issued/paid -100, wallet/g#2 100 = 130",
        "2026-03-31 expire wallet/g#2 -100, breakage 100 = 30",
        "2026-03-31 rollover wallet/g#2 -30, wallet/g#3 30 = 30",
        "2026-03-31 grant issued/paid -100, wallet/g#3 100 = 130",
    ]


def test_a_rollover_without_a_cap_carries_everything_again_and_again() -> None:
    script = Script("2026-01-01 grant g 10 every P1M rolls all\n2026-04-15")
    assert script.standing == "balance 40, reserved 0, available 40"
    assert [lot.id for lot in script.wallet.lots()] == ["g#4"]


def test_without_rollover_an_occurrence_leaves_nothing_to_the_next() -> None:
    script = Script("2026-01-01 grant g 10 every P1M\n2026-02-01")
    assert script.last(2) == [
        "2026-02-01 expire wallet/g -10, breakage 10 = 0",
        "2026-02-01 grant issued/paid -10, wallet/g#2 10 = 10",
    ]


def test_nothing_rolls_over_past_the_end_of_the_series() -> None:
    script = Script("2026-01-01 grant g 10 every P1M rolls all until 2026-03-01\n2026-03-01")
    assert script.last(1) == ["2026-03-01 expire wallet/g#2 -20, breakage 20 = 0"]
    assert script.wallet.next_change_at is None


def test_a_recurring_grant_of_the_past_starts_with_the_occurrence_that_runs_now() -> None:
    script = Script("2026-03-10 grant g 10 from 2026-01-31 every P1M rolls all")
    assert script.ledger == ["2026-03-10 grant issued/paid -10, wallet/g#2 10 = 10"]
    assert script.wallet.next_change_at == instant("2026-03-31")


def test_occurrences_follow_the_wall_clock_of_the_grant() -> None:
    """09:00 in Berlin is 08:00Z in winter and 07:00Z in summer."""
    script = Script(
        "2026-03-28T08:00 grant g 10 every P1D timezone Europe/Berlin\n2026-03-29T07:00"
    )
    assert script.last(1) == ["2026-03-29T07:00 grant issued/paid -10, wallet/g#2 10 = 10"]


def test_two_occurrences_at_one_instant_pass_through() -> None:
    """Samoa had no 30 December 2011: its occurrence begins, and ends, with that of the 31st."""
    script = Script("2011-12-29T10:00 grant g 10 every P1D rolls all timezone Pacific/Apia")
    script.run("2011-12-30T10:00")
    assert [lot.id for lot in script.wallet.lots()] == ["g#3"]
    assert script.standing == "balance 30, reserved 0, available 30"


# --- holds --------------------------------------------------------------------------------------


def test_a_hold_lowers_what_is_available_and_not_the_balance() -> None:
    """K14"""
    script = Script("2026-03-01 grant g 10\n2026-03-02 hold h 4 chat")
    assert script.standing == "balance 10, reserved 4, available 6"
    assert script.ledger == ["2026-03-01 grant issued/paid -10, wallet/g 10 = 10"]
    script.run("2026-03-03 settle h 3")
    assert script.standing == "balance 7, reserved 0, available 7"
    assert script.last(1) == ["2026-03-03 settle wallet/g -3, spent 3 = 7"]


def test_a_hold_is_all_or_nothing() -> None:
    script = Script("2026-03-01 grant g 10\n2026-03-02 hold h 11 chat\n2026-03-02 hold h 10 chat")
    assert script.answers == ["refused", "held"]
    script.run("2026-03-02 hold i 0.000000000001 chat")
    assert script.answers[-1] == "refused"


def test_holds_and_burns_take_from_the_same_lots_in_the_same_order() -> None:
    script = Script("""
        2026-03-01 grant later 10
        2026-03-01 grant soon 10 until 2026-04-01
        2026-03-02 hold h 15 chat
        2026-03-03 settle h 12
    """)
    assert script.last(1) == ["2026-03-03 settle wallet/soon -10, wallet/later -2, spent 12 = 8"]


def test_a_burn_never_touches_what_is_reserved() -> None:
    script = Script("2026-03-01 grant g 10\n2026-03-02 hold h 8 chat\n2026-03-02 burn 5 chat")
    assert script.answers[-1] == "overage 3"
    assert script.wallet.held_pico("h") == 8 * E12


def test_extending_a_hold_adds_to_the_end_of_it() -> None:
    script = Script("""
        2026-03-01 grant later 10
        2026-03-02 hold h 2 chat
        2026-03-03 grant soon 10 until 2026-04-01
        2026-03-03 more h 5
        2026-03-03 more h 14
        2026-03-04 settle h 4
    """)
    assert script.answers == ["held", "held", "refused"]
    assert script.last(1) == ["2026-03-04 settle wallet/later -2, wallet/soon -2, spent 4 = 16"]


def test_usage_under_a_lease_spends_the_hold_and_leaves_it_open() -> None:
    script = Script("2026-03-01 grant g 10\n2026-03-02 hold h 6 chat\n2026-03-03 spend h 4")
    assert script.standing == "balance 6, reserved 2, available 4"
    assert script.last(1) == ["2026-03-03 spend wallet/g -4, spent 4 = 6"]
    script.run("2026-03-04 spend h 2")
    assert script.wallet.held_pico("h") == 0
    script.run("2026-03-04 release h")
    assert script.wallet.held_pico("h") is None


def test_what_is_reserved_survives_the_end_of_its_grant_and_what_returns_is_breakage() -> None:
    """K14"""
    script = Script("""
        2026-03-01 grant g 10 until 2026-04-01
        2026-03-31 hold h 6 chat
        2026-04-01
    """)
    assert script.last(1) == ["2026-04-01 expire wallet/g -4, breakage 4 = 6"]
    assert script.standing == "balance 6, reserved 6, available 0"
    script.run("2026-04-02 settle h 5")
    assert script.last(2) == [
        "2026-04-02 settle wallet/g -5, spent 5 = 1",
        "2026-04-02 expire wallet/g -1, breakage 1 = 0",
    ]
    assert script.wallet.lots() == []


def test_a_release_books_nothing_unless_a_grant_has_ended() -> None:
    script = Script("2026-03-01 grant g 10\n2026-03-02 hold h 6 chat\n2026-03-03 release h")
    assert script.standing == "balance 10, reserved 0, available 10"
    assert len(script.ledger) == 1


def test_a_hold_does_not_roll_over() -> None:
    script = Script("""
        2026-03-01 grant g 10 every P1M rolls all
        2026-03-31 hold h 6 chat
        2026-04-01
        2026-04-02 release h
    """)
    assert script.last(1) == ["2026-04-02 expire wallet/g -6, breakage 6 = 14"]


def test_settling_beyond_takes_free_credit_and_then_overdraws() -> None:
    """K14: the whole truth, even below zero."""
    script = Script("""
        2026-03-01 grant g 10
        2026-03-02 hold h 4 chat
        2026-03-03 settle h 15 beyond
    """)
    assert script.last(1) == ["2026-03-03 settle wallet/g -10, overdraft -5, spent 15 = -5"]
    assert script.standing == "balance -5, reserved 0, available -5"
    assert script.wallet.overdraft_pico == 5 * E12


def test_the_next_credit_pays_the_overdraft_first() -> None:
    script = Script("""
        2026-03-01 grant g 1
        2026-03-02 hold h 1 chat
        2026-03-02 settle h 6 beyond
        2026-03-03 grant small 2
        2026-03-04 grant big 10
    """)
    assert script.last(4) == [
        "2026-03-03 grant issued/paid -2, wallet/small 2 = -3",
        "2026-03-03 repay wallet/small -2, overdraft 2 = -3",
        "2026-03-04 grant issued/paid -10, wallet/big 10 = 7",
        "2026-03-04 repay wallet/big -3, overdraft 3 = 7",
    ]
    assert script.standing == "balance 7, reserved 0, available 7"


def test_credit_pays_only_the_overdraft_of_what_it_may_pay_for() -> None:
    script = Script("""
        2026-03-01 grant g 1
        2026-03-02 hold h 1 chat
        2026-03-02 settle h 6 beyond
        2026-03-03 grant images 10 for image
    """)
    assert script.last(1) == ["2026-03-03 grant issued/paid -10, wallet/images 10 = 5"]
    assert script.wallet.available_pico("image") == 10 * E12
    assert script.wallet.available_pico("chat") == -5 * E12


def test_credit_that_a_hold_gives_back_pays_the_overdraft() -> None:
    script = Script("""
        2026-03-01 grant g 10
        2026-03-02 hold h 4 chat
        2026-03-02 hold i 6 chat
        2026-03-03 settle i 8 beyond
        2026-03-04 release h
    """)
    assert script.last(2) == [
        "2026-03-03 settle wallet/g -6, overdraft -2, spent 8 = 2",
        "2026-03-04 repay wallet/g -2, overdraft 2 = 2",
    ]
    assert script.standing == "balance 2, reserved 0, available 2"


def test_overdrafts_of_one_feature_add_up_and_the_oldest_feature_is_paid_first() -> None:
    script = Script("""
        2026-03-01 grant g 3
        2026-03-02 hold h 1 image
        2026-03-02 hold i 1 chat
        2026-03-02 hold j 1 image
        2026-03-03 settle h 2 beyond
        2026-03-03 settle i 2 beyond
        2026-03-03 settle j 2 beyond
        2026-03-04 grant k 2
    """)
    assert script.last(1) == ["2026-03-04 repay wallet/k -2, overdraft 2 = -1"]
    assert (script.wallet.available_pico("image"), script.wallet.available_pico("chat")) == (
        0,
        -E12,
    )


def test_our_own_mistakes_fail_loudly() -> None:
    wallet = wallet_with("g 10 until 2026-03-05")
    with pytest.raises(AssertionError, match="advance first"):
        wallet.hold("h", E12, "chat", instant("2026-03-05"))
    assert wallet.hold("h", E12, "chat", instant("2026-03-04"))
    with pytest.raises(AssertionError, match="exceeds the reservation"):
        wallet.copy().settle("h", 2 * E12, wallet.at, CAUSE)
    with pytest.raises(AssertionError, match="is open"):
        wallet.hold("h", E12, "chat", wallet.at)
    with pytest.raises(AssertionError, match="is known"):
        wallet.grant(grant("g", "1", at=wallet.at, credit="usd"), wallet.at)


# --- void, refund, transfer ---------------------------------------------------------------------


def test_voiding_reverses_what_is_left_of_an_issue_and_ends_the_series() -> None:
    script = Script("""
        2026-03-01 grant g 10 every P1M promotional
        2026-03-02 burn 4 chat
        2026-03-03 void g
        2026-05-01
    """)
    assert script.last(1) == ["2026-03-03 void wallet/g -6, issued/promotional 6 = 0"]
    assert script.wallet.next_change_at is None
    assert script.wallet.lots() == []


@pytest.mark.parametrize("name", ["g", "g#2"])
def test_a_series_is_voided_by_its_name_or_that_of_its_lot(name: str) -> None:
    script = Script(f"2026-03-01 grant g 10 every P1M rolls 5\n2026-04-02 void {name}\n2026-05-01")
    assert script.last(1) == ["2026-04-02 void wallet/g#2 -15, issued/paid 15 = 0"]


def test_voiding_before_the_start_leaves_no_trace() -> None:
    script = Script("2026-03-01 grant g 10 from 2026-04-01\n2026-03-02 void g\n2026-05-01")
    assert script.ledger == []
    assert script.wallet.lots() == []


def test_voiding_leaves_to_a_hold_what_it_holds_and_the_rest_of_it_is_breakage() -> None:
    script = Script("""
        2026-03-01 grant g 10
        2026-03-02 hold h 6 chat
        2026-03-03 void g
        2026-03-04 settle h 5
    """)
    assert script.last(3) == [
        "2026-03-03 void wallet/g -4, issued/paid 4 = 6",
        "2026-03-04 settle wallet/g -5, spent 5 = 1",
        "2026-03-04 expire wallet/g -1, breakage 1 = 0",
    ]


def test_voiding_what_has_ended_or_never_was_changes_nothing() -> None:
    script = Script(
        "2026-03-01 grant g 10\n2026-03-02 void g\n2026-03-02 void g\n2026-03-02 void x"
    )
    assert len(script.ledger) == 2


def test_only_paid_credit_that_is_free_is_refunded() -> None:
    script = Script("""
        2026-03-01 grant paid 10
        2026-03-01 grant gift 10 promotional
        2026-03-02 hold h 12 chat
        2026-03-02 settle h 11
        2026-03-02 hold i 1 chat
    """)
    assert script.wallet.refundable_pico("gift") == 0
    assert script.wallet.refundable_pico("paid") == 8 * E12
    script.run("2026-03-03 refund paid 8")
    assert script.last(1) == ["2026-03-03 refund wallet/paid -8, refunded 8 = 1"]
    assert script.wallet.refundable_pico("paid") == 0


def test_a_transfer_keeps_the_terms_of_its_lots() -> None:
    source = wallet_with("b 10 priority 1 for chat", "a 4 until 2026-04-01 promotional")
    target = Wallet("usd", "umbrella")
    assert source.transferable_pico == 14 * E12
    (out,), moved = source.transfer_out("t1", 6 * E12, AT, CAUSE)
    assert [p.account for p in out.postings] == ["wallet/a", "wallet/b", "transferred"]
    (into,) = target.transfer_in(moved, AT, CAUSE)
    assert out.postings[-1].amount_pico == -into.postings[-1].amount_pico == 6 * E12
    first, second = target.lots()
    assert (first.id, first.remaining_pico, first.kind) == ("a~t1", 4 * E12, "promotional")
    assert first.expires_at == instant("2026-04-01")
    assert (second.id, second.remaining_pico, second.priority) == ("b~t1", 2 * E12, 1)
    assert second.features == ("chat",)
    assert source.balance_pico == 8 * E12


def test_a_transferred_occurrence_ends_when_it_would_have_and_does_not_recur() -> None:
    source = wallet_with("g 10 every P1M rolls all")
    target = Wallet("usd", "umbrella")
    target.transfer_in(source.transfer_out("t", 10 * E12, AT, CAUSE)[1], AT, CAUSE)
    assert [t.kind for t in target.advance(instant("2026-04-01"))] == ["expire"]
    assert target.next_change_at is None


def test_a_transfer_to_a_wallet_further_in_time_ends_at_once_what_has_ended_by_then() -> None:
    source, target = wallet_with("g 10 until 2026-03-11"), Wallet("usd", "umbrella")
    target.advance(instant("2026-03-12"))
    booked = target.transfer_in(source.transfer_out("t", E12, AT, CAUSE)[1], AT, CAUSE)
    assert [t.kind for t in booked] == ["transfer", "expire"]
    assert target.lots() == []


# --- dump, copy ---------------------------------------------------------------------------------


def test_a_dump_holds_plain_text_and_reads_back_to_the_same_wallet() -> None:
    script = Script("""
        2026-03-01 grant g 99999999999999999999999999 for chat every P1M rolls 5
        2026-03-01 grant later 5 from 2026-06-01
        2026-03-02 hold h 7 chat
        2026-03-03 hold i 0 image
        2026-04-01
        2026-04-02 hold j 1 chat
        2026-04-03 settle i 3 beyond
    """)
    dump = script.wallet.dump()
    twin = Wallet.load(dump)
    assert twin.dump() == dump
    for wallet in (script.wallet, twin):
        assert wallet.next_change_at == instant("2026-05-01")
        assert wallet.held_pico("h") == 7 * E12
    assert twin.settle("h", E12, AT, CAUSE) == script.wallet.settle("h", E12, AT, CAUSE)
    assert twin.advance(instant("2027-01-01")) == script.wallet.advance(instant("2027-01-01"))
    assert twin.dump() == script.wallet.dump()


# --- the examples of docs/concepts/credits.md ---------------------------------------------------


def test_the_documented_burn_order() -> None:
    script = Script("""
        2026-01-31 grant pro-2026 40 priority 1 for chat every P1M
        2026-03-01 grant promo 10 until 2026-04-01
        2026-03-01 grant bought 100 priority 1
        2026-03-01 grant pictures 20 for image until 2026-03-15
        2026-03-02 burn 60 chat
    """)
    left = {lot.id: lot.remaining_pico // E12 for lot in script.wallet.lots()}
    assert left == {"promo": 0, "pro-2026#2": 0, "bought": 90, "pictures": 20}
    assert script.ledger[-1].endswith(
        "wallet/promo -10, wallet/pro-2026#2 -40, wallet/bought -10, spent 60 = 110"
    )
