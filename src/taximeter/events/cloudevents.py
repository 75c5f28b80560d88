"""
CloudEvents 1.0 over HTTP: which content type means which format, and binary mode.

In structured and batched mode the body is the event or events. In binary mode the attributes are
`ce-*` headers and the body is only the data; it is turned into one structured event here, so that
everything after this module, the log included, knows one form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import Format

_EITHER: Final = "application/json"
_ONE: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")

_PREFIX: Final = "ce-"
_HEADER_LIMIT: Final = 64
_ATTRIBUTE: Final = re.compile("[a-z0-9]{1,64}")
_JSON_TYPE: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json")
_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_SPACE: Final = b" \t\r\n"


def body_format(content_type: str, body: bytes) -> Format:
    """
    How the events lie in a body.

    `application/json` and `application/cloudevents+json` are an array if the body begins like one,
    otherwise one object.

    Raises:
        Rejected: `unsupported_media_type`.
    """
    media_type = _media_type(content_type)
    if media_type in _LINES:
        return Format.LINES
    if media_type == _BATCH:
        return Format.ARRAY
    if media_type in (_EITHER, _ONE):
        return Format.ARRAY if body.lstrip(_SPACE)[:1] == b"[" else Format.OBJECT
    raise Rejected(
        "unsupported_media_type",
        f"events come as {_EITHER}, {_ONE}, {_BATCH} or {_LINES[0]}, in UTF-8",
        content_type=content_type[:128],
    )


def is_binary_mode(headers: Mapping[str, str]) -> bool:
    """
    Whether a request is one event in binary mode.

    Args:
        headers: Names in lower case.
    """
    return "ce-specversion" in headers or "ce-id" in headers


def event_from_headers(headers: Mapping[str, str], body: bytes) -> bytes:
    """
    The structured JSON form of an event in binary mode.

    The body is taken over byte for byte, so that its numbers stay exact and a repeated member is
    still found by `events.decode`.

    Args:
        headers: Names in lower case; attribute values percent-encoded as the HTTP binding says.
        body: The JSON data; empty for an event without data.

    Returns:
        A JSON object, in `Format.OBJECT`.

    Raises:
        Rejected: `unsupported_media_type` or `invalid_json` if the data is not JSON;
            `invalid_event` if a header is no attribute or cannot be decoded.
    """
    attributes: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_PREFIX):
            attributes[_attribute_name(name)] = _decoded(name, value)
    if len(attributes) > _HEADER_LIMIT:
        raise Rejected("invalid_event", f"an event has at most {_HEADER_LIMIT} attributes")
    content_type = headers.get("content-type", _EITHER)
    if body.strip(_SPACE) and not _JSON_TYPE.fullmatch(_media_type(content_type)):
        raise Rejected("unsupported_media_type", "the data of an event is JSON, in UTF-8")
    envelope = msgspec.json.encode(attributes)
    if not body.strip(_SPACE):
        return envelope
    _require_one_value(body)
    separator = b"," if attributes else b""
    return b"".join((envelope[:-1], separator, b'"data":', body, b"}"))


def _require_one_value(body: bytes) -> None:
    """Otherwise a body like `1, "time": ...` could slip in attributes of its own."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected("invalid_json", f"the data is not JSON: {error}") from None


def _attribute_name(header: str) -> str:
    name = header.removeprefix(_PREFIX)
    if not _ATTRIBUTE.fullmatch(name) or name in ("data", "datacontenttype"):
        raise Rejected("invalid_event", f"the header {header[:80]!r} is no CloudEvents attribute")
    return name


def _decoded(header: str, value: str) -> str:
    """
    Undo the encoding of the HTTP binding (section 3.1.3.2).

    A value may be in double quotes, with backslashes inside; then %xx are the bytes of UTF-8.
    """
    value = value.strip(" \t")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        if _PERCENT.search(value):
            raise ValueError
        return unquote_to_bytes(value).decode()
    except ValueError:
        raise Rejected(
            "invalid_event", f"the header {header!r} is not percent-encoded UTF-8"
        ) from None


def _media_type(content_type: str) -> str:
    """
    The media type without parameters, in lower case; "" if the charset is not UTF-8.

    JSON is UTF-8 whatever the parameters say, so another charset is a misunderstanding.
    """
    media_type, *parameters = content_type.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            return ""
    return media_type.strip()
