"""
What charges counted: from the live counters, or again from the events themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from taximeter.catalog.prices import UsagePrice
from taximeter.invoices.build import Usage
from taximeter.invoices.charges import Charge
from taximeter.live.account import Account
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.ports import LineScope
from taximeter.services.billing.due.bands import BandedScope, recount
from taximeter.services.billing.due.dues import Due, counter_of
from taximeter.services.billing.due.seats import seat_times
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


def live_usage(tenant: Tenant, lane: Account, due: Due, now: int) -> Iterator[Usage]:
    """Of a period that a lane counts as a whole; without digests."""
    for place, charge, price in due.usage_charges():
        counter = counter_of(tenant, charge, price)
        if price.group_by:
            groups = tenant.live.usage_by_group(lane, counter, due.period, now)
            for group, (events, value_pico) in groups.items():
                yield Usage(place, group, value_pico, events, None)
        else:
            events, value_pico = tenant.live.usage(lane, counter, due.period, now)
            yield Usage(place, (), value_pico, events, None)


async def recounted(
    core: Core,
    tenant: Tenant,
    dues: Sequence[Due],
    upto: int,
    cut: Period | None = None,
    *,
    proofs: bool = True,
) -> list[list[Usage]]:
    """
    What each charge of each due period counted, from the events up to a position.

    Args:
        cut: Only what lies in it.
        proofs: Whether with digests, which take several times as long.
    """
    now = core.clock.now()
    scopes: list[BandedScope] = []
    owners: list[tuple[int, int]] = []
    for due_place, due in enumerate(dues):
        for place, charge, price in due.usage_charges():
            period = charge.period if cut is None else charge.period.overlap(cut)
            parts = [shared for one in charge.parts if period and (shared := one.overlap(period))]
            if period is not None and bool(parts) == bool(charge.parts):
                owners.append((due_place, place))
                scope = _scope(tenant, due, charge, price, period, upto, now)
                scopes.append(BandedScope(replace(scope, parts=tuple(parts)), price))
    usages: list[list[Usage]] = [[] for _ in dues]
    found = await recount(core, scopes, proofs=proofs)
    for (due_place, place), groups in zip(owners, found, strict=True):
        usages[due_place] += [
            Usage(place, one.group, one.value_pico, one.events, one.digest, bands)
            for one, bands in groups
        ]
    for usage, seats in zip(usages, await seat_times(core, tenant, dues, upto, cut), strict=True):
        usage += [Usage(place, (), 0, 0, None, seats=time) for place, time in seats.items()]
    return usages


def _scope(
    tenant: Tenant,
    due: Due,
    charge: Charge,
    price: UsagePrice,
    period: Period,
    upto: int,
    now: int,
) -> LineScope:
    meter = counter_of(tenant, charge, price).meter
    if weighs_time(meter):  # what a level will come to by the end is not used yet
        period = Period(period.start, max(period.start, min(period.end, now)))
    return LineScope(
        namespace=tenant.name,
        meter=meter,
        subjects=due.customer.all_subjects,
        period=period,
        upto=upto,
        filter=price.filter,
        group_by=price.group_by,
    )
