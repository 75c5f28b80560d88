"""
What an operator does once: publish the catalogue, add the customer, subscribe it, grant credit.

All of it may be done again and again: the same request has the same effect.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import httpx

CUSTOMER = "visitor"
CREDIT = "tokens"
WELCOME = 150
TOP_UP = 100

_CATALOG = Path(__file__).with_name("catalog.json")


class Office:
    """Changes that need a key with more rights than the application's own."""

    def __init__(self) -> None:
        url = os.environ.get("TAXIMETER_URL", "http://127.0.0.1:8080")
        key = os.environ.get("TAXIMETER_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=10)

    def open(self) -> None:
        self._require_empty_or_ours()
        self._ask("PUT", "/v1/catalog", json.loads(_CATALOG.read_text()))
        self._ask("PUT", f"/v1/customers/{CUSTOMER}", {"name": "Visitor"})
        subscription = {"customer": CUSTOMER, "plan": "prepaid"}
        self._ask("POST", "/v1/subscriptions", subscription, accept="subscription_exists")
        self.grant("welcome", WELCOME)

    def _require_empty_or_ours(self) -> None:
        """This would replace somebody's catalogue."""
        try:
            answer = self._client.get("/v1/catalog")
        except httpx.HTTPError as error:
            raise SystemExit(f"There is no Taximeter at {self._client.base_url}: {error}") from None
        plans = answer.json().get("plans") or {} if answer.is_success else {}
        if plans and "prepaid" not in plans:
            raise SystemExit(
                f"The Taximeter at {self._client.base_url} has a catalogue already, which this "
                "example would replace. Start another one on an empty directory: "
                'make serve ARGS="--data /tmp/chat"'
            )

    def top_up(self) -> None:
        self.grant(f"top-up-{uuid.uuid4()}", TOP_UP)

    def grant(self, grant_id: str, amount: int) -> None:
        body = {"id": grant_id, "credit": CREDIT, "amount": str(amount)}
        self._ask("POST", f"/v1/customers/{CUSTOMER}/grants", body)

    def _ask(self, method: str, path: str, body: Any, accept: str = "") -> None:
        answer = self._client.request(method, path, json=body)
        if answer.is_error and answer.json().get("code") != accept:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
