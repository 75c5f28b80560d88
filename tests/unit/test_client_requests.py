"""The HTTP client: asking again, and errors as they were made. Transport only, against a stub."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.client import Client
from taximeter.errors import (
    Denied,
    NotFound,
    Refused,
    Rejected,
    TaximeterError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as found:
        yield found


class Time:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def client(stub: Stub, time: Time, patience_s: float = 10.0, **more: Any) -> Client:
    return Client(
        stub.url, patience_s=patience_s, sleep=time.sleep, monotonic=time.monotonic, **more
    )


def test_fractions_in_answers_are_exact_and_one_connection_serves_many_requests(stub: Stub):
    stub.routes["GET", "/v1/x"] = Answer(body=b'{"rate": 0.1000}')
    asking = client(stub, Time())
    answers = [asking.get("/v1/x") for _ in range(3)]
    assert answers == [{"rate": Decimal("0.1000")}] * 3
    assert isinstance(answers[0]["rate"], Decimal)
    assert stub.connections == 1


def test_a_closed_kept_alive_connection_is_replaced_without_a_pause(stub: Stub):
    stub.routes["GET", "/v1/x"] = Answer(body={}, headers={"Connection": "close"})
    time = Time()
    asking = client(stub, time)
    asking.get("/v1/x")
    asking.get("/v1/x")
    assert time.pauses == []


def test_the_key_is_sent_as_a_bearer_token_and_absent_parameters_are_left_out(stub: Stub):
    stub.routes["GET", "/api/v1/x"] = Answer(body={})
    Client(stub.url + "/api/", "tk_1").get("/v1/x", a=1, b=None, c="x y")
    (asked,) = stub.asked
    assert asked.headers["authorization"] == "Bearer tk_1"
    assert asked.query == {"a": "1", "c": "x y"}


def test_a_change_is_repeated_under_one_idempotency_key(stub: Stub):
    stub.routes["POST", "/v1/x"] = [
        Answer(hang_up=True),
        problem(503, "overloaded"),
        Answer(201, {"id": "1"}),
    ]
    asking = client(stub, Time())
    assert asking.post("/v1/x", {"a": Decimal("0.10")}) == {"id": "1"}
    assert len({asked.headers["idempotency-key"] for asked in stub.asked}) == 1
    assert {asked.body for asked in stub.asked} == {b'{"a":0.10}'}
    asking.post("/v1/x", {})
    assert len({asked.headers["idempotency-key"] for asked in stub.asked}) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(stub: Stub, status: int):
    busy = problem(status, "overloaded")
    busy.headers["Retry-After"] = "7"
    stub.routes["GET", "/v1/x"] = [busy, Answer(body=1)]
    time = Time()
    assert client(stub, time).get("/v1/x") == 1
    assert time.pauses == [7.0]


def test_patience_ends_before_a_pause_that_would_exceed_it(stub: Stub):
    busy = problem(503, "storage_full", detail="full")
    busy.headers["Retry-After"] = "7"
    stub.routes["GET", "/v1/x"] = busy
    time = Time()
    with pytest.raises(Unavailable) as caught:
        client(stub, time).get("/v1/x")
    assert (caught.value.code, caught.value.retry_after_s) == ("storage_full", 7)
    assert time.pauses == [7.0]


def test_pauses_grow_while_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    time = Time()
    asking = Client(
        f"http://127.0.0.1:{port}", patience_s=1.0, sleep=time.sleep, monotonic=time.monotonic
    )
    with pytest.raises(Unavailable) as caught:
        asking.get("/v1/x")
    assert caught.value.code == "unreachable"
    assert time.pauses == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    ("status", "code", "family"),
    [
        (400, "invalid_json", Rejected),
        (401, "unauthenticated", Unauthenticated),
        (402, "limit_reached", Refused),
        (403, "insufficient_scope", Denied),
        (403, "limit_reached", Refused),
        (404, "not_found", NotFound),
        (409, "invoice_final", Refused),
        (413, "body_too_large", TooLarge),
        (422, "invalid_amount", Rejected),
        (500, "internal", TaximeterError),
    ],
)
def test_a_problem_becomes_the_error_it_was_made_from(
    stub: Stub, status: int, code: str, family: type[TaximeterError]
):
    stub.routes["GET", "/v1/x"] = problem(status, code, detail="why", limit=3, message="m")
    with pytest.raises(TaximeterError) as caught:
        client(stub, Time()).get("/v1/x")
    assert type(caught.value) is family
    assert (caught.value.code, caught.value.message) == (code, "why")
    assert caught.value.details == {"limit": 3}


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b'{"code":"from_the_future"}'])
def test_an_answer_of_a_stranger_is_still_an_error_with_a_known_code(stub: Stub, body: bytes):
    stub.routes["GET", "/v1/x"] = Answer(418, body, content_type="application/problem+json")
    with pytest.raises(Rejected) as caught:
        client(stub, Time()).get("/v1/x")
    assert caught.value.code == "invalid_request"


def test_a_page_instead_of_json_is_not_a_taximeter_server(stub: Stub):
    stub.routes["GET", "/v1/x"] = Answer(200, b"<html>", content_type="text/html")
    with pytest.raises(Unavailable, match="not from a Taximeter"):
        client(stub, Time()).get("/v1/x")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:port", ""])
def test_what_is_no_url_is_rejected(url: str):
    with pytest.raises(Rejected, match="not a URL"):
        Client(url)


def test_a_stream_gives_messages_and_goes_on_after_the_last_id(stub: Stub):
    text = b": hello\nid: 7\ndata: {\ndata: }\n\nevent: named\ndata:3\n\nretry: 5\n\ndata: lost"
    stub.routes["GET", "/v1/s"] = Answer(body=text, content_type="text/event-stream")
    asking = client(stub, Time())
    found = [(m.event, m.data, m.id) for m in asking.stream("/v1/s", last_id="6", type="t")]
    assert found == [("message", "{\n}", "7"), ("named", "3", "7")]
    (asked,) = stub.asked
    assert (asked.headers["last-event-id"], asked.query) == ("6", {"type": "t"})


def test_a_refused_stream_raises_its_problem(stub: Stub):
    stub.routes["GET", "/v1/s"] = problem(401, "unauthenticated")
    with pytest.raises(Unauthenticated):
        list(client(stub, Time()).stream("/v1/s"))
