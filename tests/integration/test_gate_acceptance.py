"""
The gate as its users meet it: features that work alone, put together.

The server's clock stands still unless a test sets it, and only goes forward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Served, serve

CATALOG: dict[str, Any] = {
    "scopes": [{"user": "data.user"}],
    "credits": {"usd": {"name": "Prepaid", "unit": "USD"}},
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "value": "data.tokens"}
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "paced": {"type": "metered", "meter": "tokens"},
    },
    "plans": {
        "prepaid": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"credit": "usd", "cost": "0.01"},
                "paced": {"rate": {"limit": 60, "per": "1m", "burst": 10}},
            },
            "prices": {},
        },
        "small": {
            "currency": "USD",
            "cadence": "month",
            "trial": {"days": 14},
            "entitlements": {"chat": {"credit": "usd", "cost": "0.01"}},
            "prices": {},
            "grants": {
                "monthly": {"credit": "usd", "amount": 5},
                "welcome": {"credit": "usd", "amount": 2, "priority": 1, "recurrence": "once"},
            },
        },
        "mixed": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {"chat": {"limit": 100, "credit": "usd", "cost": "0.01"}},
            "prices": {},
        },
        "windowed": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"limit": 1000, "windows": [{"limit": 100, "reset": {"first_use": "5h"}}]}
            },
            "prices": {},
        },
        "large": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {"chat": {"credit": "usd", "cost": "0.01"}},
            "prices": {},
            "grants": {"allowance": {"credit": "usd", "amount": 10}},
        },
    },
    "addons": {"pack": {"grants": {"pack": {"credit": "usd", "amount": 3}}}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("acceptance"), "--sandbox") as running:
        yield running


class Stage(Scene):
    """A scene whose clock is read and moved relative to where it stands."""

    def later(self, **time: float) -> None:
        now = datetime.fromisoformat(self.ask("GET", "/v1/clock")["now"])
        self.set_clock((now + timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def grant(self, amount: str, customer: str = "acme") -> None:
        body = {"credit": "usd", "amount": amount}
        self.ask("POST", f"/v1/customers/{customer}/grants", body, status=201)

    def available(self, customer: str = "acme") -> str:
        found = self.ask("GET", f"/v1/customers/{customer}/balance", credit="usd")
        return str(found["available"])


def wait_until(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def stage(server: Served) -> Stage:
    scene = Stage(server)
    scene.publish(CATALOG)
    return scene


# --- automatic top-ups ---------------------------------------------------------------------------


def test_a_top_up_that_had_to_wait_is_made_when_its_cooldown_is_over(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="prepaid")
    body = {"below": "1", "amount": "2", "cooldown_s": 60, "max_per_day": 5}
    stage.ask("PUT", "/v1/customers/acme/auto-top-ups/usd", body)
    assert stage.consume("1", 150)["balance_after"] == "0.5", "it is too soon for another"
    stage.later(seconds=60)
    assert stage.check(amount=100)["allowed"], "nothing has to be spent before"
    assert stage.available() == "2.5"


def test_a_top_up_beyond_the_daily_cap_is_made_a_day_after_the_first(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="prepaid")
    body = {"below": "1", "amount": "2", "max_per_day": 2}
    stage.ask("PUT", "/v1/customers/acme/auto-top-ups/usd", body)
    assert stage.consume("1", 150)["balance_after"] == "2.5"
    assert stage.consume("2", 200)["balance_after"] == "0.5", "two a day"
    stage.later(hours=23, minutes=59)
    assert stage.available() == "0.5"
    stage.later(minutes=1)
    assert stage.available() == "2.5"


def test_what_a_child_reserves_of_its_parents_credit_tops_the_parent_up(stage: Stage) -> None:
    stage.customer("mother")
    stage.subscribe("mother", "prepaid")
    stage.customer("child", parent="mother", pool=True)
    body = {"below": "1", "amount": "2", "max_per_day": 2}
    stage.ask("PUT", "/v1/customers/mother/auto-top-ups/usd", body)
    body = {"customer": "child", "feature": "chat", "amount": 150, "id": "r"}
    stage.ask("POST", "/v1/reservations", body, status=201)
    assert stage.available("mother") == "2.5"


# --- credit of a plan ----------------------------------------------------------------------------


def change(stage: Stage, subscription: dict[str, Any], **body: Any) -> None:
    stage.ask("POST", f"/v1/subscriptions/{subscription['id']}/change", body)


def test_an_upgrade_adds_the_difference_in_credit_and_what_was_spent_stays_spent(
    stage: Stage,
) -> None:
    stage.customer()
    subscription = stage.subscribe(plan="small", trial=None)
    assert stage.consume("1", 400)["balance_after"] == "3"
    change(stage, subscription, plan="large")
    assert stage.available() == "6", (
        "10, and 4 were spent of the 5; the welcome is the other plan's"
    )
    assert stage.consume("2", 500)["balance_after"] == "1"
    change(stage, subscription, plan="small")
    assert stage.available() == "2", "9 were spent; of the welcome nothing was"
    change(stage, subscription, plan="large")
    assert stage.available() == "1", "to and fro gives nothing"


def test_credit_of_an_add_on_is_not_spent_twice_by_buying_another(stage: Stage) -> None:
    stage.customer()
    subscription = stage.subscribe(plan="prepaid")
    path = f"/v1/subscriptions/{subscription['id']}/addons"
    stage.ask("POST", path, {"addons": {"pack": 1}})
    assert stage.consume("1", 300)["balance_after"] == "0"
    stage.ask("POST", path, {"addons": {"pack": 2}})
    assert stage.available() == "3"
    stage.ask("POST", path, {"addons": {"pack": 0}})
    stage.ask("POST", path, {"addons": {"pack": 2}})
    assert stage.available() == "3"


def test_the_next_period_begins_with_all_its_credit_after_a_change(stage: Stage) -> None:
    stage.customer()
    subscription = stage.subscribe(plan="small", trial=None)
    stage.consume("1", 500)
    change(stage, subscription, plan="large")
    stage.later(days=32)
    assert stage.available() == "10"


def test_what_is_granted_once_is_not_granted_again_when_the_trial_ends(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="small")
    assert stage.consume("1", 600)["balance_after"] == "1", (
        "the monthly credit, and 1 of the welcome"
    )
    stage.later(days=14)
    assert stage.available() == "6", "a month's credit, and what was left of the welcome"


def test_credit_of_a_trial_is_not_filled_up_by_changing_plans_in_it(stage: Stage) -> None:
    stage.customer()
    subscription = stage.subscribe(plan="small")
    stage.consume("1", 500)
    change(stage, subscription, plan="large")
    assert stage.available() == "5"


# --- pace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "refused"), [("consume", 200), ("reservations", 429)])
def test_whoever_uses_is_told_the_pace_and_when_to_come_again(
    stage: Stage, path: str, refused: int
) -> None:
    stage.customer()
    stage.subscribe(plan="prepaid")
    body = {"customer": "acme", "feature": "paced", "amount": 8}
    allowed = stage.raw("POST", "/v1/consume", body | {"id": "1"})
    assert allowed.headers["ratelimit-policy"] == '"paced:rate:1m";q=60;w=60'
    assert allowed.headers["ratelimit"] == '"paced:rate:1m";r=2;t=1'
    assert "retry-after" not in allowed.headers
    reply = stage.raw("POST", f"/v1/{path}", body | {"id": "2"})
    assert (reply.status, reply.json()["reason"]) == (refused, "rate_limited")
    assert reply.headers["ratelimit"] == '"paced:rate:1m";r=2;t=1'
    assert reply.headers["retry-after"] == "6"
    within = stage.raw("POST", f"/v1/{path}", body | {"id": "3", "amount": 1})
    assert within.json()["allowed"]
    assert "ratelimit-policy" in within.headers


def test_streams_that_are_open_at_once_share_a_rate(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="prepaid")
    body = {"customer": "acme", "feature": "paced", "amount": 8}
    first = stage.raw("POST", "/v1/reservations", body | {"id": "1"})
    assert (first.status, first.headers["ratelimit"]) == (201, '"paced:rate:1m";r=2;t=0')
    refused = stage.ask("POST", "/v1/reservations", body | {"id": "2"}, status=429)
    assert (refused["reserved"], refused["remaining"]) == ("8", "2")
    stage.ask("POST", "/v1/reservations/1/settle", {"amount": 1})
    assert stage.ask("POST", "/v1/reservations", body | {"id": "3"}, status=201)["granted"] == "8"


# --- notices -------------------------------------------------------------------------------------


def told(stage: Stage) -> list[dict[str, Any]]:
    return [one["data"] for one in stage.ask("GET", "/v1/notices")["items"]]


def has_told(stage: Stage, times: int) -> bool:
    return len(told(stage)) == times


def test_an_alert_watches_any_window_of_the_customer(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="windowed")
    body = {"on": "usage", "feature": "chat", "thresholds": ["80%"], "window": "first_use:300m"}
    alert = stage.ask("PUT", "/v1/alerts/tight", body)
    assert alert["window"] == "first_use:5h"
    for times in (1, 2):
        stage.consume(f"{times}", 79)
        stage.consume(f"{times}+", 1)
        assert wait_until(partial(has_told, stage, times))
        newest = told(stage)[0]
        assert (newest["feature"], newest["window"], newest["line"]) == (
            "chat",
            "first_use:5h",
            "80",
        )
        stage.later(hours=5)
    assert stage.ask("GET", "/v1/alerts/tight") == alert


def test_an_alert_on_a_window_that_cannot_be_is_refused(stage: Stage) -> None:
    body = {"on": "usage", "feature": "chat", "thresholds": ["80%"], "window": "fortnight"}
    refused = stage.ask("PUT", "/v1/alerts/tight", body, status=422)
    assert refused["code"] == "alert_invalid"
    assert "first_use:5h" in refused["detail"]


# --- included units and credit -------------------------------------------------------------------


def test_included_units_that_a_reservation_holds_are_paid_for_by_nobody_twice(
    stage: Stage,
) -> None:
    stage.customer()
    stage.subscribe(plan="mixed")
    stage.grant("0.50")
    body = {"customer": "acme", "feature": "chat", "amount": 60, "id": "held"}
    assert stage.ask("POST", "/v1/reservations", body, status=201)["cost"] == "0"
    consumed = stage.consume("1", 60)
    assert (consumed["cost"], consumed["balance_after"]) == ("0.2", "0.3"), "40 were included"
    assert stage.consume("2", 30)["balance_after"] == "0"
    assert stage.consume("3", 1)["reason"] == "insufficient_credit"
    settled = stage.ask("POST", "/v1/reservations/held/settle", {"amount": 60})
    assert (settled["cost"], settled["balance_after"]) == ("0", "0"), "150 used, 50 were paid for"


def test_what_is_settled_beyond_a_reservation_costs_by_itself(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="mixed")
    stage.grant("1")
    body = {"customer": "acme", "feature": "chat", "amount": 60, "id": "held"}
    stage.ask("POST", "/v1/reservations", body, status=201)
    assert stage.consume("1", 60)["balance_after"] == "0.8"
    body = {"amount": 70, "allow_overage": True}
    assert stage.ask("POST", "/v1/reservations/held/settle", body)["cost"] == "0.1"


def test_usage_events_by_lease_use_what_it_holds_and_others_what_is_left(stage: Stage) -> None:
    stage.customer()
    stage.subscribe(plan="mixed")
    stage.grant("1")
    body = {"customer": "acme", "feature": "chat", "amount": 90, "ttl_s": 60}
    lease = stage.ask("POST", "/v1/leases", body, status=201)["id"]
    named = {"tokens": 45, "lease_id": lease}
    event = {"type": "llm.request", "subject": "acme"}
    stage.send([event | {"id": "1", "data": named}, event | {"id": "2", "data": named}])
    assert stage.available() == "1", "all of it was included"
    stage.send([event | {"id": "3", "data": {"tokens": 15}}])
    assert stage.available() == "0.95"


def test_a_grant_for_a_misspelled_feature_is_refused(stage: Stage) -> None:
    stage.customer()
    body = {"credit": "usd", "amount": "1", "features": ["chatt"]}
    refused = stage.ask("POST", "/v1/customers/acme/grants", body, status=422)
    assert "did you mean 'chat'?" in refused["detail"]
    assert stage.available() == "0"


def test_a_balance_in_the_past_is_that_of_then_and_one_of_now_is_whole(stage: Stage) -> None:
    stage.customer()
    stage.grant("1")
    then = stage.ask("GET", "/v1/clock")["now"]
    stage.later(days=1)
    stage.grant("2")
    now = stage.ask("GET", "/v1/clock")["now"]
    path = "/v1/customers/acme/balance"
    assert stage.ask("GET", path, credit="usd", at=then)["balance"] == "1"
    whole = stage.ask("GET", path, credit="usd")
    assert stage.ask("GET", path, credit="usd", at=now) == whole
