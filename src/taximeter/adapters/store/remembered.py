"""
Remembered totals: what was counted up to a position, so that going on from there reads only what
came since. One late event costs one look at the newest events, not at a month of them.

Only for sums and counts, which the next events are added to. A retraction between then and now
takes something away, so after one all is counted anew. Totals are exact and follow from the log:
whether one was remembered shows in nothing but the time it takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from taximeter.adapters.store.sql import Total
from taximeter.meters.definition import Meter
from taximeter.meters.kinds import Aggregation

MOST: Final = 100_000
"""Lines of invoices that are remembered, groups of one together; the oldest are forgotten first."""

Groups: TypeAlias = dict[tuple[Any, ...], Total]


def can_go_on(meter: Meter) -> bool:
    """Whether totals of later events can be added to those of earlier ones."""
    return meter.aggregation in (Aggregation.SUM, Aggregation.COUNT)


class Remembered:
    """Totals by what they are of: any hashable that says meter, filters, groups, whose and when."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[Any, tuple[int, Groups]] = OrderedDict()
        self._numbers: dict[Any, int] = {}

    def number(self, counting: Any) -> int:
        """A short name, for ever, of meter, filters and groups, which many keys have in common."""
        return self._numbers.setdefault(counting, len(self._numbers))

    def up_to(self, key: Any, least: int, most: int) -> int:
        """The position the totals of a key are of; 0 if that is not within these bounds."""
        known = self._known.get(key)
        return known[0] if known is not None and least <= known[0] <= most else 0

    def groups(self, key: Any) -> Groups:
        return self._known[key][1]

    def put(self, key: Any, position: int, groups: Groups) -> None:
        self._known[key] = (position, groups)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def added(groups: Mapping[Any, Total], more: Mapping[Any, Total]) -> Groups:
    """Both together, group by group."""
    found = dict(groups)
    for group, total in more.items():
        known = found.get(group)
        found[group] = (
            total
            if known is None
            else Total(known.value_pico + total.value_pico, known.events + total.events)
        )
    return found
