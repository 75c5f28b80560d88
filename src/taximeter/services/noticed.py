"""
A customer's numbers as the alerts look at them.
"""

from __future__ import annotations

from taximeter.catalog.features import MeteredEntitlement, Reset
from taximeter.entitlements.local_windows import local_windows
from taximeter.gate.budget import Budget
from taximeter.live.account import Account
from taximeter.notices.readings import BudgetReading, CreditReading, FeatureReading, Readings
from taximeter.services.allowances import allowance_of
from taximeter.services.hooks import budget_gauged
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
            gauged = budget_gauged(tenant, account, budget)
            gauge = gauged.peek(purse, gauged.only or ())
            budgets[budget.id] = BudgetReading(
                gauge.used_pico(now),
                budget.limit.limit_pico,
                _window_start(tenant, account, budget, now),
                gauge.resets_at(now),
                rolling=budget.limit.reset is Reset.ROLLING,
            )
    return Readings(_usage(tenant, account, now), credits, budgets)


def _window_start(tenant: Tenant, account: Account, budget: Budget, now: int) -> int:
    match budget.limit.reset:
        case Reset.PERIOD:
            return account.schedule.containing(now).start if account.schedule.covers(now) else 0
        case Reset.NEVER | Reset.ROLLING | Reset.FIRST_USE:
            return budget.since
        case calendar:
            timezone = tenant.customers[account.customer].timezone
            return local_windows(calendar, timezone).containing(now).start


def _usage(tenant: Tenant, account: Account, now: int) -> dict[str, FeatureReading]:
    found: dict[str, FeatureReading] = {}
    for feature, entitlement in tenant.standing(account, now).entitlements.items():
        if not isinstance(entitlement, MeteredEntitlement):
            continue
        allowance = allowance_of(tenant, account, feature, now)
        if allowance is None or allowance.owner is not account:
            continue
        main = entitlement.main
        period = allowance.period_at(now)
        found[feature] = FeatureReading(
            allowance.used_at(now),
            None if main is None or main.reset is not Reset.PERIOD else allowance.included_at(now),
            period.start,
            period.end,
        )
    return found
