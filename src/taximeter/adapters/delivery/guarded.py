"""
Connections to public addresses only.

The name is resolved here, the addresses are looked at, and the connection is made to the very
address that was looked at: a name server that answers something else the next time (DNS rebinding)
changes nothing. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import httpcore
from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from taximeter.notices.addresses import is_public, parse_address

Resolve: TypeAlias = Callable[[str, int], list[str]]

RESOLVER_THREADS = 64
MAX_ADDRESSES = 4
"""Tried in turn, as the resolver orders them."""


class RefusedAddress(httpcore.ConnectError):
    """Every address of the host is one that notices are not sent to."""


class GuardedBackend(AsyncNetworkBackend):
    """
    Args:
        allow_private: Connect to any address.
        resolve: Addresses of a host as text; may block.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or resolve_host
        self._inner = AnyIOBackend()
        # A name server that does not answer holds up a thread, however long we wait for it. So
        # they are our own, many, and a host is asked for by one at a time.
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._lookups: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        error: Exception | None = None
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        assert error is not None, "there was an address to try"
        raise error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> AsyncNetworkStream:
        raise RefusedAddress("a webhook is not a local socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.shield(self._lookup(host, port))
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address: {error.strerror}") from error
        if not found:
            raise httpcore.ConnectError(f"{host} has no address")
        if self._allow_private:
            return found
        public = [text for text in found if _is_public(text)]
        if not public:
            raise RefusedAddress(f"{host} leads to {found[0]}, which is not a public address")
        return public

    def _lookup(self, host: str, port: int) -> asyncio.Future[list[str]]:
        """The one lookup of a host that is under way, or a new one: answers are not kept."""
        place = (host, port)
        found = self._lookups.get(place)
        if found is None:
            loop = asyncio.get_running_loop()
            found = loop.run_in_executor(self._threads, self._resolve, host, port)
            self._lookups[place] = found
            found.add_done_callback(lambda done: self._looked_up(place, done))
        return found

    def _looked_up(self, place: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        del self._lookups[place]
        if not done.cancelled():
            done.exception()  # seen, also when nobody waits any more

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def resolve_host(host: str, port: int) -> list[str]:
    """Addresses of a host, each once, in the resolver's order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_public(text: str) -> bool:
    address = parse_address(text)
    return address is not None and is_public(address)
