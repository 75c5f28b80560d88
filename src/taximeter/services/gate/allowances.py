"""
What a customer may use of one feature: its own entitlement, or that of a parent it pools with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from taximeter.catalog.entitlements import ADDITIVE
from taximeter.catalog.features import MeteredEntitlement, Reset
from taximeter.entitlements.rollover import MAX_HISTORY, carried_pico
from taximeter.gate.purse import Purse
from taximeter.live.account import Account
from taximeter.periods import Period

if TYPE_CHECKING:
    from taximeter.services.tenant import Tenant


class Allowance(msgspec.Struct, frozen=True):
    """
    A metered entitlement and who has it.

    Attributes:
        owner: The account whose entitlement it is: the customer's own or a parent's.
        lane: Of the owner; its periods are those of the entitlement.
        counter: Key of the counter that counts its usage.
    """

    tenant: Tenant
    owner: Account
    lane: Account
    feature: str
    counter: str
    entitlement: MeteredEntitlement

    def used_at(self, at: int) -> int:
        """
        Units the owner itself has used in the billing period that holds an instant.

        What weighs time is weighed up to that instant; it never rolls over.
        """
        live = self.tenant.live
        cells = self.lane.cells_at(at, live.layout.new_cells)
        slot = live.layout.slots.get(self.counter)
        if cells is None or slot is None:
            return 0
        past = Period(self.period_at(at).start, at) if slot in live.layout.carrying else None
        return max(0, live.layout.cell_value(cells, slot, past)[1])

    def included_at(self, at: int) -> int:
        """Units that the main limit includes in that period, with what rolled over into it."""
        main = self.entitlement.main
        assert main is not None, "only asked for an entitlement with a limit"
        if main.rollover is None or main.reset is not Reset.PERIOD:
            return main.limit_pico
        schedule = self.lane.schedule
        before = [schedule.nth(n) for n in range(max(0, schedule.index(at)))][-MAX_HISTORY:]
        used = [self.used_at(period.start) for period in before]
        return main.limit_pico + carried_pico(main, used, self._allowances(before))

    def _allowances(self, periods: Sequence[Period]) -> list[int] | None:
        """The main limit at the end of each period; None if it was always the present one."""
        tenant = self.tenant
        if not tenant.has_changed(self.lane.subscription):
            return None
        return [self._limit_pico_at(period.end - 1) for period in periods]

    def _limit_pico_at(self, at: int) -> int:
        entitlement = self.tenant.standing_at(self.owner, at).entitlements.get(self.feature)
        main = entitlement.main if isinstance(entitlement, MeteredEntitlement) else None
        return 0 if main is None else main.limit_pico

    def period_at(self, at: int) -> Period:
        """The billing period that holds an instant."""
        lane = self.lane
        if lane.period_start <= at < lane.period_end:
            return Period(lane.period_start, lane.period_end)
        return lane.schedule.containing(at)


def allowance_of(tenant: Tenant, account: Account, feature: str, now: int) -> Allowance | None:
    """The metered entitlement that decides; None if nobody in the pool has one."""
    for owner in (account, *tenant.pool_of(account.customer)):
        standing = tenant.standing(owner, now)
        entitlement = standing.entitlements.get(feature)
        if isinstance(entitlement, MeteredEntitlement):
            lane = owner.lanes[standing.lanes[feature]]
            counter = tenant.feature_counters[feature]
            purse = tenant.live.gate.purses.get(account.customer)
            if purse is not None and purse.throttled:
                entitlement = _throttled(tenant, purse, entitlement, now)
            return Allowance(tenant, owner, lane, feature, counter, entitlement)
    return None


def _throttled(
    tenant: Tenant, purse: Purse, entitlement: MeteredEntitlement, now: int
) -> MeteredEntitlement:
    """With the rates that rules have imposed beside its own."""
    meter = tenant.catalog.features[entitlement.feature].meter
    if meter is None or tenant.catalog.meters[meter].aggregation not in ADDITIVE:
        return entitlement
    rates = tuple(one.rate for one in purse.throttles_of(entitlement.feature, now))
    return msgspec.structs.replace(entitlement, rates=(*entitlement.rates, *rates))
