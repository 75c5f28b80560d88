"""
One connection: bytes in, requests out to handlers, answers back in the order of the requests.

Parsing is httptools (llhttp, strict: it refuses what request smuggling is made of). This module
adds what a parser does not know: limits, deadlines, order, back-pressure, and how to say no to
somebody who is still talking. Where time matters - a small request answered at once - there is no
task, no future and one write for all requests that arrived together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import httptools

from taximeter.adapters.http import wire
from taximeter.adapters.http.body import decode_body, too_large
from taximeter.adapters.http.messages import Client, Request, Response, StreamResponse
from taximeter.adapters.http.problems import problem
from taximeter.adapters.http.replies import Reply, pump
from taximeter.adapters.http.routing import Answer
from taximeter.errors import Rejected, TaximeterError, TooLarge, Unavailable

if TYPE_CHECKING:
    from taximeter.adapters.http.server import Server

NEVER: Final = float("inf")
_FLUSH_BYTES: Final = 64 * 1024
_MAX_BACKLOG: Final = 1024
_DISCARD_BYTES: Final = 64 * 1024  # a refused body up to this size is read and forgotten
_FRAMING_BYTES: Final = 64 * 1024


class _Stop(Exception):
    """Ends the parsing of what is left of a chunk."""


class Connection(asyncio.Protocol):
    """
    Serves one client. All methods run on the event loop's thread.

    At any time it is in one of these: idle, reading a request, waiting for handlers, stalled (the
    client does not read), or deaf (input is ignored, only answers still go out). `deadline` says
    until when, on the server's coarse clock; the server calls `expire` after it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._transport: asyncio.Transport | None = None
        self._client = Client("", False)
        self._parser = httptools.HttpRequestParser(self)
        self.deadline = NEVER
        # the message being read
        self._reading = False
        self._in_headers = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_lines = 0
        self._chunk_bytes = 0  # of the chunk being parsed
        self._wire_bytes = 0  # of the message, in chunks after the one it began in
        self._began_here = False
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._max_body = 0
        # answers
        self._replies: deque[Reply] = deque()
        self._backlog: deque[Request] = deque()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._parsing = False
        self._stalled_bytes: int | None = None
        self._drained: asyncio.Future[None] | None = None
        self._deaf = False
        self._ending = False
        self._lingers = False  # whether to, at the end
        self._is_lingering = False

    # --- transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's only look like one
        peer = transport.get_extra_info("peername")
        ip = peer[0] if isinstance(peer, tuple) else ""
        self._client = Client(ip, ip.startswith("127.") or ip in ("::1", "::ffff:127.0.0.1"))
        self.deadline = self._server.now + self._limits.request_timeout_s
        if not self._server.admit(self):
            self._fail(Unavailable("overloaded", "Too many connections.", retry_after_s=5))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._deaf = True
        self._server.forget(self)
        self._server.buffered_bytes -= self._body_bytes
        self._body_bytes = 0
        for request in self._backlog:
            self._server.buffered_bytes -= request.charged_bytes
        self._backlog.clear()
        for reply in self._replies:
            reply.abandon()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._parsing = True
        self._began_here = False
        self._chunk_bytes = len(data)
        try:
            self._parser.feed_data(data)
            if self._reading and not self._began_here:
                self._wire_bytes += len(data)
                self._check_wire_bytes()
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[int(upgrade.args[0]) :])
        except httptools.HttpParserCallbackError:
            if not self._deaf:  # not a _Stop of ours, so a defect of ours
                raise
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._fail(Rejected("bad_request", f"Not a valid HTTP/1.1 request: {error}"))
        finally:
            self._parsing = False
            self._flush()
            self._set_deadline()

    def eof_received(self) -> bool:
        """A client may stop sending and still read: keep its way open while answers are due."""
        self._deaf = self._ending = True
        self._reading = False
        return bool(self._replies or self._backlog or self._stalled_bytes is not None)

    def pause_writing(self) -> None:
        self._stalled_bytes = self._buffered()
        self._pause_reading()
        self.deadline = self._server.now + self._limits.write_timeout_s

    def resume_writing(self) -> None:
        self._stalled_bytes = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._proceed()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._stalled_bytes is not None:
            left = self._buffered()
            if self._stalled_bytes - left >= self._limits.min_read_bytes:
                self._stalled_bytes = left
                self.deadline = self._server.now + self._limits.write_timeout_s
            else:
                self.abort()
        elif self._reading and not self._deaf:
            self._fail(Rejected("request_timeout", "The request did not arrive in time."))
        else:
            self.abort() if self._deaf or self._is_closing() else self._close()

    def shut_down(self) -> None:
        """Answer what has arrived, then close. Streams, which have no end, are ended."""
        self._ending = True
        for reply in self._replies:
            reply.end_stream()
        if not self._reading and not self._replies:
            self._close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- parser -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reading = self._in_headers = self._began_here = True
        self._wire_bytes = 0
        self._target = b""
        self._headers = {}
        self._header_lines = 0
        self.deadline = self._server.now + self._limits.request_timeout_s

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_lines += 1
        if self._header_lines > self._limits.max_headers:
            self._fail_in_parser(_headers_too_large(self._limits.max_header_bytes))
        if self._in_headers:  # else a trailer, which nobody reads
            name = name.lower()
            known = self._headers.get(name)
            self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._wire_bytes + self._chunk_bytes > self._limits.max_header_bytes:
            self._check_header_bytes()
        request = self._request = self._new_request()
        headers = self._headers
        has_body = b"content-length" in headers or b"transfer-encoding" in headers
        self._max_body = self._limits.max_body_bytes
        try:
            self._server.prepare(request, self._parser.get_method())
            assert request.route is not None
            if request.route.max_body_bytes is not None:
                self._max_body = request.route.max_body_bytes
            if has_body or not request.keep_alive or b"connection" in headers:
                self._check_framing(request)
        except Exception as error:
            request.refusal = problem(error, request.request_id)
        if has_body:
            self._before_body(request)

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        self._server.buffered_bytes += len(part)
        if self._body_bytes > self._max_body:
            self._refuse_rest(too_large(self._max_body))
        if self._server.buffered_bytes > self._limits.max_buffered_bytes:
            self._refuse_rest(Unavailable("overloaded", "Too many bodies are being received."))
        self._body.append(part)

    def on_message_complete(self) -> None:
        request = self._request
        assert request is not None
        self._reading = False
        self._request = None
        if self._body:
            request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            request.charged_bytes = self._body_bytes
            self._body = []
            self._body_bytes = 0
        if not request.keep_alive:
            self._deaf = True
        self._submit(request)

    # --- reading ------------------------------------------------------------------------------

    def _new_request(self) -> Request:
        server = self._server
        request = Request(
            "", self._target, self._headers, self._client, server.request_id(self._headers)
        )
        request.keep_alive = self._parser.should_keep_alive() and not server.is_stopping
        return request

    def _check_framing(self, request: Request) -> None:
        """What is left to check of a message's shape; plain GETs never come here."""
        version = self._parser.get_http_version()
        request.is_http_1_0 = version == "1.0"
        headers = self._headers
        if version not in ("1.0", "1.1") or request.method == "CONNECT":
            self._distrust(request, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
        if b"transfer-encoding" in headers and (
            request.is_http_1_0 or headers[b"transfer-encoding"].lower() != b"chunked"
        ):
            self._distrust(request, "The only transfer coding understood is chunked, in HTTP/1.1.")
        if self._parser.should_upgrade() and headers.get(b"content-length", b"0") != b"0":
            # The parser would take the body for another protocol, an attacker for a request.
            self._distrust(request, "A request with a body cannot ask for another protocol.")

    def _distrust(self, request: Request, reason: str) -> None:
        request.keep_alive = False
        raise Rejected("bad_request", reason)

    def _before_body(self, request: Request) -> None:
        """Decide, before a body is read, whether it will be."""
        length = int(self._headers.get(b"content-length", b"-1"))
        if request.refusal is None and length > self._max_body:
            request.refusal = problem(too_large(self._max_body), request.request_id)
        expects = self._headers.get(b"expect", b"").lower() == b"100-continue"
        if request.refusal is None:
            if expects and not request.is_http_1_0 and not self._replies:
                self._emit(wire.CONTINUE)
        elif expects or not 0 <= length <= _DISCARD_BYTES or not request.keep_alive:
            self._refuse_rest(None)

    def _check_wire_bytes(self) -> None:
        """Bound what a message may weigh outside its body: headers, chunk sizes, trailers."""
        if self._in_headers:
            if self._wire_bytes > self._limits.max_header_bytes:
                self._fail(_headers_too_large(self._limits.max_header_bytes))
        elif self._wire_bytes > 2 * self._max_body + _FRAMING_BYTES + self._limits.max_header_bytes:
            self._fail(too_large(self._max_body))

    def _check_header_bytes(self) -> None:
        size = len(self._target) + sum(len(n) + len(v) + 4 for n, v in self._headers.items())
        if size > self._limits.max_header_bytes:
            self._fail_in_parser(_headers_too_large(self._limits.max_header_bytes))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """An offer to change the protocol (h2c) is declined by going on in this one."""
        if rest and not self._deaf:
            self.data_received(rest)

    # --- saying no ----------------------------------------------------------------------------

    def _refuse_rest(self, error: TaximeterError | None) -> None:
        """Answer the message being read now, and hear no more of it."""
        request = self._request
        assert request is not None
        if error is not None:
            request.refusal = problem(error, request.request_id)
        request.keep_alive = False
        self._turn_deaf()
        self._submit(request)
        raise _Stop

    def _fail(self, error: TaximeterError) -> None:
        """Answer something that never became a request, and close."""
        request = self._request or self._new_request()
        request.keep_alive = False
        request.refusal = problem(error, request.request_id)
        self._turn_deaf()
        self._submit(request)
        if not self._parsing:
            self._flush()

    def _fail_in_parser(self, error: TaximeterError) -> None:
        self._fail(error)
        raise _Stop

    def _turn_deaf(self) -> None:
        self._deaf = self._lingers = True
        self._reading = False
        self._request = None
        self._body = []
        self._server.buffered_bytes -= self._body_bytes
        self._body_bytes = 0

    # --- answering ----------------------------------------------------------------------------

    def _submit(self, request: Request) -> None:
        if self._backlog or self._is_blocked():
            self._backlog.append(request)
            if len(self._backlog) > _MAX_BACKLOG:
                self.abort()
        else:
            self._dispatch(request)

    def _is_blocked(self) -> bool:
        return self._stalled_bytes is not None or len(self._replies) >= self._limits.max_pipelined

    def _dispatch(self, request: Request) -> None:
        if self._server.observe is not None:
            request.started = perf_counter()
        answer = self._answer(request)
        if type(answer) is Response and not self._replies:
            self._server.buffered_bytes -= request.charged_bytes
            self._send(request, answer)
            return
        reply = Reply(request, self._server, self._on_reply)
        self._replies.append(reply)
        reply.take(answer)
        self._advance()  # a stream may begin at once
        if self._is_blocked():
            self._pause_reading()

    def _answer(self, request: Request) -> object:
        """What the handler returns: an answer, or something that will become one."""
        if request.refusal is not None:
            return request.refusal
        try:
            encoding = request.raw_headers.get(b"content-encoding")
            if encoding is not None:
                self._decompress(request, encoding.decode("latin-1"))
            assert request.route is not None
            return request.route.handler(request)
        except Exception as error:
            return problem(error, request.request_id)

    def _decompress(self, request: Request, encoding: str) -> None:
        limit = self._limits.max_body_bytes
        if request.route is not None and request.route.max_body_bytes is not None:
            limit = request.route.max_body_bytes
        request.body = decode_body(request.body, encoding, limit)
        grown = max(0, len(request.body) - request.charged_bytes)
        request.charged_bytes += grown
        self._server.buffered_bytes += grown

    def _on_reply(self) -> None:
        """A handler or a stream has finished, some time after its request was dispatched."""
        self._advance()
        self._proceed()

    def _advance(self) -> None:
        """Send every answer whose turn it is."""
        while self._replies:
            reply = self._replies[0]
            answer = reply.answer
            if answer is None:
                return
            if isinstance(answer, StreamResponse) and not self._stream(reply, answer):
                return
            self._replies.popleft()
            if isinstance(answer, Response):
                self._send(reply.request, answer)

    def _stream(self, reply: Reply, answer: StreamResponse) -> bool:
        """Begin a stream, or end it; whether it is over."""
        if reply.is_streamed:
            if reply.failed:
                self.abort()  # without the last chunk: the client must see that it is cut
            elif not reply.request.is_http_1_0 and reply.request.method != "HEAD":
                self._emit(wire.LAST_CHUNK)
            self._sent(reply.request, answer)
        elif not reply.is_streaming and self._transport is not None:
            reply.request.keep_alive &= not reply.request.is_http_1_0
            self._emit(self._server.heads.stream_start(reply.request, answer))
            reply.stream(pump(self, reply.request, answer))
        return reply.is_streamed

    def _send(self, request: Request, response: Response) -> None:
        try:
            data = self._server.heads.answer(request, response)
        except ValueError as error:  # a header a handler should not have made
            response = problem(error, request.request_id)
            data = self._server.heads.answer(request, response)
        self._emit(data)
        self._sent(request, response)

    def _sent(self, request: Request, answer: Answer) -> None:
        if self._server.observe is not None:
            self._server.observe(request, answer.status, perf_counter() - request.started)
        if not request.keep_alive:
            self._ending = True

    def _emit(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        self._out = []
        self._out_bytes = 0
        self.write(out[0] if len(out) == 1 else b"".join(out))

    def write(self, data: bytes) -> None:
        # uvloop raises on a closing transport; one client that left must not hurt the others.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read most of what was written, or is gone."""
        if self._stalled_bytes is not None and self._transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    # --- pace ---------------------------------------------------------------------------------

    def _proceed(self) -> None:
        """Take up again what waited for room."""
        while self._backlog and not self._is_blocked():
            self._dispatch(self._backlog.popleft())
        self._flush()
        if self._transport is None:
            return
        if not self._is_blocked() and not self._transport.is_reading():
            self._transport.resume_reading()
        self._set_deadline()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._deaf and self._transport.is_reading():
            self._transport.pause_reading()

    def _set_deadline(self) -> None:
        """After anything happened: until when may the present state last?"""
        if self._stalled_bytes is not None or self._transport is None:
            return
        if self._replies or self._backlog:
            if not self._reading or self._is_blocked():
                self.deadline = NEVER
        elif self._ending and not self._reading:
            self._end()
        elif not self._reading:
            self.deadline = self._server.now + self._limits.keep_alive_s

    def _end(self) -> None:
        """
        The last answer is written. After a refusal the client may still be sending; closing now
        would reset the connection under the answer, so listen on, deaf, for a little while.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._is_lingering:
            return
        if not self._lingers:
            self._close()
            return
        self._is_lingering = True
        transport.write_eof()
        if not transport.is_reading():
            transport.resume_reading()
        self.deadline = self._server.now + self._limits.linger_s

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()  # after what is written has been read, or the deadline
            self.deadline = self._server.now + self._limits.write_timeout_s

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _buffered(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


def _headers_too_large(limit: int) -> TooLarge:
    return TooLarge("headers_too_large", f"More than {limit} bytes or too many headers.")
