"""
Delivery: every notice to each of its receivers, however long that takes them to answer.

A receiver has a queue and a bound of its own, so one that is slow or away delays no other. What is
due now is in memory; what is tried again later is in the books only, and fetched when its time has
come. An attempt counts when it is recorded: after a crash, one that was not is made again, with the
same message id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from taximeter.errors import TaximeterError
from taximeter.instants import SECOND, format_instant
from taximeter.notices import webhook as webhooks
from taximeter.notices.delivery import Attempt, Channel, Delivery, DeliveryStatus, Receiver
from taximeter.notices.notice import WEBHOOK_DISABLED, new_notice
from taximeter.notices.schedule import GIVE_UP_ON_ENDPOINT_AFTER, next_attempt_at
from taximeter.notices.signature import in_force
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Clock, Disabling, Outcome, Sender, Sent
from taximeter.services.core import BooksThread
from taximeter.services.notices.board import Board
from taximeter.services.telemetry import Histogram

logger = logging.getLogger(__name__)

PER_RECEIVER = 8
MAX_RUNNING = 256
MAX_QUEUED = 1000
TICK_S = 0.25
BUSY_PAUSE = 5 * SECOND
LONGEST_BUSY_PAUSE = 300 * SECOND
TRY_BOOKS_AGAIN_S = 1.0
LAST_RECORDS_S = 2.0
GRACE_S = 2.0


class _Lane:
    """
    What one receiver waits for.

    Attributes:
        known: Ids of what is queued or under way, or made and not recorded yet.
        wake_at: When the books have something due that is not known here; None: nothing.
        paused_until: It asked to be sent less.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.queue: deque[Delivery] = deque()
        self.known: set[str] = set()
        self.running = 0
        self.wake_at: int | None = None
        self.paused_until = 0
        self.is_fetching = False

    def wake(self, at: int) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    @property
    def is_idle(self) -> bool:
        return not self.known and self.wake_at is None and not self.is_fetching


class Dispatcher:
    """
    Attributes:
        attempts: (channel, outcome) -> how many, since the start.
        first_seconds: From what was noticed to the first attempt at telling.
    """

    def __init__(
        self, board: Board, books: BooksThread, clock: Clock, senders: Mapping[Channel, Sender]
    ) -> None:
        self._board = board
        self._books = books
        self._clock = clock
        self._senders = senders
        self._lanes: dict[Receiver, _Lane] = {}
        self._running = 0
        self._outcomes: list[tuple[_Lane, Outcome]] = []
        self._disablings: list[Disabling] = []
        self._recordable = asyncio.Event()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._noticed: dict[str, float] = {}
        self.attempts: dict[tuple[str, str], int] = {}
        self.first_seconds = Histogram()

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on with everything that was pending."""
        now = self._clock.now()
        for receiver in await self._books.run(self._books.books.pending_receivers):
            self._lane(receiver).wake(now)
        self._loops = [asyncio.create_task(self._tick()), asyncio.create_task(self._record())]

    async def stop(self) -> None:
        """
        Begin no more attempts, and wait a little for those under way. One that is cut short is
        made again after the next start.
        """
        self._is_stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_S)
        running = [*self._tasks, *self._loops[:1]]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        deadline = time.monotonic() + LAST_RECORDS_S
        while (self._outcomes or self._disablings) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for task in self._loops[1:]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # --- queues -----------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Deliveries that are due and not made."""
        return sum(len(lane.known) for lane in self._lanes.values())

    def offer(self, deliveries: Iterable[Delivery], noticed: float | None = None) -> None:
        """
        Deliver what is due, and in the books, now.

        Args:
            noticed: When it was noticed, by `time.perf_counter`, if this is the first attempt.
        """
        touched = {}
        for delivery in deliveries:
            lane = self._lane(delivery.receiver)
            touched[delivery.receiver] = lane
            if delivery.id in lane.known:
                continue
            if len(lane.queue) < MAX_QUEUED:
                lane.queue.append(delivery)
                lane.known.add(delivery.id)
                if noticed is not None:
                    self._noticed[delivery.id] = noticed
            else:
                lane.wake(self._clock.now())
        for lane in touched.values():
            self._pump(lane)

    def drop(self, receiver: Receiver) -> None:
        """Forget what waits for a receiver: it was disabled or deleted."""
        lane = self._lanes.get(receiver)
        if lane is not None:
            for delivery in lane.queue:
                lane.known.discard(delivery.id)
                self._noticed.pop(delivery.id, None)
            lane.queue.clear()
            lane.wake_at = None

    def wake(self, receiver: Receiver) -> None:
        """See what is pending for a receiver: it was enabled again."""
        self._lane(receiver).wake(self._clock.now())

    def next_attempt(self, delivery_id: str) -> asyncio.Future[None]:
        """Resolves when the next attempt of a delivery has been recorded."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(delivery_id, []).append(future)
        return future

    def _lane(self, receiver: Receiver) -> _Lane:
        lane = self._lanes.get(receiver)
        if lane is None:
            lane = self._lanes[receiver] = _Lane(receiver)
        return lane

    async def _tick(self) -> None:
        """Fetch what has become due. First attempts do not wait for this."""
        while True:
            now = self._clock.now()
            for lane in list(self._lanes.values()):
                if lane.wake_at is not None and lane.wake_at <= now and not lane.queue:
                    await self._fetch(lane, now)
                self._pump(lane)
                if lane.is_idle:
                    del self._lanes[lane.receiver]
            await asyncio.sleep(TICK_S)

    async def _fetch(self, lane: _Lane, now: int) -> None:
        # What comes in meanwhile is due as well, and waits for the next fetch behind this one.
        lane.is_fetching, lane.wake_at = True, None
        try:
            # Of those that are known, the books may say what was true before they were made.
            limit = MAX_QUEUED + len(lane.known)
            found: list[Delivery] = await self._books.run(
                self._books.books.pending_deliveries, lane.receiver, limit=limit
            )
        except TaximeterError as error:
            logger.warning("pending deliveries were not read: %s", error)
            lane.wake(now + SECOND)
            return
        finally:
            lane.is_fetching = False
        for delivery in found:
            assert delivery.next_at is not None, "it is pending"
            if delivery.id in lane.known:
                continue
            if delivery.next_at > now:
                lane.wake(delivery.next_at)
                break
            lane.queue.append(delivery)
            lane.known.add(delivery.id)
        else:
            if len(found) >= limit:
                lane.wake(now)

    def _pump(self, lane: _Lane) -> None:
        while (
            lane.queue
            and not self._is_stopping
            and lane.running < PER_RECEIVER
            and self._running < MAX_RUNNING
            and lane.paused_until <= self._clock.now()
        ):
            lane.running += 1
            self._running += 1
            task = asyncio.create_task(self._attempt(lane, lane.queue.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # --- one attempt ------------------------------------------------------------------------

    async def _attempt(self, lane: _Lane, delivery: Delivery) -> None:
        is_done = False
        noticed = self._noticed.pop(delivery.id, None)
        try:
            webhook = self._webhook_of(delivery)
            if delivery.receiver.channel is Channel.WEBHOOK and (
                webhook is None or not webhook.is_enabled
            ):
                return
            started, began = self._clock.now(), time.perf_counter()
            if noticed is not None:
                self.first_seconds.observe(began - noticed)
            sent = await self._send(delivery, webhook)
            attempt = Attempt(
                started,
                int((time.perf_counter() - began) * 1000),
                sent.status,
                sent.error,
                sent.response,
            )
            self._conclude(lane, delivery, webhook, attempt, sent)
            is_done = True
        finally:
            lane.running -= 1
            self._running -= 1
            if not is_done:
                lane.known.discard(delivery.id)
            self._pump(lane)

    def _webhook_of(self, delivery: Delivery) -> Webhook | None:
        receiver = delivery.receiver
        return self._board.webhooks(receiver.namespace).get(receiver.target)

    async def _send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        if webhook is not None:
            secrets = in_force(webhook.secrets, self._clock.now())
            webhook = msgspec.structs.replace(webhook, secrets=secrets)
        try:
            return await self._senders[delivery.receiver.channel].send(delivery, webhook)
        except Exception:
            logger.exception("an attempt broke", extra={"delivery": delivery.id})
            return Sent(error="Something went wrong on our side.")

    def _conclude(
        self,
        lane: _Lane,
        delivery: Delivery,
        webhook: Webhook | None,
        attempt: Attempt,
        sent: Sent,
    ) -> None:
        now = self._clock.now()
        moved = _moved(delivery, sent, now)
        self._count(delivery.receiver.channel, sent)
        failing_since = self._judge(webhook, delivery, sent, now)
        if sent.is_busy:
            pause = min(max(sent.retry_after, BUSY_PAUSE), LONGEST_BUSY_PAUSE)
            lane.paused_until = max(lane.paused_until, now + pause)
        self._outcomes.append((lane, Outcome(moved, attempt, failing_since)))
        self._recordable.set()

    def _count(self, channel: Channel, sent: Sent) -> None:
        key = (channel.value, "success" if sent.error is None else "failure")
        self.attempts[key] = self.attempts.get(key, 0) + 1

    def _judge(
        self, attempted: Webhook | None, delivery: Delivery, sent: Sent, now: int
    ) -> int | None:
        """How the endpoint is doing; gives it up when it is gone, or has failed for days."""
        webhook = self._webhook_of(delivery)
        if attempted is None or webhook is None:
            return None
        if webhook.url != attempted.url or not webhook.is_enabled:
            return webhook.failing_since  # it is another one by now
        namespace = delivery.receiver.namespace
        since = None if sent.error is None else webhook.failing_since or now
        webhook = msgspec.structs.replace(webhook, failing_since=since)
        self._board.set_webhook(namespace, webhook)
        if sent.is_gone:
            self._give_up(namespace, webhook, webhooks.GONE, sent, now)
        elif since is not None and now - since >= GIVE_UP_ON_ENDPOINT_AFTER:
            self._give_up(namespace, webhook, webhooks.FAILING, sent, now)
        return since

    def _give_up(self, namespace: str, webhook: Webhook, reason: str, sent: Sent, now: int) -> None:
        disabled = msgspec.structs.replace(webhook, disabled_at=now, disabled_reason=reason)
        self._board.set_webhook(namespace, disabled)
        since = webhook.failing_since
        notice = new_notice(
            namespace,
            WEBHOOK_DISABLED,
            None,
            {
                "webhook": webhook.id,
                "reason": reason,
                "status": sent.status,
                "error": sent.error,
                "failing_since": None if since is None else format_instant(since),
            },
            f"webhook/{webhook.id}/disabled/{now}",
            now,
        )
        deliveries = self._board.deliveries(notice, webhook.email, now, about=webhook.id)
        audit = AuditEntry(
            0, namespace, now, "system", "webhook.disable", webhook.id, {"reason": reason}
        )
        self.drop(Receiver(namespace, Channel.WEBHOOK, webhook.id))
        self._disablings.append(Disabling(namespace, disabled, notice, deliveries, audit))
        logger.warning(
            "a webhook is disabled",
            extra={"namespace": namespace, "webhook": webhook.id, "reason": reason},
        )

    # --- recording --------------------------------------------------------------------------

    async def _record(self) -> None:
        """Everything that has happened since the last time, in one transaction."""
        while True:
            await self._recordable.wait()
            self._recordable.clear()
            done, disablings = self._outcomes[:], self._disablings[:]
            try:
                async with self._board.lock:
                    await self._books.run(
                        self._books.books.record, [one for _, one in done], disablings
                    )
            except Exception as error:
                is_expected = isinstance(error, TaximeterError)
                logger.warning("attempts were not recorded", exc_info=not is_expected)
                await asyncio.sleep(TRY_BOOKS_AGAIN_S)
                self._recordable.set()
                continue
            del self._outcomes[: len(done)], self._disablings[: len(disablings)]
            for lane, outcome in done:
                self._recorded(lane, outcome.delivery)
            for disabling in disablings:
                self.offer(disabling.deliveries)

    def _recorded(self, lane: _Lane, delivery: Delivery) -> None:
        lane.known.discard(delivery.id)
        webhook = self._webhook_of(delivery)
        if delivery.next_at is not None and (webhook is None or webhook.is_enabled):
            # The lane may have been idle and dropped meanwhile; another may be in its place.
            self._lane(lane.receiver).wake(delivery.next_at)
        for future in self._waiters.pop(delivery.id, ()):
            if not future.done():
                future.set_result(None)


def _moved(delivery: Delivery, sent: Sent, now: int) -> Delivery:
    """The delivery after an attempt."""
    if sent.error is None:
        return msgspec.structs.replace(
            delivery, status=DeliveryStatus.DELIVERED, next_at=None, resolved_at=now
        )
    failures = delivery.failures + 1
    next_at = None
    if not (sent.is_gone or sent.is_hopeless):
        next_at = next_attempt_at(delivery.id, failures, now, sent.retry_after)
    if next_at is None:
        return msgspec.structs.replace(
            delivery,
            status=DeliveryStatus.FAILED,
            failures=failures,
            next_at=None,
            resolved_at=now,
        )
    return msgspec.structs.replace(delivery, failures=failures, next_at=next_at)
