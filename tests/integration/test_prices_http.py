"""Every kind of price over HTTP: live fare, bill, proof, and each says the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

START = "2026-11-01T00:00:00Z"
THOUSANDS = {"divide_by": 1000, "round": "up"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("prices"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    return scene


def catalog(**prices: dict[str, Any]) -> dict[str, Any]:
    """The usual one with other prices, all of the meter `tokens`, by model and region."""
    document = copy.deepcopy(CATALOG)
    document["meters"]["tokens"]["dimensions"] = {"model": "data.model", "region": "data.region"}
    document["plans"]["pro"]["prices"] = {
        key: {"meter": "tokens"} | price for key, price in prices.items()
    }
    return document


def used(event_id: str, tokens: Any, **dimensions: Any) -> dict[str, Any]:
    data = {"tokens": tokens, **dimensions}
    return event(event_id, data=data, time="2026-11-20T11:59:59Z")


def bill(scene: Scene, price: dict[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Lines of a closed month, which say what the fare said while it ran, what its recount at the
    last instant said, and what a verification says.
    """
    scene.open(catalog(p=price), start=START)
    if events:
        scene.send(events)
    fare = scene.preview()
    recounted = scene.preview(at="2026-11-20T12:00:00Z")
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    verdict = scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")
    assert verdict["ok"], verdict
    assert fare["subtotal"] == invoice["subtotal"] == recounted["subtotal"]
    assert [explained(line) for line in fare["lines"]] == [
        explained(line) for line in invoice["lines"]
    ]
    lines: list[dict[str, Any]] = invoice["lines"]
    return lines


def explained(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "lineage"}


def test_volume_prices_all_units_by_the_total(scene: Scene) -> None:
    """K8"""
    tiers = [{"up_to": 1000, "unit": "0.10"}, {"unit": "0.08", "flat": 5}]
    (line,) = bill(scene, {"type": "volume", "tiers": tiers}, [used("1", 1000), used("2", 1)])
    assert (line["quantity"], line["amount"]) == ("1001", "85.08")
    assert line["tiers"] == [
        {"quantity": "1001", "unit": "0.08", "flat": "5.00", "amount": "85.08"}
    ]


def test_stairstep_charges_the_fee_of_the_total(scene: Scene) -> None:
    tiers = [{"up_to": 10, "flat": 20}, {"flat": 50}]
    (line,) = bill(scene, {"type": "stairstep", "tiers": tiers}, [used("1", 11)])
    assert line["amount"] == "50.00"


def test_packages_that_are_begun_are_paid(scene: Scene) -> None:
    """K9"""
    price = {"type": "package", "size": 1000, "amount": 5, "free": 100}
    (line,) = bill(scene, price, [used("1", 2000), used("2", 101)])
    assert (line["quantity"], line["free"], line["amount"]) == ("2101", "100", "15.00")
    assert line["tiers"] == [
        {"quantity": "2001", "packages": "3", "unit": "5.00", "amount": "15.00"}
    ]


def test_a_percentage_counts_the_events_it_takes_a_fee_for(scene: Scene) -> None:
    price = {"type": "percentage", "rate": "0.029", "fixed": "0.30", "free": 50}
    (line,) = bill(scene, price, [used("1", "100"), used("2", "50.10"), used("2", "50.10")])
    assert line["lineage"]["events"] == 2, "the third is the second once more"
    assert line["amount"] == "3.50"  # 100.10 x 0.029 + 2 x 0.30 = 3.5029


def test_a_matrix_has_a_line_for_each_combination_used(scene: Scene) -> None:
    cells = [
        {"match": {"model": "opus", "region": "eu"}, "unit": "0.06"},
        {"match": {"model": "opus"}, "unit": "0.05"},
    ]
    events = [
        used("1", 10, model="opus", region="eu"),
        used("2", 10, model="opus"),
        used("3", 10, model="haiku", region="eu"),
    ]
    lines = bill(scene, {"type": "matrix", "cells": cells, "default": "0.01"}, events)
    assert [(line["group"], line["amount"]) for line in lines] == [
        ({"model": "haiku", "region": "eu"}, "0.10"),
        ({"model": "opus", "region": None}, "0.50"),
        ({"model": "opus", "region": "eu"}, "0.60"),
    ]


def test_multipliers_make_lines_of_their_own_and_are_shown(scene: Scene) -> None:
    price = {
        "type": "per_unit",
        "unit": "0.10",
        "multipliers": {"region": {"eu": "1.2"}, "model": {"opus": 5, "default": 1}},
    }
    events = [used("1", 10, model="opus", region="eu"), used("2", 10, model="haiku", region="us")]
    plain, dear = sorted(bill(scene, price, events), key=lambda line: line["group"]["model"])
    assert (dear["multiplier"], dear["amount"]) == ("6", "6.00")
    assert dear["tiers"] == [{"quantity": "10", "unit": "0.10", "amount": "1.00"}]
    assert (plain.get("multiplier"), plain["amount"]) == (None, "1.00")


def test_a_transform_is_of_the_sum_of_a_line_and_both_quantities_are_told(scene: Scene) -> None:
    price = {"type": "per_unit", "unit": 2, "free": 1, "transform": THOUSANDS}
    (line,) = bill(scene, price, [used("1", 1500), used("2", "1500.5")])
    assert (line["metered"], line["quantity"], line["free"]) == ("3000.5", "4", "1")
    assert line["amount"] == "6.00"


def test_bounds_hold_for_every_model(scene: Scene) -> None:
    price = {"type": "package", "size": 10, "amount": 5, "maximum": 12}
    (line,) = bill(scene, price, [used("1", 25)])
    assert (line["adjustment"], line["amount"]) == ("-3.00", "12.00")


def test_nothing_used_costs_nothing_but_the_minimum(scene: Scene) -> None:
    tiers = [{"up_to": 10, "flat": 20}, {"flat": 50}]
    (line,) = bill(scene, {"type": "stairstep", "tiers": tiers, "minimum": 3}, [])
    assert (line["amount"], line["adjustment"], line["tiers"]) == ("3.00", "3.00", [])


def test_a_contract_can_override_a_price_by_one_of_another_model(scene: Scene) -> None:
    scene.publish(catalog(p={"type": "per_unit", "unit": 1}))
    scene.customer()
    package = {"type": "package", "meter": "tokens", "size": 10, "amount": 3}
    scene.subscribe(start=START, overrides={"prices": {"p": package}})
    scene.send(used("1", 11))
    assert scene.preview()["subtotal"] == "6.00"


def test_a_price_that_changes_inside_a_period_starts_its_packages_again(scene: Scene) -> None:
    """K20"""
    document = catalog(p={"type": "package", "size": 10, "amount": 3})
    document["plans"]["team"] = copy.deepcopy(document["plans"]["pro"])
    document["plans"]["team"]["prices"]["p"]["amount"] = 4
    scene.publish(document)
    scene.customer()
    subscription = scene.subscribe(start=START)
    scene.send(used("1", 1))
    scene.ask("POST", f"/v1/subscriptions/{subscription['id']}/change", {"plan": "team"})
    scene.set_clock("2026-11-20T12:00:01Z")
    scene.send(event("2", 1))
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert [line["amount"] for line in invoice["lines"]] == ["3.00", "4.00"]
    assert scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")["ok"]


def test_the_catalogue_is_given_back_as_it_would_be_read_again(scene: Scene) -> None:
    document = catalog(
        matrix={
            "type": "matrix",
            "cells": [{"match": {"model": "opus"}, "unit": "0.03"}],
            "default": "0.01",
        },
        percentage={"type": "percentage", "rate": "0.029", "fixed": "0.30"},
        stairs={"type": "stairstep", "tiers": [{"up_to": 5, "flat": 1}, {"flat": 2}]},
    )
    scene.publish(document)
    given = scene.ask("GET", "/v1/catalog")
    again = scene.ask("PUT", "/v1/catalog", {k: given[k] for k in ("meters", "features", "plans")})
    assert again["changes"] == []


# --- the event's own amount -------------------------------------------------------------------


def test_bounds_for_each_event_look_at_each_amount(scene: Scene) -> None:
    """Below 6.90 and above 334.49 an event costs its bound; the bands are steps of the line."""
    price = {
        "type": "percentage",
        "rate": "0.029",
        "fixed": "0.30",
        "min_per_event": "0.50",
        "max_per_event": 10,
    }
    events = [used("1", 1), used("2", "2.5"), used("3", 100), used("4", 5000)]
    (line,) = bill(scene, price, events)
    assert line["amount"] == "14.20"  # 2 x 0.50 + (100 x 0.029 + 0.30) + 10
    assert [(tier["quantity"], tier["amount"]) for tier in line["tiers"]] == [
        ("3.5", "1.00"),
        ("100", "3.20"),
        ("5000", "10.00"),
    ]


def test_bounds_for_each_event_hold_in_every_group(scene: Scene) -> None:
    price = {"type": "percentage", "rate": "0.10", "min_per_event": 1, "group_by": ["model"]}
    events = [used("1", 5, model="a"), used("2", 50, model="a"), used("3", 1, model="b")]
    lines = bill(scene, price, events)
    assert [line["amount"] for line in lines] == ["6.00", "1.00"]


def test_a_dynamic_price_is_the_amount_on_the_event(scene: Scene) -> None:
    (line,) = bill(scene, {"type": "dynamic"}, [used("1", "12.345"), used("2", "0.10")])
    assert (line["amount"], line["quantity"]) == ("12.45", "12.445")


def test_a_cost_has_its_markup_and_costs_may_differ_by_model(scene: Scene) -> None:
    costs = {"by": "model", "opus": "0.03", "default": "0.01"}
    price = {"type": "cost_plus", "markup": "0.20", "costs": costs}
    lines = bill(scene, price, [used("1", 100, model="opus"), used("2", 100)])
    assert [(one["group"]["model"], one["amount"]) for one in lines] == [
        (None, "1.20"),
        ("opus", "3.60"),
    ]


# --- hours of the day -------------------------------------------------------------------------


def at(event_id: str, time: str, tokens: Any = 10) -> dict[str, Any]:
    return event(event_id, data={"tokens": tokens}, time=time)


def test_usage_at_night_has_a_line_and_a_factor_of_its_own(scene: Scene) -> None:
    night = [{"from": "22:00", "to": "06:00", "factor": "0.5"}]
    events = [
        at("1", "2026-11-19T21:59:59Z"),
        at("2", "2026-11-19T22:00:00Z"),
        at("3", "2026-11-20T05:59:59Z"),
        at("4", "2026-11-20T06:00:00Z"),
    ]
    price = {"type": "per_unit", "unit": 1, "time_of_day": night}
    by_night, by_day = bill(scene, price, events)
    assert (by_night["hours"], by_night["multiplier"]) == ("22:00-06:00", "0.5")
    assert (by_night["amount"], by_day["amount"]) == ("10.00", "20.00")
    assert by_day["hours"] == "other hours"
    (invoice,) = scene.ask("GET", "/v1/invoices")["items"]
    path = f"/v1/invoices/{invoice['id']}/lines/{by_night['id']}/events"
    assert [one["event"]["id"] for one in scene.ask("GET", path)["items"]] == ["2", "3"]


# --- over time --------------------------------------------------------------------------------


def test_a_ramp_goes_by_the_periods_of_the_subscription(scene: Scene) -> None:
    ramp = [{"from_period": 2, "unit": 2}, {"from_period": 3, "unit": 3}]
    scene.set_clock("2026-09-10T00:00:00Z")
    scene.open(
        catalog(p={"type": "per_unit", "unit": 1, "ramp": ramp}), start="2026-09-01T00:00:00Z"
    )
    for month in ("09", "10", "11"):
        scene.set_clock(f"2026-{month}-10T00:00:00Z")
        scene.send(event(month, 10))
    scene.set_clock("2026-12-01T00:00:00Z")
    invoices = scene.close()
    assert [invoice["subtotal"] for invoice in invoices] == ["10.00", "20.00", "30.00"]
    assert all(verified(scene, one) for one in invoices)


def test_a_ramp_by_date_splits_the_period(scene: Scene) -> None:
    """K20"""
    price = {
        "type": "package", "size": 10, "amount": 1,
        "ramp": [{"from": "2026-11-15T00:00:00Z", "amount": 5}],
    }  # fmt: skip
    events = [at("1", "2026-11-14T23:59:59Z", 1), at("2", "2026-11-15T00:00:00Z", 1)]
    lines = bill(scene, price, events)
    assert [line["amount"] for line in lines] == ["1.00", "5.00"]


def verified(scene: Scene, invoice: dict[str, Any]) -> bool:
    verdict = scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")
    assert verdict["ok"], verdict
    return True


# --- seats ------------------------------------------------------------------------------------


def seats(scene: Scene, mode: str, **price: Any) -> dict[str, Any]:
    """The line of a month in which bob has a seat all along, and ann from the 11th to the 21st."""
    document = catalog(p={"type": "per_unit", "unit": 0})
    document["plans"]["pro"]["prices"]["seats"] = {
        "type": "seat", "feature": "seats", "unit": 30, "mode": mode,
    } | price  # fmt: skip
    scene.set_clock("2026-11-01T00:00:00Z")
    scene.open(document, start=START)
    scene.ask("PUT", "/v1/customers/acme/seats/seats/bob", {})
    scene.set_clock("2026-11-11T12:00:00Z")
    scene.ask("PUT", "/v1/customers/acme/seats/seats/ann", {})
    scene.set_clock("2026-11-21T12:00:00Z")
    scene.ask("DELETE", "/v1/customers/acme/seats/seats/ann")
    fare = scene.preview()
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert verified(scene, invoice)
    assert fare["subtotal"] == invoice["subtotal"]
    line: dict[str, Any] = next(one for one in invoice["lines"] if one["kind"] == "seat")
    return line


@pytest.mark.parametrize(
    ("mode", "amount", "quantity", "charged", "of"),
    [
        ("peak", "60.00", "2", "60", "30"),
        ("prorated", "40.00", "1.333333333333", "40", "30"),  # K4: ann from the 11th to the 20th
        ("time_weighted", "40.00", "1.333333333333", "3456000", "2592000"),
    ],
)
def test_seats_come_from_who_had_one_when(
    scene: Scene, mode: str, amount: str, quantity: str, charged: str, of: str
) -> None:
    line = seats(scene, mode)
    assert (line["amount"], line["quantity"]) == (amount, quantity)
    assert (line["seats"]["peak"], line["seats"]["charged"], line["seats"]["of"]) == (
        "2", charged, of,
    )  # fmt: skip


def test_free_seats_are_so_many_at_a_time(scene: Scene) -> None:
    assert seats(scene, "prorated", free=1)["amount"] == "10.00"


def test_without_holders_the_seats_of_the_contract_are_billed(scene: Scene) -> None:
    assert seats(scene, "peak", count="contracted")["amount"] == "150.00"


@pytest.mark.parametrize(("own_price", "amounts"), [(True, ["50.00", "24.00"]), (False, ["80.00"])])
def test_seats_of_an_addon_are_billed_by_its_own_price_or_by_the_plans(
    scene: Scene, own_price: bool, amounts: list[str]
) -> None:
    price = {"type": "seat", "feature": "seats", "unit": 10, "mode": "peak"}
    document = catalog(p={"type": "per_unit", "unit": 0})
    document["plans"]["pro"]["prices"] = {"seats": price}
    prices = {"seats": price | {"unit": 8}} if own_price else {}
    document["addons"] = {
        "extra": {"currency": "USD", "entitlements": {"seats": 1}, "prices": prices}
    }
    scene.open(document, start=START, addons={"extra": 3})
    assert [line["amount"] for line in scene.preview()["lines"]] == amounts


# --- the plan as a whole ----------------------------------------------------------------------


def month(scene: Scene, events: list[dict[str, Any]], **plan: Any) -> dict[str, Any]:
    """The invoice of a month of a plan with a fee of 20 and tokens at 1."""
    document = catalog(p={"type": "per_unit", "unit": 1})
    document["plans"]["pro"]["prices"]["base"] = {"type": "flat", "amount": 20}
    document["plans"]["pro"] |= plan
    scene.open(document, start=START)
    if events:
        scene.send(events)
    fare = scene.preview()
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert verified(scene, invoice)
    assert (fare["subtotal"], fare["total"]) == (invoice["subtotal"], invoice["total"])
    found: dict[str, Any] = invoice
    return found


def kinds(invoice: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["kind"], line["amount"]) for line in invoice["lines"]]


@pytest.mark.parametrize(
    ("used_units", "plan", "added"),
    [
        (10, {"minimum": 50}, [("minimum", "20.00")]),
        (30, {"minimum": 50}, []),
        (90, {"maximum": 100}, [("maximum", "-10.00")]),
        (80, {"maximum": 100}, []),
        (10, {"commitment": {"amount": 50}}, [("commitment", "40.00")]),
        (60, {"commitment": {"amount": 50}}, []),
        (
            60,
            {"commitment": {"amount": 50, "mode": "prepaid"}},
            [("commitment", "50.00"), ("commitment", "-50.00")],
        ),
        (
            10,
            {"commitment": {"amount": 50, "mode": "prepaid"}},
            [("commitment", "50.00"), ("commitment", "-10.00")],
        ),
    ],
)
def test_a_plan_bounds_its_lines_together(
    scene: Scene, used_units: int, plan: dict[str, Any], added: list[tuple[str, str]]
) -> None:
    """K10"""
    invoice = month(scene, [used("1", used_units)], **plan)
    assert kinds(invoice)[2:] == added


def test_what_a_plan_adds_is_taxed_as_all_its_prices_are(scene: Scene) -> None:
    document = catalog(p={"type": "per_unit", "unit": 1, "tax_category": "saas"})
    document["plans"]["pro"]["minimum"] = 50
    assert [
        line["tax_category"] for line in scene.open(document, start=START).preview()["lines"]
    ] == [
        "saas",
        "saas",
    ]


def test_a_plan_gives_discounts_behind_its_minimum(scene: Scene) -> None:
    """K10"""
    invoice = month(scene, [used("1", 10)], minimum=50, discounts=[{"percent": 10}])
    assert (invoice["subtotal"], invoice["discount"], invoice["total"]) == (
        "50.00", "5.00", "45.00",
    )  # fmt: skip


def test_a_commitment_for_a_term_is_drawn_period_by_period(scene: Scene) -> None:
    document = catalog(p={"type": "per_unit", "unit": 1})
    commitment = {"amount": 100, "per": "term", "mode": "prepaid"}
    document["plans"]["pro"]["commitment"] = commitment
    scene.set_clock("2026-09-01T00:00:00Z")
    scene.open(document, start="2026-09-01T00:00:00Z", term="P3M")
    for number, tokens in enumerate((40, 50, 60), start=9):
        scene.set_clock(f"2026-{number:02}-10T00:00:00Z")
        scene.send(event(str(number), tokens))
    scene.set_clock("2026-12-01T00:00:00Z")
    invoices = scene.close()
    assert [kinds(one)[1:] for one in invoices] == [
        [("commitment", "100.00"), ("commitment", "-40.00")],
        [("commitment", "-50.00")],
        [("commitment", "-10.00")],
    ]
    assert sum(float(one["subtotal"]) for one in invoices) == 150
    assert all(verified(scene, one) for one in invoices)


# --- currencies -------------------------------------------------------------------------------


def in_euro(scene: Scene, prices: dict[str, Any], **more: Any) -> dict[str, Any]:
    document = catalog(**prices) | {name: more[name] for name in ("rates", "units") if name in more}
    document["plans"]["pro"] |= more.get("plan", {})
    scene.publish(document)
    scene.customer(currency="EUR")
    scene.subscribe(start=START)
    scene.send(used("1", 10))
    fare = scene.preview()
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert verified(scene, invoice)
    assert (fare["currency"], fare["subtotal"]) == (invoice["currency"], invoice["subtotal"])
    found: dict[str, Any] = invoice
    return found


def test_a_plan_says_its_amounts_in_the_currency_of_the_customer(scene: Scene) -> None:
    amounts = {"EUR": {"prices": {"p": {"unit": "0.90"}}}}
    invoice = in_euro(scene, {"p": {"type": "per_unit", "unit": 1}}, plan={"currencies": amounts})
    assert (invoice["currency"], invoice["subtotal"]) == ("EUR", "9.00")
    assert "conversions" not in invoice["lines"][0]


def test_what_it_does_not_say_is_converted_by_the_rate_at_the_end_of_the_period(
    scene: Scene,
) -> None:
    rates = [
        {"from": "USD", "to": "EUR", "rate": "0.92"},
        {"from": "USD", "to": "EUR", "rate": "0.935", "effective_at": "2026-11-30T00:00:00Z"},
        {"from": "USD", "to": "EUR", "rate": "2", "effective_at": "2026-12-01T00:00:00Z"},
    ]
    invoice = in_euro(scene, {"p": {"type": "per_unit", "unit": "0.11"}}, rates=rates)
    (line,) = invoice["lines"]
    assert (invoice["currency"], line["amount"]) == ("EUR", "1.03")  # 1.10 x 0.935 = 1.0285
    assert line["conversions"] == [
        {
            "from": "USD",
            "to": "EUR",
            "rate": "0.935",
            "effective_at": "2026-11-30T00:00:00Z",
            "catalog_version": 1,
        }
    ]


def test_a_price_in_a_custom_unit_is_converted_at_its_line(scene: Scene) -> None:
    price = {"type": "per_unit", "unit": 3, "priced_in": "credit"}
    units = {"credit": {"USD": "0.01", "EUR": "0.009"}}
    amounts: dict[str, Any] = {"EUR": {}}
    invoice = in_euro(scene, {"p": price}, units=units, plan={"currencies": amounts})
    (line,) = invoice["lines"]
    assert (line["tiers"][0]["unit"], line["amount"]) == ("3.00", "0.27")
    assert line["conversions"][0]["from"] == "credit"


def test_a_price_says_how_it_is_taxed(scene: Scene) -> None:
    (line,) = bill(scene, {"type": "per_unit", "unit": 1, "tax_category": "saas"}, [used("1", 1)])
    assert line["tax_category"] == "saas"


@pytest.mark.parametrize(
    "overrides",
    [
        {"minimum": 50},
        {"commitment": {"amount": 50}},
        {"prices": {"p": {"type": "flat", "amount": 50}}},
        {"prices": {"s": {"type": "seat", "feature": "seats", "unit": 10, "mode": "peak"}}},
    ],
)
def test_a_contract_can_override_what_the_plan_says_of_an_invoice(
    scene: Scene, overrides: dict[str, Any]
) -> None:
    scene.publish(catalog(p={"type": "per_unit", "unit": 1}))
    scene.customer()
    scene.subscribe(start=START, overrides=overrides)
    assert scene.preview()["subtotal"] == "50.00"


# --- explained event by event -----------------------------------------------------------------


MORNING = {"from": "00:00", "to": "12:00", "factor": 3}


@pytest.mark.parametrize(
    "price",
    [
        {"type": "percentage", "rate": "0.1", "min_per_event": 1, "max_per_event": 9},
        {"type": "per_unit", "unit": 1, "time_of_day": [MORNING]},
        {"type": "cost_plus", "markup": "0.5"},
    ],
)  # fmt: skip
def test_the_shares_of_a_lines_events_are_its_amount(scene: Scene, price: dict[str, Any]) -> None:
    lines = bill(scene, price, [used("1", 1), used("2", 40), used("3", 1000)])
    line = next(one for one in lines if one["lineage"]["events"])
    (invoice,) = scene.ask("GET", "/v1/invoices")["items"]
    path = f"/v1/invoices/{invoice['id']}/lines/{line['id']}/rated"
    first = scene.ask("GET", path, limit=2)
    last = scene.ask("GET", path, limit=2, cursor=first["next"])
    shares = [Decimal(one["amount"]) for one in (*first["items"], *last["items"])]
    assert len(shares) == 3
    assert sum(shares) == Decimal(line["amount"])


def test_a_prepaid_commitment_is_billed_when_it_begins_where_fees_are(scene: Scene) -> None:
    """K10: and the period's own invoice does not have it again."""
    document = catalog(p={"type": "per_unit", "unit": 1})
    document["plans"]["pro"]["commitment"] = {"amount": 50, "mode": "prepaid"}
    scene.ask("PUT", "/v1/billing/settings", {"advance_fees": "ahead"})
    scene.set_clock("2026-11-01T00:00:00Z")
    scene.open(document, start=START)
    (first,) = scene.close()
    assert kinds(first) == [("commitment", "50.00")]
    scene.send(event("1", 20))
    scene.set_clock("2026-12-01T00:00:00Z")
    (second,) = scene.close()
    assert kinds(second) == [("usage", "20.00"), ("commitment", "-20.00"), ("commitment", "50.00")]
    assert all(verified(scene, one) for one in (first, second))


def test_a_simulation_draws_from_a_commitment_period_by_period(scene: Scene) -> None:
    """It is paid in the period that runs, and those to come draw from it."""
    document = catalog(p={"type": "per_unit", "unit": 1})
    document["plans"]["pro"]["commitment"] = {"amount": 100, "per": "term", "mode": "prepaid"}
    scene.publish(document)
    body = {"plan": "pro", "usage": {"tokens": "40"}, "periods": 4}
    answer = scene.ask("POST", "/v1/simulations", body)
    assert [kinds(one)[1:] for one in answer["invoices"]] == [
        [("commitment", "-40.00")],
        [("commitment", "-40.00")],
        [("commitment", "-20.00")],
        [],
    ]
