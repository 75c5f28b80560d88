"""
A stage for end-to-end tests: one namespace of a running server, with the calls tests make most.

Many tests share a server, because starting one takes longer than most of them; each gets a
namespace of its own, so none sees what another did.
"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

from tests.serving import Reply, Served

_numbers = itertools.count(1)

CATALOG: dict[str, Any] = {
    "meters": {
        "tokens": {
            "event_type": "llm.request",
            "aggregation": "sum",
            "value": "data.tokens",
            "dimensions": {"model": "data.model"},
        },
        "requests": {"event_type": "llm.request", "aggregation": "count"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "calls": {"type": "metered", "meter": "requests"},
        "export": {"type": "boolean"},
        "seats": {"type": "static", "value_type": "integer"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"limit": 1000, "enforcement": "hard", "reset": "period"},
                "export": True,
                "seats": 5,
            },
            "prices": {"tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"}},
        }
    },
}


def event(event_id: str, tokens: Any = 1, **members: Any) -> dict[str, Any]:
    """One usage event of acme, with whatever is to be different."""
    base = {"id": event_id, "type": "llm.request", "subject": "acme", "data": {"tokens": tokens}}
    return base | members


class Scene:
    """One namespace. Methods answer the JSON and fail on any status but the expected one."""

    def __init__(self, server: Served, *, namespace: str | None = None) -> None:
        self.server = server
        self.namespace = namespace or f"scene-{next(_numbers)}"
        self.key = self.new_key("admin")

    def new_key(self, *scopes: str) -> str:
        body = {"name": "test", "scopes": list(scopes), "namespace": self.namespace}
        reply = self.server.post("/v1/keys", body)
        assert reply.status == 201, reply.text
        return str(reply.json()["secret"])

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        status: int = 200,
        key: str | None = None,
        timeout_s: float = 30.0,
        **query: Any,
    ) -> Any:
        reply = self.raw(method, path, body, headers, key=key, timeout_s=timeout_s, **query)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.text}"
        return reply.json() if reply.body else None

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = None,
        timeout_s: float = 30.0,
        **query: Any,
    ) -> Reply:
        pairs = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(pairs)}" if pairs else path
        return self.server.request(
            method, target, body, headers, key=self.key if key is None else key, timeout_s=timeout_s
        )

    # --- what tests do all the time ---

    def publish(self, document: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("PUT", "/v1/catalog", document or CATALOG)
        return answer

    def customer(self, key: str = "acme", **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("PUT", f"/v1/customers/{key}", body)
        return answer

    def subscribe(self, customer: str = "acme", plan: str = "pro", **body: Any) -> dict[str, Any]:
        body = {"customer": customer, "plan": plan, **body}
        answer: dict[str, Any] = self.ask("POST", "/v1/subscriptions", body, status=201)
        return answer

    def open(self, document: dict[str, Any] | None = None, **subscription: Any) -> Scene:
        """A catalogue, the customer acme, and its subscription."""
        self.publish(document)
        self.customer()
        self.subscribe(**subscription)
        return self

    def send(self, events: Any, *, status: int = 200, **query: Any) -> Any:
        return self.ask("POST", "/v1/events", events, status=status, **query)

    def used(self, meter: str = "tokens", **query: Any) -> str:
        """The one value of a meter over a whole span, by default the running month."""
        (item,) = self.usage(meter, **query)["items"]
        return str(item["value"])

    def usage(self, meter: str = "tokens", **query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"/v1/meters/{meter}/usage", **query)
        return answer

    def check(
        self, feature: str = "chat", amount: Any = 0, customer: str = "acme"
    ) -> dict[str, Any]:
        body = {"customer": customer, "feature": feature, "amount": amount}
        answer: dict[str, Any] = self.ask("POST", "/v1/check", body)
        return answer

    def consume(self, event_id: str, amount: Any = 1, **members: Any) -> dict[str, Any]:
        body = {"customer": "acme", "feature": "chat", "amount": amount, "id": event_id, **members}
        answer: dict[str, Any] = self.ask("POST", "/v1/consume", body)
        return answer

    def preview(self, customer: str = "acme", **query: Any) -> dict[str, Any]:
        path = f"/v1/customers/{customer}/invoices/preview"
        answer: dict[str, Any] = self.ask("GET", path, **query)
        return answer

    def set_clock(self, now: str) -> None:
        self.ask("POST", "/v1/clock", {"now": now})

    def close(self, as_of: str | None = None) -> list[dict[str, Any]]:
        """Close, and read the drafts that this made, oldest period first."""
        answer = self.ask("POST", "/v1/close", {} if as_of is None else {"as_of": as_of})
        return [self.invoice(invoice) for invoice in answer["invoices"]]

    def invoice(self, invoice_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"/v1/invoices/{invoice_id}")
        return answer

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", "/v1/status")
        return answer


def same_but(a: dict[str, Any], b: dict[str, Any], *names: str) -> bool:
    """Whether two answers are equal beside some members."""
    return {k: v for k, v in a.items() if k not in names} == {
        k: v for k, v in b.items() if k not in names
    }
