"""What a plan, its add-ons and a custom contract grant together."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from tests.unit.test_catalog_document import SAMPLE, changed

from taximeter.catalog.combine import combine, combined
from taximeter.catalog.document import Catalog, dump_plan, parse_catalog
from taximeter.catalog.entitlements import dump_entitlement, parse_entitlement
from taximeter.catalog.features import BooleanEntitlement, Entitlement, StaticEntitlement
from taximeter.catalog.overrides import with_overrides
from taximeter.catalog.plan_terms import Commitment
from taximeter.meters.reading import DocumentInvalid, Fields

CATALOG = parse_catalog(SAMPLE)


def chat(document: Any) -> Entitlement:
    feature = CATALOG.features["chat"]
    read = parse_entitlement(
        feature, CATALOG.meters["input_tokens"], document, Fields({}, "", problems := [])
    )
    assert read is not None
    assert not problems
    return read


def together(base: Any, added: Any, quantity: int = 1) -> Any:
    both = combine(chat(base), chat(added), quantity)
    assert both is not None
    return dump_entitlement(both)


def test_limits_of_the_same_window_add_up_as_often_as_they_are_added() -> None:
    both = together({"limit": 100, "windows": [{"limit": 10, "reset": "day"}]}, {"limit": 50}, 3)
    assert both["limit"] == "250"
    assert both["windows"] == [{"limit": "10", "enforcement": "hard", "reset": "day"}]


def test_enforcement_and_rollover_stay_those_of_the_plan() -> None:
    base = {"limit": 100, "enforcement": "soft", "grace": "0.1", "rollover": {"max": 5}}
    assert together(base, {"limit": 1}) == together({**base, "limit": 101}, {"limit": 0})
    assert together(base, {"limit": 1})["grace"] == "0.1"


def test_an_added_window_the_plan_does_not_limit_takes_nothing_away() -> None:
    assert together({"limit": 100}, {"limit": 5, "reset": "day"}) == together(
        {"limit": 100}, {"limit": 0}
    )


def test_unlimited_wins_from_either_side_and_needs_no_credit() -> None:
    assert together({"limit": 100}, "unlimited") == {"limit": "unlimited"}
    assert together("unlimited", {"limit": 100}) == {"limit": "unlimited"}
    assert together({"credit": "usd", "cost": 1}, "unlimited") == {"limit": "unlimited"}


def test_unlimited_for_the_customer_leaves_the_allowance_of_each_user() -> None:
    both = together({"limit": 100, "per": {"user": {"limit": 5, "reset": "day"}}}, "unlimited")
    assert both["limit"] == "unlimited"
    assert both["per"]["user"]["limit"] == "5"


def test_what_was_paid_with_credit_gets_included_units() -> None:
    both = together({"credit": "usd", "cost": "0.02"}, {"limit": 100}, 2)
    assert (both["limit"], both["credit"], both["cost"]) == ("200", "usd", "0.02")


def test_a_credit_comes_along_where_the_plan_has_none() -> None:
    both = together({"limit": 100}, {"limit": 0, "credit": "usd", "cost": "0.02"})
    assert (both["limit"], both["credit"], both["cost"]) == ("100", "usd", "0.02")


def test_rates_of_the_same_length_add_up_with_their_burst() -> None:
    both = together(
        {"rate": {"limit": 60, "per": "1m", "burst": 10}},
        {"rate": [{"limit": 6, "per": "60s", "burst": 1}, {"limit": 1, "per": "1s"}]},
        2,
    )
    assert both["rate"] == {"limit": "72", "per": "1m", "kind": "token_bucket", "burst": "12"}


def test_levels_below_add_up_too() -> None:
    per = {"limit": "unlimited", "per": {"user": {"limit": 5, "reset": "day"}}}
    assert together(per, per)["per"]["user"]["limit"] == "10"


def test_a_boolean_is_granted_by_either() -> None:
    yes, no = BooleanEntitlement("export", True), BooleanEntitlement("export", False)
    assert combine(no, yes) == combine(yes, no) == yes
    assert combine(no, no) == no


@pytest.mark.parametrize(
    ("base", "added", "quantity", "value"),
    [(5, 2, 3, 11), ("eu", "us", 1, "us"), (True, False, 1, False), ("1.5", "2", 1, "2")],
)
def test_whole_numbers_add_up_and_other_values_are_replaced(
    base: Any, added: Any, quantity: int, value: Any
) -> None:
    both = combine(StaticEntitlement("seats", base), StaticEntitlement("seats", added), quantity)
    assert both == StaticEntitlement("seats", value)


def test_a_feature_only_the_addon_grants_comes_as_often_as_it_is_added() -> None:
    both = combined({"b": BooleanEntitlement("b", True)}, {"chat": chat({"limit": 5})}, 3)
    assert list(both) == ["b", "chat"]
    assert both["chat"] == chat({"limit": 15})
    assert combine(None, StaticEntitlement("seats", 2), 3) == StaticEntitlement("seats", 6)
    assert combine(None, None) is None


# --- overrides --------------------------------------------------------------------------------


def overridden(**overrides: Any) -> dict[str, Any]:
    return dump_plan(with_overrides(CATALOG, CATALOG.plans["pro"], overrides))


def refused(catalog: Catalog, overrides: dict[str, Any]) -> list[str]:
    with pytest.raises(DocumentInvalid) as raised:
        with_overrides(catalog, catalog.plans["pro"], overrides)
    return raised.value.message.splitlines()


def test_no_overrides_are_the_plan() -> None:
    assert with_overrides(CATALOG, CATALOG.plans["pro"], {}) == CATALOG.plans["pro"]


def test_an_override_replaces_adds_and_takes_away_whole_members() -> None:
    plan = overridden(
        entitlements={"chat": {"limit": 5}, "export": None},
        prices={"tokens": None, "extra": {"type": "flat", "amount": 1}},
        grants={"gift": {"credit": "usd", "amount": 5, "recurrence": "once"}},
        trial={"days": 3},
    )
    assert plan["entitlements"]["chat"] == {"limit": "5", "enforcement": "hard", "reset": "period"}
    assert "export" not in plan["entitlements"]
    assert list(plan["prices"]) == ["base", "extra"]
    assert (plan["trial"], list(plan["grants"])) == ({"days": 3}, ["gift"])


def in_euro_too(**plan: Any) -> Catalog:
    euro = {"prices": {"base": {"amount": 45}, "tokens": {"tiers": [{"unit": 1}]}}, "minimum": 9}
    document = changed("plans/pro/currencies", {"EUR": euro})
    document["plans"]["pro"] |= {"minimum": 10} | plan
    return parse_catalog(document)


def test_what_is_overridden_is_so_in_every_currency() -> None:
    """A contract's price must not lose to the plan's own in the customer's currency."""
    catalog = in_euro_too()
    flat = {"base": {"type": "flat", "amount": 1}}
    missing = "is missing: give it, or a rate from USD to EUR in rates"
    assert refused(catalog, {"prices": flat, "minimum": 5}) == [
        f"overrides.currencies.EUR.prices.base: {missing}",
        f"overrides.currencies.EUR.minimum: {missing}",
    ]
    plan = with_overrides(
        catalog, catalog.plans["pro"], {"prices": flat, "currencies": {"EUR": None}}
    )
    assert plan.currencies == {}
    assert with_overrides(catalog, catalog.plans["pro"], {}) == catalog.plans["pro"]


def test_a_contract_has_its_own_minimum_commitment_and_discounts() -> None:
    catalog = parse_catalog(changed("plans/pro/minimum", 10))
    overrides = {"minimum": None, "commitment": 100, "discounts": [{"percent": 20}]}
    plan = with_overrides(catalog, catalog.plans["pro"], overrides)
    assert plan.minimum is None
    assert plan.commitment == Commitment(Fraction(100))
    assert [one.percent for one in plan.discounts] == [Fraction(1, 5)]


def test_a_contract_can_have_no_trial() -> None:
    catalog = parse_catalog(changed("plans/pro/trial", {"days": 14}))
    plan = with_overrides(catalog, catalog.plans["pro"], {"trial": None})
    assert plan.trial_us is None


def test_overrides_are_checked_as_strictly_as_a_plan() -> None:
    assert refused(CATALOG, {"entitlements": {"chatt": {"limit": 1}}}) == [
        "overrides.entitlements.chatt: there is no feature 'chatt', did you mean 'chat'?"
    ]
    assert refused(CATALOG, {"prices": {"x": {"type": "flat", "amount": -1}}}) == [
        "overrides.prices.x.amount: must not be negative"
    ]
    assert refused(CATALOG, {"currency": "EUR"}) == [
        "overrides.currency: unknown member, did you mean 'currencies'?"
    ]
    assert refused(CATALOG, {"prices": {"nothing": None}}) == [
        "overrides.prices.nothing: plan 'pro' has nothing to take away here"
    ]
