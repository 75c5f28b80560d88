"""
The meter for threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from taximeter_sdk.watching import Update, Watch


class Taximeter(BaseMeter):
    """
    Usage metering for one process; share it between threads, keep it through forks.

        meter = Taximeter()                        # TAXIMETER_URL, TAXIMETER_KEY
        meter.track("acme", "llm.request", model="opus", input_tokens=812)
        if not meter.check("acme", "export"):
            ...

    Arguments are described at `options.Options`. At most two threads run in the background, and
    only once there is something for them to do.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the gate -----------------------------------------------------------------------------

    def check(
        self, customer: str, feature: str, amount: Amount = 1, *, scope: Scope = None
    ) -> Decision:
        """
        May they? Changes nothing, and raises nothing the server or the network does: without an
        answer the feature's fail policy decides, and `decision.decided_by` says so.
        """
        lease = None if scope else self._slices.get((customer, feature))
        if lease is None and self._leases.active:
            lease = self._slice(customer, feature, scope)
        leased = None if lease is None else lease.check(amount)
        if leased is not None:
            return leased
        call = check_call(customer, feature, amount, scope)
        try:
            return self._decided(feature, self._engine.ask(call))
        except TaximeterError as error:
            return self._undecided(feature, error)

    def consume(
        self,
        customer: str,
        feature: str,
        amount: Amount = 1,
        *,
        id: str | None = None,
        data: Mapping[str, Any] | None = None,
        scope: Scope = None,
    ) -> Decision:
        """
        Check and count in one step. The same id again gives the same answer and counts once.

        Raises:
            Rejected: The id was used for something else (`event_conflict`), or the feature's
                usage cannot be consumed.
        """
        event_id = id or new_id()
        if self._leases.active:
            leased = self._consume_leased(customer, feature, amount, event_id, data, scope)
            if leased is not None:
                return leased
        call = consume_call(customer, feature, amount, event_id, data or {}, scope)
        try:
            return self._decided(feature, self._engine.ask(call))
        except TaximeterError as error:
            return self._unconsumed(customer, feature, amount, event_id, data, scope, error)

    def entitlements(self, customer: str) -> dict[str, Decision]:
        """All features of a customer with live numbers. Raises `TaximeterError`."""
        answer = self._engine.ask(Call("GET", customer_path(customer, "entitlements")))
        return {item["feature"]: self._decided(item["feature"], item) for item in answer["items"]}

    def balance(self, customer: str, credit: str) -> Decimal:
        """Credit that can be spent now. Raises `TaximeterError`."""
        params = {"credit": credit}
        call = Call("GET", customer_path(customer, "balance"), params=params)
        return Decimal(str(self._engine.ask(call)["available"]))

    @contextmanager
    def reserve(
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
    ) -> Iterator[Hold]:
        """
        Set an amount aside, use it bit by bit, pay for what was used.

            with meter.reserve("acme", "chat", up_to=4000, block=500) as hold:
                for token in model.stream(prompt):
                    if not hold.use():
                        break
                    yield token

        Args:
            up_to: The cap of this hold.
            ttl: Seconds after which the server lets it lapse if this process dies.
            allow_partial: Take less than a block if that is all there is.
            block: Reserve so much at a time instead of all at once.
            data: Dimensions of the usage: {"model": "opus"}.

        Raises:
            OverLimit: Nothing can be reserved.
            Unavailable: Nobody could be asked, and the fail policy is not `open`.
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
        hold = self._open(order)
        try:
            yield hold
        finally:
            self._end(hold)

    def _open(self, order: HoldOrder) -> Hold:
        hold, asked_at = self._new_hold(order), clock.elapsed()
        try:
            answer = self._engine.ask(order.call())
        except Rejected as error:
            raise refusal(order.feature, error) from error
        except TaximeterError as error:
            return self._blind(hold, order.feature, error)
        return self._engine.keep(hold.opened(answer, asked_at))

    def _end(self, hold: Hold) -> None:
        if not hold.end():
            return
        self._engine.holds.pop(hold.id, None)
        settlement = hold.settlement()
        if not hold.is_blind:
            try:
                hold.ended(self._engine.ask(hold.last_call(settlement)))
                return
            except Rejected as error:
                if error.code == "already_resolved":
                    return
            except TaximeterError:
                pass
        if hold.has_usage:
            self._settle_later(hold, settlement)

    def lease(
        self,
        customer: str,
        feature: str,
        size: Amount,
        *,
        ttl: float | None = None,
        scope: Scope = None,
    ) -> Lease:
        """
        Take a slice now. From here on `check` and `consume` of this customer and feature decide
        in this process while the slice lasts; `close` gives back what is left.

        Raises:
            OverLimit: There is nothing to lease.
            TaximeterError: Nobody could be asked.
        """
        key, order = self._lease_order(
            customer, feature, size, ttl or self.options.lease_ttl, scope
        )
        asked_at = clock.elapsed()
        try:
            answer = self._engine.ask(order.call())
        except Rejected as error:
            raise refusal(feature, error) from error
        return self._leases.taken(key, order, answer, asked_at, keep=True)

    def watch(self, customer: str, *, on_update: Callable[[Update], object] | None = None) -> Watch:
        """
        Live usage, balances and decisions, as they happen.

            for update in meter.watch("acme"):
                print(update.kind, update.entitlements)

        Args:
            on_update: Called in a thread of its own instead of iterating.
        """
        watch = Watch(self._engine.transport.client, customer_path(customer, "stream"))
        if on_update is not None:
            watch.start(on_update)
        return watch

    # --- lifetime -----------------------------------------------------------------------------

    def flush(self, timeout: float = 10.0) -> bool:
        """Deliver what was tracked so far. True if all of it was answered in time."""
        return self._engine.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Deliver, give leases back and stop. True if everything was delivered."""
        return self._engine.close(self.options.exit_timeout if timeout is None else timeout)
