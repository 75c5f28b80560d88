"""
Wallets: all credit of one type that one customer has, as a deterministic state machine.

A wallet changes only by commands and by time, so its state is a fold of (command, instant): the
same commands give the same wallet, to the byte of its dump. Each change of the balance is a
balanced transaction (K19), handed back to the caller to keep; the wallet itself keeps none.

Three things a reader should know apart:

* *overage* is usage that came as a fact when no credit was left (`burn`): noted, never owed;
* *overdraft* is what a settlement went beyond its hold and all other credit (`settle` with
  `allow_overage`, K14): the balance is below zero by it, and the next credit pays it first;
* *breakage* is credit that ended unused.

Identity is above: a caller that may hear a command twice sees to it that it gets here once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any, Final, Self

import msgspec

from taximeter.credits.grant import TRANSFER_MARK, Grant
from taximeter.credits.lot import NEVER, Lot, LotStanding
from taximeter.ledger.transaction import (
    BREAKAGE,
    ISSUED,
    OVERAGE,
    OVERDRAFT,
    REFUNDED,
    SPENT,
    TRANSFERRED,
    Cause,
    Kind,
    Posting,
    Transaction,
)

_BURN_KEY: Final = attrgetter("burn_key")

# What falls on one instant happens in this order: a lot ends before another begins.
_ENDS, _BEGINS = 0, 1


class Burned(msgspec.Struct, frozen=True, gc=False):
    """
    What paid for a burn; together exactly its amount.

    Attributes:
        parts: (lot id, pico) in burn order, none of them 0.
        overage_pico: What no lot covered.
    """

    parts: tuple[tuple[str, int], ...] = ()
    overage_pico: int = 0


class Hold:
    """
    Credit reserved for one feature until it is settled or released.

    Attributes:
        parts: Lot id -> pico still held of it, in the order they will be spent; none of them 0.
        held_pico: Their sum.
    """

    __slots__ = ("feature", "held_pico", "parts")

    def __init__(self, feature: str | None, parts: dict[str, int]) -> None:
        self.feature = feature
        self.parts = parts
        self.held_pico = sum(parts.values())


class Wallet:
    """
    Credit of one type of one customer.

    Every command takes the instant it happens at, first lets pass the time up to it, and returns
    the transactions of both, in order. An instant before `at` counts as `at`: a wallet never goes
    back. All amounts are pico and not negative.

    Attributes:
        at: How far time has passed, microseconds.
        ordinal: Transactions so far.
        balance_pico: All that is left, reserved or not, less the overdraft.
        reserved_pico: The part of it that holds have reserved.
        overdraft_pico: Settled beyond all credit and not yet paid by a later grant.
    """

    __slots__ = (
        "_holds", "_live", "_lots", "_next_at", "_owed", "_timers", "at", "balance_pico",
        "credit", "customer", "ordinal", "overdraft_pico", "reserved_pico",
    )  # fmt: skip

    def __init__(self, credit: str, customer: str) -> None:
        self.credit = credit
        self.customer = customer
        self.at = 0
        self.ordinal = 0
        self.balance_pico = 0
        self.reserved_pico = 0
        self.overdraft_pico = 0
        self._lots: dict[str, Lot] = {}  # all of them, by id; an ended one while some is held
        self._live: list[Lot] = []  # those with something free, in burn order
        self._holds: dict[str, Hold] = {}
        self._owed: dict[str | None, int] = {}  # the overdraft by feature, oldest first
        self._timers: list[tuple[int, int, str]] = []  # heap of (instant, what, lot id)
        self._next_at = NEVER

    # --- Time -----------------------------------------------------------------------------------

    @property
    def next_change_at(self) -> int | None:
        """
        The earliest instant at which time alone changes something: a lot begins, ends, recurs.

        Holds do not lapse by themselves: the caller releases them.
        """
        return None if self._next_at == NEVER else self._next_at

    def advance(self, at: int) -> list[Transaction]:
        """
        Let time pass: everything it does up to and including an instant, in order.

        In how many steps makes no difference: advance(a), advance(b) is advance(b).
        """
        done: list[Transaction] = []
        while self._next_at <= at:
            self._turn(self._next_at, done)
        if at > self.at:
            self.at = at
        return done

    def _turn(self, at: int, done: list[Transaction]) -> None:
        """One instant: what ends, then what begins, then what the new credit owes."""
        self.at = max(self.at, at)
        timers = self._timers
        while timers and timers[0][0] <= at:
            _, what, lot_id = heappop(timers)
            lot = self._lots[lot_id]
            if what == _ENDS:
                self._end(lot, done)
            else:
                self._begin(lot, done)
        self._next_at = timers[0][0] if timers else NEVER
        self._repay(_by_time(), done)

    def _schedule(self, at: int, what: int, lot: Lot) -> None:
        if at != NEVER:
            heappush(self._timers, (at, what, lot.id))
            self._next_at = self._timers[0][0]

    def _begin(self, lot: Lot, done: list[Transaction], carried_pico: int = 0) -> None:
        grant = lot.grant
        self._lots[lot.id] = lot
        self._enter(lot, grant.amount_pico + carried_pico)
        issued = Posting(ISSUED + grant.kind, -grant.amount_pico)
        cause = {"by": grant.cause, "grant": grant.id}
        received = Posting(lot.account, grant.amount_pico)
        self._book(Kind.GRANT, cause, (issued, received), grant.amount_pico, done)

    def _enter(self, lot: Lot, free_pico: int) -> None:
        """Make a lot spendable."""
        lot.stage = "live"
        lot.free_pico = free_pico
        if free_pico:
            insort(self._live, lot, key=_BURN_KEY)
        self._schedule(lot.end, _ENDS, lot)

    def _end(self, lot: Lot, done: list[Transaction]) -> None:
        """Expire a lot, or turn it into its next occurrence."""
        left_pico = self._retire(lot)
        number = lot.number + 1
        recurs = lot.grant.occurrence(number) == lot.end
        following = Lot.of(lot.grant, number) if recurs else None
        carried_pico = _carried(lot.grant, left_pico) if following else 0
        cause = _by_time() | {"grant": lot.grant.id}
        if left_pico > carried_pico:
            self._expire(((lot, left_pico - carried_pico),), cause, done)
        if following is None:
            return
        if carried_pico:
            leaves = Posting(lot.account, -carried_pico)
            arrives = Posting(following.account, carried_pico)
            self._book(Kind.ROLLOVER, cause, (leaves, arrives), 0, done)
        self._begin(following, done, carried_pico)

    def _retire(self, lot: Lot) -> int:
        """Make a lot unspendable. Returns what was free of it; what is held stays with its hold."""
        left_pico = lot.free_pico
        if left_pico:
            self._live.remove(lot)
        lot.free_pico = 0
        lot.stage = "ended"
        if not lot.held_pico:
            del self._lots[lot.id]
        return left_pico

    # --- Reading --------------------------------------------------------------------------------

    def available_pico(self, feature: str | None = None) -> int:
        """
        What could be spent now (K14).

        Args:
            feature: Counts only what pays for it, less its own overdraft. None: of the whole
                wallet, balance - reserved.
        """
        if feature is None:
            return self.balance_pico - self.reserved_pico
        free_pico = sum(lot.free_pico for lot in self._live if lot.pays_for(feature))
        return free_pico - self._owed.get(feature, 0)

    def can_cover(self, amount_pico: int, feature: str | None) -> bool:
        """Whether a debit would be paid whole; None is a debit of no feature in particular."""
        for lot in self._live:
            if amount_pico <= 0:
                break
            if lot.pays_for(feature):
                amount_pico -= lot.free_pico
        return amount_pico <= 0

    def held_pico(self, hold_id: str) -> int | None:
        """What an open hold has reserved; None if there is none by that id."""
        hold = self._holds.get(hold_id)
        return None if hold is None else hold.held_pico

    def refundable_pico(self, grant_id: str) -> int:
        """What `refund` could give back of a grant: paid for, unspent, unreserved, not ended."""
        return sum(lot.free_pico for lot in self._refundable(grant_id))

    @property
    def transferable_pico(self) -> int:
        """What `transfer_out` could move: all that is unreserved, whatever it pays for."""
        return sum(lot.free_pico for lot in self._live)

    def lots(self) -> list[LotStanding]:
        """Every lot there is: live ones in burn order, pending, then ended ones partly held."""
        order = {"live": 0, "pending": 1, "ended": 2}
        lots = sorted(self._lots.values(), key=lambda lot: (order[lot.stage], lot.burn_key))
        return [lot.standing() for lot in lots]

    # --- Granting -------------------------------------------------------------------------------

    def grant(self, grant: Grant, at: int) -> list[Transaction]:
        """
        Add a grant, whose id the wallet has never seen.

        One that begins later does nothing until then. A recurring one that began earlier starts
        with the occurrence running now: nobody could have spent those before. One that has expired
        already is issued and is breakage at once.
        """
        done = self.advance(at)
        lot = Lot.of(grant, grant.number_at(self.at))
        assert lot.id not in self._lots, f"grant {grant.id} is known"
        if lot.start > self.at:
            self._lots[lot.id] = lot
            self._schedule(lot.start, _BEGINS, lot)
            return done
        self._begin(lot, done)
        self._received({"by": grant.cause, "grant": grant.id}, done)
        return done

    def _received(self, cause: Cause, done: list[Transaction]) -> None:
        """After new credit: end what has expired already, and let the rest pay the overdraft."""
        if self._next_at <= self.at:
            self._turn(self.at, done)
        else:
            self._repay(cause, done)

    def void(self, grant_id: str, at: int, cause: Cause) -> list[Transaction]:
        """
        End a grant, given by its id or that of one of its lots, and all its future occurrences.

        What is free goes back to where it was issued. What is reserved stays with its hold, and is
        breakage if the hold does not spend it. A grant that has ended or is unknown: nothing.
        """
        done = self.advance(at)
        voided = [
            lot
            for lot in self._lots.values()
            if lot.stage != "ended" and grant_id in (lot.grant.id, lot.id)
        ]
        for lot in voided:
            left_pico = self._retire(lot)
            if left_pico:
                issued = Posting(ISSUED + lot.grant.kind, left_pico)
                returned = (Posting(lot.account, -left_pico), issued)
                self._book(Kind.VOID, cause, returned, -left_pico, done)
        self._forget_timers({lot.id for lot in voided})
        return done

    def _forget_timers(self, lot_ids: set[str]) -> None:
        self._timers = [timer for timer in self._timers if timer[2] not in lot_ids]
        heapify(self._timers)
        self._next_at = self._timers[0][0] if self._timers else NEVER

    # --- Spending -------------------------------------------------------------------------------

    def burn(
        self, amount_pico: int, feature: str | None, at: int, cause: Cause
    ) -> tuple[list[Transaction], Burned]:
        """
        Pay for usage that has happened, as far as free credit goes; the rest is overage.

        In burn order: priority ascending, expiry ascending (none last), start ascending, lot id
        ascending (K13). Never touches what holds have reserved. Who wants all or nothing asks
        `can_cover` first.
        """
        assert amount_pico >= 0, amount_pico
        done = self.advance(at)
        taken = self._take(amount_pico, feature)
        overage_pico = amount_pico
        if taken:
            paid_pico = 0
            postings = []
            for lot, pico in taken:
                paid_pico += pico
                postings.append(Posting(lot.account, -pico))
            postings.append(Posting(SPENT, paid_pico))
            self._book(Kind.SPEND, cause, tuple(postings), -paid_pico, done)
            overage_pico -= paid_pico
        if overage_pico:
            uncovered = (Posting(OVERAGE, -overage_pico), Posting(SPENT, overage_pico))
            self._book(Kind.OVERAGE, cause, uncovered, 0, done)
        return done, Burned(tuple([(lot.id, pico) for lot, pico in taken]), overage_pico)

    def _take(self, amount_pico: int, feature: str | None) -> list[tuple[Lot, int]]:
        """Take free credit out of its lots in burn order, as much as there is of the amount."""
        taken: list[tuple[Lot, int]] = []
        emptied = False
        for lot in self._live:
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
            taken.append((lot, pico))
        if emptied:
            self._live = [lot for lot in self._live if lot.free_pico]
        return taken

    # --- Holding --------------------------------------------------------------------------------

    def hold(self, hold_id: str, amount_pico: int, feature: str | None, at: int) -> bool:
        """
        Reserve credit, all of the amount or nothing, from the lots that a burn would take.

        The caller has advanced to `at` before, as there is no way to return transactions here.
        What is reserved survives the end of its lot until the hold is resolved (K14).

        Returns:
            False, with nothing changed, if free credit does not cover it.
        """
        assert hold_id not in self._holds, f"hold {hold_id} is open"
        parts = self._reserve(amount_pico, feature, at)
        if parts is None:
            return False
        self._holds[hold_id] = Hold(feature, {lot.id: pico for lot, pico in parts})
        return True

    def hold_more(self, hold_id: str, amount_pico: int, at: int) -> bool:
        """Add to an open hold, all or nothing; what is added is spent after what is there."""
        hold = self._holds[hold_id]
        parts = self._reserve(amount_pico, hold.feature, at)
        if parts is None:
            return False
        for lot, pico in parts:
            hold.parts[lot.id] = hold.parts.get(lot.id, 0) + pico
        hold.held_pico += amount_pico
        return True

    def _reserve(
        self, amount_pico: int, feature: str | None, at: int
    ) -> list[tuple[Lot, int]] | None:
        assert amount_pico >= 0, amount_pico
        assert self._next_at > at, "advance first"
        self.at = max(self.at, at)
        if not self.can_cover(amount_pico, feature):
            return None
        parts = self._take(amount_pico, feature)
        for lot, pico in parts:
            lot.held_pico += pico
        self.reserved_pico += amount_pico
        return parts

    def settle(
        self,
        hold_id: str,
        amount_pico: int,
        at: int,
        cause: Cause,
        *,
        allow_overage: bool = False,
    ) -> list[Transaction]:
        """
        Resolve a hold into what was really used: spends that much of it and frees the rest.

        Args:
            amount_pico: At most what is held, unless `allow_overage`: then the excess is taken
                from free credit in burn order, and what that does not cover becomes overdraft.
        """
        hold = self._holds[hold_id]
        assert allow_overage or amount_pico <= hold.held_pico, "exceeds the reservation"
        done = self.advance(at)
        del self._holds[hold_id]
        excess_pico = max(0, amount_pico - hold.held_pico)
        spent = self._spend_parts(hold, amount_pico - excess_pico)
        if excess_pico:
            excess_pico -= self._spend_free(excess_pico, hold.feature, spent)
        if excess_pico:
            spent[OVERDRAFT] = -excess_pico
            self.overdraft_pico += excess_pico
            self._owed[hold.feature] = self._owed.get(hold.feature, 0) + excess_pico
        self._book_spent(Kind.SETTLE, cause, spent, amount_pico, done)
        self._free(hold, cause, done)
        return done

    def spend_held(
        self, hold_id: str, amount_pico: int, at: int, cause: Cause
    ) -> list[Transaction]:
        """Spend a part of a hold, at most what it holds, and leave it open with the rest."""
        hold = self._holds[hold_id]
        assert 0 <= amount_pico <= hold.held_pico, "exceeds the reservation"
        done = self.advance(at)
        spent = self._spend_parts(hold, amount_pico)
        self._book_spent(Kind.SPEND, cause, spent, amount_pico, done)
        return done

    def release(self, hold_id: str, at: int, cause: Cause) -> list[Transaction]:
        """Resolve a hold unused. What it held of a lot that has ended meanwhile is breakage."""
        done = self.advance(at)
        self._free(self._holds.pop(hold_id), cause, done)
        return done

    def _spend_parts(self, hold: Hold, amount_pico: int) -> dict[str, int]:
        """Take from the parts of a hold, first to last. Returns account -> minus the pico taken."""
        spent: dict[str, int] = {}
        while amount_pico:
            lot_id, held_pico = next(iter(hold.parts.items()))
            pico = min(held_pico, amount_pico)
            amount_pico -= pico
            spent[self._lots[lot_id].account] = -pico
            self._unhold(hold, lot_id, pico)
        return spent

    def _spend_free(self, amount_pico: int, feature: str | None, spent: dict[str, int]) -> int:
        """Take free credit into the same postings; returns how much there was of the amount."""
        found_pico = 0
        for lot, pico in self._take(amount_pico, feature):
            spent[lot.account] = spent.get(lot.account, 0) - pico
            found_pico += pico
        return found_pico

    def _book_spent(
        self,
        kind: Kind,
        cause: Cause,
        spent: dict[str, int],
        amount_pico: int,
        done: list[Transaction],
    ) -> None:
        if amount_pico:
            postings = [Posting(account, pico) for account, pico in spent.items()]
            postings.append(Posting(SPENT, amount_pico))
            self._book(kind, cause, tuple(postings), -amount_pico, done)

    def _unhold(self, hold: Hold, lot_id: str, pico: int) -> None:
        """Take from one part of a hold; an ended lot goes with the last that is held of it."""
        left_pico = hold.parts[lot_id] - pico
        if left_pico:
            hold.parts[lot_id] = left_pico
        else:
            del hold.parts[lot_id]
        hold.held_pico -= pico
        self.reserved_pico -= pico
        lot = self._lots[lot_id]
        lot.held_pico -= pico
        if lot.stage == "ended" and not lot.held_pico:
            del self._lots[lot_id]

    def _free(self, hold: Hold, cause: Cause, done: list[Transaction]) -> None:
        """Give back all that a hold still has; what is of an ended lot is breakage."""
        broken: list[tuple[Lot, int]] = []
        for lot_id, pico in list(hold.parts.items()):
            lot = self._lots[lot_id]
            self._unhold(hold, lot_id, pico)
            if lot.stage == "ended":
                broken.append((lot, pico))
            else:
                if not lot.free_pico:
                    insort(self._live, lot, key=_BURN_KEY)
                lot.free_pico += pico
        if broken:
            self._expire(broken, cause, done)
        self._repay(cause, done)

    # --- Moving out and in ----------------------------------------------------------------------

    def refund(self, amount_pico: int, grant_id: str, at: int, cause: Cause) -> list[Transaction]:
        """Give back credit of a grant as money: at most `refundable_pico` once time is at `at`."""
        done = self.advance(at)
        lots = self._refundable(grant_id)
        taken = self._take_from(lots, amount_pico)
        postings = [Posting(lot.account, -pico) for lot, pico in taken]
        if postings:
            postings.append(Posting(REFUNDED, amount_pico))
            self._book(Kind.REFUND, cause, tuple(postings), -amount_pico, done)
        return done

    def _refundable(self, grant_id: str) -> list[Lot]:
        return [
            lot
            for lot in self._live
            if lot.grant.kind == "paid" and grant_id in (lot.grant.id, lot.id)
        ]

    def transfer_out(
        self, transfer_id: str, amount_pico: int, at: int, cause: Cause
    ) -> tuple[list[Transaction], tuple[Grant, ...]]:
        """
        Move free credit to another wallet, in burn order, at most `transferable_pico`.

        Returns:
            The transactions, and for `transfer_in` there a grant for each lot that was moved from:
            with its priority, start, end, features and kind, without recurrence or rollover.
        """
        done = self.advance(at)
        taken = self._take_from(self._live, amount_pico)
        postings = [Posting(lot.account, -pico) for lot, pico in taken]
        if postings:
            postings.append(Posting(TRANSFERRED, amount_pico))
            self._book(Kind.TRANSFER, cause, tuple(postings), -amount_pico, done)
        return done, tuple(_moved(lot, pico, transfer_id) for lot, pico in taken)

    def transfer_in(self, moved: Iterable[Grant], at: int, cause: Cause) -> list[Transaction]:
        """Receive what `transfer_out` of a wallet of the same credit returned, at that instant."""
        done = self.advance(at)
        postings = []
        total_pico = 0
        for grant in moved:
            lot = Lot.of(grant, 0)
            assert lot.id not in self._lots, f"{lot.id} was transferred before"
            self._lots[lot.id] = lot
            self._enter(lot, grant.amount_pico)
            postings.append(Posting(lot.account, grant.amount_pico))
            total_pico += grant.amount_pico
        if postings:
            postings.append(Posting(TRANSFERRED, -total_pico))
            self._book(Kind.TRANSFER, cause, tuple(postings), total_pico, done)
        self._received(cause, done)
        return done

    def _take_from(self, lots: list[Lot], amount_pico: int) -> list[tuple[Lot, int]]:
        """Take the whole amount out of some lots, first to last, whatever they pay for."""
        taken: list[tuple[Lot, int]] = []
        for lot in lots:
            if not amount_pico:
                break
            pico = min(lot.free_pico, amount_pico)
            lot.free_pico -= pico
            amount_pico -= pico
            taken.append((lot, pico))
        assert not amount_pico, "more than there is"
        self._live = [lot for lot in self._live if lot.free_pico]
        return taken

    # --- Booking --------------------------------------------------------------------------------

    def _book(
        self,
        kind: Kind,
        cause: Cause,
        postings: tuple[Posting, ...],
        change_pico: int,
        done: list[Transaction],
    ) -> None:
        """Add a transaction; `change_pico` is what it does to the balance."""
        self.ordinal += 1
        self.balance_pico += change_pico
        done.append(Transaction(self.ordinal, self.at, kind, cause, postings, self.balance_pico))

    def _expire(
        self, parts: Iterable[tuple[Lot, int]], cause: Cause, done: list[Transaction]
    ) -> None:
        postings = [Posting(lot.account, -pico) for lot, pico in parts]
        total_pico = -sum(posting.amount_pico for posting in postings)
        postings.append(Posting(BREAKAGE, total_pico))
        self._book(Kind.EXPIRE, cause, tuple(postings), -total_pico, done)

    def _repay(self, cause: Cause, done: list[Transaction]) -> None:
        """
        Let free credit pay the overdraft of the features it pays for, oldest debt first.

        Called wherever credit becomes free, so that none is ever free beside a debt it could pay.
        """
        for feature, owed_pico in list(self._owed.items()):
            repaid: dict[str, int] = {}
            found_pico = self._spend_free(owed_pico, feature, repaid)
            if not found_pico:
                continue
            if found_pico == owed_pico:
                del self._owed[feature]
            else:
                self._owed[feature] = owed_pico - found_pico
            self.overdraft_pico -= found_pico
            postings = [Posting(account, pico) for account, pico in repaid.items()]
            postings.append(Posting(OVERDRAFT, found_pico))
            self._book(Kind.REPAY, cause, tuple(postings), 0, done)

    # --- Keeping --------------------------------------------------------------------------------

    def copy(self) -> Wallet:
        """A wallet of its own in the same state: what happens to one does not touch the other."""
        twin = Wallet(self.credit, self.customer)
        twin.at = self.at
        twin.ordinal = self.ordinal
        twin.balance_pico = self.balance_pico
        twin.reserved_pico = self.reserved_pico
        twin.overdraft_pico = self.overdraft_pico
        twin._lots = {lot_id: lot.copy() for lot_id, lot in self._lots.items()}
        twin._live = [twin._lots[lot.id] for lot in self._live]
        twin._holds = {
            hold_id: Hold(hold.feature, dict(hold.parts)) for hold_id, hold in self._holds.items()
        }
        twin._owed = dict(self._owed)
        twin._timers = list(self._timers)
        twin._next_at = self._next_at
        return twin

    def dump(self) -> dict[str, Any]:
        """
        The whole state as plain JSON: equal wallets give equal dumps. Ints that may be large are
        text.
        """
        return {
            "credit": self.credit,
            "customer": self.customer,
            "at": str(self.at),
            "ordinal": str(self.ordinal),
            "lots": [lot.dump() for _, lot in sorted(self._lots.items())],
            "holds": [
                {
                    "id": hold_id,
                    "feature": hold.feature,
                    "parts": [[lot_id, str(pico)] for lot_id, pico in hold.parts.items()],
                }
                for hold_id, hold in sorted(self._holds.items())
            ],
            "overdraft": [[feature, str(pico)] for feature, pico in self._owed.items()],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Inverse of `dump`."""
        wallet = cls(document["credit"], document["customer"])
        wallet.at = int(document["at"])
        wallet.ordinal = int(document["ordinal"])
        for lot in map(Lot.load, document["lots"]):
            wallet._restore(lot)
        for hold in document["holds"]:
            parts = {lot_id: int(pico) for lot_id, pico in hold["parts"]}
            wallet._holds[hold["id"]] = Hold(hold["feature"], parts)
        wallet._owed = {feature: int(pico) for feature, pico in document["overdraft"]}
        wallet.overdraft_pico = sum(wallet._owed.values())
        wallet.balance_pico -= wallet.overdraft_pico
        return wallet

    def _restore(self, lot: Lot) -> None:
        self._lots[lot.id] = lot
        self.balance_pico += lot.free_pico + lot.held_pico
        self.reserved_pico += lot.held_pico
        if lot.free_pico:
            insort(self._live, lot, key=_BURN_KEY)
        if lot.stage == "pending":
            self._schedule(lot.start, _BEGINS, lot)
        elif lot.stage == "live":
            self._schedule(lot.end, _ENDS, lot)


def _by_time() -> dict[str, Any]:
    return {"by": "time"}


def _carried(grant: Grant, left_pico: int) -> int:
    """What moves into the next occurrence: everything left, up to the cap."""
    if grant.rollover is None:
        return 0
    most_pico = grant.rollover.max_pico
    return left_pico if most_pico is None else min(left_pico, most_pico)


def _moved(lot: Lot, pico: int, transfer_id: str) -> Grant:
    """A lot, or a part of one, as a grant of its own."""
    return msgspec.structs.replace(
        lot.grant,
        id=f"{lot.id}{TRANSFER_MARK}{transfer_id}",
        amount_pico=pico,
        effective_at=lot.start,
        expires_at=None if lot.end == NEVER else lot.end,
        recurrence=None,
        rollover=None,
    )
