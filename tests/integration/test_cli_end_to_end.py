"""The commands against a real server: what they print, and how they end."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

from taximeter.adapters.cli import main


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("cli"), "--sandbox", from_nothing=True) as running:
        yield running


class Terminal:
    """Runs commands in this process against one namespace."""

    def __init__(self, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
        self.scene = scene
        self.errors = ""
        self._capsys = capsys

    def run(self, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        ended = main([*words, "--url", self.scene.server.url])
        printed = self._capsys.readouterr()
        self.errors = printed.err
        assert ended == code, f"{words} ended with {ended}: {printed.out}{printed.err}"
        return printed.out

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))


@pytest.fixture
def terminal(
    server: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Terminal:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAXIMETER_KEY", scene.key)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Terminal(scene, capsys)


def write_catalog(path: Path, **limits: int) -> str:
    document = json.loads(json.dumps(CATALOG))
    for feature, limit in limits.items():
        document["plans"]["pro"]["entitlements"][feature]["limit"] = limit
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_diff_shows_apply_does_and_then_there_is_no_difference(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = write_catalog(tmp_path / "catalog.yaml")
    planned = terminal.json("diff", file, code=1)
    assert {change["kind"] for change in planned["changes"]} == {"added"}
    assert planned["version"] == 0
    applied = terminal.json("apply", file)
    assert (applied["version"], applied["changes"]) == (1, planned["changes"])
    assert terminal.json("diff", file)["changes"] == []
    assert terminal.json("apply", file)["version"] == 1
    file = write_catalog(tmp_path / "catalog.yaml", chat=5)
    shown = terminal.run("diff", file, code=1)
    assert "plans.pro.entitlements.chat" in shown
    assert "1000" in shown
    assert "version 2" in terminal.run("apply", file, "--yes")
    assert terminal.scene.ask("GET", "/v1/catalog")["plans"]["pro"]["entitlements"]["chat"][
        "limit"
    ] in (5, "5")


def test_a_catalogue_comes_from_a_pipe_too(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(write_catalog(tmp_path / "catalog.yaml"))
    stdin = io.TextIOWrapper(io.BytesIO(file.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert terminal.json("apply", "-")["version"] == 1


def test_a_wrong_catalogue_names_every_problem(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("meters: {a: {event_type: 1}}\nplan: {}\n")
    terminal.run("apply", str(tmp_path / "wrong.yaml"), code=2)
    assert "meters.a" in terminal.errors
    assert "plan" in terminal.errors
    terminal.run("apply", str(tmp_path / "missing.yaml"), code=2)
    assert "cannot be read" in terminal.errors


def test_usage_is_shown_by_window_and_group(terminal: Terminal) -> None:
    scene = terminal.scene.open(start="2026-11-01T00:00:00Z")
    scene.send(
        [
            event("1", time="2026-11-02T10:00:00Z", data={"tokens": 5, "model": "opus"}),
            event("2", time="2026-11-02T11:00:00Z", data={"tokens": "2.5", "model": "haiku"}),
            event("3", time="2026-11-03T10:00:00Z", data={"tokens": 1, "model": "opus"}),
        ]
    )
    days = terminal.json("usage", "tokens", "--from", "2026-11-01", "--to", "2026-12-01")["items"]
    assert [(item["start"][:10], item["value"]) for item in days] == [
        ("2026-11-02", "7.5"), ("2026-11-03", "1"),
    ]  # fmt: skip
    command = ("usage", "tokens", "--from", "2026-11-02T10:30:00Z", "--to", "2026-11-03")
    assert terminal.json(*command, "--window", "none")["items"][0]["value"] == "2.5"
    command = ("usage", "tokens", "--from", "2026-11-01", "--to", "2026-12-01")
    grouped = terminal.json(*command, "--window", "none", "--group-by", "model")["items"]
    assert {item["group"]["model"]: item["value"] for item in grouped} == {
        "haiku": "2.5", "opus": "6",
    }  # fmt: skip
    shown = terminal.run(*command, "--customer", "acme")
    assert "8.5" in shown
    terminal.run("usage", "nothing", code=2)
    assert "nothing" in terminal.errors
    terminal.run("usage", code=2)
    terminal.run("usage", "tokens", "--colour", "red", code=2)


def test_check_exits_1_for_a_refusal(terminal: Terminal) -> None:
    terminal.scene.open()
    answer = terminal.json("check", "acme", "chat", "1000")
    assert (answer["allowed"], answer["reason"]) == (True, "within_limit")
    refused = terminal.json("check", "acme", "chat", "1000.5", code=1)
    assert (refused["allowed"], refused["reason"]) == (False, "limit_reached")
    assert "refused" in terminal.run("check", "nobody", "chat", code=1)
    assert "allowed" in terminal.run("check", "acme", "export")


def test_tail_follows_until_it_has_seen_enough(terminal: Terminal) -> None:
    scene = terminal.scene.open()
    stopped = threading.Event()

    def send() -> None:
        number = 0
        while not stopped.wait(0.02):
            number += 1
            scene.send([event(str(number)), event("other", subject="stranger"), event("x", "no")])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        lines = terminal.run("tail", "--customer", "acme", "-n", "3", "--json").splitlines()
        seen = [json.loads(line) for line in lines]
        assert [(one["verdict"], one["customer"]) for one in seen] == [("accepted", "acme")] * 3
        numbers = [int(one["event"]["id"]) for one in seen]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        assert "stranger (unmatched)" in terminal.run("tail", "-n", "3")
    finally:
        stopped.set()
        sender.join()


def test_from_close_to_explanation(terminal: Terminal) -> None:
    scene = terminal.scene.open(start="2026-10-01T00:00:00Z")
    scene.send([event(str(n), n, time="2026-10-05T10:00:00Z") for n in range(1, 5)])
    closed = terminal.json("close", "--as-of", "2026-11-01T00:00:00Z")
    (invoice_id,) = closed["invoices"]
    assert terminal.json("close")["invoices"] == []
    assert "0 new draft invoices" in terminal.run("close")
    terminal.run("close", "--as-of", "2027-01-01T00:00:00Z", code=2)
    assert "future" in terminal.errors

    listed = terminal.json("invoices", "--customer", "acme")["items"]
    assert [one["id"] for one in listed] == [invoice_id]
    assert terminal.json("invoices", "--status", "issued")["items"] == []
    scene.ask("POST", f"/v1/invoices/{invoice_id}/finalize")
    by_number = terminal.json("invoices", "INV-000001")
    assert (by_number["id"], by_number["total"]) == (invoice_id, "0.10")
    assert "0.10 USD" in terminal.run("invoices", invoice_id)
    terminal.run("invoices", "INV-999999", code=2)

    explained = terminal.json("explain", "INV-000001", "line_1", "-n", "2")
    assert explained["verify"]["ok"] is True
    assert [one["event"]["id"] for one in explained["events"]] == ["1", "2"]
    shown = terminal.run("explain", invoice_id, "line_1")
    assert "Recounted from the events: the same." in shown
    assert "10 x 0.01 = 0.10" in shown
    assert [one["amount"] for one in explained["rated"]] == ["0.01", "0.02"]
    terminal.run("explain", invoice_id, "line_9", code=2)
    back = terminal.json("explain", "1")
    assert [one["line"]["id"] for one in back["billed"]] == ["line_1"]
    assert "invoice INV-000001" in terminal.run("explain", "1")


def test_keys_are_made_listed_and_revoked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = terminal.json("keys", "create", "gateway", "--scope", "ingest", "--scope", "check")
    assert made["scopes"] == ["ingest", "check"]
    secret = terminal.run("keys", "create", "short", "--scope", "read", "--expires", "1d").strip()
    assert secret.startswith("tm_")
    listed = terminal.json("keys", "list")
    assert {key["name"] for key in listed["items"]} == {"test", "gateway", "short"}
    assert made["secret"] not in json.dumps(listed)
    assert made["secret"] not in terminal.run("keys", "list")
    assert terminal.json("keys", "revoke", made["id"])["revoked_at"]
    assert terminal.scene.raw("GET", "/v1/status", key=made["secret"]).status == 401
    terminal.run("keys", "revoke", "key_nobody", code=2)
    terminal.run("keys", "create", "x", "--scope", "everything", code=2)
    monkeypatch.setenv("TAXIMETER_KEY", secret)
    terminal.run("keys", "list", code=2)
    assert "insufficient_scope" in terminal.errors


def test_a_file_of_events_is_loaded_and_its_faults_are_told(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.scene.open()
    lines = [event("1", 5), event("2", 7), event("2", 8), event("3", "many")]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = terminal.json("ingest", "events.jsonl", code=1)
    counts = [report[n] for n in ("received", "accepted", "duplicates", "conflicts", "rejected")]
    assert counts == [4, 2, 0, 1, 1]
    assert terminal.scene.used() == "12"
    again = terminal.json("ingest", "events.jsonl", "--from-start", code=1)
    assert (again["accepted"], again["duplicates"]) == (0, 2)


def test_doctor_finds_a_healthy_server_well_and_a_damaged_directory_ill(
    terminal: Terminal, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.scene.open()
    terminal.scene.send([event("1"), event("1"), event("2", "no")])
    healthy = terminal.json("doctor")
    assert healthy["ok"] is True
    accounting = next(one for one in healthy["checks"] if one["check"] == "accounting")
    assert accounting["detail"].endswith("= 3 received")

    copy = tmp_path / "copy"
    shutil.copytree(server.data, copy)

    def states() -> dict[str, str]:
        main(["doctor", "--data", str(copy), "--json"])
        found = json.loads(terminal._capsys.readouterr().out)["checks"]
        return {one["check"]: one["state"] for one in found if one["check"] in ("books", "log")}

    terminal._capsys.readouterr()
    assert states() == {"books": "ok", "log": "ok"}
    (segment,) = (copy / "log").glob("*.seg")
    blob = bytearray(segment.read_bytes())
    blob[blob.index(b'"subject": "acme"')] ^= 1
    segment.write_bytes(blob)
    assert states() == {"books": "ok", "log": "failed"}
    assert main(["doctor", "--data", str(copy)]) == 1


def test_a_server_that_is_not_there_is_said_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert main(["usage", "tokens", "--url", url]) == 2
        assert "serve --dev" in capsys.readouterr().err
        assert main(["usage", "tokens", "--url", url, "--json"]) == 2
        assert "unreachable" in "".join(capsys.readouterr())
        assert main(["doctor", "--url", url]) == 1
    assert main(["fly"]) == 2


def test_a_wrong_key_is_said_so(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_KEY", "tm_wrong")
    terminal.run("usage", "tokens", code=2)
    assert "TAXIMETER_KEY" in terminal.errors
