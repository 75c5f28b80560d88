"""
From what a customer is entitled to, to what its usage events do beside being counted.

Most do nothing more: a limit of the billing period is read from the counters themselves. Gauges are
kept for the other windows, for levels below the customer, for rates and budgets, and for what
customers share with a parent; credit is burned by features that cost some.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from taximeter.catalog.entitlements import ADDITIVE
from taximeter.catalog.features import CUSTOMER, Limit, MeteredEntitlement, Rate, Reset
from taximeter.entitlements.gauge import Gauge as WindowGauge
from taximeter.entitlements.rate import RateGauge
from taximeter.gate.budget import Budget
from taximeter.gate.purse import WHOLE, Purse
from taximeter.live.account import Account
from taximeter.live.gating import Gauged, Hook, Hooks, Maker, PeriodGauge, Pool
from taximeter.meters.definition import Aggregation, Meter
from taximeter.quantities import E12
from taximeter.services.gate.allowances import Allowance, allowance_of
from taximeter.services.rules.watchers import watchers_of

if TYPE_CHECKING:
    from taximeter.services.tenant import Tenant

POOLED = "pooled"
BUDGET = "budget"


def make_hooks(tenant: Tenant, account: Account, now: int) -> Hooks:
    """Those that hold from an instant on."""
    by_type: dict[str, list[Hook]] = defaultdict(list)
    purse = tenant.live.gate.purses.get(account.customer)
    until = tenant.standing(account, now).until
    for parent in tenant.pool_of(account.customer):
        until = min(until, tenant.standing(parent, now).until)
    for key, feature in tenant.catalog.features.items():
        if feature.meter is None:
            continue
        allowance = allowance_of(tenant, account, key, now)
        budgets = tuple(_budgets(purse, key, allowance))
        hook = _hook(tenant, account, purse, key, allowance, budgets, now)
        if hook is not None:
            by_type[tenant.catalog.meters[feature.meter].event_type].append(hook)
    hooks = {name: tuple(found) for name, found in by_type.items()}
    return Hooks(hooks, until, watchers_of(tenant, account, now))


def _hook(
    tenant: Tenant,
    account: Account,
    purse: Purse | None,
    feature: str,
    allowance: Allowance | None,
    budgets: tuple[Budget, ...],
    now: int,
) -> Hook | None:
    entitlement = None if allowance is None else allowance.entitlement
    counter = tenant.feature_counters[feature]
    slot = tenant.live.layout.slots.get(counter)
    if slot is None:
        return None
    meter = tenant.live.layout.counters[slot].meter
    if meter.aggregation not in ADDITIVE:
        return None  # one event's part in its quantity is no number of units
    program = tenant.live.layout.programs[meter.event_type]
    own = allowance is not None and allowance.owner is account
    gauges = [*_own_gauges(tenant, account, entitlement if own else None, feature)]
    if not own and entitlement is not None:
        # What a rule imposes on one who uses a parent's allowance is its own all the same.
        gauges += [rate_gauged(tenant, feature, one) for one in entitlement.rates if one.imposed_by]
    gauges += [budget_gauged(tenant, account, budget) for budget in budgets]
    pools = tuple(_pools(tenant, account, feature, now))
    leased = purse is not None and any(
        hold.lease and hold.feature == feature for hold in purse.holds.values()
    )
    credit = None if entitlement is None else entitlement.credit
    if not (gauges or pools or leased or credit):
        return None
    assert allowance is not None or not credit
    spends = credit is not None and allowance is not None and entitlement is not None
    main = entitlement.main if spends and entitlement is not None else None
    return Hook(
        feature=feature,
        index=program.slots.index(slot),
        unit_pico=E12 if meter.aggregation is Aggregation.COUNT else 1,
        gauges=tuple(gauges),
        credit=credit,
        cost=entitlement.cost if entitlement is not None else None,
        cost_path=None if entitlement is None else cost_path(entitlement, meter),
        included_pico=None if main is None or allowance is None else allowance.included_at,
        used_pico=None if main is None or allowance is None else main_usage(tenant, allowance),
        held_pico=None if main is None or allowance is None else held_units(tenant, allowance),
        is_counted=own and main is not None and not needs_gauge(main),
        pools=pools,
        pool_keys=tuple(parent.customer for parent in tenant.pool_of(account.customer)),
    )


def cost_path(entitlement: MeteredEntitlement, meter: Meter) -> str | None:
    """Where an event has the dimension that the cost goes by."""
    if entitlement.cost is None or entitlement.cost.by is None:
        return None
    return meter.dimensions.get(entitlement.cost.by)


def _own_gauges(
    tenant: Tenant, account: Account, entitlement: MeteredEntitlement | None, feature: str
) -> Iterator[Gauged]:
    if entitlement is None:
        return
    for limit in entitlement.limits:
        if needs_gauge(limit):
            yield limit_gauged(tenant, account, feature, limit)
    for rate in entitlement.rates:
        yield rate_gauged(tenant, feature, rate)


def rate_gauged(tenant: Tenant, feature: str, rate: Rate) -> Gauged:
    """Where a rate is kept."""
    return Gauged((feature, rate.key), Maker(RateGauge, (rate,)), _scope(tenant, rate.level))


def needs_gauge(limit: Limit) -> bool:
    """Whether a limit is not read from the counters of the billing period."""
    return limit.level != CUSTOMER or limit.reset is not Reset.PERIOD


def limit_gauged(tenant: Tenant, account: Account, feature: str, limit: Limit) -> Gauged:
    """Where the usage of a limit of an account's entitlement is kept."""
    return Gauged(
        (feature, limit.key),
        gauge_maker(tenant, account, feature, limit),
        _scope(tenant, limit.level),
    )


def budget_gauged(tenant: Tenant, account: Account, budget: Budget) -> Gauged:
    """Where the usage of a budget is kept."""
    levels = [level for level in tenant.catalog.scopes if level in budget.scope]
    levels += [level for level in budget.scope if level not in levels]
    return Gauged(
        (BUDGET, budget.id),
        gauge_maker(tenant, account, budget.feature, budget.limit),
        tuple((level, tenant.scope_path(level)) for level in levels),
        only=tuple(budget.scope[level] for level in levels),
        in_credit=budget.credit is not None,
    )


def pooled_gauged(tenant: Tenant, parent: Account, feature: str, limit: Limit) -> Gauged:
    """Where a parent keeps what those who pool with it have used of a limit of its own."""
    if needs_gauge(limit):
        return limit_gauged(tenant, parent, feature, limit)
    return Gauged((feature, limit.key, POOLED), gauge_maker(tenant, parent, feature, limit))


def main_usage(tenant: Tenant, allowance: Allowance) -> Callable[[int], int]:
    """
    (instant) -> units that count against the main limit in its window then, whoever of a pool used
    them. The owner's own usage of a billing period is in its counters, all else in gauges.
    """
    main = allowance.entitlement.main
    assert main is not None, "only asked for an entitlement with a limit"
    purses, owner, schedule = tenant.live.gate.purses, allowance.owner, allowance.lane.schedule
    gauged = pooled_gauged(tenant, owner, allowance.feature, main)

    def in_gauge(at: int) -> int:
        purse = purses.get(owner.customer)
        return gauged.peek(purse, ()).used_pico(at) if purse is not None else 0

    def in_period(at: int) -> int:
        shared = in_gauge(at) if schedule.covers(at) else 0
        return allowance.used_at(at) + shared

    return in_gauge if needs_gauge(main) else in_period


def held_units(tenant: Tenant, allowance: Allowance) -> Callable[[int], int]:
    """(instant) -> units that open holds keep of the main limit's window then."""
    main, lane = allowance.entitlement.main, allowance.lane
    assert main is not None, "only asked for an entitlement with a limit"
    purses, owner = tenant.live.gate.purses, allowance.owner.customer
    key = (allowance.feature, *WHOLE)
    by_period = main.reset is Reset.PERIOD

    def held(at: int) -> int:
        purse = purses.get(owner)
        if purse is None or (by_period and not lane.period_start <= at < lane.period_end):
            return 0
        return purse.reserved.get(key, 0)

    return held


def gauge_maker(tenant: Tenant, account: Account, feature: str | None, limit: Limit) -> Maker:
    """What makes gauges for a limit of an account, or of the budget for a feature."""
    if limit.reset is Reset.PERIOD:
        return Maker(PeriodGauge, (tenant.lane_of(account, feature).schedule,))
    return Maker(WindowGauge, (limit, tenant.customers[account.customer].timezone))


def _scope(tenant: Tenant, level: str) -> tuple[tuple[str, str], ...]:
    return () if level == CUSTOMER else ((level, tenant.scope_path(level)),)


def _budgets(purse: Purse | None, feature: str, allowance: Allowance | None) -> Iterator[Budget]:
    credit = None if allowance is None else allowance.entitlement.credit
    for budget in () if purse is None else purse.budgets.values():
        if budget.feature == feature or (budget.credit is not None and budget.credit == credit):
            yield budget


def _pools(tenant: Tenant, account: Account, feature: str, now: int) -> Iterator[Pool]:
    for parent in tenant.pool_of(account.customer):
        entitlement = tenant.standing(parent, now).entitlements.get(feature)
        purse = tenant.live.gate.purse(parent.customer)
        gauges: list[Gauged] = []
        credit = None
        if isinstance(entitlement, MeteredEntitlement):
            credit = entitlement.credit
            gauges += [
                pooled_gauged(tenant, parent, feature, limit) for limit in entitlement.limits
            ]
            gauges += [rate_gauged(tenant, feature, rate) for rate in entitlement.rates]
        gauges += [
            budget_gauged(tenant, parent, budget)
            for budget in purse.budgets.values()
            if not budget.scope and budget.concerns(feature, credit, {})
        ]
        yield Pool(purse, tuple(gauges))
