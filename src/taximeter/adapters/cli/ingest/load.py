"""
Rows to a server, several requests in flight, every row accounted for.

Batches are sent at the same time but accounted for in the order of the file, so "done up to row n"
is always true of every row before it: that is what makes an interrupted load resumable.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected, TaximeterError
from taximeter.events.envelope import MAX_EVENT_BYTES

MAX_BODY: Final = 4 * 2**20
"""Bytes at which a batch is sent early; half of what a server takes."""

COUNTS: Final = ("received", "accepted", "duplicates", "conflicts", "rejected")


class Reject(msgspec.Struct, frozen=True):
    """A row that was not counted, and why: rejected by us or the server, or a conflict."""

    row: int
    id: str | None
    code: str
    detail: str
    line: bytes


class Item(msgspec.Struct, frozen=True, gc=False):
    """A row as the JSON line it is sent as, and its identity."""

    row: int
    line: bytes
    source: str
    id: str


class Batch(msgspec.Struct, gc=False):
    """Consecutive rows: those to send, and those that are no events."""

    items: list[Item] = []
    unreadable: list[Reject] = []
    last_row: int = 0

    @property
    def body(self) -> bytes:
        return b"\n".join(item.line for item in self.items)


class Totals(msgspec.Struct):
    """
    What became of the rows so far: accepted + duplicates + conflicts + rejected = received.

    Attributes:
        rows: Every row up to this one is accounted for.
        last: Source and id of a row that the server has, for checking on resumption.
    """

    rows: int = 0
    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    by_code: dict[str, int] = {}
    last: tuple[str, str] | None = None

    def add(self, batch: Batch, answer: dict[str, Any], rejects: list[Reject]) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + answer[name])
        self.received += len(batch.unreadable)
        self.rejected += len(batch.unreadable)
        self.by_code = dict(Counter(self.by_code) + Counter(reject.code for reject in rejects))
        refused = {reject.row for reject in rejects}
        kept = [item for item in batch.items if item.row not in refused]
        if kept:
            self.last = (kept[-1].source, kept[-1].id)
        self.rows = batch.last_row


def batches(
    rows: Iterable[tuple[int, Any]], to_item: Callable[[int, Any], Item], size: int
) -> Iterator[Batch]:
    """
    Args:
        rows: Numbered rows, ascending.
        to_item: May raise Rejected: that row is counted as rejected, its neighbours are not.
        size: Rows in a batch; a batch is cut earlier at `MAX_BODY` bytes.
    """
    batch, length = Batch(), 0
    for number, row in rows:
        try:
            item = to_item(number, row)
            if len(item.line) > MAX_EVENT_BYTES:
                raise Rejected("event_too_large", f"The event has {len(item.line)} bytes.")
            batch.items.append(item)
            length += len(item.line) + 1
        except Rejected as error:
            line = row if isinstance(row, bytes) else msgspec.json.encode(row)
            batch.unreadable.append(
                Reject(number, None, error.code, error.message, line[:MAX_EVENT_BYTES])
            )
        batch.last_row = number
        if len(batch.items) + len(batch.unreadable) >= size or length >= MAX_BODY:
            yield batch
            batch, length = Batch(), 0
    if batch.last_row:
        yield batch


def load(
    found: Iterable[Batch],
    send: Callable[[bytes], dict[str, Any]],
    account: Callable[[Batch, dict[str, Any], list[Reject]], None],
    *,
    parallel: int,
    stopped: Callable[[], bool],
) -> None:
    """
    Send batches, `parallel` at a time, and account for each in order.

    Args:
        send: One body to the server's answer; called by several threads.
        account: Told of each batch, in order, by the calling thread.
        stopped: Whether to read no further; what is on its way is still accounted for.

    Raises:
        TaximeterError: The first failure in the order of the file. Batches before it are accounted
            for, none after it.
    """
    waiting: deque[tuple[Batch, Future[dict[str, Any]]]] = deque()

    def settle() -> None:
        batch, future = waiting.popleft()
        answer = future.result()
        account(batch, answer, _rejects(batch, answer))

    with ThreadPoolExecutor(parallel, thread_name_prefix="ingest") as pool:
        try:
            for batch in found:
                # Two for each thread: one being answered, one ready to go.
                if len(waiting) >= 2 * parallel:
                    settle()
                waiting.append((batch, pool.submit(_send, batch, send)))
                if stopped():
                    break
            while waiting:
                settle()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _send(batch: Batch, send: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
    if not batch.items:
        return dict.fromkeys(COUNTS, 0)
    answer = send(batch.body)
    received, *parts = (answer[name] for name in COUNTS)
    if received != len(batch.items) or sum(parts) != received:
        raise TaximeterError(
            "internal",
            f"The server was sent {len(batch.items)} events and answered {received} = "
            f"{' + '.join(map(str, parts))}.",
        )
    return answer


def _rejects(batch: Batch, answer: dict[str, Any]) -> list[Reject]:
    """Both kinds of rejects of a batch, by row."""
    refused = [
        Reject(item.row, item.id, error["code"], error.get("detail", ""), item.line)
        for error in answer.get("errors", ())
        for item in (batch.items[error["index"]],)
    ]
    return sorted(refused + batch.unreadable, key=lambda reject: reject.row)
