"""The catalogue document: what is read, what is refused, and in which words."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from taximeter.catalog.counters import counters_of
from taximeter.catalog.document import (
    Catalog,
    canonical_document,
    dump_catalog,
    parse_catalog,
)
from taximeter.catalog.features import (
    BooleanEntitlement,
    Enforcement,
    Feature,
    FeatureType,
    Limit,
    MeteredEntitlement,
    StaticEntitlement,
    ValueType,
)
from taximeter.catalog.prices import PerUnit
from taximeter.meters.reading import DocumentInvalid
from taximeter.periods import Cadence

SAMPLE: dict[str, Any] = {
    "meters": {
        "input_tokens": {
            "event_type": "llm.request",
            "aggregation": "sum",
            "value": "data.input_tokens",
            "dimensions": {"model": "data.model"},
        },
        "images": {"event_type": "image.created", "aggregation": "count"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "input_tokens"},
        "image": {"type": "metered", "meter": "images"},
        "export": {"type": "boolean"},
        "seats": {"type": "static", "value_type": "integer"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"limit": 1000000, "enforcement": "hard", "reset": "period"},
                "image": {"limit": Decimal("50.5"), "enforcement": "soft"},
                "export": True,
                "seats": 5,
            },
            "prices": {
                "base": {"type": "flat", "amount": 49, "timing": "advance"},
                "tokens": {
                    "type": "graduated",
                    "meter": "input_tokens",
                    "tiers": [{"up_to": 1000, "unit": Decimal("0.10")}, {"unit": "0.08"}],
                },
            },
        }
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The sample with one member set, or removed if the value is None."""
    document = copy.deepcopy(SAMPLE)
    *parents, last = path.split("/")
    holder = document
    for name in parents:
        holder = holder.setdefault(name, {})
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return document


def problems(document: Any) -> list[str]:
    with pytest.raises(DocumentInvalid) as refused:
        parse_catalog(document)
    assert refused.value.details == {"problems": len(refused.value.problems)}
    return refused.value.message.splitlines()


def test_the_sample_is_read() -> None:
    catalog = parse_catalog(SAMPLE)
    assert catalog.features["chat"] == Feature("chat", FeatureType.METERED, meter="input_tokens")
    assert catalog.features["seats"] == Feature(
        "seats", FeatureType.STATIC, value_type=ValueType.INTEGER
    )
    pro = catalog.plans["pro"]
    assert (pro.currency, pro.cadence) == ("USD", Cadence.MONTH)
    assert pro.entitlements == {
        "chat": MeteredEntitlement("chat", (Limit(10**18),)),
        "export": BooleanEntitlement("export", True),
        "image": MeteredEntitlement("image", (Limit(505 * 10**11, enforcement=Enforcement.SOFT),)),
        "seats": StaticEntitlement("seats", 5),
    }
    assert list(pro.prices) == ["base", "tokens"]


def test_every_section_may_be_absent() -> None:
    assert parse_catalog({}) == Catalog()
    assert parse_catalog({"meters": None, "plans": {}}) == Catalog()


def test_a_plan_needs_no_prices_and_is_monthly_unless_it_says_so() -> None:
    plan = parse_catalog({"plans": {"free": {"currency": "JPY"}}}).plans["free"]
    assert (plan.cadence, plan.entitlements, plan.prices) == (Cadence.MONTH, {}, {})


def test_the_order_of_members_does_not_change_the_bytes() -> None:
    backwards = {
        section: dict(reversed(members.items())) for section, members in reversed(SAMPLE.items())
    }
    assert canonical_document(parse_catalog(backwards)) == canonical_document(parse_catalog(SAMPLE))


def test_the_spelling_of_a_number_does_not_change_the_bytes() -> None:
    spelled = changed("plans/pro/entitlements/chat/limit", "1000000.00")
    assert canonical_document(parse_catalog(spelled)) == canonical_document(parse_catalog(SAMPLE))


@pytest.mark.parametrize("unlimited", [{}, {"limit": "unlimited"}, {"limit": None}, "unlimited"])
def test_a_metered_entitlement_without_a_limit_is_unlimited(unlimited: Any) -> None:
    catalog = parse_catalog(changed("plans/pro/entitlements/chat", unlimited))
    assert catalog.plans["pro"].entitlements["chat"] == MeteredEntitlement("chat")
    dumped = dump_catalog(catalog)["plans"]["pro"]["entitlements"]["chat"]
    assert dumped["limit"] == "unlimited"


def test_a_limit_of_zero_is_a_limit() -> None:
    catalog = parse_catalog(changed("plans/pro/entitlements/chat", {"limit": 0}))
    assert catalog.plans["pro"].entitlements["chat"] == MeteredEntitlement("chat", (Limit(0),))


@pytest.mark.parametrize(
    ("value_type", "value", "kept"),
    [
        ("string", "eu", "eu"),
        ("integer", 5, 5),
        ("decimal", Decimal("1.50"), "1.5"),
        ("decimal", "2", "2"),
        ("boolean", False, False),
        ("json", {"regions": ["eu"], "ratio": Decimal("0.5")}, None),
        ("json", [], []),
    ],
)
def test_a_static_value_has_the_declared_type(value_type: str, value: Any, kept: Any) -> None:
    document = changed("features/seats/value_type", value_type)
    document["plans"]["pro"]["entitlements"]["seats"] = value
    catalog = parse_catalog(document)
    expected = value if kept is None else kept
    assert catalog.plans["pro"].entitlements["seats"] == StaticEntitlement("seats", expected)
    assert parse_catalog(dump_catalog(catalog)) == catalog


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        ("string", 5),
        ("integer", "5"),
        ("integer", True),
        ("integer", Decimal("5.5")),
        ("decimal", "many"),
        ("decimal", True),
        ("boolean", 1),
    ],
)
def test_a_static_value_of_another_type_is_refused(value_type: str, value: Any) -> None:
    document = changed("features/seats/value_type", value_type)
    document["plans"]["pro"]["entitlements"]["seats"] = value
    (problem,) = problems(document)
    assert problem.startswith(
        f"plans.pro.entitlements.seats: seats is a static feature: expected a value of type "
        f"{value_type}, found "
    )


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("meter", {}, "meter: unknown member, did you mean 'meters'?"),
        ("plans", [], "plans: expected an object, found a list"),
        ("meters/images/aggregation", "sum", "meters.images.value: sum needs the path of a value"),
        ("meters/my meter", {}, "meters: 'my meter' is not a key: a key is 1 to 128 ASCII letters"),
        ("features/chat/meter", "input_token",
         "features.chat.meter: there is no meter 'input_token', did you mean 'input_tokens'?"),
        ("features/chat/meter", None, "features.chat.meter: is required"),
        ("features/chat/type", "metred",
         ("features.chat.type: expected one of boolean, metered, static, found the string "
         "'metred', did you mean 'metered'?")),
        ("features/export/meter", "images",
         "features.export.meter: only a metered feature has a meter, this one is boolean"),
        ("features/seats/value_type", None, "features.seats.value_type: is required: one of str"),
        ("plans/pro/currency", None, "plans.pro.currency: is required"),
        ("plans/pro/currency", "usd", "plans.pro.currency: 'usd' is not an ISO 4217 currency code"),
        ("plans/pro/cadence", "monthly",
         ("plans.pro.cadence: expected one of day, week, month, quarter, year, found the string "
         "'monthly', did you mean 'month'?")),
        ("plans/pro/entitlement", {},
         "plans.pro.entitlement: unknown member, did you mean 'entitlements'?"),
        ("plans/pro/entitlements/chatt", {},
         "plans.pro.entitlements.chatt: there is no feature 'chatt', did you mean 'chat'?"),
        ("plans/pro/entitlements/export", "yes",
         ("plans.pro.entitlements.export: export is a boolean feature: expected true or false, "
         "found the string 'yes'")),
        ("plans/pro/entitlements/chat", 1000,
         "plans.pro.entitlements.chat: expected an object, found the number 1000"),
        ("plans/pro/entitlements/chat/limit", -1,
         ("plans.pro.entitlements.chat.limit: expected a quantity from 0, or 'unlimited', "
         "found the number -1")),
        ("plans/pro/entitlements/chat/limits", 1,
         "plans.pro.entitlements.chat.limits: unknown member, did you mean 'limit'?"),
        ("plans/pro/entitlements/chat/enforcement", "strict",
         "plans.pro.entitlements.chat.enforcement: expected one of hard, soft, found the string"),
        ("plans/pro/entitlements/chat/reset", "dayly",
         ("plans.pro.entitlements.chat.reset: expected one of period, hour, day, week, month, "
         "year, never, found the string 'dayly', did you mean 'day'?")),
        ("plans/pro/prices/tokens/meter", "input_tokn",
         ("plans.pro.prices.tokens.meter: there is no meter 'input_tokn', "
         "did you mean 'input_tokens'?")),
        ("plans/pro/prices/tokens/group_by", ["region"],
         ("plans.pro.prices.tokens.group_by: meter 'input_tokens' has no dimension 'region' "
         "(it has: model)")),
        ("plans/pro/prices/tokens/filter", "data.x = 1",
         "plans.pro.prices.tokens.filter: column 8: '=' is not an operator; write '=='"),
        ("plans/pro/prices/tokens/tiers", [{"up_to": 5, "unit": "x"}, {"unit": 1}],
         "plans.pro.prices.tokens.tiers[0].unit: "),
        ("plans/pro/prices/base", 49, "plans.pro.prices.base: expected an object, found the"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_with_its_path(path: str, value: Any, problem: str) -> None:
    (only,) = problems(changed(path, value))
    assert only.startswith(problem)


SEAT = {"type": "seat", "feature": "seats", "unit": 10}
UNITS = {"credit": {"USD": "0.01"}}
NOW = "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("plans/pro/minimum", -1, "plans.pro.minimum: must not be negative"),
        ("plans/pro/commitment", {}, "plans.pro.commitment.amount: is required, and above 0"),
        ("plans/pro/commitment", {"amount": 5, "per": "year"},
         "plans.pro.commitment.per: expected one of period, term, found the string 'year'"),
        ("plans/pro/commitment", {"amount": 5, "prices": ["tokns"]},
         "plans.pro.commitment.prices: the plan has no price 'tokns', did you mean 'tokens'?"),
        ("plans/pro/discounts", [{"percent": 10, "amount": 1}],
         "plans.pro.discounts[0]: give exactly one of percent, amount, free_units"),
        ("plans/pro/discounts", [{"percent": 101}],
         "plans.pro.discounts[0].percent: expected a number above 0 and at most 100"),
        ("plans/pro/discounts", [{"free_units": 5}],
         "plans.pro.discounts[0].prices: free_units are of exactly one price"),
        ("plans/pro/discounts", [{"percent": 5, "duration": "always"}],
         "plans.pro.discounts[0].duration: expected once, forever or {periods: 3}"),
        ("plans/pro/discounts", [{"id": "a", "percent": 5}, {"id": "a", "amount": 5}],
         "plans.pro.discounts[1].id: another discount is 'a' already"),
        ("plans/pro/currencies", {"EUR": {}},
         ("plans.pro.currencies.EUR.prices.base: is missing: give it, or a rate from USD to EUR "
         "in rates")),
        ("plans/pro/currencies", {"EURO": {}},
         "plans.pro.currencies.EURO: is no ISO 4217 currency code"),
        ("plans/pro/currencies", {"USD": {}}, "plans.pro.currencies.USD: is the plan's own"),
        ("plans/pro/prices/s", SEAT | {"feature": "chat"},
         ("plans.pro.prices.s.feature: 'chat' counts no seats: they are a static feature, "
         "value_type integer")),
        ("plans/pro/prices/s", SEAT | {"feature": "seatz"},
         "plans.pro.prices.s.feature: there is no feature 'seatz', did you mean 'seats'?"),
        ("plans/pro/prices/s", SEAT | {"free": "0.5"},
         "plans.pro.prices.s.free: must be a whole number"),
        ("plans/pro/prices/s", SEAT | {"priced_in": "credit"},
         "plans.pro.prices.s.priced_in: there is no unit 'credit' in units"),
        ("rates", [{"from": "USD", "to": "USD", "rate": 1}],
         "rates[0].to: is the currency it converts from"),
        ("rates", [{"from": "USD", "to": "EUR", "rate": 0}], "rates[0].rate: must be above 0"),
        ("rates", [{"from": "USD", "to": "EUR", "rate": 1}] * 2,
         "rates: USD to EUR has two rates from one instant on"),
        ("units", {"USD": {"EUR": 1}}, "units.USD: is a currency; a unit needs a name of its own"),
        ("units", {"credit": {}}, "units.credit: has no rate; give one like {USD: 0.01}"),
    ],
)  # fmt: skip
def test_what_a_plan_says_of_an_invoice_is_checked(path: str, value: Any, problem: str) -> None:
    assert problem in problems(changed(path, value))


def test_a_price_in_a_unit_needs_its_rate_to_the_currency_of_the_plan() -> None:
    document = changed("plans/pro/prices/s", SEAT | {"priced_in": "credit"})
    document["units"] = {"credit": {"EUR": "0.01"}}
    assert problems(document) == [
        "plans.pro.prices.s.priced_in: unit 'credit' has no rate to USD in units"
    ]
    document["units"] = UNITS
    assert parse_catalog(document).rates.units == ("credit",)


def test_plan_terms_rates_and_units_read_back_from_their_dump() -> None:
    document = changed("plans/pro/prices/s", SEAT | {"priced_in": "credit"})
    document["units"] = {"credit": {"USD": [{"rate": "0.01"}, {"rate": 1, "effective_at": NOW}]}}
    document["rates"] = [{"from": "USD", "to": "EUR", "rate": "0.92", "effective_at": NOW}]
    document["plans"]["pro"] |= {
        "minimum": 10,
        "maximum": "99.5",
        "commitment": {"amount": 100, "per": "term", "mode": "prepaid", "prices": ["tokens"]},
        "discounts": [
            {"percent": "12.5", "duration": "once", "name": "welcome"},
            {"amount": 5, "prices": ["tokens"], "duration": {"periods": 3}},
            {"free_units": 5, "prices": ["tokens"]},
        ],
        "currencies": {"EUR": {"prices": {"base": {"amount": 45}}, "minimum": 9}},
    }
    catalog = parse_catalog(document)
    dumped = dump_catalog(catalog)
    assert parse_catalog(dumped) == catalog
    assert dump_catalog(parse_catalog(dumped)) == dumped


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        (
            {"type": "per_unit", "unit": 1, "multipliers": {"modle": {"opus": 2}}},
            (
                "multipliers.modle: meter 'input_tokens' has no dimension 'modle', "
                "did you mean 'model'? (it has: model)"
            ),
        ),
        (
            {"type": "matrix", "cells": [{"match": {"region": "eu"}, "unit": 1}], "default": 2},
            "cells: meter 'input_tokens' has no dimension 'region' (it has: model)",
        ),
        (
            {"type": "percentage", "meter": "images", "rate": "0.1"},
            "meter: a percentage is of a sum of amounts, and 'images' is a count",
        ),
    ],
)
def test_a_price_has_to_fit_the_meter_it_bills(price: dict[str, Any], problem: str) -> None:
    (only,) = problems(changed("plans/pro/prices/tokens", {"meter": "input_tokens"} | price))
    assert only == f"plans.pro.prices.tokens.{problem}"


def test_all_problems_of_all_sections_are_told_at_once() -> None:
    document = changed("meters/images/aggregation", "sum")
    document["features"]["chat"]["meter"] = "nothing"
    document["plans"]["pro"]["currency"] = "EURO"
    document["plans"]["pro"]["prices"]["base"]["timing"] = "later"
    assert [line.partition(":")[0] for line in problems(document)] == [
        "meters.images.value",
        "features.chat.meter",
        "plans.pro.currency",
        "plans.pro.prices.base.timing",
    ]


def test_a_broken_meter_is_not_reported_again_where_it_is_used() -> None:
    (only,) = problems(changed("meters/input_tokens/value", None))
    assert only.startswith("meters.input_tokens.value: ")


def test_a_document_is_an_object() -> None:
    assert problems([]) == ["expected an object, found a list"]


def test_the_number_of_members_is_bounded() -> None:
    many = {f"f{n}": {"type": "boolean"} for n in range(1001)}
    assert problems({"features": many}) == ["features: has 1001 members, at most 1000 are allowed"]


def test_live_state_counts_each_meter_and_what_prices_count_in_their_own_way() -> None:
    document = copy.deepcopy(SAMPLE)
    price = {"type": "per_unit", "meter": "input_tokens", "unit": "0.01"}
    document["plans"]["pro"]["prices"] = {
        "plain": price,
        "by_model": {**price, "group_by": ["model"]},
        "by_model_too": {**price, "group_by": ["model"], "unit": "0.02"},
        "fresh": {**price, "filter": "data.cached != true"},
        "base": {"type": "flat", "amount": 1},
    }
    catalog = parse_catalog(document)
    assert [(c.meter.key, c.filter, c.group_by) for c in counters_of(catalog)] == [
        ("images", None, ()),
        ("input_tokens", None, ()),
        ("input_tokens", None, ("model",)),
        ("input_tokens", "data.cached != true", ()),
    ]
    assert isinstance(catalog.plans["pro"].prices["plain"], PerUnit)


def test_an_estimate_is_billed_only_by_consent() -> None:
    people = {"event_type": "t", "aggregation": "unique", "value": "data.who"}
    price: dict[str, Any] = {"type": "per_unit", "meter": "people", "unit": "1"}

    def document(**consent: Any) -> dict[str, Any]:
        prices = {"people": price | consent}
        return {
            "meters": {"people": people | {"precision": "sketch"}},
            "plans": {"pro": {"currency": "USD", "prices": prices}},
        }

    (problem,) = problems(document())
    assert problem == (
        "plans.pro.prices.people.meter: 'people' is an estimate (precision: sketch); bill it only "
        "with allow_estimate: true"
    )
    assert problems(document(allow_estimate="yes")) == [
        "plans.pro.prices.people.allow_estimate: must be true or false"
    ]
    dumped = dump_catalog(parse_catalog(document(allow_estimate=True)))
    assert dumped["plans"]["pro"]["prices"]["people"]["allow_estimate"] is True
