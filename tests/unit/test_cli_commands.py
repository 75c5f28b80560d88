"""Commands at the terminal: exit codes, words, JSON. Against a stub with scripted answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


# --- the command line itself --------------------------------------------------------------------


def test_help_names_every_command_without_importing_any(capsys: Capture):
    code = (
        "import sys; from taximeter.adapters.cli import main; main(['--help']); "
        "print([m for m in sys.modules if m.startswith('taximeter.adapters.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *help_lines, modules = done.stdout.splitlines()
    names = "serve demo apply diff ingest usage check explain tail invoices close keys doctor bench"
    for name in names.split():
        assert any(line.startswith(f"│ {name} ") for line in help_lines), name
    assert "usage" not in modules
    assert "node" not in modules


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["check"], ["check", "a", "b", "--nonsense"], ["usage", "m", "--tz"]],
)
def test_wrong_usage_exits_2_and_says_where_help_is(arguments: list[str], capsys: Capture):
    assert main(arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_no_server_exits_2_and_says_how_to_start_one(capsys: Capture):
    assert main(["check", "acme", "chat", "--url", "http://127.0.0.1:1"]) == 2
    assert "taximeter serve --dev" in capsys.readouterr().err


def test_with_json_an_error_is_json_too(stub: Stub, capsys: Capture):
    stub.routes["POST", "/v1/check"] = problem(401, "unauthenticated", detail="No key.")
    assert main(["check", "acme", "chat", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    found = json.loads(captured.err)
    assert (found["code"], found["detail"]) == ("unauthenticated", "No key.")
    assert "TAXIMETER_KEY" in found["hint"]


def test_the_key_comes_from_the_environment_or_a_data_directory(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
):
    stub.routes["GET", "/v1/keys"] = Answer(body={"items": [], "next": None})
    monkeypatch.setenv("TAXIMETER_KEY", "tk_env")
    (tmp_path / "owner.key").write_text("tk_file\n")
    assert main(["keys", "list"]) == 0
    assert main(["keys", "list", "--data", str(tmp_path)]) == 0
    keys = [asked.headers["authorization"] for asked in stub.asked]
    assert keys == ["Bearer tk_env", "Bearer tk_file"]
    assert main(["keys", "list", "--data", str(tmp_path / "none")]) == 2
    assert "No key in" in capsys.readouterr().err


def test_the_url_may_be_in_the_settings_file(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    stub.routes["GET", "/v1/keys"] = Answer(body={"items": [], "next": None})
    monkeypatch.delenv("TAXIMETER_URL")
    Path("taximeter.toml").write_text(f'url = "{stub.url}"\n')
    assert main(["keys", "list"]) == 0
    Path("taximeter.toml").write_text("url = \n")
    assert main(["keys", "list"]) == 2
    assert "taximeter.toml" in capsys.readouterr().err


# --- check --------------------------------------------------------------------------------------

DECISION = {
    "allowed": True, "reason": "within_limit", "limit": "1000000", "used": "812", "reserved": "0",
    "remaining": "999188", "overage": "0", "resets_at": "2026-12-01T00:00:00Z",
}  # fmt: skip


def test_check_exits_by_the_answer(stub: Stub, capsys: Capture):
    stub.routes["POST", "/v1/check"] = [
        Answer(body=DECISION),
        Answer(body={**DECISION, "allowed": False, "reason": "limit_reached"}),
    ]
    assert main(["check", "acme", "chat", "500", "--scope", "user=u7"]) == 0
    assert "999188" in capsys.readouterr().out
    assert main(["check", "acme", "chat", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "limit_reached"
    first, second = stub.asked
    assert first.json() == {
        "customer": "acme", "feature": "chat", "amount": "500", "scope": {"user": "u7"},
    }  # fmt: skip
    assert second.json() == {"customer": "acme", "feature": "chat"}


def test_a_scope_that_is_no_pair_is_wrong_usage(stub: Stub, capsys: Capture):
    assert main(["check", "acme", "chat", "--scope", "u7"]) == 2
    assert stub.asked == []


# --- catalogue ----------------------------------------------------------------------------------

CHANGES = [
    {"kind": "changed", "path": "plans.pro.prices.base.amount", "before": "49", "after": "59"},
    {"kind": "added", "path": "meters.m", "before": None, "after": {"a": 1}, "refolds": True},
]


def test_diff_exits_1_when_there_is_a_difference_and_changes_nothing(stub: Stub, capsys: Capture):
    stub.routes["PUT", "/v1/catalog"] = [
        Answer(body={"changes": CHANGES, "version": 3}),
        Answer(body={"changes": [], "version": 3}),
    ]
    Path("c.yaml").write_bytes(b"plans: {}  # \xc3\xa9\n")
    assert main(["diff", "c.yaml"]) == 1
    out = capsys.readouterr().out
    assert "~ plans.pro.prices.base.amount  49 -> 59" in out
    assert '+ meters.m  {"a":1}' in out
    assert main(["diff", "c.yaml"]) == 0
    assert [asked.query for asked in stub.asked] == [{"dry_run": "1"}] * 2
    assert stub.asked[0].body == b"plans: {}  # \xc3\xa9\n"
    assert stub.asked[0].headers["content-type"] == "application/yaml"


def test_apply_shows_the_changes_and_publishes_them(stub: Stub, capsys: Capture):
    stub.routes["PUT", "/v1/catalog"] = lambda asked: Answer(
        body={"changes": CHANGES, "version": 3 if asked.query else 4}
    )
    Path("c.json").write_text("{}")
    assert main(["apply", "c.json", "--yes"]) == 0
    assert "version 4" in capsys.readouterr().out
    assert [asked.query for asked in stub.asked] == [{"dry_run": "1"}, {}]
    assert stub.asked[1].headers["content-type"] == "application/json"


def test_apply_without_a_change_publishes_nothing(stub: Stub, capsys: Capture):
    stub.routes["PUT", "/v1/catalog"] = Answer(body={"changes": [], "version": 3})
    Path("c.yaml").write_text("{}")
    assert main(["apply", "c.yaml"]) == 0
    assert len(stub.asked) == 1


@pytest.mark.parametrize(("answer", "code", "requests"), [("y\n", 0, 2), ("\n", 1, 1)])
def test_at_a_terminal_apply_asks_first(
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    answer: str,
    code: int,
    requests: int,
):
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stub.routes["PUT", "/v1/catalog"] = Answer(body={"changes": CHANGES, "version": 3})
    Path("c.yaml").write_text("{}")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["apply", "c.yaml"]) == code
    assert len(stub.asked) == requests


def test_an_invalid_catalogue_is_the_servers_word(stub: Stub, capsys: Capture):
    stub.routes["PUT", "/v1/catalog"] = problem(422, "catalog_invalid", detail="plans.pro: no.")
    Path("c.yaml").write_text("{}")
    assert main(["diff", "c.yaml"]) == 2
    assert "plans.pro: no. [catalog_invalid]" in capsys.readouterr().err
    assert main(["diff", "missing.yaml"]) == 2
    assert "missing.yaml" in capsys.readouterr().err


# --- usage --------------------------------------------------------------------------------------


def test_usage_takes_plain_dates_as_local_midnights_and_asks_for_the_total(
    stub: Stub, capsys: Capture
):
    item = {"start": "2026-10-31T23:00:00Z", "end": "", "group": {"model": "[opus]"}, "value": "8"}
    answer = {"meter": "m/1", "window": "day", "items": [item], "as_of": {"position": "0:9"}}
    stub.routes["GET", "/v1/meters/m%2F1/usage"] = [
        Answer(body=answer),
        Answer(body={**answer, "items": [{**item, "value": "1001"}]}),
    ]
    dates = ["--from", "2026-11-01", "--to", "2026-12-01", "--tz", "Europe/Berlin"]
    assert main(["usage", "m/1", *dates, "--group-by", "model"]) == 0
    out = capsys.readouterr().out
    assert "1001" in out
    assert "2026-10-31 23:00" in out
    first, second = (asked.query for asked in stub.asked)
    assert (first["from"], first["to"]) == ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z")
    assert (first["window"], first["group_by"]) == ("day", "model")
    assert (second["window"], "group_by" in second) == ("none", False)


def test_usage_is_of_this_month_by_day_unless_told(stub: Stub, capsys: Capture):
    answer = {"meter": "m", "window": "day", "items": [], "as_of": {}}
    stub.routes["GET", "/v1/meters/m/usage"] = Answer(body=answer)
    assert main(["usage", "m", "--json"]) == 0
    (asked,) = stub.asked
    assert asked.query["from"].endswith("-01T00:00:00Z")
    assert asked.query["to"].endswith("-01T00:00:00Z")
    assert asked.query["from"] < asked.query["to"]


# --- invoices -----------------------------------------------------------------------------------

INVOICE: dict[str, Any] = {
    "id": "inv_1", "number": "INV-000007", "customer": "acme [inc]", "status": "issued",
    "currency": "USD", "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
    "lines": [
        {"id": "l1", "kind": "usage", "description": "Tokens", "price": "pro/tokens@3",
         "meter": "input_tokens", "quantity": "2500", "amount": "220.00",
         "group": {"model": "opus"},
         "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
         "tiers": [{"quantity": "1000", "unit": "0.10", "amount": "100.00"},
                   {"quantity": "1500", "unit": "0.08", "amount": "120.00"}],
         "lineage": {"events": 812, "position": "0:91822", "digest": "sha256:ab"}},
        {"id": "l2", "kind": "flat", "description": "Base", "amount": "49.00"},
    ],
    "subtotal": "269.00", "discount": "0.00", "tax": "0.00", "credits_applied": "0.00",
    "total": "269.00", "amount_due": "269.00", "digest": "sha256:cd",
}  # fmt: skip


def with_invoice(stub: Stub, *, ok: bool = True) -> None:
    page = {"items": [INVOICE], "next": None}
    event = {"seq": 5, "id": "e5", "time": "2026-10-02T00:00:00Z", "data": {"input_tokens": 3}}
    verdicts = [{"line": "l1", "ok": ok}]
    stub.routes["GET", "/v1/invoices"] = Answer(body=page)
    stub.routes["GET", "/v1/invoices/inv_1"] = Answer(body=INVOICE)
    stub.routes["GET", "/v1/invoices/inv_1/verify"] = Answer(body={"ok": ok, "lines": verdicts})
    stub.routes["GET", "/v1/invoices/inv_1/lines/l1/events"] = Answer(
        body={"items": [event], "next": None}
    )
    share = {"id": "e5", "amount": "0.30", "tiers": [{"quantity": "3", "unit": "0.10"}]}
    stub.routes["GET", "/v1/invoices/inv_1/lines/l1/rated"] = Answer(
        body={"items": [share], "next": None}
    )


def test_invoices_are_listed_and_one_is_shown_as_a_page(stub: Stub, capsys: Capture):
    with_invoice(stub)
    assert main(["invoices", "--customer", "acme"]) == 0
    assert "269.00 USD" in capsys.readouterr().out
    assert main(["invoices", "inv_1"]) == 0
    out = capsys.readouterr().out
    for text in ("INV-000007", "acme [inc]", "Tokens", "2500", "amount due"):
        assert text in out
    assert "discount" not in out


def test_an_invoice_is_also_found_by_its_number(stub: Stub, capsys: Capture):
    with_invoice(stub)
    assert main(["invoices", "INV-000007", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == INVOICE
    assert main(["invoices", "INV-9"]) == 2


def test_explain_goes_down_to_the_events_and_recounts(stub: Stub, capsys: Capture):
    with_invoice(stub)
    assert main(["explain", "inv_1", "l1", "-n", "1"]) == 0
    out = capsys.readouterr().out
    for text in (
        "1000 x 0.10 = 100.00",
        "812 events",
        "e5 input_tokens=3  0.30 = 3 x 0.10",
        "and 811 more",
        "same",
    ):
        assert text in out
    assert main(["explain", "inv_1", "l9"]) == 2


def test_explain_goes_from_an_event_back_to_the_lines_that_billed_it(stub: Stub, capsys: Capture):
    with_invoice(stub)
    receipt = {
        "status": "accepted", "position": "0:5", "customer": "acme", "meters": ["input_tokens"],
        "event": {"id": "e5", "time": "2026-10-02T00:00:00Z", "data": {"input_tokens": 3}},
        "lines": [{"invoice": "inv_1", "line": "l1"}],
    }  # fmt: skip
    stub.routes["GET", "/v1/events/receipt"] = Answer(body=receipt)
    assert main(["explain", "e5", "--source", "api"]) == 0
    out = capsys.readouterr().out
    for text in ("e5 input_tokens=3", "accepted", "invoice INV-000007, Tokens", "220.00 USD"):
        assert text in out
    assert stub.asked[-2].query == {"id": "e5", "source": "api"}
    stub.routes["GET", "/v1/events/receipt"] = problem(404, "not_found", detail="No.")
    assert main(["explain", "e6"]) == 2
    assert "neither an invoice nor an event 'e6'" in capsys.readouterr().err


def test_explain_says_how_a_line_of_packages_comes_about(stub: Stub, capsys: Capture):
    with_invoice(stub)
    line = INVOICE["lines"][0] | {
        "quantity": "2501", "metered": "25001", "free": "500", "multiplier": "2",
        "adjustment": "-1.00", "amount": "29.00",
        "tiers": [{"quantity": "2001", "packages": "3", "unit": "5.00", "amount": "15.00"}],
    }  # fmt: skip
    stub.routes["GET", "/v1/invoices/inv_1"] = Answer(body=INVOICE | {"lines": [line]})
    assert main(["explain", "inv_1"]) == 0
    out = capsys.readouterr().out
    for text in (
        "quantity 2501 of 25001 of meter input_tokens",
        "500 of them free",
        "3 packages x 5.00 = 15.00",
        "x 2 by its multipliers",
        "minimum or maximum: -1.00",
    ):
        assert text in out


def test_explain_exits_1_when_the_recount_differs(stub: Stub, capsys: Capture):
    with_invoice(stub, ok=False)
    assert main(["explain", "inv_1"]) == 1
    assert "Lines that differ: l1" in capsys.readouterr().out


def test_a_person_decides_about_an_invoice_by_its_number(stub: Stub, capsys: Capture):
    with_invoice(stub, ok=True)
    held = INVOICE | {"status": "in_review", "review": {"reasons": ["twice the usual"]}}
    stub.routes["POST", "/v1/invoices/inv_1/hold"] = Answer(body=held)
    assert main(["invoices", "hold", "INV-000007", "--reason", "twice the usual"]) == 0
    assert stub.asked[-1].json() == {"reason": "twice the usual"}
    out = capsys.readouterr().out
    assert "in_review" in out
    assert "in review: twice the usual" in out
    stub.routes["POST", "/v1/invoices/inv_1/finalize"] = problem(409, "invoice_in_review")
    assert main(["invoices", "issue", "inv_1"]) == 1


def test_close_lists_the_new_drafts(stub: Stub, capsys: Capture):
    body = {"as_of": "2026-11-01T00:00:00Z", "invoices": ["inv_1"]}
    stub.routes["POST", "/v1/close"] = Answer(body=body)
    assert main(["close", "--as-of", "2026-11-01T00:00:00Z"]) == 0
    assert "inv_1" in capsys.readouterr().out
    assert main(["close", "--json"]) == 0
    assert [asked.json() for asked in stub.asked] == [{"as_of": "2026-11-01T00:00:00Z"}, {}]


def test_a_refusal_of_the_server_exits_1_and_a_wrong_request_2(stub: Stub, capsys: Capture):
    stub.routes["POST", "/v1/close"] = [
        problem(409, "period_open", detail="Not yet."),
        problem(422, "invalid_parameter", detail="No."),
    ]
    assert main(["close"]) == 1
    assert main(["close"]) == 2


# --- keys, tail, doctor -------------------------------------------------------------------------


def test_a_new_keys_secret_is_all_that_stdout_has(stub: Stub, capsys: Capture):
    key = {"id": "key_1", "name": "ci", "scopes": ["read"], "secret": "tk_secret"}
    stub.routes["POST", "/v1/keys"] = Answer(201, key)
    assert main(["keys", "create", "ci", "--scope", "read", "--expires", "90d"]) == 0
    assert capsys.readouterr().out == "tk_secret\n"
    asked = stub.asked[0].json()
    assert (asked["name"], asked["scopes"]) == ("ci", ["read"])
    assert asked["expires_at"].endswith("Z")
    assert main(["keys", "create", "ci", "--expires", "soon"]) == 2


def test_keys_are_listed_and_revoked(stub: Stub, capsys: Capture):
    key = {"id": "key_1", "name": "ci", "scopes": ["read"], "prefix": "tk_ab", "created_at": None}
    stub.routes["GET", "/v1/keys"] = Answer(body={"items": [key], "next": None})
    stub.routes["POST", "/v1/keys/key_1/revoke"] = Answer(body=key)
    assert main(["keys", "list"]) == 0
    assert "tk_ab" in capsys.readouterr().out
    assert main(["keys", "revoke", "key_1"]) == 0
    assert main(["keys", "revoke", "key_9"]) == 2


def test_tail_prints_events_with_their_verdicts(stub: Stub, capsys: Capture):
    event = {"id": "e", "type": "llm.request", "subject": "u7", "data": {"n": 1, "t": "x" * 99}}
    items = [
        {"seq": 4, "verdict": "accepted", "event": event, "customer": "acme"},
        {"seq": 0, "verdict": "conflict", "event": event, "customer": None},
    ]
    body = "".join(f"data: {json.dumps(item)}\n\n" for item in items).encode()
    stub.routes["GET", "/v1/events/stream"] = Answer(body=body, content_type="text/event-stream")
    assert main(["tail", "--type", "llm.request", "-n", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["accepted", "4"]
    assert "acme" in first
    assert "u7 (unmatched)" in second
    assert stub.asked[0].query == {"type": "llm.request"}


def test_doctor_finds_a_server_that_is_not_ready_or_does_not_add_up(stub: Stub, capsys: Capture):
    from taximeter import __version__

    def status(received: int) -> Answer:
        verdicts = {"accepted": 2, "duplicates": 1, "conflicts": 0, "rejected": 0}
        return Answer(body={"version": __version__, "events": {"received": received, **verdicts}})

    stub.routes["GET", "/healthz"] = Answer(body={"status": "ok"})
    stub.routes["GET", "/readyz"] = problem(503, "rebuilding", detail="Folding.")
    stub.routes["GET", "/v1/status"] = status(received=4)
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {check["check"]: check["state"] for check in found["checks"]} == {
        "server": "ok", "clock": "ok", "ready": "failed", "version": "ok", "accounting": "failed",
    }  # fmt: skip
    stub.routes["GET", "/readyz"] = Answer(body={"status": "ready"})
    stub.routes["GET", "/v1/status"] = status(received=3)
    assert main(["doctor"]) == 0


def test_doctor_without_a_server_says_so(capsys: Capture):
    assert main(["doctor", "--url", "http://127.0.0.1:1"]) == 1
    assert "Is one running?" in capsys.readouterr().out


def test_doctor_reads_a_data_directory_offline(tmp_path: Path, capsys: Capture):
    from taximeter.adapters.books import SqliteBooks

    SqliteBooks(tmp_path / "books.db").close()
    (tmp_path / "log").mkdir()
    (tmp_path / "owner.key").write_text("k")
    (tmp_path / "owner.key").chmod(0o600)
    main(["doctor", "--data", str(tmp_path), "--json"])
    states = {c["check"]: c["state"] for c in json.loads(capsys.readouterr().out)["checks"]}
    assert (states["books"], states["log"], states["owner key"]) == ("ok", "ok", "ok")
    (tmp_path / "owner.key").chmod(0o644)
    (tmp_path / "books.db").write_bytes(b"no database" * 500)
    assert main(["doctor", "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "books.db is damaged" in out
    assert "can be read by others" in out


# --- serve --------------------------------------------------------------------------------------


def test_serve_hands_the_merged_settings_to_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    import types

    seen = []
    node = types.ModuleType("taximeter.adapters.node")
    node.run = lambda settings: seen.append(settings) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "taximeter.adapters.node", node)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAXIMETER_HOST", "0.0.0.0")
    Path("taximeter.toml").write_text('log_level = "debug"\nport = 1\n')
    assert main(["serve", "--port", "0", "--dev"]) == 0
    (settings,) = seen
    assert (settings.port, settings.host, settings.log_level) == (0, "0.0.0.0", "debug")
    assert settings.dev
    assert not settings.sandbox
    assert main(["serve", "--segment-bytes", "huge"]) == 2
