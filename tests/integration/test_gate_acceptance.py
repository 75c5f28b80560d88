"""
The gate as its users meet it: features that work alone, put together.

The server's clock stands still unless a test sets it, and only goes forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
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
    },
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
