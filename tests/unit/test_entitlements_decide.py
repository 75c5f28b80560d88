"""The decisions of the gate, by example and against the rule written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.catalog.features import (
    BooleanEntitlement,
    Enforcement,
    Limit,
    MeteredEntitlement,
    StaticEntitlement,
)
from taximeter.entitlements.decide import (
    Decision,
    Reason,
    decide,
    no_subscription,
    not_entitled,
    paused,
    unknown_customer,
    unknown_feature,
)
from taximeter.instants import parse_instant
from taximeter.periods import Period

E12 = 10**12
NOVEMBER = Period(parse_instant("2026-11-01T00:00:00Z"), parse_instant("2026-12-01T00:00:00Z"))
HARD = MeteredEntitlement("chat", (Limit(1000 * E12),))
SOFT = MeteredEntitlement("chat", (Limit(1000 * E12, enforcement=Enforcement.SOFT),))
UNLIMITED = MeteredEntitlement("chat")


def test_the_documented_answer() -> None:
    entitlement = MeteredEntitlement("chat", (Limit(1_000_000 * E12),))
    decision = decide(entitlement, 812 * E12, 500 * E12, NOVEMBER)
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
    assert decide(HARD, 999 * E12, 1 * E12, NOVEMBER).allowed
    refused = decide(HARD, 999 * E12, 1 * E12 + 1, NOVEMBER)
    assert (refused.allowed, refused.reason) == (False, Reason.LIMIT_REACHED)


def test_reservations_count_against_the_limit() -> None:
    decision = decide(HARD, 600 * E12, 1 * E12, NOVEMBER, reserved_pico=400 * E12)
    assert (decision.allowed, decision.remaining_pico, decision.overage_pico) == (False, 0, 0)


def test_a_refusal_says_which_limit_what_is_left_and_when_it_resets() -> None:
    decision = decide(HARD, 998 * E12 + E12 // 2, 5 * E12, NOVEMBER)
    assert decision.to_json()["detail"] == (
        "chat has a hard limit of 1000 in this period and 1.5 left, 5 asked for; "
        "it resets at 2026-12-01T00:00:00Z."
    )
    assert "and nothing left, 1 asked for" in str(decide(HARD, 2000 * E12, E12, NOVEMBER).detail)


def test_a_soft_limit_allows_beyond_and_reports_the_overage() -> None:
    within = decide(SOFT, 900 * E12, 100 * E12, NOVEMBER)
    beyond = decide(SOFT, 1200 * E12, 1, NOVEMBER)
    assert (within.allowed, within.reason) == (True, Reason.WITHIN_LIMIT)
    assert (beyond.allowed, beyond.reason) == (True, Reason.SOFT_LIMIT_EXCEEDED)
    assert (beyond.remaining_pico, beyond.overage_pico, beyond.detail) == (0, 200 * E12, None)


def test_unlimited_has_usage_and_no_limit() -> None:
    answer = decide(UNLIMITED, 5 * E12, 10**30, NOVEMBER).to_json()
    assert (answer["allowed"], answer["reason"]) == (True, "unlimited")
    assert (answer["limit"], answer["remaining"]) == (None, None)
    assert (answer["used"], answer["reserved"], answer["overage"]) == ("5", "0", "0")


def test_negative_usage_counts_as_zero() -> None:
    decision = decide(HARD, -500 * E12, 1001 * E12, NOVEMBER)
    assert (decision.allowed, decision.used_pico) == (False, 0)


def test_nothing_fits_a_limit_of_zero_but_nothing() -> None:
    none = MeteredEntitlement("chat", (Limit(0),))
    assert not decide(none, 0, 1, NOVEMBER).allowed
    assert decide(none, 0, 0, NOVEMBER).allowed


def test_a_boolean_feature_is_enabled_or_not_entitled() -> None:
    enabled = decide(BooleanEntitlement("export", True), 0, E12, None)
    assert (enabled.allowed, enabled.reason) == (True, Reason.ENABLED)
    assert decide(BooleanEntitlement("export", False), 0, E12, None) == not_entitled("export")


@pytest.mark.parametrize("value", [5, 0, False, "", "eu", {"a": 1}])
def test_a_static_feature_answers_with_its_value(value: object) -> None:
    answer = decide(StaticEntitlement("seats", value), 0, E12, None).to_json()
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


quantities = st.integers(0, 30)


@given(st.integers(-10, 30), quantities, quantities, quantities, st.sampled_from(Enforcement))
def test_a_decision_is_the_rule_written_out(
    usage: int, amount: int, reserved: int, limit: int, enforcement: Enforcement
) -> None:
    entitlement = MeteredEntitlement("f", (Limit(limit, enforcement=enforcement),))
    decision = decide(entitlement, usage, amount, NOVEMBER, reserved)
    units = [*range(max(0, usage) + reserved + amount)]
    beyond = [unit for unit in units if unit >= limit]
    assert decision.allowed is (enforcement is Enforcement.SOFT or not beyond)
    assert (decision.reason is Reason.WITHIN_LIMIT) is (not beyond)
    free = [unit for unit in range(limit) if unit >= max(0, usage) + reserved]
    assert decision.remaining_pico == len(free)
    assert decision.overage_pico == len([unit for unit in range(max(0, usage)) if unit >= limit])


@given(st.integers(-10, 30), quantities, quantities, quantities, quantities)
def test_what_is_refused_stays_refused_when_more_is_asked_for(
    usage: int, amount: int, more: int, reserved: int, limit: int
) -> None:
    entitlement = MeteredEntitlement("f", (Limit(limit),))
    if not decide(entitlement, usage, amount, NOVEMBER, reserved).allowed:
        assert not decide(entitlement, usage, amount + more, NOVEMBER, reserved).allowed
