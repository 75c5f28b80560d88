"""
The careful reader: one item at a time, every rule of the envelope, a reason for every refusal.

It runs when the quick decode of a body cannot prove that the body is clean. Bounds come first: an
item that is too large, too deep or holds an endless number is refused from its raw bytes, before
anything is built from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import jiter
import msgspec
import numpy as np
from numpy.typing import NDArray

from taximeter.errors import Rejected, TooLarge
from taximeter.events import scan
from taximeter.events.envelope import (
    MAX_BATCH_EVENTS,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    Event,
    Format,
    Rejection,
)
from taximeter.events.numbers import MAX_NUMBER_LENGTH, normal_number

CONTROL: Final = re.compile("[\u0000-\u001f\u007f-\u009f]")
"""What CloudEvents forbids in attribute values: C0, DEL, C1."""

_REQUIRED: Final = ("id", "type", "subject")
_KNOWN: Final = frozenset(Event.__struct_fields__)
_EXTENSION: Final = re.compile("[a-z0-9]+")
_JSON_TYPE: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.I | re.S)
_SPACE: Final = b" \t\r\n"


class _Malformed(Exception):
    """The item is not JSON."""


class _Refused(Exception):
    """The item is JSON, but not an event we take."""

    def __init__(self, code: str, detail: str, event_id: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.event_id = event_id


def find_items(body: bytes, form: Format) -> NDArray[np.int64]:
    """
    Where the items of a body lie: an (n, 4) table, see `scan.split`.

    Raises:
        Rejected: `empty_body`, or `invalid_json` if an array's brackets do not match.
        TooLarge: `batch_too_large`.
    """
    start, stop, separator = 0, len(body), scan.NEWLINE
    if not body.strip(_SPACE):
        raise Rejected("empty_body", "the body is empty")
    if form is Format.OBJECT:
        separator = scan.NOTHING
    elif form is Format.ARRAY:
        separator = scan.COMMA
        start, stop = _inside_brackets(body)
    items = scan.split(body, start, stop, separator, MAX_BATCH_EVENTS)
    if isinstance(items, int):
        if items == scan.BROKEN:
            raise Rejected("invalid_json", "the brackets or quotes of the body do not match")
        raise TooLarge("batch_too_large", _too_many(), limit=MAX_BATCH_EVENTS)
    return items


def _inside_brackets(body: bytes) -> tuple[int, int]:
    inner = body.strip(_SPACE)
    if inner[:1] != b"[" or inner[-1:] != b"]" or len(inner) < 2:
        raise Rejected("invalid_json", "the body is not a complete JSON array")
    if not inner[1:-1].strip(_SPACE):
        raise Rejected("empty_body", "the array has no event in it")
    start = body.index(b"[") + 1
    return start, start + len(inner) - 2


def _too_many() -> str:
    return f"at most {MAX_BATCH_EVENTS} events in one request"


def read(body: bytes, form: Format) -> tuple[list[Event | Rejection], NDArray[np.int64]]:
    """
    Read every item by itself.

    Returns:
        Per item the event or why it is none, in order; and the table of `find_items`.

    Raises:
        Rejected: Nothing in the body is an event: `invalid_json`, `empty_body`, or the code of the
            only item, or of the first one if no item even looks like an event.
        TooLarge: `batch_too_large`.
    """
    table = find_items(body, form)
    items: list[Event | Rejection] = []
    any_event = False
    for index, (start, stop, depth, longest_number) in enumerate(table.tolist()):
        raw = body[start:stop]
        try:
            items.append(_read_item(raw, depth, longest_number))
            any_event = True
        except _Refused as no:
            items.append(Rejection(index, no.event_id, no.code, no.detail))
            any_event = any_event or _resembles_event(raw)
        except _Malformed as no:
            if form is not Format.LINES:
                raise Rejected("invalid_json", f"item {index} is not JSON: {no}") from None
            items.append(Rejection(index, None, "invalid_json", str(no)))
    # A lone object that is no event has no neighbours to save: the request as a whole is wrong.
    if not any_event or (form is Format.OBJECT and isinstance(items[0], Rejection)):
        assert isinstance(items[0], Rejection)
        raise Rejected(items[0].code, f"there is no event in the body: {items[0].detail}")
    return items, table


def _resembles_event(raw: bytes) -> bool:
    """An object that names at least one attribute each event has."""
    return raw[:1] == b"{" and any(f'"{name}"'.encode() in raw for name in _REQUIRED)


def _read_item(raw: bytes, depth: int, longest_number: int) -> Event:
    if len(raw) > MAX_EVENT_BYTES:
        raise _Refused("event_too_large", f"an event has at most {MAX_EVENT_BYTES} bytes")
    if depth > MAX_DEPTH:
        raise _Refused("too_deep", f"JSON is nested at most {MAX_DEPTH} levels deep")
    if longest_number > MAX_NUMBER_LENGTH:
        raise _Refused("invalid_event", f"a number has more than {MAX_NUMBER_LENGTH} characters")
    members = _parse(raw)
    if not isinstance(members, dict):
        raise _Refused("invalid_event", "an event is a JSON object")
    claimed = members.get("id")
    event_id = claimed[:MAX_ID_BYTES] if isinstance(claimed, str) else None
    try:
        return _as_event(members)
    except ValueError as error:  # msgspec's ValidationError is one too
        raise _Refused("invalid_event", str(error), event_id) from None


def _parse(raw: bytes) -> Any:
    try:
        return jiter.from_json(raw, catch_duplicate_keys=True, float_mode="decimal")
    except ValueError as error:
        _explain(raw, error)
        raise _Refused("duplicate_key", str(error)) from None


def _explain(raw: bytes, error: ValueError) -> None:
    """Find out why an item does not parse; return only if duplicate members are the reason."""
    try:
        jiter.from_json(raw, float_mode="decimal")
        return
    except ValueError:
        pass
    try:
        json.loads(raw.decode())  # the standard library takes unpaired surrogates
    except UnicodeDecodeError:
        raise _Refused("invalid_json", "the item is not valid UTF-8") from None
    except ValueError:
        raise _Malformed(str(error)) from None
    raise _Refused("invalid_json", "a string holds an unpaired surrogate")


def _as_event(members: dict[str, Any]) -> Event:
    """
    Check one parsed object against the envelope.

    Raises:
        ValueError: With the reason, in words for the sender.
    """
    known: dict[str, Any] = {}
    for name, value in members.items():
        if value is None:
            continue  # a JSON null is an absent attribute (CloudEvents JSON format, 2.2)
        if name in _KNOWN:
            known[name] = value
        else:
            _check_other(name, value)
    if known.get("specversion", "1.0") != "1.0":
        raise ValueError('specversion must be "1.0"')
    event = msgspec.convert(known, Event)
    if CONTROL.search(f"{event.id}{event.source}{event.type}{event.subject}"):
        raise ValueError("id, source, type and subject must not have control characters")
    if event.data is not None:
        _normalise(event.data, event.data.items())
    return event


def _check_other(name: str, value: Any) -> None:
    """An attribute we do not read must be a CloudEvents extension that leaves the data JSON."""
    if name == "data_base64":
        raise ValueError("data must be a JSON object, not data_base64")
    if not _EXTENSION.fullmatch(name):
        raise ValueError(
            f"{name[:64]!r} is no attribute: names have only a-z and 0-9; usage belongs into 'data'"
        )
    if not isinstance(value, str | bool | int):
        raise ValueError(f"the extension attribute {name[:64]!r} is not a string, boolean, integer")
    if name == "datacontenttype" and not (isinstance(value, str) and _JSON_TYPE.fullmatch(value)):
        raise ValueError("datacontenttype must be JSON")


def _normalise(parent: Any, items: Iterable[tuple[Any, Any]]) -> None:
    """Bring every number into its one form, in place. Depth is bounded before."""
    for place, value in items:
        kind = type(value)
        if kind is Decimal:
            parent[place] = normal_number(value)
        elif kind is dict:
            _normalise(value, value.items())
        elif kind is list:
            _normalise(value, enumerate(value))
