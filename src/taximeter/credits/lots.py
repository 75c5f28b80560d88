"""
All lots of one wallet: by id, in burn order, and by when time changes them. Amounts only move
between free and held here, or leave; what that means is for the wallet to say and book.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any, Final, TypeAlias

from taximeter.credits.lot import NEVER, Lot

_BURN_KEY: Final = attrgetter("burn_key")
_STAGES: Final = {"live": 0, "pending": 1, "ended": 2}

# What falls on one instant happens in this order: a lot ends before another begins.
ENDS: Final = 0
BEGINS: Final = 1

MAX_KEPT: Final = 256
"""Beyond so many lots, used-up ones that never end are dropped when another begins."""

Part: TypeAlias = tuple[Lot, int]
"""A lot and pico of it, above 0."""


class Lots:
    """
    Attributes:
        by_id: Pending and live ones, and those that have ended while a hold has some of them.
        spendable: Live ones with something free, in burn order (K13).
        next_at: When time next begins or ends a lot; `NEVER` if it never does.
    """

    __slots__ = ("_timers", "by_id", "next_at", "spendable")

    def __init__(self) -> None:
        self.by_id: dict[str, Lot] = {}
        self.spendable: list[Lot] = []
        self.next_at = NEVER
        self._timers: list[tuple[int, int, str]] = []  # heap of (instant, what, lot id)

    # --- Begin and end --------------------------------------------------------------------------

    def await_start(self, lot: Lot) -> None:
        """Keep a lot until it begins."""
        self.by_id[lot.id] = lot
        self._schedule(lot.start, BEGINS, lot)

    def enter(self, lot: Lot, free_pico: int) -> None:
        """Make a lot live, with so much of it to spend."""
        if len(self.by_id) >= MAX_KEPT:
            self._drop_used_up()
        self.by_id[lot.id] = lot
        lot.stage = "live"
        self.put_back(lot, free_pico)
        self._schedule(lot.end, ENDS, lot)

    def retire(self, lot: Lot) -> int:
        """End a lot. Returns what was free of it; what is held of it stays until it is not."""
        left_pico = lot.free_pico
        if left_pico:
            self.spendable.remove(lot)
        lot.free_pico = 0
        lot.stage = "ended"
        self._drop_if_gone(lot)
        return left_pico

    def pop_due(self, at: int) -> tuple[int, Lot] | None:
        """`ENDS` or `BEGINS` and the lot: the next thing due by an instant; None if nothing is."""
        if self.next_at > at:
            return None
        _, what, lot_id = heappop(self._timers)
        self._look_ahead()
        return what, self.by_id[lot_id]

    def forget_timers(self, lots: Iterable[Lot]) -> None:
        """Time does nothing to these any more."""
        ids = {lot.id for lot in lots}
        self._timers = [timer for timer in self._timers if timer[2] not in ids]
        heapify(self._timers)
        self._look_ahead()

    def _schedule(self, at: int, what: int, lot: Lot) -> None:
        if at != NEVER:
            heappush(self._timers, (at, what, lot.id))
            self._look_ahead()

    def _look_ahead(self) -> None:
        self.next_at = self._timers[0][0] if self._timers else NEVER

    def _drop_if_gone(self, lot: Lot) -> None:
        if lot.stage == "ended" and not lot.held_pico:
            del self.by_id[lot.id]

    def _drop_used_up(self) -> None:
        """Nothing can happen to these any more: years of small top-ups must not pile up."""
        self.by_id = {
            lot_id: lot
            for lot_id, lot in self.by_id.items()
            if lot.stage != "live" or lot.end != NEVER or lot.free_pico or lot.held_pico
        }

    # --- Free and held --------------------------------------------------------------------------

    def free_pico(self, feature: str | None) -> int:
        """What is free and pays for a feature; None: what pays for anything."""
        return sum(lot.free_pico for lot in self.spendable if lot.pays_for(feature))

    def cover(self, amount_pico: int, feature: str | None) -> bool:
        """Whether what is free pays for all of an amount."""
        for lot in self.spendable:
            if amount_pico <= 0:
                break
            if lot.pays_for(feature):
                amount_pico -= lot.free_pico
        return amount_pico <= 0

    def take(self, amount_pico: int, feature: str | None) -> list[Part]:
        """Take what is free and pays for a feature, in burn order, up to an amount."""
        parts: list[Part] = []
        emptied = False
        for lot in self.spendable:
            if not amount_pico:
                break
            if lot.features and feature not in lot.features:
                continue
            pico = lot.free_pico
            if pico <= amount_pico:
                emptied = True
            else:
                pico = amount_pico
            lot.free_pico -= pico
            amount_pico -= pico
            parts.append((lot, pico))
        if emptied:
            self._forget_empty()
        return parts

    def take_from(self, lots: Iterable[Lot], amount_pico: int) -> list[Part]:
        """Take exactly an amount of what is free in some lots, first to last."""
        parts: list[Part] = []
        for lot in lots:
            if not amount_pico:
                break
            pico = min(lot.free_pico, amount_pico)
            lot.free_pico -= pico
            amount_pico -= pico
            parts.append((lot, pico))
        assert not amount_pico, "more than there is"
        self._forget_empty()
        return parts

    def put_back(self, lot: Lot, pico: int) -> None:
        """Make more of a live lot free."""
        if pico and not lot.free_pico:
            insort(self.spendable, lot, key=_BURN_KEY)
        lot.free_pico += pico

    def unhold(self, lot_id: str, pico: int) -> Lot:
        """Less of a lot is held. Returns the lot, which is gone if it had ended and no more is."""
        lot = self.by_id[lot_id]
        lot.held_pico -= pico
        self._drop_if_gone(lot)
        return lot

    def _forget_empty(self) -> None:
        self.spendable = [lot for lot in self.spendable if lot.free_pico]

    # --- All of them ----------------------------------------------------------------------------

    def of_grant(self, grant_id: str) -> list[Lot]:
        """Those of the grant with this id, or with a lot of this id."""
        return [lot for lot in self.by_id.values() if grant_id in (lot.grant.id, lot.id)]

    def in_order(self) -> list[Lot]:
        """Live ones in burn order, also if nothing of them is free, then pending, then ended."""
        return sorted(self.by_id.values(), key=lambda lot: (_STAGES[lot.stage], lot.burn_key))

    def copy(self) -> Lots:
        twin = Lots()
        twin.by_id = {lot_id: lot.copy() for lot_id, lot in self.by_id.items()}
        twin.spendable = [twin.by_id[lot.id] for lot in self.spendable]
        twin.next_at = self.next_at
        twin._timers = list(self._timers)
        return twin

    def dump(self) -> list[dict[str, Any]]:
        """Plain JSON, by id."""
        return [lot.dump() for _, lot in sorted(self.by_id.items())]

    @classmethod
    def load(cls, documents: Iterable[dict[str, Any]]) -> Lots:
        """Inverse of `dump`."""
        lots = cls()
        for lot in map(Lot.load, documents):
            lots._restore(lot)
        return lots

    def _restore(self, lot: Lot) -> None:
        match lot.stage:
            case "pending":
                self.await_start(lot)
            case "live":
                free_pico, lot.free_pico = lot.free_pico, 0
                self.enter(lot, free_pico)
            case "ended":
                self.by_id[lot.id] = lot
