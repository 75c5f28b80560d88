"""
Which customers a viewer sees, and their rows, kept fresh within a budget of time.

Nothing is done per event and no tick walks over all customers. Each tick compares, for a slice of
them, how much was counted with what was counted when their row was made; those that moved get a
new row. With 10,000 customers a change of one that nobody sees is noticed within seconds; those on
somebody's screen are looked at first, at every tick.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import msgspec

from taximeter.adapters.console.rows import Row, customer_row
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MAX_ROWS = 100
MAX_AGE_S = 10.0  # also an untouched row ages: its period may have ended
SLICE_S = 0.001  # the event loop is given back at least this often


class Order(StrEnum):
    FARE = "fare"
    ACTIVITY = "activity"
    NAME = "name"


class View(msgspec.Struct, frozen=True):
    """What one viewer asked to see. `customer`: only this one."""

    search: str = ""
    order: Order = Order.FARE
    customer: str | None = None


class _Made(msgspec.Struct):
    """A row, the state it was made from, and when (monotonic seconds)."""

    row: Row
    stamp: tuple[Any, ...]
    at: float


class Standings:
    """Rows of one namespace."""

    def __init__(self, core: Core, tenant: Tenant) -> None:
        self._core = core
        self._tenant = tenant
        self._made: dict[str, _Made] = {}
        self._touched: dict[str, int] = {}
        self._touches = 0
        self._round: Iterator[str] = iter(())

    def touch(self, customers: Iterable[str]) -> None:
        """These were just seen to be active."""
        for key in customers:
            self._touches += 1
            self._touched[key] = self._touches

    def row(self, key: str) -> Row | None:
        made = self._made.get(key)
        return None if made is None else made.row

    async def refresh(self, keys: Iterable[str], budget_s: float) -> None:
        """Make rows that have changed, as many as time allows; others keep their old one."""
        pace = _Pace(budget_s)
        for key in keys:
            if await pace.is_over():
                return
            await self._look(key, MAX_AGE_S)

    async def sweep(self, budget_s: float) -> None:
        """Go on with the round over all customers for a while."""
        pace = _Pace(budget_s)
        for _ in range(len(self._tenant.customers)):
            if await pace.is_over():
                return
            key = next(self._round, None)
            if key is None:
                self._round = iter(list(self._tenant.customers))
                return
            await self._look(key, float("inf"))

    def matching(self, view: View) -> tuple[list[str], int]:
        """
        The keys a view shows, best first and at most 100; and how many match in all.

        A fare that is not known yet ranks behind all that are, by how much was counted.
        """
        found = self._found(view)
        key = {
            Order.FARE: self._by_fare,
            Order.ACTIVITY: self._by_activity,
        }.get(view.order)
        if key is None:
            return heapq.nsmallest(MAX_ROWS, found, self._by_name), len(found)
        # Ties by key, descending too, so that the order is the same each time.
        return heapq.nlargest(MAX_ROWS, found, key), len(found)

    def _found(self, view: View) -> list[str]:
        customers = self._tenant.customers
        if view.customer is not None:
            return [view.customer] if view.customer in customers else []
        wanted = view.search.casefold().strip()
        if not wanted:
            return list(customers)
        found = [
            key
            for key, customer in customers.items()
            if wanted in key.casefold() or wanted in customer.name.casefold()
        ]
        account = self._tenant.live.by_subject.get(view.search.strip())
        if account is not None and account.customer not in found:
            found.append(account.customer)
        return found

    def _by_fare(self, key: str) -> tuple[int, int, str]:
        made = self._made.get(key)
        if made is not None:
            return made.row.rank, made.row.events, key
        return -2, sum(self._tenant.live.accounts[key].cells[::2]), key

    def _by_activity(self, key: str) -> tuple[int, int, str]:
        return self._touched.get(key, 0), sum(self._tenant.live.accounts[key].cells[::2]), key

    def _by_name(self, key: str) -> tuple[str, str]:
        return (self._tenant.customers[key].name or key).casefold(), key

    async def _look(self, key: str, max_age_s: float) -> None:
        stamp = self._stamp(key)
        if stamp is None:
            return
        made, now = self._made.get(key), time.monotonic()
        if made is not None and made.stamp == stamp and now - made.at < max_age_s:
            return
        if made is not None and made.stamp != stamp:
            self.touch([key])
        row = await customer_row(self._core, self._tenant, key)
        version = 0 if made is None else made.row.version + (made.stamp != stamp)
        row = msgspec.structs.replace(row, version=version)
        self._made[key] = _Made(row, stamp, now)

    def _stamp(self, key: str) -> tuple[Any, ...] | None:
        """Equal stamps: nothing that a row shows has changed, but perhaps the time of day."""
        tenant = self._tenant
        customer, account = tenant.customers.get(key), tenant.live.accounts.get(key)
        if customer is None or account is None:
            return None
        return (
            sum(account.cells[::2]),
            account.period_start,
            account.rebuilding,
            tenant.version,
            customer,
            tenant.of_customer(key),
            _holdings(tenant, key),
        )


def _holdings(tenant: Tenant, key: str) -> tuple[Any, ...]:
    """What moves without a usage event: credits, reservations, budgets, seats, blocks."""
    purse = tenant.live.gate.purses.get(key)
    if purse is None:
        return ()
    wallets = tuple((one.balance_pico, one.reserved_pico) for one in purse.wallets.values())
    held = tuple(purse.reserved.values())
    counts = len(purse.holds), len(purse.top_ups), len(purse.blocked), len(purse.throttled)
    seats = sum(len(holders) for holders in purse.seats.values())
    return wallets, held, counts, seats, tuple(purse.budgets.values())


class _Pace:
    """Spends at most `budget_s`, and lets others run every millisecond."""

    def __init__(self, budget_s: float) -> None:
        self._slice_began = time.perf_counter()
        self._left_s = budget_s

    async def is_over(self) -> bool:
        spent = time.perf_counter() - self._slice_began
        if spent < min(SLICE_S, self._left_s):
            return False
        self._left_s -= spent
        if self._left_s <= 0:
            return True
        await asyncio.sleep(0)
        self._slice_began = time.perf_counter()
        return False
