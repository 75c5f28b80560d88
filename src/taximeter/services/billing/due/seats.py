"""
Seats as a bill sees them: who had one when, from the commands that are in the log like any event.

So what a period is billed for follows from a position of the log, now and for ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from taximeter.catalog.prices import Seat, SeatCount
from taximeter.gate.effects import LeaveSeat, TakeSeat
from taximeter.invoices.charges import Charge
from taximeter.periods import Period
from taximeter.ports import StoredEvent
from taximeter.rating import SeatTime, seat_time
from taximeter.services.billing.due.dues import Due
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

SEAT_EVENT = "taximeter.seat"
SEAT_SOURCE = "taximeter/seat"

Assigned = Mapping[tuple[str, str], list[tuple[int, int]]]
"""(customer, feature) -> how many seats were assigned from each instant on."""


async def seat_times(
    core: Core, tenant: Tenant, dues: Sequence[Due], upto: int, cut: Period | None = None
) -> list[dict[int, SeatTime]]:
    """
    For each due period: place among its charges -> what the seats of that charge come to.

    Args:
        upto: Position of the log.
        cut: Only what was done before its end; what is there then stays to the end of its period.
    """
    customers = sorted({due.customer.key for due in dues if any(due.seat_charges())})
    if not customers:
        return [{} for _ in dues]
    events = [one async for one in core.store.scan(tenant.name, upto, [SEAT_EVENT], customers)]
    assigned = assigned_seats(events, None if cut is None else cut.end)
    return [
        {
            place: _seat_time(due, charge, price, assigned)
            for place, charge, price in due.seat_charges()
        }
        for due in dues
    ]


def _seat_time(due: Due, charge: Charge, price: Seat, assigned: Assigned) -> SeatTime:
    assert charge.days is not None, "seats are charged for days"
    assert charge.whole is not None, "seats are a part of a period"
    named = assigned.get((due.customer.key, price.feature), [])
    is_assigned = price.count is SeatCount.ASSIGNED
    if price.count is None and "+" not in charge.name:
        # Whoever once names holders is billed for holders.
        is_assigned = bool(named) and named[0][0] < charge.period.end
    return seat_time(
        price,
        named if is_assigned else charge.contracted,
        charge.period,
        charge.days,
        charge.whole,
        due.subscription.timezone,
        continues=charge.continues,
    )


def assigned_seats(
    events: Iterable[StoredEvent], before: int | None = None
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """
    Fold commands as the gate applied them: in the order of the log, each when it was received; a
    concurrent seat ends by itself.

    Args:
        before: Only commands received earlier.
    """
    holders: dict[tuple[str, str], _Holders] = defaultdict(_Holders)
    for stored in sorted(events, key=lambda one: one.seq):
        if stored.event.source != SEAT_SOURCE or not (
            before is None or stored.received_at < before
        ):
            continue
        match _effect(stored.event.data):
            case TakeSeat(customer=customer, feature=feature, holder=holder, until=until):
                holders[customer, feature].take(holder, until, stored.received_at)
            case LeaveSeat(customer=customer, feature=feature, holder=holder):
                holders[customer, feature].leave(holder, stored.received_at)
    return {key: one.steps() for key, one in holders.items()}


class _Holders:
    """Who has a seat, and how many they were."""

    def __init__(self) -> None:
        self._until: dict[str, int | None] = {}
        self._counts: dict[int, int] = {}
        self._now = 0

    def take(self, holder: str, until: int | None, at: int) -> None:
        self._advance(at)
        self._until[holder] = until
        self._counts[self._now] = len(self._until)

    def leave(self, holder: str, at: int) -> None:
        self._advance(at)
        self._until.pop(holder, None)
        self._counts[self._now] = len(self._until)

    def steps(self) -> list[tuple[int, int]]:
        """Including the ends that are yet to come."""
        self._end_seats(None)
        return sorted(self._counts.items())

    def _advance(self, at: int) -> None:
        self._now = max(self._now, at)  # a clock that was set back moves no command
        self._end_seats(self._now)

    def _end_seats(self, by: int | None) -> None:
        ends = sorted(
            (until, holder)
            for holder, until in self._until.items()
            if until is not None and (by is None or until <= by)
        )
        for until, holder in ends:
            del self._until[holder]
            self._counts[until] = len(self._until)


def _effect(data: dict[str, Any] | None) -> TakeSeat | LeaveSeat | None:
    try:
        return msgspec.convert(data, TakeSeat | LeaveSeat)
    except msgspec.ValidationError:  # not from the gate, whatever its source says
        return None
