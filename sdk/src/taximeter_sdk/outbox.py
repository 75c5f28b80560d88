"""
The outbox: what was tracked and is not answered yet, in order, bounded in items and bytes.

With a spool every item is also on disk, and what does not fit into memory waits there; without one
the bound is memory's. What happens beyond the bound is the caller's choice, and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final, Literal, NamedTuple

from taximeter_sdk.spool import Segment, Spool
from taximeter_sdk.stats import Stats

EVENT: Final = b"E"
"""A finished CloudEvent."""
USAGE: Final = b"U"
"""An amount of a feature; the catalogue says which event that is, when it is sent."""
SETTLEMENT: Final = b"S"
"""A reservation whose settlement could not be delivered at once."""

Overflow = Literal["drop", "block"]


class Item(NamedTuple):
    kind: bytes
    text: bytes
    segment: Segment | None


class Outbox:
    """
    Args:
        batch_items: When a batch is full, and the sender need not wait for more.
        max_items, max_bytes: Bound of memory.
        overflow: `drop`: what does not fit is dropped and counted. `block`: `put` waits up to
            `block_s` for room, then drops.
    """

    def __init__(
        self,
        *,
        batch_items: int,
        max_items: int,
        max_bytes: int,
        overflow: Overflow,
        block_s: float,
        spool: Spool | None,
    ) -> None:
        self.stats = Stats()
        # Reentrant, because a finaliser may track while this very thread is in `put`.
        self.changed = threading.Condition(threading.RLock())
        self._batch_items = batch_items
        self._max_items, self._max_bytes = max_items, max_bytes
        self._overflow, self._block_s = overflow, block_s
        self._spool = spool
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._taken: list[Item] = []
        self._put = 0
        self._finished = 0
        self._closed = False

    # --- in -----------------------------------------------------------------------------------

    def put(self, kind: bytes, text: bytes) -> bool:
        """Keep an item until it is answered. False if it was dropped."""
        with self.changed:
            self.stats.tracked += 1
            if not self._closed and self._keep(kind, text):
                self._put += 1
                # Waking the sender for each item would cost more than keeping it.
                if len(self._items) in (0, 1, self._batch_items):
                    self.changed.notify_all()
                return True
            self.stats.dropped += 1
            return False

    def _keep(self, kind: bytes, text: bytes) -> bool:
        size = len(text)
        if self._spool is None:
            if not self._has_room(size) and not self._wait_for_room(size):
                return False
            self._remember(Item(kind, text, None))
            return True
        if self._spool.waiting or not self._has_room(size):
            return self._keep_on_disk(self._spool, kind, text)
        self._remember(Item(kind, text, self._written(self._spool, kind, text)))
        return True

    def _keep_on_disk(self, spool: Spool, kind: bytes, text: bytes) -> bool:
        deadline = time.monotonic() + (self._block_s if self._overflow == "block" else 0.0)
        while True:
            try:
                spool.append_waiting(kind, text)
            except OSError as error:
                self.stats.last_error = f"spool: {error}"
                left_s = deadline - time.monotonic()
                if left_s <= 0 or self._closed or not self.changed.wait(left_s):
                    return False
            else:
                self.stats.spooled += 1
                return True

    def _written(self, spool: Spool, kind: bytes, text: bytes) -> Segment | None:
        try:
            return spool.append(kind, text)
        except OSError as error:
            self.stats.spool_errors += 1
            self.stats.last_error = f"spool: {error}"
            return None

    def _remember(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += len(item.text)

    def _has_room(self, size: int) -> bool:
        held = len(self._items) + len(self._taken)
        return held < self._max_items and self._bytes + size <= self._max_bytes

    def _wait_for_room(self, size: int) -> bool:
        if self._overflow != "block":
            self.stats.last_error = "the buffer is full"
            return False
        done = self.changed.wait_for(
            lambda: self._closed or self._has_room(size), timeout=self._block_s
        )
        return done and not self._closed

    # --- out ----------------------------------------------------------------------------------

    def take(self, max_bytes: int) -> list[Item]:
        """
        The next items, oldest first; they stay the outbox's until `answered`.
        """
        with self.changed:
            if not self._items:
                self._load()
            size = 0
            while self._items and len(self._taken) < self._batch_items:
                size += len(self._items[0].text)
                if self._taken and size > max_bytes:
                    break
                self._taken.append(self._items.popleft())
            return list(self._taken)

    def _load(self) -> None:
        if self._spool is None or (loaded := self._spool.load()) is None:
            return
        segment, lines = loaded
        self.stats.damaged = self._spool.damaged
        self.stats.spooled -= len(lines)
        for line in lines:
            self._remember(Item(line.kind, line.text, segment))

    def adopt(self) -> int:
        """Find what processes that are gone have left in the spool."""
        if self._spool is None:
            return 0
        orphans = self._spool.orphans()
        with self.changed:
            if self._closed:
                self._spool.abandon(set(orphans))
                return 0
            found = self._spool.adopt(orphans)
            self.stats.recovered += found
            self.stats.spooled += found
            return found

    def answered(self, items: list[Item]) -> bool:
        """These were answered; they are forgotten, here and on disk. False if it is closed."""
        with self.changed:
            if self._closed:
                return False
            done = {id(item) for item in items}
            self._taken = [item for item in self._taken if id(item) not in done]
            for item in items:
                self._bytes -= len(item.text)
                if item.segment is not None and self._spool is not None:
                    own = not item.segment.recovered
                    self._spool.done(item.segment)
                    self._finished += own
                else:
                    self._finished += 1
            self.changed.notify_all()
            return True

    # --- state --------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        return len(self._items) + len(self._taken)

    def is_empty(self) -> bool:
        return not self._items and not self._taken and not self.stats.spooled

    @property
    def has_batch(self) -> bool:
        """Whether a full batch waits."""
        return len(self._items) >= self._batch_items

    def wait_finished(self, timeout_s: float) -> bool:
        """Wait until everything put before this call is answered. False if time ran out."""
        with self.changed:
            target = self._put
            return self.changed.wait_for(lambda: self._finished >= target, timeout_s)

    def close(self) -> None:
        """Take no more. What a spool holds stays for the next process; the rest is dropped."""
        with self.changed:
            self._closed = True
            for item in [*self._taken, *self._items]:
                if item.segment is None:
                    self.stats.dropped += 1
                else:
                    self.stats.spooled += 1
            segments = {i.segment for i in [*self._taken, *self._items] if i.segment is not None}
            self._items.clear()
            self._taken = []
            if self._spool is not None:
                self._spool.waiting.extend(s for s in segments if s not in self._spool.waiting)
                self._spool.close()
            self.changed.notify_all()

    def abandon(self) -> None:
        """In a forked child: what is in here is the parent's to send."""
        if self._spool is not None:
            segments = {i.segment for i in [*self._taken, *self._items] if i.segment is not None}
            self._spool.abandon(segments)
