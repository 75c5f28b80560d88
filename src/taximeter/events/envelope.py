"""
The event as it arrives: a CloudEvents 1.0 envelope, decoded straight from JSON.

`specversion` and `source` may be absent, `time` may be absent (it is then the time of receipt,
kept in the log entry). Numbers inside `data` are `int` or `Decimal`, never `float`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any

import msgspec

MAX_ID_BYTES = 512
MAX_NAME_LENGTH = 256
MAX_DEPTH = 32
MAX_EVENT_BYTES = 256 * 1024
MAX_BATCH_EVENTS = 10_000
MAX_BODY_BYTES = 8 * 1024 * 1024

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]


class Event(msgspec.Struct, gc=False):
    """
    One usage event. Unknown CloudEvents extension attributes are kept in the log, not here.

    Attributes:
        id: Unique per (namespace, source), byte-exact (K11); 1 to 512 characters.
        type: What happened, as meters select it; 1 to 256 characters.
        subject: Who used it: a customer key or one of a customer's subjects; 1 to 256 characters.
        source: Where it was recorded; "" if absent.
        time: RFC 3339 text as sent, or None for the time of receipt.
        data: The JSON object with values and dimensions, or None.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_BYTES)]
    type: _Name
    subject: _Name
    source: Annotated[str, msgspec.Meta(max_length=MAX_ID_BYTES)] = ""
    specversion: str = "1.0"
    time: str | None = None
    data: dict[str, Any] | None = None


class Verdict(IntEnum):
    """What was decided about one received item; exactly one per item, for ever."""

    ACCEPTED = 0
    DUPLICATE = 1
    CONFLICT = 2
    REJECTED = 3


class Format(IntEnum):
    """How the items of one request lie in its body."""

    OBJECT = 0  # one JSON object
    ARRAY = 1  # a JSON array of objects
    LINES = 2  # one JSON object a line (NDJSON)


class Rejection(msgspec.Struct, frozen=True):
    """Why one item was not accepted. `index` is its place in the request, from 0."""

    index: int
    id: str | None
    code: str
    detail: str
