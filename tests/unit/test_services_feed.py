"""Watching what happens, without slowing it down and without keeping it."""

from __future__ import annotations

import asyncio

from taximeter.customers import Customer
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Event
from taximeter.services.feed import (
    MAX_BUFFERED,
    MAX_ITEMS_PER_BATCH,
    Decision,
    Feed,
    Seen,
    recent,
)
from taximeter.services.tenant import Tenant


def tenant() -> Tenant:
    made = Tenant("x", bytes(32), AcceptanceWindow())
    made.put_customer(Customer("acme", subjects=("u1",)))
    return made


def happen(feed: Feed, where: Tenant, first: int, count: int, subject: str = "u1") -> None:
    events = [Event(str(first + n), "t", subject) for n in range(count)]
    verdicts = bytes(n % 2 for n in range(count))
    feed.batch(where, events, verdicts, list(range(first, first + count)))


async def heard(watcher: object) -> list[object]:
    async for items in watcher.batches():  # type: ignore[attr-defined]
        return list(items)
    raise AssertionError("it never ends")


def test_a_batch_of_thousands_is_shown_and_kept_by_its_end_only() -> None:
    async def scenario() -> None:
        feed, where = Feed(), tenant()
        with feed.watch("x") as watcher:
            happen(feed, where, 0, 10_000)
            items = await heard(watcher)
        assert [item.seq for item in items] == list(range(9_950, 10_000))  # type: ignore[attr-defined]
        assert sum(len(events) for events, _, _ in where.recent) == MAX_ITEMS_PER_BATCH

    asyncio.run(scenario())


def test_each_event_comes_with_its_verdict_and_its_customer() -> None:
    async def scenario() -> None:
        feed, where = Feed(), tenant()
        with feed.watch("x") as everybody, feed.watch("x", "acme") as acme:
            happen(feed, where, 1, 2)
            happen(feed, where, 3, 1, "stranger")
            decision = Decision("acme", "chat", False, "limit_reached", "5")
            feed.decision(where, decision)
            items = await heard(everybody)
            mine = await heard(acme)
        facts = [(i.verdict, i.customer) for i in items if isinstance(i, Seen)]
        assert facts == [("accepted", "acme"), ("duplicate", "acme"), ("accepted", None)]
        assert items[-1] is decision
        assert len(mine) == 3

    asyncio.run(scenario())


def test_a_watcher_that_sleeps_loses_the_oldest_and_is_told_how_many() -> None:
    async def scenario() -> None:
        feed, where = Feed(), tenant()
        with feed.watch("x") as watcher:
            for n in range(MAX_BUFFERED + 7):
                happen(feed, where, n, 1)
            items = await heard(watcher)
        assert len(items) == MAX_BUFFERED
        assert watcher.skipped == 7
        assert items[0].seq == 7  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_who_begins_to_watch_sees_what_came_last() -> None:
    feed, where = Feed(), tenant()
    happen(feed, where, 1, 3)
    mark = where.recent[-1]
    happen(feed, where, 4, 2)
    assert [seen.seq for seen in recent(where, 4)] == [5, 4, 3, 2]
    assert [seen.seq for seen in recent(where, 10, since=mark)] == [5, 4]


def test_nobody_watches_after_the_watch_has_ended() -> None:
    feed, where = Feed(), tenant()
    with feed.watch("x", events=False) as watcher:
        assert feed.watched("x")
        assert feed.watchers == 1
        happen(feed, where, 1, 1)
        assert not watcher._items
    assert not feed.watched("x")
    assert feed.watchers == 0
