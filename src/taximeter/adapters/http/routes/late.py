"""
Late usage over HTTP: what arrived after its period was billed, and what became of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.ports import LateUsage
from taximeter.services.billing.correcting.late import (
    STATUSES,
    find_late,
    late_json,
    look,
    release,
    write_off,
)
from taximeter.services.core import Core, require_customer
from taximeter.services.tenant import Tenant

_TAG = ("invoices",)
Decide: TypeAlias = Callable[[Core, Tenant, str, str, str], Awaitable[LateUsage]]


class LateParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    status: str | None = None
    limit: int = 100
    cursor: str | None = None


class DecisionBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class SettledOn(msgspec.Struct):
    invoice: str
    lines: list[str]
    credit_note: str | None


class LateItem(msgspec.Struct):
    """
    `quantity` and `amount` are what it changes, once that is reckoned. `invoice` billed the period;
    `settled_on` says where it was settled.
    """

    id: str
    customer: str
    subscription: str
    meter: str
    period: dict[str, str]
    status: str
    policy: str
    events: int
    retractions: int
    position: str
    quantity: str | None
    amount: str | None
    currency: str | None
    invoice: str
    settled_on: SettledOn | None
    noticed_at: str
    settled_at: str | None
    decided_by: str | None
    reason: str


class LateList(msgspec.Struct):
    items: list[LateItem]
    next: str | None


class LateRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/late-usage", self.list,
                scope="read", tags=_TAG, summary="Late usage and what became of it, newest first",
                description="What arrived, or was taken back, after its period was billed. "
                "`status` is one of " + ", ".join(STATUSES) + ".",
                query=LateParameters, response=LateList, errors=("not_found", "rebuilding"),
            ),
            Route(
                "GET", "/v1/late-usage/{id}", self.get,
                scope="read", tags=_TAG, summary="One entry of late usage",
                response=LateItem, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/late-usage/{id}/release", self.release,
                scope="write", tags=_TAG, summary="Bill held usage with the next invoice",
                request=DecisionBody, response=LateItem, idempotent=True,
                errors=("not_found", "late_usage_settled"),
            ),
            Route(
                "POST", "/v1/late-usage/{id}/write-off", self.write_off,
                scope="write", tags=_TAG, summary="Never bill late usage",
                description="What it takes off the bill is given nevertheless.",
                request=DecisionBody, response=LateItem, idempotent=True,
                errors=("not_found", "late_usage_settled", "rebuilding"),
            ),
        ]  # fmt: skip

    async def list(self, request: Request) -> Response:
        query = request.query_as(LateParameters)
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        if query.status is not None and query.status not in STATUSES:
            raise Rejected("invalid_parameter", f"status is one of {', '.join(STATUSES)}.")
        limit = limit_of(query.limit)
        await look(self._core, tenant)
        found = await self._around.books(
            "late_usage",
            tenant.name,
            customer=query.customer,
            status=query.status,
            before=keyset(query.cursor),
            limit=limit,
        )
        following = str(found[-1].rank) if len(found) == limit else None
        return json_response(listed([late_json(one) for one in found], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        return json_response(late_json(await find_late(self._core, tenant, request.params["id"])))

    async def release(self, request: Request) -> Response:
        return await self._decide(request, release)

    async def write_off(self, request: Request) -> Response:
        return await self._decide(request, write_off)

    async def _decide(self, request: Request, decide: Decide) -> Response:
        body = request.json(DecisionBody) if request.body else DecisionBody()
        decided = await decide(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            self._around.actor(request),
            body.reason,
        )
        return json_response(late_json(decided))
