"""
Budgets and seats over HTTP.
"""

from __future__ import annotations

from typing import Any

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import gate_shapes as shapes
from taximeter.adapters.http.routes.answers import refusal, told
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.entitlements.decide import Decision
from taximeter.services.core import require_customer
from taximeter.services.gate.budgets import (
    budget_json,
    drop_budget,
    find_budget,
    leave_seat,
    parse_budget,
    seats_json,
    seats_of,
    set_budget,
    take_seat,
)
from taximeter.services.gate.clockwork import prepare
from taximeter.services.gate.reservations import ttl_us

_LOG = ("overloaded", "storage_full", "storage_failed")


class BudgetRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        budget = "/v1/customers/{key}/budgets/{id}"
        seat = "/v1/customers/{key}/seats/{feature}/{holder}"
        return [
            Route(
                "PUT", budget, self.put,
                scope="write", tags=("budgets",), summary="Set a budget",
                description="Units of a feature or spending of a credit, of the customer or of one "
                "scope below it. Usage counts against it from now on.",
                request=shapes.BudgetBody, errors=("not_found", *_LOG), idempotent=True,
                example={"feature": "chat", "limit": 5000, "reset": "day", "scope": {"user": "u7"}},
            ),
            Route(
                "GET", "/v1/customers/{key}/budgets", self.list,
                scope="read", tags=("budgets",), summary="All budgets of a customer",
                response=shapes.AnyList, errors=("not_found",),
            ),
            Route(
                "GET", budget, self.get,
                scope="read", tags=("budgets",), summary="One budget", errors=("not_found",),
            ),
            Route(
                "DELETE", budget, self.delete,
                scope="write", tags=("budgets",), summary="Remove a budget",
                errors=("not_found", *_LOG), idempotent=True,
            ),
            Route(
                "PUT", seat, self.take,
                scope="check", tags=("seats",), summary="Assign a seat",
                description="With `ttl_s` it is concurrent and free again by itself.",
                request=shapes.SeatBody,
                errors=("not_found", "limit_reached", "not_entitled", "no_subscription", "paused",
                        "invalid_parameter", *_LOG),
                idempotent=True,
            ),
            Route(
                "DELETE", seat, self.leave,
                scope="check", tags=("seats",), summary="Release a seat",
                errors=("not_found", *_LOG), idempotent=True,
            ),
            Route(
                "GET", "/v1/customers/{key}/seats/{feature}", self.seats,
                scope="read", tags=("seats",), summary="Who has a seat", errors=("not_found",),
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        body = request.json(shapes.BudgetBody)
        tenant, now = self._around.tenant(request), self._core.clock.now()
        customer = request.params["key"]
        require_customer(tenant, customer)
        limit: dict[str, Any] = {
            "limit": body.limit,
            "reset": body.reset,
            "enforcement": body.enforcement,
        }
        if body.grace is not None:
            limit["grace"] = body.grace
        budget = parse_budget(
            tenant, request.params["id"], limit, body.scope, body.feature, body.credit, now
        )
        result = set_budget(self._core, self._around.commands, tenant, customer, budget, now)
        return await told(self._around, result)

    async def list(self, request: Request) -> Response:
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        purse = tenant.live.gate.purses.get(customer)
        budgets = [] if purse is None else sorted(purse.budgets.values(), key=lambda one: one.id)
        items = [budget_json(customer, budget) for budget in budgets]
        return json_response({"items": items, "next": None})

    async def get(self, request: Request) -> Response:
        tenant, customer = self._around.tenant(request), request.params["key"]
        return json_response(
            budget_json(customer, find_budget(tenant, customer, request.params["id"]))
        )

    async def delete(self, request: Request) -> Response:
        tenant, now = self._around.tenant(request), self._core.clock.now()
        result = drop_budget(
            self._core,
            self._around.commands,
            tenant,
            request.params["key"],
            request.params["id"],
            now,
        )
        return await told(self._around, result)

    async def take(self, request: Request) -> Response:
        body = request.json(shapes.SeatBody) if request.body else shapes.SeatBody()
        tenant, now = self._around.tenant(request), self._core.clock.now()
        customer = request.params["key"]
        require_customer(tenant, customer)
        prepare(self._around.commands, tenant, customer, now)
        result = take_seat(
            self._core,
            self._around.commands,
            tenant,
            customer,
            request.params["feature"],
            request.params["holder"],
            None if body.ttl_s is None else now + ttl_us(body.ttl_s),
            now,
        )
        if isinstance(result, Decision):
            return await refusal(self._around, result, request.request_id, now)
        return await told(self._around, result)

    async def leave(self, request: Request) -> Response:
        tenant, now = self._around.tenant(request), self._core.clock.now()
        result = leave_seat(
            self._core,
            self._around.commands,
            tenant,
            request.params["key"],
            request.params["feature"],
            request.params["holder"],
            now,
        )
        return await told(self._around, result)

    async def seats(self, request: Request) -> Response:
        tenant, now = self._around.tenant(request), self._core.clock.now()
        customer, feature = request.params["key"], request.params["feature"]
        require_customer(tenant, customer)
        prepare(self._around.commands, tenant, customer, now)
        total = seats_of(tenant, customer, feature, now)
        if isinstance(total, Decision):
            return await refusal(self._around, total, request.request_id, now)
        return json_response(seats_json(tenant, customer, feature, total))
