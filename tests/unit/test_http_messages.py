"""Requests as handlers read them, and answers as bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from taximeter.adapters.http.messages import Client, Request, Response, json_response
from taximeter.adapters.http.sse import ServerEvent
from taximeter.adapters.http.wire import Heads
from taximeter.errors import TaximeterError


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    customer: str
    amount: Decimal = Decimal(1)
    extra: dict[str, Any] = {}


class Window(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    receipts: bool = False


def request(body: bytes = b"", target: bytes = b"/x", **headers: str) -> Request:
    raw = {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}
    return Request("POST", target, raw, Client("", False), "id-1", body=body)


def code(call: Any, *args: Any) -> str:
    with pytest.raises(TaximeterError) as refusal:
        call(*args)
    return refusal.value.code


def test_json_bodies_are_typed_and_never_float() -> None:
    ask = request(b'{"customer":"a","amount":0.1,"extra":{"x":[1.10]}}').json(Ask)
    assert ask == Ask("a", Decimal("0.1"), {"x": [Decimal("1.10")]})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"{}x", "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b'{"customer":"\xff"}', "invalid_json"),
        (b'{"customer":"\\ud800"}', "invalid_json"),
        (b'{"customer":"a","amount":NaN}', "invalid_json"),
        (b'{"customer":"a","extra":{"x":Infinity}}', "invalid_json"),
        (b'{"customer":"a","customer":"b"}', "duplicate_key"),
        (b'{"customer":"a","extra":{"x":1,"x":2}}', "duplicate_key"),
        (b"[" * 100_000, "too_deep"),
        (b'{"customer":"a","extra":' + b'{"x":' * 300 + b"1" + b"}" * 300 + b"}", "too_deep"),
        (b'{"customer":"a","amount":' + b"9" * 5000 + b"}", "invalid_json"),
        (b"{}", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'{"customer":1}', "invalid_request"),
        (b'{"customer":"a","balance":"7"}', "invalid_request"),
    ],
)
def test_json_that_cannot_be_trusted_is_refused_with_a_code(body: bytes, expected: str) -> None:
    assert code(request(body).json, Ask) == expected


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/foo+json"])
def test_json_media_types_are_read(media_type: str) -> None:
    assert request(b'{"customer":"a"}', content_type=media_type).json(Ask).customer == "a"


def test_other_media_types_are_refused() -> None:
    assert code(request(b"{}", content_type="text/plain").json, Ask) == "unsupported_media_type"


def test_the_query_is_decoded_and_converted() -> None:
    asked = request(target=b"/x?limit=5&receipts=1")
    assert asked.query == {"limit": "5", "receipts": "1"}
    assert asked.query_as(Window) == Window(5, True)
    assert request(target=b"/x?q=a%20b+c%C3%BC&e=").query == {"q": "a b cü", "e": ""}
    assert request(target=b"/x").query == {}


@pytest.mark.parametrize("query", [b"limit=x", b"unknown=1", b"limit=1&limit=2", b"limit=%ff"])
def test_a_query_that_cannot_be_read_is_refused(query: bytes) -> None:
    assert code(request(target=b"/x?" + query).query_as, Window) == "invalid_parameter"


def test_too_many_parameters_are_refused() -> None:
    asked = request(target=b"/x?" + b"&".join(b"a%d=1" % n for n in range(65)))
    assert code(lambda: asked.query) == "invalid_parameter"


def test_decimals_are_answered_as_strings() -> None:
    assert json_response({"value": Decimal("0.10")}).body == b'{"value":"0.10"}'


def test_the_date_of_cached_heads_follows_the_clock() -> None:
    heads = Heads()
    for second in (0, 1):
        heads.tick(second)
        answer = heads.answer(request(), Response(200, b"{}"))
        assert b"Date: Thu, 01 Jan 1970 00:00:0%d GMT\r\n" % second in answer


@pytest.mark.parametrize(
    "header", [("A", "b\nc"), ("A\r", "b"), ("", "b"), ("A", "b\x00"), ("A", "€")]
)
def test_headers_that_would_forge_others_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="not a valid header"):
        Heads().answer(request(), Response(200, b"{}", headers=(header,)))


def test_server_events_cannot_break_out_of_their_fields() -> None:
    event = ServerEvent("a\r\nb\rc", event="x\ndata: y", id="1\n2\x00")
    assert event.encode() == b"event: xdata: y\nid: 12\ndata: a\ndata: b\ndata: c\n\n"
