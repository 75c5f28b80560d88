"""
A stand-in for a server, for what is about transport and terminal only.

It answers what a test scripts and remembers what it was asked. It knows nothing about metering:
behaviour of the real server is tested against the real server, in tests/integration.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Asked:
    """One request as the stub got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """`hang_up`: read the request, then close the connection without a word."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    hang_up: bool = False


def problem(status: int, code: str, **members: Any) -> Answer:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, **members}
    return Answer(status, body, content_type="application/problem+json")


class Stub:
    """
    Attributes:
        routes: (method, path) to an answer, a list of answers given one after the other (the last
            one again and again), or a function of the request.
        asked: Every request, in order of arrival.
        connections: How many were opened.
    """

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Any] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            found = self.routes.get((asked.method, asked.path), problem(404, "not_found"))
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
        return found(asked) if callable(found) else found

    def times(self, method: str, path: str) -> int:
        return sum((a.method, a.path) == (method, path) for a in self.asked)


@contextmanager
def running_stub() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            stub.connections += 1
            super().setup()

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length),
            )
            answer = stub.answer(asked)
            if answer.hang_up:
                self.close_connection = True
                return
            body = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ingest_double(events: dict[tuple[str, str], bytes]) -> Callable[[Asked], Answer]:
    """
    `POST /v1/events` that counts lines by identity, like the real one. Lines whose type is "old"
    are rejected unless it is a backfill.
    """
    lock = threading.Lock()

    def answer(asked: Asked) -> Answer:
        counts = dict.fromkeys(("accepted", "duplicates", "conflicts", "rejected"), 0)
        errors = []
        lines = asked.body.split(b"\n")
        with lock:
            for index, line in enumerate(lines):
                event = json.loads(line)
                verdict, code = _verdict(events, event, line, "backfill" in asked.query)
                counts[verdict] += 1
                if code:
                    errors.append(
                        {"index": index, "id": event.get("id"), "code": code, "detail": code}
                    )
        body = {"received": len(lines), **counts, "position": "0:1", "errors": errors}
        return Answer(200, body)

    return answer


def _verdict(
    events: dict[tuple[str, str], bytes], event: dict[str, Any], line: bytes, backfill: bool
) -> tuple[str, str | None]:
    if "id" not in event:
        return "rejected", "invalid_event"
    if event["type"] == "old" and not backfill:
        return "rejected", "timestamp_too_old"
    identity = (event.get("source", ""), event["id"])
    known = events.setdefault(identity, line)
    if known is line:
        return "accepted", None
    return ("duplicates", None) if known == line else ("conflicts", "event_conflict")
