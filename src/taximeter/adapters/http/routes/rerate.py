"""
Rating again, and correcting an issued invoice, over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.ports import StoredCreditNote
from taximeter.services.billing.correcting.correct import correct
from taximeter.services.billing.correcting.credit_notes import note_json
from taximeter.services.billing.correcting.rerate import Span, rerate
from taximeter.services.billing.issuing.shown import shown_one

_TAG = ("invoices",)


class RerateBody(msgspec.Struct, forbid_unknown_fields=True):
    """A customer with a period (a month such as "2026-10", or start and end), or an invoice."""

    customer: str | None = None
    period: Span | str | None = None
    catalog_version: int | None = None
    invoice: str | None = None


class CorrectBody(msgspec.Struct, forbid_unknown_fields=True):
    """`mode` is "adjust" or "credit_note"."""

    mode: str
    reason: str = ""


class RerateTotal(msgspec.Struct):
    currency: str
    billed: str
    rerated: str
    delta: str


class RerateAnswer(msgspec.Struct):
    customer: str
    catalog_version: int | None
    position: str
    lines: list[dict[str, Any]]
    totals: list[RerateTotal]


class RerateRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/rerate", self.rerate,
                scope="read", tags=_TAG, summary="What billed periods would come to now",
                description="Line by line beside what was billed, with the cause of a difference: "
                "`events`, `catalog`, `not_billed` or `terms`. It changes nothing.",
                request=RerateBody, response=RerateAnswer,
                errors=("not_found", "unknown_plan", "invalid_timestamp", "rebuilding"),
                example={"customer": "acme", "period": "2026-10", "catalog_version": 4},
            ),
            Route(
                "POST", "/v1/invoices/{id}/correct", self.correct,
                scope="write", tags=_TAG, summary="Correct an issued invoice now",
                description="By a draft of adjustments alone, or by a credit note for what came "
                "out too high; without it the next invoice has the adjustments.",
                request=CorrectBody, response=dict[str, Any], status=201, idempotent=True,
                errors=("not_found", "invoice_not_issued", "nothing_to_adjust", "exceeds_invoice",
                        "rebuilding"),
            ),
        ]  # fmt: skip

    async def rerate(self, request: Request) -> Response:
        body = request.json(RerateBody)
        found = await rerate(
            self._core,
            self._around.tenant(request),
            body.customer,
            body.period,
            catalog_version=body.catalog_version,
            invoice_id=body.invoice,
        )
        return json_response(found)

    async def correct(self, request: Request) -> Response:
        body = request.json(CorrectBody)
        tenant = self._around.tenant(request)
        made = await correct(
            self._core,
            tenant,
            request.params["id"],
            body.mode,
            body.reason,
            self._around.actor(request),
        )
        if isinstance(made, StoredCreditNote):
            return json_response(note_json(made), status=201)
        return json_response(await shown_one(self._core, tenant, made), status=201)
