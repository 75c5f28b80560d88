"""What is kept up to date while points arrive equals going through all points again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.meters import levels as module
from taximeter.meters.levels import Levels, integrals, load_levels, peaks
from taximeter.periods import Period

START = 100
levels = st.integers(0, 2) | st.integers(-1, 3)
names = st.sampled_from(["a", "b", "c", "d"]).map(lambda name: ("acme", name))
points = st.tuples(names, st.integers(0, 60), st.sampled_from("012"), levels)
reads = st.integers(0, 90)
steps = st.lists(st.one_of(points, points, reads), max_size=40)
timeouts = st.sampled_from([None, 1, 7, 30])


def in_order(steps: list[Any]) -> list[Any]:
    """Points mostly ascend: each is placed a little after the one before."""
    at, placed = 0, []
    for step in steps:
        if isinstance(step, int):
            placed.append(step)
        else:
            series, jump, tie, level = step
            at = max(0, at + (jump % 9) - 1)
            placed.append((series, at, tie, level))
    return placed


@thorough
@given(
    steps=st.one_of(steps, steps.map(in_order)),
    opening=st.lists(points, max_size=4),
    timeout=timeouts,
    most=st.sampled_from([50_000, 6]),
)
def test_reads_between_points_see_what_all_points_come_to(
    steps: list[Any], opening: list[Any], timeout: int | None, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_POINTS", most)
        earlier, state = Levels(), Levels()
        # A negative level that lapses lets the sum rise without a point; sessions have none.
        below = any(one[3] < 0 for one in [*opening, *steps] if not isinstance(one, int))
        for series, at, tie, level in opening:
            earlier.put(series, (START - 1 - at, tie, level))
        state.carry_in(earlier, START, timeout)
        for step in [*steps, 200]:
            if not isinstance(step, int):
                series, at, tie, level = step
                state.put(series, (START + at, tie, level))
                continue
            span = Period(START, START + step)
            assert state.integral(span, timeout) == integrals(state.segments(timeout), [span])[0]
            if not below:
                assert state.peak(span, timeout) == peaks(state.segments(timeout), [span])[0]
            # Somebody who has asked before is told the same as somebody who has not.
            fresh = load_levels(state.dump())
            assert fresh.integral(span, timeout) == state.integral(span, timeout)
            assert fresh == state
