"""
Subscriptions as they are shown.
"""

from __future__ import annotations

from typing import Any

from taximeter.customers import Segment, Subscription
from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.ports import SubscriptionRevision
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.changes import end_of_term
from taximeter.subscriptions.standing import Status, status_at


def find_subscription(tenant: Tenant, subscription_id: str) -> Subscription:
    found = tenant.subscriptions.get(subscription_id)
    if found is None:
        raise NotFound("not_found", f"There is no subscription {subscription_id!r}.")
    return found


def subscription_json(tenant: Tenant, subscription: Subscription, now: int) -> dict[str, Any]:
    """As the HTTP interface shows it, with what holds now, or first if it has not begun."""
    segment = subscription.segment_at(now)
    timeline = tenant.timeline(subscription)
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "plan": segment.plan,
        "version": tenant.plans.current(segment).version,
        "pinned": segment.pinned,
        "status": status_at(subscription, now).value,
        "start": format_instant(subscription.start),
        "end": _text(subscription.end),
        "trial_end": _text(trial_end(subscription)),
        "term": subscription.term,
        "term_end": _text(end_of_term(subscription, max(now, subscription.start))),
        "auto_renew": subscription.auto_renew,
        "anchor": subscription.anchor.value,
        "timezone": subscription.timezone,
        "addons": segment.addons,
        "overrides": segment.overrides,
        "period": timeline.containing(now).to_json() if timeline.covers(now) else None,
        "scheduled": _scheduled(subscription, now),
        "revision": subscription.revision,
        "created_at": format_instant(subscription.created_at),
    }


def revision_json(revision: SubscriptionRevision) -> dict[str, Any]:
    """One revision: who made it, when, what was asked, and all it then held."""
    subscription = revision.subscription
    return {
        "revision": subscription.revision,
        "at": format_instant(revision.at),
        "actor": revision.actor,
        "detail": revision.detail,
        "segments": segments_json(subscription),
        "end": _text(subscription.end),
    }


def segments_json(subscription: Subscription) -> list[dict[str, Any]]:
    """All segments, past and planned, in order."""
    return [_segment_json(segment) for segment in subscription.segments]


def trial_end(subscription: Subscription) -> int | None:
    """When its trial ends or ended; None without one."""
    for before, after in zip(subscription.segments, subscription.segments[1:], strict=False):
        if before.trial and not after.trial:
            return after.start
    return None


def _scheduled(subscription: Subscription, now: int) -> list[dict[str, Any]]:
    """What changes by itself from now on, in order; the end is not among it."""
    end = subscription.end
    return [
        _segment_json(segment)
        for segment in subscription.segments[1:]
        if segment.start > now and (end is None or segment.start < end)
    ]


def _segment_json(segment: Segment) -> dict[str, Any]:
    status = Status.TRIALING if segment.trial else Status.ACTIVE
    return {
        "at": format_instant(segment.start),
        "status": (Status.PAUSED if segment.paused else status).value,
        "plan": segment.plan,
        "version": segment.catalog_version,
        "pinned": segment.pinned,
        "addons": segment.addons,
        "overrides": segment.overrides,
    }


def _text(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
