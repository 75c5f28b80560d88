"""
Alerts, webhooks, notices and deliveries as JSON: what is read, and what is answered.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.routes import shapes
from taximeter.instants import format_instant
from taximeter.notices.alert import Alert
from taximeter.notices.delivery import Attempt, Delivery, DeliveryStatus
from taximeter.notices.notice import Notice
from taximeter.notices.webhook import Webhook


class AlertAnswer(msgspec.Struct):
    """An alert: `on` and the members that belong to it."""

    id: str
    on: str
    created_at: str
    customer: str | None = None
    feature: str | None = None
    credit: str | None = None
    budget: str | None = None
    thresholds: tuple[str, ...] = ()
    window: str | None = None
    within: str | None = None
    email: tuple[str, ...] = ()


class AlertList(msgspec.Struct):
    items: list[AlertAnswer]
    next: str | None


class WebhookBody(shapes.Strict):
    url: str
    types: tuple[str, ...] = ("*",)
    description: str = ""
    email: tuple[str, ...] = ()
    enabled: bool = True
    secret: str | None = None


class WebhookAnswer(msgspec.Struct):
    """`secret` is there when it was made by this request, and never again."""

    id: str
    url: str
    types: list[str]
    description: str
    email: list[str]
    status: str
    disabled_at: str | None
    disabled_reason: str | None
    failing_since: str | None
    previous_secret_until: str | None
    created_at: str
    secret: str | None = None


class WebhookList(msgspec.Struct):
    items: list[WebhookAnswer]
    next: str | None


class RotateBody(shapes.Strict):
    overlap: str | None = None
    secret: str | None = None


class ResendBody(shapes.Strict):
    since: str | None = None


class ResendAnswer(msgspec.Struct):
    """How many deliveries will be sent again."""

    resent: int


class AttemptAnswer(msgspec.Struct):
    at: str
    duration_ms: int
    status: int | None
    error: str | None
    response: str


class DeliveryAnswer(msgspec.Struct):
    id: str
    notice: str
    type: str
    channel: str
    target: str
    status: str
    created_at: str
    next_attempt_at: str | None
    resolved_at: str | None
    attempts: list[AttemptAnswer]


class DeliveryList(msgspec.Struct):
    items: list[DeliveryAnswer]
    next: str | None


class NoticeAnswer(msgspec.Struct):
    id: str
    type: str
    timestamp: str
    customer: str | None
    data: dict[str, Any]


class OneNotice(NoticeAnswer):
    deliveries: list[DeliveryAnswer]


class NoticeList(msgspec.Struct):
    items: list[NoticeAnswer]
    next: str | None


class NoticeParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    type: str | None = None
    limit: int = 100
    cursor: str | None = None


class DeliveryParameters(msgspec.Struct, forbid_unknown_fields=True):
    status: DeliveryStatus | None = None
    limit: int = 100
    cursor: str | None = None


class StreamParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None


def alert_json(alert: Alert) -> dict[str, Any]:
    return {"id": alert.id, **alert.to_json(), "created_at": format_instant(alert.created_at)}


def webhook_json(webhook: Webhook, now: int) -> dict[str, Any]:
    """Without its secrets; how long older ones still sign."""
    untils = [s.until for s in webhook.secrets if s.until is not None and s.until > now]
    return {
        "id": webhook.id,
        "url": webhook.url,
        "types": list(webhook.types),
        "description": webhook.description,
        "email": list(webhook.email),
        "status": "enabled" if webhook.is_enabled else "disabled",
        "disabled_at": _instant(webhook.disabled_at),
        "disabled_reason": webhook.disabled_reason,
        "failing_since": _instant(webhook.failing_since),
        "previous_secret_until": _instant(max(untils, default=None)),
        "created_at": format_instant(webhook.created_at),
    }


def notice_json(notice: Notice) -> dict[str, Any]:
    content = msgspec.json.decode(notice.payload)
    return {
        "id": notice.id,
        "type": notice.type,
        "timestamp": content["timestamp"],
        "customer": notice.customer,
        "data": content["data"],
    }


def delivery_json(delivery: Delivery, attempts: list[Attempt]) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "notice": delivery.notice.id,
        "type": delivery.notice.type,
        "channel": delivery.receiver.channel.value,
        "target": delivery.receiver.target,
        "status": delivery.status.value,
        "created_at": format_instant(delivery.created_at),
        "next_attempt_at": _instant(delivery.next_at),
        "resolved_at": _instant(delivery.resolved_at),
        "attempts": [
            {
                "at": format_instant(attempt.at),
                "duration_ms": attempt.duration_ms,
                "status": attempt.status,
                "error": attempt.error,
                "response": attempt.response,
            }
            for attempt in attempts
        ],
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
