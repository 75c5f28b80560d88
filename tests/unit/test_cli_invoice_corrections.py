"""Late usage, rating again, credit notes at the terminal. Against a stub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Stub, problem, running_stub

from taximeter.adapters.cli import main

Capture = pytest.CaptureFixture[str]
LATE = {
    "id": "late_1", "customer": "acme", "meter": "tokens", "status": "held", "events": 2,
    "retractions": 1, "quantity": "50", "amount": "5.00", "currency": "EUR",
    "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
}  # fmt: skip
NOTE = {
    "id": "cn_1", "number": "CN-000001", "status": "issued", "customer": "acme", "invoice": "inv_1",
    "total": "4.00", "currency": "EUR", "made_at": "2026-11-20T10:00:00Z",
}  # fmt: skip
NOTES = ("POST", "/v1/invoices/inv_1/credit-notes")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        found.routes["GET", "/v1/invoices/inv_1"] = Answer(body={"id": "inv_1"})
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.delenv("TAXIMETER_KEY", raising=False)
        yield found


def line(delta: str, cause: str | None) -> dict[str, Any]:
    return {
        "period": LATE["period"], "price": "pro/tokens@1", "group": {"model": "opus"},
        "billed": "10.00", "rerated": "15.00", "delta": delta, "cause": cause,
    }  # fmt: skip


def test_late_usage_is_listed_and_decided_on(stub: Stub, capsys: Capture) -> None:
    stub.routes["GET", "/v1/late-usage"] = Answer(body={"items": [LATE], "next": None})
    stub.routes["POST", "/v1/late-usage/late_1/write-off"] = Answer(
        body=LATE | {"status": "written_off"}
    )
    assert main(["late-usage", "--customer", "acme", "--status", "held"]) == 0
    assert stub.asked[-1].query == {"customer": "acme", "status": "held", "limit": "100"}
    shown = capsys.readouterr().out
    assert "+2 -1" in shown
    assert "5.00 EUR" in shown
    assert main(["late-usage", "write-off", "late_1", "--reason", "goodwill"]) == 0
    assert stub.asked[-1].json() == {"reason": "goodwill"}
    assert capsys.readouterr().out == "late_1 is written_off, 5.00 EUR.\n"
    stub.routes["POST", "/v1/late-usage/late_1/release"] = problem(409, "late_usage_settled")
    assert main(["late-usage", "release", "late_1"]) == 1


@pytest.mark.parametrize(("delta", "code"), [("5.00", 1), ("-5.00", 1), ("0.00", 0), ("0", 0)])
def test_rating_again_exits_with_whether_there_is_a_difference(
    stub: Stub, capsys: Capture, delta: str, code: int
) -> None:
    total = {"currency": "EUR", "billed": "10.00", "rerated": "15.00", "delta": delta}
    found = {"lines": [line(delta, "events")], "totals": [total]}
    stub.routes["POST", "/v1/rerate"] = Answer(body=found)
    assert main(["rerate", "acme", "2026-10", "--catalog", "4"]) == code
    assert stub.asked[-1].json() == {
        "customer": "acme", "period": "2026-10", "catalog_version": 4,
    }  # fmt: skip
    assert "model: opus" in capsys.readouterr().out
    span = "2026-10-01T00:00:00Z..2026-10-15T00:00:00Z"
    main(["rerate", "acme", span, "--json"])
    start, _, end = span.partition("..")
    assert stub.asked[-1].json()["period"] == {"start": start, "end": end}
    assert json.loads(capsys.readouterr().out) == found


def test_a_credit_note_of_lines_or_of_an_amount(stub: Stub, capsys: Capture) -> None:
    stub.routes[NOTES] = Answer(201, NOTE)
    lines = ["--line", "line_1=4.00", "--line", "line_2"]
    assert main(["credit-note", "create", "inv_1", "--reason", "outage", *lines]) == 0
    assert stub.asked[-1].json() == {
        "reason": "outage", "lines": [{"line": "line_1", "amount": "4.00"}, {"line": "line_2"}],
    }  # fmt: skip
    assert capsys.readouterr().out == "CN-000001 over 4.00 EUR is issued.\n"
    more = ["--amount", "5", "--id", "mine"]
    assert main(["credit-note", "create", "inv_1", "--reason", "outage", *more]) == 0
    assert stub.asked[-1].json() == {"reason": "outage", "amount": "5", "id": "mine"}
    asked = len(stub.asked)
    assert main(["credit-note", "create", "inv_1", "--reason", "x", "--line", "=4"]) == 2
    assert len(stub.asked) == asked


def test_an_invoice_can_be_named_by_its_number(stub: Stub, capsys: Capture) -> None:
    stub.routes[NOTES] = Answer(201, NOTE)
    items = [{"id": "inv_1", "number": "INV-000001"}]
    stub.routes["GET", "/v1/invoices"] = Answer(body={"items": items, "next": None})
    assert main(["credit-note", "create", "INV-000001", "--reason", "outage"]) == 0
    assert main(["credit-note", "create", "INV-000002", "--reason", "outage"]) == 2


def test_one_that_waits_is_approved_or_rejected(stub: Stub, capsys: Capture) -> None:
    waiting = NOTE | {"status": "pending", "number": None}
    stub.routes[NOTES] = Answer(201, waiting)
    stub.routes["POST", "/v1/credit-notes/cn_1/approve"] = Answer(body=NOTE)
    stub.routes["POST", "/v1/credit-notes/cn_1/reject"] = Answer(
        body=waiting | {"status": "rejected"}
    )
    stub.routes["GET", "/v1/credit-notes"] = Answer(body={"items": [waiting, NOTE], "next": None})
    assert main(["credit-note", "create", "inv_1", "--reason", "outage"]) == 0
    assert "waits for another key" in capsys.readouterr().out
    assert main(["credit-note", "list", "--customer", "acme"]) == 0
    assert "CN-000001" in capsys.readouterr().out
    assert main(["credit-note", "approve", "cn_1"]) == 0
    assert main(["credit-note", "reject", "cn_1", "--reason", "no"]) == 0
    assert capsys.readouterr().out.endswith("cn_1 is rejected.\n")


def test_an_invoice_is_corrected_now(stub: Stub, capsys: Capture) -> None:
    path = ("POST", "/v1/invoices/inv_1/correct")
    stub.routes[path] = Answer(201, {"id": "inv_2", "total": "8.00", "currency": "EUR"})
    assert main(["correct", "inv_1"]) == 0
    assert stub.asked[-1].json() == {"mode": "adjust", "reason": ""}
    assert capsys.readouterr().out == "Draft inv_2 over 8.00 EUR.\n"
    stub.routes[path] = Answer(201, NOTE)
    assert main(["correct", "inv_1", "--mode", "credit_note", "--reason", "counted twice"]) == 0
    assert capsys.readouterr().out == "CN-000001 over 4.00 EUR is issued.\n"
