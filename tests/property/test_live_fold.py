"""Live state is a function of its events: cut anywhere, merged from anywhere, told in any order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.property.effort import FULL, thorough
from tests.property.meter_oracle import totals

from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.envelope import Event
from taximeter.instants import DAY
from taximeter.live.account import Lane
from taximeter.live.refold import FoldAccount, FoldSpec, refold
from taximeter.live.snapshot import (
    FORMAT,
    AccountSnapshot,
    Snapshot,
    Stale,
    StateSnapshot,
    decode,
    dump_state,
    encode,
    load_state,
)
from taximeter.live.state import LiveState
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.kinds import OVER_TIME as weighing
from taximeter.meters.kinds import Mode, Per, Precision
from taximeter.periods import Anchor, Cadence, Period
from taximeter.quantities import E12
from taximeter.subscriptions.timeline import timeline_of

JANUARY = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
effort = thorough if FULL else settings(thorough, max_examples=60)
SUBJECTS = ("a", "a1", "b", "b1", "nobody")
DIMENSIONS = {"model": "data.model"}
D = 86_400
PLAIN = [kind for kind in Aggregation if kind not in (*weighing, Aggregation.PERCENTILE)]


def counter(aggregation: Aggregation, kind: str = "t", **members: Any) -> Counter:
    value = None if aggregation is Aggregation.COUNT else "data.n"
    return Counter(Meter(f"{aggregation}_{kind}", kind, aggregation, value, DIMENSIONS), **members)


def over_time(aggregation: Aggregation, group_by: tuple[str, ...] = (), **set_to: Any) -> Counter:
    """Weighs time, in stretches that reach from one period into others."""
    key = f"{aggregation}_{len(set_to)}"
    meter = Meter(key, "t", aggregation, "data.n", DIMENSIONS, **set_to)
    return Counter(meter, group_by=group_by)


OVER_TIME = (
    over_time(Aggregation.WEIGHTED_SUM, mode=Mode.SET, per=Per.DAY),
    over_time(Aggregation.WEIGHTED_SUM, ("model",), mode=Mode.SET, per=Per.DAY),
    over_time(Aggregation.WEIGHTED_SUM, mode=Mode.SET, per=Per.HOUR, series="data.model"),
    over_time(
        Aggregation.WEIGHTED_SUM, mode=Mode.SET, per=Per.HOUR, series="data.model", timeout_s=9 * D
    ),
    over_time(Aggregation.WEIGHTED_SUM, mode=Mode.DELTA, per=Per.SECOND),
    over_time(Aggregation.WEIGHTED_SUM, ("model",), mode=Mode.DELTA, per=Per.SECOND),
    over_time(Aggregation.SESSION, per=Per.DAY, timeout_s=5 * D),
    over_time(Aggregation.SESSION, ("model",), per=Per.DAY, timeout_s=5 * D),
    over_time(Aggregation.CONCURRENCY, stop='data.model == "x"', timeout_s=31 * D),
)
COUNTERS = (
    *(counter(aggregation) for aggregation in PLAIN),
    over_time(Aggregation.PERCENTILE, percentile_pico=90 * E12),
    over_time(Aggregation.UNIQUE, precision=Precision.SKETCH),
    *OVER_TIME,
    counter(Aggregation.SUM, group_by=("model",)),
    counter(Aggregation.COUNT, filter='data.model == "x"'),
    counter(Aggregation.SUM, "u"),
)


class Happened(NamedTuple):
    event: Event
    at: int


def numbered(drawn: Sequence[tuple[str, str, int, Any, str | None]]) -> list[Happened]:
    return [
        Happened(Event(str(n), kind, subject, data={"n": value, "model": model}), at)
        for n, (kind, subject, at, value, model) in enumerate(drawn)
    ]


happenings = st.lists(
    st.tuples(
        st.sampled_from(["t", "t", "u", "v"]),
        st.sampled_from(SUBJECTS),
        st.integers(0, 120).map(lambda day: JANUARY + day * DAY),
        st.sampled_from([1, 2, -3, Decimal("0.5"), "7", "none", 10**9]),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=25,
).map(numbered)
counter_sets = st.lists(st.sampled_from(COUNTERS), unique=True, max_size=6).map(tuple)
zones = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"])


class World(NamedTuple):
    """Who is there, and what is counted for them."""

    customers: dict[str, Customer]
    subscriptions: dict[str, Subscription]
    counters: tuple[Counter, ...]

    def state(self, counters: tuple[Counter, ...] | None = None) -> LiveState:
        live = LiveState(self.counters if counters is None else counters)
        for customer in self.customers.values():
            live.put_customer(customer, self.lanes(customer.key))
        return live

    def lanes(self, key: str) -> tuple[Lane, ...]:
        return tuple(
            Lane(one.id, timeline_of(one))
            for one in self.subscriptions.values()
            if one.customer == key
        )

    def facts(self, *keys: str) -> tuple[FoldAccount, ...]:
        return tuple(FoldAccount(self.customers[key], self.lanes(key)) for key in keys)

    def dump(self, live: LiveState) -> StateSnapshot:
        return dump_state(live, self.customers, {})

    def from_zero(self, happened: Sequence[Happened]) -> bytes:
        live = self.state()
        live.fold_stored(happened)
        return canonical(self.dump(live))


def canonical(dumped: StateSnapshot) -> bytes:
    return encode(Snapshot(FORMAT, 0, 0, {"x": dumped}))


@st.composite
def subscribed(draw: st.DrawFn, name: str, customer: str, timezone: str) -> Subscription:
    """With a trial and an end, or without."""
    start, trial, end = sorted(JANUARY + draw(st.integers(0, 60)) * DAY for _ in range(3))
    segment = Segment(start, "pro", 1, draw(st.sampled_from([Cadence.MONTH, Cadence.WEEK])))
    segments = (segment,)
    if start < trial < end and draw(st.booleans()):
        segments = (replace(segment, trial=True), replace(segment, start=trial))
    anchor = draw(st.sampled_from(Anchor))
    return Subscription(
        name, customer, anchor, timezone, segments, draw(st.sampled_from([None, end]))
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    customers = {
        "a": Customer("a", subjects=draw(st.sampled_from([(), ("a1",)])), timezone=draw(zones)),
        "b": Customer("b", subjects=draw(st.sampled_from([(), ("b1",)])), timezone=draw(zones)),
    }
    subscriptions = {
        name: draw(subscribed(name, name[0], customers[name[0]].timezone))
        for name in draw(st.sets(st.sampled_from(["a", "a too", "b"])))
    }
    return World(customers, subscriptions, draw(counter_sets))


@effort
@given(world=worlds(), happened=happenings, cut=st.integers(0, 25))
def test_snapshot_and_tail_equal_the_fold_from_zero(
    world: World, happened: list[Happened], cut: int
) -> None:
    live = world.state()
    live.fold_stored(happened[:cut])
    written = decode(canonical(world.dump(live)))
    assert written is not None
    again = world.state()
    stale = load_state(again, world.customers, written.namespaces["x"])
    assert stale == Stale(set(), set(), set())
    again.fold_stored(happened[cut:])
    assert canonical(world.dump(again)) == world.from_zero(happened)


@effort
@given(
    world=worlds(),
    before=counter_sets,
    happened=happenings,
    cut=st.integers(0, 25),
    merged_at=st.integers(0, 25),
)
def test_counters_that_begin_in_the_middle_catch_up(
    world: World,
    before: tuple[Counter, ...],
    happened: list[Happened],
    cut: int,
    merged_at: int,
) -> None:
    """History arrives later, while events go on being counted."""
    live = world.state(before)
    live.fold_stored(happened[:cut])
    added = live.set_counters(world.counters)
    births = dict(live.births)
    between = max(cut, merged_at)
    live.fold_stored(happened[cut:between])
    history(world, live, added, happened[:cut], births)
    live.fold_stored(happened[between:])
    assert canonical(world.dump(live)) == world.from_zero(happened)


def history(
    world: World,
    live: LiveState,
    counters: Sequence[Counter],
    happened: Sequence[Happened],
    births: dict[str, int],
) -> None:
    """What `services.rebuild` does, without waiting for anything."""
    spec = FoldSpec("x", 0, len(happened), tuple(counters), world.facts("a", "b"))
    wanted = [one for one in happened if one.event.type in spec.event_types]
    layout = Layout(counters)
    kept = {key for key, birth in births.items() if live.births.get(key) == birth}
    for customer, lanes in refold(spec, wanted).items():
        live.merge(customer, loaded(layout, lanes), layout, kept)


def loaded(layout: Layout, lanes: list[dict[int, Any]]) -> list[dict[int, Any]]:
    return [
        {start: layout.load_cells(dumped) for start, dumped in periods.items()} for periods in lanes
    ]


@effort
@given(world=worlds(), happened=happenings, cuts=st.lists(st.integers(0, 25), max_size=3))
def test_a_counter_dropped_and_wanted_again_is_not_given_its_history_twice(
    world: World, happened: list[Happened], cuts: list[int]
) -> None:
    """Each time it is added its history is asked for; only the last answer fits."""
    live = world.state(())
    done = 0
    asked: list[tuple[list[Counter], int, dict[str, int]]] = []
    for cut in sorted(cuts):
        live.fold_stored(happened[done:cut])
        done = max(done, cut)
        live.set_counters(())
        asked.append((live.set_counters(world.counters), done, dict(live.births)))
    live.fold_stored(happened[done:])
    if not cuts:
        asked.append((live.set_counters(world.counters), len(happened), dict(live.births)))
    for added, upto, births in asked:
        history(world, live, added, happened[:upto], births)
    assert canonical(world.dump(live)) == world.from_zero(happened)


@effort
@given(world=worlds(), happened=happenings, order=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(
    world: World, happened: list[Happened], order: Any
) -> None:
    shuffled = list(happened)
    order.shuffle(shuffled)
    assert world.from_zero(shuffled) == world.from_zero(happened)


@effort
@given(
    world=worlds(),
    happened=happenings,
    cut=st.integers(0, 25),
    subjects=st.sampled_from([(), ("a1",), ("nobody",), ("a1", "nobody")]),
    zone=zones,
)
def test_a_snapshot_of_another_configuration_says_what_it_lacks(
    world: World,
    happened: list[Happened],
    cut: int,
    subjects: tuple[str, ...],
    zone: str,
) -> None:
    """The customer changed after the snapshot; what it lacks is folded again."""
    old = world.state()
    old.fold_stored(happened[:cut])
    saved = world.dump(old)
    customers = {**world.customers, "a": Customer("a", subjects=subjects, timezone=zone)}
    changed = world._replace(customers=customers)
    live = changed.state()
    stale = load_state(live, customers, saved)
    # What `adapters.node` and `services.rebuild` do about it.
    past = happened[:cut]
    for key in stale.customers:
        mine = set(customers[key].all_subjects)
        live.accounts[key].seen = any(one.event.subject in mine for one in past)
        spec = FoldSpec("x", 0, cut, changed.counters, changed.facts(key))
        wanted = [one for one in past if one.event.type in spec.event_types]
        layout = live.layout
        for customer, lanes in refold(spec, wanted).items():
            live.merge(customer, loaded(layout, lanes), layout, layout.slots)
    for subject in stale.given_up:
        count = sum(one.event.subject == subject for one in past)
        if count:
            live.unmatched[subject] = live.unmatched.get(subject, 0) + count
    live.fold_stored(happened[cut:])
    assert canonical(changed.dump(live)) == changed.from_zero(happened)
    if "a" not in stale.customers:
        assert set(subjects) == set(world.customers["a"].subjects)


@effort
@given(
    world=worlds(),
    happened=happenings,
    counter=st.sampled_from(OVER_TIME),
    days=st.lists(st.integers(0, 150), min_size=1, max_size=3),
    passed=st.integers(0, 40),
)
def test_what_weighs_time_is_in_each_period_what_the_slow_reading_gives(
    world: World, happened: list[Happened], counter: Counter, days: list[int], passed: int
) -> None:
    """Also in periods without events, before and after others, and while they run."""
    live = world.state((counter,))
    live.fold_stored(happened)
    for key, account in live.accounts.items():
        own = [(one.event, one.at) for one in happened if live.by_subject.get(one.event.subject)]
        own = [(e, at) for e, at in own if live.by_subject[e.subject].customer == key]
        for lane, day in itertools.product(account.lanes, days):
            at = JANUARY + day * DAY
            if not lane.schedule.covers(at):
                continue
            period = lane.schedule.containing(at)
            until = period.start + passed * DAY
            span = Period(period.start, min(period.end, until))
            if counter.meter.mode is Mode.DELTA and any(
                span.end <= at < period.end for _, at in own
            ):
                continue  # differences ahead of now weigh from their time on
            slow = totals(counter.meter, None, counter.group_by, own, span)
            if counter.group_by:
                found = live.usage_by_group(lane, counter, period, until)
                values = {group: pico for group, (_, pico) in found.items() if pico}
                assert values == {group: pico for group, (pico, _) in slow.items() if pico}
            else:
                assert live.usage(lane, counter, period, until)[1] == slow.get((), (0, 0))[0]


@effort
@given(happened=happenings, zone=st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_counts_and_sums_equal_a_naive_recount_by_calendar_month(
    happened: list[Happened], zone: str
) -> None:
    """Zones without summer time, so that the oracle is a fixed shift."""
    customer = Customer("a", subjects=("a1",), timezone=zone)
    world = World({"a": customer}, {}, (COUNTERS[0], counter(Aggregation.SUM)))
    live = world.state()
    live.fold_stored(happened)
    shift = {"UTC": 0, "Asia/Kolkata": 19_800_000_000}[zone]
    expected: dict[tuple[int, int], list[Decimal]] = {}
    for event, at in happened:
        if event.subject in ("a", "a1") and event.type == "t":
            assert event.data is not None
            day = datetime.fromtimestamp((at + shift) // 1_000_000, UTC)
            month = expected.setdefault((day.year, day.month), [Decimal(0), Decimal(0)])
            month[0] += 1
            if event.data["n"] != "none":
                month[1] += Decimal(event.data["n"])
    found = {}
    account = live.accounts["a"]
    for start, (_, cells) in account.periods.items():
        first = datetime.fromtimestamp((start + shift) // 1_000_000, UTC)
        count, total = (
            live.layout.cell_value(cells, live.layout.slots[one.key])[1] for one in world.counters
        )
        found[first.year, first.month] = [Decimal(count) / E12, Decimal(total) / E12]
    assert {k: v for k, v in found.items() if v != [0, 0]} == {
        k: v for k, v in expected.items() if v != [0, 0]
    }
    unmatched = [one for one in happened if one.event.subject not in ("a", "a1")]
    assert sum(live.unmatched.values()) == len(unmatched)


def test_an_account_whose_history_is_on_its_way_is_not_vouched_for() -> None:
    world = World({"a": Customer("a")}, {}, (COUNTERS[0],))
    live = world.state()
    live.fold_stored([Happened(Event("1", "t", "a"), JANUARY)])
    live.accounts["a"].rebuilding = (frozenset({COUNTERS[0].key}),)
    saved = world.dump(live)
    assert isinstance(saved.accounts["a"], AccountSnapshot)
    again = world.state()
    assert load_state(again, world.customers, saved).customers == {"a"}
    assert again.accounts["a"].periods == {}
