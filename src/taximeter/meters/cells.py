"""
The cells of one customer and period: every counter's number, in one flat list.

The counter with slot number i owns `cells[2 * i]`, how many events it counted, and
`cells[2 * i + 1]`, its state (see `aggregate`), or for a grouped counter a dict from group to
`[n, state]`. The programs of all event types of a namespace write into the same list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taximeter.meters import aggregate
from taximeter.meters.counter import Counter, Group


def empty_cells(counters: Iterable[Counter]) -> list[Any]:
    """Cells that have counted nothing, for counters in slot order."""
    cells: list[Any] = []
    for counter in counters:
        cells += [0, {} if counter.group_by else aggregate.empty(counter.meter.aggregation)]
    return cells


def merge_cells(
    counter: Counter, ours: list[Any], slot: int, theirs: Sequence[Any], their_slot: int
) -> None:
    """Add one counter's events in `theirs` to `ours`, in place; they share nothing afterwards."""
    kind = counter.meter.aggregation
    place, their_place = 2 * slot, 2 * their_slot
    ours[place] += theirs[their_place]
    a, b = ours[place + 1], theirs[their_place + 1]
    if not counter.group_by:
        ours[place + 1] = aggregate.merge(kind, a, b)
        return
    for group, (n, state) in b.items():
        held = a.get(group) or (0, aggregate.empty(kind))
        a[group] = [held[0] + n, aggregate.merge(kind, held[1], state)]


def cell_value(counter: Counter, cells: Sequence[Any], slot: int) -> tuple[int, int]:
    """(events counted, quantity in pico) of an ungrouped counter."""
    assert not counter.group_by, "a grouped counter has a value per group"
    n: int = cells[2 * slot]
    return n, aggregate.finish(counter.meter.aggregation, n, cells[2 * slot + 1])


def cell_groups(counter: Counter, cells: Sequence[Any], slot: int) -> dict[Group, tuple[int, int]]:
    """(events counted, quantity in pico) of each group seen, in no particular order."""
    assert counter.group_by, "an ungrouped counter has one value"
    kind = counter.meter.aggregation
    groups: dict[Group, list[Any]] = cells[2 * slot + 1]
    return {group: (n, aggregate.finish(kind, n, state)) for group, (n, state) in groups.items()}


def dump_cells(counters: Sequence[Counter], cells: Sequence[Any]) -> list[Any]:
    """
    Cells as plain JSON-able values; equal cells give equal dumps.

    Returns:
        One element per slot: [n, state], or [n, [[group, n, state], ...]] sorted by group.
    """
    return [
        [
            cells[2 * slot],
            _dump_groups(counter, cells[2 * slot + 1])
            if counter.group_by
            else aggregate.dump_state(counter.meter.aggregation, cells[2 * slot + 1]),
        ]
        for slot, counter in enumerate(counters)
    ]


def load_cells(counters: Sequence[Counter], dumped: Sequence[Any]) -> list[Any]:
    """Inverse of `dump_cells` for the same counters in the same slots."""
    cells: list[Any] = []
    for counter, (n, state) in zip(counters, dumped, strict=True):
        kind = counter.meter.aggregation
        if counter.group_by:
            groups = {tuple(g): [count, aggregate.load_state(kind, one)] for g, count, one in state}
            cells += [n, groups]
        else:
            cells += [n, aggregate.load_state(kind, state)]
    return cells


def group_order(group: Group) -> list[tuple[bool, str]]:
    """Sort key of groups: by code point, a missing dimension before every text."""
    return [(text is not None, text or "") for text in group]


def _dump_groups(counter: Counter, groups: dict[Group, list[Any]]) -> list[Any]:
    kind = counter.meter.aggregation
    return [
        [list(group), groups[group][0], aggregate.dump_state(kind, groups[group][1])]
        for group in sorted(groups, key=group_order)
    ]
