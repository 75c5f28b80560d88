"""
Signatures of Standard Webhooks: HMAC-SHA256 over "id.timestamp.body".

A secret is written "whsec_" and base64 of 24 to 64 random bytes. While one secret replaces
another, a message is signed with both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec

from taximeter.errors import Rejected

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
_LENGTHS: Final = range(24, 65)


class Secret(msgspec.Struct, frozen=True):
    """
    Attributes:
        text: As the receiver has it, "whsec_...". Never logged.
        until: Signs before this instant; None for the present one.
    """

    text: str
    until: int | None = None

    def __repr__(self) -> str:
        return f"Secret(until={self.until})"


def format_secret(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()


def read_secret(text: str) -> bytes:
    """
    The key in a secret.

    Raises:
        Rejected: `invalid_request`. The message does not hold the secret.
    """
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _LENGTHS:
        raise Rejected(
            "invalid_request", f"secret: {PREFIX} followed by base64 of 24 to 64 random bytes."
        )
    return key


def in_force(secrets: Iterable[Secret], now: int) -> tuple[Secret, ...]:
    """Those that sign at an instant."""
    return tuple(one for one in secrets if one.until is None or now < one.until)


def sign(secrets: Iterable[Secret], message: str, timestamp: int, body: bytes) -> str:
    """
    The value of `webhook-signature`: one for each secret, in their order.

    Args:
        message: Its id, without a full stop.
        timestamp: Of the attempt, whole seconds.
    """
    assert "." not in message, message
    signed = b"%b.%d.%b" % (message.encode(), timestamp, body)
    digests = (hmac.digest(read_secret(one.text), signed, hashlib.sha256) for one in secrets)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def rotated(
    secrets: Iterable[Secret], fresh: str, now: int, overlap: int, most: int = 4
) -> tuple[Secret, ...]:
    """
    The secrets after a new one was put in front: those before it hold until now + overlap, or
    until their own end if that is sooner; the oldest are dropped beyond `most` in all.
    """
    end = now + overlap
    older = [
        Secret(one.text, end if one.until is None else min(one.until, end))
        for one in secrets
        if one.text != fresh
    ]
    kept = [one for one in older if one.until is not None and one.until > now]
    return (Secret(fresh), *kept[: most - 1])
