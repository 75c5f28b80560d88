"""
Following events live: each with its verdict, rejected ones with their reason.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

from tests.serving import serve


def test_the_stream_shows_every_verdict_and_why_an_item_was_rejected(tmp_path: Path) -> None:
    with serve(tmp_path, "--dev") as server:
        seen: list[dict[str, Any]] = []
        opened = threading.Event()

        def follow() -> None:
            with urllib.request.urlopen(f"{server.url}/v1/events/stream", timeout=60) as stream:
                opened.set()
                for line in stream:
                    if line.startswith(b"data: "):
                        seen.append(json.loads(line[6:]))
                        if len(seen) == 3:
                            return

        follower = threading.Thread(target=follow)
        follower.start()
        # The stream has begun when its headers are there; only then is anything sent.
        assert opened.wait(60)
        event = {"id": "1", "type": "t", "subject": "acme"}
        server.post("/v1/events", [event, event, {"id": "2", "type": "t"}])
        follower.join(60)
        assert not follower.is_alive()
    by_verdict = {item["verdict"]: item for item in seen}
    assert set(by_verdict) == {"accepted", "duplicate", "rejected"}
    assert by_verdict["accepted"]["seq"] == by_verdict["duplicate"]["seq"] == 1
    assert by_verdict["rejected"]["code"] == "invalid_event"
    assert by_verdict["rejected"]["event"] == {"id": "2"}


def test_a_customers_stream_shows_its_balance_as_it_falls(tmp_path: Path) -> None:
    catalog = {
        "meters": {"pages": {"event_type": "page", "aggregation": "count"}},
        "features": {"print": {"type": "metered", "meter": "pages"}},
        "plans": {
            "pro": {
                "currency": "USD",
                "entitlements": {"print": {"credit": "usd", "cost": 2}},
                "prices": {},
            }
        },
    }
    with serve(tmp_path, "--dev") as server:
        server.put("/v1/catalog", catalog)
        server.put("/v1/customers/acme", {})
        server.post("/v1/subscriptions", {"customer": "acme", "plan": "pro"})
        balances: list[str] = []
        opened = threading.Event()

        def follow() -> None:
            url = f"{server.url}/v1/customers/acme/stream"
            name = b""
            with urllib.request.urlopen(url, timeout=60) as stream:
                for line in stream:
                    if line.startswith(b"event: "):
                        name = line[7:].strip()
                    elif line.startswith(b"data: ") and name == b"balances":
                        opened.set()
                        items = json.loads(line[6:])["items"]
                        balances.append(items[0]["balance"] if items else "nothing")
                        if balances[-1] == "6":
                            return

        follower = threading.Thread(target=follow)
        follower.start()
        assert opened.wait(60)
        grant = {"id": "g1", "credit": "usd", "amount": 10}
        server.post("/v1/customers/acme/grants", grant)
        server.post("/v1/consume", {"customer": "acme", "feature": "print", "id": "c1"})
        server.post("/v1/events", {"id": "1", "type": "page", "subject": "acme"})
        follower.join(60)
        assert not follower.is_alive()
    assert balances[0] == "nothing"
    assert [one for one in balances if one in ("10", "8", "6")] == sorted(
        {"10", "8", "6"} & set(balances), key=float, reverse=True
    )
    assert balances[-1] == "6"
