"""The gate and credits at the terminal: what is asked, what is said, exit codes. Against a stub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main
from taximeter.adapters.cli.app import app

Capture = pytest.CaptureFixture[str]
COMMANDS = Path(__file__).parents[2] / "docs/reference/commands.md"
GRANT = {"id": "welcome", "credit": "usd", "amount": "25", "available_after": "30"}
WALLET = {
    "customer": "acme", "credit": "usd", "balance": "30", "available": "28", "reserved": "2",
    "overdraft": "0", "overage": "1.5", "holds": [],
    "grants": [{
        "id": "welcome", "remaining": "25", "amount": "25", "reserved": "2", "priority": 1,
        "expires_at": "2027-01-01T00:00:00Z", "features": ["chat"],
    }],
}  # fmt: skip
HELD = {
    "id": "r1", "granted": "4000", "credit": "usd", "cost": "0.8",
    "expires_at": "2026-11-21T10:02:00Z",
}  # fmt: skip
SETTLED = {
    "id": "r1", "status": "settled", "settled": "3120", "cost": "0.624", "credit": "usd",
    "available_after": "27.376",
}  # fmt: skip


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


def test_every_command_is_in_the_reference() -> None:
    text = COMMANDS.read_text(encoding="utf-8")
    names = [name for name in app if not name.startswith("-")]
    assert len(names) > 20
    assert [name for name in names if f"`taximeter {name}" not in text] == []


def test_a_grant_is_sent_with_what_was_said_and_nothing_else(stub: Stub, capsys: Capture) -> None:
    stub.routes["POST", "/v1/customers/a%2Fb/grants"] = Answer(201, GRANT)
    assert main(["grant", "a/b", "usd", "25", "--id", "welcome", "--feature", "chat"]) == 0
    assert stub.asked[-1].json() == {
        "credit": "usd", "amount": "25", "kind": "promotional", "id": "welcome",
        "features": ["chat"],
    }  # fmt: skip
    assert "granted 25 usd as welcome; 30 available" in capsys.readouterr().out


def test_a_balance_says_what_is_reserved_and_what_is_beyond(stub: Stub, capsys: Capture) -> None:
    stub.routes["GET", "/v1/customers/acme/balance"] = Answer(body={"items": [WALLET]})
    assert main(["balance", "acme"]) == 0
    out = capsys.readouterr().out
    assert "28 usd available (30 less 2 reserved, 1.5 used beyond all credit)" in out
    assert "welcome" in out
    assert "2027-01-01" in out


def test_a_past_balance_has_no_grants_to_show(stub: Stub, capsys: Capture) -> None:
    past = {"customer": "acme", "credit": "usd", "at": "2026-11-01T00:00:00Z", "balance": "7"}
    stub.routes["GET", "/v1/customers/acme/balance"] = Answer(body=past)
    assert main(["balance", "acme", "usd", "--at", "2026-11-01T00:00:00Z"]) == 0
    assert "7 usd at 2026-11-01" in capsys.readouterr().out


def test_the_ledger_says_why(stub: Stub, capsys: Capture) -> None:
    row = {
        "ordinal": 3, "at": "2026-11-21T10:00:00Z", "kind": "spend", "amount": "-0.02",
        "credit": "usd", "balance_after": "4.98", "postings": [],
        "cause": {"do": "usage", "feature": "image", "seq": 9},
    }  # fmt: skip
    stub.routes["GET", "/v1/customers/acme/ledger"] = Answer(body={"items": [row], "next": "3"})
    assert main(["ledger", "acme", "--limit", "1", "--from", "2026-11-01T00:00:00Z"]) == 0
    assert stub.asked[-1].query["from"] == "2026-11-01T00:00:00Z"
    out = capsys.readouterr().out
    assert "do=usage feature=image seq=9" in out
    assert "there is more" in out


def test_reserve_settle_and_release_say_what_is_held_and_what_it_cost(
    stub: Stub, capsys: Capture
) -> None:
    released = SETTLED | {"status": "released", "settled": None, "cost": None}
    stub.routes["POST", "/v1/reservations"] = Answer(201, HELD)
    stub.routes["POST", "/v1/reservations/r1/settle"] = Answer(body=SETTLED)
    stub.routes["POST", "/v1/reservations/r1/release"] = Answer(body=released)
    assert main(["reserve", "acme", "chat", "4000", "--id", "r1", "--scope", "user=u7"]) == 0
    assert stub.asked[-1].json()["scope"] == {"user": "u7"}
    assert main(["settle", "r1", "3120"]) == 0
    assert main(["release", "r1"]) == 0
    out = capsys.readouterr().out
    assert "r1: 4000 chat for 0.8 usd held until 2026-11-21 10:02" in out
    assert "r1: settled 3120 for 0.624 usd; 27.376 usd available" in out
    assert "r1: released; 27.376 usd available" in out


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "limit_reached"),
        (402, "insufficient_credit"),
        (409, "already_resolved"),
        (422, "exceeds_reservation"),
        (429, "rate_limited"),
    ],
)
def test_a_refusal_exits_with_1_and_says_what_would_help(
    stub: Stub, capsys: Capture, status: int, code: str
) -> None:
    refused = problem(status, code, detail="Nothing is left.", help="Wait until tomorrow.")
    stub.routes["POST", "/v1/reservations"] = refused
    assert main(["reserve", "acme", "chat", "1"]) == 1
    said = capsys.readouterr().err
    assert f"Nothing is left. [{code}]" in said
    assert "Wait until tomorrow." in said


def test_what_is_not_there_exits_with_2(stub: Stub) -> None:
    stub.routes["GET", "/v1/customers/nobody/balance"] = problem(404, "not_found", detail="No.")
    assert main(["balance", "nobody"]) == 2


def test_a_scope_without_a_value_is_told_so(stub: Stub, capsys: Capture) -> None:
    assert main(["check", "acme", "chat", "--scope", "user"]) == 2
    assert "--scope 'user' is not NAME=VALUE." in capsys.readouterr().err


def test_an_estimate_says_the_cost_and_exits_with_the_verdict(stub: Stub, capsys: Capture) -> None:
    answer: dict[str, Any] = {
        "allowed": False, "reason": "insufficient_credit", "cost": "0.2", "available": "0.1",
        "detail": "Too little.", "help": "Top up.", "resets_at": None,
    }  # fmt: skip
    stub.routes["POST", "/v1/estimate"] = Answer(body=answer)
    assert main(["estimate", "acme", "image", "10", "--data", "model=opus"]) == 1
    assert stub.asked[-1].json()["data"] == {"model": "opus"}
    out = capsys.readouterr().out
    assert "Top up." in out
    assert "0.2" in out


def test_entitlements_show_each_limit_of_a_feature(stub: Stub, capsys: Capture) -> None:
    limits = [
        {"kind": "limit", "key": key, "level": "customer", "scope": None, "limit": limit,
         "used": "9000", "reserved": "0", "remaining": "1", "resets_at": None}
        for key, limit in (("period", "100000"), ("rolling:5h", "20000"))
    ]  # fmt: skip
    items = [
        {"feature": "chat", "type": "metered", "allowed": True, "reason": "within_limit",
         "limits": limits},
        {"feature": "video", "type": "metered", "allowed": False, "reason": "not_entitled"},
    ]  # fmt: skip
    stub.routes["GET", "/v1/customers/acme/entitlements"] = Answer(body={"items": items})
    assert main(["entitlements", "acme"]) == 0
    out = capsys.readouterr().out
    assert "rolling:5h" in out
    assert "20000" in out
    assert "video" not in out


def test_budgets_and_seats_are_addressed_by_their_names(stub: Stub, capsys: Capture) -> None:
    stub.routes["PUT", "/v1/customers/acme/budgets/red"] = Answer(body={"limit": "10"})
    stub.routes["DELETE", "/v1/customers/acme/budgets/red"] = Answer(body={})
    seat = "/v1/customers/acme/seats/editor/jo%40x"
    stub.routes["PUT", seat] = Answer(body={"used": "1", "limit": "5"})
    stub.routes["DELETE", seat] = Answer(body={})
    set_it = ["budget", "set", "acme", "red", "10", "--feature", "chat", "--scope", "team=red"]
    assert main([*set_it, "--reset", "day"]) == 0
    assert stub.asked[-1].json() == {
        "limit": "10", "scope": {"team": "red"}, "reset": "day", "enforcement": "hard",
        "feature": "chat",
    }  # fmt: skip
    assert main(["budget", "remove", "acme", "red"]) == 0
    assert main(["seats", "assign", "acme", "editor", "jo@x"]) == 0
    assert main(["seats", "release", "acme", "editor", "jo@x"]) == 0
    assert "jo@x: has a seat; 1 of 5 taken" in capsys.readouterr().out


def test_a_portal_address_is_a_whole_url(stub: Stub, capsys: Capture) -> None:
    answer = {"url": "/portal/tm_x", "expires_at": "2026-12-01T00:00:00Z"}
    stub.routes["POST", "/v1/customers/acme/portal"] = Answer(201, answer)
    assert main(["portal", "acme", "--ttl", "60"]) == 0
    assert stub.asked[-1].json() == {"ttl_s": 60}
    assert f"{stub_url(stub)}/portal/tm_x" in capsys.readouterr().out


def stub_url(stub: Stub) -> str:
    host = stub.asked[-1].headers
    return f"http://{host.get('Host') or host['host']}"


def test_json_is_the_answer_itself(stub: Stub, capsys: Capture) -> None:
    stub.routes["GET", "/v1/customers/acme/balance"] = Answer(body={"items": [WALLET]})
    assert main(["balance", "acme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["available"] == "28"
