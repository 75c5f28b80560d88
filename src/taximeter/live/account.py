"""
What is known of one customer right now: the counters of each of its billing periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.live.gating import Hooks
from taximeter.meters.cells import Layout
from taximeter.periods import Period
from taximeter.subscriptions.timeline import Timeline

Cells: TypeAlias = list[Any]

Opening: TypeAlias = Callable[[int, Cells | None], Cells]
"""`Layout.new_cells`: from the start of a period and what was counted before it, if anything."""

EARLIER: Final = -1
"""Where cells are named by the start of their period: those of what was before the first."""

_shared: dict[int, int] = {}


class Lane(msgspec.Struct, frozen=True):
    """
    Periods that a customer's usage is counted by.

    Attributes:
        subscription: Id of the subscription whose periods they are; "" for calendar months, by
            which usage is counted while there is none.
    """

    subscription: str
    timeline: Timeline


class Account:
    """
    Live counters of one customer, by the periods of its subscription.

    The period of the newest event seen is kept at hand: nearly every event belongs to it, so
    finding its counters is two comparisons. Late events find theirs by the timeline.

    A customer with several subscriptions has its usage counted by the periods of each: the further
    ones are siblings, which hold counters and nothing else.

    Attributes:
        subscription: As of its lane.
        schedule: The periods. Events outside of them are stored but counted nowhere here.
        siblings: The lanes behind the first; () for nearly everybody.
        periods: Start of a period -> (its end, its counters).
        earlier: What was before the first period and has a part in its numbers, because it weighs
            time; None for nothing.
        rebuilding: For each fold of history on its way, the keys of the counters it brings;
            exact only when empty.
        subjects: Those that were claimed when it was made.
        seen: Some accepted event named one of its subjects.
        hooks: What its events do beside being counted, until `hooks_until`; None: to be found.
        plain_until: Before this instant its events do nothing but count. Now and then one goes the
            long way to find out.
        plain_checks: By feature: what a check needs where one limit of the period is all there is.
        watched: Somebody wants to know when its usage or its credits change.
    """

    __slots__ = (
        "cells",
        "customer",
        "earlier",
        "hooks",
        "hooks_until",
        "period_end",
        "period_start",
        "periods",
        "plain_checks",
        "plain_until",
        "rebuilding",
        "schedule",
        "seen",
        "siblings",
        "subjects",
        "subscription",
        "watched",
    )

    def __init__(
        self,
        customer: str,
        lane: Lane,
        subjects: tuple[str, ...] = (),
        siblings: tuple[Account, ...] = (),
    ) -> None:
        self.customer = customer
        self.subjects = subjects
        self.subscription = lane.subscription
        self.schedule = lane.timeline
        self.siblings = siblings
        self.periods: dict[int, tuple[int, Cells]] = {}
        self.earlier: Cells | None = None
        self.cells: Cells = []
        self.period_start = self.period_end = 0  # an empty period: no event falls into it
        self.rebuilding: tuple[frozenset[str], ...] = ()
        self.seen = False
        self.watched = False
        self.hooks: Hooks | None = None
        self.plain_checks: dict[str, Any] = {}
        self.hooks_until = self.plain_until = 0

    def forget_hooks(self) -> None:
        """After anything they were made from has changed."""
        self.hooks = None
        self.hooks_until = self.plain_until = 0
        self.plain_checks.clear()

    @property
    def lanes(self) -> tuple[Account, ...]:
        """Itself and its siblings, in the order of `Standing.lanes`."""
        return (self, *self.siblings)

    def cells_at(self, at: int, opening: Opening) -> Cells | None:
        """
        The counters of the period that holds `at`, made by `opening` if it is a new one.

        Returns:
            None if `at` lies outside of the subscription.
        """
        if self.period_start <= at < self.period_end:
            return self.cells
        if not self.schedule.covers(at):
            return None
        period = self.schedule.containing(at)
        # Accounts of one period share its two numbers: a fold over many customers then touches
        # less memory, which is what it costs.
        start, end = (_shared.setdefault(at, at) for at in (period.start, period.end))
        known = self.periods.get(start)
        if known is None:
            known = self.periods[start] = (end, opening(start, self._before(start)))
        if start > self.period_start:
            self.period_start, self.period_end, self.cells = start, *known
        return known[1]

    def _before(self, start: int) -> Cells | None:
        """The cells that hold, or have carried over, all that was before a period."""
        newest = max((other for other in self.periods if other < start), default=None)
        return self.earlier if newest is None else self.periods[newest][1]

    def carry(self, at: int, counted: Cells, layout: Layout) -> None:
        """
        Let what has been counted at an instant open the periods after it.

        Args:
            counted: Cells with nothing else in them.
        """
        for start, (_, cells) in self.periods.items():
            if at < start:
                layout.carry(cells, start, counted)
        first = self.schedule.start
        if first is not None and at < first:
            if self.earlier is None:
                self.earlier = layout.new_cells()
            layout.carry(self.earlier, first, counted)

    def counted(self) -> Iterator[tuple[int, int, Cells]]:
        """(start, end, cells) of all there is, in order; the start may be `EARLIER`."""
        if self.earlier is not None:
            yield EARLIER, 0, self.earlier
        for start, (end, cells) in sorted(self.periods.items()):
            yield start, end, cells

    def cells_from(self, start: int, layout: Layout) -> Cells | None:
        """Those that `counted` gives with a start, made if need be; None outside of the periods."""
        if start != EARLIER:
            return self.cells_at(start, layout.new_cells)
        if self.earlier is None:
            self.earlier = layout.new_cells()
        return self.earlier

    def merge(self, history: dict[int, Cells], layout: Layout) -> None:
        """
        Add what was counted elsewhere, by the start of its period or `EARLIER`.

        All periods are opened before any is merged: a new one opens with what its predecessor has
        counted here, and what was counted there comes with the history.
        """
        ours = {start: self.cells_from(start, layout) for start in sorted(history)}
        if layout.carrying:
            for start, (_, cells) in self.periods.items():
                before = max((other for other in history if other < start), default=None)
                if start not in history and before is not None:
                    layout.carry(cells, start, history[before])
        for start, mine in ours.items():
            if mine is not None:
                mine[:] = layout.merge_cells(mine, history[start])

    def is_exact(self, counter: str) -> bool:
        """Whether a counter, by its key, has all of its history."""
        return not any(counter in missing for missing in self.rebuilding)

    def cells_of(self, period: Period) -> Cells | None:
        """The counters of a period, or None if nothing was counted in it."""
        known = self.periods.get(period.start)
        return known[1] if known is not None else None

    def relayout(self, convert: Callable[[Cells], Cells]) -> None:
        """Rewrite every period's counters, after the set of counters changed."""
        for sibling in self.siblings:
            sibling.relayout(convert)
        if self.earlier is not None:
            self.earlier = convert(self.earlier)
        self.periods = {
            start: (end, convert(cells)) for start, (end, cells) in self.periods.items()
        }
        if self.period_start in self.periods:
            self.cells = self.periods[self.period_start][1]

    def reschedule(self, timeline: Timeline) -> None:
        """
        Go by other periods, which hold all that was counted as it was counted: of those that have
        counters only the end may differ.
        """
        self.schedule = timeline
        self.periods = {
            start: (timeline.containing(start).end, cells)
            for start, (_, cells) in self.periods.items()
            if timeline.covers(start)
        }
        if self.period_start in self.periods:
            self.period_end, self.cells = self.periods[self.period_start]
        else:
            self.period_start = self.period_end = 0
