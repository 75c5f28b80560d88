"""
Bringing history into counters that began in the middle: a new meter, a new subscription, a subject
that is claimed, a start without a usable snapshot.

Counting goes on meanwhile. The history up to a fixed position is folded elsewhere, slice by slice,
and merged when it arrives; until then the accounts concerned say that they are being rebuilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taximeter.instants import format_instant
from taximeter.live.refold import FoldAccount, FoldSpec
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

SLICE_EVENTS = 500_000


def begin_rebuild(core: Core, tenant: Tenant, customers: Sequence[str]) -> int:
    """
    Mark accounts whose history is missing, in the same step that made it missing.

    Returns:
        The position up to which it is missing; later events are counted as they come.
    """
    for key in customers:
        tenant.live.accounts[key].rebuilding += 1
    return core.sequencer.position


async def rebuild(
    core: Core,
    tenant: Tenant,
    customers: Sequence[str],
    counters: Sequence[Counter],
    upto: int,
    reason: str,
) -> None:
    """
    Fold events 1 to `upto` into these counters of these customers.

    If an account is replaced meanwhile (its subscription changed), its history is folded again by
    whoever replaced it, so what arrives here for it is dropped.
    """
    accounts = {key: tenant.live.accounts[key] for key in customers}
    progress: dict[str, Any] = {
        "namespace": tenant.name,
        "reason": reason,
        "customers": len(customers),
        "meters": sorted({counter.meter.key for counter in counters}),
        "started_at": format_instant(core.clock.now()),
        "position": "0:0",
        "upto": f"0:{upto}",
    }
    core.rebuilds.append(progress)
    try:
        if counters and customers:
            await core.committer.durable(upto)
            layout = Layout(counters)
            for after in range(0, upto, SLICE_EVENTS):
                end = min(after + SLICE_EVENTS, upto)
                spec = FoldSpec(tenant.name, after, end, tuple(counters), _facts(tenant, customers))
                for key, periods in (await core.store.fold(spec)).items():
                    if tenant.live.accounts.get(key) is accounts[key]:
                        history = {
                            start: layout.load_cells(dumped) for start, dumped in periods.items()
                        }
                        tenant.live.merge(key, history, layout)
                progress["position"] = f"0:{end}"
    finally:
        core.rebuilds.remove(progress)
        for account in accounts.values():
            account.rebuilding -= 1
        core.changed.set()


def _facts(tenant: Tenant, customers: Sequence[str]) -> tuple[FoldAccount, ...]:
    active = {key: tenant.active.get(key) for key in customers}
    return tuple(
        FoldAccount(
            tenant.customers[key],
            subscription,
            None if subscription is None else tenant.cadence(subscription),
        )
        for key, subscription in active.items()
    )
