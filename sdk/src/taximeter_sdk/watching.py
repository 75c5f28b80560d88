"""
Live updates: Server-Sent Events, again and again until closed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import httpx

from taximeter_sdk.backoff import pause_s
from taximeter_sdk.decision import Decision, from_answer
from taximeter_sdk.encoding import from_json
from taximeter_sdk.errors import Rejected, Unavailable
from taximeter_sdk.transport import read, unreachable

log = logging.getLogger("taximeter_sdk")

# The server sends a heartbeat after 15 quiet seconds.
_SILENCE: Final = httpx.Timeout(5.0, read=40.0)
_HEADERS: Final = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


class Update(NamedTuple):
    """
    Attributes:
        kind: `entitlements`, `event`, `decision`, or what else the server sends.
        data: As it came.
    """

    kind: str
    data: Mapping[str, Any]

    @property
    def entitlements(self) -> dict[str, Decision]:
        """Feature -> what may be used now; empty for other kinds."""
        found = self.data.get("entitlements") if isinstance(self.data, Mapping) else None
        return {feature: from_answer(feature, one) for feature, one in (found or {}).items()}


class Parser:
    """Lines of a stream to updates (WHATWG HTML, 9.2)."""

    def __init__(self) -> None:
        self._kind, self._data = "", list[str]()

    def feed(self, line: str) -> Update | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        kind, data = self._kind or "message", self._data
        self._kind, self._data = "", []
        return Update(kind, from_json("\n".join(data).encode())) if data else None


class Watch:
    """Iterate it, or give it a callback. It reconnects by itself; each connection begins with the
    present standing, so nothing has to be caught up with."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client, self._path = client, path
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Update]:
        failures = 0
        while not self._closed.is_set():
            try:
                for update in self._connection():
                    failures = 0
                    yield update
            except Unavailable as error:
                failures += 1
                self._closed.wait(pause_s(failures, error.retry_after_s))
            else:
                self._closed.wait(pause_s(1))

    def _connection(self) -> Iterator[Update]:
        parser = Parser()
        try:
            with self._client.stream(
                "GET", self._path, headers=_HEADERS, timeout=_SILENCE
            ) as response:
                if response.status_code >= 300:
                    response.read()
                    read(response)
                for line in response.iter_lines():
                    if self._closed.is_set():
                        return
                    update = parser.feed(line)
                    if update is not None:
                        yield update
        except httpx.HTTPError as error:
            raise unreachable(error) from error

    def start(self, on_update: Callable[[Update], object]) -> None:
        """Follow in a thread of its own."""

        def follow() -> None:
            try:
                for update in self:
                    try:
                        on_update(update)
                    except Exception:
                        log.exception("on_update failed")
            except Rejected as error:
                log.error("nothing to watch: %s", error)

        threading.Thread(target=follow, name="taximeter-watch", daemon=True).start()

    def close(self) -> None:
        """Stop; a thread waiting for the next message ends with the next heartbeat at latest."""
        self._closed.set()


class AsyncWatch:
    """As `Watch`, for `async for`."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self._client, self._path = client, path
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[Update]:
        failures = 0
        while not self._closed:
            wait_s = pause_s(1)
            try:
                async for update in self._connection():
                    failures = 0
                    yield update
            except Unavailable as error:
                failures += 1
                wait_s = pause_s(failures, error.retry_after_s)
            if not self._closed:
                await asyncio.sleep(wait_s)

    async def _connection(self) -> AsyncIterator[Update]:
        parser = Parser()
        try:
            async with self._client.stream(
                "GET", self._path, headers=_HEADERS, timeout=_SILENCE
            ) as response:
                if response.status_code >= 300:
                    await response.aread()
                    read(response)
                async for line in response.aiter_lines():
                    if self._closed:
                        return
                    update = parser.feed(line)
                    if update is not None:
                        yield update
        except httpx.HTTPError as error:
            raise unreachable(error) from error

    def close(self) -> None:
        self._closed = True
