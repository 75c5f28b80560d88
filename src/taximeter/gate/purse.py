"""
What one customer has: credits, open holds, budgets, seats, and how much of each limit is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, TypeAlias, TypeVar

import msgspec

from taximeter.catalog.features import Rate
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


class Imposed(msgspec.Struct, frozen=True):
    """
    A block or a throttle: who imposed it, when and why.

    Attributes:
        until: It ends by itself then; None: somebody has to lift it.
    """

    by: str
    reason: str
    since: int
    until: int | None = None

    def holds_at(self, at: int) -> bool:
        return self.until is None or at < self.until


T = TypeVar("T", bound=Imposed)


class Blocked(Imposed, frozen=True):
    """May not be used."""


class Throttled(Imposed, frozen=True, kw_only=True):
    """May not be used faster than this."""

    rate: Rate


class Purse:
    """
    Attributes:
        blocked: Features that may not be used, "" for all of them -> who blocked them: one who
            lifts his own leaves those of others.
        throttled: Features that may not be used faster than some rate; as of `blocked`.
        overage: By credit: what usage would have cost beyond all credit.
        invoices: Invoice -> credit -> (lot, pico) that paid a part of it, until that is given back.
        plan_grants: What of a plan grants credit -> the grant that runs for it.
        plan_drawn: Share of what plans grant -> the start of a period, and what was drawn in it
            from grants that were replaced since: those that take their place are so much smaller.
        wallets: By credit.
        holds: Open ones, by id, oldest first.
        top_ups: Automatic ones, by credit; `topped_up` has the instants of those made lately.
        seats: Feature -> holder -> seat.
        gauges: Usage of limits beside the billing period's own counters, by the limit and what it
            is kept for; see `live.gating`. `dormant` has those a snapshot brought, as bytes, until
            they are wanted.
        scheduled_at: When somebody will look whether time has something to do; None: nobody will.
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
        "invoices",
        "overage",
        "plan_drawn",
        "plan_grants",
        "reserved",
        "scheduled_at",
        "seats",
        "throttled",
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
        self.blocked: dict[str, dict[str, Blocked]] = {}
        self.throttled: dict[str, dict[str, Throttled]] = {}
        self.plan_grants: dict[str, str] = {}
        self.plan_drawn: dict[str, tuple[int, int]] = {}
        self.overage: dict[str, int] = {}
        self.gauges: dict[Key, Any] = {}
        self.dormant: dict[Key, Any] = {}
        self.invoices: dict[str, dict[str, tuple[tuple[str, int], ...]]] = {}
        self.reserved: dict[Key, int] = {}
        self.scheduled_at: int | None = None
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
        for level, value in hold.levels():
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
        if self.blocked or self.throttled:
            dues += [one.until for one in self._imposed() if one.until is not None]
        return min(dues, default=None)

    @property
    def looked_at(self) -> int | None:
        """The earliest instant at which somebody has to look: `due_at`, or a top-up that is due."""
        due_at = self.due_at
        for credit, top_up in self.top_ups.items():
            available_pico = self.wallet(credit).available_pico(None)
            topped_at = top_up.due_at(available_pico, self.topped_up.get(credit, []))
            if topped_at is not None and (due_at is None or topped_at < due_at):
                due_at = topped_at
        return due_at

    def _is_current(self, expires_at: int, hold_id: str) -> bool:
        hold = self.holds.get(hold_id)
        return hold is not None and hold.expires_at == expires_at

    def block_of(self, feature: str, at: int) -> Blocked | None:
        """What blocks a feature at an instant; of several, the one that ends last."""
        holding = [
            one
            for name in (feature, "")
            for one in self.blocked.get(name, {}).values()
            if one.holds_at(at)
        ]
        return max(holding, key=_end, default=None)

    def throttles_of(self, feature: str, at: int) -> list[Throttled]:
        """What throttles a feature at an instant."""
        return [
            one
            for name in (feature, "")
            for one in self.throttled.get(name, {}).values()
            if one.holds_at(at)
        ]

    def lift(self, feature: str, by: str) -> None:
        """End what somebody imposed on a feature; with "" whoever did."""

        def is_other(imposed_on: str, one: Imposed) -> bool:
            return imposed_on != feature or (by not in ("", one.by))

        self.blocked = _kept(self.blocked, is_other)
        self.throttled = _kept(self.throttled, is_other)

    def lift_ended(self, at: int) -> None:
        """End what is over by itself."""
        self.blocked = _kept(self.blocked, lambda _, one: one.holds_at(at))
        self.throttled = _kept(self.throttled, lambda _, one: one.holds_at(at))

    def _imposed(self) -> Iterator[Imposed]:
        for blocked in self.blocked.values():
            yield from blocked.values()
        for throttled in self.throttled.values():
            yield from throttled.values()

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
            "blocked": {f: dict(sorted(by.items())) for f, by in sorted(self.blocked.items())},
            "throttled": {f: dict(sorted(by.items())) for f, by in sorted(self.throttled.items())},
            "overage": {c: str(pico) for c, pico in sorted(self.overage.items())},
            "invoices": {
                invoice: {c: [[lot, str(pico)] for lot, pico in parts] for c, parts in paid.items()}
                for invoice, paid in sorted(self.invoices.items())
            },
            "plan_grants": dict(sorted(self.plan_grants.items())),
            "plan_drawn": {
                share: [start, str(pico)]
                for share, (start, pico) in sorted(self.plan_drawn.items())
            },
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
        self.blocked = msgspec.convert(dumped.get("blocked", {}), dict[str, dict[str, Blocked]])
        throttled = dumped.get("throttled", {})
        self.throttled = msgspec.convert(throttled, dict[str, dict[str, Throttled]])
        self.overage = {c: int(pico) for c, pico in dumped.get("overage", {}).items()}
        self.invoices = {
            invoice: {c: tuple((lot, int(pico)) for lot, pico in parts) for c, parts in by.items()}
            for invoice, by in dumped.get("invoices", {}).items()
        }
        self.plan_grants = dict(dumped.get("plan_grants", {}))
        self.plan_drawn = {
            share: (start, int(pico))
            for share, (start, pico) in dumped.get("plan_drawn", {}).items()
        }
        self.dormant = {tuple(key): one for key, one in dumped.get("gauges", [])}


def _is_used(wallet: Wallet) -> bool:
    return bool(wallet.ordinal or wallet.lots())


def _end(imposed: Imposed) -> tuple[bool, int]:
    """Orders by when it ends."""
    return (imposed.until is None, imposed.until or 0)


def _kept(
    imposed: dict[str, dict[str, T]], keep: Callable[[str, T], bool]
) -> dict[str, dict[str, T]]:
    """Without those that are not to be kept, and without features nothing is left of."""
    kept = {
        feature: {by: one for by, one in ones.items() if keep(feature, one)}
        for feature, ones in imposed.items()
    }
    return {feature: ones for feature, ones in kept.items() if ones}
