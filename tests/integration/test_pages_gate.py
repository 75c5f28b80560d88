"""What a customer holds on its page, the forms that change it, operator pages, and the portal."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.integration.test_pages import FORM, session
from tests.serving import Reply, Served, serve

from taximeter.adapters.console.actions import ACTIONS, variables

EVIL = "<img src=x onerror=alert(1)>\"'&"
START = "2026-11-20T10:00:00Z"
CATALOG: dict[str, Any] = {
    "scopes": {"user": "data.user", "team": "data.team"},
    "meters": {
        "tokens": {
            "event_type": "llm", "aggregation": "sum", "value": "data.tokens", "unit": "token",
        },
        "images": {"event_type": "image", "aggregation": "count"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "image": {"type": "metered", "meter": "images"},
        "export": {"type": "boolean"},
        "seats": {"type": "static", "value_type": "integer"},
    },
    "plans": {
        plan: {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {
                    "limit": limit,
                    "windows": [{"limit": 1000, "reset": {"rolling": "5h"}}],
                    "per": {"user": {"limit": 600, "reset": "day"}},
                },
                "image": {"credit": "usd", "cost": "0.02"},
                "export": True,
                "seats": 3,
            },
            "prices": {"base": {"type": "flat", "amount": fee, "timing": "advance"}},
        }
        for plan, limit, fee in (("pro", 100000, "49.00"), ("max", 900000, "199.00"))
    },
    "rules": {
        "too_fast": {
            "on": "llm",
            "over": {"count": "events", "window": "10m", "more_than": 2},
            "do": ["notify", "review"],
            "mode": "on",
        }
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for keys, at 20 November, with a customer nobody should trust."""
    with serve(tmp_path_factory.mktemp("gate-pages"), "--sandbox") as running:
        running.post("/v1/clock", {"now": START})
        assert running.put("/v1/catalog", CATALOG).status == 200
        yield running


_numbers = iter(range(1, 1000))


@pytest.fixture
def acme(server: Served) -> str:
    """A customer of its own for each test: 55 usd, one subscription."""
    key = f"acme-{next(_numbers)}"
    assert server.put(f"/v1/customers/{key}", {"name": f"Acme {EVIL}"}).status == 200
    assert server.post("/v1/subscriptions", {"customer": key, "plan": "pro"}).status == 201
    gift = {"id": f"gift-{key}", "credit": "usd", "amount": "5", "priority": 1}
    order = {"id": f"order-{key}", "credit": "usd", "amount": "50"}
    assert server.post(f"/v1/customers/{key}/grants", gift).status == 201
    assert server.post(f"/v1/customers/{key}/top-ups", order).status == 201
    return key


def page(server: Served, path: str) -> str:
    """Its text without markup, spaces as one."""
    reply = server.get(path)
    assert reply.status == 200, reply.text
    return words(reply)


def words(reply: Reply) -> str:
    text = re.sub(r"<(script|svg|title).*?</\1>", " ", reply.text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def send(server: Served, action: str, /, key: str | None = None, **form: str) -> Reply:
    headers = session(server, key) | FORM | {"Origin": server.url}
    return server.post(f"/do/{action}", urlencode(form).encode(), headers=headers, key="")


def balance(server: Served, customer: str) -> dict[str, Any]:
    return dict(server.get(f"/v1/customers/{customer}/balance?credit=usd").json())


def subscription(server: Served, customer: str) -> dict[str, Any]:
    return dict(server.get(f"/v1/subscriptions?customer={customer}").json()["items"][0])


# --- what is shown ------------------------------------------------------------------------------


def test_every_window_of_a_feature_has_its_bar_and_the_blocking_one_says_so(
    server: Served, acme: str
) -> None:
    usage = {"type": "llm", "subject": acme, "data": {"tokens": 1000, "user": "u7"}}
    server.post("/v1/events", {"id": f"full {acme}", **usage})
    shown = page(server, f"/customers/{acme}/standing")
    assert "chat used up" in shown
    assert "period 1,000 / 100,000 token 1%" in shown
    assert "rolling:5h 1,000 / 1,000 token 100% refuses" in shown


def test_the_limits_of_one_user_are_seen_by_looking_as_that_user(server: Served, acme: str) -> None:
    usage = {"type": "llm", "subject": acme, "data": {"tokens": 500, "user": "u7"}}
    server.post("/v1/events", {"id": f"some {acme}", **usage})
    assert "user u7" not in page(server, f"/customers/{acme}/standing")
    shown = page(server, f"/customers/{acme}/standing?scope=user%3Du7")
    assert "user u7 500 / 600 token 83% near limit" in shown
    assert server.get(f"/customers/{acme}/standing?scope=nonsense").status == 422


def test_credits_are_shown_in_the_order_they_burn(server: Served, acme: str) -> None:
    hold = {"customer": acme, "feature": "image", "amount": 1, "id": f"r-{acme}"}
    assert server.post("/v1/reservations", hold).status == 201
    shown = page(server, f"/customers/{acme}/credits")
    assert "usd available 54.98 balance 55 reserved 0.02" in shown
    assert shown.index(f"order-{acme}") < shown.index(f"gift-{acme}")  # priority 0 before 1


def test_open_reservations_and_leases_say_what_they_hold(server: Served, acme: str) -> None:
    ask = {"customer": acme, "feature": "chat", "amount": 100}
    assert server.post("/v1/reservations", {**ask, "id": f"r-{acme}"}).status == 201
    assert server.post("/v1/leases", {**ask, "id": f"l-{acme}"}).status == 201
    shown = page(server, f"/customers/{acme}/holds")
    assert f"r-{acme} reservation of chat 100" in shown
    assert f"l-{acme} lease of chat 100" in shown
    assert "200 reserved" in page(server, f"/customers/{acme}/standing")


def test_each_row_of_the_ledger_says_its_cause_and_the_pages_go_on(
    server: Served, acme: str
) -> None:
    for number in range(60):
        ask = {"customer": acme, "feature": "image", "amount": 1, "id": f"{acme}-{number}"}
        assert server.post("/v1/consume", ask).json()["allowed"]
    first = server.get(f"/customers/{acme}/ledger")
    shown = words(first)
    assert f"grant by key_owner grant gift-{acme}" in shown
    assert "spend do usage feature image" in shown
    following = re.search(r'href="([^"]*cursor=[^"]*)"', first.text)
    assert following is not None
    assert "53.8" in page(server, html.unescape(following[1]))


def test_a_page_of_a_customer_that_is_not_there_is_404(server: Served) -> None:
    for part in ("", "/standing", "/credits", "/holds", "/subscriptions", "/ledger"):
        assert server.get(f"/customers/nobody{part}").status == 404


def test_what_others_typed_is_text_on_every_page(server: Served, acme: str) -> None:
    server.put(f"/v1/customers/{acme}/seats/seats/jo", {})
    server.put(
        f"/v1/customers/{acme}/budgets/b1", {"feature": "chat", "limit": 5, "scope": {"user": EVIL}}
    )
    grant = {"id": f"evil-{acme} {EVIL}", "credit": "usd", "amount": "1", "reason": EVIL}
    server.post(f"/v1/customers/{acme}/grants", grant)
    held = {"customer": acme, "feature": "image", "amount": 1, "id": f"h {acme} {EVIL}"}
    server.post("/v1/reservations", held)
    bad = {"id": f"bad {EVIL}", "type": "llm", "subject": acme, "data": {"tokens": EVIL}}
    server.post("/v1/events", bad)
    subscribed = f"/v1/subscriptions/{subscription(server, acme)['id']}"
    server.post(f"{subscribed}/pause", {"reason": EVIL})
    token = server.post(f"/v1/customers/{acme}/portal", {}).json()["url"]
    form = urlencode({"customer": acme, "id": EVIL, "reason": EVIL, "scope": EVIL})
    parts = ("", "/standing", "/credits", "/holds", "/subscriptions", "/ledger")
    paths = [f"/customers/{acme}{part}" for part in parts]
    paths += [
        "/dead-letters",
        "/audit",
        "/notices",
        token,
        f"{token}/credits",
        f"/do/budget?{form}",
    ]
    for path in paths:
        reply = server.get(path)
        assert reply.status == 200, (path, reply.text)
        assert "<img" not in reply.text, path
        assert "default-src 'self'" in reply.headers["content-security-policy"]


# --- forms --------------------------------------------------------------------------------------


def test_every_action_stands_for_an_operation_with_the_scope_it_names(server: Served) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    for action in ACTIONS.values():
        shape = re.sub(r"{\w+}", "{}", action.path)
        found = [ways for path, ways in paths.items() if re.sub(r"{\w+}", "{}", path) == shape]
        assert found, action.path
        operation = found[0][action.method.lower()]
        assert action.scope in str(operation.get("security")) + str(operation), action.key
        assert action.undo is None or action.undo in ACTIONS
        given = {name: f"<{name}>" for name in variables(action.path, action.back)}
        assert "<" not in action.target(given), "what is typed cannot leave its segment"


def test_credit_given_from_the_page_is_there_and_can_be_taken_back(
    server: Served, acme: str
) -> None:
    reply = send(server, "grant", customer=acme, credit="usd", amount="7", reason="sorry")
    assert reply.status == 303
    assert balance(server, acme)["balance"] == "62"
    back = server.get(reply.headers["location"])
    assert "Credit given." in back.text
    undo = re.search(r'href="(/do/void-grant[^"]*)"', back.text)
    assert undo is not None
    asked = server.get(html.unescape(undo[1]))
    assert "not reserved goes back" in asked.text
    hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text))
    assert send(server, "void-grant", **hidden).status == 303
    assert balance(server, acme)["balance"] == "55"


def test_a_form_sent_twice_does_it_once(server: Served, acme: str) -> None:
    form = {"customer": acme, "credit": "usd", "amount": "7", "once": f"once-{acme}"}
    assert send(server, "grant", **form).status == 303
    assert send(server, "grant", **form).status == 303
    assert balance(server, acme)["balance"] == "62"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"credit": "usd", "amount": "lots"}, "amount"),
        ({"credit": "usd", "amount": "5", "priority": "first"}, "'first' is not a whole number"),
        ({"credit": "usd", "amount": "5", "expires_at": "tomorrow"}, "tomorrow"),
    ],
)
def test_a_mistyped_form_comes_back_with_what_was_typed_and_why(
    server: Served, acme: str, form: dict[str, str], told: str
) -> None:
    reply = send(server, "grant", customer=acme, **form)
    assert reply.status == 422
    assert told in words(reply)
    for value in form.values():
        assert f'value="{value}"' in reply.text
    assert balance(server, acme)["balance"] == "55"


def test_a_change_of_plan_says_what_it_costs_before_it_is_made(server: Served, acme: str) -> None:
    one = subscription(server, acme)["id"]
    asked = page(server, f"/do/change?customer={acme}&id={one}&plan=max&at=now&preview=1")
    assert "What it means" in asked
    assert re.search(r"17\.97 → \d+\.\d\d, in USD \(\+\d+\.\d\d\)", asked)
    assert subscription(server, acme)["plan"] == "pro"
    assert send(server, "change", customer=acme, id=one, plan="max", at="now").status == 303
    assert subscription(server, acme)["plan"] == "max"


def test_a_scheduled_change_is_on_the_timeline_and_can_be_taken_back(
    server: Served, acme: str
) -> None:
    one = subscription(server, acme)["id"]
    done = send(server, "change", customer=acme, id=one, plan="max", at="period_end")
    assert "2026-12-01 00:00:00 UTC max" in page(server, f"/customers/{acme}/subscriptions")
    undo = re.search(r'href="(/do/unschedule[^"]*)"', server.get(done.headers["location"]).text)
    assert undo is not None
    hidden = re.findall(r'name="(\w+)" value="([^"]*)"', server.get(html.unescape(undo[1])).text)
    assert send(server, "unschedule", **dict(hidden)).status == 303
    assert subscription(server, acme)["scheduled"] == []


def test_cancel_and_pause_are_taken_back_by_their_opposites(server: Served, acme: str) -> None:
    known = {"customer": acme, "id": subscription(server, acme)["id"]}
    assert send(server, "cancel", at="period_end", **known).status == 303
    assert subscription(server, acme)["end"] is not None
    assert send(server, "uncancel", **known).status == 303
    assert subscription(server, acme)["end"] is None
    assert send(server, "pause", **known).status == 303
    assert subscription(server, acme)["status"] == "paused"
    assert send(server, "resume", **known).status == 303
    assert subscription(server, acme)["status"] == "active"


def test_what_was_previewed_is_what_is_sent(server: Served, acme: str) -> None:
    one = subscription(server, acme)["id"]
    path = f"/do/change?customer={acme}&id={one}&plan=max&at=now&preview=1"
    shown = server.get(path).text
    assert 'type="hidden" name="plan" value="max"' in shown
    assert "<select" not in shown
    assert "Choose again" in shown


def test_what_is_over_offers_no_way_back(server: Served, acme: str) -> None:
    known = {"customer": acme, "id": subscription(server, acme)["id"]}
    done = send(server, "cancel", at="now", **known)
    shown = server.get(done.headers["location"]).text
    assert "Cancelled." in shown
    assert "Undo" not in shown


def test_a_reservation_released_from_the_page_frees_what_it_held(server: Served, acme: str) -> None:
    hold = {"customer": acme, "feature": "image", "amount": 1, "id": f"r-{acme}"}
    server.post("/v1/reservations", hold)
    assert send(server, "release", customer=acme, id=f"r-{acme}").status == 303
    assert balance(server, acme)["reserved"] == "0"
    again = send(server, "release", customer=acme, id=f"r-{acme}")
    assert again.status == 409
    assert "already_resolved" in again.text


def test_budgets_and_seats_are_set_and_removed_from_the_page(server: Served, acme: str) -> None:
    budget = {"customer": acme, "id": "red", "limit": "10", "feature": "chat", "reset": "day"}
    assert send(server, "budget", scope="team=red", **budget).status == 303
    assert "budget red team red 0 / 10 token" in page(server, f"/customers/{acme}/standing")
    assert send(server, "remove-budget", customer=acme, id="red").status == 303
    seat = {"customer": acme, "feature": "seats", "holder": "jo@x"}
    assert send(server, "seat", **seat).status == 303
    assert "jo@x" in page(server, f"/customers/{acme}/standing")
    assert send(server, "release-seat", **seat).status == 303
    assert "jo@x" not in page(server, f"/customers/{acme}/standing")


def test_a_session_that_may_only_read_sees_no_form_links_and_cannot_send_one(
    server: Served, acme: str
) -> None:
    reader = server.post("/v1/keys", {"name": "reader", "scopes": ["read"]}).json()["secret"]
    cookie = session(server, reader)
    for part in ("", "/standing", "/credits", "/holds", "/subscriptions"):
        shown = server.get(f"/customers/{acme}{part}", key="", headers=cookie)
        assert shown.status == 200
        assert "/do/" not in shown.text
    asked = server.get(f"/do/grant?customer={acme}", key="", headers=cookie)
    assert "lacks the scope" in asked.text
    refused = send(server, "grant", reader, customer=acme, credit="usd", amount="7")
    assert refused.status == 403
    assert balance(server, acme)["balance"] == "55"


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}], ids=str)
def test_a_form_of_another_site_gives_nobody_credit(
    server: Served, acme: str, headers: dict[str, str]
) -> None:
    body = urlencode({"customer": acme, "credit": "usd", "amount": "7"}).encode()
    reply = server.post("/do/grant", body, key="", headers=session(server) | FORM | headers)
    assert reply.status == 403
    assert balance(server, acme)["balance"] == "55"


def test_looking_at_a_form_changes_nothing(server: Served, acme: str) -> None:
    page(server, f"/do/grant?customer={acme}&credit=usd&amount=7&once=x")
    one = subscription(server, acme)["id"]
    page(server, f"/do/cancel?customer={acme}&id={one}&at=now&preview=1")
    assert balance(server, acme)["balance"] == "55"
    assert subscription(server, acme)["end"] is None


# --- for operators ------------------------------------------------------------------------------


def test_notices_webhooks_and_alerts_are_listed_with_what_became_of_them(
    server: Served, acme: str
) -> None:
    alert = {"on": "usage", "feature": "chat", "customer": acme, "thresholds": ["50%"]}
    assert server.put("/v1/alerts/half", alert).status == 200
    server.put("/v1/webhooks/ops", {"url": "https://ops.invalid/hook", "types": ["usage.*"]})
    usage = {"type": "llm", "subject": acme, "data": {"tokens": 60000}}
    server.post("/v1/events", {"id": f"half {acme}", **usage})
    shown = page(server, f"/notices?customer={acme}")
    assert "half usage" in shown
    assert "https://ops.invalid/hook" in shown
    assert "usage.threshold" in shown or "usage." in shown
    assert "Deliveries" in page(server, "/webhooks/ops")
    assert send(server, "remove-alert", id="half").status == 303
    assert server.get("/webhooks/nobody").status == 404


def test_a_rule_shows_when_it_fired_what_waits_and_a_trial(server: Served, acme: str) -> None:
    for number in range(3):
        usage = {"type": "llm", "subject": acme, "data": {"tokens": 1}}
        server.post("/v1/events", {"id": f"{acme} {number}", **usage})
    assert acme in page(server, "/rules")
    assert f"fired {acme}" in page(server, "/rules/too_fast")
    headers = session(server) | FORM | {"Origin": server.url}
    tried = server.post("/rules/too_fast/try", b"", headers=headers, key="")
    assert "It would have fired" in words(tried)
    review = server.get(f"/v1/reviews?customer={acme}").json()["items"][0]
    assert send(server, "dismiss", id=review["id"], note="a test").status == 303
    assert acme not in page(server, "/rules")
    assert server.get("/rules/nothing").status == 404


def test_dead_letters_wait_until_they_are_tried_again(server: Served, acme: str) -> None:
    bad = {"id": f"bad {acme}", "type": "llm", "subject": acme, "data": {"tokens": "many"}}
    server.post("/v1/events", bad)
    shown = page(server, "/dead-letters")
    assert f"bad {acme}" in shown
    assert "invalid_quantity" in shown
    told = send(server, "replay")
    assert told.status == 200
    assert "tried" in words(told)


def test_the_audit_trail_is_newest_first_and_for_admins(server: Served, acme: str) -> None:
    send(server, "pause", customer=acme, id=subscription(server, acme)["id"], reason="holidays")
    shown = page(server, "/audit")
    assert shown.index("subscription") < shown.index("catalog")
    writer = server.post("/v1/keys", {"name": "writer", "scopes": ["write"]}).json()["secret"]
    assert server.get("/audit", key="", headers=session(server, writer)).status == 403


# --- the portal ---------------------------------------------------------------------------------


def portal(server: Served, customer: str, **body: Any) -> str:
    reply = server.post(f"/v1/customers/{customer}/portal", body)
    assert reply.status == 201, reply.text
    return str(reply.json()["url"])


def test_the_portal_shows_one_customer_and_offers_no_change(server: Served, acme: str) -> None:
    path = portal(server, acme)
    shown = "".join(
        server.get(path + part, key="").text
        for part in ("", "/standing", "/credits", "/fare", "/usage")
    )
    assert "54" in shown or "55" in shown
    assert "What you may use" in shown
    assert "/do/" not in shown
    assert "/customers/" not in shown


def test_a_portal_address_opens_nothing_else(server: Served, acme: str) -> None:
    token = portal(server, acme).removeprefix("/portal/")
    for path in (f"/v1/customers/{acme}", f"/v1/customers/{acme}/balance", "/v1/status"):
        assert server.get(path, key=token).status == 403
    assert server.get(f"/customers/{acme}", key=token).status == 403


def test_no_other_key_opens_a_portal(server: Served) -> None:
    for scope in ("admin", "read"):  # a customer may be called so
        server.put(f"/v1/customers/{scope}", {})
    assert server.get(f"/portal/{server.key}", key="").status == 404
    made = server.post("/v1/keys", {"name": "reader", "scopes": ["read"]}).json()["secret"]
    assert server.get(f"/portal/{made}", key="").status == 404
    assert server.get("/portal/guess", key="").status == 404
    assert server.get("/portal/guess", key=server.key).status == 404


def test_an_invoice_of_another_customer_is_not_there(server: Served, acme: str) -> None:
    other = f"other-{acme}"
    server.put(f"/v1/customers/{other}", {})
    start = "2026-10-01T00:00:00Z"
    server.post("/v1/subscriptions", {"customer": other, "plan": "pro", "start": start})
    server.post("/v1/close", {})
    invoice = server.get(f"/v1/invoices?customer={other}").json()["items"][0]["id"]
    own, foreign = portal(server, other), portal(server, acme)
    assert server.get(f"{own}/invoices/{invoice}", key="").status == 404, "a draft is not shown"
    assert server.post(f"/v1/invoices/{invoice}/finalize").status == 200
    shown = server.get(f"{own}/invoices/{invoice}", key="")
    assert shown.status == 200
    assert 'href="/invoices' not in shown.text
    assert server.get(f"{foreign}/invoices/{invoice}", key="").status == 404


def test_a_portal_of_one_namespace_never_shows_another(server: Served, acme: str) -> None:
    made = {"name": "t", "scopes": ["admin"], "namespace": f"ns-{acme}"}
    theirs = server.post("/v1/keys", made).json()["secret"]
    server.put(f"/v1/customers/{acme}", {"name": "Namesake"}, key=theirs)
    path = server.post(f"/v1/customers/{acme}/portal", {}, key=theirs).json()["url"]
    shown = server.get(path, key="")
    assert "Namesake" in shown.text
    assert "no subscription" in shown.text


def test_a_portal_address_ends_when_its_time_is_over(server: Served, acme: str) -> None:
    now = server.get("/v1/clock").json()["now"]
    path = portal(server, acme, ttl_s=60)
    assert server.get(path, key="").status == 200
    try:
        server.post("/v1/clock", {"now": "2026-11-20T10:01:00Z"})
        assert server.get(path, key="").status == 404
    finally:
        server.post("/v1/clock", {"now": now})


def test_revoking_ends_every_address_of_that_customer_only(server: Served, acme: str) -> None:
    other = f"other-{acme}"
    server.put(f"/v1/customers/{other}", {})
    first, second, foreign = portal(server, acme), portal(server, acme), portal(server, other)
    closed = server.request("DELETE", f"/v1/customers/{acme}/portal")
    assert closed.json() == {"customer": acme, "revoked": 2}
    assert [server.get(path, key="").status for path in (first, second, foreign)] == [404, 404, 200]


@pytest.mark.parametrize("ttl_s", [0, -1, 40_000_000, "1 day"])
def test_a_portal_is_open_for_a_second_to_a_year(server: Served, acme: str, ttl_s: Any) -> None:
    assert server.post(f"/v1/customers/{acme}/portal", {"ttl_s": ttl_s}).status == 422
    assert server.post("/v1/customers/nobody/portal", {}).status == 404


def test_the_address_made_from_the_page_is_shown_once_and_works(server: Served, acme: str) -> None:
    made = send(server, "portal", customer=acme, ttl_s="600")
    assert made.status == 200
    found = re.search(r"/portal/tm_\w+", made.text)
    assert found is not None
    assert server.get(found[0], key="").status == 200
