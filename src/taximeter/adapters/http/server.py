"""
The HTTP server: listens, admits, and keeps time for its connections.

    server = Server(routes, authenticate)
    await server.start("127.0.0.1", 8080)
    ...
    await server.stop(grace_s=10)

Everything runs on the event loop's thread; run it on uvloop for the speed the benchmarks show.
TLS, if wanted, is a proxy's job.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from taximeter.adapters.http.auth import Principal
from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.limits import Limits
from taximeter.adapters.http.messages import Request
from taximeter.adapters.http.protocol import Connection
from taximeter.adapters.http.routing import Route, Router
from taximeter.adapters.http.wire import Heads
from taximeter.errors import Unauthenticated, Unavailable

Authenticate: TypeAlias = Callable[[Request], Principal]
Observe: TypeAlias = Callable[[Request, int, float], None]

_BACKLOG: Final = 1024
_SANE_ID: Final = frozenset((string.ascii_letters + string.digits + "-_.:/+=").encode())
_MAX_ID_BYTES: Final = 128
_METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}


class Server:
    """
    Args:
        routes: The whole table; see `Route`.
        authenticate: Says who sent a request, from its headers, or raises `Unauthenticated`.
            Only asked for routes with a scope, before the body is read.
        idempotency: Honours Idempotency-Key on the routes that say they are `idempotent`.
        observe: Called after each answer with (request, status, seconds in the handler and the
            queue); for access logs and latency metrics. `request.route` may be None.

    Attributes:
        in_flight: Requests waiting for a handler that did not answer at once.
        buffered_bytes: Bodies of requests being received or waiting.
        is_stopping: No new requests are taken.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        authenticate: Authenticate,
        *,
        idempotency: Idempotency | None = None,
        limits: Limits | None = None,
        observe: Observe | None = None,
    ) -> None:
        if idempotency is not None:
            routes = [idempotency.cover(route) for route in routes]
        self.router = Router(routes)
        self.limits = limits or Limits()
        self.observe = observe
        self.heads = Heads()
        self.now = 0.0
        self.in_flight = 0
        self.buffered_bytes = 0
        self.is_stopping = False
        self.pending: set[asyncio.Future[Any]] = set()
        self._authenticate = authenticate
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._id_prefix = secrets.token_hex(5)
        self._id_count = 0
        limits_s = (self.limits.request_timeout_s, self.limits.linger_s, self.limits.keep_alive_s)
        self._tick_s = min(0.5, min(limits_s) / 4)

    # --- life ---------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> int:
        """
        Listen; port 0 picks a free one. May be called again for another address.

        Returns:
            The port.
        """
        loop = asyncio.get_running_loop()
        if self._ticker is None:
            self._tick()
        listener = await loop.create_server(
            lambda: Connection(self), host, port, backlog=_BACKLOG, reuse_address=True
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take no more requests, answer those that have arrived, then cut what is left."""
        self.is_stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.shut_down()
        end = time.monotonic() + grace_s
        while self._connections and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        if self._ticker is not None:
            self._ticker.cancel()

    def _tick(self) -> None:
        """Keep the coarse clock and the Date; end what has waited too long."""
        loop = asyncio.get_running_loop()
        self.now = now = loop.time()
        self.heads.tick(time.time())
        for connection in [c for c in self._connections if c.deadline <= now]:
            connection.expire()
        self._ticker = loop.call_later(self._tick_s, self._tick)

    # --- for connections ----------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        """Register a connection; False if there are too many."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.max_connections

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def request_id(self, headers: dict[bytes, bytes]) -> str:
        """The client's own id if it is harmless to repeat and to log, else a new one."""
        given = headers.get(b"x-request-id")
        if given and len(given) <= _MAX_ID_BYTES and _SANE_ID.issuperset(given):
            return given.decode("ascii")
        self._id_count += 1
        return f"{self._id_prefix}-{self._id_count:x}"

    def max_body_bytes(self, request: Request) -> int:
        """Most bytes its body may have, before and after decompression."""
        route = request.route
        if route is None or route.max_body_bytes is None:
            return self.limits.max_body_bytes
        return route.max_body_bytes

    def prepare(self, request: Request, method: bytes) -> None:
        """
        Find the route and who asks, from the headers alone.

        Raises:
            TaximeterError: there is no such route, the caller may not, or there is too much work.
        """
        request.method = _METHODS.get(method) or method.decode("ascii")
        request.route, request.params = route, _ = self.router.resolve(method, request.target)
        if route.scope is not None:
            request.principal = self._authenticate(request)
            request.principal.require(route.scope)
        if self.in_flight >= self.limits.max_in_flight and not route.essential:
            raise Unavailable("overloaded", "Too many requests are waiting.")


def refuse_all(_request: Request) -> Principal:
    """An `authenticate` that knows nobody; for servers with public routes only."""
    raise Unauthenticated("unauthenticated", "This server has no keys.")
