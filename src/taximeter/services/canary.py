"""
The canary: a customer whose usage is known goes through the whole chain, to the cent, all the time.

It lives in a namespace of its own, so its invoices, numbers, credits and revenue are nobody else's.
Everything it does, it does as a client over HTTP; what should come out, it works out by itself,
with arithmetic that shares nothing with the rating it checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from typing import Any, Final, Protocol

import msgspec

from taximeter.errors import TaximeterError
from taximeter.instants import DAY, format_instant
from taximeter.services.core import Core
from taximeter.services.customers import new_id

logger = logging.getLogger(__name__)

NAMESPACE: Final = "taximeter-canary"
TOLD: Final = "default"
"""The namespace whose webhooks hear of a failure."""

CUSTOMER: Final = "canary"
LIMIT: Final = 10**9
FEE_CENTS: Final = 100
FIRST_TIER: Final = 1000
FIRST_CENTS: Final = 2
"""Price of a unit, up to and including `FIRST_TIER`."""

REST_CENTS: Final = 1
"""Price of a unit beyond."""

AMOUNTS_TENTHS: Final = (70, 115)
"""What one run uses, in tenths of a unit: 7 and 11.5."""

CATALOG: Final[dict[str, Any]] = {
    "meters": {"units": {"event_type": "canary", "aggregation": "sum", "value": "data.units"}},
    "features": {"sing": {"type": "metered", "meter": "units"}},
    "plans": {
        "canary": {
            "currency": "USD",
            "cadence": "day",
            "entitlements": {"sing": {"limit": LIMIT, "enforcement": "hard", "reset": "period"}},
            "prices": {
                "base": {"type": "flat", "amount": "1.00"},
                "units": {
                    "type": "graduated",
                    "meter": "units",
                    "tiers": [
                        {"up_to": FIRST_TIER, "unit": "0.02"},
                        {"unit": "0.01"},
                    ],
                },
            },
        }
    },
}


class Ask(Protocol):
    """One request under the canary's key: gives the JSON, or raises what the problem says."""

    def __call__(
        self, method: str, path: str, body: Any = None, **query: Any
    ) -> Awaitable[Any]: ...


class Step(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        return self.expected == self.found


class Run(msgspec.Struct, frozen=True):
    """
    Attributes:
        at: When it began, microseconds.
        error: What broke it off; None if it came to its end.
    """

    number: int
    at: int
    seconds: str
    steps: tuple[Step, ...]
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.error is None and all(step.ok for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at": format_instant(self.at),
            "ok": self.ok,
            "seconds": self.seconds,
            "error": self.error,
            "steps": [
                {
                    "name": step.name,
                    "ok": step.ok,
                    "expected": step.expected,
                    "found": step.found,
                }
                for step in self.steps
            ],
        }


def fare_cents(tenths: int) -> int:
    """
    What a day of the canary costs: its fee, and its units by the two tiers, rounded half up.

    Args:
        tenths: Units used, in tenths.
    """
    first = min(tenths, FIRST_TIER * 10)
    tenths_of_cents = first * FIRST_CENTS + (tenths - first) * REST_CENTS
    return FEE_CENTS + (tenths_of_cents + 5) // 10


def cents(amount: str) -> str:
    """Text of money, as whole cents, without any arithmetic on fractions."""
    whole, _, fraction = amount.partition(".")
    return str(int(whole + fraction.ljust(2, "0")))


def tenths_of(quantity: str) -> int:
    whole, _, fraction = quantity.partition(".")
    return int(whole + (fraction or "0")[:1])


class Canary:
    """
    Args:
        every_s: Seconds between two runs; 0 for only when asked.
        ask: How it talks to the node; set once that listens.
    """

    def __init__(self, core: Core, every_s: int) -> None:
        self._core = core
        self.every_s = every_s
        self.ask: Ask | None = None
        self.last: Run | None = None
        self.runs = self.failures = 0
        self._task: asyncio.Task[None] | None = None
        self._running = asyncio.Lock()
        self._prepared = False

    async def start(self, ask: Ask) -> None:
        self.ask = ask
        if self.every_s:
            self._task = asyncio.create_task(self._for_ever(), name="canary")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def to_json(self) -> dict[str, Any]:
        return {
            "namespace": NAMESPACE,
            "enabled": self.every_s > 0,
            "every_s": self.every_s,
            "ok": self.last is None or self.last.ok,
            "runs": self.runs,
            "failures": self.failures,
            "last": None if self.last is None else self.last.to_json(),
        }

    async def _for_ever(self) -> None:
        while True:
            await self.run()
            await asyncio.sleep(self.every_s)

    async def run(self) -> Run:
        """Once through the chain."""
        async with self._running:
            at, began = self._core.clock.now(), time.perf_counter()
            steps: list[Step] = []
            error: str | None = None
            try:
                await self._sing(steps)
            except TaximeterError as broken:
                error = f"{broken.code}: {broken.message}"
            except (KeyError, ValueError, TypeError) as broken:
                error = f"an answer that cannot be read: {broken!r}"
            seconds = f"{time.perf_counter() - began:.3f}"
            self.runs += 1
            run = Run(self.runs, at, seconds, tuple(steps), error)
            was_ok = self.last is None or self.last.ok
            self.last = run
            if not run.ok:
                self.failures += 1
                logger.error("the canary has failed", extra={"run": run.to_json()})
                if was_ok:
                    self._tell(run)
            return run

    def _tell(self, run: Run) -> None:
        if self._core.notices is not None:
            wrong = [step for step in run.steps if not step.ok]
            data = run.to_json() | {"failed": [step.name for step in wrong]}
            key = f"canary:{run.at}"
            self._core.notices.publish(TOLD, "canary.failed", None, data, key)

    # --- the chain ----------------------------------------------------------------------------

    async def _sing(self, steps: list[Step]) -> None:
        assert self.ask is not None, "it has begun"
        ask = self.ask
        if not self._prepared:
            await _prepare(ask, self._core.clock.now())
            self._prepared = True
        await _close(ask, steps)
        before = await _used(ask)
        now = self._core.clock.now()
        name = new_id("run")
        await _send(ask, steps, name, now)
        used = await _used(ask)
        if now // DAY != self._core.clock.now() // DAY:
            return  # the day ended in the middle of it: there is another run
        expected = before + sum(AMOUNTS_TENTHS)
        steps.append(Step("counted", str(expected), str(used)))
        await _compare(ask, steps, name, now, expected)


async def _prepare(ask: Ask, now: int) -> None:
    await ask("PUT", "/v1/catalog", CATALOG)
    await ask("PUT", f"/v1/customers/{CUSTOMER}", {"currency": "USD", "timezone": "UTC"})
    found = await ask("GET", "/v1/subscriptions", customer=CUSTOMER)
    if not found["items"]:
        body = {"customer": CUSTOMER, "plan": "canary", "start": format_instant(now // DAY * DAY)}
        await ask("POST", "/v1/subscriptions", body)


async def _used(ask: Ask) -> int:
    body = {"customer": CUSTOMER, "feature": "sing", "amount": 1}
    decision = await ask("POST", "/v1/check", body)
    return tenths_of(decision["used"])


async def _send(ask: Ask, steps: list[Step], name: str, now: int) -> None:
    """Two events, and one of them again."""
    events = [
        {
            "id": f"{name}-{place}",
            "source": "canary",
            "type": "canary",
            "subject": CUSTOMER,
            "time": format_instant(now),
            "data": {"units": f"{tenths // 10}.{tenths % 10}"},
        }
        for place, tenths in enumerate(AMOUNTS_TENTHS)
    ]
    answer = await ask("POST", "/v1/events", [*events, events[0]])
    found = f"{answer['accepted']} accepted, {answer['duplicates']} duplicates"
    steps.append(Step("accepted", "2 accepted, 1 duplicates", found))


async def _compare(ask: Ask, steps: list[Step], name: str, now: int, tenths: int) -> None:
    """The decision, the recount, the fare and the event's own receipt."""
    decision = await ask(
        "POST", "/v1/check", {"customer": CUSTOMER, "feature": "sing", "amount": LIMIT}
    )
    steps.append(Step("refused", "False limit_reached", _reason(decision)))
    day = now // DAY * DAY
    recounted = await _recounted(ask, day)
    steps.append(Step("stored", str(tenths), str(recounted)))
    fare = await ask("GET", f"/v1/customers/{CUSTOMER}/invoices/preview")
    steps.append(Step("fare in cents", str(fare_cents(tenths)), cents(fare["total"])))
    receipt = await ask("GET", "/v1/events/receipt", id=f"{name}-0", source="canary")
    steps.append(Step("receipt", "accepted by units", _receipt(receipt)))


def _reason(decision: dict[str, Any]) -> str:
    return f"{decision['allowed']} {decision['reason']}"


def _receipt(receipt: dict[str, Any]) -> str:
    return f"{receipt['status']} by {', '.join(receipt['meters'])}"


async def _recounted(ask: Ask, day: int) -> int:
    span = {"from": format_instant(day), "to": format_instant(day + DAY), "window": "none"}
    usage = await ask("GET", "/v1/meters/units/usage", customer=CUSTOMER, **span)
    return sum(tenths_of(item["value"]) for item in usage["items"])


async def _close(ask: Ask, steps: list[Step]) -> None:
    """The invoices of the days that have ended: to the cent, proved, and final."""
    closed = await ask("POST", "/v1/close", {})
    for invoice_id in closed["invoices"]:
        invoice = await ask("GET", f"/v1/invoices/{invoice_id}")
        tenths = sum(
            tenths_of(line["quantity"]) for line in invoice["lines"] if line["kind"] == "usage"
        )
        name = f"invoice of {invoice['period']['start'][:10]}"
        expected = str(fare_cents(tenths))
        steps.append(Step(f"{name} in cents", expected, cents(invoice["total"])))
        verdict = await ask("GET", f"/v1/invoices/{invoice_id}/verify")
        steps.append(Step(f"{name} recounted", "True", str(verdict["ok"])))
        issued = await ask("POST", f"/v1/invoices/{invoice_id}/finalize")
        steps.append(Step(f"{name} numbered", "True", str(issued["number"] is not None)))
