"""Every kind of price over HTTP: live fare, bill, proof, and each says the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    ("price", "member"),
    [
        ({"type": "seat", "feature": "seats", "unit": 10}, "type"),
        ({"type": "percentage", "rate": "0.029", "min_per_event": 1}, "min_per_event"),
    ],
)
def test_what_cannot_be_billed_yet_is_refused_by_name(
    scene: Scene, price: dict[str, Any], member: str
) -> None:
    problem = scene.ask("PUT", "/v1/catalog", catalog(p=price), status=422)
    assert problem["code"] == "catalog_invalid"
    assert f"plans.pro.prices.p.{member}: " in problem["detail"]
    assert "not supported by this version" in problem["detail"]
