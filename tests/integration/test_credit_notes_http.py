"""Credit notes, disputes, rating again and correcting at once, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from tests.integration.scene import Scene, event
from tests.integration.test_adjustments_http import OCTOBER, adjustments, issued
from tests.integration.test_billing_http import plan
from tests.serving import Served, serve

PRICES: dict[str, Any] = {
    "base": {"type": "flat", "amount": 50},
    "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"},
}
GERMANY = {
    "tax": {
        "registrations": [{"country": "DE"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    }
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("credit-notes"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    """50.00 a month, and 1 cent a token."""
    scene = Scene(server)
    scene.set_clock("2026-11-02T12:00:00Z")
    return scene.open(plan(PRICES), start="2026-10-01T00:00:00Z")


def october(scene: Scene, tokens: int = 1000) -> dict[str, Any]:
    """An issued invoice over 60.00."""
    scene.send(event("1", tokens, time=OCTOBER))
    return issued(scene)


def credit(scene: Scene, invoice: dict[str, Any], *, status: int = 201, **wish: Any) -> Any:
    body = {"reason": "an outage", **wish}
    return scene.ask("POST", f"/v1/invoices/{invoice['id']}/credit-notes", body, status=status)


# --- credit notes -----------------------------------------------------------------------------


def test_a_part_of_a_line_is_taken_back_under_a_number_of_its_own(scene: Scene) -> None:
    invoice = october(scene)
    note = credit(scene, invoice, lines=[{"line": "line_2", "amount": "4.00"}])
    assert (note["number"], note["status"], note["total"]) == ("CN-000001", "issued", "4.00")
    assert note["lines"] == [{"line": "line_2", "description": "tokens", "amount": "4.00"}]
    after = scene.invoice(invoice["id"])
    assert (after["credited"], after["amount_remaining"]) == ("4.00", "56.00")
    assert after["digest"] == invoice["digest"], "the invoice never changes"
    assert scene.ask("GET", f"/v1/credit-notes/{note['id']}") == note
    path = f"/v1/invoices/{invoice['id']}/credit-notes"
    assert scene.ask("GET", path)["items"] == [note]


def test_its_digest_is_of_its_canonical_json(scene: Scene) -> None:
    note = credit(scene, october(scene))
    beside = ("digest", "status", "requested", "made_by", "made_at", "decided_by", "decided_at")
    content = {name: value for name, value in note.items() if name not in beside}
    canonical = msgspec.json.encode(content, order="sorted")
    assert note["digest"] == f"sha256:{sha256(canonical).hexdigest()}"


def test_a_quantity_is_taken_back_at_what_it_cost(scene: Scene) -> None:
    note = credit(scene, october(scene), lines=[{"line": "line_2", "quantity": 250}])
    assert (note["total"], note["lines"][0]["quantity"]) == ("2.50", "250")


def test_an_amount_is_a_number_or_text_and_exact(scene: Scene) -> None:
    invoice = october(scene)
    first = credit(scene, invoice, id="a", amount=5.1)
    assert first["total"] == "5.10"
    assert credit(scene, invoice, id="a", amount="5.1") == first
    line = {"line": "line_1", "amount": 1.15}
    assert credit(scene, invoice, lines=[line])["total"] == "1.15"


def test_all_of_it_leaves_nothing_to_pay(scene: Scene) -> None:
    invoice = october(scene)
    assert credit(scene, invoice)["total"] == "60.00"
    assert scene.invoice(invoice["id"])["status"] == "paid"
    for wish in ({}, {"amount": "0.01"}):
        assert credit(scene, invoice, status=422, **wish)["code"] == "exceeds_invoice"
    assert scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")["ok"]


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"amount": "60.01"}, 422, "exceeds_invoice"),
        ({"lines": [{"line": "line_1", "amount": "50.01"}]}, 422, "exceeds_invoice"),
        ({"lines": [{"line": "line_9", "amount": "1"}]}, 404, "not_found"),
        ({"lines": [{"line": "line_1", "amount": "0"}]}, 422, "invalid_amount"),
        ({"lines": [{"line": "line_1", "amount": "-1"}]}, 422, "invalid_amount"),
        ({"lines": [{"line": "line_1", "amount": "0.005"}]}, 422, "invalid_amount"),
        ({"lines": [{"line": "line_2", "quantity": 1001}]}, 422, "invalid_request"),
        ({"lines": [{"line": "line_1"}, {"line": "line_1"}]}, 422, "invalid_request"),
        ({"lines": [{"line": "line_1"}], "amount": "1"}, 422, "invalid_request"),
        ({"reason": " "}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_taken_back_is_refused(
    scene: Scene, wish: dict[str, Any], status: int, code: str
) -> None:
    invoice = october(scene)
    assert credit(scene, invoice, status=status, **wish)["code"] == code
    assert credit(scene, invoice, amount="1")["number"] == "CN-000001", "no number is lost"


def test_a_draft_and_a_void_invoice_are_not_credited(scene: Scene) -> None:
    scene.send(event("1", 1000, time=OCTOBER))
    (draft,) = scene.close()
    assert credit(scene, draft, status=409)["code"] == "invoice_not_issued"
    scene.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "wrong"})
    assert credit(scene, draft, status=409)["code"] == "invoice_not_issued"


def test_the_same_id_again_is_the_same_credit_note(scene: Scene) -> None:
    invoice = october(scene)
    first = credit(scene, invoice, id="outage-7", amount="5")
    assert credit(scene, invoice, id="outage-7", amount="5") == first
    other = credit(scene, invoice, id="outage-7", amount="6", status=409)
    assert other["code"] == "credit_note_exists"


def test_many_at_once_never_take_back_more_than_the_invoice(scene: Scene) -> None:
    invoice = october(scene)
    path = f"/v1/invoices/{invoice['id']}/credit-notes"
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(
                lambda _: scene.raw("POST", path, {"reason": "race", "amount": "25"}), range(8)
            )
        )
    assert sorted(one.status for one in replies) == [201, 201, *[422] * 6]
    numbers = sorted(one.json()["number"] for one in replies if one.status == 201)
    assert numbers == ["CN-000001", "CN-000002"]


def test_tax_is_taken_back_at_its_rate_and_parts_add_up_to_all(scene: Scene) -> None:
    """K6: 19 % of 60.00 is 11.40, whatever parts it is taken back in."""
    scene.ask("PUT", "/v1/billing/settings", GERMANY)
    scene.customer(billing={"name": "Acme", "country": "DE"})
    invoice = october(scene)
    assert invoice["total"] == "71.40"
    first = credit(scene, invoice, lines=[{"line": "line_2", "amount": "3.33"}])
    assert (first["subtotal"], first["tax"], first["total"]) == ("3.33", "0.63", "3.96")
    second = credit(scene, invoice, amount="10.00")
    assert (second["total"], second["tax"]) == ("10.00", "1.60")
    rest = credit(scene, invoice)
    assert [rest["subtotal"], rest["tax"], rest["total"]] == ["48.27", "9.17", "57.44"]


def test_what_was_paid_becomes_a_balance_for_the_next_invoice(scene: Scene) -> None:
    invoice = october(scene)
    money = {"id": f"p-{scene.namespace}", "customer": "acme", "amount": "60.00",
             "currency": "USD"}  # fmt: skip
    scene.ask("POST", "/v1/payments", money, status=201)
    credit(scene, invoice, amount="20.00")
    scene.set_clock("2026-12-02T12:00:00Z")
    november = issued(scene)
    assert scene.invoice(november["id"])["amount_remaining"] == "30.00"


def test_prepaid_credit_goes_back_into_its_grant(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"apply_credits": {"usd": "USD"}})
    scene.ask("POST", "/v1/customers/acme/grants", {"id": f"g-{scene.namespace}",
              "credit": "usd", "amount": "40"}, status=201)  # fmt: skip
    invoice = october(scene)
    assert (invoice["credits_applied"], invoice["amount_due"]) == ("40.00", "20.00")

    def balance() -> str:
        return str(scene.ask("GET", "/v1/customers/acme/balance", credit="usd")["balance"])

    assert balance() == "0"
    assert credit(scene, invoice, amount="15.00")["credits_returned"] == "0.00"
    assert credit(scene, invoice, amount="15.00")["credits_returned"] == "10.00"
    assert balance() == "10"
    credit(scene, invoice)
    assert balance() == "40"
    assert scene.invoice(invoice["id"])["status"] == "paid"


def test_above_a_size_it_takes_two_people(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes": {"USD": "20"}})
    invoice = october(scene)
    assert credit(scene, invoice, amount="19.99")["status"] == "issued"
    waiting = credit(scene, invoice, amount="20.00")
    assert (waiting["status"], waiting["number"]) == ("pending", None)
    path = f"/v1/credit-notes/{waiting['id']}"
    assert scene.ask("POST", f"{path}/approve", status=403)["code"] == "four_eyes"
    done = scene.ask("POST", f"{path}/approve", key=scene.new_key("write"))
    assert (done["status"], done["number"], done["total"]) == ("issued", "CN-000002", "20.00")
    again = scene.ask("POST", f"{path}/approve", key=scene.new_key("write"), status=409)
    assert again["code"] == "credit_note_settled"
    other = credit(scene, invoice, amount="20.00")
    rejected = scene.ask("POST", f"/v1/credit-notes/{other['id']}/reject", {"reason": "no"})
    assert rejected["status"] == "rejected"


# --- disputes ---------------------------------------------------------------------------------


def test_a_disputed_line_is_credited_or_stays(scene: Scene) -> None:
    invoice = october(scene)
    path = f"/v1/invoices/{invoice['id']}/lines/line_2/dispute"
    opened = scene.ask("POST", path, {"reason": "not ours"}, status=201)
    assert (opened["status"], opened["amount"]) == ("open", "10.00")
    assert scene.invoice(invoice["id"])["disputed"] == ["line_2"]
    assert scene.ask("POST", path, {"reason": "x"}, status=409)["code"] == "already_disputed"
    ended = scene.ask("POST", f"{path}/resolve", {"outcome": "credited", "amount": "4"})
    note = scene.ask("GET", f"/v1/credit-notes/{ended['credit_note']}")
    assert (ended["status"], note["total"]) == ("credited", "4.00")
    assert "disputed" not in scene.invoice(invoice["id"])
    problem = scene.ask("POST", f"{path}/resolve", {"outcome": "rejected"}, status=409)
    assert problem["code"] == "not_disputed"
    scene.ask("POST", path, {"reason": "still not ours"}, status=201)
    assert scene.ask("POST", f"{path}/resolve", {"outcome": "rejected"})["status"] == "rejected"
    assert scene.ask("GET", path)["reason"] == "still not ours"


# --- rated again, corrected at once -----------------------------------------------------------


def test_rating_again_shows_the_difference_and_changes_nothing(scene: Scene) -> None:
    invoice = october(scene)
    scene.send(event("late", 500, time=OCTOBER))
    asked = {"customer": "acme", "period": "2026-10"}
    found = scene.ask("POST", "/v1/rerate", asked)
    assert [(one["billed"], one["rerated"], one["delta"], one["cause"]) for one in found["lines"]] \
        == [("50.00", "50.00", "0.00", None), ("10.00", "15.00", "5.00", "events")]  # fmt: skip
    total = {"currency": "USD", "billed": "60.00", "rerated": "65.00", "delta": "5.00"}
    assert found["totals"] == [total]
    assert scene.ask("POST", "/v1/rerate", asked | {"period": invoice["period"]}) == found
    assert scene.ask("POST", "/v1/rerate", {"invoice": invoice["id"]})["lines"] == found["lines"]
    assert scene.invoice(invoice["id"]) == invoice


def test_rating_again_by_another_catalogue(scene: Scene) -> None:
    october(scene)
    scene.publish(plan(PRICES | {"tokens": PRICES["tokens"] | {"unit": "0.03"}}))
    found = scene.ask(
        "POST", "/v1/rerate", {"customer": "acme", "period": "2026-10", "catalog_version": 2}
    )
    (line,) = [one for one in found["lines"] if one["meter"]]
    assert (line["delta"], line["cause"], line["price"]) == ("20.00", "catalog", "pro/tokens@2")
    missing = {"customer": "acme", "period": "2026-10", "catalog_version": 9}
    assert scene.ask("POST", "/v1/rerate", missing, status=404)["code"] == "not_found"


def test_an_invoice_is_corrected_at_once_by_one_of_adjustments_alone(scene: Scene) -> None:
    invoice = october(scene)
    path = f"/v1/invoices/{invoice['id']}/correct"
    problem = scene.ask("POST", path, {"mode": "adjust"}, status=409)
    assert problem["code"] == "nothing_to_adjust"
    scene.send(event("late", 500, time=OCTOBER))
    draft = scene.ask("POST", path, {"mode": "adjust"}, status=201)
    assert (draft["status"], [line["amount"] for line in draft["lines"]]) == ("draft", ["5.00"])
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == []


def test_what_came_out_too_high_is_given_back_by_a_credit_note(scene: Scene) -> None:
    """K15: the alternative; the next invoice does not give it back once more."""
    scene.send(event("too much", 400, time=OCTOBER))
    invoice = october(scene)
    scene.ask("POST", "/v1/events/retract", {"source": "", "id": "too much", "reason": "test"})
    path = f"/v1/invoices/{invoice['id']}/correct"
    note = scene.ask("POST", path, {"mode": "credit_note", "reason": "a test"}, status=201)
    assert (note["total"], note["corrects"]) == ("4.00", True)
    (entry,) = scene.ask("GET", "/v1/late-usage")["items"]
    assert entry["status"] == "credited"
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["1.00"]


def test_a_correction_that_is_rejected_is_on_the_next_invoice(scene: Scene) -> None:
    scene.send(event("too much", 400, time=OCTOBER))
    invoice = october(scene)
    scene.ask("POST", "/v1/events/retract", {"source": "", "id": "too much", "reason": "test"})
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes": {"USD": "1"}})
    path = f"/v1/invoices/{invoice['id']}/correct"
    note = scene.ask("POST", path, {"mode": "credit_note"}, status=201)
    assert note["status"] == "pending"
    scene.set_clock("2026-12-02T12:00:00Z")
    assert adjustments(issued(scene)) == [], "the credit note may still give it back"
    scene.ask("POST", f"/v1/credit-notes/{note['id']}/reject", {"reason": "by invoice"})
    scene.set_clock("2027-01-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["-4.00"]


def test_a_concession_is_not_billed_again(scene: Scene) -> None:
    invoice = october(scene)
    credit(scene, invoice, lines=[{"line": "line_2", "amount": "10.00"}])
    scene.send(event("late", 100, time=OCTOBER))
    scene.set_clock("2026-12-02T12:00:00Z")
    assert [line["amount"] for line in adjustments(issued(scene))] == ["1.00"]
