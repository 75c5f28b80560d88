"""
What was set right about invoices: credit notes, and usage that came late.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from taximeter.adapters.console.actions import ACTIONS
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import Frame, Page
from taximeter.adapters.http.routes.invoice_pages import DOCUMENTS, passed_on, zone_of
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Answer, Route
from taximeter.services.billing.correcting import credit_notes, late

_ROWS: Final = 50


class AdjustmentPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        note = "/credit-notes/{id}"
        pages: list[tuple[str, Page]] = [
            ("/credit-notes", self.notes),
            (note, self.note),
            *((f"{note}.{kind}", self.file) for kind in (*DOCUMENTS, "json")),
            ("/late-usage", self.late),
        ]
        return [Route("GET", path, self._frame.seen_by("read", page), None) for path, page in pages]

    async def notes(self, request: Request) -> Response:
        query = request.query
        status, customer = query.get("status") or None, query.get("customer") or None
        found = await self._inward.read(
            request, "/v1/credit-notes",
            status=status, customer=customer, cursor=query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "credit_notes.html",
            notes=found["items"], following=found["next"], chosen=status,
            wanted=customer or "", statuses=credit_notes.STATUSES,
        )  # fmt: skip

    async def note(self, request: Request) -> Response:
        path = f"/v1/credit-notes/{segment(request.params['id'])}"
        return self._frame.page(
            request, "credit_note.html",
            note=await self._inward.read(request, path),
            did=ACTIONS.get(request.query.get("did", "")),
        )  # fmt: skip

    async def file(self, request: Request) -> Answer:
        return await passed_on(self._inward, request, request.path)

    async def late(self, request: Request) -> Response:
        query = request.query
        status, customer = query.get("status") or None, query.get("customer") or None
        found = await self._inward.read(
            request, "/v1/late-usage",
            status=status, customer=customer, cursor=query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "late_usage.html",
            entries=found["items"], following=found["next"], chosen=status,
            wanted=customer or "", statuses=late.STATUSES,
            zone=partial(zone_of, self._around.tenant(request)),
            did=ACTIONS.get(query.get("did", "")),
        )  # fmt: skip
