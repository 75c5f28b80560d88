"""
Totals of the meters that weigh time: levels and sessions, from what they were before on.

SQL finds the newest point of each series before a place begins and the points inside, in order; the
levels between them are integrated here, place by place, by the functions that live counters use.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import duckdb
import msgspec

from taximeter.adapters.store.sql import Place, Statement, Total, pico_of, totals, value_column
from taximeter.meters.aggregate import per_unit_of_time
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.filters import parse_filter
from taximeter.meters.kinds import SESSIONS, Mode
from taximeter.meters.levels import END, OPEN, Point, Segment, integrals, peaks, segments_of
from taximeter.periods import Period
from taximeter.quantities import E12

_FETCH_ROWS: Final = 50_000


def point_columns(statement: Statement, meter: Meter) -> str:
    """The columns `subject`, `series`, `tie` and `value` of `levels.Point`s."""
    series = "NULL::VARCHAR" if meter.series is None else statement.distinct(meter.series)
    tie = "id"
    if meter.aggregation in SESSIONS:
        assert meter.value is not None, "parse_meter requires it"
        series = statement.distinct(meter.value)
        ends = "false" if meter.stop is None else statement.condition(parse_filter(meter.stop))
        tie = f"CASE WHEN {ends} THEN '{END}' ELSE '{OPEN}' END"
    return f"subject, {series} AS series, {tie} AS tie, {value_column(statement, meter)} AS value"


def reach(meter: Meter, start: str) -> list[str]:
    """Condition of events that can have a part in what begins at an SQL expression."""
    return [] if meter.timeout is None else [f'"time" > {start} - {meter.timeout}']


def weighed(
    db: duckdb.DuckDBPyConnection,
    meter: Meter,
    place: Sequence[str],
    events: str,
    parameters: dict[str, Any],
    windows_of: Callable[[Place], Sequence[Period]],
) -> Iterator[tuple[Place, list[Total]]]:
    """
    Places, each with the total of each of its windows; a place without usage may have zeros.

    Args:
        db: Not to be asked anything else before the last place is read.
        place: Columns, at least one.
        events: A statement that gives them, `place_start`, `time` and `point_columns`: everything
            within `reach`, up to the end of the last window.
        windows_of: From a place to its windows, ascending by start and by end, none of which
            begins before its `place_start`.
    """
    is_delta = meter.mode is Mode.DELTA
    opening = _opening_sums(db, meter, place, events, parameters) if is_delta else {}
    result = db.execute(_ordered(place, events, is_delta=is_delta), parameters)
    for at, rows in groupby(_fetched(result), key=itemgetter(slice(0, len(place)))):
        points = [_Row(*row[len(place) :]) for row in rows]
        yield at, _totals(meter, points, opening.pop(at, 0), windows_of(at))
    for at, level in opening.items():
        yield at, _totals(meter, [], level, windows_of(at))


class _Row(NamedTuple):
    subject: str
    series: str | None
    time: int
    tie: str
    value: Any


def _ordered(place: Sequence[str], events: str, *, is_delta: bool) -> str:
    """The points of each place in the order of their series and time."""
    names = ", ".join(place)
    columns = f"{names}, subject, series, time, tie, value"
    inside = f"SELECT {columns} FROM counted WHERE time >= place_start"
    order = f"{names}, time" if is_delta else f"{names}, subject, series, time, tie, value"
    newest = f"""
        SELECT {names}, subject, series, newest.time, newest.tie, newest.value FROM (
            SELECT {names}, subject, series,
                max({{'time': time, 'tie': tie, 'value': value}}) AS newest
            FROM counted WHERE time < place_start GROUP BY {names}, subject, series)
    """
    return f"""
        WITH counted AS (SELECT * FROM ({events}) WHERE value IS NOT NULL)
        {inside if is_delta else f"{inside} UNION ALL {newest}"} ORDER BY {order}
    """


def _opening_sums(
    db: duckdb.DuckDBPyConnection,
    meter: Meter,
    place: Sequence[str],
    events: str,
    parameters: dict[str, Any],
) -> dict[Place, int]:
    """The level in pico that all differences before each place add up to."""
    before = f"SELECT * FROM ({events}) WHERE time < place_start"
    adding = msgspec.structs.replace(meter, aggregation=Aggregation.SUM)
    sums = totals(db, adding, ", ".join(place), before, parameters)
    return {at: total.value_pico for at, total in sums.items()}


def _totals(meter: Meter, rows: list[_Row], opening: int, windows: Sequence[Period]) -> list[Total]:
    segments = _segments(meter, rows, opening)
    if meter.aggregation is Aggregation.CONCURRENCY:
        values = [peak * E12 for peak in peaks(segments, windows)]
    else:
        values = [per_unit_of_time(meter, one) for one in integrals(segments, windows)]
    counts = _counts([row.time for row in rows], windows)
    return list(map(Total, values, counts))


def _segments(meter: Meter, rows: list[_Row], opening: int) -> Iterator[Segment]:
    if meter.mode is Mode.DELTA:
        yield from segments_of(_running(rows, opening), None)
        return
    is_session = meter.aggregation in SESSIONS
    for _, alike in groupby(rows, key=itemgetter(0, 1)):
        points = [
            (row.time, row.tie, int(row.tie == OPEN) if is_session else pico_of(row.value))
            for row in alike
        ]
        yield from segments_of(points, meter.timeout)


def _running(rows: list[_Row], level: int) -> list[Point]:
    """The level after each difference, and before all of them."""
    points = [(-1, "", level)]
    for row in rows:
        level += pico_of(row.value)
        points.append((row.time, "", level))
    return points


def _counts(times: list[int], windows: Sequence[Period]) -> list[int]:
    """How many of these instants lie in each window."""
    counts = [0] * len(windows)
    ends = [window.end for window in windows]
    for time in times:
        for index in range(bisect_right(ends, time), len(windows)):
            if time < windows[index].start:
                break
            counts[index] += 1
    return counts


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := result.fetchmany(_FETCH_ROWS):
        yield from rows
