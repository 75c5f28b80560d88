"""
Delivery: one background thread that sends what the outbox holds until it is answered.

A batch is asked again, unchanged, until there is an answer; identities were fixed before the first
try, so a try whose answer got lost counts once. An item the server refuses for good goes to
`on_reject` and never holds up its neighbours.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from taximeter_sdk.backoff import pause_s
from taximeter_sdk.calls import settle_call
from taximeter_sdk.catalogue import Catalogue, NotMetered
from taximeter_sdk.encoding import from_json, to_json
from taximeter_sdk.errors import Rejected, TaximeterError
from taximeter_sdk.outbox import EVENT, SETTLEMENT, USAGE, Item, Outbox
from taximeter_sdk.transport import Call, Transport

log = logging.getLogger("taximeter_sdk")

ADOPT_EVERY_S: Final = 30.0
# A problem with what was sent. Anything else (a wrong key, a wrong URL) is a problem with where or
# as whom, which an operator can mend: those events are kept and asked again.
_OF_THE_CONTENT: Final = frozenset({400, 413, 415, 422})
_BADNESS: Final = {"duplicate": 0, "accepted": 1, "conflict": 2, "rejected": 3}


class Rejection(NamedTuple):
    """
    What the server refuses for good.

    Attributes:
        item: The event, or the usage or settlement that could not become one.
        code: Why; `event_conflict` for an identity known with other content.
    """

    item: Mapping[str, Any]
    code: str
    detail: str


class Answered(NamedTuple):
    """One item and its event, with what became of it."""

    item: Item
    status: str
    code: str = ""
    detail: str = ""


class Delivery:
    """
    Args:
        batch_bytes: Of one request, unless one item is larger.
        linger_s: How long a batch that is not full waits for more.
        on_reject: Called in the delivery thread.
        on_leased: Called with each usage of a lease that was answered.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        catalogue: Catalogue,
        *,
        batch_bytes: int,
        linger_s: float,
        on_reject: Callable[[Rejection], object] | None,
        on_leased: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._outbox, self._transport, self._catalogue = outbox, transport, catalogue
        self._batch_bytes, self._linger_s = batch_bytes, linger_s
        self._on_reject, self._on_leased = on_reject, on_leased
        self._thread: threading.Thread | None = None
        self._hurried = 0
        self._stopping = threading.Event()

    # --- the thread ---------------------------------------------------------------------------

    def start(self) -> bool:
        """Start the thread if it does not run. True if this call started it."""
        if self._thread is not None:
            return False
        with self._outbox.changed:
            if self._thread is not None or self._stopping.is_set():
                return False
            self._thread = threading.Thread(
                target=self._run, name="taximeter-delivery", daemon=True
            )
        self._thread.start()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Send what is there now, without lingering. True if all of it was answered in time."""
        self.start()
        with self._outbox.changed:
            self._hurried += 1
            self._outbox.changed.notify_all()
        try:
            return self._outbox.wait_finished(timeout_s)
        finally:
            with self._outbox.changed:
                self._hurried -= 1

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        with self._outbox.changed:
            self._outbox.changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        adopted_at: float | None = None
        while not self._stopping.is_set():
            if adopted_at is None or time.monotonic() - adopted_at > ADOPT_EVERY_S:
                self._adopt()
                adopted_at = time.monotonic()
            if not self._wait_for_items():
                continue
            try:
                self._deliver(self._outbox.take(self._batch_bytes))
            except Exception:  # a defect of ours must not end delivery
                log.exception("delivery failed; it goes on")
                self._stopping.wait(pause_s(8))

    def _adopt(self) -> None:
        try:
            self._outbox.adopt()
        except OSError as error:
            self._outbox.stats.last_error = f"spool: {error}"

    def _wait_for_items(self) -> bool:
        """False if there is nothing to do but to look at the spool again."""
        outbox = self._outbox
        with outbox.changed:
            outbox.changed.wait_for(
                lambda: self._stopping.is_set() or not outbox.is_empty(), ADOPT_EVERY_S
            )
            if self._stopping.is_set() or outbox.is_empty():
                return False
            outbox.changed.wait_for(
                lambda: self._stopping.is_set() or self._hurried or outbox.has_batch,
                self._linger_s,
            )
            return not self._stopping.is_set()

    # --- batches ------------------------------------------------------------------------------

    def _deliver(self, items: list[Item]) -> None:
        settlements = [item for item in items if item.kind == SETTLEMENT]
        events = [item for item in items if item.kind != SETTLEMENT]
        if events:
            self._until_answered(partial(self._send_events, events))
        for settlement in settlements:
            self._until_answered(partial(self._settle, settlement))

    def _until_answered(self, attempt: Callable[[], None]) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                attempt()
                return
            except TaximeterError as error:
                failures += 1
                self._outbox.stats.retries += 1
                self._outbox.stats.last_error = str(error)
                if failures == 1:
                    log.warning("usage is kept and sent later: %s", error)
                self._stopping.wait(pause_s(failures, getattr(error, "retry_after_s", 0.0)))

    def _send_events(self, items: Sequence[Item]) -> None:
        """Resolve usage into events, send all, and account for each."""
        sendable: list[tuple[Item, bytes]] = []
        answered: list[Answered] = []
        for item in items:
            try:
                sendable += [(item, text) for text in self._events(item)]
            except NotMetered as error:
                answered.append(Answered(item, "rejected", error.code, error.detail))
        if sendable:
            answered += _whole(self._post(sendable))
        self._account(answered)

    def _events(self, item: Item) -> list[bytes]:
        if item.kind == EVENT:
            return [item.text]
        return self._catalogue.events_of(from_json(item.text))

    def _post(self, batch: Sequence[tuple[Item, bytes]]) -> list[Answered]:
        body = b"[" + b",".join(text for _, text in batch) + b"]"
        call = Call("POST", "/v1/events", body, {"receipts": "1"})
        try:
            answer = self._transport.send(call)
        except Rejected as error:
            if error.status not in _OF_THE_CONTENT:
                raise
            if len(batch) == 1:
                return [Answered(batch[0][0], "rejected", error.code, error.detail)]
            # One of them spoils the request: halve until it stands alone.
            half = len(batch) // 2
            return self._post(batch[:half]) + self._post(batch[half:])
        reasons = {error["index"]: error for error in answer["errors"]}
        return [
            _answered(batch[receipt["index"]][0], receipt, reasons.get(receipt["index"], {}))
            for receipt in answer["receipts"]
        ]

    def _account(self, answered: list[Answered]) -> None:
        stats = self._outbox.stats
        with self._outbox.changed:
            if not self._outbox.answered([one.item for one in answered]):
                return
            for one in answered:
                stats.sent += 1
                match one.status:
                    case "accepted":
                        stats.accepted += 1
                    case "duplicate":
                        stats.duplicates += 1
                    case "conflict":
                        stats.conflicts += 1
                    case _:
                        stats.rejected += 1
        for one in answered:
            self._tell(one)

    def _tell(self, one: Answered) -> None:
        if one.item.kind != EVENT:
            usage = from_json(one.item.text)
            if "lease" in usage:
                self._on_leased(usage)
        if one.status in ("accepted", "duplicate"):
            return
        code = one.code or ("event_conflict" if one.status == "conflict" else one.status)
        self._reject(Rejection(from_json(one.item.text), code, one.detail))

    def _reject(self, rejection: Rejection) -> None:
        self._outbox.stats.last_error = f"{rejection.code}: {rejection.detail}"
        if self._on_reject is None:
            log.error("usage was refused: %s: %s", rejection.code, rejection.detail)
            return
        try:
            self._on_reject(rejection)
        except Exception:
            log.exception("on_reject failed")

    # --- settlements --------------------------------------------------------------------------

    def _settle(self, item: Item) -> None:
        settlement = from_json(item.text)
        try:
            self._transport.send(settle_call(settlement))
        except Rejected as error:
            if error.code in ("reservation_expired", "not_found"):
                self._count_lapsed(item, settlement)
                return
            if error.status not in _OF_THE_CONTENT and error.status != 409:
                raise
            if error.code != "already_resolved":
                self._account([Answered(item, "rejected", error.code, error.detail)])
                return
        with self._outbox.changed:
            if self._outbox.answered([item]):
                self._outbox.stats.settled += 1

    def _count_lapsed(self, item: Item, settlement: Mapping[str, Any]) -> None:
        """The reservation has lapsed, the usage has not: it counts as a plain event."""
        usage = Item(USAGE, to_json(settlement["usage"]), None)
        try:
            (answer,) = _whole(self._post([(usage, text) for text in self._events(usage)]))
        except NotMetered as error:
            answer = Answered(usage, "rejected", error.code, error.detail)
        self._account([answer._replace(item=item)])


def _answered(item: Item, receipt: Mapping[str, Any], reason: Mapping[str, Any]) -> Answered:
    status = str(receipt["status"])
    if status == "conflict" and item.kind == USAGE and from_json(item.text).get("unsure"):
        # A consume whose answer got lost had been counted after all; its event had no time yet.
        status = "duplicate"
    return Answered(item, status, str(reason.get("code", "")), str(reason.get("detail", "")))


def _whole(answered: Sequence[Answered]) -> list[Answered]:
    """One for each item; where an item became several events, the worst that befell one."""
    worst: dict[int, Answered] = {}
    for one in answered:
        before = worst.setdefault(id(one.item), one)
        if _BADNESS[one.status] > _BADNESS[before.status]:
            worst[id(one.item)] = one
    return list(worst.values())
