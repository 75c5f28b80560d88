"""
A webhook receiver and a mailbox, real servers on this machine, for tests of delivery.

    with receiver() as inbox:
        ... a webhook to inbox.url ...
        (message,) = inbox.wait(1)
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Got:
    """One request as it arrived. Header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answering:
    """How to answer: `write`, if given, writes the whole answer to the raw file instead."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    write: Callable[[Any], None] | None = None


class Inbox:
    """
    Attributes:
        got: Everything that arrived, in order.
        answer: How to answer, or a function of the request that says so.
    """

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.answer: Answering | Callable[[Got], Answering] = Answering()
        self._arrived = threading.Condition()

    def take(self, got: Got) -> Answering:
        with self._arrived:
            self.got.append(got)
            self._arrived.notify_all()
        return self.answer(got) if callable(self.answer) else self.answer

    def wait(self, count: int, timeout_s: float = 60.0) -> list[Got]:
        """The first `count` requests; fails if they do not come in time."""
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while len(self.got) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(self.got)} of {count} arrived: {self.types()}"
                self._arrived.wait(left)
            return self.got[:count]

    def types(self) -> list[str]:
        return [got.json()["type"] for got in self.got]


@contextmanager
def receiver(answer: Answering | Callable[[Got], Answering] | None = None) -> Iterator[Inbox]:
    inbox = Inbox()
    if answer is not None:
        inbox.answer = answer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # whoever sent it was killed in the middle
            headers = {name.lower(): value for name, value in self.headers.items()}
            chosen = inbox.take(Got(self.path, headers, body, time.time()))
            time.sleep(chosen.delay_s)
            if chosen.write is not None:
                self.close_connection = True
                chosen.write(self.wfile)
                return
            self.send_response(chosen.status)
            for name, value in chosen.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(chosen.body)))
            self.end_headers()
            self.wfile.write(chosen.body)

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            """A sender that hangs up is no error of the test."""

    server = Quiet(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Mailbox:
    """
    Attributes:
        url: For `smtp_url`.
        mail: (recipients, message) in order of arrival.
        reply: What the server says to a recipient; None for "yes".
    """

    def __init__(self) -> None:
        self.url = ""
        self.mail: list[tuple[list[str], Message]] = []
        self.reply: str | None = None
        self._arrived = threading.Condition()

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.reply is not None:
            return self.reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = BytesParser().parsebytes(envelope.content)
        with self._arrived:
            self.mail.append((envelope.rcpt_tos, message))
            self._arrived.notify_all()
        return "250 OK"

    def wait(self, count: int, timeout_s: float = 60.0) -> list[tuple[list[str], Message]]:
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self.mail) >= count, timeout_s)
            assert arrived, f"{len(self.mail)} of {count} messages arrived"
            return self.mail[:count]


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    from aiosmtpd.controller import Controller

    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        box.url = f"smtp+plain://127.0.0.1:{port}"
        yield box
    finally:
        controller.stop()
