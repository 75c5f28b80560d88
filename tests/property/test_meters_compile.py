"""Compiled counters against the slow reading of their definitions."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.meter_strategies import events, filters, meters

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation
from taximeter.meters.filters import evaluate, parse_filter
from taximeter.meters.paths import read
from taximeter.meters.values import canonical_text, dimension_value

E12 = 10**12
GROUPS: list[tuple[str, ...]] = [(), ("model",), ("who", "model"), ("deep",)]


def counters(types: tuple[str, ...] = ("t",)) -> st.SearchStrategy[list[Counter]]:
    one = st.builds(Counter, meters(types), filters, st.sampled_from(GROUPS))
    return st.lists(one, min_size=1, max_size=5, unique_by=lambda counter: counter.key)


histories = st.lists(st.tuples(events(("t", "u")), st.integers(0, 3)), max_size=10)


class Invalid(Exception):
    pass


def oracle_value(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise Invalid
    try:
        number = Fraction(Decimal(value))
    except InvalidOperation:
        raise Invalid from None
    if (number * E12).denominator != 1 or abs(number) >= 10**26:
        raise Invalid
    return number


def selects(counter: Counter, event: Event) -> bool:
    texts = [text for text in (counter.meter.filter, counter.filter) if text is not None]
    return counter.meter.event_type == event.type and all(
        evaluate(parse_filter(text), event) for text in texts
    )


def oracle(counter: Counter, history: list[tuple[Event, int]]) -> dict[Any, tuple[int, int]]:
    """Group -> (events, pico), from all selected events at once."""
    grouped: dict[Any, list[tuple[int, bytes, Any]]] = {}
    kind = counter.meter.aggregation
    for event, time in history:
        if not selects(counter, event):
            continue
        value = read(event, counter.meter.value or "")
        if kind is Aggregation.COUNT:
            value = 1
        elif value is None:
            continue
        elif kind is Aggregation.UNIQUE:
            value = canonical_text(value)
        else:
            try:
                value = oracle_value(value)
            except Invalid:
                continue
        paths = [counter.meter.dimensions[name] for name in counter.group_by]
        group = tuple(dimension_value(read(event, path)) for path in paths)
        grouped.setdefault(group, []).append((time, event.id.encode(), value))
    return {group: (len(seen), oracle_result(kind, seen)) for group, seen in grouped.items()}


def oracle_result(kind: Aggregation, seen: list[tuple[int, bytes, Any]]) -> int:
    values = [value for _, _, value in seen]
    match kind:
        case Aggregation.COUNT:
            result = Fraction(len(values))
        case Aggregation.SUM:
            result = sum(values, Fraction(0))
        case Aggregation.MIN:
            result = min(values)
        case Aggregation.MAX:
            result = max(values)
        case Aggregation.AVG:
            mean = sum(values, Fraction(0)) / len(values) * E12
            whole, rest = divmod(abs(mean), 1)
            return int(whole + (rest >= Fraction(1, 2))) * (-1 if mean < 0 else 1)
        case Aggregation.UNIQUE:
            result = Fraction(len(set(values)))
        case Aggregation.LAST:
            result = max(seen)[2]
    return int(result * E12)


def fold(layout: Layout, history: list[tuple[Event, int]]) -> list[Any]:
    cells = layout.new_cells()
    for event, time in history:
        program = layout.programs.get(event.type)
        values = program.measure_stored(event) if program else None
        if program is not None and values is not None:
            program.add(cells, values, time, event.id)
    return cells


def results(layout: Layout, cells: list[Any]) -> list[Any]:
    return [
        layout.cell_groups(cells, slot) if counter.group_by else layout.cell_value(cells, slot)
        for slot, counter in enumerate(layout.counters)
    ]


def expected(layout: Layout, history: list[tuple[Event, int]]) -> list[Any]:
    slow = [oracle(counter, history) for counter in layout.counters]
    return [
        groups if counter.group_by else groups.get((), (0, 0))
        for counter, groups in zip(layout.counters, slow, strict=True)
    ]


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
        exempt = counter.meter.aggregation in (Aggregation.COUNT, Aggregation.UNIQUE)
        value = read(event, counter.meter.value or "")
        if exempt or value is None or not selects(counter, event):
            continue
        try:
            oracle_value(value)
        except Invalid:
            invalid = True
    if invalid:
        with pytest.raises(Rejected, match="expected a decimal number") as refused:
            program.measure(event)
        assert refused.value.code == "invalid_quantity"
    else:
        assert program.measure(event) == program.measure_stored(event)
