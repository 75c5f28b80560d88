"""
Levels over time: what `weighted_sum`, `session` and `concurrency` are read from.

A *series* is a step function: each point sets its level until the next point, or until it has been
silent for as long as the meter allows. A gauge has one series for each subject and value of its
`series` path, with the level it reports; a session is a series that is 1 while it is open and 0
from its end on.

`Levels` keep the points of one period and, for each series, the newest point before it: what the
period opens with. Points are kept and not only their sum because a late event may fall between any
two. Of several points of a series at one instant the greatest counts, so arrival changes nothing.

Memory is bounded: beyond `MAX_POINTS` time is looked at more coarsely, in steps of 2, 4, 8 ...
microseconds, and each series keeps the newest point of each step. That is an estimate and the only
one here; it still does not depend on the order of arrival. The event store, which bills, keeps all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from taximeter.meters.standing import Standing
from taximeter.periods import Period

MAX_POINTS: Final = 50_000
"""Of one customer, period and group: more than one a minute for a month. A series always keeps its
newest point, so there are more if there are more series."""

FOREVER: Final = 2**62
"""After every instant."""

Series: TypeAlias = tuple[str, str | None]
"""Subject, and the canonical text of what distinguishes its series; None where nothing does."""

Point: TypeAlias = tuple[int, str, int]
"""
Time, what decides between points at the same time, level. The greatest of the first two is the
newest. For a gauge that is the id of the event and the level is pico; for a session `END` beats
`OPEN`.
"""

OPEN: Final = "0"
END: Final = "1"


class Segment(NamedTuple):
    """A level that held in [start, end)."""

    start: int
    end: int
    level: int


class Levels:
    """
    Attributes:
        opening: Series -> its newest point before the period.
        points: Series -> time, in steps of 2^shift microseconds -> its newest point in that step.
        size: How many points there are.
    """

    __slots__ = ("_standing", "opening", "points", "shift", "size")

    def __init__(self) -> None:
        self.opening: dict[Series, Point] = {}
        self.points: dict[Series, dict[int, Point]] = {}
        self.shift = 0
        self.size = 0
        self._standing: Standing | None = None

    def put(self, series: Series, point: Point) -> None:
        """Add a point of the period."""
        standing = self._standing
        held = self._keep(series, point)
        if standing is not None and (held is None or point > held):
            if point[0] >= standing.horizon and (held is None or not self.shift):
                standing.put(series, point[0], point[2])
            else:
                self._standing = None
        if self.size > MAX_POINTS:
            self._thin()

    def _keep(self, series: Series, point: Point) -> Point | None:
        """Returns the point that was there before, greater or not."""
        known = self.points.get(series)
        if known is None:
            known = self.points[series] = {}
        step = point[0] >> self.shift
        held = known.get(step)
        if held is None:
            self.size += 1
            known[step] = point
        elif point > held:
            known[step] = point
        return held

    def _thin(self) -> None:
        """Coarsen time until there are few enough points, or one for each series."""
        while self.size > max(MAX_POINTS, len(self.points)):
            self._coarsen(self.shift + 1)

    def _coarsen(self, shift: int) -> None:
        points = self.points
        self.points, self.shift, self.size, self._standing = {}, shift, 0, None
        for series, known in points.items():
            for point in known.values():
                self._keep(series, point)

    def carry_in(self, earlier: Levels, start: int, timeout: int | None) -> None:
        """
        Open with what earlier periods leave.

        Args:
            start: Of this period.
            timeout: How long a series may be silent, in microseconds; None for any time. A point
                that has lapsed before `start` is not kept: it can change nothing any more.
        """
        self._standing = None
        for series, point in earlier.newest():
            self._open_with(series, point, start, timeout)

    def _open_with(self, series: Series, point: Point, start: int, timeout: int | None) -> None:
        assert point[0] < start, "it comes from before"
        if timeout is None or point[0] + timeout > start:
            held = self.opening.get(series)
            if held is None or point > held:
                self.opening[series] = point

    def newest(self) -> Iterator[tuple[Series, Point]]:
        """The last point of each series."""
        for series, known in self.points.items():
            yield series, known[max(known)]
        for series, point in self.opening.items():
            if series not in self.points:
                yield series, point

    def merged(self, other: Levels) -> Levels:
        """A new levels with the points of both, which are of the same period."""
        result = Levels()
        result._coarsen(max(self.shift, other.shift))
        for part in (self, other):
            for series, point in part.opening.items():
                held = result.opening.get(series)
                if held is None or point > held:
                    result.opening[series] = point
            for series, known in part.points.items():
                for point in known.values():
                    result._keep(series, point)
        result._thin()
        return result

    def integral(self, span: Period, timeout: int | None) -> int:
        """Level x microseconds over a span that holds nothing before the period."""
        standing = self._stand(span, timeout)
        if standing is None:
            return integrals(self.segments(timeout), [span])[0]
        return standing.integral(span.end)

    def peak(self, span: Period, timeout: int | None) -> int:
        """The greatest sum of levels in such a span."""
        standing = self._stand(span, timeout)
        if standing is None:
            return peaks(self.segments(timeout), [span])[0]
        return standing.peak(span.end)

    def _stand(self, span: Period, timeout: int | None) -> Standing | None:
        """None if a point lies outside of the span: then it has to be cut, level by level."""
        standing = self._standing
        if standing is None or standing.start != span.start:
            ordered = [
                (point, series) for series, known in self.points.items() for point in known.values()
            ]
            ordered.sort()
            if ordered and ordered[0][0][0] < span.start:
                return None
            standing = Standing(span.start, FOREVER if timeout is None else timeout)
            for series, point in sorted(self.opening.items(), key=itemgetter(1)):
                standing.put(series, point[0], point[2])
            for point, series in ordered:
                standing.put(series, point[0], point[2])
            self._standing = standing
        return standing if standing.horizon <= span.end else None

    @property
    def last(self) -> int:
        """Time of the newest point; 0 without any."""
        return max((point[0] for _, point in self.newest()), default=0)

    def segments(self, timeout: int | None) -> Iterator[Segment]:
        """The levels of every series that are not 0; without a timeout, the last holds on."""
        for series in self.points.keys() | self.opening.keys():
            opening = self.opening.get(series)
            points = sorted(self.points.get(series, {}).values())
            yield from segments_of(points if opening is None else [opening, *points], timeout)

    def __bool__(self) -> bool:
        return bool(self.opening or self.points)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Levels) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def dump(self) -> list[Any]:
        """[shift, opening, points], both as lists of [subject, series, time, tie, level]."""
        points = {series: sorted(known.values()) for series, known in self.points.items()}
        return [
            self.shift,
            [_dump_point(series, self.opening[series]) for series in _in_order(self.opening)],
            [
                _dump_point(series, point)
                for series in _in_order(points)
                for point in points[series]
            ],
        ]


def load_levels(dumped: Sequence[Any]) -> Levels:
    """Inverse of `Levels.dump`."""
    shift, opening, points = dumped
    levels = Levels()
    levels.shift = shift
    levels.opening = dict(map(_load_point, opening))
    for one in points:
        levels._keep(*_load_point(one))
    return levels


def _in_order(series: Iterable[Series]) -> list[Series]:
    return sorted(series, key=lambda one: (one[0], one[1] is not None, one[1] or ""))


def _dump_point(series: Series, point: Point) -> list[Any]:
    time, tie, level = point
    return [*series, str(time), tie, str(level)]


def _load_point(dumped: Sequence[Any]) -> tuple[Series, Point]:
    subject, name, time, tie, level = dumped
    return (subject, name), (int(time), tie, int(level))


# --- reading ----------------------------------------------------------------------------------


def segments_of(points: Sequence[Point], timeout: int | None) -> Iterator[Segment]:
    """
    The levels of one series that are not 0.

    Args:
        points: Ascending, at most one at each instant.
    """
    for index, (time, _, level) in enumerate(points):
        end = points[index + 1][0] if index + 1 < len(points) else FOREVER
        if timeout is not None:
            end = min(end, time + timeout)
        if level and time < end:
            yield Segment(time, end, level)


def integrals(segments: Iterable[Segment], windows: Sequence[Period]) -> list[int]:
    """
    Level x microseconds over each window.

    Args:
        windows: Ascending by start and by end; they may overlap, and be empty.
    """
    totals = [0] * len(windows)
    ends = [window.end for window in windows]
    for start, end, level in segments:
        for index in range(bisect_right(ends, start), len(windows)):
            window = windows[index]
            if window.start >= end:
                break
            length = min(end, window.end) - max(start, window.start)
            if length > 0:
                totals[index] += level * length
    return totals


def peaks(segments: Iterable[Segment], windows: Sequence[Period]) -> list[int]:
    """
    The greatest sum of levels at any instant of each window, at least 0.

    What ends at an instant is over when another begins at it. Windows as for `integrals`.
    """
    highest = [0] * len(windows)
    ends = [window.end for window in windows]
    for start, end, level in _summed(segments):
        for index in range(bisect_right(ends, start), len(windows)):
            window = windows[index]
            if window.start >= end:
                break
            if max(start, window.start) < min(end, window.end):
                highest[index] = max(highest[index], level)
    return highest


def _summed(segments: Iterable[Segment]) -> Iterator[Segment]:
    """All levels together, as segments that do not overlap."""
    changes: list[tuple[int, int]] = []
    for start, end, level in segments:
        changes += ((start, level), (end, -level))
    changes.sort(key=itemgetter(0))
    total = since = 0
    for at, change in changes:
        if at > since and total:
            yield Segment(since, at, total)
        total += change
        since = at
