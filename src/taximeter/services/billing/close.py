"""
Closing: a draft invoice for everything that is due.
"""

from __future__ import annotations

import asyncio

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.services.billing.ahead import ahead_of
from taximeter.services.billing.assembly import BilledParts, assembled, usages_of
from taximeter.services.billing.bills import batches, bills_of
from taximeter.services.billing.drafts import store_draft
from taximeter.services.billing.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

CHARGES_PER_RECOUNT = 20_000


class Closed(msgspec.Struct):
    """What a close did. `invoices` are the new drafts, oldest period first."""

    as_of: str
    invoices: list[str]


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
    if as_of > now:
        raise Rejected("invalid_parameter", "as_of lies in the future; its periods are still open.")
    async with core.lock(tenant):
        billed = await core.books.run(core.books.books.billed_periods, tenant.name)
        bills = bills_of(tenant, await _due(tenant, as_of, billed))
        upto = await core.upto()
        created: list[str] = []
        for batch in batches(bills, CHARGES_PER_RECOUNT):
            usages = await usages_of(core, tenant, batch, upto)
            for bill in batch:
                draft = await assembled(core, tenant, bill, usages, billed, upto)
                if await store_draft(core, tenant, draft, now, actor):
                    created.append(draft.invoice.id)
                await asyncio.sleep(0)
        return Closed(format_instant(as_of), created)


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
