"""
Corrections over HTTP: events taken back and given other data, one by one or by query.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.corrections.query import Query
from taximeter.instants import format_instant, parse_instant
from taximeter.ports import StoredCorrection
from taximeter.services.corrections import bulk, single
from taximeter.services.corrections.effect import Effect
from taximeter.services.corrections.records import find_correction

_LOG = ("overloaded", "storage_full", "storage_failed", "rebuilding")
_TAG = ("corrections",)
_BY_QUERY = {
    "action": "retract",
    "customer": "acme",
    "type": "llm.request",
    "from": "2026-11-20T10:00:00Z",
    "to": "2026-11-20T11:00:00Z",
    "filter": 'data.model == "opus"',
    "reason": "the gateway sent its retries as new requests",
}

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


# --- shapes -------------------------------------------------------------------------------------


class RetractBody(shapes.Strict):
    id: str
    reason: Reason
    source: str = ""


class AmendBody(shapes.Strict):
    """`data` is all of the new data, not a patch."""

    id: str
    data: dict[str, Any] | None
    reason: Reason
    source: str = ""


class NamedEvent(msgspec.Struct):
    source: str
    id: str
    position: str


class CorrectedAnswer(msgspec.Struct, omit_defaults=True):
    """`corrected` is the event that was named, `replacement` what stands in for it."""

    status: Literal["retracted", "amended"]
    position: str
    corrected: NamedEvent
    correction: str = ""
    by: str = ""
    reason: str = ""
    replacement: NamedEvent | None = None


class QueryBody(shapes.Strict):
    """`patch` sets members of `data`, null removes one; only for `amend`."""

    action: Literal["retract", "amend"]
    customer: str | None = None
    type: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    filter: str | None = None
    patch: dict[str, Any] | None = None
    reason: str = ""


class CommitBody(QueryBody, kw_only=True):
    """`preview` is the id of what was previewed."""

    preview: str
    reason: Reason


class EffectAnswer(msgspec.Struct):
    """One customer's quantity of one meter in one period, as it is and as it would be."""

    customer: str
    meter: str
    subscription: str | None
    period: dict[str, str | None]
    before: str
    after: str
    events_before: int
    events_after: int


class FareAnswer(msgspec.Struct):
    """What a period comes to, and what it would; invoices that were made stay as they are."""

    customer: str
    subscription: str
    period: dict[str, str]
    currency: str
    before: str
    after: str


class PreviewAnswer(msgspec.Struct):
    """
    What would change. `unchanged` of the selected events say already what they would be made to;
    `unmatched` belong to nobody. `more` effects are not shown.
    """

    preview: str
    position: str
    events: int
    unchanged: int
    unmatched: int
    needs_approval: bool
    effect: list[EffectAnswer]
    more: int
    fares: list[FareAnswer]
    invoices: list[dict[str, Any]]


class CorrectionAnswer(msgspec.Struct):
    id: str
    action: str
    status: str
    reason: str
    events: int
    request: dict[str, Any]
    made_by: str
    made_at: str
    approved_by: str | None
    approved_at: str | None
    position: str | None
    reverts: str | None
    reverted_by: str | None


class CorrectionList(msgspec.Struct):
    items: list[CorrectionAnswer]
    next: str | None


class CorrectionParameters(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["pending", "rejected", "committed", "reverted"] | None = None
    limit: int = 100
    cursor: str | None = None


class ReasonBody(shapes.Strict):
    reason: Reason


class CorrectionRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/events/retract", self.retract,
                scope="ingest", tags=_TAG, summary="Take one event back",
                description="It counts no more, from the answer on, everywhere; invoices issued "
                "before still verify. Its identity stays taken. Again: the same answer.",
                request=RetractBody, response=CorrectedAnswer, idempotent=True,
                errors=("not_found", "four_eyes", *_LOG),
                example={"source": "api", "id": "req_1", "reason": "sent by a test"},
            ),
            Route(
                "POST", "/v1/events/amend", self.amend,
                scope="ingest", tags=_TAG, summary="Give one event other data",
                description="An event with the new data stands in for it, at the same time. What "
                "was amended can be amended again.",
                request=AmendBody, response=CorrectedAnswer, idempotent=True,
                errors=("not_found", "already_retracted", "correction_changed", "four_eyes",
                        "invalid_quantity", "event_too_large", "too_deep", *_LOG),
                example={"source": "api", "id": "req_1", "data": {"input_tokens": 81},
                         "reason": "counted a cached prompt"},
            ),
            Route(
                "POST", "/v1/corrections/preview", self.preview,
                scope="read", tags=_TAG, summary="What a correction by query would change",
                description="Changes nothing. At most 10,000 events at a time.",
                request=QueryBody, response=PreviewAnswer, example=_BY_QUERY,
                errors=("not_found", "invalid_filter", "invalid_timestamp", "invalid_quantity",
                        "batch_too_large", "rebuilding"),
            ),
            Route(
                "POST", "/v1/corrections", self.commit,
                scope="write", tags=_TAG, summary="Make a correction that was previewed",
                description="Exactly what was previewed, or nothing. Answers `pending` where it "
                "takes a second person.",
                request=CommitBody, response=CorrectionAnswer, status=201, idempotent=True,
                example={**_BY_QUERY, "preview": "cor_1482_5f0c2d..."},
                errors=("not_found", "invalid_filter", "invalid_timestamp", "invalid_quantity",
                        "batch_too_large", "correction_changed", *_LOG),
            ),
            Route(
                "GET", "/v1/corrections", self.list,
                scope="read", tags=_TAG, summary="Corrections, newest first",
                query=CorrectionParameters, response=CorrectionList,
            ),
            Route(
                "GET", "/v1/corrections/{id}", self.get,
                scope="read", tags=_TAG, summary="One correction",
                response=CorrectionAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/corrections/{id}/approve", self.approve,
                scope="write", tags=_TAG, summary="Approve a correction of somebody else",
                response=CorrectionAnswer, idempotent=True,
                errors=("not_found", "four_eyes", "correction_not_open", "correction_changed",
                        *_LOG),
            ),
            Route(
                "POST", "/v1/corrections/{id}/reject", self.reject,
                scope="write", tags=_TAG, summary="Let a correction that waits not be made",
                request=ReasonBody, response=CorrectionAnswer, idempotent=True,
                errors=("not_found", "correction_not_open"),
            ),
            Route(
                "POST", "/v1/corrections/{id}/revert", self.revert,
                scope="write", tags=_TAG, summary="Undo a correction, by further facts",
                description="What was taken back comes back, what was given other data gets its "
                "own again.",
                request=ReasonBody, response=CorrectionAnswer, idempotent=True,
                errors=("not_found", "correction_not_open", "correction_changed", *_LOG),
            ),
        ]  # fmt: skip

    # --- one event ---

    async def retract(self, request: Request) -> Response:
        body = request.json(RetractBody)
        told = await single.retract(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            body.source,
            body.id,
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(told)

    async def amend(self, request: Request) -> Response:
        body = request.json(AmendBody)
        told = await single.amend(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            body.source,
            body.id,
            body.data,
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(told)

    # --- by query ---

    async def preview(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        shown = await bulk.preview(self._core, tenant, _query(request.json(QueryBody)))
        return json_response(
            {
                "preview": shown.id,
                "position": f"0:{shown.position}",
                "events": len(shown.changes),
                "unchanged": shown.unchanged,
                "unmatched": shown.unmatched,
                "needs_approval": shown.needs_approval,
                **effect_json(shown.effect),
                "invoices": shown.invoices,
            }
        )

    async def commit(self, request: Request) -> Response:
        body = request.json(CommitBody)
        one = await bulk.commit(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            _query(body),
            body.preview,
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(_json(one), 202 if one.status == "pending" else 201)

    async def list(self, request: Request) -> Response:
        query = request.query_as(CorrectionParameters)
        limit = limit_of(query.limit)
        found: list[StoredCorrection] = await self._around.books(
            "corrections",
            self._around.tenant(request).name,
            status=query.status,
            before=keyset(query.cursor),
            limit=limit,
        )
        following = str(found[-1].rank) if len(found) == limit else None
        return json_response(listed([_json(one) for one in found], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        return json_response(_json(await find_correction(self._core, tenant, request.params["id"])))

    async def approve(self, request: Request) -> Response:
        one = await bulk.approve(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            request.params["id"],
            by=self._around.actor(request),
        )
        return json_response(_json(one))

    async def reject(self, request: Request) -> Response:
        body = request.json(ReasonBody)
        one = await bulk.reject(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(_json(one))

    async def revert(self, request: Request) -> Response:
        body = request.json(ReasonBody)
        one = await bulk.revert(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            request.params["id"],
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(_json(one), 202 if one.status == "pending" else 200)


def _query(body: QueryBody) -> Query:
    return Query(
        body.action,
        customer=body.customer,
        type=body.type,
        start=None if body.from_ is None else parse_instant(body.from_),
        end=None if body.to is None else parse_instant(body.to),
        filter=body.filter,
        patch=body.patch,
    )


def effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "effect": [one.to_json() for one in effect.shown],
        "more": effect.more,
        "fares": [one.to_json() for one in effect.fares],
    }


def _json(one: StoredCorrection) -> dict[str, Any]:
    return {
        "id": one.id,
        "action": one.action,
        "status": one.status,
        "reason": one.reason,
        "events": one.events,
        "request": _as_asked(one.request),
        "made_by": one.made_by,
        "made_at": format_instant(one.made_at),
        "approved_by": one.approved_by,
        "approved_at": None if one.approved_at is None else format_instant(one.approved_at),
        "position": f"0:{one.last}" if one.last else None,
        "reverts": one.reverts,
        "reverted_by": one.reverted_by,
    }


def _as_asked(request: dict[str, Any]) -> dict[str, Any]:
    """Its span as it was sent, in instants."""
    span = {"start": "from", "end": "to"}
    return {
        span.get(name, name): format_instant(value) if name in span else value
        for name, value in request.items()
    }
