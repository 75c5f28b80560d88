"""
Migration: what a new version of a plan means for those who are subscribed to an older one.

Without one, a subscription that is not pinned follows by itself: limits at once, prices with its
next period. A migration makes the new version's prices hold now (K20) or with the next period, also
for pinned ones; or it pins everybody to what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec

from taximeter.catalog.document import dump_plan
from taximeter.customers import Segment, Subscription
from taximeter.errors import NotFound, Rejected
from taximeter.instants import format_instant
from taximeter.services.core import Core, require_customer
from taximeter.services.subscriptions.agreement import check_plan, check_segments
from taximeter.services.subscriptions.service import Change, revise
from taximeter.services.tenant import Tenant
from taximeter.subscriptions import changes
from taximeter.subscriptions.changes import NOW, PERIOD_END

NEVER = "never"


class Migration(msgspec.Struct, frozen=True):
    """
    Attributes:
        version: The catalogue version to go to; None for the newest.
        at: now, period_end, or never: stay for good on what the running period is billed by.
        customers: Only these; None for all.
    """

    plan: str
    version: int | None = None
    at: str = NOW
    customers: tuple[str, ...] | None = None
    reason: str = ""


async def migrate(
    core: Core, tenant: Tenant, wanted: Migration, actor: str, *, dry_run: bool
) -> tuple[int, list[dict[str, Any]]]:
    """
    Bring every running subscription to a plan to one version of it.

    Each is a change of its own. One that cannot be made is reported in its place and leaves the
    others alone.

    Returns:
        The version, and one effect for each subscription that is not on it yet.

    Raises:
        Rejected: `unknown_plan`; `invalid_parameter` for another `at`.
        NotFound: One of `customers`.
    """
    if wanted.at not in (NOW, PERIOD_END, NEVER):
        raise Rejected("invalid_parameter", "at is now, period_end or never.")
    for customer in wanted.customers or ():
        require_customer(tenant, customer)
    async with core.lock(tenant):
        version = check_plan(tenant, wanted.plan, wanted.version)
        effects: list[dict[str, Any]] = []
        now = core.clock.now()
        for subscription in _subscribers(tenant, wanted, now):
            effect = await _migrate_one(core, tenant, subscription, wanted, version, actor, dry_run)
            effects += [] if effect is None else [effect]
            await asyncio.sleep(0)
        return version, effects


def _subscribers(tenant: Tenant, wanted: Migration, now: int) -> list[Subscription]:
    customers: Collection[str] | None = wanted.customers and set(wanted.customers)
    return [
        one
        for one in list(tenant.subscriptions.values())
        if one.runs_at(now)
        and one.segment_at(now).plan == wanted.plan
        and (customers is None or one.customer in customers)
    ]


async def _migrate_one(
    core: Core,
    tenant: Tenant,
    subscription: Subscription,
    wanted: Migration,
    version: int,
    actor: str,
    dry_run: bool,
) -> dict[str, Any] | None:
    """None for one that is there already."""
    now = core.clock.now()
    effect: dict[str, Any] = {"subscription": subscription.id, "customer": subscription.customer}
    try:
        at = changes.effective_at(subscription, NOW if wanted.at == NEVER else wanted.at, now)
        after = _migrated(tenant, subscription, wanted, version, at)
        if after == subscription:
            return None
        check_segments(tenant, after, at)
        effect |= {"effective_at": format_instant(at), **_compared(tenant, subscription, after, at)}
        if not dry_run:
            change = Change("migrate", at, wanted.plan, version, reason=wanted.reason)
            await revise(core, tenant, after, at, change, actor)
    except (Rejected, NotFound) as error:
        effect["error"] = {"code": error.code, "detail": error.message}
    return effect


def _migrated(
    tenant: Tenant, subscription: Subscription, wanted: Migration, version: int, at: int
) -> Subscription:
    """From an instant on, wherever it is on that plan; what is planned on another plan stays."""
    pin = wanted.at == NEVER
    if pin:
        period_start = tenant.timeline(subscription).containing(at).start
        version = tenant.plans.billed(subscription, at, period_start).parts[0].version
    after = subscription
    for segment, until in _from(subscription, at):
        if segment.plan == wanted.plan and not (pin and segment.pinned):
            plan = tenant.plans.plan(wanted.plan, version)
            assert plan is not None, "the version was checked"
            after = changes.patched(
                after,
                max(at, segment.start),
                until,
                catalog_version=version,
                cadence=plan.plan.cadence,
                pinned=pin or segment.pinned,
            )
    return after


def _from(subscription: Subscription, at: int) -> list[tuple[Segment, int | None]]:
    """The segments that hold at or after an instant, with their ends."""
    ends = [*(segment.start for segment in subscription.segments[1:]), None]
    pairs = zip(subscription.segments, ends, strict=True)
    return [(segment, end) for segment, end in pairs if end is None or end > at]


def _compared(tenant: Tenant, before: Subscription, after: Subscription, at: int) -> dict[str, Any]:
    """The versions, and the members of the plan that differ between what is billed by them."""
    one, other = (tenant.plans.billed(each, at, at - 1).parts[0] for each in (before, after))
    old, new = dump_plan(one.plan), dump_plan(other.plan)
    return {
        "from_version": before.segment_at(at).catalog_version,
        "to_version": after.segment_at(at).catalog_version,
        "changes": [
            {"path": name, "before": old.get(name), "after": new.get(name)}
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ],
    }
