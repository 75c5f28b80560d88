"""SQL over columns answers what the definitions say, for random events, filters and meters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.event_store_world import (
    InProcess,
    dumps,
    entry,
    slow_recount,
    slow_usage,
    stored,
)
from tests.property.effort import FULL
from tests.property.meter_strategies import any_meters, expressions, filter_text, filters

from taximeter.adapters.store.rows import accepted_items, stored_event
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.events.numbers import read_number
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.filters import evaluate, parse_filter
from taximeter.meters.values import canonical_text
from taximeter.periods import Period
from taximeter.ports import LineScope, UsageQuery

SOME = settings(max_examples=2_000 if FULL else 25, deadline=None)

# Numbers at and beyond the bounds of a quantity (K18), numeric texts in every spelling, and texts
# that are nearly one.
numbers = st.one_of(
    st.integers(-3, 12),
    st.integers(-(10**40), 10**40),
    st.sampled_from(["1.0", "1.50", "-0.0", "10.00", "9e2", "1e26", "-1E+25"]).map(Decimal),
    st.sampled_from(["1e-12", "1e-13", "1e60", "5e-50", "0.0000000000015"]).map(Decimal),
    st.sampled_from(["9" * 26 + "." + "9" * 12, "9" * 26 + ".5"]).map(Decimal),
)
texts = st.one_of(
    st.sampled_from(["", "a", "b", "eu", "10", "-0", "1", "1.5", "1e2", "1E-2", "1e-12", "1e-13"]),
    st.sampled_from(["01", "+1", " 1", "1 ", "1_0", "1.", ".5", "Infinity", "nan", "true", "١"]),
    st.sampled_from(["é", "😀", "\uffff", "'", '"', "#1", "{", "[", "\x00"]),
    st.sampled_from(["9" * 26, "9" * 27, "0." + "1" * 12, "0." + "1" * 13]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
NAMES = ("a", "b", "tokens", "x-y", "_0", "A", "Tokens", "a.b", "")
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=4,
)
TIMES = (
    "2026-11-19T23:59:58Z",
    "2026-11-20T00:00:00Z",
    "2026-11-20T01:00:00.5+01:00",
    "2026-11-20T00:00:02Z",
    None,
)
items = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["1", "2", "10", "a", "é", "\uffff", "😀"]),
        "type": st.sampled_from(["t", "t", "t", "other"]),
        "subject": st.sampled_from(["s1", "s2", "S1"]),
        "time": st.sampled_from(TIMES),
        "data": st.one_of(st.none(), st.dictionaries(st.sampled_from(NAMES), values, max_size=5)),
    },
    optional={"source": st.sampled_from(["", "eu"])},
)
batches = st.lists(st.lists(items, min_size=1, max_size=8), min_size=1, max_size=4)

START = 1_795_132_800_000_000  # 2026-11-20T00:00:00Z
WINDOWS = (
    (Period(0, 2 * START),),
    (Period(START, START + 1), Period(START + 1, START + 600_000), Period(START + 10**6, 2**60)),
)
DIMENSIONS = {"model": "data.b", "who": "subject", "deep": "data.a.b", "big": "data.A"}
PLACES = ("data.tokens", "data.a", "data.a.tokens", "data.Tokens", "subject")
meters = any_meters(("t",), PLACES, DIMENSIONS)
groupings = st.lists(st.sampled_from(["model", "who", "deep", "big"]), max_size=2, unique=True).map(
    tuple
)


class Shared:
    """One store for all examples, each in a namespace of its own: opening one is what is slow."""

    def __init__(self, directory: Path) -> None:
        self.store = InProcess(directory, seal_rows=200)
        self._names = itertools.count()

    def add(self, batches: list[list[dict[str, Any]]]) -> tuple[str, int, list[Entry]]:
        """The namespace, the position before it, and its entries."""
        namespace, before = f"n{next(self._names)}", self.store.log.position
        entries = [entry(items, namespace=namespace) for items in batches]
        for one in entries:
            self.store.append(one)
        return namespace, before, entries


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    opened = Shared(tmp_path_factory.mktemp("store"))
    yield opened
    opened.store.close()


@SOME
@given(batches=batches, meter=meters, further=filters, group_by=groupings, data=st.data())
def test_usage_is_what_folding_each_event_gives(
    shared: Shared, batches: Any, meter: Meter, further: str | None, group_by: Any, data: Any
) -> None:
    namespace, before, entries = shared.add(batches)
    last = data.draw(st.integers(0, sum(map(len, batches))))
    query = UsageQuery(
        namespace,
        meter,
        data.draw(st.sampled_from(WINDOWS)),
        last,
        data.draw(st.sampled_from([None, ("s1",), ("s2", "S1", "x")])),
        group_by,
        further,
    )
    expected = slow_usage(entries, query)
    rows = shared.store.usage(msgspec.structs.replace(query, upto=before + last))
    assert len(rows) == len(set(rows))
    assert set(rows) == expected


@SOME
@given(batches=batches, expression=expressions)
def test_a_filter_selects_the_same_events_in_sql(
    shared: Shared, batches: Any, expression: Any
) -> None:
    namespace, before, entries = shared.add(batches)
    text = filter_text(expression)
    parsed = parse_filter(text)
    upto = before + sum(map(len, batches))
    scope = LineScope(
        namespace,
        Meter("m", "t", Aggregation.COUNT),
        ("s1", "s2", "S1"),
        Period(0, 2 * START),
        upto,
        text,
    )
    selected = {one.seq - before for one in shared.store.line_events(scope, (), 0, 1000)}
    assert selected == {
        one.seq
        for _, one in stored(entries)
        if one.event.type == "t" and evaluate(parsed, one.event)
    }


LITERALS = ["0", "-3", "1.5", "9" * 30, "0.0000000000015", "1" + "0" * 60, "0." + "0" * 49 + "5"]


@SOME
@given(
    batches=batches,
    op=st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    literal=st.sampled_from(LITERALS),
    path=st.sampled_from(["data.a", "data.tokens", "data.A"]),
)
def test_numbers_beyond_a_quantity_compare_by_exact_value(
    shared: Shared, batches: Any, op: str, literal: str, path: str
) -> None:
    namespace, before, entries = shared.add(batches)
    text = f"{path} {op} {literal}"
    upto = before + sum(map(len, batches))
    meter = Meter("m", "t", Aggregation.COUNT, filter=text)
    query = UsageQuery(namespace, meter, WINDOWS[0], upto)
    assert set(shared.store.usage(query)) == slow_usage(entries, query)


@SOME
@given(batches=batches, meter=meters, further=filters, group_by=groupings)
def test_a_recount_is_what_folding_each_event_gives(
    shared: Shared, batches: Any, meter: Meter, further: str | None, group_by: Any
) -> None:
    namespace, before, entries = shared.add(batches)
    upto = before + sum(map(len, batches))
    scopes = [
        LineScope(namespace, meter, subjects, period, upto, further, group_by)
        for subjects in (("s1",), ("s2", "S1"))
        for period in WINDOWS[1]
    ]
    for scope, found in zip(scopes, shared.store.recount(scopes), strict=True):
        expected = {msgspec.structs.replace(one, digest="") for one in slow_recount(entries, scope)}
        assert {msgspec.structs.replace(one, digest="") for one in found} == expected
        for one in found:
            assert one.events == len(shared.store.line_events(scope, one.group, 0, 1000))


@SOME
@given(data=st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_stored_data_is_canonical_and_comes_back_equal(data: dict[str, Any]) -> None:
    item = dumps({"id": "a", "type": "t", "subject": "s", "data": data})
    one = Entry("n", 0, Format.OBJECT, b"\0", item.encode())
    (decoded,) = accepted_items(one)
    text = msgspec.json.encode(decoded.data, order="sorted").decode()
    expected = msgspec.json.Decoder(float_hook=read_number).decode(item)["data"]
    event = stored_event((1, 0, 0, "a", "", "t", "s", text)).event
    assert event.data == expected
    assert text == canonical_text(expected)
