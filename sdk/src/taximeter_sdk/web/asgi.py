"""
ASGI middleware: counts requests, and refuses what the gate refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from taximeter_sdk.aio import AsyncTaximeter
from taximeter_sdk.base import BaseMeter
from taximeter_sdk.client import Taximeter
from taximeter_sdk.decision import Decision
from taximeter_sdk.quantities import Amount
from taximeter_sdk.web.refusals import Refusal, rate_limit_fields, refusal_of
from taximeter_sdk.web.requests import Mode, Rules

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class TaximeterMiddleware:
    """
        app.add_middleware(TaximeterMiddleware, meter=meter, feature="api", mode="consume",
                           customer=lambda scope: scope["state"].get("org"))

    Args:
        customer: From the ASGI scope; None lets a request through unmetered.
        mode, feature, type, amount: See `web.requests.Rules`.
    """

    def __init__(
        self,
        app: Application,
        *,
        meter: BaseMeter,
        customer: Callable[[MutableMapping[str, Any]], str | None],
        mode: Mode = "count",
        feature: str | None = None,
        type: str = "http.request",
        amount: Amount = 1,
    ) -> None:
        self.app = app
        self.rules = Rules(meter, customer, mode, feature, type, amount)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        customer = self.rules.customer(scope) if scope["type"] == "http" else None
        if customer is None:
            await self.app(scope, receive, send)
            return
        decision = await self._decide(customer)
        if decision is not None and not decision:
            await _refuse(refusal_of(decision), send)
            return
        fields = [] if decision is None else rate_limit_fields(decision)
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_encoded(fields)]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            self.rules.count(customer, scope["method"], _path(scope), status)

    async def _decide(self, customer: str) -> Decision | None:
        rules = self.rules
        if rules.mode == "count" or rules.feature is None:
            return None
        meter = rules.meter
        if isinstance(meter, AsyncTaximeter):
            ask = meter.check if rules.mode == "check" else meter.consume
            return await ask(customer, rules.feature, rules.amount)
        assert isinstance(meter, Taximeter)
        call = meter.check if rules.mode == "check" else meter.consume
        return await asyncio.to_thread(call, customer, rules.feature, rules.amount)


def _path(scope: MutableMapping[str, Any]) -> str:
    """The route's pattern where the framework says it: `/users/{id}` is one path, not a million."""
    route = scope.get("route")
    return str(getattr(route, "path", None) or scope["path"])


async def _refuse(refusal: Refusal, send: Send) -> None:
    headers = _encoded([*refusal.headers, ("Content-Length", str(len(refusal.body)))])
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers]
