"""
The fare, closing, invoices and their proof over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import limit_of
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.invoices.document import dump_invoice
from taximeter.invoices.invoice import Status
from taximeter.ports import StoredInvoice
from taximeter.services.billing.drafting import drafts
from taximeter.services.billing.drafting.close import close
from taximeter.services.billing.drafting.fare import preview
from taximeter.services.billing.drafting.foreseen import Preview, foreseen
from taximeter.services.billing.drafting.redraft import refresh
from taximeter.services.billing.issuing import life
from taximeter.services.billing.issuing.shown import shown, shown_one
from taximeter.services.core import require_customer


class CloseParameters(msgspec.Struct, forbid_unknown_fields=True):
    as_of: str | None = None


class InvoiceRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/customers/{key}/invoices/preview", self.preview,
                scope="read", tags=("invoices",), summary="The running fare",
                description="Live without `at`; with it, recounted as if the period ended then. "
                "Of the main subscription, if `subscription` names no other.",
                query=shapes.PreviewParameters, response=dict[str, Any],
                errors=("not_found", "invalid_timestamp", "rebuilding"),
            ),
            Route(
                "POST", "/v1/close", self.close,
                scope="write", tags=("invoices",), summary="Close every period that is due",
                description="Idempotent: a period is billed once, however often this is called.",
                request=shapes.CloseBody, response=shapes.CloseAnswer, idempotent=True,
                errors=("invalid_timestamp", "rebuilding"),
                example={"as_of": "2026-11-01T00:00:00Z"},
            ),
            Route(
                "GET", "/v1/close/preview", self.foresee,
                scope="read", tags=("invoices",), summary="What a close would make",
                description="The first hundred drafts, and what would be held back. Makes none.",
                query=CloseParameters, response=Preview,
                errors=("invalid_timestamp", "rebuilding"),
            ),
            Route(
                "GET", "/v1/invoices", self.list,
                scope="read", tags=("invoices",), summary="Invoices, newest first",
                query=shapes.InvoiceParameters, response=shapes.InvoiceList,
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}", self.get,
                scope="read", tags=("invoices",), summary="One invoice",
                response=dict[str, Any], errors=("not_found",),
            ),
            Route(
                "POST", "/v1/invoices/{id}/finalize", self.finalize,
                scope="write", tags=("invoices",), summary="Issue a draft",
                description="It gets the next number and never changes again.",
                response=dict[str, Any],
                errors=("not_found", "invoice_not_draft", "invoice_in_review"),
                idempotent=True,
            ),
            Route(
                "POST", "/v1/invoices/{id}/void", self.void,
                scope="write", tags=("invoices",), summary="Void a draft or unpaid invoice",
                request=shapes.VoidBody, response=dict[str, Any],
                errors=("not_found", "invoice_final", "invoice_changed"), idempotent=True,
            ),
            Route(
                "POST", "/v1/invoices/{id}/refresh", self.refresh,
                scope="write", tags=("invoices",), summary="Make a draft again, as of now",
                description="With usage that arrived and what was corrected since.",
                response=dict[str, Any],
                errors=("not_found", "invoice_not_draft", "invoice_changed"), idempotent=True,
            ),
            Route(
                "POST", "/v1/invoices/{id}/hold", self.hold,
                scope="write", tags=("invoices",), summary="Put a draft in review",
                description="It is not issued before it is approved.",
                request=shapes.HoldBody, response=dict[str, Any],
                errors=("not_found", "invoice_not_draft", "invoice_changed"), idempotent=True,
            ),
            Route(
                "POST", "/v1/invoices/{id}/approve", self.approve,
                scope="write", tags=("invoices",), summary="Approve an invoice in review",
                description="It is a draft again, and can be issued.",
                request=shapes.ApproveBody, response=dict[str, Any],
                errors=("not_found", "invoice_not_in_review", "invoice_changed"),
                idempotent=True,
            ),
        ]  # fmt: skip

    async def preview(self, request: Request) -> Response:
        query = request.query_as(shapes.PreviewParameters)
        at = None if query.at is None else instant(query.at, 0)
        invoice = await preview(
            self._core,
            self._around.tenant(request),
            request.params["key"],
            at,
            query.subscription,
        )
        document = dump_invoice(invoice)
        document["as_of"] = self._core.as_of()
        return json_response(document)

    async def close(self, request: Request) -> Response:
        body = request.json(shapes.CloseBody) if request.body else shapes.CloseBody()
        now = self._core.clock.now()
        closed = await close(
            self._core,
            self._around.tenant(request),
            instant(body.as_of, now),
            self._around.actor(request),
        )
        return json_response(msgspec.to_builtins(closed))

    async def foresee(self, request: Request) -> Response:
        as_of = instant(request.query_as(CloseParameters).as_of, self._core.clock.now())
        found = await foreseen(self._core, self._around.tenant(request), as_of)
        return json_response(msgspec.to_builtins(found))

    async def _shown(self, request: Request, stored: StoredInvoice) -> Response:
        return json_response(await shown_one(self._core, self._around.tenant(request), stored))

    async def list(self, request: Request) -> Response:
        query = request.query_as(shapes.InvoiceParameters)
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        if query.status is not None and query.status not in set(Status):
            known = ", ".join(status.value for status in Status)
            raise Rejected("invalid_parameter", f"status is one of {known}.")
        limit = limit_of(query.limit)
        found = await self._around.books(
            "invoices",
            tenant.name,
            customer=query.customer,
            status=query.status,
            after=query.cursor,
            limit=limit,
        )
        following = found[-1].id if len(found) == limit else None
        items = await shown(self._core, tenant, found)
        return json_response({"items": items, "next": following})

    async def get(self, request: Request) -> Response:
        stored = await drafts.find_invoice(
            self._core, self._around.tenant(request), request.params["id"]
        )
        return await self._shown(request, stored)

    async def finalize(self, request: Request) -> Response:
        stored = await life.finalize(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            self._around.actor(request),
        )
        return await self._shown(request, stored)

    async def void(self, request: Request) -> Response:
        body = request.json(shapes.VoidBody) if request.body else shapes.VoidBody()
        stored = await life.void(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.reason,
            self._around.actor(request),
        )
        return await self._shown(request, stored)

    async def refresh(self, request: Request) -> Response:
        stored = await refresh(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            self._around.actor(request),
        )
        return await self._shown(request, stored)

    async def hold(self, request: Request) -> Response:
        body = request.json(shapes.HoldBody)
        stored = await drafts.hold(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.reason,
            self._around.actor(request),
        )
        return await self._shown(request, stored)

    async def approve(self, request: Request) -> Response:
        body = request.json(shapes.ApproveBody) if request.body else shapes.ApproveBody()
        stored = await drafts.approve(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.note,
            self._around.actor(request),
        )
        return await self._shown(request, stored)
