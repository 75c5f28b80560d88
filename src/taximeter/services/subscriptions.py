"""
Subscriptions: begin one, and show it.
"""

from __future__ import annotations

from typing import Any

from taximeter.customers import Segment, Subscription
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import format_instant
from taximeter.periods import Anchor
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.customers import new_id
from taximeter.services.rebuild import fill, mark, mark_history
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.standing import status_at


async def subscribe(
    core: Core,
    tenant: Tenant,
    customer: str,
    plan: str,
    *,
    version: int | None,
    start: int | None,
    anchor: Anchor,
    actor: str,
) -> Subscription:
    """
    Begin a subscription. Usage since `start` counts, also what arrived before this call.

    Raises:
        NotFound: No such customer.
        Rejected: `unknown_plan`.
        Refused: `subscription_exists`.
    """
    async with core.lock(tenant):
        require_customer(tenant, customer)
        catalog_version = tenant.version if version is None else version
        found = tenant.plans.plan(plan, catalog_version)
        if found is None:
            raise Rejected(
                "unknown_plan", f"Catalogue version {catalog_version} has no plan {plan!r}."
            )
        now = core.clock.now()
        running = tenant.running(customer, now)
        if running is not None:
            raise Refused(
                "subscription_exists",
                f"Customer {customer!r} is subscribed to "
                f"{running.segment_at(now).plan!r} ({running.id}).",
                subscription=running.id,
            )
        segment = Segment(
            now if start is None else start,
            plan,
            catalog_version,
            found.plan.cadence,
            pinned=version is not None,
        )
        subscription = Subscription(
            new_id("sub"), customer, anchor, tenant.customers[customer].timezone, (segment,),
            created_at=now,
        )  # fmt: skip
        detail = {"plan": plan, "customer": customer}
        await core.books.run(
            core.books.books.put_subscription,
            tenant.name,
            subscription,
            audit(tenant, now, actor, "subscription.create", subscription.id, **detail),
        )
        priced_anew = tenant.put_subscription(subscription)
        had_events = tenant.live.accounts[customer].seen
        tenant.reset_account(customer)
        added = tenant.live.set_counters(tenant.wanted_counters()) if priced_anew else []
        missing = mark(core, tenant, customer, had_events)
        others = mark_history(core, tenant, added, but=customer)
        await fill(core, tenant, missing, f"subscription {subscription.id}")
        await fill(core, tenant, others, f"subscription {subscription.id}")
        return subscription


def find_subscription(tenant: Tenant, subscription_id: str) -> Subscription:
    found = tenant.subscriptions.get(subscription_id)
    if found is None:
        raise NotFound("not_found", f"There is no subscription {subscription_id!r}.")
    return found


def subscription_json(tenant: Tenant, subscription: Subscription, now: int) -> dict[str, Any]:
    """As the HTTP interface shows it, with what holds now, or first if it has not begun."""
    segment = subscription.segment_at(now)
    timeline = tenant.timeline(subscription)
    period = timeline.containing(now).to_json() if timeline.covers(now) else None
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "plan": segment.plan,
        "version": tenant.plans.current(segment).version,
        "pinned": segment.pinned,
        "status": status_at(subscription, now).value,
        "start": format_instant(subscription.start),
        "end": None if subscription.end is None else format_instant(subscription.end),
        "anchor": subscription.anchor.value,
        "timezone": subscription.timezone,
        "addons": segment.addons,
        "overrides": segment.overrides,
        "period": period,
        "revision": subscription.revision,
        "created_at": format_instant(subscription.created_at),
    }
