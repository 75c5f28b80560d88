"""
The OpenAPI 3.1 description, generated from the table of routes that also serves the requests.

What a route declares is all there is to say about it: body types become schemas (msgspec writes
JSON Schema 2020-12, which is what OpenAPI 3.1 uses), error codes become responses by status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.adapters.http.auth import SCOPES
from taximeter.adapters.http.messages import JSON
from taximeter.adapters.http.problems import PROBLEM_JSON, TYPE_BASE, status_of_code
from taximeter.adapters.http.routing import Route
from taximeter.errors import CODES

Json: TypeAlias = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_SECURITY_SCHEME: Final = "apiKey"
_EVERY: Final = ("bad_request", "headers_too_large", "request_timeout", "internal")
_WITH_SCOPE: Final = ("unauthenticated", "insufficient_scope")
_WITH_BODY: Final = (
    "invalid_json",
    "invalid_request",
    "body_too_large",
    "unsupported_media_type",
    "unsupported_encoding",
    "corrupt_encoding",
)
_WITH_KEY: Final = ("idempotency_key_reused", "idempotency_in_flight")


class Problem(msgspec.Struct):
    """An error answer (RFC 9457). Further members give the facts, such as limits, by name."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


def openapi(routes: Iterable[Route], *, title: str, version: str, description: str = "") -> Json:
    """
    The document as plain JSON values; the same routes in the same order give the same document.
    """
    routes = [route for route in routes if route.method not in ("HEAD", "OPTIONS")]
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        operations = paths.setdefault(route.path, {})
        operations[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                _SECURITY_SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "tm_...",
                    "description": "An API key. Scopes: " + ", ".join(sorted(SCOPES)) + ".",
                }
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(tag for r in routes for tag in r.tags)],
    }


class _Schemas:
    """JSON Schemas of every type the routes name, shared as components."""

    def __init__(self, routes: list[Route]) -> None:
        bodies = [kind for r in routes for kind in (r.request, r.response) if kind is not None]
        fields = [f.type for r in routes if r.query for f in msgspec.structs.fields(r.query)]
        types = [Problem, *bodies, *fields]
        schemas, self.components = msgspec.json.schema_components(types, ref_template=_REF)
        # By identity of the annotation: some (Annotated with unhashable parts) cannot be keys.
        self._by_id = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
        self._alive = types

    def of(self, kind: Any) -> Json:
        return self._by_id[id(kind)]

    def of_field(self, kind: Any) -> Json:
        return msgspec.json.schema_components([kind], ref_template=_REF)[0][0]


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": route.description,
        "tags": list(route.tags),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.scope is not None:
        operation["security"] = [{_SECURITY_SCHEME: [route.scope]}]
    if _has_body(route):
        operation["requestBody"] = _request_body(route, schemas)
    return {name: value for name, value in operation.items() if value not in ("", [])}


def _operation_id(route: Route) -> str:
    return re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")


def _has_body(route: Route) -> bool:
    return route.request is not None or route.request_types != (JSON,)


def _request_body(route: Route, schemas: _Schemas) -> Json:
    media: Json = {} if route.request is None else {"schema": schemas.of(route.request)}
    if route.example is not None:
        media["example"] = route.example
    return {"required": True, "content": dict.fromkeys(route.request_types, media)}


def _parameters(route: Route, schemas: _Schemas) -> list[Json]:
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.variables
    ]
    for field in msgspec.structs.fields(route.query) if route.query else ():
        schema = schemas.of_field(field.type)
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            schema = {**schema, "default": msgspec.to_builtins(field.default)}
        parameters.append(
            {
                "name": field.encode_name,
                "in": "query",
                "required": field.required,
                "schema": schema,
            }
        )
    if route.idempotent:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 255},
            }
        )
    return parameters


def _responses(route: Route, schemas: _Schemas) -> Json:
    success: Json = {"description": route.summary or "Done."}
    if route.response is not None:
        success["content"] = {route.response_type: {"schema": schemas.of(route.response)}}
    elif route.response_type != JSON:
        success["content"] = {route.response_type: {}}
    responses: Json = {str(route.status): success}
    by_status: dict[int, list[str]] = {}
    for code in _error_codes(route):
        by_status.setdefault(status_of_code(code), []).append(code)
    for status in sorted(by_status):
        responses[str(status)] = _problem_response(by_status[status], schemas)
    return responses


def _error_codes(route: Route) -> list[str]:
    codes = [*route.errors, *_EVERY]
    if route.scope is not None:
        codes += _WITH_SCOPE
    if _has_body(route):
        codes += _WITH_BODY
    if route.query is not None or route.variables:
        codes.append("invalid_parameter")
    if route.idempotent:
        codes += _WITH_KEY
    if not route.essential:
        codes.append("overloaded")
    return list(dict.fromkeys(codes))


def _problem_response(codes: list[str], schemas: _Schemas) -> Json:
    return {
        "description": "\n".join(
            f"- [`{code}`]({TYPE_BASE}{code}): {CODES[code]}" for code in codes
        ),
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "allOf": [schemas.of(Problem), {"properties": {"code": {"enum": codes}}}]
                }
            }
        },
    }
