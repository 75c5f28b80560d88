"""What goes on an invoice, who pays it, and how it becomes final, over HTTP (K10, K13, K15)."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

BASE = {"type": "flat", "amount": 49, "timing": "advance"}
TOKENS = {"type": "per_unit", "meter": "tokens", "unit": "0.01"}


def catalog(**prices: Any) -> dict[str, Any]:
    document = copy.deepcopy(CATALOG)
    document["plans"]["pro"]["prices"] = prices or {"base": BASE, "tokens": TOKENS}
    document["plans"]["max"] = document["plans"]["pro"] | {"prices": {"fee": BASE | {"amount": 99}}}
    return document


def lines(invoice: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(line["kind"], line["price"].partition("@")[0], line["amount"])
            for line in invoice["lines"]]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("invoicing"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock("2026-10-01T00:00:00Z")
    return scene


def settings(scene: Scene, **members: Any) -> None:
    scene.ask("PUT", "/v1/billing/settings", members)


def finalize(scene: Scene, invoice: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = scene.ask("POST", f"/v1/invoices/{invoice['id']}/finalize")
    return answer


# --- one invoice for several ------------------------------------------------------------------


def test_two_subscriptions_have_an_invoice_each_unless_told_otherwise(scene: Scene) -> None:
    scene.publish(catalog())
    scene.customer()
    for plan in ("pro", "max"):
        scene.subscribe(plan=plan, start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-11-01T00:00:00Z")
    assert sorted(one["total"] for one in scene.close()) == ["49.00", "99.00"]


def test_a_customer_can_have_one_invoice_for_all_its_subscriptions(scene: Scene) -> None:
    scene.publish(catalog())
    settings(scene, consolidate="customer")
    scene.customer()
    subscriptions = [
        scene.subscribe(plan=plan, start="2026-10-01T00:00:00Z")["id"] for plan in ("pro", "max")
    ]
    scene.set_clock("2026-10-03T00:00:00Z")
    scene.send([event("e1", 250, time="2026-10-02T00:00:00Z")])
    scene.set_clock("2026-11-01T00:00:00Z")
    (invoice,) = scene.close()
    assert invoice["total"] == "150.50"
    assert sorted(cover["subscription"] for cover in invoice["covers"]) == sorted(subscriptions)
    assert scene.close() == [], "each period is billed once"
    proof = scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")
    assert proof["ok"], proof


def test_a_parent_pays_for_a_child_that_says_so(scene: Scene) -> None:
    scene.publish(catalog())
    settings(scene, consolidate="customer")
    scene.customer("parent")
    scene.customer("child", parent="parent", paid_by_parent=True)
    scene.customer("alone", parent="parent")
    for key in ("parent", "child", "alone"):
        scene.subscribe(key, start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-10-03T00:00:00Z")
    scene.send([event("e1", 250, subject="child", time="2026-10-02T00:00:00Z")])
    scene.set_clock("2026-11-01T00:00:00Z")
    totals = {one["customer"]: one for one in scene.close()}
    assert {key: one["total"] for key, one in totals.items()} == {
        "parent": "100.50",
        "alone": "49.00",
    }
    used = [line for line in totals["parent"]["lines"] if line["quantity"] == "250"]
    assert [line["customer"] for line in used] == ["child"]
    assert scene.ask("GET", f"/v1/invoices/{totals['parent']['id']}/verify")["ok"]
    path = f"/v1/invoices/{totals['parent']['id']}/lines/{used[0]['id']}/events"
    assert [one["event"]["id"] for one in scene.ask("GET", path)["items"]] == ["e1"]


# --- fees in advance ----------------------------------------------------------------------------


def test_a_fee_can_be_billed_ahead_beside_the_usage_of_the_period_before(scene: Scene) -> None:
    scene.publish(catalog())
    settings(scene, advance_fees="ahead")
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    (first,) = scene.close()
    assert lines(first) == [("flat", "pro/base", "49.00")]
    scene.set_clock("2026-10-03T00:00:00Z")
    scene.send([event("e1", 250, time="2026-10-02T00:00:00Z")])
    scene.set_clock("2026-11-01T00:00:00Z")
    (second,) = scene.close()
    assert lines(second) == [("usage", "pro/tokens", "2.50"), ("flat", "pro/base", "49.00")]
    assert [line["period"]["start"][:7] for line in second["lines"]] == ["2026-10", "2026-11"]
    assert scene.close() == []
    assert scene.ask("GET", f"/v1/invoices/{second['id']}/verify")["ok"]


def test_a_change_inside_a_period_settles_what_was_billed_ahead(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    settings(scene, advance_fees="ahead")
    scene.customer()
    subscription = scene.subscribe(start="2026-10-01T00:00:00Z")["id"]
    (first,) = scene.close()
    scene.set_clock("2026-10-11T00:00:00Z")
    scene.ask("POST", f"/v1/subscriptions/{subscription}/cancel", {"at": "now"})
    scene.set_clock("2026-11-01T00:00:00Z")
    assert scene.ask("GET", f"/v1/invoices/{first['id']}/verify")["ok"], "by what was known then"
    (last,) = scene.close()
    assert lines(last) == [
        ("flat", "pro/base", "15.81"),  # 49 x 10 / 31 days (K4)
        ("on_account", "pro/base", "-49.00"),
    ]
    assert last["total"] == "-33.19"
    assert first["id"] in last["lines"][1]["description"]


# --- discounts and tax ----------------------------------------------------------------------------


def test_discounts_come_before_tax_and_credits_after_it(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    issuer = {"name": "Seller", "country": "DE", "tax_id": "DE136695976"}
    rates = [{"country": "DE", "name": "VAT", "rate": "0.19"}]
    tax = {"registrations": [{"country": "DE"}], "rates": rates}
    settings(scene, issuer=issuer, tax=tax, apply_credits={"usd": "USD"})
    scene.customer(billing={"name": "Buyer GmbH", "country": "DE"})
    scene.subscribe(start="2026-10-01T00:00:00Z")
    discount = {"id": "welcome", "percent": "20", "name": "Welcome"}
    scene.ask("POST", "/v1/customers/acme/discounts", discount, status=201)
    grant = {"id": "g1", "credit": "usd", "amount": "10", "kind": "paid"}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    scene.set_clock("2026-11-01T00:00:00Z")
    (draft,) = scene.close()
    assert (draft["subtotal"], draft["discount"], draft["tax"], draft["total"]) == (
        "49.00", "9.80", "7.45", "46.65",
    )  # fmt: skip
    assert (draft["credits_applied"], draft["billed_to"]["name"]) == ("0.00", "Buyer GmbH")
    issued = finalize(scene, draft)
    assert (issued["credits_applied"], issued["amount_due"]) == ("10.00", "36.65")
    assert issued["credits"] == [{"grant": "g1", "credit": "usd", "amount": "10.00"}]
    assert issued["due_at"].startswith("2026-11-15")
    balance = scene.ask("GET", "/v1/customers/acme/balance", credit="usd")
    assert balance["balance"] == "0"


def test_credit_pays_whole_minor_units_and_an_invoice_without_rest_is_paid(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    settings(scene, apply_credits={"usd": "USD"})
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    grant = {"id": "g1", "credit": "usd", "amount": "100.005"}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    scene.set_clock("2026-11-01T00:00:00Z")
    (draft,) = scene.close()
    issued = finalize(scene, draft)
    assert (issued["amount_due"], issued["status"]) == ("0.00", "paid")
    balance = scene.ask("GET", "/v1/customers/acme/balance", credit="usd")
    assert balance["balance"] == "51.005"


def test_a_void_invoice_gives_its_credit_back_and_its_period_bills_again(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    settings(scene, apply_credits={"usd": "USD"})
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    for grant, amount, priority in (("g1", "10", 2), ("g2", "20", 1)):
        body = {"id": grant, "credit": "usd", "amount": amount, "priority": priority}
        scene.ask("POST", "/v1/customers/acme/grants", body, status=201)
    scene.set_clock("2026-11-01T00:00:00Z")
    (draft,) = scene.close()
    issued = finalize(scene, draft)
    assert [(one["grant"], one["amount"]) for one in issued["credits"]] == [
        ("g2", "20.00"),
        ("g1", "10.00"),
    ], "in burn order (K13)"
    scene.ask("POST", f"/v1/invoices/{issued['id']}/void", {"reason": "wrong plan"})
    balance = scene.ask("GET", "/v1/customers/acme/balance", credit="usd")
    assert {one["id"]: one["remaining"] for one in balance["grants"]} == {"g1": "10", "g2": "20"}
    kinds = [row["kind"] for row in scene.ask("GET", "/v1/customers/acme/ledger")["items"]]
    assert kinds == ["grant", "grant", "spend", "reverse"]
    (second,) = scene.close()
    assert finalize(scene, second)["number"] == "INV-000002"
    sums = [Decimal(row["amount"]) for row in scene.ask("GET", "/v1/ledger/trial-balance")["items"]]
    assert sum(sums) == 0


# --- review ---------------------------------------------------------------------------------------


def test_what_is_held_is_approved_before_it_is_issued(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-11-01T00:00:00Z")
    (draft,) = scene.close()
    path = f"/v1/invoices/{draft['id']}"
    held = scene.ask("POST", f"{path}/hold", {"reason": "new customer"})
    assert (held["status"], held["review"]["reasons"]) == ("in_review", ["new customer"])
    assert scene.ask("POST", f"{path}/finalize", status=409)["code"] == "invoice_in_review"
    approved = scene.ask("POST", f"{path}/approve", {"note": "called them"})
    assert (approved["status"], approved["review"]["note"]) == ("draft", "called them")
    again = scene.ask("POST", f"{path}/approve", status=409)
    assert again["code"] == "invoice_not_in_review"
    issued = finalize(scene, draft)
    assert (issued["status"], issued["number"]) == ("issued", "INV-000001")
    assert issued["digest"].startswith("sha256:")


def test_a_tax_that_cannot_be_said_holds_the_invoice(scene: Scene) -> None:
    scene.publish(catalog(base=BASE))
    tax = {"registrations": [{"country": "DE"}], "rates": []}
    settings(scene, issuer={"name": "Seller", "country": "DE"}, tax=tax)
    scene.customer(billing={"name": "Buyer", "country": "DE"})
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-11-01T00:00:00Z")
    (held,) = scene.close()
    assert held["status"] == "in_review"
    assert len(held["review"]["reasons"]) == 1


def test_a_draft_is_made_again_with_what_arrived_meanwhile(scene: Scene) -> None:
    scene.publish(catalog(tokens=TOKENS))
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-11-01T00:00:00Z")
    (draft,) = scene.close()
    scene.send([event("late", 300, time="2026-10-20T00:00:00Z")])
    again = scene.ask("POST", f"/v1/invoices/{draft['id']}/refresh")
    assert (draft["total"], again["total"], again["id"]) == ("0.00", "3.00", draft["id"])
    finalize(scene, draft)
    refused = scene.ask("POST", f"/v1/invoices/{draft['id']}/refresh", status=409)
    assert refused["code"] == "invoice_not_draft"


def test_an_unusual_total_waits_for_a_person(scene: Scene) -> None:
    scene.publish(catalog(tokens=TOKENS))
    settings(scene, review="anomalies")
    scene.customer()
    scene.subscribe(start="2026-09-01T00:00:00Z")
    scene.send([event("sep", 2000, time="2026-09-20T00:00:00Z")])
    (usual,) = scene.close()
    finalize(scene, usual)
    scene.set_clock("2026-10-20T00:00:00Z")
    scene.send([event("oct", 20_000, time="2026-10-20T00:00:00Z")])
    scene.set_clock("2026-11-01T00:00:00Z")
    (held,) = scene.close()
    assert (held["status"], held["total"]) == ("in_review", "200.00")
    assert held["review"]["reasons"] == [
        "The total 200.00 USD is more than three times the usual 20.00."
    ]
    assert [one["id"] for one in scene.ask("GET", "/v1/invoices", status_="in_review")["items"]]


# --- by itself -----------------------------------------------------------------------------------


def until(scene: Scene, wanted: int, **query: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = scene.ask("GET", "/v1/invoices", **query)["items"]
        if len(found) >= wanted:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_periods_close_and_invoices_are_issued_by_themselves_after_their_grace(
    scene: Scene,
) -> None:
    scene.publish(catalog(tokens=TOKENS))
    settings(scene, auto_close=True, auto_issue=True, grace="1d")
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.set_clock("2026-11-01T00:00:00Z")
    until(scene, 1, status_="draft")
    scene.send([event("late", 300, time="2026-10-20T00:00:00Z")])
    scene.set_clock("2026-11-02T00:00:01Z")
    (issued,) = until(scene, 1, status_="issued")
    assert (issued["number"], issued["total"]) == ("INV-000001", "3.00"), "late, in its grace"
    audit = scene.ask("GET", "/v1/audit")["items"]
    assert [one["actor"] for one in audit if one["action"] == "invoice.finalize"] == ["system"]


def test_usage_is_billed_on_account_at_thresholds_and_once_in_all(scene: Scene) -> None:
    scene.publish(catalog(base=BASE, tokens=TOKENS))
    settings(scene, thresholds={"USD": ["10", "30"]}, auto_close=True)
    scene.customer()
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.send([event("a", 1100)])
    (first,) = until(scene, 1)
    assert (lines(first), first["covers"][0]["part"]) == (
        [("usage", "pro/tokens", "11.00")],
        "on_account:1",
    )
    scene.send([event("b", 2000)])
    second = until(scene, 2)[0]
    assert lines(second) == [
        ("usage", "pro/tokens", "31.00"),
        ("on_account", "pro/tokens", "-11.00"),
    ]
    scene.send([event("c", 100)])
    scene.set_clock("2026-11-01T00:00:00Z")
    last = until(scene, 3)[0]
    assert lines(last) == [
        ("flat", "pro/base", "49.00"),
        ("usage", "pro/tokens", "32.00"),
        ("on_account", "pro/tokens", "-11.00"),
        ("on_account", "pro/tokens", "-20.00"),
    ]
    assert scene.ask("GET", f"/v1/invoices/{last['id']}/verify")["ok"]
