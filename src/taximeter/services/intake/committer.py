"""
Group commit: many requests, one sync.

Entries are collected while the previous frame is being written by the one writer thread; when it
is durable, everything collected meanwhile becomes the next frame. So a lone request waits for one
sync, and under load one sync serves thousands of events, without a timer or a tuning knob.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice

from taximeter.errors import TaximeterError, Unavailable
from taximeter.events.entry import Entry
from taximeter.ports import EventLog

logger = logging.getLogger(__name__)

RETRY_FULL_DISK_S = 1.0
MAX_FRAME_BYTES = 64 * 1024 * 1024

Done = Callable[[TaximeterError | None], None]
"""Told what became of an entry; never raises."""


def _nobody(_error: TaximeterError | None) -> None:
    """Whoever waited for this entry has been told that the disk was full."""


class Barriers:
    """Those who wait until a number is reached."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def wait(self, number: int) -> None:
        barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, barrier))
        await barrier

    def reach(self, number: int) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for wanted, barrier in waiting:
                if wanted > number:
                    self._waiting.append((wanted, barrier))
                elif not barrier.done():
                    barrier.set_result(None)

    def give_up(self, error: TaximeterError | None) -> None:
        """Let everybody go on, or fail."""
        waiting, self._waiting = self._waiting, []
        for _, barrier in waiting:
            if not barrier.done():
                barrier.set_result(None) if error is None else barrier.set_exception(error)


class Committer:
    """
    Makes sequenced entries durable in order and tells their senders.

    Sequenced entries have been decided and folded already, so they can only be written, never
    taken back. If the disk is full their senders get `storage_full`, and the same entries are
    written when there is room again: a sender that repeats the request then hears "duplicate".
    After any other failure nothing is acknowledged any more (a failed sync is never retried as if
    it were good): only a restart, which rebuilds from what is durable, can tell the truth again.

    Args:
        max_pending_bytes: Bodies waiting for the disk beyond which `admit` refuses.
        on_commit: Called with (position, entries, seconds) after each durable frame.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        max_pending_bytes: int = 128 * 1024 * 1024,
        on_commit: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self._log = log
        self._max_pending_bytes = max_pending_bytes
        self._on_commit = on_commit
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="log-writer")
        self._pending: list[Entry] = []
        self._waiters: list[Done] = []
        self._pending_bytes = 0
        self._submitted = self._written = 0  # entries
        self._durable, self._settled, self._flushed = Barriers(), Barriers(), Barriers()
        self._busy = False
        self.full: TaximeterError | None = None
        self.failure: TaximeterError | None = None
        self.position = log.position

    def admit(self) -> None:
        """
        Refuse work early when its acknowledgement could not be given.

        Raises:
            Unavailable: The log has failed, the disk is full, or too much waits for it.
        """
        if self.failure is not None or self.full is not None:
            self.ready()
        if self._pending_bytes > self._max_pending_bytes:
            raise Unavailable("overloaded", "Too many events wait for the disk.", retry_after_s=1)

    def ready(self) -> None:
        """Raise `storage_failed` or `storage_full` while nothing can be acknowledged."""
        for error in (self.failure, self.full):
            if error is not None:
                raise error

    def submit(self, entry: Entry, done: Done) -> None:
        """Queue an entry; `done` is called with None once it is on disk, or with the error."""
        self._pending.append(entry)
        self._waiters.append(done)
        self._submitted += 1
        self._pending_bytes += entry.size
        if not self._busy:
            # One turn of the loop later: requests that arrived together share the frame.
            self._busy = True
            asyncio.get_running_loop().call_soon(self._start)

    async def durable(self, position: int) -> None:
        """
        Wait until `position` is on disk, also through a time when the disk is full.

        Raises:
            Unavailable: `storage_failed`: it never will be.
        """
        if self.position < position:
            if self.failure is not None:
                raise self.failure
            await self._durable.wait(position)

    async def settled(self, position: int) -> bool:
        """
        Wait until `position` is on disk, or cannot be for now.

        Returns:
            Whether it is.
        """
        if self.position < position and self.failure is None and self.full is None:
            await self._settled.wait(position)
        return self.position >= position

    async def flushed(self) -> None:
        """
        Wait until all entries submitted so far are on disk, those without accepted events too.

        Raises:
            Unavailable: `storage_failed`.
        """
        if self._written < self._submitted:
            if self.failure is not None:
                raise self.failure
            await self._flushed.wait(self._submitted)

    async def close(self) -> None:
        """Write what is pending, then stop the writer."""
        while self._busy and self.failure is None and self.full is None:
            await asyncio.sleep(0.001)
        self._executor.shutdown(wait=True)

    def _start(self) -> None:
        if not self._pending or self.failure is not None:
            self._fail(self._waiters, self.failure)
            self._waiters = []
            self._busy = False
            return
        entries, waiters = self._take()
        started = time.perf_counter()
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, self._log.append, entries
        )
        future.add_done_callback(lambda done: self._finish(done, entries, waiters, started))

    def _take(self) -> tuple[list[Entry], list[Done]]:
        """What goes into the next frame: nearly always everything. A full disk piles up more."""
        count = len(self._pending)
        if self._pending_bytes > MAX_FRAME_BYTES:
            sizes = accumulate(entry.size for entry in self._pending)
            count = 1 + sum(size <= MAX_FRAME_BYTES for size in islice(sizes, 1, None))
        taken, waiters = self._pending[:count], self._waiters[:count]
        self._pending, self._waiters = self._pending[count:], self._waiters[count:]
        self._pending_bytes = sum(entry.size for entry in self._pending)
        return taken, waiters

    def _finish(
        self,
        done: asyncio.Future[int],
        entries: list[Entry],
        waiters: list[Done],
        started: float,
    ) -> None:
        error = done.exception()
        if error is None:
            self._written += len(entries)
            self._acknowledge(done.result(), waiters)
            self._tell(len(entries), time.perf_counter() - started)
        elif isinstance(error, TaximeterError) and error.code == "storage_full":
            self._wait_for_room(error, entries, waiters)
            return
        else:
            self._stop_for_good(error)
            self._fail(waiters, self.failure)
        self._start()

    def _tell(self, entries: int, seconds: float) -> None:
        """Whatever goes wrong with those who are told, the next frame has to be written."""
        if self._on_commit is not None:
            try:
                self._on_commit(self.position, entries, seconds)
            except Exception:
                logger.exception("a commit was not followed up")

    def _acknowledge(self, position: int, waiters: list[Done]) -> None:
        self.position = position
        self.full = None
        for done in waiters:
            done(None)
        self._durable.reach(position)
        self._settled.reach(position)
        self._flushed.reach(self._written)

    def _wait_for_room(
        self, error: TaximeterError, entries: list[Entry], waiters: list[Done]
    ) -> None:
        if self.full is None:
            logger.error("the disk is full; events are refused until there is room")
        self.full = error
        self._fail(waiters + self._waiters, error)
        self._pending = entries + self._pending
        self._pending_bytes += sum(entry.size for entry in entries)
        self._waiters = [_nobody] * len(self._pending)
        self._settled.give_up(None)
        asyncio.get_running_loop().call_later(RETRY_FULL_DISK_S, self._start)

    def stop(self, error: BaseException) -> TaximeterError:
        """Acknowledge nothing from now on; returns the error everybody is told."""
        self._stop_for_good(error)
        assert self.failure is not None
        return self.failure

    def _stop_for_good(self, error: BaseException) -> None:
        if isinstance(error, TaximeterError):
            self.failure = error
        else:
            self.failure = Unavailable(
                "storage_failed", "The log could not be written; restart to recover."
            )
        logger.critical("the log cannot be written; no event is acknowledged", exc_info=error)
        self._durable.give_up(self.failure)
        self._flushed.give_up(self.failure)
        self._settled.give_up(None)

    @staticmethod
    def _fail(waiters: list[Done], error: TaximeterError | None) -> None:
        for done in waiters:
            done(error)
