"""
Money as pages: what is open and how long, what was paid, and one customer's account.
"""

from __future__ import annotations

from typing import Final

from taximeter.adapters.console.actions import ACTIONS, undo_address
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import Frame, Page
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Answer, Route
from taximeter.services.core import require_customer

_ROWS: Final = 50
_AGES: Final = {
    "current": "Not due",
    "1-30": "1 to 30 days",
    "31-60": "31 to 60",
    "61-90": "61 to 90",
    "90+": "Longer",
}


class MoneyPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        pages: list[tuple[str, Page]] = [
            ("/payments", self.payments),
            ("/payments/{id}", self.payment),
            ("/accounts", self.accounts),
            ("/accounts/journal.csv", self.journal),
            ("/customers/{key}/statement", self.statement),
        ]
        return [Route("GET", path, self._frame.seen_by("read", page), None) for path, page in pages]

    async def payments(self, request: Request) -> Response:
        read, customer = self._inward.read, request.query.get("customer") or None
        found = await read(
            request, "/v1/payments",
            customer=customer, cursor=request.query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "payments.html",
            payments=found["items"], following=found["next"], wanted=customer or "", ages=_AGES,
            aging=await read(request, "/v1/accounting/aging", customer=customer),
            did=ACTIONS.get(request.query.get("did", "")),
        )  # fmt: skip

    async def payment(self, request: Request) -> Response:
        one = await self._inward.read(request, f"/v1/payments/{segment(request.params['id'])}")
        did = ACTIONS.get(request.query.get("did", ""))
        undo = None if did is None else undo_address(did.key, {"id": one["id"]})
        if one["status"] == "reversed":
            undo = None
        return self._frame.page(request, "payment.html", payment=one, did=did, undo=undo)

    async def accounts(self, request: Request) -> Response:
        read, month = self._inward.read, request.query.get("month") or None
        return self._frame.page(
            request, "accounts.html",
            balance=await read(request, "/v1/accounting/trial-balance"),
            revenue=await read(
                request, "/v1/accounting/recognition", **({"from": month} if month else {})
            ),
            month=month or "", did=ACTIONS.get(request.query.get("did", "")),
        )  # fmt: skip

    async def journal(self, request: Request) -> Answer:
        return await self._inward.fetch(request, "/v1/accounting/journal", format="csv")

    async def statement(self, request: Request) -> Response:
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        wanted = {name: request.query[name] for name in ("from", "to") if request.query.get(name)}
        told = await self._inward.read(request, f"/v1/customers/{segment(key)}/statement", **wanted)
        return self._frame.page(
            request, "statement.html",
            customer=tenant.customers[key], statement=told, wanted=wanted,
        )  # fmt: skip
