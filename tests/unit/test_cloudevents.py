"""CloudEvents over HTTP: content types, and binary mode becoming one structured event."""

from __future__ import annotations

import pytest

from taximeter.errors import Rejected
from taximeter.events.cloudevents import body_format, event_from_headers, is_binary_mode
from taximeter.events.decode import decode
from taximeter.events.envelope import Event, Format

HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "a",
    "ce-source": "/gateway",
    "ce-type": "llm.request",
    "ce-subject": "acme",
    "content-type": "application/json",
    "host": "localhost",
}


def read(headers: dict[str, str], body: bytes = b"") -> Event:
    [event] = decode(event_from_headers(headers, body), Format.OBJECT).events
    return event


def code_of(headers: dict[str, str], body: bytes = b"{}") -> str:
    with pytest.raises(Rejected) as caught:
        event_from_headers(headers, body)
    return caught.value.code


@pytest.mark.parametrize(
    ("content_type", "body", "form"),
    [
        ("application/json", b' \n{"id":1}', Format.OBJECT),
        ("application/json", b" [", Format.ARRAY),
        ("application/json;charset=utf-8", b"{}", Format.OBJECT),
        ('Application/JSON ; Charset="UTF-8"', b"[]", Format.ARRAY),
        ("application/cloudevents+json; charset=UTF-8", b"{}", Format.OBJECT),
        ("application/cloudevents-batch+json", b"{}", Format.ARRAY),
        ("application/x-ndjson", b"[", Format.LINES),
    ],
)
def test_content_type_and_first_byte_choose_the_format(content_type, body, form):
    assert body_format(content_type, body) is form


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/xml", "application/json; charset=utf-16"]
)
def test_other_content_types_are_refused(content_type):
    with pytest.raises(Rejected) as caught:
        body_format(content_type, b"{}")
    assert caught.value.code == "unsupported_media_type"


def test_binary_mode_is_recognised_by_its_headers():
    assert is_binary_mode(HEADERS)
    assert not is_binary_mode({"content-type": "application/json"})


def test_headers_and_body_make_one_event():
    event = read(HEADERS | {"ce-time": "2026-11-20T10:00:00Z"}, b'{"n":1.10}')
    assert event == read(HEADERS | {"ce-time": "2026-11-20T10:00:00Z"}, b' {"n":1.1} ')
    assert (event.id, event.source, event.type, event.subject) == (
        "a",
        "/gateway",
        "llm.request",
        "acme",
    )


def test_an_empty_body_is_an_event_without_data():
    assert read(HEADERS).data is None
    assert read(HEADERS, b" \r\n").data is None


def test_attribute_values_are_percent_decoded_as_utf_8():
    assert read(HEADERS | {"ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80"}).subject == "Euro € 😀"
    assert read(HEADERS | {"ce-subject": '"a \\"b\\" %22"'}).subject == 'a "b" "'
    assert read(HEADERS | {"ce-subject": "a%2Fb+c"}).subject == "a/b+c"


def test_extension_headers_are_kept_as_attributes():
    assert b'"traceparent":"00-1"' in event_from_headers(HEADERS | {"ce-traceparent": "00-1"}, b"")


@pytest.mark.parametrize("value", ["100%", "%zz", "%ff", "%C0%AF", "%ED%A0%80"])
def test_values_that_are_no_percent_encoded_utf_8_are_refused(value):
    assert code_of(HEADERS | {"ce-subject": value}) == "invalid_event"


@pytest.mark.parametrize("name", ["ce-", "ce-a_b", "ce-data", "ce-datacontenttype"])
def test_headers_that_are_no_attributes_are_refused(name):
    assert code_of(HEADERS | {name: "x"}) == "invalid_event"


@pytest.mark.parametrize("body", [b'{},"time":"2026-11-20T10:00:00Z"', b'1}, {"a":2', b"{", b"x"])
def test_a_body_cannot_add_attributes_of_its_own(body):
    assert code_of(HEADERS, body) == "invalid_json"


def test_data_that_is_not_json_is_refused():
    assert code_of(HEADERS | {"content-type": "text/plain"}, b"hello") == "unsupported_media_type"


def test_a_member_named_twice_in_the_body_is_still_found():
    with pytest.raises(Rejected) as caught:
        read(HEADERS, b'{"a":1,"a":2}')
    assert caught.value.code == "duplicate_key"
