"""The pages over HTTP: who sees them, what may run in them, and that text stays text."""

from __future__ import annotations

import html
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest
from tests.serving import Reply, Served, serve

from taximeter.errors import CODES

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVIL = "<img src=x onerror=alert(1)>\"'&"
CATALOG = {
    "meters": {"tokens": {"event_type": "llm", "aggregation": "sum", "value": "data.tokens"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {"chat": {"limit": 1000, "enforcement": "hard", "reset": "period"}},
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
PAGES = ["/", "/customers/acme", "/invoices", "/docs", "/docs/errors", "/sign-in"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for keys, with its clock at 2 December and two draft invoices."""
    with serve(tmp_path_factory.mktemp("locked"), "--sandbox") as server:
        server.post("/v1/clock", {"now": "2026-11-20T10:00:00Z"})
        server.put("/v1/catalog", CATALOG)
        server.put("/v1/customers/acme", {"name": f"Acme {EVIL}", "subjects": [f"user {EVIL}"]})
        start = "2026-11-01T00:00:00Z"
        server.put("/v1/customers/beta", {"name": "Beta"})
        for customer in ("acme", "beta"):
            server.post("/v1/subscriptions", {"customer": customer, "plan": "pro", "start": start})
        event = {"type": "llm", "subject": f"user {EVIL}", "data": {"tokens": 250, "note": EVIL}}
        server.post("/v1/events", {"id": f"e1 {EVIL}", **event})
        server.post("/v1/clock", {"now": "2026-12-02T00:00:00Z"})
        assert server.post("/v1/close", {}).status == 200
        yield server


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A development server on which nothing has happened."""
    with serve(tmp_path_factory.mktemp("open"), "--dev") as server:
        yield server


def sign_in(server: Served, key: str, **headers: str) -> Reply:
    body = urlencode({"key": key, "next": "/invoices"}).encode()
    sent = FORM | {"Origin": server.url, "Sec-Fetch-Site": "same-origin"} | headers
    return server.post("/sign-in", body, headers=sent, key="")


def session(server: Served, key: str | None = None) -> dict[str, str]:
    reply = sign_in(server, key or server.key)
    assert reply.status == 303
    return {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


def invoice_id(server: Served, customer: str = "acme") -> str:
    return server.get(f"/v1/invoices?customer={customer}").json()["items"][0]["id"]


# --- who sees what ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/customers/acme", "/invoices", "/invoices/inv_1"])
def test_a_visitor_nobody_knows_is_sent_to_sign_in_and_back(locked: Served, path: str) -> None:
    reply = locked.get(path, key="")
    assert reply.status == 303
    assert reply.headers["location"] == f"/sign-in?next={quote(path, safe='')}"


def test_the_reference_is_public(locked: Served) -> None:
    assert locked.get("/docs", key="").status == 200
    assert locked.get("/docs/errors", key="").status == 200


def test_signing_in_with_a_key_opens_the_pages_and_leads_on(locked: Served) -> None:
    reply = sign_in(locked, locked.key)
    assert (reply.status, reply.headers["location"]) == (303, "/invoices")
    cookie = reply.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert locked.key not in cookie
    page = locked.get("/", key="", headers={"Cookie": cookie.partition(";")[0]})
    assert page.status == 200
    assert "Sign out" in page.text


def test_a_wrong_key_is_told_so_and_gets_no_session(locked: Served) -> None:
    reply = sign_in(locked, "tm_wrong")
    assert reply.status == 401
    assert "set-cookie" not in reply.headers
    assert "not a key of this server" in reply.text


def test_signing_out_ends_the_session_on_the_server(locked: Served) -> None:
    cookie = session(locked)
    reply = locked.post("/sign-out", b"", key="", headers={**cookie, "Origin": locked.url})
    assert (reply.status, reply.headers["location"]) == (303, "/sign-in")
    assert locked.get("/", key="", headers=cookie).status == 303


def test_revoking_a_key_ends_its_sessions_at_the_next_request(locked: Served) -> None:
    made = locked.post("/v1/keys", {"name": "viewer", "scopes": ["read"]}).json()
    cookie = session(locked, made["secret"])
    assert locked.get("/", key="", headers=cookie).status == 200
    locked.post(f"/v1/keys/{made['id']}/revoke")
    assert locked.get("/", key="", headers=cookie).status == 303


def test_a_key_that_may_not_read_cannot_sign_in(locked: Served) -> None:
    made = locked.post("/v1/keys", {"name": "gateway", "scopes": ["ingest"]}).json()
    reply = sign_in(locked, made["secret"])
    assert reply.status == 403
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(locked: Served, wanted: str) -> None:
    body = urlencode({"key": locked.key, "next": wanted}).encode()
    reply = locked.post("/sign-in", body, key="", headers=FORM | {"Origin": locked.url})
    assert reply.headers["location"] == "/"


def test_a_stream_without_a_session_says_so_in_its_own_language(locked: Served) -> None:
    reply = locked.get("/console/stream", key="")
    assert reply.status == 200
    assert "event: signed-out" in reply.text


# --- forms of others ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
    ids=str,
)
def test_a_form_of_another_site_issues_no_invoice(locked: Served, headers: dict[str, str]) -> None:
    sent = urlencode({"id": invoice_id(locked)}).encode()
    reply = locked.post("/do/issue", sent, key="", headers=session(locked) | FORM | headers)
    assert reply.status == 403
    assert locked.get(f"/v1/invoices/{invoice_id(locked)}").json()["status"] == "draft"


def test_a_form_of_another_site_cannot_sign_a_visitor_in(locked: Served) -> None:
    reply = sign_in(locked, locked.key, Origin="https://evil.example")
    assert reply.status == 403
    assert "set-cookie" not in reply.headers


def test_a_session_that_may_only_read_cannot_issue_and_sees_no_button(locked: Served) -> None:
    made = locked.post("/v1/keys", {"name": "reader", "scopes": ["read"]}).json()
    cookie, path = session(locked, made["secret"]), f"/invoices/{invoice_id(locked)}"
    assert "Issue invoice" not in locked.get(path, key="", headers=cookie).text
    headers = {**cookie, **FORM, "Origin": locked.url}
    sent = urlencode({"id": invoice_id(locked)}).encode()
    assert locked.post("/do/issue", sent, key="", headers=headers).status == 403


# --- what may run -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_held_to_their_own_origin_and_have_nothing_inline(
    locked: Served, path: str
) -> None:
    reply = locked.get(path)
    assert reply.status == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=\"|<script>", reply.text)
    linked = re.findall(r"(?:src|href|action)=\"([^\"]+)\"", reply.text)
    assert all(url.startswith(("/", "#")) for url in linked), linked


def test_assets_are_cached_under_an_address_with_their_digest(locked: Served) -> None:
    page = locked.get("/sign-in", key="").text
    for path in re.findall(r"\"(/assets/[^\"]+)\"", page):
        reply = locked.get(path, key="")
        assert reply.status == 200
        assert "immutable" in reply.headers["cache-control"]
    assert locked.get("/assets/layout.html", key="").status == 404


# --- text stays text ----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["", "/fare", "/usage", "/events"])
def test_hostile_names_subjects_ids_and_data_are_shown_as_text(locked: Served, part: str) -> None:
    for path in ("/", f"/customers/acme{part}", "/invoices", f"/?q={quote(EVIL)}"):
        text = locked.get(path).text
        assert "<img" not in text, path
    shown = html.unescape(locked.get("/customers/acme/events").text)
    assert f"user {EVIL}" in shown
    assert f"e1 {EVIL}" in shown
    assert f"note={EVIL}" in shown


def test_a_search_is_given_back_as_text(locked: Served) -> None:
    page = locked.get(f"/?q={quote(EVIL)}").text
    assert f'value="{html.escape(EVIL)}"' in page.replace("&#34;", "&quot;").replace(
        "&#39;", "&#x27;"
    )


# --- what they say ------------------------------------------------------------------------------


def test_the_empty_console_has_commands_that_work_as_they_are(open_door: Served) -> None:
    page = open_door.get("/", key="").text
    commands = [
        html.unescape(text) for text in re.findall(r"<code[^>]*>(curl.*?)</code>", page, re.S)
    ]
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", f"{command} --silent --fail-with-body"], capture_output=True, timeout=30
        )
        assert done.returncode == 0, done.stdout
    page = open_door.get("/", key="").text
    assert page.count('data-done="yes"') == 4
    assert 'id="welcome" aria-labelledby="welcome-title" hidden' in page
    assert "49.00" in page


def test_a_host_that_is_no_host_does_not_reach_a_command_line(open_door: Served) -> None:
    page = open_door.get("/docs", headers={"Host": "a$(id)"}).text
    assert "a$(id)" not in html.unescape(page)


def test_a_customer_that_is_not_there_is_a_page_with_status_404(locked: Served) -> None:
    reply = locked.get("/customers/nobody")
    assert reply.status == 404
    assert reply.headers["content-type"].startswith("text/html")
    assert "not_found" in reply.text


def test_a_customer_key_may_hold_any_character(locked: Served) -> None:
    key = "a/b?c#d %"
    assert locked.put(f"/v1/customers/{quote(key, safe='')}", {"name": "Odd"}).status == 200
    reply = locked.get(f"/customers/{quote(key, safe='')}")
    assert reply.status == 200
    assert f'data-part="/customers/{quote(key, safe="")}/fare"' in reply.text


def test_an_invoice_shows_its_tiers_its_proof_and_a_recount(locked: Served) -> None:
    path = f"/invoices/{invoice_id(locked)}?verify=1"
    page = html.unescape(locked.get(path).text)
    for text in ("100", "0.10", "150", "0.08", "12.00", "71.00", "1 Nov 2026 – 30 Nov 2026"):
        assert text in page, text
    line = locked.get(f"/v1/{path.partition('?')[0]}".replace("//", "/")).json()["lines"][1]
    assert line["lineage"]["digest"] in page
    assert "recounted, equal" in page
    events = html.unescape(locked.get(f"/invoices/{invoice_id(locked)}/lines/{line['id']}").text)
    assert f"e1 {EVIL}" in events


def test_every_code_is_explained_where_problems_point_to(locked: Served) -> None:
    page = locked.get("/docs/errors", key="").text
    for code, meaning in CODES.items():
        assert f'id="{code}"' in page
        assert html.escape(meaning, quote=False) in html.unescape(page).replace("&", "&amp;")
    problem = locked.get("/v1/customers/nobody").json()
    assert problem["type"] == "/docs/errors#not_found"


def test_the_reference_has_every_operation_of_the_document_and_no_page(locked: Served) -> None:
    document = locked.get("/openapi.json", key="").json()
    assert not {"/", "/docs", "/sign-in"} & document["paths"].keys()
    page = locked.get("/docs", key="").text
    for item in document["paths"].values():
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in page


def test_issuing_from_the_page_gives_the_invoice_its_number(locked: Served) -> None:
    path = f"/invoices/{invoice_id(locked, 'beta')}"
    headers = session(locked) | FORM | {"Origin": locked.url, "Sec-Fetch-Site": "same-origin"}
    sent = urlencode({"id": invoice_id(locked, "beta")}).encode()
    reply = locked.post("/do/issue", sent, key="", headers=headers)
    assert (reply.status, reply.headers["location"].partition("?")[0]) == (303, path)
    assert "INV-000001" in locked.get(reply.headers["location"]).text
    assert locked.post("/do/issue", sent, key="", headers=headers).status == 409


# --- the stream ---------------------------------------------------------------------------------


def messages(server: Served, path: str) -> Iterator[dict[str, object]]:
    request = urllib.request.Request(
        server.url + path, headers={"Authorization": f"Bearer {server.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def test_the_stream_begins_with_everything_and_goes_on_with_what_changed(locked: Served) -> None:
    stream = messages(locked, "/console/stream?q=acme")
    first = next(stream)
    assert first["full"] is True
    assert first["order"] == ["acme"]
    locked.post("/v1/events", {"id": "live", "type": "other", "subject": "stranger"})
    for message in stream:
        if "events" in message:
            (event,) = message["events"]
            assert (event["verdict"], event["subject"]) == ("unmatched", "stranger")
            assert "rows" not in message  # nothing that acme's row shows has changed
            break
    stream.close()


def test_the_stream_shows_what_was_rejected_repeated_and_refused(locked: Served) -> None:
    stream = messages(locked, "/console/stream")
    next(stream)
    event = {"id": "twice", "type": "llm", "subject": "acme", "data": {"tokens": 1}}
    changed = {**event, "data": {"tokens": 2}}
    bad = {**event, "id": "bad", "data": {"tokens": "many"}}
    locked.post("/v1/events", [event, event, changed, bad])
    locked.post("/v1/check", {"customer": "acme", "feature": "chat", "amount": 5000})
    verdicts: set[str] = set()
    refused: list[object] = []
    for message in stream:
        verdicts |= {one["verdict"] for one in message.get("events", [])}
        refused += [one["reason"] for one in message.get("choices", []) if not one["allowed"]]
        if refused and len(verdicts) == 4:
            break
    stream.close()
    assert verdicts == {"accepted", "duplicate", "conflict", "rejected"}
    assert refused == ["limit_reached"]
