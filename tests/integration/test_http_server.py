"""
The HTTP server over real sockets: what hostile, slow, broken and merely unusual clients get.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taximeter.adapters.http import (
    Feed,
    Limits,
    Request,
    Response,
    Route,
    Server,
    ServerEvent,
    StreamResponse,
    json_response,
)
from taximeter.adapters.http.server import refuse_all
from taximeter.errors import Rejected

uvloop = pytest.importorskip("uvloop")

LIMITS = Limits(
    max_body_bytes=100_000,
    max_header_bytes=4096,
    max_headers=20,
    max_pipelined=4,
    request_timeout_s=0.8,
    keep_alive_s=1.0,
    write_timeout_s=0.8,
    linger_s=0.3,
)


class App:
    """A server in a thread of its own, and the futures its handlers are waiting for."""

    def __init__(self, limits: Limits, loop_factory: Callable[[], asyncio.AbstractEventLoop]):
        self.seen: list[str] = []
        self.gates: dict[str, asyncio.Future[Response]] = {}
        self.feeds: list[Feed] = []
        self.closed_feeds = 0
        self.observed: list[tuple[str, int]] = []
        self.server = Server(self._routes(), refuse_all, limits=limits, observe=self._observe)
        self._started = threading.Event()
        self._loop = loop_factory()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.port = self._loop.run_until_complete(self.server.start("127.0.0.1", 0))
        self._started.set()
        self._loop.run_forever()
        self._loop.close()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run something on the server's thread and return its result."""

        async def run() -> Any:
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def open_gate(self, name: str) -> None:
        """Let the handler waiting under this name answer; waits until it has begun to wait."""
        self.wait_for(lambda: name in self.gates)
        self.call(lambda: self.gates.pop(name).set_result(json_response({"gate": name})))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if self.call(condition):
                return
            threading.Event().wait(0.01)
        raise AssertionError("condition not reached in 5 s")

    def stop(self, grace_s: float = 0.2) -> None:
        self.call(self.server.stop, grace_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def _observe(self, request: Request, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.observed.append((request.method, status))

    # --- handlers -----------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        return [
            Route("GET", "/fast", self._fast, None),
            Route("POST", "/echo", self._echo, None),
            Route("POST", "/small", self._echo, None, max_body_bytes=10),
            Route("GET", "/gate/{name}", self._gate, None),
            Route("GET", "/essential", self._fast, None, essential=True),
            Route("GET", "/later", self._later, None),
            Route("GET", "/broken", self._broken, None),
            Route("GET", "/nonsense", lambda r: 42, None),
            Route("GET", "/refuses", self._refuses, None),
            Route("GET", "/forged", self._forged, None),
            Route("GET", "/big", lambda r: Response(200, bytes(4_000_000)), None),
            Route("GET", "/stream", lambda r: StreamResponse(self._chunks()), None),
            Route("GET", "/cut-stream", lambda r: StreamResponse(self._cut()), None),
            Route("GET", "/flood", lambda r: StreamResponse(self._flood()), None),
            Route("GET", "/feed", self._feed, None),
            Route("GET", "/secret", self._fast, "read"),
        ]

    def _fast(self, request: Request) -> Response:
        self.seen.append(request.target.decode())
        return json_response({"fast": request.query})

    def _echo(self, request: Request) -> Response:
        return Response(200, request.body, "application/octet-stream")

    def _gate(self, request: Request) -> asyncio.Future[Response]:
        self.seen.append(request.target.decode())
        future = asyncio.get_running_loop().create_future()
        self.gates[request.params["name"]] = future
        return future

    async def _later(self, request: Request) -> Response:
        await asyncio.sleep(0)
        return json_response({"later": True})

    def _broken(self, request: Request) -> Response:
        raise RuntimeError("the password is hunter2")

    async def _refuses(self, request: Request) -> Response:
        raise Rejected("invalid_filter", "No.", position=7)

    def _forged(self, request: Request) -> Response:
        return Response(200, b"{}", headers=(("X-Name", "a\r\nSet-Cookie: b=c"),))

    async def _chunks(self) -> AsyncIterator[bytes]:
        for part in (b"one", b"", b"two"):
            await asyncio.sleep(0)
            yield part

    async def _cut(self) -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("cut")

    async def _flood(self) -> AsyncIterator[bytes]:
        self.flooded = 0
        while True:
            self.flooded += 65536
            yield bytes(65536)

    def _feed(self, request: Request) -> StreamResponse:
        feed = Feed(max_events=3, heartbeat_s=0.05, on_close=self._feed_closed)
        self.feeds.append(feed)
        return feed.response()

    def _feed_closed(self) -> None:
        self.closed_feeds += 1


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def app(request: pytest.FixtureRequest) -> Iterator[App]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    app = App(LIMITS, factory)
    yield app
    server = app.server
    app.wait_for(lambda: not server._connections)
    assert (server.buffered_bytes, server.in_flight) == (0, 0)
    app.stop()


@contextmanager
def started(limits: Limits = LIMITS) -> Iterator[App]:
    app = App(limits, uvloop.new_event_loop)
    try:
        yield app
    finally:
        app.stop()


class Wire:
    """A raw client: bytes out, answers in."""

    def __init__(self, app: App, timeout: float = 60.0, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", app.port))
        self.rest = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def answer(self, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next complete answer: status, headers, body (chunked ones put together)."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        if is_head or status in (100, 204):
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self._chunked()
        length = int(headers["content-length"])
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return status, headers, body

    def _chunked(self) -> bytes:
        parts = []
        while True:
            while b"\r\n" not in self.rest:
                self._more()
            size, self.rest = self.rest.split(b"\r\n", 1)
            length = int(size, 16)
            while len(self.rest) < length + 2:
                self._more()
            parts.append(self.rest[:length])
            self.rest = self.rest[length + 2 :]
            if length == 0:
                return b"".join(parts)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.rest)
        self.rest += data

    def until_closed(self) -> bytes:
        """Everything still to come; fails if the connection stays open."""
        parts = [self.rest]
        self.rest = b""
        with suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                parts.append(data)
        return b"".join(parts)


def code_of(answer: tuple[int, dict[str, str], bytes]) -> str:
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json", body
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["type"] == f"/docs/errors#{problem['code']}"
    assert problem["request_id"] == headers["x-request-id"]
    return str(problem["code"])


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(h + b"\r\n" for h in headers)
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b" % (
        path.encode(), len(body), lines, body,
    )  # fmt: skip


def get(path: str, *headers: bytes) -> bytes:
    lines = b"".join(h + b"\r\n" for h in headers)
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), lines)


# --- ordinary ---------------------------------------------------------------------------------


def test_one_connection_serves_many_requests(app: App) -> None:
    with Wire(app) as wire:
        for number in range(5):
            wire.send(get(f"/fast?n={number}"))
            status, headers, body = wire.answer()
            assert (status, json.loads(body)) == (200, {"fast": {"n": str(number)}})
            assert headers["server"] == "taximeter"
            assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", headers["date"])


def test_head_has_the_headers_of_get_and_no_body(app: App) -> None:
    with Wire(app) as wire:
        wire.send(b"HEAD /fast HTTP/1.1\r\nHost: x\r\n\r\n", get("/fast?after"))
        assert wire.answer(is_head=True)[1]["content-length"] == str(len(b'{"fast":{}}'))
        assert json.loads(wire.answer()[2]) == {"fast": {"after": ""}}


def test_a_sane_request_id_is_kept_and_another_replaced(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/fast", b"X-Request-Id: order-7/a"))
        assert wire.answer()[1]["x-request-id"] == "order-7/a"
        for bad in (b"a b", b"<script>", b"x" * 129, "ü".encode()):
            wire.send(get("/fast", b"X-Request-Id: " + bad))
            assert re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]+", wire.answer()[1]["x-request-id"])


def test_http_1_0_is_answered_and_closed_unless_it_asks_to_stay(app: App) -> None:
    with Wire(app) as wire:
        wire.send(b"GET /fast HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert wire.answer()[1]["connection"] == "keep-alive"
        wire.send(b"GET /fast HTTP/1.0\r\n\r\n")
        assert wire.answer()[1]["connection"] == "close"
        assert wire.until_closed() == b""


def test_connection_close_is_honoured(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/later", b"Connection: close"))
        assert wire.answer()[1]["connection"] == "close"
        assert wire.until_closed() == b""


def test_a_body_may_come_chunked_and_byte_by_byte(app: App) -> None:
    request = (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    with Wire(app) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(request)):
            wire.send(request[index : index + 1])
        assert wire.answer()[2] == b"abcde"


def test_expect_continue_is_told_to_go_on(app: App) -> None:
    with Wire(app) as wire:
        wire.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n")
        wire.send(b"Expect: 100-continue\r\n\r\n")
        assert wire.answer()[0] == 100
        wire.send(b"ok")
        assert wire.answer()[2] == b"ok"


def test_expect_continue_is_refused_before_the_body_is_sent(app: App) -> None:
    with Wire(app) as wire:
        wire.send(b"POST /secret-door HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n")
        wire.send(b"Expect: 100-continue\r\n\r\n")
        assert code_of(wire.answer()) == "not_found"
        assert wire.until_closed() == b""


def test_an_offer_to_upgrade_is_declined_by_going_on(app: App) -> None:
    with Wire(app) as wire:
        offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA")
        wire.send(get("/fast?1", *offer), get("/fast?2"))
        assert json.loads(wire.answer()[2]) == {"fast": {"1": ""}}
        assert json.loads(wire.answer()[2]) == {"fast": {"2": ""}}


def test_a_client_that_only_stops_sending_still_gets_its_answer(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/gate/half"))
        wire.socket.shutdown(socket.SHUT_WR)
        app.open_gate("half")
        assert wire.answer()[0] == 200
        assert wire.until_closed() == b""


# --- errors -----------------------------------------------------------------------------------


def test_unknown_path_wrong_method_and_options(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/nothing"))
        assert code_of(wire.answer()) == "not_found"
        wire.send(b"DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (405, "method_not_allowed")
        assert answer[1]["allow"] == "OPTIONS, POST"
        wire.send(b"OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["allow"]) == (204, "OPTIONS, POST")


def test_a_deliberate_error_becomes_a_problem_with_its_details(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/refuses"))
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (422, "invalid_filter")
        assert json.loads(answer[2])["position"] == 7


@pytest.mark.parametrize("path", ["/broken", "/nonsense", "/forged"])
def test_a_defect_is_a_500_that_tells_nothing(app: App, path: str) -> None:
    with Wire(app) as wire:
        wire.send(get(path))
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (500, "internal")
        assert b"hunter2" not in answer[2]
        assert "set-cookie" not in answer[1]
        wire.send(get("/fast"))
        assert wire.answer()[0] == 200


def test_a_missing_key_is_told_before_the_body_is_read(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/secret?key=tm_000"))
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (401, "unauthenticated")
        assert answer[1]["www-authenticate"].startswith("Bearer")


# --- hostile ----------------------------------------------------------------------------------

H = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "data",
    [
        H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        H + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        H + b"Content-Length: 5, 5\r\n\r\nhello",
        H + b"Content-Length: +5\r\n\r\nhello",
        H + b"Content-Length: -5\r\n\r\nhello",
        H + b"Content-Length : 5\r\n\r\nhello",
        H + b"Content-Length: 0x5\r\n\r\nhello",
        H + b"Content-Length: 99999999999999999999999\r\n\r\n",
        H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        H.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        H.replace(b"1.1", b"1.0")
        + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        H + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n0\r\n\r\n",
        H + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nGET ",
        H + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET ",
        b"POST /echo HTTP/1.1\r\nHost: x\r\n continued: yes\r\n\r\n",
        b"GET /fast HTTP/1.1\nHost: x\n\n",
        b"GET /fast HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET /fast HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /fast HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /fast HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /fast HTTP/1.1\r\n\r\n",
        b"GET /fast\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /fast HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /fast\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"DESCRIBE /fast RTSP/1.0\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"get /fast HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_clean_http_gets_400_and_no_second_request(app: App, data: bytes) -> None:
    """Whatever follows on the connection is not looked at: it may be smuggled."""
    app.seen.clear()
    with Wire(app) as wire:
        wire.send(data, get("/fast?smuggled"))
        answer = wire.answer()
        assert code_of(answer) in ("bad_request", "method_not_allowed", "not_found")
        assert answer[1]["connection"] == "close"
        assert wire.until_closed() == b""
    assert app.seen == []


def test_a_body_too_large_by_its_length_is_refused_before_it_is_sent(app: App) -> None:
    with Wire(app) as wire:
        wire.send(H + b"Content-Length: 100001\r\n\r\n")
        assert code_of(wire.answer()) == "body_too_large"
        assert wire.until_closed() == b""


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(app: App) -> None:
    with Wire(app) as wire:
        wire.send(H + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"2710\r\n" + bytes(10_000) + b"\r\n"
        wire.send(piece * 11)
        assert code_of(wire.answer()) == "body_too_large"
        assert wire.until_closed() == b""


def test_a_client_that_goes_on_sending_still_gets_to_read_the_refusal(app: App) -> None:
    with Wire(app) as wire:
        wire.send(H + b"Content-Length: 3000000\r\n\r\n", bytes(3_000_000))
        assert code_of(wire.answer()) == "body_too_large"
        assert wire.until_closed() == b""


def test_a_route_may_have_a_smaller_limit_and_the_connection_survives_it(app: App) -> None:
    with Wire(app) as wire:
        wire.send(post("/small", b"x" * 11), post("/small", b"x" * 10))
        assert code_of(wire.answer()) == "body_too_large"
        assert wire.answer()[2] == b"x" * 10


def test_a_body_of_many_small_chunks_is_put_together(app: App) -> None:
    with Wire(app) as wire:
        wire.send(H + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 9000)
        wire.send(b"0\r\n\r\n")
        assert wire.answer()[2] == b"ab" * 9000


def test_compressed_bodies_are_inflated_and_bombs_refused(app: App) -> None:
    with Wire(app) as wire:
        wire.send(post("/echo", gzip.compress(b"hello"), b"Content-Encoding: gzip"))
        assert wire.answer()[2] == b"hello"
        wire.send(post("/echo", gzip.compress(bytes(100_001)), b"Content-Encoding: gzip"))
        assert code_of(wire.answer()) == "body_too_large"
        wire.send(post("/echo", b"x", b"Content-Encoding: br"))
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (415, "unsupported_encoding")
        wire.send(post("/small", gzip.compress(b""), b"Content-Encoding: gzip"))
        assert code_of(wire.answer()) == "body_too_large"  # 20 bytes, before decompression


def test_chunks_of_one_byte_may_not_weigh_without_end(app: App) -> None:
    with Wire(app) as wire:
        wire.send(H + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises((ConnectionError, EOFError, TimeoutError)):  # noqa: PT012
            for _ in range(200):
                wire.send(b"1;" + b"e" * 9_990 + b"\r\nx\r\n")
            while True:
                wire.answer()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /fast HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 5000,
        b"GET /fast HTTP/1.1\r\nHost: x\r\nBig: " + b"x" * 5000 + b"\r\n\r\n",
        b"GET /" + b"x" * 300_000,
        get("/fast", *[b"N%d: v" % n for n in range(30)]),
        get("/fast", *[b"Same: v" for _ in range(30)]),
    ],
)
def test_headers_too_large_or_too_many_are_refused(app: App, data: bytes) -> None:
    with Wire(app) as wire:
        wire.send(data)
        if b"\r\n\r\n" not in data:
            wire.send(b"x")
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (431, "headers_too_large")
        assert wire.until_closed() == b""


@pytest.mark.parametrize("beginning", [b"GET /fa", H + b"Content-Length: 50\r\n\r\nhe"])
def test_a_request_that_trickles_in_is_timed_out(app: App, beginning: bytes) -> None:
    """A byte now and then buys no more time: the deadline counts from the first one."""
    with Wire(app) as wire:
        wire.send(beginning)
        for _ in range(3):
            threading.Event().wait(0.1)
            wire.send(b"l")
        answer = wire.answer()
        assert (answer[0], code_of(answer)) == (408, "request_timeout")
        assert wire.until_closed() == b""


def test_idle_connections_are_closed_silently(app: App) -> None:
    with Wire(app) as fresh, Wire(app) as used:
        used.send(get("/fast"))
        used.answer()
        assert fresh.until_closed() == b""
        assert used.until_closed() == b""


def test_slow_handlers_are_not_timed_out(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/gate/slow"))
        threading.Event().wait(1.3)
        app.open_gate("slow")
        assert wire.answer()[0] == 200


# --- order and pace ---------------------------------------------------------------------------


def test_pipelined_answers_come_in_the_order_of_the_requests(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/gate/a"), get("/fast?1"), get("/gate/b"), get("/later"), get("/fast?2"))
        app.open_gate("b")
        app.open_gate("a")
        bodies = [json.loads(wire.answer()[2]) for _ in range(5)]
        assert bodies == [
            {"gate": "a"},
            {"fast": {"1": ""}},
            {"gate": "b"},
            {"later": True},
            {"fast": {"2": ""}},
        ]


def test_an_error_waits_for_its_turn_too(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/gate/first"), b"BROKEN\r\n\r\n")
        app.open_gate("first")
        assert json.loads(wire.answer()[2]) == {"gate": "first"}
        assert code_of(wire.answer()) == "bad_request"
        assert wire.until_closed() == b""


def test_only_so_many_pipelined_requests_are_worked_on_at_a_time(app: App) -> None:
    app.seen.clear()
    with Wire(app) as wire:
        wire.send(*[get(f"/gate/p{n}") for n in range(10)])
        app.wait_for(lambda: len(app.seen) >= 4)
        assert app.seen == [f"/gate/p{n}" for n in range(4)]
        for number in range(10):
            app.open_gate(f"p{number}")
            assert json.loads(wire.answer()[2]) == {"gate": f"p{number}"}


def test_thousands_of_pipelined_requests_are_all_answered_in_order(app: App) -> None:
    with Wire(app) as wire:
        count = 900
        requests = b"".join(get(f"/fast?{n}") for n in range(count))
        threading.Thread(target=wire.send, args=(requests,)).start()
        for number in range(count):
            assert json.loads(wire.answer()[2]) == {"fast": {str(number): ""}}


def test_a_client_that_does_not_read_is_not_read_from_and_then_cut_off(app: App) -> None:
    app.observed.clear()
    with Wire(app, receive_buffer=4096) as wire:
        wire.send(*[get("/big") for _ in range(20)])
        app.wait_for(lambda: len(app.observed) > 0)
        app.wait_for(lambda: not app.server._connections)
        assert len(app.observed) < 20


def test_a_client_that_leaves_in_the_middle_harms_nobody(app: App) -> None:
    with Wire(app) as other:
        other.send(get("/gate/other"))
        for path in ("/gate/gone", "/big", "/flood", "/feed"):
            leaver = Wire(app)
            leaver.send(get(path))
            if path == "/gate/gone":
                app.wait_for(lambda: "gone" in app.gates)
            leaver.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
            leaver.socket.close()  # a reset
        app.open_gate("gone")
        app.open_gate("other")
        assert json.loads(other.answer()[2]) == {"gate": "other"}
    app.wait_for(lambda: app.server.in_flight == 0 and app.server.buffered_bytes == 0)


# --- streams ----------------------------------------------------------------------------------


def test_a_stream_is_chunked_and_the_connection_goes_on(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/stream"), get("/fast"))
        status, headers, body = wire.answer()
        assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"onetwo")
        assert wire.answer()[0] == 200


def test_a_stream_to_http_1_0_ends_with_the_connection(app: App) -> None:
    with Wire(app) as wire:
        wire.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        data = wire.until_closed()
        assert b"Transfer-Encoding" not in data
        assert data.endswith(b"\r\n\r\nonetwo")


def test_a_stream_that_fails_is_visibly_cut(app: App) -> None:
    with Wire(app) as wire:
        wire.send(get("/cut-stream"))
        assert not wire.until_closed().endswith(b"0\r\n\r\n")


def test_a_stream_runs_no_further_ahead_than_the_client_reads(app: App) -> None:
    with Wire(app, receive_buffer=4096) as wire:
        wire.send(get("/flood"))
        app.wait_for(lambda: not app.server._connections)
        assert app.flooded < 8_000_000


def test_server_sent_events_arrive_with_heartbeats_and_end_when_the_client_leaves(
    app: App,
) -> None:
    app.feeds.clear()
    closed = app.closed_feeds
    with Wire(app) as wire:
        wire.send(get("/feed"))
        app.wait_for(lambda: len(app.feeds) == 1)
        event = ServerEvent('{"a":1}\nb', event="usage", id="7", retry_ms=500)
        assert app.call(app.feeds[0].publish, event)
        text = b'event: usage\nid: 7\nretry: 500\ndata: {"a":1}\ndata: b\n\n'
        while text not in wire.rest or b": \n\n" not in wire.rest:
            wire._more()
        assert b"Content-Type: text/event-stream" in wire.rest
    app.wait_for(lambda: app.closed_feeds == closed + 1)
    assert not app.call(app.feeds[0].publish, event)


def test_a_feed_that_is_not_read_is_closed_instead_of_growing(app: App) -> None:
    feed = app.call(lambda: Feed(max_events=3))
    event = ServerEvent("x")
    assert [app.call(feed.publish, event) for _ in range(5)] == [True, True, True, False, False]


# --- load -------------------------------------------------------------------------------------


def test_too_much_work_is_refused_except_for_essential_routes() -> None:
    with started(Limits(max_in_flight=1)) as app, Wire(app) as first, Wire(app) as second:
        first.send(get("/gate/one"))
        app.wait_for(lambda: app.server.in_flight == 1)
        second.send(get("/gate/two"))
        answer = second.answer()
        assert (answer[0], code_of(answer)) == (429, "overloaded")
        assert int(answer[1]["retry-after"]) >= 1
        second.send(get("/essential"))
        assert second.answer()[0] == 200
        app.open_gate("one")
        assert first.answer()[0] == 200


def test_bodies_together_are_bounded() -> None:
    limits = Limits(max_buffered_bytes=1000)
    with started(limits) as app, Wire(app) as first, Wire(app) as second:
        first.send(H + b"Content-Length: 2000\r\n\r\n", bytes(900))
        app.wait_for(lambda: app.server.buffered_bytes == 900)
        second.send(post("/echo", bytes(200)))
        assert code_of(second.answer()) == "overloaded"
        first.socket.close()
        app.wait_for(lambda: app.server.buffered_bytes == 0)


def test_one_connection_too_many_is_told_so() -> None:
    with started(Limits(max_connections=1)) as app, Wire(app) as first:
        first.send(get("/fast"))
        first.answer()
        with Wire(app) as second:
            assert code_of(second.answer()) == "overloaded"
            assert second.until_closed() == b""
        first.send(get("/fast"))
        assert first.answer()[0] == 200


# --- stopping ---------------------------------------------------------------------------------


def test_stopping_answers_what_has_arrived_and_takes_no_more() -> None:
    app = App(Limits(), uvloop.new_event_loop)
    with Wire(app) as idle, Wire(app) as busy, Wire(app) as stream:
        busy.send(get("/gate/last"))
        stream.send(get("/feed"))
        app.wait_for(lambda: "last" in app.gates and len(app.feeds) == 1)
        stopping = threading.Thread(target=app.stop, args=(5.0,))
        stopping.start()
        assert idle.until_closed() == b""
        assert stream.until_closed().endswith(b"0\r\n\r\n")
        app.open_gate("last")
        assert json.loads(busy.answer()[2]) == {"gate": "last"}
        assert busy.until_closed() == b""
        stopping.join(60)
        assert not stopping.is_alive()
        with pytest.raises(OSError):
            Wire(app)


def test_stopping_cuts_what_does_not_end_in_time() -> None:
    app = App(Limits(), uvloop.new_event_loop)
    with Wire(app) as busy:
        busy.send(get("/gate/never"))
        app.wait_for(lambda: "never" in app.gates)
        app.stop(0.05)
        assert busy.until_closed() == b""


# --- anything at all --------------------------------------------------------------------------

_PIECES = [
    b"GET ", b"POST ", b"/fast", b"/echo", b" HTTP/1.1", b"\r\n", b"\n", b"\r\n\r\n", b"Host: x",
    b"Content-Length: 3", b"Content-Length: 100000", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n",
    b"0\r\n\r\n", b"Expect: 100-continue", b"Connection: close", b"Upgrade: h2c",
    b"Connection: Upgrade", b"Content-Encoding: gzip", b"\x1f\x8b\x08", b"\x00", b"\xff", b"?a=b",
    b"/later", b"/stream",
]  # fmt: skip


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pieces=st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=12)), max_size=25),
    cut=st.integers(0, 200),
)
def test_any_bytes_get_answers_or_a_close_and_never_a_500(
    app: App, pieces: list[bytes], cut: int
) -> None:
    data = b"".join(pieces)
    with Wire(app) as wire:
        with suppress(OSError):  # closed already: an answer, too
            wire.send(data[:cut])
            wire.send(data[cut:])
            wire.socket.shutdown(socket.SHUT_WR)
        answers = wire.until_closed()
    assert b"HTTP/1.1 500" not in answers
    assert app.call(lambda: app.server.is_stopping) is False
