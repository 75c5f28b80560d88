"""`backtest`, `simulate`, `costs` and `rollouts` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main
from taximeter.adapters.cli import pricing as commands

SIDES = {
    "before": "10.00", "after": "12.50", "difference": "2.50", "cost": None,
    "margin_before": None, "margin_after": None, "currency": "USD", "periods": 3,
}  # fmt: skip
RESULT = {
    "totals": [SIDES | {"customers": 7, "pay_less": 2, "pay_more": 4, "pay_the_same": 1}],
    "customers": [SIDES | {"customer": "acme"}],
    "not_placed": [{"customer": "beta", "subscription": "sub_1", "lacks": ["plan 'pro'"]}],
}
JOB = {"id": "job_1", "status": "running", "done": 3, "total": 9, "result": None}
DONE = JOB | {"status": "done", "done": 9, "result": RESULT}
ROLLOUT = {
    "id": "r", "version": 4, "status": "running", "share": "10%", "holdout": "0%",
    "created_at": "2026-11-20T00:00:00Z", "reason": "", "moved": 2, "skipped": [],
}  # fmt: skip


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        monkeypatch.setattr(commands, "_POLL_S", 0.0)
        yield found


def test_a_long_backtest_is_waited_for_and_says_how_far_it_is(
    stub: Stub, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("plans: {pro: {minimum: 0.10}}")
    stub.routes["POST", "/v1/backtests"] = Answer(202, JOB)
    stub.routes["GET", "/v1/backtests/job_1"] = [Answer(body=JOB), Answer(body=DONE)]
    assert main(["backtest", str(file), "--last", "30d", "--customer", "acme"]) == 0
    asked = stub.asked[0]
    assert asked.json()["last"] == "30d"
    assert asked.json()["customers"] == ["acme"]
    assert b'"minimum":0.10' in asked.body.replace(b" ", b"") or b'"0.10"' in asked.body
    printed = capsys.readouterr()
    assert "2.50" in printed.out
    assert "2 less, 4 more" in printed.out
    assert "3 of 9 periods" in printed.err
    assert "beta (sub_1) was left out" in printed.err


def test_a_backtest_prints_its_result_as_json(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/backtests"] = Answer(body=DONE)
    assert main(["backtest", "--version", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT


def test_a_simulation_takes_quantities_by_meter(stub: Stub, capsys: Any) -> None:
    invoice = {
        "period": {"start": "2026-12-01T00:00:00Z"},
        "lines": [{"description": "tokens", "quantity": "400", "amount": "6.50"}],
        "total": "6.50",
    }
    totals = [{"currency": "USD", "revenue": "6.50"}]
    body = {"invoices": [invoice], "totals": totals}
    stub.routes["POST", "/v1/simulations"] = Answer(body=body)
    assert main(["simulate", "--plan", "pro", "--usage", "tokens=400", "--periods", "1"]) == 0
    assert stub.asked[0].json()["usage"] == {"tokens": "400"}
    assert "6.50 USD" in capsys.readouterr().out


def test_costs_are_put_from_a_file_and_listed(stub: Stub, tmp_path: Path, capsys: Any) -> None:
    rate = {
        "meter": "tokens", "match": {"model": "opus"}, "unit": "0.000004", "currency": "USD",
        "effective_at": None,
    }  # fmt: skip
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"rates": [rate]}))
    stub.routes["PUT", "/v1/cost-rates"] = Answer(body={"rates": [rate]})
    stub.routes["GET", "/v1/cost-rates"] = Answer(body={"rates": [rate]})
    assert main(["costs", "put", str(file), "--reason", "new"]) == 0
    assert stub.asked[0].json()["reason"] == "new"
    assert main(["costs", "show"]) == 0
    assert "0.000004 USD" in capsys.readouterr().out


def test_a_rollout_is_begun_and_taken_back(stub: Stub, capsys: Any) -> None:
    stub.routes["PUT", "/v1/rollouts/r"] = Answer(body=ROLLOUT)
    stub.routes["POST", "/v1/rollouts/r/rollback"] = Answer(body=ROLLOUT)
    wish = ["--version", "4", "--share", "10%", "--segment", "tier=gold", "--from", "period_end"]
    assert main(["rollouts", "put", "r", *wish]) == 0
    assert stub.asked[0].json() == {
        "version": 4, "share": "10%", "segment": {"tier": "gold"}, "from": "period_end",
        "reason": "",
    }  # fmt: skip
    assert main(["rollouts", "rollback", "r"]) == 0
    assert "2 subscriptions moved" in capsys.readouterr().out


def test_who_could_not_be_moved_is_named_and_makes_it_exit_1(stub: Stub, capsys: Any) -> None:
    skipped = [{"customer": "acme", "subscription": "s", "code": "x", "detail": "Other currency."}]
    stub.routes["POST", "/v1/rollouts/r/complete"] = Answer(body=ROLLOUT | {"skipped": skipped})
    assert main(["rollouts", "complete", "r"]) == 1
    assert "acme (s): Other currency." in capsys.readouterr().err


def test_what_is_refused_is_said(stub: Stub, capsys: Any) -> None:
    stub.routes["GET", "/v1/rollouts/r"] = problem(404, "not_found", detail="There is no rollout.")
    assert main(["rollouts", "show", "r"]) == 2
    assert "There is no rollout." in capsys.readouterr().err
