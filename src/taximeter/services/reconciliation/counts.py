"""
Accepted = counted: the live counters of customers against a recount from the event store.

Both are taken at one position of the log, so they are equal unless one of them is wrong. Which one
says a third count, made from the log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from taximeter.live.account import Account
from taximeter.meters.counter import Counter, Group
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.ports import LineScope
from taximeter.reconciliation.compare import Count, at_fault, cause_of_counts
from taximeter.reconciliation.gap import Gap, Repair, Stage
from taximeter.services.core import Core, Store
from taximeter.services.tenant import Tenant

Numbers = dict[Group, Count]
OpenWitness = Callable[[int], AbstractAsyncContextManager[Store]]
"""An event store made from nothing but the log, up to a position; it is gone afterwards."""


Verdicts = dict[tuple[object, ...], "list[Gap]"]
"""The gaps that a witness found, by the facts it was asked about."""


class Counted(msgspec.Struct, frozen=True):
    """
    One counter of one customer in one period, as two stages have it.

    Attributes:
        account: The one that counted, to see whether it is still there.
        subscription: By whose periods; "" for calendar months, while there is none.
    """

    customer: str
    subscription: str
    account: Account
    counter: Counter
    period: Period
    scope: LineScope
    live: Numbers
    store: Numbers = {}

    @property
    def differs(self) -> bool:
        return self.live != self.store

    @property
    def facts(self) -> tuple[object, ...]:
        """Equal facts have the same verdict: nothing was counted in between."""
        numbers = tuple(self.groups())
        scope = self.scope
        where = (scope.namespace, self.counter.key, scope.subjects, scope.period, scope.upto)
        return (*where, numbers)

    def groups(self) -> Iterator[tuple[Group, Count, Count]]:
        """Those that differ: live, store."""
        for group in sorted(self.live.keys() | self.store.keys(), key=repr):
            live, store = self.live.get(group, Count()), self.store.get(group, Count())
            if live != store:
                yield group, live, store


async def count_again(
    core: Core, tenant: Tenant, customers: Sequence[str], *, newest: int | None
) -> tuple[list[Counted], int]:
    """
    Everything that is counted for some customers, live and from the store.

    Args:
        newest: Only so many periods of each subscription; None for all that are known.

    Returns:
        What was compared, and the position it reflects. Nothing while the log cannot be written:
        then what is live was acknowledged to nobody.
    """
    position = core.sequencer.position
    now = core.clock.now()
    slots = [
        slot
        for key in customers
        if (account := tenant.live.accounts.get(key)) is not None
        for slot in _slots(tenant, key, account, position, now, newest)
    ]
    await core.committer.settled(position)
    if core.committer.position < position or not slots:
        return [], position
    found = await core.store.recount([slot.scope for slot in slots], proofs=False, anew=True)
    return [
        msgspec.structs.replace(
            slot, store=_present({one.group: Count(one.events, one.value_pico) for one in groups})
        )
        for slot, groups in zip(slots, found, strict=True)
        if tenant.live.accounts.get(slot.customer) is slot.account
        and slot.account.is_exact(slot.counter.key)
    ], position


def _slots(
    tenant: Tenant, customer: str, account: Account, position: int, now: int, newest: int | None
) -> Iterator[Counted]:
    subjects = tenant.customers[customer].all_subjects
    for lane in account.lanes:
        known = sorted((start, end) for start, (end, _) in lane.periods.items() if start < end)
        for start, end in known[-newest:] if newest else known:
            period = Period(start, end)
            for counter in tenant.live.layout.counters:
                if not account.is_exact(counter.key):
                    continue  # its history is on its way
                scope = LineScope(
                    namespace=tenant.name,
                    meter=counter.meter,
                    subjects=subjects,
                    period=_until(period, now) if weighs_time(counter.meter) else period,
                    upto=position,
                    filter=counter.filter,
                    group_by=counter.group_by,
                )
                live = _live(tenant, lane, counter, period, now)
                yield Counted(customer, lane.subscription, account, counter, period, scope, live)


def _live(tenant: Tenant, lane: Account, counter: Counter, period: Period, now: int) -> Numbers:
    if counter.group_by:
        groups = tenant.live.usage_by_group(lane, counter, period, now)
        return _present({group: Count(*numbers) for group, numbers in groups.items()})
    return _present({(): Count(*tenant.live.usage(lane, counter, period, now))})


def _present(numbers: Numbers) -> Numbers:
    return {group: count for group, count in numbers.items() if count != Count()}


def _until(period: Period, now: int) -> Period:
    return Period(period.start, max(period.start, min(period.end, now)))


async def gaps_of_counts(
    core: Core,
    tenant: Tenant,
    customers: Sequence[str],
    newest: int | None,
    witness: OpenWitness,
    verdicts: Verdicts,
) -> tuple[list[Gap], int, int]:
    """
    Args:
        verdicts: What the witness said before; added to. A gap that stays is not asked about again.

    Returns:
        The gaps, how many numbers were compared, and the position they reflect.
    """
    compared, position = await count_again(core, tenant, customers, newest=newest)
    suspects = sorted({one.customer for one in compared if one.differs})
    if not suspects:
        return [], len(compared), position
    # Once more: what is configured may have changed between the two counts.
    again, position = await count_again(core, tenant, suspects, newest=newest)
    differing = [one for one in again if one.differs]
    if not differing:
        return [], len(compared), position
    unjudged = [one for one in differing if one.facts not in verdicts]
    if unjudged:
        for gone in verdicts.keys() - {one.facts for one in differing}:
            del verdicts[gone]
        async with witness(position) as log:
            found = await log.recount([one.scope for one in unjudged], proofs=False)
        for one, groups in zip(unjudged, found, strict=True):
            numbers = {group.group: Count(group.events, group.value_pico) for group in groups}
            verdicts[one.facts] = [
                gap
                for group, live, store in one.groups()
                for gap in _gaps(one, group, live, store, numbers.get(group, Count()))
            ]
    gaps = [gap for one in differing for gap in verdicts.get(one.facts, ())]
    return gaps, len(compared), position


def _gaps(one: Counted, group: Group, live: Count, store: Count, log: Count) -> Iterator[Gap]:
    fault = at_fault(live, store, log)
    if fault.store:
        yield _gap(one, group, log, store, Stage.ACCEPTED, Repair.REBUILD_STORE)
    if fault.live:
        yield _gap(one, group, log, live, Stage.COUNTED, Repair.REBUILD_ACCOUNT)


def _gap(one: Counted, group: Group, log: Count, found: Count, stage: Stage, repair: Repair) -> Gap:
    where = "the event store" if stage is Stage.ACCEPTED else "the live counters"
    by = ", ".join(
        f"{name}={value}" for name, value in zip(one.counter.group_by, group, strict=True)
    )
    return Gap(
        upstream=Stage.ACCEPTED,
        downstream=stage,
        cause=cause_of_counts(log, found),
        expected=log.value,
        found=found.value,
        unit=one.counter.meter.unit or one.counter.meter.key,
        customer=one.customer,
        meter=one.counter.meter.key,
        period=one.period,
        target=by,
        repair=repair,
        detail=f"The log has {log.events} events here, {where} {found.events}.",
    )
