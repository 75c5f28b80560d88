"""Reminders of what is overdue: each step once, also after the node was off."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.integration.scene import Scene
from tests.serving import serve

CATALOG: dict[str, Any] = {
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "prices": {"base": {"type": "flat", "amount": 100, "timing": "advance"}},
        }
    }
}


def told(scene: Scene, count: int) -> list[tuple[str, int, int]]:
    """(number, step, days overdue) of the reminders, oldest first, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        items = scene.ask("GET", "/v1/notices", type="invoice.overdue")["items"]
        if len(items) >= count or time.monotonic() > deadline:
            data = [one["data"] for one in reversed(items)]
            return [(one["number"], one["step"], one["days_overdue"]) for one in data]
        time.sleep(0.05)


def test_each_reminder_is_told_once_also_after_a_time_off(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server, namespace="default")
        settings = {"due_days": 10, "dunning_days": [1, 7, 30]}
        scene.ask("PUT", "/v1/billing/settings", settings)
        scene.set_clock("2026-10-01T00:00:00Z")
        scene.open(CATALOG, start="2026-09-01T00:00:00Z")
        (first,) = scene.close()
        scene.ask("POST", f"/v1/invoices/{first['id']}/finalize")
        scene.set_clock("2026-10-12T00:00:00Z")
        assert told(scene, 1) == [("INV-000001", 1, 2)]
        scene.set_clock("2026-11-01T00:00:00Z")  # the second step is over while this is done
        (second,) = scene.close()
        scene.ask("POST", f"/v1/invoices/{second['id']}/finalize")
        assert told(scene, 2)[1:] == [("INV-000001", 2, 22)]
    with serve(tmp_path, "--sandbox") as server:
        scene.server, scene.key = server, server.key
        scene.set_clock("2026-11-25T00:00:00Z")
        # The third of the first invoice was awaited since 10 November, before both of the second.
        assert told(scene, 5)[2:] == [
            ("INV-000001", 3, 46), ("INV-000002", 1, 15), ("INV-000002", 2, 15),
        ]  # fmt: skip
        body = {"id": "p1", "customer": "acme", "amount": "200.00", "currency": "USD"}
        scene.ask("POST", "/v1/payments", body, status=201)
        scene.set_clock("2027-01-25T00:00:00Z")
        time.sleep(1.2)  # longer than it takes to look once more
        assert len(told(scene, 5)) == 5
