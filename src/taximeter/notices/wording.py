"""
Notices in words, for mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taximeter.notices import notice as types

_SUBJECTS: Final = {
    types.USAGE_CROSSED: "{customer}: {feature} has reached {threshold}",
    types.BALANCE_LOW: "{customer}: {credit} balance is down to {balance}",
    types.BUDGET_CROSSED: "{customer}: budget {budget} has reached {threshold}",
    types.LIMIT_AHEAD: "{customer}: {feature} will reach its limit at {expected_at}",
    types.RULE_FIRED: "{customer}: rule {rule} has fired",
    types.INVOICE_CREATED: "{customer}: draft invoice over {total} {currency}",
    types.INVOICE_IN_REVIEW: "{customer}: an invoice over {total} {currency} waits for review",
    types.INVOICE_ISSUED: "{customer}: invoice {number} over {total} {currency}",
    types.INVOICE_PAID: "{customer}: invoice {number} is paid",
    types.INVOICE_VOIDED: "{customer}: invoice {number} is void",
    types.INVOICE_OVERDUE: "{customer}: invoice {number} is overdue, {amount_remaining} {currency}",
    types.PAYMENT_RECEIVED: "{customer}: payment of {amount} {currency} received",
    types.PAYMENT_REVERSED: "{customer}: payment of {amount} {currency} taken back",
    types.LATE_USAGE_HELD: "{customer}: late usage of {meter} waits for a decision",
    types.CREDIT_NOTE_ISSUED: "{customer}: credit note {number} over {total} {currency}",
    types.WEBHOOK_DISABLED: "Webhook {webhook} is disabled: {reason}",
}


def subject_of(type: str, data: Mapping[str, Any]) -> str:
    """One line; a type without words of its own is named."""
    template = _SUBJECTS.get(type)
    if template is None:
        about = data.get("customer")
        return type if about is None else f"{about}: {type}"
    try:
        return template.format_map(data)
    except KeyError:
        return type


def text_of(type: str, timestamp: str, data: Mapping[str, Any]) -> str:
    """The subject as a sentence, then every member of the notice on a line of its own."""
    width = max((len(name) for name in data), default=0)
    lines = [f"{name:<{width}}  {'-' if value is None else value}" for name, value in data.items()]
    return "\n".join([f"{subject_of(type, data)}.", "", *lines, "", f"{type}, {timestamp}", ""])
