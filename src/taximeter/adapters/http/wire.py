"""
Answers as bytes: the status line and headers of HTTP/1.1.

The part that only depends on status, media type and the current second is kept ready, since it is
most of the text and the same for thousands of answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from taximeter.adapters.http.messages import Request, Response, StreamResponse

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_MAX_CACHED: Final = 256
_BODILESS: Final = frozenset({204, 304})


class Heads:
    """Ready-made beginnings of answers. `tick` once a second keeps their Date right."""

    def __init__(self) -> None:
        self._date = b""
        self._cache: dict[tuple[int, str], bytes] = {}

    def tick(self, unix_seconds: float) -> None:
        date = formatdate(unix_seconds, usegmt=True).encode()
        if date != self._date:
            self._date = date
            self._cache.clear()

    def answer(self, request: Request, response: Response) -> bytes:
        """All bytes of an answer. A HEAD request gets the headers its GET would get."""
        body = response.body
        length = b"" if response.status in _BODILESS else b"Content-Length: %d\r\n" % len(body)
        head = b"%b%bX-Request-Id: %b\r\n%b%b\r\n" % (
            self._start(response.status, response.content_type if body else ""),
            length,
            request.request_id.encode("latin-1"),
            _lines(response.headers) if response.headers else b"",
            _connection(request),
        )
        return head if request.method == "HEAD" or not length else head + body

    def stream_start(self, request: Request, response: StreamResponse) -> bytes:
        """The headers of a stream; HTTP/1.0 clients get one that ends with the connection."""
        return b"%b%bX-Request-Id: %b\r\n%b%b\r\n" % (
            self._start(response.status, response.content_type),
            b"" if request.is_http_1_0 else b"Transfer-Encoding: chunked\r\n",
            request.request_id.encode("latin-1"),
            _lines(response.headers),
            _connection(request),
        )

    def _start(self, status: int, content_type: str) -> bytes:
        head = self._cache.get((status, content_type))
        if head is None:
            head = b"HTTP/1.1 %d %b\r\nServer: taximeter\r\nDate: %b\r\n" % (
                status,
                HTTPStatus(status).phrase.encode(),
                self._date,
            )
            if content_type:
                head += _lines((("Content-Type", content_type),))
            if len(self._cache) < _MAX_CACHED:
                self._cache[status, content_type] = head
        return head


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked answer; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _connection(request: Request) -> bytes:
    if not request.keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if request.is_http_1_0 else b""


def _lines(headers: Sequence[tuple[str, str]]) -> bytes:
    """
    Header lines.

    Raises:
        ValueError: a name or value that would end its line and begin another, forged one.
    """
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"not a valid header: {name!r}: {value!r}")
    return b"".join(b"%b: %b\r\n" % (n.encode("latin-1"), v.encode("latin-1")) for n, v in headers)
