"""
Whether it is right, and what was set right: reconciliation, corrections, single events, rollouts.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from taximeter.adapters.console.actions import ACTIONS, undo_address
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import Frame, Page
from taximeter.adapters.http.routes.invoice_pages import zone_of
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import NotFound

_ROWS: Final = 50
_STAGES: Final = {
    "sent": "what clients say they have sent",
    "accepted": "the log and the event store",
    "counted": "live counters",
    "rated": "lines, rated again",
    "invoiced": "lines of invoices",
    "posted": "the journal and the ledger",
    "paid": "what is open on invoices",
}


class EvidencePages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        pages: list[tuple[str, Page]] = [
            ("/reconciliation", self.reconciliation),
            ("/corrections", self.corrections),
            ("/corrections/{id}", self.correction),
            ("/events", self.event),
            ("/rollouts", self.rollouts),
            ("/rollouts/{id}", self.rollout),
            ("/backtests/{id}", self.backtest),
        ]
        return [Route("GET", path, self._frame.seen_by("read", page), None) for path, page in pages]

    async def reconciliation(self, request: Request) -> Response:
        customer = request.query.get("customer") or None
        report = await self._inward.read(request, "/v1/reconciliation", customer=customer)
        return self._frame.page(
            request, "reconciliation.html",
            zone=partial(zone_of, self._around.tenant(request)),
            report=report, stages=_STAGES, wanted=customer or "",
            counts={
                stage: sum(gap["between"][1] == stage for gap in report["items"])
                for stage in _STAGES
            },
            did=ACTIONS.get(request.query.get("did", "")),
        )  # fmt: skip

    async def corrections(self, request: Request) -> Response:
        status = request.query.get("status") or None
        found = await self._inward.read(
            request, "/v1/corrections",
            status=status, cursor=request.query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "corrections.html",
            corrections=found["items"], following=found["next"], chosen=status,
        )  # fmt: skip

    async def correction(self, request: Request) -> Response:
        path = f"/v1/corrections/{segment(request.params['id'])}"
        one = await self._inward.read(request, path)
        did = ACTIONS.get(request.query.get("did", ""))
        is_done = one["status"] == "committed"
        undo = undo_address(did.key, {"id": one["id"]}) if did is not None and is_done else None
        return self._frame.page(request, "correction.html", correction=one, did=did, undo=undo)

    async def event(self, request: Request) -> Response:
        """What became of one event: who counted it, which lines billed it."""
        wanted, source = request.query.get("id", ""), request.query.get("source", "")
        receipt = None
        if wanted:
            with suppress(NotFound):  # the page says so, and keeps what was typed
                receipt = await self._inward.read(
                    request, "/v1/events/receipt", id=wanted, source=source
                )
        return self._frame.page(
            request, "event.html", wanted=wanted, source=source, receipt=receipt
        )

    async def rollouts(self, request: Request) -> Response:
        found = await self._inward.read(
            request, "/v1/rollouts", cursor=request.query.get("cursor"), limit=_ROWS
        )
        return self._frame.page(
            request, "rollouts.html", rollouts=found["items"], following=found["next"]
        )

    async def rollout(self, request: Request) -> Response:
        path = f"/v1/rollouts/{segment(request.params['id'])}"
        one = await self._inward.read(request, path)
        assigned = await self._inward.read(
            request, f"{path}/assignments", cursor=request.query.get("cursor"), limit=_ROWS
        )
        return self._frame.page(
            request, "rollout.html",
            rollout=one, assigned=assigned["items"], following=assigned["next"],
        )  # fmt: skip

    async def backtest(self, request: Request) -> Response:
        path = f"/v1/backtests/{segment(request.params['id'])}"
        return self._frame.page(
            request, "backtest.html", job=await self._inward.read(request, path)
        )
