"""
The meter for asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from taximeter_sdk import clock
from taximeter_sdk.base import BaseMeter, Scope
from taximeter_sdk.calls import check_call, consume_call, customer_path
from taximeter_sdk.decision import Decision
from taximeter_sdk.encoding import new_id
from taximeter_sdk.errors import Rejected, TaximeterError
from taximeter_sdk.holds import Hold, HoldOrder, refusal
from taximeter_sdk.leases import Lease
from taximeter_sdk.quantities import Amount
from taximeter_sdk.transport import Call
from taximeter_sdk.watching import AsyncWatch


class AsyncHold:
    """
    A hold in a coroutine. `use` never waits, so it may stand in the middle of a stream; `take`
    waits for the next block where that is not there yet.
    """

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    def __bool__(self) -> bool:
        return bool(self._hold)

    def __repr__(self) -> str:
        return repr(self._hold)

    @property
    def id(self) -> str:
        return self._hold.id

    @property
    def decision(self) -> Decision:
        return self._hold.decision

    @property
    def granted(self) -> Decimal:
        """See `Hold.granted`."""
        return self._hold.granted

    @property
    def used(self) -> Decimal:
        return self._hold.used

    @property
    def left(self) -> Decimal:
        return self._hold.left

    @property
    def balance_after(self) -> Decimal | None:
        return self._hold.balance_after

    @property
    def settled(self) -> bool:
        return self._hold.settled

    def use(self, amount: Amount = 1) -> bool:
        """
        Claim an amount before handing it out, without any waiting. False: nothing was claimed; the
        cap is reached, or the next block has not arrived (`take` would wait for it).
        """
        return self._hold.use_now(amount)

    async def take(self, amount: Amount = 1) -> bool:
        """As `use`, but waits for a block that is on its way. False only at the cap."""
        if self._hold.use_now(amount):
            return True
        return await asyncio.to_thread(self._hold.use, amount)

    def record(self, amount: Amount = 1) -> None:
        """See `Hold.record`."""
        self._hold.record(amount)


class AsyncTaximeter(BaseMeter):
    """
    As `Taximeter`; what may wait for the network is a coroutine. `track` is not: it never waits.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the gate -----------------------------------------------------------------------------

    async def check(
        self, customer: str, feature: str, amount: Amount = 1, *, scope: Scope = None
    ) -> Decision:
        """See `Taximeter.check`."""
        if self._leases.active:
            lease = self._slice(customer, feature, scope)
            leased = None if lease is None else lease.check(amount)
            if leased is not None:
                return leased
        call = check_call(customer, feature, amount, scope)
        try:
            return self._decided(feature, await self._engine.ask_async(call))
        except TaximeterError as error:
            return self._undecided(feature, error)

    async def consume(
        self,
        customer: str,
        feature: str,
        amount: Amount = 1,
        *,
        id: str | None = None,
        data: Mapping[str, Any] | None = None,
        scope: Scope = None,
    ) -> Decision:
        """See `Taximeter.consume`."""
        event_id = id or new_id()
        if self._leases.active:
            leased = self._consume_leased(customer, feature, amount, event_id, data, scope)
            if leased is not None:
                return leased
        call = consume_call(customer, feature, amount, event_id, data or {}, scope)
        try:
            return self._decided(feature, await self._engine.ask_async(call))
        except TaximeterError as error:
            return self._unconsumed(customer, feature, amount, event_id, data, scope, error)

    async def entitlements(self, customer: str) -> dict[str, Decision]:
        """See `Taximeter.entitlements`."""
        call = Call("GET", customer_path(customer, "entitlements"))
        answer = await self._engine.ask_async(call)
        return {item["feature"]: self._decided(item["feature"], item) for item in answer["items"]}

    async def balance(self, customer: str, credit: str) -> Decimal:
        """See `Taximeter.balance`."""
        params = {"credit": credit}
        call = Call("GET", customer_path(customer, "balance"), params=params)
        return Decimal(str((await self._engine.ask_async(call))["available"]))

    @asynccontextmanager
    async def reserve(
        self,
        customer: str,
        feature: str,
        up_to: Amount,
        *,
        ttl: float = 120.0,
        id: str | None = None,
        scope: Scope = None,
        allow_partial: bool = True,
        block: Amount | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[AsyncHold]:
        """
        See `Taximeter.reserve`.

            async with meter.reserve("acme", "chat", up_to=4000, block=500) as hold:
                async for token in model.stream(prompt):
                    if not await hold.take():
                        break
                    yield token
        """
        order = HoldOrder(
            customer,
            feature,
            up_to=up_to,
            ttl=ttl,
            id=id,
            scope=scope,
            allow_partial=allow_partial,
            block=block,
            data=data,
        )
        hold = await self._open(order)
        try:
            yield AsyncHold(hold)
        finally:
            # A client that goes away cancels its task; what it used is settled all the same.
            await asyncio.shield(self._end(hold))

    async def _open(self, order: HoldOrder) -> Hold:
        hold, asked_at = self._new_hold(order), clock.elapsed()
        try:
            answer = await self._engine.ask_async(order.call())
        except Rejected as error:
            raise refusal(order.feature, error) from error
        except TaximeterError as error:
            return self._blind(hold, order.feature, error)
        return self._engine.keep(hold.opened(answer, asked_at))

    async def _end(self, hold: Hold) -> None:
        ended = await asyncio.to_thread(hold.end) if hold.is_extending else hold.end()
        if not ended:
            return
        self._engine.holds.pop(hold.id, None)
        settlement = hold.settlement()
        if not hold.is_blind:
            try:
                hold.ended(await self._engine.ask_async(hold.last_call(settlement)))
                return
            except Rejected as error:
                if error.code == "already_resolved":
                    return
            except TaximeterError:
                pass
        if hold.has_usage:
            self._settle_later(hold, settlement)

    async def lease(
        self,
        customer: str,
        feature: str,
        size: Amount,
        *,
        ttl: float | None = None,
        scope: Scope = None,
    ) -> Lease:
        """See `Taximeter.lease`."""
        key, order = self._lease_order(
            customer, feature, size, ttl or self.options.lease_ttl, scope
        )
        asked_at = clock.elapsed()
        try:
            answer = await self._engine.ask_async(order.call())
        except Rejected as error:
            raise refusal(feature, error) from error
        return self._leases.taken(key, order, answer, asked_at, keep=True)

    def watch(self, customer: str) -> AsyncWatch:
        """Live updates: `async for update in meter.watch("acme"): ...`. See `Taximeter.watch`."""
        return AsyncWatch(self._engine.async_transport.client, customer_path(customer, "stream"))

    # --- lifetime -----------------------------------------------------------------------------

    async def flush(self, timeout: float = 10.0) -> bool:
        """See `Taximeter.flush`."""
        return await asyncio.to_thread(self._engine.flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:
        """See `Taximeter.close`."""
        limit_s = self.options.exit_timeout if timeout is None else timeout
        delivered = await asyncio.to_thread(self._engine.close, limit_s)
        await self._engine.async_transport.close()
        return delivered
