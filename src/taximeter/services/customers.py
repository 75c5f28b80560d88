"""
Customers and what they are subscribed to.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec

from taximeter.customers import Customer, Subscription
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import format_instant
from taximeter.money import exponent
from taximeter.periods import Anchor, check_timezone
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.rebuild import (
    Rebuild,
    begin_rebuild,
    mark_history,
    rebuild,
    recount_subjects,
)
from taximeter.services.tenant import Tenant

MAX_SUBJECTS = 10_000
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


def new_id(prefix: str) -> str:
    """An id nobody can guess: 96 random bits."""
    return f"{prefix}_{secrets.token_hex(12)}"


async def put_customer(core: Core, tenant: Tenant, customer: Customer, actor: str) -> Customer:
    """
    Add a customer, or replace what is known of it.

    Events of a subject it newly claims, also earlier ones, are counted when this returns.

    Raises:
        Rejected: `unknown_timezone`, `unknown_currency`, `invalid_request`.
        Refused: `subject_taken`.
    """
    _check(tenant, customer)
    async with core.lock(tenant):
        known = tenant.customers.get(customer.key)
        _check_subjects(tenant, customer)
        now = core.clock.now()
        created_at = now if known is None else known.created_at
        customer = msgspec.structs.replace(customer, created_at=created_at)
        if customer == known:
            return customer
        await core.books.run(
            core.books.books.put_customer,
            tenant.name,
            customer,
            audit(tenant, now, actor, "customer.put", customer.key),
        )
        if known is not None and _counts_alike(tenant, known, customer):
            tenant.customers[customer.key] = customer
        else:
            await _replace(core, tenant, known, customer)
        return customer


async def _replace(core: Core, tenant: Tenant, known: Customer | None, customer: Customer) -> None:
    """Put a fresh account in the place of the old one, and fill it with what it had counted."""
    had_events = known is not None and tenant.live.accounts[known.key].seen
    has_history = had_events or any(s in tenant.live.unmatched for s in customer.all_subjects)
    tenant.put_customer(customer)
    given_up = set(() if known is None else known.all_subjects) - set(customer.all_subjects)
    upto = core.sequencer.position
    missing = _mark(core, tenant, customer.key, has_history)
    if given_up and had_events:
        await recount_subjects(core, tenant, [customer.key], given_up, upto)
    await _fill(core, tenant, missing, f"customer {customer.key}")


def _check(tenant: Tenant, customer: Customer) -> None:
    check_timezone(customer.timezone)
    if customer.currency is not None:
        exponent(customer.currency)
    if len(customer.subjects) > MAX_SUBJECTS:
        raise Rejected("invalid_request", f"A customer claims at most {MAX_SUBJECTS} subjects.")
    for subject in (customer.key, *customer.subjects):
        if not _PRINTABLE.fullmatch(subject):
            raise Rejected(
                "invalid_request", "Keys and subjects are 1 to 256 characters without controls."
            )
    if customer.parent is not None:
        require_customer(tenant, customer.parent)
        _check_parent(tenant, customer)


def _check_parent(tenant: Tenant, customer: Customer) -> None:
    seen, parent = {customer.key}, customer.parent
    while parent is not None:
        if parent in seen:
            raise Rejected("invalid_request", f"{parent!r} would be its own ancestor.")
        seen.add(parent)
        parent = tenant.customers[parent].parent


def _check_subjects(tenant: Tenant, customer: Customer) -> None:
    for subject in customer.all_subjects:
        holder = tenant.live.by_subject.get(subject)
        if holder is not None and holder.customer != customer.key:
            raise Refused(
                "subject_taken",
                f"Subject {subject!r} belongs to customer {holder.customer!r}.",
                subject=subject,
                customer=holder.customer,
            )


def _counts_alike(tenant: Tenant, a: Customer, b: Customer) -> bool:
    """Whether the same events fall into the same periods of both."""
    same_zone = a.timezone == b.timezone or a.key in tenant.active
    return same_zone and set(a.all_subjects) == set(b.all_subjects)


def _mark(core: Core, tenant: Tenant, key: str, has_history: bool) -> Rebuild | None:
    """Of a fresh account: whether anything was counted, or would have been, before."""
    tenant.live.accounts[key].seen = has_history
    if not has_history:
        return None
    return begin_rebuild(core, tenant, [key], tenant.live.layout.counters)


async def _fill(core: Core, tenant: Tenant, missing: Rebuild | None, reason: str) -> None:
    if missing is None:
        core.changed.set()
    else:
        await rebuild(core, tenant, missing, reason)


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
        if tenant.plan_version(plan, catalog_version) is None:
            raise Rejected(
                "unknown_plan", f"Catalogue version {catalog_version} has no plan {plan!r}."
            )
        running = tenant.active.get(customer)
        if running is not None:
            raise Refused(
                "subscription_exists",
                f"Customer {customer!r} is subscribed to {running.plan!r} ({running.id}).",
                subscription=running.id,
            )
        now = core.clock.now()
        subscription = Subscription(
            id=new_id("sub"),
            customer=customer,
            plan=plan,
            catalog_version=catalog_version,
            pinned=version is not None,
            start=now if start is None else start,
            anchor=anchor,
            timezone=tenant.customers[customer].timezone,
            created_at=now,
        )
        detail = {"plan": plan, "customer": customer}
        await core.books.run(
            core.books.books.put_subscription,
            tenant.name,
            subscription,
            audit(tenant, now, actor, "subscription.create", subscription.id, **detail),
        )
        new_terms = tenant.put_subscription(subscription)
        had_events = tenant.live.accounts[customer].seen
        tenant.reset_account(customer)
        added = tenant.live.set_counters(tenant.wanted_counters()) if new_terms else []
        missing = _mark(core, tenant, customer, had_events)
        others = mark_history(core, tenant, added, but=customer)
        await _fill(core, tenant, missing, f"subscription {subscription.id}")
        await _fill(core, tenant, others, f"subscription {subscription.id}")
        return subscription


def find_subscription(tenant: Tenant, subscription_id: str) -> Subscription:
    found = tenant.subscriptions.get(subscription_id)
    if found is None:
        raise NotFound("not_found", f"There is no subscription {subscription_id!r}.")
    return found


def subscription_json(core: Core, tenant: Tenant, subscription: Subscription) -> dict[str, Any]:
    """As the HTTP interface shows it, with the period that holds the present."""
    plan = tenant.current_plan(subscription)
    account = tenant.live.accounts[subscription.customer]
    now = core.clock.now()
    period = None
    if subscription.status == "active" and now >= subscription.start:
        period = account.schedule.containing(now).to_json()
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "plan": subscription.plan,
        "version": plan.version,
        "pinned": subscription.pinned,
        "status": subscription.status,
        "start": format_instant(subscription.start),
        "end": None if subscription.end is None else format_instant(subscription.end),
        "anchor": subscription.anchor.value,
        "timezone": subscription.timezone,
        "overrides": subscription.overrides,
        "period": period,
        "created_at": format_instant(subscription.created_at),
    }
