"""
Fees in advance: billed when a period begins, together with the period before it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from taximeter.catalog.prices import Flat, Timing
from taximeter.customers import Subscription
from taximeter.invoices.charges import Charge
from taximeter.invoices.plan_lines import is_prepaid
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.tenant import Tenant

ADVANCE = "advance"


def ahead_of(
    tenant: Tenant,
    subscription: Subscription,
    as_of: int,
    billed: Mapping[tuple[str, int, str], str],
) -> Due | None:
    """
    The fees in advance of the period that runs at an instant, as it looks when it begins; None if
    there are none, or they are billed. A change later in the period is settled at its end.
    """
    timeline = tenant.timeline(subscription)
    index = timeline.index(as_of)
    if index < 0 or timeline.in_trial(index):
        return None
    key = (subscription.id, timeline.nth(index).start)
    if (*key, ADVANCE) in billed or (*key, "period") in billed:
        return None
    due = due_of(tenant, subscription, index)
    fees = fees_in_advance(due)
    if not fees and not is_prepaid(due.terms):
        return None
    return replace(due, charges=fees, part=ADVANCE)


def fees_in_advance(due: Due) -> tuple[Charge, ...]:
    """What of a period is billed when it begins."""
    return tuple(
        charge
        for charge in due.charges
        if isinstance(charge.price, Flat) and charge.price.timing is Timing.ADVANCE
    )
