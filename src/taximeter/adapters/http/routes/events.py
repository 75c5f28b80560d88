"""
Events over HTTP: sending, finding, following; and the dead letters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from taximeter.adapters.http.messages import (
    FORM,
    FORM_HINT,
    Request,
    Response,
    StreamResponse,
    json_response,
)
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import keyset, limit_of
from taximeter.adapters.http.routes.surroundings import Surroundings, cancel, instant
from taximeter.adapters.http.routing import Route
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.errors import NotFound, Rejected
from taximeter.events.cloudevents import body_format, event_from_headers, is_binary_mode
from taximeter.events.envelope import Event, Format
from taximeter.instants import format_instant
from taximeter.ports import EventsQuery, StoredEvent
from taximeter.services.billing.evidence.proof import lines_that_billed
from taximeter.services.core import require_customer
from taximeter.services.corrections.backfills import stage
from taximeter.services.corrections.chain import event_at
from taximeter.services.corrections.single import why_json
from taximeter.services.feed import RefusedItem, Seen
from taximeter.services.intake.admission import Outcome
from taximeter.services.intake.ingest import (
    MAX_ERRORS_SHOWN,
    answer,
    find_receipt,
    ingest,
    replay_dead_letters,
)
from taximeter.services.tenant import Tenant

MEDIA_TYPES = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
)
_WHOLE_BODY_ERRORS = (
    "invalid_json", "empty_body", "invalid_event", "duplicate_key", "too_deep", "event_too_large",
    "invalid_timestamp", "unsupported_media_type", "unsupported_encoding", "body_too_large",
    "batch_too_large", "overloaded", "storage_full", "storage_failed",
)  # fmt: skip
EXAMPLE = {
    "specversion": "1.0",
    "id": "req_1",
    "source": "api",
    "type": "llm.request",
    "subject": "acme",
    "time": "2026-11-20T10:00:00.123456Z",
    "data": {"model": "opus", "input_tokens": 812, "output_tokens": 193},
}


class EventRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        sending: dict[str, Any] = {
            "scope": "ingest",
            "tags": ("events",),
            "request": shapes.Event | list[shapes.Event],
            "request_types": MEDIA_TYPES,
            "query": shapes.EventsParameters,
            "errors": _WHOLE_BODY_ERRORS,
            "example": EXAMPLE,
        }
        return [
            Route(
                "POST", "/v1/events", self.send, **sending,
                summary="Send usage events",
                description="One event, an array, or NDJSON; CloudEvents structured, batch and "
                "binary mode. Answers once everything is durable.",
                response=shapes.IngestAnswer,
            ),
            Route(
                "POST", "/api/v1/events", self.send_quietly, **sending,
                summary="Send usage events, as OpenMeter clients do",
                status=204,
            ),
            Route(
                "GET", "/v1/events", self.find,
                scope="read", tags=("events",), summary="Find stored events, newest first",
                query=shapes.EventListParameters, response=shapes.EventList,
                errors=("not_found", "invalid_timestamp", "position_not_reached"),
            ),
            Route(
                "GET", "/v1/events/receipt", self.receipt,
                scope="read", tags=("events",),
                summary="What became of one event",
                description="Its position, the meters that counted it and the invoice lines "
                "that billed it.",
                query=shapes.ReceiptParameters, response=shapes.EventReceipt,
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/events/stream", self.stream,
                scope="read", tags=("events",),
                summary="Follow events with their verdicts (Server-Sent Events)",
                query=shapes.StreamParameters, response_type="text/event-stream",
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/dead-letters", self.dead_letters,
                scope="read", tags=("events",), summary="Rejected items, oldest first",
                query=shapes.DeadLetterParameters, response=shapes.DeadLetterList,
            ),
            Route(
                "POST", "/v1/dead-letters/replay", self.replay,
                scope="write", tags=("events",), summary="Offer rejected items again",
                request=shapes.ReplayBody, response=shapes.ReplayAnswer, idempotent=True,
            ),
        ]  # fmt: skip

    # --- sending ---

    def send(self, request: Request) -> Awaitable[Response]:
        parameters = _NO_PARAMETERS
        if b"?" in request.target:
            parameters = request.query_as(shapes.EventsParameters)
        if parameters.receipts:
            return self._ingest(request, parameters, _with_receipts)
        return self._ingest(request, parameters, _answer)

    def send_quietly(self, request: Request) -> Awaitable[Response]:
        parameters = request.query_as(shapes.EventsParameters)
        return self._ingest(request, parameters, lambda _: Response(204))

    def _ingest(
        self,
        request: Request,
        parameters: shapes.EventsParameters,
        finish: Callable[[Outcome], Response],
    ) -> Awaitable[Response]:
        tenant = self._around.tenant(request)
        backfill = parameters.backfill
        if backfill not in _NO_BACKFILL:
            request.principal.require("write")
        body, form = _events_in(request)
        if backfill not in _NO_BACKFILL and backfill not in _AT_ONCE:
            return self._stage(tenant, backfill, body, form)
        return ingest(self._core, tenant, body, form, finish, backfill=backfill in _AT_ONCE)

    async def _stage(self, tenant: Tenant, backfill: str, body: bytes, form: Format) -> Response:
        staged = await stage(self._core, tenant, backfill, body, form)
        conflicts = sum(error.code == "event_conflict" for error in staged.errors)
        told = {
            "received": staged.received,
            "accepted": staged.staged,
            "duplicates": staged.duplicates,
            "conflicts": conflicts,
            "rejected": len(staged.errors) - conflicts,
            "position": self._core.as_of()["position"],
            "errors": staged.errors[:MAX_ERRORS_SHOWN],
            "backfill": backfill,
        }
        return json_response(told)

    # --- finding ---

    async def find(self, request: Request) -> Response:
        query = request.query_as(shapes.EventListParameters)
        tenant = self._around.tenant(request)
        limit = limit_of(query.limit)
        subjects = None
        if query.customer is not None:
            require_customer(tenant, query.customer)
            subjects = tenant.customers[query.customer].all_subjects
        found = await self._core.store.events(
            EventsQuery(
                namespace=tenant.name,
                upto=await self._core.upto(query.position),
                subjects=subjects,
                type=query.type,
                start=None if query.from_ is None else instant(query.from_, 0),
                end=None if query.to is None else instant(query.to, 0),
                before=keyset(query.cursor),
                limit=limit,
            )
        )
        following = str(found[-1].seq) if len(found) == limit else None
        items = [event_json(tenant, stored) for stored in found]
        return Response(200, _encode({"items": items, "next": following}))

    async def receipt(self, request: Request) -> Response:
        query = request.query_as(shapes.ReceiptParameters)
        tenant = self._around.tenant(request)
        stored = await find_receipt(self._core, tenant, query.source, query.id)
        if stored is None:
            raise NotFound("not_found", "No event with this source and id was accepted.")
        stored = await event_at(self._core, tenant, stored.seq) or stored
        shown = event_json(tenant, stored)
        stands = stored.retracted_by is None
        status = "accepted" if shown["customer"] is not None else "unmatched"
        receipt = {
            "status": shown.get("status", status),
            "position": shown["position"],
            "event": shown["event"],
            "customer": shown["customer"],
            "meters": meters_counting(tenant, stored.event) if stands else [],
            "lines": await lines_that_billed(self._core, tenant, stored),
        }
        if stored.retracted_by is not None:
            why = await why_json(self._core, tenant, stored.retracted_by)
            receipt["corrected"] = shown["corrected"] | why
        return Response(200, _encode(receipt))

    # --- following ---

    def stream(self, request: Request) -> StreamResponse:
        query = request.query_as(shapes.StreamParameters)
        tenant = self._around.tenant(request)
        if query.customer is not None:
            require_customer(tenant, query.customer)
        feed = Feed(on_close=lambda: cancel(task))

        async def forward() -> None:
            with self._core.feed.watch(tenant.name, query.customer) as watcher:
                async for items in watcher.batches():
                    for item in items:
                        if _wanted(item, query.type):
                            feed.publish(ServerEvent(_seen_json(item)))

        task = asyncio.get_running_loop().create_task(forward())
        return feed.response()

    # --- dead letters ---

    async def dead_letters(self, request: Request) -> Response:
        query = request.query_as(shapes.DeadLetterParameters)
        limit = limit_of(query.limit)
        letters = await self._around.books(
            "dead_letters",
            self._around.tenant(request).name,
            after=keyset(query.cursor) or 0,
            limit=limit,
            pending=query.pending,
        )
        items = [
            {
                "id": letter.id,
                "received_at": format_instant(letter.received_at),
                "code": letter.code,
                "detail": letter.detail,
                "event_id": letter.event_id,
                "body": letter.body.decode("utf-8", "replace"),
                "replayed_at": None
                if letter.replayed_at is None
                else format_instant(letter.replayed_at),
            }
            for letter in letters
        ]
        following = str(letters[-1].id) if len(letters) == limit else None
        return json_response({"items": items, "next": following})

    async def replay(self, request: Request) -> Response:
        body = request.json(shapes.ReplayBody) if request.body else shapes.ReplayBody()
        replayed = await replay_dead_letters(
            self._core,
            self._around.tenant(request),
            code=body.code,
            after=body.after,
            limit=limit_of(body.limit),
        )
        return json_response(replayed)


_NO_BACKFILL = ("false", "0")
_AT_ONCE = ("true", "1")
_NO_PARAMETERS = shapes.EventsParameters()


def _answer(outcome: Outcome) -> Response:
    return json_response(answer(outcome))


def _with_receipts(outcome: Outcome) -> Response:
    return json_response(answer(outcome, receipts=True))


def _events_in(request: Request) -> tuple[bytes, Format]:
    """The events of a request in one of the three forms the log keeps."""
    headers = request.raw_headers
    if b"ce-specversion" in headers or b"ce-id" in headers:
        text = request.headers
        if is_binary_mode(text):
            return event_from_headers(text, request.body), Format.OBJECT
    if not request.body:
        raise Rejected("empty_body", "The request has no event in it.")
    if request.content_type == FORM:
        raise Rejected("unsupported_media_type", f"Events come as JSON.{FORM_HINT}")
    return request.body, body_format(request.header("content-type") or "", request.body)


def event_json(tenant: Tenant, stored: StoredEvent) -> dict[str, Any]:
    """An event; one that counts no more also with what became of it."""
    account = tenant.live.by_subject.get(stored.event.subject)
    shown: dict[str, Any] = {
        "position": f"0:{stored.seq}",
        "time": format_instant(stored.time),
        "received_at": format_instant(stored.received_at),
        "customer": account.customer if account is not None else None,
        "event": _event_dict(stored.event, stored.time),
    }
    if stored.retracted_by is not None:
        shown["status"] = "retracted"
        corrected = {"position": f"0:{stored.retracted_by}"}
        if stored.replaced_by is not None:
            shown["status"] = "amended"
            corrected["replaced_by"] = f"0:{stored.replaced_by}"
        shown["corrected"] = corrected
    return shown


def _event_dict(event: Event, time: int) -> dict[str, Any]:
    return {
        "specversion": event.specversion,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time or format_instant(time),
        "data": event.data,
    }


def _wanted(item: object, event_type: str | None) -> bool:
    if isinstance(item, Seen):
        return event_type in (None, item.event.type)
    return isinstance(item, RefusedItem) and event_type is None


def _seen_json(item: Any) -> str:
    return _encode(item).decode()


# Data goes out as it came in: a number stays a number, exactly.
_encode = msgspec.json.Encoder(decimal_format="number").encode


def meters_counting(tenant: Tenant, event: Event) -> list[str]:
    """Keys of the meters that count an event."""
    program = tenant.live.layout.programs.get(event.type)
    values = program.measure_stored(event) if program is not None else None
    if program is None or values is None:
        return []
    counters = tenant.live.layout.counters
    return sorted(
        {
            counters[slot].meter.key
            for slot, value in zip(program.slots, values, strict=True)
            if value is not None and counters[slot].filter is None
        }
    )
