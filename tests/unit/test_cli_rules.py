"""`rules` on the command line: what is asked for, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

FIRE = {
    "id": "runaway@1:4", "rule": "runaway", "catalog_version": 1, "mode": "on",
    "customer": "acme", "value": "u1", "event": "e4", "event_time": "2026-11-20T10:00:00Z",
    "position": "0:4", "at": "2026-11-20T10:00:00Z", "observed": "4",
    "outcomes": {"flag": "done", "block": "until 2026-11-20T11:00:00Z"}, "review": "open",
    "reviewed_at": None, "reviewed_by": None, "note": None,
}  # fmt: skip
RULE = {"on": "llm.request", "do": ["flag", {"block": {"for": "1h"}}], "mode": "on"}
BLOCK = {
    "kind": "block", "feature": "chat", "by": "rule runaway", "reason": "too fast",
    "since": "2026-11-20T10:00:00Z", "until": "2026-11-20T11:00:00Z",
}  # fmt: skip
THROTTLE = BLOCK | {
    "kind": "throttle", "feature": None, "limit": "5", "per_s": 60, "until": None, "reason": "",
}  # fmt: skip
TRIAL = {
    "rule": RULE, "from": "2026-11-13T10:00:00Z", "to": "2026-11-20T10:00:00Z", "events": 30,
    "complete": True,
    "fires": 2, "customers": 1, "would": ["flag", "block"], "position": "0:30",
    "items": [
        {
            "customer": "acme", "fires": 2, "first_at": "2026-11-14T10:00:00Z",
            "last_at": "2026-11-15T10:00:00Z",
            "samples": [{"event": "e4", "position": "0:4", "time": "2026-11-14T10:00:00Z",
                         "value": "u1", "observed": "4"}],
        }
    ],
}  # fmt: skip


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        yield found


def test_rules_are_listed_with_what_they_do_and_how_often(stub: Stub, capsys: Any) -> None:
    item = {"key": "runaway", "mode": "on", "rule": RULE, "fires_today": {"on": 3, "dry_run": 0}}
    stub.routes["GET", "/v1/rules"] = Answer(body={"items": [item], "next": None})
    assert main(["rules", "list"]) == 0
    printed = capsys.readouterr().out
    assert "runaway" in printed
    assert "flag block" in printed
    assert "3" in printed


def test_fires_are_listed_with_what_came_of_them(stub: Stub, capsys: Any) -> None:
    answer = Answer(body={"items": [FIRE], "next": "7"})
    stub.routes["GET", "/v1/rules/runaway/fires"] = answer
    assert main(["rules", "fires", "runaway", "--customer", "acme", "-n", "1"]) == 0
    assert stub.asked[0].query == {"customer": "acme", "limit": "1"}
    printed = capsys.readouterr().out
    assert "runaway@1:4" in printed
    assert "There are more" in printed


def test_a_published_rule_is_tried_out_by_its_key(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/rules/dry-run"] = Answer(body=TRIAL)
    assert main(["rules", "dry-run", "runaway", "--from", "2026-11-13T10:00:00Z"]) == 0
    assert stub.asked[0].json() == {"rule": "runaway", "from": "2026-11-13T10:00:00Z"}
    printed = capsys.readouterr().out
    assert "of 30 events it would have fired on 2, of 1 customer, to flag, block." in printed
    assert "event e4 by u1, 4 in the window" in printed


def test_a_rule_of_a_file_is_tried_out_before_it_is_published(stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(
        "rules:\n  r: {on: t, over: {sum: data.n, window: 1m, more_than: 0.10}, do: flag}\n"
    )
    stub.routes["POST", "/v1/rules/dry-run"] = Answer(body=TRIAL | {"items": []})
    assert main(["rules", "dry-run", "r", "--file", str(file)]) == 0
    over = {"sum": "data.n", "window": "1m", "more_than": 0.1}
    assert stub.asked[0].json() == {"rule": {"on": "t", "over": over, "do": "flag"}}
    assert b"0.10" in stub.asked[0].body, "as it is written, not as a float"


def test_a_file_without_the_rule_is_named(stub: Stub, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text("rules: {}\n")
    assert main(["rules", "dry-run", "r", "--file", str(file)]) != 0
    assert "has no rule 'r'" in capsys.readouterr().err
    assert stub.asked == []


def test_a_review_is_dismissed_with_a_note(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/reviews/runaway%401%3A4/dismiss"] = Answer(
        body=FIRE | {"review": "dismissed"}
    )
    assert main(["rules", "dismiss", "runaway@1:4", "--note", "a load test"]) == 0
    assert stub.asked[0].json() == {"note": "a load test"}
    assert "runaway@1:4 of acme is dismissed." in capsys.readouterr().out


def test_a_review_closed_before_is_a_refusal(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/reviews/r/approve"] = problem(
        409, "already_resolved", detail="Before."
    )
    assert main(["rules", "approve", "r"]) == 1
    assert "Before." in capsys.readouterr().err


def test_what_holds_a_customer_back_is_said_in_words(stub: Stub, capsys: Any) -> None:
    path = "/v1/customers/acme/blocks"
    stub.routes["GET", path] = Answer(body={"items": [BLOCK, THROTTLE], "next": None})
    assert main(["rules", "blocks", "acme"]) == 0
    printed = capsys.readouterr().out
    assert "block of chat by rule runaway, until 2026-11-20 11:00: too fast" in printed
    assert "throttle of everything to 5 in 60 s by rule runaway, until it is lifted" in printed


def test_a_customer_is_unblocked(stub: Stub, capsys: Any) -> None:
    answer = {"customer": "acme", "lifted": [BLOCK], "seq": 8, "position": "0:8"}
    stub.routes["POST", "/v1/customers/acme/unblock"] = Answer(body=answer)
    assert main(["rules", "unblock", "acme", "--reason", "ok"]) == 0
    assert stub.asked[0].json() == {"feature": None, "reason": "ok"}
    assert "Lifted: block of chat" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        (["list"], "GET", "/v1/rules", {"items": [], "next": None}),
        (["reviews"], "GET", "/v1/reviews", {"items": [FIRE], "next": None}),
        (["dry-run", "r"], "POST", "/v1/rules/dry-run", TRIAL),
        (["blocks", "acme"], "GET", "/v1/customers/acme/blocks", {"items": [], "next": None}),
    ],
)
def test_every_command_prints_json_when_asked(
    stub: Stub, capsys: Any, command: list[str], method: str, path: str, body: Any
) -> None:
    stub.routes[method, path] = Answer(body=body)
    assert main(["rules", *command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) in (body, body.get("items"))
