"""
Previews: what a change would cost and grant, without making it.
"""

from __future__ import annotations

from typing import Any

from taximeter.catalog.entitlements import dump_entitlement
from taximeter.customers import Subscription
from taximeter.instants import format_instant
from taximeter.invoices.document import dump_invoice
from taximeter.invoices.invoice import Invoice
from taximeter.money import format_minor
from taximeter.services.billing.drafting.fare import fares
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.subscriptions.service import Change, proposed
from taximeter.services.subscriptions.views import find_subscription, segments_json
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.standing import Status, status_at
from taximeter.subscriptions.timeline import timeline_of


async def preview(
    core: Core, tenant: Tenant, subscription_id: str, wanted: Change
) -> dict[str, Any]:
    """
    When a change would take effect, what could be used before and after, and the invoices of the
    periods it touches: the one that runs, the one it takes effect in, and the one that follows.
    Usage is what has been counted so far.

    Raises:
        NotFound, Rejected, Refused: As the change itself.
    """
    before = find_subscription(tenant, subscription_id)
    now = core.clock.now()
    after, at = proposed(tenant, before, wanted, now)
    return {
        "subscription": before.id,
        "action": wanted.action,
        "effective_at": format_instant(at),
        "status": {
            "before": status_at(before, at).value,
            "after": status_at(after, at).value,
        },
        "entitlements": {
            "before": _entitlements(tenant, before, at),
            "after": _entitlements(tenant, after, at),
        },
        "segments": segments_json(after),
        "end": None if after.end is None else format_instant(after.end),
        "invoices": await _invoices(core, tenant, before, after, (max(now, before.start), at)),
    }


def _entitlements(tenant: Tenant, subscription: Subscription, at: int) -> dict[str, Any]:
    if status_at(subscription, at) not in (Status.ACTIVE, Status.TRIALING):
        return {}
    granted = tenant.plans.current(subscription.segment_at(at)).entitlements
    return {feature: dump_entitlement(one) for feature, one in sorted(granted.items())}


async def _invoices(
    core: Core,
    tenant: Tenant,
    before: Subscription,
    after: Subscription,
    instants: tuple[int, ...],
) -> list[dict[str, Any]]:
    one, other = timeline_of(before), timeline_of(after)
    ends = [found.end for at in instants if (found := other.find(at)) is not None]
    places = sorted({(one.index(at), other.index(at)) for at in (*instants, *ends)})
    dues: list[Due] = []
    for old, new in places:
        dues += [due_of(tenant, before, old)] if old >= 0 else []
        dues += [due_of(tenant, after, new)] if new >= 0 else []
    counted = iter(await fares(core, tenant, dues))
    return [
        _compared(
            next(counted) if old >= 0 else None,
            next(counted) if new >= 0 else None,
        )
        for old, new in places
        if old >= 0 or new >= 0
    ]


def _compared(before: Invoice | None, after: Invoice | None) -> dict[str, Any]:
    """Both invoices, and how much more the change makes of it; None where currencies differ."""
    currencies = {one.currency for one in (before, after) if one is not None}
    difference = None
    if len(currencies) == 1:
        (currency,) = currencies
        less = 0 if before is None else before.total_minor
        more = 0 if after is None else after.total_minor
        difference = {"amount": format_minor(more - less, currency), "currency": currency}
    return {
        "before": None if before is None else dump_invoice(before),
        "after": None if after is None else dump_invoice(after),
        "difference": difference,
    }
