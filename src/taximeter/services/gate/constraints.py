"""
Where everything that bounds one feature of one customer stands at an instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from taximeter.catalog.features import CUSTOMER, Limit, MeteredEntitlement, Rate
from taximeter.entitlements.gauge import Gauge
from taximeter.entitlements.rate import RateFields, RateGauge
from taximeter.entitlements.readings import Funds, Kind, Reading
from taximeter.events.envelope import Event
from taximeter.gate.budget import Budget
from taximeter.gate.purse import WHOLE, Purse
from taximeter.live.account import Account
from taximeter.live.gating import PeriodGauge
from taximeter.meters.paths import read
from taximeter.meters.values import dimension_value
from taximeter.services.gate.allowances import Allowance
from taximeter.services.gate.hooks import (
    budget_gauged,
    cost_path,
    limit_gauged,
    needs_gauge,
    pooled_gauged,
    rate_gauged,
)
from taximeter.services.tenant import Tenant

PARENT = "parent"
NO_SCOPE: Mapping[str, str] = {}


class Constraints:
    """
    Reads the constraints on one feature.

    Args:
        allowance: What decides; its owner is the account itself or a parent it pools with.
        scope: Level below the customer -> who asks.
        event: The usage as it would be recorded, for costs that go by a dimension.
        amount_pico: What is asked for: a window that rolls then says when that much fits.
    """

    def __init__(
        self,
        tenant: Tenant,
        account: Account,
        allowance: Allowance,
        now: int,
        scope: Mapping[str, str] = NO_SCOPE,
        event: Event | None = None,
        amount_pico: int = 0,
    ) -> None:
        self._tenant = tenant
        self._account = account
        self._allowance = allowance
        self._now = now
        self._scope = scope
        self._event = event
        self._amount_pico = amount_pico
        self._purse = tenant.live.gate.purses.get(account.customer)

    def readings(self) -> list[Reading]:
        """All of them: the customer's own first, then outermost level first."""
        found: list[Reading] = []
        allowance = self._allowance
        if allowance.owner is self._account:
            found += self._of_entitlement(allowance.entitlement)
        else:
            imposed = [one for one in allowance.entitlement.rates if one.imposed_by]
            found += [self._rate_reading(self._purse, one, "") for one in imposed]
        if not found or found[0].level != CUSTOMER or found[0].kind is not Kind.LIMIT:
            found.insert(0, self._unlimited())
        found += self._of_parents()
        if self._purse is not None and self._purse.budgets:
            found += self._of_budgets(self._account, self._purse, CUSTOMER)
        return found

    def funds(self) -> Funds | None:
        """The credit that pays for what is not included; None if the feature costs none."""
        entitlement = self._allowance.entitlement
        credit, cost = entitlement.credit, entitlement.cost
        if credit is None or cost is None:
            return None
        available_pico = 0
        for customer in self._payers():
            purse = self._tenant.live.gate.purses.get(customer)
            wallet = None if purse is None else purse.wallets.get(credit)
            if wallet is not None:
                available_pico += wallet.available_pico(self._allowance.feature)
        return Funds(credit, cost, available_pico, self._cost_case(entitlement))

    def rate_fields(self) -> list[RateFields]:
        """The rates, as fields of an HTTP answer."""
        feature = self._allowance.feature
        found = []
        for rate in self._allowance.entitlement.rates:
            value = self._value_of(rate.level)
            if value is not None:
                gauged = rate_gauged(self._tenant, feature, rate)
                gauge: RateGauge = gauged.peek(self._purse, (value,) if value else ())
                reserved_pico = self._reserved_at(self._purse, rate.level, value)
                found.append(gauge.fields(feature, self._now, reserved_pico))
        return found

    def _payers(self) -> Iterator[str]:
        yield self._account.customer
        for parent in self._tenant.pool_of(self._account.customer):
            yield parent.customer

    def _cost_case(self, entitlement: MeteredEntitlement) -> str | None:
        layout = self._tenant.live.layout
        slot = layout.slots.get(self._allowance.counter)
        if slot is None or self._event is None:
            return None
        path = cost_path(entitlement, layout.counters[slot].meter)
        return None if path is None else dimension_value(read(self._event, path))

    # --- the customer's own ---

    def _of_entitlement(self, entitlement: MeteredEntitlement) -> Iterator[Reading]:
        for limit in entitlement.limits:
            value = self._value_of(limit.level)
            if value is None:
                continue
            if needs_gauge(limit):
                yield self._gauge_reading(self._account, self._purse, limit, limit.level, value)
            else:
                yield self._period_reading(limit)
        for rate in entitlement.rates:
            value = self._value_of(rate.level)
            if value is not None:
                yield self._rate_reading(self._purse, rate, value)

    def _value_of(self, level: str) -> str | None:
        """Who asks, at a level; "" for the customer itself, None if nobody at that level does."""
        return "" if level == CUSTOMER else self._scope.get(level)

    def _unlimited(self) -> Reading:
        allowance = self._allowance
        if allowance.owner is not self._account:
            return Reading(None, key="pooled")
        return Reading(
            None,
            allowance.used_at(self._now),
            self._reserved(self._purse, (allowance.feature, *WHOLE)),
            allowance.period_at(self._now).end,
        )

    def _period_reading(self, limit: Limit) -> Reading:
        allowance = self._allowance
        main = limit is allowance.entitlement.main
        return Reading(
            allowance.included_at(self._now) if main else limit.limit_pico,
            allowance.used_at(self._now) + self._pooled(self._account, limit),
            self._reserved(self._purse, (allowance.feature, *WHOLE)),
            allowance.period_at(self._now).end,
            limit.enforcement,
            limit.grace_pico,
            key=limit.key,
        )

    def _pooled(self, account: Account, limit: Limit) -> int:
        """What those who pool with an account have used of its limit."""
        purse = self._tenant.live.gate.purses.get(account.customer)
        if purse is None or not (purse.gauges or purse.dormant):
            return 0
        gauged = pooled_gauged(self._tenant, account, self._allowance.feature, limit)
        used: int = gauged.peek(purse, ()).used_pico(self._now)
        return used

    def _gauge_reading(
        self, account: Account, purse: Purse | None, limit: Limit, level: str, value: str
    ) -> Reading:
        feature = self._allowance.feature
        gauged = limit_gauged(self._tenant, account, feature, limit)
        gauge = gauged.peek(purse, (value,) if value else ())
        return _read(
            gauge,
            limit,
            self._now,
            self._amount_pico,
            reserved_pico=self._reserved_at(purse, level, value),
            scope=value or None,
            since=self._allowance.lane.schedule.start,
        )

    def _rate_reading(self, purse: Purse | None, rate: Rate, value: str) -> Reading:
        gauged = rate_gauged(self._tenant, self._allowance.feature, rate)
        gauge: RateGauge = gauged.peek(purse, (value,) if value else ())
        reserved_pico = self._reserved_at(purse, rate.level, value)
        return gauge.reading(
            self._now, self._amount_pico, reserved_pico=reserved_pico, scope=value or None
        )

    def _reserved_at(self, purse: Purse | None, level: str, value: str) -> int:
        """Units of the feature that are held for a value of a level; "" for the customer."""
        feature = self._allowance.feature
        return self._reserved(purse, (feature, level, value) if value else (feature, *WHOLE))

    # --- parents and budgets ---

    def _of_parents(self) -> Iterator[Reading]:
        for parent in self._tenant.pool_of(self._account.customer):
            entitlement = self._tenant.standing(parent, self._now).entitlements.get(
                self._allowance.feature
            )
            purse = self._tenant.live.gate.purses.get(parent.customer)
            if isinstance(entitlement, MeteredEntitlement):
                for limit in entitlement.limits:
                    value = self._value_of(limit.level)
                    if value is not None:
                        yield self._parent_reading(parent, purse, limit, value)
                for rate in entitlement.rates:
                    value = self._value_of(rate.level)
                    if value is not None:
                        yield self._rate_reading(purse, rate, value)
            if purse is not None and purse.budgets:
                yield from self._of_budgets(parent, purse, PARENT)

    def _parent_reading(
        self, parent: Account, purse: Purse | None, limit: Limit, value: str
    ) -> Reading:
        feature = self._allowance.feature
        if needs_gauge(limit):
            found = self._gauge_reading(parent, purse, limit, limit.level, value)
            if value:
                return found
            return msgspec.structs.replace(found, level=PARENT, scope=parent.customer)
        standing = self._tenant.standing(parent, self._now)
        lane = parent.lanes[standing.lanes[feature]]
        own = msgspec.structs.replace(self._allowance, owner=parent, lane=lane)
        return Reading(
            limit.limit_pico,
            own.used_at(self._now) + self._pooled(parent, limit),
            self._reserved(purse, (feature, *WHOLE)),
            own.period_at(self._now).end,
            limit.enforcement,
            limit.grace_pico,
            PARENT,
            parent.customer,
            key=limit.key,
        )

    def _of_budgets(self, account: Account, purse: Purse, level: str) -> Iterator[Reading]:
        entitlement = self._allowance.entitlement
        scope = self._scope if level == CUSTOMER else NO_SCOPE
        for budget in purse.budgets.values():
            if budget.concerns(self._allowance.feature, entitlement.credit, scope):
                yield self._budget_reading(account, purse, budget, level)

    def _budget_reading(
        self, account: Account, purse: Purse, budget: Budget, level: str
    ) -> Reading:
        gauged = budget_gauged(self._tenant, account, budget)
        gauge = gauged.peek(purse, gauged.only or ())
        found = _read(
            gauge,
            budget.limit,
            self._now,
            0 if budget.credit is not None else self._amount_pico,
            reserved_pico=self._reserved_of(purse, budget),
        )
        scope: str | None = account.customer if level == PARENT else None
        if gauged.scope:
            level = gauged.scope[-1][0]  # the innermost
            scope = budget.scope[level]
        in_credit = budget.credit is not None
        return msgspec.structs.replace(
            found,
            level=level,
            scope=scope,
            kind=Kind.BUDGET,
            key=budget.id,
            credit=budget.credit,
            cost=self._allowance.entitlement.cost if in_credit else None,
            cost_case=self._cost_case(self._allowance.entitlement) if in_credit else None,
        )

    def _reserved_of(self, purse: Purse, budget: Budget) -> int:
        prefix: tuple[str, ...] = (
            ("credit", budget.credit) if budget.credit is not None else (budget.feature or "",)
        )
        if not budget.scope:
            return self._reserved(purse, (*prefix, *WHOLE))
        if len(budget.scope) == 1:
            ((level, value),) = budget.scope.items()
            return self._reserved(purse, (*prefix, level, value))
        return sum(
            hold.units_pico if budget.credit is None else hold.cost_pico
            for hold in purse.holds.values()
            if budget.concerns(hold.feature, hold.credit, hold.scope)
        )

    @staticmethod
    def _reserved(purse: Purse | None, key: tuple[str, ...]) -> int:
        return 0 if purse is None else purse.reserved.get(key, 0)


def _read(
    gauge: Gauge | PeriodGauge,
    limit: Limit,
    now: int,
    amount_pico: int,
    *,
    reserved_pico: int,
    scope: str | None = None,
    since: int | None = None,
) -> Reading:
    if isinstance(gauge, Gauge):
        return gauge.reading(
            now, amount_pico, reserved_pico=reserved_pico, scope=scope, since=since
        )
    return Reading(
        limit.limit_pico,
        gauge.used_pico(now),
        reserved_pico,
        gauge.resets_at(now),
        limit.enforcement,
        limit.grace_pico,
        limit.level,
        scope,
        key=limit.key,
    )


def plain_reading(allowance: Allowance, limit: Limit | None, now: int) -> Reading:
    """The only constraint there is: the customer's own limit of the period, nothing held."""
    if limit is None:
        return Reading(None, allowance.used_at(now), 0, allowance.period_at(now).end)
    return Reading(
        limit.limit_pico if limit.rollover is None else allowance.included_at(now),
        allowance.used_at(now),
        0,
        allowance.period_at(now).end,
        limit.enforcement,
        limit.grace_pico,
        key=limit.key,
    )


def _bounds_nothing(purse: Purse | None) -> bool:
    """Whether what a customer has beside usage, like credit, changes nothing of its limits."""
    if purse is None:
        return True
    return not (purse.reserved or purse.budgets or purse.gauges or purse.dormant)


def is_plain(tenant: Tenant, account: Account, allowance: Allowance) -> bool:
    """Whether `plain_reading` says it all, whatever the scope."""
    entitlement = allowance.entitlement
    limits = entitlement.limits
    return (
        len(limits) <= 1
        and not entitlement.rates
        and entitlement.credit is None
        and (not limits or not needs_gauge(limits[0]))
        and _bounds_nothing(tenant.live.gate.purses.get(account.customer))
        and allowance.owner is account
        and not tenant.customers[account.customer].pool
    )
