"""The OpenAPI document says what the table of routes says, and holds together."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.openapi import openapi
from taximeter.adapters.http.routing import Route


class Tier(msgspec.Struct):
    up_to: Decimal | None
    unit: Decimal


class Plan(msgspec.Struct):
    """A plan on sale."""

    key: Annotated[str, msgspec.Meta(min_length=1, description="Its name.")]
    tiers: list[Tier] = []


class Page(msgspec.Struct):
    customer: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: str | None = None


def handler(_request: Request) -> Response:
    return Response(200)


ROUTES = [
    Route(
        "PUT",
        "/v1/plans/{key}",
        handler,
        "write",
        summary="Put a plan",
        tags=("catalogue",),
        request=Plan,
        response=Plan,
        errors=("catalog_invalid", "catalog_changed"),
        example={"key": "pro"},
        idempotent=True,
    ),
    Route("GET", "/v1/plans", handler, "read", response=list[Plan], query=Page),
    Route("GET", "/v1/plans/{key}.pdf", handler, "read", response_type="application/pdf"),
    Route("GET", "/healthz", handler, None, essential=True),
    Route("HEAD", "/healthz", handler, None),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(openapi(ROUTES, title="T", version="1")))


def test_it_has_the_parts_openapi_3_1_demands(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "T"
    identifiers = []
    for path, operations in document["paths"].items():
        assert path.startswith("/")
        for method, operation in operations.items():
            assert method in {"get", "put", "post", "patch", "delete"}
            identifiers.append(operation["operationId"])
            assert all("description" in r for r in operation["responses"].values())
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
    assert len(set(identifiers)) == len(identifiers)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            inner = [r for value in node.values() for r in references(value)]
            return [*inner, node["$ref"]] if "$ref" in node else inner
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    found = references(document)
    assert "#/components/schemas/Plan" in found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_bodies_parameters_and_examples_are_described(document: dict[str, Any]) -> None:
    put = document["paths"]["/v1/plans/{key}"]["put"]
    body = put["requestBody"]["content"]["application/json"]
    assert body == {"schema": {"$ref": "#/components/schemas/Plan"}, "example": {"key": "pro"}}
    assert {"name": "Idempotency-Key", "in": "header"}.items() <= put["parameters"][1].items()
    page = {p["name"]: p for p in document["paths"]["/v1/plans"]["get"]["parameters"]}
    assert page["customer"]["required"] is True
    assert page["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 1000, "default": 100,
    }  # fmt: skip


def test_errors_are_grouped_by_status_with_their_codes(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/plans/{key}"]["put"]["responses"]
    problem = responses["409"]["content"]["application/problem+json"]["schema"]
    assert problem["allOf"][1]["properties"]["code"]["enum"] == [
        "catalog_changed",
        "idempotency_in_flight",
    ]
    assert "`catalog_invalid`" in responses["422"]["description"]
    assert {"200", "401", "403", "413", "415", "429"} <= set(responses)


def test_public_routes_have_no_security_and_others_name_their_scope(
    document: dict[str, Any],
) -> None:
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert document["paths"]["/v1/plans"]["get"]["security"] == [{"apiKey": ["read"]}]
    assert "401" not in document["paths"]["/healthz"]["get"]["responses"]


def test_the_document_is_the_same_every_time() -> None:
    assert openapi(ROUTES, title="T", version="1") == openapi(ROUTES, title="T", version="1")
