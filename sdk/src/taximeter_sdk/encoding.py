"""
JSON in and out without floats in between, and identities of events.

Text is made the moment something is tracked: what the caller changes afterwards does not change
what is sent, and every try sends the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final


class _HasDecimal(Exception):
    pass


def _default(value: object) -> Any:
    if isinstance(value, Decimal):
        raise _HasDecimal
    raise TypeError(f"cannot be sent as JSON: {type(value).__name__}")


_encoder: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default
).encode
_decoder: Final = json.JSONDecoder(parse_float=Decimal)


def to_json(value: Any) -> bytes:
    """
    Compact JSON. Decimals become numbers with all their digits.

    Raises:
        TypeError: Something in it is no JSON value.
        ValueError: NaN, Infinity, or a surrogate half.
    """
    try:
        text = _encoder(value)
    except _HasDecimal:
        text = _written(value)
    return text.encode()


def _written(value: Any) -> str:
    match value:
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"cannot be sent as JSON: {value}")
            return format(value, "f")
        case dict():
            members = (f"{_encoder(str(name))}:{_written(one)}" for name, one in value.items())
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_written, value)) + "]"
        case _:
            return _encoder(value)


def from_json(body: bytes) -> Any:
    """
    The value; fractions are Decimal.

    Raises:
        ValueError: It is not JSON.
    """
    return _decoder.decode(body.decode())


def new_id() -> str:
    """128 random bits, from the kernel: two processes of one fork never share them."""
    return os.urandom(16).hex()


def stable_id(*parts: object) -> str:
    """
    The same id for the same parts, everywhere and always: for operations that may run twice.

        meter.track("acme", "order.shipped", id=stable_id("order", order.number, "shipped"))
    """
    if not parts:
        raise ValueError("an id needs at least one part")
    # Length first, so that ("ab", "c") and ("a", "bc") differ.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def event_json(
    subject: str,
    event_type: str,
    data: Mapping[str, Any],
    *,
    event_id: str,
    source: str,
    time: str | None,
) -> bytes:
    """One CloudEvent. Without a time the server's time of receipt counts."""
    event: dict[str, Any] = {"id": event_id, "source": source, "type": event_type}
    event["subject"] = subject
    if time is not None:
        event["time"] = time
    if data:
        event["data"] = data
    return to_json(event)
