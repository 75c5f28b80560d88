"""
Proof over HTTP: the events behind a line, each one's share and inclusion, and the recount.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, StreamResponse, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.events import event_json
from taximeter.adapters.http.routes.paging import keyset, limit_of
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.invoices.rated import Share
from taximeter.money import exponent, format_exact, format_minor
from taximeter.quantities import format_quantity
from taximeter.services.billing.evidence import proof
from taximeter.services.billing.evidence.rated import RatedRecord, rated_records
from taximeter.services.intake.ingest import find_receipt

JSON_LINES = "application/x-ndjson"


class LineEventsParameters(msgspec.Struct, forbid_unknown_fields=True):
    """`proof`: with each event's leaf and its proof of inclusion."""

    limit: int = 100
    cursor: str | None = None
    proof: bool = False


class ProofParameters(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    source: str = ""


class InclusionAnswer(msgspec.Struct):
    """`leaf` is the event as it was hashed; `path` the sibling hashes from it up to the root."""

    leaf: str
    index: int
    size: int
    path: list[str]
    root: str


class RatedStep(msgspec.Struct):
    quantity: str
    unit: str
    amount: str


class RatedItem(msgspec.Struct):
    position: str
    source: str
    id: str
    subject: str
    time: str
    metered: str
    quantity: str
    free: str
    tiers: list[RatedStep]
    price: str
    amount: str


class RatedList(msgspec.Struct):
    """`base` and the amounts of all items add up to `exact`, of which `amount` is the rounding."""

    items: list[RatedItem]
    next: str | None
    base: str
    exact: str | None
    amount: str


class ProofRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/invoices/{id}/lines/{line}/events", self.line_events,
                scope="read", tags=("invoices",), summary="The exact events of one line",
                description="With `proof=1`, each with its leaf and its proof of inclusion.",
                query=LineEventsParameters, response=shapes.EventList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}/lines/{line}/events.jsonl", self.leaves,
                scope="read", tags=("invoices",),
                summary="All events of one line, as they were hashed",
                description="One leaf a line, in order: what `/verify.py` checks offline.",
                response_type=JSON_LINES, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}/lines/{line}/proof", self.inclusion,
                scope="read", tags=("invoices",), summary="That a line was billed for one event",
                query=ProofParameters, response=InclusionAnswer, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}/lines/{line}/rated", self.rated,
                scope="read", tags=("invoices",), summary="What each event of a line cost",
                description="In the order of the log: an event's amount is what the line rose by.",
                query=shapes.PageParameters, response=RatedList, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}/verify", self.verify,
                scope="read", tags=("invoices",),
                summary="Recount an invoice and compare its digests",
                response=shapes.VerifyAnswer, errors=("not_found", "rebuilding"),
            ),
            Route(
                "GET", "/verify.py", self.script,
                scope=None, tags=("invoices",),
                summary="Fifty lines of Python that check a line of an invoice offline",
                response_type="text/x-python",
            ),
        ]  # fmt: skip

    async def line_events(self, request: Request) -> Response:
        query = request.query_as(LineEventsParameters)
        limit = limit_of(query.limit)
        after = keyset(query.cursor) or 0
        tenant = self._around.tenant(request)
        events = await self._events(request)
        items: list[dict[str, Any]]
        if query.proof:
            proved = await proof.proved_events(self._core, events, after, limit)
            items = [event_json(tenant, one) | {"proof": shown} for one, shown in proved]
            found = [one for one, _ in proved]
        else:
            found = await proof.some_events(self._core, events, after, limit)
            items = [event_json(tenant, one) for one in found]
        following = str(found[-1].seq) if len(found) == limit else None
        return Response(200, _encode({"items": items, "next": following}))

    async def leaves(self, request: Request) -> StreamResponse:
        events = await self._events(request)
        name = f"{events.invoice.id}-{events.line.id}.jsonl"

        async def lines() -> AsyncIterator[bytes]:
            async for found in proof.every_event(self._core, events):
                yield b"".join(proof.leaf_of(one) + b"\n" for one in found)

        disposition = f'attachment; filename="{name}"'
        headers = (("Content-Disposition", disposition),) if name.isascii() else ()
        return StreamResponse(lines(), content_type=JSON_LINES, headers=headers)

    async def inclusion(self, request: Request) -> Response:
        query = request.query_as(ProofParameters)
        events = await self._events(request)
        tenant = self._around.tenant(request)
        stored = await find_receipt(self._core, tenant, query.source, query.id)
        if stored is None:
            raise NotFound("not_found", "No event with this source and id was accepted.")
        return json_response(await proof.prove_event(self._core, events, stored))

    async def rated(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        limit = limit_of(query.limit)
        events = await self._events(request)
        tenant = self._around.tenant(request)
        page = await rated_records(self._core, tenant, events, query.cursor, limit)
        currency, line = events.invoice.currency, events.line
        digits = exponent(currency)
        return json_response(
            {
                "items": [_rated_json(record, line.price, digits) for record in page.records],
                "next": page.next,
                "base": format_exact(page.base, digits),
                "exact": None if page.exact is None else format_exact(page.exact, digits),
                "amount": format_minor(line.amount_minor, currency),
            }
        )

    async def verify(self, request: Request) -> Response:
        verdict = await proof.verify(self._core, self._around.tenant(request), request.params["id"])
        return json_response(verdict)

    def script(self, request: Request) -> Response:
        content = files("taximeter.adapters").joinpath("verify_line.py").read_bytes()
        return Response(200, content, "text/x-python; charset=utf-8")

    async def _events(self, request: Request) -> proof.Events:
        return await proof.events_of_line(
            self._core, self._around.tenant(request), request.params["id"], request.params["line"]
        )


def _rated_json(record: RatedRecord, price: str, digits: int) -> dict[str, Any]:
    stored, share = record.stored, record.share
    return {
        "position": f"0:{stored.seq}",
        "source": stored.event.source,
        "id": stored.event.id,
        "subject": stored.event.subject,
        "time": format_instant(stored.time),
        "metered": format_quantity(share.metered_pico),
        "quantity": format_quantity(share.quantity_pico),
        "free": format_quantity(share.free_pico),
        "tiers": _steps_json(share, digits),
        "price": price,
        "amount": format_exact(share.amount, digits),
    }


def _steps_json(share: Share, digits: int) -> list[dict[str, str]]:
    return [
        {
            "quantity": format_quantity(step.quantity_pico),
            "unit": format_exact(step.unit, digits),
            "amount": format_exact(step.amount, digits),
        }
        for step in share.steps
    ]


_encode = msgspec.json.Encoder(decimal_format="number").encode
