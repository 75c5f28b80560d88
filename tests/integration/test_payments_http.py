"""Money over HTTP: payments, what is overdue, the journal and what it adds up to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Served, serve

START, NOW = "2026-09-01T00:00:00Z", "2026-11-01T00:00:00Z"
CATALOG: dict[str, Any] = {
    "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "prices": {"base": {"type": "flat", "amount": 100, "timing": "advance"}},
        }
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("payments"), "--sandbox") as running:
        yield running


class Books(Scene):
    """Two issued invoices of 100.00 USD, of September and October."""

    def begin(self) -> list[str]:
        self.set_clock(NOW)
        self.open(CATALOG, start=START)
        drafts = self.close()
        return [self.finalize(draft["id"]) for draft in drafts]

    def finalize(self, invoice_id: str) -> str:
        self.ask("POST", f"/v1/invoices/{invoice_id}/finalize")
        return invoice_id

    def pay(self, id: str, amount: Any, *, status: int = 201, **body: Any) -> Any:
        told = {"id": id, "customer": "acme", "amount": amount, "currency": "USD", **body}
        return self.ask("POST", "/v1/payments", told, status=status)

    def states(self, *ids: str) -> list[str]:
        return [self.invoice(one)["status"] for one in ids]

    def accounts(self, **query: Any) -> dict[str, str]:
        """Account -> its balance, a credit with a minus."""
        told = self.ask("GET", "/v1/accounting/trial-balance", **query)
        for total in told["totals"]:
            assert total["debit"] == total["credit"]
        return {
            one["account"]: one["debit"] or f"-{one['credit']}"
            for one in told["items"]
            if (one["debit"] or one["credit"]) not in ("0.00", "0")
        }


@pytest.fixture
def books(server: Served) -> Books:
    return Books(server)


def test_a_payment_pays_the_oldest_due_first_and_what_is_over_stays_on_account(
    books: Books,
) -> None:
    first, second = books.begin()
    paid = books.pay("p1", "150.00", reference="wire")
    assert paid["invoices"] == [
        {"invoice": first, "number": "INV-000001", "amount": "100.00"},
        {"invoice": second, "number": "INV-000002", "amount": "50.00"},
    ]
    assert books.states(first, second) == ["paid", "issued"]
    assert books.invoice(second)["amount_remaining"] == "50.00"
    over = books.pay("p2", 80)
    assert (over["status"], over["unallocated"]) == ("unallocated", "30.00")
    assert books.states(first, second) == ["paid", "paid"]
    assert books.accounts() == {
        "cash": "230.00", "customer_balance": "-30.00", "revenue": "-200.00",
    }  # fmt: skip
    assert [one["id"] for one in books.ask("GET", "/v1/payments", limit=1)["items"]] == ["p2"]


def test_a_payment_names_invoices_by_id_or_number_and_may_be_short(books: Books) -> None:
    first, second = books.begin()
    number = books.invoice(second)["number"]
    named = [{"invoice": number, "amount": "40"}, {"invoice": first}]
    paid = books.pay("p1", "90.00", invoices=named)
    parts = [(one["invoice"], one["amount"]) for one in paid["invoices"]]
    assert parts == [(second, "40.00"), (first, "50.00")]
    assert books.states(first, second) == ["issued", "issued"]
    rest = books.pay("p2", "10.00", invoices=[])
    assert rest["unallocated"] == "10.00"
    allocated = books.ask("POST", "/v1/payments/p2/allocate", {"invoices": [{"invoice": first}]})
    assert (allocated["status"], allocated["unallocated"]) == ("allocated", "0.00")


def test_the_same_payment_again_changes_nothing_and_another_one_conflicts(books: Books) -> None:
    books.begin()
    once = books.pay("p1", "150.00", reference="wire")
    assert books.pay("p1", 150, reference="wire", status=200) == once
    problem = books.pay("p1", "151.00", reference="wire", status=409)
    assert problem["code"] == "payment_conflict"
    assert books.accounts()["cash"] == "150.00"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount": "0"}, 422, "invalid_amount"),
        ({"amount": "-5"}, 422, "invalid_amount"),
        ({"amount": "1e-30"}, 422, "invalid_amount"),
        ({"amount": "10.001"}, 422, "invalid_amount"),
        ({"amount": "99999999999999999999"}, 422, "invalid_amount"),
        ({"amount": None}, 422, "invalid_amount"),
        ({"currency": "XXY"}, 422, "unknown_currency"),
        ({"customer": "nobody"}, 404, "not_found"),
        ({"at": "2027-01-01T00:00:00Z"}, 422, "invalid_request"),
        ({"at": "yesterday"}, 422, "invalid_timestamp"),
        ({"id": ""}, 422, "invalid_request"),
        ({"invoices": [{"invoice": "nobody"}]}, 409, "invoice_not_issued"),
        ({"invoices": [{"invoice": "INV-000001", "amount": "101"}]}, 422, "exceeds_invoice"),
        ({"invoices": [{"invoice": "INV-000001", "amount": "60"}]}, 422, "exceeds_payment"),
        (
            {"currency": "EUR", "invoices": [{"invoice": "INV-000001"}]},
            422, "currency_mismatch",
        ),
        ({"status": "paid"}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_a_wrong_payment_is_refused_by_name_and_leaves_nothing(
    wrong: Books, body: dict[str, Any], status: int, code: str
) -> None:
    told = {"id": "p1", "customer": "acme", "amount": "50", "currency": "USD"} | body
    assert wrong.ask("POST", "/v1/payments", told, status=status)["code"] == code
    assert wrong.ask("GET", "/v1/payments")["items"] == []
    assert "cash" not in wrong.accounts()


@pytest.fixture(scope="module")
def wrong(server: Served) -> Books:
    books = Books(server)
    books.begin()
    return books


def test_a_payment_that_bounced_opens_its_invoices_again(books: Books) -> None:
    first, second = books.begin()
    before = books.accounts()
    books.pay("p1", "150.00")
    assert books.ask("POST", "/v1/payments/p1/reverse", {}, status=422)["code"] == "invalid_request"
    undone = books.ask("POST", "/v1/payments/p1/reverse", {"reason": "chargeback"})
    assert (undone["status"], undone["invoices"], undone["reason"]) == (
        "reversed", [], "chargeback",
    )  # fmt: skip
    assert books.states(first, second) == ["issued", "issued"]
    assert books.accounts() == before
    again = books.ask("POST", "/v1/payments/p1/reverse", {"reason": "twice"})
    assert again["reason"] == "chargeback"
    for action in ("allocate", "refund"):
        problem = books.ask("POST", f"/v1/payments/p1/{action}", {}, status=409)
        assert problem["code"] == "payment_reversed"


def test_only_what_pays_nothing_is_paid_back_and_never_more(books: Books) -> None:
    books.begin()
    books.pay("p1", "230.00")
    problem = books.ask("POST", "/v1/payments/p1/refund", {"amount": "30.01"}, status=422)
    assert (problem["code"], problem["left"]) == ("exceeds_payment", "30.00")
    for _ in range(2):
        some = books.ask("POST", "/v1/payments/p1/refund", {"id": "r1", "amount": "10"})
        assert (some["refunded"], some["unallocated"]) == ("10.00", "20.00")
    rest = books.ask("POST", "/v1/payments/p1/refund", {})
    assert (rest["refunded"], rest["unallocated"]) == ("30.00", "0.00")
    problem = books.ask("POST", "/v1/payments/p1/reverse", {"reason": "x"}, status=409)
    assert problem["code"] == "payment_refunded"


def test_many_payments_at_once_pay_an_invoice_once(books: Books) -> None:
    """S40: forty want the last hundred."""
    first, _ = books.begin()
    codes: list[str] = []

    def pay(n: int) -> None:
        body = {
            "id": f"p{n}", "customer": "acme", "amount": "60", "currency": "USD",
            "invoices": [{"invoice": first, "amount": "60"}],
        }  # fmt: skip
        reply = books.raw("POST", "/v1/payments", body)
        codes.append("paid" if reply.status == 201 else reply.json()["code"])

    threads = [threading.Thread(target=pay, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["exceeds_invoice"] * 7 + ["paid"]
    assert books.invoice(first)["amount_remaining"] == "40.00"


def test_money_on_account_pays_the_next_invoice(books: Books) -> None:
    books.begin()
    books.pay("p1", "330.00")
    books.set_clock("2026-12-01T00:00:00Z")
    (draft,) = books.close()
    books.finalize(draft["id"])
    assert books.states(draft["id"]) == ["paid"]
    assert books.ask("GET", "/v1/payments/p1")["unallocated"] == "30.00"


def test_an_invoice_given_up_is_a_loss_until_it_is_paid_after_all(books: Books) -> None:
    first, second = books.begin()
    lost = books.ask("POST", f"/v1/invoices/{first}/uncollectible", {"reason": "insolvent"})
    assert lost["status"] == "uncollectible"
    again = books.ask("POST", f"/v1/invoices/{first}/uncollectible", {"reason": "x"}, status=409)
    assert again["code"] == "invoice_not_issued"
    assert books.accounts()["write_off"] == "100.00"
    books.pay("p1", "100.00")
    assert books.states(first, second) == ["uncollectible", "paid"]
    books.pay("p2", "30.00", invoices=[{"invoice": first}])
    assert (books.states(first), books.accounts()["write_off"]) == (["uncollectible"], "70.00")
    books.pay("p3", "70.00", invoices=[{"invoice": first}])
    assert books.states(first) == ["paid"]
    assert "write_off" not in books.accounts()


def test_a_void_gives_back_what_was_paid_on_it(books: Books) -> None:
    first, _ = books.begin()
    books.pay("p1", "30.00", invoices=[{"invoice": first}])
    books.ask("POST", f"/v1/invoices/{first}/void", {"reason": "a mistake"})
    assert books.ask("GET", "/v1/payments/p1")["unallocated"] == "30.00"
    assert books.accounts() == {
        "receivable": "100.00", "cash": "30.00", "customer_balance": "-30.00",
        "revenue": "-100.00",
    }  # fmt: skip


def test_an_invoice_with_nothing_to_pay_is_paid_and_can_still_be_void(books: Books) -> None:
    books.set_clock(NOW)
    free = json.loads(json.dumps(CATALOG))
    free["plans"]["pro"]["prices"]["base"]["amount"] = 0
    books.open(free, start=START)
    draft, _ = books.close()
    books.finalize(draft["id"])
    assert books.states(draft["id"]) == ["paid"]
    books.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "a mistake"})
    assert books.states(draft["id"]) == ["void"]
    assert books.ask("POST", "/v1/close")["invoices"] != []


def test_what_a_bank_kept_need_not_be_missing(books: Books) -> None:
    books.ask("PUT", "/v1/billing/settings", {"write_off": {"USD": "1.00"}})
    first, second = books.begin()
    books.pay("p1", "99.00")
    assert books.states(first, second) == ["paid", "issued"]
    assert books.accounts()["differences"] == "1.00"
    books.ask("POST", "/v1/payments/p1/reverse", {"reason": "bounced"})
    assert "differences" not in books.accounts()
    assert books.states(first) == ["issued"]


# --- overdue --------------------------------------------------------------------------------------


def test_aging_says_how_long_what_is_open_has_been_due_also_in_the_past(books: Books) -> None:
    first, _ = books.begin()
    books.set_clock("2026-11-14T00:00:00Z")
    books.pay("p1", "40.00", invoices=[{"invoice": first}], at="2026-11-10T00:00:00Z")
    books.set_clock("2026-12-20T00:00:00Z")  # due on 15 November
    books.pay("p2", "60.00", invoices=[{"invoice": first}])
    now = books.ask("GET", "/v1/accounting/aging")
    assert [(one["customer"], one["buckets"]["31-60"]) for one in now["items"]] == [
        ("acme", "100.00"),
    ]  # fmt: skip
    for at, bucket, amount in (
        ("2026-11-09T00:00:00Z", "current", "200.00"),
        ("2026-11-10T00:00:00Z", "current", "160.00"),
        ("2026-11-14T23:59:59Z", "current", "160.00"),
        ("2026-11-15T00:00:00Z", "1-30", "160.00"),
    ):
        told = books.ask("GET", "/v1/accounting/aging", at=at, customer="acme")
        assert told["totals"][0]["buckets"][bucket] == amount == told["totals"][0]["total"], at
    assert books.ask("GET", "/v1/accounting/aging", at="2026-10-01T00:00:00Z")["items"] == []
    future = books.ask("GET", "/v1/accounting/aging", at="2027-01-01T00:00:00Z", status=422)
    assert future["code"] == "invalid_parameter"


def test_a_statement_has_what_was_owed_and_what_was_paid(books: Books) -> None:
    first, _ = books.begin()
    books.set_clock("2026-11-05T00:00:00Z")
    books.pay("p1", "250.00", reference="wire 4711")
    (account,) = books.ask(
        "GET", "/v1/customers/acme/statement", from_="2026-11-02T00:00:00Z"
    )["accounts"]  # fmt: skip
    assert (account["opening"], account["closing"]) == ("200.00", "-50.00")
    assert (account["open"], account["on_account"]) == ("0.00", "50.00")
    (item,) = account["items"]
    assert (item["kind"], item["amount"], item["reference"]) == ("payment", "-250.00", "wire 4711")
    (whole,) = books.ask("GET", "/v1/customers/acme/statement")["accounts"]
    assert [one["kind"] for one in whole["items"]] == ["issue", "issue", "payment"]
    assert whole["items"][0]["invoice"] == first


# --- the journal and its months -------------------------------------------------------------------


def test_a_month_is_closed_once_and_for_all(books: Books) -> None:
    catalog = json.loads(json.dumps(CATALOG))
    catalog["plans"]["pro"]["cadence"] = "quarter"
    catalog["plans"]["pro"]["prices"]["base"]["amount"] = 92
    books.set_clock("2026-10-01T00:00:00Z")
    books.ask("PUT", "/v1/billing/settings", {"advance_fees": "ahead"})
    books.open(catalog, start="2026-07-01T00:00:00Z")
    for draft in books.close():
        books.finalize(draft["id"])
    accounts = books.accounts()
    open_month = books.ask("POST", "/v1/accounting/close", {"month": "2026-10"}, status=409)
    assert open_month["code"] == "period_open"
    ahead = {
        one["month"]: (one["recognised"], one["scheduled"])
        for one in books.ask(
            "GET", "/v1/accounting/recognition", from_="2026-07", to="2026-12"
        )["items"]
    }  # fmt: skip
    assert ahead == {
        "2026-07": ("31.00", "0.00"), "2026-08": ("31.00", "0.00"), "2026-09": ("30.00", "0.00"),
        "2026-10": ("0.00", "31.00"), "2026-11": ("0.00", "30.00"), "2026-12": ("0.00", "31.00"),
    }  # fmt: skip
    assert (accounts["revenue"], accounts["deferred_revenue"]) == ("-92.00", "-92.00")
    books.set_clock("2026-11-05T00:00:00Z")
    closed = books.ask("POST", "/v1/accounting/close", {"month": "2026-10"})
    assert closed["entries"] == 1
    assert books.ask("POST", "/v1/accounting/close", {"month": "2026-10"})["entries"] == 0
    october = books.accounts(at="2026-10-31T23:59:59Z")
    assert (october["revenue"], october["deferred_revenue"]) == ("-123.00", "-61.00")
    # Money that came in October and is told of now is booked in November.
    books.pay("p1", "10.00", at="2026-10-20T00:00:00Z")
    assert books.accounts(at="2026-10-31T23:59:59Z") == october
    assert books.ask("GET", "/v1/payments/p1")["at"] == "2026-10-20T00:00:00Z"
    for wrong in ("2026-1", "october", "2026-13"):
        problem = books.ask("POST", "/v1/accounting/close", {"month": wrong}, status=422)
        assert problem["code"] == "invalid_parameter"


def test_the_journal_is_paged_and_exported_without_formulas(books: Books) -> None:
    books.begin()
    books.pay("=1+1", "10.00", reference="@SUM(A1)")
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = books.ask("GET", "/v1/accounting/journal", limit=3, cursor=cursor)
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [one["kind"] for one in items].count("issue") == 2
    assert [one["at"] for one in items] == sorted(one["at"] for one in items)
    assert len({one["id"] for one in items}) == len(items)
    only = books.ask("GET", "/v1/accounting/journal", from_="2026-11-01T00:00:00Z", limit=1000)
    assert {one["kind"] for one in only["items"]} >= {"issue", "payment", "allocation"}
    reply = books.raw("GET", "/v1/accounting/journal", format="csv")
    lines = reply.text.splitlines()
    assert lines[0].startswith("entry,at,kind,customer,invoice,source,account,debit,credit")
    assert any(",'=1+1,cash,10.00,," in line for line in lines)
    assert reply.headers["content-type"].startswith("text/csv")
    assert books.ask("GET", "/v1/accounting/journal", cursor="x", status=422)


# --- prepaid credit -------------------------------------------------------------------------------


def test_prepaid_credit_is_owed_until_it_is_spent_or_expires(books: Books) -> None:
    """100 sold at 0.80 pay 60 of an invoice and 10 of usage; 30 expire. 50 were a gift."""
    document = json.loads(json.dumps(CATALOG))
    document["features"] = {"call": {"type": "metered", "meter": "calls"}}
    document["plans"]["pro"]["entitlements"] = {"call": {"credit": "usd", "cost": 1}}
    document["plans"]["pro"]["prices"]["base"]["amount"] = 60
    books.set_clock("2026-09-01T00:00:00Z")
    books.ask("PUT", "/v1/billing/settings", {"apply_credits": {"usd": "USD"}})
    books.open(document, start="2026-09-01T00:00:00Z")
    paid = {
        "id": f"{books.namespace}-paid", "credit": "usd", "amount": "100", "kind": "paid",
        "cost_basis": "0.80", "expires_at": "2026-10-15T00:00:00Z",
    }  # fmt: skip
    gift = {"id": f"{books.namespace}-gift", "credit": "usd", "amount": "50"}
    for grant in (paid, gift | {"kind": "promotional", "priority": 9}):
        books.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    for n in range(10):
        books.send({"id": f"e{n}", "type": "call", "subject": "acme"})
    books.set_clock("2026-10-01T00:00:00Z")
    (draft,) = books.close()
    books.finalize(draft["id"])
    assert books.invoice(draft["id"])["amount_due"] == "0.00"
    books.ask("POST", "/v1/accounting/close", {"month": "2026-09"})
    september = {"cash": "80.00", "prepaid_credits": "-72.00", "revenue": "-68.00"}
    # The invoice is of October 1st, what it bills of September.
    assert books.accounts(at="2026-09-30T23:59:59Z") == september | {"deferred_revenue": "60.00"}
    assert books.accounts() == {
        "cash": "80.00", "prepaid_credits": "-24.00", "revenue": "-68.00", "promotions": "12.00",
    }  # fmt: skip
    books.set_clock("2026-11-01T00:00:00Z")
    books.ask("POST", "/v1/accounting/close", {"month": "2026-10"})
    assert books.accounts(at="2026-10-31T23:59:59Z") == {
        "cash": "80.00", "revenue": "-68.00", "promotions": "12.00", "breakage": "-24.00",
    }  # fmt: skip
    (october,) = books.ask("GET", "/v1/accounting/recognition", from_="2026-10", to="2026-10")[
        "items"
    ]
    assert (october["breakage"], october["closed"]) == ("24.00", True)


# --- told by webhook ------------------------------------------------------------------------------


class Source:
    """A payment source, and messages signed like its own."""

    def __init__(self, books: Books, id: str = "bank") -> None:
        self.books = books
        made = books.ask("PUT", f"/v1/payment-sources/{id}", {})
        self.path, self.secret = made["path"], made["secret"]

    def send(
        self, type: str, data: dict[str, Any], *, id: str = "msg_1", **changes: Any
    ) -> tuple[int, dict[str, Any]]:
        body = changes.get("body", json.dumps({"type": type, "data": data}).encode())
        seconds = changes.get("seconds", 1793491200)  # 2026-11-01T00:00:00Z
        key = base64.b64decode(changes.get("secret", self.secret).removeprefix("whsec_"))
        signed = b"%b.%d.%b" % (id.encode(), seconds, body)
        right = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": changes.get("signature", f"v1,{right}"),
        }
        body += changes.get("behind", b"")
        reply = self.books.raw("POST", self.path, body, headers, key="")
        return reply.status, reply.json()


PAYMENT = {"id": "pi_1", "customer": "acme", "amount": "100.00", "currency": "USD"}


def test_a_payment_told_by_webhook_counts_once(books: Books) -> None:
    first, _ = books.begin()
    bank = Source(books)
    status, told = bank.send("payment.received", PAYMENT)
    assert (status, told["status"], told["payment"]["origin"]) == (200, "done", "bank")
    assert books.states(first) == ["paid"]
    assert bank.send("payment.received", PAYMENT)[1]["status"] == "known"
    assert bank.send("payment.received", PAYMENT, id="msg_2")[1]["status"] == "known"
    assert books.accounts()["cash"] == "100.00"
    assert bank.send("subscription.updated", {"x": 1})[1]["status"] == "ignored"


def test_a_message_that_is_not_signed_right_or_not_now_does_nothing(books: Books) -> None:
    """S17."""
    books.begin()
    bank, other = Source(books), Source(books, "other")
    for changes in (
        {"signature": ""},
        {"signature": "v1,AAAA"},
        {"behind": b" "},
        {"seconds": 1793491200 - 301},
        {"seconds": 1793491200 + 301},
        {"secret": other.secret},
        {"id": "a.b"},
        {"id": ""},
    ):
        status, problem = bank.send("payment.received", PAYMENT, **changes)
        assert (status, problem["code"]) == (400, "invalid_signature"), changes
    assert books.ask("GET", "/v1/payments")["items"] == []
    assert bank.send("payment.received", PAYMENT, seconds=1793491200 - 300)[0] == 200
    reply = books.raw("POST", "/v1/payments/webhook/src_nobody", b"{}", key="")
    assert reply.status == 404


def test_messages_out_of_order_come_to_the_right_end(books: Books) -> None:
    first, _ = books.begin()
    bank = Source(books)
    back = {"payment": "pi_1", "reason": "chargeback"}
    assert bank.send("payment.reversed", back, id="msg_2")[0] == 404  # and is sent again
    assert bank.send("payment.received", PAYMENT)[0] == 200
    assert bank.send("payment.reversed", back, id="msg_2")[1]["payment"]["status"] == "reversed"
    assert bank.send("payment.received", PAYMENT)[1]["payment"]["status"] == "reversed"
    assert books.states(first) == ["issued"]


def test_a_refund_told_twice_is_one(books: Books) -> None:
    books.begin()
    bank = Source(books)
    bank.send("payment.received", PAYMENT | {"amount": "230.00"})
    for _ in range(2):
        told = bank.send("payment.refunded", {"payment": "pi_1", "amount": "20"}, id="msg_2")[1]
        assert told["payment"]["refunded"] == "20.00"


def test_a_secret_is_shown_once_and_replaced_with_an_overlap(books: Books) -> None:
    books.begin()
    bank = Source(books)
    (listed,) = books.ask("GET", "/v1/payment-sources")["items"]
    assert "secret" not in listed
    fresh = books.ask("PUT", "/v1/payment-sources/bank", {})
    assert fresh["path"] == bank.path
    assert fresh["secret"] != bank.secret
    assert bank.send("payment.received", PAYMENT)[0] == 200
    assert bank.send("payment.received", PAYMENT, secret=fresh["secret"])[0] == 200
    books.ask("DELETE", "/v1/payment-sources/bank", status=204)
    assert bank.send("payment.received", PAYMENT)[0] == 404
    for name in ("a b", ".x"):
        assert books.raw("PUT", f"/v1/payment-sources/{name.replace(' ', '%20')}").status == 422
