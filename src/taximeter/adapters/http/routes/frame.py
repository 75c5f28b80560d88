"""
What all pages have in common: who may see them, how errors look, what is on each.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, quote

import msgspec

from taximeter.adapters.console import rendering
from taximeter.adapters.console.rendering import HTML, PAGE_HEADERS
from taximeter.adapters.http.auth import Principal
from taximeter.adapters.http.messages import FORM, Request, Response
from taximeter.adapters.http.problems import problem
from taximeter.adapters.http.routes.visitors import Visitors, is_signed_in
from taximeter.adapters.http.routing import Answer
from taximeter.adapters.http.sse import Feed, ServerEvent
from taximeter.errors import Rejected, Unauthenticated

Page: TypeAlias = Callable[[Request], Awaitable[Answer]]

FORM_BYTES: Final = 8192
_MAX_FIELDS: Final = 32


class Frame:
    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors

    def seen_by(self, scope: str, page: Page) -> Callable[[Request], Awaitable[Answer]]:
        """The page for visitors who hold a scope; the others are sent to sign in."""

        async def seen(request: Request) -> Answer:
            try:
                request.principal = self._visitors.who(request)
            except Unauthenticated:
                return _ask_to_sign_in(request)
            request.principal.require(scope)
            return await page(request)

        return self.explained(seen)

    def explained(self, page: Page) -> Page:
        """Errors as a page for people."""

        @functools.wraps(page)
        async def explained(request: Request) -> Answer:
            try:
                return await page(request)
            except Exception as error:
                answer = problem(error, request.request_id)
                shown = msgspec.json.decode(answer.body)
                return self.page(request, "error.html", answer.status, problem=shown)

        return explained

    def page(
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
            scopes=principal.scopes,
            path=request.path,
            **values,
        )
        return Response(status, body, HTML, (*PAGE_HEADERS, *headers))


def _ask_to_sign_in(request: Request) -> Answer:
    if request.path == "/console/stream":
        # An EventSource cannot see a status: tell it in its own language.
        feed = Feed()
        feed.publish(ServerEvent("{}", "signed-out"))
        feed.close()
        return feed.response()
    wanted = request.target.decode("latin-1") if request.method == "GET" else "/"
    return see_other(f"/sign-in?next={quote(wanted, safe='')}")


def see_other(path: str, *headers: tuple[str, str]) -> Response:
    return Response(303, headers=(("Location", path), *PAGE_HEADERS, *headers))


def form_of(request: Request) -> dict[str, str]:
    """
    The fields of a form that was sent.

    Raises:
        Rejected: It is none.
    """
    if request.content_type != FORM:
        raise Rejected("unsupported_media_type", "This page reads forms.")
    try:
        fields = parse_qs(request.body.decode(), errors="strict", max_num_fields=_MAX_FIELDS)
    except (UnicodeDecodeError, ValueError):
        raise Rejected("invalid_request", "The form cannot be read.") from None
    return {name: values[-1] for name, values in fields.items()}
