"""
Rules over HTTP: what they did, what they would do, and what people make of it. The rules themselves
are part of the catalogue.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.answers import told
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.catalog.rules import Rule, dump_rule
from taximeter.errors import NotFound
from taximeter.instants import DAY, format_instant, parse_instant
from taximeter.ports import RuleFire
from taximeter.services.core import require_customer
from taximeter.services.rules.reviews import find_fire, imposed_json, resolve, unblock
from taximeter.services.rules.service import RuleService
from taximeter.services.rules.trial import dry_run, wanted_rule
from taximeter.services.tenant import Tenant

_LOG = ("overloaded", "storage_full", "storage_failed")
_TAG = ("rules",)
_RULE = {
    "on": "llm.request",
    "over": {"count": "events", "window": "10m", "more_than": 500, "by": "user"},
    "do": ["notify", {"block": {"for": "1h"}}],
}


# --- shapes -------------------------------------------------------------------------------------


class RuleAnswer(msgspec.Struct):
    """`fires_today` has how often it fired, and how often it would have, in the last 24 hours."""

    key: str
    mode: str
    catalog_version: int
    rule: dict[str, Any]
    fires_today: dict[str, int]


class RuleList(msgspec.Struct):
    items: list[RuleAnswer]
    next: str | None


class FireAnswer(msgspec.Struct):
    """A rule that fired; `outcomes` has what came of each action."""

    id: str
    rule: str
    catalog_version: int
    mode: str
    customer: str
    value: str | None
    event: str
    event_time: str
    position: str
    at: str
    observed: str | None
    outcomes: dict[str, str]
    review: str | None
    reviewed_at: str | None
    reviewed_by: str | None
    note: str | None


class FireList(msgspec.Struct):
    items: list[FireAnswer]
    next: str | None


class FireParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    mode: Literal["on", "dry_run"] | None = None
    limit: int = 100
    cursor: str | None = None


class ReviewParameters(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["open", "approved", "dismissed"] = "open"
    customer: str | None = None
    rule: str | None = None
    limit: int = 100
    cursor: str | None = None


class DryRunBody(shapes.Strict):
    """`rule` is the key of one in the catalogue, or one written out."""

    rule: str | dict[str, Any]
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None


class ReviewBody(shapes.Strict):
    note: str = ""


class UnblockBody(shapes.Strict):
    """Without `feature`, everything is lifted."""

    feature: str | None = None
    reason: str = ""


class RuleRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/rules", self.list,
                scope="read", tags=_TAG, summary="The rules of the catalogue, and how they fire",
                response=RuleList,
            ),
            Route(
                "GET", "/v1/rules/{key}/fires", self.fires,
                scope="read", tags=_TAG, summary="When a rule fired, newest first",
                description="Also of a rule that the catalogue has no more. With `mode` only what "
                "was done (`on`) or only what would have been (`dry_run`).",
                query=FireParameters, response=FireList, errors=("not_found", "invalid_parameter"),
            ),
            Route(
                "POST", "/v1/rules/dry-run", self.dry_run,
                scope="read", tags=_TAG, summary="Try a rule out on history",
                description="On the events received in [from, to), by default the last 7 days. "
                "Changes nothing.",
                request=DryRunBody,
                errors=("not_found", "catalog_invalid", "invalid_parameter", "invalid_timestamp",
                        "rebuilding", "overloaded"),
                example={"rule": _RULE, "from": "2026-11-01T00:00:00Z"},
            ),
            Route(
                "GET", "/v1/reviews", self.reviews,
                scope="read", tags=_TAG, summary="What rules want somebody to look at",
                query=ReviewParameters, response=FireList, errors=("invalid_parameter",),
            ),
            Route(
                "GET", "/v1/reviews/{id}", self.review,
                scope="read", tags=_TAG, summary="One fire, and its review",
                response=FireAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/reviews/{id}/approve", self.approve,
                scope="write", tags=_TAG, summary="The rule was right",
                description="What it has imposed stays.",
                request=ReviewBody, response=FireAnswer, idempotent=True,
                errors=("not_found", "already_resolved", *_LOG), example={"note": "scraper"},
            ),
            Route(
                "POST", "/v1/reviews/{id}/dismiss", self.dismiss,
                scope="write", tags=_TAG, summary="The rule was wrong",
                description="What it has imposed on the customer is lifted.",
                request=ReviewBody, response=FireAnswer, idempotent=True,
                errors=("not_found", "already_resolved", *_LOG), example={"note": "load test"},
            ),
            Route(
                "GET", "/v1/customers/{key}/blocks", self.blocks,
                scope="read", tags=_TAG, summary="What a customer may not use, or only slowly",
                errors=("not_found",),
            ),
            Route(
                "POST", "/v1/customers/{key}/unblock", self.unblock,
                scope="write", tags=_TAG, summary="Lift blocks and throttles",
                description="Of one `feature`, or all. Nothing to lift is no error.",
                request=UnblockBody, errors=("not_found", *_LOG), idempotent=True,
                example={"feature": "chat", "reason": "talked to them"},
            ),
        ]  # fmt: skip

    @property
    def _rules(self) -> RuleService:
        assert self._core.rules is not None, "the node has set it"
        return self._core.rules

    # --- rules ------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        since = self._core.clock.now() - DAY
        await self._rules.settle()
        counts = await self._around.books("count_fires", tenant.name, since)
        items = [_rule(tenant, rule, counts) for rule in tenant.catalog.rules.values()]
        return json_response(listed(items, None))

    async def fires(self, request: Request) -> Response:
        tenant, key = self._around.tenant(request), request.params["key"]
        if not any(key in catalog.rules for catalog in tenant.catalogs.values()):
            raise NotFound("not_found", f"No version of the catalogue has a rule {key!r}.")
        asked = request.query_as(FireParameters)
        return await self._fires(
            tenant, asked.limit, asked.cursor, rule=key, customer=asked.customer, mode=asked.mode
        )

    async def dry_run(self, request: Request) -> Response:
        tenant, body = self._around.tenant(request), request.json(DryRunBody)
        rule = wanted_rule(tenant, body.rule)
        start = None if body.from_ is None else parse_instant(body.from_)
        end = None if body.to is None else parse_instant(body.to)
        return json_response(await dry_run(self._core, tenant, rule, start, end))

    # --- reviews ----------------------------------------------------------------------------

    async def reviews(self, request: Request) -> Response:
        asked = request.query_as(ReviewParameters)
        return await self._fires(
            self._around.tenant(request),
            asked.limit,
            asked.cursor,
            rule=asked.rule,
            customer=asked.customer,
            review=asked.status,
        )

    async def review(self, request: Request) -> Response:
        await self._rules.settle()
        tenant = self._around.tenant(request)
        return json_response(_fire(await find_fire(self._core, tenant, request.params["id"])))

    async def approve(self, request: Request) -> Response:
        return await self._resolve(request, "approved")

    async def dismiss(self, request: Request) -> Response:
        return await self._resolve(request, "dismissed")

    async def _resolve(self, request: Request, status: str) -> Response:
        body = request.json(ReviewBody) if request.body else ReviewBody()
        closed = await resolve(
            self._core,
            self._around.commands,
            self._rules,
            self._around.tenant(request),
            request.params["id"],
            status,
            body.note,
            self._around.actor(request),
        )
        return json_response(_fire(closed))

    async def _fires(
        self, tenant: Tenant, limit: int, cursor: str | None, **wanted: str | None
    ) -> Response:
        await self._rules.settle()
        limit = limit_of(limit)
        found = await self._around.books(
            "fires", tenant.name, before=keyset(cursor), limit=limit + 1, **wanted
        )
        following = str(found[limit - 1].rank) if len(found) > limit else None
        return json_response(listed([_fire(one) for one in found[:limit]], following))

    # --- what is imposed ----------------------------------------------------------------------

    async def blocks(self, request: Request) -> Response:
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        return json_response(listed(imposed_json(tenant, customer, self._core.clock.now()), None))

    async def unblock(self, request: Request) -> Response:
        body = request.json(UnblockBody) if request.body else UnblockBody()
        result = await unblock(
            self._core,
            self._around.commands_of(request),
            self._around.tenant(request),
            request.params["key"],
            body.feature,
            body.reason,
            self._around.actor(request),
        )
        return await told(self._around, result)


def _rule(tenant: Tenant, rule: Rule, counts: dict[tuple[str, str], int]) -> RuleAnswer:
    today = {mode: counts.get((rule.key, mode), 0) for mode in ("on", "dry_run")}
    return RuleAnswer(rule.key, rule.mode.value, tenant.version, dump_rule(rule), today)


def _fire(fire: RuleFire) -> FireAnswer:
    reviewed_at = fire.reviewed_at
    return FireAnswer(
        id=fire.id,
        rule=fire.rule,
        catalog_version=fire.version,
        mode=fire.mode,
        customer=fire.customer,
        value=fire.value or None,
        event=fire.event,
        event_time=format_instant(fire.event_at),
        position=f"0:{fire.seq}",
        at=format_instant(fire.at),
        observed=fire.observed,
        outcomes=fire.outcomes,
        review=fire.review,
        reviewed_at=None if reviewed_at is None else format_instant(reviewed_at),
        reviewed_by=fire.reviewed_by,
        note=fire.note,
    )
