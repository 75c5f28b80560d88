"""
The calls of the gate, as values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from taximeter_sdk.quantities import Amount, to_pico, to_text
from taximeter_sdk.transport import Call

CONSUME_SOURCE: Final = "taximeter/consume"
"""The source of events that consuming records, on the server and here: one identity for both."""


def check_call(
    customer: str, feature: str, amount: Amount, scope: Mapping[str, str] | None
) -> Call:
    return Call.post("/v1/check", _asked(customer, feature, amount, scope))


def consume_call(
    customer: str,
    feature: str,
    amount: Amount,
    event_id: str,
    data: Mapping[str, Any],
    scope: Mapping[str, str] | None,
) -> Call:
    body = _asked(customer, feature, amount, scope)
    body["id"] = event_id
    if data:
        body["data"] = data
    return Call.post("/v1/consume", body)


def settle_call(settlement: Mapping[str, Any]) -> Call:
    """Settle a reservation; the same settlement has the same idempotency key."""
    reservation = settlement["reservation"]
    body: dict[str, Any] = {"amount": settlement["amount"]}
    if settlement["allow_overage"]:
        body["allow_overage"] = True
    path = f"/v1/reservations/{reservation}/settle"
    return Call.post(path, body, key=f"settle-{reservation}")


def customer_path(customer: str, rest: str) -> str:
    return f"/v1/customers/{quote(customer, safe='')}/{rest}"


def _asked(
    customer: str, feature: str, amount: Amount, scope: Mapping[str, str] | None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "customer": customer,
        "feature": feature,
        "amount": to_text(to_pico(amount)),
    }
    if scope:
        body["scope"] = dict(scope)
    return body
