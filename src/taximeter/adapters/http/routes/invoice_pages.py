"""
Invoices as pages: the list, one invoice with what came of it, one line with its events; and the
documents, passed on to people who have no key but a session.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from taximeter.adapters.console.actions import ACTIONS, undo_address
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import Frame, Page
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Answer, Route
from taximeter.instants import format_instant
from taximeter.invoices.invoice import Status
from taximeter.services.tenant import Tenant

DOCUMENTS: Final = ("pdf", "html", "xml", "csv")
LINE_FILE: Final = "events.jsonl"
_ROWS: Final = 50
_EVENTS: Final = 100
_ASKED: Final = ("format", "from", "to")
_STATUSES: Final = tuple(status.value for status in Status)


class InvoicePages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        one = "/invoices/{id}"
        pages: list[tuple[str, Page]] = [
            ("/invoices", self.invoices),
            (one, self.invoice),
            (f"{one}/lines/{{line}}", self.line),
            (f"{one}/lines/{{line}}/{LINE_FILE}", self.file),
            *((f"{one}.{kind}", self.file) for kind in (*DOCUMENTS, "json")),
            ("/exports/invoice-lines", self.file),
            ("/exports/focus", self.file),
        ]
        return [Route("GET", path, self._frame.seen_by("read", page), None) for path, page in pages]

    async def invoices(self, request: Request) -> Response:
        query = request.query
        status, customer = query.get("status") or None, query.get("customer") or None
        found = await self._inward.read(
            request, "/v1/invoices",
            status=status, customer=customer, cursor=query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "invoices.html",
            invoices=found["items"], following=found["next"], statuses=_STATUSES,
            chosen=status, wanted=customer or "", now=format_instant(self._around.core.clock.now()),
            zone=partial(zone_of, self._around.tenant(request)),
            did=ACTIONS.get(query.get("did", "")),
        )  # fmt: skip

    async def invoice(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        path = f"/v1/invoices/{segment(request.params['id'])}"
        invoice = await self._inward.read(request, path)
        verdict = None
        if "verify" in request.query:
            verdict = await self._inward.read(request, f"{path}/verify")
        booked = await self._inward.read(
            request, "/v1/accounting/journal", invoice=invoice["id"], limit=_ROWS
        )
        notes = await self._inward.read(request, f"{path}/credit-notes", limit=_ROWS)
        did = ACTIONS.get(request.query.get("did", ""))
        known = {**request.query, "id": invoice["id"]}
        return self._frame.page(
            request, "invoice.html",
            verdict=verdict, entries=booked["items"], notes=notes["items"], did=did,
            undo=None if did is None else undo_address(did.key, known),
            now=format_instant(self._around.core.clock.now()),
            **paper_of(tenant, invoice, verdict),
        )  # fmt: skip

    async def line(self, request: Request) -> Response:
        """What each event cost: the amounts of a line's pages add up to the line."""
        path, line_id = f"/v1/invoices/{segment(request.params['id'])}", request.params["line"]
        invoice = await self._inward.read(request, path)
        rated = await self._inward.read(
            request, f"{path}/lines/{segment(line_id)}/rated",
            cursor=request.query.get("cursor"), limit=_EVENTS,
        )  # fmt: skip
        return self._frame.page(
            request, "line.html",
            invoice=invoice, rated=rated, is_first="cursor" not in request.query,
            line=next(one for one in invoice["lines"] if one["id"] == line_id),
        )  # fmt: skip

    async def file(self, request: Request) -> Answer:
        return await passed_on(self._inward, request, request.path)


async def passed_on(inward: Inward, request: Request, path: str) -> Answer:
    """
    A file that the API has at a path, for who has no key: a document, or the events of a line.

    Args:
        path: Without "/v1".
    """
    asked = {name: request.query[name] for name in _ASKED if name in request.query}
    return await inward.fetch(request, f"/v1{path.removesuffix('.json')}", **asked)


def paper_of(
    tenant: Tenant, invoice: dict[str, Any], verdict: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the sheet of an invoice is drawn from, for whoever looks at it."""
    return {
        "invoice": invoice,
        "customer": tenant.customers.get(invoice["customer"]),
        "timezone": zone_of(tenant, invoice["customer"], invoice["subscription"]),
        "verdicts": {line["line"]: line for line in verdict["lines"]} if verdict else {},
    }


def zone_of(tenant: Tenant, customer: str, subscription: str = "") -> str:
    """In whose days somebody's periods are said."""
    schedule = tenant.subscriptions.get(subscription) or tenant.customers.get(customer)
    return "UTC" if schedule is None else schedule.timezone
