"""
The gate over HTTP. `check` is answered without a task or a wait: it only reads memory.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Refused, Rejected
from taximeter.events.entry import KIND_CONSUME
from taximeter.events.replay import consumed_answer
from taximeter.quantities import E12, format_quantity, parse_quantity
from taximeter.services.feed import Decision
from taximeter.services.gate import check, consume
from taximeter.services.tenant import Tenant


class GateRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core
        self._decoder = msgspec.json.Decoder(shapes.CheckBody, float_hook=Decimal)

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/check", self.check,
                scope="check", tags=("gate",), summary="May this customer use this now?",
                description="Answers from memory, exact to the last acknowledged event. A refusal "
                "is an answer with `allowed: false`, not an error.",
                request=shapes.CheckBody, response=shapes.DecisionAnswer, essential=True,
                errors=("invalid_quantity", "rebuilding"),
                example={"customer": "acme", "feature": "chat", "amount": 500},
            ),
            Route(
                "POST", "/v1/consume", self.consume,
                scope="check", tags=("gate",), summary="Check, and record the usage, in one step",
                description="The same `id` again gives the same answer.",
                request=shapes.ConsumeBody, response=shapes.ConsumeAnswer, essential=True,
                errors=("invalid_quantity", "feature_not_metered", "amount_not_countable",
                        "event_conflict", "overloaded", "storage_full", "storage_failed",
                        "rebuilding"),
                example={"customer": "acme", "feature": "chat", "amount": 500, "id": "req_1"},
            ),
        ]  # fmt: skip

    def check(self, request: Request) -> Response:
        started = time.perf_counter()
        try:
            body = self._decoder.decode(request.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            body = request.json(shapes.CheckBody)  # says precisely what is wrong
        amount_pico = _amount(body.amount)
        tenant = self._around.tenant(request)
        core = self._core
        decision = check(tenant, body.customer, body.feature, amount_pico, core.clock.now())
        telemetry = core.telemetry
        telemetry.decided(decision.allowed)
        if core.feed.watched(tenant.name):
            self._show(tenant, body, decision.allowed, decision.reason.value)
        answer = json_response(decision.to_json(core.as_of()))
        telemetry.check.observe(time.perf_counter() - started)
        return answer

    async def consume(self, request: Request) -> Response:
        started = time.perf_counter()
        body = request.json(shapes.ConsumeBody)
        amount_pico = _amount(body.amount)
        tenant = self._around.tenant(request)
        core = self._core
        result = consume(
            core,
            self._around.answers,
            tenant,
            body.customer,
            body.feature,
            amount_pico,
            body.id,
            body.data,
            core.clock.now(),
        )
        if isinstance(result, int):
            return Response(200, self._first_answer(result, body.id))
        if core.feed.watched(tenant.name):
            self._show(tenant, body, result.answer["allowed"], result.answer["reason"])
        core.telemetry.decided(result.answer["allowed"])
        if result.durable is not None:
            await result.durable
        core.telemetry.consume.observe(time.perf_counter() - started)
        return json_response(result.answer)

    def _first_answer(self, seq: int, event_id: str) -> bytes:
        """
        Raises:
            Refused: `event_conflict`: the event came as an event, so there never was an answer.
        """
        for logged in self._around.log.read(seq - 1, seq):
            if logged.first_seq == seq and logged.entry.kind == KIND_CONSUME:
                return consumed_answer(logged.entry)
        raise Refused("event_conflict", f"The id {event_id!r} was used for an event.")

    def _show(
        self, tenant: Tenant, body: shapes.CheckBody | shapes.ConsumeBody, allowed: bool, why: str
    ) -> None:
        account = tenant.account(body.customer)
        customer = body.customer if account is None else account.customer
        amount = format_quantity(_amount(body.amount))
        self._core.feed.decision(tenant, Decision(customer, body.feature, allowed, why, amount))


def _amount(value: Any) -> int:
    if type(value) is int and 0 <= value < 1_000_000_000:
        return value * E12
    amount_pico = parse_quantity(value)
    if amount_pico < 0:
        raise Rejected("invalid_quantity", "An amount cannot be negative.")
    return amount_pico
