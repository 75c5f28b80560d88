"""
Closing: a draft invoice for everything that is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.services.billing.correcting.adjustments import open_corrections
from taximeter.services.billing.correcting.late import billed_anew, drafts_to_reprice, sweep
from taximeter.services.billing.drafting.ahead import ahead_of
from taximeter.services.billing.drafting.assembly import (
    BilledParts,
    assembled,
    corrections_alone,
    usages_of,
)
from taximeter.services.billing.drafting.bills import Bill, batches, bills_of
from taximeter.services.billing.drafting.drafts import store_corrections, store_draft
from taximeter.services.billing.drafting.redraft import refresh
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

CHARGES_PER_RECOUNT = 20_000


class HeldBack(msgspec.Struct, frozen=True):
    """A period that is due and was not billed, because of a gap found by reconciliation."""

    customer: str
    subscription: str
    period: dict[str, str]
    gap: str
    detail: str


class Closed(msgspec.Struct):
    """
    What a close did.

    Attributes:
        invoices: The new drafts, oldest period first.
        held: What waits until its gap is closed.
    """

    as_of: str
    invoices: list[str]
    held: list[HeldBack] = []


async def close(core: Core, tenant: Tenant, as_of: int, actor: str) -> Closed:
    """
    Make a draft invoice for every period that ended by `as_of` and has none yet; where fees are
    billed ahead, also for those of periods that have begun.

    Idempotent: the books allow one live invoice for a subscription and period. Periods missed
    while nobody closed are billed once each, oldest first.

    Raises:
        Rejected: `invalid_parameter` for an instant in the future: that period may still change.
        Unavailable: `storage_full`, `storage_failed`: some of what was counted is not on disk.
    """
    core.committer.ready()
    now = core.clock.now()
    async with core.lock(tenant):
        billed, bills, held = await due_bills(core, tenant, as_of)
        upto = await core.upto()
        await sweep(core, tenant, billed, upto)
        late = await open_corrections(core, tenant, upto)
        created: list[str] = []
        for batch in batches(bills, CHARGES_PER_RECOUNT):
            usages = await usages_of(core, tenant, batch, upto)
            for bill in batch:
                own = late.take(bill)
                draft = await assembled(core, tenant, bill, usages, billed, upto, corrected=own)
                if await store_draft(core, tenant, draft, now, actor):
                    created.append(draft.invoice.id)
                    await billed_anew(core, draft.invoice, upto, late.entries_of(draft.invoice))
                await asyncio.sleep(0)
        for own in late.without_next(tenant, now):
            last = await corrections_alone(core, tenant, own, upto)
            created += await store_corrections(core, tenant, last, now, actor)
    for invoice_id in await drafts_to_reprice(core, tenant):
        await refresh(core, tenant, invoice_id, actor)
    return Closed(format_instant(as_of), created, held)


async def due_bills(
    core: Core, tenant: Tenant, as_of: int
) -> tuple[BilledParts, list[Bill], list[HeldBack]]:
    """
    What is billed, what is due, and what waits until its gap is closed.

    Raises:
        Rejected: As `close`.
    """
    if as_of > core.clock.now():
        raise Rejected("invalid_parameter", "as_of lies in the future; its periods are still open.")
    billed = await core.books.run(core.books.books.billed_periods, tenant.name)
    dues = await _due(tenant, as_of, billed)
    await _compared(core, tenant, dues)
    held = [back for due in dues if (back := _held_back(core, tenant, due)) is not None]
    waiting = {(back.subscription, back.period["start"]) for back in held}
    return billed, bills_of(tenant, (due for due in dues if _place(due) not in waiting)), held


def _place(due: Due) -> tuple[str, str]:
    return due.subscription.id, due.period.to_json()["start"]


async def _compared(core: Core, tenant: Tenant, dues: Sequence[Due]) -> None:
    """Nobody is billed before the counters of its period were compared with its events."""
    if core.reconciliation is not None:
        ends: dict[str, int] = {}
        for due in (due for due in dues if due.part == "period"):
            ends[due.customer.key] = max(due.period.end, ends.get(due.customer.key, 0))
        await core.reconciliation.look_before_close(tenant, ends)


def _held_back(core: Core, tenant: Tenant, due: Due) -> HeldBack | None:
    if core.reconciliation is None:
        return None
    gaps = core.reconciliation.blocking_gaps(tenant, due.customer.key, due.period)
    if not gaps:
        return None
    detail = f"{gaps[0].detail} Repair: {gaps[0].repair}."
    period = due.period.to_json()
    return HeldBack(due.customer.key, due.subscription.id, period, gaps[0].id, detail)


async def _due(tenant: Tenant, as_of: int, billed: BilledParts) -> list[Due]:
    dues: list[Due] = []
    for subscription in list(tenant.subscriptions.values()):
        timeline = tenant.timeline(subscription)
        for index in range(timeline.ended_by(as_of)):
            known = (subscription.id, timeline.nth(index).start, "period") in billed
            if not known and not timeline.in_trial(index):
                dues.append(due_of(tenant, subscription, index))
        if tenant.billing.advance_fees == "ahead":
            fees = ahead_of(tenant, subscription, as_of, billed)
            dues += [fees] if fees is not None else []
        await asyncio.sleep(0)  # thousands of schedules take a while, and checks do not wait
    return dues
