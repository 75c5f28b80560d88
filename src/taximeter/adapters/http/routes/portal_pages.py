"""
The portal: one customer's own people look at their usage, credits and invoices, and change nothing.

Its address holds a key of its own kind: it expires, can be revoked like any other, is stored only
as a digest, and opens this one page. It has no scope of the API, and no other key opens a portal.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from taximeter.adapters.console import customer as customer_page
from taximeter.adapters.console import holdings
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.auth import Principal, digest_of, new_key
from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.frame import Frame
from taximeter.adapters.http.routes.invoice_pages import DOCUMENTS, LINE_FILE, paper_of, passed_on
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.shapes import Strict
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Answer, Route
from taximeter.errors import NotFound, Rejected, Unauthenticated
from taximeter.instants import SECOND, format_instant
from taximeter.ports import ApiKey, AuditEntry
from taximeter.services.core import require_customer
from taximeter.services.gate.clockwork import prepare
from taximeter.services.tenant import Tenant

DEFAULT_TTL_S: Final = 7 * 24 * 3600
MAX_TTL_S: Final = 366 * 24 * 3600
_SCOPE: Final = "portal:"
_EVENTS: Final = 100

Sight = Callable[[Request, Tenant, str], Awaitable[Answer]]


class PortalBody(Strict):
    ttl_s: int = DEFAULT_TTL_S


class PortalAnswer(msgspec.Struct):
    """`url` is a path of this server and holds the secret; it is shown once."""

    id: str
    customer: str
    url: str
    expires_at: str


class ClosedAnswer(msgspec.Struct):
    customer: str
    revoked: int


class PortalRoutes:
    """To make and to revoke addresses, over the API."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        path, tags = "/v1/customers/{key}/portal", ("portal",)
        return [
            Route(
                "POST", path, self.open,
                scope="write", tags=tags, summary="Make an address of the customer portal",
                description="A read-only page of this one customer, for its own people. The "
                "address is shown once; it expires, and can be revoked as a key.",
                request=PortalBody, response=PortalAnswer, status=201, errors=("not_found",),
                example={"ttl_s": 86400},
            ),
            Route(
                "DELETE", path, self.close,
                scope="write", tags=tags, summary="Revoke all addresses of a customer's portal",
                response=ClosedAnswer, errors=("not_found",),
            ),
        ]  # fmt: skip

    async def open(self, request: Request) -> Response:
        body = request.json(PortalBody) if request.body else PortalBody()
        if not 1 <= body.ttl_s <= MAX_TTL_S:
            raise Rejected("invalid_request", f"ttl_s: 1 to {MAX_TTL_S} seconds.")
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        now = self._core.clock.now()
        secret, digest = new_key()
        key = ApiKey(
            id=f"key_{secrets.token_hex(8)}",
            namespace=tenant.name,
            name=f"portal of {customer}"[:128],
            prefix=secret[:8],
            digest=digest,
            scopes=(_SCOPE + customer,),
            created_at=now,
            expires_at=now + body.ttl_s * SECOND,
        )
        await self._around.books("add_key", key, self._entry(request, "portal.open", customer))
        await self._reload()
        assert key.expires_at is not None
        answer = PortalAnswer(key.id, customer, f"/portal/{secret}", format_instant(key.expires_at))
        return json_response(answer, 201)

    async def close(self, request: Request) -> Response:
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        now = self._core.clock.now()
        entry = self._entry(request, "portal.close", customer)
        mine = [
            key
            for key in await self._around.books("keys")
            if key.namespace == tenant.name
            and key.scopes == (_SCOPE + customer,)
            and key.revoked_at is None
            and (key.expires_at is None or key.expires_at > now)
        ]
        for key in mine:
            await self._around.books("revoke_key", key.id, now, entry)
        await self._reload()
        return json_response(ClosedAnswer(customer, len(mine)))

    async def _reload(self) -> None:
        self._around.authenticator.replace(await self._around.books("keys"))

    def _entry(self, request: Request, action: str, target: str) -> AuditEntry:
        return AuditEntry(
            0,
            request.principal.namespace,
            self._core.clock.now(),
            self._around.actor(request),
            action,
            target,
            {},
        )


class PortalPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._core = around.core
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        one = "/portal/{token}"
        invoice = f"{one}/invoices/{{id}}"
        pages: list[tuple[str, Sight]] = [
            (one, self.portal),
            (f"{one}/standing", self.standing),
            (f"{one}/credits", self.credits),
            (f"{one}/fare", self.fare),
            (f"{one}/usage", self.usage),
            (invoice, self.invoice),
            (f"{invoice}/lines/{{line}}", self.line),
            (f"{invoice}/lines/{{line}}/{LINE_FILE}", self.file),
            *((f"{invoice}.{kind}", self.file) for kind in (*DOCUMENTS, "json")),
            *((f"{one}/credit-notes/{{id}}.{kind}", self.note) for kind in DOCUMENTS),
        ]
        return [Route("GET", path, self._opened(page), None) for path, page in pages]

    def _opened(self, page: Sight) -> Callable[[Request], Awaitable[Answer]]:
        """The page for who has an address that is good: of one customer, and of no other."""

        async def opened(request: Request) -> Answer:
            tenant, customer = self._customer(request)
            prepare(self._around.commands, tenant, customer, self._core.clock.now())
            return await page(request, tenant, customer)

        return self._frame.explained(opened)

    def _customer(self, request: Request) -> tuple[Tenant, str]:
        # Whether it never was, has expired, or was revoked is nobody's business.
        gone = NotFound("not_found", "This address is not valid, or no longer. Ask for a new one.")
        try:
            key = self._around.authenticator.key_of(digest_of(request.params["token"]))
        except Unauthenticated:
            raise gone from None
        if len(key.scopes) != 1 or not key.scopes[0].startswith(_SCOPE):
            raise gone
        request.principal = Principal("", "", frozenset())
        tenant, customer = self._core.tenant(key.namespace), key.scopes[0].removeprefix(_SCOPE)
        if customer not in tenant.customers:
            raise gone
        return tenant, customer

    async def portal(self, request: Request, tenant: Tenant, customer: str) -> Response:
        shown = await customer_page.overview(self._core, tenant, customer)
        # What has no number is not what anybody owes yet.
        shown["invoices"] = [one for one in shown["invoices"] if one["number"] is not None]
        notes = await self._inward.read(
            self._within(request, tenant), "/v1/credit-notes", customer=customer, status="issued"
        )
        return self._frame.page(
            request, "portal.html", base=request.path, notes=notes["items"], **shown
        )

    async def standing(self, request: Request, tenant: Tenant, customer: str) -> Response:
        now = self._core.clock.now()
        return self._frame.page(
            request, "part_standing.html", key=customer,
            entitled=holdings.entitled(tenant, customer, {}, now),
            budgets=holdings.budgets(tenant, customer, now),
            imposed=holdings.imposed(tenant, customer, now),
        )  # fmt: skip

    async def credits(self, request: Request, tenant: Tenant, customer: str) -> Response:
        wallets = holdings.credits(tenant, customer)
        return self._frame.page(request, "part_credits.html", key=customer, wallets=wallets)

    async def fare(self, request: Request, tenant: Tenant, customer: str) -> Response:
        fare = await customer_page.fare(self._core, tenant, customer)
        return self._frame.page(request, "part_fare.html", fare=fare)

    async def usage(self, request: Request, tenant: Tenant, customer: str) -> Response:
        charts = await customer_page.charts(self._core, tenant, customer)
        return self._frame.page(request, "part_usage.html", charts=charts)

    async def invoice(self, request: Request, tenant: Tenant, customer: str) -> Response:
        invoice, _ = await self._invoice(request, tenant, customer)
        return self._frame.page(
            request, "portal_invoice.html", portal=_portal(request), **paper_of(tenant, invoice)
        )

    async def line(self, request: Request, tenant: Tenant, customer: str) -> Response:
        invoice, path = await self._invoice(request, tenant, customer)
        line_id = request.params["line"]
        rated = await self._inward.read(
            self._within(request, tenant), f"{path}/lines/{segment(line_id)}/rated",
            cursor=request.query.get("cursor"), limit=_EVENTS,
        )  # fmt: skip
        return self._frame.page(
            request, "portal_line.html", portal=_portal(request),
            invoice=invoice, rated=rated, is_first="cursor" not in request.query,
            line=next(one for one in invoice["lines"] if one["id"] == line_id),
        )  # fmt: skip

    async def file(self, request: Request, tenant: Tenant, customer: str) -> Answer:
        """A document of an invoice of this customer, or all events of one of its lines."""
        await self._invoice(request, tenant, customer)
        return await self._passed_on(request, tenant)

    async def note(self, request: Request, tenant: Tenant, customer: str) -> Answer:
        """A document of a credit note of this customer."""
        path = f"/v1/credit-notes/{segment(request.params['id'])}"
        note = await self._inward.read(self._within(request, tenant), path)
        if note["customer"] != customer or note["number"] is None:
            raise NotFound("not_found", "There is no such credit note.")
        return await self._passed_on(request, tenant)

    async def _passed_on(self, request: Request, tenant: Tenant) -> Answer:
        path = request.path.removeprefix(_portal(request))
        return await passed_on(self._inward, self._within(request, tenant), path)

    async def _invoice(
        self, request: Request, tenant: Tenant, customer: str
    ) -> tuple[dict[str, Any], str]:
        """An invoice that was issued to this customer, and where the API has it."""
        path = f"/v1/invoices/{segment(request.params['id'])}"
        invoice = await self._inward.read(self._within(request, tenant), path)
        if invoice["customer"] != customer or invoice["number"] is None:
            raise NotFound("not_found", "There is no such invoice.")
        return invoice, path

    def _within(self, request: Request, tenant: Tenant) -> Request:
        """The same request for the API, which has to know whose namespace it is."""
        principal = Principal(tenant.name, "", frozenset())
        return msgspec.structs.replace(request, principal=principal)


def _portal(request: Request) -> str:
    return f"/portal/{request.params['token']}"
