"""From usage to numbered invoices over HTTP, with the clock in the test's hand."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve


def plan(prices: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The usual catalogue with other prices."""
    document = copy.deepcopy(CATALOG)
    document["plans"]["pro"]["prices"] = prices
    document["plans"]["pro"] |= members
    return document


def amounts(invoice: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(line["description"], line["quantity"], line["amount"]) for line in invoice["lines"]]


def periods(invoices: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["period"]["start"], one["period"]["end"]) for one in invoices]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("billing"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    """In the middle of a month; the server's tests run one after another."""
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    return scene


# --- periods ----------------------------------------------------------------------------------


def test_calendar_periods_begin_at_local_midnight_of_the_first(scene: Scene) -> None:
    scene.publish()
    scene.customer(timezone="America/New_York")
    scene.subscribe(start="2026-09-15T16:00:00Z")
    assert periods(scene.close()) == [
        ("2026-09-15T16:00:00Z", "2026-10-01T04:00:00Z"),
        ("2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z"),
    ]
    running = scene.ask("GET", "/v1/subscriptions")["items"][0]["period"]
    assert running["start"].startswith("2026-11-01T04:00:00")
    assert running["end"].startswith("2026-12-01T05:00:00"), "summer time has ended meanwhile"


def test_anniversary_periods_keep_their_day_without_drifting(scene: Scene) -> None:
    scene.publish()
    scene.customer(timezone="Europe/Berlin")
    scene.set_clock("2026-05-31T12:00:00Z")
    scene.subscribe(start="2026-01-31T08:30:00Z", anchor="anniversary")
    days = [start[:16] for start, _ in periods(scene.close())]
    assert days == [
        "2026-01-31T08:30", "2026-02-27T23:00", "2026-03-30T22:00", "2026-04-29T22:00",
    ]  # fmt: skip


def test_usage_is_billed_in_the_local_period_it_happened_in(scene: Scene) -> None:
    scene.publish()
    scene.customer(timezone="America/New_York")
    scene.subscribe(start="2026-10-01T04:00:00Z")
    scene.send(
        [
            event("in", 1, time="2026-11-01T03:59:59.999999Z"),
            event("next", 10, time="2026-11-01T04:00:00Z"),
        ]
    )
    (october,) = scene.close()
    assert amounts(october) == [("tokens", "1", "0.01")]
    assert scene.preview()["lines"][0]["quantity"] == "10"


def test_a_first_period_in_the_middle_pays_for_its_days(scene: Scene) -> None:
    """K4: from the 10th of a month of 31 days, the day of the start included: 22 days."""
    prices = {
        "base": {"type": "flat", "amount": 49, "timing": "advance"},
        "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"},
    }
    scene.publish(plan(prices))
    scene.customer(timezone="Europe/Berlin")
    scene.subscribe(start="2026-10-10T21:30:00Z")
    (first,) = scene.close()
    (base, _) = first["lines"]
    assert base["amount"] == "34.77"  # 49 * 22 / 31 = 34.774...
    assert base["proration"] == {"days": 22, "of": 31}
    scene.set_clock("2026-12-01T00:00:00Z")
    (second,) = scene.close()
    assert second["lines"][0]["amount"] == "49.00"
    assert "proration" not in second["lines"][0]


def test_two_plans_of_other_cadence_close_on_their_own_days(scene: Scene) -> None:
    document = plan({}, cadence="week")
    document["plans"]["daily"] = {**document["plans"]["pro"], "cadence": "day"}
    scene.publish(document)
    scene.customer()
    scene.customer("other")
    scene.subscribe(start="2026-11-09T00:00:00Z")  # a Monday
    scene.subscribe("other", "daily", start="2026-11-18T00:00:00Z")
    found = scene.close()
    assert [(one["customer"], one["period"]["end"][:10]) for one in found] == [
        ("acme", "2026-11-16"), ("other", "2026-11-19"), ("other", "2026-11-20"),
    ]  # fmt: skip


# --- prices -----------------------------------------------------------------------------------


def test_graduated_tiers_are_inclusive_and_charge_each_flat_once(scene: Scene) -> None:
    tiers = [
        {"up_to": 1000, "unit": "0.10"},
        {"up_to": 2000, "unit": "0.08", "flat": 5},
        {"unit": "0.05"},
    ]
    scene.open(
        plan({"tokens": {"type": "graduated", "meter": "tokens", "tiers": tiers}}),
        start="2026-11-01T00:00:00Z",
    )

    def fare() -> str:
        return str(scene.preview()["subtotal"])

    scene.send(event("1", 1000))
    assert fare() == "100.00"
    scene.send(event("2", "0.5"))
    assert fare() == "105.04"
    scene.send(event("3", "1499.5"))
    assert fare() == "210.00"
    line = scene.preview()["lines"][0]
    assert line["quantity"] == "2500"
    assert [(t["quantity"], t["unit"], t["amount"]) for t in line["tiers"]] == [
        ("1000", "0.10", "100.00"), ("1000", "0.08", "85.00"), ("500", "0.05", "25.00"),
    ]  # fmt: skip


def test_each_group_is_a_line_rounded_by_itself(scene: Scene) -> None:
    price = {"type": "per_unit", "meter": "tokens", "unit": "0.01", "group_by": ["model"]}
    scene.open(plan({"tokens": price}), start="2026-11-01T00:00:00Z")
    scene.send(
        [
            event("1", "0.5", data={"tokens": "0.5", "model": "opus"}),
            event("2", "0.5", data={"tokens": "0.5", "model": "haiku"}),
            event("3", "0.5"),
        ]
    )
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert amounts(invoice) == [
        ("tokens (model: none)", "0.5", "0.01"),
        ("tokens (model: haiku)", "0.5", "0.01"),
        ("tokens (model: opus)", "0.5", "0.01"),
    ]
    assert (invoice["subtotal"], invoice["total"], invoice["amount_due"]) == ("0.03",) * 3


def test_a_price_counts_only_what_its_filter_lets_through(scene: Scene) -> None:
    prices = {
        "opus": {
            "type": "per_unit", "meter": "tokens", "unit": 1, "filter": 'data.model == "opus"',
        },
        "rest": {
            "type": "per_unit", "meter": "tokens", "unit": 2, "filter": 'data.model != "opus"',
        },
    }  # fmt: skip
    scene.open(plan(prices), start="2026-11-01T00:00:00Z")
    for n, model in enumerate(["opus", "haiku", "opus", None]):
        scene.send(event(str(n), data={"tokens": 1, "model": model}))
    scene.send(event("without"))
    expected = [("opus", "2", "2.00"), ("rest", "3", "6.00")]
    assert amounts(scene.preview()) == expected
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert amounts(invoice) == expected
    path = f"/v1/invoices/{invoice['id']}"
    assert scene.ask("GET", f"{path}/verify")["ok"]
    found = [i["event"]["id"] for i in scene.ask("GET", f"{path}/lines/line_1/events")["items"]]
    assert found == ["0", "2"]


@pytest.mark.parametrize(
    ("currency", "unit", "quantity", "amount"),
    [
        ("JPY", "0.5", 3, "2"),
        ("JPY", "0.49", 1, "0"),
        ("KWD", "0.0005", 1, "0.001"),
        ("KWD", "0.0004", 1, "0.000"),
        ("USD", "0.005", 1, "0.01"),
        ("USD", "0.000003", 2500, "0.01"),
    ],
)
def test_amounts_are_rounded_half_up_to_the_digits_of_the_currency(
    scene: Scene, currency: str, unit: str, quantity: int, amount: str
) -> None:
    prices = {"tokens": {"type": "per_unit", "meter": "tokens", "unit": unit}}
    scene.open(plan(prices, currency=currency), start="2026-11-01T00:00:00Z")
    scene.send(event("1", quantity))
    fare = scene.preview()
    assert (fare["lines"][0]["amount"], fare["total"], fare["currency"]) == (amount,) * 2 + (
        currency,
    )


def test_a_sum_below_zero_is_billed_as_nothing(scene: Scene) -> None:
    scene.open(start="2026-11-01T00:00:00Z")
    scene.send([event("1", 5), event("2", -8)])
    assert scene.used() == "-3"
    line = scene.preview()["lines"][0]
    assert (line["quantity"], line["amount"]) == ("0", "0.00")


# --- the running fare -------------------------------------------------------------------------


def essence(invoice: dict[str, Any]) -> Any:
    """What a preview and a closed invoice have in common."""
    lines = copy.deepcopy(invoice["lines"])
    for line in lines:
        if line["lineage"] is not None:
            line["lineage"] = line["lineage"]["events"]
    names = ("customer", "subscription", "currency", "period", "subtotal", "total", "amount_due")
    return {name: invoice[name] for name in names}, lines


def total(invoice: dict[str, Any]) -> int:
    return sum(int(i["quantity"]) for i in invoice["lines"] if i["description"] == "tokens")


def test_the_running_fare_ends_as_the_invoice(scene: Scene) -> None:
    prices = {
        "base": {"type": "flat", "amount": 49, "timing": "advance"},
        "tokens": {
            "type": "graduated", "meter": "tokens",
            "tiers": [{"up_to": 10, "unit": "0.123456"}, {"unit": "0.1"}],
        },
        "models": {"type": "per_unit", "meter": "tokens", "unit": "0.003", "group_by": ["model"]},
        "calls": {"type": "per_unit", "meter": "requests", "unit": "0.7", "free": 2},
    }  # fmt: skip
    scene.publish(plan(prices))
    scene.customer(subjects=["u1"], timezone="Asia/Kolkata")
    scene.subscribe(start="2026-11-05T10:00:00Z")
    for n in range(40):
        scene.send(
            event(
                str(n),
                time=f"2026-11-{6 + n % 14:02}T0{n % 10}:00:00Z",
                subject="u1" if n % 3 else "acme",
                data={"tokens": n, "model": f"m{n % 4}"},
            )
        )
    last = "2026-11-30T18:29:59.999999Z"
    scene.set_clock(last)
    live, recounted = scene.preview(), scene.preview(at=last)
    assert essence(live) == essence(recounted)
    assert total(live) == sum(range(40))
    half = scene.preview(at="2026-11-13T00:00:00Z")
    assert total(half) == sum(n for n in range(40) if n % 14 < 7)
    scene.set_clock("2026-11-30T18:30:00Z")
    (invoice,) = scene.close()
    assert essence(invoice) == essence(live)
    assert total(scene.preview()) == 0
    assert essence(scene.preview(at=last)) == essence(invoice)


def test_a_preview_needs_a_subscription_that_had_begun(scene: Scene) -> None:
    scene.publish()
    scene.customer()
    path = "/v1/customers/acme/invoices/preview"
    assert scene.raw("GET", path).status == 404
    scene.subscribe(start="2026-11-10T00:00:00Z")
    assert scene.raw("GET", path).status == 200
    assert scene.raw("GET", path, at="2026-11-09T23:59:59Z").status == 404
    assert scene.raw("GET", path, at="yesterday").status == 422
    assert scene.raw("GET", "/v1/customers/nobody/invoices/preview").status == 404


def test_events_ahead_of_the_next_period_do_not_change_what_the_fare_counts(scene: Scene) -> None:
    """Up to five minutes ahead is accepted, so a period can begin before the last one ends."""
    scene.open(start="2026-11-01T00:00:00Z")
    scene.set_clock("2026-11-30T23:58:00Z")
    scene.send([event("1", 1), event("2", 20, time="2026-11-30T23:59:30Z")])
    before = scene.preview()
    scene.send(event("3", 300, time="2026-12-01T00:01:00Z"))
    after = scene.preview()
    assert essence(after) == essence(before)
    assert before["lines"][0]["quantity"] == "21"
    assert scene.check()["used"] == "21"


def test_limits_start_at_zero_with_the_period_and_late_events_count_where_they_belong(
    scene: Scene,
) -> None:
    scene.open(start="2026-10-01T00:00:00Z")
    scene.send(event("1", 900))
    assert (scene.check()["used"], scene.check()["resets_at"]) == ("900", "2026-12-01T00:00:00Z")
    scene.send(event("late", 50, time="2026-10-31T23:59:59.999999Z"))
    assert scene.check()["used"] == "900"
    assert scene.preview(at="2026-10-31T23:59:59.999999Z")["lines"][0]["quantity"] == "0"
    scene.set_clock("2026-12-01T00:00:00Z")
    assert (scene.check()["used"], scene.check()["resets_at"]) == ("0", "2027-01-01T00:00:00Z")
    scene.send(event("behind", 7, time="2026-11-30T23:59:59Z"))
    assert scene.check()["used"] == "0"
    october, november = scene.close()
    assert (october["lines"][0]["quantity"], november["lines"][0]["quantity"]) == ("50", "907")


# --- changes of the catalogue -----------------------------------------------------------------


def test_a_new_price_begins_with_the_next_period(scene: Scene) -> None:
    scene.open(start="2026-10-01T00:00:00Z")
    scene.send([event("1", 100, time="2026-10-10T00:00:00Z"), event("2", 100)])
    cheap = {"tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.001"}}
    scene.publish(plan(cheap))
    assert scene.preview()["subtotal"] == "1.00"
    scene.set_clock("2026-12-02T00:00:00Z")
    scene.send(event("3", 100))
    assert scene.preview()["subtotal"] == "0.10"
    october, november = scene.close()
    assert (october["subtotal"], november["subtotal"]) == ("1.00", "1.00")
    assert november["lines"][0]["price"] == "pro/tokens@1"
    scene.set_clock("2027-01-01T00:00:00Z")
    (december,) = scene.close()
    assert (december["subtotal"], december["lines"][0]["price"]) == ("0.10", "pro/tokens@2")


def test_a_dimension_can_go_while_an_older_price_still_groups_by_it(tmp_path: Path) -> None:
    grouped = {"type": "per_unit", "meter": "tokens", "unit": 1, "group_by": ["model"]}
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server, namespace="narrow")
        scene.set_clock("2026-11-20T12:00:00Z")
        scene.open(plan({"tokens": grouped}), start="2026-11-01T00:00:00Z")
        scene.send(event("1", data={"tokens": 2, "model": "opus"}))
        document = plan({"tokens": {**grouped, "group_by": []}})
        document["meters"]["tokens"]["dimensions"] = {}
        scene.publish(document)
        assert amounts(scene.preview()) == [("tokens (model: opus)", "2", "2.00")]
    with serve(tmp_path, "--sandbox") as server:
        scene.server = server
        scene.set_clock("2026-12-01T00:00:00Z")
        (invoice,) = scene.close()
        assert amounts(invoice) == [("tokens (model: opus)", "2", "2.00")]
        assert scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")["ok"]
        assert amounts(scene.preview()) == [("tokens", "0", "0.00")]


# --- closing ----------------------------------------------------------------------------------


def test_missed_periods_are_billed_once_each_oldest_first(scene: Scene) -> None:
    scene.open(start="2026-07-01T00:00:00Z")
    scene.send([event(str(m), m, time=f"2026-{m:02}-15T00:00:00Z") for m in range(9, 12)])
    scene.send([event(str(m), m, time=f"2026-{m:02}-15T00:00:00Z") for m in (7, 8)], backfill=1)
    assert [one["period"]["end"][:10] for one in scene.close("2026-09-01T00:00:00Z")] == [
        "2026-08-01", "2026-09-01",
    ]  # fmt: skip
    rest = scene.close()
    assert [(one["period"]["end"][:10], one["subtotal"]) for one in rest] == [
        ("2026-10-01", "0.09"), ("2026-11-01", "0.10"),
    ]  # fmt: skip
    assert scene.close() == []
    listed = scene.ask("GET", "/v1/invoices", customer="acme")["items"]
    assert [one["period"]["end"][:7] for one in listed] == [
        "2026-11", "2026-10", "2026-09", "2026-08",
    ]  # fmt: skip


def test_an_open_period_is_not_closed_and_the_future_is_refused(scene: Scene) -> None:
    scene.open(start="2026-11-01T00:00:00Z")
    assert scene.close() == []
    body = {"as_of": "2026-11-20T12:00:00.000001Z"}
    assert scene.ask("POST", "/v1/close", body, status=422)["code"] == "invalid_parameter"
    scene.set_clock("2026-12-01T00:00:00Z")
    assert scene.close("2026-11-30T23:59:59.999999Z") == []
    assert len(scene.close("2026-12-01T00:00:00Z")) == 1


def test_a_period_is_never_billed_twice_however_many_close_at_once(scene: Scene) -> None:
    scene.publish()
    for n in range(5):
        scene.customer(f"c{n}")
        scene.subscribe(f"c{n}", start="2026-08-01T00:00:00Z")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: scene.ask("POST", "/v1/close"), range(16)))
    made = [invoice for answer in answers for invoice in answer["invoices"]]
    assert len(made) == len(set(made)) == 5 * 3
    listed = scene.ask("GET", "/v1/invoices", limit=1000)["items"]
    keys = {(one["customer"], one["period"]["start"]) for one in listed}
    assert len(listed) == len(keys) == 15


def test_numbers_have_no_gap_whoever_issues_at_once(scene: Scene) -> None:
    scene.open(start="2026-01-01T00:00:00Z")
    drafts = [one["id"] for one in scene.close()]
    assert len(drafts) == 10
    with ThreadPoolExecutor(16) as pool:
        replies = list(
            pool.map(lambda d: scene.raw("POST", f"/v1/invoices/{d}/finalize"), drafts * 3)
        )
    assert sorted(reply.status for reply in replies) == [200] * 10 + [409] * 20
    refused = {reply.json()["code"] for reply in replies if reply.status == 409}
    assert refused == {"invoice_not_draft"}
    numbers = sorted(reply.json()["number"] for reply in replies if reply.status == 200)
    assert numbers == [f"INV-{n:06}" for n in range(1, 11)]
    # Another namespace counts for itself.
    other = Scene(scene.server).open(start="2026-10-01T00:00:00Z")
    (draft,) = other.close()
    assert other.ask("POST", f"/v1/invoices/{draft['id']}/finalize")["number"] == "INV-000001"


def test_an_issued_invoice_never_changes_but_its_status(scene: Scene) -> None:
    scene.open(start="2026-10-01T00:00:00Z")
    scene.send(event("1", 5, time="2026-10-05T00:00:00Z"))
    (draft,) = scene.close()
    issued = scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    assert (issued["status"], issued["number"]) == ("issued", "INV-000001")
    assert issued["issued_at"].startswith("2026-11-20T12:00:00")
    content = {k: v for k, v in issued.items() if k not in ("digest", "status")}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert issued["digest"] == f"sha256:{sha256(text.encode()).hexdigest()}"
    scene.send(event("2", 500, time="2026-10-06T00:00:00Z"))
    cheap = {"tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.001"}}
    scene.publish(plan(cheap))
    assert scene.invoice(draft["id"]) == issued
    voided = scene.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "a test"})
    assert voided == issued | {"status": "void"}
    again = scene.raw("POST", f"/v1/invoices/{draft['id']}/void")
    assert (again.status, again.json()["code"]) == (409, "invoice_final")
    assert scene.raw("POST", f"/v1/invoices/{draft['id']}/finalize").status == 409


def test_a_voided_period_is_closed_again_with_what_is_known_now(scene: Scene) -> None:
    scene.open(start="2026-10-01T00:00:00Z")
    scene.send(event("1", 5, time="2026-10-05T00:00:00Z"))
    (first,) = scene.close()
    scene.send(event("late", 7, time="2026-10-06T00:00:00Z"))
    assert scene.invoice(first["id"])["lines"][0]["quantity"] == "5"
    scene.ask("POST", f"/v1/invoices/{first['id']}/void")
    (second,) = scene.close()
    assert second["lines"][0]["quantity"] == "12"
    assert scene.close() == []
    by_status = {
        status: [one["id"] for one in scene.ask("GET", "/v1/invoices", status_=status)["items"]]
        for status in ("draft", "void", "issued")
    }
    assert by_status == {"draft": [second["id"]], "void": [first["id"]], "issued": []}
    assert scene.raw("GET", "/v1/invoices", status_="lost").status == 422


# --- proof ------------------------------------------------------------------------------------


def test_a_line_shows_exactly_its_events_and_verifies(scene: Scene) -> None:
    price = {"type": "per_unit", "meter": "tokens", "unit": "0.01", "group_by": ["model"]}
    scene.open(plan({"tokens": price}), start="2026-10-01T00:00:00Z")
    scene.send(
        [
            event(str(n), time="2026-10-05T00:00:00Z", data={"tokens": n, "model": f"m{n % 2}"})
            for n in range(25)
        ]
    )
    (invoice,) = scene.close()
    scene.send(event("late", 1, time="2026-10-05T00:00:00Z", data={"tokens": 1, "model": "m0"}))
    for parity, line in enumerate(invoice["lines"]):
        path = f"/v1/invoices/{invoice['id']}/lines/{line['id']}/events"
        seen: list[str] = []
        cursor = None
        while True:
            page = scene.ask("GET", path, limit=5, cursor=cursor)
            seen += [item["event"]["id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == [str(n) for n in range(parity, 25, 2)]
        assert line["lineage"]["events"] == len(seen)
    report = scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")
    assert (report["ok"], report["document_ok"]) == (True, True)
    assert [line["ok"] for line in report["lines"]] == [True, True]
    assert scene.raw("GET", f"/v1/invoices/{invoice['id']}/lines/line_9/events").status == 404
    assert scene.raw("GET", "/v1/invoices/inv_nobody/verify").status == 404


EXPLAINED = {"free": "1", "multiplier": "2", "adjustment": "-1.00", "metered": "7"}
WAYS = ("nothing", "amount", "quantity", "tier", *EXPLAINED, "total", "flat", "digest")


def tamper(document: dict[str, Any], how: str) -> None:
    """As somebody would who also computes the sums and the digest again."""
    flat, usage = document["lines"]
    if how == "amount":
        usage["amount"] = "0.01"
    elif how == "quantity":
        usage["quantity"] = "1"
    elif how == "tier":
        usage["tiers"][0]["unit"] = "0.02"
        usage["tiers"][0]["amount"] = "99.00"
    elif how in EXPLAINED:
        usage[how] = EXPLAINED[how]
    elif how == "flat":
        flat["amount"] = "1.00"
    due = sum(int(line["amount"].replace(".", "")) for line in document["lines"])
    for name in ("subtotal", "total", "amount_due"):
        document[name] = "0.01" if how == "total" else f"{due / 100:.2f}"
    content = {k: v for k, v in document.items() if k not in ("digest", "status")}
    document["digest"] = f"sha256:{sha256(canonical(content)).hexdigest()}"
    if how == "digest":
        document["digest"] = "sha256:" + "0" * 64


def canonical(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def test_verify_finds_what_was_changed_behind_the_servers_back(tmp_path: Path) -> None:
    prices = {
        "base": {"type": "flat", "amount": 49, "timing": "advance"},
        "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.01"},
    }
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server, namespace="books")
        scene.set_clock("2026-11-20T12:00:00Z")
        scene.publish(plan(prices))
        for way in WAYS:
            scene.customer(way)
            scene.subscribe(way, start="2026-10-11T00:00:00Z")
            events = [event(f"{way}-{n}", n, time="2026-10-15T00:00:00Z") for n in range(100)]
            scene.send([one | {"subject": way} for one in events])
        for draft in scene.close():
            scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")

    books = sqlite3.connect(tmp_path / "data" / "books.db")
    stored = books.execute("SELECT id, customer, document FROM invoices").fetchall()
    triggers = books.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    with pytest.raises(sqlite3.Error):
        books.execute("UPDATE invoices SET document = ?", (b"{}",))
    for (name,) in triggers:
        books.execute(f"DROP TRIGGER {name}")
    for invoice_id, way, text in stored:
        document = json.loads(text)
        tamper(document, way)
        changed = canonical(document)
        assert (changed == text) is (way == "nothing")
        books.execute("UPDATE invoices SET document = ? WHERE id = ?", (changed, invoice_id))
    books.commit()
    books.close()

    with serve(tmp_path) as server:
        scene.server = server
        found = {
            way: scene.ask("GET", f"/v1/invoices/{invoice_id}/verify")
            for invoice_id, way, _ in stored
        }
    assert {way: report["ok"] for way, report in found.items()} == {
        way: way == "nothing" for way in WAYS
    }
    assert [line["ok"] for line in found["flat"]["lines"]] == [False, True]
    for way in ("tier", *EXPLAINED):
        assert [line["ok"] for line in found[way]["lines"]] == [True, False], way
    assert found["amount"]["lines"][1]["recounted"]["amount"] == "49.50"
    assert found["total"]["document_ok"] is False
