"""
A delivery: one notice on its way to one receiver, and the attempts made.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

from taximeter.notices.notice import Notice


class Channel(StrEnum):
    WEBHOOK = "webhook"
    EMAIL = "email"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Receiver(msgspec.Struct, frozen=True):
    """Where deliveries go: the id of a webhook, or a mail address."""

    namespace: str
    channel: Channel
    target: str


class Delivery(msgspec.Struct, frozen=True):
    """
    Attributes:
        id: "dlv_" and 32 hexadecimal digits, which follow from notice and receiver.
        failures: Failed attempts since it was made or last sent again.
        next_at: When it is due, microseconds; None once it is resolved.
        resolved_at: When it was delivered, or given up.
    """

    id: str
    receiver: Receiver
    notice: Notice
    status: DeliveryStatus
    created_at: int
    failures: int = 0
    next_at: int | None = None
    resolved_at: int | None = None


class Attempt(msgspec.Struct, frozen=True):
    """
    Attributes:
        status: Of the HTTP answer, or the reply code of the mail server; None without an answer.
        error: What went wrong, in words; None for a success.
        response: The first 1 KiB of the answer, as text without control characters.
    """

    at: int
    duration_ms: int
    status: int | None
    error: str | None = None
    response: str = ""


def new_delivery(notice: Notice, channel: Channel, target: str, at: int) -> Delivery:
    """Due at once. The same notice to the same receiver is the same delivery."""
    parts = "\0".join((notice.namespace, notice.id, channel, target))
    digest = hashlib.sha256(parts.encode()).hexdigest()[:32]
    receiver = Receiver(notice.namespace, channel, target)
    return Delivery(f"dlv_{digest}", receiver, notice, DeliveryStatus.PENDING, at, next_at=at)
