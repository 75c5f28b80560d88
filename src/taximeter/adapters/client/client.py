"""
Requests that survive a restart of the server.

A request that may have been done twice carries its identity with it: events have their own
(source, id), any other change gets one `Idempotency-Key` for all its attempts. So a connection
that breaks, or a 429 or 503, is simply asked again, for as long as `patience_s` allows.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from taximeter import __version__
from taximeter.adapters.client.problems import to_error
from taximeter.adapters.client.sse import Message, read_messages
from taximeter.errors import Rejected, TaximeterError, Unavailable

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Reply(msgspec.Struct, frozen=True):
    """An answer of status < 400. Header names are in lower case."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = {}

    def json(self) -> Any:
        """The decoded body; fractions are `Decimal`. None for an empty one."""
        if not self.body:
            return None
        try:
            return _decoder.decode(self.body)
        except msgspec.DecodeError:
            raise Unavailable("unreachable", "The answer is not from a Taximeter server.") from None


class Client:
    """
    One server, one key. May be shared by threads: each gets its own kept-alive connection.

    Args:
        url: "http://host:port" or "https://...", with or without a path prefix.
        key: API key, or None for a server started with `--dev`.
        timeout_s: For connecting and for each read of an answer.
        patience_s: How long to keep asking again when the server is away or overloaded.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        patience_s: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        self._secure, self._host, self._port, self._prefix = _parts(url)
        self._timeout_s = timeout_s
        self._sleep, self._monotonic = sleep, monotonic
        self._headers = {"User-Agent": f"taximeter/{__version__}", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._local = threading.local()

    # --- requests -----------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, query=query).json()

    def put(self, path: str, value: Any, **query: Any) -> Any:
        return self._send("PUT", path, value, query).json()

    def post(self, path: str, value: Any = None, **query: Any) -> Any:
        return self._send("POST", path, value, query).json()

    def _send(self, method: str, path: str, value: Any, query: Mapping[str, Any]) -> Reply:
        return self.request(
            method,
            path,
            query=query,
            body=b"{}" if value is None else _encoder.encode(value),
            headers={"Idempotency-Key": os.urandom(16).hex()},
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """
        Ask until there is an answer or patience ends.

        Args:
            query: Values of None are left out.

        Raises:
            TaximeterError: What the server's problem says, or Unavailable `unreachable`.
        """
        target = self._prefix + path + _query_string(query or {})
        sent = dict(self._headers, **(headers or {}))
        if body is not None:
            sent["Content-Type"] = content_type
        give_up_at = self._monotonic() + self.patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self._once(method, target, body, sent)
            except Unavailable as error:
                wait_s = pause_s
                if error.code != "unreachable":
                    wait_s = max(wait_s, error.retry_after_s)
                if self._monotonic() + wait_s > give_up_at:
                    raise
            self._sleep(wait_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _once(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        answer = self._answer(method, target, body, headers)
        try:
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        content_type = answer.headers.get_content_type()
        if answer.status >= 400:
            raise _error(answer, content_type, content)
        headers_seen = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, content_type, content, headers_seen)

    def _answer(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send on the kept-alive connection, or on a fresh one if the server has closed that."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            try:
                return _exchange(connection, method, target, body, headers)
            except (ConnectionError, http.client.ImproperConnectionState):
                self.close()
        try:
            return _exchange(self._connect(), method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        self._local.connection = connection
        return connection

    def close(self) -> None:
        """Close the connection of the calling thread; the next request opens another."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    # --- streams ------------------------------------------------------------------------------

    def stream(self, path: str, *, last_id: str | None = None, **query: Any) -> Iterator[Message]:
        """
        Server-Sent Events until the server ends the stream or the connection breaks.

        Args:
            last_id: Go on after the message of this id.
        """
        headers = dict(self._headers, Accept="text/event-stream")
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        try:
            answer = self._answer("GET", self._prefix + path + _query_string(query), None, headers)
            if answer.status >= 400:
                raise _error(answer, answer.headers.get_content_type(), answer.read())
            yield from read_messages(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            self.close()

    def _unreachable(self, error: Exception) -> Unavailable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unavailable("unreachable", f"No answer from {self.url}: {reason}.")


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    connection.request(method, target, body, dict(headers))
    return connection.getresponse()


def _error(answer: http.client.HTTPResponse, content_type: str, content: bytes) -> TaximeterError:
    problem: Any = {}
    if content_type in ("application/problem+json", "application/json"):
        with contextlib.suppress(msgspec.DecodeError):
            problem = _decoder.decode(content)
    return to_error(
        answer.status, problem if isinstance(problem, dict) else {}, _retry_after(answer)
    )


def _retry_after(answer: http.client.HTTPResponse) -> int:
    """Whole seconds; the date form of the header is not one our server sends."""
    text = answer.headers.get("Retry-After", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() else 1


def _query_string(query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return "?" + urlencode(given, doseq=True) if given else ""


def _parts(url: str) -> tuple[bool, str, int, str]:
    """Whether it is https, the host, the port, and the path before ours."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Rejected("invalid_parameter", f"{url!r} is not a URL like http://127.0.0.1:8080")
    secure = parts.scheme == "https"
    return secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/")
