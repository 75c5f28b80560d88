"""
The API, asked by our own pages: what a page shows and does is what anybody's program would get.

A page never looks past the API and has no second way to change things. It asks on behalf of who
visits, in process, without a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec

from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.messages import JSON, Request, Response, StreamResponse
from taximeter.adapters.http.problems import problem
from taximeter.adapters.http.routing import Answer, Route, Router
from taximeter.errors import NotFound

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Inward:
    """
    Args:
        routes: Those of the API.
        idempotency: Remembers what a form did, so that sending it twice does it once (K17).
    """

    def __init__(self, routes: Iterable[Route], idempotency: Idempotency) -> None:
        self._router = Router(idempotency.cover(route) for route in routes)

    async def read(self, request: Request, path: str, **query: str | int | None) -> Any:
        """
        The JSON at a path for who visits. That he may read is for the page to know.

        Raises:
            TaximeterError: As the operation.
        """
        answer = await self.fetch(request, path, **query)
        if not isinstance(answer, Response) or answer.content_type != JSON:
            # An id that ends like a document leads to that document.
            raise NotFound("not_found", "There is nothing at this path.")
        return _decode(answer.body)

    async def fetch(self, request: Request, path: str, **query: str | int | None) -> Answer:
        """
        What is at a path, as it is, to be passed on: a document, a table, a file.

        Raises:
            TaximeterError: As the operation.
        """
        asked = {name: value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(asked)}" if asked else path
        return await _run(self._request(request, "GET", target, b""))

    async def do(self, request: Request, method: str, path: str, body: Any, once: str) -> Response:
        """
        What an operation answers; its errors too are answers.

        Args:
            body: JSON value; None for no body.
            once: Random text of the form that is sent.
        """
        content = b"" if body is None else _encode(body)
        try:
            inner = self._request(request, method, path, content, once)
            assert inner.route is not None
            if inner.route.scope is not None:
                request.principal.require(inner.route.scope)
            answer = await _run(inner)
            assert isinstance(answer, Response), "a form does nothing that streams"
            return answer
        except Exception as error:
            return problem(error, request.request_id)

    def _request(
        self, request: Request, method: str, target: str, body: bytes, once: str = ""
    ) -> Request:
        raw = target.encode()
        route, params = self._router.resolve(method.encode(), raw)
        headers = {b"content-type": b"application/json"}
        if once:
            headers[b"idempotency-key"] = f"page-{once}".encode()
        return Request(
            method,
            raw,
            headers,
            request.client,
            request.request_id,
            route=route,
            params=params,
            principal=request.principal,
            body=body,
        )


async def _run(request: Request) -> Answer:
    assert request.route is not None
    answer = request.route.handler(request)
    return answer if isinstance(answer, Response | StreamResponse) else await answer
