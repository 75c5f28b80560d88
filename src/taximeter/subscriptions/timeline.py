"""
Timeline: the billing periods of a subscription through all its changes.

A timeline is cut into runs. Inside a run the anchor never moves (K3): a change of plan, add-ons or
overrides, and a pause, leave the periods as they are. A new run begins, with a new anchor, where a
trial ends and where the cadence changes. A trial is one period, however long. The end of a run and
of the subscription cut its last period short.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from taximeter.customers import Segment, Subscription
from taximeter.periods import Anchor, Cadence, Period, Schedule


class Run(msgspec.Struct, frozen=True):
    """
    Periods that follow one schedule.

    Attributes:
        first: Number of its first period in the timeline.
        start: Instant that period begins.
        end: Exclusive; None for a run without an end.
        schedule: None for a trial, which is one period.
    """

    first: int
    start: int
    end: int | None
    schedule: Schedule | None

    def nth(self, n: int) -> Period:
        """Period n of the run, from 0, cut at its end."""
        if self.schedule is None:
            assert n == 0, "a trial is one period"
            assert self.end is not None, "a trial has an end"
            return Period(self.start, self.end)
        period = self.schedule.nth(n)
        if self.end is not None and self.end < period.end:
            return Period(period.start, self.end)
        return period

    def whole(self, n: int) -> Period:
        """The calendar period that period n is, or is a part of (K4)."""
        return self.nth(n) if self.schedule is None else self.schedule.whole(n)

    def index(self, at: int) -> int:
        """Which of its periods holds an instant of the run."""
        return 0 if self.schedule is None else self.schedule.index(at)

    @property
    def length(self) -> int:
        """How many periods it has; it must have an end."""
        assert self.end is not None, "an endless run"
        return self.index(self.end - 1) + 1


class Timeline(msgspec.Struct, frozen=True):
    """
    Periods 0, 1, 2, ... of a subscription: adjacent, none empty, the first from its exact start.

    Attributes:
        runs: Ascending and adjacent; none if it ended before it began.
    """

    runs: tuple[Run, ...]

    @property
    def start(self) -> int | None:
        return self.runs[0].start if self.runs else None

    @property
    def end(self) -> int | None:
        """Exclusive; None while no end is known. Also None without any run."""
        return self.runs[-1].end if self.runs else None

    def covers(self, at: int) -> bool:
        """Whether one of its periods holds the instant."""
        runs = self.runs
        if not runs or at < runs[0].start:
            return False
        end = runs[-1].end
        return end is None or at < end

    def nth(self, n: int) -> Period:
        """Period n, from 0."""
        run = self._run(n)
        return run.nth(n - run.first)

    def whole(self, n: int) -> Period:
        """
        The full calendar period that period n is, or is only a part of: what a price for a period
        is a price for (K4).
        """
        run = self._run(n)
        return run.whole(n - run.first)

    def anchor_at(self, at: int) -> int:
        """The boundary from which the periods around an instant are counted (K3)."""
        run = self.runs[bisect_right(self.runs, at, key=lambda run: run.start) - 1]
        return run.start if run.schedule is None else run.schedule.whole(0).start

    def in_trial(self, n: int) -> bool:
        """Whether period n is a trial, which is not charged."""
        return self._run(n).schedule is None

    def index(self, at: int) -> int:
        """The n whose period contains the instant; -1 where none does."""
        if not self.covers(at):
            return -1
        run = self.runs[bisect_right(self.runs, at, key=lambda run: run.start) - 1]
        return run.first + run.index(at)

    def containing(self, at: int) -> Period:
        """The period that contains an instant, which one of them does."""
        return self.nth(self.index(at))

    def find(self, at: int) -> Period | None:
        """The period that contains an instant, if one does."""
        return self.containing(at) if self.covers(at) else None

    def ended_by(self, at: int) -> int:
        """How many periods have ended: those with end <= at."""
        if not self.runs or at < self.runs[0].start:
            return 0
        last = self.runs[-1]
        if last.end is not None and last.end <= at:
            return last.first + last.length
        return self.index(at)

    def _run(self, n: int) -> Run:
        assert n >= 0, n
        return self.runs[bisect_right(self.runs, n, key=lambda run: run.first) - 1]


def timeline_of(subscription: Subscription) -> Timeline:
    """All periods of a subscription, past and planned."""
    runs: list[Run] = []
    first = 0
    for segment, end in _run_heads(subscription):
        schedule = None
        if not segment.trial:
            schedule = Schedule(
                segment.start, segment.cadence, subscription.anchor, subscription.timezone
            )
        run = Run(first, segment.start, end, schedule)
        runs.append(run)
        if end is not None:
            first += run.length
    return Timeline(tuple(runs))


def calendar_months(timezone: str) -> Timeline:
    """What usage is counted by where there is no subscription: calendar months since 1970."""
    return Timeline((Run(0, 0, None, Schedule(0, Cadence.MONTH, Anchor.CALENDAR, timezone)),))


def begins_anew(before: Segment, after: Segment) -> bool:
    """Whether a new schedule starts between two neighbours."""
    return before.trial != after.trial or (not after.trial and before.cadence != after.cadence)


def same_periods(a: Timeline, b: Timeline, since: int, until: int) -> bool:
    """Whether every instant of [since, until] lies in periods of both that began together."""
    at: int | None = since
    while a != b and at is not None and at <= until:
        one, other = a.find(at), b.find(at)
        if (one and one.start) != (other and other.start):
            return False
        ends = [period.end for period in (one, other) if period is not None]
        starts = [start for start in (a.start, b.start) if start is not None and start > at]
        at = min(ends or starts, default=None)
    return True


def _run_heads(subscription: Subscription) -> Iterator[tuple[Segment, int | None]]:
    """The first segment of each run with the end of the run; none from the end on."""
    end = subscription.end
    heads = [subscription.segments[0]]
    for before, after in zip(subscription.segments, subscription.segments[1:], strict=False):
        if begins_anew(before, after):
            heads.append(after)
    heads = [head for head in heads if end is None or head.start < end]
    ends = [*(head.start for head in heads[1:]), end]
    yield from zip(heads, ends, strict=False)
