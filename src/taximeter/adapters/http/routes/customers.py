"""
Customers over HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, StreamResponse, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.notices import notice_event
from taximeter.adapters.http.routes.paging import listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings, cancel
from taximeter.adapters.http.routing import Route
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.customers import Customer
from taximeter.customers.billing import dump_billing, read_billing
from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.services.core import require_customer
from taximeter.services.customers import put_customer
from taximeter.services.feed import Changed, Decision, Seen
from taximeter.services.gate.check import entitlements
from taximeter.services.gate.clockwork import prepare
from taximeter.services.gate.credits import balance_json, credits_of
from taximeter.services.tenant import Tenant

_PUT_ERRORS = (
    "subject_taken", "unknown_timezone", "unknown_currency", "invalid_timestamp", "not_found",
)  # fmt: skip


class CustomerRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "PUT", "/v1/customers/{key}", self.put,
                scope="write", tags=("customers",), summary="Add or replace a customer",
                description="Events of a subject it newly claims are counted when this answers.",
                request=shapes.CustomerBody, response=shapes.CustomerAnswer,
                errors=_PUT_ERRORS, idempotent=True,
                example={"name": "Acme", "subjects": ["user-7"], "timezone": "Europe/Berlin"},
            ),
            Route(
                "GET", "/v1/customers/{key}", self.get,
                scope="read", tags=("customers",), summary="One customer",
                response=shapes.CustomerAnswer, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/customers", self.list,
                scope="read", tags=("customers",), summary="All customers",
                query=shapes.PageParameters, response=shapes.CustomerList,
            ),
            Route(
                "GET", "/v1/customers/{key}/entitlements", self.entitlements,
                scope="check", tags=("gate",),
                summary="Everything a customer may use, with live numbers",
                response=shapes.EntitlementList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/customers/{key}/stream", self.stream,
                scope="read", tags=("customers",),
                summary="Live usage and decisions of one customer (Server-Sent Events)",
                response_type="text/event-stream", errors=("not_found",),
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        body = request.json(shapes.CustomerBody)
        customer = Customer(
            key=request.params["key"],
            name=body.name,
            subjects=tuple(dict.fromkeys(body.subjects)),
            currency=body.currency,
            timezone=body.timezone,
            parent=body.parent,
            pool=body.pool,
            paid_by_parent=body.paid_by_parent,
            metadata=body.metadata,
            billing=None if body.billing is None else read_billing(body.billing),
        )
        stored = await put_customer(self._core, tenant, customer, self._around.actor(request))
        return json_response(customer_json(stored))

    async def get(self, request: Request) -> Response:
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        return json_response(customer_json(tenant.customers[key]))

    async def list(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        tenant = self._around.tenant(request)
        found, following = page(sorted(tenant.customers), str, query.cursor, query.limit)
        items = [customer_json(tenant.customers[key]) for key in found]
        return json_response(listed(items, following))

    async def entitlements(self, request: Request) -> Response:
        tenant, key = self._around.tenant(request), request.params["key"]
        if tenant.account(key) is None:
            raise NotFound("not_found", f"There is no customer {key!r}.")
        now = self._core.clock.now()
        prepare(self._around.commands, tenant, key, now)
        decisions = entitlements(tenant, key, now)
        items = [
            {
                "feature": feature,
                "type": tenant.catalog.features[feature].type.value,
                "fail": tenant.catalog.features[feature].fail.value,
            }
            | decision.to_json()
            for feature, decision in sorted(decisions.items())
        ]
        return json_response({"customer": key, "items": items, "as_of": self._core.as_of()})

    def stream(self, request: Request) -> StreamResponse:
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        feed = Feed(on_close=lambda: cancel(task))

        notices = self._core.notices
        assert notices is not None, "the node has started"

        async def forward() -> None:
            with (
                self._core.feed.watch(tenant.name, key) as watcher,
                notices.listening(tenant.name, key, lambda n: feed.publish(notice_event(n))),
            ):
                feed.publish(ServerEvent(self._standing(tenant, key), "entitlements"))
                shown = self._balances(tenant, key)
                feed.publish(ServerEvent(shown, "balances"))
                async for items in watcher.batches():
                    for item in items:
                        if not isinstance(item, Changed):
                            name = "decision" if isinstance(item, Decision) else "event"
                            feed.publish(ServerEvent(_encode(item).decode(), name))
                    if any(isinstance(item, Seen | Changed) for item in items):
                        feed.publish(ServerEvent(self._standing(tenant, key), "entitlements"))
                        now_shown = self._balances(tenant, key)
                        if now_shown != shown:
                            shown = now_shown
                            feed.publish(ServerEvent(shown, "balances"))

        task = asyncio.get_running_loop().create_task(forward())
        return feed.response()

    def _standing(self, tenant: Tenant, key: str) -> str:
        decisions = entitlements(tenant, key, self._core.clock.now())
        numbers: Mapping[str, Any] = {name: one.to_json() for name, one in decisions.items()}
        return _encode({"entitlements": numbers, "as_of": self._core.as_of()}).decode()

    def _balances(self, tenant: Tenant, key: str) -> str:
        prepare(self._around.commands, tenant, key, self._core.clock.now())
        credits = credits_of(tenant.live.gate.purses.get(key), None)
        items = [balance_json(tenant, key, credit) for credit in credits]
        return _encode({"items": items}).decode()


_encode = msgspec.json.Encoder(decimal_format="number").encode


def customer_json(customer: Customer) -> dict[str, Any]:
    return {
        "key": customer.key,
        "name": customer.name,
        "subjects": list(customer.subjects),
        "currency": customer.currency,
        "timezone": customer.timezone,
        "parent": customer.parent,
        "pool": customer.pool,
        "paid_by_parent": customer.paid_by_parent,
        "billing": None if customer.billing is None else dump_billing(customer.billing),
        "metadata": customer.metadata,
        "created_at": format_instant(customer.created_at),
    }
