"""The members of limits, rates, costs, grants, scopes and add-ons: read, refused, written again."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_catalog_document import SAMPLE, changed, problems

from taximeter.catalog.diff import diff
from taximeter.catalog.document import Catalog, canonical_document, dump_catalog, parse_catalog
from taximeter.catalog.features import (
    Cost,
    Enforcement,
    FailPolicy,
    Limit,
    MeteredEntitlement,
    Rate,
    RateKind,
    Reset,
    Rollover,
)
from taximeter.catalog.plans import CreditType, GrantRecurrence, GrantRollover, PlanGrant
from taximeter.catalog.scopes import scope_path
from taximeter.catalog.yaml_reader import read_document
from taximeter.instants import DAY, HOUR, MINUTE

E12 = 10**12
CHAT = "plans/pro/entitlements/chat"


def with_chat(document: Any, aggregation: str = "sum") -> dict[str, Any]:
    sample = changed(CHAT, document)
    sample["meters"]["input_tokens"]["aggregation"] = aggregation
    return sample


def chat(document: Any) -> MeteredEntitlement:
    catalog = parse_catalog(with_chat(document))
    entitlement = catalog.plans["pro"].entitlements["chat"]
    assert isinstance(entitlement, MeteredEntitlement)
    assert parse_catalog(dump_catalog(catalog)) == catalog
    return entitlement


def refused(document: Any) -> list[str]:
    prefix = "plans.pro.entitlements.chat"
    return [line.removeprefix(prefix).removeprefix(".") for line in problems(with_chat(document))]


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "read", "window_us", "key"),
    [
        ("period", Reset.PERIOD, None, "period"),
        ("day", Reset.DAY, None, "day"),
        ("never", Reset.NEVER, None, "never"),
        ({"rolling": "5h"}, Reset.ROLLING, 5 * HOUR, "rolling:5h"),
        ({"rolling": "300m"}, Reset.ROLLING, 5 * HOUR, "rolling:5h"),
        ({"first_use": "7d"}, Reset.FIRST_USE, 7 * DAY, "first_use:1w"),
    ],
)
def test_a_limit_resets_as_it_says(
    reset: Any, read: Reset, window_us: int | None, key: str
) -> None:
    (limit,) = chat({"limit": 5, "reset": reset}).limits
    assert (limit.reset, limit.window_us, limit.key) == (read, window_us, key)


def test_a_soft_limit_can_have_a_grace_share() -> None:
    (limit,) = chat({"limit": 5, "enforcement": "soft", "grace": "0.1"}).limits
    assert limit == Limit(5 * E12, enforcement=Enforcement.SOFT, grace_pico=E12 // 10)
    (endless,) = chat({"limit": 5, "enforcement": "soft"}).limits
    assert endless.grace_pico is None


def test_what_is_left_can_roll_over() -> None:
    assert chat({"limit": 5, "rollover": {"max": 9, "expires": 2}}).limits[0].rollover == (
        Rollover(9 * E12, 2)
    )
    assert chat({"limit": 5, "rollover": {}}).limits[0].rollover == Rollover(None, 1)


def test_an_entitlement_has_its_own_limit_then_windows_then_levels() -> None:
    entitlement = chat(
        {
            "limit": 100,
            "windows": [
                {"limit": 10, "reset": {"first_use": "5h"}},
                {"limit": 50, "reset": "week"},
            ],
            "per": {"user": {"limit": 5, "reset": "day"}, "key": [{"limit": 1, "reset": "hour"}]},
        }
    )
    assert [(limit.key, limit.level) for limit in entitlement.limits] == [
        ("period", "customer"),
        ("first_use:5h", "customer"),
        ("week", "customer"),
        ("key:hour", "key"),
        ("user:day", "user"),
    ]
    assert entitlement.main is entitlement.limits[0]
    assert not entitlement.is_unlimited


def test_levels_come_outermost_first_and_undeclared_ones_last() -> None:
    levels = ("zone", "user", "key", "app")
    document = with_chat({"per": {level: {"limit": 5, "reset": "day"} for level in levels}})
    document["scopes"] = {"user": "data.user", "key": "data.key"}
    entitlement = parse_catalog(document).plans["pro"].entitlements["chat"]
    assert isinstance(entitlement, MeteredEntitlement)
    assert [limit.level for limit in entitlement.limits] == ["user", "key", "app", "zone"]


def test_a_window_alone_is_the_limit() -> None:
    assert chat({"windows": [{"limit": 10, "reset": "day"}]}) == chat({"limit": 10, "reset": "day"})


def test_with_credit_a_window_is_not_taken_for_what_is_included() -> None:
    windows = {"windows": {"limit": 5, "reset": "day"}, "credit": "usd", "cost": 1}
    assert refused(windows) == [
        "limit: with credit and windows, say what is included: 0 for nothing"
    ]
    assert chat(windows | {"limit": 0}).limits[0] == Limit(0)


def test_only_levels_below_leave_the_customer_unlimited() -> None:
    entitlement = chat({"per": {"user": {"limit": 5, "reset": "day"}}})
    assert (entitlement.main, entitlement.is_unlimited) == (None, True)


# --- rates and credits ------------------------------------------------------------------------


def test_a_rate_is_a_token_bucket_as_large_as_its_limit_unless_it_says_otherwise() -> None:
    assert chat({"rate": {"limit": 60, "per": "1m"}}).rates == (Rate(60 * E12, MINUTE, 60 * E12),)
    entitlement = chat(
        {
            "rate": [
                {"limit": 60, "per": "60s", "burst": 10},
                {"limit": 5, "per": "1m", "kind": "sliding_window", "level": "user"},
            ]
        }
    )
    assert entitlement.rates == (
        Rate(60 * E12, MINUTE, 10 * E12),
        Rate(5 * E12, MINUTE, 5 * E12, RateKind.SLIDING_WINDOW, "user"),
    )
    assert [rate.key for rate in entitlement.rates] == ["rate:1m", "user:rate:1m"]


def test_a_feature_can_be_paid_with_credit_by_unit_or_by_dimension() -> None:
    flat = chat({"credit": "usd", "cost": "0.02"})
    assert (flat.credit, flat.cost) == ("usd", Cost(2 * E12 // 100))
    assert not flat.is_unlimited
    by_model = chat({"credit": "usd", "cost": {"by": "model", "opus": "0.03", "default": "0.01"}})
    assert by_model.cost == Cost(E12 // 100, "model", {"opus": 3 * E12 // 100})
    assert by_model.cost.per_unit_pico("haiku") == E12 // 100
    only = chat({"limit": 5, "credit": "usd", "cost": {"by": "model", "opus": 0}}).cost
    assert only is not None
    assert (only.per_unit_pico("opus"), only.per_unit_pico("haiku")) == (0, None)
    assert chat({"credit": "tokens"}).cost == Cost(E12)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"limit": 5, "reset": "dayly"},
         ("reset: expected one of period, hour, day, week, month, year, never, found the string "
         "'dayly', did you mean 'day'?")),
        ({"limit": 5, "reset": "rolling"}, "reset: needs a length: {rolling: 5h}"),
        ({"limit": 5, "reset": {"rolling": 5}},
         ("reset.rolling: expected a whole number with s, m, h, d or w behind it, like 5h, up to "
         "3660d, found the number 5")),
        ({"limit": 5, "reset": {"rolling": "5000d"}}, "reset.rolling: expected a whole number"),
        ({"limit": 5, "reset": {"roling": "5h"}},
         "reset.roling: unknown member, did you mean 'rolling'?"),
        ({"limit": 5, "reset": {"rolling": "5h", "first_use": "5h"}},
         "reset: expected one of {rolling: 5h} and {first_use: 5h}"),
        ({"limit": 5, "grace": "0.1"},
         "grace: only a soft limit has a grace share, this one is hard"),
        ({"limit": 5, "enforcement": "soft", "grace": 11}, "grace: expected a share from 0 to 10"),
        ({"grace": "0.1"}, "grace: needs a limit"),
        ({"limit": "unlimited", "rollover": {}}, "rollover: needs a limit"),
        ({"limit": 5, "reset": "never", "rollover": {}},
         "rollover: a limit that resets 'never' has nothing to carry over"),
        ({"limit": 5, "rollover": {"expires": 0}},
         "rollover.expires: expected a whole number of periods from 1 to 120, found the number 0"),
        ({"limit": 5, "windows": [{"reset": "day"}]},
         "windows[0].limit: is required: a quantity from 0"),
        ({"limit": 5, "windows": [{"limit": 1, "reset": "day", "per": "1m"}]},
         "windows[0].per: unknown member"),
        ({"limit": 5, "windows": [{"limit": 1}]},
         "windows: there are two limits 'period'; a window has one"),
        ({"limit": 5, "per": {"customer": {"limit": 1}}},
         "per.customer: 'customer' is no scope below the customer"),
        ({"limit": 5, "per": [1]}, "per: expected an object, found a list"),
        ({"rate": {"limit": 60}}, "rate.per: is required: a whole number with s, m, h, d or w"),
        ({"rate": {"limit": 0, "per": "1m"}},
         "rate.limit: expected a quantity above 0, found the number 0"),
        ({"rate": [{"limit": 6, "per": "1m"}, {"limit": 7, "per": "60s"}]},
         "rate: there are two limits 'rate:1m'; a window has one"),
        ({"rate": {"limit": 6, "per": "1m", "kind": "sliding_window", "burst": 7}},
         "rate.burst: only a token bucket has a burst"),
        ({"rate": {"limit": 6, "per": "1m", "level": "parent"}},
         "rate.level: 'parent' is no scope below the customer"),
        ({"cost": 1}, "cost: needs a credit that pays it, like credit: usd"),
        ({"credit": "u s d"}, "credit: 'u s d' is not a key"),
        ({"limit": "unlimited", "credit": "usd"},
         "credit: nothing is left to pay for when the limit is unlimited"),
        ({"credit": "usd", "cost": -1}, "cost: expected credits for a unit, from 0"),
        ({"credit": "usd", "cost": {"by": "modl", "opus": 1}},
         "cost.by: the meter has no dimension 'modl', did you mean 'model'? (it has: model)"),
        ({"credit": "usd", "cost": {"by": "model"}}, "cost: names no cost"),
        ({"credit": "usd", "cost": {"opus": 1}}, "cost.by: is required"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_entitlement_is_told_once_with_its_path(
    document: Any, problem: str
) -> None:
    (only,) = refused(document)
    assert only.startswith(problem)


@pytest.mark.parametrize(
    ("document", "member"),
    [
        ({"limit": 5, "reset": "day"}, "reset"),
        ({"limit": 5, "windows": [{"limit": 1, "reset": {"rolling": "5h"}}]}, "reset"),
        ({"per": {"user": {"limit": 5}}}, "per"),
        ({"rate": {"limit": 60, "per": "1m"}}, "rate"),
        ({"credit": "usd"}, "credit"),
        ({"limit": 5, "rollover": {}}, "rollover"),
    ],
)
def test_what_adds_usage_up_needs_a_meter_that_can_be_added_up(document: Any, member: str) -> None:
    (only,) = problems(with_chat(document, "max"))
    assert only.startswith(f"plans.pro.entitlements.chat.{member}: needs a count or sum")
    assert "meter 'input_tokens' is a max, whose parts do not add up" in only


def test_a_limit_of_the_period_holds_for_every_meter() -> None:
    parse_catalog(with_chat({"limit": 5, "enforcement": "soft", "grace": 0}, "unique"))


def test_the_number_of_limits_is_bounded() -> None:
    windows = [{"limit": 1, "reset": {"rolling": f"{n + 1}s"}} for n in range(33)]
    assert refused({"windows": windows}) == [": has 33 limits, at most 32"]


# --- features, scopes, credit types -----------------------------------------------------------


def test_a_feature_says_what_an_edge_does_that_cannot_ask() -> None:
    catalog = parse_catalog(changed("features/chat/fail", "lease"))
    assert catalog.features["chat"].fail is FailPolicy.LEASE
    assert catalog.features["image"].fail is FailPolicy.CLOSED
    assert parse_catalog(dump_catalog(catalog)) == catalog
    (only,) = problems(changed("features/chat/fail", "opened"))
    assert only.startswith("features.chat.fail: expected one of closed, open, lease")


LEVELS = {"workspace": "data.workspace", "user": "data.user", "key": "data.api_key"}


def test_scopes_keep_their_order_through_canonical_json() -> None:
    catalog = parse_catalog({"scopes": LEVELS})
    assert list(catalog.scopes) == ["workspace", "user", "key"]
    again = parse_catalog(read_document(canonical_document(catalog), "json"))
    assert list(again.scopes) == ["workspace", "user", "key"]
    backwards = parse_catalog({"scopes": dict(reversed(LEVELS.items()))})
    assert canonical_document(backwards) != canonical_document(catalog)
    assert scope_path(catalog.scopes, "key") == "data.api_key"
    assert scope_path(catalog.scopes, "run") == "data.run"


@pytest.mark.parametrize(
    ("scopes", "problem"),
    [
        ({"customer": "data.x"}, "scopes.customer: is no scope below the customer"),
        ({"user": 5}, "scopes.user: expected a path, found the number 5"),
        ({"user": "data..x"}, "scopes.user: "),
        ([{"user": "data.u"}, {"user": "data.v"}], "scopes[1].user: is named twice"),
        ([{"user": "data.u", "key": "data.k"}],
         "scopes[0]: expected one level with its path, like {user: data.user}"),
        ({"a b": "data.x"}, "scopes: 'a b' is not a key"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_scopes_is_told_with_its_path(scopes: Any, problem: str) -> None:
    (only,) = problems({"scopes": scopes})
    assert only.startswith(problem)


def test_credit_types_are_declared() -> None:
    document = {"credits": {"usd": {"name": "Prepaid", "unit": "USD"}, "tokens": {}}}
    catalog = parse_catalog(document)
    assert list(catalog.credits.values()) == [
        CreditType("tokens"),
        CreditType("usd", "Prepaid", "USD"),
    ]
    assert parse_catalog(dump_catalog(catalog)) == catalog
    (only,) = problems({"credits": {"usd": {"units": "USD"}}})
    assert only.startswith("credits.usd.units: ")


# --- trials, grants, add-ons ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trial", "length_us", "dumped"),
    [
        ({"days": 14}, 14 * DAY, {"days": 14}),
        ({"hours": 36}, 36 * HOUR, {"hours": 36}),
        ({"hours": 48}, 2 * DAY, {"days": 2}),
    ],
)
def test_a_plan_can_begin_with_a_trial(trial: Any, length_us: int, dumped: Any) -> None:
    catalog = parse_catalog(changed("plans/pro/trial", trial))
    assert catalog.plans["pro"].trial_us == length_us
    assert dump_catalog(catalog)["plans"]["pro"]["trial"] == dumped


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        ({}, "plans.pro.trial: expected {days: 14} or {hours: 36}"),
        ({"days": 1, "hours": 1}, "plans.pro.trial: expected {days: 14} or {hours: 36}"),
        ({"days": 0}, "plans.pro.trial.days: expected a whole number from 1 to 3660, found the"),
        ({"weeks": 2, "days": 1}, "plans.pro.trial.weeks: unknown member"),
        (14, "plans.pro.trial: expected an object, found the number 14"),
    ],
)
def test_a_mistake_in_a_trial_is_told_with_its_path(trial: Any, problem: str) -> None:
    only, *_ = problems(changed("plans/pro/trial", trial))
    assert only.startswith(problem)


def test_a_plan_can_come_with_credits() -> None:
    catalog = parse_catalog(
        changed(
            "plans/pro/grants",
            {
                "welcome": {"credit": "usd", "amount": 5, "recurrence": "once"},
                "monthly": {
                    "credit": "usd",
                    "amount": "50",
                    "priority": 10,
                    "rollover": {"max": 100},
                    "features": ["image", "chat", "chat"],
                },
            },
        )
    )
    assert catalog.plans["pro"].grants == {
        "monthly": PlanGrant(
            "monthly", "usd", 50 * E12, 10, GrantRecurrence.PERIOD, GrantRollover(100 * E12),
            ("chat", "image"),
        ),
        "welcome": PlanGrant("welcome", "usd", 5 * E12, recurrence=GrantRecurrence.ONCE),
    }  # fmt: skip
    assert parse_catalog(dump_catalog(catalog)) == catalog


@pytest.mark.parametrize(
    ("grant", "problem"),
    [
        ({"amount": 5}, "credit: is required"),
        ({"credit": "usd"}, "amount: expected a quantity above 0, found null"),
        ({"credit": "usd", "amount": 0}, "amount: expected a quantity above 0"),
        ({"credit": "usd", "amount": 5, "priority": "x"}, "priority: expected a whole number"),
        ({"credit": "usd", "amount": 5, "recurrence": "P1M"},
         "recurrence: expected one of period, once, found the string 'P1M'"),
        ({"credit": "usd", "amount": 5, "recurrence": "once", "rollover": {}},
         "rollover: credits granted once have no next period to roll over to"),
        ({"credit": "usd", "amount": 5, "features": ["chatt"]},
         "features: there is no feature 'chatt', did you mean 'chat'?"),
        ({"credit": "usd", "amount": 5, "features": "chat"}, "features: expected a list"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_grant_is_told_once_with_its_path(grant: Any, problem: str) -> None:
    (only,) = problems(changed("plans/pro/grants", {"g": grant}))
    assert only.startswith(f"plans.pro.grants.g.{problem}")


def with_addon(addon: Any, key: str = "boost") -> dict[str, Any]:
    return {**copy.deepcopy(SAMPLE), "addons": {key: addon}}


def test_an_addon_is_a_plan_without_a_cadence() -> None:
    catalog = parse_catalog(
        with_addon(
            {
                "currency": "USD",
                "entitlements": {"chat": {"limit": 100000}, "seats": 1},
                "prices": {"fee": {"type": "flat", "amount": 9}},
            }
        )
    )
    boost = catalog.addons["boost"]
    assert (boost.is_addon, boost.currency, list(boost.prices)) == (True, "USD", ["fee"])
    assert parse_catalog(dump_catalog(catalog)) == catalog
    assert "cadence" not in dump_catalog(catalog)["addons"]["boost"]


def test_an_addon_without_prices_needs_no_currency() -> None:
    catalog = parse_catalog(with_addon({"entitlements": {"export": True}}))
    assert catalog.addons["boost"].currency == ""
    assert parse_catalog(dump_catalog(catalog)) == catalog


@pytest.mark.parametrize(
    ("addon", "key", "problem"),
    [
        ({"cadence": "month"}, "boost", "addons.boost.cadence: unknown member"),
        ({"trial": {"days": 1}}, "boost", "addons.boost.trial: unknown member"),
        ({"prices": {"fee": {"type": "flat", "amount": 9}}}, "boost",
         "addons.boost.currency: is required"),
        ({}, "pro", "addons.pro: there is a plan by this key, and names must be distinct"),
        ({"entitlements": {"chat": {"rate": {"limit": 5, "per": "1m"}}}}, "boost",
         "addons.boost.entitlements.chat.limit: is required in an add-on: the quantity it adds"),
        ({"entitlements": {"chat": {"limit": "lots"}}}, "boost",
         "addons.boost.entitlements.chat.limit: expected a quantity from 0"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_addon_is_told_once_with_its_path(
    addon: Any, key: str, problem: str
) -> None:
    (only,) = problems(with_addon(addon, key))
    assert only.startswith(problem)


# --- diff -------------------------------------------------------------------------------------


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(change) for change in diff(parse_catalog(before), parse_catalog(after))]


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("features/chat/fail", "open", ['+ features.chat.fail: "open"']),
        ("scopes", {"user": "data.user"}, ['~ scopes: [] -> [{"user":"data.user"}]']),
        ("credits", {"usd": {"unit": "USD"}}, ['+ credits.usd: {"unit":"USD"}']),
        ("addons", {"b": {"entitlements": {"export": True}}},
         ['+ addons.b: {"entitlements":{"export":true},"prices":{}}']),
        ("plans/pro/trial", {"days": 14}, ['+ plans.pro.trial: {"days":14}']),
        (f"{CHAT}/reset", {"rolling": "5h"},
         ['~ plans.pro.entitlements.chat.reset: "period" -> {"rolling":"5h"}']),
        (f"{CHAT}/rate", {"limit": 60, "per": "1m"},
         ['+ plans.pro.entitlements.chat.rate: {"kind":"token_bucket","limit":"60","per":"1m"}']),
        (f"{CHAT}/per", {"user": {"limit": 5, "reset": "day"}},
         [('+ plans.pro.entitlements.chat.per: '
          '{"user":{"enforcement":"hard","limit":"5","reset":"day"}}')]),
        (f"{CHAT}/credit", "usd", ['+ plans.pro.entitlements.chat.cost: "1"',
                                   '+ plans.pro.entitlements.chat.credit: "usd"']),
    ],
)  # fmt: skip
def test_a_change_of_the_new_members_is_readable(path: str, value: Any, shown: list[str]) -> None:
    assert lines(SAMPLE, changed(path, value)) == shown


def test_a_limit_inside_a_level_changes_by_itself() -> None:
    before = with_chat({"limit": 9, "per": {"user": {"limit": 5, "reset": "day"}}})
    after = with_chat({"limit": 9, "per": {"user": {"limit": 6, "reset": "day"}}})
    assert lines(before, after) == ['~ plans.pro.entitlements.chat.per.user.limit: "5" -> "6"']


def test_levels_in_another_order_are_a_change() -> None:
    before = {"scopes": {"user": "data.u", "key": "data.k"}}
    after = {"scopes": {"key": "data.k", "user": "data.u"}}
    assert lines(before, after) == [
        '+ scopes[0].key: "data.k"',
        '- scopes[0].user: "data.u"',
        '- scopes[1].key: "data.k"',
        '+ scopes[1].user: "data.u"',
    ]


def test_an_empty_catalogue_has_none_of_it() -> None:
    assert dump_catalog(Catalog()) == {"meters": {}, "features": {}, "plans": {}}


# --- the pages --------------------------------------------------------------------------------

CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts"


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (CONCEPTS / page).read_text(), re.DOTALL)


def test_the_example_of_the_page_is_a_catalogue() -> None:
    catalog = parse_catalog(read_document(examples("catalog.md")[0].encode(), "yaml"))
    assert list(catalog.plans["pro"].grants) == ["monthly", "welcome"]
    assert parse_catalog(dump_catalog(catalog)) == catalog


@pytest.mark.parametrize("example", examples("entitlements.md"))
def test_the_entitlements_of_the_page_can_be_applied(example: str) -> None:
    for document in read_document(example.encode(), "yaml").values():
        chat(document)
