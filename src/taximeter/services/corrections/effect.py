"""
What a correction or an import would change: quantities as they are and as they would be.

Both are counted by the fold that counts live, over the events as they would then stand, so a
maximum or a session is as right as a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from taximeter.events.envelope import Event
from taximeter.instants import format_instant
from taximeter.live.account import EARLIER, Account, Lane
from taximeter.live.refold import FoldAccount, Folded, FoldSpec
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.periods import Period
from taximeter.quantities import format_quantity
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MAX_SHOWN = 1_000


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
    """`more` differences are not shown."""

    shown: list[Difference]
    more: int


async def effect_of(
    core: Core,
    tenant: Tenant,
    upto: int,
    without: Iterable[tuple[int, Event, int]],
    added: Sequence[tuple[Event, int]],
) -> Effect:
    """
    Args:
        without: (seq, event, instant) of what would count no more.
        added: (event, instant) of what would count.
    """
    gone = list(without)
    touched = [(event, at) for _, event, at in gone] + list(added)
    accounts: dict[str, Account] = {}
    for event, _ in touched:
        account = tenant.live.by_subject.get(event.subject)
        if account is not None:
            accounts[account.customer] = account
    types = {event.type for event, _ in touched}
    counters = tuple(
        Counter(meter) for meter in tenant.catalog.meters.values() if meter.event_type in types
    )
    if not (accounts and counters):
        return Effect([], 0)
    spec = FoldSpec(
        tenant.name,
        0,
        upto,
        counters,
        tuple(
            FoldAccount(
                tenant.customers[key],
                tuple(Lane(lane.subscription, lane.schedule) for lane in account.lanes),
            )
            for key, account in sorted(accounts.items())
        ),
    )
    before = _state(spec, await core.store.fold(spec))
    seqs = frozenset(seq for seq, _, _ in gone)
    rest = spec if not seqs else _without(spec, seqs)
    after = _state(spec, await core.store.fold(rest))
    after.fold_stored(added)
    found = list(_differences(before, after))
    return Effect(found[:MAX_SHOWN], max(0, len(found) - MAX_SHOWN))


def _without(spec: FoldSpec, seqs: frozenset[int]) -> FoldSpec:
    return FoldSpec(
        spec.namespace, spec.after, spec.upto, spec.counters, spec.accounts, without=seqs
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


def _differences(before: LiveState, after: LiveState) -> Iterator[Difference]:
    for customer, account in after.accounts.items():
        pairs = zip(before.accounts[customer].lanes, account.lanes, strict=True)
        for old, new in pairs:
            ends = {start: end for lane in (old, new) for start, end, _ in lane.counted()}
            for start, end in sorted(ends.items()):
                if start != EARLIER:
                    yield from _of_period(before, after, old, new, Period(start, end))


def _of_period(
    before: LiveState, after: LiveState, old: Account, new: Account, period: Period
) -> Iterator[Difference]:
    for counter in after.layout.counters:
        n, pico = before.usage(old, counter, period)
        m, now_pico = after.usage(new, counter, period)
        if (n, pico) != (m, now_pico):
            yield Difference(
                new.customer,
                counter.meter.key,
                new.subscription,
                period,
                max(0, pico),
                max(0, now_pico),
                n,
                m,
            )
