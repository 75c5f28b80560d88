"""Crossings against a slow second telling of the rules, over random histories."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.notices.alert import read_alert
from taximeter.notices.crossings import Mark, Place, changes
from taximeter.notices.forecast import expected_at
from taximeter.notices.readings import CreditReading, FeatureReading, Readings
from taximeter.quantities import E12

numbers = st.integers(0, 12)
# (window, used, limit) in the order of their windows
histories = st.lists(st.tuples(st.integers(0, 2), numbers, st.none() | numbers), max_size=30).map(
    lambda steps: sorted(steps, key=lambda step: step[0])
)
SHARES = ("50%", "100%", "150%")
AMOUNTS = (3, 7)


@thorough
@given(history=histories, restarts=st.sets(st.integers(0, 29)))
def test_each_line_of_a_window_is_told_exactly_once_whenever_the_node_restarts(
    history: list[tuple[int, int, int | None]], restarts: set[int]
) -> None:
    alert = read_alert("a", {"on": "usage", "feature": "f", "thresholds": [*SHARES, *AMOUNTS]})
    marks: dict[Place, Mark] = {}
    stored: set[str] = set()  # as the books do: a key they have is refused
    told: list[tuple[int, str, Fraction]] = []
    expected: set[tuple[int, str, Fraction]] = set()
    for step, (window, used, limit) in enumerate(history):
        if step in restarts:
            marks = {}
        limit_pico = None if limit is None else limit * E12
        reading = FeatureReading(used * E12, limit_pico, window * 100, window * 100 + 100)
        for change in changes(alert, "c", Readings(usage={"f": reading}), 0, marks):
            marks[change.place] = change.mark
            assert change.crossing is not None
            if change.crossing.key not in stored:
                stored.add(change.crossing.key)
                line = Fraction(change.crossing.data["line"])
                told.append((window, change.place.threshold, line))
        lines = [(str(amount), Fraction(amount)) for amount in AMOUNTS]
        if limit is not None:
            lines += [(share, Fraction(share[:-1]) * limit / 100) for share in SHARES]
        expected |= {(window, text, line) for text, line in lines if 0 < used >= line}
    assert len(told) == len(set(told))
    assert set(told) == expected


@thorough
@given(
    balances=st.lists(st.integers(-3, 12), max_size=40),
    line=st.integers(-2, 10),
    restarts=st.sets(st.integers(0, 39)),
)
def test_a_balance_is_told_once_for_each_fall_to_the_line(
    balances: list[int], line: int, restarts: set[int]
) -> None:
    alert = read_alert("a", {"on": "balance", "credit": "usd", "thresholds": [line]})
    marks: dict[Place, Mark] = {}
    keys = []
    falls, was_above = 0, True
    for step, amount in enumerate(balances):
        if step in restarts:
            marks = {place: mark for place, mark in marks.items() if mark.times}  # the books' part
        readings = Readings(credits={"usd": CreditReading(amount * E12, amount * E12)})
        for change in changes(alert, "c", readings, 0, marks):
            marks[change.place] = change.mark
            keys += [] if change.crossing is None else [change.crossing.key]
        falls += was_above and amount <= line
        was_above = amount > line
    assert len(keys) == len(set(keys)) == falls


@thorough
@given(
    used=st.integers(0, 10**30),
    limit=st.integers(0, 10**30),
    elapsed=st.integers(-5, 10**9),
    left=st.integers(1, 10**9),
    within=st.integers(1, 10**9),
)
def test_a_forecast_is_the_exact_straight_line_rounded_up(
    used: int, limit: int, elapsed: int, left: int, within: int
) -> None:
    start = 10**15
    now = start + elapsed
    reading = FeatureReading(used, limit, start, now + left)
    found = expected_at(reading, now, within)
    if (
        used <= 0
        or limit <= used
        or elapsed <= 0
        or Fraction(elapsed, elapsed + left) < Fraction(1, 20)
    ):
        assert found is None
        return
    reached = start + Fraction(limit * elapsed, used)
    in_time = reached <= now + within and -(-reached.numerator // reached.denominator) < now + left
    assert (found is not None) == in_time
    if found is not None:
        assert 0 <= found - reached < 1
