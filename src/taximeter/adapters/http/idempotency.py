"""
Idempotency keys (K17): a mutating request repeated with its key gets its first answer again.

What is remembered is every final answer: success, and refusals that depend on the request or on
today's state. Answers that say "not now" or "not you" (401, 403, 408, 413, 429) and all from 500
on are not: the client is meant to try again, and then to get a real answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from taximeter.adapters.http.messages import Request, Response, StreamResponse
from taximeter.adapters.http.problems import problem
from taximeter.adapters.http.routing import Handler, Route
from taximeter.errors import Refused, Rejected
from taximeter.ports import StoredReply

MAX_KEY_LENGTH: Final = 255
Caller: TypeAlias = Callable[..., Awaitable[Any]]

REPLAYED: Final = ("Idempotent-Replayed", "true")
_NOT_FINAL: Final = frozenset({401, 403, 408, 413, 429})


class ReplyStore(Protocol):
    """Where first answers are kept, durably; `ports.Books` is one."""

    def reply(self, namespace: str, key: str) -> StoredReply | None: ...
    def add_reply(self, namespace: str, key: str, reply: StoredReply) -> None: ...


class Idempotency:
    """
    Wraps handlers. One instance a server: it knows which keys are being worked on.

    Args:
        store: First answers by namespace and key.
        now: Microseconds since the epoch.
        call: Runs a method of the store, `await call(method, *args)`; on the thread the store
            wants. Without it the store is called right here, on the event loop.
    """

    def __init__(
        self, store: ReplyStore, now: Callable[[], int], call: Caller | None = None
    ) -> None:
        self._store = store
        self._now = now
        self._call = call or _call_here
        self._in_flight: set[tuple[str, str]] = set()

    def cover(self, route: Route) -> Route:
        """The route with its handler wrapped, if it says it is idempotent."""
        if not route.idempotent:
            return route
        return msgspec.structs.replace(route, handler=self.wrap(route.handler))

    def wrap(self, handler: Handler) -> Handler:
        """The handler, honouring `Idempotency-Key` where a request carries one."""

        def wrapped(request: Request) -> Response | StreamResponse | Awaitable[Response]:
            if b"idempotency-key" not in request.raw_headers:
                return handler(request)  # type: ignore[return-value]
            return self._once(handler, request)

        return wrapped

    async def _once(self, handler: Handler, request: Request) -> Response:
        key = _key_of(request)
        digest = digest_of(request)
        place = (request.principal.namespace, key)
        if place in self._in_flight:
            raise Refused(
                "idempotency_in_flight", "A request with this Idempotency-Key is being worked on."
            )
        self._in_flight.add(place)
        try:
            stored = await self._call(self._store.reply, *place)
            if stored is not None:
                return _replay(stored, digest)
            response = await _run(handler, request)
            if response.status < 500 and response.status not in _NOT_FINAL:
                await self._call(self._store.add_reply, *place, self._stored(digest, response))
            return response
        finally:
            self._in_flight.discard(place)

    def _stored(self, digest: bytes, response: Response) -> StoredReply:
        return StoredReply(
            digest, response.status, response.content_type, response.body, self._now()
        )


async def _call_here(method: Callable[..., Any], *args: Any) -> Any:
    return method(*args)


async def _run(handler: Handler, request: Request) -> Response:
    """The handler's answer, an error's included: those are answers to remember, too."""
    try:
        answer = handler(request)
        if not isinstance(answer, Response | StreamResponse):
            answer = await answer
    except Exception as error:
        return problem(error, request.request_id)
    assert isinstance(answer, Response), "a stream cannot be remembered"
    return answer


def _key_of(request: Request) -> str:
    key = request.header("idempotency-key") or ""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Rejected(
            "invalid_parameter", f"Idempotency-Key: 1 to {MAX_KEY_LENGTH} printable ASCII letters."
        )
    return key


def digest_of(request: Request) -> bytes:
    """What must be equal for two requests to be the same one."""
    head = b"%b %b\n" % (request.method.encode(), request.target)
    return hashlib.sha256(head + request.body).digest()


def _replay(stored: StoredReply, digest: bytes) -> Response:
    if stored.request_digest != digest:
        raise Rejected(
            "idempotency_key_reused", "This Idempotency-Key was used for a different request."
        )
    return Response(stored.status, stored.body, stored.content_type, (REPLAYED,))
