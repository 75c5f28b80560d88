"""Credits and reservations over HTTP, on a real server whose clock the test sets."""

from __future__ import annotations

import copy
import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Served, serve

CATALOG: dict[str, Any] = {
    "scopes": [{"workspace": "data.workspace"}, {"user": "data.user"}],
    "meters": {
        "tokens": {
            "event_type": "llm.request", "aggregation": "sum", "value": "data.tokens",
            "dimensions": {"model": "data.model"},
        },
        "images": {"event_type": "image.created", "aggregation": "count"},
        "words": {"event_type": "text.read", "aggregation": "sum", "value": "data.words"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "image": {"type": "metered", "meter": "images", "fail": "lease"},
        "read": {"type": "metered", "meter": "words"},
        "seats": {"type": "static", "value_type": "integer"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "entitlements": {
                "chat": {
                    "credit": "usd",
                    "cost": {"by": "model", "opus": "0.5", "default": "0.1"},
                },
                "image": {"credit": "usd", "cost": 2},
                "read": {
                    "limit": 1000,
                    "windows": [{"limit": 300, "reset": {"first_use": "5h"}}],
                    "per": {"user": {"limit": 100, "reset": "day"}},
                },
                "seats": 2,
            },
            "prices": {},
        },
        "included": {
            "currency": "USD",
            "entitlements": {"read": {"limit": 10, "credit": "usd", "cost": 1}},
            "prices": {},
        },
        "granting": {
            "currency": "USD",
            "entitlements": {"chat": {"credit": "usd", "cost": 1}},
            "grants": {"monthly": {"credit": "usd", "amount": 100, "rollover": {"max": 30}}},
            "prices": {},
        },
    },
}  # fmt: skip
START = "2026-11-20T12:00:00Z"
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("credits"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock(START)
    scene.publish(CATALOG)
    scene.customer()
    scene.subscribe()
    return scene


def grant(scene: Scene, amount: Any, customer: str = "acme", **members: Any) -> dict[str, Any]:
    body = {"id": f"g{next(_ids)}", "credit": "usd", "amount": amount, **members}
    path = f"/v1/customers/{customer}/grants"
    answer: dict[str, Any] = scene.ask("POST", path, body, status=201)
    return answer


def reserve(scene: Scene, amount: Any, status: int = 201, **members: Any) -> dict[str, Any]:
    body = {"customer": "acme", "feature": "chat", "amount": amount, "id": f"r{next(_ids)}"}
    answer: dict[str, Any] = scene.ask("POST", "/v1/reservations", body | members, status=status)
    return answer


def settle(scene: Scene, hold: str, amount: Any, status: int = 200, **members: Any) -> Any:
    path = f"/v1/reservations/{hold}/settle"
    return scene.ask("POST", path, {"amount": amount, **members}, status=status)


def balance(scene: Scene, customer: str = "acme", **query: Any) -> dict[str, Any]:
    path = f"/v1/customers/{customer}/balance"
    answer: dict[str, Any] = scene.ask("GET", path, credit="usd", **query)
    return answer


def ledger(scene: Scene, customer: str = "acme") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = scene.ask("GET", f"/v1/customers/{customer}/ledger")["items"]
    return items


# --- spending -----------------------------------------------------------------------------------


def test_a_usage_event_burns_credit_when_it_is_acknowledged(scene: Scene) -> None:
    grant(scene, 100)
    sent = {"id": "e1", "type": "llm.request", "subject": "acme"}
    scene.send([sent | {"data": {"tokens": 10, "model": "opus"}}])
    scene.send([sent | {"id": "e2", "data": {"tokens": 10, "model": "haiku"}}])
    assert balance(scene)["balance"] == "94"
    assert [row["cause"].get("feature") for row in ledger(scene)] == [None, "chat", "chat"]


def test_an_event_sent_twice_burns_once(scene: Scene) -> None:
    grant(scene, 100)
    one = {"id": "e1", "type": "llm.request", "subject": "acme", "data": {"tokens": 100}}
    assert scene.send([one, one])["duplicates"] == 1
    assert scene.send(one)["duplicates"] == 1
    assert balance(scene)["balance"] == "90"


def test_usage_beyond_all_credit_is_overage_and_never_a_debt(scene: Scene) -> None:
    """Usage events are facts: they count past what is there, the excess recorded."""
    grant(scene, 5)
    scene.send({"id": "e1", "type": "llm.request", "subject": "acme", "data": {"tokens": 80}})
    found = balance(scene)
    assert (found["balance"], found["overage"]) == ("0", "3")
    grant(scene, 10)
    assert balance(scene)["balance"] == "10"


def test_consume_answers_with_seq_and_the_balance_after_it(scene: Scene) -> None:
    grant(scene, 10)
    answer = scene.consume("c1", 50)
    assert (answer["allowed"], answer["reason"]) == (True, "credit_available")
    assert (answer["balance_after"], answer["available_after"], answer["cost"]) == ("5", "5", "5")
    assert scene.consume("c1", 50) == answer
    refused = scene.consume("c2", 51)
    assert (refused["allowed"], refused["reason"]) == (False, "insufficient_credit")
    assert refused["seq"] is None
    assert balance(scene)["balance"] == "5"


def test_included_units_come_before_credit(scene: Scene) -> None:
    scene.customer("beta")
    scene.subscribe("beta", "included")
    grant(scene, 5, "beta")
    first = scene.consume("i1", 8, customer="beta", feature="read")
    assert (first["reason"], first["cost"], first["balance_after"]) == ("within_limit", "0", "5")
    second = scene.consume("i2", 5, customer="beta", feature="read")
    assert (second["reason"], second["cost"]) == ("credit_available", "3")
    assert second["balance_after"] == "2"
    third = scene.consume("i3", 3, customer="beta", feature="read")
    assert third["reason"] == "insufficient_credit"
    assert "2" in third["detail"]


def test_estimate_prices_without_doing_anything(scene: Scene) -> None:
    grant(scene, 10)
    ask = {"customer": "acme", "feature": "chat", "amount": 10, "data": {"model": "opus"}}
    assert scene.ask("POST", "/v1/estimate", ask)["cost"] == "5"
    assert scene.ask("POST", "/v1/estimate", ask | {"amount": 21})["allowed"] is False
    assert balance(scene)["balance"] == "10"


# --- grants -------------------------------------------------------------------------------------


def test_a_grant_given_twice_counts_once_and_another_under_its_id_is_refused(scene: Scene) -> None:
    body = {"id": "same", "credit": "usd", "amount": "10"}
    path = "/v1/customers/acme/grants"
    first = scene.ask("POST", path, body, status=201)
    assert scene.ask("POST", path, body, status=201) == first
    refused = scene.ask("POST", path, body | {"amount": "11"}, status=409)
    assert refused["code"] == "event_conflict"
    assert balance(scene)["balance"] == "10"


def test_burn_order_is_priority_then_expiry_then_start_then_id(scene: Scene) -> None:
    """K13."""
    grant(scene, 1, id="late", priority=1, expires_at="2026-12-01T00:00:00Z")
    grant(scene, 1, id="b-never", priority=0)
    grant(scene, 1, id="a-soon", priority=0, expires_at="2026-12-02T00:00:00Z")
    order = [one["id"] for one in balance(scene)["grants"]]
    assert order == ["a-soon", "b-never", "late"]
    scene.consume("c1", 15)
    left = {one["id"]: one["remaining"] for one in balance(scene)["grants"]}
    assert left == {"a-soon": "0", "b-never": "0.5", "late": "1"}


def test_a_grant_is_spendable_until_but_not_at_its_expiry(scene: Scene) -> None:
    grant(scene, 10, expires_at="2026-11-20T13:00:00Z")
    scene.set_clock("2026-11-20T12:59:59.999999Z")
    assert scene.check(amount=1)["allowed"] is True
    scene.set_clock("2026-11-20T13:00:00Z")
    assert scene.check(amount=1)["allowed"] is False
    assert balance(scene)["balance"] == "0"
    assert ledger(scene)[-1]["kind"] == "expire"
    assert ledger(scene)[-1]["at"] == "2026-11-20T13:00:00Z"
    assert balance(scene, at="2026-11-20T12:59:59Z")["balance"] == "10"
    assert balance(scene, at="2026-11-20T11:00:00Z")["balance"] == "0"


def test_a_void_gives_back_what_is_left_once(scene: Scene) -> None:
    given = grant(scene, 10)
    scene.consume("c1", 40)
    path = f"/v1/grants/{given['id']}/void"
    answer = scene.ask("POST", path, {"reason": "by mistake"})
    assert (answer["voided"], answer["balance_after"]) == ("6", "0")
    assert scene.ask("POST", path, {"reason": "by mistake"}, status=409)["code"] == "grant_ended"


def test_only_paid_and_unspent_credit_is_refunded(scene: Scene) -> None:
    paid = grant(scene, 10, kind="paid")
    scene.consume("c1", 40)
    path = f"/v1/grants/{paid['id']}/refund"
    too_much = scene.ask("POST", path, {"id": "f1", "amount": 7}, status=402)
    assert too_much["code"] == "insufficient_credit"
    done = scene.ask("POST", path, {"id": "f2", "amount": 6})
    assert scene.ask("POST", path, {"id": "f2", "amount": 6}) == done
    assert done["balance_after"] == "0"
    gift = grant(scene, 10)
    scene.ask("POST", f"/v1/grants/{gift['id']}/refund", {"amount": 1}, status=422)


def test_a_transfer_moves_credit_with_its_terms(scene: Scene) -> None:
    scene.customer("beta")
    grant(scene, 10, expires_at="2026-12-01T00:00:00Z")
    body = {"id": "t1", "to": "beta", "credit": "usd", "amount": 4}
    done = scene.ask("POST", "/v1/customers/acme/transfers", body)
    assert scene.ask("POST", "/v1/customers/acme/transfers", body) == done
    assert (done["balance_after"], done["to_balance_after"]) == ("6", "4")
    (moved,) = balance(scene, "beta")["grants"]
    assert moved["expires_at"] == "2026-12-01T00:00:00Z"
    more = scene.ask("POST", "/v1/customers/acme/transfers", body | {"id": "t2", "amount": 7},
                     status=402)  # fmt: skip
    assert more["code"] == "insufficient_credit"


def test_credit_of_a_plan_is_there_with_the_subscription_and_renews_with_its_period(
    scene: Scene,
) -> None:
    scene.customer("beta")
    scene.subscribe("beta", "granting")
    assert balance(scene, "beta")["balance"] == "100"
    scene.consume("c1", 80, customer="beta")
    scene.set_clock("2026-12-01T00:00:00Z")
    assert balance(scene, "beta")["balance"] == "120"  # 20 rolled over
    scene.set_clock("2027-01-01T00:00:00Z")
    assert balance(scene, "beta")["balance"] == "130"  # at most 30 did


def test_automatic_top_ups_are_made_once_however_many_spend_at_once(scene: Scene) -> None:
    grant(scene, 10)
    path = "/v1/customers/acme/auto-top-ups/usd"
    scene.ask("PUT", path, {"below": 5, "amount": 20, "cooldown_s": 3600})
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: scene.consume(f"c{n}", 10), range(16)))
    made = [one for one in ledger(scene) if one["kind"] == "grant"]
    assert len(made) == 2
    assert balance(scene)["balance"] == "14"
    scene.ask("DELETE", path)
    scene.ask("GET", path, status=404)


# --- reservations -------------------------------------------------------------------------------


def test_a_reservation_lowers_what_is_available_and_not_the_balance(scene: Scene) -> None:
    """K14."""
    grant(scene, 10)
    hold = reserve(scene, 60)
    assert (hold["granted"], hold["balance_after"], hold["available_after"]) == ("60", "10", "4")
    assert scene.check(amount=41)["reason"] == "insufficient_credit"
    done = settle(scene, hold["id"], 25)
    assert (done["balance_after"], done["available_after"]) == ("7.5", "7.5")
    assert scene.used("tokens") == "25"


def test_a_reservation_resolves_exactly_once(scene: Scene) -> None:
    grant(scene, 10)
    hold = reserve(scene, 10)["id"]
    settle(scene, hold, 10)
    assert settle(scene, hold, 10, status=409)["code"] == "already_resolved"
    release = scene.ask("POST", f"/v1/reservations/{hold}/release", {}, status=409)
    assert release["code"] == "already_resolved"
    other = reserve(scene, 10)["id"]
    scene.ask("POST", f"/v1/reservations/{other}/release", {})
    assert settle(scene, other, 1, status=409)["code"] == "already_resolved"
    assert settle(scene, "nobody's", 1, status=404)["code"] == "not_found"


def test_a_reservation_lapses_at_created_plus_ttl(scene: Scene) -> None:
    grant(scene, 10)
    hold = reserve(scene, 100, ttl_s=60)["id"]
    scene.set_clock("2026-11-20T12:00:59.999999Z")
    assert scene.check(amount=1)["allowed"] is False
    scene.set_clock("2026-11-20T12:01:00Z")
    assert scene.check(amount=100)["allowed"] is True
    assert settle(scene, hold, 1, status=409)["code"] == "reservation_expired"
    assert scene.ask("GET", f"/v1/reservations/{hold}")["status"] == "lapsed"
    assert balance(scene)["balance"] == "10"


def test_settling_more_than_was_reserved_needs_to_be_asked_for(scene: Scene) -> None:
    """K14: with `allow_overage` the whole truth is booked, even below zero."""
    grant(scene, 10)
    hold = reserve(scene, 100)["id"]
    assert settle(scene, hold, 101, status=422)["code"] == "exceeds_reservation"
    done = settle(scene, hold, 150, allow_overage=True)
    assert (done["cost"], done["balance_after"]) == ("15", "-5")
    assert scene.check(amount=1)["allowed"] is False
    grant(scene, 6)
    assert balance(scene)["balance"] == "1"


def test_what_is_reserved_survives_the_expiry_of_its_grant(scene: Scene) -> None:
    """K14: what then returns to an expired grant is gone."""
    grant(scene, 10, expires_at="2026-11-20T12:10:00Z")
    hold = reserve(scene, 60, ttl_s=3600)["id"]
    scene.set_clock("2026-11-20T12:30:00Z")
    found = balance(scene)
    assert (found["balance"], found["reserved"], found["available"]) == ("6", "6", "0")
    done = settle(scene, hold, 20)
    assert done["balance_after"] == "0"
    assert [row["kind"] for row in ledger(scene)][-2:] == ["settle", "expire"]


def test_part_of_a_reservation_is_granted_only_if_asked_for(scene: Scene) -> None:
    grant(scene, 10)
    refused = reserve(scene, 500, status=402)
    assert refused["code"] == "insufficient_credit"
    assert refused["allowed"] is False
    assert "100" in refused["help"]
    part = reserve(scene, 500, allow_partial=True)
    assert (part["granted"], part["available_after"]) == ("100", "0")


def test_extending_holds_more_for_longer(scene: Scene) -> None:
    grant(scene, 10)
    hold = reserve(scene, 10, ttl_s=60)["id"]
    scene.set_clock("2026-11-20T12:00:30Z")
    more = scene.ask("POST", f"/v1/reservations/{hold}/extend", {"ttl_s": 60, "amount": 30})
    assert (more["granted"], more["expires_at"]) == ("40", "2026-11-20T12:01:30Z")
    too_much = scene.ask("POST", f"/v1/reservations/{hold}/extend", {"amount": 61}, status=402)
    assert too_much["code"] == "insufficient_credit"
    assert settle(scene, hold, 40)["balance_after"] == "6"


def test_the_same_reservation_again_is_the_same_answer(scene: Scene) -> None:
    grant(scene, 10)
    body = {"customer": "acme", "feature": "chat", "amount": 10, "id": "r-same"}
    first = scene.ask("POST", "/v1/reservations", body, status=201)
    assert scene.ask("POST", "/v1/reservations", body, status=201) == first
    scene.ask("POST", "/v1/reservations", body | {"amount": 11}, status=409)
    assert balance(scene)["available"] == "9"


def test_a_feature_that_counts_events_is_reserved_and_settled_in_whole_ones(scene: Scene) -> None:
    grant(scene, 10)
    reserve(scene, "1.5", feature="image", status=422)
    hold = reserve(scene, 4, feature="image")
    assert hold["available_after"] == "2"
    assert settle(scene, hold["id"], 3)["balance_after"] == "4"
    assert scene.used("images") == "3"


def test_a_limit_is_reserved_like_credit(scene: Scene) -> None:
    hold = reserve(scene, 250, feature="read")
    refused = scene.check("read", 51)
    assert (refused["allowed"], refused["reserved"], refused["limit"]) == (False, "250", "300")
    assert reserve(scene, 51, feature="read", status=403)["code"] == "limit_reached"
    settle(scene, hold["id"], 100)
    assert scene.check("read", 200)["allowed"] is True
    assert scene.check("read", 201)["allowed"] is False


def test_exactly_as_many_of_many_at_once_succeed_as_the_balance_allows(scene: Scene) -> None:
    grant(scene, 10)

    def spend(number: int) -> bool:
        body = {"customer": "acme", "feature": "chat", "amount": 10, "id": f"m{number}"}
        return scene.raw("POST", "/v1/reservations", body).status == 201

    with ThreadPoolExecutor(32) as pool:
        won = sum(pool.map(spend, range(64)))
    assert won == 10
    assert balance(scene)["available"] == "0"


# --- leases -------------------------------------------------------------------------------------


def test_usage_that_names_a_lease_draws_on_it(scene: Scene) -> None:
    lease = {"customer": "acme", "feature": "read", "amount": 200, "id": "l1", "ttl_s": 60}
    opened = scene.ask("POST", "/v1/leases", lease, status=201)
    assert (opened["granted"], opened["open_leases"], opened["fail"]) == ("200", "200", "closed")
    assert scene.check("read", 101)["allowed"] is False
    sent = {"type": "text.read", "subject": "acme", "data": {"words": 30, "lease_id": "l1"}}
    scene.send([sent | {"id": "e1"}, sent | {"id": "e2"}])
    (left,) = scene.ask("GET", "/v1/leases")["items"]
    assert (left["granted"], left["drawn"]) == ("140", "60")
    decided = scene.check("read", 100)
    assert decided["allowed"] is True
    scene.ask("POST", "/v1/leases/l1/release", {})
    assert scene.check("read", 240)["allowed"] is True


def test_a_lease_on_credit_spends_what_it_holds(scene: Scene) -> None:
    grant(scene, 10)
    body = {"customer": "acme", "feature": "image", "amount": 4, "id": "l2"}
    opened = scene.ask("POST", "/v1/leases", body, status=201)
    assert (opened["fail"], opened["available_after"]) == ("lease", "2")
    sent = {"type": "image.created", "subject": "acme", "data": {"lease_id": "l2"}}
    scene.send([sent | {"id": f"e{n}"} for n in range(5)])
    found = balance(scene)
    assert (found["balance"], found["available"], found["overage"]) == ("0", "0", "0")


# --- scopes, budgets, pools, seats --------------------------------------------------------------


def test_the_blocking_level_is_named(scene: Scene) -> None:
    user = {"user": "u7"}
    scene.ask("POST", "/v1/consume", {"customer": "acme", "feature": "read", "amount": 90,
                                      "id": "c1", "scope": user})  # fmt: skip
    ask = {"customer": "acme", "feature": "read", "amount": 11, "scope": user}
    refused = scene.ask("POST", "/v1/check", ask)
    assert (refused["level"], refused["scope"], refused["remaining"]) == ("user", "u7", "10")
    assert scene.ask("POST", "/v1/check", ask | {"scope": {"user": "u8"}})["allowed"] is True
    budget = {"feature": "read", "limit": 5, "reset": "day", "scope": {"workspace": "w1"}}
    scene.ask("PUT", "/v1/customers/acme/budgets/b1", budget)
    ask["scope"] = {"workspace": "w1", "user": "u9"}
    refused = scene.ask("POST", "/v1/check", ask)
    assert (refused["reason"], refused["level"]) == ("budget_reached", "workspace")


def test_a_budget_in_credit_bounds_what_is_spent_by_whom(scene: Scene) -> None:
    grant(scene, 100)
    budget = {"credit": "usd", "limit": 5, "reset": "day", "scope": {"user": "u7"}}
    scene.ask("PUT", "/v1/customers/acme/budgets/spend", budget)
    ask = {"customer": "acme", "feature": "chat", "amount": 50, "id": "c1", "scope": {"user": "u7"}}
    assert scene.ask("POST", "/v1/consume", ask)["allowed"] is True
    refused = scene.ask("POST", "/v1/consume", ask | {"id": "c2", "amount": 1})
    assert refused["reason"] == "budget_reached"
    other = scene.ask("POST", "/v1/consume", ask | {"id": "c3", "scope": {"user": "u8"}})
    assert other["allowed"] is True
    scene.ask("DELETE", "/v1/customers/acme/budgets/spend")
    assert scene.ask("POST", "/v1/consume", ask | {"id": "c4"})["allowed"] is True


def test_children_that_pool_share_the_parents_limit_and_its_credit(scene: Scene) -> None:
    for child in ("kid1", "kid2"):
        scene.customer(child, parent="acme", pool=True)
    grant(scene, 10)
    first = scene.consume("p1", 60, customer="kid1")
    assert (first["allowed"], first["reason"]) == (True, "credit_available")
    assert balance(scene)["balance"] == "4"
    assert scene.consume("p2", 41, customer="kid2")["reason"] == "insufficient_credit"
    assert scene.consume("p3", 250, customer="kid1", feature="read")["allowed"] is True
    refused = scene.consume("p4", 60, customer="kid2", feature="read")
    assert (refused["allowed"], refused["level"]) == (False, "parent")
    assert scene.check("read", 51)["allowed"] is False


def test_a_customer_that_begins_to_pool_shares_with_the_next_request(scene: Scene) -> None:
    scene.customer("kid1")
    assert scene.check("read", 1, customer="kid1")["reason"] == "no_subscription"
    scene.customer("kid1", parent="acme", pool=True)
    assert scene.consume("p1", 250, customer="kid1", feature="read")["allowed"] is True
    assert scene.check("read", 51)["allowed"] is False
    scene.customer("kid1", parent="acme", pool=False)
    assert scene.check("read", 1, customer="kid1")["reason"] == "no_subscription"


def test_a_users_allowance_holds_across_the_children_of_a_pool(scene: Scene) -> None:
    for child in ("kid1", "kid2"):
        scene.customer(child, parent="acme", pool=True)
    user = {"user": "u7"}
    first = scene.consume("p1", 60, customer="kid1", feature="read", scope=user)
    assert first["allowed"] is True
    refused = scene.consume("p2", 41, customer="kid2", feature="read", scope=user)
    assert (refused["allowed"], refused["level"], refused["scope"]) == (False, "user", "u7")


def test_a_budget_of_another_feature_is_not_touched_by_the_pool(scene: Scene) -> None:
    scene.customer("kid1", parent="acme", pool=True)
    budget = {"feature": "chat", "limit": 5, "reset": "day"}
    scene.ask("PUT", "/v1/customers/acme/budgets/b1", budget)
    assert scene.consume("p1", 60, customer="kid1", feature="read")["allowed"] is True
    grant(scene, 10)
    assert scene.consume("p2", 5, customer="kid1")["allowed"] is True
    assert scene.consume("p3", 1, customer="kid1")["reason"] == "budget_reached"


def test_seats_are_taken_once_a_holder_and_freed(scene: Scene) -> None:
    path = "/v1/customers/acme/seats/seats"
    scene.ask("PUT", f"{path}/ann")
    scene.ask("PUT", f"{path}/ann")
    scene.ask("PUT", f"{path}/bob", {"ttl_s": 60})
    full = scene.ask("PUT", f"{path}/cyd", status=403)
    assert (full["code"], full["limit"]) == ("limit_reached", "2")
    scene.set_clock("2026-11-20T12:01:00Z")
    scene.ask("PUT", f"{path}/cyd")
    scene.ask("DELETE", f"{path}/ann")
    held = scene.ask("GET", path)
    assert [one["holder"] for one in held["items"]] == ["cyd"]


def test_windows_hold_side_by_side(scene: Scene) -> None:
    assert scene.consume("w1", 300, feature="read")["allowed"] is True
    refused = scene.check("read", 1)
    assert (refused["limit"], refused["resets_at"]) == ("300", "2026-11-20T17:00:00Z")
    scene.set_clock("2026-11-20T17:00:00Z")
    assert scene.check("read", 300)["allowed"] is True


# --- nothing is lost ----------------------------------------------------------------------------


def test_everything_survives_a_kill(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server)
        scene.set_clock(START)
        scene.publish(CATALOG)
        scene.customer()
        scene.subscribe()
        grant(scene, 100)
        hold = reserve(scene, 100, ttl_s=86_400)["id"]
        answer = scene.consume("c1", 50)
        scene.send({"id": "e1", "type": "text.read", "subject": "acme",
                    "data": {"words": 90, "user": "u7"}})  # fmt: skip
        budget = {"feature": "read", "limit": 500, "reset": "month"}
        scene.ask("PUT", "/v1/customers/acme/budgets/b1", budget)
        before = facts(scene)
        os.killpg(server.process.pid, signal.SIGKILL)
    with serve(tmp_path, "--sandbox") as server:
        scene.server = server
        scene.set_clock(START)
        assert facts(scene) == before
        assert scene.consume("c1", 50) == answer
        ask = {"customer": "acme", "feature": "read", "amount": 11, "scope": {"user": "u7"}}
        assert scene.ask("POST", "/v1/check", ask)["level"] == "user"
        assert settle(scene, hold, 100)["balance_after"] == "85"
        sums: dict[str, Decimal] = {}
        for item in scene.ask("GET", "/v1/ledger/trial-balance")["items"]:
            sums[item["credit"]] = sums.get(item["credit"], Decimal()) + Decimal(item["amount"])
        assert set(sums.values()) == {Decimal()}


def facts(scene: Scene) -> list[Any]:
    found = balance(scene)
    found.pop("as_of")
    return [found, ledger(scene), scene.ask("GET", "/v1/customers/acme/budgets")]


def test_a_raised_limit_of_a_window_holds_at_once_and_what_was_used_stays(scene: Scene) -> None:
    data = {"words": 300, "user": "u1"}
    scene.send({"id": "w1", "type": "text.read", "subject": "acme", "data": data})
    assert scene.check("read", 1)["allowed"] is False
    raised = copy.deepcopy(CATALOG)
    read = raised["plans"]["pro"]["entitlements"]["read"]
    read["windows"][0]["limit"] = 400
    read["per"]["user"]["limit"] = 350
    scene.publish(raised)
    refused = scene.check("read", 101)
    assert (refused["allowed"], refused["limit"], refused["used"]) == (False, "400", "300")
    assert scene.check("read", 100)["allowed"] is True
    ask = {"customer": "acme", "feature": "read", "amount": 51, "scope": {"user": "u1"}}
    assert scene.ask("POST", "/v1/check", ask)["limit"] == "350"
