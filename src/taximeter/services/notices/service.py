"""
Notices: from what was noticed to those who want to know.

What is noticed is on its way at once: looked at in the turn of the loop in which it happened,
stored with its deliveries in one transaction as soon as the events behind it are on disk, and then
offered to the senders without waiting for any clock. What could not be stored is kept and tried
again, so a full disk delays notices and loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from taximeter.errors import Refused, Rejected, TaximeterError
from taximeter.instants import DAY
from taximeter.notices.crossings import Change
from taximeter.notices.delivery import Channel, Delivery
from taximeter.notices.notice import Notice, new_notice
from taximeter.ports import Sender, StoredMark
from taximeter.services.notices.board import Board
from taximeter.services.notices.delivery import Dispatcher
from taximeter.services.notices.watch import Reader, Watch

if TYPE_CHECKING:
    from taximeter.services.core import Core
    from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

Listener = Callable[[Notice], object]

MAX_BATCH = 1000
TRY_AGAIN_S = 1.0
LAST_WORDS_S = 2.0
DELIVERIES_KEPT = 30 * DAY
FORGET_EVERY_S = 3600.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class _Draft(msgspec.Struct, frozen=True):
    """What the next transaction stores."""

    notices: tuple[Notice, ...]
    email: tuple[str, ...]
    mark: StoredMark | None
    noticed: float


class NoticeService:
    """
    Attributes:
        board: The alerts and webhooks.
        delivery: Where notices are sent from.
        published: Type -> how many notices were stored since the start.

    Args:
        senders: One for each channel; mail may be absent.
        read: A customer's numbers at an instant, for the alerts.
    """

    def __init__(self, core: Core, senders: Mapping[Channel, Sender], read: Reader) -> None:
        self._core = core
        self._senders = senders
        self.board = Board(core.books)
        self.delivery = Dispatcher(self.board, core.books, core.clock, senders)
        self.watch = Watch(self.board, core.tenants, core.clock, read, self._found)
        self.published: dict[str, int] = {}
        self._drafts: list[_Draft] = []
        self._drafted = asyncio.Event()
        self._told = self._stored = 0  # how many drafts there were, and how many are in the books
        self._progress = asyncio.Condition()
        self._listeners: dict[str, set[tuple[str | None, Listener]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def sends_mail(self) -> bool:
        return Channel.EMAIL in self._senders

    def load(self) -> None:
        """Read what is configured; before `start`, without a loop."""
        books = self._core.books.books
        self.board.load(books)
        self.watch.load(books.alert_marks())

    async def start(self) -> None:
        """Look at everybody once: what was crossed before a crash may not have been told."""
        await self.delivery.start()
        self._tasks = [
            asyncio.create_task(self._write()),
            asyncio.create_task(self.watch.run()),
            asyncio.create_task(self._forget_deliveries()),
        ]
        self._core.sequencer.on_touched = self.watch.touched
        self.watch.start()

    async def stop(self) -> None:
        """Store what was noticed, and end. What was not sent is sent after the next start."""
        self._core.sequencer.on_touched = None
        self.watch.stop()
        deadline = time.monotonic() + LAST_WORDS_S
        while self._drafts and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.delivery.stop()
        for sender in self._senders.values():
            await sender.close()

    # --- telling ----------------------------------------------------------------------------

    def publish(
        self,
        namespace: str,
        type: str,
        customer: str | None,
        data: dict[str, Any],
        key: str,
        *,
        email: Sequence[str] = (),
    ) -> Notice:
        """
        Tell something. Returns at once; it is stored as soon as what was submitted to the log
        until now is on disk.

        Args:
            data: Plain JSON values; quantities and money as text.
            key: Two notices of a namespace with the same key are one.
            email: Who is told by mail, beside the webhooks.
        """
        notice = new_notice(namespace, type, customer, data, key, self._core.clock.now())
        self._draft(_Draft((notice,), tuple(email), None, time.perf_counter()))
        return notice

    async def settled(self) -> None:
        """Wait until everything told so far is in the books."""
        told = self._told
        async with self._progress:
            await self._progress.wait_for(lambda: self._stored >= told)

    def _found(self, namespace: str, customer: str, news: list[Change], now: int) -> None:
        """What the watch has found of one customer."""
        noticed = time.perf_counter()
        for change in news:
            crossing = change.crossing
            notices: tuple[Notice, ...] = ()
            if crossing is not None:
                made = new_notice(
                    namespace, crossing.type, customer, crossing.data, crossing.key, now
                )
                notices = (made,)
            mark = None
            if change.mark.times:
                mark = StoredMark(namespace, customer, change.place, change.mark)
            alert = self.board.alerts(namespace).get(change.place.alert)
            email = () if alert is None else alert.email
            self._draft(_Draft(notices, email, mark, noticed))

    def _draft(self, draft: _Draft) -> None:
        self._drafts.append(draft)
        self._told += 1
        self._drafted.set()

    # --- storing ----------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._drafted.wait()
            self._drafted.clear()
            while self._drafts:
                batch = self._drafts[:MAX_BATCH]
                try:
                    await self._store(batch)
                except Exception as error:
                    if not isinstance(error, TaximeterError):
                        logger.exception("notices were not stored")
                    else:
                        logger.warning("notices were not stored: %s", error)
                    await asyncio.sleep(TRY_AGAIN_S)
                else:
                    del self._drafts[: len(batch)]
                    async with self._progress:
                        self._stored += len(batch)
                        self._progress.notify_all()

    async def _store(self, batch: list[_Draft]) -> None:
        # Nobody is told of usage that a crash could still take back.
        await self._core.committer.flushed()
        now = self._core.clock.now()
        stored: list[tuple[Notice, tuple[Delivery, ...]]] = []
        noticed: dict[str, float] = {}
        for draft in batch:
            for notice in draft.notices:
                email = draft.email if self.sends_mail else ()
                stored.append((notice, self.board.deliveries(notice, email, now)))
                noticed[notice.id] = draft.noticed
        marks = [draft.mark for draft in batch if draft.mark is not None]
        fresh = await self._core.books.run(self._core.books.books.add_notices, stored, marks)
        for notice, deliveries in stored:
            if notice.id in fresh:
                fresh.discard(notice.id)  # the same one twice in a batch is told once
                self.delivery.offer(deliveries, noticed[notice.id])
                self._tell(notice)

    def _tell(self, notice: Notice) -> None:
        self.published[notice.type] = self.published.get(notice.type, 0) + 1
        for customer, listener in list(self._listeners.get(notice.namespace, ())):
            if customer in (None, notice.customer):
                listener(notice)

    @contextmanager
    def listening(self, namespace: str, customer: str | None, listener: Listener) -> Iterator[None]:
        """Call `listener` with each notice, of one customer or of all, as it is stored."""
        entry = (customer, listener)
        self._listeners.setdefault(namespace, set()).add(entry)
        try:
            yield
        finally:
            self._listeners[namespace].discard(entry)

    async def _forget_deliveries(self) -> None:
        """The log of deliveries is kept for a month; notices are kept."""
        while True:
            before = self._core.clock.now() - DELIVERIES_KEPT
            try:
                await self._core.books.run(self._core.books.books.forget_deliveries, before)
            except TaximeterError as error:
                logger.warning("old deliveries were not removed: %s", error)
            await asyncio.sleep(FORGET_EVERY_S)


def publish(
    core: Core, tenant: Tenant, type: str, customer: str | None, data: dict[str, Any], key: str
) -> None:
    """
    Tell something that happened in a namespace; see `NoticeService.publish`.

    Without a notice service (a replay, a test of something else) nobody is told.
    """
    if core.notices is not None:
        core.notices.publish(tenant.name, type, customer, data, key)


def require_mail(notices: NoticeService, email: tuple[str, ...]) -> None:
    if email and not notices.sends_mail:
        raise Refused(
            "mail_not_configured",
            "email: this server sends no mail; start it with TAXIMETER_SMTP_URL.",
        )


def check_id(text: str, code: str) -> None:
    if not _ID.fullmatch(text):
        raise Rejected(code, "id: 1 to 64 letters, digits, - _ and . with a letter or digit first.")
