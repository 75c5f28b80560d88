"""
From a changed number to a stored notice: watched, told once, never before it is on disk.

The numbers are the test's own; the books are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.errors import Unavailable
from taximeter.instants import DAY, SECOND
from taximeter.notices.alert import read_alert
from taximeter.notices.delivery import Channel, Delivery
from taximeter.notices.readings import CreditReading, FeatureReading, Readings
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Sent
from taximeter.quantities import E12
from taximeter.services.core import BooksThread
from taximeter.services.notices import service
from taximeter.services.notices import watch as notices_watch
from taximeter.services.notices.service import NoticeService, publish

NS = "default"
AT = 1_795_000_000_000_000
USAGE = {"on": "usage", "feature": "chat", "thresholds": ["80%", "100%"]}
BALANCE = {"on": "balance", "credit": "usd", "thresholds": [10]}


class Account:
    """What the watch knows of one."""

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self.rebuilding: tuple[Any, ...] = ()
        self.watched = False
        self.forgotten = 0

    def forget_hooks(self) -> None:
        self.forgotten += 1


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        self.sent.append((delivery.receiver.target, delivery.notice.id))
        return Sent(200)

    async def close(self) -> None:
        pass


class World:
    """
    One namespace whose numbers are set by hand.

    Attributes:
        numbers: Customer -> its readings.
        parents: Customer -> whom it pools with.
        held: While set, the log is not on disk.
        looks: How often somebody's numbers were read.
    """

    def __init__(self, path: Path, customers: int = 3) -> None:
        self.at = AT
        self.books = SqliteBooks(path / "books.db")
        self.accounts = {f"c{n}": Account(f"c{n}") for n in range(customers)}
        self.numbers: dict[str, Readings] = {}
        self.parents: dict[str, list[str]] = {}
        self.held = False
        self.looks = 0
        self.sender = Sender()
        self.tenant = SimpleNamespace(
            name=NS,
            live=SimpleNamespace(accounts=self.accounts, touched=set(), watches=None),
            pool_of=lambda customer: [self.accounts[one] for one in self.parents.get(customer, ())],
        )
        self.open()

    def open(self) -> None:
        """A node started on what is in the books."""
        self.core: Any = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: self.at),
            books=BooksThread(self.books),
            committer=SimpleNamespace(flushed=self._flushed),
            sequencer=SimpleNamespace(on_touched=None),
            tenants={NS: self.tenant},
            notices=None,
        )
        senders = {Channel.WEBHOOK: self.sender, Channel.EMAIL: self.sender}
        self.service = NoticeService(self.core, senders, self._read)
        self.service.load()
        self.core.notices = self.service

    async def _flushed(self) -> None:
        while self.held:
            await asyncio.sleep(0.001)

    def _read(self, tenant: Any, account: Any, now: int) -> Readings:
        self.looks += 1
        return self.numbers.get(account.customer, Readings())

    async def alert(self, alert_id: str, document: dict[str, Any]) -> None:
        alert = read_alert(alert_id, document, AT)
        await self.service.board.put_alert(NS, alert, audit())
        self.service.watch.rewatch(NS)

    def use(self, customer: str, used: int, limit: int = 1000, window: int = AT - DAY) -> None:
        """Usage becomes this much, in this turn of the loop."""
        reading = FeatureReading(used * E12, limit * E12, window, window + 30 * DAY)
        self.numbers[customer] = Readings(usage={"chat": reading})
        self.touch(customer)

    def fill(self, customer: str, amount: int) -> None:
        reading = CreditReading(amount * E12, amount * E12)
        self.numbers[customer] = Readings(credits={"usd": reading})
        self.touch(customer)

    def touch(self, customer: str) -> None:
        account = self.accounts[customer]
        if account.watched and self.core.sequencer.on_touched is not None:
            self.tenant.live.touched.add(account)
            self.core.sequencer.on_touched(self.tenant)

    async def stored(self) -> list[str]:
        """customer threshold, oldest first."""
        found = await self.core.books.run(lambda: self.books.notices(NS, limit=1000))
        data = [msgspec.json.decode(notice.payload)["data"] for notice in reversed(found)]
        return [f"{one.get('customer')} {one.get('threshold')}" for one in data]

    async def settle(self) -> None:
        """Nothing is waiting to be looked at, stored or sent."""
        for _ in range(3000):
            await asyncio.sleep(0.002)
            watch = self.service.watch
            if watch.is_idle and not (self.service._drafts or self.service.delivery.queued):
                return
        raise AssertionError("it does not settle")


def audit() -> AuditEntry:
    return AuditEntry(0, NS, AT, "t", "t", "t", {})


def play(path: Path, scene: Callable[[World], Awaitable[None]], customers: int = 3) -> None:
    async def whole() -> None:
        world = World(path, customers)
        world.books.put_webhook(NS, Webhook("ops", "https://x"), audit())
        world.service.board.load(world.books)
        await world.service.start()
        try:
            await asyncio.wait_for(scene(world), 60)
        finally:
            await world.service.stop()
            world.core.books.close()
            world.books.close()

    asyncio.run(whole())


async def restart(world: World) -> None:
    await world.service.stop()
    world.core.books.close()
    world.open()
    await world.service.start()
    await world.settle()


# --- watching -----------------------------------------------------------------------------------


def test_a_crossing_is_stored_and_sent(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        world.use("c0", 850)
        await world.settle()
        assert await world.stored() == ["c0 80%"]
        assert [target for target, _ in world.sender.sent] == ["ops"]

    play(tmp_path, scene)


def test_only_customers_an_alert_looks_at_are_watched(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        watched = lambda: {c for c, account in world.accounts.items() if account.watched}  # noqa: E731
        assert watched() == set()
        await world.alert("a", USAGE | {"customer": "c1"})
        assert watched() == {"c1"}
        assert world.accounts["c1"].forgotten == 1, "the hot path has to learn of it"
        await world.alert("b", USAGE)
        assert watched() == {"c0", "c1", "c2"}
        await world.service.board.delete_alert(NS, "b", audit())
        world.service.watch.rewatch(NS)
        assert watched() == {"c1"}

    play(tmp_path, scene)


def test_a_customer_that_uses_up_its_parents_allowance_is_watched_for_the_parent(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        world.parents = {"c0": ["c1", "c2"], "c1": ["c2"]}
        await world.alert("a", USAGE | {"customer": "c2"})
        assert all(account.watched for account in world.accounts.values())
        await world.settle()
        reading = FeatureReading(900 * E12, 1000 * E12, AT - DAY, AT + DAY)
        world.numbers["c2"] = Readings(usage={"chat": reading})
        world.touch("c0")
        await world.settle()
        assert await world.stored() == ["c2 80%"]

    play(tmp_path, scene)


def test_an_account_made_after_the_alert_is_watched_from_its_first_event(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        assert world.tenant.live.watches("c0") is False
        await world.alert("a", USAGE | {"customer": "c0"})
        assert world.tenant.live.watches("c0")
        assert not world.tenant.live.watches("c1")

    play(tmp_path, scene)


def test_a_customer_that_changes_often_is_looked_at_once_in_a_turn(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        await world.settle()
        before = world.looks
        for used in range(1000):
            world.use("c0", used)
        await world.settle()
        assert world.looks - before == 1
        assert await world.stored() == ["c0 80%"], "999 of 1000"

    play(tmp_path, scene)


def test_an_alert_tells_at_once_what_is_crossed_already(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.use("c0", 1200)
        await world.alert("a", USAGE)
        await world.settle()
        assert await world.stored() == ["c0 80%", "c0 100%"]

    play(tmp_path, scene)


def test_a_thousand_customers_at_once_are_each_told_exactly_once(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        for _ in range(5):
            for customer in world.accounts:
                world.use(customer, 900)
            await asyncio.sleep(0.001)
        await world.settle()
        assert sorted(await world.stored()) == sorted(f"{c} 80%" for c in world.accounts)
        assert len(world.sender.sent) == len(set(world.sender.sent)) == 1000

    play(tmp_path, scene, customers=1000)


def test_looking_at_many_customers_leaves_the_loop_to_others(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        await world.settle()
        slow = world._read

        def read(*args: Any) -> Readings:
            for _ in range(2000):
                pass
            return slow(*args)

        world.service.watch._read = read
        turns = 0
        for customer in world.accounts:
            world.use(customer, 5)
        while not world.service.watch.is_idle:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 20, "it was done in slices"

    play(tmp_path, scene, customers=2000)


def test_a_reading_that_fails_for_one_customer_does_not_stop_the_others(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        real = world._read

        def read(tenant: Any, account: Any, now: int) -> Readings:
            if account.customer == "c0":
                raise RuntimeError("a defect")
            if account.customer == "c1":
                raise Unavailable("rebuilding", "not exact yet")
            return real(tenant, account, now)

        world.service.watch._read = read
        for customer in world.accounts:
            world.use(customer, 900)
        await world.settle()
        assert await world.stored() == ["c2 80%"]

    play(tmp_path, scene)


def test_a_customer_whose_usage_is_being_counted_again_is_looked_at_when_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_watch, "LOOK_AROUND_EVERY_S", 0.01)

    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        world.accounts["c0"].rebuilding = (frozenset({"x"}),)
        world.use("c0", 900)
        await world.settle()
        assert await world.stored() == []
        world.accounts["c0"].rebuilding = ()
        await asyncio.sleep(0.05)
        await world.settle()
        assert await world.stored() == ["c0 80%"]

    play(tmp_path, scene)


def test_what_time_alone_changes_is_seen_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_watch, "LOOK_AROUND_EVERY_S", 0.01)

    async def scene(world: World) -> None:
        await world.alert("a", BALANCE)
        world.fill("c0", 50)
        await world.settle()
        reading = CreditReading(0, 0)
        world.numbers["c0"] = Readings(credits={"usd": reading})  # it expired: nothing was touched
        await asyncio.sleep(0.05)
        assert await world.stored() == []
        world.at += DAY
        await asyncio.sleep(0.05)
        await world.settle()
        assert await world.stored() == ["c0 10"]

    play(tmp_path, scene)


# --- exactly once -------------------------------------------------------------------------------


def test_a_restart_tells_nothing_again(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        await world.alert("b", BALANCE)
        world.use("c0", 900)
        world.fill("c1", 5)
        await world.settle()
        for _ in range(3):
            await restart(world)
        assert sorted(await world.stored()) == ["c0 80%", "c1 10"]
        assert len(world.sender.sent) == 2

    play(tmp_path, scene)


def test_what_was_crossed_while_the_node_was_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        await world.service.stop()
        world.use("c0", 900)  # as a replay of the log finds it
        world.core.books.close()
        world.open()
        await world.service.start()
        await world.settle()
        assert await world.stored() == ["c0 80%"]

    play(tmp_path, scene)


def test_a_balance_rearms_across_a_restart(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("b", BALANCE)
        for amount in (5, 50):
            world.fill("c0", amount)
            await world.settle()
        await restart(world)
        world.fill("c0", 3)
        await world.settle()
        await restart(world)
        assert await world.stored() == ["c0 10", "c0 10"]

    play(tmp_path, scene)


def test_an_alert_made_again_tells_a_low_balance_again_and_a_window_not(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        reading = FeatureReading(900 * E12, 1000 * E12, AT - DAY, AT + DAY)
        credit = CreditReading(5 * E12, 5 * E12)
        world.numbers["c0"] = Readings(usage={"chat": reading}, credits={"usd": credit})
        for _ in range(2):
            await world.alert("a", USAGE)
            await world.alert("b", BALANCE)
            await world.settle()
            for alert in "ab":
                await world.service.board.delete_alert(NS, alert, audit())
                world.service.watch.forget(NS, alert)
        assert await world.stored() == ["c0 80%", "c0 10", "c0 10"]

    play(tmp_path, scene)


def test_nothing_is_told_before_what_it_tells_of_is_on_disk(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        world.held = True
        world.use("c0", 900)
        await asyncio.sleep(0.05)
        assert world.sender.sent == []
        assert await world.stored() == []
        world.held = False
        await world.settle()
        assert await world.stored() == ["c0 80%"]

    play(tmp_path, scene)


def test_a_full_disk_loses_no_notice_and_tells_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TRY_AGAIN_S", 0.01)

    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        real = world.books.add_notices
        full = [True]

        def add(*args: Any) -> set[str]:
            if full[0]:
                raise Unavailable("storage_full", "The disk is full.")
            return real(*args)

        world.books.add_notices = add  # type: ignore[method-assign]
        world.use("c0", 900)
        await asyncio.sleep(0.03)
        world.use("c0", 1100)
        await asyncio.sleep(0.03)
        assert world.sender.sent == []
        full[0] = False
        await world.settle()
        assert await world.stored() == ["c0 80%", "c0 100%"]
        assert len(world.sender.sent) == 2

    play(tmp_path, scene)


# --- telling ------------------------------------------------------------------------------------


def test_other_parts_publish_with_a_key_of_their_own(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        for _ in range(3):
            publish(world.core, world.tenant, "credits.topped_up", "c0", {"customer": "c0"}, "k1")  # type: ignore[arg-type]
        await world.settle()
        assert await world.stored() == ["c0 None"]
        assert len(world.sender.sent) == 1

    play(tmp_path, scene)


def test_without_a_notice_service_nobody_is_told() -> None:
    core: Any = SimpleNamespace(notices=None)
    publish(core, None, "a.b", None, {}, "k")  # type: ignore[arg-type]


def test_an_endpoint_gets_the_types_it_wants_and_mail_goes_to_the_alerts_addresses(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        for name, types in (("low", ("balance.*",)), ("usage", ("usage.*",))):
            webhook = Webhook(name, "https://x", types)
            await world.service.board.put_webhook(NS, webhook, audit())
        await world.alert("a", USAGE | {"email": ["ops@example.com"]})
        world.use("c0", 900)
        await world.settle()
        assert {target for target, _ in world.sender.sent} == {"ops", "usage", "ops@example.com"}

    play(tmp_path, scene)


def test_listeners_hear_of_their_customer_as_it_is_stored(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.alert("a", USAGE)
        heard: dict[str | None, list[str | None]] = {None: [], "c0": []}
        with (
            world.service.listening(NS, None, lambda n: heard[None].append(n.customer)),
            world.service.listening(NS, "c0", lambda n: heard["c0"].append(n.customer)),
            world.service.listening("other", None, lambda n: pytest.fail("another namespace")),
        ):
            world.use("c0", 900)
            world.use("c1", 900)
            await world.settle()
        world.use("c2", 900)
        await world.settle()
        assert heard == {None: ["c0", "c1"], "c0": ["c0"]}

    play(tmp_path, scene)


def test_what_was_noticed_is_stored_before_the_node_ends(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.service.publish(NS, "a.b", None, {}, "k")
        await world.service.stop()
        found = await world.core.books.run(lambda: world.books.notices(NS, limit=9))
        assert [notice.type for notice in found] == ["a.b"]

    play(tmp_path, scene)


def test_deliveries_resolved_a_month_ago_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FORGET_EVERY_S", 0.01)

    async def scene(world: World) -> None:
        world.service.publish(NS, "a.b", None, {}, "k")
        await world.settle()
        (_, message), *_ = world.sender.sent
        for at, count in ((AT + 30 * DAY, 1), (AT + 30 * DAY + SECOND, 0)):
            world.at = at
            await asyncio.sleep(0.05)
            found = await world.core.books.run(world.books.deliveries_of, NS, message)
            assert len(found) == count

    play(tmp_path, scene)
