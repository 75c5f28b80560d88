"""
A notice: something that happened, told once.

Its payload has the form that Standard Webhooks recommends, and is the same bytes wherever it goes:
webhook, stream, list. Its id follows from its key, so the same thing told again, even by a node
that was restored from a backup, is the same message to whoever receives it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from taximeter.instants import format_instant

USAGE_CROSSED: Final = "usage.threshold_crossed"
BALANCE_LOW: Final = "balance.low"
BUDGET_CROSSED: Final = "budget.threshold_crossed"
LIMIT_AHEAD: Final = "forecast.limit_ahead"
RULE_FIRED: Final = "rule.fired"
INVOICE_CREATED: Final = "invoice.created"
INVOICE_IN_REVIEW: Final = "invoice.in_review"
INVOICE_ISSUED: Final = "invoice.issued"
INVOICE_PAID: Final = "invoice.paid"
INVOICE_VOIDED: Final = "invoice.voided"
INVOICE_OVERDUE: Final = "invoice.overdue"
PAYMENT_RECEIVED: Final = "payment.received"
PAYMENT_REVERSED: Final = "payment.reversed"
LATE_USAGE_HELD: Final = "late_usage.held"
CREDIT_NOTE_ISSUED: Final = "credit_note.issued"
WEBHOOK_DISABLED: Final = "webhook.disabled"
WEBHOOK_TEST: Final = "webhook.test"

TYPE: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)+")
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Notice(msgspec.Struct, frozen=True):
    """
    Attributes:
        id: "msg_" and 32 hexadecimal digits.
        key: What makes it the same notice; unique in its namespace.
        type: Such as "usage.threshold_crossed"; it decides the members of `data`.
        customer: Whom it is about; None for the namespace itself.
        at: When it happened.
        payload: JSON of type, timestamp and data.
    """

    namespace: str
    id: str
    key: str
    type: str
    customer: str | None
    at: int
    payload: bytes


def new_notice(
    namespace: str, type: str, customer: str | None, data: dict[str, Any], key: str, at: int
) -> Notice:
    """
    Args:
        data: Plain JSON values; quantities and money as text.
        key: Two notices of a namespace with the same key are one.
    """
    assert TYPE.fullmatch(type), type
    digest = hashlib.sha256(_encode([namespace, key])).hexdigest()[:32]
    payload = _encode({"type": type, "timestamp": format_instant(at), "data": data})
    return Notice(namespace, f"msg_{digest}", key, type, customer, at, payload)


def matches(pattern: str, type: str) -> bool:
    """Whether a subscription to `pattern` ("usage.*", "*", or a type) includes a type."""
    if pattern.endswith("*"):
        return type.startswith(pattern[:-1])
    return pattern == type


def is_pattern(text: str) -> bool:
    """Whether this is "*", a type, or the first parts of one with ".*" behind."""
    return bool(text == "*" or re.fullmatch(r"(?:[a-z0-9_]+\.)+(?:\*|[a-z0-9_]+)", text))
