"""
What a correction or an import would change: quantities as they are and as they would be.

Both are counted by the fold that counts live, over the events as they would then stand, so a
maximum or a session is as right as a sum.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from taximeter.corrections.facts import Change
from taximeter.events.envelope import Event
from taximeter.instants import format_instant
from taximeter.live.account import EARLIER, Account, Lane
from taximeter.live.refold import FoldAccount, Folded, FoldSpec
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.quantities import format_quantity
from taximeter.services.core import Core
from taximeter.services.corrections.fares import (
    FareChange,
    billed_counters,
    dues_of,
    fare_changes,
)
from taximeter.services.tenant import Tenant

MAX_SHOWN = 1_000

Added: TypeAlias = Sequence[tuple[Event, int]]
"""Events with their instants."""


class Difference(NamedTuple):
    """A customer's quantity of one meter in one period; `lane` is a subscription's id or ""."""

    customer: str
    meter: str
    lane: str
    period: Period
    before_pico: int
    after_pico: int
    events_before: int
    events_after: int

    def to_json(self) -> dict[str, Any]:
        return {
            "customer": self.customer,
            "meter": self.meter,
            "subscription": self.lane or None,
            "period": {
                "start": format_instant(self.period.start),
                "end": format_instant(self.period.end),
            },
            "before": format_quantity(self.before_pico),
            "after": format_quantity(self.after_pico),
            "events_before": self.events_before,
            "events_after": self.events_after,
        }


class Effect(NamedTuple):
    """
    Attributes:
        more: How many differences are not shown.
        fares: Those that would be others, of periods that counters alone can rate.
    """

    shown: list[Difference]
    more: int
    fares: list[FareChange]

    @property
    def moved_minor(self) -> dict[str, int]:
        """Currency -> by how much fares would change in all, up or down."""
        moved: dict[str, int] = {}
        for fare in self.fares:
            change = abs(fare.after_minor - fare.before_minor)
            moved[fare.currency] = moved.get(fare.currency, 0) + change
        return moved


async def effect_of(
    core: Core,
    tenant: Tenant,
    upto: int,
    without: Iterable[tuple[int, Event, int]],
    added: Callable[[], AsyncIterator[Added]],
) -> Effect:
    """
    Args:
        without: (seq, event, instant) of what would count no more.
        added: Gives what would count, some at a time; asked twice.
    """
    gone = list(without)
    touched = _Touched(tenant)
    touched.see([(event, at) for _, event, at in gone])
    async for events in added():
        touched.see(events)
    dues = await dues_of(core, tenant, sorted(touched.periods))
    spec = touched.spec(upto, billed_counters(tenant, dues))
    if spec is None:
        return Effect([], 0, [])
    before = _state(spec, await core.store.fold(spec))
    seqs = frozenset(seq for seq, _, _ in gone)
    after = _state(spec, await core.store.fold(msgspec.structs.replace(spec, without=seqs)))
    async for events in added():
        after.fold_stored(events)
    now = core.clock.now()
    found = list(_differences(before, after, touched.meters, now))
    fares = list(fare_changes(tenant, dues, before, after, upto, now))
    return Effect(found[:MAX_SHOWN], max(0, len(found) - MAX_SHOWN), fares)


async def effect_of_changes(
    core: Core, tenant: Tenant, upto: int, changes: Sequence[Change]
) -> Effect:
    """What a correction would change."""

    async def added() -> AsyncIterator[Added]:
        yield [(new, change.at) for change in changes if (new := change.replacement) is not None]

    gone = [(change.seq, change.event, change.at) for change in changes if change.retract]
    return await effect_of(core, tenant, upto, gone, added)


async def moved_by(core: Core, tenant: Tenant, changes: Sequence[Change]) -> dict[str, int]:
    """`Effect.moved_minor` of a correction, where the settings make it matter; else nothing."""
    if not tenant.billing.four_eyes_minor:
        return {}
    return (await effect_of_changes(core, tenant, await core.upto(), changes)).moved_minor


class _Touched:
    """
    Whose numbers may change, of which meters, and in which periods.

    Attributes:
        periods: (subscription, start).
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._accounts: dict[str, Account] = {}
        self._types: set[str] = set()
        self._span: tuple[int, int] | None = None
        self.periods: set[tuple[str, int]] = set()

    def see(self, events: Added) -> None:
        for event, at in events:
            account = self._tenant.live.by_subject.get(event.subject)
            if account is None:
                continue
            self._accounts[account.customer] = account
            self._types.add(event.type)
            for lane in account.lanes:
                if lane.schedule.covers(at):
                    period = lane.schedule.containing(at)
                    start, end = self._span or (period.start, period.end)
                    self._span = (min(start, period.start), max(end, period.end))
                    if lane.subscription:
                        self.periods.add((lane.subscription, period.start))

    @property
    def meters(self) -> list[Counter]:
        """What counts events of these types."""
        meters = self._tenant.catalog.meters.values()
        return [Counter(meter) for meter in meters if meter.event_type in self._types]

    def spec(self, upto: int, billed: Iterable[Counter]) -> FoldSpec | None:
        """What to count, before and after; None if nothing can change."""
        by_key = {counter.key: counter for counter in (*self.meters, *billed)}
        counters = tuple(by_key.values())
        if self._span is None or not counters:
            return None
        weighing = any(weighs_time(counter.meter) for counter in counters)
        return FoldSpec(
            self._tenant.name,
            0,
            upto,
            counters,
            tuple(
                FoldAccount(
                    self._tenant.customers[key],
                    tuple(Lane(lane.subscription, lane.schedule) for lane in account.lanes),
                )
                for key, account in sorted(self._accounts.items())
            ),
            # What weighs time depends on everything before.
            span=None if weighing else Period(*self._span),
        )


def _state(spec: FoldSpec, folded: Folded) -> LiveState:
    """Counted history as a state that goes on counting."""
    state = LiveState(spec.counters)
    for account in spec.accounts:
        state.put_customer(account.customer, account.lanes)
    for customer, lanes in folded.items():
        history = [
            {start: state.layout.load_cells(dumped) for start, dumped in periods.items()}
            for periods in lanes
        ]
        state.merge(customer, history, state.layout, state.layout.slots)
    return state


def _differences(
    before: LiveState, after: LiveState, counters: Sequence[Counter], now: int
) -> Iterator[Difference]:
    for customer, account in after.accounts.items():
        for old, new in zip(before.accounts[customer].lanes, account.lanes, strict=True):
            ends = {start: end for lane in (old, new) for start, end, _ in lane.counted()}
            for start, end in sorted(ends.items()):
                if start == EARLIER:
                    continue
                period = Period(start, end)
                for counter in counters:
                    n, pico = before.usage(old, counter, period, now)
                    m, new_pico = after.usage(new, counter, period, now)
                    if (n, pico) != (m, new_pico):
                        meter, lane_id = counter.meter.key, new.subscription
                        pico, new_pico = max(0, pico), max(0, new_pico)  # K12
                        yield Difference(customer, meter, lane_id, period, pico, new_pico, n, m)
