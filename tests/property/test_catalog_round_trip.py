"""Random catalogues: read, dump, read again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
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


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    meters = {key: draw(meter_documents) for key in draw(st.sets(KEYS, min_size=1))}
    feature = st.one_of(
        st.just({"type": "boolean"}),
        st.builds(dict, type=st.just("metered"), meter=st.sampled_from(sorted(meters))),
        st.builds(dict, type=st.just("static"), value_type=st.sampled_from(["integer", "json"])),
    )
    features = {key: draw(feature) for key in draw(st.sets(KEYS))}
    usage = st.fixed_dictionaries(
        {"type": st.just("per_unit"), "meter": st.sampled_from(sorted(meters)), "unit": amounts},
        optional={"free": amounts, "group_by": st.sampled_from([["x"], []]), "filter": filters},
    )
    flat = st.fixed_dictionaries({"type": st.just("flat"), "amount": amounts})
    plan = st.fixed_dictionaries(
        {
            "currency": st.sampled_from(["USD", "JPY"]),
            "entitlements": st.fixed_dictionaries(
                {}, optional={key: entitlements(one) for key, one in features.items()}
            ),
            "prices": st.dictionaries(KEYS, usage | flat, max_size=3),
        },
        optional={"cadence": st.sampled_from(["day", "year"])},
    )
    return {
        "meters": meters,
        "features": features,
        "plans": draw(st.dictionaries(KEYS, plan, max_size=2)),
    }


meter_documents = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["t", "u"]),
        "aggregation": st.sampled_from(["count", "sum", "unique", "last"]),
        "value": st.sampled_from(["data.a", "data.a.b"]),
        "dimensions": st.just({"x": "data.x"}),
    },
    optional={"filter": filters, "unit": st.just("token")},
)


def entitlements(feature: dict[str, Any]) -> st.SearchStrategy[Any]:
    if feature["type"] == "boolean":
        return st.booleans()
    if feature["type"] == "metered":
        return st.fixed_dictionaries(
            {}, optional={"limit": amounts, "enforcement": st.sampled_from(["hard", "soft"])}
        )
    if feature["value_type"] == "integer":
        return st.integers(-(10**20), 10**20)
    return st.recursive(
        st.sampled_from([True, "x", 7, Decimal("0.5"), "é\n"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
        max_leaves=4,
    )


@given(documents())
def test_a_dumped_catalogue_reads_as_itself(document: dict[str, Any]) -> None:
    catalog = parse_catalog(document)
    canonical = canonical_document(catalog)
    assert parse_catalog(dump_catalog(catalog)) == catalog
    assert parse_catalog(read_document(canonical, "json")) == catalog
    assert canonical_document(parse_catalog(read_document(canonical, "json"))) == canonical


@given(documents(), documents())
def test_there_is_a_difference_exactly_when_the_bytes_differ(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = parse_catalog(one), parse_catalog(other)
    same = canonical_document(before) == canonical_document(after)
    assert (diff(before, after) == []) is same
    assert diff(before, before) == []


@given(documents(), documents())
def test_a_difference_back_undoes_the_difference_there(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = parse_catalog(one), parse_catalog(other)
    there = [(change.path, change.before, change.after) for change in diff(before, after)]
    back = [(change.path, change.after, change.before) for change in diff(after, before)]
    assert there == back


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
        ]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(junk)
def test_any_document_is_read_or_refused_with_problems(document: Any) -> None:
    try:
        parse_catalog(document)
    except DocumentInvalid as error:
        problems = error.problems
    else:
        problems = ()
    assert len({str(problem) for problem in problems}) == len(problems)
