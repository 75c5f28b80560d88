"""Idempotency-Key over HTTP: the same request twice is one request."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("idempotency"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    return scene


def once(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_first_answer_is_given_again(scene: Scene) -> None:
    scene.publish()
    scene.customer()
    body = {"customer": "acme", "plan": "pro", "start": "2026-10-01T00:00:00Z"}
    first = scene.raw("POST", "/v1/subscriptions", body, once("s"))
    again = scene.raw("POST", "/v1/subscriptions", body, once("s"))
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert scene.raw("POST", "/v1/subscriptions", body).status == 409, "a request of its own"
    assert len(scene.ask("GET", "/v1/subscriptions")["items"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/catalog", CATALOG),
        ("PUT", "/v1/meters/tokens", CATALOG["meters"]["tokens"]),
        ("PUT", "/v1/customers/acme", {"name": "Acme"}),
        ("POST", "/v1/close", {}),
        ("POST", "/v1/dead-letters/replay", {}),
    ],
)
def test_each_mutation_can_be_repeated(
    scene: Scene, method: str, path: str, body: dict[str, Any]
) -> None:
    answers = [scene.raw(method, path, body, once("k")) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert answers[1].headers["idempotent-replayed"] == "true"


def test_a_key_belongs_to_its_first_request(scene: Scene) -> None:
    scene.ask("PUT", "/v1/customers/acme", {"name": "Acme"}, once("k"))
    for method, path, body in (
        ("PUT", "/v1/customers/acme", {"name": "Other"}),
        ("PUT", "/v1/customers/other", {"name": "Acme"}),
        ("POST", "/v1/close", {}),
    ):
        problem = scene.ask(method, path, body, once("k"), status=422)
        assert problem["code"] == "idempotency_key_reused"
    assert scene.ask("GET", "/v1/customers/acme")["name"] == "Acme"
    assert scene.raw("GET", "/v1/customers/other").status == 404


def test_a_refusal_is_remembered_and_a_request_without_rights_is_not(scene: Scene) -> None:
    body = {"customer": "acme", "plan": "pro"}
    assert scene.raw("POST", "/v1/subscriptions", body, once("r")).status == 404
    scene.publish()
    scene.customer()
    assert scene.raw("POST", "/v1/subscriptions", body, once("r")).status == 404
    reader = scene.new_key("read")
    assert scene.raw("POST", "/v1/subscriptions", body, once("n"), key=reader).status == 403
    assert scene.raw("POST", "/v1/subscriptions", body, once("n")).status == 201


def test_two_at_once_are_not_both_done(scene: Scene) -> None:
    scene.open(start="2026-01-01T00:00:00Z")
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: scene.raw("POST", "/v1/close", {}, once("c")), range(12)))
    done = [reply for reply in replies if reply.status == 200]
    busy = [reply for reply in replies if reply.status == 409]
    assert len(done) + len(busy) == 12
    assert {reply.json()["code"] for reply in busy} <= {"idempotency_in_flight"}
    assert len({reply.body for reply in done}) == 1
    assert len(done[0].json()["invoices"]) == 10
    finals = [scene.raw("POST", "/v1/close", {}, once("c")).body for _ in range(2)]
    assert set(finals) == {done[0].body}


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
def test_a_key_that_is_none_is_refused(scene: Scene, key: str) -> None:
    reply = scene.raw("POST", "/v1/close", {}, once(key))
    assert (reply.status, reply.json()["code"]) == (422, "invalid_parameter")


def test_a_key_is_remembered_over_a_kill(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server)
        scene.publish()
        scene.customer()
        body = {"customer": "acme", "plan": "pro"}
        first = scene.ask("POST", "/v1/subscriptions", body, once("s"), status=201)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    with serve(tmp_path) as server:
        scene.server = server
        again = scene.ask("POST", "/v1/subscriptions", body, once("s"), status=201)
        assert again == first


def test_events_need_no_key_because_they_have_their_own(scene: Scene) -> None:
    scene.open()
    scene.ask("POST", "/v1/events", event("1", 5), once("e"))
    assert scene.ask("POST", "/v1/events", event("1", 5), once("e"))["duplicates"] == 1
