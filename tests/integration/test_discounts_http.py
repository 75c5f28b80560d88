"""Billing settings, billing details, coupons and discounts over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.receivers import Answering, receiver
from tests.serving import Served, serve

SETTINGS = "/v1/billing/settings"
ISSUER = {"name": "Acme GmbH", "city": "Berlin", "country": "DE", "tax_id": "DE123456789"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("discounts"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    return Scene(server)


# --- settings ---------------------------------------------------------------------------------


def test_without_settings_the_defaults_are_in_force_as_version_0(scene: Scene) -> None:
    found = scene.ask("GET", SETTINGS)
    assert (found["version"], found["due_days"], found["number_prefix"]) == (0, 14, "INV-")
    assert (found["issuer"], found["tax"], found["auto_issue"]) == (None, {}, False)
    assert scene.ask("GET", f"{SETTINGS}/versions") == {"items": [], "next": None}


def test_every_change_is_a_version_with_who_and_why(scene: Scene) -> None:
    one = scene.ask("PUT", SETTINGS, {"due_days": 30, "reason": "terms"})
    two = scene.ask("PUT", SETTINGS, {"issuer": ISSUER, "reason": "we have a name"})
    assert (one["version"], two["version"], two["due_days"]) == (1, 2, 14)
    assert scene.ask("GET", SETTINGS) == two
    assert scene.ask("GET", SETTINGS, version=1) == one
    assert scene.ask("GET", SETTINGS, version=0)["due_days"] == 14
    assert scene.raw("GET", SETTINGS, version=3).status == 404
    first, second = scene.ask("GET", f"{SETTINGS}/versions")["items"]
    assert (first["version"], first["reason"]) == (2, "we have a name")
    assert second["reason"] == "terms"
    page = scene.ask("GET", f"{SETTINGS}/versions", limit=1)
    assert page["items"] == [first]
    assert scene.ask("GET", f"{SETTINGS}/versions", cursor=page["next"])["items"] == [second]
    (key,) = {one["changed_by"] for one in (first, second)}
    assert key in {one["id"] for one in scene.ask("GET", "/v1/keys")["items"]}


def test_what_was_read_can_be_put_back_unless_somebody_was_faster(scene: Scene) -> None:
    scene.ask("PUT", SETTINGS, {"due_days": 30})
    mine = scene.ask("GET", SETTINGS)
    assert scene.ask("PUT", SETTINGS, mine)["version"] == 1, "nothing changed"
    scene.ask("PUT", SETTINGS, {"due_days": 10})
    refused = scene.raw("PUT", SETTINGS, mine | {"due_days": 31})
    assert (refused.status, refused.json()["code"]) == (409, "settings_changed")
    assert refused.json()["latest"] == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"due_days": 366}, "due_days: 0 to 365"),
        ({"due_day": 3}, "due_day"),
        ({"review": "some"}, "review"),
        ({"number_prefix": "a b"}, "number_prefix"),
        ({"grace": "soon"}, "grace: 0s, or"),
        ({"dunning_days": [7, 3]}, "dunning_days"),
        ({"write_off": {"EUR": "0.001"}}, "write_off.EUR"),
        ({"issuer": {"city": "Berlin"}}, "issuer.name"),
        ({"issuer": ISSUER | {"country": "UK"}}, "the United Kingdom is GB"),
        ({"issuer": ISSUER | {"tax_id": "DE12"}}, "issuer.tax_id"),
        ({"tax": {"registrations": [{"country": "DE", "region": "bavaria"}]}}, "registrations[0]"),
        ({"tax": {"rates": [{"name": "VAT", "country": "DE", "rate": 19}]}}, "19 % is 0.19"),
        ({"tax": {"rates": [{"name": "VAT", "country": "DE", "rate": 0.19}] * 2}}, "tax.rates"),
        ({"tax": {"engine": {"url": "http://127.0.0.1/x"}}}, "tax.engine.url"),
        ({"tax": {"registrations": [{"country": "DE", "from": "2026-01-01"}]}}, ""),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    scene: Scene, body: dict[str, Any], says: str
) -> None:
    reply = scene.raw("PUT", SETTINGS, body)
    assert reply.status == 422, reply.text
    assert says in reply.json()["detail"]
    assert scene.ask("GET", SETTINGS)["version"] == 0


def test_settings_and_discounts_are_there_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("again")
    with serve(data, "--sandbox") as server:
        scene = Scene(server, namespace="kept")
        scene.ask("PUT", SETTINGS, {"due_days": 30, "reason": "terms"})
        scene.customer("acme")
        given = scene.ask("POST", "/v1/customers/acme/discounts", {"percent": 5}, status=201)
        before = scene.ask("GET", SETTINGS)
        key = scene.key
    with serve(data, "--sandbox") as server:
        get = server.get(SETTINGS, key=key).json()
        assert get == before
        assert server.get("/v1/customers/acme/discounts", key=key).json()["items"] == [given]


# --- who is billed ----------------------------------------------------------------------------


def test_billing_details_of_a_customer_come_back_as_they_were_put(scene: Scene) -> None:
    billing = {
        "name": "Globex S.A.", "address": ["1, rue X", "Bât. B"], "city": "Paris",
        "postal_code": "75001", "country": "FR", "tax_id": "FR12345678901",
        "email": "ap@globex.example",
        "tax_exempt": {"certificate": "C-1", "until": "2027-01-01T00:00:00Z"},
    }  # fmt: skip
    assert scene.customer("globex", billing=billing)["billing"] == billing
    assert scene.ask("GET", "/v1/customers/globex")["billing"] == billing
    assert scene.customer("globex")["billing"] is None


@pytest.mark.parametrize(
    ("billing", "says"),
    [
        ({"country": "EL"}, "Greece is GR"),
        ({"country": "Germany"}, "billing.country"),
        ({"country": "GR", "tax_id": "GR123456789"}, "begins with EL"),
        ({"email": "nobody"}, "billing.email"),
        ({"name": "a\nb"}, "billing.name"),
        ({"region": "CA"}, "which country"),
        ({"vat": "DE1"}, "vat"),
    ],
)
def test_billing_details_that_cannot_be_right_are_refused(
    scene: Scene, billing: dict[str, Any], says: str
) -> None:
    reply = scene.raw("PUT", "/v1/customers/x", {"billing": billing})
    assert reply.status == 422, reply.text
    assert says in reply.json()["detail"]


# --- coupons and discounts --------------------------------------------------------------------


def test_a_coupon_is_put_read_listed_and_withdrawn(scene: Scene) -> None:
    put = scene.ask("PUT", "/v1/coupons/WELCOME", {"percent": 20, "duration": {"periods": 3}})
    assert (put["percent"], put["duration"], put["redeemed"]) == ("20", {"periods": 3}, 0)
    assert scene.ask("GET", "/v1/coupons/WELCOME") == put
    assert scene.ask("GET", "/v1/coupons")["items"] == [put]
    scene.ask("DELETE", "/v1/coupons/WELCOME", status=204)
    assert scene.raw("GET", "/v1/coupons/WELCOME").status == 404
    assert scene.raw("DELETE", "/v1/coupons/WELCOME").status == 404


def test_a_redeemed_coupon_keeps_its_terms_when_the_coupon_changes(scene: Scene) -> None:
    scene.customer("acme")
    scene.ask("PUT", "/v1/coupons/c", {"amount": "10.00", "currency": "EUR"})
    given = scene.ask("POST", "/v1/customers/acme/discounts", {"coupon": "c"}, status=201)
    assert (given["amount"], given["duration"], given["name"]) == ("10.00", "once", "c")
    scene.ask("PUT", "/v1/coupons/c", {"amount": "1.00", "currency": "EUR"})
    scene.ask("DELETE", "/v1/coupons/c", status=204)
    path = f"/v1/customers/acme/discounts/{given['id']}"
    assert scene.ask("GET", path) == given
    ended = scene.ask("DELETE", path)
    assert ended["ended_at"] is not None
    assert scene.ask("DELETE", path) == ended, "it ends once"
    assert scene.ask("GET", "/v1/customers/acme/discounts")["items"] == [ended]


def test_a_coupon_says_why_it_cannot_be_redeemed(scene: Scene) -> None:
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.customer("a", currency="EUR")
    scene.customer("b")
    put = {
        "old": {"percent": 5, "expires_at": "2026-11-20T12:00:00Z"},
        "one": {"percent": 5, "max_redemptions": 1},
        "usd": {"amount": 5, "currency": "USD"},
    }
    for name, body in put.items():
        scene.ask("PUT", f"/v1/coupons/{name}", body)

    def redeem(customer: str, coupon: str) -> tuple[int, str]:
        reply = scene.raw("POST", f"/v1/customers/{customer}/discounts", {"coupon": coupon})
        return reply.status, reply.json().get("reason", reply.json().get("code"))

    assert redeem("a", "old") == (409, "expired"), "not at the instant it expires"
    assert redeem("a", "usd") == (409, "currency")
    assert redeem("a", "one")[0] == 201
    assert redeem("a", "one") == (409, "redeemed")
    assert redeem("b", "one") == (409, "used_up")
    assert redeem("b", "none") == (404, "not_found")
    assert redeem("nobody", "usd") == (404, "not_found")


def test_of_many_who_redeem_at_once_exactly_as_many_succeed_as_are_allowed(scene: Scene) -> None:
    scene.ask("PUT", "/v1/coupons/rush", {"percent": 5, "max_redemptions": 7})
    names = [f"c{n}" for n in range(20)]
    for name in names:
        scene.customer(name)

    def redeem(name: str) -> int:
        path = f"/v1/customers/{name}/discounts"
        return scene.raw("POST", path, {"coupon": "rush"}).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(redeem, [name for name in names for _ in range(2)]))
    assert sorted(set(statuses)) == [201, 409]
    assert statuses.count(201) == 7
    assert scene.ask("GET", "/v1/coupons/rush")["redeemed"] == 7


def test_the_same_id_again_is_the_same_discount_and_another_one_is_refused(scene: Scene) -> None:
    scene.publish()
    scene.customer("acme")
    body = {"id": "loyal", "percent": "12.5", "duration": "forever", "prices": ["tokens"]}
    first = scene.ask("POST", "/v1/customers/acme/discounts", body, status=201)
    assert scene.ask("POST", "/v1/customers/acme/discounts", body, status=201) == first
    other = scene.raw("POST", "/v1/customers/acme/discounts", body | {"percent": 13})
    assert (other.status, other.json()["code"]) == (409, "discount_exists")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "exactly one of percent, amount, free_units"),
        ({"percent": 5, "amount": 5, "currency": "EUR"}, "percent and amount"),
        ({"percent": 0}, "above 0, at most 100"),
        ({"percent": "100.1"}, "above 0, at most 100"),
        ({"amount": 5}, "currency"),
        ({"amount": "0.5", "currency": "JPY"}, "0 fractional digits in JPY"),
        ({"amount": "-1", "currency": "EUR"}, "above 0"),
        ({"free_units": 5}, "exactly one price"),
        ({"percent": 5, "duration": {"periods": 0}}, "duration.periods"),
        ({"percent": 5, "duration": "twice"}, "duration"),
        ({"percent": 5, "price": ["a"]}, "price"),
        ({"percent": 5, "prices": ["tokns"]}, "nobody has a price 'tokns', did you mean"),
        ({"percent": 5, "prices": ["basic/tokens"]}, "nobody has a price"),
    ],
)
def test_terms_that_say_nothing_or_too_much_are_refused(
    scene: Scene, body: dict[str, Any], says: str
) -> None:
    scene.publish()
    scene.customer("acme")
    for method, path in (("PUT", "/v1/coupons/c"), ("POST", "/v1/customers/acme/discounts")):
        reply = scene.raw(method, path, body)
        assert reply.status == 422, reply.text
        assert says in reply.json()["detail"]


# --- on invoices ------------------------------------------------------------------------------

PLAN: dict[str, Any] = {
    "meters": {"tokens": {"event_type": "llm.request", "aggregation": "sum",
                          "value": "data.tokens"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}},
    "plans": {"pro": {"currency": "EUR", "cadence": "month", "entitlements": {}, "prices": {
        "base": {"type": "flat", "amount": 49},
        "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.10"},
    }}},
}  # fmt: skip
GERMAN_VAT = {
    "issuer": ISSUER,
    "tax": {
        "registrations": [{"country": "DE"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    },
}


def amounts(invoice: dict[str, Any]) -> list[str]:
    names = ("subtotal", "discount", "tax", "total")
    return [invoice[name] for name in names]


def opened(scene: Scene, **customer: Any) -> Scene:
    """A month of 100 tokens for 10.00, three times over, and 49.00 a month."""
    scene.set_clock("2026-08-01T00:00:00Z")
    scene.publish(PLAN)
    scene.customer(**customer)
    scene.subscribe(start="2026-08-01T00:00:00Z", anchor="calendar")
    for month in ("08", "09", "10"):
        scene.set_clock(f"2026-{month}-10T00:00:00Z")
        scene.send({"id": month, "type": "llm.request", "subject": "acme",
                    "data": {"tokens": 100}})  # fmt: skip
        if month == "08":
            give_both(scene)
    scene.set_clock("2026-11-02T00:00:00Z")
    return scene


def give_both(scene: Scene) -> None:
    scene.ask("PUT", "/v1/coupons/TWO", {"percent": 20, "duration": {"periods": 2}})
    path = "/v1/customers/acme/discounts"
    scene.ask("POST", path, {"coupon": "TWO", "id": "two"}, status=201)
    five = {"amount": 5, "currency": "EUR", "prices": ["base"], "id": "five"}
    scene.ask("POST", path, five, status=201)


def test_discounts_are_given_in_their_periods_and_tax_is_on_what_they_leave(scene: Scene) -> None:
    """K6, K7, K10: 59.00 - 11.80 - 5.00 = 42.20, and 19 % of it is 8.018."""
    scene.ask("PUT", SETTINGS, GERMAN_VAT)
    opened(scene, billing={"country": "DE"})
    august, september, october = scene.close()
    assert amounts(august) == ["59.00", "16.80", "8.02", "50.22"]
    assert amounts(september) == ["59.00", "11.80", "8.97", "56.17"]
    assert amounts(october) == ["59.00", "0.00", "11.21", "70.21"]
    base, tokens = august["lines"]
    assert base["discounts"] == [{"id": "two", "amount": "9.80"}, {"id": "five", "amount": "5.00"}]
    assert tokens["discounts"] == [{"id": "two", "amount": "2.00"}]
    assert august["discounts"] == [
        {"id": "two", "name": "TWO", "amount": "11.80"},
        {"id": "five", "name": "", "amount": "5.00"},
    ]  # fmt: skip
    (tax,) = august["taxes"]
    assert (tax["taxable"], tax["rate"], tax["jurisdiction"]) == ("42.20", "0.19", "DE")
    assert august["issuer"] == ISSUER
    assert august["billed_to"] == {"name": "acme", "country": "DE"}
    verified = scene.ask("GET", f"/v1/invoices/{august['id']}/verify")
    assert verified["ok"] is True


def test_reverse_charge_is_on_the_invoice_of_a_business_abroad(scene: Scene) -> None:
    scene.ask("PUT", SETTINGS, GERMAN_VAT)
    opened(scene, billing={"country": "FR", "tax_id": "FR12345678901"})
    october = scene.close()[-1]
    assert amounts(october) == ["59.00", "0.00", "0.00", "59.00"]
    (tax,) = october["taxes"]
    assert (tax["note"], tax["taxable"]) == ("reverse_charge", "59.00")


def test_a_tax_that_is_not_known_holds_the_draft_until_it_is_made_again(scene: Scene) -> None:
    scene.ask("PUT", SETTINGS, GERMAN_VAT)
    opened(scene)
    found = scene.ask("GET", "/v1/customers/acme/taxes")
    assert "country is not known" in found["unknown"]
    drafts = scene.close()
    assert {one["status"] for one in drafts} == {"in_review"}
    scene.customer(billing={"country": "DE"})
    october = scene.ask("POST", f"/v1/invoices/{drafts[-1]['id']}/refresh")
    assert amounts(october) == ["59.00", "0.00", "11.21", "70.21"]


def test_an_engine_outside_is_asked_once_and_while_it_fails_the_draft_waits(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data = tmp_path_factory.mktemp("engine")
    with receiver() as engine, serve(data, "--sandbox", "--webhook-allow-private") as server:
        scene = Scene(server)
        engine.answer = Answering(status=503)
        rules = {"engine": {"url": engine.url, "timeout_s": 5}}
        assert scene.ask("PUT", SETTINGS, {"tax": rules})["engine_secret"].startswith("whsec_")
        assert "engine_secret" not in scene.ask("GET", SETTINGS)
        opened(scene, billing={"country": "DE"})
        october = scene.close()[-1]
        assert october["status"] == "in_review"
        assert "answered 503" in str(october["review"])
        tax = {"name": "VAT", "jurisdiction": "DE", "rate": 0.19, "taxable": 59, "amount": 11.21}
        engine.answer = Answering(body=json.dumps({"taxes": [tax]}).encode())
        again = scene.ask("POST", f"/v1/invoices/{october['id']}/refresh")
        assert (again["tax"], again["total"]) == ("11.21", "70.21")
        asked = len(engine.got)
        scene.ask("POST", f"/v1/invoices/{october['id']}/approve")
        issued = scene.ask("POST", f"/v1/invoices/{october['id']}/finalize")
        assert (issued["tax"], len(engine.got)) == ("11.21", asked)


def test_which_rates_a_customer_has_can_be_asked_before_there_is_an_invoice(scene: Scene) -> None:
    until = {"name": "VAT", "country": "DE", "rate": "0.19", "until": "2027-01-01T00:00:00Z"}
    after = {"name": "VAT", "country": "DE", "rate": "0.2", "from": "2027-01-01T00:00:00Z"}
    rates = {"registrations": [{"country": "DE", "inclusive": True}], "rates": [until, after]}
    scene.ask("PUT", SETTINGS, {"tax": rates})
    scene.customer(billing={"country": "DE"})

    def rate(at: str) -> str:
        (one,) = scene.ask("GET", "/v1/customers/acme/taxes", at=at)["rates"]
        assert one["inclusive"] is True
        return str(one["rate"])

    assert rate("2026-12-31T23:59:59.999999Z") == "0.19"
    assert rate("2027-01-01T00:00:00Z") == "0.2"
    assert scene.raw("GET", "/v1/customers/nobody/taxes").status == 404


def test_an_amount_is_taken_off_a_period_once_though_its_fee_is_billed_ahead(scene: Scene) -> None:
    scene.ask("PUT", SETTINGS, {"advance_fees": "ahead"})
    scene.set_clock("2026-08-01T12:00:00Z")
    ahead = {"type": "flat", "amount": 49, "timing": "advance"}
    plan = PLAN["plans"]["pro"] | {"prices": PLAN["plans"]["pro"]["prices"] | {"base": ahead}}
    scene.publish(PLAN | {"plans": {"pro": plan}})
    scene.customer()
    scene.subscribe(start="2026-08-01T00:00:00Z", anchor="calendar")
    five = {"amount": 5, "currency": "EUR", "duration": {"periods": 2}}
    scene.ask("POST", "/v1/customers/acme/discounts", five, status=201)
    (fee,) = scene.close()
    assert amounts(fee) == ["49.00", "5.00", "0.00", "44.00"]
    scene.send({"type": "llm.request", "subject": "acme", "id": "1", "data": {"tokens": 100}})
    scene.set_clock("2026-09-01T12:00:00Z")
    (both,) = scene.close()
    assert amounts(both) == ["59.00", "5.00", "0.00", "54.00"], "of September's fee alone"


def test_a_trial_uses_up_no_discount_and_one_that_ended_is_not_given(scene: Scene) -> None:
    scene.set_clock("2026-08-01T00:00:00Z")
    scene.publish(PLAN)
    scene.customer()
    scene.subscribe(start="2026-08-01T00:00:00Z", trial={"days": 14})
    path = "/v1/customers/acme/discounts"
    scene.ask("POST", path, {"percent": 50, "duration": {"periods": 2}, "id": "two"}, status=201)
    scene.ask("POST", path, {"percent": 10, "duration": "forever", "id": "ten"}, status=201)
    scene.set_clock("2026-10-20T00:00:00Z")
    assert scene.preview()["discount"] == "4.90", "the third period has only what goes on"
    scene.ask("DELETE", f"{path}/ten")
    assert scene.preview()["discount"] == "0.00"
    first, second = scene.close()
    assert (first["period"]["start"], first["subtotal"]) == ("2026-08-15T00:00:00Z", "26.87")
    assert first["discount"] == "14.78", "13.44, and a tenth of 13.43: both were there at its end"
    assert second["discount"] == "26.95"


def test_a_discount_for_one_subscription_is_not_given_on_another(scene: Scene) -> None:
    scene.set_clock("2026-08-01T00:00:00Z")
    scene.publish(PLAN)
    scene.customer()
    one = scene.subscribe(start="2026-08-01T00:00:00Z")["id"]
    two = scene.subscribe(start="2026-08-01T00:00:01Z", additional=True)["id"]
    path = "/v1/customers/acme/discounts"
    scene.ask("POST", path, {"percent": 10, "duration": "forever"}, status=201)
    scene.ask("POST", path, {"amount": 5, "currency": "EUR"}, status=201)
    of_two = {"amount": 7, "currency": "EUR", "subscription": two}
    scene.ask("POST", path, of_two, status=201)
    assert scene.raw("POST", path, of_two | {"subscription": "sub_x"}).status == 404
    scene.set_clock("2026-09-01T00:00:00Z")
    found = {invoice["subscription"]: invoice["discount"] for invoice in scene.close()}
    assert found == {one: "9.90", two: "11.90"}
