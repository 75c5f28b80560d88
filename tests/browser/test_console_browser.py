"""
The console in a real browser: it moves by itself, it holds what it is given, it leaves nobody out.

Every page a test opens is watched: an error in the script, a message on the browser's console, or
a request to anywhere but the server fails the test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.serving import Served, serve

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>\'&amp;'
LIMIT = 1000
CATALOG = {
    "meters": {"tokens": {"event_type": "llm", "aggregation": "sum", "value": "data.tokens"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}, "export": {"type": "boolean"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"limit": LIMIT, "enforcement": "hard", "reset": "period"},
                "export": True,
            },
            "prices": {
                "base": {"type": "flat", "amount": "49.00", "timing": "advance"},
                "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.10"},
            },
        }
    },
}
PATHS = ["/", "/customers/acme", "/invoices", "/docs", "/docs/errors", "/sign-in"]
PATHS += ["/customers/acme/ledger", "/notices", "/rules", "/dead-letters", "/audit"]
PATHS += ["/do/grant?customer=acme", "/payments", "/accounts", "/reconciliation", "/corrections"]
PATHS += ["/events", "/credit-notes", "/late-usage", "/rollouts", "/customers/acme/statement"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"there is no {CHROMIUM}"),
]

Visit = Callable[..., Page]
expect.set_options(timeout=60_000)  # a wait that succeeds costs nothing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A development server with one subscribed customer and one nobody should trust."""
    with serve(tmp_path_factory.mktemp("pages"), "--dev") as running:
        set_up(running)
        yield running


def set_up(server: Served) -> None:
    server.put("/v1/catalog", CATALOG)
    for key, name in (("acme", "Acme"), ("zeta", "Zeta"), ("evil", EVIL)):
        server.put(f"/v1/customers/{key}", {"name": name, "subjects": [f"{key} {EVIL}"]})
        server.post("/v1/subscriptions", {"customer": key, "plan": "pro"})


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens a page of a server in a fresh context; at the end nothing may have gone wrong."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(server: Served, path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()

        def on_request(request: Any) -> None:
            if not request.url.startswith(server.url + "/"):
                wrong.append(f"request to {request.url}")

        page.on("request", on_request)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on(
            "console",
            lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None,
        )
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.goto(server.url + path)
        return page

    open_page.wrong = wrong  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def send(server: Served, prefix: str, count: int, tokens: int = 1, customer: str = "acme") -> None:
    events = [
        {"id": f"{prefix}-{n}", "type": "llm", "subject": customer, "data": {"tokens": tokens}}
        for n in range(count)
    ]
    assert server.post("/v1/events", events).json()["accepted"] == count


def live(page: Page) -> Page:
    expect(page.locator("#link-state")).to_have_text("Live")
    return page


def accepted(page: Page) -> int:
    return int(page.locator("[data-p=accepted]").inner_text().replace(",", ""))


# --- it moves -----------------------------------------------------------------------------------


def test_the_count_the_chart_and_the_events_move_without_a_reload(
    server: Served, visit: Visit
) -> None:
    page = live(visit(server))
    page.evaluate("window.sameDocument = true")
    before = accepted(page)
    flat = page.locator("#chart-line").get_attribute("d")
    send(server, "moves", 7, tokens=0)
    expect(page.locator("[data-p=accepted]")).to_have_text(f"{before + 7:,}")
    first = page.locator("#events > li").first
    expect(first).to_contain_text("moves-6")
    expect(first.locator(".badge")).to_have_text("accepted")
    expect(page.locator("#rate-peak")).not_to_have_text("0")
    assert page.locator("#chart-line").get_attribute("d") != flat
    assert page.evaluate("window.sameDocument") is True


def test_every_verdict_is_named_on_the_page(server: Served, visit: Visit) -> None:
    page = live(visit(server))
    event = {"id": "v-1", "type": "llm", "subject": "zeta", "data": {"tokens": 1}}
    changed = {**event, "data": {"tokens": 2}}
    unmatched = {**event, "id": "v-2", "subject": "nobody"}
    rejected = {**event, "id": "v-3", "time": "1999-01-01T00:00:00Z"}
    server.post("/v1/events", [event, event, changed, unmatched, rejected])
    for verdict in ("accepted", "duplicate", "conflict", "unmatched", "rejected"):
        badge = page.locator(f"#events > [data-verdict={verdict}] .badge").first
        expect(badge).to_have_text(verdict)
    expect(page.locator("#dead")).to_have_attribute("data-state", "warn", timeout=60_000)
    expect(page.locator("[data-p=balanced]")).to_have_text("received = decided")


def test_an_allowance_fills_reaches_its_cap_and_the_refusal_is_shown(
    server: Served, visit: Visit
) -> None:
    page = live(visit(server))
    row = page.locator("#rows > [data-key=zeta]")
    gauge = row.locator(".gauge")
    send(server, "cap-a", 1, tokens=850, customer="zeta")
    expect(gauge).to_have_attribute("data-state", "near")
    expect(gauge).to_contain_text("near limit")
    send(server, "cap-b", 1, tokens=LIMIT, customer="zeta")
    expect(gauge).to_have_attribute("data-state", "full")
    expect(gauge.locator(".bar-fill")).to_have_attribute("width", "1000")
    expect(gauge).to_contain_text("at limit")
    asked = {"customer": "zeta", "feature": "chat", "amount": 5}
    assert server.post("/v1/check", asked).json()["allowed"] is False
    expect(page.locator("#choices > li").first).to_contain_text("limit_reached")
    expect(page.locator("#choices > li .badge").first).to_have_text("refused")


def test_a_customers_page_runs_its_fare_and_draws_its_days(server: Served, visit: Visit) -> None:
    page = live(visit(server, "/customers/acme"))
    usage = page.locator("[data-part$='/usage']")
    expect(usage.locator("figure")).to_have_count(1)
    send(server, "fare", 1, tokens=30)
    shown = server.get("/v1/customers/acme/invoices/preview").json()["total"]
    expect(page.locator("[data-row=fare]")).to_have_text(shown)
    expect(page.locator("[data-live] .total dd")).to_contain_text(shown)
    expect(page.locator("#events > li").first).to_contain_text("fare-0")


def test_a_search_narrows_the_table_and_stays_in_the_address(server: Served, visit: Visit) -> None:
    page = live(visit(server))
    expect(page.locator("#rows > tr")).to_have_count(3)
    page.get_by_label("Search customers").fill("zet")
    expect(page.locator("#rows > tr")).to_have_count(1)
    assert page.url.endswith("?q=zet&order=fare")
    page.get_by_label("Search customers").fill("nobody at all")
    expect(page.locator("#no-rows")).to_have_text("No customer matches.")
    page.get_by_label("Search customers").fill("")
    expect(page.locator("#rows > tr")).to_have_count(3)


def test_a_paused_event_list_stands_still_while_the_count_goes_on(
    server: Served, visit: Visit
) -> None:
    page = live(visit(server))
    page.get_by_role("button", name="Pause").click()
    before = page.locator("#events").inner_text()
    count = accepted(page)
    send(server, "paused", 3, tokens=0)
    expect(page.locator("[data-p=accepted]")).to_have_text(f"{count + 3:,}")
    assert page.locator("#events").inner_text() == before


def test_a_lost_connection_is_shown_and_comes_back_by_itself(tmp_path: Any, visit: Visit) -> None:
    with serve(tmp_path, "--dev") as first:
        port = int(first.url.rpartition(":")[2])
        page = live(visit(first))
    expect(page.locator("#link-state")).to_contain_text("Connection lost")
    with serve(tmp_path, "--dev", port=port) as second:
        expect(page.locator("#link-state")).to_have_text("Live", timeout=60_000)
        send(second, "back", 2)
        expect(page.locator("[data-p=accepted]")).to_have_text("2")
        page.close()
    # The browser itself reports each attempt that met a closed port; nothing else went wrong.
    wrong = visit.wrong  # type: ignore[attr-defined]
    assert [said for said in wrong if "ERR_" not in said] == []
    wrong.clear()


# --- it holds -----------------------------------------------------------------------------------


def test_markup_in_names_subjects_ids_and_data_stays_text(server: Served, visit: Visit) -> None:
    page = live(visit(server))
    event = {
        "id": EVIL,
        "type": EVIL,
        "subject": f"evil {EVIL}",
        "data": {EVIL: EVIL},
    }
    rejected = {**event, "id": f"{EVIL}2", "time": "1999-01-01T00:00:00Z"}
    unmatched = {**event, "id": f"{EVIL}3", "subject": EVIL}
    assert server.post("/v1/events", [event, rejected, unmatched]).json()["accepted"] == 2
    server.post("/v1/check", {"customer": EVIL, "feature": EVIL})
    shown = page.locator("#events > [data-verdict=accepted]").first
    expect(shown).to_contain_text(EVIL[:40])
    expect(page.locator("#choices > li").first).to_contain_text(EVIL[:40])
    expect(page.locator("#rows > [data-key=evil]")).to_contain_text(EVIL)
    for path in ("/", "/customers/evil", "/customers/evil/events", f"/?q={EVIL[:4]}"):
        page.goto(server.url + path)
        page.wait_for_timeout(300)
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("window.hurt") is None


def test_signing_in_and_issuing_an_invoice_work_with_a_browsers_own_headers(
    tmp_path: Any, visit: Visit
) -> None:
    with serve(tmp_path, "--sandbox") as locked:
        locked.post("/v1/clock", {"now": "2026-11-20T10:00:00Z"})
        set_up(locked)
        locked.post("/v1/clock", {"now": "2026-12-02T10:00:00Z"})
        (invoice, *_) = locked.post("/v1/close", {}).json()["invoices"]
        page = visit(locked, f"/invoices/{invoice}")
        page.get_by_label("API key").fill(locked.key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Draft invoice")).to_be_visible()
        page.get_by_role("link", name="Issue invoice").click()
        page.get_by_role("button", name="Issue the invoice").click()
        expect(page.get_by_text("INV-000001")).to_be_visible()
        page.get_by_role("link", name="Recount and verify").click()
        expect(page.get_by_role("heading", name="Verified")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        page.close()


# --- it leaves nobody out -----------------------------------------------------------------------


def test_dark_mode_follows_the_system_until_somebody_chooses(server: Served, visit: Visit) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = visit(server, "/docs/errors", color_scheme="dark")
    light = visit(server, "/docs/errors", color_scheme="light")
    assert dark.evaluate(paper) != light.evaluate(paper)
    light.get_by_role("button", name="Switch between light and dark").click()
    assert light.evaluate(paper) == dark.evaluate(paper)
    light.reload()
    assert light.evaluate(paper) == dark.evaluate(paper)


def test_no_page_scrolls_sideways(server: Served, visit: Visit) -> None:
    page = visit(server)
    for path in PATHS:
        page.goto(server.url + path)
        for width in (320, 390, 768):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(50)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} wide on {width}"


def test_text_has_the_contrast_that_wcag_aa_asks_for(server: Served, visit: Visit) -> None:
    send(server, "contrast", 1, tokens=0)
    page = visit(server)
    for path in PATHS:
        page.goto(server.url + path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(100)
            assert page.evaluate(WEAK_TEXT) == [], f"{path}, {scheme}"


def test_everything_that_can_be_operated_has_a_name_and_is_reached_by_tab(
    server: Served, visit: Visit
) -> None:
    page = visit(server)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"theme", "q", "order", "pause"} <= reached
    nameless = page.evaluate(
        """[...document.querySelectorAll("a[href], button, input, select")].filter((e) =>
            !(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels || []).length)
        ).filter((e) => e.offsetParent).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_the_page_does_not_jump_while_it_lives(server: Served, visit: Visit) -> None:
    send(server, "calm", 1, tokens=0)  # the first event ever closes the welcome
    page = live(visit(server, "/", viewport={"width": 1280, "height": 900}))
    page.evaluate(
        """() => { window.jumped = 0; new PerformanceObserver((list) => {
            for (const one of list.getEntries()) {
                // New events push older ones down their list; nothing else may move.
                const inList = (source) => source.node?.parentElement?.closest("#events");
                if (!one.sources.every(inList)) window.jumped += one.value;
            }
        }).observe({type: "layout-shift", buffered: true}); }"""
    )
    for n in range(3):
        send(server, f"calm-{n}", 5, tokens=0)
        page.wait_for_timeout(400)
    assert page.evaluate("window.jumped") < 0.01


def test_the_reference_is_filtered_and_its_examples_parse(server: Served, visit: Visit) -> None:
    page = visit(server, "/docs")
    links = page.locator(".docs-nav li:visible")
    everything = links.count()
    page.get_by_label("Filter operations").fill("post event")
    assert 0 < links.count() < everything
    page.get_by_label("Filter operations").fill("no such thing")
    expect(page.get_by_text("No operation matches.")).to_be_visible()
    example = page.locator("#post_v1_events .command code").inner_text()
    json.loads(example.partition("-d '")[2].removesuffix("'"))


# Texts whose contrast with what is behind them is below 4.5 (3 from 24 px on).
WEAK_TEXT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => below.map((c, i) => i < 3 ? top[i] * top[3] + c * (1 - top[3]) : 1);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(rgba(getComputedStyle(e).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility({visibilityProperty: true})) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const [a, b] = [light(over(rgba(style.color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    const text = node.textContent.trim().slice(0, 30);
    if (ratio < (isLarge ? 3 : 4.5)) weak.push(`${text}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(weak)];
}"""


# --- what a customer holds ----------------------------------------------------------------------


def test_a_balance_falls_while_somebody_watches(server: Served, visit: Visit) -> None:
    server.put("/v1/customers/purse", {"name": "Purse"})
    server.post("/v1/subscriptions", {"customer": "purse", "plan": "pro"})
    page = visit(server, "/customers/purse")
    expect(page.get_by_text("No credit was ever given")).to_be_visible()
    gift = {"id": "gift", "credit": "usd", "amount": "20"}
    server.post("/v1/customers/purse/grants", gift)
    wallet = page.get_by_role("region", name="usd")
    expect(wallet).to_contain_text("20")
    expect(wallet).to_contain_text("gift")
    server.post("/v1/grants/gift/void", {})
    expect(wallet).to_contain_text("No grant is left")


def test_a_reservation_appears_and_is_released_with_the_keyboard_alone(
    server: Served, visit: Visit
) -> None:
    server.put("/v1/customers/holder", {"name": "Holder"})
    server.post("/v1/subscriptions", {"customer": "holder", "plan": "pro"})
    page = visit(server, "/customers/holder")
    held = {"customer": "holder", "feature": "chat", "amount": 1, "id": "held", "ttl_s": 600}
    assert server.post("/v1/reservations", held).status == 201
    release = page.get_by_role("link", name="Release held")
    release.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Release a reservation")).to_be_visible()
    button = page.get_by_role("button", name="Release a reservation")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Reservation released.")).to_be_visible()
    expect(page.get_by_text("Nothing is held.")).to_be_visible()


def test_what_is_mistyped_stays_in_the_form_with_the_reason(server: Served, visit: Visit) -> None:
    page = visit(server, "/do/grant?customer=zeta")
    page.locator("#f-credit").fill("usd")
    page.locator("#f-amount").fill("lots")
    page.get_by_role("button", name="Give credit").click()
    expect(page.get_by_role("alert")).to_contain_text("amount")
    expect(page.locator("#f-amount")).to_have_value("lots")
    visit.wrong.clear()  # type: ignore[attr-defined]  # the browser reports the 422
