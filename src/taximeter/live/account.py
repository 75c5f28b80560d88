"""
What is known of one customer right now: the counters of each of its billing periods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from taximeter.live.gating import Hooks
from taximeter.periods import Period
from taximeter.subscriptions.timeline import Timeline

Cells = list[Any]

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
        rebuilding: For each fold of history on its way, the keys of the counters it brings;
            exact only when empty.
        subjects: Those that were claimed when it was made.
        seen: Some accepted event named one of its subjects.
        hooks: What its events do beside being counted, until `hooks_until`; None: to be found.
        plain_until: Before this instant its events do nothing but count. Now and then one goes the
            long way to find out.
        watched: Somebody wants to know when its usage or its credits change.
    """

    __slots__ = (
        "cells",
        "customer",
        "hooks",
        "hooks_until",
        "period_end",
        "period_start",
        "periods",
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
        self.cells: Cells = []
        self.period_start = self.period_end = 0  # an empty period: no event falls into it
        self.rebuilding: tuple[frozenset[str], ...] = ()
        self.seen = False
        self.watched = False
        self.hooks: Hooks | None = None
        self.hooks_until = self.plain_until = 0

    def forget_hooks(self) -> None:
        """After anything they were made from has changed."""
        self.hooks = None
        self.hooks_until = self.plain_until = 0

    @property
    def lanes(self) -> tuple[Account, ...]:
        """Itself and its siblings, in the order of `Standing.lanes`."""
        return (self, *self.siblings)

    def cells_at(self, at: int, empty: Callable[[], Cells]) -> Cells | None:
        """
        The counters of the period that holds `at`, made by `empty` if it is a new one.

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
            known = self.periods[start] = (end, empty())
        if start > self.period_start:
            self.period_start, self.period_end, self.cells = start, *known
        return known[1]

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
