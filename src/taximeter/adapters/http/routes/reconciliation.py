"""
Reconciliation over HTTP: what was found, what clients have sent, what closes a gap.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.shapes import Strict
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected, Unavailable
from taximeter.instants import parse_instant
from taximeter.periods import Period
from taximeter.ports import SentCount
from taximeter.quantities import E12, exact_pico
from taximeter.services.core import require_customer
from taximeter.services.reconciliation.chain import chain
from taximeter.services.reconciliation.edges import ClientStats
from taximeter.services.reconciliation.service import Reconciliation

MAX_COUNTS = 1000
MAX_PERIODS = 36


class ReconciliationParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None


class ChainParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str
    periods: int = 3


class RunBody(Strict):
    customer: str | None = None


class SentItem(Strict):
    """Distinct events of a type with a time in the period, however often each was sent."""

    type: str
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    events: Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class SentBody(Strict):
    """`stats`: what `stats` of an SDK's meter has; further members are passed over."""

    source: str
    counts: tuple[SentItem, ...] = ()
    stats: ClientStats | None = None


class RepairBody(Strict):
    gap: str


class ToleranceBody(Strict):
    tolerance: str


class GapItem(msgspec.Struct):
    id: str
    between: list[str]
    cause: str
    customer: str | None
    meter: str | None
    period: dict[str, str] | None
    target: str
    unit: str
    expected: str
    found: str
    difference: str
    detail: str
    repair: str
    automatic: bool
    blocks: bool


class ReconciliationAnswer(msgspec.Struct):
    ok: bool
    checked: dict[str, Any]
    tolerance: str
    events: dict[str, Any]
    items: list[GapItem]
    next: str | None


class RepairAnswer(msgspec.Struct):
    gap: str
    repair: str
    healed: bool


class ReconciliationRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/reconciliation", self.report,
                scope="read", tags=("reconciliation",),
                summary="Gaps between the stages, and how far the sweep has come",
                query=ReconciliationParameters, response=ReconciliationAnswer,
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/reconciliation/chain", self.chain,
                scope="read", tags=("reconciliation",),
                summary="What each stage says of a customer's meters and periods, side by side",
                query=ChainParameters, response=dict[str, Any], errors=("not_found",),
            ),
            Route(
                "POST", "/v1/reconciliation/run", self.run,
                scope="write", tags=("reconciliation",),
                summary="Compare everything now, or one customer",
                request=RunBody, response=ReconciliationAnswer, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/reconciliation/sent", self.sent,
                scope="ingest", tags=("reconciliation",),
                summary="What a client has sent, to be compared with what was accepted",
                description="Said again of the same source, type and period, it replaces what was "
                "said before. Up to 1,000 counts a call.",
                request=SentBody, response=ReconciliationAnswer, idempotent=True,
                errors=("invalid_timestamp",),
                example={"source": "api", "counts": [{
                    "type": "llm.request", "from": "2026-11-20T00:00:00Z",
                    "to": "2026-11-21T00:00:00Z", "events": 81203}]},
            ),
            Route(
                "POST", "/v1/reconciliation/repair", self.repair,
                scope="admin", tags=("reconciliation",),
                summary="Close a gap by the replay it proposes",
                request=RepairBody, response=RepairAnswer, idempotent=True,
                errors=("not_found", "not_repairable", "rebuilding"),
                example={"gap": "gap_0123456789abcdef0123"},
            ),
            Route(
                "PUT", "/v1/reconciliation/tolerance", self.tolerance,
                scope="admin", tags=("reconciliation",),
                summary="How large a gap may be without holding back a close",
                description="A share of what is expected: 0.001 lets one in a thousand pass.",
                request=ToleranceBody, response=ReconciliationAnswer, idempotent=True,
                errors=("invalid_request",), example={"tolerance": "0.001"},
            ),
        ]  # fmt: skip

    @property
    def _service(self) -> Reconciliation:
        service = self._core.reconciliation
        if service is None:
            raise Unavailable("shutting_down", "This node does not reconcile.")
        return service

    async def report(self, request: Request) -> Response:
        customer = request.query_as(ReconciliationParameters).customer
        return await self._report(request, customer)

    async def _report(self, request: Request, customer: str | None) -> Response:
        tenant = self._around.tenant(request)
        if customer is not None:
            require_customer(tenant, customer)
        return json_response(await self._service.report(tenant, customer))

    async def chain(self, request: Request) -> Response:
        query = request.query_as(ChainParameters)
        tenant = self._around.tenant(request)
        require_customer(tenant, query.customer)
        if not 1 <= query.periods <= MAX_PERIODS:
            raise Rejected("invalid_parameter", f"periods is 1 to {MAX_PERIODS}.")
        found = await chain(self._core, tenant, query.customer, query.periods)
        return json_response(found)

    async def run(self, request: Request) -> Response:
        body = request.json(RunBody) if request.body else RunBody()
        tenant = self._around.tenant(request)
        if body.customer is not None:
            require_customer(tenant, body.customer)
        await self._service.look(tenant, body.customer)
        return await self._report(request, body.customer)

    async def sent(self, request: Request) -> Response:
        body = request.json(SentBody)
        if len(body.counts) > MAX_COUNTS or not (body.counts or body.stats):
            raise Rejected("invalid_request", f"counts: 1 to {MAX_COUNTS} of them, or stats.")
        counts = [_sent_count(body.source, item) for item in body.counts]
        found = await self._service.note_sent(
            self._around.tenant(request), body.source, counts, body.stats
        )
        return json_response(found)

    async def repair(self, request: Request) -> Response:
        body = request.json(RepairBody)
        tenant = self._around.tenant(request)
        return json_response(
            await self._service.repair(tenant, body.gap, self._around.actor(request))
        )

    async def tolerance(self, request: Request) -> Response:
        pico = exact_pico(request.json(ToleranceBody).tolerance)
        if pico is None or not 0 <= pico <= E12:
            raise Rejected("invalid_request", 'tolerance: a share from "0" to "1".')
        tenant = self._around.tenant(request)
        actor = self._around.actor(request)
        await self._service.set_tolerance(tenant, Fraction(pico, E12), actor)
        return await self._report(request, None)


def _sent_count(source: str, item: SentItem) -> SentCount:
    start, end = parse_instant(item.start), parse_instant(item.end)
    if start >= end:
        raise Rejected("invalid_request", "counts: from is before to.")
    if not item.type or len(item.type) > 256 or len(source) > 256:
        raise Rejected("invalid_request", "source and type have at most 256 characters.")
    return SentCount(source, item.type, Period(start, end), item.events)
