"""
A customer's page: its parts, each drawn anew while somebody looks, and its ledger.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from taximeter.adapters.console import customer as customer_page
from taximeter.adapters.console import holdings
from taximeter.adapters.console.actions import ACTIONS, undo_address
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import Frame, Page
from taximeter.adapters.http.routes.invoice_pages import zone_of
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.services.core import require_customer
from taximeter.services.gate.clockwork import prepare
from taximeter.services.tenant import Tenant

_ROWS: Final = 50


class CustomerPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._core = around.core
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        one = "/customers/{key}"
        pages: list[tuple[str, Page]] = [
            (one, self.customer),
            (f"{one}/standing", self.standing),
            (f"{one}/credits", self.credits),
            (f"{one}/holds", self.holds),
            (f"{one}/subscriptions", self.subscriptions),
            (f"{one}/fare", self.fare),
            (f"{one}/billing", self.billing),
            (f"{one}/usage", self.usage),
            (f"{one}/events", self.events),
            (f"{one}/ledger", self.ledger),
        ]
        return [Route("GET", path, self._frame.seen_by("read", page), None) for path, page in pages]

    async def customer(self, request: Request) -> Response:
        tenant, key = self._named(request)
        shown = await customer_page.overview(self._core, tenant, key)
        did = ACTIONS.get(request.query.get("did", ""))
        known = {"customer": key, **request.query}
        return self._frame.page(
            request, "customer.html",
            did=did, undo=None if did is None else undo_address(did.key, known),
            as_seen_by=request.query.get("scope", ""), zone=partial(zone_of, tenant), **shown,
        )  # fmt: skip

    async def standing(self, request: Request) -> Response:
        """Entitlements, budgets, and what rules have imposed."""
        tenant, key = self._named(request)
        now, scope = self._core.clock.now(), _scope(request.query.get("scope", ""))
        return self._frame.page(
            request, "part_standing.html", key=key,
            entitled=holdings.entitled(tenant, key, scope, now),
            budgets=holdings.budgets(tenant, key, now),
            imposed=holdings.imposed(tenant, key, now),
        )  # fmt: skip

    async def credits(self, request: Request) -> Response:
        tenant, key = self._named(request)
        return self._frame.page(
            request, "part_credits.html", key=key, wallets=holdings.credits(tenant, key)
        )

    async def holds(self, request: Request) -> Response:
        tenant, key = self._named(request)
        found = holdings.holds(tenant, key, self._core.clock.now())
        return self._frame.page(
            request, "part_holds.html",
            key=key, holds=found[: holdings.MAX_HOLDS], count=len(found),
        )  # fmt: skip

    async def subscriptions(self, request: Request) -> Response:
        _, key = self._named(request)
        listed = await self._inward.read(request, "/v1/subscriptions", customer=key)
        shown = []
        for one in listed["items"]:
            revisions = await self._inward.read(request, f"/v1/subscriptions/{one['id']}/revisions")
            shown.append(one | {"revisions": revisions["items"][::-1]})
        # The running one first, those that have ended last.
        shown.sort(key=lambda one: one["status"] == "ended")
        return self._frame.page(request, "part_subscriptions.html", key=key, subscriptions=shown)

    async def fare(self, request: Request) -> Response:
        fare = await customer_page.fare(self._core, *self._named(request))
        return self._frame.page(request, "part_fare.html", fare=fare)

    async def billing(self, request: Request) -> Response:
        """Who is billed, with which taxes and discounts."""
        _, key = self._named(request)
        path, read = f"/v1/customers/{segment(key)}", self._inward.read
        return self._frame.page(
            request, "part_billing.html", key=key,
            one=await read(request, path), taxes=await read(request, f"{path}/taxes"),
            discounts=(await read(request, f"{path}/discounts"))["items"],
            rollouts=(await read(request, f"{path}/rollouts"))["items"],
        )  # fmt: skip

    async def usage(self, request: Request) -> Response:
        charts = await customer_page.charts(self._core, *self._named(request))
        return self._frame.page(request, "part_usage.html", charts=charts)

    async def events(self, request: Request) -> Response:
        events = await customer_page.events(self._core, *self._named(request))
        return self._frame.page(request, "part_events.html", events=events)

    async def ledger(self, request: Request) -> Response:
        tenant, key = self._named(request)
        credit = request.query.get("credit") or None
        found = await self._inward.read(
            request, f"/v1/customers/{segment(key)}/ledger",
            credit=credit, cursor=request.query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "ledger.html",
            customer=tenant.customers[key], credit=credit,
            wallets=sorted(wallet["credit"] for wallet in holdings.credits(tenant, key)),
            rows=found["items"],
            following=found["next"], is_first="cursor" not in request.query,
        )  # fmt: skip

    def _named(self, request: Request) -> tuple[Tenant, str]:
        """Whose page it is, as of now: what time alone has changed is done first."""
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        prepare(self._around.commands, tenant, key, self._core.clock.now())
        return tenant, key


def _scope(text: str) -> dict[str, str]:
    """ "user=u7, team=red"; what is none is told so."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        level, equals, value = part.partition("=")
        if not (level and equals and value):
            raise Rejected("invalid_parameter", "Write whom to look at as user=u7, team=red.")
        found[level.strip()] = value.strip()
    return found
