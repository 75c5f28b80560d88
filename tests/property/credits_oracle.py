"""
A wallet the slow way: single units in piles, one hour after the other, sorted anew for each unit.

It knows no postings, timers or sorted lists, and shares no code with `taximeter.credits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from taximeter.credits.grant import Grant
from taximeter.instants import HOUR

FAR = 10**18


@dataclass
class Pile:
    """What is left of one occurrence of a grant."""

    grant: Grant
    number: int
    free: int = 0
    held: dict[str, int] = field(default_factory=dict)  # by hold
    begun: bool = False
    over: bool = False

    @property
    def id(self) -> str:
        return self.grant.id if self.number == 0 else f"{self.grant.id}#{self.number + 1}"

    @property
    def start(self) -> int:
        return self.grant.effective_at + self.number * every(self.grant)

    @property
    def end(self) -> int:
        """The next occurrence or the end of all of it."""
        end = FAR if self.grant.expires_at is None else self.grant.expires_at
        return min(end, self.start + every(self.grant))

    def order(self) -> tuple[int, int, int, str]:
        return (self.grant.priority, self.end, self.start, self.id)

    def usable(self, feature: str | None) -> bool:
        allowed = self.grant.features
        return self.begun and not self.over and (allowed == () or feature in allowed)


def every(grant: Grant) -> int:
    """Length of a recurrence in hours, which are the only unit here."""
    return FAR if grant.recurrence is None else int(grant.recurrence[2:-1]) * HOUR


class Oracle:
    def __init__(self) -> None:
        self.now = 0
        self.piles: list[Pile] = []
        self.holds: dict[str, tuple[str | None, list[str]]] = {}  # feature, pile ids as allocated
        self.owed: list[str | None] = []  # one item a unit, oldest first
        self.accounts: dict[str, int] = {}

    # --- what there is ---

    @property
    def balance(self) -> int:
        return sum(p.free + sum(p.held.values()) for p in self.piles) - len(self.owed)

    @property
    def reserved(self) -> int:
        return sum(sum(p.held.values()) for p in self.piles)

    def available(self, feature: str) -> int:
        return sum(p.free for p in self.piles if p.usable(feature)) - self.owed.count(feature)

    def held(self, hold: str) -> int:
        return sum(p.held.get(hold, 0) for p in self.piles)

    def coverable(self, feature: str | None) -> int:
        return sum(p.free for p in self.piles if p.usable(feature))

    def pile(self, pile_id: str) -> Pile:
        (found,) = (p for p in self.piles if p.id == pile_id)
        return found

    # --- one unit at a time ---

    def move(self, source: str, target: str) -> None:
        self.accounts[source] = self.accounts.get(source, 0) - 1
        self.accounts[target] = self.accounts.get(target, 0) + 1

    def first(self, feature: str | None) -> Pile | None:
        usable = [p for p in self.piles if p.usable(feature) and p.free]
        return min(usable, key=Pile.order) if usable else None

    def leave(self, pile: Pile, target: str, units: int) -> None:
        """Free units go to an account."""
        for _ in range(units):
            pile.free -= 1
            self.move(f"wallet/{pile.id}", target)

    def repay(self) -> None:
        still: list[str | None] = []
        for feature in self.owed:
            pile = self.first(feature)
            if pile is None:
                still.append(feature)
            else:
                self.leave(pile, "overdraft", 1)
        self.owed = still

    # --- time ---

    def tick_to(self, at: int) -> None:
        while self.now < at:
            self.now += HOUR
            self.turn()

    def turn(self) -> None:
        for pile in [p for p in self.piles if p.begun and not p.over and p.end <= self.now]:
            self.end(pile)
        for pile in self.piles:
            if not pile.begun and pile.start <= self.now:
                self.begin(pile)
        self.repay()

    def begin(self, pile: Pile) -> None:
        pile.begun = True
        for _ in range(pile.grant.amount_pico):
            pile.free += 1
            self.move(f"issued/{pile.grant.kind}", f"wallet/{pile.id}")

    def end(self, pile: Pile) -> None:
        pile.over = True
        goes_on = pile.grant.recurrence is not None and (
            pile.grant.expires_at is None or pile.end < pile.grant.expires_at
        )
        if goes_on:
            successor = Pile(pile.grant, pile.number + 1)
            self.piles.append(successor)
            if pile.grant.rollover is not None:
                most = pile.grant.rollover.max_pico
                carried = pile.free if most is None else min(most, pile.free)
                self.leave(pile, f"wallet/{successor.id}", carried)
                successor.free += carried
            self.begin(successor)
        self.leave(pile, "breakage", pile.free)

    # --- commands ---

    def grant(self, grant: Grant) -> None:
        last = self.now if grant.expires_at is None else min(self.now, grant.expires_at - HOUR)
        number = 0
        while grant.effective_at + (number + 1) * every(grant) <= last:
            number += 1
        pile = Pile(grant, number)
        self.piles.append(pile)
        if pile.start <= self.now:
            self.begin(pile)
            if pile.end <= self.now:
                self.end(pile)
        self.repay()

    def burn(self, units: int, feature: str | None) -> int:
        """Returns the overage."""
        overage = 0
        for _ in range(units):
            pile = self.first(feature)
            if pile is None:
                overage += 1
                self.move("overage", "spent")
            else:
                self.leave(pile, "spent", 1)
        return overage

    def reverse(
        self, parts: list[tuple[str, int]], overage: int, overdraft: int, feature: str | None
    ) -> None:
        live = [p for p in self.piles if p.begun and not p.over]
        following = min((p for p in live if p.free), key=Pile.order, default=None)
        for _ in range(overage):
            self.move("spent", "overage")
        back = [pile_id for pile_id, units in parts for _ in range(units)]
        for _ in range(overdraft):
            if feature in self.owed:
                self.owed.remove(feature)
                self.move("spent", "overdraft")
            else:
                back.append("" if following is None else following.id)
        for pile_id in back:
            pile = next((p for p in live if p.id == pile_id), None)
            if pile is None:
                self.move("spent", "breakage")
            else:
                pile.free += 1
                self.move("spent", f"wallet/{pile.id}")
        self.repay()

    def hold(self, hold: str, units: int, feature: str | None) -> None:
        _, order = self.holds.setdefault(hold, (feature, []))
        for _ in range(units):
            pile = self.first(feature)
            assert pile is not None
            pile.free -= 1
            pile.held[hold] = pile.held.get(hold, 0) + 1
            if pile.id not in order:
                order.append(pile.id)

    def spend_held(self, hold: str, units: int) -> None:
        order = self.holds[hold][1]
        for _ in range(units):
            pile = next(self.pile(i) for i in order if self.pile(i).held.get(hold))
            pile.held[hold] -= 1
            self.move(f"wallet/{pile.id}", "spent")
        # A pile that was used up and is held anew comes last again.
        order[:] = [i for i in order if self.pile(i).held.get(hold)]

    def settle(self, hold: str, units: int) -> None:
        feature, _ = self.holds[hold]
        within = min(units, self.held(hold))
        self.spend_held(hold, within)
        for _ in range(units - within):
            pile = self.first(feature)
            if pile is None:
                self.owed = _with_its_kind(self.owed, feature)
                self.move("overdraft", "spent")
            else:
                self.leave(pile, "spent", 1)
        self.release(hold)

    def release(self, hold: str) -> None:
        for pile in self.piles:
            units = pile.held.pop(hold, 0)
            pile.free += units
            if pile.over:
                self.leave(pile, "breakage", units)
        del self.holds[hold]
        self.repay()

    def void(self, grant_id: str) -> None:
        for pile in [p for p in self.piles if p.grant.id == grant_id and not p.over]:
            pile.over = True
            if pile.begun:
                self.leave(pile, f"issued/{pile.grant.kind}", pile.free)
            else:
                pile.begun = True

    def refundable(self, grant_id: str) -> int:
        return sum(
            p.free
            for p in self.piles
            if p.grant.id == grant_id and p.grant.kind == "paid" and p.begun and not p.over
        )

    def refund(self, units: int, grant_id: str) -> None:
        for pile in self.piles:
            if pile.grant.id == grant_id and pile.begun and not pile.over:
                part = min(units, pile.free)
                self.leave(pile, "refunded", part)
                units -= part
        assert units == 0

    def transfer_out(self, units: int) -> dict[str, int]:
        moved: dict[str, int] = {}
        for _ in range(units):
            pile = min((p for p in self.piles if p.begun and not p.over and p.free), key=Pile.order)
            self.leave(pile, "transferred", 1)
            moved[pile.id] = moved.get(pile.id, 0) + 1
        return moved

    def transfer_in(self, grants: tuple[Grant, ...]) -> None:
        for grant in grants:
            pile = Pile(grant, 0, begun=True)
            self.piles.append(pile)
            for _ in range(grant.amount_pico):
                pile.free += 1
                self.move("transferred", f"wallet/{pile.id}")
        self.repay()


def _with_its_kind(owed: list[str | None], feature: str | None) -> list[str | None]:
    """A debt joins the older ones of its feature, behind which others wait."""
    if feature not in owed:
        return [*owed, feature]
    last = len(owed) - 1 - owed[::-1].index(feature)
    return [*owed[: last + 1], feature, *owed[last + 1 :]]
