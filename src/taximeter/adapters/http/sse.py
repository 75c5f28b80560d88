"""
Server-Sent Events: live pages and streams of one customer.

    feed = Feed(on_close=lambda: hub.remove(feed))
    hub.add(feed)                      # the hub calls feed.publish(...) from the event loop
    return feed.response()

A feed holds a bounded number of events. A client that falls further behind is disconnected rather
than served from growing memory; browsers reconnect by themselves with `Last-Event-ID`, and the
handler decides from it what to send first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from taximeter.adapters.http.messages import StreamResponse

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
_HEARTBEAT: Final = b": \n\n"
_HEADERS: Final = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))


class ServerEvent(msgspec.Struct, frozen=True):
    """
    One event on the wire.

    Attributes:
        data: Text, usually JSON; line breaks are kept.
        event: Its name; "" for the default, "message".
        id: What the client sends back as Last-Event-ID; one line without NUL.
        retry_ms: How long the client should wait before it reconnects.
    """

    data: str
    event: str = ""
    id: str = ""
    retry_ms: int | None = None

    def encode(self) -> bytes:
        lines = []
        if self.event:
            lines.append(f"event: {_one_line(self.event)}")
        if self.id:
            lines.append(f"id: {_one_line(self.id)}")
        if self.retry_ms is not None:
            lines.append(f"retry: {self.retry_ms}")
        # All three line ends of the format, and only those: a bare CR inside would split a field.
        text = self.data.replace("\r\n", "\n").replace("\r", "\n")
        lines.extend(f"data: {line}" for line in text.split("\n"))
        return ("\n".join(lines) + "\n\n").encode()


class Feed:
    """
    The events of one client. All methods belong to the event loop's thread.

    Args:
        max_events: How many may wait for a slow client.
        heartbeat_s: A comment is sent after this much silence, so that proxies keep the
            connection and a vanished client is noticed.
        on_close: Called once when the client is gone, too slow, or the feed was closed.
    """

    def __init__(
        self,
        *,
        max_events: int = 256,
        heartbeat_s: float = HEARTBEAT_S,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self.is_closed = False
        self._events: deque[ServerEvent] = deque()
        self._max_events = max_events
        self._heartbeat_s = heartbeat_s
        self._on_close = on_close
        self._wake = asyncio.Event()

    def publish(self, event: ServerEvent) -> bool:
        """Queue an event; False if the feed is closed, also by this one being too many."""
        if len(self._events) >= self._max_events:
            self._events.clear()
            self.close()
        if self.is_closed:
            return False
        self._events.append(event)
        self._wake.set()
        return True

    def close(self) -> None:
        """End the stream after what is queued."""
        self.is_closed = True
        self._wake.set()

    def response(self) -> StreamResponse:
        return StreamResponse(self._chunks(), 200, EVENT_STREAM, _HEADERS, self._closed)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            if self._events:
                waiting = b"".join(event.encode() for event in self._events)
                self._events.clear()
                yield waiting
            elif self.is_closed:
                return
            else:
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), self._heartbeat_s)
                except TimeoutError:
                    yield _HEARTBEAT

    def _closed(self) -> None:
        self.is_closed = True
        self._events.clear()
        if self._on_close is not None:
            self._on_close()


def _one_line(text: str) -> str:
    return text.translate({ord("\r"): None, ord("\n"): None, 0: None})
