"""Idempotency keys (K17)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taximeter.adapters.http.auth import Principal
from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.messages import Client, Request, Response, json_response
from taximeter.errors import Refused, TaximeterError
from taximeter.ports import StoredReply


class Store:
    def __init__(self) -> None:
        self.replies: dict[tuple[str, str], StoredReply] = {}

    def reply(self, namespace: str, key: str) -> StoredReply | None:
        return self.replies.get((namespace, key))

    def add_reply(self, namespace: str, key: str, reply: StoredReply) -> None:
        self.replies[namespace, key] = reply


class Counter:
    """A handler that counts its calls."""

    def __init__(self, status: int = 201) -> None:
        self.calls = 0
        self.status = status

    def __call__(self, request: Request) -> Response:
        self.calls += 1
        return json_response({"call": self.calls}, self.status)


def request(
    key: str | None = "k", body: bytes = b"{}", target: bytes = b"/v1/x", namespace: str = "a"
) -> Request:
    headers = {} if key is None else {b"idempotency-key": key.encode("latin-1")}
    who = Principal(namespace, "key", frozenset())
    return Request("POST", target, headers, Client("", False), "id", principal=who, body=body)


def wrapped(handler: Any) -> Any:
    covered = Idempotency(Store(), lambda: 7).wrap(handler)

    def ask(asked: Request) -> Response:
        async def run() -> Response:
            answer = covered(asked)
            return answer if isinstance(answer, Response) else await answer

        return asyncio.run(run())

    return ask


def test_the_same_request_again_gets_the_first_answer() -> None:
    handler = Counter()
    ask = wrapped(handler)
    first, again = ask(request()), ask(request())
    assert (again.status, again.body) == (first.status, first.body) == (201, b'{"call":1}')
    assert again.headers == (("Idempotent-Replayed", "true"),)
    assert first.headers == ()
    assert handler.calls == 1


@pytest.mark.parametrize("other", [{"body": b"{ }"}, {"target": b"/v1/y"}, {"target": b"/v1/x?a"}])
def test_the_same_key_for_another_request_is_refused(other: dict[str, bytes]) -> None:
    ask = wrapped(Counter())
    ask(request())
    with pytest.raises(TaximeterError) as refusal:
        ask(request(**other))
    assert refusal.value.code == "idempotency_key_reused"


def test_without_a_key_or_in_another_namespace_it_is_another_request() -> None:
    handler = Counter()
    ask = wrapped(handler)
    for asked in (request(), request(None), request(None), request(namespace="b"), request("K")):
        ask(asked)
    assert handler.calls == 5


def test_an_answer_still_being_made_is_not_waited_for() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def slow(_request: Request) -> Response:
            await gate.wait()
            return Response(200)

        handler = Idempotency(Store(), lambda: 7).wrap(slow)
        first = asyncio.ensure_future(handler(request()))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refusal:
            await handler(request())
        assert refusal.value.code == "idempotency_in_flight"
        gate.set()
        await first
        assert (await handler(request())).headers

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [200, 201, 204, 404, 409, 422])
def test_final_answers_are_remembered(status: int) -> None:
    handler = Counter(status)
    ask = wrapped(handler)
    ask(request())
    assert ask(request()).status == status
    assert handler.calls == 1


@pytest.mark.parametrize("status", [401, 403, 408, 413, 429, 500, 503])
def test_answers_that_ask_to_try_again_are_not(status: int) -> None:
    handler = Counter(status)
    ask = wrapped(handler)
    ask(request())
    ask(request())
    assert handler.calls == 2


def test_a_refusal_raised_by_the_handler_is_remembered_too() -> None:
    calls = 0

    def refuse(_request: Request) -> Response:
        nonlocal calls
        calls += 1
        raise Refused("invoice_not_draft", "No.")

    ask = wrapped(refuse)
    first, again = ask(request()), ask(request())
    assert (first.status, first.body, calls) == (409, again.body, 1)
    assert again.content_type == "application/problem+json"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ü"])
def test_keys_are_short_printable_ascii(key: str) -> None:
    with pytest.raises(TaximeterError) as refusal:
        wrapped(Counter())(request(key))
    assert refusal.value.code == "invalid_parameter"
