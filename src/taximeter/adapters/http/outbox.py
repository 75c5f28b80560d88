"""
The answering half of a connection: requests go in, answers go out in the same order.

Where time matters - a small request answered at once - there is no task, no future, and one write
for all requests that arrived together. What cannot be answered at once takes a place in a queue.
Requests of a client that does not read its answers, or asks for too many at a time, wait in a
backlog, and no more is read from it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from taximeter.adapters.http import wire
from taximeter.adapters.http.body import decode_body
from taximeter.adapters.http.messages import Request, Response, StreamResponse
from taximeter.adapters.http.problems import problem
from taximeter.adapters.http.replies import Reply, pump
from taximeter.adapters.http.routing import Answer

if TYPE_CHECKING:
    from taximeter.adapters.http.server import Server

_FLUSH_BYTES: Final = 64 * 1024
_MAX_BACKLOG: Final = 1024


class Outbox:
    """
    Args:
        on_change: Called when answers have gone out other than by `submit` and `flush`, so that
            the connection can look at its state.

    Attributes:
        is_stalled: The client does not read; written bytes pile up.
        is_ended: The last answer this connection will give has been written.
    """

    def __init__(self, server: Server, on_change: Callable[[], None]) -> None:
        self.is_stalled = False
        self.is_ended = False
        self.transport: asyncio.Transport | None = None
        self._server = server
        self._on_change = on_change
        self._replies: deque[Reply] = deque()
        self._backlog: deque[Request] = deque()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._drained: asyncio.Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Answers are due."""
        return bool(self._replies or self._backlog)

    @property
    def is_blocked(self) -> bool:
        """No further request may be worked on for now."""
        return self.is_stalled or len(self._replies) >= self._server.limits.max_pipelined

    def lost(self) -> None:
        """The client is gone."""
        self.transport = None
        for request in self._backlog:
            self._server.buffered_bytes -= request.charged_bytes
        self._backlog.clear()
        for reply in self._replies:
            reply.abandon()
        self._replies.clear()
        self._release()

    def end_streams(self) -> None:
        for reply in self._replies:
            reply.end_stream()

    # --- requests in --------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Answer a complete (or refused) request, now or when there is room."""
        if not self._backlog and not self.is_blocked:
            self._dispatch(request)
        elif len(self._backlog) < _MAX_BACKLOG:
            self._backlog.append(request)
        elif self.transport is not None:
            self.transport.abort()

    def _dispatch(self, request: Request) -> None:
        if self._server.observe is not None:
            request.started = perf_counter()
        outcome = self._answer(request)
        if type(outcome) is Response and not self._replies:
            self._server.buffered_bytes -= request.charged_bytes
            self._send(request, outcome)
            return
        reply = Reply(request, self._server, self._on_reply)
        self._replies.append(reply)
        reply.take(outcome)
        self._advance()  # a stream may begin at once
        if self.is_blocked and self.transport is not None and not self.is_ended:
            self.transport.pause_reading()

    def _answer(self, request: Request) -> object:
        """What the handler returns: an answer, or something that will become one."""
        if request.refusal is not None:
            return request.refusal
        assert request.route is not None
        try:
            encoding = request.raw_headers.get(b"content-encoding")
            if encoding is not None and request.body:
                self._decompress(request, encoding.decode("latin-1"))
            return request.route.handler(request)
        except Exception as error:
            return problem(error, request.request_id)

    def _decompress(self, request: Request, encoding: str) -> None:
        request.body = decode_body(request.body, encoding, self._server.max_body_bytes(request))
        grown = max(0, len(request.body) - request.charged_bytes)
        request.charged_bytes += grown
        self._server.buffered_bytes += grown

    # --- answers out --------------------------------------------------------------------------

    def _on_reply(self) -> None:
        """A handler or a stream has finished, some time after its request was dispatched."""
        self._advance()
        self._proceed()

    def _advance(self) -> None:
        """Send every answer whose turn it is."""
        while self._replies:
            reply = self._replies[0]
            answer = reply.answer
            if answer is None or (
                isinstance(answer, StreamResponse) and not self._stream(reply, answer)
            ):
                return
            self._replies.popleft()
            if isinstance(answer, Response):
                self._send(reply.request, answer)

    def _stream(self, reply: Reply, answer: StreamResponse) -> bool:
        """Begin a stream, or end it; whether it is over."""
        request = reply.request
        if reply.is_streamed:
            if reply.failed and self.transport is not None:
                self.transport.abort()  # without the last chunk: the client must see the cut
            elif not request.is_http_1_0 and request.method != "HEAD":
                self.emit(wire.LAST_CHUNK)
            self._sent(request, answer)
        elif not reply.is_streaming:
            request.keep_alive &= not request.is_http_1_0
            self.emit(self._server.heads.stream_start(request, answer))
            reply.stream(pump(self, request, answer))
        return reply.is_streamed

    def _send(self, request: Request, response: Response) -> None:
        try:
            data = self._server.heads.answer(request, response)
        except ValueError as error:  # a header a handler should not have made
            response = problem(error, request.request_id)
            data = self._server.heads.answer(request, response)
        self.emit(data)
        self._sent(request, response)

    def _sent(self, request: Request, answer: Answer) -> None:
        if self._server.observe is not None:
            self._server.observe(request, answer.status, perf_counter() - request.started)
        if not request.keep_alive:
            self.is_ended = True

    # --- bytes out ----------------------------------------------------------------------------

    def emit(self, data: bytes) -> None:
        """Write soon: with the next `flush`, or now if much has come together."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        out = self._out
        if out:
            self._out = []
            self._out_bytes = 0
            self.write(out[0] if len(out) == 1 else b"".join(out))

    def write(self, data: bytes) -> None:
        # uvloop raises on a closing transport; one client that left must not hurt the others.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Let others run, and wait until the client has read most of what was written."""
        await asyncio.sleep(0)  # else a source that never waits would starve everything
        if self.is_stalled and self.transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def stall(self) -> None:
        self.is_stalled = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        self.is_stalled = False
        self._release()
        self._proceed()

    def _proceed(self) -> None:
        """Take up again what waited for room."""
        while self._backlog and not self.is_blocked:
            self._dispatch(self._backlog.popleft())
        self.flush()
        if not self.is_blocked and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        self._on_change()

    def _release(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
