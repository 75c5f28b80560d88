"""
The listening half of a connection: bytes in, requests out to the `Outbox`, which answers them.

Parsing is httptools (llhttp, strict: it refuses what request smuggling is made of). This module
adds what a parser does not know: limits, deadlines, and how to say no to somebody who is still
talking.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httptools

from taximeter.adapters.http import wire
from taximeter.adapters.http.body import too_large
from taximeter.adapters.http.messages import Client, Request
from taximeter.adapters.http.outbox import Outbox
from taximeter.adapters.http.problems import problem
from taximeter.errors import Rejected, TaximeterError, TooLarge, Unavailable

if TYPE_CHECKING:
    from taximeter.adapters.http.server import Server

NEVER: Final = float("inf")
_DISCARD_BYTES: Final = 64 * 1024  # a refused body up to this size is read and forgotten
_FRAMING_BYTES: Final = 64 * 1024  # headers, chunk sizes and trailers beside twice the body


class _Stop(Exception):
    """Ends the parsing of what is left of a chunk."""


class Connection(asyncio.Protocol):
    """
    Serves one client. All methods run on the event loop's thread.

    `deadline` says until when the present state may last, on the server's coarse clock; the
    server calls `expire` after it. A connection that is deaf ignores its input: it has refused
    something, or was told that nothing more will come, and only answers still go out.
    """

    def __init__(self, server: Server) -> None:
        self.deadline = NEVER
        self._server = server
        self._limits = server.limits
        self._outbox = Outbox(server, self._look)
        self._transport: asyncio.Transport | None = None
        self._client = Client("", False)
        self._parser = httptools.HttpRequestParser(self)
        self._is_deaf = False
        self._closes_when_idle = False
        self._lingers = False  # go on reading, deaf, after the last answer
        self._is_lingering = False
        self._stalled_bytes = 0
        # the message being read
        self._reading = False
        self._in_headers = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_lines = 0
        self._request: Request | None = None
        self._body: bytes | bytearray = b""
        self._body_bytes = 0
        self._max_body = 0
        self._chunk_bytes = 0  # of the chunk being parsed
        self._chunk_is_shared = False  # it also held the end of another message
        self._wire_bytes = 0  # of the message, as far as chunks were its own

    # --- transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's only look like one
        self._outbox.transport = self._transport
        peer = transport.get_extra_info("peername")
        ip = peer[0] if isinstance(peer, tuple) else ""
        self._client = Client(ip, ip.startswith("127.") or ip in ("::1", "::ffff:127.0.0.1"))
        self.deadline = self._server.now + self._limits.request_timeout_s
        if not self._server.admit(self):
            self._fail_now(Unavailable("overloaded", "Too many connections.", retry_after_s=5))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_deaf = True
        self._transport = None
        self._forget_message()
        self._outbox.lost()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._chunk_is_shared = False
        self._chunk_bytes = len(data)
        try:
            self._feed(data)
        finally:
            self._outbox.flush()
            self._look()

    def eof_received(self) -> bool:
        """A client may stop sending and still read: keep its way open while answers are due."""
        self._is_deaf = True
        self._forget_message()
        self._closes_when_idle = True
        return self._outbox.is_busy or self._outbox.is_stalled

    def pause_writing(self) -> None:
        self._outbox.stall()
        self._stalled_bytes = self._unread_bytes()
        self.deadline = self._server.now + self._limits.write_timeout_s

    def resume_writing(self) -> None:
        if self._reading:
            self.deadline = self._server.now + self._limits.request_timeout_s
        self._outbox.resume()

    # --- time ---------------------------------------------------------------------------------

    def expire(self) -> None:
        """The deadline has passed."""
        if self._transport is None:
            return
        if self._outbox.is_stalled and self._has_read_enough():
            self.deadline = self._server.now + self._limits.write_timeout_s
        elif self._outbox.is_stalled or self._is_deaf or self._transport.is_closing():
            self._transport.abort()
        elif self._reading:
            self._fail_now(Rejected("request_timeout", "The request did not arrive in time."))
        else:
            self._close()

    def _has_read_enough(self) -> bool:
        left = self._unread_bytes()
        read = self._stalled_bytes - left
        self._stalled_bytes = left
        return read >= self._limits.min_read_bytes

    def shut_down(self) -> None:
        """Answer what has arrived, then close. Streams, which have no end, are ended."""
        self._closes_when_idle = True
        self._outbox.end_streams()
        self._look()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        """After anything happened: end the connection, or say until when it may stay like this."""
        outbox = self._outbox
        if self._transport is None or outbox.is_stalled:
            return
        if outbox.is_busy and (outbox.is_blocked or not self._reading):
            self.deadline = NEVER  # handlers take the time they need
        elif self._reading:
            if self.deadline == NEVER:
                self.deadline = self._server.now + self._limits.request_timeout_s
        elif outbox.is_ended or self._closes_when_idle:
            self._end()
        else:
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
        transport.resume_reading()
        self.deadline = self._server.now + self._limits.linger_s

    def _close(self) -> None:
        """Close once the client has read what is written, or the deadline has passed."""
        if self._transport is not None:
            self._transport.close()
            self.deadline = self._server.now + self._limits.write_timeout_s

    def _unread_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # --- parser -------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to change the protocol (h2c) is declined by going on in this one.
            rest = data[int(upgrade.args[0]) :]
            if rest and not self._is_deaf:
                self._feed(rest)
            return
        except httptools.HttpParserCallbackError:
            if not self._is_deaf:  # not a _Stop of ours, so a defect of ours
                raise
        except httptools.HttpParserError as error:
            if not self._is_deaf:
                self._fail(Rejected("bad_request", f"Not a valid HTTP/1.1 request: {error}"))
        if self._reading and not self._chunk_is_shared:
            self._wire_bytes += len(data)
            self._check_wire_bytes()

    def on_message_begin(self) -> None:
        self._reading = self._in_headers = True
        self._target = b""
        self._headers = {}
        self._header_lines = self._wire_bytes = 0
        self.deadline = self._server.now + self._limits.request_timeout_s

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_lines += 1
        if self._header_lines > self._limits.max_headers:
            self._stop(self._headers_too_large())
        if self._in_headers:  # else a trailer, which nobody reads
            name = name.lower()
            known = self._headers.get(name)
            self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        self._in_headers = False
        request = self._request = self._new_request()
        if self._wire_bytes + self._chunk_bytes > self._limits.max_header_bytes:
            self._check_header_bytes()
        try:
            method = self._parser.get_method()
            self._check_framing(request, method)
            self._server.prepare(request, method)
        except Exception as error:
            request.refusal = problem(error, request.request_id)
        headers = self._headers
        if b"content-length" in headers or b"transfer-encoding" in headers:
            self._before_body(request)

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        self._server.buffered_bytes += len(part)
        if self._body_bytes > self._max_body:
            self._stop(too_large(self._max_body))
        if self._server.buffered_bytes > self._limits.max_buffered_bytes:
            self._stop(Unavailable("overloaded", "Too many bodies are being received."))
        if not self._body:
            self._body = part
        else:
            # Not a list of parts: chunks of two bytes would each cost an object.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += part

    def on_message_complete(self) -> None:
        request = self._request
        assert request is not None
        if self._body:
            request.body = bytes(self._body)
            request.charged_bytes = self._body_bytes
            self._body = b""
            self._body_bytes = 0
        self._reading = False
        self._request = None
        self._chunk_is_shared = True
        self._outbox.submit(request)
        if not request.keep_alive:
            self._is_deaf = True
            raise _Stop

    def _new_request(self) -> Request:
        request_id = self._server.request_id(self._headers)
        request = Request("", self._target, self._headers, self._client, request_id)
        request.keep_alive = self._parser.should_keep_alive() and not self._server.is_stopping
        return request

    # --- checks -------------------------------------------------------------------------------

    def _check_framing(self, request: Request, method: bytes) -> None:
        """
        Refuse shapes the parser lets pass but two readers could understand differently.

        Such a connection is closed: what follows on it may be meant to be read as a request.
        """
        headers = self._headers
        host = headers.get(b"host", b",")
        is_chunked = b"transfer-encoding" in headers
        is_odd = is_chunked or b"," in host or b"connection" in headers or method == b"CONNECT"
        if request.keep_alive and not is_odd:
            return  # by far the most
        version = self._parser.get_http_version()
        request.is_http_1_0 = version == "1.0"
        wrong = ""
        if version not in ("1.0", "1.1") or method == b"CONNECT":
            wrong = "Only HTTP/1.0 and HTTP/1.1 are spoken here."
        elif b"," in host and (version == "1.1" or b"host" in headers):
            wrong = "Exactly one Host is needed."
        elif is_chunked and (
            request.is_http_1_0 or headers[b"transfer-encoding"].lower() != b"chunked"
        ):
            wrong = "The only transfer coding understood is chunked, in HTTP/1.1."
        elif self._parser.should_upgrade() and (
            is_chunked or headers.get(b"content-length", b"0") != b"0"
        ):
            # The parser would skip the body, and then read it as the next request.
            wrong = "A request with a body cannot ask for another protocol."
        if wrong:
            request.keep_alive = False
            raise Rejected("bad_request", wrong)

    def _before_body(self, request: Request) -> None:
        """Decide, before a body is read, whether it will be."""
        length = int(self._headers.get(b"content-length", b"-1"))
        self._max_body = self._server.max_body_bytes(request)
        if request.refusal is None and length > self._max_body:
            request.refusal = problem(too_large(self._max_body), request.request_id)
        expects = self._headers.get(b"expect", b"").lower() == b"100-continue"
        if request.refusal is None:
            if expects and not request.is_http_1_0 and not self._outbox.is_busy:
                self._outbox.emit(wire.CONTINUE)
        elif expects or not 0 <= length <= _DISCARD_BYTES or not request.keep_alive:
            self._stop(None)
        else:
            self._max_body = _DISCARD_BYTES

    def _check_wire_bytes(self) -> None:
        """Bound what a message may weigh outside its body: headers, chunk sizes, trailers."""
        if self._in_headers:
            if self._wire_bytes > self._limits.max_header_bytes:
                self._fail(self._headers_too_large())
        elif self._wire_bytes > 2 * self._max_body + _FRAMING_BYTES:
            self._fail(too_large(self._max_body))

    def _check_header_bytes(self) -> None:
        size = len(self._target) + sum(len(n) + len(v) + 4 for n, v in self._headers.items())
        if size > self._limits.max_header_bytes:
            self._stop(self._headers_too_large())

    def _headers_too_large(self) -> TooLarge:
        limits = self._limits
        return TooLarge(
            "headers_too_large",
            f"The limit is {limits.max_headers} headers and {limits.max_header_bytes} bytes.",
        )

    # --- saying no ----------------------------------------------------------------------------

    def _fail(self, error: TaximeterError | None) -> None:
        """Answer the message being read now, hear no more of it, and close."""
        request = self._request or self._new_request()
        request.keep_alive = False
        if error is not None:
            request.refusal = problem(error, request.request_id)
        self._is_deaf = self._lingers = True
        self._forget_message()
        self._outbox.submit(request)

    def _stop(self, error: TaximeterError | None) -> None:
        """Fail from inside the parser, which then looks at nothing more."""
        self._fail(error)
        raise _Stop

    def _fail_now(self, error: TaximeterError) -> None:
        """Fail when nothing is being parsed."""
        self._fail(error)
        self._outbox.flush()
        self._look()

    def _forget_message(self) -> None:
        self._reading = False
        self._request = None
        self._body = b""
        self._server.buffered_bytes -= self._body_bytes
        self._body_bytes = 0
