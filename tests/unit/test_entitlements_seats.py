"""Seats: who may have one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taximeter.entitlements.decide import Reason
from taximeter.entitlements.seats import assign, holding
from taximeter.instants import DAY, HOUR

E12 = 10**12
NOW = DAY


def test_a_free_seat_is_assigned_with_the_numbers_before() -> None:
    decision = assign("seats", 2, {"ann": None}, "bob", NOW)
    assert (decision.allowed, decision.reason) == (True, Reason.ENABLED)
    assert (decision.limit_pico, decision.used_pico, decision.remaining_pico) == (
        2 * E12,
        E12,
        E12,
    )


def test_the_same_holder_again_is_allowed_even_when_all_are_taken() -> None:
    assert assign("seats", 1, {"ann": None}, "ann", NOW).allowed


def test_when_all_are_taken_the_refusal_says_what_would_help() -> None:
    refused = assign("seats", 1, {"ann": None}, "bob", NOW)
    assert refused.reason is Reason.LIMIT_REACHED
    assert refused.detail == "seats has 1 seat and none is free for 'bob'."
    assert refused.help == "Release the seat of somebody else, or add seats to the plan."


def test_a_concurrent_seat_is_held_until_and_not_at_its_end() -> None:
    holders = {"ann": NOW + HOUR, "cid": NOW + 2 * HOUR}
    refused = assign("seats", 2, holders, "bob", NOW + HOUR - 1)
    assert (refused.allowed, refused.resets_at) == (False, NOW + HOUR)
    assert refused.detail == (
        "seats has 2 seats and none is free for 'bob'; one is at 1970-01-02T01:00:00Z."
    )
    assert refused.help == (
        "Wait until 1970-01-02T01:00:00Z, release the seat of somebody else, "
        "or add seats to the plan."
    )
    assert assign("seats", 2, holders, "bob", NOW + HOUR).allowed


def test_fewer_seats_than_holders_take_none_away_and_all_that_are_too_many_have_to_end() -> None:
    holders = {"ann": NOW + HOUR, "cid": None, "dot": NOW + 2 * HOUR}
    refused = assign("seats", 2, holders, "bob", NOW)
    assert (refused.overage_pico, refused.resets_at) == (E12, NOW + 2 * HOUR)
    assert assign("seats", 1, holders, "bob", NOW).resets_at is None
    assert assign("seats", 1, holders, "cid", NOW).allowed


@given(
    st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 9)),
    st.integers(0, 4),
    st.sampled_from("abcde"),
    st.integers(0, 9),
)
def test_never_more_holders_than_seats_by_assigning(
    holders: dict[str, int | None], seats: int, holder: str, now: int
) -> None:
    before = holding(holders, now)
    if assign("f", seats, holders, holder, now).allowed:
        after = holding({**before, holder: None}, now)
        assert len(after) <= max(seats, len(before))
    else:
        assert holder not in before
        assert len(before) >= seats
