"""`taximeter export`: all of it, once, with digests, also when it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.integration.scene import Scene, event
from tests.integration.test_replay import populate
from tests.serving import Served, serve

from taximeter.adapters.cli import export as command
from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("export"), "--sandbox") as running:
        yield running


@pytest.fixture(scope="module")
def scene(server: Served) -> Scene:
    scene = populate(server)
    scene.ask("PUT", "/v1/billing/settings", {"due_days": 10})
    scene.ask("PUT", "/v1/coupons/WELCOME", {"percent": 10})
    scene.ask("POST", "/v1/customers/acme/discounts", {"coupon": "WELCOME"}, status=201)
    payment = {"id": "wire-1", "customer": "acme", "amount": "1", "currency": "USD"}
    scene.ask("POST", "/v1/payments", payment, status=201)
    (invoice,) = scene.ask("GET", "/v1/invoices", customer="bolt")["items"]
    note = {"reason": "an outage", "amount": "1"}
    scene.ask("POST", f"/v1/invoices/{invoice['id']}/credit-notes", note, status=201)
    return scene


@pytest.fixture
def export(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Any:
    """Run the command against the scene; gives its JSON, or its exit code where that is not 0."""
    monkeypatch.setenv("TAXIMETER_URL", scene.server.url)
    monkeypatch.setenv("TAXIMETER_KEY", scene.key)
    monkeypatch.setattr(command, "EVENTS_A_FILE", 10)
    monkeypatch.setattr(command, "PAGE", 4)

    def run(*words: str) -> Any:
        capsys.readouterr()
        code = main(["export", *words, "--json"])
        return json.loads(capsys.readouterr().out) if code == 0 else code

    return run


def lines(directory: Path, pattern: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted(directory.glob(pattern))
        for line in file.read_text().splitlines()
    ]


def test_everything_is_exported_once_and_in_order(
    scene: Scene, export: Any, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    manifest = export(str(place))
    events = lines(place, "events/*.jsonl")
    everything = scene.ask("GET", "/v1/events", limit=1000)["items"]
    assert [one["taximeterposition"] for one in events] == [
        one["position"] for one in reversed(everything)
    ]
    assert len(list((place / "events").iterdir())) > 3
    by_id = {one["id"]: one for one in events}
    assert by_id["bolt7"]["data"] == {"tokens": 7}
    assert by_id["bolt7"]["specversion"] == "1.0"
    assert "taximeterretractedat" in by_id["acme9"]
    assert len(lines(place, "retractions.jsonl")) == 2
    assert {one["key"] for one in lines(place, "customers.jsonl")} == {"acme", "bolt"}
    invoices = {one["id"]: one for one in lines(place, "invoices.jsonl")}
    assert len(invoices) == 2
    for invoice in invoices.values():
        assert scene.invoice(invoice["id"]) == invoice
    assert len(lines(place, "ledger.jsonl")) == 2
    assert lines(place, "journal.jsonl")
    versions = lines(place, "catalog.jsonl")
    assert [one["version"] for one in versions] == list(range(1, len(versions) + 1))
    assert versions[-1]["document"] == scene.ask("GET", "/v1/catalog")
    assert {one["id"] for one in lines(place, "payments.jsonl")} == {"wire-1"}
    assert [one["reason"] for one in lines(place, "credit_notes.jsonl")] == ["an outage"]
    (settings,) = lines(place, "billing_settings.jsonl")
    assert settings["document"]["due_days"] == 10
    for name in ("coupons", "discounts"):
        assert len(lines(place, f"{name}.jsonl")) == 1
    assert lines(place, "late_usage.jsonl")
    assert manifest["files"]["customers.jsonl"]["items"] == 2
    assert export(str(place), "--check") == {
        "ok": True, "files": len(manifest["files"]), "differences": [],
    }  # fmt: skip


def test_run_again_it_adds_what_is_new(scene: Scene, export: Any, tmp_path: Path) -> None:
    place = tmp_path / "out"
    before = export(str(place))
    scene.send([event("new1", 1), event("new2", 2)])
    after = export(str(place))
    fresh = after["files"].keys() - before["files"].keys()
    assert len(fresh) == 1
    assert [one["id"] for one in lines(place, next(iter(fresh)))] == ["new1", "new2"]
    assert {name: after["files"][name] for name in before["files"] if "events" in name} == {
        name: kept for name, kept in before["files"].items() if "events" in name
    }


def test_an_interrupted_export_goes_on_where_it_was(
    scene: Scene, export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, place = tmp_path / "whole", tmp_path / "out"
    export(str(whole))
    write, written = command._write, 0

    def failing(*arguments: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise RuntimeError("killed")
        write(*arguments)

    monkeypatch.setattr(command, "_write", failing)
    with pytest.raises(RuntimeError):
        export(str(place))
    assert len(list((place / "events").iterdir())) == 2
    monkeypatch.setattr(command, "_write", write)
    resumed = export(str(place))
    assert lines(place, "events/*.jsonl") == lines(whole, "events/*.jsonl")
    assert resumed["cursor"] is None


def test_a_file_that_was_changed_is_named(export: Any, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "out"
    export(str(place))
    (place / "ledger.jsonl").write_text("{}\n")
    (place / "customers.jsonl").unlink()
    assert export(str(place), "--check") == 1
    assert main(["export", str(place), "--check"]) == 1
    assert "ledger.jsonl is not as it was exported." in capsys.readouterr().out


def test_events_as_parquet_keep_their_data_exactly(
    scene: Scene, export: Any, tmp_path: Path
) -> None:
    exact = "0.1000000000000000055511151231257827"
    body = f'{{"id":"x","type":"llm.request","subject":"z","data":{{"x":{exact}}}}}'
    scene.send(body.encode())
    place = tmp_path / "out"
    export(str(place), "--format", "parquet")
    (data,) = duckdb.execute(
        f"SELECT data FROM '{place}/events/*.parquet' WHERE id = 'x'"
    ).fetchone() or ("",)
    assert data == f'{{"x":{exact}}}'


def test_an_export_keeps_to_its_own_directory(export: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert export(str(tmp_path / "mine")) == 2
    (tmp_path / "mine" / "manifest.json").write_text("[]")
    assert export(str(tmp_path / "mine")) == 2
