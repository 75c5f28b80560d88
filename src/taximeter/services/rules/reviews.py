"""
People look at what rules have done: reviews, and lifting what was imposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from taximeter.errors import NotFound, Refused
from taximeter.gate.effects import Unblock
from taximeter.gate.purse import Imposed, Throttled
from taximeter.instants import format_instant
from taximeter.ports import RuleFire
from taximeter.quantities import format_quantity
from taximeter.rules.watcher import author
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.customers import new_id
from taximeter.services.gate.commands import Answered, Commands, Earlier, command_event
from taximeter.services.rules.service import RuleService
from taximeter.services.tenant import Tenant


async def resolve(
    core: Core,
    commands: Commands,
    rules: RuleService,
    tenant: Tenant,
    fire_id: str,
    status: str,
    note: str,
    actor: str,
) -> RuleFire:
    """
    Close a review: `approved` leaves what the rule has imposed, `dismissed` lifts it.

    Raises:
        NotFound: There is no such review.
        Refused: `already_resolved`.
    """
    await rules.settle()
    async with core.lock(tenant):
        fire = await find_fire(core, tenant, fire_id)
        if fire.review is None:
            raise NotFound("not_found", f"Rule {fire.rule!r} asks for no review.")
        if fire.review != "open":
            raise Refused(
                "already_resolved",
                f"The review was {fire.review} by {fire.reviewed_by} before.",
                status=fire.review,
            )
        now = core.clock.now()
        if status == "dismissed":
            # Lifted first: after a crash between, the review is open still and can be closed.
            lifted = _lift(commands, tenant, fire.customer, None, author(fire.rule), note, now)
            if lifted is not None and lifted.durable is not None:
                await lifted.durable
        closed = replace(fire, review=status, reviewed_at=now, reviewed_by=actor, note=note or None)
        detail = {"rule": fire.rule, "customer": fire.customer, "note": note}
        entry = audit(tenant, now, actor, f"review.{status}", fire.id, **detail)
        await core.books.run(core.books.books.resolve_review, closed, entry)
        await rules.count_reviews()
        return closed


async def find_fire(core: Core, tenant: Tenant, fire_id: str) -> RuleFire:
    """
    Raises:
        NotFound: No rule fired by that id.
    """
    found = await core.books.run(core.books.books.fire, tenant.name, fire_id)
    if found is None:
        raise NotFound("not_found", f"No rule fired by the id {fire_id!r}.")
    return found


# --- what is imposed --------------------------------------------------------------------------


async def unblock(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    feature: str | None,
    reason: str,
    actor: str,
) -> Answered | Earlier:
    """
    Lift every block and throttle of a customer, or of one feature. Nothing to lift is no error.

    Args:
        feature: None for all; "" for those that concern all features.

    Raises:
        NotFound: No such customer.
    """
    require_customer(tenant, customer)
    earlier = commands.under_key(tenant)
    if earlier is not None:
        return earlier
    now = core.clock.now()
    lifted = _lift(commands, tenant, customer, feature, "", reason, now)
    if lifted is None:
        return Answered({"customer": customer, "lifted": [], "seq": None})
    detail = {"feature": feature, "reason": reason}
    entry = audit(tenant, now, actor, "customer.unblock", customer, **detail)
    await core.books.run(core.books.books.add_audit, entry)
    return lifted


def imposed_json(tenant: Tenant, customer: str, now: int) -> list[dict[str, Any]]:
    """Every block and throttle that holds."""
    return [_json(feature, one) for feature, one in _imposed(tenant, customer) if one.holds_at(now)]


def _lift(
    commands: Commands,
    tenant: Tenant,
    customer: str,
    feature: str | None,
    by: str,
    reason: str,
    now: int,
) -> Answered | None:
    """Lift what somebody (with "": anybody) has imposed; None if there is nothing."""
    found = [
        (imposed_on, one)
        for imposed_on, one in _imposed(tenant, customer)
        if feature in (None, imposed_on) and by in ("", one.by) and one.holds_at(now)
    ]
    if not found:
        return None
    told = [_json(imposed_on, one) for imposed_on, one in found]
    effects = [
        Unblock(customer, feature=imposed_on, by=one_by)
        for imposed_on, one_by in dict.fromkeys((f, one.by) for f, one in found)
    ]
    event = command_event("unblock", new_id("unblock"), customer, {"reason": reason})
    identity, earlier = commands.earlier(tenant, event)
    assert earlier is None, "its id was made just now"
    return commands.record(
        tenant,
        event,
        identity,
        now,
        effects,
        lambda seq: {
            "customer": customer, "lifted": told, "seq": seq, "position": f"0:{seq}",
        },
    )  # fmt: skip


def _imposed(tenant: Tenant, customer: str) -> Iterator[tuple[str, Imposed]]:
    purse = tenant.live.gate.purses.get(customer)
    if purse is None:
        return
    for feature, blocked in purse.blocked.items():
        for one in blocked.values():
            yield feature, one
    for feature, throttled in purse.throttled.items():
        for other in throttled.values():
            yield feature, other


def _json(feature: str, imposed: Imposed) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": "block",
        "feature": feature or None,
        "by": imposed.by,
        "reason": imposed.reason,
        "since": format_instant(imposed.since),
        "until": None if imposed.until is None else format_instant(imposed.until),
    }
    if isinstance(imposed, Throttled):
        rate = imposed.rate
        told["kind"] = "throttle"
        told["limit"] = format_quantity(rate.limit_pico)
        told["per_s"] = rate.per_us // 1_000_000
    return told
