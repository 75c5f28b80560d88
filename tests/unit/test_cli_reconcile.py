"""`taximeter reconcile` at the terminal: exit codes and words, against a stub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]
GAP: dict[str, Any] = {
    "id": "gap_1", "between": ["accepted", "counted"], "cause": "missing", "customer": "acme [inc]",
    "meter": "tokens", "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
    "target": "", "unit": "token", "expected": "10", "found": "9", "difference": "-1",
    "detail": "The log has 2 events here, the live counters 1.", "repair": "rebuild_account",
    "automatic": True, "blocks": True,
}  # fmt: skip
REPORT: dict[str, Any] = {"ok": True, "checked": {"position": "0:17"}, "items": []}


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


def test_without_a_gap_it_says_up_to_where(stub: Stub, capsys: Capture) -> None:
    stub.routes["POST", "/v1/reconciliation/run"] = Answer(body=REPORT)
    assert main(["reconcile", "acme"]) == 0
    assert "No gap up to position 0:17." in capsys.readouterr().out
    assert stub.asked[0].json() == {"customer": "acme"}


def test_a_gap_is_shown_with_its_cause_and_what_closes_it_and_exits_1(
    stub: Stub, capsys: Capture
) -> None:
    report = REPORT | {"ok": False, "items": [GAP]}
    stub.routes["POST", "/v1/reconciliation/run"] = Answer(body=report)
    assert main(["reconcile"]) == 1
    out = capsys.readouterr().out
    for text in ("missing", "acme [inc]", "rebuild_account", "the live counters 1", "--repair GAP"):
        assert text in out
    assert main(["reconcile", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == report


def test_a_repair_exits_0_only_if_the_gap_is_closed(stub: Stub, capsys: Capture) -> None:
    done = {"gap": "gap_1", "repair": "rebuild_account", "healed": True}
    stub.routes["POST", "/v1/reconciliation/repair"] = [
        Answer(body=done),
        Answer(body=done | {"healed": False}),
        problem(409, "not_repairable", detail="A person has to."),
    ]
    assert main(["reconcile", "--repair", "gap_1"]) == 0
    assert "rebuild_account: closed." in capsys.readouterr().out
    assert main(["reconcile", "--repair", "gap_1"]) == 1
    assert "still there" in capsys.readouterr().out
    assert main(["reconcile", "--repair", "gap_1"]) == 1
    assert "A person has to." in capsys.readouterr().err
