"""Subscriptions over HTTP: changed, paused, cancelled, previewed, billed, restarted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

BASIC, PRO = 100, 1000
BEFORE = "2026-11-11T11:59:59.999999Z"
NOVEMBER = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")


def plan(limit: int, fee: Any, unit: str, **members: Any) -> dict[str, Any]:
    return {
        "currency": "USD",
        "cadence": "month",
        "entitlements": {"chat": {"limit": limit}, "seats": 1},
        "prices": {
            "base": {"type": "flat", "amount": fee},
            "tokens": {"type": "per_unit", "meter": "tokens", "unit": unit},
        },
        **members,
    }


def catalog(**plans: Any) -> dict[str, Any]:
    document = copy.deepcopy(CATALOG)
    document["plans"] = {
        "basic": plan(BASIC, 30, "0.02"),
        "pro": plan(PRO, 60, "0.01"),
        "yearly": plan(12_000, 730, "0.01", cadence="year"),
        "trying": plan(50, 30, "0.02", trial={"days": 14}),
        "euro": plan(PRO, 60, "0.01", currency="EUR"),
        **plans,
    }
    document["addons"] = {
        "boost": {
            "currency": "USD",
            "entitlements": {"chat": {"limit": 500}, "export": True},
            "prices": {"pack": {"type": "flat", "amount": 10}},
        }
    }
    return document


class Subscribed(Scene):
    """One customer with one subscription, and what is done to it."""

    id: str = ""

    def begin(self, plan: str = "basic", **body: Any) -> Subscribed:
        self.publish(catalog())
        self.customer(timezone=body.pop("timezone", "UTC"))
        self.id = self.subscribe(plan=plan, **body)["id"]
        return self

    def do(self, action: str, status: int = 200, **body: Any) -> Any:
        return self.ask("POST", f"/v1/subscriptions/{self.id}/{action}", body, status=status)

    def shown(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"/v1/subscriptions/{self.id}")
        return answer

    def lines(self, invoice: dict[str, Any]) -> list[tuple[str, str, str, str]]:
        return [
            (line["price"].partition("@")[0], line["description"], line["quantity"], line["amount"])
            for line in invoice["lines"]
        ]

    def closed_at(self, now: str) -> list[list[tuple[str, str, str, str]]]:
        self.set_clock(now)
        invoices = self.close()
        for one in invoices:
            verdict = self.ask("GET", f"/v1/invoices/{one['id']}/verify")
            assert verdict["ok"], verdict
        assert self.close() == [], "a period is billed once"
        return [self.lines(one) for one in invoices]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("subscriptions"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Subscribed:
    """On 11 November at noon; the server's tests run one after another."""
    scene = Subscribed(server)
    scene.set_clock("2026-11-11T12:00:00Z")
    return scene


# --- plan changes -----------------------------------------------------------------------------


def test_an_upgrade_now_holds_for_the_very_next_check_and_keeps_what_was_used(
    scene: Subscribed,
) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 90)])
    assert not scene.check(amount=20)["allowed"]
    changed = scene.do("change", plan="pro")
    assert (changed["plan"], changed["status"], changed["revision"]) == ("pro", "active", 2)
    decision = scene.check(amount=20)
    assert decision["allowed"]
    assert (decision["limit"], decision["used"]) == ("1000", "90")
    assert decision["resets_at"] == NOVEMBER[1], "the anchor never moves (K3)"


def test_an_upgrade_inside_a_period_splits_usage_and_prorates_fees(scene: Subscribed) -> None:
    """K4: 10 and 20 of 30 days. K20: each part on its own plan, one line each."""
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 50, time=BEFORE)])
    scene.do("change", plan="pro")
    scene.set_clock("2026-11-20T00:00:00Z")
    scene.send([event("2", 7), event("late", 3, time="2026-11-05T00:00:00Z")])
    expected = [
        ("basic/base", "base (10 of 30 days)", "1", "10.00"),
        ("basic/tokens", "tokens", "53", "1.06"),
        ("pro/base", "base (20 of 30 days)", "1", "40.00"),
        ("pro/tokens", "tokens", "7", "0.07"),
    ]
    assert scene.lines(scene.preview()) == expected, "the running fare is recounted"
    assert scene.closed_at("2026-12-01T00:00:00Z") == [expected]
    receipt = scene.ask("GET", "/v1/events/receipt", id="late")
    assert [one["line"] for one in receipt["lines"]] == ["line_2"], "billed by one part alone"
    assert scene.closed_at("2027-01-01T00:00:00Z") == [
        [("pro/base", "base", "1", "60.00"), ("pro/tokens", "tokens", "0", "0.00")]
    ]


def test_a_downgrade_at_period_end_happens_by_itself(scene: Subscribed) -> None:
    scene.begin("pro", start=NOVEMBER[0])
    changed = scene.do("change", plan="basic", at="period_end")
    assert changed["plan"] == "pro"
    assert [(one["at"], one["plan"]) for one in changed["scheduled"]] == [(NOVEMBER[1], "basic")]
    assert scene.check()["limit"] == "1000"
    scene.set_clock("2026-11-30T23:59:59.999999Z")
    assert scene.check()["limit"] == "1000"
    scene.set_clock(NOVEMBER[1])
    assert scene.check()["limit"] == "100"
    assert scene.shown()["plan"] == "basic"
    assert scene.closed_at("2027-01-01T00:00:00Z") == [
        [("pro/base", "base", "1", "60.00"), ("pro/tokens", "tokens", "0", "0.00")],
        [("basic/base", "base", "1", "30.00"), ("basic/tokens", "tokens", "0", "0.00")],
    ]


def test_an_upgrade_now_takes_the_place_of_a_downgrade_that_was_planned(
    scene: Subscribed,
) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="trying", at="period_end")
    assert scene.do("change", plan="pro")["scheduled"] == []


def test_an_upgrade_and_then_a_downgrade_at_period_end_both_happen(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro")
    scene.do("change", plan="basic", at="period_end")
    assert scene.check()["limit"] == "1000"
    scene.set_clock(NOVEMBER[1])
    assert scene.check()["limit"] == "100"


def test_two_changes_on_one_day_charge_each_day_once(scene: Subscribed) -> None:
    """The day belongs to the plan that has it at its end."""
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro")
    scene.set_clock("2026-11-11T15:00:00Z")
    scene.do("change", plan="trying")
    (invoice,) = scene.closed_at("2026-12-01T00:00:00Z")
    assert [line for line in invoice if line[0].endswith("base")] == [
        ("basic/base", "base (10 of 30 days)", "1", "10.00"),
        ("trying/base", "base (20 of 30 days)", "1", "20.00"),
    ]


def test_a_change_at_the_very_boundary_touches_one_period_only(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.set_clock(NOVEMBER[1])
    scene.do("change", plan="pro")
    november, december = scene.closed_at("2027-01-01T00:00:00Z")
    assert [line[0] for line in november] == ["basic/base", "basic/tokens"]
    assert [line[0] for line in december] == ["pro/base", "pro/tokens"]


def test_another_cadence_begins_a_new_schedule_at_once(scene: Subscribed) -> None:
    """K3: a new anchor; what was begun is charged for its days."""
    scene.begin(start=NOVEMBER[0], anchor="anniversary")
    scene.send([event("1", 5, time=BEFORE), event("2", 2)])
    changed = scene.do("change", plan="yearly")
    assert changed["period"] == {"start": "2026-11-11T12:00:00Z", "end": "2027-11-11T00:00:00Z"}
    assert scene.check()["used"] == "2", "counted again by the new periods"
    assert scene.closed_at("2027-11-11T00:00:00Z") == [
        [
            ("basic/base", "base (10 of 30 days)", "1", "10.00"),
            ("basic/tokens", "tokens", "5", "0.10"),
        ],
        [("yearly/base", "base", "1", "730.00"), ("yearly/tokens", "tokens", "2", "0.02")],
    ]


def test_a_change_in_the_past_is_refused(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    refused = scene.do("change", 422, plan="pro", at="2026-11-11T11:59:59Z")
    assert refused["code"] == "change_in_past"


def test_a_change_to_what_is_there_already_is_refused(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    assert scene.do("change", 409, plan="basic")["code"] == "subscription_unchanged"


def test_another_currency_can_begin_with_a_period_only(scene: Subscribed) -> None:
    scene.begin("pro", start=NOVEMBER[0])
    assert scene.do("change", 422, plan="euro")["code"] == "currency_mismatch"
    scene.do("change", plan="euro", at="period_end")
    scene.set_clock("2027-01-01T00:00:00Z")
    assert [one["currency"] for one in scene.close()] == ["USD", "EUR"]


def test_a_misspelled_plan_or_add_on_is_named(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    assert "did you mean 'pro'" in scene.do("change", 422, plan="prp")["detail"]
    assert "did you mean 'boost'" in scene.do("change", 422, addons={"bost": 1})["detail"]


def test_of_two_changes_at_once_none_is_lost(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("change", {"plan": "pro"}), ("addons", {"addons": {"boost": 2}}),
        ("pause", {"at": "2026-11-20T00:00:00Z"}), ("cancel", {"at": "2026-12-24T00:00:00Z"}),
    ]  # fmt: skip
    with ThreadPoolExecutor(len(wanted)) as pool:
        list(pool.map(lambda one: scene.do(one[0], **one[1]), wanted))
    shown = scene.shown()
    assert (shown["plan"], shown["addons"], shown["end"], shown["revision"]) == (
        "pro", {"boost": 2}, "2026-12-24T00:00:00Z", 5,
    )  # fmt: skip
    assert [one["status"] for one in shown["scheduled"]] == ["paused"]


def test_nothing_is_lost_or_counted_twice_while_periods_move(scene: Subscribed) -> None:
    """Usage comes in while another cadence has it counted again by other periods."""
    scene.begin("pro", start=NOVEMBER[0])

    def send(block: int) -> None:
        for n in range(25):
            scene.send([event(f"{block}-{n}", 1)])

    with ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(send, block) for block in range(3)]
        for name in ("yearly", "basic", "yearly"):
            scene.do("change", plan=name)
        for one in sending:
            one.result()
    assert scene.check()["used"] == "75"
    assert scene.preview()["lines"][1]["quantity"] == "75"


def test_a_change_that_is_repeated_with_its_key_is_made_once(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    path, key = f"/v1/subscriptions/{scene.id}/change", {"Idempotency-Key": "upgrade-1"}
    first, again = (scene.ask("POST", path, {"plan": "pro"}, key) for _ in range(2))
    assert first == again
    assert scene.shown()["revision"] == 2


# --- cancel -----------------------------------------------------------------------------------


def test_a_cancelled_subscription_ends_at_once_and_is_charged_for_its_days(
    scene: Subscribed,
) -> None:
    """K4: the day it ends is out."""
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 5, time=BEFORE)])
    assert scene.do("cancel")["status"] == "ended"
    assert scene.check()["reason"] == "no_subscription"
    assert scene.closed_at("2027-02-01T00:00:00Z") == [
        [
            ("basic/base", "base (10 of 30 days)", "1", "10.00"),
            ("basic/tokens", "tokens", "5", "0.10"),
        ]
    ]
    assert scene.do("change", 409, plan="pro")["code"] == "subscription_ended"
    assert scene.do("uncancel", 409)["code"] == "subscription_ended"
    scene.subscribe(plan="basic")


def test_an_end_that_is_planned_comes_by_itself_and_can_be_taken_back(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    cancelled = scene.do("cancel", at="period_end")
    assert (cancelled["status"], cancelled["end"]) == ("active", NOVEMBER[1])
    assert scene.do("cancel", 409, at="period_end")["code"] == "subscription_unchanged"
    assert scene.do("uncancel")["end"] is None
    scene.do("cancel", at="period_end")
    assert scene.check()["allowed"]
    scene.set_clock(NOVEMBER[1])
    assert scene.check()["reason"] == "no_subscription"
    assert scene.shown()["status"] == "ended"


def test_a_planned_change_survives_a_cancellation_that_is_taken_back(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro", at="2026-12-24T00:00:00Z")
    assert scene.do("cancel", at="period_end")["scheduled"] == []
    assert [one["plan"] for one in scene.do("uncancel")["scheduled"]] == ["pro"]


# --- pause ------------------------------------------------------------------------------------


def test_a_pause_refuses_and_is_free_but_counts_what_is_used_nevertheless(
    scene: Subscribed,
) -> None:
    """Over a month end: paused from 11 November to 11 December."""
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 5)])
    paused = scene.do("pause", until="2026-12-11T00:00:00Z")
    assert (paused["status"], paused["period"]["end"]) == ("paused", NOVEMBER[1])
    assert scene.check()["reason"] == "paused"
    scene.send([event("2", 2)])
    scene.set_clock("2026-12-10T23:59:59Z")
    assert scene.check()["reason"] == "paused"
    scene.set_clock("2026-12-11T00:00:00Z")
    assert scene.check()["allowed"]
    assert scene.closed_at("2027-01-01T00:00:00Z") == [
        [
            ("basic/base", "base (10 of 30 days)", "1", "10.00"),
            ("basic/tokens", "tokens", "7", "0.14"),
        ],
        [
            ("basic/base", "base (21 of 31 days)", "1", "20.32"),
            ("basic/tokens", "tokens", "0", "0.00"),
        ],
    ]


def test_a_period_paused_all_through_bills_only_what_was_used(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("pause", at="period_end")
    scene.set_clock("2026-12-05T00:00:00Z")
    scene.send([event("1", 5)])
    _, december = scene.closed_at("2027-01-01T00:00:00Z")
    assert december == [("basic/tokens", "tokens", "5", "0.10")]
    assert scene.closed_at("2027-02-01T00:00:00Z") == [[]]


def test_resume_ends_a_pause_for_the_very_next_check(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    assert scene.do("resume", 409)["code"] == "subscription_unchanged"
    scene.do("pause")
    assert scene.do("pause", 409)["code"] == "subscription_unchanged"
    assert scene.do("resume")["status"] == "active"
    assert scene.check()["allowed"]


# --- trials -----------------------------------------------------------------------------------


def test_a_trial_is_free_and_the_first_period_begins_where_it_ends(scene: Subscribed) -> None:
    scene.begin("trying")
    shown = scene.shown()
    assert (shown["status"], shown["trial_end"]) == ("trialing", "2026-11-25T12:00:00Z")
    assert shown["period"] == {"start": "2026-11-11T12:00:00Z", "end": "2026-11-25T12:00:00Z"}
    scene.send([event("1", 40)])
    assert not scene.check(amount=20)["allowed"]
    assert scene.preview()["total"] == "0.00"
    scene.set_clock("2026-11-25T12:00:00Z")
    assert scene.check(amount=20)["allowed"], "the trial's usage does not count any more"
    assert scene.shown()["status"] == "active"
    assert scene.closed_at("2026-12-01T00:00:00Z") == [
        [
            ("trying/base", "base (6 of 30 days)", "1", "6.00"),
            ("trying/tokens", "tokens", "0", "0.00"),
        ]
    ]


def test_a_trial_that_ends_with_the_period_is_followed_by_a_whole_one(scene: Subscribed) -> None:
    scene.begin("basic", trial={"until": NOVEMBER[1]}, anchor="anniversary")
    assert scene.closed_at("2027-01-01T00:00:00Z") == [
        [("basic/base", "base", "1", "30.00"), ("basic/tokens", "tokens", "0", "0.00")]
    ]


def test_a_trial_can_be_declined_and_survives_a_change_of_plan(scene: Subscribed) -> None:
    scene.begin("trying", trial=None)
    assert scene.shown()["status"] == "active"
    other = scene.subscribe(plan="trying", additional=True)
    scene.id = other["id"]
    changed = scene.do("change", plan="pro")
    assert (changed["status"], changed["trial_end"]) == ("trialing", "2026-11-25T12:00:00Z")


# --- add-ons, overrides, several subscriptions ------------------------------------------------


def test_add_ons_raise_limits_and_are_charged_by_quantity_and_day(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    assert scene.check("export")["reason"] == "not_entitled"
    assert scene.do("addons", addons={"boost": 2})["addons"] == {"boost": 2}
    assert scene.check()["limit"] == "1100"
    assert scene.check("export")["allowed"]
    scene.set_clock("2026-11-21T12:00:00Z")
    scene.do("addons", addons={"boost": 1})
    assert scene.check()["limit"] == "600"
    scene.do("addons", addons={"boost": 0}, at="period_end")
    assert scene.closed_at("2026-12-01T00:00:00Z") == [
        [
            ("basic/base", "base", "1", "30.00"),
            ("basic/tokens", "tokens", "0", "0.00"),
            ("basic+boost/pack", "2 x pack (10 of 30 days)", "2", "6.67"),
            ("basic+boost/pack", "pack (10 of 30 days)", "1", "3.33"),
        ]
    ]
    assert scene.check()["limit"] == "100"


def test_a_custom_contract_overrides_limits_and_prices(scene: Subscribed) -> None:
    overrides = {
        "entitlements": {"chat": {"limit": 5000}},
        "prices": {"tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.005"}},
    }
    scene.begin(start=NOVEMBER[0], overrides=overrides)
    scene.send([event("1", 100)])
    assert scene.check()["limit"] == "5000"
    assert scene.shown()["overrides"] == overrides
    refused = scene.do("change", 422, overrides={"entitlements": {"chta": True}})
    assert refused["code"] == "catalog_invalid"
    assert "did you mean 'chat'" in refused["detail"]
    assert scene.closed_at("2026-12-01T00:00:00Z") == [
        [("basic/base", "base", "1", "30.00"), ("basic/tokens", "tokens", "100", "0.50")]
    ]
    assert scene.do("change", plan="pro")["overrides"] == {}, "they belonged to the plan"


def test_several_subscriptions_add_up_and_are_billed_each_for_itself(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 40)])
    refused = scene.ask(
        "POST", "/v1/subscriptions", {"customer": "acme", "plan": "basic"}, status=409
    )
    assert refused["code"] == "subscription_exists"
    scene.subscribe(plan="yearly", start="2026-11-05T00:00:00Z", anchor="anniversary")
    decision = scene.check()
    assert (decision["limit"], decision["used"]) == ("12100", "40")
    assert decision["resets_at"] == NOVEMBER[1], "measured by the one that grants it for longest"
    scene.do("cancel")
    decision = scene.check()
    assert (decision["limit"], decision["used"]) == ("12000", "40")
    assert decision["resets_at"] == "2027-11-05T00:00:00Z"


# --- phases, starts ---------------------------------------------------------------------------


def test_phases_ramp_up_by_themselves(scene: Subscribed) -> None:
    phases = [
        {"plan": "basic", "for": "P1M"},
        {"plan": "pro", "for": "P1M", "overrides": {"entitlements": {"chat": {"limit": 777}}}},
        {"plan": "pro"},
    ]
    scene.begin("basic", start=NOVEMBER[0], phases=phases)
    limits = []
    for now in (NOVEMBER[0], NOVEMBER[1], "2027-01-01T00:00:00Z"):
        scene.set_clock(now)
        limits.append(scene.check()["limit"])
    assert limits == ["100", "777", "1000"]


def test_a_start_in_the_future_comes_by_itself(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[1])
    assert scene.shown()["status"] == "scheduled"
    assert scene.shown()["period"] is None
    assert scene.check()["reason"] == "no_subscription"
    scene.set_clock(NOVEMBER[1])
    assert scene.check()["allowed"]
    assert scene.shown()["status"] == "active"


def test_a_start_in_the_past_counts_and_bills_old_usage(scene: Subscribed) -> None:
    scene.publish(catalog())
    scene.customer()
    scene.send([event("old", 9, time="2026-10-20T00:00:00Z"), event("new", 4)])
    scene.id = scene.subscribe(plan="basic", start="2026-10-15T00:00:00Z")["id"]
    assert scene.check()["used"] == "4"
    (october,) = scene.close()
    assert scene.lines(october)[1] == ("basic/tokens", "tokens", "9", "0.18")


# --- terms ------------------------------------------------------------------------------------


def test_a_term_ends_or_goes_on_as_agreed(scene: Subscribed) -> None:
    scene.begin(start="2026-08-31T00:00:00Z", term="P3M", auto_renew=False)
    shown = scene.shown()
    assert shown["end"] == shown["term_end"] == "2026-11-30T00:00:00Z"
    assert scene.do("renew")["end"] == "2027-02-28T00:00:00Z", "counted from the start (K3)"
    assert scene.do("renew", term="P1M")["end"] == "2027-03-28T00:00:00Z"
    going_on = scene.do("renew", term="P3M", auto_renew=True)
    assert (going_on["end"], going_on["auto_renew"]) == (None, True)
    assert scene.do("cancel", at="term_end")["end"] == "2026-11-30T00:00:00Z"
    assert scene.do("uncancel")["auto_renew"]
    scene.set_clock("2026-11-30T00:00:00Z")
    assert scene.check()["allowed"], "another term has begun"
    assert scene.do("renew", auto_renew=False)["end"] == "2027-02-28T00:00:00Z"
    scene.set_clock("2027-02-28T00:00:00Z")
    assert scene.check()["reason"] == "no_subscription"
    assert scene.do("renew", 409)["code"] == "subscription_ended"


def test_without_a_term_there_is_none_to_renew_or_to_end_with(scene: Subscribed) -> None:
    scene.begin()
    assert scene.do("renew", 422)["code"] == "invalid_parameter"
    assert scene.do("cancel", 422, at="term_end")["code"] == "invalid_parameter"
    assert scene.do("renew", term="P1Y", auto_renew=False)["end"] == "2027-11-11T00:00:00Z"


# --- previews, history, migration -------------------------------------------------------------


def test_a_preview_says_what_a_change_costs_and_changes_nothing(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 50, time=BEFORE)])
    path = f"/v1/subscriptions/{scene.id}/preview"
    before = scene.shown()
    found = scene.ask("GET", path, plan="pro", at="now")
    assert found == scene.ask("POST", path, {"plan": "pro"})
    assert found["effective_at"] == "2026-11-11T12:00:00Z"
    limits = [found["entitlements"][when]["chat"]["limit"] for when in ("before", "after")]
    assert limits == ["100", "1000"]
    running, following = found["invoices"]
    assert (running["before"]["total"], running["after"]["total"]) == ("31.00", "51.00")
    assert running["difference"] == {"amount": "20.00", "currency": "USD"}
    assert following["difference"] == {"amount": "30.00", "currency": "USD"}
    assert scene.shown() == before
    later = scene.ask("GET", path, plan="pro", at="period_end")
    assert [one["difference"]["amount"] for one in later["invoices"]] == ["0.00", "30.00", "30.00"]
    ended = scene.ask("GET", path, action="cancel", at="now")
    assert ended["entitlements"]["after"] == {}
    assert ended["status"] == {"before": "active", "after": "ended"}
    boosted = scene.ask("GET", path, addons="boost:2", at="now")
    assert boosted["entitlements"]["after"]["chat"]["limit"] == "1100"
    assert boosted["invoices"][0]["difference"]["amount"] == "13.33"
    renewed = scene.ask("GET", path, action="renew", term="P1Y", auto_renew="false")
    assert renewed["end"] == "2027-11-01T00:00:00Z"
    refused = scene.ask("GET", path, action="cancel", at="2026-11-01T00:00:00Z", status=422)
    assert refused["code"] == "change_in_past"


def test_what_is_scheduled_can_be_taken_back(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro", at="period_end")
    path = f"/v1/subscriptions/{scene.id}/scheduled/{NOVEMBER[1]}"
    assert scene.ask("DELETE", path)["scheduled"] == []
    assert scene.ask("DELETE", path, status=409)["code"] == "subscription_unchanged"
    scene.set_clock(NOVEMBER[1])
    assert scene.check()["limit"] == "100"


def test_every_revision_is_kept_with_who_changed_what_and_why(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro", reason="asked by phone")
    first, second = scene.ask("GET", f"/v1/subscriptions/{scene.id}/revisions")["items"]
    assert [one["plan"] for one in first["segments"]] == ["basic"]
    assert [one["plan"] for one in second["segments"]] == ["basic", "pro"]
    assert (second["detail"]["did"], second["detail"]["reason"]) == ("change", "asked by phone")
    assert second["actor"] == first["actor"] != ""


def test_a_new_version_reaches_subscribers_as_they_are_migrated(scene: Subscribed) -> None:
    """Limits at once and prices with the next period by itself; prices now by a migration."""
    scene.begin(start=NOVEMBER[0])
    scene.send([event("1", 10, time=BEFORE)])
    scene.publish(catalog(basic=plan(200, 30, "0.03")))
    assert scene.check()["limit"] == "200"
    path = "/v1/plans/basic/migrate"
    dry = scene.ask("POST", path, {"dry_run": True})
    (effect,) = dry["items"]
    assert (effect["customer"], effect["from_version"], effect["to_version"]) == ("acme", 1, 2)
    assert {one["path"] for one in effect["changes"]} == {"entitlements", "prices"}
    assert scene.shown()["revision"] == 1, "a dry run changes nothing"
    scene.ask("POST", path, {})
    assert scene.ask("POST", path, {})["items"] == []
    scene.set_clock("2026-11-12T00:00:00Z")
    scene.send([event("2", 20)])
    assert scene.closed_at("2026-12-01T00:00:00Z") == [
        [
            ("basic/base", "base", "1", "30.00"),
            ("basic/tokens", "tokens", "10", "0.20"),
            ("basic/tokens", "tokens", "20", "0.60"),
        ]
    ]


def test_subscribers_can_be_left_on_what_they_have(scene: Subscribed) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.publish(catalog(basic=plan(200, 30, "0.03")))
    scene.ask("POST", "/v1/plans/basic/migrate", {"at": "never"})
    assert scene.check()["limit"] == "100"
    assert scene.shown()["pinned"]
    scene.set_clock("2026-12-05T00:00:00Z")
    scene.send([event("1", 10)])
    _, december = scene.closed_at("2027-01-01T00:00:00Z")
    assert december[1] == ("basic/tokens", "tokens", "10", "0.20")


def test_a_plan_or_add_on_that_is_or_will_be_needed_stays_in_the_catalogue(
    scene: Subscribed,
) -> None:
    scene.begin(start=NOVEMBER[0])
    scene.do("change", plan="pro", at="period_end", addons={"boost": 1})
    document = catalog()
    for section, key in (("plans", "pro"), ("plans", "basic"), ("addons", "boost")):
        smaller = copy.deepcopy(document)
        del smaller[section][key]
        refused = scene.ask("PUT", "/v1/catalog", smaller, status=422)
        assert f"{section}.{key}: has active subscriptions" in refused["detail"]


# --- zones, restart ---------------------------------------------------------------------------


def test_periods_follow_local_midnight_through_changes_and_the_end_of_summer_time(
    scene: Subscribed,
) -> None:
    scene.set_clock("2026-10-20T12:00:00Z")
    scene.begin(start="2026-09-30T22:00:00Z", timezone="Europe/Berlin")
    changed = scene.do("change", plan="pro", at="2026-10-25T12:00:00Z")
    assert changed["period"] == {"start": "2026-09-30T22:00:00Z", "end": "2026-10-31T23:00:00Z"}
    (october,) = scene.closed_at("2026-11-01T00:00:00Z")
    assert [line[1] for line in october if line[0].endswith("base")] == [
        "base (24 of 31 days)", "base (7 of 31 days)",
    ]  # fmt: skip


def test_a_start_on_the_31st_keeps_its_anchor_through_changes(scene: Subscribed) -> None:
    scene.set_clock("2027-02-10T12:00:00Z")
    scene.begin(start="2027-01-31T00:00:00Z", anchor="anniversary")
    changed = scene.do("change", plan="pro")
    assert changed["period"]["end"] == "2027-02-28T00:00:00Z"
    scene.set_clock("2027-03-10T00:00:00Z")
    assert scene.shown()["period"]["end"] == "2027-03-31T00:00:00Z"


def test_a_restart_changes_no_answer(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Subscribed(server, namespace="default")
        scene.set_clock("2026-11-11T12:00:00Z")
        scene.begin(start=NOVEMBER[0])
        scene.send([event("1", 40)])
        scene.do("change", plan="pro", addons={"boost": 1})
        scene.do("pause", at="2026-11-25T00:00:00Z", until="2026-11-26T00:00:00Z")
        scene.subscribe(plan="yearly", start="2026-11-05T00:00:00Z")
        scene.do("change", plan="basic", at="period_end")
        answers = _answers(scene)
        scene_id = scene.id
    for _ in range(2):  # once from the log, once from a snapshot
        with serve(tmp_path, "--sandbox") as server:
            scene = Subscribed(server, namespace="default")
            scene.id = scene_id
            scene.set_clock("2026-11-11T12:00:00Z")
            assert _answers(scene) == answers
            scene.set_clock(NOVEMBER[1])
            assert scene.shown()["plan"] == "basic", "a planned change needs nobody who waits"


def _answers(scene: Subscribed) -> list[Any]:
    decision = scene.check()
    del decision["as_of"]
    return [scene.shown(), decision, scene.lines(scene.preview()), scene.ask(
        "GET", f"/v1/subscriptions/{scene.id}/revisions"
    )]  # fmt: skip
