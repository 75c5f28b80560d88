"""
What both meters share: tracking, lifetime, and the rules of deciding without a network call.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from taximeter_sdk import clock, decision
from taximeter_sdk.calls import CONSUME_SOURCE
from taximeter_sdk.catalogue import Fail
from taximeter_sdk.decision import Decision
from taximeter_sdk.delivery import Rejection
from taximeter_sdk.encoding import event_json, new_id, to_json
from taximeter_sdk.engine import Engine
from taximeter_sdk.errors import Rejected, TaximeterError, Unavailable
from taximeter_sdk.holds import Hold, HoldOrder
from taximeter_sdk.leases import Key, Lease, Order
from taximeter_sdk.options import Options, lease_sizes, url_and_key
from taximeter_sdk.outbox import EVENT, SETTLEMENT, USAGE, Overflow
from taximeter_sdk.quantities import Amount, to_pico, to_text
from taximeter_sdk.stats import Stats

T = TypeVar("T")
At = datetime | Literal["receipt"] | None
Scope = Mapping[str, str] | None
MAX_ANSWERS = 10_000
"""Leased consumes whose ids are remembered, so that the same id gives the same answer."""


class BaseMeter:
    """
    See `Taximeter` and `AsyncTaximeter`. `track`, `stats` and `close`-like things never wait for
    the network, so they are the same in both.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        source: str = "",
        timeout: float = 2.0,
        fail: Fail | Mapping[str, Fail] | None = None,
        strict: bool = False,
        lease: Mapping[str, Amount] | None = None,
        lease_ttl: float = 60.0,
        max_events: int = 100_000,
        max_bytes: int = 64 << 20,
        overflow: Overflow = "drop",
        block_s: float = 5.0,
        batch: int = 500,
        linger: float = 0.25,
        spool: str | os.PathLike[str] | None = None,
        spool_bytes: int = 1 << 30,
        fsync: bool = False,
        on_reject: Callable[[Rejection], object] | None = None,
        exit_timeout: float = 5.0,
    ) -> None:
        url, key = url_and_key(url, key)
        self.options = Options(
            url=url,
            key=key,
            source=source,
            timeout=timeout,
            fail=fail,
            strict=strict,
            lease=lease_sizes(lease),
            lease_ttl=lease_ttl,
            max_events=max_events,
            max_bytes=max_bytes,
            overflow=overflow,
            block_s=block_s,
            batch=batch,
            linger=linger,
            spool=None if spool is None else Path(spool),
            spool_bytes=spool_bytes,
            fsync=fsync,
            on_reject=on_reject,
            exit_timeout=exit_timeout,
        )
        self._set_up()
        if spool is not None:
            self._engine.start()  # something may be left of a process before this one
        _meters.add(self)

    def _set_up(self) -> None:
        self._engine = Engine(self.options)
        self._leases = self._engine.leases
        self._slices = self._leases.open
        self._answers = _Answers()

    def _forked(self) -> None:
        """In the child of a fork."""
        self._engine.abandon()
        self._set_up()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.options.url}>"

    @property
    def stats(self) -> Stats:
        """Counters so far; see `Stats` for what always holds among them."""
        return self._engine.stats()

    # --- tracking -----------------------------------------------------------------------------

    def track(
        self,
        customer: str,
        type: str | None = None,
        /,
        *,
        feature: str | None = None,
        amount: Amount | None = None,
        id: str | None = None,
        at: At = None,
        scope: Scope = None,
        data: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> str:
        """
        Count usage. Never waits for the network and never raises because of it.

            meter.track("acme", "llm.request", model="opus", input_tokens=812)
            meter.track("acme", feature="chat", amount=193)

        Args:
            customer: A customer's key, or one of its subjects.
            type: Of the event; or give a feature, and the event of its meter is made.
            amount: Of the feature, 1 if absent; with a type, a value like any other.
            id: Fixed before the first try; what arrives twice counts once. Give one where the
                operation itself may run twice (`stable_id`), and `at` with it: the same identity
                with another time is a conflict, which counts once too but is reported.
            at: When it was used, with an offset; now if absent. "receipt": when it arrives.
            scope: Of a feature's usage: {"user": "u7"}.
            data: Members that cannot be keyword arguments; `values` go on top.

        Returns:
            The id.

        Raises:
            TypeError, ValueError: It can never be sent, wherever the server is.
        """
        event_id = id or new_id()
        fields = {**(data or {}), **values}
        time = None if at == "receipt" else clock.now_text() if at is None else _instant(at)
        if not isinstance(customer, str) or not customer:
            raise ValueError("customer must be a non-empty string")
        if feature is not None:
            if type is not None:
                raise TypeError("give an event type or a feature, not both")
            pico = to_pico(1 if amount is None else amount)
            self._put_usage(customer, feature, pico, event_id, time, fields, scope)
            return event_id
        if type is None:
            raise TypeError("give an event type or a feature")
        if not isinstance(type, str) or not type:
            raise ValueError("type must be a non-empty string")
        if scope:
            raise TypeError("a scope goes with a feature; an event has its own members for it")
        if amount is not None:
            fields["amount"] = amount
        source = self.options.source
        text = event_json(customer, type, fields, event_id=event_id, source=source, time=time)
        self._engine.put(EVENT, text)
        return event_id

    def _put_usage(
        self,
        customer: str,
        feature: str,
        pico: int,
        event_id: str,
        time: str | None,
        data: Mapping[str, Any],
        scope: Scope,
        *,
        source: str | None = None,
        **more: Any,
    ) -> None:
        usage: dict[str, Any] = {
            "subject": customer,
            "feature": feature,
            "amount": to_text(pico),
            "id": event_id,
            "source": self.options.source if source is None else source,
        }
        if time is not None:
            usage["time"] = time
        if scope:
            usage["scope"] = dict(scope)
        if data:
            usage["data"] = data
        self._engine.put(USAGE, to_json(usage | more))

    # --- deciding here ------------------------------------------------------------------------

    def _slice(self, customer: str, feature: str, scope: Scope) -> Lease | None:
        key = (customer, feature) if not scope else _key(customer, feature, scope)
        found = self._slices.get(key)
        if found is None:
            self._leases.want(key, customer, feature, scope)
        return found

    def _consume_leased(
        self,
        customer: str,
        feature: str,
        amount: Amount,
        event_id: str,
        data: Mapping[str, Any] | None,
        scope: Scope,
    ) -> Decision | None:
        known = self._answers.get(customer, feature, event_id)
        if known is not None:
            return known
        lease = self._slice(customer, feature, scope)
        decided = None if lease is None else lease.take(amount)
        if lease is None or decided is None:
            return None
        more = {"unsure": True} if self._answers.is_in_doubt(customer, feature, event_id) else {}
        self._put_usage(
            customer,
            feature,
            to_pico(amount),
            event_id,
            clock.now_text(),
            {**(data or {}), "lease_id": lease.id},
            scope,
            source=CONSUME_SOURCE,
            lease=lease.id,
            **more,
        )
        self._answers.put(customer, feature, event_id, decided)
        return decided

    # --- deciding without the server ----------------------------------------------------------

    def _undecided(self, feature: str, error: TaximeterError) -> Decision:
        """By the feature's fail policy."""
        if self.options.strict:
            raise error
        engine = self._engine
        engine.complain(error)
        opened = engine.fails_open(feature)
        with engine.outbox.changed:
            if opened:
                engine.outbox.stats.failed_open += 1
            else:
                engine.outbox.stats.failed_closed += 1
        return decision.failed(feature, opened=opened, error=error)

    def _unconsumed(
        self,
        customer: str,
        feature: str,
        amount: Amount,
        event_id: str,
        data: Mapping[str, Any] | None,
        scope: Scope,
        error: TaximeterError,
    ) -> Decision:
        """By the fail policy; what it lets through is counted afterwards."""
        if isinstance(error, Rejected) and error.status in (409, 422):
            raise error
        decided = self._undecided(feature, error)
        self._answers.put(customer, feature, event_id, None)
        if decided:
            # The answer may have been lost after it was consumed: the same identity counts once.
            self._put_usage(
                customer,
                feature,
                to_pico(amount),
                event_id,
                clock.now_text(),
                data or {},
                scope,
                source=CONSUME_SOURCE,
                unsure=True,
            )
        return decided

    def _decided(self, feature: str, answer: Mapping[str, Any]) -> Decision:
        self._engine.catalogue.learn_fail(feature, answer)
        return decision.from_answer(feature, answer)

    # --- holds and leases ---------------------------------------------------------------------

    def _new_hold(self, order: HoldOrder) -> Hold:
        engine = self._engine
        return Hold(
            order, ask=engine.ask, submit=engine.keeper.submit, fails_open=engine.fails_open
        )

    def _blind(self, hold: Hold, feature: str, error: TaximeterError) -> Hold:
        """Nobody can be asked: the fail policy decides whether the hold is opened all the same."""
        if not isinstance(error, Unavailable) or not self._undecided(feature, error):
            raise error
        return hold.opened_blind(error)

    def _settle_later(self, hold: Hold, settlement: Mapping[str, Any]) -> None:
        """What the server could not be told is delivered like any other usage."""
        if hold.is_blind:
            self._engine.put(USAGE, to_json(settlement["usage"]))
        else:
            self._engine.put(SETTLEMENT, to_json(settlement))

    def _lease_order(
        self, customer: str, feature: str, size: Amount, ttl: float, scope: Scope
    ) -> tuple[Key, Order]:
        pico = to_pico(size)
        if not pico:
            raise ValueError("a lease must be more than 0")
        return _key(customer, feature, scope), Order(customer, feature, pico, ttl, scope)

    # --- frameworks ---------------------------------------------------------------------------

    def wrap(
        self,
        client: T,
        customer: str | Callable[[], str],
        *,
        type: str = "llm.request",
        data: Mapping[str, Any] | None = None,
        ask_usage: bool = True,
    ) -> T:
        """
        The same client of an OpenAI- or Anthropic-style API, its usage counted.

        Args:
            customer: Who pays, or what says so at each call.
            type: Of the events.
            data: Members for each event, beside model and tokens.
            ask_usage: Ask for `stream_options.include_usage` where an OpenAI-style stream would
                not tell its usage; switch off for servers that refuse it.

        Raises:
            TypeError: It is no client of either style.
        """
        from taximeter_sdk.wrapping import wrap

        return wrap(self, client, customer, event_type=type, data=data or {}, ask_usage=ask_usage)

    def metered(
        self,
        feature: str,
        *,
        customer: str | Callable[..., str],
        amount: Amount | Callable[[Any], Amount] = 1,
        scope: Callable[..., Mapping[str, str]] | None = None,
    ) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """
        Decorate a function so that it is checked before it runs and counted after it succeeded.

            @meter.metered("report", customer=lambda request: request.org,
                           amount=lambda report: report.pages)
            def build(request): ...

        Args:
            customer, scope: Given the function's arguments.
            amount: Fixed, or made from its result; then 1 is checked before.

        Raises:
            OverLimit: From the decorated function, before it runs.
        """
        from taximeter_sdk.metering import metered

        return metered(self, feature, customer=customer, amount=amount, scope=scope)


class _Answers:
    """
    The latest consumes that the server did not answer: those decided by lease, so that the same id
    gets the same answer, and, as None, those of which nobody knows whether they happened.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str, str], Decision | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, customer: str, feature: str, event_id: str) -> Decision | None:
        return self._answers.get((customer, feature, event_id))

    def is_in_doubt(self, customer: str, feature: str, event_id: str) -> bool:
        key = customer, feature, event_id
        return key in self._answers and self._answers[key] is None

    def put(self, customer: str, feature: str, event_id: str, decided: Decision | None) -> None:
        with self._lock:
            self._answers[customer, feature, event_id] = decided
            if len(self._answers) > MAX_ANSWERS:
                self._answers.popitem(last=False)


def _instant(at: object) -> str:
    if not isinstance(at, datetime):
        raise TypeError(f"at must be a datetime with an offset, or 'receipt', not {at!r}")
    return clock.instant_text(at)


def _key(customer: str, feature: str, scope: Scope) -> Key:
    if not scope:
        return customer, feature
    return "\0".join((customer, *(f"{k}\1{v}" for k, v in sorted(scope.items())))), feature


# --- forks ------------------------------------------------------------------------------------

_meters: weakref.WeakSet[BaseMeter] = weakref.WeakSet()


def _after_fork() -> None:
    for meter in list(_meters):
        meter._forked()


os.register_at_fork(after_in_child=_after_fork)
