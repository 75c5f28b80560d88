"""
The watch: whenever a customer's numbers change, which alerts have something new to tell?

It shares the one thread with ingest and the gate, so it works in short slices with pauses between:
at most a third of the time, however many customers change at once. What changed several times
while it waited is looked at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from taximeter.errors import TaximeterError
from taximeter.notices.alert import Alert
from taximeter.notices.crossings import Change, Mark, Place, changes
from taximeter.notices.readings import Readings
from taximeter.ports import Clock, StoredMark
from taximeter.services.notices.board import Board

if TYPE_CHECKING:
    from taximeter.live.account import Account
    from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

SLICE_S = 0.001
PAUSE_S = 0.002
SWEEP_EVERY_S = 30.0
LOOK_AROUND_EVERY_S = 1.0
CLOCK_JUMP_US = 5_000_000

Reader: TypeAlias = "Callable[[Tenant, Account, int], Readings]"
Found: TypeAlias = Callable[[str, str, list[Change], int], None]
"""Told (namespace, customer, changes, now); never raises."""


class Watch:
    """
    Args:
        tenants: By namespace; looked at anew each time.
        read: A customer's numbers at an instant; it changes nothing.
        found: Takes over what is new. It is then marked as told: nothing is found twice.
    """

    def __init__(
        self,
        board: Board,
        tenants: dict[str, Tenant],
        clock: Clock,
        read: Reader,
        found: Found,
    ) -> None:
        self._board = board
        self._tenants = tenants
        self._clock = clock
        self._read = read
        self._found = found
        self._marks: dict[tuple[str, str], dict[Place, Mark]] = {}
        # In the order in which they changed; a customer waits once.
        self._waiting: dict[tuple[str, str], None] = {}
        self._sweeping: Iterator[tuple[str, str]] = iter(())
        self._is_sweeping = False
        self._unfinished: set[tuple[str, str]] = set()
        self._scheduled: asyncio.Handle | None = None
        self._paused_until = 0.0

    def load(self, marks: Iterable[StoredMark]) -> None:
        """Lines that were crossed before the node started."""
        for one in marks:
            self._marks.setdefault((one.namespace, one.customer), {})[one.place] = one.mark

    def touched(self, tenant: Tenant) -> None:
        """Some watched accounts have changed; cheap, for the hot path."""
        self._take_touched(tenant)
        self._schedule()

    def sweep(self, namespace: str | None = None) -> None:
        """Look at every watched customer: after a start, and for what time alone changes."""
        self._sweeping = chain(self._sweeping, self._everybody(namespace))
        self._is_sweeping = True
        self._schedule()

    def rewatch(self, namespace: str) -> None:
        """Alerts have changed: mark the accounts that have to be looked at."""
        tenant = self._tenants.get(namespace)
        if tenant is not None:
            self._rewatch(tenant)
            self.sweep(namespace)

    def start(self) -> None:
        """Mark the accounts that have to be looked at, and look at all of them."""
        for namespace in list(self._tenants):
            self.rewatch(namespace)

    @property
    def is_idle(self) -> bool:
        """Nobody is waiting to be looked at."""
        return not self._waiting and not self._is_sweeping

    def forget(self, namespace: str, alert_id: str) -> None:
        """An alert is gone: its lines are armed again, as the books have it."""
        for (name, _), marks in self._marks.items():
            if name == namespace:
                for place in [p for p in marks if p.alert == alert_id]:
                    mark = marks.pop(place)
                    if mark.times:
                        marks[place] = Mark(False, mark.times)

    async def run(self) -> None:
        """Sweep now and then, and at once when the clock was set."""
        last, swept_at = self._clock.now(), time.monotonic()
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK_AROUND_EVERY_S)
            now, passed_s = self._clock.now(), time.monotonic() - before
            was_set = abs(now - last - int(passed_s * 1_000_000)) > CLOCK_JUMP_US and now != last
            is_due = time.monotonic() - swept_at >= SWEEP_EVERY_S and not self._is_sweeping
            if was_set or is_due:
                swept_at = time.monotonic()
                self.sweep()
            self._look_again()
            last = now

    def stop(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _take_touched(self, tenant: Tenant) -> None:
        waiting, name = self._waiting, tenant.name
        for account in tenant.live.touched:
            waiting[name, account.customer] = None
        tenant.live.touched.clear()

    def _look_again(self) -> None:
        """At those that were being counted again, and accounts that took the place of others."""
        self._waiting.update(dict.fromkeys(self._unfinished))
        self._unfinished.clear()
        for tenant in self._tenants.values():
            self._take_touched(tenant)
        self._schedule()

    def _everybody(self, namespace: str | None) -> Iterator[tuple[str, str]]:
        for name, tenant in list(self._tenants.items()):
            if namespace in (None, name) and self._board.alerts(name):
                for key in list(tenant.live.accounts):
                    yield name, key

    def _rewatch(self, tenant: Tenant) -> None:
        tenant.live.watches = partial(self._watches, tenant)
        for key, account in tenant.live.accounts.items():
            is_wanted = self._watches(tenant, key)
            if is_wanted != account.watched:
                account.watched = is_wanted
                account.forget_hooks()

    def _watches(self, tenant: Tenant, customer: str) -> bool:
        """Whether an alert looks at a customer, or at a parent that it uses up."""
        watches = self._board.watches
        if not self._board.alerts(tenant.name):
            return False
        return watches(tenant.name, customer) or any(
            watches(tenant.name, parent.customer) for parent in tenant.pool_of(customer)
        )

    # --- slices -----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._scheduled is None and not self.is_idle:
            loop = asyncio.get_running_loop()
            pause_s = self._paused_until - loop.time()
            if pause_s > 0:
                self._scheduled = loop.call_later(pause_s, self._work)
            else:
                self._scheduled = loop.call_soon(self._work)

    def _work(self) -> None:
        self._scheduled = None
        started = time.perf_counter()
        now = self._clock.now()
        while not self.is_idle:
            place = self._next()
            try:
                if place is not None:
                    self._look(*place, now)
            except Exception:
                logger.exception("the alerts of a customer were not looked at")
            if time.perf_counter() - started > SLICE_S:
                self._paused_until = asyncio.get_running_loop().time() + PAUSE_S
                break
        self._schedule()

    def _next(self) -> tuple[str, str] | None:
        """Those that have changed come before those that are only looked after."""
        if self._waiting:
            place = next(iter(self._waiting))
            del self._waiting[place]
            return place
        found = next(self._sweeping, None)
        self._is_sweeping = found is not None
        return found

    def _look(self, namespace: str, customer: str, now: int) -> None:
        tenant = self._tenants.get(namespace)
        account = tenant.live.accounts.get(customer) if tenant is not None else None
        if tenant is None or account is None or not account.watched:
            return
        for parent in tenant.pool_of(customer):
            if parent.watched:
                self._waiting[namespace, parent.customer] = None
        alerts = self._board.watching(namespace, customer)
        if alerts and account.rebuilding:
            self._unfinished.add((namespace, customer))
        elif alerts:
            self._compare(tenant, account, alerts, now)

    def _compare(self, tenant: Tenant, account: Account, alerts: list[Alert], now: int) -> None:
        namespace, customer = tenant.name, account.customer
        try:
            readings = self._read(tenant, account, now)
        except TaximeterError:
            return
        marks = self._marks.get((namespace, customer), {})
        news: list[Change] = []
        for alert in alerts:
            news += changes(alert, customer, readings, now, marks)
        if news:
            marks.update((change.place, change.mark) for change in news)
            self._marks[namespace, customer] = marks
            self._found(namespace, customer, news, now)
