"""
The pages over HTTP: who may see them, what they are made of, and the stream that keeps them live.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from taximeter.adapters.console import rendering
from taximeter.adapters.console.board import Board
from taximeter.adapters.console.reference import operations
from taximeter.adapters.console.rendering import ASSET_TYPES
from taximeter.adapters.console.sessions import Sessions
from taximeter.adapters.console.standings import MAX_ROWS, Order, View
from taximeter.adapters.console.welcome import steps
from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.messages import Request, Response, StreamResponse
from taximeter.adapters.http.openapi import openapi
from taximeter.adapters.http.problems import status_of_code
from taximeter.adapters.http.routes.action_pages import ActionPages
from taximeter.adapters.http.routes.adjustment_pages import AdjustmentPages
from taximeter.adapters.http.routes.customer_pages import CustomerPages
from taximeter.adapters.http.routes.evidence_pages import EvidencePages
from taximeter.adapters.http.routes.frame import FORM_BYTES, Frame, Page, form_of, see_other
from taximeter.adapters.http.routes.invoice_pages import InvoicePages
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.money_pages import MoneyPages
from taximeter.adapters.http.routes.operator_pages import OperatorPages
from taximeter.adapters.http.routes.portal_pages import PortalPages
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routes.visitors import Visitors, local_path
from taximeter.adapters.http.routing import Route
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.errors import CODES, NotFound, Unauthenticated

_MAX_WAITING: Final = 32  # messages for a slow browser, before it has to connect again
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
        self._frame = Frame(self._visitors)
        books = around.core.books
        self._inward = Inward(
            documented, Idempotency(books.books, around.core.clock.now, books.run)
        )
        self._boards: dict[str, Board] = {}
        self._documented = documented
        rendering.warm_up()

    def routes(self) -> list[Route]:
        # No `scope`: that is for keys alone. `seen_by` asks who visits, and sends people who have
        # not signed in to where they can.
        seen_by = self._frame.seen_by
        reading: list[tuple[str, Page]] = [
            ("/", self.console),
            ("/console/stream", self.stream),
        ]
        public: list[tuple[str, str, Page]] = [
            ("GET", "/sign-in", self.sign_in_form),
            ("POST", "/sign-in", self.sign_in),
            ("POST", "/sign-out", self.sign_out),
            ("GET", "/docs", self.docs),
            ("GET", "/docs/errors", self.errors),
        ]
        return [
            *(Route("GET", path, seen_by("read", page), None) for path, page in reading),
            *(
                Route(method, path, self._frame.explained(page), None, max_body_bytes=FORM_BYTES)
                for method, path, page in public
            ),
            *InvoicePages(self._around, self._frame, self._inward).routes(),
            *AdjustmentPages(self._around, self._frame, self._inward).routes(),
            *MoneyPages(self._around, self._frame, self._inward).routes(),
            *EvidencePages(self._around, self._frame, self._inward).routes(),
            *CustomerPages(self._around, self._frame, self._inward).routes(),
            *ActionPages(self._around, self._frame, self._inward).routes(),
            *OperatorPages(self._around, self._frame, self._inward).routes(),
            *PortalPages(self._around, self._frame, self._inward).routes(),
            Route("GET", "/assets/{name}", self.asset, None),
            Route("GET", "/favicon.ico", self.favicon, None),
        ]  # fmt: skip

    # --- the console --------------------------------------------------------------------------

    async def console(self, request: Request) -> Response:
        view = _view_of(request)
        shown = await self._board(request).page(view)
        return self._frame.page(
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

    # --- signing in ---------------------------------------------------------------------------

    async def sign_in_form(self, request: Request) -> Response:
        wanted = local_path(request.query.get("next", "/"))
        return self._frame.page(request, "sign_in.html", next=wanted, failed="")

    async def sign_in(self, request: Request) -> Response:
        form = form_of(request)
        wanted = local_path(form.get("next", "/"))
        try:
            cookie = self._visitors.sign_in(request, form.get("key", "").strip())
        except Unauthenticated:
            failed = "That is not a key of this server, or it is revoked or expired."
            return self._frame.page(request, "sign_in.html", 401, next=wanted, failed=failed)
        return see_other(wanted, ("Set-Cookie", cookie))

    async def sign_out(self, request: Request) -> Response:
        return see_other("/sign-in", ("Set-Cookie", self._visitors.sign_out(request)))

    # --- reference ----------------------------------------------------------------------------

    async def docs(self, request: Request) -> Response:
        groups = operations(
            self._document, self._base_url(request), keyless=self._around.settings.dev
        )
        return self._frame.page(request, "docs.html", groups=groups)

    async def errors(self, request: Request) -> Response:
        rows = [(code, status_of_code(code), meaning) for code, meaning in CODES.items()]
        return self._frame.page(request, "errors.html", rows=rows)

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
