"""
Subscriptions: begin one, and change it.

What is asked for becomes the next revision by pure functions, is stored with who asked, and then
holds for the very next request. Live counters follow without being counted again wherever the
billing periods stay what they were.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.customers import Segment, Subscription
from taximeter.errors import Refused
from taximeter.instants import format_instant
from taximeter.live.account import Account
from taximeter.periods import Anchor
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.customers import new_id
from taximeter.services.rebuild import fill, mark, mark_history
from taximeter.services.subscriptions.agreement import check_no_other, check_plan, check_segments
from taximeter.services.subscriptions.views import find_subscription
from taximeter.services.tenant import Tenant
from taximeter.subscriptions import changes
from taximeter.subscriptions.changes import NOW
from taximeter.subscriptions.phases import Length, phase_ends
from taximeter.subscriptions.timeline import same_periods


class Phase(msgspec.Struct, frozen=True):
    """
    What a subscription is on for a while.

    Attributes:
        plan, version: As of `Wish`.
        length, until: How long, or until when; the last phase may have neither.
    """

    plan: str
    version: int | None = None
    addons: dict[str, int] = {}
    overrides: dict[str, Any] = {}
    length: Length | None = None
    until: int | None = None


class Wish(msgspec.Struct, frozen=True):
    """
    A subscription to begin.

    Attributes:
        phases: At least one.
        start: None for now.
        trial_end: None: as the first plan has it; not after `start` for no trial.
        term, auto_renew: As of `Subscription`; a term that is not renewed sets the end.
        additional: Have it beside another one to the same plan.
    """

    customer: str
    phases: tuple[Phase, ...]
    start: int | None = None
    anchor: Anchor = Anchor.CALENDAR
    trial_end: int | None = None
    trial_us: int | None = None
    term: str | None = None
    auto_renew: bool = True
    additional: bool = False


class Change(msgspec.Struct, frozen=True):
    """
    Something to be changed about a subscription.

    Attributes:
        action: change, cancel, uncancel, pause, resume, renew or unschedule.
        at: now, period_end, term_end, or an instant.
        plan: None to stay on the plan; then a `version` is another version of it.
        version: Stay on exactly this catalogue version of the plan; None to follow newer ones.
        addons: Quantities to have from then on; 0 for none. Others stay.
        overrides: All overrides from then on; None to keep them, or with a new plan to have none.
        until: When a pause ends by itself.
        term, auto_renew: Of a renewal, see `changes.renewed`.
        reason: For the record.
    """

    action: str = "change"
    at: str | int = NOW
    plan: str | None = None
    version: int | None = None
    addons: dict[str, int] = {}
    overrides: dict[str, Any] | None = None
    until: int | None = None
    term: str | None = None
    auto_renew: bool | None = None
    reason: str = ""


# --- to begin ---------------------------------------------------------------------------------


async def subscribe(core: Core, tenant: Tenant, wish: Wish, actor: str) -> Subscription:
    """
    Begin a subscription. Usage since its start counts, also what arrived before this call.

    Raises:
        NotFound: No such customer.
        Rejected: `unknown_plan`, `catalog_invalid` for overrides, `currency_mismatch`,
            `invalid_parameter` for phases.
        Refused: `subscription_exists`.
    """
    async with core.lock(tenant):
        require_customer(tenant, wish.customer)
        now = core.clock.now()
        subscription = _begun(tenant, wish, now)
        check_segments(tenant, subscription, subscription.start)
        if not wish.additional:
            check_no_other(tenant, subscription)
        detail = {"plan": subscription.segments[0].plan, "customer": wish.customer}
        await _store(core, tenant, subscription, now, actor, "create", detail)
        return subscription


def _begun(tenant: Tenant, wish: Wish, now: int) -> Subscription:
    start = now if wish.start is None else wish.start
    timezone = tenant.customers[wish.customer].timezone
    ends = phase_ends(start, timezone, [(one.length, one.until) for one in wish.phases])
    starts = [start, *(end for end in ends[:-1] if end is not None)]
    segments = [_segment(tenant, one, at) for one, at in zip(wish.phases, starts, strict=True)]
    subscription = Subscription(
        new_id("sub"),
        wish.customer,
        wish.anchor,
        timezone,
        changes.merged(segments),
        end=ends[-1],
        created_at=now,
        term=wish.term,
        auto_renew=wish.term is not None and wish.auto_renew,
    )
    if wish.term is not None and not wish.auto_renew:
        subscription = replace(subscription, end=changes.end_of_term(subscription, start))
    trial_end = wish.trial_end
    if trial_end is None:
        trial_us = wish.trial_us
        if trial_us is None:
            trial_us = tenant.plans.current(segments[0]).plan.trial_us or 0
        trial_end = start + trial_us
    if trial_end > start:
        subscription = changes.patched(subscription, start, trial_end, trial=True)
    return subscription


def _segment(tenant: Tenant, phase: Phase, start: int) -> Segment:
    version = check_plan(tenant, phase.plan, phase.version)
    plan = tenant.plans.plan(phase.plan, version)
    assert plan is not None, "it was checked"
    return Segment(
        start,
        phase.plan,
        version,
        plan.plan.cadence,
        pinned=phase.version is not None,
        addons={key: number for key, number in sorted(phase.addons.items()) if number},
        overrides=phase.overrides,
    )


# --- to change --------------------------------------------------------------------------------


async def change(
    core: Core, tenant: Tenant, subscription_id: str, wanted: Change, actor: str
) -> Subscription:
    """
    Make a change, effective for the very next request or at the instant it is scheduled for.

    Raises:
        NotFound: No such subscription.
        Rejected: `change_in_past`, and as for `subscribe`.
        Refused: `subscription_ended`, `subscription_unchanged`.
    """
    async with core.lock(tenant):
        subscription = find_subscription(tenant, subscription_id)
        now = core.clock.now()
        after, at = proposed(tenant, subscription, wanted, now)
        return await revise(core, tenant, after, at, wanted, actor)


async def revise(
    core: Core, tenant: Tenant, after: Subscription, at: int, wanted: Change, actor: str
) -> Subscription:
    """Store a revision and let it hold; the namespace is locked."""
    after = replace(after, revision=after.revision + 1)
    asked = {
        name: value
        for name, value in msgspec.to_builtins(wanted).items()
        if value not in (None, "", {}) and name not in ("action", "at", "until")
    }
    detail = {"customer": after.customer, "effective_at": format_instant(at), **asked}
    await _store(core, tenant, after, core.clock.now(), actor, wanted.action, detail)
    return after


def proposed(
    tenant: Tenant, subscription: Subscription, wanted: Change, now: int
) -> tuple[Subscription, int]:
    """
    What a change would make of a subscription, and the instant it takes effect.

    Raises:
        Rejected, Refused: As for `change`.
    """
    match wanted.action:
        case "uncancel":
            return changes.uncancelled(subscription, now), max(now, subscription.start)
        case "renew":
            after = changes.renewed(subscription, now, wanted.term, wanted.auto_renew)
            return after, max(now, subscription.start)
        case "unschedule":
            assert isinstance(wanted.at, int), "an instant names what is scheduled"
            return changes.unscheduled(subscription, wanted.at, now), wanted.at
        case "cancel":
            at = changes.effective_at(_endless(subscription, now), wanted.at, now)
            return changes.cancelled(subscription, at), at
    at = changes.effective_at(subscription, wanted.at, now)
    match wanted.action:
        case "pause":
            return changes.paused(subscription, at, wanted.until), at
        case "resume":
            return changes.resumed(subscription, at), at
        case "change":
            after = _changed_terms(tenant, subscription, wanted, at)
            check_segments(tenant, after, at)
            return after, at
    raise AssertionError(wanted.action)


def _endless(subscription: Subscription, now: int) -> Subscription:
    """For another end than the one that is planned; one that has ended stays ended."""
    if subscription.end is not None and subscription.end <= now:
        return subscription
    return replace(subscription, end=None)


def _changed_terms(
    tenant: Tenant, subscription: Subscription, wanted: Change, at: int
) -> Subscription:
    after = subscription
    if wanted.plan is not None or wanted.version is not None:
        key = wanted.plan or subscription.segment_at(at).plan
        version = check_plan(tenant, key, wanted.version)
        plan = tenant.plans.plan(key, version)
        assert plan is not None, "it was checked"
        after = changes.patched(
            after,
            at,
            plan=key,
            catalog_version=version,
            cadence=plan.plan.cadence,
            pinned=wanted.version is not None,
        )
        if key != subscription.segment_at(at).plan:
            after = changes.patched(after, at, overrides={})
    if wanted.overrides is not None:
        after = changes.patched(after, at, overrides=wanted.overrides)
    if wanted.addons:
        after = changes.with_addons(after, at, wanted.addons)
    if after == subscription:
        raise Refused(
            "subscription_unchanged",
            f"Subscription {subscription.id!r} is on exactly that already; nothing changed.",
        )
    return after


# --- to store, and to let it hold -------------------------------------------------------------


async def _store(
    core: Core,
    tenant: Tenant,
    subscription: Subscription,
    now: int,
    actor: str,
    action: str,
    detail: dict[str, Any],
) -> None:
    detail = {"did": action, **detail}
    await core.books.run(
        core.books.books.put_subscription,
        tenant.name,
        subscription,
        audit(tenant, now, actor, f"subscription.{action}", subscription.id, **detail),
    )
    priced_anew = tenant.put_subscription(subscription)
    # The clock may have gone on while the books were written.
    latest = core.clock.now() + tenant.window.future_us
    await _recount(core, tenant, subscription, priced_anew, now, latest)


async def _recount(
    core: Core,
    tenant: Tenant,
    subscription: Subscription,
    priced_anew: bool,
    since: int,
    latest: int,
) -> None:
    """
    Count by the periods and the prices there are now; between the first steps nothing yields.

    Args:
        since: No period before this instant has changed.
        latest: No event counted so far is later.
    """
    customer, reason = subscription.customer, f"subscription {subscription.id}"
    account = tenant.live.accounts[customer]
    missing = None
    stays = _moves_in_place(tenant, account, since, latest)
    if not stays:
        tenant.reset_account(customer)
    added = tenant.live.set_counters(tenant.wanted_counters()) if priced_anew else []
    if not stays:
        missing = mark(core, tenant, customer, account.seen)
    others = mark_history(core, tenant, added, but=None if stays else customer)
    await fill(core, tenant, missing, reason)
    await fill(core, tenant, others, reason)


def _moves_in_place(tenant: Tenant, account: Account, since: int, latest: int) -> bool:
    """
    Let an account go by its customer's present periods, if what it counted stays right by them.

    Returns:
        False, with nothing done, if it has to be counted again.
    """
    lanes = tenant.lanes(account.customer)
    if [lane.subscription for lane in lanes] != [lane.subscription for lane in account.lanes]:
        return False
    pairs = list(zip(account.lanes, lanes, strict=True))
    if not all(same_periods(a.schedule, b.timeline, since, latest) for a, b in pairs):
        return False
    for counted, lane in pairs:
        counted.reschedule(lane.timeline)
    account.forget_hooks()
    return True
