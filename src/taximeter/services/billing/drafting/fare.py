"""
The running fare: what a customer owes so far, before anything is closed.
"""

from __future__ import annotations

from collections.abc import Sequence

from taximeter.customers import Subscription
from taximeter.errors import NotFound
from taximeter.invoices.invoice import Invoice
from taximeter.periods import Period
from taximeter.services.billing.drafting.assembly import fare_of
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.counted import live_usage, recounted
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core, require_customer
from taximeter.services.tenant import Tenant


async def preview(
    core: Core, tenant: Tenant, customer: str, at: int | None, subscription_id: str | None = None
) -> Invoice:
    """
    The invoice of the period that runs at an instant, as far as it is known.

    Args:
        subscription_id: None for the main one.
        at: None for now: then it comes from live counters and has no digests; else it is
            recounted from the events with a time before `at`.

    Raises:
        NotFound: No such customer, or no such subscription that was running then.
    """
    require_customer(tenant, customer)
    now = core.clock.now()
    instant = now if at is None else at
    subscription = _running(tenant, customer, subscription_id, instant)
    due = due_of(tenant, subscription, tenant.timeline(subscription).index(instant))
    due = await with_drawn(core, tenant, due)
    account = tenant.live.accounts[customer]
    lane = next((one for one in account.lanes if one.subscription == subscription.id), None)
    if at is None and lane is not None and not (account.rebuilding or due.is_split):
        usage = list(live_usage(tenant, lane, due, now))
        return fare_of(tenant, due, customer, usage, core.sequencer.position)
    upto = await core.upto()
    # Events from the near future count live, so they do in what stands in for it.
    cut_at = due.period.end if at is None else min(due.period.end, instant)
    cut = Period(due.period.start, cut_at)
    (usage,) = await recounted(core, tenant, [due], upto, cut)
    return fare_of(tenant, due, customer, usage, upto)


async def fares(core: Core, tenant: Tenant, dues: Sequence[Due]) -> list[Invoice]:
    """Periods that need not have ended, nor be of a subscription as it is, as of one position."""
    upto = await core.upto()
    dues = [await with_drawn(core, tenant, due) for due in dues]
    usages = await recounted(core, tenant, dues, upto, proofs=False)
    return [
        fare_of(tenant, due, due.customer.key, usage, upto)
        for due, usage in zip(dues, usages, strict=True)
    ]


def _running(tenant: Tenant, customer: str, subscription_id: str | None, at: int) -> Subscription:
    if subscription_id is None:
        found = tenant.running(customer, at)
    else:
        found = tenant.subscriptions.get(subscription_id)
        if found is not None and (found.customer != customer or not found.runs_at(at)):
            found = None
    if found is None:
        raise NotFound("not_found", f"Customer {customer!r} has no subscription at that instant.")
    return found
