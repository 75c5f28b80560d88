"""
What one customer has: credits, open holds, budgets, seats, and how much of each limit is used.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, TypeAlias

import msgspec

from taximeter.credits.wallet import Wallet
from taximeter.gate.budget import Budget
from taximeter.gate.topup import TopUp

Key: TypeAlias = tuple[str, ...]
WHOLE: tuple[str, str] = ("", "")
"""Level and value of the customer itself."""


class Hold(msgspec.Struct):
    """
    An open reservation or lease.

    Attributes:
        units_pico: Still held, in units of the feature's meter.
        parts: Who pays for what of the cost still held: [customer, pico].
        granted_pico: Units ever held; `used_pico` units drawn on by usage events (leases).
        seq: Of the entry that opened it.
        extensions: How often it was extended.
    """

    id: str
    customer: str
    feature: str
    units_pico: int
    created_at: int
    expires_at: int
    seq: int
    credit: str | None = None
    parts: list[tuple[str, int]] = []
    pools: tuple[str, ...] = ()
    scope: dict[str, str] = {}
    lease: bool = False
    data: dict[str, Any] = {}
    granted_pico: int = 0
    used_pico: int = 0
    extensions: int = 0

    @property
    def cost_pico(self) -> int:
        return sum(pico for _, pico in self.parts)

    def levels(self) -> list[tuple[str, str]]:
        """The customer and each scope level below it that it counts against."""
        return [WHOLE, *self.scope.items()]


class Seat(msgspec.Struct, frozen=True):
    """Attributes: `until` is when a concurrent seat is free again; None for a named one."""

    since: int
    until: int | None = None


class Blocked(msgspec.Struct, frozen=True):
    """Who blocked a feature, when and why."""

    by: str
    reason: str
    since: int


class Purse:
    """
    Attributes:
        blocked: Features that may not be used, "" for all of them.
        overage: By credit: what usage would have cost beyond all credit.
        plan_grants: What of a plan grants credit -> the grant that runs for it.
        wallets: By credit.
        holds: Open ones, by id, oldest first.
        top_ups: Automatic ones, by credit; `topped_up` has the instants of those made lately.
        seats: Feature -> holder -> seat.
        gauges: Usage of limits beside the billing period's own counters, by the limit and what it
            is kept for; see `live.gating`. `dormant` has those a snapshot brought, as bytes, until
            they are wanted.
        reserved: (feature or credit, level, value) -> units or cost held by open holds.
    """

    __slots__ = (
        "_expiries",
        "blocked",
        "budgets",
        "customer",
        "dormant",
        "gauges",
        "holds",
        "overage",
        "plan_grants",
        "reserved",
        "seats",
        "top_ups",
        "topped_up",
        "wallets",
    )

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self.wallets: dict[str, Wallet] = {}
        self.holds: dict[str, Hold] = {}
        self.top_ups: dict[str, TopUp] = {}
        self.topped_up: dict[str, list[int]] = {}
        self.budgets: dict[str, Budget] = {}
        self.seats: dict[str, dict[str, Seat]] = {}
        self.blocked: dict[str, Blocked] = {}
        self.plan_grants: dict[str, str] = {}
        self.overage: dict[str, int] = {}
        self.gauges: dict[Key, Any] = {}
        self.dormant: dict[Key, Any] = {}
        self.reserved: dict[Key, int] = {}
        self._expiries: list[tuple[int, str]] = []

    def wallet(self, credit: str) -> Wallet:
        """That of a credit; an empty one if it has none yet."""
        found = self.wallets.get(credit)
        if found is None:
            found = self.wallets[credit] = Wallet(credit, self.customer)
        return found

    # --- holds ---

    def add_hold(self, hold: Hold) -> None:
        self.holds[hold.id] = hold
        self.count_reserved(hold, hold.units_pico, hold.cost_pico)
        self.will_expire(hold)

    def will_expire(self, hold: Hold) -> None:
        """After its `expires_at` was set."""
        heappush(self._expiries, (hold.expires_at, hold.id))

    def remove_hold(self, hold: Hold) -> None:
        self.count_reserved(hold, -hold.units_pico, -hold.cost_pico)
        del self.holds[hold.id]

    def count_reserved(self, hold: Hold, units_pico: int, cost_pico: int) -> None:
        """More (or less) is held by a hold, of this customer or of one that pools with it."""
        for level, value in hold.levels() if hold.customer == self.customer else (WHOLE,):
            self._reserve((hold.feature, level, value), units_pico)
            if hold.credit is not None:
                self._reserve(("credit", hold.credit, level, value), cost_pico)

    def _reserve(self, key: Key, pico: int) -> None:
        total = self.reserved.get(key, 0) + pico
        assert total >= 0, key
        if total:
            self.reserved[key] = total
        else:
            self.reserved.pop(key, None)

    # --- time ---

    @property
    def due_at(self) -> int | None:
        """The earliest instant at which time alone changes something; None for never."""
        expiries = self._expiries
        while expiries and not self._is_current(*expiries[0]):
            heappop(expiries)
        dues = [expiries[0][0]] if expiries else []
        for wallet in self.wallets.values():
            if wallet.next_change_at is not None:
                dues.append(wallet.next_change_at)
        if self.seats:
            dues += [
                seat.until
                for holders in self.seats.values()
                for seat in holders.values()
                if seat.until is not None
            ]
        return min(dues, default=None)

    def _is_current(self, expires_at: int, hold_id: str) -> bool:
        hold = self.holds.get(hold_id)
        return hold is not None and hold.expires_at == expires_at

    def lapsed(self, at: int) -> list[Hold]:
        """Open holds whose time is over, earliest first."""
        over = [hold for hold in self.holds.values() if hold.expires_at <= at]
        return sorted(over, key=lambda hold: (hold.expires_at, hold.seq))

    # --- as bytes ---

    def dump(self) -> dict[str, Any]:
        """Plain JSON-able values; equal purses give equal dumps."""
        gauges = self.dormant | {key: gauge.dump() for key, gauge in self.gauges.items()}
        document = {
            # One that was only asked about is no different from none.
            "wallets": {c: w.dump() for c, w in sorted(self.wallets.items()) if _is_used(w)},
            "holds": list(self.holds.values()),
            "top_ups": dict(sorted(self.top_ups.items())),
            "topped_up": dict(sorted(self.topped_up.items())),
            "budgets": dict(sorted(self.budgets.items())),
            "seats": {f: dict(sorted(held.items())) for f, held in sorted(self.seats.items())},
            "blocked": dict(sorted(self.blocked.items())),
            "overage": {c: str(pico) for c, pico in sorted(self.overage.items())},
            "plan_grants": dict(sorted(self.plan_grants.items())),
            "gauges": [[list(key), one] for key, one in sorted(gauges.items())],
        }
        builtins: dict[str, Any] = msgspec.to_builtins(document)
        return {name: value for name, value in builtins.items() if value}

    def load(self, dumped: dict[str, Any]) -> None:
        """Inverse of `dump`, into an empty purse."""
        self.wallets = {c: Wallet.load(one) for c, one in dumped.get("wallets", {}).items()}
        for hold in msgspec.convert(dumped.get("holds", []), list[Hold]):
            self.add_hold(hold)
        self.top_ups = msgspec.convert(dumped.get("top_ups", {}), dict[str, TopUp])
        self.topped_up = msgspec.convert(dumped.get("topped_up", {}), dict[str, list[int]])
        self.budgets = msgspec.convert(dumped.get("budgets", {}), dict[str, Budget])
        self.seats = msgspec.convert(dumped.get("seats", {}), dict[str, dict[str, Seat]])
        self.blocked = msgspec.convert(dumped.get("blocked", {}), dict[str, Blocked])
        self.overage = {c: int(pico) for c, pico in dumped.get("overage", {}).items()}
        self.plan_grants = dict(dumped.get("plan_grants", {}))
        self.dormant = {tuple(key): one for key, one in dumped.get("gauges", [])}


def _is_used(wallet: Wallet) -> bool:
    return bool(wallet.ordinal or wallet.lots())
