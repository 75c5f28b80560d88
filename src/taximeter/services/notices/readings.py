"""
A customer's numbers as the alerts look at them.
"""

from __future__ import annotations

from taximeter.catalog.features import CUSTOMER, Limit, MeteredEntitlement, Reset
from taximeter.entitlements.gauge import Gauge
from taximeter.entitlements.local_windows import local_windows
from taximeter.gate.budget import Budget
from taximeter.gate.purse import Purse
from taximeter.live.account import Account
from taximeter.notices.readings import (
    BudgetReading,
    CreditReading,
    FeatureReading,
    Readings,
    usage_name,
)
from taximeter.services.gate.allowances import Allowance, allowance_of
from taximeter.services.gate.hooks import budget_gauged, limit_gauged
from taximeter.services.tenant import Tenant


def readings(tenant: Tenant, account: Account, now: int) -> Readings:
    """Everything there is to watch of one customer at an instant; changes nothing."""
    purse = tenant.live.gate.purses.get(account.customer)
    credits: dict[str, CreditReading] = {}
    budgets: dict[str, BudgetReading] = {}
    if purse is not None:
        for credit, wallet in purse.wallets.items():
            credits[credit] = CreditReading(wallet.balance_pico, wallet.available_pico(None))
        for budget in purse.budgets.values():
            budgets[budget.id] = _budget(tenant, account, purse, budget, now)
    return Readings(_usage(tenant, account, now), credits, budgets)


def _budget(
    tenant: Tenant, account: Account, purse: Purse, budget: Budget, now: int
) -> BudgetReading:
    gauged = budget_gauged(tenant, account, budget)
    gauge = gauged.peek(purse, gauged.only or ())
    resets_at = gauge.resets_at(now)
    return BudgetReading(
        gauge.used_pico(now),
        budget.limit.limit_pico,
        _window_start(tenant, account, budget.limit, resets_at, budget.since, now),
        resets_at,
        rolling=budget.limit.reset is Reset.ROLLING,
    )


def _usage(tenant: Tenant, account: Account, now: int) -> dict[str, FeatureReading]:
    found: dict[str, FeatureReading] = {}
    for feature, entitlement in tenant.standing(account, now).entitlements.items():
        if not isinstance(entitlement, MeteredEntitlement):
            continue
        allowance = allowance_of(tenant, account, feature, now)
        if allowance is not None and allowance.owner is account:
            main = allowance.entitlement.main
            found[feature] = _feature(tenant, account, allowance, main, now)
            for limit in allowance.entitlement.limits:
                if limit.level == CUSTOMER:
                    found[usage_name(feature, limit.key)] = (
                        found[feature]
                        if limit is main
                        else _feature(tenant, account, allowance, limit, now)
                    )
    return found


def _feature(
    tenant: Tenant, account: Account, allowance: Allowance, limit: Limit | None, now: int
) -> FeatureReading:
    """Where a limit stands, in its own window; without one, usage of the billing period."""
    if limit is None or limit.reset is Reset.PERIOD:
        period = allowance.period_at(now)
        limit_pico = None if limit is None else limit.limit_pico
        if limit is not None and limit is allowance.entitlement.main:
            limit_pico = allowance.included_at(now)
        return FeatureReading(allowance.used_at(now), limit_pico, period.start, period.end)
    gauged = limit_gauged(tenant, account, allowance.feature, limit)
    gauge: Gauge = gauged.peek(tenant.live.gate.purses.get(account.customer), ())
    since = allowance.lane.schedule.start or 0
    reading = gauge.reading(now, since=since)
    return FeatureReading(
        reading.used_pico,
        reading.limit_pico,
        _window_start(tenant, account, limit, reading.resets_at, since, now),
        reading.resets_at,
        rolling=limit.reset is Reset.ROLLING,
    )


def _window_start(
    tenant: Tenant, account: Account, limit: Limit, resets_at: int | None, since: int, now: int
) -> int:
    """What names the running window; `since` where it has no beginning of its own."""
    match limit.reset:
        case Reset.PERIOD:
            schedule = account.schedule
            return schedule.containing(now).start if schedule.covers(now) else since
        case Reset.FIRST_USE:
            assert limit.window_us is not None, limit
            return since if resets_at is None else resets_at - limit.window_us
        case Reset.NEVER | Reset.ROLLING:
            return since
        case calendar:
            timezone = tenant.customers[account.customer].timezone
            return local_windows(calendar, timezone).containing(now).start
