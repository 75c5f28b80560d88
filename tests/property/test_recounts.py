"""Recounts of many meters in one pass, and the digests that prove them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.event_store_world import InProcess, entry, leaf, slow_recount
from tests.property.effort import FULL

from taximeter.adapters.store import proofs
from taximeter.invoices.lineage import merkle_digest
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.kinds import Mode, Per
from taximeter.periods import Period
from taximeter.ports import LineScope, Recount
from taximeter.quantities import E12

SOME = settings(max_examples=300 if FULL else 6, deadline=None)
START = 1_795_132_800_000_000  # 2026-11-20T00:00:00Z
TIMES = ("2026-11-19T23:59:58Z", "2026-11-20T00:00:00Z", "2026-11-20T00:00:02Z", None)
PERIODS = (Period(0, 2**60), Period(START, START + 10**6), Period(START + 1, START + 1))

SPECIAL = "".join(map(chr, range(33))) + '"\\/\x7f\u2028\u2029\ufeff😀\uffff'
hostile = st.text(st.sampled_from(SPECIAL + "aé"), max_size=6)
items = st.fixed_dictionaries(
    {
        "id": hostile.map(lambda text: text + "x"),
        "source": hostile,
        "type": st.sampled_from(["t", "t", 'u"\x1b']),
        "subject": st.sampled_from(["s1", 's"2\\', "s\x1f3"]),
        "time": st.sampled_from(TIMES),
        "data": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"n": st.one_of(st.integers(-3, 9), st.sampled_from(["2.5", "x", True]))},
                optional={"model": hostile},
            ),
        ),
    }
)
batches = st.lists(st.lists(items, min_size=1, max_size=10), min_size=1, max_size=3)

DIMENSIONS = {"model": "data.model"}
METERS = (
    Meter("sum", "t", Aggregation.SUM, "data.n", DIMENSIONS),
    Meter("peak", "t", Aggregation.MAX, "data.n", DIMENSIONS, filter="data.n > 2"),
    Meter("calls", "t", Aggregation.COUNT, None, DIMENSIONS),
    Meter("others", 'u"\x1b', Aggregation.COUNT, None, DIMENSIONS),
    Meter("last", "t", Aggregation.LAST, "data.n", DIMENSIONS),
    Meter("kinds", "t", Aggregation.UNIQUE, "data.n", DIMENSIONS),
    Meter("half", "t", Aggregation.PERCENTILE, "data.n", DIMENSIONS, percentile_pico=50 * E12),
    Meter("level", "t", Aggregation.WEIGHTED_SUM, "data.n", mode=Mode.DELTA, per=Per.SECOND),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InProcess, Any]]:
    store = InProcess(tmp_path_factory.mktemp("store"), seal_rows=50)
    yield store, itertools.count()
    store.close()


def scopes_of(namespace: str, upto: int) -> list[LineScope]:
    return [
        LineScope(namespace, meter, subjects, period, last, further, group_by)
        for meter in METERS
        for group_by in ((), ("model",))[: 1 + bool(meter.dimensions)]
        for further in (None, "data.n != 3")
        for subjects in (("s1",), ('s"2\\', "s\x1f3", "s1"))
        for period in PERIODS
        for last in (upto, upto - 2)
    ]


@SOME
@given(batches=batches, first=st.integers(0, 10))
def test_what_is_counted_together_is_what_each_scope_alone_holds(
    world: Any, batches: Any, first: int
) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    entries = [entry(items, namespace=namespace) for items in batches]
    before = store.log.position
    upto = [store.append(one) for one in entries][-1]
    scopes = scopes_of(namespace, upto)[first::11]
    proven, bare = store.recount(scopes), store.recount(scopes, proofs=False)
    for scope, found, counted in zip(scopes, proven, bare, strict=True):
        assert [_bare(one) for one in found] == counted
        local = msgspec.structs.replace(scope, upto=scope.upto - before)
        slow = {_bare(one) for one in slow_recount(entries, local)}
        assert set(counted) == slow


@SOME
@given(batches=batches, first=st.integers(0, 10), at_once=st.sampled_from([1, 3, 10**6]))
def test_a_digest_is_the_root_over_exactly_the_lines_events(
    world: Any, batches: Any, first: int, at_once: int
) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    upto = [store.append(entry(items, namespace=namespace)) for items in batches][-1]
    scopes = scopes_of(namespace, upto)[first::31]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs, "EVENTS_A_PASS", at_once)
        for scope, found in zip(scopes, store.recount(scopes), strict=True):
            for one in found:
                events = store.line_events(scope, one.group, 0, 1000)
                assert one.digest == merkle_digest(map(leaf, events))


def _bare(one: Recount) -> Recount:
    return msgspec.structs.replace(one, digest=None)
