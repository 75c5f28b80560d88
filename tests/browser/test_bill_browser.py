"""The pages of a bill in a browser: read on a telephone, by day and night, with the keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.browser.test_console_browser import CHROMIUM, WEAK_TEXT, Visit, browser, visit
from tests.integration.test_pages_bill import BILLING, CATALOG, NOW, SETTINGS
from tests.serving import Served, serve

__all__ = ["browser", "visit"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"there is no {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A development server on 2 December, with two customers who used something in November."""
    with serve(tmp_path_factory.mktemp("bill"), "--dev", "--sandbox") as running:
        running.post("/v1/clock", {"now": NOW})
        running.put("/v1/catalog", CATALOG)
        running.put("/v1/billing/settings", SETTINGS)
        for key in ("acme", "zeta"):
            running.put(f"/v1/customers/{key}", {"billing": BILLING})
            start = "2026-11-01T00:00:00Z"
            running.post("/v1/subscriptions", {"customer": key, "plan": "pro", "start": start})
            used = {"type": "llm", "subject": key, "data": {"tokens": 150}}
            running.post("/v1/events", {"id": f"of {key}", "time": "2026-11-20T00:00:00Z", **used})
        assert running.post("/v1/close", {}).status == 200
        yield running


def of(server: Served, customer: str) -> dict[str, Any]:
    return dict(server.get(f"/v1/invoices?customer={customer}").json()["items"][0])


def test_an_invoice_is_issued_paid_and_the_payment_undone_with_the_keyboard_alone(
    server: Served, visit: Visit
) -> None:
    page = visit(server, f"/invoices/{of(server, 'acme')['id']}")
    page.get_by_role("link", name="Issue invoice").press("Enter")
    page.get_by_role("button", name="Issue the invoice").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Issued.")
    page.get_by_role("link", name="Record a payment").press("Enter")
    expect(page.get_by_label("Amount")).to_have_value(of(server, "acme")["amount_due"])
    page.get_by_label("Reference").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Payment recorded.")
    assert of(server, "acme")["status"] == "paid"
    page.get_by_role("link", name="Undo").press("Enter")
    page.get_by_label("Reason").press_sequentially("it bounced")
    page.get_by_label("Reason").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Payment reversed.")
    assert of(server, "acme")["status"] == "issued"


def test_pages_with_something_on_them_fit_a_telephone_and_can_be_read(
    server: Served, visit: Visit
) -> None:
    zeta = of(server, "zeta")["id"]
    assert server.post(f"/v1/invoices/{zeta}/finalize").status == 200
    noted = {"reason": "an outage", "lines": [{"line": "line_1", "amount": "1.00"}]}
    note = server.post(f"/v1/invoices/{zeta}/credit-notes", noted).json()["id"]
    server.post(f"/v1/invoices/{zeta}/lines/line_2/dispute", {"reason": "not ours"})
    paid = {"id": "pi_zeta", "customer": "zeta", "amount": "5", "currency": "EUR"}
    assert server.post("/v1/payments", paid).status == 201
    gone = {"id": "of zeta", "source": "", "reason": "a test"}
    assert server.post("/v1/events/retract", gone).status == 200
    mine = server.post("/v1/customers/zeta/portal", {}).json()["url"]
    page = visit(server)
    for path in (
        f"/invoices/{zeta}?verify=1", f"/invoices/{zeta}/lines/line_2", f"/credit-notes/{note}",
        "/invoices", "/payments", "/payments/pi_zeta", "/accounts", "/late-usage",
        "/customers/zeta/statement", "/events?id=of%20zeta", f"/do/correct-invoice?id={zeta}",
        f"/do/credit?id={zeta}&amount=x", "/do/issue", mine, f"{mine}/invoices/{zeta}",
    ):  # fmt: skip
        page.goto(server.url + path)
        page.set_viewport_size({"width": 360, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{path} is {wide} wide"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(50)
            assert page.evaluate(WEAK_TEXT) == [], f"{path}, {scheme}"
