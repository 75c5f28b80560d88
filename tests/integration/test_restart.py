"""
What was acknowledged survives any end, and comes back the same by every way.

Many more orders of lives are tried, without a server, in property/test_live_recovery.py.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

from taximeter.adapters.snapshots import SnapshotFiles
from taximeter.live.snapshot import FORMAT, Snapshot, decode, encode

NOW = "2026-11-20T12:00:00Z"
AGGREGATIONS = {
    name: {
        "event_type": "llm.request",
        "aggregation": name,
        "value": "data.tokens",
        "dimensions": {"model": "data.model"},
    }
    for name in ("max", "min", "avg", "unique", "last")
}
EVERYTHING = {
    **CATALOG,
    "meters": {**CATALOG["meters"], **AGGREGATIONS},
    "plans": {
        "pro": {
            **CATALOG["plans"]["pro"],
            "prices": {
                "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"},
                "models": {
                    "type": "per_unit",
                    "meter": "requests",
                    "unit": 1,
                    "filter": 'data.model != "m0"',
                },
                "groups": {
                    "type": "per_unit",
                    "meter": "tokens",
                    "unit": "0.5",
                    "group_by": ["model"],
                },
            },
        }
    },
}


def kill(server: Served) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def newest_snapshot(server: Served) -> Snapshot:
    (newest, *_) = SnapshotFiles(server.data / "live").newest_first()
    found = decode(newest)
    assert found is not None
    return found


def wait_for_snapshot(server: Served, position: int) -> None:
    """The node writes one soon after anything was configured."""
    deadline = time.monotonic() + 60
    while not any(int(p.stem) >= position for p in (server.data / "live").glob("*.snap")):
        assert time.monotonic() < deadline, "no snapshot was written"
        time.sleep(0.02)


def observe(scene: Scene) -> dict[str, Any]:
    """Everything that can be asked for, without when it was asked."""
    status = scene.status()
    meters = [meter["key"] for meter in scene.ask("GET", "/v1/meters")["items"]]
    span = {"from_": "2026-09-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
    customers = [one["key"] for one in scene.ask("GET", "/v1/customers")["items"]]
    found: dict[str, Any] = {
        name: status[name] for name in ("events", "unmatched", "catalog", "customers", "log")
    }
    found["log"] = {name: found["log"][name] for name in ("position", "chain")}
    for meter in meters:
        groups = {"group_by": "model"} if meter != "requests" else {}
        found[meter] = scene.usage(meter, window="month", **groups, **span)["items"]
    for customer in customers:
        entitled = scene.ask("GET", f"/v1/customers/{customer}/entitlements")["items"]
        preview = scene.raw("GET", f"/v1/customers/{customer}/invoices/preview").json()
        preview.pop("as_of", None)
        preview.pop("request_id", None)
        found[f"customer {customer}"] = entitled, preview
    found["newest"] = scene.ask("GET", "/v1/events", limit=50)["items"]
    found["letters"] = scene.ask("GET", "/v1/dead-letters")["items"]
    found["invoices"] = scene.ask("GET", "/v1/invoices")["items"]
    found["subscriptions"] = scene.ask("GET", "/v1/subscriptions")["items"]
    return found


def traffic(scene: Scene, rng: random.Random, count: int) -> None:
    """A bit of everything: late, repeated, in conflict, rejected, unmatched, of no meter."""
    events = [
        event(
            str(rng.randrange(10 * count)),
            rng.choice([1, 2, "0.5", -3, "many", 10**9]),
            time=f"2026-{rng.randrange(9, 12):02}-{rng.randrange(1, 20):02}T0{n % 10}:00:00Z",
            subject=rng.choice(["acme", "u1", "u2", "u3", "other", "stranger"]),
            type=rng.choice(["llm.request"] * 4 + ["noise"]),
        )
        for n in range(count)
    ]
    for one in events:
        if rng.random() < 0.7:
            one["data"]["model"] = f"m{rng.randrange(3)}"
    for start in range(0, count, 50):
        scene.send(events[start : start + 50])
    scene.send(events[:5])  # nothing new: an entry that accepts no event


class Stages:
    """One data directory through several lives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys: dict[str, Scene] = {}

    def serve(self, *, from_nothing: bool = False) -> Any:
        return serve(self.root, "--sandbox", from_nothing=from_nothing)

    def scene(self, server: Served, namespace: str) -> Scene:
        scene = self.keys.get(namespace)
        if scene is None:
            scene = self.keys[namespace] = Scene(server, namespace=namespace)
        scene.server = server
        scene.set_clock(NOW)
        return scene


def first_life(stages: Stages, server: Served) -> None:
    scene = stages.scene(server, "one")
    scene.publish(EVERYTHING)
    scene.customer(subjects=["u1", "u2"], timezone="America/New_York")
    scene.customer("other")
    scene.subscribe(start="2026-09-15T07:30:00Z")
    traffic(scene, random.Random(1), 300)
    scene.close()
    second = stages.scene(server, "two")
    second.open(start="2026-11-01T00:00:00Z")
    traffic(second, random.Random(2), 100)


def second_life(stages: Stages, server: Served) -> None:
    """After the snapshot: subjects change hands, and entries end the log that accept nothing."""
    scene = stages.scene(server, "one")
    traffic(scene, random.Random(3), 200)
    scene.customer(subjects=["u1", "u3"], timezone="America/New_York")
    scene.consume("c1", "2.25")
    scene.subscribe("other", start="2026-10-01T00:00:00Z", anchor="anniversary")
    traffic(scene, random.Random(3), 200)
    for namespace in ("one", "two"):
        stages.scene(server, namespace).send(event("x", 1))
        for _ in range(3):
            stages.scene(server, namespace).send(event("x", 1))


def test_state_is_the_same_after_every_kind_of_end_and_by_every_way_back(tmp_path: Path) -> None:
    stages = Stages(tmp_path)

    def look(server: Served) -> dict[str, Any]:
        return {name: observe(stages.scene(server, name)) for name in ("one", "two")}

    with stages.serve() as server:
        first_life(stages, server)
        position = int(stages.scene(server, "one").status()["log"]["position"][2:])
        wait_for_snapshot(server, position)
        second_life(stages, server)
        before = look(server)
        kill(server)
    assert before["one"]["unmatched"]["subjects"] == 2
    assert before["one"]["events"]["balanced"]
    assert all(count for name, count in before["one"]["events"].items())

    for _ in range(2):
        with stages.serve() as server:
            assert look(server) == before, "after a kill"
            kill(server)
    with stages.serve() as server:
        assert look(server) == before, "after two more kills"
    from_snapshot_and_tail = newest_snapshot(server)
    with stages.serve() as server:
        assert look(server) == before, "after a clean stop"

    rebuilt = Stages(tmp_path / "rebuilt")
    shutil.copytree(tmp_path / "data", rebuilt.root / "data")
    rebuilt.keys = stages.keys
    shutil.rmtree(rebuilt.root / "data" / "live")
    shutil.rmtree(rebuilt.root / "data" / "events")
    for file in (rebuilt.root / "data" / "identity").glob("*.ids"):
        file.unlink()
    # Another interpreter, another order of every set.
    with rebuilt.serve(from_nothing=True) as server:
        assert {n: observe(rebuilt.scene(server, n)) for n in ("one", "two")} == before
        again = rebuilt.scene(server, "one").send(event("x", 1))
        assert again["duplicates"] == 1, "identities are rebuilt, too"
    from_zero = newest_snapshot(server)
    for snapshot in (from_snapshot_and_tail, from_zero):
        # The repeat just sent is in the counts of one of them only.
        for namespace in snapshot.namespaces.values():
            namespace.counts.clear()
    parts = [
        encode(Snapshot(FORMAT, one.position, 0, one.namespaces))
        for one in (from_snapshot_and_tail, from_zero)
    ]
    assert parts[0] == parts[1]
    assert len(parts[0]) > 1000


def test_a_damaged_snapshot_is_passed_over(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    with stages.serve() as server:
        scene = stages.scene(server, "one").open(start="2026-11-01T00:00:00Z")
        traffic(scene, random.Random(4), 100)
        before = observe(scene)
    for file in (server.data / "live").glob("*.snap"):
        blob = file.read_bytes()
        content = zstandard.decompress(blob[40:])
        wrong = content.replace(b'"accepted":', b'"accepted":1')
        assert wrong != content
        file.write_bytes(blob[:40] + zstandard.compress(wrong))
    with stages.serve() as server:
        assert observe(stages.scene(server, "one")) == before


def test_keys_and_their_namespaces_survive(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server, namespace="quiet")
        revoked = scene.ask("GET", "/v1/keys")["items"][0]["id"]
        other = scene.new_key("read")
        kill(server)
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.status()["namespace"] == "quiet"
        scene.ask("POST", f"/v1/keys/{revoked}/revoke")
        assert scene.raw("GET", "/v1/status").status == 401
        assert scene.raw("GET", "/v1/status", key=other).status == 200
        kill(server)
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.raw("GET", "/v1/status").status == 401
        assert server.get("/v1/status").status == 200, "the owner's key"


def test_a_second_node_on_the_same_data_refuses_to_start(tmp_path: Path) -> None:
    with serve(tmp_path), pytest.raises(AssertionError) as caught, serve(tmp_path):
        pass
    assert "Another process uses" in str(caught.value)
