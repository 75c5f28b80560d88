"""
Leases: a slice of what a customer may use, taken from the server once and then decided on here,
without a network call.

While a slice is open the server counts it as reserved, so nobody else can have it. What is used of
it is tracked as events that name the lease, and the lease shrinks as they are counted. Therefore
what passes a limit can at most be what open leases hold: the *overshoot bound*, which the server
states with each lease.

A slice ends by this machine's own clock, counted from before the request that opened it, less a
margin: always before the server ends it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from taximeter_sdk import clock
from taximeter_sdk.catalogue import Catalogue
from taximeter_sdk.decision import Decision
from taximeter_sdk.encoding import new_id
from taximeter_sdk.errors import Rejected, TaximeterError
from taximeter_sdk.keeper import Keeper
from taximeter_sdk.quantities import E12, Amount, read_pico, to_pico, to_text
from taximeter_sdk.transport import Call

REFILL_BELOW: Final = 4
"""A slice is refilled when less than 1/4 of its size is left."""
MARGIN: Final = 20
"""A slice ends 1/20 of its time before the server ends it, at least MARGIN_S."""
MARGIN_S: Final = 0.5
RETRY_S: Final = 1.0
"""After a refill that brought nothing, the next one waits this long."""

Key: TypeAlias = tuple[str, str]
"""Customer and feature; a scope makes the customer part longer."""

_new = object.__new__


class Lease:
    """
    One slice, and the counts that tie it to the server's. Thread-safe.

    Attributes:
        id: Of the lease on the server.
        expires_at: By `clock.elapsed`, with the margin taken off.
    """

    def __init__(self, leases: Leases, key: Key, order: Order) -> None:
        self.key, self.order = key, order
        self.id = order.id
        self.expires_at = 0.0
        self.closed = False
        self._leases = leases
        self._lock = threading.Lock()
        self._left_pico = 0
        self._low_pico = order.size_pico // REFILL_BELOW
        self._bound_pico = 0
        self._synced_at = 0.0
        self._renew_at = 0.0
        self._not_before = 0.0
        self._refilling = False
        self._used_since_renewal = True
        # Ever taken, and ever answered by the server; the difference is on its way.
        self._taken_pico = 0
        self._answered_pico = 0

    def __repr__(self) -> str:
        return f"<Lease {self.id} of {self.order.feature}, {to_text(max(0, self._left_pico))} left>"

    # --- deciding: this is the path that takes microseconds -----------------------------------

    def check(self, amount: Amount = 1) -> Decision | None:
        """A decision without taking anything; None if the slice cannot say yes."""
        pico = amount * E12 if type(amount) is int and amount >= 0 else to_pico(amount)
        left = self._left_pico
        if left < self._low_pico:
            self._want_more()
        if pico > left or clock.elapsed() >= self.expires_at:
            return None
        decision: Decision = _new(Decision)
        decision.allowed = True
        decision.reason = "within_limit"
        decision.decided_by = "lease"
        decision.feature = self.order.feature
        decision._left_pico = left
        decision._bound_pico = self._bound_pico
        decision._synced_at = self._synced_at
        return decision

    def take(self, amount: Amount = 1) -> Decision | None:
        """Use up part of the slice; None, and nothing is taken, if it does not fit."""
        pico = to_pico(amount)
        with self._lock:
            if pico > self._left_pico or clock.elapsed() >= self.expires_at or self.closed:
                decision = None
            else:
                self._left_pico -= pico
                self._taken_pico += pico
                self._used_since_renewal = True
                decision = self.check(0)
        if self._left_pico < self._low_pico:
            self._want_more()
        return decision

    def answered(self, pico: int) -> None:
        """
        The server answered an event of this lease. It was counted now, or before, or it was none
        of ours to count: in each case the server's next number needs no allowance for it.
        """
        with self._lock:
            self._answered_pico += pico

    # --- keeping it: on the keeper's thread, or in the call that opened it ----------------------

    def _want_more(self) -> None:
        if self._refilling or self.closed or clock.elapsed() < self._not_before:
            return
        self._refilling = True
        self._leases.keeper.submit(self.refill)

    def refill(self) -> None:
        """Fill up to the size, and begin its time anew."""
        try:
            with self._lock:
                wanted_pico = max(0, self.order.size_pico - max(0, self._left_pico))
            if self.closed:
                return
            if clock.elapsed() >= self.expires_at:
                self._leases.replace(self)
            else:
                self._extend(wanted_pico)
        finally:
            self._refilling = False

    def _extend(self, wanted_pico: int) -> None:
        body = {
            "ttl_s": self.order.ttl_s,
            "amount": to_text(wanted_pico),
            "allow_partial": True,
        }
        asked_at = clock.elapsed()
        answered_pico = self._answered_pico
        before_pico = self._left_pico
        self._not_before = asked_at + RETRY_S
        try:
            answer = self._leases.ask(
                Call.post(f"/v1/leases/{self.id}/extend", body, key=f"extend-{new_id()}")
            )
        except Rejected as error:
            if error.code in ("not_found", "already_resolved", "reservation_expired"):
                self._leases.replace(self)
            elif wanted_pico:
                # There is no more to be had; what is left may be used up in its time.
                self._extend(0)
            return
        except TaximeterError as error:
            self._leases.complain(error)
            return
        self._apply(answer, asked_at, answered_pico)
        if self._left_pico > before_pico:
            self._not_before = 0.0

    def opened(self, answer: Mapping[str, Any], asked_at: float) -> None:
        self.id = str(answer["id"])
        self._apply(answer, asked_at, 0)

    def _apply(self, answer: Mapping[str, Any], asked_at: float, answered_pico: int) -> None:
        """
        Args:
            answered_pico: What was answered before asking. Events counted since may or may not be
                in this answer; taking them as not counted can only make us more careful, and the
                next answer puts it right.
        """
        granted_pico = read_pico(answer.get("granted")) or 0
        ttl_s = _ttl_s(answer, self.order.ttl_s)
        with self._lock:
            self._left_pico = granted_pico - (self._taken_pico - answered_pico)
            self._bound_pico = read_pico(answer.get("open_leases")) or granted_pico
            self._synced_at = asked_at
            self.expires_at = asked_at + ttl_s - max(MARGIN_S, ttl_s / MARGIN)
            self._renew_at = asked_at + ttl_s / 2
            self._used_since_renewal = False

    def tick(self, now: float) -> None:
        """Renew it at half of its time if it is in use; give it back if it is idle."""
        if self.closed or now < self._renew_at or self._refilling:
            return
        if self._used_since_renewal:
            self._want_more()
        elif now >= self.expires_at:
            self._leases.drop(self)

    def close(self) -> None:
        """
        Give back what is left, here and of whatever slice has taken this one's place. Its usage
        should have been delivered before (`flush`): what arrives later counts as plain usage.
        """
        self._leases.end(self.key)

    def shut(self) -> bool:
        """Decide no more. False if it was shut before."""
        with self._lock:
            was_open, self.closed = not self.closed, True
            self._left_pico = 0
        return was_open


class Order:
    """What to ask the server for."""

    __slots__ = ("customer", "feature", "id", "scope", "size_pico", "ttl_s")

    def __init__(
        self,
        customer: str,
        feature: str,
        size_pico: int,
        ttl_s: float,
        scope: Mapping[str, str] | None,
    ) -> None:
        self.customer, self.feature = customer, feature
        self.size_pico, self.ttl_s = size_pico, max(1, math.ceil(ttl_s))
        self.scope = dict(scope or {})
        self.id = f"lease_{new_id()}"

    def call(self) -> Call:
        body: dict[str, Any] = {
            "customer": self.customer,
            "feature": self.feature,
            "amount": to_text(self.size_pico),
            "ttl_s": self.ttl_s,
            "id": self.id,
            "allow_partial": True,
        }
        if self.scope:
            body["scope"] = self.scope
        return Call.post("/v1/leases", body, key=self.id)

    def again(self) -> Order:
        """The same with a new identity."""
        return Order(self.customer, self.feature, self.size_pico, self.ttl_s, self.scope)


class Leases:
    """
    The open slices of this process.

    Attributes:
        open: Those that decide now.
        active: Whether there may ever be one; else nobody need look.

    Args:
        sizes: Feature -> size: leases of these are taken by themselves, after first use.
        ask: Makes a call from a thread.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        ttl_s: float,
        ask: Callable[[Call], Any],
        keeper: Keeper,
        catalogue: Catalogue,
        complain: Callable[[Exception], object],
    ) -> None:
        self.open: dict[Key, Lease] = {}
        self.ask, self.keeper, self.complain = ask, keeper, complain
        self._sizes, self._ttl_s = sizes, ttl_s
        self._catalogue = catalogue
        self._by_id: dict[str, Lease] = {}
        self._kept: dict[Key, Order] = {}
        self._opening: dict[Key, float] = {}
        self._closed = False
        self.active = bool(sizes)
        keeper.each_tick(self.tick)

    def want(self, key: Key, customer: str, feature: str, scope: Mapping[str, str] | None) -> None:
        """A feature that may be leased was asked for and there is no slice: take one soon."""
        now = clock.elapsed()
        if self._closed or self._opening.get(key, 0.0) > now:
            return
        order = self._order(key, customer, feature, scope)
        if order is not None:
            self._opening[key] = now + RETRY_S
            self.keeper.submit(partial(self._open_quietly, key, order))

    def _order(
        self, key: Key, customer: str, feature: str, scope: Mapping[str, str] | None
    ) -> Order | None:
        kept = self._kept.get(key)
        if kept is not None:
            return kept.again()
        size_pico = self._sizes.get(feature)
        if size_pico is None:
            return None
        return Order(customer, feature, size_pico, self._ttl_s, scope)

    def _open_quietly(self, key: Key, order: Order) -> None:
        if key in self.open or self._closed:
            return
        asked_at = clock.elapsed()
        try:
            answer = self.ask(order.call())
        except TaximeterError as error:
            self.complain(error)
        else:
            self.taken(key, order, answer, asked_at)

    def taken(
        self,
        key: Key,
        order: Order,
        answer: Mapping[str, Any],
        asked_at: float,
        *,
        keep: bool = False,
    ) -> Lease:
        """
        Decide on the slice in the server's answer from now on.

        Args:
            keep: Take another in its place whenever it ends, until it is closed.
        """
        self.active = True
        if keep:
            self._kept[key] = order
        before = self.open.get(key)
        if before is not None and before.shut():
            self.keeper.submit(partial(self._give_back, before))
        lease = Lease(self, key, order)
        lease.opened(answer, asked_at)
        self._catalogue.learn_fail(order.feature, answer)
        self._by_id[lease.id] = lease
        self.open[key] = lease
        self.keeper.start()
        return lease

    def replace(self, lease: Lease) -> None:
        """Its time is over: take a new one in its place."""
        self.drop(lease)
        self._open_quietly(lease.key, lease.order.again())

    def drop(self, lease: Lease) -> None:
        """It ends by itself."""
        lease.shut()
        if self.open.get(lease.key) is lease:
            del self.open[lease.key]
        # Events of it may still be on their way; nobody reads its counts any more.
        self._by_id.pop(lease.id, None)

    def end(self, key: Key) -> None:
        """Lease this no more, and give back what is left."""
        self._kept.pop(key, None)
        lease = self.open.pop(key, None)
        if lease is not None and lease.shut():
            self._give_back(lease)

    def _give_back(self, lease: Lease) -> None:
        self._by_id.pop(lease.id, None)
        try:
            self.ask(Call.post(f"/v1/leases/{lease.id}/release", {}, key=f"release-{lease.id}"))
        except TaximeterError as error:
            self.complain(error)  # the server ends it by itself

    def on_answered(self, usage: Mapping[str, Any]) -> None:
        """An event that named a lease was answered."""
        lease = self._by_id.get(usage["lease"])
        if lease is not None:
            lease.answered(to_pico(usage["amount"]))

    def tick(self) -> None:
        now = clock.elapsed()
        for lease in list(self.open.values()):
            lease.tick(now)
        for key in [key for key, until in list(self._opening.items()) if until <= now]:
            self._opening.pop(key, None)

    def close(self, *, give_back: bool) -> None:
        """The end of all; without giving back, the server ends them in their time."""
        self._closed = True
        for key, lease in list(self.open.items()):
            if give_back:
                self.end(key)
            else:
                self.drop(lease)


def _ttl_s(answer: Mapping[str, Any], asked_s: float) -> float:
    """The time the server gave, which may be less than was asked for."""
    expires_at = clock.read_instant(answer.get("expires_at"))
    now = clock.read_instant((answer.get("as_of") or {}).get("time"))
    if expires_at is None or now is None:
        return asked_s
    return min(asked_s, (expires_at - now).total_seconds())
