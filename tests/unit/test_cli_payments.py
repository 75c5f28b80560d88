"""`payments`, `aging`, `journal` and the like: what is asked for, and what is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

PAYMENT = {
    "id": "p1", "customer": "acme", "status": "unallocated", "amount": "130.00",
    "currency": "USD", "at": "2026-11-01T00:00:00Z", "reference": "wire", "origin": "api",
    "recorded_at": "2026-11-01T00:00:00Z", "refunded": "10.00", "unallocated": "20.00",
    "invoices": [{"invoice": "inv_1", "number": "INV-000001", "amount": "100.00"}],
    "reversed_at": None, "reason": None,
}  # fmt: skip
BUCKETS = {"current": "70.00", "1-30": "0.00", "31-60": "0.00", "61-90": "0.00", "90+": "5.00"}
ENTRY = {
    "id": "issue:inv_1", "at": "2026-11-01T00:00:00Z", "kind": "issue", "customer": "acme",
    "currency": "USD", "invoice": "inv_1", "source": None, "cause": {"number": "INV-000001"},
    "postings": [
        {"account": "receivable", "debit": "100.00"},
        {"account": "deferred_revenue", "credit": "100.00"},
    ],
}  # fmt: skip


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    with running_stub() as found:
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        yield found


def test_a_payment_is_recorded_with_the_invoices_it_names(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/payments"] = Answer(body=PAYMENT)
    call = ["payments", "record", "acme", "130.00", "USD", "--id", "p1", "--reference", "wire"]
    assert main([*call, "--invoice", "INV-000001=100", "--invoice", "inv_2"]) == 0
    assert stub.asked[0].json() == {
        "customer": "acme", "amount": "130.00", "currency": "USD", "reference": "wire",
        "id": "p1", "invoices": [{"invoice": "INV-000001", "amount": "100"}, {"invoice": "inv_2"}],
    }  # fmt: skip
    printed = capsys.readouterr().out
    for line in (
        "130.00 USD of acme", "pays 100.00 of INV-000001", "paid back: 10.00", "on account: 20.00",
    ):  # fmt: skip
        assert line in printed


def test_a_refusal_exits_1_and_a_slip_2(stub: Stub, capsys: Any) -> None:
    stub.routes["POST", "/v1/payments/p1/refund"] = problem(
        409, "payment_reversed", detail="Payment 'p1' was reversed: bounced"
    )
    assert main(["payments", "refund", "p1"]) == 1
    assert "bounced" in capsys.readouterr().err
    assert main(["payments", "allocate", "p1", "--invoice", "inv_1="]) == 2
    assert main(["payments", "reverse", "p1"]) == 2, "a reversal has a reason"


def test_payments_are_listed(stub: Stub, capsys: Any) -> None:
    stub.routes["GET", "/v1/payments"] = Answer(body={"items": [PAYMENT], "next": "3"})
    assert main(["payments", "list", "--customer", "acme", "--limit", "1"]) == 0
    assert stub.asked[0].query == {"customer": "acme", "limit": "1"}
    printed = capsys.readouterr().out
    assert "INV-000001 100.00" in printed
    assert "There are more" in printed


def test_aging_ends_with_everybody(stub: Stub, capsys: Any) -> None:
    row = {"currency": "USD", "total": "75.00", "buckets": BUCKETS}
    body = {"at": "2026-11-01T00:00:00Z", "items": [{"customer": "acme", **row}], "totals": [row]}
    stub.routes["GET", "/v1/accounting/aging"] = Answer(body=body)
    assert main(["aging", "--at", "2026-11-01T00:00:00Z"]) == 0
    assert stub.asked[0].query == {"at": "2026-11-01T00:00:00Z"}
    printed = capsys.readouterr().out
    assert "all" in printed
    assert "90+" in printed
    stub.routes["GET", "/v1/accounting/aging"] = Answer(body=body | {"items": [], "totals": []})
    assert main(["aging", "acme"]) == 0
    assert "Nothing is open." in capsys.readouterr().out


def test_the_journal_is_shown_entry_by_entry_or_passed_on_as_csv(stub: Stub, capsys: Any) -> None:
    stub.routes["GET", "/v1/accounting/journal"] = Answer(body={"items": [ENTRY], "next": None})
    assert main(["journal", "--from", "2026-11-01T00:00:00Z", "--invoice", "inv_1"]) == 0
    assert stub.asked[0].query == {
        "from": "2026-11-01T00:00:00Z", "invoice": "inv_1", "limit": "100",
    }  # fmt: skip
    assert "deferred_revenue" in capsys.readouterr().out
    assert main(["journal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == [ENTRY]
    assert main(["journal", "--format", "csv"]) == 0
    assert stub.asked[-1].query == {"format": "csv"}


def test_balance_revenue_and_statement_are_tables(stub: Stub, capsys: Any) -> None:
    both = {"currency": "USD", "debit": "5.00", "credit": "5.00"}
    row = {"account": "cash", "currency": "USD", "debit": "5.00", "credit": ""}
    stub.routes["GET", "/v1/accounting/trial-balance"] = Answer(
        body={"at": "2026-11-01T00:00:00Z", "items": [row], "totals": [both]}
    )
    assert main(["trial-balance"]) == 0
    assert "total" in capsys.readouterr().out
    month = {
        "month": "2026-10", "currency": "USD", "closed": True, "recognised": "5.00",
        "scheduled": "1.00", "breakage": "0.00", "total": "6.00",
    }  # fmt: skip
    stub.routes["GET", "/v1/accounting/recognition"] = Answer(
        body={"items": [month], "deferred": [{"currency": "USD", "amount": "1.00"}]}
    )
    assert main(["recognition", "--from", "2026-10", "--to", "2026-10"]) == 0
    assert stub.asked[-1].query == {"from": "2026-10", "to": "2026-10"}
    assert "deferred: 1.00 USD" in capsys.readouterr().out
    item = {
        "at": "2026-11-01T00:00:00Z", "kind": "issue", "invoice": "inv_1",
        "number": "INV-000001", "reference": None, "amount": "5.00", "balance": "5.00",
    }  # fmt: skip
    account = {"currency": "USD", "opening": "0.00", "items": [item], "closing": "5.00"} | {
        "open": "6.00", "on_account": "1.00",
    }  # fmt: skip
    stub.routes["GET", "/v1/customers/acme/statement"] = Answer(
        body={"customer": "acme", "from": None, "to": "2026-11-01", "accounts": [account]}
    )
    assert main(["statement", "acme"]) == 0
    assert "6.00 USD is open, 1.00 on account." in capsys.readouterr().out


def test_a_month_is_closed(stub: Stub, capsys: Any) -> None:
    body = {"month": "2026-10", "closed_at": "2026-11-01T00:00:00Z", "entries": 3}
    stub.routes["POST", "/v1/accounting/close"] = Answer(body=body)
    assert main(["close-month", "2026-10"]) == 0
    assert stub.asked[0].json() == {"month": "2026-10"}
    assert "2026-10 is closed: 3 entries." in capsys.readouterr().out
