"""Differences between two catalogues, as a person reads them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.test_catalog_document import SAMPLE, changed

from taximeter.catalog.diff import diff
from taximeter.catalog.document import Catalog, parse_catalog


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(change) for change in diff(parse_catalog(before), parse_catalog(after))]


def test_equal_catalogues_have_no_difference() -> None:
    assert lines(SAMPLE, changed("plans/pro/entitlements/chat/limit", "1000000.0")) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("plans/pro/prices/base/amount", 59, '~ plans.pro.prices.base.amount: "49" -> "59"'),
        ("plans/pro/entitlements/export", False, "~ plans.pro.entitlements.export: true -> false"),
        ("plans/pro/entitlements/seats", None, "- plans.pro.entitlements.seats: 5"),
        ("features/sso", {"type": "boolean"}, '+ features.sso: {"type":"boolean"}'),
        (
            "plans/pro/prices/tokens/tiers",
            [{"up_to": 1000, "unit": "0.10"}, {"unit": "0.07"}],
            '~ plans.pro.prices.tokens.tiers[1].unit: "0.08" -> "0.07"',
        ),
        ("meters/input_tokens/unit", "token", '+ meters.input_tokens.unit: "token"'),
        (
            "meters/input_tokens/dimensions/region",
            "data.region",
            '+ meters.input_tokens.dimensions.region: "data.region"',
        ),
        (
            "meters/input_tokens/aggregation",
            "max",
            '~ meters.input_tokens.aggregation: "sum" -> "max"  (re-folds history)',
        ),
        (
            "meters/input_tokens/filter",
            "data.cached != true",
            '+ meters.input_tokens.filter: "data.cached != true"  (re-folds history)',
        ),
        (
            "meters/input_tokens/dimensions/model",
            "data.model_name",
            (
                '~ meters.input_tokens.dimensions.model: "data.model" -> "data.model_name"'
                "  (re-folds history)"
            ),
        ),
    ],
)
def test_a_change_is_one_line(path: str, value: Any, line: str) -> None:
    assert lines(SAMPLE, changed(path, value)) == [line]


def test_tiers_of_another_number_are_one_change() -> None:
    (line,) = lines(SAMPLE, changed("plans/pro/prices/tokens/tiers", [{"unit": "0.07"}]))
    assert line.startswith('~ plans.pro.prices.tokens.tiers: [{"unit":"0.1","up_to":"1000"}')


def test_only_the_members_that_redefine_a_meter_re_fold_its_history() -> None:
    document = changed("meters/input_tokens/value", "data.output_tokens")
    document["meters"]["input_tokens"]["unit"] = "token"
    changes = diff(parse_catalog(SAMPLE), parse_catalog(document))
    assert [(change.path, change.refolds) for change in changes] == [
        ("meters.input_tokens.unit", False),
        ("meters.input_tokens.value", True),
    ]


def test_the_first_catalogue_adds_everything() -> None:
    changes = diff(Catalog(), parse_catalog(SAMPLE))
    assert {change.kind for change in changes} == {"added"}
    assert [change.path for change in changes] == [
        "features.chat",
        "features.export",
        "features.image",
        "features.seats",
        "meters.images",
        "meters.input_tokens",
        "plans.pro",
    ]


def test_a_rate_that_is_added_is_one_change_however_many_there_are() -> None:
    rates = [{"from": "USD", "to": "EUR", "rate": "0.92"}]
    later = {"from": "USD", "to": "EUR", "rate": "0.93", "effective_at": "2026-12-01T00:00:00Z"}
    units = {"credit": {"USD": "0.01"}}
    before = SAMPLE | {"rates": rates, "units": units}
    assert lines(before, before | {"rates": [*rates, later]}) == [
        '+ rates.USD.EUR.2026-12-01T00:00:00Z: "0.93"'
    ]
    assert lines(before, before | {"units": {"credit": {"USD": "0.02"}}}) == [
        '~ units.credit.USD.always: "0.01" -> "0.02"'
    ]
