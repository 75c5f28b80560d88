"""
Payments over HTTP: recorded by a key, or told by whoever collects them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.instants import format_instant, parse_instant
from taximeter.ports import PaymentSource
from taximeter.services.accounting import incoming, payments
from taximeter.services.core import require_customer
from taximeter.services.customers import new_id

_TAG = ("payments",)
MAX_MESSAGE = 64 * 1024
_STATE = ("not_found", "payment_reversed")
_MATCH = (
    "invalid_amount", "currency_mismatch", "invoice_not_issued", "exceeds_invoice",
    "exceeds_payment",
)  # fmt: skip
_EXAMPLE = {
    "id": "pi_8812",
    "customer": "acme",
    "amount": "157.00",
    "currency": "USD",
    "at": "2026-11-20T09:30:00Z",
    "reference": "wire 4711",
    "invoices": [{"invoice": "INV-000042", "amount": "157.00"}],
}


class PaidInvoice(shapes.Strict):
    """By id or number; without `amount`, as much of it as there is money."""

    invoice: str
    amount: shapes.Quantity = None


class PaymentBody(shapes.Strict):
    """Without `invoices`, the oldest due are paid first."""

    customer: str
    amount: shapes.Quantity
    currency: str
    id: str | None = None
    at: str | None = None
    reference: str = ""
    invoices: list[PaidInvoice] | None = None


class AllocateBody(shapes.Strict):
    """Without `invoices`, the oldest due are paid first."""

    invoices: list[PaidInvoice] | None = None


class RefundBody(shapes.Strict):
    """Without `amount`, all that pays no invoice. The same `id` again changes nothing."""

    id: str | None = None
    amount: shapes.Quantity = None
    reason: str = ""


class ReverseBody(shapes.Strict):
    reason: str


class PaymentPart(msgspec.Struct):
    invoice: str
    number: str
    amount: str


class PaymentAnswer(msgspec.Struct):
    """`unallocated` is on the customer's account; status: allocated, unallocated, reversed."""

    id: str
    customer: str
    status: str
    amount: str
    currency: str
    at: str
    reference: str
    origin: str
    recorded_at: str
    invoices: list[PaymentPart]
    refunded: str
    unallocated: str
    reversed_at: str | None
    reason: str | None


class PaymentList(msgspec.Struct):
    items: list[PaymentAnswer]
    next: str | None


class PaymentParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    limit: int = 100
    cursor: str | None = None


class SourceBody(shapes.Strict):
    """Without `secret`, a new one is made."""

    secret: str | None = None


class SourceAnswer(msgspec.Struct, omit_defaults=True):
    """The secret is shown when it is set, and never again."""

    id: str
    path: str
    created_at: str
    secret: str | None = None


class SourceList(msgspec.Struct):
    items: list[SourceAnswer]
    next: str | None


class ToldAnswer(msgspec.Struct):
    """status: done, known (nothing was done again) or ignored (a type we do not know)."""

    status: str
    payment: PaymentAnswer | None


class PaymentRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/payments", self.record,
                scope="write", tags=_TAG, summary="Record money received",
                description="It pays the invoices it names, else the oldest due first; what is "
                "left stays on the customer's account. The same id again changes nothing.",
                request=PaymentBody, response=PaymentAnswer, status=201, idempotent=True,
                errors=("not_found", "payment_conflict", "unknown_currency", *_MATCH),
                example=_EXAMPLE,
            ),
            Route(
                "GET", "/v1/payments", self.list,
                scope="read", tags=_TAG, summary="Payments, newest first",
                query=PaymentParameters, response=PaymentList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/payments/{id}", self.get,
                scope="read", tags=_TAG, summary="One payment, and what it pays",
                response=PaymentAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/payments/{id}/allocate", self.allocate,
                scope="write", tags=_TAG, summary="Pay invoices with what is left of a payment",
                request=AllocateBody, response=PaymentAnswer, idempotent=True,
                errors=(*_STATE, *_MATCH),
                example={"invoices": [{"invoice": "INV-000043"}]},
            ),
            Route(
                "POST", "/v1/payments/{id}/refund", self.refund,
                scope="write", tags=_TAG, summary="Note that what is left was paid back",
                description="Only what pays no invoice; credit an invoice first to free it.",
                request=RefundBody, response=PaymentAnswer, idempotent=True,
                errors=(*_STATE, "invalid_amount", "exceeds_payment"),
                example={"amount": "12.50", "reason": "paid twice"},
            ),
            Route(
                "POST", "/v1/payments/{id}/reverse", self.reverse,
                scope="write", tags=_TAG, summary="Undo a payment that bounced",
                description="The invoices it paid are open again.",
                request=ReverseBody, response=PaymentAnswer, idempotent=True,
                errors=("not_found", "payment_refunded"), example={"reason": "chargeback"},
            ),
            Route(
                "PUT", "/v1/payment-sources/{id}", self.put_source,
                scope="admin", tags=_TAG, summary="Who may tell of payments by webhook",
                description="Again: another secret; the one before holds for a day.",
                request=SourceBody, response=SourceAnswer, idempotent=True, example={},
            ),
            Route(
                "GET", "/v1/payment-sources", self.list_sources,
                scope="admin", tags=_TAG, summary="All of them", response=SourceList,
            ),
            Route(
                "DELETE", "/v1/payment-sources/{id}", self.delete_source,
                scope="admin", tags=_TAG, summary="Listen to a source no more",
                status=204, errors=("not_found",), idempotent=True,
            ),
            Route(
                "POST", "/v1/payments/webhook/{source}", self.receive,
                scope=None, tags=_TAG, summary="A payment told by a source",
                description="Signed by its secret (Standard Webhooks). Types: payment.received "
                "(data as of POST /v1/payments), payment.reversed {payment, reason}, "
                "payment.refunded {payment, amount, id}; others are ignored.",
                request=incoming.Message, response=ToldAnswer, max_body_bytes=MAX_MESSAGE,
                errors=(
                    "not_found", "invalid_signature", "payment_conflict", "payment_reversed",
                    "payment_refunded", *_MATCH,
                ),
                example={"type": "payment.received", "data": _EXAMPLE},
            ),
        ]  # fmt: skip

    async def record(self, request: Request) -> Response:
        body = request.json(PaymentBody)
        told = payments.ToldPayment(
            id=new_id("pay") if body.id is None else body.id,
            customer=body.customer,
            amount=body.amount,
            currency=body.currency,
            at=None if body.at is None else parse_instant(body.at),
            reference=body.reference,
            invoices=_told(body.invoices),
        )
        done = await payments.record(
            self._core, self._around.tenant(request), told, self._around.actor(request)
        )
        return json_response(done.state.to_json(), 201 if done.is_new else 200)

    async def list(self, request: Request) -> Response:
        tenant, asked = self._around.tenant(request), request.query_as(PaymentParameters)
        if asked.customer is not None:
            require_customer(tenant, asked.customer)
        limit = limit_of(asked.limit)
        found = await self._around.books(
            "payments",
            tenant.name,
            customer=asked.customer,
            before=keyset(asked.cursor),
            limit=limit + 1,
        )
        following = str(found[limit - 1][0]) if len(found) > limit else None
        return json_response(listed([state.to_json() for _, state in found[:limit]], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        state = await payments.find(self._core, tenant, request.params["id"])
        return json_response(state.to_json())

    async def allocate(self, request: Request) -> Response:
        body = request.json(AllocateBody) if request.body else AllocateBody()
        done = await payments.allocate(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            _told(body.invoices),
            self._around.actor(request),
        )
        return json_response(done.state.to_json())

    async def refund(self, request: Request) -> Response:
        body = request.json(RefundBody) if request.body else RefundBody()
        done = await payments.refund(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.amount,
            self._around.actor(request),
            refund_id=body.id,
            reason=body.reason,
        )
        return json_response(done.state.to_json())

    async def reverse(self, request: Request) -> Response:
        body = request.json(ReverseBody)
        done = await payments.reverse(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.reason,
            self._around.actor(request),
        )
        return json_response(done.state.to_json())

    # --- sources ------------------------------------------------------------------------------

    async def put_source(self, request: Request) -> Response:
        body = request.json(SourceBody) if request.body else SourceBody()
        source = await incoming.put_source(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.secret,
            self._around.actor(request),
        )
        return json_response(_source(source, source.secrets[0].text))

    async def list_sources(self, request: Request) -> Response:
        found = await incoming.sources(self._core, self._around.tenant(request))
        return json_response(listed([_source(one) for one in found], None))

    async def delete_source(self, request: Request) -> Response:
        await incoming.delete_source(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            self._around.actor(request),
        )
        return Response(204)

    async def receive(self, request: Request) -> Response:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        headers = {name: request.header(name) or "" for name in names}
        told = await incoming.receive(
            self._core, request.params["source"], headers, request.body, request.json
        )
        return json_response(told)


def _told(invoices: list[PaidInvoice] | None) -> tuple[payments.ToldInvoice, ...] | None:
    if invoices is None:
        return None
    return tuple(payments.ToldInvoice(one.invoice, one.amount) for one in invoices)


def _source(source: PaymentSource, secret: str | None = None) -> dict[str, Any]:
    answer = SourceAnswer(
        source.id, f"/v1/payments/webhook/{source.token}", format_instant(source.created_at), secret
    )
    shown: dict[str, Any] = msgspec.to_builtins(answer)
    return shown
