"""Whether a usage price fits the meter it bills, and a seat price the feature it counts."""

from __future__ import annotations

from typing import Final

from taximeter.catalog.features import Feature, FeatureType
from taximeter.catalog.price_fields import read_names
from taximeter.catalog.price_models import CostPlus, Dynamic, Percentage, UsagePrice
from taximeter.meters.definition import Aggregation, Meter, is_estimate
from taximeter.meters.reading import Fields, suggestion

_ADDITIVE: Final = (Aggregation.SUM, Aggregation.COUNT)


def check_fits(fields: Fields, price: UsagePrice, meter: Meter) -> None:
    """Note what a price asks of its meter that this does not have."""
    _check_group_by(fields, price, meter)
    if _is_of_an_amount(price) and meter.aggregation is not Aggregation.SUM:
        fields.problem(
            "meter",
            f"{_name(price)} is of a sum of amounts, and {meter.key!r} is a {meter.aggregation}",
        )
    if price.time_of_day and meter.aggregation not in _ADDITIVE:
        fields.problem(
            "time_of_day",
            f"hours are parts of a sum or a count, and {meter.key!r} is a {meter.aggregation}",
        )
    if is_estimate(meter) and not price.allow_estimate:
        fields.problem(
            "meter",
            f"{price.meter!r} is an estimate (precision: sketch); bill it only with "
            "allow_estimate: true",
        )


def _is_of_an_amount(price: UsagePrice) -> bool:
    """Whether it bills amounts that events carry."""
    is_cost = isinstance(price, CostPlus) and price.costs is None
    return is_cost or isinstance(price, Percentage | Dynamic)


def _name(price: UsagePrice) -> str:
    return {Percentage: "a percentage", Dynamic: "a dynamic price"}.get(type(price), "a cost")


def _check_group_by(fields: Fields, price: UsagePrice, meter: Meter) -> None:
    """Every dimension a price depends on, once, at the member that names it."""
    named = read_names(fields.members.get("group_by"), "group_by")
    for name in price.group_by:
        if name not in meter.dimensions:
            known = ", ".join(sorted(meter.dimensions)) or "none"
            hint = suggestion(name, meter.dimensions)
            member = "group_by" if name in named else "cells"
            if isinstance(price, CostPlus):
                member = "costs.by"
            if any(one.dimension == name for one in price.multipliers):
                member = f"multipliers.{name}"
            fields.problem(
                member,
                f"meter {meter.key!r} has no dimension {name!r}{hint} (it has: {known})",
            )


def counts_seats(feature: Feature) -> bool:
    return feature.type is FeatureType.STATIC and feature.value_type == "integer"
