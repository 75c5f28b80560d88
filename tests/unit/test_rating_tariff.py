"""Ramps, currencies, rates and custom units: a plan's prices at a time and in a currency."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from taximeter.catalog.document import parse_catalog
from taximeter.catalog.plans import Plan
from taximeter.catalog.prices import Flat, PerUnit, dump_price, parse_price
from taximeter.catalog.rates import Conversion, Rates, converted
from taximeter.errors import Rejected
from taximeter.instants import parse_instant
from taximeter.rating.ramp import price_at
from taximeter.rating.tariff import RateBook, is_billable, plan_amount, tariff_of

PER_UNIT: dict[str, Any] = {"type": "per_unit", "meter": "tokens", "unit": "0.10"}
NEW_YEAR = parse_instant("2027-01-01T00:00:00Z")
NOW = parse_instant("2026-11-30T23:59:59.999999Z")


# --- ramps ------------------------------------------------------------------------------------


def unit_at(document: dict[str, Any], number: int, at: int = 0) -> Fraction:
    price = price_at(parse_price("p", document), number, at)
    assert isinstance(price, PerUnit)
    assert price.ramp == ()
    return price.unit


@pytest.mark.parametrize(
    ("number", "unit"),
    [(1, "0.1"), (3, "0.1"), (4, "0.08"), (12, "0.08"), (13, "0.1"), (99, "0.1")],
)
def test_a_step_holds_from_its_period_until_the_next(number: int, unit: str) -> None:
    """A step that says nothing is the price as it was at first."""
    ramp = [{"from_period": 4, "unit": "0.08"}, {"from_period": 13}]
    assert unit_at(PER_UNIT | {"ramp": ramp}, number) == Fraction(unit)


def test_a_step_from_a_date_holds_from_that_instant_on() -> None:
    document = PER_UNIT | {"ramp": [{"from": "2027-01-01T00:00:00Z", "unit": 1}]}
    assert unit_at(document, 1, NEW_YEAR - 1) == Fraction("0.1")
    assert unit_at(document, 1, NEW_YEAR) == 1


def test_the_first_step_may_say_how_the_price_begins() -> None:
    document = {"type": "per_unit", "meter": "tokens", "ramp": [{"from_period": 1, "unit": 1}]}
    assert dump_price(parse_price("p", document)) == {
        "type": "per_unit", "meter": "tokens", "unit": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ramp", "problem"),
    [
        ([], "ramp: must be a list of 1 to 120 steps"),
        ([{"unit": 1}], "ramp[0]: must say from_period (1 is the first) or from (an instant)"),
        ([{"from_period": 0, "unit": 1}], "ramp[0].from_period: must be a whole number from 1"),
        ([{"from_period": 2, "meter": "images"}], "ramp[0].meter: only amounts differ here: "),
        ([{"from": "tomorrow", "unit": 1}], "ramp[0].from: must be an instant such as"),
        ([{"from_period": 4, "unit": 1}, {"from_period": 4, "unit": 2}],
         "ramp[1]: must begin after the step before it"),
        ([{"from_period": 4, "unit": 1}, {"from": "2027-01-01T00:00:00Z", "unit": 2}],
         "ramp[1]: all steps say from_period, or all say from"),
        ([{"from_period": 2, "multipliers": {"model": {"opus": 2}}}],
         "ramp[0]: looks at dimensions the price does not; name them in its group_by"),
        ([{"from_period": 2, "unit": -1}], "ramp[0].unit: must not be negative"),
        ([{"from_period": 2, "ramp": []}], "ramp[0].ramp: only amounts differ here"),
    ],
)  # fmt: skip
def test_a_step_that_makes_no_sense_is_refused_by_its_path(ramp: Any, problem: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_price("p", PER_UNIT | {"ramp": ramp})
    assert refused.value.message.startswith(f"prices.p.{problem}")


# --- rates ------------------------------------------------------------------------------------

RATES = [
    {"from": "USD", "to": "EUR", "rate": "0.90", "effective_at": "2026-01-01T00:00:00Z"},
    {"from": "USD", "to": "EUR", "rate": "0.92", "effective_at": "2026-11-01T00:00:00Z"},
    {"from": "USD", "to": "EUR", "rate": "0.95", "effective_at": "2026-12-01T00:00:00Z"},
]


def plan_and_rates(**plan: Any) -> tuple[Plan, Rates]:
    top = {name: plan.pop(name) for name in ("rates", "units") if name in plan}
    document: dict[str, Any] = {
        "meters": {"tokens": {"event_type": "llm", "aggregation": "count"}},
        "plans": {
            "pro": {
                "currency": "USD",
                "prices": {"base": {"type": "flat", "amount": 10}, "tokens": PER_UNIT},
            }
            | plan
        },
    }
    catalog = parse_catalog(document | top)
    return catalog.plans["pro"], catalog.rates


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        ("2025-06-01T00:00:00Z", "0.90"),
        ("2026-10-31T23:59:59.999999Z", "0.90"),
        ("2026-11-01T00:00:00Z", "0.92"),
        ("2026-11-30T23:59:59.999999Z", "0.92"),
        ("2026-12-01T00:00:00Z", "0.95"),
    ],
)
def test_a_rate_holds_from_its_instant_on_and_the_first_one_before_it(at: str, rate: str) -> None:
    _, rates = plan_and_rates(rates=RATES)
    found = rates.find("USD", "EUR", parse_instant(at))
    assert found is not None
    assert found.rate == Fraction(rate)


def test_a_rate_says_nothing_about_the_way_back() -> None:
    _, rates = plan_and_rates(rates=RATES)
    assert rates.find("EUR", "USD", NOW) is None
    assert rates.convert("EUR", "EUR", "USD", NOW, 1) is None


def test_a_unit_goes_by_way_of_the_plans_currency_where_it_has_to() -> None:
    units = {"credit": {"USD": "0.01"}, "token": {"USD": "0.01", "EUR": "0.008"}}
    _, rates = plan_and_rates(rates=RATES, units=units)
    assert rates.convert("credit", "USD", "EUR", NOW, 7) == (
        Conversion("credit", "USD", Fraction("0.01"), 0, 7),
        Conversion("USD", "EUR", Fraction("0.92"), parse_instant("2026-11-01T00:00:00Z"), 7),
    )
    direct = rates.convert("token", "USD", "EUR", NOW, 7)
    assert direct is not None
    assert converted(Fraction(100), direct) == Fraction("0.8")
    assert rates.convert("USD", "USD", "USD", NOW, 7) == ()


# --- tariffs ----------------------------------------------------------------------------------


def test_an_amount_the_plan_gives_is_taken_and_any_other_is_converted() -> None:
    """K5: nothing is rounded on the way."""
    plan, rates = plan_and_rates(
        rates=RATES, minimum=7, maximum=70,
        currencies={"EUR": {"prices": {"base": {"amount": 9}}, "minimum": 5}},
    )  # fmt: skip
    book = RateBook(((3, rates),), NOW)
    tariff = tariff_of(plan, "EUR", 1, 0, book)
    assert isinstance(tariff.prices["base"], Flat)
    assert tariff.prices["base"].amount == 9
    assert list(tariff.conversions) == ["tokens"]
    assert tariff.conversions["tokens"][0].version == 3
    assert plan_amount(plan, "minimum", "EUR", book) == 5
    assert plan_amount(plan, "maximum", "EUR", book) == 70 * Fraction("0.92")
    assert plan_amount(plan, "commitment", "EUR", book) is None


def test_a_plan_is_billable_in_what_it_says_itself_or_what_there_is_a_rate_to() -> None:
    whole = {"prices": {"base": {"amount": 9}, "tokens": {"unit": "0.09"}}}
    plan, rates = plan_and_rates(rates=RATES, currencies={"JPY": whole})
    book = RateBook(((1, rates),), NOW)
    found = {code: is_billable(plan, code, book) for code in ("USD", "EUR", "JPY", "GBP")}
    assert found == {"USD": True, "EUR": True, "JPY": True, "GBP": False}


def test_the_rates_of_the_newest_catalogue_come_first_and_the_plans_own_stay() -> None:
    plan, old = plan_and_rates(rates=RATES)
    _, new = plan_and_rates(rates=[{"from": "USD", "to": "EUR", "rate": 2}])
    newest = tariff_of(plan, "EUR", 1, 0, RateBook(((4, new), (1, old)), NOW))
    gone = tariff_of(plan, "EUR", 1, 0, RateBook(((5, Rates()), (1, old)), NOW))
    assert [one.version for one in newest.conversions["base"]] == [4]
    assert [one.version for one in gone.conversions["base"]] == [1]


def test_amounts_in_another_currency_have_their_own_ramp() -> None:
    ramped = PER_UNIT | {"ramp": [{"from_period": 2, "unit": "0.08"}]}
    amounts = {"tokens": {"unit": "0.09", "ramp": [{"from_period": 2, "unit": "0.07"}]}}
    plan, rates = plan_and_rates(prices={"tokens": ramped}, currencies={"EUR": {"prices": amounts}})
    book = RateBook(((1, rates),), NOW)
    units = [
        tariff_of(plan, currency, number, 0, book).prices["tokens"]
        for currency in ("USD", "EUR")
        for number in (1, 2)
    ]
    assert [one.unit for one in units if isinstance(one, PerUnit)] == [
        Fraction(text) for text in ("0.1", "0.08", "0.09", "0.07")
    ]


def test_a_ramp_without_amounts_in_another_currency_is_refused() -> None:
    ramped = PER_UNIT | {"ramp": [{"from_period": 2, "unit": "0.08"}]}
    with pytest.raises(Rejected) as refused:
        plan_and_rates(
            prices={"tokens": ramped}, currencies={"EUR": {"prices": {"tokens": {"unit": 1}}}}
        )
    assert "plans.pro.currencies.EUR.prices.tokens.ramp: is missing" in refused.value.message
