"""
Rollouts: a staged catalogue version for some customers first, compared, then for all or for nobody.

Who gets it is put on it by a revision of its subscription, as any change is. So from the instant it
takes effect K20 splits the period, closed invoices keep what they cite, and going back is one more
revision from now on. Pinned subscriptions are left alone unless their customers are named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from taximeter.customers import Segment, Subscription
from taximeter.errors import NotFound, Refused, Rejected, TaximeterError
from taximeter.meters.reading import KEY_RULE, is_key
from taximeter.pricing.cohorts import Cohort, Side
from taximeter.pricing.rollout import Assignment, Rollout, RolloutStatus
from taximeter.services.catalogue import publish_catalog
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.subscriptions.agreement import check_segments
from taximeter.services.subscriptions.service import Change, revise
from taximeter.services.tenant import Tenant
from taximeter.subscriptions import changes
from taximeter.subscriptions.changes import NOW, PERIOD_END


class Wish(msgspec.Struct, frozen=True):
    """What a rollout is to be."""

    id: str
    version: int
    cohort: Cohort
    start: str | int = NOW
    reason: str = ""


class Skipped(msgspec.Struct, frozen=True):
    """A subscription that could not be put where it belongs, and why."""

    subscription: str
    customer: str
    code: str
    detail: str


class Rolled(msgspec.Struct, frozen=True):
    """What a step of a rollout did."""

    rollout: Rollout
    moved: int
    skipped: tuple[Skipped, ...] = ()


async def put_rollout(core: Core, tenant: Tenant, wish: Wish, actor: str) -> Rolled:
    """
    Begin a rollout, or take in more: a larger share, or who has subscribed since. Whoever got the
    version, or was held out, stays so.

    Raises:
        Rejected: `invalid_request`, `invalid_parameter` for a version that is not staged.
        Refused: `rollout_over`.
        NotFound: One of its customers.
    """
    _check(tenant, wish)
    async with core.lock(tenant):
        known = await core.books.run(core.books.books.rollout, tenant.name, wish.id)
        now = core.clock.now()
        if known is not None:
            _check_running(known)
            if known.version != wish.version:
                raise Rejected(
                    "invalid_parameter",
                    f"Rollout {wish.id!r} is of version {known.version}; another one needs an id "
                    "of its own.",
                )
        rollout = Rollout(
            id=wish.id,
            version=wish.version,
            cohort=wish.cohort,
            start=wish.start,
            created_at=now if known is None else known.created_at,
            created_by=actor if known is None else known.created_by,
            reason=wish.reason or ("" if known is None else known.reason),
        )
        before = await _assignments(core, tenant, wish.id)
        assigned, wanted = [], []
        for subscription in _eligible(tenant, rollout, now):
            found = _assigned(rollout, subscription, before.get(subscription.id), now)
            assigned.append(found)
            if found.side is Side.TREATMENT and not _is_on(subscription, rollout, now):
                wanted.append(subscription.id)
        # First who is where, then the revisions: after a crash in between, the same call goes on.
        cohort = wish.cohort
        entry = audit(
            tenant, now, actor, "rollout.put", wish.id, version=wish.version, reason=wish.reason,
            share=str(cohort.share), holdout=str(cohort.holdout), assigned=len(assigned),
        )  # fmt: skip
        await core.books.run(core.books.books.put_rollout, tenant.name, rollout, assigned, entry)
        return await _moved(core, tenant, rollout, wanted, actor)


async def roll_back(core: Core, tenant: Tenant, rollout_id: str, reason: str, actor: str) -> Rolled:
    """
    Take everybody back to what they had, from now on. What was billed stays billed, and what was
    used until now stays rated by the version that held.

    Raises:
        NotFound: No such rollout.
        Refused: `rollout_over`.
    """
    async with core.lock(tenant):
        return await _end(core, tenant, rollout_id, RolloutStatus.ROLLED_BACK, None, reason, actor)


async def complete(core: Core, tenant: Tenant, rollout_id: str, reason: str, actor: str) -> Rolled:
    """
    Publish the version for all: limits at once, prices with the next period of each. Those who
    have it already go on with it, and follow newer versions again.

    Raises:
        NotFound: No such rollout.
        Refused: `rollout_over`; `catalog_changed` if another version was published meanwhile.
        Rejected: `catalog_invalid` if it lacks what somebody is subscribed to.
    """
    async with core.lock(tenant):
        rollout = await find_rollout(core, tenant, rollout_id)
        _check_running(rollout)
        if tenant.version > rollout.version:
            raise Refused(
                "catalog_changed",
                f"Version {tenant.version} was published after {rollout.version} was staged, and "
                "would be taken back; roll back, and stage the newest with your change.",
                latest=tenant.version,
            )
        catalog = tenant.catalogs[rollout.version]
        why = reason or f"rollout {rollout_id} completed"
        published = await publish_catalog(core, tenant, catalog, actor, reason=why)
        return await _end(
            core, tenant, rollout_id, RolloutStatus.COMPLETED, published.version, reason, actor
        )


async def find_rollout(core: Core, tenant: Tenant, rollout_id: str) -> Rollout:
    found = await core.books.run(core.books.books.rollout, tenant.name, rollout_id)
    if found is None:
        raise NotFound("not_found", f"There is no rollout {rollout_id!r}.")
    return found


def _check(tenant: Tenant, wish: Wish) -> None:
    if not is_key(wish.id):
        raise Rejected("invalid_request", f"id: {KEY_RULE}.")
    if wish.version not in tenant.staged:
        staged = ", ".join(map(str, sorted(tenant.staged))) or "none"
        raise Rejected(
            "invalid_parameter",
            f"Version {wish.version} is not staged (staged: {staged}); stage one with "
            "PUT /v1/catalog?staged=1.",
        )
    if wish.cohort.share + wish.cohort.holdout > 1:
        raise Rejected("invalid_request", "share and holdout are more than 100% together.")
    if isinstance(wish.start, str) and wish.start not in (NOW, PERIOD_END):
        raise Rejected("invalid_request", "from: now, period_end or an instant.")
    for customer in wish.cohort.customers or ():
        require_customer(tenant, customer)


def _check_running(rollout: Rollout) -> None:
    if rollout.status is not RolloutStatus.RUNNING:
        raise Refused(
            "rollout_over",
            f"Rollout {rollout.id!r} is {rollout.status.value.replace('_', ' ')}; begin another "
            "one under an id of its own.",
        )


async def _assignments(core: Core, tenant: Tenant, rollout_id: str) -> dict[str, Assignment]:
    found = await core.books.run(core.books.books.assignments, tenant.name, rollout_id)
    return {one.subscription: one for one in found}


# --- who is where -----------------------------------------------------------------------------


def _eligible(tenant: Tenant, rollout: Rollout, now: int) -> Iterable[Subscription]:
    """Running subscriptions for which the version makes a difference."""
    for subscription in tenant.subscriptions.values():
        if not subscription.runs_at(now):
            continue
        customer = tenant.customers[subscription.customer]
        segment = subscription.segment_at(now)
        is_named = rollout.cohort.customers is not None
        is_free = not segment.pinned or is_named or segment.catalog_version == rollout.version
        in_another = segment.catalog_version in tenant.staged - {rollout.version}
        is_meant = rollout.cohort.eligible(customer.key, customer.metadata)
        if is_free and not in_another and is_meant and _differs(tenant, rollout, segment.plan):
            yield subscription


def _differs(tenant: Tenant, rollout: Rollout, plan: str) -> bool:
    staged = tenant.catalogs[rollout.version]
    return plan in staged.plans and (staged.plans[plan], staged.addons, staged.meters) != (
        tenant.catalog.plans.get(plan),
        tenant.catalog.addons,
        tenant.catalog.meters,
    )


def _assigned(
    rollout: Rollout, subscription: Subscription, known: Assignment | None, now: int
) -> Assignment:
    """Once in, or held out, for good; who only was compared with may still get it."""
    if known is not None and known.side is not Side.CONTROL:
        return known
    side = rollout.cohort.side(rollout.id, subscription.customer)
    if known is not None and side is not Side.TREATMENT:
        return known
    at = now
    if side is Side.TREATMENT:
        wanted = rollout.start if isinstance(rollout.start, str) else max(now, rollout.start)
        at = changes.effective_at(subscription, wanted, now)
    segment = subscription.segment_at(at)
    return Assignment(
        subscription.id, subscription.customer, side, at, segment.catalog_version, segment.pinned
    )


def _is_on(subscription: Subscription, rollout: Rollout, now: int) -> bool:
    """Whether it is on the version, or will be."""
    return any(
        segment.catalog_version == rollout.version
        for segment in subscription.segments
        if segment.start >= subscription.segment_at(now).start
    )


# --- putting them there -----------------------------------------------------------------------


async def _moved(
    core: Core, tenant: Tenant, rollout: Rollout, wanted: Sequence[str], actor: str
) -> Rolled:
    """Put subscriptions on the version. One that cannot be leaves the others alone."""
    assigned = await _assignments(core, tenant, rollout.id)
    moved, skipped = 0, []
    for subscription_id in wanted:
        before = tenant.subscriptions[subscription_id]
        at = max(core.clock.now(), assigned[subscription_id].at)
        after = _renamed(tenant, before, at, _given(tenant, rollout), pinned=True)
        change = Change("rollout", at, version=rollout.version, reason=rollout.id)
        problem = await _revised(core, tenant, before, after, change, actor)
        moved += problem is None
        skipped += [] if problem is None else [problem]
    return Rolled(rollout, moved, tuple(skipped))


async def _end(
    core: Core,
    tenant: Tenant,
    rollout_id: str,
    status: RolloutStatus,
    version: int | None,
    reason: str,
    actor: str,
) -> Rolled:
    """
    Args:
        version: What those who had it go on with; None for what each had before.
    """
    rollout = await find_rollout(core, tenant, rollout_id)
    _check_running(rollout)
    moved, skipped = 0, []
    for one in (await _assignments(core, tenant, rollout_id)).values():
        before = tenant.subscriptions[one.subscription]
        named = _left(tenant, rollout, one, version)
        after = _renamed(tenant, before, core.clock.now(), named, one.from_pinned)
        if one.side is Side.TREATMENT and after != before:
            change = Change(status.value, NOW, version=version, reason=reason or rollout_id)
            problem = await _revised(core, tenant, before, after, change, actor)
            moved += problem is None
            skipped += [] if problem is None else [problem]
    now = core.clock.now()
    ended = replace(rollout, status=status, ended_at=now)
    entry = audit(tenant, now, actor, f"rollout.{status.value}", rollout_id, reason=reason)
    await core.books.run(core.books.books.put_rollout, tenant.name, ended, (), entry)
    return Rolled(ended, moved, tuple(skipped))


def _given(tenant: Tenant, rollout: Rollout) -> Callable[[Segment], int | None]:
    """The rollout's version, wherever the plan is one of it."""
    plans = tenant.catalogs[rollout.version].plans
    return lambda segment: rollout.version if segment.plan in plans else None


def _left(
    tenant: Tenant, rollout: Rollout, one: Assignment, version: int | None
) -> Callable[[Segment], int | None]:
    """What each segment that is on the rollout's version names from now on."""

    def named(segment: Segment) -> int | None:
        if segment.catalog_version != rollout.version:
            return None
        wanted = one.from_version if version is None else version
        return wanted if segment.plan in tenant.catalogs[wanted].plans else tenant.version

    return named


def _renamed(
    tenant: Tenant,
    subscription: Subscription,
    since: int,
    named: Callable[[Segment], int | None],
    pinned: bool,
) -> Subscription:
    """
    The subscription with other catalogue versions from an instant on.

    Args:
        named: The version a segment is to name; None to leave it alone.
    """
    after = subscription
    starts = [*(segment.start for segment in subscription.segments[1:]), None]
    for segment, until in zip(subscription.segments, starts, strict=True):
        version = named(segment) if until is None or until > since else None
        if version is not None:
            plan = tenant.plans.plan(segment.plan, version)
            assert plan is not None, "only plans of that version are looked up"
            after = changes.patched(
                after,
                max(since, segment.start),
                until,
                catalog_version=version,
                cadence=plan.plan.cadence,
                pinned=pinned,
            )
    return after


async def _revised(
    core: Core,
    tenant: Tenant,
    before: Subscription,
    after: Subscription,
    change: Change,
    actor: str,
) -> Skipped | None:
    """None, or why it could not be."""
    at = core.clock.now() if isinstance(change.at, str) else change.at
    await asyncio.sleep(0)  # thousands take a while, and checks do not wait
    try:
        check_segments(tenant, after, at)
        await revise(core, tenant, after, at, change, actor)
    except (Rejected, Refused) as error:
        return _skipped(before, error)
    return None


def _skipped(subscription: Subscription, error: TaximeterError) -> Skipped:
    return Skipped(subscription.id, subscription.customer, error.code, error.message)
