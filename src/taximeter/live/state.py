"""
The fold: accepted events in, live counters out.

A namespace's live state is a pure function of its accepted events up to a position, its counters
and its customers. Nothing here reads a clock or waits; the one thread that sequences events calls
it, so answers are exact without locks.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from taximeter.customers import Customer
from taximeter.events.envelope import Event
from taximeter.gate.effects import (
    Caused,
    DropBudget,
    Effect,
    Fire,
    Reserve,
    SetBudget,
    Throttle,
)
from taximeter.gate.state import GateState
from taximeter.live.account import Account, Cells, Lane
from taximeter.live.gating import Hooks
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter, Group
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.rules.memory import Memory
from taximeter.subscriptions.timeline import calendar_months

History = dict[int, Cells]
"""Counters by the start of their period, or `EARLIER`, in some layout."""


class Fired(msgspec.Struct, frozen=True):
    """A rule fired; `at` is when the event was received."""

    at: int
    fire: Fire


class LiveState:
    """
    Live counters of one namespace.

    Attributes:
        layout: What is counted, and where in the cells.
        accounts: Customer key -> account.
        by_subject: Subject -> the account of the customer that claims it.
        unmatched: Subject nobody claims -> how many of its events were accepted.
        births: Counter key -> a number that is another one each time the counter is added.
        gate: Credits, holds and what else customers have beside usage.
        hooks_of: What an account's events do beside being counted, from an instant on; None where
            history is only counted.
        touched: Watched accounts whose numbers have changed since somebody last looked.
        watches: Whether somebody wants to know of a customer, by its key.
        memories: What rules remember of customers, by their keys.
        fired: Rules that have fired since somebody last took them.
    """

    def __init__(self, counters: Sequence[Counter] = ()) -> None:
        self.layout = Layout(counters)
        self.accounts: dict[str, Account] = {}
        self.by_subject: dict[str, Account] = {}
        self.unmatched: dict[str, int] = {}
        self.births = dict.fromkeys(self.layout.slots, 0)
        self._generation = 0
        self.gate = GateState()
        self.hooks_of: Callable[[Account, int], Hooks] | None = None
        self.touched: set[Account] = set()
        self.watches: Callable[[str], bool] = lambda customer: False
        self.memories: dict[str, Memory] = {}
        self.fired: list[Fired] = []

    # --- what is counted, and for whom ---

    def set_counters(self, wanted: Sequence[Counter]) -> list[Counter]:
        """
        Count these from now on.

        Returns:
            Counters that were not kept before. Their history is missing until `merge` brings it.
        """
        old = self.layout
        added = [counter for counter in wanted if counter.key not in old.slots]
        self.layout = Layout(wanted)
        self._generation += 1
        self.births = {key: self.births.get(key, self._generation) for key in self.layout.slots}
        for account in self.accounts.values():
            account.relayout(lambda cells: moved(cells, old, self.layout))
            account.forget_hooks()
        return added

    def put_customer(self, customer: Customer, lanes: Sequence[Lane] = ()) -> Account:
        """
        Give a customer a fresh, empty account; events folded from now on are counted in it.

        Args:
            lanes: The periods of each of its subscriptions; calendar months if there are none.
        """
        first, *others = lanes or (Lane("", calendar_months(customer.timezone)),)
        siblings = tuple(Account(customer.key, lane) for lane in others)
        account = Account(customer.key, first, customer.all_subjects, siblings)
        old = self.accounts.get(customer.key)
        self.accounts[customer.key] = account
        account.watched = self.watches(customer.key)
        if account.watched:
            self.touched.add(account)
        if old is not None:
            self.touched.discard(old)
            for subject in old.subjects:
                if self.by_subject.get(subject) is old:
                    del self.by_subject[subject]
        for subject in customer.all_subjects:
            self.by_subject[subject] = account
            self.unmatched.pop(subject, None)
        return account

    # --- the fold ---

    def fold(
        self,
        event: Event,
        at: int,
        values: tuple[Any, ...] | None,
        now: int | None = None,
        seq: int = 0,
    ) -> Sequence[Caused]:
        """
        Count one accepted event.

        Args:
            at: Its instant, resolved.
            values: What `Program.measure` returned for it, or None if no counter counts it.
            now: When it was received; None to count only, for history.
            seq: Its own; 0 for one whose effects are in the log.

        Returns:
            What it burns, and which rules fire. It is not applied here: it belongs to the entry of
            the log.
        """
        account = self.by_subject.get(event.subject)
        if account is None:
            self._count_unmatched(event.subject, 1)
            return ()
        account.seen = True
        counted = values is not None and self._count(account, event, at, values)
        if now is None or now < account.plain_until:
            return ()
        return self._run_hooks(account, event, at, values if counted else None, now, seq)

    def _count(self, account: Account, event: Event, at: int, values: tuple[Any, ...]) -> bool:
        """Whether some period holds the event."""
        if account.period_start <= at < account.period_end:
            cells: Cells | None = account.cells
        else:
            cells = account.cells_at(at, self.layout.new_cells)
            if self.layout.carrying:
                self._carry(account, event, at, values)
        counted = cells is not None
        if cells is not None:
            self.layout.programs[event.type].add(cells, values, at, event.id)
        for sibling in account.siblings:
            cells = sibling.cells_at(at, self.layout.new_cells)
            if self.layout.carrying:
                self._carry(sibling, event, at, values)
            if cells is not None:
                self.layout.programs[event.type].add(cells, values, at, event.id)
                counted = True
        return counted

    def _count_unmatched(self, subject: str, events: int) -> None:
        # Below zero is for a moment: what was before is on its way from history.
        count = self.unmatched.get(subject, 0) + events
        if count:
            self.unmatched[subject] = count
        else:
            self.unmatched.pop(subject, None)

    def take_back(self, event: Event, at: int, now: int, spent_pico: Mapping[str, int]) -> bool:
        """
        Count an event no more, nor in the gauges of limits and budgets.

        What it took from a rate stays taken, and what rules have seen stays seen: those are about
        what was sent, not about what is owed.

        Args:
            at: Its instant.
            now: When it is taken back.
            spent_pico: By feature: the credit it cost, which is given back elsewhere.

        Returns:
            Whether all is as if it had not been; if not, the account has to be folded again.
        """
        account = self.by_subject.get(event.subject)
        if account is None:
            self._count_unmatched(event.subject, -1)
            return True
        program = self.layout.programs.get(event.type)
        values = program.measure_stored(event) if program is not None else None
        if values is None:
            return True
        counted, whole = False, True
        for lane in account.lanes:
            cells = lane.cells_at(at, self.layout.new_cells)
            if cells is not None:
                counted = True
                whole &= self.layout.take_out(cells, event.type, values)
            elif self.layout.carrying:
                whole = False  # it may have a part in what later periods open with
        if account.watched:
            self.touched.add(account)
        if counted and now >= account.plain_until:
            self._undo_hooks(account, event, at, values, now, spent_pico)
        return whole

    def _undo_hooks(
        self,
        account: Account,
        event: Event,
        at: int,
        values: tuple[Any, ...],
        now: int,
        spent_pico: Mapping[str, int],
    ) -> None:
        purse = self.gate.purses.get(account.customer)
        for hook in self.hooks(account, now).by_type.get(event.type, ()):
            measured = values[hook.index]
            if measured is not None and purse is not None:
                hook.undo(purse, event, at, measured, spent_pico.get(hook.feature, 0))

    def _carry(self, lane: Account, event: Event, at: int, values: tuple[Any, ...]) -> None:
        """A late event has a part in later periods, too, as far as they weigh time."""
        if lane.schedule.covers(at) and at >= lane.period_start:
            return
        alone = self.layout.new_cells()
        self.layout.programs[event.type].add(alone, values, at, event.id)
        if any(alone[2 * slot] for slot in self.layout.carrying):
            lane.carry(at, alone, self.layout)

    def _run_hooks(
        self,
        account: Account,
        event: Event,
        at: int,
        values: tuple[Any, ...] | None,
        now: int,
        seq: int,
    ) -> Sequence[Caused]:
        hooks = self.hooks(account, now)
        caused: list[Caused] = []
        if values is not None:
            if account.watched:
                self.touched.add(account)
            for hook in hooks.by_type.get(event.type, ()):
                measured = values[hook.index]
                if measured is not None:
                    purse = self.gate.purse(account.customer)
                    burn = hook.run(purse, event, at, seq, measured)
                    if burn is not None:
                        caused.append(burn)
        if event.type in hooks.rules:
            caused += self._run_rules(hooks, account.customer, event, at, now, seq)
        return caused

    def _run_rules(
        self, hooks: Hooks, customer: str, event: Event, at: int, now: int, seq: int
    ) -> Iterator[Fire]:
        """Rules see also what no meter counts. What they did about a stored event is in the log."""

        def memory_of() -> Memory:
            return self.memory(customer)

        for watcher in hooks.rules[event.type]:
            sighting = watcher.see(memory_of, event, at, now)
            if sighting is not None and seq:
                fire = watcher.fire(memory_of(), sighting, customer, event, at, now, seq)
                if fire is not None:
                    yield fire

    def memory(self, customer: str) -> Memory:
        """What rules remember of a customer; an empty one if that is nothing yet."""
        found = self.memories.get(customer)
        if found is None:
            found = self.memories[customer] = Memory()
        return found

    def hooks(self, account: Account, now: int) -> Hooks:
        """Those of an account, made again when they may have changed."""
        if account.hooks is None or now >= account.hooks_until:
            assert self.hooks_of is not None, "a state that only counts has no hooks"
            account.hooks = self.hooks_of(account, now)
            account.hooks_until = account.hooks.until
            found = account.hooks.by_type or account.hooks.rules
            plain = not (found or account.watched or account.siblings)
            account.plain_until = account.hooks_until if plain else 0
        return account.hooks

    def apply(self, effects: Iterable[Effect], at: int, seq: int) -> None:
        """
        Apply what an entry of the log did to credits and holds.

        Args:
            at: When the entry was received.
            seq: Of its first accepted event.
        """
        for effect in effects:
            self.gate.apply(effect, at, seq)
            if isinstance(effect, Fire):
                self.memory(effect.customer).rest(effect.rule, effect.value, effect.resting)
                self.fired.append(Fired(at, effect))
            account = self.accounts.get(effect.customer)
            if account is not None:
                if (
                    isinstance(effect, SetBudget | DropBudget | Throttle)
                    or (isinstance(effect, Reserve) and effect.lease)
                    or (isinstance(effect, Fire) and effect.imposed)
                ):
                    account.forget_hooks()
                if account.watched:
                    self.touched.add(account)

    def fold_stored(self, events: Iterable[tuple[Event, int]], now: int | None = None) -> None:
        """
        Count events that were accepted earlier, as (event, instant).

        A meter may have come after them, so a value that it cannot read does not count for it.
        """
        programs = self.layout.programs
        for event, at in events:
            program = programs.get(event.type)
            values = program.measure_stored(event) if program is not None else None
            self.fold(event, at, values, now)

    def merge(
        self, customer: str, lanes: Sequence[History], layout: Layout, kept: Container[str]
    ) -> None:
        """
        Add history that was counted elsewhere in another layout.

        Aggregates are mergeable (K12), so it does not matter that newer events came first.

        Args:
            lanes: History for each lane of the account.
            kept: Keys of the counters to add; others of the layout are passed over.
        """
        account = self.accounts[customer]
        account.seen = account.seen or any(lanes)
        for lane, history in zip(account.lanes, lanes, strict=True):
            theirs = {
                start: moved(cells, layout, self.layout, kept) for start, cells in history.items()
            }
            lane.merge(theirs, self.layout)

    # --- answers ---

    def usage(
        self, account: Account, counter: Counter, period: Period, until: int | None = None
    ) -> tuple[int, int]:
        """
        (events, value in pico) of an ungrouped counter in one period.

        Args:
            until: What weighs time is weighed up to this instant; None for the whole period.
        """
        cells, slot = self._cells(account, counter, period), self.layout.slots.get(counter.key)
        if cells is None or slot is None:
            return (0, 0)
        return self.layout.cell_value(cells, slot, _past(period, until))

    def usage_by_group(
        self, account: Account, counter: Counter, period: Period, until: int | None = None
    ) -> dict[Group, tuple[int, int]]:
        """Group -> (events, value in pico) of a grouped counter in one period, as for `usage`."""
        cells, slot = self._cells(account, counter, period), self.layout.slots.get(counter.key)
        if cells is None or slot is None:
            return {}
        return self.layout.cell_groups(cells, slot, _past(period, until))

    def _cells(self, account: Account, counter: Counter, period: Period) -> Cells | None:
        if weighs_time(counter.meter):  # a period without events opens with a level all the same
            return account.cells_at(period.start, self.layout.new_cells)
        return account.cells_of(period)


def _past(period: Period, until: int | None) -> Period:
    if until is None:
        return period
    return Period(period.start, max(period.start, min(period.end, until)))


def moved(cells: Cells, old: Layout, new: Layout, kept: Container[str] | None = None) -> Cells:
    """The same counters in another layout; those it does not have, or not `kept`, are dropped."""
    if old is new and kept is None:
        return cells
    result = new.new_cells()
    for key, slot in new.slots.items():
        source = old.slots.get(key)
        if source is not None and (kept is None or key in kept):
            result[2 * slot : 2 * slot + 2] = cells[2 * source : 2 * source + 2]
    return result
