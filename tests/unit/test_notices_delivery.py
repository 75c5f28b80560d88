"""
Delivery: who is sent what, when, and again when; with a clock that the test holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.errors import Unavailable
from taximeter.instants import DAY, HOUR, MINUTE, SECOND
from taximeter.notices.delivery import (
    Channel,
    Delivery,
    DeliveryStatus,
    Receiver,
    new_delivery,
)
from taximeter.notices.notice import new_notice
from taximeter.notices.schedule import DELAYS
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Sent
from taximeter.services.core import BooksThread
from taximeter.services.notices import delivery as notices_delivery
from taximeter.services.notices.board import Board
from taximeter.services.notices.delivery import PER_RECEIVER, Dispatcher

NS = "default"
AT = 1_795_000_000_000_000
OK, BROKEN = Sent(200), Sent(500, "The endpoint answered 500.")


class HeldClock:
    def __init__(self) -> None:
        self.at = AT

    def now(self) -> int:
        return self.at


class Script:
    """
    A sender that answers as told.

    Attributes:
        sent: (target, message id, instant) of each attempt.
        answers: Target -> an answer, several in turn (the last for ever), or a coroutine function.
    """

    def __init__(self, clock: HeldClock) -> None:
        self.clock = clock
        self.sent: list[tuple[str, str, int]] = []
        self.answers: dict[str, Any] = {}
        self.running = self.most_running = 0

    async def send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        target = delivery.receiver.target
        self.sent.append((target, delivery.notice.id, self.clock.at))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            answer = self.answers.get(target, OK)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if callable(answer):
                answer = await answer()
            assert isinstance(answer, Sent)
            return answer
        finally:
            self.running -= 1

    async def close(self) -> None:
        pass


class Stage:
    """A dispatcher on real books, with endpoints "one", "two" and "three"."""

    def __init__(self, path: Path) -> None:
        self.clock = HeldClock()
        self.books = SqliteBooks(path / "books.db")
        self.thread = BooksThread(self.books)
        self.board = Board(self.thread)
        self.script = Script(self.clock)
        self.mail = Script(self.clock)
        self.dispatcher = self.new_dispatcher()
        self._numbers = iter(range(10**6))
        for name in ("one", "two", "three"):
            self.put(Webhook(name, f"https://{name}.example", email=("ops@example.com",)))

    def new_dispatcher(self) -> Dispatcher:
        senders = {Channel.WEBHOOK: self.script, Channel.EMAIL: self.mail}
        return Dispatcher(self.board, self.thread, self.clock, senders)

    def put(self, webhook: Webhook) -> None:
        self.books.put_webhook(NS, webhook, AuditEntry(0, NS, AT, "t", "put", "t", {}))
        self.board.set_webhook(NS, webhook)

    def webhook(self, name: str) -> Webhook:
        return self.board.webhook(NS, name)

    def store(self, *targets: str, channel: Channel = Channel.WEBHOOK) -> list[Delivery]:
        made = []
        for target in targets:
            notice = new_notice(NS, "a.b", None, {}, str(next(self._numbers)), self.clock.at)
            made.append(new_delivery(notice, channel, target, self.clock.at))
        self.books.add_notices([(one.notice, [one]) for one in made])
        return made

    async def read(self, delivery: Delivery) -> Delivery:
        found = await self.thread.run(self.books.delivery, NS, delivery.id)
        assert found is not None
        return found

    def hours(self, target: str) -> list[float]:
        return [round((at - AT) / HOUR, 2) for name, _, at in self.script.sent if name == target]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices_delivery, "TICK_S", 0.002)
    monkeypatch.setattr(notices_delivery, "TRY_BOOKS_AGAIN_S", 0.01)
    monkeypatch.setattr(notices_delivery, "GRACE_S", 0.2)


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Dispatcher]:
    await stage.dispatcher.start()
    try:
        yield stage.dispatcher
    finally:
        await stage.dispatcher.stop()


def play(path: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def whole() -> None:
        stage = Stage(path)
        try:
            await asyncio.wait_for(scene(stage), 60)
        finally:
            stage.thread.close()
            stage.books.close()

    asyncio.run(whole())


async def until(condition: Callable[[], object], what: str = "it") -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"{what} did not happen")


async def quiet(dispatcher: Dispatcher) -> None:
    """Everything due is made and recorded."""
    await until(lambda: not dispatcher.queued, "quiet")
    await asyncio.sleep(0.02)
    await until(lambda: not dispatcher.queued, "quiet")


def test_a_delivery_is_made_at_once_and_recorded(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (delivery,) = stage.store("one")
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            await quiet(dispatcher)
        found = await stage.read(delivery)
        assert (found.status, found.resolved_at) == (DeliveryStatus.DELIVERED, AT)
        assert len(stage.script.sent) == 1

    play(tmp_path, scene)


def test_ten_attempts_on_the_schedule_then_it_has_failed(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (delivery,) = stage.store("one")
        stage.script.answers["one"] = BROKEN
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            for attempts, delay in enumerate(DELAYS, start=1):
                await quiet(dispatcher)
                assert len(stage.script.sent) == attempts
                next_at = (await stage.read(delivery)).next_at
                assert next_at is not None
                assert delay <= next_at - stage.clock.at <= delay * 1.1
                stage.clock.at = next_at - 1
                await asyncio.sleep(0.02)
                assert len(stage.script.sent) == attempts, "not a microsecond too soon"
                stage.clock.at = next_at
                await until(lambda n=attempts: len(stage.script.sent) > n, "the next attempt")
            await quiet(dispatcher)
            stage.clock.at += 30 * DAY
            await asyncio.sleep(0.02)
        assert len(stage.script.sent) == 10
        assert len({message for _, message, _ in stage.script.sent}) == 1, "one message id"
        assert (await stage.read(delivery)).status is DeliveryStatus.FAILED
        attempts_made = await stage.thread.run(stage.books.attempts, [delivery.id])
        assert len(attempts_made[delivery.id]) == 10

    play(tmp_path, scene)


def test_after_a_restart_what_was_pending_goes_on_where_it_was(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (retried,) = stage.store("one")
        stage.script.answers["one"] = [BROKEN, OK]
        async with running(stage) as dispatcher:
            dispatcher.offer([retried])
            await quiet(dispatcher)
        (fresh,) = stage.store("two")
        stage.dispatcher = stage.new_dispatcher()
        async with running(stage) as dispatcher:
            await until(lambda: len(stage.script.sent) == 2, "what was never tried")
            await asyncio.sleep(0.03)
            assert [target for target, _, _ in stage.script.sent] == ["one", "two"]
            stage.clock.at += 6 * SECOND
            await until(lambda: len(stage.script.sent) == 3, "the retry")
            await quiet(dispatcher)
        assert (await stage.read(retried)).status is DeliveryStatus.DELIVERED
        assert (await stage.read(fresh)).status is DeliveryStatus.DELIVERED

    play(tmp_path, scene)


def test_an_endpoint_that_does_not_answer_delays_no_other(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        never: asyncio.Event = asyncio.Event()

        async def hang() -> Sent:
            await never.wait()
            return OK

        stage.script.answers["one"] = hang
        async with running(stage) as dispatcher:
            dispatcher.offer(stage.store(*["one"] * 50))
            dispatcher.offer(stage.store(*["two"] * 50))
            await until(
                lambda: [t for t, _, _ in stage.script.sent].count("two") == 50, "the others"
            )
            assert [t for t, _, _ in stage.script.sent].count("one") == PER_RECEIVER
            never.set()
            await until(lambda: len(stage.script.sent) == 100, "the rest")
            await quiet(dispatcher)

    play(tmp_path, scene)


def test_more_than_fits_in_memory_is_fetched_from_the_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_delivery, "MAX_QUEUED", 7)

    async def scene(stage: Stage) -> None:
        async with running(stage) as dispatcher:
            dispatcher.offer(stage.store(*["one"] * 100))
            await until(lambda: len(stage.script.sent) >= 100, "all of them")
            await quiet(dispatcher)
            await asyncio.sleep(0.05)
        messages = [message for _, message, _ in stage.script.sent]
        assert len(messages) == len(set(messages)) == 100, "each exactly once"
        assert stage.script.most_running <= PER_RECEIVER

    play(tmp_path, scene)


def test_410_disables_the_endpoint_and_tells_the_others(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.script.answers["one"] = Sent(410, "The endpoint answered 410.", is_gone=True)
        first, *_ = made = stage.store(*["one"] * 20)
        async with running(stage) as dispatcher:
            dispatcher.offer(made)
            await until(lambda: len(stage.mail.sent) == 1, "the mail")
            await quiet(dispatcher)
            assert len([1 for t, _, _ in stage.script.sent if t == "one"]) <= PER_RECEIVER
            told = {t for t, _, _ in stage.script.sent} - {"one"}
            assert told == {"two", "three"}
        assert stage.webhook("one").disabled_reason == "gone"
        ((_, stored), *_) = await stage.thread.run(stage.books.webhooks)
        assert stored == stage.webhook("one")
        assert (await stage.read(first)).status is DeliveryStatus.FAILED
        assert (await stage.read(made[-1])).status is DeliveryStatus.FAILED
        (notice, *_) = await stage.thread.run(lambda: stage.books.notices(NS, limit=9))
        data = msgspec.json.decode(notice.payload)["data"]
        assert (notice.type, data["webhook"], data["reason"]) == ("webhook.disabled", "one", "gone")

    play(tmp_path, scene)


def test_failing_for_five_days_without_one_success_disables_an_endpoint(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.script.answers["one"] = BROKEN
        async with running(stage) as dispatcher:
            for day in range(6):
                stage.clock.at = AT + day * DAY
                assert stage.webhook("one").is_enabled, f"day {day}"
                dispatcher.offer(stage.store("one"))
                await quiet(dispatcher)
        assert stage.webhook("one").disabled_reason == "failing"
        assert stage.webhook("one").failing_since == AT

    play(tmp_path, scene)


def test_one_success_begins_the_five_days_anew(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.script.answers["one"] = BROKEN
        async with running(stage) as dispatcher:
            for day in range(9):
                stage.clock.at = AT + day * DAY
                stage.script.answers["one"] = OK if day == 4 else BROKEN
                (made,) = stage.store("one")
                dispatcher.offer([made])
                await until(lambda m=made: any(one[1] == m.notice.id for one in stage.script.sent))
                await quiet(dispatcher)
                # What failed before is retried as well; it must not decide about day 4.
                await stage.thread.run(stage.books.forget_deliveries, AT + 99 * DAY)
                stage.dispatcher.drop(made.receiver)
        assert stage.webhook("one").is_enabled

    play(tmp_path, scene)


def test_an_endpoint_whose_url_was_changed_is_not_judged_by_an_attempt_at_the_old(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage) -> None:
        async def meanwhile() -> Sent:
            stage.put(Webhook("one", "https://new.example"))
            return Sent(410, "gone", is_gone=True)

        stage.script.answers["one"] = meanwhile
        async with running(stage) as dispatcher:
            dispatcher.offer(stage.store("one"))
            await quiet(dispatcher)
        assert stage.webhook("one").is_enabled
        assert stage.webhook("one").failing_since is None

    play(tmp_path, scene)


def test_an_endpoint_that_asks_for_less_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        busy = Sent(429, "busy", retry_after=60 * SECOND, is_busy=True)
        stage.script.answers["one"] = [busy, OK]
        async with running(stage) as dispatcher:
            dispatcher.offer(stage.store("one"))
            await quiet(dispatcher)
            dispatcher.offer(stage.store("one", "two"))
            await until(lambda: len(stage.script.sent) == 2, "the other endpoint")
            await asyncio.sleep(0.02)
            assert [t for t, _, _ in stage.script.sent] == ["one", "two"]
            stage.clock.at += MINUTE
            await until(lambda: len(stage.script.sent) == 4, "both that waited")
            await quiet(dispatcher)

    play(tmp_path, scene)


def test_what_cannot_succeed_is_not_tried_again(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (delivery,) = stage.store("nobody@example.com", channel=Channel.EMAIL)
        stage.mail.answers["nobody@example.com"] = Sent(550, "no such user", is_hopeless=True)
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            await quiet(dispatcher)
        assert (await stage.read(delivery)).status is DeliveryStatus.FAILED

    play(tmp_path, scene)


def test_nothing_is_sent_to_a_disabled_or_deleted_endpoint(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.put(Webhook("one", "https://one.example", disabled_at=AT))
        async with running(stage) as dispatcher:
            dispatcher.offer(stage.store("one", "unknown"))
            await quiet(dispatcher)
        assert stage.script.sent == []

    play(tmp_path, scene)


def test_a_full_disk_delays_the_record_and_does_not_repeat_the_attempt(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (delivery,) = stage.store("one")
        real, tries = stage.books.record, []

        def record(*args: Any) -> None:
            tries.append(1)
            if len(tries) < 4:
                raise Unavailable("storage_full", "The disk is full.")
            real(*args)

        stage.books.record = record  # type: ignore[method-assign]
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            await quiet(dispatcher)
        assert len(tries) == 4
        assert len(stage.script.sent) == 1
        assert (await stage.read(delivery)).status is DeliveryStatus.DELIVERED

    play(tmp_path, scene)


def test_a_sender_that_breaks_is_a_failed_attempt_like_any_other(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        async def crash() -> Sent:
            raise RuntimeError("a defect")

        stage.script.answers["one"] = crash
        (delivery,) = stage.store("one")
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            await quiet(dispatcher)
        found = await stage.read(delivery)
        assert (found.status, found.failures) == (DeliveryStatus.PENDING, 1)

    play(tmp_path, scene)


def test_stopping_lets_attempts_under_way_finish_and_begins_no_more(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        async def take_a_while() -> Sent:
            await asyncio.sleep(0.05)
            return OK

        stage.script.answers["one"] = take_a_while
        made = stage.store(*["one"] * 50)
        async with running(stage) as dispatcher:
            dispatcher.offer(made)
            await until(lambda: stage.script.running == PER_RECEIVER)
        assert len(stage.script.sent) == PER_RECEIVER
        states = [(await stage.read(one)).status for one in made]
        assert states.count(DeliveryStatus.DELIVERED) == PER_RECEIVER

    play(tmp_path, scene)


def test_stopping_cuts_attempts_short_and_they_are_made_again(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        async def hang() -> Sent:
            await asyncio.sleep(3600)
            return OK

        stage.script.answers["one"] = hang
        (delivery,) = stage.store("one")
        async with running(stage) as dispatcher:
            dispatcher.offer([delivery])
            await until(lambda: stage.script.running == 1)
        assert (await stage.read(delivery)).status is DeliveryStatus.PENDING
        stage.script.answers["one"] = OK
        stage.dispatcher = stage.new_dispatcher()
        async with running(stage) as dispatcher:
            await until(lambda: len(stage.script.sent) == 2)
            await quiet(dispatcher)
        assert (await stage.read(delivery)).status is DeliveryStatus.DELIVERED

    play(tmp_path, scene)


def test_receivers_that_wait_for_nothing_are_forgotten(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        made = stage.store(*(f"a{n}@example.com" for n in range(50)), channel=Channel.EMAIL)
        async with running(stage) as dispatcher:
            dispatcher.offer(made)
            await quiet(dispatcher)
            await until(lambda: not dispatcher._lanes, "forgetting")
        assert len(stage.mail.sent) == 50

    play(tmp_path, scene)


def test_offering_twice_sends_once(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        made = stage.store("one")
        async with running(stage) as dispatcher:
            dispatcher.offer(made)
            dispatcher.offer(made)
            dispatcher.wake(Receiver(NS, Channel.WEBHOOK, "one"))
            await asyncio.sleep(0.05)
            await quiet(dispatcher)
        assert len(stage.script.sent) == 1

    play(tmp_path, scene)
