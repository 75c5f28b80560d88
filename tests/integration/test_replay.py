"""Everything follows from the log: worked out again it has the same bytes, or replay says where."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

from taximeter.adapters.cli import main
from taximeter.adapters.snapshots import SnapshotFiles
from taximeter.live.snapshot import decode, encode

Capture = pytest.CaptureFixture[str]


def populate(server: Served) -> Scene:
    """Something of everything that the log remembers, and a month that is billed."""
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    document = json.loads(json.dumps(CATALOG))
    document["meters"]["peak"] = {
        "event_type": "llm.request", "aggregation": "max", "value": "data.tokens",
    }  # fmt: skip
    document["plans"]["pro"]["prices"]["peak"] = {"type": "per_unit", "meter": "peak", "unit": 1}
    scene.publish(document)
    for key in ("acme", "bolt"):
        scene.customer(key, subjects=[f"{key}-user"])
        scene.subscribe(key, start="2026-10-01T00:00:00Z")
    scene.ask("PUT", "/v1/customers/acme/budgets/b1", {"feature": "chat", "limit": 5000})
    scene.send(
        [
            event(f"{subject}{n}", n, subject=subject, time=f"2026-1{n % 2}-1{n % 9}T00:00:00Z")
            for subject in ("acme", "bolt", "acme-user", "stranger")
            for n in range(1, 10)
        ]
    )
    scene.send([event("acme1", 1), event("bad", "many")])
    scene.consume("c1", 3)
    grant = {"id": "g1", "credit": "usd", "amount": 10}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    scene.ask("POST", "/v1/customers/acme/grants", grant | {"id": "g2"}, status=201)
    hold = {"customer": "acme", "feature": "chat", "amount": 5, "ttl_s": 600, "id": "r1"}
    scene.ask("POST", "/v1/reservations", hold, status=201)
    for invoice in scene.close("2026-11-01T00:00:00Z"):
        scene.ask("POST", f"/v1/invoices/{invoice['id']}/finalize")
    for n in (8, 9):
        retract = {"source": "", "id": f"acme{n}", "reason": "a test"}
        scene.ask("POST", "/v1/events/retract", retract)
    return scene


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """The data directory of a node that has stopped."""
    place = tmp_path_factory.mktemp("replay")
    with serve(place, "--sandbox") as server:
        scene = populate(server)
    return place / "data", scene


def replay(data: Path, capsys: Capture) -> tuple[int, dict[str, Any]]:
    code = main(["replay", "--data", str(data), "--json"])
    captured = capsys.readouterr()
    assert captured.out, captured.err
    found: dict[str, Any] = json.loads(captured.out)
    return code, {one["what"]: one for one in found["compared"]}


def test_a_node_that_has_stopped_is_what_its_log_makes(
    stopped: tuple[Path, Scene], capsys: Capture
) -> None:
    data, _ = stopped
    code, found = replay(data, capsys)
    assert [one["differences"] for one in found.values()] == [[], [], []]
    assert code == 0
    assert found["live state"]["count"] == 2
    assert found["ledger"]["count"] == 2
    assert found["invoices"]["count"] == 2
    again, same = replay(data, capsys)
    assert (again, same) == (0, found), "the digests are those of the contents"


def test_a_running_node_is_replayed_without_disturbing_it(tmp_path: Path, capsys: Capture) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = populate(server)
        code, found = replay(tmp_path / "data", capsys)
        assert code == 0, found
        assert found["invoices"]["count"] == 2
        assert scene.status()["ready"] is True
        assert main(["replay", "--data", str(tmp_path / "data")]) == 0
        assert "invoices: 2 at 0:" in capsys.readouterr().out


def test_what_was_damaged_is_named(stopped: tuple[Path, Scene], capsys: Capture) -> None:
    data, scene = stopped
    name = scene.namespace
    snapshots = SnapshotFiles(data / "live")
    good = next(snapshots.newest_first())
    snapshot = decode(good)
    assert snapshot is not None
    account = snapshot.namespaces[name].accounts["bolt"]
    account.lanes[0][0][2][0][0] += 1
    snapshots.write(snapshot.position, encode(snapshot))
    with sqlite3.connect(data / "ledger.db") as ledger:
        ledger.execute("DROP TRIGGER transactions_are_kept")
        ledger.execute("DELETE FROM transactions WHERE ordinal = 2")
    with sqlite3.connect(data / "books.db") as books:
        books.execute("DROP TRIGGER invoices_are_final_once_issued")
        ((invoice, document),) = books.execute(
            "SELECT id, document FROM invoices WHERE customer = 'acme'"
        ).fetchall()
        altered = bytes(document).replace(b'"unit":"0.01"', b'"unit":"0.02"', 1)
        assert altered != bytes(document)
        books.execute("UPDATE invoices SET document = ? WHERE id = ?", (altered, invoice))
    code, found = replay(data, capsys)
    assert code == 1
    assert found["live state"]["differences"] == [f"{name}: counters of bolt"]
    assert found["ledger"]["differences"] == [f"{name}: transaction 2 of acme in usd"]
    (wrong,) = found["invoices"]["differences"]
    assert wrong == f"{name}: {msgspec.json.decode(document)['number']}"
    assert main(["replay", "--data", str(data)]) == 1
    assert "NOT the same" in capsys.readouterr().out


def test_replay_needs_a_data_directory_and_an_empty_scratch(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert main(["replay"]) == 2
    assert main(["replay", "--data", str(tmp_path)]) == 2
    assert main(["replay", "--data", str(tmp_path), "--scratch", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "full" / "file").read_text() == "mine"
