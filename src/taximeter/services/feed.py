"""
What people watch live: each event with its verdict, and each decision, as they happen.

Watching must never slow the meter. Without a watcher a batch costs one append; a watcher that
cannot keep up loses the oldest items and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from taximeter.events.envelope import Event, Rejection, Verdict
from taximeter.services.tenant import Tenant

MAX_BUFFERED = 1000
MAX_ITEMS_PER_BATCH = 50


class Seen(msgspec.Struct, gc=False):
    """One event with what was decided about it."""

    seq: int
    verdict: str
    event: Event
    customer: str | None


class RefusedItem(msgspec.Struct, gc=False):
    """An item that was rejected, and so may not even be an event; `event` holds its id if known."""

    event: dict[str, str | None]
    code: str
    detail: str
    seq: int = 0
    verdict: str = "rejected"
    customer: None = None


class Decision(msgspec.Struct, gc=False):
    """One answer of the gate."""

    customer: str
    feature: str
    allowed: bool
    reason: str
    amount: str


class Changed(msgspec.Struct, gc=False):
    """Something a customer has (a grant, a hold, a budget) has changed."""

    customer: str


class Watcher:
    """One reader's bounded buffer."""

    def __init__(self, customer: str | None, events: bool) -> None:
        self.customer = customer
        self.events = events
        self.skipped = 0
        self._items: deque[Any] = deque()
        self._ready = asyncio.Event()

    def wants(self, customer: str | None) -> bool:
        return self.customer is None or self.customer == customer

    def put(self, item: Any) -> None:
        if len(self._items) >= MAX_BUFFERED:
            self._items.popleft()
            self.skipped += 1
        self._items.append(item)
        self._ready.set()

    async def batches(self) -> AsyncIterator[list[Any]]:
        """Everything buffered, as soon as there is anything, for ever."""
        while True:
            await self._ready.wait()
            yield self.take()

    def take(self) -> list[Any]:
        """Everything buffered, without waiting."""
        self._ready.clear()
        items = list(self._items)
        self._items.clear()
        return items


class Feed:
    """Fans out to the watchers of each namespace."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watcher]] = {}

    @property
    def watchers(self) -> int:
        return sum(len(watching) for watching in self._watchers.values())

    @contextmanager
    def watch(
        self, namespace: str, customer: str | None = None, *, events: bool = True
    ) -> Iterator[Watcher]:
        """
        Args:
            events: Without them only decisions come, and a batch costs what it costs unwatched.
        """
        watcher = Watcher(customer, events)
        self._watchers.setdefault(namespace, []).append(watcher)
        try:
            yield watcher
        finally:
            self._watchers[namespace].remove(watcher)
            if not self._watchers[namespace]:
                del self._watchers[namespace]

    def batch(
        self,
        tenant: Tenant,
        events: Sequence[Event],
        verdicts: bytes,
        seqs: Sequence[int],
    ) -> None:
        """Called for each request, right after it was decided."""
        if len(events) > MAX_ITEMS_PER_BATCH:
            # A person reads a few events a second; a batch of thousands is shown by its end, and
            # no more of it is kept.
            last = slice(-MAX_ITEMS_PER_BATCH, None)
            events, verdicts, seqs = events[last], verdicts[last], seqs[last]
        tenant.recent.append((events, verdicts, seqs))
        watching = [w for w in self._watchers.get(tenant.name, ()) if w.events]
        if not watching:
            return
        for item in _seen(tenant, events, verdicts, seqs):
            for watcher in watching:
                if watcher.wants(item.customer):
                    watcher.put(item)

    def rejected(self, tenant: Tenant, errors: Sequence[Rejection]) -> None:
        """Items that were kept as dead letters; whose they are is not known."""
        for watcher in self._watchers.get(tenant.name, ()):
            if watcher.events and watcher.customer is None:
                for error in errors[:MAX_ITEMS_PER_BATCH]:
                    watcher.put(RefusedItem({"id": error.id}, error.code, error.detail))

    def decision(self, tenant: Tenant, decision: Decision) -> None:
        watching = self._watchers.get(tenant.name)
        if watching is not None:
            for watcher in watching:
                if watcher.wants(decision.customer):
                    watcher.put(decision)

    def changed(self, tenant: Tenant, customer: str) -> None:
        """Told to those who watch this very customer."""
        for watcher in self._watchers.get(tenant.name, ()):
            if watcher.customer == customer:
                watcher.put(Changed(customer))

    def watched(self, namespace: str) -> bool:
        return namespace in self._watchers


def recent(tenant: Tenant, limit: int, since: object = None) -> list[Seen]:
    """
    The newest events of a namespace, newest first.

    Args:
        since: Only those behind this element of `tenant.recent`, as far as they are still held.
    """
    found: list[Seen] = []
    for batch in reversed(tenant.recent):
        if batch is since:
            break
        found += reversed(_seen(tenant, *batch))
        if len(found) >= limit:
            break
    return found[:limit]


def _seen(
    tenant: Tenant, events: Sequence[Event], verdicts: bytes, seqs: Sequence[int]
) -> list[Seen]:
    accounts = tenant.live.by_subject
    items = []
    for event, verdict, seq in zip(events, verdicts, seqs, strict=True):
        account = accounts.get(event.subject)
        items.append(
            Seen(
                seq,
                Verdict(verdict).name.lower(),
                event,
                account.customer if account is not None else None,
            )
        )
    return items
