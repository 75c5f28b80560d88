"""
History folded again: what a new meter, a new subscription or a claimed subject would have counted.

The fold is the same one that runs live, over the same events, so its result can be merged into
counters that went on counting meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from taximeter.customers import Customer
from taximeter.events.envelope import Event
from taximeter.live.account import Lane
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.periods import Period


class FoldAccount(msgspec.Struct, frozen=True):
    """A customer with the periods its usage is counted by."""

    customer: Customer
    lanes: tuple[Lane, ...] = ()


class FoldSpec(msgspec.Struct, frozen=True):
    """
    Fold the events with seq in (after, upto] into these counters of these customers.

    Attributes:
        corrected: What was taken back up to this position is left out; None for `upto`. Slices of
            one history are all corrected up to its end.
        without: Seqs that are left out as well: what if they had been taken back?
        span: Only events with their own time in it; None for all.
    """

    namespace: str
    after: int
    upto: int
    counters: tuple[Counter, ...]
    accounts: tuple[FoldAccount, ...]
    corrected: int | None = None
    without: frozenset[int] = frozenset()
    span: Period | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(s for account in self.accounts for s in account.customer.all_subjects)

    @property
    def event_types(self) -> tuple[str, ...]:
        return tuple(sorted({counter.meter.event_type for counter in self.counters}))


Folded = dict[str, list[dict[int, list[Any]]]]
"""Customer -> for each lane: start of a period, or `EARLIER` -> its cells as `Layout.dump_cells`
gives them."""


def refold(spec: FoldSpec, events: Iterable[tuple[Event, int]]) -> Folded:
    """Fold (event, instant) pairs; those of other customers or types are passed over."""
    state = LiveState(spec.counters)
    for account in spec.accounts:
        state.put_customer(account.customer, account.lanes)
    state.fold_stored(events)
    return {
        customer: [
            {start: state.layout.dump_cells(cells) for start, _, cells in lane.counted()}
            for lane in account.lanes
        ]
        for customer, account in state.accounts.items()
        if any(lane.periods or lane.earlier for lane in account.lanes)
    }
