"""
Backfills over HTTP: history imported as a whole, looked at before it counts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.corrections import (
    EffectAnswer,
    FareAnswer,
    Reason,
    ReasonBody,
    effect_json,
)
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.instants import format_instant
from taximeter.ports import StoredBackfill
from taximeter.services.corrections import backfills, carrying_out

_TAG = ("corrections",)
_LOG = ("overloaded", "storage_full", "storage_failed")


class BackfillBody(shapes.Strict):
    id: str
    reason: Reason


class BackfillAnswer(msgspec.Struct):
    """`staged` events wait, `accepted` ones count; `duplicates` were in the log before."""

    id: str
    status: str
    reason: str
    made_by: str
    made_at: str
    staged: int
    accepted: int
    duplicates: int
    rejected: int
    committed_by: str | None
    committed_at: str | None
    reverted_by: str | None
    reverted_at: str | None


class BackfillPreview(msgspec.Struct):
    """
    What committing would change: `events` would count, `known` are in the log or staged twice.
    """

    events: int
    known: int
    unmatched: int
    first: str | None
    last: str | None
    effect: list[EffectAnswer]
    more: int
    fares: list[FareAnswer]


class BackfillDetail(BackfillAnswer, kw_only=True, omit_defaults=True):
    preview: BackfillPreview | None = None


class BackfillList(msgspec.Struct):
    items: list[BackfillAnswer]
    next: str | None


class BackfillParameters(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    cursor: str | None = None


class BackfillRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/backfills", self.open,
                scope="write", tags=_TAG, summary="Open a backfill",
                description="Events sent to `/v1/events?backfill={id}` are then staged in it: "
                "checked and kept, and counted nowhere until it is committed.",
                request=BackfillBody, response=BackfillAnswer, status=201, idempotent=True,
                example={"id": "june-logs", "reason": "the gateway lost a day of usage"},
            ),
            Route(
                "GET", "/v1/backfills", self.list,
                scope="read", tags=_TAG, summary="Backfills, newest first",
                query=BackfillParameters, response=BackfillList,
            ),
            Route(
                "GET", "/v1/backfills/{id}", self.get,
                scope="read", tags=_TAG, summary="One backfill, and what committing it would do",
                response=BackfillDetail, errors=("not_found", "rebuilding"),
            ),
            Route(
                "POST", "/v1/backfills/{id}/commit", self.commit,
                scope="write", tags=_TAG, summary="Let what is staged count",
                description="Exactly once, in the order it was staged, also across a crash. "
                "Answers `committing` if it takes more than a few seconds.",
                response=BackfillAnswer, idempotent=True,
                errors=("not_found", "four_eyes", "backfill_closed", *_LOG),
            ),
            Route(
                "POST", "/v1/backfills/{id}/revert", self.revert,
                scope="write", tags=_TAG, summary="Take back everything a backfill brought",
                request=ReasonBody, response=BackfillAnswer, idempotent=True,
                errors=("not_found", "four_eyes", "backfill_closed", *_LOG),
            ),
        ]  # fmt: skip

    async def open(self, request: Request) -> Response:
        body = request.json(BackfillBody)
        one = await backfills.open_backfill(
            self._core,
            self._around.tenant(request),
            body.id,
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(_json(one), 201)

    async def list(self, request: Request) -> Response:
        query = request.query_as(BackfillParameters)
        limit = limit_of(query.limit)
        found: list[StoredBackfill] = await self._around.books(
            "backfills",
            self._around.tenant(request).name,
            before=keyset(query.cursor),
            limit=limit,
        )
        following = str(found[-1].rank) if len(found) == limit else None
        return json_response(listed([_json(one) for one in found], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        one = await backfills.find_backfill(self._core, tenant, request.params["id"])
        shown = _json(one)
        if one.status == "open":
            shown["preview"] = _preview(await backfills.preview(self._core, tenant, one))
        return json_response(shown)

    async def commit(self, request: Request) -> Response:
        one = await carrying_out.commit(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            request.params["id"],
            by=self._around.actor(request),
        )
        return json_response(_json(one), 202 if one.status == "committing" else 200)

    async def revert(self, request: Request) -> Response:
        body = request.json(ReasonBody)
        one = await carrying_out.revert(
            self._core,
            self._around.ledger,
            self._around.tenant(request),
            request.params["id"],
            reason=body.reason,
            by=self._around.actor(request),
        )
        return json_response(_json(one), 202 if one.status == "reverting" else 200)


def _preview(shown: backfills.Preview) -> dict[str, Any]:
    return {
        "events": shown.events,
        "known": shown.known,
        "unmatched": shown.unmatched,
        "first": _instant(shown.first),
        "last": _instant(shown.last),
        **effect_json(shown.effect),
    }


def _json(one: StoredBackfill) -> dict[str, Any]:
    return {
        "id": one.id,
        "status": one.status,
        "reason": one.reason,
        "made_by": one.made_by,
        "made_at": format_instant(one.made_at),
        "staged": one.events,
        "accepted": one.accepted,
        "duplicates": one.duplicates,
        "rejected": one.rejected,
        "committed_by": one.committed_by,
        "committed_at": _instant(one.committed_at),
        "reverted_by": one.reverted_by,
        "reverted_at": _instant(one.reverted_at),
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
