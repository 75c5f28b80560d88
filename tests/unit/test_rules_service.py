"""
What follows from a fire: never before its entry is on disk, never lost, never twice.

The fires are the test's own; the books are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.catalog.document import parse_catalog
from taximeter.errors import Unavailable
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.gate.effects import Fire
from taximeter.live.state import Fired
from taximeter.ports import AuditEntry, RuleFire
from taximeter.services.core import BooksThread
from taximeter.services.rules import service
from taximeter.services.rules.service import RuleService
from taximeter.services.tenant import Tenant

NS = "default"
AT = 1_795_000_000_000_000
RULE = {"on": "t", "do": ["notify", "review"], "mode": "on"}


class Books(SqliteBooks):
    """Real ones, on a disk that sometimes takes nothing."""

    is_full = False

    def add_fires(self, fires: Sequence[tuple[RuleFire, Sequence[AuditEntry]]]) -> set[str]:
        if self.is_full:
            raise Unavailable("storage_full", "The disk is full.")
        return super().add_fires(fires)


class Notices:
    """Keeps what is told, and does not say it is stored before it may."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_store = asyncio.Event()
        self.may_store.set()

    def publish(self, namespace: str, type: str, customer: str, data: Any, key: str) -> None:
        self.told.append(key)

    async def settled(self) -> None:
        await self.may_store.wait()


class World:
    """Attributes: `on_disk` is cleared while the log is not."""

    def __init__(self, path: Path) -> None:
        self.books = Books(path / "books.db")
        self.tenant = Tenant(NS, bytes(32), AcceptanceWindow())
        self.tenant.add_catalog(1, parse_catalog({"rules": {"r": RULE}}), AT)
        self.notices = Notices()
        self.on_disk = asyncio.Event()
        self.on_disk.set()
        self.core: Any = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: AT),
            books=BooksThread(self.books),
            committer=SimpleNamespace(flushed=self.on_disk.wait),
            sequencer=SimpleNamespace(on_fired=None),
            tenants={NS: self.tenant},
            tenant=lambda name: self.tenant,
            notices=self.notices,
        )
        self.service = RuleService(self.core)

    def fire(self, *seqs: int) -> None:
        for seq in seqs:
            fire = Fire("acme", rule="r", version=1, seq=seq, event=f"e{seq}", at=AT, resting=AT)
            self.tenant.live.fired.append(Fired(AT, fire))
        if self.core.sequencer.on_fired is not None:
            self.core.sequencer.on_fired()

    async def recorded(self) -> list[int]:
        """Seqs, oldest first."""
        found = await self.core.books.run(lambda: self.books.fires(NS, limit=1000))
        return [one.seq for one in reversed(found)]


def play(path: Path, scene: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World(path)
        try:
            await world.service.start()
            await asyncio.wait_for(scene(world), 60)
        finally:
            await world.service.stop()
            world.core.books.close()
            world.books.close()

    asyncio.run(whole())


def test_what_fired_is_told_and_recorded_in_order(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.fire(1, 2, 3)
        await world.service.catch_up()
        assert await world.recorded() == [1, 2, 3]
        assert world.notices.told == ["rule:r@1:1", "rule:r@1:2", "rule:r@1:3"]
        assert world.service.fires == {(NS, "r", "on"): 3}
        assert world.service.open_reviews == {NS: 3}

    play(tmp_path, scene)


def test_nothing_follows_before_the_entry_is_on_disk(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.on_disk.clear()
        world.fire(1)
        await asyncio.sleep(0.05)
        assert world.notices.told == []
        assert await world.recorded() == []
        world.on_disk.set()
        await world.service.catch_up()
        assert await world.recorded() == [1]

    play(tmp_path, scene)


def test_a_fire_is_recorded_after_its_notice_is_stored(tmp_path: Path) -> None:
    """Or a crash between would lose the notice: a recorded fire is not told again."""

    async def scene(world: World) -> None:
        world.notices.may_store.clear()
        world.fire(1)
        await asyncio.sleep(0.05)
        assert world.notices.told == ["rule:r@1:1"]
        assert await world.recorded() == []
        world.notices.may_store.set()
        await world.service.catch_up()
        assert await world.recorded() == [1]

    play(tmp_path, scene)


def test_what_a_replay_finds_again_is_recorded_once(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.fire(1, 2)
        await world.service.catch_up()
        world.fire(1, 2, 3)
        await world.service.catch_up()
        assert await world.recorded() == [1, 2, 3]
        assert world.service.fires == {(NS, "r", "on"): 3}
        entries = await world.core.books.run(world.books.audit, NS, after=0, limit=100)
        assert len(entries) == 6, "a line for each action of each fire"

    play(tmp_path, scene)


def test_a_full_disk_delays_what_follows_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TRY_AGAIN_S", 0.01)

    async def scene(world: World) -> None:
        world.books.is_full = True
        world.fire(1, 2)
        with pytest.raises(Unavailable):
            await world.service.catch_up()
        world.fire(3)
        assert [one.fire.seq for one in world.tenant.live.fired] == [1, 2, 3]
        world.books.is_full = False
        while await world.recorded() != [1, 2, 3]:
            await asyncio.sleep(0.01)

    play(tmp_path, scene)


def test_who_reads_does_not_wait_for_a_disk_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SETTLE_S", 0.05)

    async def scene(world: World) -> None:
        world.on_disk.clear()
        world.fire(1)
        await asyncio.wait_for(world.service.settle(), 60)
        world.on_disk.set()
        await world.service.settle()
        assert await world.recorded() == [1]

    play(tmp_path, scene)


def test_after_the_end_nothing_is_recorded_and_no_snapshot_is_taken_for_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.fire(1)
        await world.service.stop()
        assert await world.recorded() == [1], "what had fired by then"
        world.fire(2)
        with pytest.raises(Unavailable):
            await world.service.catch_up()
        assert [one.fire.seq for one in world.tenant.live.fired] == [2]

    play(tmp_path, scene)
