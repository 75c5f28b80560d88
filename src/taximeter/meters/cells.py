"""
The cells of one customer and period: every counter's number, in one flat list.

A `Layout` says which counter owns which slot; the compiled programs of all event types write into
the same list. See `compile` for what lies where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from taximeter.meters import aggregate
from taximeter.meters.compile import Program, compile_counters
from taximeter.meters.counter import Counter, Group
from taximeter.meters.definition import Aggregation, Meter, weighs_time
from taximeter.periods import Period


class Layout:
    """
    Counters and their slots: the counter at index i of the sequence has slot i.

    Attributes:
        counters: In slot order; no two count the same.
        slots: Counter key -> slot.
        programs: The compiled counters of each event type.
        carrying: Slots of the counters that depend on what was before their period.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self.counters = tuple(counters)
        self.slots = {counter.key: slot for slot, counter in enumerate(self.counters)}
        assert len(self.slots) == len(self.counters), "each counter once"
        self.programs = _programs(self.counters)
        self.carrying = tuple(
            slot for slot, counter in enumerate(self.counters) if weighs_time(counter.meter)
        )
        self._plain: list[Any] = []
        self._fresh: list[tuple[int, Callable[[], Any]]] = []
        for slot, counter in enumerate(self.counters):
            if counter.group_by:
                self._fresh.append((2 * slot + 1, dict))
            elif aggregate.is_mutable(counter.meter):
                self._fresh.append((2 * slot + 1, partial(aggregate.empty, counter.meter)))
            self._plain += [0, aggregate.empty(counter.meter)]

    def new_cells(self, start: int = 0, before: list[Any] | None = None) -> list[Any]:
        """
        Cells that have counted nothing.

        Args:
            start: Of the period they are to count.
            before: Cells of all that was before it, or None for nothing.
        """
        cells = self._plain.copy()
        for index, make in self._fresh:
            cells[index] = make()
        if before is not None and self.carrying:
            self.carry(cells, start, before)
        return cells

    def take_out(self, cells: list[Any], event_type: str, values: tuple[Any, ...]) -> bool:
        """
        Count an event no more that was counted in these cells, as far as numbers alone can say what
        would be without it: a sum can, a maximum cannot.

        Args:
            values: What `Program.measure` gave for it.

        Returns:
            Whether all of its counters could; the others have to be folded again from history.
        """
        whole = True
        for slot, value in zip(self.programs[event_type].slots, values, strict=True):
            counter = self.counters[slot]
            if value is None:
                continue
            if not aggregate.is_invertible(counter.meter):
                whole = False
                continue
            cells[2 * slot] -= 1
            if not counter.group_by:
                cells[2 * slot + 1] -= _summed(counter.meter, value)
                continue
            group, inner = value
            groups: dict[Group, list[Any]] = cells[2 * slot + 1]
            n, state = groups.pop(group, (0, 0))
            left = [n - 1, state - _summed(counter.meter, inner)]
            if any(left):
                groups[group] = left
        return whole

    def carry(self, cells: list[Any], start: int, earlier: list[Any]) -> None:
        """
        Let what was counted before a period open it; for counters that weigh time, in place.

        Args:
            start: Of the period that `cells` count.
            earlier: Cells of what was before, all of it, and not counted into `cells` yet.
        """
        for slot in self.carrying:
            counter, before = self.counters[slot], earlier[2 * slot + 1]
            if not counter.group_by:
                aggregate.carry(counter.meter, cells[2 * slot + 1], before, start)
                continue
            groups: dict[Group, list[Any]] = cells[2 * slot + 1]
            for group, (_, state) in before.items():
                opened = groups.get(group) or [0, aggregate.empty(counter.meter)]
                aggregate.carry(counter.meter, opened[1], state, start)
                # A group is kept exactly if there is something in it, however it came about.
                if opened[0] or opened[1]:
                    groups[group] = opened
                else:
                    groups.pop(group, None)

    def merge_cells(self, a: list[Any], b: list[Any]) -> list[Any]:
        """New cells with the events of both."""
        merged: list[Any] = []
        for slot, counter in enumerate(self.counters):
            left, right = a[2 * slot + 1], b[2 * slot + 1]
            combine = _merge_groups if counter.group_by else aggregate.merge
            merged += [a[2 * slot] + b[2 * slot], combine(counter.meter, left, right)]
        return merged

    def cell_value(
        self, cells: list[Any], slot: int, span: Period | None = None
    ) -> tuple[int, int]:
        """
        (events counted, quantity in pico) of an ungrouped counter.

        Args:
            span: What part of the cells' period to weigh, for counters that weigh time: usually
                from its start to now. Without it, up to the newest event.
        """
        counter = self.counters[slot]
        assert not counter.group_by, "a grouped counter has a value per group"
        n: int = cells[2 * slot]
        return n, aggregate.finish(counter.meter, n, cells[2 * slot + 1], span)

    def cell_groups(
        self, cells: list[Any], slot: int, span: Period | None = None
    ) -> dict[Group, tuple[int, int]]:
        """
        (events counted, quantity in pico) of each group that has either, in no particular order.

        `span` as for `cell_value`.
        """
        counter = self.counters[slot]
        assert counter.group_by, "an ungrouped counter has one value"
        groups: dict[Group, list[Any]] = cells[2 * slot + 1]
        finished = {
            group: (n, aggregate.finish(counter.meter, n, state, span))
            for group, (n, state) in groups.items()
        }
        return {group: found for group, found in finished.items() if any(found)}

    def dump_cells(self, cells: list[Any]) -> list[Any]:
        """
        As plain JSON-able values; equal cells give equal dumps.

        One element per slot: [n, state], or [n, [[group, n, state], ...]] sorted by group.
        """
        return [
            [
                cells[2 * slot],
                _dump_groups(cells[2 * slot + 1])
                if counter.group_by
                else aggregate.dump_state(cells[2 * slot + 1]),
            ]
            for slot, counter in enumerate(self.counters)
        ]

    def load_cells(self, dumped: Sequence[Any]) -> list[Any]:
        """Inverse of `dump_cells` for the same counters in the same slots."""
        cells: list[Any] = []
        for counter, (n, state) in zip(self.counters, dumped, strict=True):
            if counter.group_by:
                groups = {
                    tuple(group): [count, aggregate.load_state(counter.meter, one)]
                    for group, count, one in state
                }
                cells += [n, groups]
            else:
                cells += [n, aggregate.load_state(counter.meter, state)]
        return cells


def _programs(counters: tuple[Counter, ...]) -> dict[str, Program]:
    by_type: dict[str, list[tuple[int, Counter]]] = {}
    for slot, counter in enumerate(counters):
        by_type.setdefault(counter.meter.event_type, []).append((slot, counter))
    return {event_type: compile_counters(slotted) for event_type, slotted in by_type.items()}


def _summed(meter: Meter, value: int) -> int:
    """What one event adds to the state, beside being counted."""
    return 0 if meter.aggregation is Aggregation.COUNT else value


def group_order(group: Group) -> list[tuple[bool, str]]:
    """Sort key of groups: by code point, a missing dimension before every text."""
    return [(text is not None, text or "") for text in group]


def _merge_groups(
    meter: Meter, a: dict[Group, list[Any]], b: dict[Group, list[Any]]
) -> dict[Group, list[Any]]:
    merged: dict[Group, list[Any]] = {}
    for group in a.keys() | b.keys():
        left = a.get(group) or [0, aggregate.empty(meter)]
        right = b.get(group) or [0, aggregate.empty(meter)]
        both = [left[0] + right[0], aggregate.merge(meter, left[1], right[1])]
        if both[0] or both[1]:
            merged[group] = both
    return merged


def _dump_groups(groups: dict[Group, list[Any]]) -> list[Any]:
    return [
        [list(group), groups[group][0], aggregate.dump_state(groups[group][1])]
        for group in sorted(groups, key=group_order)
    ]
