"""
The catalogue: meters, features and plans, as one document that people write and review.

`parse_catalog` reads all of it or nothing, and names every problem with its path. What the format
will have but this version has not is refused, never ignored: a plan that silently lost its discount
would bill the wrong amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from taximeter.catalog.features import (
    Entitlement,
    Feature,
    dump_entitlement,
    dump_feature,
    parse_entitlement,
    parse_feature,
)
from taximeter.catalog.prices import Flat, Price, UsagePrice, dump_price, parse_price
from taximeter.errors import Rejected
from taximeter.meters.definition import Meter, dump_meter, parse_meter
from taximeter.meters.filters import parse_filter
from taximeter.meters.reading import DocumentInvalid, Fields, Problem, below, suggestion
from taximeter.meters.values import canonical_text
from taximeter.money import exponent
from taximeter.periods import Cadence

MAX_MEMBERS: Final = 1000
"""Of each mapping from keys: meters, features, plans, and a plan's prices and entitlements."""

LATER_PLAN_MEMBERS: Final = ("minimum", "commitment", "discounts", "trial")
LATER_PRICE_MEMBERS: Final = ("multipliers",)
LATER_PRICE_TYPES: Final = ("volume", "package", "stairstep", "percentage", "matrix", "seat")


class Plan(msgspec.Struct, frozen=True):
    """
    What a customer subscribes to.

    Attributes:
        currency: ISO 4217; every amount of its prices.
        cadence: Length of its billing periods.
        entitlements: By feature; a feature that is absent is not granted.
        prices: By price key, ascending; may be empty.
    """

    key: str
    currency: str
    cadence: Cadence
    entitlements: dict[str, Entitlement]
    prices: dict[str, Price]


class Catalog(msgspec.Struct, frozen=True):
    """
    A whole document whose references all lead somewhere. Members are sorted by key, so that
    equal catalogues have equal bytes whatever order they were written in.
    """

    meters: dict[str, Meter] = {}
    features: dict[str, Feature] = {}
    plans: dict[str, Plan] = {}


def parse_catalog(document: Mapping[str, Any]) -> Catalog:
    """
    Read a catalogue document: decoded JSON or YAML, numbers as int, Decimal or text.

    Raises:
        DocumentInvalid: `catalog_invalid` with every problem, one line each, like
            `plans.pro.prices.tokens.meter: there is no meter 'token', did you mean 'tokens'?`.
    """
    return _Reader().catalog(document)


def dump_catalog(catalog: Catalog) -> dict[str, Any]:
    """The canonical document `parse_catalog` reads the same catalogue from."""
    return {
        "meters": {key: dump_meter(meter) for key, meter in catalog.meters.items()},
        "features": {key: dump_feature(feature) for key, feature in catalog.features.items()},
        "plans": {key: _dump_plan(plan) for key, plan in catalog.plans.items()},
    }


def canonical_document(catalog: Catalog) -> bytes:
    """The document as canonical JSON: equal catalogues have equal bytes."""
    return canonical_text(dump_catalog(catalog)).encode()


def _dump_plan(plan: Plan) -> dict[str, Any]:
    return {
        "currency": plan.currency,
        "cadence": plan.cadence.value,
        "entitlements": {key: dump_entitlement(one) for key, one in plan.entitlements.items()},
        "prices": {key: dump_price(price) for key, price in plan.prices.items()},
    }


class _Reader:
    """
    One reading: top down, so that references are checked against what was declared.

    `declared` holds also keys whose definition has a problem of its own; one mistake is then not
    reported again wherever the key is used.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.declared_meters: frozenset[str] = frozenset()
        self.declared_features: frozenset[str] = frozenset()
        self.meters: dict[str, Meter] = {}
        self.features: dict[str, Feature] = {}

    def catalog(self, document: Mapping[str, Any]) -> Catalog:
        top = Fields(document, "", self.problems)
        top.only(("meters", "features", "plans"))
        self._read_meters(_section(top, "meters"))
        self._read_features(_section(top, "features"))
        plans = {key: self._plan(key, one) for key, one in _section(top, "plans").items()}
        if self.problems:
            raise DocumentInvalid(self.problems)
        return Catalog(self.meters, self.features, plans)

    def _read_meters(self, section: dict[str, Any]) -> None:
        self.declared_meters = frozenset(section)
        for key, document in section.items():
            try:
                self.meters[key] = parse_meter(key, document)
            except DocumentInvalid as error:
                self.problems += [
                    Problem(below(f"meters.{key}", problem.path), problem.text)
                    for problem in error.problems
                ]

    def _read_features(self, section: dict[str, Any]) -> None:
        self.declared_features = frozenset(section)
        for key, document in section.items():
            fields = Fields(document, f"features.{key}", self.problems)
            feature = parse_feature(key, fields)
            if feature is None:
                continue
            self.features[key] = feature
            if feature.meter is not None:
                self._check_meter(fields, feature.meter)

    def _plan(self, key: str, document: object) -> Plan:
        fields = Fields(document, f"plans.{key}", self.problems)
        fields.only(("currency", "cadence", "entitlements", "prices"), later=LATER_PLAN_MEMBERS)
        cadence = fields.choice("cadence", Cadence, default=Cadence.MONTH)
        return Plan(
            key=key,
            currency=_currency(fields),
            cadence=Cadence(cadence or Cadence.MONTH),
            entitlements=self._entitlements(fields),
            prices=self._prices(fields),
        )

    def _entitlements(self, plan: Fields) -> dict[str, Entitlement]:
        entitlements: dict[str, Entitlement] = {}
        section = _section(plan, "entitlements")
        fields = plan.inside("entitlements", section)
        for key, document in section.items():
            feature = self.features.get(key)
            if feature is not None:
                entitlement = parse_entitlement(feature, document, fields)
                if entitlement is not None:
                    entitlements[key] = entitlement
            elif key not in self.declared_features:
                hint = suggestion(key, self.declared_features)
                fields.problem(key, f"there is no feature {key!r}{hint}")
        return entitlements

    def _prices(self, plan: Fields) -> dict[str, Price]:
        prices: dict[str, Price] = {}
        section = _section(plan, "prices")
        for key, document in section.items():
            fields = plan.inside("prices", section).inside(key, document)
            if not isinstance(document, dict) or _is_later_price(fields):
                continue
            try:
                price = parse_price(key, document, fields.path)
            except Rejected as error:
                where, _, text = error.message.partition(": ")
                self.problems.append(Problem(where, text))
                continue
            self._check_price(fields, price)
            prices[key] = price
        return prices

    def _check_price(self, fields: Fields, price: Price) -> None:
        if isinstance(price, Flat):
            return
        self._check_meter(fields, price.meter)
        if price.meter in self.meters:
            _check_group_by(fields, price, self.meters[price.meter])
        if price.filter is not None:
            try:
                parse_filter(price.filter)
            except Rejected as error:
                fields.problem("filter", error.message)

    def _check_meter(self, fields: Fields, meter: str) -> None:
        if meter not in self.declared_meters:
            hint = suggestion(meter, self.declared_meters)
            fields.problem("meter", f"there is no meter {meter!r}{hint}")


def _section(fields: Fields, name: str) -> dict[str, Any]:
    """A mapping from keys, sorted by key."""
    members = fields.keyed(name)
    if len(members) > MAX_MEMBERS:
        fields.problem(name, f"has {len(members)} members, at most {MAX_MEMBERS} are allowed")
    return dict(sorted(members.items()))


def _check_group_by(fields: Fields, price: UsagePrice, meter: Meter) -> None:
    for name in price.group_by:
        if name not in meter.dimensions:
            known = ", ".join(sorted(meter.dimensions)) or "none"
            hint = suggestion(name, meter.dimensions)
            fields.problem(
                "group_by",
                f"meter {meter.key!r} has no dimension {name!r}{hint} (it has: {known})",
            )


def _currency(fields: Fields) -> str:
    code = fields.text("currency", required=True)
    if code is None:
        return ""
    try:
        exponent(code)
    except Rejected as error:
        fields.problem("currency", error.message)
    return code


def _is_later_price(fields: Fields) -> bool:
    """Whether the price uses what this version lacks; it is then noted as a problem."""
    later = [name for name in LATER_PRICE_MEMBERS if name in fields.members]
    for name in later:
        fields.problem(name, "not supported by this version")
    kind = fields.members.get("type")
    if isinstance(kind, str) and kind in LATER_PRICE_TYPES:
        fields.problem("type", f"{kind!r} is not supported by this version")
        return True
    return bool(later)
