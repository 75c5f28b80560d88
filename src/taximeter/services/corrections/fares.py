"""
What a correction or an import would change in money: fares of periods as they are and would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from taximeter.instants import format_instant
from taximeter.invoices.build import Usage
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.money import format_minor
from taximeter.periods import Period
from taximeter.services.billing.drafting.assembly import fare_of
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.dues import Due, counter_of, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MAX_FARES = 100
"""Periods whose fares are worked out, earliest first by customer."""


class FareChange(NamedTuple):
    """What a period would come to, before and after; an invoice that was made stays as it is."""

    customer: str
    subscription: str
    period: Period
    currency: str
    before_minor: int
    after_minor: int

    def to_json(self) -> dict[str, Any]:
        return {
            "customer": self.customer,
            "subscription": self.subscription,
            "period": {
                "start": format_instant(self.period.start),
                "end": format_instant(self.period.end),
            },
            "currency": self.currency,
            "before": format_minor(self.before_minor, self.currency),
            "after": format_minor(self.after_minor, self.currency),
        }


async def dues_of(core: Core, tenant: Tenant, periods: Iterable[tuple[str, int]]) -> list[Due]:
    """
    What is due for periods, as far as counters alone say what it comes to.

    Args:
        periods: (subscription, start).
    """
    found: list[Due] = []
    for subscription_id, start in periods:
        subscription = tenant.subscriptions[subscription_id]
        due = due_of(tenant, subscription, tenant.timeline(subscription).index(start))
        if not due.is_split:
            found.append(await with_drawn(core, tenant, due))
        if len(found) == MAX_FARES:
            break
    return found


def billed_counters(tenant: Tenant, dues: Iterable[Due]) -> Iterator[Counter]:
    """Everything these count."""
    for due in dues:
        for _, charge, price in due.usage_charges():
            yield counter_of(tenant, charge, price)


def fare_changes(
    tenant: Tenant,
    dues: Iterable[Due],
    before: LiveState,
    after: LiveState,
    position: int,
    now: int,
) -> Iterator[FareChange]:
    """Of the fares that would be others, as they run now."""
    for due in dues:
        customer = due.customer.key
        fares = [
            fare_of(tenant, due, customer, list(_usage(tenant, due, state, now)), position)
            for state in (before, after)
        ]
        old, new = (fare.total_minor for fare in fares)
        if old != new:
            currency = fares[0].currency
            yield FareChange(customer, due.subscription.id, due.period, currency, old, new)


def _usage(tenant: Tenant, due: Due, state: LiveState, now: int) -> Iterator[Usage]:
    lanes = state.accounts[due.customer.key].lanes
    lane = next(one for one in lanes if one.subscription == due.subscription.id)
    for place, charge, price in due.usage_charges():
        counter = counter_of(tenant, charge, price)
        if price.group_by:
            groups = state.usage_by_group(lane, counter, due.period, now)
        else:
            groups = {(): state.usage(lane, counter, due.period, now)}
        for group, (events, value_pico) in groups.items():
            yield Usage(place, group, value_pico, events, None)
