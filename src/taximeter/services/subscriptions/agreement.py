"""
Agreement: whether what is asked for can be agreed on, given the catalogue and what there is.
"""

from __future__ import annotations

from taximeter.customers import Segment, Subscription
from taximeter.errors import Refused, Rejected
from taximeter.instants import format_instant
from taximeter.meters.reading import suggestion
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.timeline import timeline_of

MAX_ADDONS = 1_000_000
MAX_SEGMENTS = 1_000


def check_plan(tenant: Tenant, plan: str, version: int | None) -> int:
    """
    The catalogue version a plan is taken from.

    Raises:
        Rejected: `unknown_plan`.
    """
    catalog_version = tenant.version if version is None else version
    if tenant.plans.plan(plan, catalog_version) is None:
        known = tenant.catalogs[catalog_version].plans if catalog_version in tenant.catalogs else ()
        raise Rejected(
            "unknown_plan",
            f"Catalogue version {catalog_version} has no plan {plan!r}{suggestion(plan, known)}.",
        )
    return catalog_version


def check_segments(tenant: Tenant, subscription: Subscription, since: int) -> None:
    """
    Whether all segments that hold at or after an instant can be: their add-ons exist, their
    overrides can be read, and no currency changes inside a period.

    Raises:
        Rejected: `unknown_plan` for an add-on, `catalog_invalid` for overrides,
            `currency_mismatch`, `invalid_request`.
    """
    if len(subscription.segments) > MAX_SEGMENTS:
        raise Rejected(
            "invalid_request", f"A subscription changes at most {MAX_SEGMENTS} times in its life."
        )
    present = subscription.segment_at(since)
    for segment in subscription.segments:
        if segment.start >= present.start:
            _check_addons(tenant, segment)
            tenant.plans.current(segment)
    _check_currencies(tenant, subscription, since)


def _check_addons(tenant: Tenant, segment: Segment) -> None:
    version = segment.catalog_version if segment.pinned else tenant.version
    plan = tenant.plans.plan(segment.plan, segment.catalog_version)
    assert plan is not None, "plans are checked first"
    for key, quantity in segment.addons.items():
        addon = tenant.plans.addon(key, version)
        if addon is None:
            known = tenant.catalogs[version].addons
            raise Rejected(
                "unknown_plan",
                f"Catalogue version {version} has no add-on {key!r}{suggestion(key, known)}.",
            )
        if not 1 <= quantity <= MAX_ADDONS:
            raise Rejected("invalid_request", f"addons.{key}: from 0 to {MAX_ADDONS} of it.")
        currency = addon.plan.currency
        if currency and currency != plan.plan.currency:
            raise Rejected(
                "currency_mismatch",
                f"Add-on {key!r} is priced in {currency}, plan {segment.plan!r} in "
                f"{plan.plan.currency}; they go on one invoice.",
            )


def _check_currencies(tenant: Tenant, subscription: Subscription, since: int) -> None:
    timeline = timeline_of(subscription)
    for before, after in zip(subscription.segments, subscription.segments[1:], strict=False):
        if after.start < since or not timeline.covers(after.start):
            continue
        one, other = (tenant.plans.current(segment).plan.currency for segment in (before, after))
        if one != other and timeline.containing(after.start).start != after.start:
            raise Rejected(
                "currency_mismatch",
                f"Plan {after.plan!r} is in {other}, plan {before.plan!r} in {one}: it can begin "
                'only with a billing period (at: "period_end").',
            )


def check_no_other(tenant: Tenant, subscription: Subscription) -> None:
    """
    That the customer has no other subscription to one of its plans at the same time.

    Raises:
        Refused: `subscription_exists`.
    """
    plans = {segment.plan for segment in subscription.segments}
    for other in tenant.of_customer(subscription.customer):
        shared = plans & {segment.plan for segment in other.segments}
        if shared and _overlap(subscription, other):
            plan = min(shared)
            until = "" if other.end is None else f", until {format_instant(other.end)}"
            raise Refused(
                "subscription_exists",
                f"Customer {other.customer!r} is subscribed to {plan!r} ({other.id}{until}). "
                f"To change it: POST /v1/subscriptions/{other.id}/change; "
                'to have a second one: "additional": true.',
                subscription=other.id,
            )


def _overlap(a: Subscription, b: Subscription) -> bool:
    return (a.end is None or b.start < a.end) and (b.end is None or a.start < b.end)
