"""
Answers that are not there yet: a place in a connection's queue, filled by a future, a task or a
stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from taximeter.adapters.http import wire
from taximeter.adapters.http.messages import Request, Response, StreamResponse
from taximeter.adapters.http.problems import problem
from taximeter.errors import Unavailable

if TYPE_CHECKING:
    from taximeter.adapters.http.server import Server

log = logging.getLogger("taximeter.http")


class Reply:
    """
    One request's place in the order of answers.

    Attributes:
        answer: What to send, as soon as it is known.
        is_streamed: A stream has come to its end; `failed` if by an error.
    """

    __slots__ = ("_on_change", "_server", "_task", "answer", "failed", "is_streamed", "request")

    def __init__(self, request: Request, server: Server, on_change: Callable[[], None]) -> None:
        self.request = request
        self.answer: Response | StreamResponse | None = None
        self.is_streamed = False
        self.failed = False
        self._server = server
        self._on_change: Callable[[], None] | None = on_change
        self._task: asyncio.Task[None] | None = None

    @property
    def is_streaming(self) -> bool:
        return self._task is not None

    def take(self, outcome: object) -> None:
        """Accept what a handler returned: an answer, or an awaitable of one."""
        if isinstance(outcome, Response | StreamResponse):
            self._server.buffered_bytes -= self.request.charged_bytes
            self.answer = outcome
            return
        self._server.in_flight += 1
        try:
            future = asyncio.ensure_future(cast(Awaitable[Any], outcome))
        except TypeError as error:  # a handler that returned something else altogether
            self._settle(problem(error, self.request.request_id))
        else:
            self._server.pending.add(future)
            future.add_done_callback(self._on_done)

    def _on_done(self, future: asyncio.Future[Any]) -> None:
        self._server.pending.discard(future)
        if future.cancelled():
            error: BaseException | None = Unavailable("shutting_down", "The server is stopping.")
        else:
            error = future.exception()
        if error is None and not isinstance(future.result(), Response | StreamResponse):
            error = TypeError(f"a handler answered {type(future.result()).__name__}")
        self._settle(future.result() if error is None else problem(error, self.request.request_id))
        if self._on_change is not None:
            self._on_change()

    def _settle(self, answer: Response | StreamResponse) -> None:
        self._server.in_flight -= 1
        self._server.buffered_bytes -= self.request.charged_bytes
        self.answer = answer
        if self._on_change is None:
            self._close_stream()  # nobody is there any more to send it to

    # --- streams ------------------------------------------------------------------------------

    def stream(self, pump: Coroutine[Any, Any, None]) -> None:
        """Run the pump of this reply's stream; the connection hears when it has ended."""
        self._task = asyncio.get_running_loop().create_task(pump)
        self._task.add_done_callback(self._on_streamed)

    def _on_streamed(self, task: asyncio.Task[None]) -> None:
        self.is_streamed = True
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failed = True
            log.error("stream of request %s failed", self.request.request_id, exc_info=error)
        self._close_stream()
        if self._on_change is not None:
            self._on_change()

    def end_stream(self) -> None:
        """End a running stream in good order, because the server stops."""
        if self._task is not None:
            self.request.keep_alive = False
            self._task.cancel()

    def abandon(self) -> None:
        """The client is gone. Work under way goes on, since others may share it; streams end."""
        self._on_change = None
        if self._task is not None:
            self._task.cancel()
        else:
            self._close_stream()

    def _close_stream(self) -> None:
        if isinstance(self.answer, StreamResponse) and self.answer.on_close is not None:
            on_close, self.answer.on_close = self.answer.on_close, None
            on_close()


class Sink(Protocol):
    """Where a stream goes: a connection."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


async def pump(sink: Sink, request: Request, response: StreamResponse) -> None:
    """Write the chunks of a stream, never further ahead than the client reads."""
    if request.method == "HEAD":
        return
    async for data in response.chunks:
        if data:
            sink.write(data if request.is_http_1_0 else wire.chunk(data))
            await sink.drain()
