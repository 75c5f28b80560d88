"""
Which rules look at whose events.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from taximeter.catalog.rules import Mode, Rule
from taximeter.customers import Subscription
from taximeter.instants import MAX_INSTANT
from taximeter.live.account import Account
from taximeter.periods import Period
from taximeter.rules.watcher import Watcher, level_of, watcher

if TYPE_CHECKING:
    from taximeter.services.tenant import Tenant


def watchers_of(tenant: Tenant, account: Account, now: int) -> dict[str, tuple[Watcher, ...]]:
    """
    Event type -> the rules that look at such events of a customer, until its standing changes.
    """
    found: dict[str, list[Watcher]] = defaultdict(list)
    for rule in tenant.catalog.rules.values():
        if rule.mode is not Mode.OFF and _concerns(tenant, rule, account.customer, now):
            one = watcher(rule, tenant.version, by_path(tenant, rule))
            for event_type in rule.on:
                found[event_type].append(one)
    return {event_type: tuple(watchers) for event_type, watchers in found.items()}


def by_path(tenant: Tenant, rule: Rule) -> str | None:
    """Where events name the value that a rule goes by; None for the customer as a whole."""
    level = level_of(rule)
    return None if level is None else tenant.scope_path(level)


def spans_on(tenant: Tenant, rule: Rule, customer: str) -> tuple[Period, ...] | None:
    """
    When a rule concerns a customer: while some subscription is on one of its plans. Ascending,
    and none overlap; None for always.
    """
    if not rule.plans:
        return None
    spans = [
        span
        for subscription in tenant.of_customer(customer)
        for span in _on_plans(subscription, rule.plans)
    ]
    merged: list[Period] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Period(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)


def _concerns(tenant: Tenant, rule: Rule, customer: str, now: int) -> bool:
    return not rule.plans or any(
        one.runs_at(now) and one.segment_at(now).plan in rule.plans
        for one in tenant.of_customer(customer)
    )


def _on_plans(subscription: Subscription, plans: tuple[str, ...]) -> list[Period]:
    end = MAX_INSTANT if subscription.end is None else subscription.end
    ends = [*(segment.start for segment in subscription.segments[1:]), end]
    return [
        Period(segment.start, min(until, end))
        for segment, until in zip(subscription.segments, ends, strict=True)
        if segment.plan in plans and segment.start < min(until, end)
    ]
