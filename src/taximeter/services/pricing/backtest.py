"""
Backtest: what real usage of the past would have earned by another catalogue, and changes nothing.

Both sides are rated by the code that bills, up to one position of the log: as the subscriptions
were, and as if they had been on the other catalogue from their beginning.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from taximeter.catalog.document import Catalog
from taximeter.customers import Subscription
from taximeter.errors import Rejected
from taximeter.instants import DAY, format_instant
from taximeter.meters.reading import DocumentInvalid
from taximeter.money import round_minor
from taximeter.pricing.costs import CostRates
from taximeter.pricing.outcome import (
    Outcome,
    by_difference,
    outcome_json,
    total_json,
    totals_of,
)
from taximeter.services.billing.due.dues import Due
from taximeter.services.core import Core, require_customer
from taximeter.services.pricing.costs import costs_of, find_costs
from taximeter.services.pricing.revenue import Earned, earned, periods_of
from taximeter.services.pricing.supposed import held_at, supposing
from taximeter.services.tenant import Tenant

DEFAULT_SPAN_US = 90 * DAY
MAX_SHOWN = 10_000
_COSTS_AT_ONCE = 20_000

Progress = Callable[[int, int], None]
"""Told how many steps are done, and of how many."""


class Backtest(msgspec.Struct, frozen=True):
    """
    Attributes:
        catalog: What is tried: a document, or a version.
        start, end: Billing periods that end after `start` and begin before `end`; taken whole.
        customers: Only these; None for all.
        shown: How many customers the answer lists, those whose bill changes most.
    """

    catalog: Catalog | int
    start: int
    end: int
    customers: tuple[str, ...] | None = None
    shown: int = 100


async def backtest(
    core: Core, tenant: Tenant, wanted: Backtest, progress: Progress
) -> dict[str, Any]:
    """
    Raises:
        NotFound: No such version, or customer.
        Rejected: `invalid_parameter` for an empty span.
        Unavailable: The store cannot answer now.
    """
    check(tenant, wanted)
    now = core.clock.now()
    supposed, version = supposing(tenant, wanted.catalog, now)
    before: list[Due] = []
    after: list[Due] = []
    unplaced: list[dict[str, Any]] = []
    for subscription in _subscriptions(tenant, wanted):
        await asyncio.sleep(0)  # thousands take a while, and checks do not wait
        dues = periods_of(subscription, tenant, wanted.start, wanted.end)
        if not dues:
            continue
        try:
            other, lacking = held_at(supposed, subscription, version)
            found = [] if other is None else periods_of(other, supposed, wanted.start, wanted.end)
        except DocumentInvalid as error:  # what a contract overrides does not fit
            other, lacking, found = None, tuple(map(str, error.problems)), []
        if other is None:
            unplaced.append(_unplaced(subscription, lacking))
        else:
            before += dues
            after += found
    rated = _Steps(len(before) + len(after), progress)
    upto = await core.upto()
    costs = await find_costs(core, tenant)
    outcomes = _outcomes(
        await earned(core, tenant, before, upto, rated.add),
        await earned(core, supposed, after, upto, rated.add),
        await _costs(core, tenant, costs, before, upto),
    )
    return {
        "catalog_version": wanted.catalog if isinstance(wanted.catalog, int) else None,
        "from": format_instant(wanted.start),
        "to": format_instant(wanted.end),
        "position": f"0:{upto}",
        "totals": [total_json(total) for total in totals_of(outcomes)],
        "customers": [outcome_json(one) for one in by_difference(outcomes)[: wanted.shown]],
        "not_placed": unplaced,
    }


def check(tenant: Tenant, wanted: Backtest) -> None:
    """What can be said against it before anything is counted."""
    if wanted.start >= wanted.end:
        raise Rejected("invalid_parameter", "`from` must be before `to`.")
    if not 1 <= wanted.shown <= MAX_SHOWN:
        raise Rejected("invalid_parameter", f"`limit` is 1 to {MAX_SHOWN}.")
    for customer in wanted.customers or ():
        require_customer(tenant, customer)


def _subscriptions(tenant: Tenant, wanted: Backtest) -> list[Subscription]:
    if wanted.customers is None:
        return list(tenant.subscriptions.values())
    names = dict.fromkeys(wanted.customers)
    return [one for customer in names for one in tenant.of_customer(customer)]


def _unplaced(subscription: Subscription, lacking: Sequence[str]) -> dict[str, Any]:
    return {
        "customer": subscription.customer,
        "subscription": subscription.id,
        "lacks": list(lacking),
    }


class _Steps:
    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        progress(0, total)

    def add(self, steps: int) -> None:
        self._done += steps
        self._progress(self._done, self._total)


async def _costs(
    core: Core, tenant: Tenant, rates: CostRates, dues: Sequence[Due], upto: int
) -> Mapping[tuple[str, str], Fraction]:
    """(customer, currency) -> what its usage costs."""
    found: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for first in range(0, len(dues) if rates.table else 0, _COSTS_AT_ONCE):
        batch = dues[first : first + _COSTS_AT_ONCE]
        for (place, currency), cost in (await costs_of(core, tenant, rates, batch, upto)).items():
            found[batch[place].customer.key, currency] += cost
    return found


def _outcomes(
    before: Mapping[tuple[str, str], Earned],
    after: Mapping[tuple[str, str], Earned],
    costs: Mapping[tuple[str, str], Fraction],
) -> list[Outcome]:
    found = []
    for key in sorted(before.keys() | after.keys()):
        one, other, cost = before.get(key), after.get(key), costs.get(key)
        customer, currency = key
        found.append(
            Outcome(
                customer,
                currency,
                max(side.periods for side in (one, other) if side is not None),
                None if one is None else one.minor,
                None if other is None else other.minor,
                None if cost is None else round_minor(cost, currency),
            )
        )
    return found
