"""
Crossings: which lines has a customer crossed that nobody was told of yet?

Two kinds of numbers. One that belongs to a window (usage of the running period) crosses each line
once in that window; if the limit is changed, a share of it is another line. One that goes up and
down for ever (a balance, usage of a rolling window) crosses once, and again only after it has been
back on the other side, which *rearms* the line.

What was told is remembered in marks. Those of windows may be forgotten: the key of a notice names
its window and line, and the books refuse a key they have. Marks that rearm must be kept with the
notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from taximeter.catalog.durations import format_duration
from taximeter.instants import format_instant
from taximeter.notices import notice as types
from taximeter.notices.alert import Alert, Subject
from taximeter.notices.forecast import expected_at
from taximeter.notices.readings import BudgetReading, CreditReading, FeatureReading, Readings
from taximeter.quantities import format_quantity

Reading = FeatureReading | BudgetReading


class Place(NamedTuple):
    """What a mark is about, of one customer."""

    alert: str
    name: str
    threshold: str


class Mark(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        past: The line is crossed, and was told.
        times: How often it was crossed, for a line that rearms; 0 for one of a window.
        window_start, line_pico: Of a window: which one, and where the line was.
    """

    past: bool
    times: int = 0
    window_start: int = 0
    line_pico: int = 0


class Crossing(msgspec.Struct, frozen=True):
    """A notice to be given. `key` makes it the same one after a restart."""

    type: str
    key: str
    data: dict[str, Any]


class Change(msgspec.Struct, frozen=True):
    """A mark to be made, and the notice it stands for; none if a line was only rearmed."""

    place: Place
    mark: Mark
    crossing: Crossing | None


class _Standing(NamedTuple):
    """Where a number stands to a line. `window_start` None: the line rearms."""

    name: str
    threshold: str
    is_past: bool
    line_pico: int
    window_start: int | None


def changes(
    alert: Alert, customer: str, readings: Readings, now: int, marks: Mapping[Place, Mark]
) -> list[Change]:
    """
    What is new of one customer for one alert.

    Args:
        customer: Key of the customer the readings are of; the alert watches it.
        marks: Of this customer; not changed.

    Returns:
        In the order of the thresholds; each place at most once.
    """
    found = []
    for standing in _standings(alert, readings, now):
        place = Place(alert.id, standing.name, standing.threshold)
        mark = _next_mark(standing, marks.get(place))
        if mark is not None:
            crossing = _crossing(alert, customer, standing, mark, readings, now)
            found.append(Change(place, mark, crossing if mark.past else None))
    return found


def _next_mark(standing: _Standing, known: Mark | None) -> Mark | None:
    """None if there is nothing new."""
    if standing.window_start is None:
        was_past = known is not None and known.past
        if standing.is_past == was_past:
            return None
        times = 0 if known is None else known.times
        return Mark(standing.is_past, times + standing.is_past)
    if not standing.is_past:
        return None
    mark = Mark(True, 0, standing.window_start, standing.line_pico)
    return None if mark == known else mark


# --- where each number stands -------------------------------------------------------------------


def _standings(alert: Alert, readings: Readings, now: int) -> Iterator[_Standing]:
    name = alert.number
    match alert.on:
        case Subject.USAGE:
            assert name is not None
            usage = readings.usage.get(name)
            if usage is not None:
                yield from _upwards(alert, name, usage)
        case Subject.BUDGET:
            for key, budget in readings.budgets.items():
                if name in (None, key):
                    yield from _upwards(alert, key, budget)
        case Subject.BALANCE:
            assert name is not None
            credit = readings.credits.get(name)
            if credit is not None:
                # From the highest line down: the order in which a balance falls past them.
                for line in reversed(alert.thresholds):
                    is_past = credit.balance_pico <= line.pico
                    yield _Standing(name, line.text, is_past, line.pico, None)
        case Subject.FORECAST:
            assert name is not None
            usage = readings.usage.get(name)
            if usage is not None and expected_at(usage, now, alert.within) is not None:
                text = f"within {format_duration(alert.within)}"
                yield _Standing(name, text, True, usage.limit_pico or 0, usage.window_start)


def _upwards(alert: Alert, name: str, reading: Reading) -> Iterator[_Standing]:
    # In a window, only what is past can be new; this is asked for at every event.
    window_start = None if reading.rolling else reading.window_start
    used_pico, limit_pico = reading.used_pico, reading.limit_pico
    for threshold in alert.thresholds:
        line_pico = threshold.line_pico(limit_pico)
        if line_pico is not None:
            # Nothing used is not "all of nothing" used.
            is_past = used_pico >= line_pico and used_pico > 0
            if is_past or window_start is None:
                yield _Standing(name, threshold.text, is_past, line_pico, window_start)


# --- what is told -------------------------------------------------------------------------------


def _crossing(
    alert: Alert, customer: str, standing: _Standing, mark: Mark, readings: Readings, now: int
) -> Crossing:
    occasion = (
        f"#{mark.times}"
        if standing.window_start is None
        else f"{standing.window_start}/{standing.line_pico}"
    )
    parts = [alert.id, customer, alert.on.value, standing.name, standing.threshold, occasion]
    key = "alert" + msgspec.json.encode(parts).decode()
    head: dict[str, Any] = {"alert": alert.id, "customer": customer}
    if alert.on in (Subject.USAGE, Subject.FORECAST):
        head["feature"] = alert.name
        if alert.window is not None:
            head["window"] = alert.window
    match alert.on:
        case Subject.USAGE:
            numbers = _of_window(standing, readings.usage[standing.name])
            return Crossing(types.USAGE_CROSSED, key, head | numbers)
        case Subject.BUDGET:
            numbers = _of_window(standing, readings.budgets[standing.name])
            return Crossing(types.BUDGET_CROSSED, key, head | {"budget": standing.name} | numbers)
        case Subject.BALANCE:
            numbers = _of_credit(standing, readings.credits[standing.name])
            return Crossing(types.BALANCE_LOW, key, head | {"credit": standing.name} | numbers)
        case Subject.FORECAST:
            numbers = _ahead(alert, readings.usage[standing.name], now)
            return Crossing(types.LIMIT_AHEAD, key, head | numbers)


def _of_window(standing: _Standing, reading: Reading) -> dict[str, Any]:
    return {
        "threshold": standing.threshold,
        "line": format_quantity(standing.line_pico),
        "used": format_quantity(reading.used_pico),
        "limit": None if reading.limit_pico is None else format_quantity(reading.limit_pico),
        "window_start": format_instant(reading.window_start),
        "resets_at": None if reading.resets_at is None else format_instant(reading.resets_at),
    }


def _of_credit(standing: _Standing, reading: CreditReading) -> dict[str, Any]:
    return {
        "threshold": standing.threshold,
        "balance": format_quantity(reading.balance_pico),
        "available": format_quantity(reading.available_pico),
    }


def _ahead(alert: Alert, reading: FeatureReading, now: int) -> dict[str, Any]:
    expected = expected_at(reading, now, alert.within)
    assert expected is not None, "the standing was taken from the same reading"
    assert reading.limit_pico is not None, "a forecast is of a limit"
    return {
        "used": format_quantity(reading.used_pico),
        "limit": format_quantity(reading.limit_pico),
        "expected_at": format_instant(expected),
        "window_start": format_instant(reading.window_start),
        "resets_at": None if reading.resets_at is None else format_instant(reading.resets_at),
    }
