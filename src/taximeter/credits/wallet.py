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

from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec

from taximeter.credits.grant import TRANSFER_MARK, Grant
from taximeter.credits.hold import Hold
from taximeter.credits.lot import NEVER, Lot, LotStanding
from taximeter.credits.lots import ENDS, Lots, Part
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
    is_balance_account,
)


class Burned(msgspec.Struct, frozen=True, gc=False):
    """
    What paid for a burn; together exactly its amount.

    Attributes:
        parts: (lot id, pico) in burn order, none of them 0.
        overage_pico: What no lot covered.
        overdraft_pico: What a settlement spent beyond all credit; a burn never does.
    """

    parts: tuple[tuple[str, int], ...] = ()
    overage_pico: int = 0
    overdraft_pico: int = 0


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
        overdraft_pico: Settled beyond all credit and not yet paid by later credit.
    """

    __slots__ = (
        "_holds",
        "_lots",
        "_owed",
        "at",
        "balance_pico",
        "credit",
        "customer",
        "ordinal",
        "overdraft_pico",
        "reserved_pico",
    )

    def __init__(self, credit: str, customer: str) -> None:
        self.credit = credit
        self.customer = customer
        self.at = 0
        self.ordinal = 0
        self.balance_pico = 0
        self.reserved_pico = 0
        self.overdraft_pico = 0
        self._lots = Lots()
        self._holds: dict[str, Hold] = {}
        self._owed: dict[str | None, int] = {}  # the overdraft by feature, oldest first

    # --- Time -----------------------------------------------------------------------------------

    @property
    def next_change_at(self) -> int | None:
        """
        The earliest instant at which time alone changes something: a lot begins, ends, recurs.

        Holds do not lapse by themselves: the caller releases them.
        """
        return None if self._lots.next_at == NEVER else self._lots.next_at

    def advance(self, at: int) -> list[Transaction]:
        """
        Let time pass: everything it does up to and including an instant, in order.

        In how many steps makes no difference: advance(a), advance(b) is advance(b).
        """
        done: list[Transaction] = []
        while self._lots.next_at <= at:
            self._turn(self._lots.next_at, done)
        if at > self.at:
            self.at = at
        return done

    def _turn(self, at: int, done: list[Transaction]) -> None:
        """One instant: what ends, then what begins, then what the new credit owes."""
        self.at = max(self.at, at)
        while due := self._lots.pop_due(at):
            what, lot = due
            if what == ENDS:
                self._end(lot, done)
            else:
                self._begin(lot, done)
        self._repay({"by": "time"}, done)

    def _begin(self, lot: Lot, done: list[Transaction], carried_pico: int = 0) -> None:
        """Issue a lot, on top of what its predecessor left to it."""
        grant = lot.grant
        self._lots.enter(lot, grant.amount_pico + carried_pico)
        postings = (
            Posting(ISSUED + grant.kind, -grant.amount_pico),
            Posting(lot.account, grant.amount_pico),
        )
        self._book(Kind.GRANT, _granted_by(grant), postings, grant.amount_pico, done)

    def _end(self, lot: Lot, done: list[Transaction]) -> None:
        """Expire a lot, or turn it into its next occurrence."""
        left_pico = self._lots.retire(lot)
        following = lot.following()
        carried_pico = 0 if following is None else _carried(lot.grant, left_pico)
        cause = {"by": "time", "grant": lot.grant.id}
        if left_pico > carried_pico:
            self._expire([(lot, left_pico - carried_pico)], cause, done)
        if following is None:
            return
        if carried_pico:
            postings = (
                Posting(lot.account, -carried_pico),
                Posting(following.account, carried_pico),
            )
            self._book(Kind.ROLLOVER, cause, postings, 0, done)
        self._begin(following, done, carried_pico)

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
        return self._lots.free_pico(feature) - self._owed.get(feature, 0)

    @property
    def unbound_pico(self) -> int:
        """What is free and pays for anything, an invoice for one; less every overdraft."""
        return max(0, self._lots.free_pico(None) - self.overdraft_pico)

    def can_cover(self, amount_pico: int, feature: str | None) -> bool:
        """Whether a debit would be paid whole; None is a debit of no feature in particular."""
        return self._lots.cover(amount_pico, feature)

    def held_pico(self, hold_id: str) -> int | None:
        """What an open hold has reserved; None if there is none by that id."""
        hold = self._holds.get(hold_id)
        return None if hold is None else hold.held_pico

    def refundable_pico(self, grant_id: str) -> int:
        """What `refund` could give back of a grant: paid for, unspent, unreserved, not ended."""
        return sum(lot.free_pico for lot in self._refundable(grant_id))

    @property
    def transferable_pico(self) -> int:
        """What `transfer_out` could move: all that is free, whatever it pays for."""
        return sum(lot.free_pico for lot in self._lots.spendable)

    def lots(self) -> list[LotStanding]:
        """Every lot there is: live ones in burn order, pending, then ended ones partly held."""
        return [lot.standing() for lot in self._lots.in_order()]

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
        assert lot.id not in self._lots.by_id, f"grant {grant.id} is known"
        if lot.start > self.at:
            self._lots.await_start(lot)
        else:
            self._begin(lot, done)
            self._received(_granted_by(grant), done)
        return done

    def _received(self, cause: Cause, done: list[Transaction]) -> None:
        """After new credit: end what has expired already, and let the rest pay the overdraft."""
        if self._lots.next_at <= self.at:
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
        lots = self._lots.of_grant(grant_id)
        for lot in lots:
            left_pico = self._lots.retire(lot)
            if left_pico:
                postings = (
                    Posting(lot.account, -left_pico),
                    Posting(ISSUED + lot.grant.kind, left_pico),
                )
                self._book(Kind.VOID, cause, postings, -left_pico, done)
        self._lots.forget_timers(lots)
        return done

    def drawn(self, grant_id: str) -> tuple[int, int] | None:
        """
        When the running occurrence of a grant began, and how much of what it gave is spent, held
        or otherwise gone; carried-over credit is thought to go first. None if none is running.
        """
        for lot in self._lots.of_grant(grant_id):
            if lot.stage == "live":
                return lot.start, max(0, lot.grant.amount_pico - lot.free_pico)
        return None

    def take_back(
        self, grant_id: str, amount_pico: int, at: int, cause: Cause
    ) -> tuple[list[Transaction], int]:
        """Void a part of what is free of a grant, which goes on. Returns how much there was."""
        done = self.advance(at)
        lots = [lot for lot in self._lots.spendable if lot.grant.id == grant_id]
        parts = self._lots.take_from(lots, min(amount_pico, sum(lot.free_pico for lot in lots)))
        if not parts:
            return done, 0
        to = ISSUED + parts[0][0].grant.kind
        return done, self._book_parts(Kind.VOID, cause, parts, to, done)

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
        parts = self._lots.take(amount_pico, feature)
        paid_pico = self._book_parts(Kind.SPEND, cause, parts, SPENT, done)
        overage_pico = amount_pico - paid_pico
        if overage_pico:
            postings = (Posting(OVERAGE, -overage_pico), Posting(SPENT, overage_pico))
            self._book(Kind.OVERAGE, cause, postings, 0, done)
        return done, Burned(tuple([(lot.id, pico) for lot, pico in parts]), overage_pico)

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
        hold = Hold(feature)
        reserved = self._reserve(hold, amount_pico, at)
        if reserved:
            self._holds[hold_id] = hold
        return reserved

    def hold_more(self, hold_id: str, amount_pico: int, at: int) -> bool:
        """Add to an open hold, like `hold`; what is added is spent after what is there."""
        return self._reserve(self._holds[hold_id], amount_pico, at)

    def _reserve(self, hold: Hold, amount_pico: int, at: int) -> bool:
        assert amount_pico >= 0, amount_pico
        assert self._lots.next_at > at, "advance first"
        self.at = max(self.at, at)
        if not self._lots.cover(amount_pico, hold.feature):
            return False
        hold.add(self._lots.take(amount_pico, hold.feature))
        self.reserved_pico += amount_pico
        return True

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
        done = self.advance(at)
        hold = self._holds.pop(hold_id)
        if amount_pico <= hold.held_pico:
            self._draw(hold, amount_pico, Kind.SETTLE, cause, done)
        else:
            assert allow_overage, "exceeds the reservation"
            self._settle_beyond(hold, amount_pico, cause, done)
        self._free(hold, cause, done)
        return done

    def spend_held(
        self, hold_id: str, amount_pico: int, at: int, cause: Cause
    ) -> list[Transaction]:
        """Spend a part of a hold, at most what it holds, and leave it open with the rest."""
        done = self.advance(at)
        hold = self._holds[hold_id]
        assert amount_pico <= hold.held_pico, "exceeds the reservation"
        self._draw(hold, amount_pico, Kind.SPEND, cause, done)
        return done

    def release(self, hold_id: str, at: int, cause: Cause) -> list[Transaction]:
        """Resolve a hold unused. What it held of a lot that has ended meanwhile is breakage."""
        done = self.advance(at)
        self._free(self._holds.pop(hold_id), cause, done)
        return done

    def _draw(
        self, hold: Hold, amount_pico: int, kind: Kind, cause: Cause, done: list[Transaction]
    ) -> None:
        assert amount_pico >= 0, amount_pico
        self.reserved_pico -= amount_pico
        self._book_parts(kind, cause, hold.draw(amount_pico, self._lots), SPENT, done)

    def _settle_beyond(
        self, hold: Hold, amount_pico: int, cause: Cause, done: list[Transaction]
    ) -> None:
        """Spend more than is held: all of it, then free credit, then an overdraft."""
        held_pico = hold.held_pico
        self.reserved_pico -= held_pico
        spent: dict[str, int] = {}
        for lot, pico in (
            *hold.draw(held_pico, self._lots),
            *self._lots.take(amount_pico - held_pico, hold.feature),
        ):
            spent[lot.account] = spent.get(lot.account, 0) + pico
        overdrawn_pico = amount_pico - sum(spent.values())
        if overdrawn_pico:
            spent[OVERDRAFT] = overdrawn_pico
            self.overdraft_pico += overdrawn_pico
            self._owed[hold.feature] = self._owed.get(hold.feature, 0) + overdrawn_pico
        postings = [Posting(account, -pico) for account, pico in spent.items()]
        postings.append(Posting(SPENT, amount_pico))
        self._book(Kind.SETTLE, cause, tuple(postings), -amount_pico, done)

    def _free(self, hold: Hold, cause: Cause, done: list[Transaction]) -> None:
        """Give back all that a hold still has; what is of an ended lot is breakage."""
        if not hold.held_pico:
            return
        self.reserved_pico -= hold.held_pico
        broken: list[Part] = []
        for lot, pico in hold.draw(hold.held_pico, self._lots):
            if lot.stage == "ended":
                broken.append((lot, pico))
            else:
                self._lots.put_back(lot, pico)
        self._expire(broken, cause, done)
        self._repay(cause, done)

    def reverse(
        self,
        burned: Burned,
        feature: str | None,
        at: int,
        cause: Cause,
        grants: Mapping[str, Grant],
    ) -> list[Transaction]:
        """
        Give back what usage has cost that is taken back: to the lots that paid for it.

        What a lot gave that has ended since is breakage (K14). An overdraft that later credit has
        repaid comes back as the credit that is spent next, or is breakage if there is none.

        Args:
            feature: Whose usage it was; None: of no feature in particular.
            grants: Those that paid and have not ended: a lot that was used up may be dropped.
        """
        done = self.advance(at)
        repaid_pico = burned.overdraft_pico - self._forgive(feature, burned.overdraft_pico)
        following = self._lots.spendable[0].id if self._lots.spendable else ""
        returned = {
            OVERDRAFT: burned.overdraft_pico - repaid_pico,
            OVERAGE: burned.overage_pico,
            BREAKAGE: 0,
        }
        for lot_id, pico in (*burned.parts, (following, repaid_pico)):
            account = self._give_back(lot_id, pico, grants)
            returned[account] = returned.get(account, 0) + pico
        postings = [Posting(account, pico) for account, pico in returned.items() if pico]
        if postings:
            change_pico = sum(p.amount_pico for p in postings if is_balance_account(p.account))
            postings.append(Posting(SPENT, -sum(p.amount_pico for p in postings)))
            self._book(Kind.REVERSE, cause, tuple(postings), change_pico, done)
            self._repay(cause, done)
        return done

    def _forgive(self, feature: str | None, overdraft_pico: int) -> int:
        """Owe less, as far as it is owed still. Returns how much."""
        forgiven_pico = min(overdraft_pico, self._owed.get(feature, 0))
        if forgiven_pico:
            self.overdraft_pico -= forgiven_pico
            self._owed[feature] -= forgiven_pico
            if not self._owed[feature]:
                del self._owed[feature]
        return forgiven_pico

    def _give_back(self, lot_id: str, pico: int, grants: Mapping[str, Grant]) -> str:
        """Let a lot have again what it gave. Returns the account that has it now."""
        lot = self._lots.by_id.get(lot_id)
        if lot is None and lot_id in grants:
            lot = Lot.of(grants[lot_id], 0)
            if lot.end == NEVER:
                self._lots.enter(lot, pico)
                return lot.account
        if lot is None or lot.stage != "live":
            return BREAKAGE
        self._lots.put_back(lot, pico)
        return lot.account

    # --- Moving out and in ----------------------------------------------------------------------

    def refund(self, amount_pico: int, grant_id: str, at: int, cause: Cause) -> list[Transaction]:
        """Give back credit of a grant as money: at most `refundable_pico` once time is at `at`."""
        done = self.advance(at)
        parts = self._lots.take_from(self._refundable(grant_id), amount_pico)
        self._book_parts(Kind.REFUND, cause, parts, REFUNDED, done)
        return done

    def _refundable(self, grant_id: str) -> list[Lot]:
        return [
            lot
            for lot in self._lots.spendable
            if lot.grant.kind == "paid" and grant_id in (lot.grant.id, lot.id)
        ]

    def transfer_out(
        self, transfer_id: str, amount_pico: int, at: int, cause: Cause
    ) -> tuple[list[Transaction], tuple[Grant, ...]]:
        """
        Move free credit to another wallet, in burn order, at most `transferable_pico`.

        Args:
            transfer_id: Never used before between these wallets; part of the new grants' ids.

        Returns:
            The transactions, and for `transfer_in` there a grant for each lot that was moved from:
            with its priority, start, end, features and kind, without recurrence or rollover.
        """
        done = self.advance(at)
        parts = self._lots.take_from(self._lots.spendable, amount_pico)
        self._book_parts(Kind.TRANSFER, cause, parts, TRANSFERRED, done)
        return done, tuple(_moved(lot, pico, transfer_id) for lot, pico in parts)

    def transfer_in(self, moved: Iterable[Grant], at: int, cause: Cause) -> list[Transaction]:
        """Receive what `transfer_out` of a wallet of the same credit returned, at that instant."""
        done = self.advance(at)
        postings = []
        total_pico = 0
        for grant in moved:
            lot = Lot.of(grant, 0)
            assert lot.id not in self._lots.by_id, f"{lot.id} was transferred before"
            self._lots.enter(lot, grant.amount_pico)
            postings.append(Posting(lot.account, grant.amount_pico))
            total_pico += grant.amount_pico
        if postings:
            postings.append(Posting(TRANSFERRED, -total_pico))
            self._book(Kind.TRANSFER, cause, tuple(postings), total_pico, done)
        self._received(cause, done)
        return done

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

    def _book_parts(
        self, kind: Kind, cause: Cause, parts: list[Part], to: str, done: list[Transaction]
    ) -> int:
        """Book what left its lots for one account, if anything did. Returns how much."""
        if not parts:
            return 0
        total_pico = 0
        postings = []
        for lot, pico in parts:
            total_pico += pico
            postings.append(Posting(lot.account, -pico))
        postings.append(Posting(to, total_pico))
        self._book(kind, cause, tuple(postings), -total_pico, done)
        return total_pico

    def _expire(self, parts: list[Part], cause: Cause, done: list[Transaction]) -> None:
        self._book_parts(Kind.EXPIRE, cause, parts, BREAKAGE, done)

    def _repay(self, cause: Cause, done: list[Transaction]) -> None:
        """
        Let free credit pay the overdraft of the features it pays for, oldest debt first.

        Called wherever credit becomes free, so that none is ever free beside a debt it could pay.
        """
        for feature, owed_pico in list(self._owed.items()):
            parts = self._lots.take(owed_pico, feature)
            if not parts:
                continue
            postings = [Posting(lot.account, -pico) for lot, pico in parts]
            repaid_pico = sum(pico for _, pico in parts)
            postings.append(Posting(OVERDRAFT, repaid_pico))
            self._book(Kind.REPAY, cause, tuple(postings), 0, done)
            self.overdraft_pico -= repaid_pico
            self._owed[feature] = owed_pico - repaid_pico
            if repaid_pico == owed_pico:
                del self._owed[feature]

    # --- Keeping --------------------------------------------------------------------------------

    def copy(self) -> Wallet:
        """A wallet of its own in the same state: what happens to one does not touch the other."""
        twin = Wallet(self.credit, self.customer)
        twin.at = self.at
        twin.ordinal = self.ordinal
        twin.balance_pico = self.balance_pico
        twin.reserved_pico = self.reserved_pico
        twin.overdraft_pico = self.overdraft_pico
        twin._lots = self._lots.copy()
        twin._holds = {hold_id: hold.copy() for hold_id, hold in self._holds.items()}
        twin._owed = dict(self._owed)
        return twin

    def dump(self) -> dict[str, Any]:
        """The whole state as plain JSON, large ints as text: equal wallets give equal dumps."""
        return {
            "credit": self.credit,
            "customer": self.customer,
            "at": str(self.at),
            "ordinal": str(self.ordinal),
            "balance_pico": str(self.balance_pico),
            "reserved_pico": str(self.reserved_pico),
            "lots": self._lots.dump(),
            "holds": {hold_id: hold.dump() for hold_id, hold in sorted(self._holds.items())},
            "overdraft": [[feature, str(pico)] for feature, pico in self._owed.items()],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Inverse of `dump`."""
        wallet = cls(document["credit"], document["customer"])
        wallet.at = int(document["at"])
        wallet.ordinal = int(document["ordinal"])
        wallet.balance_pico = int(document["balance_pico"])
        wallet.reserved_pico = int(document["reserved_pico"])
        wallet._lots = Lots.load(document["lots"])
        wallet._holds = {hold_id: Hold.load(one) for hold_id, one in document["holds"].items()}
        wallet._owed = {feature: int(pico) for feature, pico in document["overdraft"]}
        wallet.overdraft_pico = sum(wallet._owed.values())
        return wallet


def _granted_by(grant: Grant) -> Cause:
    return {"by": grant.cause, "grant": grant.id}


def _carried(grant: Grant, left_pico: int) -> int:
    """What moves into the next occurrence: everything left, up to the cap."""
    if grant.rollover is None:
        return 0
    most_pico = grant.rollover.max_pico
    return left_pico if most_pico is None else min(left_pico, most_pico)


def _moved(lot: Lot, pico: int, transfer_id: str) -> Grant:
    """A part of a lot as a grant of its own."""
    return msgspec.structs.replace(
        lot.grant,
        id=f"{lot.id}{TRANSFER_MARK}{transfer_id}",
        amount_pico=pico,
        effective_at=lot.start,
        expires_at=None if lot.end == NEVER else lot.end,
        recurrence=None,
        rollover=None,
    )
