"""Late events, corrections and what they do to invoices (K15), over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.integration.scene import Scene, event
from tests.integration.test_billing_http import plan
from tests.serving import Served, serve

OCTOBER = "2026-10-10T12:00:00Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("adjustments"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    """October is billed: 1000 tokens by graduated tiers come to 90.00."""
    scene = Scene(server)
    scene.set_clock("2026-11-02T12:00:00Z")
    tiers = [{"up_to": 500, "unit": "0.10"}, {"unit": "0.08"}]
    return scene.open(
        plan({"tokens": {"type": "graduated", "meter": "tokens", "tiers": tiers}}),
        start="2026-10-01T00:00:00Z",
    )


def issued(scene: Scene) -> dict[str, Any]:
    (draft,) = scene.close()
    answer: dict[str, Any] = scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    return answer


def adjustments(invoice: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for line in invoice["lines"] if line["kind"] == "adjustment"]


def late_usage(scene: Scene, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = scene.raw("GET", "/v1/late-usage", **query).json()["items"]
    return items


def test_late_usage_is_a_line_of_the_next_invoice_and_the_old_one_stays(scene: Scene) -> None:
    """K15: rated as if on time, less what was billed."""
    scene.send(event("1", 1000, time=OCTOBER))
    october = issued(scene)
    assert october["total"] == "90.00"
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    (november,) = scene.close()
    (line,) = adjustments(november)
    assert line["amount"] == "8.00", "the late tokens are in the second tier of October"
    assert line["quantity"] == "1100"
    assert line["lineage"]["events"] == 2
    assert line["adjusts"] == {
        "invoice": october["id"], "number": october["number"],
        "period": october["period"], "billed": "90.00", "rerated": "98.00",
    }  # fmt: skip
    assert november["period"]["start"] == "2026-11-01T00:00:00Z"
    assert scene.invoice(october["id"]) == october
    assert scene.ask("GET", f"/v1/invoices/{november['id']}/verify")["ok"]


def test_corrections_over_months_add_up(scene: Scene) -> None:
    """K15: each adjustment takes off what those before it billed."""
    scene.send(event("1", 400, time=OCTOBER))
    issued(scene)
    amounts = []
    for month, tokens in (("12", 200), ("01", 300)):
        scene.send(event(f"late-{month}", tokens, time=OCTOBER))
        year = "2027" if month == "01" else "2026"
        scene.set_clock(f"{year}-{month}-02T12:00:00Z")
        amounts += [line["amount"] for line in adjustments(issued(scene))]
    assert amounts == ["18.00", "24.00"]  # 50.00 + 8.00 for 600, then 82.00 for 900


def test_a_retraction_is_given_back_also_below_zero(scene: Scene) -> None:
    scene.send(event("1", 1000, time=OCTOBER))
    issued(scene)
    scene.ask("POST", "/v1/events/retract", {"source": "", "id": "1", "reason": "not theirs"})
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    (line,) = adjustments(november)
    assert (line["amount"], line["quantity"]) == ("-90.00", "0")
    assert november["total"] == "-90.00"
    assert scene.ask("GET", f"/v1/invoices/{november['id']}/verify")["ok"]
    (entry,) = late_usage(scene, customer="acme")
    assert (entry["status"], entry["retractions"], entry["amount"]) == ("adjusted", 1, "-90.00")
    assert entry["quantity"] == "-1000"
    assert entry["settled_on"] == {
        "invoice": november["id"], "lines": [line["id"]], "credit_note": None,
    }  # fmt: skip


def test_the_ledger_says_what_waits_comes_to(scene: Scene) -> None:
    scene.send(event("1", 1000, time=OCTOBER))
    issued(scene)
    for n, amount in enumerate(["4.00", "8.00"], start=1):
        scene.send(event(f"late {n}", 50, time=OCTOBER))
        (entry,) = late_usage(scene)
        assert (entry["status"], entry["events"], entry["amount"]) == ("pending", n, amount)


def test_what_changes_nothing_is_no_line(scene: Scene) -> None:
    """K15: zero delta = no line."""
    scene.send(event("1", 1000, time=OCTOBER))
    issued(scene)
    scene.send(event("nothing", 0, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []
    assert [one["status"] for one in late_usage(scene)] == ["no_effect"]


def test_late_usage_of_a_draft_is_on_that_draft_once_it_is_made_again(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    (draft,) = scene.close()
    scene.send(event("late", 100, time=OCTOBER))
    again = scene.ask("POST", f"/v1/invoices/{draft['id']}/refresh")
    assert again["total"] == "20.00"
    (entry,) = late_usage(scene)
    assert (entry["status"], entry["settled_on"]["invoice"]) == ("repriced", draft["id"])
    scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []


def test_a_meter_can_have_drafts_made_again_for_late_usage(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage_by_meter": {"tokens": "reprice"}})
    scene.send(event("1", 100, time=OCTOBER))
    (draft,) = scene.close()
    scene.send(event("late", 100, time=OCTOBER))
    scene.close()
    assert scene.invoice(draft["id"])["total"] == "20.00"


def test_a_void_draft_gives_its_adjustments_to_the_next_one(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    (draft,) = scene.close()
    assert [line["amount"] for line in adjustments(draft)] == ["10.00"]
    scene.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "once more"})
    assert [line["amount"] for line in adjustments(issued(scene))] == ["10.00"]


def test_a_draft_made_again_has_its_adjustments_again(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    (draft,) = scene.close()
    scene.send(event("later", 50, time=OCTOBER))
    again = scene.ask("POST", f"/v1/invoices/{draft['id']}/refresh")
    assert [line["amount"] for line in adjustments(again)] == ["15.00"]
    assert scene.ask("GET", f"/v1/invoices/{draft['id']}/verify")["ok"]


def test_a_void_invoice_is_billed_again_less_what_was_adjusted(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    october = issued(scene)
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    issued(scene)
    scene.ask("POST", f"/v1/invoices/{october['id']}/void", {"reason": "wrong address"})
    assert issued(scene)["total"] == "10.00", "20.00 in all, of which November's has 10.00"


def test_a_subject_claimed_later_is_billed_for_its_past(scene: Scene) -> None:
    scene.send([event("1", 100, time=OCTOBER), event("2", 50, subject="bot", time=OCTOBER)])
    assert issued(scene)["total"] == "10.00"
    scene.customer(subjects=["bot"])
    scene.set_clock("2026-12-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["5.00"]


def test_a_subject_that_moves_is_not_billed_twice(scene: Scene) -> None:
    scene.customer(subjects=["bot"])
    scene.customer("beta")
    scene.subscribe("beta", start="2026-10-01T00:00:00Z")
    scene.send([event("1", 100, subject="bot", time=OCTOBER), event("2", 1, subject="beta")])
    for draft in scene.close():
        scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    scene.customer(subjects=[])
    scene.customer("beta", subjects=["bot"])
    scene.send(event("late", 10, subject="beta", time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    lines = [line for draft in scene.close() for line in adjustments(draft)]
    assert [line["amount"] for line in lines] == ["1.00"]


def test_what_comes_after_the_last_invoice_has_one_of_its_own(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    (subscription,) = scene.ask("GET", "/v1/subscriptions")["items"]
    scene.ask("POST", f"/v1/subscriptions/{subscription['id']}/cancel", {"at": "now"})
    for draft in scene.close():
        scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    scene.send(event("late", 100, time=OCTOBER))
    (last,) = scene.close()
    assert [line["amount"] for line in last["lines"]] == ["10.00"]
    assert scene.close() == []


def test_late_usage_within_the_minimum_costs_nothing(server: Served) -> None:
    """Minimum and cap of the old period hold for it as if it had come on time."""
    scene = Scene(server)
    scene.set_clock("2026-11-02T12:00:00Z")
    scene.open(
        plan({"tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"}}, minimum=10),
        start="2026-10-01T00:00:00Z",
    )
    scene.send(event("1", 400, time=OCTOBER))
    assert issued(scene)["total"] == "10.00"
    scene.send(event("late", 800, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    lines = adjustments(issued(scene))
    assert [(line["price"], line["amount"]) for line in lines] == [
        ("pro/tokens@1", "8.00"), ("pro/minimum@1", "-6.00"),
    ]  # fmt: skip


def test_written_off_usage_is_recorded_and_never_billed(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage": "write_off"})
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 50, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []
    (entry,) = late_usage(scene, status="written_off")
    assert (entry["amount"], entry["quantity"], entry["events"]) == ("5.00", "50", 1)
    scene.ask("PUT", "/v1/billing/settings", {"late_usage": "adjust"})
    scene.send(event("later", 10, time=OCTOBER))
    scene.set_clock("2027-01-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["1.00"]


def test_held_usage_waits_for_a_person(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage_by_meter": {"tokens": "hold"}})
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 50, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []
    (entry,) = late_usage(scene, status="held")
    assert entry["amount"] == "5.00"
    released = scene.ask("POST", f"/v1/late-usage/{entry['id']}/release", {"reason": "they agreed"})
    assert released["status"] == "pending"
    scene.set_clock("2027-01-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["5.00"]
    assert scene.raw("POST", f"/v1/late-usage/{entry['id']}/write-off", {}).status == 409


def test_a_person_writes_off_what_was_held(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage": "hold"})
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 50, time=OCTOBER))
    scene.close()
    (entry,) = late_usage(scene)
    gone = scene.ask("POST", f"/v1/late-usage/{entry['id']}/write-off", {"reason": "goodwill"})
    assert (gone["status"], gone["amount"]) == ("written_off", "5.00")
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []


def test_late_usage_of_a_new_group_and_of_an_amendment(server: Served) -> None:
    scene = Scene(server)
    scene.set_clock("2026-11-02T12:00:00Z")
    price = {"type": "per_unit", "meter": "tokens", "unit": "0.01", "group_by": ["model"]}
    scene.open(plan({"tokens": price}), start="2026-10-01T00:00:00Z")
    scene.send(event("1", time=OCTOBER, data={"tokens": 100, "model": "opus"}))
    issued(scene)
    amended = {"tokens": 70, "model": "haiku"}
    scene.ask("POST", "/v1/events/amend", {"source": "", "id": "1", "data": amended, "reason": "x"})
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    lines = adjustments(november)
    assert [(line["group"]["model"], line["amount"]) for line in lines] == [
        ("haiku", "0.70"), ("opus", "-1.00"),
    ]  # fmt: skip
    assert scene.ask("GET", f"/v1/invoices/{november['id']}/verify")["ok"]
    (entry,) = late_usage(scene)
    assert (entry["events"], entry["retractions"], entry["quantity"]) == (1, 1, "-30")


def test_discounts_of_the_old_period_hold_for_its_late_usage(scene: Scene) -> None:
    scene.ask("PUT", "/v1/coupons/half", {"percent": 50, "duration": {"periods": 2}})
    scene.ask("POST", "/v1/customers/acme/discounts", {"coupon": "half"}, status=201)
    scene.send(event("1", 100, time="2026-11-01T12:00:00Z"))
    issued(scene)
    scene.set_clock("2026-12-02T12:00:00Z")
    assert issued(scene)["total"] == "5.00"
    scene.send(event("late", 100, time="2026-11-01T12:00:00Z"))
    scene.set_clock("2027-02-02T12:00:00Z")
    lines = [line for draft in scene.close() for line in adjustments(draft)]
    assert [line["amount"] for line in lines] == ["5.00"]


def test_a_late_level_changes_the_periods_after_it(server: Served) -> None:
    """A weighted sum goes on: what was there at the end of October was there in November."""
    scene = Scene(server)
    scene.set_clock("2026-11-02T12:00:00Z")
    document = plan({"disk": {"type": "per_unit", "meter": "disk", "unit": "1"}})
    document["meters"]["disk"] = {
        "event_type": "disk.size", "aggregation": "weighted_sum", "value": "data.gb", "per": "day",
    }  # fmt: skip
    scene.open(document, start="2026-10-01T00:00:00Z")
    issued(scene)
    scene.set_clock("2026-12-02T12:00:00Z")
    issued(scene)
    scene.send(event("late", type="disk.size", time="2026-10-31T00:00:00Z", data={"gb": 2}))
    scene.set_clock("2027-01-02T12:00:00Z")
    lines = adjustments(issued(scene))
    assert [(line["period"]["start"][:7], line["amount"]) for line in lines] == [
        ("2026-10", "2.00"), ("2026-11", "60.00"),
    ]  # fmt: skip


def test_a_parent_pays_for_what_comes_late_of_its_child(scene: Scene) -> None:
    scene.customer("holding")
    scene.customer(parent="holding", paid_by_parent=True)
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    (line,) = adjustments(november)
    assert (november["customer"], line["customer"], line["amount"]) == ("holding", "acme", "10.00")
    assert scene.ask("GET", f"/v1/invoices/{november['id']}/verify")["ok"]


def test_closing_twice_at_once_adjusts_once(scene: Scene) -> None:
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: scene.raw("POST", "/v1/close", {}), range(4)))
    drafts = scene.ask("GET", "/v1/invoices")["items"]
    assert [line["amount"] for draft in drafts for line in adjustments(draft)] == ["10.00"]


def test_what_was_written_off_is_no_gap(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"late_usage": "write_off"})
    scene.send(event("1", 100, time=OCTOBER))
    issued(scene)
    scene.send(event("late", 50, time=OCTOBER))
    assert scene.ask("POST", "/v1/reconciliation/run")["items"] == []
    scene.set_clock("2026-12-02T12:00:00Z")
    scene.close()
    assert scene.ask("POST", "/v1/reconciliation/run")["items"] == []


def test_an_adjustment_is_taxed_at_the_rate_of_its_own_period(scene: Scene) -> None:
    """K6: on the sum of each rate's lines, rounded once per rate."""
    rate = {"name": "VAT", "country": "DE"}
    rates = [
        rate | {"rate": "0.19", "until": "2026-11-01T00:00:00Z"},
        rate | {"rate": "0.16", "from": "2026-11-01T00:00:00Z"},
    ]
    tax = {"registrations": [{"country": "DE"}], "rates": rates}
    scene.ask("PUT", "/v1/billing/settings", {"tax": tax})
    scene.customer(billing={"name": "Acme", "country": "DE"})
    scene.send(event("1", 100, time=OCTOBER))
    assert issued(scene)["tax"] == "1.90"
    scene.send([event("late", 100, time=OCTOBER), event("2", 50)])
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    assert sorted((one["rate"], one["taxable"], one["amount"]) for one in november["taxes"]) == [
        ("0.16", "5.00", "0.80"), ("0.19", "10.00", "1.90"),
    ]  # fmt: skip
    assert november["total"] == "17.70"


def test_all_subscriptions_on_one_invoice_are_adjusted_together(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"consolidate": "customer"})
    scene.customer("child", parent="acme", paid_by_parent=True)
    scene.subscribe("child", start="2026-10-01T00:00:00Z")
    scene.send([event("1", 100, time=OCTOBER), event("2", 100, subject="child", time=OCTOBER)])
    assert issued(scene)["total"] == "20.00"
    scene.send([event("3", 10, time=OCTOBER), event("4", 20, subject="child", time=OCTOBER)])
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    lines = adjustments(november)
    assert [(line.get("customer"), line["amount"]) for line in lines] == [
        (None, "1.00"), ("child", "2.00"),
    ]  # fmt: skip
    assert scene.ask("GET", f"/v1/invoices/{november['id']}/verify")["ok"]
