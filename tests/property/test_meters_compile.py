"""Compiled counters against the slow reading of their definitions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.meter_oracle import Invalid, selects, totals, value_of
from tests.property.meter_strategies import events, filters, meters

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.periods import Period

GROUPS: list[tuple[str, ...]] = [(), ("model",), ("who", "model"), ("deep",)]


def counters(types: tuple[str, ...] = ("t",)) -> st.SearchStrategy[list[Counter]]:
    one = st.builds(Counter, meters(types), filters, st.sampled_from(GROUPS))
    return st.lists(one, min_size=1, max_size=5, unique_by=lambda counter: counter.key)


times = st.integers(0, 8).map(lambda half_seconds: half_seconds * 500_000)
histories = st.lists(st.tuples(events(("t", "u")), times), max_size=10)


def fold(layout: Layout, history: list[tuple[Event, int]]) -> list[Any]:
    cells = layout.new_cells()
    for event, time in history:
        program = layout.programs.get(event.type)
        values = program.measure_stored(event) if program else None
        if program is not None and values is not None:
            program.add(cells, values, time, event.id)
    return cells


ALL = Period(0, 5_000_000)


def results(layout: Layout, cells: list[Any]) -> list[Any]:
    return [
        layout.cell_groups(cells, slot, ALL)
        if counter.group_by
        else layout.cell_value(cells, slot, ALL)
        for slot, counter in enumerate(layout.counters)
    ]


def expected(layout: Layout, history: list[tuple[Event, int]]) -> list[Any]:
    found: list[Any] = []
    for counter in layout.counters:
        slow = totals(counter.meter, counter.filter, counter.group_by, history, ALL)
        groups = {group: (events, pico) for group, (pico, events) in slow.items()}
        found.append(groups if counter.group_by else groups.get((), (0, 0)))
    return found


@given(counters(("t", "u")), histories)
def test_compiled_counters_equal_the_slow_reading(
    some: list[Counter], history: list[tuple[Event, int]]
) -> None:
    layout = Layout(some)
    assert results(layout, fold(layout, history)) == expected(layout, history)


@given(counters(("t", "u")), histories, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(
    some: list[Counter], history: list[tuple[Event, int]], random: Any
) -> None:
    layout = Layout(some)
    shuffled = history.copy()
    random.shuffle(shuffled)
    assert fold(layout, shuffled) == fold(layout, history)


@given(counters(("t", "u")), histories, st.integers(0, 10), st.integers(0, 10))
def test_a_history_cut_anywhere_merges_to_the_same(
    some: list[Counter], history: list[tuple[Event, int]], one: int, other: int
) -> None:
    layout = Layout(some)
    low, high = sorted((one, other))
    parts = [fold(layout, part) for part in (history[:low], history[low:high], history[high:])]
    left = layout.merge_cells(layout.merge_cells(parts[0], parts[1]), parts[2])
    right = layout.merge_cells(parts[2], layout.merge_cells(parts[1], parts[0]))
    assert left == right == fold(layout, history)


@given(counters(), histories)
def test_merging_shares_nothing_with_its_parts(
    some: list[Counter], history: list[tuple[Event, int]]
) -> None:
    layout = Layout(some)
    part = fold(layout, history)
    before = layout.dump_cells(part)
    merged = layout.merge_cells(layout.new_cells(), part)
    for event, time in history:
        values = layout.programs["t"].measure_stored(event) if event.type == "t" else None
        if values is not None:
            layout.programs["t"].add(merged, values, time, event.id)
    assert layout.dump_cells(part) == before


@given(counters(("t", "u")), histories)
def test_dumped_cells_load_as_they_were(
    some: list[Counter], history: list[tuple[Event, int]]
) -> None:
    layout = Layout(some)
    cells = fold(layout, history)
    assert layout.load_cells(layout.dump_cells(cells)) == cells


@given(counters(), events())
def test_an_event_is_rejected_exactly_if_a_counted_value_is_no_quantity(
    some: list[Counter], event: Event
) -> None:
    program = Layout(some).programs["t"]
    invalid = False
    for counter in some:
        if selects(counter.meter, counter.filter, event):
            try:
                value_of(counter.meter, event)
            except Invalid:
                invalid = True
    if invalid:
        with pytest.raises(Rejected, match=r"expected a|the result has") as refused:
            program.measure(event)
        assert refused.value.code == "invalid_quantity"
    else:
        assert program.measure(event) == program.measure_stored(event)
