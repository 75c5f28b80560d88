"""Aggregates by example (K12)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.property.meter_strategies import every_kind

from taximeter.meters.aggregate import dump_state, empty, finish, load_state, merge, single
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter, parse_meter
from taximeter.meters.rounding import half_up

E12 = 10**12


def aggregate(kind: Aggregation, *seen: tuple[Any, int, str]) -> int:
    meter = Meter("m", "t", kind, "data.x")
    state = empty(meter)
    for value, time, event_id in seen:
        state = merge(meter, state, single(meter, value, time, event_id))
    return finish(meter, len(seen), state)


@pytest.mark.parametrize("meter", every_kind("t", "data.x", {}), ids=str)
def test_of_nothing_is_zero(meter: Meter) -> None:
    assert finish(meter, 0, empty(meter)) == 0


def test_last_is_the_greatest_time_whatever_came_last() -> None:
    assert aggregate(Aggregation.LAST, (5, 200, "a"), (7, 100, "z")) == 5


def test_last_breaks_a_tie_of_times_by_the_bytes_of_the_id() -> None:
    assert aggregate(Aggregation.LAST, (5, 100, "9"), (7, 100, "10")) == 5
    assert aggregate(Aggregation.LAST, (5, 100, "😀"), (7, 100, "\uffff")) == 5


def test_last_of_one_id_from_two_sources_does_not_depend_on_arrival() -> None:
    one, other = (5, 100, "a"), (7, 100, "a")
    assert aggregate(Aggregation.LAST, one, other) == aggregate(Aggregation.LAST, other, one)


def test_unique_counts_distinct_texts() -> None:
    assert aggregate(Aggregation.UNIQUE, ('"a"', 1, "1"), ('"a"', 2, "2"), ("1", 3, "3")) == 2 * E12


def test_max_and_min_may_be_negative() -> None:
    assert aggregate(Aggregation.MAX, (-5, 1, "1"), (-7, 2, "2")) == -5
    assert aggregate(Aggregation.MIN, (-5, 1, "1"), (-7, 2, "2")) == -7


@pytest.mark.parametrize(
    ("total", "n", "mean"),
    [(1, 2, 1), (-1, 2, -1), (1, 3, 0), (2, 3, 1), (-2, 3, -1), (3, 2, 2), (-3, 2, -2), (0, 7, 0)],
)
def test_a_quotient_is_rounded_half_up_away_from_zero(total: int, n: int, mean: int) -> None:
    assert half_up(total, n) == mean


@pytest.mark.parametrize(
    ("kind", "state", "dumped"),
    [
        (Aggregation.COUNT, 0, "0"),
        (Aggregation.SUM, 10**40, "1" + "0" * 40),
        (Aggregation.MIN, None, None),
        (Aggregation.LAST, (7, "a", -3), ["7", "a", "-3"]),
        (Aggregation.UNIQUE, {"b", "a"}, ["a", "b"]),
        (Aggregation.PERCENTILE, {10**13: 2, -3: 1}, [["-3", 1], ["10000000000000", 2]]),
    ],
)
def test_a_state_is_dumped_to_plain_json(kind: Aggregation, state: Any, dumped: Any) -> None:
    assert dump_state(state) == dumped
    meter = Meter("m", "t", kind, "data.x")
    assert load_state(meter, msgspec.json.decode(msgspec.json.encode(dumped))) == state


def test_cells_of_two_event_types_share_one_list() -> None:
    requests = Counter(parse_meter("requests", {"event_type": "llm", "aggregation": "count"}))
    images = Counter(parse_meter("images", {"event_type": "image", "aggregation": "count"}))
    layout = Layout([requests, images])
    assert layout.programs["llm"].slots == (0,)
    assert layout.programs["image"].slots == (1,)
    cells = layout.new_cells()
    layout.programs["image"].add(cells, (1,), 0, "e1")
    assert [layout.cell_value(cells, slot) for slot in (0, 1)] == [(0, 0), (1, E12)]


def test_new_cells_share_nothing() -> None:
    users = parse_meter(
        "users",
        {
            "event_type": "t",
            "aggregation": "unique",
            "value": "data.u",
            "dimensions": {"m": "data.m"},
        },
    )
    layout = Layout([Counter(users), Counter(users, None, ("m",))])
    first = layout.new_cells()
    layout.programs["t"].add(first, ('"a"', (("x",), '"a"')), 0, "e1")
    assert layout.dump_cells(layout.new_cells()) == [[0, []], [0, []]]
