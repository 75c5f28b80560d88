"""
Comparison: what each side of a rollout came to since it was put there.

Billing periods are taken whole, those that a side was in and that have begun; the one that runs
with what it has come to so far.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from taximeter.money import format_minor, round_minor
from taximeter.pricing.cohorts import Side
from taximeter.pricing.rollout import Assignment, Rollout
from taximeter.services.billing.due.dues import Due
from taximeter.services.core import Core
from taximeter.services.pricing.costs import costs_of, find_costs
from taximeter.services.pricing.revenue import earned, periods_of
from taximeter.services.tenant import Tenant


async def compared(
    core: Core, tenant: Tenant, rollout: Rollout, assignments: Sequence[Assignment]
) -> dict[str, Any]:
    """Side -> its customers, and for each currency what they paid, cost and left."""
    upto = await core.upto()
    end = core.clock.now() if rollout.ended_at is None else rollout.ended_at
    sides = {}
    for side in Side:
        of_side = [one for one in assignments if one.side is side]
        dues: list[Due] = []
        for one in of_side:
            subscription = tenant.subscriptions[one.subscription]
            dues += periods_of(subscription, tenant, one.at, end)
            await asyncio.sleep(0)  # thousands take a while, and checks do not wait
        sides[side.value] = {
            "customers": len({one.customer for one in of_side}),
            "subscriptions": len(of_side),
            "totals": await _totals(core, tenant, dues, upto),
        }
    return sides


async def _totals(
    core: Core, tenant: Tenant, dues: Sequence[Due], upto: int
) -> list[dict[str, Any]]:
    revenue: defaultdict[str, int] = defaultdict(int)
    periods: defaultdict[str, int] = defaultdict(int)
    payers: defaultdict[str, int] = defaultdict(int)
    for (_, currency), one in (await earned(core, tenant, dues, upto)).items():
        revenue[currency] += one.minor
        periods[currency] += one.periods
        payers[currency] += 1
    costs: defaultdict[str, Fraction] = defaultdict(Fraction)
    rates = await find_costs(core, tenant)
    if rates.table:
        for (_, currency), cost in (await costs_of(core, tenant, rates, dues, upto)).items():
            costs[currency] += cost
    return [
        {
            "currency": currency,
            "periods": periods[currency],
            "revenue": format_minor(minor, currency),
            "revenue_per_customer": _mean(minor, payers[currency], currency),
        }
        | _margin(minor, costs.get(currency), currency)
        for currency, minor in sorted(revenue.items())
    ]


def _mean(minor: int, count: int, currency: str) -> str:
    """Of so many; half up to the minor unit."""
    return format_minor((2 * minor + count) // (2 * count), currency)


def _margin(revenue_minor: int, cost: Fraction | None, currency: str) -> dict[str, str | None]:
    if cost is None:
        return {"cost": None, "margin": None}
    cost_minor = round_minor(cost, currency)
    return {
        "cost": format_minor(cost_minor, currency),
        "margin": format_minor(revenue_minor - cost_minor, currency),
    }
