"""
The bill, as somebody meets it who did not build it: features that touch the same money, together.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.integration.test_notices_http import eventually
from tests.serving import Served, serve

from taximeter.adapters.cli import main

OCTOBER, NOVEMBER = "2026-10-10T12:00:00Z", "2026-11-10T12:00:00Z"
ENDS = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("bill"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    return at_start(Scene(server))


def at_start(scene: Scene) -> Scene:
    scene.set_clock("2026-10-01T00:00:00Z")
    return scene


def plan(**members: Any) -> dict[str, Any]:
    """A base fee of 20 and tokens at 1.00."""
    document = copy.deepcopy(CATALOG)
    prices = {
        "base": {"type": "flat", "amount": 20},
        "tokens": {"type": "per_unit", "meter": "tokens", "unit": 1},
    }
    document["plans"]["pro"] = {"currency": "USD", "cadence": "month", "prices": prices} | members
    return document


def issued(scene: Scene, end: str) -> dict[str, Any]:
    """The one invoice of a period, issued."""
    scene.set_clock(end)
    (draft,) = scene.close()
    answer: dict[str, Any] = scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    return answer


def gaps(scene: Scene) -> list[dict[str, Any]]:
    scene.ask("POST", "/v1/reconciliation/run", {})
    items: list[dict[str, Any]] = scene.ask("GET", "/v1/reconciliation")["items"]
    return items


def books(scene: Scene) -> dict[str, Decimal]:
    """What stands on each account in USD; credit is negative."""
    found = scene.ask("GET", "/v1/accounting/trial-balance")["items"]
    return {
        one["account"]: Decimal(one["debit"] or 0) - Decimal(one["credit"] or 0) for one in found
    }


# --- reconciliation ---------------------------------------------------------------------------


def test_late_usage_that_changes_nothing_is_no_gap(scene: Scene) -> None:
    """K15: zero delta = no line; so no adjustment ever comes that would close a gap."""
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    issued(scene, ENDS[0])
    scene.send(event("late", 0, time=OCTOBER))
    assert gaps(scene) == []
    assert [one["status"] for one in scene.ask("GET", "/v1/late-usage")["items"]] == ["no_effect"]


@pytest.mark.parametrize(("policy", "open_"), [("write_off", 0), ("hold", 1), ("adjust", 0)])
def test_a_gap_by_late_usage_is_closed_by_whatever_becomes_of_it(
    scene: Scene, policy: str, open_: int
) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage": policy})
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    issued(scene, ENDS[0])
    scene.send(event("late", 5, time=OCTOBER))
    issued(scene, ENDS[1])
    assert [one["cause"] for one in gaps(scene)] == ["late"] * open_


def test_corrections_of_two_customers_on_one_invoice_are_not_taken_for_each_other(
    scene: Scene,
) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"consolidate": "customer"})
    scene.publish(plan())
    scene.customer("hq")
    scene.customer("kid", parent="hq", paid_by_parent=True)
    for customer in ("hq", "kid"):
        scene.subscribe(customer, start="2026-10-01T00:00:00Z")
    scene.set_clock(OCTOBER)
    scene.send([event("1", 10, subject="hq", time=OCTOBER), event("2", 5, subject="kid")])
    issued(scene, ENDS[0])
    scene.ask("POST", "/v1/events/retract", {"source": "", "id": "1", "reason": "a test"})
    scene.send(event("late", 7, subject="kid", time=OCTOBER))
    invoice = issued(scene, ENDS[1])
    assert [line["amount"] for line in invoice["lines"] if "adjusts" in line] == ["-10.00", "7.00"]
    assert gaps(scene) == []


def test_more_late_usage_is_a_gap_again_also_after_an_adjustment(scene: Scene) -> None:
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    issued(scene, ENDS[0])
    scene.send(event("late", 5, time=OCTOBER))
    issued(scene, ENDS[1])
    assert gaps(scene) == []
    scene.send(event("later", 5, time=OCTOBER))
    assert [one["cause"] for one in gaps(scene)] == ["late"]


# --- explanations -----------------------------------------------------------------------------


def test_explain_says_how_an_adjustment_comes_about(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """55 tokens less a tenth are 49.50; 9.00 were billed."""
    scene.open(plan(discounts=[{"percent": 10, "name": "friends"}]), start="2026-10-01T00:00:00Z")
    scene.set_clock(OCTOBER)
    scene.send(event("1", 10, time=OCTOBER))
    first = issued(scene, ENDS[0])
    scene.send(event("late", 45, time=OCTOBER))
    second = issued(scene, ENDS[1])
    monkeypatch.setenv("TAXIMETER_KEY", scene.key)
    monkeypatch.setenv("COLUMNS", "120")
    (line,) = [one for one in second["lines"] if "adjusts" in one]
    assert main(["explain", second["id"], line["id"], "--url", scene.server.url]) == 0
    assert "comes to 49.50 by now, behind discounts; 9.00 were billed, first on INV-000001" in (
        capsys.readouterr().out
    )
    assert main(["explain", first["id"], "line_2", "--url", scene.server.url]) == 0
    assert "less 1.00 by the discount friends" in capsys.readouterr().out


# --- voids ------------------------------------------------------------------------------------


def credited(scene: Scene) -> dict[str, Any]:
    """October, which 50 of prepaid credit pay whole."""
    at_start(scene)
    scene.ask("PUT", "/v1/billing/settings", {"apply_credits": {"usd": "USD"}})
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    grant = {"id": "g", "credit": "usd", "amount": 50, "kind": "paid"}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    return issued(scene, ENDS[0])


def balance(scene: Scene) -> str:
    return str(scene.ask("GET", "/v1/customers/acme/balance", credit="usd")["balance"])


def test_what_only_credit_has_paid_can_be_void_and_billed_again(scene: Scene) -> None:
    first = credited(scene)
    assert (first["status"], first["amount_due"], balance(scene)) == ("paid", "0.00", "30")
    scene.send(event("late", 5, time=OCTOBER))
    scene.ask("POST", f"/v1/invoices/{first['id']}/void")
    assert balance(scene) == "50"
    assert not any(books(scene).values())
    (again,) = scene.close()
    assert again["total"] == "25.00"
    scene.ask("POST", f"/v1/invoices/{again['id']}/finalize")
    assert balance(scene) == "25"
    assert gaps(scene) == []


def test_a_node_that_died_in_a_void_gives_the_credit_back_when_it_starts(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server)
        first = credited(scene)
    with closing(sqlite3.connect(tmp_path / "data" / "books.db")) as books:
        books.execute("UPDATE invoices SET status = 'void' WHERE id = ?", (first["id"],))
        books.commit()
    with serve(tmp_path, "--sandbox") as server:
        scene.server = server
        eventually(lambda: balance(scene) == "50")


# --- credit notes -----------------------------------------------------------------------------


def test_a_gift_that_a_credit_note_returns_was_never_sold(scene: Scene) -> None:
    """K19: what an invoice took from promotions goes back to them, and is no revenue."""
    scene.ask("PUT", "/v1/billing/settings", {"apply_credits": {"usd": "USD"}})
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    gift = {"id": "gift", "credit": "usd", "amount": 15}
    scene.ask("POST", "/v1/customers/acme/grants", gift, status=201)
    invoice = issued(scene, ENDS[0])
    assert books(scene)["promotions"] == Decimal(15)
    path = f"/v1/invoices/{invoice['id']}/credit-notes"
    scene.ask("POST", path, {"reason": "an outage", "amount": "12"}, status=201)
    assert books(scene)["promotions"] == Decimal(8)
    scene.ask("POST", path, {"reason": "all of it"}, status=201)
    assert scene.ask("GET", "/v1/customers/acme/balance", credit="usd")["balance"] == "15"
    scene.ask("POST", "/v1/accounting/close", {"month": "2026-10"})
    assert not any(books(scene).values())
    assert gaps(scene) == []


def test_a_credit_note_of_no_lines_is_not_one_of_all(scene: Scene) -> None:
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    path = f"/v1/invoices/{issued(scene, ENDS[0])['id']}/credit-notes"
    refused = scene.ask("POST", path, {"reason": "a slip", "lines": []}, status=422)
    assert refused["code"] == "invalid_request"


# --- late usage -------------------------------------------------------------------------------


def test_the_ledger_of_late_usage_counts_each_unit_once(scene: Scene) -> None:
    """Two prices bill the same tokens, one of them by the thousand."""
    document = plan()
    document["plans"]["pro"]["prices"]["thousands"] = {
        "type": "per_unit", "meter": "tokens", "unit": 5,
        "transform": {"divide_by": 1000, "round": "none"}, "group_by": ["model"],
    }  # fmt: skip
    scene.open(document, start="2026-10-01T00:00:00Z")
    scene.set_clock(OCTOBER)
    scene.send(event("1", 2000, time=OCTOBER))
    issued(scene, ENDS[0])
    scene.send(event("late", 600, time=OCTOBER))
    issued(scene, ENDS[1])
    (entry,) = scene.ask("GET", "/v1/late-usage")["items"]
    assert (entry["quantity"], entry["amount"]) == ("600", "603.00")


# --- corrections ------------------------------------------------------------------------------


def test_a_correction_says_what_was_asked_for_as_it_was_asked(scene: Scene) -> None:
    scene.open(plan(), start="2026-10-01T00:00:00Z")
    scene.set_clock(OCTOBER)
    scene.send(event("1", 10, time=OCTOBER))
    query = {"action": "retract", "customer": "acme", "from": OCTOBER, "to": ENDS[0]}
    preview = scene.ask("POST", "/v1/corrections/preview", query)["preview"]
    body = query | {"preview": preview, "reason": "a test"}
    assert scene.ask("POST", "/v1/corrections", body, status=201)["request"] == query
