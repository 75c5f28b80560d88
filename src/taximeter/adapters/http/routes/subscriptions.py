"""
Subscriptions over HTTP.
"""

from __future__ import annotations

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.services.core import require_customer
from taximeter.services.subscriptions import find_subscription, subscribe, subscription_json


class SubscriptionRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/subscriptions", self.subscribe,
                scope="write", tags=("subscriptions",), summary="Subscribe a customer to a plan",
                description="Usage since `start` counts, also what arrived before this call.",
                request=shapes.SubscriptionBody, response=shapes.SubscriptionAnswer, status=201,
                errors=("not_found", "unknown_plan", "subscription_exists", "invalid_timestamp"),
                idempotent=True, example={"customer": "acme", "plan": "pro"},
            ),
            Route(
                "GET", "/v1/subscriptions", self.list_subscriptions,
                scope="read", tags=("subscriptions",), summary="All subscriptions",
                query=shapes.SubscriptionParameters, response=shapes.SubscriptionList,
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/subscriptions/{id}", self.get_subscription,
                scope="read", tags=("subscriptions",), summary="One subscription",
                response=shapes.SubscriptionAnswer, errors=("not_found",),
            ),
        ]  # fmt: skip

    async def subscribe(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        body = request.json(shapes.SubscriptionBody)
        if body.overrides:
            raise Rejected("invalid_request", "overrides: not supported by this version.")
        subscription = await subscribe(
            self._core,
            tenant,
            body.customer,
            body.plan,
            version=body.version,
            start=None if body.start is None else instant(body.start, 0),
            anchor=body.anchor,
            actor=self._around.actor(request),
        )
        return json_response(subscription_json(tenant, subscription, self._core.clock.now()), 201)

    async def list_subscriptions(self, request: Request) -> Response:
        query = request.query_as(shapes.SubscriptionParameters)
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        keys = sorted(
            key
            for key, one in tenant.subscriptions.items()
            if query.customer in (None, one.customer)
        )
        found, following = page(keys, str, query.cursor, query.limit)
        now = self._core.clock.now()
        items = [subscription_json(tenant, tenant.subscriptions[key], now) for key in found]
        return json_response(listed(items, following))

    async def get_subscription(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        subscription = find_subscription(tenant, request.params["id"])
        return json_response(subscription_json(tenant, subscription, self._core.clock.now()))
