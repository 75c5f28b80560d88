"""The gate over HTTP: what it allows, why, and that it never allows too much."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event, same_but
from tests.serving import Served, serve

WIDE: dict[str, Any] = {
    **CATALOG,
    "features": {
        **CATALOG["features"],
        "secret": {"type": "boolean"},
        "free": {"type": "metered", "meter": "tokens"},
        "soft": {"type": "metered", "meter": "tokens"},
        "hidden": {"type": "metered", "meter": "tokens"},
    },
    "plans": {
        "pro": {
            **CATALOG["plans"]["pro"],
            "entitlements": {
                **CATALOG["plans"]["pro"]["entitlements"],
                "calls": {"limit": 3, "enforcement": "hard", "reset": "period"},
                "secret": False,
                "free": {"enforcement": "hard", "reset": "period"},
                "soft": {"limit": 10, "enforcement": "soft", "reset": "period"},
            },
        }
    },
}


def with_limit(limit: int) -> dict[str, Any]:
    document = copy.deepcopy(CATALOG)
    document["plans"]["pro"]["entitlements"]["chat"]["limit"] = limit
    return document


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    return Scene(server)


# --- decisions --------------------------------------------------------------------------------


def test_a_hard_limit_allows_up_to_and_not_beyond_itself(scene: Scene) -> None:
    scene.open()
    scene.send(event("1", 400))
    inside = scene.check(amount=600)
    assert inside["allowed"] is True
    assert same_but(
        inside,
        {
            "allowed": True,
            "reason": "within_limit",
            "limit": "1000",
            "used": "400",
            "reserved": "0",
            "remaining": "600",
            "overage": "0",
            "level": "customer",
        },
        "resets_at",
        "as_of",
    )
    month = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y-%m-01T00:00:00Z")
    assert inside["resets_at"] == month
    outside = scene.check(amount="600.000000000001")
    assert (outside["allowed"], outside["reason"]) == (False, "limit_reached")
    assert "600 left" in outside["detail"]
    assert scene.check(amount=0)["allowed"] is True


def test_usage_events_are_facts_and_count_past_a_hard_limit(scene: Scene) -> None:
    scene.open()
    assert scene.send(event("1", "1200.5"))["accepted"] == 1
    answer = scene.check(amount=0)
    assert (answer["allowed"], answer["reason"]) == (False, "limit_reached")
    numbers = [answer[name] for name in ("used", "remaining", "overage")]
    assert numbers == ["1200.5", "0", "200.5"]


def test_every_reason_is_reachable(scene: Scene) -> None:
    scene.open(WIDE)
    scene.customer("idle")
    scene.customer("early")
    scene.subscribe("early", start="2099-01-01T00:00:00Z")

    def reason(feature: str, customer: str = "acme", amount: Any = 11) -> tuple[bool, str]:
        answer = scene.check(feature, amount, customer)
        return answer["allowed"], answer["reason"]

    assert reason("chat") == (True, "within_limit")
    assert reason("soft") == (True, "soft_limit_exceeded")
    assert reason("soft", amount=10) == (True, "within_limit")
    assert reason("free", amount=10**20) == (True, "unlimited")
    assert reason("export") == (True, "enabled")
    assert reason("seats") == (True, "enabled")
    assert reason("calls") == (False, "limit_reached")
    assert reason("secret") == (False, "not_entitled")
    assert reason("hidden") == (False, "not_entitled")
    assert reason("chat", "idle") == (False, "no_subscription")
    assert reason("chat", "early") == (False, "no_subscription")
    assert reason("chat", "nobody") == (False, "unknown_customer")
    assert reason("nothing") == (False, "unknown_feature")
    assert scene.check("seats")["value"] == 5


def test_entitlements_list_every_feature_with_live_numbers(scene: Scene) -> None:
    scene.open(WIDE)
    scene.send([event("1", 4), event("2", 8)])
    listed = scene.ask("GET", "/v1/customers/acme/entitlements")
    found = {item["feature"]: item for item in listed["items"]}
    assert sorted(found) == sorted(WIDE["features"])
    assert (found["chat"]["used"], found["chat"]["remaining"]) == ("12", "988")
    assert (found["soft"]["used"], found["soft"]["overage"]) == ("12", "2")
    assert (found["calls"]["used"], found["free"]["used"]) == ("2", "12")
    assert found["seats"]["value"] == 5
    assert scene.raw("GET", "/v1/customers/nobody/entitlements").status == 404


def test_amounts_are_exact_and_bounded(scene: Scene) -> None:
    scene.open()
    scene.send([event("1", 999), event("2", "0.9")])
    assert scene.check(amount=0.1)["allowed"] is True
    assert scene.check(amount="0.100000000001")["allowed"] is False
    for wrong in (-1, "many", "1e400", "0.0000000000001", None, True, [1]):
        reply = scene.raw(
            "POST", "/v1/check", {"customer": "acme", "feature": "chat", "amount": wrong}
        )
        assert reply.status == 422, (wrong, reply.text)
    assert scene.raw("POST", "/v1/check", {"customer": "acme"}).status == 422
    assert scene.raw("POST", "/v1/check", b"{").status == 400
    default = scene.ask("POST", "/v1/check", {"customer": "acme", "feature": "chat"})
    assert default["allowed"] is False, "without an amount one is asked for, and 0.1 is left"


def test_a_raised_limit_lets_the_very_next_request_through(scene: Scene) -> None:
    scene.open()
    scene.send(event("1", 1000))
    assert scene.check(amount=1)["allowed"] is False
    assert scene.consume("c", 1)["allowed"] is False
    scene.publish(with_limit(1001))
    assert scene.check(amount=1)["allowed"] is True
    assert scene.consume("c", 1)["balance_after"] == "0"
    assert scene.consume("d", 1)["allowed"] is False
    scene.publish(with_limit(10))
    lowered = scene.check(amount=0)
    assert (lowered["allowed"], lowered["overage"]) == (False, "991")


def test_a_pinned_subscription_keeps_the_limit_it_was_sold(scene: Scene) -> None:
    scene.publish()
    scene.customer()
    scene.customer("floating")
    scene.subscribe(version=1)
    scene.subscribe("floating")
    scene.publish(with_limit(5))
    assert scene.check()["limit"] == "1000"
    assert scene.check(customer="floating")["limit"] == "5"


def test_the_gate_counts_a_subject_for_its_customer(scene: Scene) -> None:
    scene.open()
    scene.customer(subjects=["user-7"])
    answer = scene.ask(
        "POST",
        "/v1/consume",
        {"customer": "user-7", "feature": "chat", "amount": 3, "id": "c1"},
    )
    assert answer["allowed"] is True
    assert scene.check(customer="user-7")["used"] == scene.check()["used"] == "3"


def test_the_clock_of_a_real_server_is_not_set(scene: Scene) -> None:
    problem = scene.ask("POST", "/v1/clock", {"now": "2027-01-01T00:00:00Z"}, status=409)
    assert problem["code"] == "not_sandbox"


# --- consume ----------------------------------------------------------------------------------


def test_consume_records_an_event_that_everything_sees(scene: Scene) -> None:
    scene.open()
    answer = scene.consume("c1", "2.5", data={"model": "opus"})
    assert (answer["allowed"], answer["used"], answer["balance_after"]) == (True, "0", "997.5")
    (found,) = scene.ask("GET", "/v1/events")["items"]
    assert found["position"] == f"0:{answer['seq']}"
    assert found["event"]["data"] == {"model": "opus", "tokens": 2.5}
    assert found["event"]["subject"] == "acme"
    groups = scene.usage(group_by="model")["items"]
    assert [(g["group"], g["value"]) for g in groups] == [({"model": "opus"}, "2.5")]
    assert scene.check()["used"] == "2.5"
    assert scene.preview()["subtotal"] == "0.03"
    counts = scene.status()["events"]
    assert (counts["received"], counts["accepted"], counts["balanced"]) == (1, 1, True)


def test_the_same_id_gives_the_same_answer_and_counts_once(scene: Scene) -> None:
    scene.open()
    first = scene.consume("c1", 10)
    scene.send(event("1", 100))
    assert scene.consume("c1", 10) == first
    assert scene.check()["used"] == "110"
    body = {"customer": "acme", "feature": "chat", "amount": 11, "id": "c1"}
    assert scene.ask("POST", "/v1/consume", body, status=409)["code"] == "event_conflict"
    assert scene.check()["used"] == "110"


def test_a_refusal_records_nothing_and_its_id_stays_free(scene: Scene) -> None:
    scene.open()
    before = scene.status()
    refused = scene.consume("c1", 1001)
    assert (refused["allowed"], refused["seq"], refused["balance_after"]) == (False, None, None)
    for body in (
        {"customer": "nobody", "feature": "chat", "id": "x"},
        {"customer": "acme", "feature": "nothing", "id": "x"},
    ):
        assert scene.ask("POST", "/v1/consume", body)["allowed"] is False
    after = scene.status()
    assert before["log"]["position"] == after["log"]["position"]
    assert before["events"] == after["events"]
    assert scene.ask("GET", "/v1/events")["items"] == []
    assert scene.consume("c1", 1000)["allowed"] is True


def test_consuming_a_counted_feature_takes_one_at_a_time(scene: Scene) -> None:
    scene.open(WIDE)
    body = {"customer": "acme", "feature": "calls", "data": {"tokens": 0}}
    answers = [scene.ask("POST", "/v1/consume", body | {"id": f"c{n}"}) for n in range(4)]
    assert [answer["allowed"] for answer in answers] == [True, True, True, False]
    problem = scene.ask("POST", "/v1/consume", body | {"id": "x", "amount": 2}, status=422)
    assert problem["code"] == "amount_not_countable"
    body = {"customer": "acme", "feature": "export", "id": "x"}
    assert scene.ask("POST", "/v1/consume", body, status=422)["code"] == "feature_not_metered"


def test_an_id_that_came_as_an_event_was_never_consumed(scene: Scene) -> None:
    scene.open()
    scene.send([event("a"), event("c1", 5, source="taximeter/consume"), event("b")])
    body = {"customer": "acme", "feature": "chat", "amount": 5, "id": "c1"}
    assert scene.ask("POST", "/v1/consume", body, status=409)["code"] == "event_conflict"
    scene.send(event("c2", 5, source="taximeter/consume"))
    assert scene.ask("POST", "/v1/consume", body | {"id": "c2"}, status=409)["status"] == 409


def test_sixty_four_clients_at_once_get_exactly_what_the_limit_allows(scene: Scene) -> None:
    scene.open()

    def client(number: int) -> list[dict[str, Any]]:
        # Everybody asks twice under the same id, as clients that time out do.
        ids = [f"{number}-{turn}" for turn in range(3)]
        return [scene.consume(one, 13) for one in ids for _ in range(2)]

    with ThreadPoolExecutor(64) as pool:
        answers = [answer for found in pool.map(client, range(64)) for answer in found]
    seqs = {answer["seq"] for answer in answers if answer["allowed"]}
    assert len(seqs) == 1000 // 13
    assert scene.check()["used"] == str(1000 // 13 * 13)
    assert scene.used() == str(1000 // 13 * 13)
    assert scene.status()["events"]["accepted"] == 1000 // 13


def test_answers_survive_a_kill(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server, namespace="kept").open()
        scene.send(event("1", 7))
        first = scene.consume("c1", 10, data={"model": "opus"})
        last = scene.consume("c2", 983)
        assert scene.consume("c3", 1)["allowed"] is False
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        key = scene.key
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.key == key
        assert scene.consume("c1", 10, data={"model": "opus"}) == first
        assert scene.consume("c2", 983) == last
        assert scene.consume("c3", 1)["allowed"] is False
        assert scene.check()["used"] == "1000"
        assert scene.consume("c1", 10, data={"model": "opus"}) == first
