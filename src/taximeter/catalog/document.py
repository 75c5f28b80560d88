"""
The catalogue: meters, features and plans, as one document that people write and review.

`parse_catalog` reads all of it or nothing, and names every problem with its path. What is unknown
is refused, never ignored: a plan that silently lost its discount would bill the wrong amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from taximeter.catalog.entitlements import dump_entitlement, parse_entitlement
from taximeter.catalog.features import (
    Entitlement,
    Feature,
    MeteredEntitlement,
    dump_feature,
    parse_feature,
)
from taximeter.catalog.plan_terms import (
    dump_amounts,
    dump_commitment,
    dump_discount,
    read_bounds,
    read_commitment,
    read_currencies,
    read_discounts,
)
from taximeter.catalog.plans import (
    CreditType,
    PlanGrant,
    dump_credit_type,
    dump_grant,
    dump_trial,
    read_credit_type,
    read_grant,
    read_trial,
)
from taximeter.catalog.plans import (
    Plan as Plan,
)
from taximeter.catalog.price_checks import check_fits, counts_seats
from taximeter.catalog.prices import (
    Price,
    Seat,
    UsagePrice,
    dump_price,
    parse_price,
)
from taximeter.catalog.rates import Rates, dump_rates, read_rates
from taximeter.catalog.rules import MAX_RULES, Known, Rule, dump_rule, read_rule
from taximeter.catalog.scopes import dump_scopes, read_scopes
from taximeter.errors import Rejected
from taximeter.meters.definition import Meter, dump_meter, parse_meter
from taximeter.meters.filters import parse_filter
from taximeter.meters.reading import DocumentInvalid, Fields, Problem, below, suggestion
from taximeter.meters.values import canonical_text
from taximeter.money import exponent, format_exact
from taximeter.periods import Cadence

MAX_MEMBERS: Final = 1000
"""Of each mapping from keys: meters, features, plans, and a plan's prices and entitlements."""

PLAN_MEMBERS: Final = (
    "currency", "cadence", "trial", "entitlements", "prices", "grants", "minimum", "maximum",
    "commitment", "discounts", "currencies",
)  # fmt: skip


class Catalog(msgspec.Struct, frozen=True):
    """
    A whole document whose references all lead somewhere. Members are sorted by key, so that
    equal catalogues have equal bytes whatever order they were written in.

    Attributes:
        scopes: Levels below the customer -> path of their value in an event, outermost first.
    """

    meters: dict[str, Meter] = {}
    features: dict[str, Feature] = {}
    plans: dict[str, Plan] = {}
    scopes: dict[str, str] = {}
    credits: dict[str, CreditType] = {}
    addons: dict[str, Plan] = {}
    rules: dict[str, Rule] = {}
    rates: Rates = Rates()


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
    document: dict[str, Any] = {
        "meters": {key: dump_meter(meter) for key, meter in catalog.meters.items()},
        "features": {key: dump_feature(feature) for key, feature in catalog.features.items()},
        "plans": {key: dump_plan(plan) for key, plan in catalog.plans.items()},
    }
    if catalog.scopes:
        document["scopes"] = dump_scopes(catalog.scopes)
    if catalog.credits:
        document["credits"] = {k: dump_credit_type(one) for k, one in catalog.credits.items()}
    if catalog.addons:
        document["addons"] = {key: dump_plan(addon) for key, addon in catalog.addons.items()}
    if catalog.rules:
        document["rules"] = {key: dump_rule(rule) for key, rule in catalog.rules.items()}
    return document | dump_rates(catalog.rates)


def canonical_document(catalog: Catalog) -> bytes:
    """The document as canonical JSON: equal catalogues have equal bytes."""
    return canonical_text(dump_catalog(catalog)).encode()


def dump_plan(plan: Plan) -> dict[str, Any]:
    """One member of `plans`, or of `addons`."""
    document: dict[str, Any] = {} if plan.is_addon else {"cadence": plan.cadence.value}
    if plan.currency:
        document["currency"] = plan.currency
    if plan.trial_us is not None:
        document["trial"] = dump_trial(plan.trial_us)
    document["entitlements"] = {k: dump_entitlement(one) for k, one in plan.entitlements.items()}
    document["prices"] = {key: dump_price(price) for key, price in plan.prices.items()}
    if plan.grants:
        document["grants"] = {key: dump_grant(grant) for key, grant in plan.grants.items()}
    if plan.minimum is not None:
        document["minimum"] = format_exact(plan.minimum)
    if plan.maximum is not None:
        document["maximum"] = format_exact(plan.maximum)
    if plan.commitment is not None:
        document["commitment"] = dump_commitment(plan.commitment)
    if plan.discounts:
        document["discounts"] = [dump_discount(one) for one in plan.discounts]
    if plan.currencies:
        document["currencies"] = {
            code: dump_amounts(amounts, plan.prices) for code, amounts in plan.currencies.items()
        }
    return document


def reread_plan(catalog: Catalog, key: str, document: dict[str, Any], path: str) -> Plan:
    """
    Read a plan against the meters and features of a catalogue that exists.

    Raises:
        DocumentInvalid: With every problem, below `path`.
    """
    reader = _Reader()
    reader.meters, reader.declared_meters = catalog.meters, frozenset(catalog.meters)
    reader.features, reader.declared_features = catalog.features, frozenset(catalog.features)
    reader.scopes, reader.rates = catalog.scopes, catalog.rates
    plan = reader.plan(key, document, path)
    if reader.problems:
        raise DocumentInvalid(reader.problems)
    return plan


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
        self.scopes: dict[str, str] = {}
        self.rates = Rates()

    def catalog(self, document: Mapping[str, Any]) -> Catalog:
        top = Fields(document, "", self.problems)
        top.only(
            (
                "meters",
                "features",
                "plans",
                "scopes",
                "credits",
                "addons",
                "rules",
                "rates",
                "units",
            )
        )
        self.scopes = read_scopes(top)
        self.rates = read_rates(top)
        credits = {
            key: read_credit_type(key, Fields(one, f"credits.{key}", self.problems))
            for key, one in _section(top, "credits").items()
        }
        self._read_meters(_section(top, "meters"))
        self._read_features(_section(top, "features"))
        plans = {
            key: self.plan(key, one, f"plans.{key}") for key, one in _section(top, "plans").items()
        }
        addons = {
            key: self.addon(key, one, f"addons.{key}")
            for key, one in _section(top, "addons").items()
        }
        for key in addons.keys() & plans.keys():
            top.problem(f"addons.{key}", "there is a plan by this key, and names must be distinct")
        rules = self._rules(top, plans)
        if self.problems:
            raise DocumentInvalid(self.problems)
        return Catalog(
            self.meters, self.features, plans, self.scopes, credits, addons, rules, self.rates
        )

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

    def _rules(self, top: Fields, plans: dict[str, Plan]) -> dict[str, Rule]:
        section = _section(top, "rules")
        if len(section) > MAX_RULES:
            top.problem("rules", f"has {len(section)} members, at most {MAX_RULES} are allowed")
        known = Known(self.declared_features, self.features, self.meters, plans)
        fields = top.inside("rules", section)
        rules: dict[str, Rule] = {}
        for key, document in section.items():
            rule = read_rule(key, fields.inside(key, document), known)
            if rule is not None:
                rules[key] = rule
        return rules

    def plan(self, key: str, document: object, path: str) -> Plan:
        """Read a plan; problems are noted below `path`."""
        fields = Fields(document, path, self.problems)
        fields.only(PLAN_MEMBERS)
        cadence = fields.choice("cadence", Cadence, default=Cadence.MONTH)
        currency = _currency(fields)
        prices = self._prices(fields, currency)
        minimum, maximum = read_bounds(fields)
        commitment = read_commitment(fields, prices)
        discounts = read_discounts(fields, prices)
        return Plan(
            key=key,
            currency=currency,
            cadence=Cadence(cadence or Cadence.MONTH),
            entitlements=self._entitlements(fields),
            prices=prices,
            trial_us=read_trial(fields),
            grants=self._grants(fields),
            minimum=minimum,
            maximum=maximum,
            commitment=commitment,
            discounts=discounts,
            currencies=read_currencies(
                fields,
                currency,
                prices,
                self.rates,
                [
                    name
                    for name, found in (
                        ("minimum", minimum is not None),
                        ("maximum", maximum is not None),
                        ("commitment", commitment is not None),
                        ("discounts", any(one.amount is not None for one in discounts)),
                    )
                    if found
                ],
            ),
        )

    def addon(self, key: str, document: object, path: str) -> Plan:
        """Read an add-on; problems are noted below `path`."""
        fields = Fields(document, path, self.problems)
        fields.only(("currency", "entitlements", "prices", "grants", "currencies"))
        has_prices = bool(fields.members.get("prices"))
        currency = _currency(fields) if has_prices or "currency" in fields.members else ""
        prices = self._prices(fields, currency)
        return Plan(
            key=key,
            currency=currency,
            cadence=Cadence.MONTH,
            entitlements=self._added_entitlements(fields),
            prices=prices,
            grants=self._grants(fields),
            is_addon=True,
            currencies=read_currencies(fields, currency, prices, self.rates, []),
        )

    def _grants(self, plan: Fields) -> dict[str, PlanGrant]:
        section = _section(plan, "grants")
        fields = plan.inside("grants", section)
        grants: dict[str, PlanGrant] = {}
        for key, document in section.items():
            grant = read_grant(key, fields.inside(key, document), self.declared_features)
            if grant is not None:
                grants[key] = grant
        return grants

    def _entitlements(self, plan: Fields) -> dict[str, Entitlement]:
        entitlements: dict[str, Entitlement] = {}
        section = _section(plan, "entitlements")
        fields = plan.inside("entitlements", section)
        for key, document in section.items():
            feature = self.features.get(key)
            if feature is not None:
                meter = None if feature.meter is None else self.meters.get(feature.meter)
                entitlement = parse_entitlement(feature, meter, document, fields, self.scopes)
                if entitlement is not None:
                    entitlements[key] = entitlement
            elif key not in self.declared_features:
                hint = suggestion(key, self.declared_features)
                fields.problem(key, f"there is no feature {key!r}{hint}")
        return entitlements

    def _added_entitlements(self, addon: Fields) -> dict[str, Entitlement]:
        """Of an add-on, where to leave out a limit could mean to add nothing or to lift it."""
        entitlements = self._entitlements(addon)
        for key, document in addon.members.get("entitlements", {}).items():
            one = entitlements.get(key)
            if (
                isinstance(one, MeteredEntitlement)
                and one.is_unlimited
                and "limit" not in (document)
            ):
                addon.problem(
                    f"entitlements.{key}.limit",
                    "is required in an add-on: the quantity it adds (0 for none), or 'unlimited'",
                )
        return entitlements

    def _prices(self, plan: Fields, currency: str) -> dict[str, Price]:
        prices: dict[str, Price] = {}
        section = _section(plan, "prices")
        for key, document in section.items():
            fields = plan.inside("prices", section).inside(key, document)
            if not isinstance(document, dict):
                continue
            try:
                price = parse_price(key, document, fields.path)
            except Rejected as error:
                where, _, text = error.message.partition(": ")
                self.problems.append(Problem(where, text))
                continue
            self._check_price(fields, price)
            self._check_unit(fields, price, currency)
            prices[key] = price
        return prices

    def _check_price(self, fields: Fields, price: Price) -> None:
        if isinstance(price, Seat):
            self._check_seats(fields, price)
        if not isinstance(price, UsagePrice):
            return
        self._check_meter(fields, price.meter)
        if price.meter in self.meters:
            check_fits(fields, price, self.meters[price.meter])
        if price.filter is not None:
            try:
                parse_filter(price.filter)
            except Rejected as error:
                fields.problem("filter", error.message)

    def _check_seats(self, fields: Fields, price: Seat) -> None:
        feature = self.features.get(price.feature)
        if price.feature not in self.declared_features:
            hint = suggestion(price.feature, self.declared_features)
            fields.problem("feature", f"there is no feature {price.feature!r}{hint}")
        elif feature is not None and not counts_seats(feature):
            fields.problem(
                "feature",
                f"{price.feature!r} counts no seats: they are a static feature, value_type integer",
            )

    def _check_unit(self, fields: Fields, price: Price, currency: str) -> None:
        unit = price.priced_in
        if unit is None or not currency:
            return
        if unit not in self.rates.units:
            hint = suggestion(unit, self.rates.units)
            fields.problem("priced_in", f"there is no unit {unit!r} in units{hint}")
        elif self.rates.find(unit, currency, 0) is None:
            fields.problem("priced_in", f"unit {unit!r} has no rate to {currency} in units")

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


def _currency(fields: Fields) -> str:
    code = fields.text("currency", required=True)
    if code is None:
        return ""
    try:
        exponent(code)
    except Rejected as error:
        fields.problem("currency", error.message)
    return code
