"""`retract`, `amend`, `corrections`, `backfill`: what is asked for, shown and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

RECEIPT = {
    "status": "accepted", "position": "0:3", "customer": "acme", "meters": ["tokens"],
    "lines": [{"invoice": "inv_1", "line": "l1"}],
    "event": {"type": "llm.request", "subject": "acme", "time": "2026-11-20T10:00:00Z",
              "data": {"tokens": 5}},
}  # fmt: skip
EFFECT = {
    "customer": "acme", "meter": "tokens", "subscription": None, "before": "12", "after": "5",
    "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
    "events_before": 2, "events_after": 1,
}  # fmt: skip
PREVIEW = {
    "preview": "cor_9_abc", "position": "0:9", "events": 1, "unchanged": 0, "unmatched": 0,
    "needs_approval": False, "effect": [EFFECT], "more": 0,
    "fares": [{"customer": "acme", "subscription": "sub_1", "period": EFFECT["period"],
               "currency": "USD", "before": "0.12", "after": "0.05"}],
    "invoices": [{"id": "inv_1", "number": "INV-1", "status": "issued", "lines": ["l1"]}],
}  # fmt: skip
MADE = {"id": "cor_9_abc", "status": "committed", "position": "0:10"}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        found.routes["GET", "/v1/events/receipt"] = Answer(body=RECEIPT)
        found.routes["POST", "/v1/corrections/preview"] = Answer(body=PREVIEW)
        yield found


def posted(stub: Stub) -> list[str]:
    return [asked.path for asked in stub.asked if asked.method == "POST"]


def test_nothing_is_changed_where_nobody_can_be_asked(stub: Stub, capsys: Any) -> None:
    assert main(["retract", "e1", "--reason", "twice"]) == 1
    told = capsys.readouterr()
    assert "llm.request of acme" in told.out
    assert "invoice inv_1, line l1" in told.out
    assert "Nothing was changed." in told.err
    assert main(["corrections", "retract", "--customer", "acme", "--reason", "r", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == PREVIEW
    assert posted(stub) == ["/v1/corrections/preview"]


def test_an_amendment_sends_numbers_as_they_were_typed(stub: Stub, capsys: Any) -> None:
    done = {"status": "amended", "position": "0:5"}
    stub.routes["POST", "/v1/events/amend"] = Answer(body=done)
    data = '{"tokens": 0.100000000000000000001}'
    assert main(["amend", "e1", data, "--source", "api", "--reason", "typo", "--yes"]) == 0
    assert b'"tokens":0.100000000000000000001' in stub.asked[-1].body
    assert "amended at 0:5" in capsys.readouterr().out
    assert main(["amend", "e1", "[1]", "--reason", "typo", "--yes"]) == 2


def test_what_was_previewed_is_what_is_committed(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/corrections"] = Answer(201, MADE)
    patch, at = '{"model": null}', "2026-11-20T10:00:00Z"
    command = ["corrections", "amend", patch, "--type", "t", "--from", at, "--reason", "r", "-y"]
    assert main(command) == 0
    preview, commit = (one.json() for one in stub.asked)
    assert preview == {
        "action": "amend", "type": "t", "from": at, "patch": {"model": None}, "reason": "r",
    }  # fmt: skip
    assert commit == preview | {"preview": "cor_9_abc"}
    printed = capsys.readouterr().out
    assert "fare of acme from 2026-11-01: 0.12 to 0.05 USD" in printed
    assert "INV-1 (issued), which stays as it is" in printed
    assert "cor_9_abc is committed at 0:10." in printed


def test_a_correction_that_waits_says_so(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/corrections"] = Answer(202, MADE | {"status": "pending"})
    assert main(["corrections", "retract", "--type", "t", "--reason", "r", "--yes"]) == 0
    assert "waits for a second person" in capsys.readouterr().out
    refusal = problem(403, "four_eyes", detail="Who made a correction does not approve it.")
    stub.routes["POST", "/v1/corrections/cor_9_abc/approve"] = refusal
    assert main(["corrections", "approve", "cor_9_abc"]) == 1
    assert "[four_eyes]" in capsys.readouterr().err


def test_a_load_can_go_into_a_backfill(stub: Stub, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text('{"id": "1", "type": "t", "subject": "s"}\n')
    answer = {"received": 1, "accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0,
              "position": "0:1", "errors": []}  # fmt: skip
    stub.routes["POST", "/v1/events"] = Answer(body=answer)
    stub.routes["POST", "/v1/backfills"] = Answer(201, {"id": "june"})
    assert main(["ingest", str(file), "--stage", "june", "--reason", "lost"]) == 0
    opened, sent = stub.asked[0], stub.asked[-1]
    assert (opened.path, opened.json()) == ("/v1/backfills", {"id": "june", "reason": "lost"})
    assert (sent.path, sent.query) == ("/v1/events", {"backfill": "june"})
    capsys.readouterr()
