"""Alerts, webhooks, mail and streams of a running server, with real receivers."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from standardwebhooks import Webhook as Reference
from tests.integration.scene import CATALOG, Scene, event
from tests.receivers import Answering, Inbox, Mailbox, mailbox, receiver
from tests.serving import Served, serve

NOW = "2026-11-20T12:00:00Z"
START = "2026-11-01T00:00:00Z"
USAGE = {"on": "usage", "feature": "chat", "thresholds": ["80%", "100%"]}


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, box: Mailbox) -> Iterator[Served]:
    flags = ("--sandbox", "--webhook-allow-private")
    env = {"TAXIMETER_SMTP_URL": box.url}
    with serve(tmp_path_factory.mktemp("notices"), *flags, env=env) as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock(NOW)
    return scene.open(start=START)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiver() as found:
        yield found


def hook(scene: Scene, inbox: Inbox, name: str = "ops", **members: Any) -> dict[str, Any]:
    body = {"url": inbox.url, **members}
    answer: dict[str, Any] = scene.ask("PUT", f"/v1/webhooks/{name}", body)
    return answer


def notices(scene: Scene, **query: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed(scene.ask("GET", "/v1/notices", **query)["items"]))


def told(scene: Scene, count: int, **query: Any) -> list[dict[str, Any]]:
    """Wait for so many notices, and that there are no more."""
    eventually(lambda: len(notices(scene, **query)) >= count)
    found = notices(scene, **query)
    assert len(found) == count, [one["data"] for one in found]
    return found


def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    done = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return
        done.wait(0.02)
    raise AssertionError("it did not happen")


# --- from a crossing to an endpoint -------------------------------------------------------------


def test_a_crossing_reaches_the_endpoint_signed(scene: Scene, inbox: Inbox) -> None:
    secret = hook(scene, inbox)["secret"]
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 799))
    assert scene.check()["used"] == "799"
    scene.send(event("2", 1))
    (got,) = inbox.wait(1)
    assert Reference(secret).verify(got.body, got.headers) == {
        "type": "usage.threshold_crossed",
        "timestamp": NOW,
        "data": {
            "alert": "near", "customer": "acme", "feature": "chat", "threshold": "80%",
            "line": "800", "used": "800", "limit": "1000", "window_start": START,
            "resets_at": "2026-12-01T00:00:00Z",
        },
    }  # fmt: skip
    (notice,) = told(scene, 1)
    assert (notice["id"], notice["customer"]) == (got.id, "acme")


def test_a_threshold_may_be_a_fraction_written_as_a_number(scene: Scene) -> None:
    scene.ask("PUT", "/v1/alerts/a", USAGE | {"thresholds": [0.1, "0.25", 1e2]})
    assert scene.ask("GET", "/v1/alerts/a")["thresholds"] == ["0.1", "0.25", "100"]


def test_consume_crosses_lines_too(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    assert scene.consume("c1", 1000)["allowed"]
    assert {got.json()["data"]["threshold"] for got in inbox.wait(2)} == {"80%", "100%"}


def test_a_thousand_requests_at_once_cross_each_line_exactly_once(
    scene: Scene, inbox: Inbox
) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE | {"thresholds": [f"{n}%" for n in range(5, 101, 5)]})
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: scene.send(event(str(n), 1)), range(1000)))
        list(pool.map(lambda n: scene.send(event(str(n), 1)), range(0, 1000, 10)))  # again
    inbox.wait(20)
    told(scene, 20)
    thresholds = [got.json()["data"]["threshold"] for got in inbox.got]
    assert sorted(thresholds) == sorted(f"{n}%" for n in range(5, 101, 5))
    assert len({got.id for got in inbox.got}) == 20


def test_the_next_period_tells_again(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    inbox.wait(1)
    scene.set_clock("2026-12-03T00:00:00Z")
    scene.send(event("2", 900))
    starts = [got.json()["data"]["window_start"] for got in inbox.wait(2)]
    assert starts == [START, "2026-12-01T00:00:00Z"]


def test_customers_that_come_after_the_alert_are_watched(server: Served, inbox: Inbox) -> None:
    scene = Scene(server)
    scene.set_clock(NOW)
    scene.publish()
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.customer("late")
    scene.subscribe("late", start=START)
    scene.send(event("1", 900, subject="late"))
    assert inbox.wait(1)[0].json()["data"]["customer"] == "late"


def test_an_alert_on_one_customer_is_silent_about_others(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.customer("beta")
    scene.subscribe("beta", start=START)
    scene.ask("PUT", "/v1/alerts/near", USAGE | {"customer": "beta"})
    scene.send([event("1", 2000), event("2", 900, subject="beta")])
    inbox.wait(1)
    assert [one["customer"] for one in told(scene, 1)] == ["beta"]


def test_a_raised_limit_draws_the_line_anew(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE | {"thresholds": ["80%"]})
    scene.send(event("1", 900))
    inbox.wait(1)
    plan = CATALOG["plans"]["pro"]
    chat = {"limit": 2000, "enforcement": "hard", "reset": "period"}
    raised = {**plan, "entitlements": {**plan["entitlements"], "chat": chat}}
    scene.publish({**CATALOG, "plans": {"pro": raised}})
    scene.send(event("2", 100))
    scene.send(event("3", 700))
    assert [got.json()["data"]["line"] for got in inbox.wait(2)] == ["800", "1600"]


def test_a_low_balance_is_told_once_and_again_after_it_was_refilled(
    scene: Scene, inbox: Inbox
) -> None:
    plan = CATALOG["plans"]["pro"]
    chat = {"credit": "usd", "cost": 1}
    burning = {**plan, "entitlements": {**plan["entitlements"], "chat": chat}}
    scene.publish({**CATALOG, "plans": {"pro": burning}})
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/low", {"on": "balance", "credit": "usd", "thresholds": [10]})
    grants = "/v1/customers/acme/grants"
    scene.ask("POST", grants, {"id": "g1", "credit": "usd", "amount": 100}, status=201)
    for number, tokens in enumerate((80, 10, 5), start=1):
        scene.send(event(f"a{number}", tokens))
    first = inbox.wait(1)[0].json()
    assert first["type"] == "balance.low"
    assert (first["data"]["threshold"], first["data"]["balance"]) == ("10", "10")
    scene.ask("POST", grants, {"id": "g2", "credit": "usd", "amount": 50}, status=201)
    eventually(lambda: scene.ask("GET", "/v1/customers/acme/balance", credit="usd"))
    scene.send(event("b1", 50))
    assert inbox.wait(2)[1].json()["data"]["balance"] == "5"
    told(scene, 2)


def test_credit_that_expires_is_noticed_without_any_event(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/low", {"on": "balance", "credit": "usd", "thresholds": [10]})
    grant = {"id": "g1", "credit": "usd", "amount": 100, "expires_at": "2026-11-25T00:00:00Z"}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    scene.set_clock("2026-11-25T00:00:00Z")
    assert inbox.wait(1)[0].json()["data"]["balance"] == "0"


def test_an_alert_put_on_another_number_begins_anew(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    lines = {"on": "usage", "feature": "chat", "thresholds": [10]}
    scene.ask("PUT", "/v1/alerts/a", lines)
    scene.send(event("1", 50))
    inbox.wait(1)
    scene.ask("PUT", "/v1/alerts/a", lines | {"email": []})  # the same
    grant = {"id": "g1", "credit": "chat", "amount": 5}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    on_balance = {"on": "balance", "credit": "chat", "thresholds": [10]}
    scene.ask("PUT", "/v1/alerts/a", on_balance)
    assert inbox.wait(2)[1].json()["type"] == "balance.low"
    scene.ask("PUT", "/v1/alerts/a", lines)
    told(scene, 2)


def test_a_budget_is_watched_by_its_name(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/b", {"on": "budget", "budget": "team", "thresholds": ["50%"]})
    budget = {"feature": "chat", "limit": 100, "reset": "period"}
    scene.ask("PUT", "/v1/customers/acme/budgets/team", budget)
    scene.send(event("1", 60))
    data = inbox.wait(1)[0].json()["data"]
    assert (data["budget"], data["used"], data["limit"]) == ("team", "60", "100")


def test_a_forecast_names_the_day(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/ahead", {"on": "forecast", "feature": "chat", "within": "3d"})
    scene.send(event("1", 900))  # in 19.5 days; the last 100 take two days and four hours
    got = inbox.wait(1)[0].json()
    assert got["type"] == "forecast.limit_ahead"
    assert got["data"]["expected_at"] == "2026-11-22T16:00:00Z"


# --- endpoints ----------------------------------------------------------------------------------


def test_the_secret_is_shown_once_and_is_nowhere_else(
    server: Served, scene: Scene, inbox: Inbox
) -> None:
    secret = hook(scene, inbox)["secret"]
    rotated = scene.ask("POST", "/v1/webhooks/ops/rotate", {"overlap": "1h"})["secret"]
    scene.ask("POST", "/v1/webhooks/ops/test")
    seen = [hook(scene, inbox, description="again")]
    seen += [
        scene.ask("GET", path)
        for path in (
            "/v1/webhooks", "/v1/webhooks/ops", "/v1/webhooks/ops/deliveries", "/v1/notices",
            "/v1/audit", "/v1/status",
        )
    ]  # fmt: skip
    text = json.dumps(seen) + server.stderr + scene.raw("GET", "/metrics").text
    assert secret not in text
    assert rotated not in text


def test_both_secrets_sign_while_one_replaces_the_other(scene: Scene, inbox: Inbox) -> None:
    old = hook(scene, inbox)["secret"]
    answer = scene.ask("POST", "/v1/webhooks/ops/rotate", {"overlap": "24h"})
    assert answer["previous_secret_until"] == "2026-11-21T12:00:00Z"
    scene.ask("POST", "/v1/webhooks/ops/test")
    for secret in (old, answer["secret"]):
        assert Reference(secret).verify(inbox.got[0].body, inbox.got[0].headers)
    scene.set_clock("2026-11-22T12:00:00Z")
    assert scene.ask("GET", "/v1/webhooks/ops")["previous_secret_until"] is None
    scene.ask("POST", "/v1/webhooks/ops/test")
    assert " " not in inbox.got[1].headers["webhook-signature"]


def test_a_rotation_asked_for_twice_with_one_key_is_one(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    headers = {"Idempotency-Key": "rotate-1"}
    answers = [scene.ask("POST", "/v1/webhooks/ops/rotate", {}, headers) for _ in range(2)]
    assert answers[0] == answers[1]


def test_a_secret_may_be_brought_along_and_must_be_strong(scene: Scene, inbox: Inbox) -> None:
    mine = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert hook(scene, inbox, secret=mine)["secret"] == mine
    assert "secret" not in hook(scene, inbox, secret=mine)
    other = "whsec_" + "A" * 40
    assert scene.raw("PUT", "/v1/webhooks/ops", {"url": inbox.url, "secret": other}).status == 422
    weak = scene.raw("PUT", "/v1/webhooks/two", {"url": inbox.url, "secret": "whsec_c2hvcnQ="})
    assert (weak.status, weak.json()["code"]) == (422, "invalid_request")


def test_a_test_says_how_it_went(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    good = scene.ask("POST", "/v1/webhooks/ops/test")
    assert good["status"] == "delivered"
    assert [(one["status"], one["response"]) for one in good["attempts"]] == [(200, "ok")]
    inbox.answer = Answering(500, b"out of order")
    bad = scene.ask("POST", "/v1/webhooks/ops/test")
    assert (bad["status"], bad["attempts"][0]["error"]) == ("pending", "The endpoint answered 500.")
    assert bad["next_attempt_at"] > NOW


def test_a_failed_delivery_is_tried_again_when_the_servers_clock_says_so(
    scene: Scene, inbox: Inbox
) -> None:
    hook(scene, inbox)
    inbox.answer = Answering(503)
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    inbox.wait(1)
    path = "/v1/webhooks/ops/deliveries"
    eventually(lambda: scene.ask("GET", path)["items"][0]["attempts"])
    (delivery,) = scene.ask("GET", path, status_="pending")["items"]
    inbox.answer = Answering()
    scene.set_clock(delivery["next_attempt_at"])
    first, second = inbox.wait(2)
    assert first.id == second.id
    eventually(lambda: scene.ask("GET", path, status_="delivered")["items"])


def test_410_disables_and_putting_again_enables_and_resends(
    scene: Scene, inbox: Inbox, box: Mailbox
) -> None:
    hook(scene, inbox, email=["gone@example.com"])
    with receiver() as other:
        hook(scene, other, "other", types=["webhook.*"])
        inbox.answer = Answering(410, b"bye")
        scene.ask("PUT", "/v1/alerts/near", USAGE)
        scene.send(event("1", 900))
        assert other.wait(1)[0].json()["data"]["reason"] == "gone"
    gone = scene.ask("GET", "/v1/webhooks/ops")
    assert (gone["status"], gone["disabled_reason"]) == ("disabled", "gone")
    eventually(lambda: any("gone@example.com" in to for to, _ in box.mail))
    (delivery,) = scene.ask("GET", "/v1/webhooks/ops/deliveries", status_="failed")["items"]
    refused = scene.raw("POST", f"/v1/deliveries/{delivery['id']}/resend")
    assert (refused.status, refused.json()["code"]) == (409, "webhook_disabled")
    inbox.answer = Answering()
    assert hook(scene, inbox)["status"] == "enabled"
    again = scene.ask("POST", f"/v1/deliveries/{delivery['id']}/resend")
    assert again["status"] == "delivered"
    assert [one["status"] for one in again["attempts"]] == [410, 200]
    assert inbox.got[0].id == inbox.got[1].id


def test_after_an_outage_all_that_failed_is_sent_again(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    inbox.answer = Answering(410)
    scene.ask("PUT", "/v1/alerts/many", USAGE | {"thresholds": list(range(1, 21))})
    scene.send(event("1", 20))
    eventually(lambda: scene.ask("GET", "/v1/webhooks/ops")["status"] == "disabled")
    path = "/v1/webhooks/ops/deliveries"
    eventually(lambda: len(scene.ask("GET", path, status_="failed")["items"]) == 20)
    assert scene.raw("POST", "/v1/webhooks/ops/resend", {}).status == 409
    inbox.answer = Answering()
    hook(scene, inbox)
    inbox.got.clear()
    later = scene.ask("POST", "/v1/webhooks/ops/resend", {"since": "2026-11-21T00:00:00Z"})
    assert later == {"resent": 0}
    assert scene.ask("POST", "/v1/webhooks/ops/resend", {"since": NOW}) == {"resent": 20}
    assert len({got.id for got in inbox.wait(20)}) == 20
    eventually(lambda: len(scene.ask("GET", path, status_="delivered")["items"]) == 20)


def test_a_disabled_endpoint_is_sent_nothing(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox, enabled=False)
    assert scene.ask("GET", "/v1/webhooks/ops")["disabled_reason"] == "by_hand"
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    told(scene, 1)
    assert scene.ask("GET", "/v1/webhooks/ops/deliveries")["items"] == []
    assert scene.raw("POST", "/v1/webhooks/ops/test").status == 409


def test_an_endpoint_gets_only_the_types_it_wants(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox, types=["balance.low", "forecast.*"])
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    (notice,) = told(scene, 1)
    assert scene.ask("GET", f"/v1/notices/{notice['id']}")["deliveries"] == []


def test_a_deleted_webhook_is_gone_with_its_deliveries(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("POST", "/v1/webhooks/ops/test")
    scene.ask("DELETE", "/v1/webhooks/ops", status=204)
    for path in ("/v1/webhooks/ops", "/v1/webhooks/ops/deliveries"):
        assert scene.raw("GET", path).status == 404
    assert scene.raw("DELETE", "/v1/webhooks/ops").status == 404
    assert scene.ask("GET", "/v1/notices")["items"][0]["type"] == "webhook.test"


def test_slow_endpoints_do_not_delay_a_quick_one(scene: Scene, inbox: Inbox) -> None:
    with receiver(Answering(delay_s=15.0)) as slow:
        for number in range(4):
            hook(scene, slow, f"slow{number}")
        hook(scene, inbox)
        lines = [f"{n}%" for n in range(1, 21)]
        scene.ask("PUT", "/v1/alerts/many", USAGE | {"thresholds": lines})
        scene.send(event("1", 900))
        inbox.wait(20, timeout_s=14.0)
        for number in range(4):
            scene.ask("DELETE", f"/v1/webhooks/slow{number}", status=204)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "hint"),
    [
        ("alerts/a", USAGE | {"feature": "chta"}, 422, "alert_invalid", "Did you mean 'chat'?"),
        ("alerts/a", USAGE | {"feature": "export"}, 422, "alert_invalid", "not metered"),
        ("alerts/a", USAGE | {"customer": "acmee"}, 404, "not_found", "acmee"),
        ("alerts/a", USAGE | {"treshold": 1}, 422, "alert_invalid", "treshold"),
        ("alerts/a", [], 422, "invalid_request", "object"),
        ("alerts/-", USAGE, 422, "alert_invalid", "id:"),
        ("webhooks/a", {}, 422, "invalid_request", "url"),
        ("webhooks/a", {"url": "file:///etc/passwd"}, 422, "webhook_url_refused", "https://"),
        ("webhooks/a", {"url": "http://x/", "typs": []}, 422, "invalid_request", "typs"),
        ("webhooks/a", {"url": "http://x/", "types": ["Usage"]}, 422, "invalid_request", "Usage"),
        ("webhooks/a", {"url": "http://x/", "types": []}, 422, "invalid_request", "types"),
        ("webhooks/a", {"url": "http://x/", "email": ["x"]}, 422, "invalid_request", "address"),
        ("webhooks/a%0a", {"url": "http://x/"}, 422, "invalid_request", "id:"),
    ],
)
def test_a_mistake_is_told(
    scene: Scene, path: str, body: Any, status: int, code: str, hint: str
) -> None:
    reply = scene.raw("PUT", f"/v1/{path}", body)
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert hint in reply.json()["detail"]


@pytest.mark.parametrize("overlap", ["31d", "-1h", "soon", "1000w"])
def test_an_overlap_has_a_bound(scene: Scene, inbox: Inbox, overlap: str) -> None:
    hook(scene, inbox)
    reply = scene.raw("POST", "/v1/webhooks/ops/rotate", {"overlap": overlap})
    assert (reply.status, reply.json()["code"]) == (422, "invalid_request")


def test_without_the_settings_private_endpoints_and_mail_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serve(tmp_path_factory.mktemp("strict"), "--dev") as strict, receiver() as inbox:
        strict.put("/v1/catalog", CATALOG)
        for url in (inbox.url, "https://localhost/x", "https://[::ffff:10.0.0.1]/x"):
            reply = strict.put("/v1/webhooks/ops", {"url": url})
            assert reply.json()["code"] == "webhook_url_refused", url
            assert "--webhook-allow-private" in reply.json()["detail"]
        mail = strict.put("/v1/alerts/a", USAGE | {"email": ["ops@example.com"]})
        assert (mail.status, mail.json()["code"]) == (409, "mail_not_configured")
        assert "TAXIMETER_SMTP_URL" in mail.json()["detail"]
        assert inbox.got == []


def test_reading_needs_read_and_changing_needs_admin(scene: Scene) -> None:
    reader, writer = scene.new_key("read"), scene.new_key("write")
    assert scene.raw("GET", "/v1/alerts", key=reader).status == 200
    for method, path in (
        ("PUT", "/v1/alerts/a"), ("DELETE", "/v1/alerts/a"), ("PUT", "/v1/webhooks/a"),
        ("POST", "/v1/webhooks/a/test"), ("POST", "/v1/webhooks/a/rotate"),
        ("POST", "/v1/deliveries/d/resend"), ("POST", "/v1/webhooks/a/resend"),
    ):  # fmt: skip
        assert scene.raw(method, path, {}, key=writer).status == 403, path


def test_namespaces_see_nothing_of_each_others_notices(
    server: Served, scene: Scene, inbox: Inbox
) -> None:
    hook(scene, inbox)
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    inbox.wait(1)
    eventually(lambda: scene.ask("GET", "/v1/webhooks/ops/deliveries")["items"])
    (delivery,) = scene.ask("GET", "/v1/webhooks/ops/deliveries")["items"]
    stranger = Scene(server)
    for path in ("/v1/notices", "/v1/alerts", "/v1/webhooks"):
        assert stranger.ask("GET", path) == {"items": [], "next": None}
    for method, path in (
        ("GET", "/v1/alerts/near"), ("DELETE", "/v1/alerts/near"), ("GET", "/v1/webhooks/ops"),
        ("DELETE", "/v1/webhooks/ops"), ("POST", "/v1/webhooks/ops/test"),
        ("POST", "/v1/webhooks/ops/rotate"), ("GET", "/v1/webhooks/ops/deliveries"),
        ("POST", f"/v1/deliveries/{delivery['id']}/resend"), ("POST", "/v1/webhooks/ops/resend"),
        ("GET", f"/v1/notices/{delivery['notice']}"),
    ):  # fmt: skip
        assert stranger.raw(method, path, {}).status == 404, path
    assert stranger.ask("GET", "/v1/notices", cursor=delivery["notice"])["items"] == []
    stranger.ask("PUT", "/v1/webhooks/ops", {"url": "http://127.0.0.1:9/"})
    assert scene.ask("GET", "/v1/webhooks/ops")["url"] == inbox.url


# --- lists, mail, streams -----------------------------------------------------------------------


def test_notices_are_paged_and_filtered(scene: Scene, inbox: Inbox) -> None:
    scene.ask("PUT", "/v1/alerts/many", USAGE | {"thresholds": [1, 2, 3, 4, 5]})
    scene.send(event("1", 5))
    every = told(scene, 5)
    page = scene.ask("GET", "/v1/notices", limit=2)
    rest = scene.ask("GET", "/v1/notices", limit=3, cursor=page["next"])["items"]
    assert [*page["items"], *rest] == list(reversed(every))
    assert notices(scene, customer="acme", type="usage.threshold_crossed") == every
    assert notices(scene, type="balance.low") == []
    assert scene.raw("GET", "/v1/notices", customer="nobody").status == 404


def test_an_alert_is_mailed_to_its_addresses(scene: Scene, box: Mailbox) -> None:
    before = len(box.mail)
    scene.ask("PUT", "/v1/alerts/near", USAGE | {"email": ["ops@example.com", "cfo@example.com"]})
    scene.send(event("1", 900))
    arrived = box.wait(before + 2)[before:]
    assert sorted(to for to, _ in arrived) == [["cfo@example.com"], ["ops@example.com"]]
    (notice,) = told(scene, 1)
    eventually(
        lambda: (
            {one["status"] for one in scene.ask("GET", f"/v1/notices/{notice['id']}")["deliveries"]}
            == {"delivered"}
        )
    )


class Follower:
    """Reads a stream in a thread; `events` are (name, id, data)."""

    def __init__(self, scene: Scene, path: str, last_id: str | None = None) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.opened = threading.Event()
        request = urllib.request.Request(scene.server.url + path)
        request.add_header("Authorization", f"Bearer {scene.key}")
        if last_id is not None:
            request.add_header("Last-Event-ID", last_id)
        self._stream = urllib.request.urlopen(request, timeout=60)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        name = message = ""
        try:
            for line in self._stream:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "id":
                    message = value
                elif field == "data":
                    self.events.append((name, message, json.loads(value)))
        except (OSError, ValueError):
            pass

    def named(self, name: str) -> list[tuple[str, Any]]:
        return [(message, data) for found, message, data in self.events if found == name]


def test_notices_appear_on_both_streams(scene: Scene) -> None:
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    everything = Follower(scene, "/v1/notices/stream")
    customer = Follower(scene, "/v1/customers/acme/stream")
    eventually(lambda: customer.named("entitlements"))
    scene.send(event("1", 900))
    eventually(lambda: everything.named("notice") and customer.named("notice"))
    (notice,) = told(scene, 1)
    for follower in (everything, customer):
        ((message, data),) = follower.named("notice")
        assert message == notice["id"]
        assert data == {name: notice[name] for name in ("type", "timestamp", "data")}


def test_a_reader_that_was_away_gets_what_it_missed(scene: Scene) -> None:
    scene.ask("PUT", "/v1/alerts/many", USAGE | {"thresholds": [1, 2, 3]})
    scene.send(event("1", 3))
    first, *missed = told(scene, 3)
    follower = Follower(scene, "/v1/notices/stream", first["id"])
    eventually(lambda: len(follower.named("notice")) == 2)
    assert [message for message, _ in follower.named("notice")] == [one["id"] for one in missed]


def test_a_reader_that_was_away_for_long_gets_all_of_it(scene: Scene) -> None:
    for number in range(15):
        lines = [20 * number + line for line in range(1, 21)]
        scene.ask("PUT", f"/v1/alerts/a{number}", USAGE | {"thresholds": lines})
    scene.send(event("1", 300))
    eventually(lambda: len(notices(scene, limit=1000)) == 300)
    first, *missed = notices(scene, limit=1000)
    follower = Follower(scene, "/v1/notices/stream", first["id"])
    eventually(lambda: len(follower.named("notice")) == 299)
    assert [message for message, _ in follower.named("notice")] == [one["id"] for one in missed]


def test_metrics_count_what_was_told_and_tried(scene: Scene, inbox: Inbox) -> None:
    hook(scene, inbox)
    scene.ask("POST", "/v1/webhooks/ops/test")
    scene.ask("PUT", "/v1/alerts/near", USAGE)
    scene.send(event("1", 900))
    inbox.wait(2)
    text = scene.raw("GET", "/metrics").text
    assert 'taximeter_notices_total{type="usage.threshold_crossed"}' in text
    assert 'taximeter_attempts_total{channel="webhook",outcome="success"}' in text
    assert "taximeter_notice_seconds_count" in text
