"""
The pages over HTTP: who may see them, what they are made of, and the stream that keeps them live.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, quote

import msgspec

from taximeter.adapters.console import customer as customer_page
from taximeter.adapters.console import rendering
from taximeter.adapters.console.board import Board
from taximeter.adapters.console.happenings import stored_happening
from taximeter.adapters.console.reference import operations
from taximeter.adapters.console.rendering import ASSET_TYPES, HTML, PAGE_HEADERS
from taximeter.adapters.console.sessions import Sessions
from taximeter.adapters.console.standings import MAX_ROWS, Order, View
from taximeter.adapters.console.welcome import steps
from taximeter.adapters.http.auth import Principal
from taximeter.adapters.http.messages import Request, Response, StreamResponse
from taximeter.adapters.http.openapi import openapi
from taximeter.adapters.http.problems import problem, status_of_code
from taximeter.adapters.http.routes.paging import keyset
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routes.visitors import Visitors, is_signed_in, local_path
from taximeter.adapters.http.routing import Answer, Route
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.errors import CODES, NotFound, Rejected, Unauthenticated
from taximeter.services import billing, proof
from taximeter.services.tenant import Tenant

Page: TypeAlias = Callable[[Request], Awaitable[Answer]]

_FORM_BYTES: Final = 8192
_MAX_WAITING: Final = 32  # messages for a slow browser, before it has to connect again
_EVENTS_PER_PAGE: Final = 100
_INVOICES_PER_PAGE: Final = 50
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")


class PageRoutes:
    """
    Attributes:
        documented: The routes of the API, for its reference.
    """

    def __init__(self, around: Surroundings, documented: list[Route]) -> None:
        self._around = around
        self._core = around.core
        self._sessions = Sessions(around.core.clock.now)
        self._visitors = Visitors(around.authenticator, self._sessions)
        self._boards: dict[str, Board] = {}
        self._documented = documented
        rendering.warm_up()

    def routes(self) -> list[Route]:
        # No `scope`: that is for keys alone. `_seen_by` asks who visits, and sends people who
        # have not signed in to where they can.
        reading: list[tuple[str, Page]] = [
            ("/", self.console),
            ("/console/stream", self.stream),
            ("/customers/{key}", self.customer),
            ("/customers/{key}/fare", self.fare),
            ("/customers/{key}/usage", self.usage),
            ("/customers/{key}/events", self.customer_events),
            ("/invoices", self.invoices),
            ("/invoices/{id}", self.invoice),
            ("/invoices/{id}/lines/{line}", self.line),
        ]
        public: list[tuple[str, str, Page]] = [
            ("GET", "/sign-in", self.sign_in_form),
            ("POST", "/sign-in", self.sign_in),
            ("POST", "/sign-out", self.sign_out),
            ("GET", "/docs", self.docs),
            ("GET", "/docs/errors", self.errors),
        ]
        return [
            *(Route("GET", path, self._seen_by("read", page), None) for path, page in reading),
            *(
                Route(method, path, self._explained(page), None, max_body_bytes=_FORM_BYTES)
                for method, path, page in public
            ),
            Route(
                "POST", "/invoices/{id}/finalize", self._seen_by("write", self.finalize), None,
                max_body_bytes=_FORM_BYTES,
            ),
            Route("GET", "/assets/{name}", self.asset, None),
            Route("GET", "/favicon.ico", self.favicon, None),
        ]  # fmt: skip

    # --- who, and what if not -----------------------------------------------------------------

    def _seen_by(self, scope: str, page: Page) -> Callable[[Request], Awaitable[Answer]]:
        """The page for visitors who hold a scope; the others are sent to sign in."""

        async def seen(request: Request) -> Answer:
            try:
                request.principal = self._visitors.who(request)
            except Unauthenticated:
                return self._ask_to_sign_in(request)
            request.principal.require(scope)
            return await page(request)

        return self._explained(seen)

    def _ask_to_sign_in(self, request: Request) -> Answer:
        if request.path == "/console/stream":
            # An EventSource cannot see a status: tell it in its own language.
            feed = Feed()
            feed.publish(ServerEvent("{}", "signed-out"))
            feed.close()
            return feed.response()
        wanted = request.target.decode("latin-1") if request.method == "GET" else "/"
        return _see_other(f"/sign-in?next={quote(wanted, safe='')}")

    def _explained(self, page: Page) -> Page:
        """Errors as a page for people."""

        @functools.wraps(page)
        async def explained(request: Request) -> Answer:
            try:
                return await page(request)
            except Exception as error:
                answer = problem(error, request.request_id)
                shown = msgspec.json.decode(answer.body)
                return self._page(request, "error.html", answer.status, problem=shown)

        return explained

    def _page(
        self,
        request: Request,
        template: str,
        status: int = 200,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        **values: Any,
    ) -> Response:
        principal: Principal = request.principal
        body = rendering.render(
            template,
            namespace=principal.namespace,
            signed_in=bool(principal.key_id) and is_signed_in(principal),
            may_write="write" in principal.scopes,
            path=request.path,
            **values,
        )
        return Response(status, body, HTML, (*PAGE_HEADERS, *headers))

    # --- the console --------------------------------------------------------------------------

    async def console(self, request: Request) -> Response:
        view = _view_of(request)
        shown = await self._board(request).page(view)
        return self._page(
            request, "console.html",
            view=view, orders=list(Order), max_rows=MAX_ROWS,
            steps=steps(self._base_url(request), keyless=self._around.settings.dev), **shown,
        )  # fmt: skip

    async def stream(self, request: Request) -> StreamResponse:
        board = self._board(request)
        feed = Feed(max_events=_MAX_WAITING, on_close=lambda: board.leave(viewer))
        viewer = board.join(_view_of(request), lambda text: feed.publish(ServerEvent(text)))
        return feed.response()

    def _board(self, request: Request) -> Board:
        tenant = self._around.tenant(request)
        board = self._boards.get(tenant.name)
        if board is None:
            board = self._boards[tenant.name] = Board(self._core, tenant)
        return board

    def _base_url(self, request: Request) -> str:
        """The address the visitor used, if it is one that may stand in a command line."""
        settings = self._around.settings
        host = request.header("host") or ""
        if not _HOST.fullmatch(host):
            host = f"{settings.host}:{settings.port}"
        scheme = "https" if request.header("x-forwarded-proto") == "https" else "http"
        return f"{scheme}://{host}"

    # --- a customer ---------------------------------------------------------------------------

    async def customer(self, request: Request) -> Response:
        shown = await customer_page.overview(self._core, *self._named(request))
        return self._page(request, "customer.html", **shown)

    async def fare(self, request: Request) -> Response:
        fare = await customer_page.fare(self._core, *self._named(request))
        return self._page(request, "part_fare.html", fare=fare)

    async def usage(self, request: Request) -> Response:
        charts = await customer_page.charts(self._core, *self._named(request))
        return self._page(request, "part_usage.html", charts=charts)

    async def customer_events(self, request: Request) -> Response:
        events = await customer_page.events(self._core, *self._named(request))
        return self._page(request, "part_events.html", events=events)

    def _named(self, request: Request) -> tuple[Tenant, str]:
        return self._around.tenant(request), request.params["key"]

    # --- invoices -----------------------------------------------------------------------------

    async def invoices(self, request: Request) -> Response:
        found = await self._around.books(
            "invoices",
            self._around.tenant(request).name,
            customer=None,
            status=None,
            after=request.query.get("after"),
            limit=_INVOICES_PER_PAGE,
        )
        return self._page(
            request, "invoices.html",
            invoices=[billing.invoice_json(stored) for stored in found],
            following=found[-1].id if len(found) == _INVOICES_PER_PAGE else None,
        )  # fmt: skip

    async def invoice(self, request: Request) -> Response:
        tenant, invoice_id = self._around.tenant(request), request.params["id"]
        stored = await billing.find_invoice(self._core, tenant, invoice_id)
        verdict = None
        if "verify" in request.query:
            verdict = await proof.verify(self._core, tenant, invoice_id)
        return self._page(
            request, "invoice.html",
            invoice=billing.invoice_json(stored), verdict=verdict,
            verdicts={line["line"]: line for line in verdict["lines"]} if verdict else {},
            customer=tenant.customers.get(stored.customer),
            timezone=tenant.subscriptions[stored.subscription].timezone,
        )  # fmt: skip

    async def line(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        invoice_id, line_id = request.params["id"], request.params["line"]
        stored = await billing.find_invoice(self._core, tenant, invoice_id)
        invoice = billing.invoice_json(stored)
        line = next((one for one in invoice["lines"] if one["id"] == line_id), None)
        after = keyset(request.query.get("after")) or 0
        found = await proof.line_events(
            self._core, tenant, invoice_id, line_id, after, _EVENTS_PER_PAGE
        )
        return self._page(
            request, "line.html",
            invoice=invoice, line=line,
            events=[stored_happening(one, stored.customer) for one in found],
            following=found[-1].seq if len(found) == _EVENTS_PER_PAGE else None,
        )  # fmt: skip

    async def finalize(self, request: Request) -> Response:
        tenant, invoice_id = self._around.tenant(request), request.params["id"]
        await billing.finalize(self._core, tenant, invoice_id, self._around.actor(request))
        return _see_other(f"/invoices/{quote(invoice_id, safe='')}")

    # --- signing in ---------------------------------------------------------------------------

    async def sign_in_form(self, request: Request) -> Response:
        wanted = local_path(request.query.get("next", "/"))
        return self._page(request, "sign_in.html", next=wanted, failed="")

    async def sign_in(self, request: Request) -> Response:
        form = _form(request)
        wanted = local_path(form.get("next", "/"))
        try:
            cookie = self._visitors.sign_in(request, form.get("key", "").strip())
        except Unauthenticated:
            failed = "That is not a key of this server, or it is revoked or expired."
            return self._page(request, "sign_in.html", 401, next=wanted, failed=failed)
        return _see_other(wanted, ("Set-Cookie", cookie))

    async def sign_out(self, request: Request) -> Response:
        return _see_other("/sign-in", ("Set-Cookie", self._visitors.sign_out(request)))

    # --- reference ----------------------------------------------------------------------------

    async def docs(self, request: Request) -> Response:
        groups = operations(
            self._document, self._base_url(request), keyless=self._around.settings.dev
        )
        return self._page(request, "docs.html", groups=groups)

    async def errors(self, request: Request) -> Response:
        rows = [(code, status_of_code(code), meaning) for code, meaning in CODES.items()]
        return self._page(request, "errors.html", rows=rows)

    @functools.cached_property
    def _document(self) -> dict[str, Any]:
        return openapi(self._documented, title="Taximeter", version="")

    def favicon(self, request: Request) -> Response:
        """For whatever is opened in a browser and says nothing of an icon."""
        return Response(200, rendering.asset("icon.svg"), ASSET_TYPES["icon.svg"])

    def asset(self, request: Request) -> Response:
        name = request.params["name"]
        if name not in ASSET_TYPES:
            raise NotFound("not_found", "There is nothing at this path.")
        return Response(200, rendering.asset(name), ASSET_TYPES[name], rendering.ASSET_HEADERS)


def _view_of(request: Request) -> View:
    query = request.query
    order = query.get("order", "")
    return View(
        search=query.get("q", "")[:256],
        order=Order(order) if order in set(Order) else Order.FARE,
        customer=query.get("customer"),
    )


def _see_other(path: str, *headers: tuple[str, str]) -> Response:
    return Response(303, headers=(("Location", path), *PAGE_HEADERS, *headers))


def _form(request: Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise Rejected("unsupported_media_type", "This page reads forms.")
    try:
        fields = parse_qs(request.body.decode(), errors="strict", max_num_fields=16)
    except (UnicodeDecodeError, ValueError):
        raise Rejected("invalid_request", "The form cannot be read.") from None
    return {name: values[-1] for name, values in fields.items()}
