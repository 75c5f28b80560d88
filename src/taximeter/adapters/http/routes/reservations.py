"""
Reservations and leases over HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import gate_shapes as shapes
from taximeter.adapters.http.routes.answers import (
    Headers,
    answer_headers,
    has_rate,
    pace_headers,
    refusal,
    soon,
)
from taximeter.adapters.http.routes.gate import amount
from taximeter.adapters.http.routes.paging import listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.entitlements.decide import Decision
from taximeter.errors import NotFound, Rejected
from taximeter.gate.purse import Hold
from taximeter.instants import format_instant
from taximeter.services.customers import new_id
from taximeter.services.gate.check import Ask
from taximeter.services.gate.clockwork import prepare
from taximeter.services.gate.commands import Answered
from taximeter.services.gate.reservations import (
    Wanted,
    extend,
    hold_json,
    release,
    reserve,
    settle,
    ttl_us,
)
from taximeter.services.tenant import Tenant

_LOG = ("overloaded", "storage_full", "storage_failed")
_REFUSALS = (
    "insufficient_credit", "limit_reached", "budget_reached", "rate_limited", "not_entitled",
    "no_subscription", "paused", "not_found", "rebuilding",
)  # fmt: skip
_OPENING = ("invalid_quantity", "feature_not_metered", "amount_not_countable", "event_conflict",
            "invalid_parameter", *_REFUSALS, *_LOG)  # fmt: skip
_OPEN_ONLY = ("not_found", "already_resolved", "reservation_expired", *_LOG)


class ReservationRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/reservations", self.reserve,
                scope="check", tags=("gate",), summary="Set units and credit aside",
                description="Held until it is settled, released, or lapses after `ttl_s`. The "
                "same `id` again gives the same answer. A refusal is a problem with the decision's "
                "members.",
                request=shapes.ReservationBody, response=shapes.ReservationAnswer, status=201,
                errors=_OPENING, essential=True, idempotent=True,
                example={"customer": "acme", "feature": "chat", "amount": 4000, "id": "stream_1"},
            ),
            Route(
                "GET", "/v1/reservations", self.list,
                scope="read", tags=("gate",), summary="Open reservations",
                query=shapes.ReservationParameters, response=shapes.ReservationList,
                errors=("invalid_parameter",),
            ),
            Route(
                "GET", "/v1/reservations/{id}", self.get,
                scope="read", tags=("gate",), summary="One reservation, or how it ended",
                response=shapes.ReservationAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/reservations/{id}/settle", self.settle,
                scope="check", tags=("gate",), summary="Record what was used, free the rest",
                description="Records a usage event with the amount. More than is held is refused "
                "unless `allow_overage` says that all of it is to be booked.",
                request=shapes.SettleBody, response=shapes.ResolvedAnswer,
                errors=("exceeds_reservation", "amount_not_countable", "invalid_quantity",
                        *_OPEN_ONLY),
                essential=True, idempotent=True, example={"amount": 3120},
            ),
            Route(
                "POST", "/v1/reservations/{id}/release", self.release,
                scope="check", tags=("gate",), summary="Give back what is held",
                response=shapes.ResolvedAnswer, errors=_OPEN_ONLY, essential=True, idempotent=True,
            ),
            Route(
                "POST", "/v1/reservations/{id}/extend", self.extend,
                scope="check", tags=("gate",), summary="Hold more, longer, or both",
                request=shapes.ExtendBody, response=shapes.ReservationAnswer,
                errors=("invalid_parameter", "invalid_quantity", *_REFUSALS, *_OPEN_ONLY),
                essential=True, idempotent=True, example={"ttl_s": 120, "amount": 1000},
            ),
            Route(
                "POST", "/v1/leases", self.lease,
                scope="check", tags=("gate",), summary="A slice for decisions at the edge",
                description="Usage events of the customer that name it in `data.lease_id` draw on "
                "it. `open_leases` is what all open leases of the feature still hold: decisions "
                "made by them can be off by no more.",
                request=shapes.LeaseBody, response=shapes.ReservationAnswer, status=201,
                errors=_OPENING, essential=True, idempotent=True,
                example={"customer": "acme", "feature": "chat", "amount": 1000, "ttl_s": 60},
            ),
            Route(
                "GET", "/v1/leases", self.list_leases,
                scope="read", tags=("gate",), summary="Open leases",
                query=shapes.ReservationParameters, response=shapes.ReservationList,
                errors=("invalid_parameter",),
            ),
            Route(
                "POST", "/v1/leases/{id}/extend", self.extend,
                scope="check", tags=("gate",), summary="Refill or prolong a lease",
                request=shapes.ExtendBody, response=shapes.ReservationAnswer,
                errors=("invalid_parameter", "invalid_quantity", *_REFUSALS, *_OPEN_ONLY),
                essential=True, idempotent=True,
            ),
            Route(
                "POST", "/v1/leases/{id}/release", self.release,
                scope="check", tags=("gate",), summary="Return what is unused of a lease",
                response=shapes.ResolvedAnswer, errors=_OPEN_ONLY, essential=True, idempotent=True,
            ),
        ]  # fmt: skip

    def reserve(self, request: Request) -> Awaitable[Response]:
        body = request.json(shapes.ReservationBody)
        return self._open(request, body, "rsv", lease=False)

    def lease(self, request: Request) -> Awaitable[Response]:
        body = request.json(shapes.LeaseBody)
        return self._open(request, body, "lease", lease=True)

    def _open(
        self, request: Request, body: shapes.ReservationBody, prefix: str, *, lease: bool
    ) -> Awaitable[Response]:
        tenant, now = self._around.tenant(request), self._core.clock.now()
        ask = Ask(body.customer, body.feature, amount(body.amount), body.scope, body.data)
        wanted = Wanted(
            body.id or new_id(prefix), ask, ttl_us(body.ttl_s), body.allow_partial, lease
        )
        commands = self._around.commands_of(request)
        prepare(self._around.commands, tenant, body.customer, now)
        headers: Headers = ()
        result = commands.under_key(tenant) or reserve(self._core, commands, tenant, wanted, now)
        if isinstance(result, Decision):
            self._around.decided(tenant, ask, result.allowed, result.reason.value)
            headers = pace_headers(tenant, ask, now) if has_rate(result) else ()
            return refusal(self._around, result, request.request_id, now, headers)
        if isinstance(result, Answered):
            headers = answer_headers(tenant, ask, result.answer, now)
        return soon(self._around, result, 201, headers=headers)

    def settle(self, request: Request) -> Awaitable[Response]:
        body = request.json(shapes.SettleBody)
        tenant, commands = self._around.tenant(request), self._around.commands_of(request)
        result = commands.under_key(tenant) or settle(
            self._core,
            commands,
            tenant,
            request.params["id"],
            amount(body.amount),
            self._core.clock.now(),
            allow_overage=body.allow_overage,
            data=body.data,
        )
        return soon(self._around, result)

    def release(self, request: Request) -> Awaitable[Response]:
        tenant, now = self._around.tenant(request), self._core.clock.now()
        commands, hold_id = self._around.commands_of(request), request.params["id"]
        result = commands.under_key(tenant) or release(self._core, commands, tenant, hold_id, now)
        return soon(self._around, result)

    def extend(self, request: Request) -> Awaitable[Response]:
        body = request.json(shapes.ExtendBody)
        tenant, now = self._around.tenant(request), self._core.clock.now()
        if body.ttl_s is None and not body.amount:
            raise Rejected("invalid_request", "Say ttl_s, amount, or both.")
        commands = self._around.commands_of(request)
        result = commands.under_key(tenant) or extend(
            self._core,
            commands,
            tenant,
            request.params["id"],
            amount(body.amount),
            None if body.ttl_s is None else ttl_us(body.ttl_s),
            now,
            allow_partial=body.allow_partial,
        )
        if isinstance(result, Decision):
            return refusal(self._around, result, request.request_id, now)
        return soon(self._around, result)

    async def get(self, request: Request) -> Response:
        tenant, hold_id = self._around.tenant(request), request.params["id"]
        now = self._core.clock.now()
        hold = tenant.live.gate.hold(hold_id)
        if hold is not None:
            prepare(self._around.commands, tenant, hold.customer, now)
            hold = tenant.live.gate.hold(hold_id)
        if hold is not None:
            return json_response(hold_json(tenant, hold) | {"as_of": self._core.as_of()})
        resolution = tenant.live.gate.resolved.get(hold_id)
        if resolution is None:
            raise NotFound("not_found", f"There is no reservation {hold_id!r}.")
        answer = {
            "id": hold_id,
            "customer": resolution.customer,
            "status": resolution.status,
            "resolved_at": format_instant(resolution.at),
        }
        return json_response(answer)

    async def list(self, request: Request) -> Response:
        return self._list(request, lease=False)

    async def list_leases(self, request: Request) -> Response:
        return self._list(request, lease=True)

    def _list(self, request: Request, *, lease: bool) -> Response:
        query = request.query_as(shapes.ReservationParameters)
        if query.status != "open":
            raise Rejected("invalid_parameter", "status: only open ones are listed.")
        tenant = self._around.tenant(request)
        now = self._core.clock.now()
        holds = {
            hold.id: hold
            for hold in _open_holds(tenant, query.customer, lease=lease)
            if hold.expires_at > now
        }
        found, following = page(sorted(holds), str, query.cursor, query.limit)
        items: list[Any] = [hold_json(tenant, holds[key]) for key in found]
        return json_response(listed(items, following))


def _open_holds(tenant: Tenant, customer: str | None, *, lease: bool) -> list[Hold]:
    purses = tenant.live.gate.purses
    if customer is None:
        chosen = list(purses.values())
    else:
        chosen = [purses[customer]] if customer in purses else []
    return [hold for purse in chosen for hold in purse.holds.values() if hold.lease == lease]
