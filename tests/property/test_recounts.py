"""Recounts of many meters in one pass, and the digests that prove them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace
from tests.contract.event_store_world import RECEIVED_AT, InProcess, entry, leaf, slow_recount
from tests.property.effort import FULL

from taximeter.adapters.store import proofs
from taximeter.adapters.store.remembered import Remembered
from taximeter.adapters.store.sql import Total
from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import Change, Why
from taximeter.events.envelope import Event
from taximeter.invoices.lineage import merkle_digest
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.kinds import Mode, Per
from taximeter.periods import Period
from taximeter.ports import LineScope, Recount
from taximeter.quantities import E12

SOME = settings(max_examples=300 if FULL else 4, deadline=None)
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
@given(batches=batches, first=st.integers(0, 22))
def test_what_is_counted_together_is_what_each_scope_alone_holds(
    world: Any, batches: Any, first: int
) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    entries = [entry(items, namespace=namespace) for items in batches]
    before = store.log.position
    upto = [store.append(one) for one in entries][-1]
    scopes = scopes_of(namespace, upto)[first::23]
    bare, proven = store.recount(scopes, proofs=False), store.recount(scopes)
    for scope, found, counted in zip(scopes, proven, bare, strict=True):
        assert [_bare(one) for one in found] == counted
        local = replace(scope, upto=scope.upto - before)
        slow = {_bare(one) for one in slow_recount(entries, local)}
        assert set(counted) == slow


@SOME
@given(batches=batches, first=st.integers(0, 22), at_once=st.sampled_from([1, 3, 10**6]))
def test_a_digest_is_the_root_over_exactly_the_lines_events(
    world: Any, batches: Any, first: int, at_once: int
) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    upto = [store.append(entry(items, namespace=namespace)) for items in batches][-1]
    scopes = scopes_of(namespace, upto)[first::37]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs, "EVENTS_A_PASS", at_once)
        for scope, found in zip(scopes, store.recount(scopes), strict=True):
            for one in found:
                events = store.line_events(scope, one.group, 0, 1000)
                assert one.digest == merkle_digest(map(leaf, events))


@SOME
@given(batches=batches, later=batches, retracted=st.booleans(), first=st.integers(0, 28))
def test_going_on_from_what_is_remembered_gives_what_counting_anew_gives(
    world: Any, batches: Any, later: Any, retracted: bool, first: int
) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    upto = [store.append(entry(items, namespace=namespace)) for items in batches][-1]
    store.recount(scopes_of(namespace, upto)[first::29], proofs=False)
    if retracted:
        taken_back = Change(upto, Event("x", "t", "s1"), START, retract=True, data=UNSET)
        facts = taken_back.facts(Why("cor_1", "me", "twice"))
        store.append(entry_of(namespace, RECEIVED_AT, facts))
    upto = [store.append(entry(items, namespace=namespace)) for items in later][-1]
    scopes = scopes_of(namespace, upto)[first::29]
    for wanted in (scopes, scopes, [replace(one, upto=upto - 1) for one in scopes]):
        anew = [[_bare(one) for one in found] for found in store.recount(wanted)]
        assert store.recount(wanted, proofs=False) == anew


def test_what_was_taken_back_since_is_not_in_what_was_remembered(world: Any) -> None:
    store, names = world
    namespace = f"n{next(names)}"
    items = [{"id": f"{n}", "type": "t", "subject": "s1", "data": {"n": n}} for n in (5, 7)]
    first = store.append(entry(items, namespace=namespace))
    scope = LineScope(namespace, METERS[0], ("s1",), PERIODS[0], first)
    assert store.recount([scope], proofs=False) == [[Recount((), 12 * E12, 2, None)]]
    taken_back = Change(first, Event("7", "t", "s1"), START, retract=True, data=UNSET)
    facts = taken_back.facts(Why("cor_1", "me", "twice"))
    after = store.append(entry_of(namespace, RECEIVED_AT, facts))
    later = replace(scope, upto=after)
    assert store.recount([later], proofs=False) == [[Recount((), 5 * E12, 1, None)]]
    assert store.recount([scope], proofs=False) == [[Recount((), 12 * E12, 2, None)]]


def test_what_is_remembered_is_forgotten_oldest_first() -> None:
    remembered = Remembered(most=2)
    for key in ("a", "b", "a", "c"):
        remembered.put(key, 5, {(): Total(1, 1)})
    assert [remembered.up_to(key, 0, 9) for key in "abc"] == [5, 0, 5]
    assert [remembered.up_to("a", *bounds) for bounds in ((5, 5), (6, 9), (0, 4))] == [5, 0, 0]


def _bare(one: Recount) -> Recount:
    return replace(one, digest=None)
