"""
One HTTP call, described apart from how it is made: the same for threads and for asyncio.
"""

from __future__ import annotations

import asyncio
import encodings.idna
import ssl
import threading
import weakref
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn

import httpcore
import httpx

from taximeter_sdk.encoding import from_json, to_json
from taximeter_sdk.errors import Rejected, TaximeterError, Unavailable
from taximeter_sdk.version import __version__

# Imported only at the first request otherwise: a fork in the middle of that would leave the child
# with half a module.
_FORK_SAFE: Final = (httpcore, encodings.idna)

USER_AGENT: Final = f"taximeter-sdk/{__version__}"
_NOT_NOW: Final = frozenset({408, 425, 429})


class Call(NamedTuple):
    """
    Attributes:
        body: JSON already encoded, or None.
        key: An `Idempotency-Key`, so that a try whose answer got lost is not done twice.
    """

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, str] | None = None
    key: str | None = None

    @classmethod
    def post(cls, path: str, value: Any, *, key: str | None = None) -> Call:
        return cls("POST", path, to_json(value), None, key)

    @property
    def headers(self) -> dict[str, str]:
        headers = {} if self.body is None else {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        return headers


class Target(NamedTuple):
    """Where to, as whom, and how long to wait for an answer."""

    url: str
    key: str | None
    timeout_s: float

    def client_options(self) -> dict[str, Any]:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        return {
            "base_url": self.url,
            "headers": headers,
            "timeout": self.timeout_s,
            "limits": limits,
            "verify": _certificates() if self.url.startswith("https:") else False,
        }


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx.create_ssl_context()


class Transport:
    """Calls from threads. Connections are kept; thread-safe, but not across a fork."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            with self._lock:
                self._client = self._client or httpx.Client(**self._target.client_options())
        return self._client

    def send(self, call: Call, *, timeout_s: float | None = None) -> Any:
        """
        The decoded answer.

        Raises:
            Unavailable: No answer, or one that says to ask again.
            Rejected: The server says no.
        """
        try:
            response = self.client.request(
                call.method,
                call.path,
                params=call.params,
                content=call.body,
                headers=call.headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(error) from error
        return read(response)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


class AsyncTransport:
    """Calls from asyncio; each event loop gets connections of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = httpx.AsyncClient(**self._target.client_options())
            self._clients[loop] = client
        return client

    async def send(self, call: Call, *, timeout_s: float | None = None) -> Any:
        """As `Transport.send`."""
        try:
            response = await self.client.request(
                call.method,
                call.path,
                params=call.params,
                content=call.body,
                headers=call.headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(error) from error
        return read(response)

    async def close(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


def unreachable(error: Exception) -> Unavailable:
    reason = str(error) or type(error).__name__
    return Unavailable("unreachable", f"no answer from the server: {reason}")


def read(response: httpx.Response) -> Any:
    """The decoded body of a success; an error for anything else."""
    if response.status_code >= 300:
        _raise(response)
    if not response.content:
        return None
    try:
        return from_json(response.content)
    except ValueError:
        raise Unavailable("unreachable", "the answer is not from a Taximeter server") from None


def _raise(response: httpx.Response) -> NoReturn:
    problem = _problem(response)
    status = response.status_code
    code = str(problem.get("code") or f"http_{status}")
    detail = str(problem.get("detail") or f"{response.url.path} answered {status}")
    # Only a problem document is the server's own word; a bare 400 may be a proxy's. A rate limit is
    # a decision, unlike the overload that shares its status.
    not_now = status in _NOT_NOW and code != "rate_limited"
    final = 400 <= status < 500 and not not_now and "code" in problem
    error: TaximeterError
    if final:
        error = Rejected(code, detail, status=status, problem=problem)
    else:
        error = Unavailable(code, detail, status=status, problem=problem)
        error.retry_after_s = _retry_after_s(response)
    raise error


def _problem(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        problem = from_json(response.content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _retry_after_s(response: httpx.Response) -> float:
    """Seconds; the date form of the header is not one the server sends."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
