"""Random catalogues: read, dump, read again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import patient
from tests.property.meter_strategies import filters

from taximeter.catalog.counters import counters_of
from taximeter.catalog.diff import diff
from taximeter.catalog.document import canonical_document, dump_catalog, parse_catalog
from taximeter.catalog.yaml_reader import read_document
from taximeter.meters.cells import Layout
from taximeter.meters.reading import DocumentInvalid

KEYS = st.sampled_from(["a", "b-1", "c.d", "E_f"])
amounts = st.one_of(
    st.integers(0, 100),
    st.decimals(0, 9, places=3),
    st.decimals(0, 9, places=12).map(lambda amount: format(amount, "f")),
)


tiers = st.sampled_from([[{"up_to": 5}, {}], [{}]])
transforms = st.builds(
    dict, divide_by=st.sampled_from([1000, "0.5"]), round=st.sampled_from(["up", "half_up", "none"])
)
models = st.one_of(
    st.builds(dict, type=st.just("per_unit"), unit=amounts),
    st.builds(
        lambda kind, bounds, unit: {"type": kind, "tiers": [b | {"unit": unit} for b in bounds]},
        st.sampled_from(["graduated", "volume"]),
        tiers,
        amounts,
    ),
    st.builds(
        lambda bounds, flat: {"type": "stairstep", "tiers": [b | {"flat": flat} for b in bounds]},
        tiers,
        amounts,
    ),
    st.builds(dict, type=st.just("package"), size=st.integers(1, 9), amount=amounts),
    st.builds(dict, type=st.just("cost_plus"), markup=amounts, costs=amounts),
    st.builds(
        lambda unit, later: {
            "type": "per_unit",
            "unit": unit,
            "ramp": [{"from_period": 2, "unit": later}, {"from_period": 5}],
        },
        amounts,
        amounts,
    ),
    st.builds(
        lambda unit, default: {
            "type": "matrix",
            "cells": [{"match": {"x": "a"}, "unit": unit}, {"match": {"x": 1}, "unit": 0}],
            "default": default,
        },
        amounts,
        amounts,
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    meters = {key: draw(meter_documents) for key in draw(st.sets(KEYS, min_size=1, max_size=2))}
    feature = st.one_of(
        st.just({"type": "boolean"}),
        st.builds(
            dict,
            type=st.just("metered"),
            meter=st.sampled_from(sorted(meters)),
            fail=st.sampled_from(["closed", "open", "lease"]),
        ),
        st.builds(dict, type=st.just("static"), value_type=st.sampled_from(["integer", "json"])),
    )
    features = {key: draw(feature) for key in draw(st.sets(KEYS, max_size=3))}
    usage = st.fixed_dictionaries(
        {"meter": st.sampled_from(sorted(meters))},
        optional={
            "free": amounts,
            "group_by": st.sampled_from([["x"], []]),
            "filter": filters,
            "transform": transforms,
            "multipliers": st.just({"x": {"a": "1.50", "default": 2}}),
        },
    ).flatmap(lambda shared: models.map(lambda model: shared | model))
    flat = st.fixed_dictionaries({"type": st.just("flat"), "amount": amounts})
    members = {
        "currency": st.sampled_from(["USD", "JPY"]),
        "entitlements": st.fixed_dictionaries(
            {}, optional={key: entitlements(one, meters) for key, one in features.items()}
        ),
        "prices": st.dictionaries(KEYS, usage | flat, max_size=2),
    }
    plan = st.fixed_dictionaries(
        members,
        optional={
            "cadence": st.sampled_from(["day", "year"]),
            "trial": st.sampled_from([{"days": 14}, {"hours": 5}, {"hours": 48}]),
            "grants": st.dictionaries(KEYS, grants(sorted(features)), max_size=2),
        },
    )
    return {
        "meters": meters,
        "features": features,
        "plans": draw(st.dictionaries(KEYS, plan, max_size=2)),
        "addons": draw(st.dictionaries(st.sampled_from(["x", "y"]), addons(members), max_size=1)),
        "scopes": draw(
            st.permutations(["user", "key", "team"]).map(
                lambda levels: {level: f"data.{level}" for level in levels[:2]}
            )
        ),
        "credits": draw(st.dictionaries(KEYS, credit_types, max_size=2)),
    }


def addons(members: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Where a metered entitlement says how much it adds."""

    def said(document: dict[str, Any]) -> dict[str, Any]:
        for one in document["entitlements"].values():
            if isinstance(one, dict) and "credit" not in one:
                one.setdefault("limit", "unlimited")
        return document

    return st.fixed_dictionaries(members).map(said)


credit_types = st.fixed_dictionaries({}, optional={"name": st.just("Prepaid")})


def grants(features: list[str]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"credit": st.sampled_from(["usd", "tokens"]), "amount": st.integers(1, 100)},
        optional={
            "priority": st.integers(-3, 3),
            "rollover": st.sampled_from([{}, {"max": 5}]),
            "features": st.lists(st.sampled_from(features), max_size=2)
            if features
            else st.just([]),
        },
    )


meter_documents = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["t", "u"]),
        "aggregation": st.sampled_from(["count", "sum", "unique", "last"]),
        "value": st.sampled_from(["data.a", "data.a.b"]),
        "dimensions": st.just({"x": "data.x"}),
    },
    optional={"filter": filters, "unit": st.just("token")},
)


RESETS = st.sampled_from(
    ["hour", "day", "never", {"rolling": "5h"}, {"first_use": "90m"}, {"rolling": "1w"}]
)
LENGTHS = st.sampled_from(["1s", "60s", "1m", "1d"])


windows = st.fixed_dictionaries(
    {"limit": amounts, "reset": RESETS},
    optional={"enforcement": st.sampled_from(["hard", "soft"])},
)
main_limits = st.fixed_dictionaries(
    {}, optional={"limit": amounts, "enforcement": st.sampled_from(["hard", "soft"])}
)


def by_key(documents: list[Any], key: str) -> list[Any]:
    """One for each window, as a document has to have it."""
    return list({str(one.get(key)): one for one in documents}.values())


@st.composite
def metered(draw: st.DrawFn, meter: dict[str, Any]) -> dict[str, Any]:
    if meter["aggregation"] not in ("count", "sum"):
        return draw(main_limits)
    document = draw(main_limits)
    several = st.lists(windows, max_size=2)
    document["windows"] = by_key(draw(several), "reset")
    if draw(st.booleans()):
        document["per"] = {"user": by_key(draw(several), "reset")}
    rates = st.lists(
        st.fixed_dictionaries(
            {"limit": st.integers(1, 9), "per": LENGTHS}, optional={"burst": st.integers(1, 9)}
        ),
        max_size=1,
    )
    document["rate"] = draw(rates)
    if draw(st.booleans()):
        document["credit"] = "usd"
        document.setdefault("limit", 0)  # with windows it has to be said what is included
        document["cost"] = draw(amounts | st.just({"by": "x", "v": "0.5", "default": 1}))
    return document


def entitlements(
    feature: dict[str, Any], meters: dict[str, dict[str, Any]]
) -> st.SearchStrategy[Any]:
    if feature["type"] == "boolean":
        return st.booleans()
    if feature["type"] == "metered":
        return metered(meters[feature["meter"]])
    if feature["value_type"] == "integer":
        return st.integers(-(10**20), 10**20)
    return st.recursive(
        st.sampled_from([True, "x", 7, Decimal("0.5"), "é\n"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
        max_leaves=4,
    )


@patient
@given(documents())
def test_a_dumped_catalogue_reads_as_itself(document: dict[str, Any]) -> None:
    catalog = parse_catalog(document)
    canonical = canonical_document(catalog)
    assert parse_catalog(dump_catalog(catalog)) == catalog
    assert parse_catalog(read_document(canonical, "json")) == catalog
    assert canonical_document(parse_catalog(read_document(canonical, "json"))) == canonical


@patient
@given(documents(), documents())
def test_there_is_a_difference_exactly_when_the_bytes_differ(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = parse_catalog(one), parse_catalog(other)
    same = canonical_document(before) == canonical_document(after)
    assert (diff(before, after) == []) is same
    assert diff(before, before) == []


@patient
@given(documents(), documents())
def test_a_difference_back_undoes_the_difference_there(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = parse_catalog(one), parse_catalog(other)
    there = [(change.path, change.before, change.after) for change in diff(before, after)]
    back = [(change.path, change.after, change.before) for change in diff(after, before)]
    assert there == back


@patient
@given(documents())
def test_every_counter_of_a_catalogue_compiles(document: dict[str, Any]) -> None:
    catalog = parse_catalog(document)
    layout = Layout(counters_of(catalog))
    assert {counter.meter.key for counter in layout.counters} == set(catalog.meters)


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "count", "data.a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from([
            "meters", "features", "plans", "a", "type", "value", "meter", "limit", "currency",
            "prices", "entitlements", "tiers", "", "aggregation", "event_type", "dimensions",
            "reset", "windows", "per", "rate", "credit", "cost", "rollover", "grants", "scopes",
        ]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@patient
@given(junk)
def test_any_document_is_read_or_refused_with_problems(document: Any) -> None:
    try:
        parse_catalog(document)
    except DocumentInvalid as error:
        problems = error.problems
    else:
        problems = ()
    assert len({str(problem) for problem in problems}) == len(problems)
