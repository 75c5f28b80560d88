"""
Alerts, webhooks, and what was told to whom.
"""

from __future__ import annotations

import asyncio
from typing import Any

from taximeter.adapters.http.messages import Request, Response, StreamResponse, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.notice_shapes import (
    AlertAnswer,
    AlertList,
    DeliveryAnswer,
    DeliveryList,
    DeliveryParameters,
    NoticeList,
    NoticeParameters,
    OneNotice,
    ResendAnswer,
    ResendBody,
    RotateBody,
    StreamParameters,
    WebhookAnswer,
    WebhookBody,
    WebhookList,
    alert_json,
    delivery_json,
    notice_json,
    webhook_json,
)
from taximeter.adapters.http.routes.paging import limit_of, listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings, cancel, instant
from taximeter.adapters.http.routing import Route
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.errors import NotFound
from taximeter.notices.delivery import Channel, Delivery, Receiver
from taximeter.notices.notice import Notice
from taximeter.services.core import require_customer
from taximeter.services.notices.alerts import delete_alert, put_alert
from taximeter.services.notices.resend import resend, resend_failed, send_test
from taximeter.services.notices.service import NoticeService
from taximeter.services.notices.webhooks import (
    WebhookWish,
    delete_webhook,
    put_webhook,
    rotate_secret,
)

MAX_MISSED = 1000
"""Notices a stream begins with, for a reader that was away."""

_TAG = ("notices",)
_MISSING = ("not_found",)


class NoticeRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/notices", self.list_notices,
                scope="read", tags=_TAG, summary="What was told, newest first",
                query=NoticeParameters, response=NoticeList, errors=_MISSING,
            ),
            Route(
                "GET", "/v1/notices/stream", self.stream,
                scope="read", tags=_TAG, summary="Follow notices (Server-Sent Events)",
                description="With Last-Event-ID it begins with what was missed.",
                query=StreamParameters, response_type="text/event-stream", errors=_MISSING,
            ),
            Route(
                "GET", "/v1/notices/{id}", self.get_notice,
                scope="read", tags=_TAG, summary="One notice, and how it was delivered",
                response=OneNotice, errors=_MISSING,
            ),
            Route(
                "PUT", "/v1/alerts/{id}", self.put_alert,
                scope="admin", tags=_TAG, summary="Add or replace an alert",
                description="A line that is crossed already is told at once.",
                request=dict[str, Any], response=AlertAnswer, idempotent=True,
                errors=("alert_invalid", "mail_not_configured", "not_found"),
                example={"on": "usage", "feature": "chat", "thresholds": ["80%", "100%"]},
            ),
            Route(
                "GET", "/v1/alerts", self.list_alerts,
                scope="read", tags=_TAG, summary="All alerts",
                query=shapes.PageParameters, response=AlertList,
            ),
            Route(
                "GET", "/v1/alerts/{id}", self.get_alert,
                scope="read", tags=_TAG, summary="One alert",
                response=AlertAnswer, errors=_MISSING,
            ),
            Route(
                "DELETE", "/v1/alerts/{id}", self.delete_alert,
                scope="admin", tags=_TAG, summary="Delete an alert", status=204, errors=_MISSING,
                idempotent=True,
            ),
            *self._webhook_routes(),
        ]  # fmt: skip

    def _webhook_routes(self) -> list[Route]:
        return [
            Route(
                "PUT", "/v1/webhooks/{id}", self.put_webhook,
                scope="admin", tags=_TAG, summary="Add, replace or enable a webhook",
                description="A new one's signing secret is in this answer and nowhere else.",
                request=WebhookBody, response=WebhookAnswer, idempotent=True,
                errors=("webhook_url_refused", "mail_not_configured"),
                example={"url": "https://example.com/hooks", "types": ["usage.*"]},
            ),
            Route(
                "GET", "/v1/webhooks", self.list_webhooks,
                scope="read", tags=_TAG, summary="All webhooks, without their secrets",
                query=shapes.PageParameters, response=WebhookList,
            ),
            Route(
                "GET", "/v1/webhooks/{id}", self.get_webhook,
                scope="read", tags=_TAG, summary="One webhook, and how it is doing",
                response=WebhookAnswer, errors=_MISSING,
            ),
            Route(
                "DELETE", "/v1/webhooks/{id}", self.delete_webhook,
                scope="admin", tags=_TAG, summary="Delete a webhook and its deliveries",
                status=204, errors=_MISSING, idempotent=True,
            ),
            Route(
                "POST", "/v1/webhooks/{id}/test", self.test,
                scope="admin", tags=_TAG, summary="Send a test, and say how it went",
                response=DeliveryAnswer, errors=("not_found", "webhook_disabled"),
                idempotent=True,
            ),
            Route(
                "POST", "/v1/webhooks/{id}/rotate", self.rotate,
                scope="admin", tags=_TAG, summary="Give a webhook a new secret",
                description="The one before signs beside it for `overlap`, 24h if absent.",
                request=RotateBody, response=WebhookAnswer, errors=_MISSING, idempotent=True,
                example={"overlap": "24h"},
            ),
            Route(
                "GET", "/v1/webhooks/{id}/deliveries", self.list_deliveries,
                scope="read", tags=_TAG, summary="Deliveries with their attempts, newest first",
                query=DeliveryParameters, response=DeliveryList, errors=_MISSING,
            ),
            Route(
                "POST", "/v1/webhooks/{id}/resend", self.resend_failed,
                scope="admin", tags=_TAG, summary="Send all that has failed again",
                description="Of what was told at or after `since`; all of it if absent.",
                request=ResendBody, response=ResendAnswer, idempotent=True,
                errors=("not_found", "webhook_disabled", "invalid_timestamp"),
                example={"since": "2026-11-20T00:00:00Z"},
            ),
            Route(
                "POST", "/v1/deliveries/{id}/resend", self.resend,
                scope="admin", tags=_TAG, summary="Send a delivery again, now",
                response=DeliveryAnswer, idempotent=True,
                errors=("not_found", "webhook_disabled", "mail_not_configured"),
            ),
        ]  # fmt: skip

    @property
    def _notices(self) -> NoticeService:
        assert self._core.notices is not None, "the node has started"
        return self._core.notices

    # --- notices ----------------------------------------------------------------------------

    async def list_notices(self, request: Request) -> Response:
        query = request.query_as(NoticeParameters)
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        limit = limit_of(query.limit)
        found: list[Notice] = await self._around.books(
            "notices",
            tenant.name,
            customer=query.customer,
            type=query.type,
            before=query.cursor,
            limit=limit,
        )
        following = found[-1].id if len(found) == limit else None
        return json_response(listed([notice_json(one) for one in found], following))

    async def get_notice(self, request: Request) -> Response:
        tenant, notice_id = self._around.tenant(request), request.params["id"]
        notice = await self._around.books("notice", tenant.name, notice_id)
        if notice is None:
            raise NotFound("not_found", f"There is no notice {notice_id!r}.")
        deliveries = await self._around.books("deliveries_of", tenant.name, notice_id)
        shown = await self._with_attempts(deliveries)
        return json_response({**notice_json(notice), "deliveries": shown})

    def stream(self, request: Request) -> StreamResponse:
        tenant = self._around.tenant(request)
        customer = request.query_as(StreamParameters).customer
        if customer is not None:
            require_customer(tenant, customer)
        last = request.header("last-event-id")
        feed = Feed(max_events=2 * MAX_MISSED, on_close=lambda: cancel(task))

        async def forward() -> None:
            fresh: asyncio.Queue[Notice] = asyncio.Queue()
            with self._notices.listening(tenant.name, customer, fresh.put_nowait):
                seen = await self._missed(tenant.name, customer, last, feed)
                while True:
                    notice = await fresh.get()
                    if notice.id not in seen:
                        feed.publish(notice_event(notice))

        task = asyncio.get_running_loop().create_task(forward())
        return feed.response()

    async def _missed(
        self, namespace: str, customer: str | None, last: str | None, feed: Feed
    ) -> set[str]:
        """Publish what was stored after the last one that a reader has seen."""
        if last is None:
            return set()
        found: list[Notice] = await self._around.books("notices_after", namespace, last, MAX_MISSED)
        for notice in found:
            if customer in (None, notice.customer):
                feed.publish(notice_event(notice))
        return {notice.id for notice in found}

    # --- alerts -----------------------------------------------------------------------------

    async def put_alert(self, request: Request) -> Response:
        alert = await put_alert(
            self._core,
            self._notices,
            self._around.tenant(request),
            request.params["id"],
            request.json(dict[str, Any]),
            self._around.actor(request),
        )
        return json_response(alert_json(alert))

    def list_alerts(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        alerts = self._notices.board.alerts(self._around.tenant(request).name)
        found, following = page(sorted(alerts), str, query.cursor, query.limit)
        return json_response(listed([alert_json(alerts[key]) for key in found], following))

    def get_alert(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        return json_response(
            alert_json(self._notices.board.alert(tenant.name, request.params["id"]))
        )

    async def delete_alert(self, request: Request) -> Response:
        tenant, actor = self._around.tenant(request), self._around.actor(request)
        await delete_alert(self._core, self._notices, tenant, request.params["id"], actor)
        return Response(204)

    # --- webhooks ---------------------------------------------------------------------------

    async def put_webhook(self, request: Request) -> Response:
        body = request.json(WebhookBody)
        wish = WebhookWish(
            body.url,
            body.types,
            body.description,
            body.email,
            body.enabled,
            body.secret,
        )
        webhook, secret = await put_webhook(
            self._core,
            self._notices,
            self._around.tenant(request),
            request.params["id"],
            wish,
            self._around.actor(request),
            allow_private=self._around.settings.webhook_allow_private,
        )
        answer = webhook_json(webhook, self._core.clock.now())
        return json_response(answer if secret is None else {**answer, "secret": secret})

    def list_webhooks(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        known = self._notices.board.webhooks(self._around.tenant(request).name)
        found, following = page(sorted(known), str, query.cursor, query.limit)
        items = [webhook_json(known[key], self._core.clock.now()) for key in found]
        return json_response(listed(items, following))

    def get_webhook(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        webhook = self._notices.board.webhook(tenant.name, request.params["id"])
        return json_response(webhook_json(webhook, self._core.clock.now()))

    async def delete_webhook(self, request: Request) -> Response:
        tenant, actor = self._around.tenant(request), self._around.actor(request)
        await delete_webhook(self._core, self._notices, tenant, request.params["id"], actor)
        return Response(204)

    async def rotate(self, request: Request) -> Response:
        body = request.json(RotateBody) if request.body else RotateBody()
        webhook, secret = await rotate_secret(
            self._core,
            self._notices,
            self._around.tenant(request),
            request.params["id"],
            body.overlap,
            body.secret,
            self._around.actor(request),
        )
        return json_response({**webhook_json(webhook, self._core.clock.now()), "secret": secret})

    # --- deliveries -------------------------------------------------------------------------

    async def test(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        sent = await send_test(self._core, self._notices, tenant, request.params["id"])
        return json_response((await self._with_attempts([sent]))[0])

    async def resend(self, request: Request) -> Response:
        tenant, actor = self._around.tenant(request), self._around.actor(request)
        sent = await resend(self._core, self._notices, tenant, request.params["id"], actor)
        return json_response((await self._with_attempts([sent]))[0])

    async def resend_failed(self, request: Request) -> Response:
        body = request.json(ResendBody) if request.body else ResendBody()
        tenant, actor = self._around.tenant(request), self._around.actor(request)
        since = instant(body.since, 0)
        count = await resend_failed(
            self._core, self._notices, tenant, request.params["id"], since, actor
        )
        return json_response({"resent": count})

    async def list_deliveries(self, request: Request) -> Response:
        query = request.query_as(DeliveryParameters)
        tenant, webhook_id = self._around.tenant(request), request.params["id"]
        self._notices.board.webhook(tenant.name, webhook_id)
        limit = limit_of(query.limit)
        found: list[Delivery] = await self._around.books(
            "deliveries",
            Receiver(tenant.name, Channel.WEBHOOK, webhook_id),
            status=query.status,
            before=query.cursor,
            limit=limit,
        )
        following = found[-1].id if len(found) == limit else None
        return json_response(listed(await self._with_attempts(found), following))

    async def _with_attempts(self, deliveries: list[Delivery]) -> list[dict[str, Any]]:
        attempts = await self._around.books("attempts", [one.id for one in deliveries])
        return [delivery_json(one, attempts[one.id]) for one in deliveries]


def notice_event(notice: Notice) -> ServerEvent:
    """A notice on a stream: what a webhook would get, under its id."""
    return ServerEvent(notice.payload.decode(), "notice", notice.id)
