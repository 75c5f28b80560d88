"""
Billing on account: once usage of a period has come to a threshold, it is billed before its end.

The invoice of the period then has all of it, less what was billed (see `invoices.assemble`).
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from taximeter.customers import Subscription
from taximeter.services.billing.drafting.assembly import BilledParts, assembled, usages_of
from taximeter.services.billing.drafting.bills import Bill, payer_of, statement
from taximeter.services.billing.drafting.drafts import store_draft
from taximeter.services.billing.drafting.thresholds import is_on_account, on_account, threshold
from taximeter.services.billing.due.counted import live_usage
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


async def bill_on_account(core: Core, tenant: Tenant, actor: str) -> list[str]:
    """
    A draft for every running period whose usage has come to its next threshold.

    Returns:
        Ids of the new drafts.
    """
    if not tenant.billing.thresholds_minor:
        return []
    created: list[str] = []
    async with core.lock(tenant):
        now = core.clock.now()
        billed = await core.books.run(core.books.books.billed_periods, tenant.name)
        for subscription in list(tenant.subscriptions.values()):
            due = _reached(tenant, subscription, billed, now)
            if due is not None:
                created += await _bill(core, tenant, due, billed, now, actor)
            await asyncio.sleep(0)
    return created


def _reached(
    tenant: Tenant, subscription: Subscription, billed: BilledParts, now: int
) -> Due | None:
    """What is to be billed on account of the period that runs; None for nothing."""
    timeline = tenant.timeline(subscription)
    index = timeline.index(now)
    account = tenant.live.accounts[subscription.customer]
    lane = next((one for one in account.lanes if one.subscription == subscription.id), None)
    if index < 0 or timeline.in_trial(index) or lane is None or account.rebuilding:
        return None
    due = due_of(tenant, subscription, index)
    steps = tenant.billing.thresholds_minor.get(due.currency)
    if steps is None or due.is_split:
        return None
    key = (subscription.id, due.period.start)
    number = 1 + sum(part[:2] == key and is_on_account(part[2]) for part in billed)
    usage = replace(
        due,
        charges=tuple(charge for _, charge, _ in due.usage_charges()),
        part=on_account(number),
    )
    fare = statement(usage, "fare", live_usage(tenant, lane, usage, now), 0)
    return usage if fare.subtotal_minor >= threshold(steps, number) else None


async def _bill(
    core: Core, tenant: Tenant, due: Due, billed: BilledParts, now: int, actor: str
) -> list[str]:
    bill = Bill(payer_of(tenant, due), (due,))
    upto = await core.upto()
    usages = await usages_of(core, tenant, [bill], upto)
    draft = await assembled(core, tenant, bill, usages, billed, upto)
    return [draft.invoice.id] if await store_draft(core, tenant, draft, now, actor) else []
