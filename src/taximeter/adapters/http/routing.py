"""
The table of routes and how a request finds its own.

A path without variables is one dictionary look-up on the bytes received; that is how the hot
endpoints are reached. A template such as `/v1/invoices/{id}.pdf` becomes a regular expression;
`{name}` stands for one whole segment, or for the part of it before a literal ending, and may hold
percent-encoded characters, even "/".
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from taximeter.adapters.http.messages import JSON, Request, Response, StreamResponse
from taximeter.errors import CODES, NotFound, Rejected

Answer: TypeAlias = Response | StreamResponse
Handler: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]
Match: TypeAlias = "tuple[Route, dict[str, str]]"

_VARIABLE = re.compile(r"\{(\w+)\}")


class Route(msgspec.Struct, frozen=True, eq=False):
    """
    One operation: how it is reached, who may, and what its documentation says.

    Attributes:
        path: Template, e.g. "/v1/meters/{key}/usage".
        handler: Called with the request on the event loop's thread. It returns a `Response`
            (written at once), a `StreamResponse`, or an awaitable of either.
        scope: What a key needs; None makes the route public. No default: it is a decision.
        max_body_bytes: Bound of the body before and after decompression; None for the server's.
        essential: Still admitted when the server sheds load (checks, health).
        request, response: msgspec types of the bodies; None for no body or no JSON.
        query: Struct of the query parameters.
        errors: Codes this operation answers with beside those every one may.
        idempotent: Honours Idempotency-Key (K17). For cold routes: it costs a task and a write.
        example: An example of the request body, as plain JSON values.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    request: Any = None
    request_types: tuple[str, ...] = (JSON,)
    response: Any = None
    response_type: str = JSON
    query: type[msgspec.Struct] | None = None
    status: int = 200
    errors: tuple[str, ...] = ()
    example: Any = None
    max_body_bytes: int | None = None
    essential: bool = False
    idempotent: bool = False

    def __post_init__(self) -> None:
        unknown = [code for code in self.errors if code not in CODES]
        assert not unknown, f"{self.path}: undocumented error codes {unknown}"
        assert self.path.startswith("/"), self.path

    @property
    def variables(self) -> list[str]:
        return _VARIABLE.findall(self.path)


class Router:
    """Finds routes. Of two templates that fit, the one with more literal text wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        by_path: dict[str, list[Route]] = {}
        for route in self.routes:
            by_path.setdefault(route.path, []).append(route)
        self._static: dict[bytes, dict[bytes, Match]] = {}
        templates: list[tuple[str, dict[bytes, Match]]] = []
        for path, group in by_path.items():
            methods = _methods(path, group)
            if group[0].variables:
                templates.append((path, methods))
            else:
                self._static[path.encode()] = methods
        templates.sort(key=lambda item: len(_VARIABLE.sub("", item[0])), reverse=True)
        self._templates: dict[int, list[tuple[re.Pattern[bytes], dict[bytes, Match]]]] = {}
        for path, methods in templates:
            same_depth = self._templates.setdefault(path.count("/"), [])
            same_depth.append((_pattern(path), methods))

    def resolve(self, method: bytes, target: bytes) -> Match:
        """
        The route for a request line, with the decoded variables of its path.

        Raises:
            NotFound: no route has this path.
            Rejected: `method_not_allowed` (its detail `allow` lists the methods there are), or
                `invalid_parameter` if a variable is not percent-encoded UTF-8.
        """
        methods = self._static.get(target)
        if methods is not None and method in methods:
            return methods[method]
        path = _path_of(target)
        allowed: set[bytes] = set()
        for methods, variables in self._candidates(path):
            if method in methods:
                return methods[method][0], {k: _decode(k, v) for k, v in variables.items()}
            allowed.update(methods)
        if allowed:
            allow = b", ".join(sorted(allowed)).decode()
            raise Rejected("method_not_allowed", f"This path allows {allow}.", allow=allow)
        raise NotFound("not_found", "There is nothing at this path.")

    def _candidates(self, path: bytes) -> Iterable[tuple[dict[bytes, Match], Mapping[str, bytes]]]:
        methods = self._static.get(path)
        if methods is not None:
            yield methods, {}
        for pattern, methods in self._templates.get(path.count(b"/"), ()):
            found = pattern.fullmatch(path)
            if found is not None:
                yield methods, found.groupdict()


def _methods(path: str, routes: list[Route]) -> dict[bytes, Match]:
    """The methods of one path, with HEAD and OPTIONS, which nobody should have to write."""
    methods: dict[bytes, Match] = {}
    for route in routes:
        assert route.method.encode() not in methods, f"{route.method} {path} is there twice"
        methods[route.method.encode()] = (route, {})
    if b"GET" in methods:
        methods.setdefault(b"HEAD", methods[b"GET"])
    allow = b", ".join(sorted({*methods, b"OPTIONS"})).decode()
    options = Route("OPTIONS", path, partial(_allow, allow), None)
    methods.setdefault(b"OPTIONS", (options, {}))
    return methods


def _allow(allow: str, _request: Request) -> Response:
    return Response(204, headers=(("Allow", allow),))


def _pattern(path: str) -> re.Pattern[bytes]:
    parts = _VARIABLE.split(path)  # literal, name, literal, name, ..., literal
    text = "".join(
        f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    return re.compile(text.encode())


def _path_of(target: bytes) -> bytes:
    """The path of a request target; of the absolute form proxies send, too."""
    if not target.startswith(b"/"):
        _, found, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2] if found else target
    return target.partition(b"?")[0]


def _decode(name: str, raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Rejected("invalid_parameter", f"Path variable {name!r} is not UTF-8.") from None
