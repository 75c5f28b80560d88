"""
The auditor's own wallet: what a balance must be, written down as plainly as the rules are.

Nothing of the product is imported. A wallet is all credit of one type of one customer: lots in the
order of burning, holds that set parts of lots aside, and debts where a settlement was allowed to go
beyond everything. Amounts are whole numbers of 10^-12, instants microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

NEVER = 1 << 62


@dataclass(slots=True)
class Lot:
    """
    Credit of one grant, or of a part of one that was transferred.

    Attributes:
        remaining: Of this, `reserved` is set aside by holds.
        expires_at: `NEVER`, or the first instant at which it cannot be used any more.
        features: What it pays for; empty: everything.
        ended: Expired or voided. Only what is reserved is still there.
    """

    id: str
    remaining: int
    priority: int
    effective_at: int
    expires_at: int
    features: tuple[str, ...] = ()
    paid: bool = False
    reserved: int = 0
    ended: bool = False

    @property
    def free(self) -> int:
        return 0 if self.ended else self.remaining - self.reserved

    def burn_key(self) -> tuple[int, int, int, str]:
        """K13."""
        return self.priority, self.expires_at, self.effective_at, self.id

    def pays_for(self, feature: str) -> bool:
        return not self.features or feature in self.features


@dataclass(slots=True)
class Hold:
    """
    Attributes:
        quantity: Units of the feature that are reserved.
        parts: Lot id -> how much of it pays for them, in the order they will be spent.
    """

    id: str
    feature: str
    quantity: int
    expires_at: int
    parts: dict[str, int] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        return sum(self.parts.values())


@dataclass(slots=True)
class Totals:
    """Where everything came from and went to; `Wallet.check` adds them up."""

    granted: int = 0
    moved_in: int = 0
    spent: int = 0  # usage at its cost,
    overage: int = 0  # and the part of it that nothing paid for, now or later
    broken: int = 0  # breakage
    voided: int = 0
    refunded: int = 0
    moved_out: int = 0


class Wallet:
    """
    State at the instant `at`.

    Attributes:
        lots: In burn order; spent ones are dropped. `pending` ones have not begun.
        known: Every lot that was ever here.
        resolved: Holds that are no more, and what became of them: settled, released or lapsed.
        debts: Booked below zero on request, by feature, oldest first; later credit repays them.
        by_time: Instant -> what time alone did to the balance then.
    """

    def __init__(self) -> None:
        self.at = 0
        self.lots: list[Lot] = []
        self.pending: list[Lot] = []
        self.known: dict[str, Lot] = {}
        self.holds: dict[str, Hold] = {}
        self.resolved: dict[str, str] = {}
        self.debts: dict[str, int] = {}
        self.totals = Totals()
        self.by_time: dict[int, int] = {}
        self.next_change_at = NEVER

    # --- what it shows ---

    @property
    def balance(self) -> int:
        return sum(lot.remaining for lot in self.lots) - sum(self.debts.values())

    @property
    def reserved(self) -> int:
        return sum(lot.reserved for lot in self.lots)

    @property
    def available(self) -> int:
        """K14."""
        return self.balance - self.reserved

    def usable(self, feature: str | None) -> int:
        """What a hard debit of a feature could take; of none: what could be moved elsewhere."""
        return sum(lot.free for lot in self._payers(feature))

    def _payers(self, feature: str | None) -> Iterator[Lot]:
        return (lot for lot in self.lots if feature is None or lot.pays_for(feature))

    # --- time ---

    def advance(self, at: int) -> None:
        """Everything that is due up to and including an instant, in order."""
        while self.next_change_at <= at:
            self.at = max(self.at, self.next_change_at)
            before = self.balance
            for hold in [h for h in self.holds.values() if h.expires_at <= self.at]:
                self._resolve(hold, "lapsed")
            for lot in [one for one in self.lots if one.expires_at <= self.at and not one.ended]:
                self.totals.broken += self._end(lot)
            for lot in [one for one in self.pending if one.effective_at <= self.at]:
                self.pending.remove(lot)
                self._begin(lot)
            self._tidy()
            if self.balance != before:
                self.by_time[self.at] = self.by_time.get(self.at, 0) + self.balance - before
        self.at = max(self.at, at)

    def _tidy(self) -> None:
        """Repay, forget what is spent, and see what comes next."""
        for feature, debt in list(self.debts.items()):
            left = debt - sum(self._take(debt, feature).values())
            if left:
                self.debts[feature] = left
            else:
                del self.debts[feature]
        self.lots = [lot for lot in self.lots if lot.remaining]
        due = [hold.expires_at for hold in self.holds.values()]
        due += [lot.expires_at for lot in self.lots if not lot.ended]
        due += [lot.effective_at for lot in self.pending]
        self.next_change_at = min(due, default=NEVER)

    # --- what changes it ---

    def grant(self, lot: Lot) -> None:
        self.known[lot.id] = lot
        if lot.effective_at > self.at:
            self.pending.append(lot)
        else:
            self._begin(lot)
        self._tidy()
        self.advance(self.at)

    def _begin(self, lot: Lot) -> None:
        self.totals.granted += lot.remaining
        self._enter(lot)

    def _enter(self, lot: Lot) -> None:
        self.lots.append(lot)
        self.lots.sort(key=Lot.burn_key)

    def spend(self, amount: int, feature: str) -> None:
        """A hard debit: all of it is there."""
        taken = self._take(amount, feature)
        assert sum(taken.values()) == amount
        self.totals.spent += amount
        self._tidy()

    def use(self, amount: int, feature: str) -> None:
        """Usage is a fact: what nothing covers is overage."""
        taken = self._take(amount, feature)
        self.totals.spent += amount
        self.totals.overage += amount - sum(taken.values())
        self._tidy()

    def hold(self, hold: Hold, amount: int) -> None:
        """Set an amount aside, for a new hold or in addition to what it has."""
        for lot in self._payers(hold.feature):
            part = min(lot.free, amount)
            if part:
                lot.reserved += part
                hold.parts[lot.id] = hold.parts.get(lot.id, 0) + part
                amount -= part
        assert amount == 0
        self.holds[hold.id] = hold
        self._tidy()

    def settle(self, hold: Hold, amount: int) -> None:
        """
        Spend what is held, first to last, and free the rest.

        What goes beyond comes out of free credit, and then is debt.
        """
        self.totals.spent += amount
        for name, part in list(hold.parts.items()):
            spent = min(part, amount)
            lot = self.known[name]
            lot.reserved -= spent
            lot.remaining -= spent
            hold.parts[name] -= spent
            amount -= spent
        self._resolve(hold, "settled")
        amount -= sum(self._take(amount, hold.feature).values())
        if amount:
            self.debts[hold.feature] = self.debts.get(hold.feature, 0) + amount
        self._tidy()

    def release(self, hold: Hold) -> None:
        self._resolve(hold, "released")
        self._tidy()

    def void(self, lot: Lot) -> int:
        """End a grant early. Returns what was free of it."""
        gone = 0
        if lot in self.pending:
            self.pending.remove(lot)
        if lot in self.lots:
            gone = self._end(lot)
        else:
            self.known[lot.id] = replace(lot, ended=True)
        self.totals.voided += gone
        self._tidy()
        return gone

    def refundable(self, lot: Lot) -> int:
        """What is paid for, has begun, and is neither spent nor reserved."""
        return lot.free if lot.paid and lot.effective_at <= self.at else 0

    def refund(self, lot: Lot, amount: int) -> None:
        assert 0 < amount <= self.refundable(lot)
        lot.remaining -= amount
        self.totals.refunded += amount
        self._tidy()

    def move(self, amount: int, target: Wallet, transfer: str) -> None:
        """Free credit of any lots, in burn order; it keeps their terms."""
        taken = self._take(amount, None)
        assert sum(taken.values()) == amount
        for name, part in taken.items():
            lot = replace(self.known[name], id=f"{name}~{transfer}", remaining=part, reserved=0)
            target.known[lot.id] = lot
            target._enter(lot)
        self.totals.moved_out += amount
        target.totals.moved_in += amount
        self._tidy()
        target._tidy()

    def _take(self, amount: int, feature: str | None) -> dict[str, int]:
        """As much of an amount as is free. Returns lot id -> part."""
        taken: dict[str, int] = {}
        for lot in self._payers(feature):
            part = min(lot.free, amount)
            if part:
                taken[lot.id] = part
                lot.remaining -= part
                amount -= part
        return taken

    def is_over(self, lot: Lot) -> bool:
        """Whether nobody can use it any more, also if it was spent before."""
        return lot.ended or lot.expires_at <= self.at

    def _end(self, lot: Lot) -> int:
        """Nobody can use it any more; what is reserved stays until its hold resolves."""
        gone = lot.free
        lot.remaining -= gone
        lot.ended = True
        return gone

    def _resolve(self, hold: Hold, fate: str) -> None:
        """Free what it still holds; what was of an ended lot is breakage."""
        for name, part in hold.parts.items():
            lot = self.known[name]
            lot.reserved -= part
            if lot.ended:
                lot.remaining -= part
                self.totals.broken += part
        del self.holds[hold.id]
        self.resolved[hold.id] = fate

    # --- what must always be true ---

    def check(self) -> str | None:
        """Conservation, in one sentence if it is broken."""
        t = self.totals
        came = t.granted + t.moved_in + t.overage
        went = t.spent + t.broken + t.voided + t.refunded + t.moved_out
        if came - went != self.balance:
            return f"{came} came, {went} went, {self.balance} is there"
        return None

    def copy(self) -> Wallet:
        """For trying out what happens if time goes on a little further."""
        twin = Wallet()
        twin.__dict__.update(self.__dict__)
        copies = {lot.id: replace(lot) for lot in (*self.lots, *self.pending)}
        twin.lots = [copies[lot.id] for lot in self.lots]
        twin.pending = [copies[lot.id] for lot in self.pending]
        twin.known = self.known | copies
        twin.holds = {name: replace(h, parts=dict(h.parts)) for name, h in self.holds.items()}
        twin.resolved = dict(self.resolved)
        twin.debts = dict(self.debts)
        twin.by_time = dict(self.by_time)
        twin.totals = replace(self.totals)
        return twin
