"""
The gate over HTTP. `check` is answered without a task or a wait: it only reads memory.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.answers import (
    Headers,
    answer_headers,
    has_rate,
    pace_headers,
    retry_headers,
    soon,
)
from taximeter.adapters.http.routes.gate_shapes import EstimateAnswer
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.quantities import E12, format_quantity, parse_quantity
from taximeter.services.gate.check import Ask, Weighed, check, usage_event, weigh
from taximeter.services.gate.clockwork import prepare
from taximeter.services.gate.commands import Answered
from taximeter.services.gate.consume import consume


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
                idempotent=True,
            ),
            Route(
                "POST", "/v1/estimate", self.estimate,
                scope="check", tags=("gate",), summary="What would it cost?",
                description="The decision and its cost in credit, without doing anything.",
                request=shapes.CheckBody, response=EstimateAnswer, essential=True,
                errors=("invalid_quantity", "feature_not_metered", "rebuilding"),
                example={"customer": "acme", "feature": "chat", "amount": 500},
            ),
        ]  # fmt: skip

    def check(self, request: Request) -> Response:
        started = time.perf_counter()
        ask = self._ask(request)
        tenant, core = self._around.tenant(request), self._core
        now = core.clock.now()
        prepare(self._around.commands, tenant, ask.customer, now)
        decision = check(tenant, ask, now)
        self._around.decided(tenant, ask, decision.allowed, decision.reason.value)
        headers: Headers = ()
        if has_rate(decision):
            headers = (*pace_headers(tenant, ask, now), *retry_headers(decision, now))
        answer = json_response(decision.to_json(core.as_of()), headers=headers)
        core.telemetry.check.observe(time.perf_counter() - started)
        return answer

    def _ask(self, request: Request) -> Ask:
        try:
            body = self._decoder.decode(request.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            body = request.json(shapes.CheckBody)  # says precisely what is wrong
        return Ask(body.customer, body.feature, amount(body.amount), body.scope, body.data)

    def consume(self, request: Request) -> Awaitable[Response]:
        started = time.perf_counter()
        body = request.json(shapes.ConsumeBody)
        ask = Ask(body.customer, body.feature, amount(body.amount), body.scope, body.data)
        tenant, core = self._around.tenant(request), self._core
        now = core.clock.now()
        commands = self._around.commands
        prepare(commands, tenant, ask.customer, now)
        result = consume(core, commands, tenant, ask, body.id, now)

        def then() -> None:
            if isinstance(result, Answered):
                decided = result.answer
                self._around.decided(tenant, ask, decided["allowed"], decided["reason"])
            core.telemetry.consume.observe(time.perf_counter() - started)

        headers: Headers = ()
        if isinstance(result, Answered):
            headers = answer_headers(tenant, ask, result.answer, now)
        return soon(self._around, result, then=then, headers=headers)

    def estimate(self, request: Request) -> Response:
        ask = self._ask(request)
        tenant, now = self._around.tenant(request), self._core.clock.now()
        prepare(self._around.commands, tenant, ask.customer, now)
        event = None
        if tenant.account(ask.customer) is not None and ask.feature in tenant.catalog.features:
            event = usage_event(tenant, ask.customer, ask.feature, "estimate", "", E12, ask)
        weighed = weigh(tenant, ask, now, event)
        decision = weighed.decision if isinstance(weighed, Weighed) else weighed
        cost = decision.credit_cost_pico
        return json_response(
            decision.to_json(self._core.as_of())
            | {"cost": None if cost is None else format_quantity(cost)}
        )


def amount(value: Any) -> int:
    """
    A quantity of a request, in pico.

    Raises:
        Rejected: `invalid_quantity`, also below zero.
    """
    if type(value) is int and 0 <= value < 1_000_000_000:
        return value * E12
    amount_pico = parse_quantity(value)
    if amount_pico < 0:
        raise Rejected("invalid_quantity", "An amount cannot be negative.")
    return amount_pico
