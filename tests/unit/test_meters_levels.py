"""Levels over time by example: gauges, sessions, what a period opens with, and the memory bound."""

from __future__ import annotations

import random
from typing import Any

import pytest

from taximeter.meters import levels as module
from taximeter.meters.aggregate import carry, empty, finish, merge, single
from taximeter.meters.definition import Meter, parse_meter
from taximeter.meters.levels import Levels, load_levels
from taximeter.meters.running import Running
from taximeter.periods import Period

E12 = 10**12
S = 10**6
HOUR = 3600 * S
A = ("acme", None)
B = ("acme", '"b"')


def meter(aggregation: str, **settings: Any) -> Meter:
    document = {"event_type": "t", "aggregation": aggregation, "value": "data.x", **settings}
    return parse_meter("m", document)


GAUGE = meter("weighted_sum")
DELTA = meter("weighted_sum", mode="delta", per="second")
SESSION = meter("session", timeout_s=10)
PEAK = meter("concurrency", timeout_s=10)


def state_of(meter: Meter, *values: tuple[int, Any]) -> Any:
    """The state after (time, value) pairs; ids count up."""
    state = empty(meter)
    for index, (time, value) in enumerate(values):
        state = merge(meter, state, single(meter, value, time, str(index)))
    return state


def level(time: int, number: int, event_id: str = "e", series: Any = A) -> tuple[int, Any]:
    return time, (series, event_id, number * E12)


def alive(time: int, session: str = "s") -> tuple[int, Any]:
    return time * S, (("acme", session), "0", 1)


def ends(time: int, session: str = "s") -> tuple[int, Any]:
    return time * S, (("acme", session), "1", 0)


def test_a_level_holds_until_the_next_one() -> None:
    state = state_of(GAUGE, level(0, 10), level(2 * HOUR, 4), level(3 * HOUR, 0))
    assert finish(GAUGE, 3, state, Period(0, 5 * HOUR)) == 24 * E12
    assert finish(GAUGE, 3, state, Period(HOUR, 2 * HOUR + HOUR // 2)) == 12 * E12


def test_without_a_span_a_level_is_weighed_up_to_the_newest_event() -> None:
    assert finish(GAUGE, 2, state_of(GAUGE, level(0, 3), level(HOUR, 7))) == 3 * E12


def test_at_one_instant_the_greatest_id_sets_the_level() -> None:
    both = state_of(GAUGE, level(0, 5, "9"), level(0, 7, "10"))
    assert finish(GAUGE, 2, both, Period(0, HOUR)) == 5 * E12


def test_each_series_has_its_own_level() -> None:
    state = state_of(GAUGE, level(0, 5), level(0, 7, series=B), level(HOUR, 0, series=B))
    assert finish(GAUGE, 3, state, Period(0, 2 * HOUR)) == 17 * E12


def test_a_silent_gauge_lapses_after_its_timeout_and_not_at_it() -> None:
    hourly = meter("weighted_sum", timeout_s=3600)
    state = state_of(hourly, level(0, 5), level(HOUR, 5), level(3 * HOUR, 5))
    assert finish(hourly, 3, state, Period(0, 10 * HOUR)) == 15 * E12


def test_the_quantity_is_rounded_once_to_the_twelfth_place() -> None:
    third = state_of(GAUGE, level(0, 1))
    assert finish(GAUGE, 1, third, Period(0, 20 * 60 * S)) == 333_333_333_333
    assert finish(GAUGE, 1, third, Period(0, 40 * 60 * S)) == 666_666_666_667


def test_differences_add_up_whatever_the_order() -> None:
    values = [(0, 5 * E12), (10 * S, -2 * E12), (10 * S, -2 * E12), (20 * S, E12)]
    for order in (values, values[::-1]):
        assert finish(DELTA, 4, state_of(DELTA, *order), Period(0, 30 * S)) == 80 * E12


def test_a_difference_stamped_ahead_of_now_weighs_from_then_on() -> None:
    state = state_of(DELTA, (0, E12), (12 * S, E12))
    assert finish(DELTA, 2, state, Period(0, 10 * S)) == 12 * E12


def test_a_session_is_active_from_its_first_sign_to_its_end() -> None:
    state = state_of(SESSION, alive(0), alive(7), ends(12))
    assert finish(SESSION, 3, state, Period(0, 60 * S)) == 12 * E12


def test_a_silent_session_has_ended_after_the_timeout() -> None:
    state = state_of(SESSION, alive(0), alive(9), alive(30))
    assert finish(SESSION, 3, state, Period(0, 60 * S)) == 29 * E12


def test_overlapping_sessions_count_each() -> None:
    state = state_of(SESSION, alive(0, "a"), alive(0, "b"), ends(4, "a"), ends(6, "b"))
    assert finish(SESSION, 4, state, Period(0, 60 * S)) == 10 * E12
    assert finish(PEAK, 4, state, Period(0, 60 * S)) == 2 * E12


def test_an_end_at_the_instant_of_a_sign_of_life_ends_the_session() -> None:
    for order in ([alive(5), ends(5)], [ends(5), alive(5)]):
        assert finish(SESSION, 2, state_of(SESSION, *order), Period(0, 60 * S)) == 0


def test_a_session_that_ends_as_another_begins_is_not_concurrent_with_it() -> None:
    state = state_of(PEAK, alive(0, "a"), ends(5, "a"), alive(5, "b"))
    assert finish(PEAK, 3, state, Period(0, 60 * S)) == E12


def test_sessions_are_clipped_to_the_span() -> None:
    state = state_of(SESSION, alive(0), alive(8), ends(15))
    assert finish(SESSION, 3, state, Period(5 * S, 12 * S)) == 7 * E12
    assert finish(PEAK, 3, state, Period(15 * S, 60 * S)) == 0


def test_a_period_opens_with_the_newest_level_before_it() -> None:
    first = state_of(GAUGE, level(0, 2), level(HOUR, 3))
    second = empty(GAUGE)
    carry(GAUGE, second, first, 2 * HOUR)
    third = empty(GAUGE)
    carry(GAUGE, third, second, 4 * HOUR)
    for state, start in ((second, 2 * HOUR), (third, 4 * HOUR)):
        assert finish(GAUGE, 0, state, Period(start, start + HOUR)) == 3 * E12


def test_a_late_level_opens_later_periods_only_if_it_is_the_newest_before_them() -> None:
    state = empty(GAUGE)
    carry(GAUGE, state, state_of(GAUGE, level(HOUR, 3)), 2 * HOUR)
    carry(GAUGE, state, state_of(GAUGE, level(0, 9)), 2 * HOUR)
    assert finish(GAUGE, 0, state, Period(2 * HOUR, 3 * HOUR)) == 3 * E12
    carry(GAUGE, state, state_of(GAUGE, level(HOUR + 1, 9)), 2 * HOUR)
    assert finish(GAUGE, 0, state, Period(2 * HOUR, 3 * HOUR)) == 9 * E12


def test_differences_before_a_period_are_its_opening_level() -> None:
    state = empty(DELTA)
    carry(DELTA, state, state_of(DELTA, (0, 5 * E12), (S, -E12)), 10 * S)
    assert finish(DELTA, 0, state, Period(10 * S, 12 * S)) == 8 * E12


def test_sessions_that_lapsed_before_a_period_are_not_kept() -> None:
    state = empty(SESSION)
    earlier = state_of(SESSION, alive(0, "gone"), alive(11, "open"), alive(10, "edge"))
    carry(SESSION, state, earlier, 20 * S)
    assert [name for _, name in state.opening] == ["open"]
    assert finish(SESSION, 0, state, Period(20 * S, 60 * S)) == E12


def test_an_end_is_carried_so_that_an_older_sign_does_not_revive_the_session() -> None:
    state = empty(SESSION)
    carry(SESSION, state, state_of(SESSION, ends(15)), 20 * S)
    carry(SESSION, state, state_of(SESSION, alive(14)), 20 * S)
    assert finish(SESSION, 0, state, Period(20 * S, 60 * S)) == 0


# --- the bound --------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "MAX_POINTS", 20)
    return 20


def many(count: int, series: int = 3) -> list[tuple[Any, Any]]:
    draw = random.Random(7)
    return [
        (("acme", str(draw.randrange(series))), (draw.randrange(10**9), str(n), n))
        for n in range(count)
    ]


def test_beyond_the_bound_points_thin_out_and_not_the_memory(few: int) -> None:
    state = Levels()
    for series, point in many(1000):
        state.put(series, point)
    assert state.size == sum(map(len, state.points.values())) <= few
    assert state.shift > 0


def test_what_is_kept_does_not_depend_on_the_order_of_arrival_or_merging(few: int) -> None:
    points = many(300)
    whole, backwards, left, right = Levels(), Levels(), Levels(), Levels()
    for series, point in points:
        whole.put(series, point)
    for series, point in reversed(points):
        backwards.put(series, point)
    for index, (series, point) in enumerate(points):
        (left if index % 3 else right).put(series, point)
    assert whole == backwards == left.merged(right) == right.merged(left)
    assert load_levels(whole.dump()) == whole


def test_a_thinned_state_answers_alike_whether_it_was_asked_before_or_not(few: int) -> None:
    asked = Levels()
    for n in range(50):
        asked.put(A, (n * 10, str(n), n % 7))
        asked.integral(Period(0, 1000), None)
    assert asked.shift > 0
    assert asked.integral(Period(0, 1000), None) == load_levels(asked.dump()).integral(
        Period(0, 1000), None
    )


def test_every_series_keeps_its_newest_point(few: int) -> None:
    points = many(500, series=60)
    state = Levels()
    for series, point in points:
        state.put(series, point)
    newest: dict[Any, Any] = {}
    for series, point in points:
        newest[series] = max(point, newest.get(series, point))
    assert dict(state.newest()) == newest
    assert state.size == len(newest) == 60


def test_the_estimate_beyond_the_bound_is_near() -> None:
    exact, rough = Levels(), Levels()
    points = [(A, (n * 1000, str(n), (n % 50) * E12)) for n in range(4000)]
    for series, point in points:
        exact.put(series, point)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_POINTS", 1000)
        for series, point in points:
            rough.put(series, point)
    span = Period(0, 4_000_000)
    a, b = (finish(GAUGE, 4000, state, span) for state in (exact, rough))
    assert abs(a - b) * 20 < a
    assert rough.size <= 1000


def test_states_at_rest_are_falsy_and_equal_by_content() -> None:
    assert not Levels()
    assert not Running()
    assert Levels() == Levels()
    assert Levels() != state_of(GAUGE, level(0, 0))
