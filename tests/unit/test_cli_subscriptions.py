"""`subscriptions` at the terminal: words, JSON, exit codes. Against a stub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, running_stub

from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]
ONE: dict[str, Any] = {
    "id": "sub_1", "customer": "acme", "plan": "basic", "version": 3, "pinned": True,
    "status": "active", "start": "2026-11-01T00:00:00Z", "end": "2027-01-01T00:00:00Z",
    "trial_end": None, "addons": {"boost": 2}, "overrides": {}, "revision": 2,
    "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
    "scheduled": [
        {"at": "2026-12-01T00:00:00Z", "status": "active", "plan": "pro", "version": 3,
         "pinned": False, "addons": {}, "overrides": {}},
    ],
}  # fmt: skip


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


def test_a_list_says_what_each_is_on_and_what_comes_next(stub: Stub, capsys: Capture) -> None:
    stub.routes["GET", "/v1/subscriptions"] = Answer(body={"items": [ONE], "next": None})
    assert main(["subscriptions", "list", "--customer", "acme"]) == 0
    assert stub.asked[-1].query["customer"] == "acme"
    printed = capsys.readouterr().out
    assert "basic + 2 boost (version 3)" in printed
    assert "2026-12-01 pro active" in printed


def test_show_has_what_is_scheduled_and_who_changed_what(stub: Stub, capsys: Capture) -> None:
    revision = {
        "revision": 2, "at": "2026-11-05T00:00:00Z", "actor": "key_1",
        "detail": {"did": "change", "reason": "by phone"}, "segments": [], "end": None,
    }  # fmt: skip
    stub.routes["GET", "/v1/subscriptions/sub_1"] = Answer(body=ONE)
    stub.routes["GET", "/v1/subscriptions/sub_1/revisions"] = Answer(
        body={"items": [revision], "next": None}
    )
    assert main(["subscriptions", "show", "sub_1"]) == 0
    printed = capsys.readouterr().out
    assert "from 2026-12-01: pro active" in printed
    assert "ends 2027-01-01" in printed
    assert "revision 2  2026-11-05  key_1  change  by phone" in printed


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["change", "sub_1", "pro", "--at", "period_end", "--addon", "boost=0"],
         "/change", {"plan": "pro", "at": "period_end", "addons": {"boost": 0}}),
        (["change", "sub_1", "--version", "2", "--reason", "why"],
         "/change", {"version": 2, "at": "now", "reason": "why"}),
        (["cancel", "sub_1", "--at", "period_end"], "/cancel", {"at": "period_end"}),
        (["uncancel", "sub_1"], "/uncancel", {}),
        (["pause", "sub_1", "--until", "2026-12-01T00:00:00Z"],
         "/pause", {"at": "now", "until": "2026-12-01T00:00:00Z"}),
        (["renew", "sub_1", "--term", "P6M"], "/renew", {"term": "P6M"}),
        (["renew", "sub_1", "--auto"], "/renew", {"auto_renew": True}),
        (["resume", "sub_1"], "/resume", {"at": "now"}),
        (["cancel", "sub_1", "--preview"], "/preview", {"action": "cancel", "at": "now"}),
    ],
)  # fmt: skip
def test_each_change_asks_for_what_was_said(
    stub: Stub, arguments: list[str], path: str, body: dict[str, Any], capsys: Capture
) -> None:
    stub.routes["POST", f"/v1/subscriptions/sub_1{path}"] = Answer(body=ONE)
    assert main(["subscriptions", *arguments, "--json"]) == 0
    assert stub.asked[-1].json() == body
    assert json.loads(capsys.readouterr().out) == ONE


def test_create_subscribes(stub: Stub, capsys: Capture) -> None:
    stub.routes["POST", "/v1/subscriptions"] = Answer(201, ONE)
    assert main(["subscriptions", "create", "acme", "basic", "--addon", "boost=2"]) == 0
    assert stub.asked[-1].json() == {
        "customer": "acme", "plan": "basic", "addons": {"boost": 2},
    }  # fmt: skip


def test_a_preview_shows_invoices_and_entitlements(stub: Stub, capsys: Capture) -> None:
    def invoice(total: str) -> dict[str, Any]:
        return {"total": total, "currency": "USD", "period": ONE["period"]}

    found = {
        "effective_at": "2026-11-11T12:00:00Z",
        "invoices": [
            {"before": invoice("31.00"), "after": invoice("51.00"),
             "difference": {"amount": "20.00", "currency": "USD"}},
            {"before": invoice("30.00"), "after": None, "difference": None},
        ],
        "entitlements": {
            "before": {"chat": {"limit": "100"}, "seats": 5},
            "after": {"chat": {"limit": "1000"}, "seats": 5, "export": True},
        },
    }  # fmt: skip
    stub.routes["POST", "/v1/subscriptions/sub_1/preview"] = Answer(body=found)
    assert main(["subscriptions", "change", "sub_1", "pro", "--preview"]) == 0
    printed = capsys.readouterr().out
    assert "20.00 USD" in printed
    assert "chat: limit 100 -> limit 1000" in printed
    assert "export: - -> yes" in printed
    assert "seats" not in printed


def test_a_migration_that_leaves_one_behind_exits_1(stub: Stub, capsys: Capture) -> None:
    items = [
        {"customer": "acme", "subscription": "sub_1", "effective_at": "2026-11-11T12:00:00Z",
         "changes": [{"path": "prices"}]},
        {"customer": "beta", "subscription": "sub_2",
         "error": {"code": "currency_mismatch", "detail": "another currency"}},
    ]  # fmt: skip
    stub.routes["POST", "/v1/plans/basic/migrate"] = Answer(
        body={"plan": "basic", "version": 4, "dry_run": True, "items": items}
    )
    assert main(["subscriptions", "migrate", "basic", "--at", "never", "--dry-run"]) == 1
    assert stub.asked[-1].json() == {"at": "never", "dry_run": True}
    printed = capsys.readouterr()
    assert "prices" in printed.out
    assert "beta: another currency" in printed.err


def test_an_add_on_without_a_number_is_wrong_usage(stub: Stub, capsys: Capture) -> None:
    assert main(["subscriptions", "change", "sub_1", "--addon", "boost"]) == 2
    assert "boost=2" in capsys.readouterr().err
