"""The decisions of the gate, by example and against the rule written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.catalog.features import BooleanEntitlement, Cost, Enforcement, StaticEntitlement
from taximeter.entitlements.decide import (
    Decision,
    Reason,
    beyond_included,
    decide,
    enabled,
    largest_allowed,
    no_subscription,
    not_entitled,
    paused,
    unknown_customer,
    unknown_feature,
)
from taximeter.entitlements.readings import POOLED, Funds, Kind, Reading
from taximeter.instants import parse_instant

E12 = 10**12
DECEMBER = parse_instant("2026-12-01T00:00:00Z")
TONIGHT = parse_instant("2026-11-21T00:00:00Z")
SOFT = Enforcement.SOFT


def plain(used_pico: int, reserved_pico: int = 0, limit_pico: int | None = 1000 * E12) -> Reading:
    return Reading(limit_pico, used_pico, reserved_pico, DECEMBER)


def soft(used_pico: int, grace_pico: int | None = None) -> Reading:
    return Reading(
        1000 * E12, used_pico, resets_at=DECEMBER, enforcement=SOFT, grace_pico=grace_pico
    )


def user(limit: int, used: int, name: str = "u7") -> Reading:
    return Reading(
        limit * E12, used * E12, resets_at=TONIGHT, level="user", scope=name, key="user:day"
    )


def one(reading: Reading, amount_pico: int) -> Decision:
    return decide("chat", (reading,), amount_pico)


# --- one plain limit --------------------------------------------------------------------------


def test_the_documented_answer() -> None:
    decision = decide("chat", (plain(812 * E12, limit_pico=1_000_000 * E12),), 500 * E12)
    as_of = {"position": "0:1482", "time": "2026-11-20T10:00:00Z"}
    assert decision.to_json(as_of) == {
        "allowed": True,
        "reason": "within_limit",
        "limit": "1000000",
        "used": "812",
        "reserved": "0",
        "remaining": "999188",
        "overage": "0",
        "resets_at": "2026-12-01T00:00:00Z",
        "level": "customer",
        "as_of": as_of,
    }


def test_a_hard_limit_allows_up_to_and_including_the_limit() -> None:
    assert one(plain(999 * E12), 1 * E12).allowed
    refused = one(plain(999 * E12), 1 * E12 + 1)
    assert (refused.allowed, refused.reason) == (False, Reason.LIMIT_REACHED)


def test_reservations_count_against_the_limit() -> None:
    decision = one(plain(600 * E12, 400 * E12), 1 * E12)
    assert (decision.allowed, decision.remaining_pico, decision.overage_pico) == (False, 0, 0)


def test_a_refusal_says_which_limit_what_is_left_when_it_resets_and_what_would_help() -> None:
    answer = one(plain(998 * E12 + E12 // 2), 5 * E12).to_json()
    assert answer["detail"] == (
        "chat has a hard limit of 1000 in this period and 1.5 left, 5 asked for; "
        "it resets at 2026-12-01T00:00:00Z."
    )
    assert answer["help"] == (
        "Ask for at most 1.5, wait until 2026-12-01T00:00:00Z, or raise the plan's limit."
    )
    assert "and nothing left, 1 asked for" in str(one(plain(2000 * E12), E12).detail)


def test_waiting_is_not_advised_for_what_never_fits() -> None:
    assert one(plain(0), 1001 * E12).help == "Ask for at most 1000 or raise the plan's limit."
    assert one(plain(0, limit_pico=0), E12).help == "Raise the plan's limit."


def test_a_soft_limit_allows_beyond_and_reports_the_overage() -> None:
    within = one(soft(900 * E12), 100 * E12)
    beyond = one(soft(1200 * E12), 1)
    assert (within.allowed, within.reason) == (True, Reason.WITHIN_LIMIT)
    assert (beyond.allowed, beyond.reason) == (True, Reason.SOFT_LIMIT_EXCEEDED)
    assert (beyond.remaining_pico, beyond.overage_pico, beyond.detail) == (0, 200 * E12, None)


def test_a_soft_limit_with_a_grace_share_refuses_beyond_limit_and_grace() -> None:
    tenth = E12 // 10
    assert one(soft(1000 * E12, tenth), 100 * E12).reason is Reason.SOFT_LIMIT_EXCEEDED
    refused = one(soft(1000 * E12, tenth), 100 * E12 + 1)
    assert refused.reason is Reason.LIMIT_REACHED
    assert "a soft limit of 1000 (1100 with grace) in this period and 100 left" in str(
        refused.detail
    )
    assert not one(soft(1000 * E12, 0), 1).allowed


def test_unlimited_has_usage_and_no_limit() -> None:
    answer = one(plain(5 * E12, limit_pico=None), 10**30).to_json()
    assert (answer["allowed"], answer["reason"]) == (True, "unlimited")
    assert (answer["limit"], answer["remaining"]) == (None, None)
    assert (answer["used"], answer["reserved"], answer["overage"]) == ("5", "0", "0")


def test_negative_usage_counts_as_zero() -> None:
    """K12."""
    decision = one(plain(-500 * E12), 1001 * E12)
    assert (decision.allowed, decision.used_pico) == (False, 0)


def test_nothing_fits_a_limit_of_zero_but_nothing() -> None:
    assert not one(plain(0, limit_pico=0), 1).allowed
    assert one(plain(0, limit_pico=0), 0).allowed


quantities = st.integers(0, 30)


@given(st.integers(-10, 30), quantities, quantities, quantities, st.sampled_from(Enforcement))
def test_a_decision_is_the_rule_written_out(
    usage: int, amount: int, reserved: int, limit: int, enforcement: Enforcement
) -> None:
    decision = one(Reading(limit, usage, reserved, enforcement=enforcement), amount)
    units = [*range(max(0, usage) + reserved + amount)]
    beyond = [unit for unit in units if unit >= limit]
    assert decision.allowed is (enforcement is Enforcement.SOFT or not beyond)
    assert (decision.reason is Reason.WITHIN_LIMIT) is (not beyond)
    free = [unit for unit in range(limit) if unit >= max(0, usage) + reserved]
    assert decision.remaining_pico == len(free)
    assert decision.overage_pico == len([unit for unit in range(max(0, usage)) if unit >= limit])


# --- several at once --------------------------------------------------------------------------


def test_when_all_allow_the_numbers_are_the_customers_own() -> None:
    decision = decide("chat", (plain(0), user(10, 3)), 5 * E12)
    answer = decision.to_json()
    assert (answer["allowed"], answer["limit"], answer["level"]) == (True, "1000", "customer")
    assert "scope" not in answer
    assert answer["limits"] == [
        {
            "kind": "limit", "key": "period", "level": "customer", "scope": None,
            "limit": "1000", "used": "0", "reserved": "0", "remaining": "1000",
            "resets_at": "2026-12-01T00:00:00Z", "enforcement": "hard",
        },
        {
            "kind": "limit", "key": "user:day", "level": "user", "scope": "u7",
            "limit": "10", "used": "3", "reserved": "0", "remaining": "7",
            "resets_at": "2026-11-21T00:00:00Z", "enforcement": "hard",
        },
    ]  # fmt: skip


def test_the_level_that_refuses_is_named_with_its_numbers() -> None:
    answer = decide("chat", (plain(0), user(10, 8)), 5 * E12).to_json()
    assert (answer["reason"], answer["level"], answer["scope"]) == ("limit_reached", "user", "u7")
    assert (answer["limit"], answer["used"], answer["remaining"]) == ("10", "8", "2")
    assert answer["detail"] == (
        "chat has a hard limit of 10 for user 'u7' in this day and 2 left, 5 asked for; "
        "it resets at 2026-11-21T00:00:00Z."
    )
    assert answer["help"] == (
        "Ask for at most 2, wait until 2026-11-21T00:00:00Z, "
        "or raise the plan's limit for each user."
    )


def test_of_two_that_refuse_the_one_with_less_room_is_named_and_of_equal_ones_the_outermost() -> (
    None
):
    tight, tighter = plain(997 * E12), user(10, 9)
    assert decide("chat", (tight, tighter), 5 * E12).level == "user"
    assert decide("chat", (tight, user(10, 7)), 5 * E12).level == "customer"


def test_parallel_windows_must_all_hold() -> None:
    hours = Reading(100 * E12, 99 * E12, key="first_use:5h", resets_at=TONIGHT)
    refused = decide("chat", (plain(0), hours), 2 * E12)
    assert refused.reason is Reason.LIMIT_REACHED
    assert "a hard limit of 100 from the first use in 5h and 1 left" in str(refused.detail)


def test_a_soft_limit_that_is_exceeded_is_shown_even_behind_one_that_is_not() -> None:
    loose = Reading(5 * E12, 5 * E12, enforcement=SOFT, level="user", scope="u7", key="user:day")
    decision = decide("chat", (plain(0), loose), E12)
    assert (decision.reason, decision.level) == (Reason.SOFT_LIMIT_EXCEEDED, "user")


def test_a_rate_refuses_as_rate_limited_and_says_when_there_is_room() -> None:
    rate = Reading(60 * E12, 60 * E12, kind=Kind.RATE, key="rate:1m", resets_at=TONIGHT)
    refused = decide("chat", (plain(0), rate), E12)
    assert refused.reason is Reason.RATE_LIMITED
    assert refused.detail == (
        "chat has a rate limit of 60 in 1m and nothing left, 1 asked for; "
        "it has room again at 2026-11-21T00:00:00Z."
    )
    assert refused.help == "Wait until 2026-11-21T00:00:00Z or raise the plan's rate limit."


def test_a_rate_with_another_burst_names_both_and_suggests_whole_units() -> None:
    rate = Reading(
        80 * E12, 44_948_217 * 10**6, kind=Kind.RATE, key="rate:1m", pace_pico=60 * E12,
        resets_at=TONIGHT,
    )  # fmt: skip
    refused = decide("chat", (plain(0), rate), 60 * E12)
    assert "has a rate limit of 60 in 1m, 80 at once, and 35.051783 left" in str(refused.detail)
    assert str(refused.help).startswith("Ask for at most 35, wait until")
    assert largest_allowed((plain(0), rate)) == 35 * E12


def test_a_budget_in_money_is_weighed_at_the_cost_of_the_amount() -> None:
    budget = Reading(
        10 * E12, 9 * E12, kind=Kind.BUDGET, key="team-a", level="workspace", scope="a",
        credit="usd", cost=Cost(E12 // 4),
    )  # fmt: skip
    assert decide("chat", (plain(0), budget), 4 * E12).allowed
    refused = decide("chat", (plain(0), budget), 5 * E12)
    assert (refused.reason, refused.level) == (Reason.BUDGET_REACHED, "workspace")
    assert refused.detail == (
        "chat has a budget 'team-a' of 10 usd for workspace 'a' and 1 usd left, "
        "5 asked for at 1.25 usd."
    )
    assert refused.help == "Ask for at most 4 or raise the budget 'team-a'."


@given(
    st.lists(
        st.tuples(
            quantities, st.integers(-3, 30), quantities, st.booleans(), st.none() | quantities
        ),
        min_size=1,
        max_size=5,
    ),
    quantities,
)
def test_all_allow_or_the_tightest_refuses(
    constraints: list[tuple[int, int, int, bool, int | None]], amount: int
) -> None:
    readings = [
        Reading(
            limit, used, held,
            enforcement=SOFT if is_soft else Enforcement.HARD,
            grace_pico=None if grace is None else grace * E12 // 10,
            level=f"l{n}",
        )
        for n, (limit, used, held, is_soft, grace) in enumerate(constraints)
    ]  # fmt: skip

    def room(reading: Reading) -> float:
        if reading.enforcement is SOFT and reading.grace_pico is None:
            return float("inf")
        most = reading.limit_pico or 0
        if reading.enforcement is SOFT:
            most += most * (reading.grace_pico or 0) // E12
        return most - max(0, reading.used_pico) - reading.reserved_pico

    decision = decide("f", readings, amount)
    tightest = min(readings, key=room)
    assert decision.allowed is (room(tightest) >= amount)
    if not decision.allowed:
        assert decision.level == tightest.level
    largest = largest_allowed(readings)
    if largest is None:
        assert room(tightest) == float("inf")
    else:
        assert largest == max(0, room(tightest))
        assert decide("f", readings, largest).allowed or room(tightest) < 0
        assert not decide("f", readings, largest + 1).allowed


@given(st.integers(-10, 30), quantities, quantities, quantities, quantities)
def test_what_is_refused_stays_refused_when_more_is_asked_for(
    usage: int, amount: int, more: int, reserved: int, limit: int
) -> None:
    reading = Reading(limit, usage, reserved)
    if not one(reading, amount).allowed:
        assert not one(reading, amount + more).allowed


# --- credit -----------------------------------------------------------------------------------

CENTS2 = Cost(2 * E12 // 100)


def usd(available: int, cost: Cost = CENTS2, case: str | None = None) -> Funds:
    return Funds("usd", cost, available * E12, case)


def test_without_a_limit_everything_is_paid_with_credit() -> None:
    unlimited = plain(7 * E12, limit_pico=None)
    allowed = decide("image", (unlimited,), 50 * E12, usd(1))
    assert allowed.reason is Reason.CREDIT_AVAILABLE
    answer = allowed.to_json()
    assert (answer["credit"], answer["cost"], answer["available"]) == ("usd", "1", "1")
    refused = decide("image", (unlimited,), 51 * E12, usd(1)).to_json()
    assert (refused["allowed"], refused["reason"]) == (False, "insufficient_credit")
    assert (refused["credit"], refused["cost"], refused["available"]) == ("usd", "1.02", "1")
    assert refused["detail"] == "51 of image cost 1.02 usd credit, 1 is available."
    assert refused["help"] == "Ask for at most 50 or add at least 0.02 usd credit."


def test_included_units_go_first_and_credit_pays_the_rest() -> None:
    nearly = plain(990 * E12)
    assert decide("chat", (nearly,), 10 * E12, usd(0)).reason is Reason.WITHIN_LIMIT
    beyond = decide("chat", (nearly,), 60 * E12, usd(1))
    assert (beyond.reason, beyond.credit_cost_pico) == (Reason.CREDIT_AVAILABLE, E12)
    assert decide("chat", (nearly,), 61 * E12, usd(1)).reason is Reason.INSUFFICIENT_CREDIT
    assert decide("chat", (nearly,), 61 * E12, usd(1)).help == (
        "Ask for at most 60, wait until 2026-12-01T00:00:00Z, or add at least 0.02 usd credit."
    )
    assert largest_allowed((nearly,), usd(1)) == 60 * E12
    assert beyond_included((nearly,), 60 * E12) == 50 * E12


def test_credit_lifts_the_main_limit_and_no_other_window() -> None:
    hours = Reading(100 * E12, 95 * E12, key="first_use:5h")
    assert beyond_included((plain(1000 * E12), hours), 5 * E12) == 5 * E12
    assert decide("chat", (plain(1000 * E12), hours), 5 * E12, usd(1)).allowed
    refused = decide("chat", (plain(1000 * E12), hours), 6 * E12, usd(1))
    assert refused.reason is Reason.LIMIT_REACHED
    assert "5 left" in str(refused.detail)


def test_credit_does_not_lift_the_allowance_of_a_user_a_budget_or_a_rate() -> None:
    refused = decide("chat", (plain(0), user(10, 10)), E12, usd(1000))
    assert (refused.reason, refused.level) == (Reason.LIMIT_REACHED, "user")


def test_a_customer_without_a_limit_of_its_own_has_what_the_parent_shares() -> None:
    parent = Reading(100 * E12, 95 * E12, level="parent", scope="holding")
    pooled = (Reading(None, key=POOLED), parent)
    allowed = decide("chat", pooled, 5 * E12)
    assert (allowed.reason, allowed.level, allowed.limit_pico) == (
        Reason.WITHIN_LIMIT,
        "parent",
        100 * E12,
    )
    refused = decide("chat", pooled, 6 * E12)
    assert refused.reason is Reason.LIMIT_REACHED
    assert refused.help == "Ask for at most 5 or raise the limit of 'holding'."
    paid = decide("chat", pooled, 55 * E12, usd(1))
    assert (paid.reason, paid.credit_cost_pico) == (Reason.CREDIT_AVAILABLE, E12)
    assert largest_allowed(pooled, usd(1)) == 55 * E12


def test_a_soft_limit_takes_credit_first_and_overage_when_it_is_used_up() -> None:
    assert decide("chat", (soft(1000 * E12),), 50 * E12, usd(1)).reason is Reason.CREDIT_AVAILABLE
    assert decide("chat", (soft(1000 * E12),), 51 * E12, usd(1)).reason is (
        Reason.SOFT_LIMIT_EXCEEDED
    )


def test_what_is_not_sold_for_credit_is_not_entitled() -> None:
    cost = Cost(None, "model", {"opus": 3 * E12 // 100})
    assert decide("chat", (plain(0, limit_pico=None),), E12, usd(1, cost, "opus")).allowed
    refused = decide("chat", (plain(0, limit_pico=None),), E12, usd(1, cost, "haiku"))
    assert refused.reason is Reason.NOT_ENTITLED
    assert refused.detail == (
        "chat has no price in usd credit for model 'haiku', and nothing else includes it."
    )
    assert largest_allowed((plain(0, limit_pico=None),), usd(1, cost, "haiku")) == 0


@given(
    st.none() | quantities,
    quantities,
    quantities,
    st.integers(0, 7).map(lambda n: n * E12 // 3),
    st.integers(0, 40),
)
def test_credit_decides_as_unit_by_unit(
    limit: int | None, used: int, amount: int, unit_cost_pico: int, available: int
) -> None:
    """K13: all or nothing. Included units are free, every other one costs the same."""
    reading = Reading(limit, used)
    included = 0 if limit is None else len([u for u in range(limit) if u >= used])
    beyond = max(0, amount - included)
    cost = (2 * beyond * unit_cost_pico + E12) // (2 * E12)
    funds = Funds("usd", Cost(unit_cost_pico), available)
    decision = decide("f", (reading,), amount, funds)
    assert decision.allowed is (cost <= available)
    assert beyond_included((reading,), amount) == beyond
    largest = largest_allowed((reading,), funds)
    if largest is None:
        assert unit_cost_pico == 0
    else:
        assert decide("f", (reading,), largest, funds).allowed
        exact = (largest + 1 - included) * unit_cost_pico
        assert exact > available * E12


# --- features without usage -------------------------------------------------------------------


def test_a_boolean_feature_is_enabled_or_not_entitled() -> None:
    there = enabled(BooleanEntitlement("export", True))
    assert (there.allowed, there.reason) == (True, Reason.ENABLED)
    assert enabled(BooleanEntitlement("export", False)) == not_entitled("export")


@pytest.mark.parametrize("value", [5, 0, False, "", "eu", {"a": 1}])
def test_a_static_feature_answers_with_its_value(value: object) -> None:
    answer = enabled(StaticEntitlement("seats", value)).to_json()
    assert (answer["allowed"], answer["reason"], answer["value"]) == (True, "enabled", value)
    assert answer["limit"] is answer["used"] is answer["remaining"] is answer["resets_at"] is None


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (not_entitled("chat"), "not_entitled"),
        (no_subscription("acme"), "no_subscription"),
        (paused("acme"), "paused"),
        (unknown_customer("acme"), "unknown_customer"),
        (unknown_feature("chat"), "unknown_feature"),
    ],
)
def test_a_refusal_without_numbers_has_a_reason_and_a_sentence(
    decision: Decision, reason: str
) -> None:
    answer = decision.to_json()
    assert (answer["allowed"], answer["reason"]) == (False, reason)
    assert answer["detail"].endswith(".")
    assert "value" not in answer
    assert "as_of" not in answer
