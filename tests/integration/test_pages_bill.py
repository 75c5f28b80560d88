"""The pages of the bill: what they show, what their forms do, and what passes through a portal."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.integration.test_pages import FORM, session
from tests.integration.test_pages_gate import page, send, words
from tests.serving import Reply, Served, serve

EVIL = "<img src=x onerror=alert(1)>\"'&"
NOW = "2026-12-02T10:00:00Z"
CATALOG: dict[str, Any] = {
    "meters": {"tokens": {"event_type": "llm", "aggregation": "sum", "value": "data.tokens"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}},
    "plans": {
        "pro": {
            "currency": "EUR",
            "cadence": "month",
            "entitlements": {"chat": {"limit": 10000}},
            "prices": {
                "base": {"type": "flat", "amount": "49.00", "timing": "advance"},
                "tokens": {
                    "type": "graduated",
                    "meter": "tokens",
                    "tiers": [{"up_to": 100, "unit": "0.10"}, {"unit": "0.08"}],
                },
            },
        }
    },
}
SETTINGS = {
    "issuer": {"name": "Cloud GmbH", "city": "Berlin", "country": "DE", "tax_id": "DE123456789"},
    "due_days": 0,
    "tax": {
        "registrations": [{"country": "DE"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    },
    "four_eyes": {"EUR": "50"},
    "four_eyes_events": 5,
}
BILLING = {"name": f"Acme {EVIL}", "city": "Köln", "country": "DE"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for keys, on 2 December."""
    with serve(tmp_path_factory.mktemp("bill-pages"), "--sandbox") as running:
        running.post("/v1/clock", {"now": NOW})
        assert running.put("/v1/catalog", CATALOG).status == 200
        assert running.put("/v1/billing/settings", SETTINGS).status == 200
        yield running


_numbers = iter(range(1, 1000))


@pytest.fixture
def acme(server: Served) -> str:
    """A customer of its own for each test, with 80 + 80 tokens in November: 8.00 + 6.80."""
    key = f"acme-{next(_numbers)}"
    assert server.put(f"/v1/customers/{key}", {"name": EVIL, "billing": BILLING}).status == 200
    subscribed = {"customer": key, "plan": "pro", "start": "2026-11-01T00:00:00Z"}
    assert server.post("/v1/subscriptions", subscribed).status == 201
    events = [
        {"id": f"{key}-{n}", "source": "api", "type": "llm", "subject": key,
         "time": f"2026-11-1{n}T00:00:00Z", "data": {"tokens": 80, "note": EVIL}}
        for n in (1, 2)
    ]  # fmt: skip
    assert server.post("/v1/events", events).json()["accepted"] == 2
    return key


@pytest.fixture
def draft(server: Served, acme: str) -> str:
    """Id of the draft of November: 49.00 + 14.80 and 12.12 VAT, 75.92 EUR."""
    assert server.post("/v1/close", {}).status == 200
    return str(invoices(server, acme)[0]["id"])


@pytest.fixture
def issued(server: Served, draft: str) -> str:
    assert server.post(f"/v1/invoices/{draft}/finalize").status == 200
    return draft


def invoices(server: Served, customer: str) -> list[dict[str, Any]]:
    return list(server.get(f"/v1/invoices?customer={customer}").json()["items"])


def invoice(server: Served, invoice_id: str) -> dict[str, Any]:
    return dict(server.get(f"/v1/invoices/{invoice_id}").json())


def after(server: Served, reply: Reply) -> str:
    """The page that a form leads to, as text."""
    assert reply.status == 303, words(reply)
    return page(server, reply.headers["location"])


def undo_of(server: Served, reply: Reply) -> tuple[str, dict[str, str]]:
    """The form that takes back what was just done: its action, and what it knows already."""
    found = re.search(r'href="/do/([\w-]+)\?([^"]*)">Undo', server.get(_where(reply)).text)
    assert found is not None
    asked = server.get(f"/do/{found[1]}?{html.unescape(found[2])}").text
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked)
    return found[1], dict(hidden)


def _where(reply: Reply) -> str:
    assert reply.status == 303, words(reply)
    return reply.headers["location"]


# --- invoices -----------------------------------------------------------------------------------


def test_the_list_is_narrowed_by_status_and_customer(
    server: Served, acme: str, issued: str
) -> None:
    shown = page(server, f"/invoices?status=issued&customer={acme}")
    assert "1 Nov 2026 – 30 Nov 2026 issued 2 Dec 2026 overdue 75.92 EUR 75.92" in shown
    assert "None like that." in page(server, f"/invoices?status=draft&customer={acme}")
    assert server.get("/invoices?status=nonsense").status == 422
    assert server.get("/invoices?customer=nobody").status == 404


def test_what_a_close_would_make_is_what_it_makes(server: Served, acme: str) -> None:
    shown = page(server, "/do/close?preview=1")
    assert f"{acme} , 1 Nov 2026 – 30 Nov 2026: 75.92 EUR" in shown
    assert invoices(server, acme) == []
    after(server, send(server, "close"))
    assert [one["total"] for one in invoices(server, acme)] == ["75.92"]
    assert f"{acme} ," not in page(server, "/do/close?preview=1")


def test_an_invoice_opens_down_to_its_taxes_and_who_it_is_for(server: Served, draft: str) -> None:
    shown = page(server, f"/invoices/{draft}")
    assert "Cloud GmbH Berlin, DE DE123456789" in shown
    assert "tier 2 60 0.08 4.80" in shown
    assert "Subtotal 63.80 VAT 19% on 63.80, DE 12.12 Amount due 75.92 EUR" in shown
    assert "Nothing is booked before it is issued." in shown


def test_issuing_shows_what_and_can_be_taken_back(server: Served, draft: str) -> None:
    assert "75.92 EUR . It is draft." in page(server, f"/do/issue?id={draft}")
    done = send(server, "issue", id=draft)
    assert "Issued. Undo" in after(server, done)
    action, known = undo_of(server, done)
    assert action == "void-invoice"
    assert "Void." in after(server, send(server, action, **known, reason="wrong plan"))
    assert invoice(server, draft)["status"] == "void"


def test_what_is_in_review_waits_in_its_list_until_it_is_approved(
    server: Served, acme: str, draft: str
) -> None:
    assert "reason" in words(send(server, "hold", id=draft))  # nobody knows why
    after(server, send(server, "hold", id=draft, reason=f"three times as much {EVIL}"))
    assert "in review" in page(server, f"/invoices?status=in_review&customer={acme}")
    shown = page(server, f"/invoices/{draft}")
    assert "Somebody has to look at it three times as much" in shown
    assert "Issue invoice" not in shown
    refused = send(server, "issue", id=draft)
    assert (refused.status, "invoice_in_review" in refused.text) == (409, True)
    shown = after(server, send(server, "approve-invoice", id=draft, note="a launch"))
    assert "a launch" in shown
    assert "Issue invoice" in shown


def test_a_line_shows_what_each_event_cost_and_adds_up(server: Served, issued: str) -> None:
    shown = page(server, f"/invoices/{issued}/lines/line_2")
    assert re.search(r"80 80 80 × 0.10 8.00 .* 80 80 20 × 0.10 60 × 0.08 6.80", shown)
    assert "All of the line, exact 14.80" in shown
    assert "python3 verify.py invoice.json line_2 events.jsonl" in shown
    assert "A flat fee has no events." in page(server, f"/invoices/{issued}/lines/line_1")
    assert server.get(f"/invoices/{issued}/lines/line_9").status == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".pdf", "application/pdf"),
        (".html", "text/html"),
        (".csv", "text/csv"),
        (".json", "application/json"),
        (".xml?format=ubl", "application/xml"),
        ("/lines/line_2/events.jsonl", "application/x-ndjson"),
    ],
)
def test_documents_are_the_ones_of_the_api_for_who_has_only_a_session(
    server: Served, issued: str, path: str, kind: str
) -> None:
    shown = server.get(f"/invoices/{issued}{path}", key="", headers=session(server))
    assert shown.status == 200
    assert shown.headers["content-type"].startswith(kind)
    assert shown.body == server.get(f"/v1/invoices/{issued}{path.removesuffix('.json')}").body
    assert server.get(f"/invoices/{issued}{path}", key="").status == 303


def test_an_e_invoice_that_lacks_something_says_what_as_a_page(server: Served, draft: str) -> None:
    reply = server.get(f"/invoices/{draft}.xml", key="", headers=session(server))
    assert (reply.status, "einvoice_incomplete" in reply.text) == (422, True)


# --- money --------------------------------------------------------------------------------------


def test_a_payment_pays_is_seen_and_undone(server: Served, acme: str, issued: str) -> None:
    number = invoice(server, issued)["number"]
    asked = server.get(f"/invoices/{issued}").text
    form = re.search(r'href="/do/pay\?([^"]*)"', asked)
    assert form is not None
    assert f"amount=75.92&currency=EUR&invoices={number}" in html.unescape(form[1])
    assert f"{acme} 75.92 75.92 EUR" in page(server, f"/payments?customer={acme}")
    done = send(
        server, "pay", customer=acme, amount="80", currency="EUR", invoices=number,
        id=f"pi-{acme}", reference=EVIL,
    )  # fmt: skip
    assert f"{number} 75.92 On the customer's account 4.08" in after(server, done)
    assert f"allocation −75.92 by pi-{acme}" in page(server, f"/invoices/{issued}")
    assert "Nothing is open." in page(server, f"/payments?customer={acme}")
    action, known = undo_of(server, done)
    assert (action, known["id"]) == ("reverse", f"pi-{acme}")
    assert "reversed" in after(server, send(server, action, **known, reason="chargeback"))
    assert "issued" in page(server, f"/invoices?customer={acme}")


def test_money_on_account_pays_later_or_goes_back(server: Served, acme: str, issued: str) -> None:
    paid = {"id": f"po-{acme}", "customer": acme, "amount": "100", "currency": "EUR"}
    assert server.post("/v1/payments", {**paid, "invoices": []}).status == 201
    after(server, send(server, "allocate", id=paid["id"]))
    assert invoice(server, issued)["status"] == "paid"
    shown = after(server, send(server, "refund", id=paid["id"], amount="4"))
    assert "Paid back 4.00 On the customer's account 20.08" in shown


def test_an_account_shows_every_change_and_its_balance(
    server: Served, acme: str, issued: str
) -> None:
    shown = page(server, f"/customers/{acme}/statement")
    assert re.search(r"issue INV-\d+ 75.92 75.92", shown)
    later = page(server, f"/customers/{acme}/statement?from=2027-01-01T00:00:00Z")
    assert "opening 75.92, closing 75.92" in later
    assert server.get(f"/customers/{acme}/statement?from=tomorrow").status == 422


def test_the_accounts_balance_and_the_journal_can_be_taken_along(
    server: Served, issued: str
) -> None:
    shown = page(server, "/accounts?month=2026-11")
    sums = re.search(r"EUR ([\d,.]+) ([\d,.]+) Revenue by month", shown)
    assert sums is not None
    assert sums[1] == sums[2]
    assert "2026-11" in shown
    reply = server.get("/accounts/journal.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    assert server.get("/accounts?month=soon").status == 422


def test_what_is_given_up_says_so(server: Served, issued: str) -> None:
    assert "uncollectible" in after(server, send(server, "give-up", id=issued, reason="insolvent"))


# --- what is set right --------------------------------------------------------------------------


def test_a_credit_note_is_made_from_the_invoice(server: Served, issued: str) -> None:
    asked = {"id": issued, "lines": "line_2=4.00", "reason": "an outage", "preview": 1}
    shown = page(server, f"/do/credit?{urlencode(asked)}")
    assert "tokens ( line_2 ): −4.00 VAT 19%: −0.76 Taken back: 4.76 EUR ." in shown
    assert "Of which lines: line_2=4.00 Reason: an outage" in shown
    assert "second person" in page(server, f"/do/credit?{urlencode(asked | {'lines': ''})}")
    assert server.get(f"/v1/invoices/{issued}/credit-notes").json()["items"] == []
    shown = after(server, send(server, "credit", id=issued, lines="line_2=4.00", reason=EVIL))
    assert "tokens line_2 −4.00 Subtotal −4.00 VAT 19% −0.76 Total −4.76 EUR" in shown
    shown = page(server, f"/invoices/{issued}")
    assert "Credited −4.76 Open 71.16 EUR" in shown
    note = server.get(f"/v1/invoices/{issued}/credit-notes").json()["items"][0]
    assert note["number"] in page(server, "/credit-notes?status=issued")
    for kind in ("pdf", "html", "csv", "xml"):
        assert server.get(f"/credit-notes/{note['id']}.{kind}").status == 200
    too_much = send(server, "credit", id=issued, amount="100", reason="all")
    assert (too_much.status, "exceeds_invoice" in too_much.text) == (422, True)
    assert 'value="100"' in too_much.text


def test_a_large_credit_note_waits_for_a_second_person(server: Served, issued: str) -> None:
    done = send(server, "credit", id=issued, amount="60", reason="goodwill")
    assert "It waits for a second person" in after(server, done)
    note = _where(done).partition("?")[0].rpartition("/")[2]
    assert send(server, "approve-note", id=note).status == 403
    made = server.post("/v1/keys", {"name": "second", "scopes": ["write"]}).json()["secret"]
    assert send(server, "approve-note", made, id=note).status == 303
    assert "Open 15.92 EUR" in page(server, f"/invoices/{issued}")


def test_a_disputed_line_is_marked_until_it_is_resolved(server: Served, issued: str) -> None:
    shown = after(server, send(server, "dispute", id=issued, line="line_2", reason="not ours"))
    assert "The customer disputes 1 line tokens (line_2) Resolve" in shown
    shown = after(server, send(server, "resolve", id=issued, line="line_2", outcome="credited"))
    assert "disputes" not in shown
    assert "Credit notes" in shown


def test_events_are_corrected_as_previewed_and_the_correction_undone(
    server: Served, acme: str
) -> None:
    asked = {"action": "retract", "customer": acme, "to": "2026-11-12T00:00:00Z", "reason": EVIL}
    reply = server.get(f"/do/correct?{urlencode(asked)}&preview=1")
    assert f"{acme} , tokens, 1 Nov 2026 – 30 Nov 2026: 160 → 80" in words(reply)
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', reply.text))
    assert sent["to"] == asked["to"]  # what was previewed is what is done
    done = send(server, "correct", **sent, reason=EVIL)
    assert "committed retract 1 event" in after(server, done)
    action, known = undo_of(server, done)
    assert action == "revert"
    assert "reverted" in after(server, send(server, action, **known, reason="it was right"))


def test_a_preview_that_is_stale_is_asked_for_again(server: Served, acme: str) -> None:
    asked = {"action": "retract", "customer": acme, "reason": "a test"}
    reply = server.get(f"/do/correct?{urlencode(asked)}&preview=1")
    sent = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', reply.text))
    gone = {"source": "api", "id": f"{acme}-1", "reason": "by somebody else, meanwhile"}
    assert server.post("/v1/events/retract", gone).status == 200
    refused = send(server, "correct", **sent, reason="a test")
    assert (refused.status, "correction_changed" in refused.text) == (409, True)
    assert "Show what it means" in refused.text


def test_an_event_shows_who_billed_it_and_can_be_taken_back(
    server: Served, acme: str, issued: str
) -> None:
    path = f"/events?id={acme}-1&source=api"
    shown = page(server, path)
    assert "accepted" in shown
    assert f"{issued}, line_2" in shown
    told = send(server, "retract", id=f"{acme}-1", source="api", reason="sent by a test")
    assert told.status == 200
    assert "Take it back" not in page(server, path)
    assert "No event with this source and id" in page(server, "/events?id=nonsense")
    # What was billed is late usage now: it is adjusted, or by hand at once.
    assert "1 taken back" in page(server, f"/late-usage?customer={acme}")
    assert "tokens: 14.80 → 8.00" in page(server, f"/do/correct-invoice?id={issued}")
    shown = after(server, send(server, "correct-invoice", id=issued, mode="adjust"))
    assert "Corrected" in shown
    newest = invoices(server, acme)[0]
    shown = page(server, f"/invoices/{newest['id']}")
    number = invoice(server, issued)["number"]
    assert f"{number} , 1 Nov 2026 – 30 Nov 2026: billed 14.80, comes to 8.00" in shown
    assert f'href="/invoices/{issued}"' in server.get(f"/invoices/{newest['id']}").text


def test_late_usage_can_be_written_off(server: Served, acme: str, issued: str) -> None:
    late = {"id": f"late {acme}", "type": "llm", "subject": acme, "data": {"tokens": 5}}
    server.post("/v1/events", {**late, "time": "2026-11-20T00:00:00Z"})
    asked = server.get(f"/late-usage?customer={acme}").text
    entry = re.search(r"/do/write-off-late\?id=([\w%]+)", asked)
    assert entry is not None
    after(server, send(server, "write-off-late", id=entry[1], reason="our own delay"))
    assert "our own delay" in page(server, f"/late-usage?customer={acme}&status=written_off")


# --- whether it is right ------------------------------------------------------------------------


def test_a_gap_is_shown_between_its_stages_with_who_closes_it(server: Served) -> None:
    made = {"name": "gaps", "scopes": ["admin"], "namespace": "gaps"}
    key = server.post("/v1/keys", made).json()["secret"]
    told = {
        "type": "llm", "from": "2026-10-01T00:00:00Z", "to": "2026-10-02T00:00:00Z", "events": 9,
    }  # fmt: skip
    sent = {"source": f"gw {EVIL}", "counts": [told]}
    gap = server.post("/v1/reconciliation/sent", sent, key=key).json()["items"][0]
    assert _where(send(server, "compare", key)) == "/reconciliation?did=compare"
    shown = words(server.get("/reconciliation", key=key))
    assert "sent → accepted missing" in shown
    assert "The client sends again" in shown
    assert "accepted the log and the event store 1 gap" in shown
    assert "posted the journal and the ledger agrees" in shown
    assert "not_repairable" in send(server, "repair", key, gap=gap["id"]).text
    right = {"source": f"gw {EVIL}", "counts": [told | {"events": 0}]}
    server.post("/v1/reconciliation/sent", right, key=key)
    assert _where(send(server, "compare", key)) == "/reconciliation?did=compare"
    assert "No gaps" in words(server.get("/reconciliation", key=key))


def test_a_rollout_shows_its_sides(server: Served, acme: str) -> None:
    staged = json.loads(json.dumps(CATALOG))
    staged["plans"]["pro"]["prices"]["base"]["amount"] = "59.00"
    version = server.put("/v1/catalog?staged=1", staged).json()["version"]
    sent = {"version": version, "customers": [acme], "reason": EVIL}
    assert server.put("/v1/rollouts/plus", sent).status == 200
    assert "plus" in page(server, "/rollouts")
    shown = page(server, "/rollouts/plus")
    assert "treatment 1" in shown
    assert acme in shown
    assert server.get("/rollouts/none").status == 404


def test_a_customers_billing_says_to_whom_with_what_tax_and_discount(
    server: Served, acme: str
) -> None:
    path = f"/customers/{acme}/billing"
    shown = page(server, path)
    assert "Köln, DE Tax VAT 19% Discounts Give one None." in shown
    done = send(server, "discount", customer=acme, percent="10", duration="3", name="Spring")
    assert _where(done).startswith(f"/customers/{acme}?did=discount")
    assert "Spring: 10%, 3 periods End" in page(server, path)
    action, known = undo_of(server, done)
    assert send(server, action, **known).status == 303
    assert "ended" in page(server, path)


def test_who_is_billed_is_changed_and_the_rest_of_the_customer_stays(
    server: Served, acme: str
) -> None:
    whole = {"name": "Acme", "subjects": [f"s-{acme}"], "metadata": {"crm": 7}}
    server.put(f"/v1/customers/{acme}", {**whole, "billing": BILLING | {"tax_exempt": {}}})
    asked = server.get(f"/do/billing?customer={acme}").text
    assert 'name="city" value="Köln"' in asked
    form = {"name": "Acme AG", "address": "Hauptstr. 5, 2nd floor; Rear", "country": "DE"}
    assert send(server, "billing", customer=acme, **form).status == 303
    known = server.get(f"/v1/customers/{acme}").json()
    assert {name: known[name] for name in whole} == whole
    assert known["billing"]["address"] == ["Hauptstr. 5, 2nd floor", "Rear"]
    assert "tax_exempt" in known["billing"]
    assert "city" not in known["billing"]  # it was left empty
    refused = send(server, "billing", customer=acme, **form | {"country": "Germany"})
    assert (refused.status, 'value="Germany"' in refused.text) == (422, True)


def test_a_version_is_tried_on_past_usage_from_the_page(
    server: Served, acme: str, issued: str
) -> None:
    shown = after(server, send(server, "backtest", version="1", last="60d"))
    assert f"{acme} 2 112.80 112.80 0.00 EUR" in shown
    assert server.get("/backtests/job_none").status == 404


def test_exports_can_be_taken_along(server: Served, issued: str) -> None:
    number = invoice(server, issued)["number"]
    for path in ("/exports/invoice-lines", "/exports/focus"):
        assert number in server.get(path).text
        assert number not in server.get(f"{path}?to=2026-01-01T00:00:00Z").text


# --- who sees it --------------------------------------------------------------------------------

BILL_PAGES = (
    "/invoices", "/payments", "/accounts", "/reconciliation", "/corrections", "/events",
    "/credit-notes", "/late-usage", "/rollouts",
)  # fmt: skip


def test_pages_of_a_namespace_in_which_nothing_has_happened_say_what_would_be_there(
    server: Served,
) -> None:
    made = {"name": "empty", "scopes": ["admin"], "namespace": "empty"}
    headers = session(server, server.post("/v1/keys", made).json()["secret"])
    for path in BILL_PAGES:
        shown = server.get(path, key="", headers=headers)
        assert shown.status == 200, path
        assert 'class="nothing"' in shown.text, path


def test_who_may_only_read_sees_everything_and_no_way_to_change_it(
    server: Served, acme: str, issued: str
) -> None:
    made = server.post("/v1/keys", {"name": "reader", "scopes": ["read"]}).json()["secret"]
    headers = session(server, made)
    own = (f"/invoices/{issued}", f"/customers/{acme}/statement", f"/customers/{acme}/billing")
    for path in (*BILL_PAGES, *own):
        shown = server.get(path, key="", headers=headers)
        assert shown.status == 200, path
        assert not re.search(r'href="/do/(?!backtest)', shown.text), path
    assert send(server, "void-invoice", made, id=issued).status == 403


def test_text_of_others_stays_text_on_every_page(server: Served, acme: str, issued: str) -> None:
    noted = {"lines": [{"line": "line_1", "amount": "1.00"}], "reason": EVIL}
    note = server.post(f"/v1/invoices/{issued}/credit-notes", noted).json()["id"]
    server.post(f"/v1/invoices/{issued}/lines/line_1/dispute", {"reason": EVIL})
    paid = {"id": f"pe-{acme}", "customer": acme, "amount": "1", "currency": "EUR"}
    server.post("/v1/payments", {**paid, "reference": EVIL})
    gone = {"source": "api", "id": f"{acme}-2", "reason": EVIL}
    assert server.post("/v1/events/retract", gone).status == 200
    for path in (
        *BILL_PAGES, f"/invoices/{issued}", f"/invoices/{issued}/lines/line_2",
        f"/credit-notes/{note}", f"/payments/pe-{acme}", f"/events?id={acme}-2&source=api",
        f"/customers/{acme}/statement", f"/customers/{acme}/billing",
        f"/events?{urlencode({'id': EVIL})}", f"/do/credit?{urlencode({'id': EVIL, 'preview': 1})}",
        f"/do/correct?{urlencode({'filter': EVIL, 'preview': 1})}",
    ):  # fmt: skip
        shown = server.get(path)
        assert shown.status < 500, path
        assert "<img" not in shown.text, path


def test_forms_of_the_bill_come_only_from_our_own_pages(server: Served, draft: str) -> None:
    headers = session(server) | FORM | {"Origin": "https://evil.example"}
    sent = urlencode({"id": draft}).encode()
    assert server.post("/do/issue", sent, headers=headers, key="").status == 403
    assert invoice(server, draft)["status"] == "draft"


# --- the portal ---------------------------------------------------------------------------------


def portal(server: Served, customer: str) -> str:
    return str(server.post(f"/v1/customers/{customer}/portal", {}).json()["url"])


def test_a_portal_has_the_documents_and_the_proof_of_its_invoices(
    server: Served, acme: str, issued: str
) -> None:
    noted = {"lines": [{"line": "line_1", "amount": "1.00"}], "reason": "an outage"}
    note = server.post(f"/v1/invoices/{issued}/credit-notes", noted).json()
    mine = portal(server, acme)
    shown = words(server.get(mine, key=""))
    assert "overdue 75.92 EUR 74.73 PDF" in shown
    assert f"{note['number']}" in shown
    assert server.get(f"{mine}/credit-notes/{note['id']}.pdf", key="").body.startswith(b"%PDF")
    one = f"{mine}/invoices/{issued}"
    assert server.get(f"{one}.pdf", key="").body.startswith(b"%PDF")
    assert server.get(f"{one}.json", key="").json()["id"] == issued
    line = server.get(f"{one}/lines/line_2", key="")
    assert "All of the line, exact 14.80" in words(line)
    assert not re.search(r'href="/(events|invoices|do)', line.text)
    events = server.get(f"{one}/lines/line_2/events.jsonl", key="")
    assert events.body == server.get(f"/v1/invoices/{issued}/lines/line_2/events.jsonl").body


def test_a_portal_shows_no_draft_nor_what_is_in_review(
    server: Served, acme: str, draft: str
) -> None:
    mine = portal(server, acme)
    for _ in ("a draft", "in review"):
        assert draft not in server.get(mine, key="").text
        for path in ("", ".pdf", ".json", "/lines/line_2", "/lines/line_2/events.jsonl"):
            assert server.get(f"{mine}/invoices/{draft}{path}", key="").status == 404
        server.post(f"/v1/invoices/{draft}/hold", {"reason": "look"})


def test_a_portal_passes_on_nothing_of_another_customer(
    server: Served, acme: str, issued: str
) -> None:
    noted = {"lines": [{"line": "line_1", "amount": "1.00"}], "reason": "an outage"}
    note = server.post(f"/v1/invoices/{issued}/credit-notes", noted).json()["id"]
    server.put(f"/v1/customers/other-{acme}", {})
    other = portal(server, f"other-{acme}")
    for path in ("", ".pdf", ".csv", ".json", "/lines/line_2", "/lines/line_2/events.jsonl"):
        assert server.get(f"{other}/invoices/{issued}{path}", key="").status == 404
    assert server.get(f"{other}/credit-notes/{note}.pdf", key="").status == 404
    assert note not in server.get(other, key="").text


@pytest.mark.parametrize("ending", [".pdf", ".html", ".csv", ".json"])
def test_an_id_that_ends_like_a_document_opens_nothing(
    server: Served, acme: str, issued: str, ending: str
) -> None:
    server.put(f"/v1/customers/other-{acme}", {})
    for path in (portal(server, acme), portal(server, f"other-{acme}"), ""):
        assert server.get(f"{path}/invoices/{issued}{ending}/lines/line_2").status == 404
    other = portal(server, f"other-{acme}")
    assert server.get(f"{other}/invoices/{issued}{ending}.json", key="").status == 404
