"""
What the public API shows, and nothing else: pages of events, usage windows, checks, status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from benchmarks.processes import Server
from tests.crash.oracle_compare import Cell, Content, Identity, Observed, parse_event
from tests.crash.oracle_workload import CATALOG, alias, customers

_PAGE = 1000


def set_up(server: Server, base: datetime) -> tuple[datetime, datetime]:
    """Catalogue, customers and subscriptions; returns the billing period they are all in."""
    server.request("PUT", "/v1/catalog", CATALOG)
    period = None
    start = f"{base - timedelta(days=1):%Y-%m-%dT00:00:00Z}"
    for key in customers():
        server.request("PUT", f"/v1/customers/{key}", {"subjects": [alias(key)]})
        subscription = server.request(
            "POST",
            "/v1/subscriptions",
            {"customer": key, "plan": "pro", "start": start, "anchor": "calendar"},
        )
        period = subscription["period"]
    assert period is not None
    return datetime.fromisoformat(period["start"]), datetime.fromisoformat(period["end"])


def observe(server: Server, base: datetime, period: tuple[datetime, datetime]) -> Observed:
    return Observed(
        events=list(_events(server)),
        usage=dict(_usage(server, base)),
        used={key: _used(server, key) for key in customers()},
        period=period,
    )


def identity_holds(server: Server) -> list[str]:
    """
    Every object in the status document that counts received events but does not add up to it.
    """
    wrong = []
    for counts in _counts(_get(server, "/v1/status", {})):
        parts = [_first(counts, name) for name in ("accepted", "duplicate", "conflict", "rejected")]
        if None not in parts and sum(parts) != counts["received"]:
            wrong.append(str(counts))
    return wrong


def _first(counts: Mapping[str, Any], name: str) -> Any:
    return counts.get(name, counts.get(f"{name}s"))


def _counts(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, dict):
        if isinstance(document.get("received"), int):
            yield document
        for value in document.values():
            yield from _counts(value)


def _events(server: Server) -> Iterator[tuple[Identity, Content]]:
    query: dict[str, Any] = {"limit": _PAGE}
    while True:
        page = _get(server, "/v1/events", query)
        for item in page["items"]:
            yield parse_event(item["event"])
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


def _usage(server: Server, base: datetime) -> Iterator[tuple[Cell, Decimal]]:
    span = {
        "from": _instant(base - timedelta(days=120)),
        "to": _instant(base + timedelta(days=1)),
        "window": "none",
    }
    for meter in CATALOG["meters"]:
        path = f"/v1/meters/{meter}/usage"
        for item in _get(server, path, span)["items"]:
            yield (meter, None, None), Decimal(item["value"])
        for key in customers():
            for item in _get(server, path, span | {"customer": key})["items"]:
                yield (meter, key, None), Decimal(item["value"])
            grouped = span | {"customer": key, "group_by": "model"}
            for item in _get(server, path, grouped)["items"]:
                yield (meter, key, item["group"]["model"]), Decimal(item["value"])


def _used(server: Server, key: str) -> Decimal:
    answer = server.request("POST", "/v1/check", {"customer": key, "feature": "chat"})
    return Decimal(answer["used"])


def _get(server: Server, path: str, query: Mapping[str, Any]) -> Any:
    return server.request("GET", f"{path}?{urlencode(query)}")


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
