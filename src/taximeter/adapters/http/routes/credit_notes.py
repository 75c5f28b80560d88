"""
Credit notes and disputes over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.services.billing.correcting import credit_notes, disputes
from taximeter.services.billing.correcting.credit_notes import (
    STATUSES,
    NoteWish,
    find_note,
    note_json,
)
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.core import require_customer
from taximeter.taxes.documents import Exact

_TAG = ("invoices",)
_NOTES = "/v1/invoices/{id}/credit-notes"
_DISPUTE = "/v1/invoices/{id}/lines/{line}/dispute"
_DECIDED = ("not_found", "credit_note_settled", "four_eyes", "exceeds_invoice")


class NoteParameters(msgspec.Struct, forbid_unknown_fields=True):
    invoice: str | None = None
    customer: str | None = None
    status: str | None = None
    limit: int = 100
    cursor: str | None = None


class NotePage(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    cursor: str | None = None


class NoteList(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


class RejectBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class DisputeBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class ResolveBody(msgspec.Struct, forbid_unknown_fields=True):
    """`outcome` is "rejected" or "credited"; an `amount` credits a part of the line."""

    outcome: str
    amount: Exact | None = None
    note: str = ""


class DisputeAnswer(msgspec.Struct):
    id: str
    invoice: str
    line: str
    customer: str
    status: str
    amount: str
    currency: str
    reason: str
    opened_by: str
    opened_at: str
    note: str
    credit_note: str | None
    resolved_by: str | None
    resolved_at: str | None


class CreditNoteRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", _NOTES, self.credit,
                scope="write", tags=_TAG, summary="Take back a part of an issued invoice",
                description="Of lines an `amount` without tax or a `quantity`, or an `amount` with "
                "its tax over all lines; with neither all that is left. Together never more than "
                "the invoice. Above the size in the settings it waits for a second person.",
                request=NoteWish, response=dict[str, Any], status=201, idempotent=True,
                errors=("not_found", "invoice_not_issued", "exceeds_invoice",
                        "credit_note_exists", "invalid_amount"),
                example={"reason": "an outage", "lines": [{"line": "line_1", "amount": "5.00"}]},
            ),
            Route(
                "POST", f"{_NOTES}/preview", self.foresee,
                scope="read", tags=_TAG, summary="What a credit note would come to",
                description="Its lines and taxes, and whether it would wait. Makes none.",
                request=NoteWish, response=dict[str, Any],
                errors=("not_found", "invoice_not_issued", "exceeds_invoice", "invalid_amount"),
                example={"reason": "an outage", "lines": [{"line": "line_1", "amount": "5.00"}]},
            ),
            Route(
                "GET", _NOTES, self.of_invoice,
                scope="read", tags=_TAG, summary="Credit notes of an invoice, newest first",
                query=NotePage, response=NoteList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/credit-notes", self.list,
                scope="read", tags=_TAG, summary="Credit notes, newest first",
                query=NoteParameters, response=NoteList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/credit-notes/{id}", self.get,
                scope="read", tags=_TAG, summary="One credit note",
                response=dict[str, Any], errors=("not_found",),
            ),
            Route(
                "POST", "/v1/credit-notes/{id}/approve", self.approve,
                scope="write", tags=_TAG, summary="Issue a credit note that another key asked for",
                response=dict[str, Any], errors=_DECIDED, idempotent=True,
            ),
            Route(
                "POST", "/v1/credit-notes/{id}/reject", self.reject,
                scope="write", tags=_TAG, summary="Give up a credit note that waits",
                request=RejectBody, response=dict[str, Any],
                errors=("not_found", "credit_note_settled"), idempotent=True,
            ),
            Route(
                "POST", _DISPUTE, self.dispute,
                scope="write", tags=_TAG, summary="Note that a customer disputes a line",
                description="Nobody is reminded of it until it is resolved.",
                request=DisputeBody, response=DisputeAnswer, status=201, idempotent=True,
                errors=("not_found", "invoice_not_issued", "already_disputed", "exceeds_invoice"),
            ),
            Route(
                "GET", _DISPUTE, self.get_dispute,
                scope="read", tags=_TAG, summary="The newest dispute of a line",
                response=DisputeAnswer, errors=("not_found",),
            ),
            Route(
                "POST", f"{_DISPUTE}/resolve", self.resolve,
                scope="write", tags=_TAG, summary="End a dispute: the line stays, or is credited",
                request=ResolveBody, response=DisputeAnswer, idempotent=True,
                errors=("not_found", "not_disputed", "exceeds_invoice", "invalid_amount"),
            ),
        ]  # fmt: skip

    async def credit(self, request: Request) -> Response:
        note = await credit_notes.credit(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            request.json(NoteWish),
            self._around.actor(request),
        )
        return json_response(note_json(note), status=201)

    async def foresee(self, request: Request) -> Response:
        tenant, wish = self._around.tenant(request), request.json(NoteWish)
        found = await credit_notes.foreseen(self._core, tenant, request.params["id"], wish)
        return json_response(found)

    async def of_invoice(self, request: Request) -> Response:
        query = request.query_as(NotePage)
        tenant = self._around.tenant(request)
        invoice = await find_invoice(self._core, tenant, request.params["id"])
        return await self._listed(request, NoteParameters(invoice.id, None, None, query.limit,
                                                          query.cursor))  # fmt: skip

    async def list(self, request: Request) -> Response:
        return await self._listed(request, request.query_as(NoteParameters))

    async def _listed(self, request: Request, query: NoteParameters) -> Response:
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        if query.status is not None and query.status not in STATUSES:
            raise Rejected("invalid_parameter", f"status is one of {', '.join(STATUSES)}.")
        limit = limit_of(query.limit)
        found = await self._around.books(
            "credit_notes",
            tenant.name,
            invoice=query.invoice,
            customer=query.customer,
            status=query.status,
            before=keyset(query.cursor),
            limit=limit,
        )
        following = str(found[-1].rank) if len(found) == limit else None
        return json_response(listed([note_json(one) for one in found], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        return json_response(note_json(await find_note(self._core, tenant, request.params["id"])))

    async def approve(self, request: Request) -> Response:
        note = await credit_notes.approve(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            self._around.actor(request),
        )
        return json_response(note_json(note))

    async def reject(self, request: Request) -> Response:
        body = request.json(RejectBody) if request.body else RejectBody()
        note = await credit_notes.reject(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.reason,
            self._around.actor(request),
        )
        return json_response(note_json(note))

    async def dispute(self, request: Request) -> Response:
        body = request.json(DisputeBody)
        tenant = self._around.tenant(request)
        found = await disputes.dispute(
            self._core,
            tenant,
            request.params["id"],
            request.params["line"],
            body.reason,
            self._around.actor(request),
        )
        return json_response(await disputes.dispute_json(self._core, tenant, found), status=201)

    async def get_dispute(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        found = await disputes.find_dispute(
            self._core, tenant, request.params["id"], request.params["line"]
        )
        return json_response(await disputes.dispute_json(self._core, tenant, found))

    async def resolve(self, request: Request) -> Response:
        body = request.json(ResolveBody)
        tenant = self._around.tenant(request)
        found = await disputes.resolve(
            self._core,
            tenant,
            request.params["id"],
            request.params["line"],
            body.outcome,
            self._around.actor(request),
            amount=body.amount,
            note=body.note,
        )
        return json_response(await disputes.dispute_json(self._core, tenant, found))
