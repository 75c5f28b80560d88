"""
Holds: a reservation used bit by bit, as a stream of tokens does.

`use` is local. Time is renewed and the next block reserved in the background, ahead of need. What
was used is settled when the block is left, also by an exception; if that cannot be delivered it is
kept like any other usage and settled later, or counted as an event if the reservation has lapsed.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal

from taximeter_sdk import clock
from taximeter_sdk.calls import settle_call
from taximeter_sdk.decision import Decision, failed, from_answer
from taximeter_sdk.encoding import new_id
from taximeter_sdk.errors import OverLimit, Rejected, TaximeterError
from taximeter_sdk.quantities import Amount, read_pico, to_decimal, to_pico, to_text
from taximeter_sdk.transport import Call

LAPSED_SOURCE: Final = "taximeter/lapsed"
LONGEST_EXTENSION_S: Final = 10.0
AGAIN_S: Final = 0.5
"""After a failure, the next block is fetched ahead of need no sooner than this."""

Room = Literal["fits", "ask", "cap"]


class HoldOrder:
    """What to reserve: `up_to` in all, `block` at a time."""

    __slots__ = (
        "allow_partial",
        "block_pico",
        "customer",
        "data",
        "feature",
        "id",
        "scope",
        "ttl_s",
        "up_to_pico",
    )

    def __init__(
        self,
        customer: str,
        feature: str,
        *,
        up_to: Amount,
        ttl: float,
        id: str | None,
        scope: Mapping[str, str] | None,
        allow_partial: bool,
        block: Amount | None,
        data: Mapping[str, Any] | None,
    ) -> None:
        self.customer, self.feature = customer, feature
        self.up_to_pico = to_pico(up_to)
        self.block_pico = self.up_to_pico if block is None else to_pico(block)
        if not 0 < self.block_pico <= self.up_to_pico:
            raise ValueError("a block must be more than 0 and at most up_to")
        self.ttl_s = max(1, math.ceil(ttl))
        self.id = id or f"hold_{new_id()}"
        self.scope = dict(scope or {})
        self.data = dict(data or {})
        self.allow_partial = allow_partial

    def call(self) -> Call:
        body: dict[str, Any] = {
            "customer": self.customer,
            "feature": self.feature,
            "amount": to_text(self.block_pico),
            "ttl_s": self.ttl_s,
            "id": self.id,
            "allow_partial": self.allow_partial,
        }
        if self.scope:
            body["scope"] = self.scope
        if self.data:
            body["data"] = self.data
        return Call.post("/v1/reservations", body, key=self.id)


class Hold:
    """
    An open reservation. True while something is granted.

    Attributes:
        id: Of the reservation; the same id again opens the same one.
        decision: Why it was granted.
        balance_after: What was left after settling; None until then, or if it was settled later.
        settled: Whether the server has confirmed the settlement.
    """

    def __init__(
        self,
        order: HoldOrder,
        *,
        ask: Callable[[Call], Any],
        submit: Callable[[Callable[[], object]], object],
        fails_open: Callable[[str], bool],
    ) -> None:
        self.id = order.id
        self.decision = Decision()
        self.balance_after: Decimal | None = None
        self.settled = False
        self._order = order
        self._ask, self._submit, self._fails_open = ask, submit, fails_open
        self._changed = threading.Condition()
        self._granted_pico = 0
        self._used_pico = 0
        self._extending = False
        self._exhausted = False
        self._unbounded = False
        self._closed = False
        self._renew_at = 0.0
        self._not_before = 0.0
        self._pid = os.getpid()

    def __bool__(self) -> bool:
        return self._granted_pico > 0

    def __repr__(self) -> str:
        return f"<Hold {self.id}: {self.used} of {self.granted} used>"

    @property
    def granted(self) -> Decimal:
        """Reserved so far; grows block by block. May be less than asked when little is left."""
        return to_decimal(self._granted_pico)

    @property
    def used(self) -> Decimal:
        return to_decimal(self._used_pico)

    @property
    def left(self) -> Decimal:
        """Granted and not used."""
        return to_decimal(max(0, self._granted_pico - self._used_pico))

    @property
    def expires_at(self) -> str | None:
        """When the server lets it lapse unless it is renewed, as the server said it first."""
        return self.decision.answer.get("expires_at")

    # --- using it -----------------------------------------------------------------------------

    def use(self, amount: Amount = 1) -> bool:
        """
        Claim an amount before handing it out. False at the cap: nothing was claimed; stop.

        Local, except when the next block is needed and not there yet: then it waits for it.
        """
        return self._use(to_pico(amount), wait=True)

    def use_now(self, amount: Amount = 1) -> bool:
        """As `use`, but never waits: False also if the next block is not there yet."""
        return self._use(to_pico(amount), wait=False)

    def record(self, amount: Amount = 1) -> None:
        """
        Count what has happened already, even past the cap: the excess is settled as overage.
        """
        with self._changed:
            self._used_pico += to_pico(amount)

    def _use(self, pico: int, *, wait: bool) -> bool:
        while True:
            with self._changed:
                room = self._room(pico)
                if room == "fits":
                    self._used_pico += pico
                extend = self._claim_extension(room)
                waits = room == "ask" and wait
                if waits and not extend:
                    # For the one who does; a meter that was closed meanwhile never does.
                    if not self._changed.wait(LONGEST_EXTENSION_S):
                        return False
                    continue
            if waits:
                self._extend(pico)
                continue
            if extend:
                self._submit(partial(self._extend, pico if room == "ask" else 0))
            return room == "fits"

    def _claim_extension(self, room: Room) -> bool:
        """Whether the caller is to fetch the next block: at its last half, or when it is needed."""
        if self._extending or room == "cap":
            return False
        self._extending = room == "ask" or self._is_low()
        return self._extending

    def _is_low(self) -> bool:
        if self._exhausted or self._granted_pico >= self._order.up_to_pico:
            return False
        if clock.elapsed() < self._not_before:
            return False
        return (self._granted_pico - self._used_pico) * 2 < self._order.block_pico

    def _room(self, pico: int) -> Room:
        if self._closed or os.getpid() != self._pid:
            return "cap"
        used_pico = self._used_pico + pico
        if used_pico > self._order.up_to_pico:
            return "cap"
        if used_pico <= self._granted_pico or self._unbounded:
            return "fits"
        return "cap" if self._exhausted else "ask"

    # --- the server's side --------------------------------------------------------------------

    def opened(self, answer: Mapping[str, Any], asked_at: float) -> Hold:
        self.decision = from_answer(self._order.feature, {"allowed": True, **answer})
        self._granted_pico = read_pico(answer.get("granted")) or 0
        # A part of the block means that there is no more to be had.
        self._exhausted = self._granted_pico < self._order.block_pico
        self._renew_at = asked_at + self._order.ttl_s / 2
        return self

    def opened_blind(self, error: Exception) -> Hold:
        """The server is away and the feature's policy is open: allow, and count afterwards."""
        self.decision = failed(self._order.feature, opened=True, error=error)
        self._granted_pico = self._order.up_to_pico
        self._exhausted = True
        self._renew_at = float("inf")
        return self

    @property
    def is_blind(self) -> bool:
        return self.decision.decided_by == "fail_open"

    def _extend(self, at_least_pico: int = 0) -> None:
        """Reserve the next block and renew the time; `_extending` was set by who asks for it."""
        order = self._order
        with self._changed:
            more_pico = max(order.block_pico, at_least_pico)
            more_pico = min(more_pico, order.up_to_pico - self._granted_pico)
            wanted_pico = self._granted_pico + more_pico
        try:
            self._prolong(more_pico, wanted_pico, needed=at_least_pico > 0)
        finally:
            with self._changed:
                self._extending = False
                self._changed.notify_all()

    def _prolong(self, more_pico: int, wanted_pico: int, *, needed: bool) -> None:
        body = {
            "ttl_s": self._order.ttl_s,
            "amount": to_text(more_pico),
            "allow_partial": self._order.allow_partial,
        }
        asked_at = clock.elapsed()
        path = f"/v1/reservations/{self.id}/extend"
        try:
            answer = self._ask(Call.post(path, body, key=f"extend-{new_id()}"))
        except Rejected as error:
            self._refused(error)
            return
        except TaximeterError:
            with self._changed:
                # Away. What is granted may be used up; only then the fail policy decides.
                self._not_before = clock.elapsed() + AGAIN_S
                if needed:
                    self._unbounded = self._fails_open(self._order.feature)
                    self._exhausted = not self._unbounded
            return
        with self._changed:
            self._granted_pico = read_pico(answer.get("granted")) or self._granted_pico
            self._exhausted = self._granted_pico < wanted_pico
            self._renew_at = asked_at + self._order.ttl_s / 2

    def _refused(self, error: Rejected) -> None:
        with self._changed:
            self._exhausted = True
            self._renew_at = clock.elapsed() + self._order.ttl_s / 4
            if error.code not in ("not_found", "reservation_expired", "already_resolved"):
                return
            self._renew_at = float("inf")

    def tick(self, now: float) -> None:
        """On the keeper's thread: renew the time of a stream that takes long."""
        with self._changed:
            if self._closed or self._extending or now < self._renew_at:
                return
            self._extending = True
            granted_pico = self._granted_pico
        try:
            self._prolong_only(granted_pico)
        finally:
            with self._changed:
                self._extending = False
                self._changed.notify_all()

    def _prolong_only(self, granted_pico: int) -> None:
        was_exhausted = self._exhausted
        self._prolong(0, granted_pico, needed=False)
        with self._changed:
            self._exhausted |= was_exhausted

    # --- leaving ------------------------------------------------------------------------------

    @property
    def is_extending(self) -> bool:
        """Whether `end` would have to wait for a call that is under way."""
        return self._extending

    def end(self) -> bool:
        """
        Stop using it. False if there is nothing to tell the server: it was ended before, or this
        is a forked child, whose parent will tell.
        """
        if os.getpid() != self._pid:
            return False
        with self._changed:
            self._changed.wait_for(lambda: not self._extending, LONGEST_EXTENSION_S)
            if self._closed:
                return False
            self._closed = True
        return True

    def last_call(self, settlement: Mapping[str, Any]) -> Call:
        """Settle what was used; release it if that is nothing."""
        if self._used_pico:
            return settle_call(settlement)
        return Call.post(f"/v1/reservations/{self.id}/release", {}, key=f"settle-{self.id}")

    def ended(self, answer: Mapping[str, Any] | None) -> None:
        self.settled = True
        balance = read_pico((answer or {}).get("balance_after"))
        self.balance_after = None if balance is None else to_decimal(balance)

    def settlement(self) -> dict[str, Any]:
        """What to deliver if the server cannot be told now."""
        return {
            "reservation": self.id,
            "amount": to_text(self._used_pico),
            "allow_overage": self._used_pico > self._granted_pico,
            "usage": self.usage(),
        }

    def usage(self) -> dict[str, Any]:
        """The same as plain usage. Its identity is the hold's: it can count only once."""
        order = self._order
        return {
            "subject": order.customer,
            "feature": order.feature,
            "amount": to_text(self._used_pico),
            "id": self.id,
            "source": LAPSED_SOURCE,
            "time": clock.now_text(),
            "data": order.data,
            "scope": order.scope,
        }

    @property
    def has_usage(self) -> bool:
        return self._used_pico > 0


def refusal(feature: str, error: Rejected) -> Exception:
    """The error of a reservation that was refused by a limit; other errors as they are."""
    if error.problem.get("allowed") is not False:
        return error
    decision = from_answer(feature, error.problem)
    return OverLimit(decision, error.detail, error.status)
