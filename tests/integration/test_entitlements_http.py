"""Windows, levels and rates over HTTP, on a real server whose clock the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Reply, Served, serve

CATALOG: dict[str, Any] = {
    "scopes": {"user": "data.user"},
    "meters": {"tokens": {"event_type": "llm", "aggregation": "sum", "value": "data.tokens"}},
    "features": {
        name: {"type": "metered", "meter": "tokens"} for name in ("day", "last", "first", "pace")
    },
    "plans": {
        "pro": {
            "currency": "EUR",
            "entitlements": {
                "day": {"limit": 100, "reset": "day", "per": {"user": {"limit": 10}}},
                "last": {"limit": 100, "reset": {"rolling": "6h"}},
                "first": {"limit": 1000, "windows": [{"limit": 100, "reset": {"first_use": "5h"}}]},
                "pace": {"rate": {"limit": 60, "per": "1m", "burst": 10}},
            },
        }
    },
}  # fmt: skip
NOON = "2026-10-24T12:00:00Z"  # in Berlin the day before the clocks go back


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("entitlements"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock(NOON)
    scene.publish(CATALOG)
    scene.customer(timezone="Europe/Berlin")
    scene.subscribe(start="2026-10-01T00:00:00Z")
    return scene


def use(scene: Scene, tokens: int, at: str, user: str | None = None) -> None:
    data = {"tokens": tokens} | ({} if user is None else {"user": user})
    name = f"{at}/{user}"
    scene.send({"id": name, "type": "llm", "subject": "acme", "time": at, "data": data})


def check(scene: Scene, feature: str, amount: int, **scope: str) -> dict[str, Any]:
    answer: dict[str, Any] = ask(scene, feature, amount, **scope).json()
    return answer


def ask(scene: Scene, feature: str, amount: int, **scope: str) -> Reply:
    body = {"customer": "acme", "feature": feature, "amount": amount, "scope": scope}
    return scene.raw("POST", "/v1/check", body)


def test_a_day_is_that_of_the_customer_and_a_late_event_counts_in_its_own(scene: Scene) -> None:
    """K2: it has 25 hours when the clocks go back."""
    use(scene, 90, NOON)
    assert check(scene, "day", 11)["resets_at"] == "2026-10-24T22:00:00Z"
    scene.set_clock("2026-10-24T22:00:00Z")
    fresh = check(scene, "day", 11)
    assert (fresh["allowed"], fresh["used"], fresh["resets_at"]) == (
        True,
        "0",
        "2026-10-25T23:00:00Z",
    )
    use(scene, 50, "2026-10-24T21:59:59.999999Z")
    use(scene, 7, "2026-10-24T22:00:00Z")
    assert check(scene, "day", 11)["used"] == "7"


def test_a_rolling_window_lets_go_bit_by_bit(scene: Scene) -> None:
    use(scene, 60, NOON)
    use(scene, 40, "2026-10-24T12:04:00Z")
    scene.set_clock("2026-10-24T18:00:00Z")
    refused = check(scene, "last", 60)
    assert (refused["reason"], refused["resets_at"]) == (
        "limit_reached",
        "2026-10-24T18:01:00Z",
    )
    scene.set_clock("2026-10-24T18:01:00Z")
    assert check(scene, "last", 60)["allowed"]
    assert check(scene, "last", 61)["remaining"] == "60"


def test_the_window_that_is_reached_first_is_named(scene: Scene) -> None:
    use(scene, 95, NOON)
    refused = check(scene, "first", 6)
    assert (refused["limit"], refused["used"]) == ("100", "95")
    assert refused["resets_at"] == "2026-10-24T17:00:00Z"
    assert [one["key"] for one in refused["limits"]] == ["period", "first_use:5h"]
    scene.set_clock("2026-10-24T17:00:00Z")
    assert check(scene, "first", 100)["allowed"]


def test_an_event_counts_for_the_user_it_names_and_for_the_customer(scene: Scene) -> None:
    use(scene, 9, NOON, "ann")
    use(scene, 5, NOON, "bob")
    refused = check(scene, "day", 2, user="ann")
    assert (refused["level"], refused["scope"], refused["remaining"]) == ("user", "ann", "1")
    assert "for each user" in refused["help"]
    assert check(scene, "day", 5, user="bob")["used"] == "14"
    assert check(scene, "day", 20)["allowed"]


def test_a_rate_refuses_with_the_fields_of_the_draft(scene: Scene) -> None:
    use(scene, 10, NOON)
    reply = ask(scene, "pace", 3)
    assert reply.json()["reason"] == "rate_limited"
    assert reply.json()["resets_at"] == "2026-10-24T12:00:03Z"
    headers = {name.lower(): value for name, value in reply.headers.items()}
    assert headers["ratelimit-policy"] == '"pace:rate:1m";q=60;w=60'
    assert headers["ratelimit"] == '"pace:rate:1m";r=0;t=1'
    assert headers["retry-after"] == "3"
    scene.set_clock("2026-10-24T12:00:03Z")
    reply = ask(scene, "pace", 3)
    assert (reply.json()["allowed"], reply.json()["reason"]) == (True, "unlimited")
    assert "retry-after" not in {name.lower() for name in reply.headers}
