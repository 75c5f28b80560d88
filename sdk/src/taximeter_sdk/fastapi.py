"""
FastAPI: a dependency that asks the gate, and refusals as problem documents.

    from taximeter_sdk.fastapi import gate, install

    install(app)

    @app.post("/reports")
    def build(decision: Annotated[Decision, Depends(gate(meter, "report", customer=org))]): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import Depends, FastAPI, Request, Response

from taximeter_sdk.aio import AsyncTaximeter
from taximeter_sdk.base import BaseMeter
from taximeter_sdk.client import Taximeter
from taximeter_sdk.decision import Decision
from taximeter_sdk.errors import OverLimit
from taximeter_sdk.quantities import Amount
from taximeter_sdk.web.refusals import rate_limit_fields, refusal_of


def gate(
    meter: BaseMeter,
    feature: str,
    *,
    customer: Callable[..., Any],
    amount: Amount = 1,
    mode: Literal["check", "consume"] = "check",
) -> Callable[..., Awaitable[Decision]]:
    """
    A dependency that gives the decision, or raises `OverLimit`, which `install` answers.

    Args:
        customer: A dependency that gives the customer's key.
        mode: `consume` counts at once; `check` leaves counting to you.
    """

    async def decide(response: Response, who: Any = Depends(customer)) -> Decision:
        if isinstance(meter, AsyncTaximeter):
            ask = meter.check if mode == "check" else meter.consume
            decision = await ask(who, feature, amount)
        else:
            assert isinstance(meter, Taximeter)
            call = meter.check if mode == "check" else meter.consume
            decision = await asyncio.to_thread(call, who, feature, amount)
        if not decision:
            raise OverLimit(decision)
        for name, value in rate_limit_fields(decision):
            response.headers[name] = value
        return decision

    return decide


def install(app: FastAPI) -> None:
    """Answer every `OverLimit`, from `gate`, `reserve` or `metered`, with its problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, OverLimit)
        refusal = refusal_of(error.decision)
        return Response(refusal.body, refusal.status, dict(refusal.headers))

    app.add_exception_handler(OverLimit, answer)
