"""How a request finds its route."""

from __future__ import annotations

import pytest

from taximeter.adapters.http.messages import Client, Request, Response
from taximeter.adapters.http.routing import Route, Router
from taximeter.errors import NotFound, Rejected


def handler(_request: Request) -> Response:
    return Response(200)


def router(*paths: str) -> Router:
    return Router([Route(*path.split(" "), handler, None) for path in paths])


ROUTER = router(
    "POST /v1/events",
    "GET /v1/events",
    "GET /v1/events/receipt",
    "GET /v1/meters",
    "PUT /v1/meters/{key}",
    "GET /v1/meters/{key}/usage",
    "GET /v1/invoices/{id}",
    "GET /v1/invoices/{id}.pdf",
    "GET /v1/invoices/{id}/lines/{line}/events",
    "POST /v1/invoices/{id}/void",
)


@pytest.mark.parametrize(
    ("method", "target", "path", "params"),
    [
        ("POST", "/v1/events", "/v1/events", {}),
        ("POST", "/v1/events?receipts=1", "/v1/events", {}),
        ("POST", "http://example.com/v1/events?receipts=1", "/v1/events", {}),
        ("HEAD", "/v1/meters", "/v1/meters", {}),
        ("GET", "/v1/events/receipt", "/v1/events/receipt", {}),
        ("PUT", "/v1/meters/tokens", "/v1/meters/{key}", {"key": "tokens"}),
        ("PUT", "/v1/meters/a%2Fb%20%C3%BC", "/v1/meters/{key}", {"key": "a/b ü"}),
        ("PUT", "/v1/meters/a+b", "/v1/meters/{key}", {"key": "a+b"}),
        ("PUT", "/v1/meters/%2e%2e", "/v1/meters/{key}", {"key": ".."}),
        ("GET", "/v1/invoices/in_1", "/v1/invoices/{id}", {"id": "in_1"}),
        ("GET", "/v1/invoices/in_1.pdf", "/v1/invoices/{id}.pdf", {"id": "in_1"}),
        ("GET", "/v1/invoices/a.pdf.pdf?x", "/v1/invoices/{id}.pdf", {"id": "a.pdf"}),
        (
            "GET",
            "/v1/invoices/i/lines/2/events",
            "/v1/invoices/{id}/lines/{line}/events",
            {"id": "i", "line": "2"},
        ),
    ],
)
def test_a_target_finds_its_route(
    method: str, target: str, path: str, params: dict[str, str]
) -> None:
    route, found = ROUTER.resolve(method.encode(), target.encode())
    assert (route.path, found) == (path, params)


@pytest.mark.parametrize(
    "target",
    ["/", "/v1", "/v1/events/", "//v1/events", "/v1/meters//usage", "/v1/meters/a/b/c", "*", "x"],
)
def test_other_targets_are_not_found(target: str) -> None:
    with pytest.raises(NotFound):
        ROUTER.resolve(b"GET", target.encode())


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("DELETE", "/v1/events", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/v1/events?x", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/v1/meters/a", "OPTIONS, PUT"),
        ("BREW", "/v1/invoices/a.pdf", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_known_path_tells_the_methods_it_has(method: str, target: str, allow: str) -> None:
    with pytest.raises(Rejected) as refusal:
        ROUTER.resolve(method.encode(), target.encode())
    assert refusal.value.code == "method_not_allowed"
    assert refusal.value.details["allow"] == allow


def test_options_answers_with_the_methods() -> None:
    route, _ = ROUTER.resolve(b"OPTIONS", b"/v1/meters/a")
    answer = route.handler(Request("OPTIONS", b"", {}, Client("", False), ""))
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers) == (204, (("Allow", "OPTIONS, PUT"),))


def test_a_variable_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(Rejected) as refusal:
        ROUTER.resolve(b"PUT", b"/v1/meters/%ff")
    assert refusal.value.code == "invalid_parameter"


def test_literal_text_beats_a_variable_whatever_the_order() -> None:
    for paths in (["GET /a/{x}", "GET /a/b"], ["GET /a/b", "GET /a/{x}"]):
        assert router(*paths).resolve(b"GET", b"/a/b?q")[0].path == "/a/b"


def test_the_same_route_twice_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        router("GET /a", "GET /a")


def test_a_route_can_only_name_documented_errors() -> None:
    with pytest.raises(AssertionError):
        Route("GET", "/a", handler, None, errors=("no_such_code",))
