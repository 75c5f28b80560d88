"""
The engine: everything of a meter that belongs to one process. After a fork the child gets a new
one; the old one's threads, connections, leases and undelivered events are the parent's.
"""

from __future__ import annotations

import atexit
import logging
import sys
import time
from dataclasses import replace
from typing import Any, Final

from taximeter_sdk import clock
from taximeter_sdk.backoff import pause_s
from taximeter_sdk.breaker import Breaker
from taximeter_sdk.catalogue import Catalogue
from taximeter_sdk.delivery import Delivery
from taximeter_sdk.errors import Rejected, TaximeterError, Unavailable
from taximeter_sdk.holds import Hold
from taximeter_sdk.keeper import Keeper
from taximeter_sdk.leases import Leases
from taximeter_sdk.options import Options
from taximeter_sdk.outbox import Outbox
from taximeter_sdk.spool import Spool
from taximeter_sdk.stats import Stats
from taximeter_sdk.transport import AsyncTransport, Call, Transport

log = logging.getLogger("taximeter_sdk")

LEARN_EVERY_S: Final = 300.0
LEARN_AGAIN_S: Final = 30.0
DELIVERY_TIMEOUT_S: Final = 10.0
"""Batches may take longer than an application would wait."""
TRIES: Final = 2


class Engine:
    def __init__(self, options: Options) -> None:
        self.options = options
        spool = (
            None
            if options.spool is None
            else Spool(options.spool, max_bytes=options.spool_bytes, fsync=options.fsync)
        )
        self.outbox = Outbox(
            batch_items=options.batch,
            max_items=options.max_events,
            max_bytes=options.max_bytes,
            overflow=options.overflow,
            block_s=options.block_s,
            spool=spool,
        )
        self.transport = Transport(options.target)
        self.async_transport = AsyncTransport(options.target)
        self.breaker = Breaker()
        self.keeper = Keeper()
        self.catalogue = Catalogue(self.transport.send)
        self.leases = Leases(
            options.lease,
            options.lease_ttl,
            self.transport.send,
            self.keeper,
            self.catalogue,
            self.complain,
        )
        self.delivery = Delivery(
            self.outbox,
            Transport(options.target._replace(timeout_s=DELIVERY_TIMEOUT_S)),
            self.catalogue,
            batch_bytes=1 << 20,
            linger_s=options.linger,
            on_reject=options.on_reject,
            on_leased=self.leases.on_answered,
        )
        self.holds: dict[str, Hold] = {}
        self._learn_at = 0.0
        self.keeper.each_tick(self._tick)
        self._closed = False
        self._ends_with_process = False
        self._complained: set[str] = set()

    # --- usage --------------------------------------------------------------------------------

    def put(self, kind: bytes, text: bytes) -> bool:
        kept = self.outbox.put(kind, text)
        self.start()
        return kept

    def start(self) -> None:
        """Deliver from now on, and what is left when the process ends."""
        self.delivery.start()
        self._end_with_process()

    def _end_with_process(self) -> None:
        # Not before there is something to do, since here a child of multiprocessing is itself.
        if self._ends_with_process or self._closed:
            return
        self._ends_with_process = True
        atexit.register(self._at_exit)
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            # Children of multiprocessing run their own finalisers and skip atexit.
            from multiprocessing.util import Finalize

            Finalize(None, self._at_exit, exitpriority=10)

    def _at_exit(self) -> None:
        self.close(self.options.exit_timeout)

    # --- the gate -----------------------------------------------------------------------------

    def before_asking(self) -> None:
        """Raises `Unavailable` at once while the server is known to be away."""
        if not self._learn_at:
            self.keeper.start()  # learns fail policies while there is somebody to learn from
            self._end_with_process()
        if self.breaker.is_open(clock.elapsed()):
            raise Unavailable("unreachable", "the server did not answer a moment ago")

    def ask(self, call: Call) -> Any:
        """
        Ask, and once more if that may help in time.

        Raises:
            TaximeterError: As `Transport.send`.
        """
        self.before_asking()
        deadline = time.monotonic() + self.options.timeout
        for attempt in range(1, TRIES + 1):
            left_s = max(0.001, deadline - time.monotonic())
            try:
                answer = self.transport.send(call, timeout_s=left_s)
            except Unavailable as error:
                wait_s = self.pause_before_retry(error, attempt, deadline)
                time.sleep(wait_s)
            except Rejected:
                self.breaker.succeeded()
                raise
            else:
                self.breaker.succeeded()
                return answer
        raise AssertionError("the last try raises")

    async def ask_async(self, call: Call) -> Any:
        """As `ask`."""
        import asyncio

        self.before_asking()
        deadline = time.monotonic() + self.options.timeout
        for attempt in range(1, TRIES + 1):
            left_s = max(0.001, deadline - time.monotonic())
            try:
                answer = await self.async_transport.send(call, timeout_s=left_s)
            except Unavailable as error:
                wait_s = self.pause_before_retry(error, attempt, deadline)
                await asyncio.sleep(wait_s)
            except Rejected:
                self.breaker.succeeded()
                raise
            else:
                self.breaker.succeeded()
                return answer
        raise AssertionError("the last try raises")

    def pause_before_retry(self, error: Unavailable, attempt: int, deadline: float) -> float:
        """Seconds to wait; raises the error instead if there is no time for another try."""
        if error.status != 500:  # a defect in one answer says nothing about the next
            self.breaker.failed(clock.elapsed(), error.retry_after_s)
        wait_s = pause_s(attempt, error.retry_after_s)
        if attempt == TRIES or time.monotonic() + wait_s >= deadline:
            raise error
        return wait_s

    def fails_open(self, feature: str) -> bool:
        """Whether the fail policy allows what nobody can decide."""
        fail = self.options.fail_of(feature) or self.catalogue.fail_of(feature)
        return fail == "open"

    def complain(self, error: Exception) -> None:
        """Note what went wrong; log a refusal of the server the first time."""
        self.outbox.stats.last_error = str(error)
        if isinstance(error, Rejected) and error.code not in self._complained:
            self._complained.add(error.code)
            log.error("the server refuses: %s", error)

    # --- holds --------------------------------------------------------------------------------

    def keep(self, hold: Hold) -> Hold:
        """Renew its time until it is dropped."""
        self.holds[hold.id] = hold
        self.keeper.start()
        return hold

    def _tick(self) -> None:
        now = clock.elapsed()
        for hold in list(self.holds.values()):
            hold.tick(now)
        if now >= self._learn_at:
            self._learn(now)

    def _learn(self, now: float) -> None:
        try:
            self.catalogue.refresh()
        except TaximeterError as error:
            self._learn_at = now + LEARN_AGAIN_S
            self.complain(error)
        else:
            self._learn_at = now + LEARN_EVERY_S

    # --- the whole ----------------------------------------------------------------------------

    def stats(self) -> Stats:
        with self.outbox.changed:
            return replace(self.outbox.stats, buffered=self.outbox.buffered)

    def flush(self, timeout_s: float) -> bool:
        return self.delivery.flush(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """
        Deliver, give leases back, and stop. True if everything was delivered; what was not stays
        in the spool, or is dropped and counted.
        """
        if self._closed:
            return True
        self._closed = True
        delivered = self.outbox.is_empty() or self.flush(timeout_s)
        # After its usage, or not at all: what is on its way must find its lease open.
        self.leases.close(give_back=delivered)
        self.keeper.stop(self.options.timeout)
        self.delivery.stop(min(timeout_s, 1.0))
        self.outbox.close()
        self.transport.close()
        atexit.unregister(self._at_exit)
        if self.outbox.stats.dropped:
            log.error("%d tracked items were lost", self.outbox.stats.dropped)
        return delivered

    def abandon(self) -> None:
        """In a forked child, which has a new engine: leave the parent's things alone."""
        self.outbox.abandon()
        atexit.unregister(self._at_exit)
