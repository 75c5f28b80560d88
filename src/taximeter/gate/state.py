"""
Effects applied in the order of the log.

One writer applies them, each at the instant its entry was received, so every answer is exact
without a lock. What time alone does (a grant expires, a hold lapses) is done before anything else
is, at its own instant.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.credits.grant import Grant
from taximeter.credits.wallet import Burned
from taximeter.gate.effects import (
    Advance,
    Block,
    Burn,
    DropBudget,
    Effect,
    Extend,
    Fire,
    Issue,
    Keyed,
    LeaveSeat,
    PayInvoice,
    Refund,
    Release,
    RepayInvoice,
    Reserve,
    Reverse,
    SetBudget,
    Settle,
    SetTopUp,
    TakeSeat,
    Throttle,
    Transfer,
    Unblock,
    Void,
)
from taximeter.gate.purse import Blocked, Hold, Purse, Seat, Throttled
from taximeter.instants import DAY
from taximeter.ledger.transaction import Transaction

MAX_RESOLVED: Final = 200_000
MAX_KEYED: Final = 10_000
"""Answers are remembered by key elsewhere; this bridges what a crash leaves out."""
PLAN_GRANT: Final = "plan_grant"
PLAN_SHARE: Final = "plan_share"
"""In the metadata of a grant that comes with a plan: what of the plan grants it."""


_Paid: TypeAlias = dict[str, tuple[tuple[str, int], ...]]
"""Credit -> (lot, pico), in the order they paid."""


class Booked(msgspec.Struct, frozen=True):
    """A ledger transaction with whose it is and the entry of the log that caused it."""

    customer: str
    credit: str
    seq: int
    transaction: Transaction


class Resolution(msgspec.Struct, frozen=True):
    """How a hold ended: settled, released or lapsed."""

    customer: str
    status: str
    at: int


class Issued(msgspec.Struct, frozen=True):
    """Where a grant is found."""

    customer: str
    grant: Grant


class GateState:
    """
    The purses of one namespace.

    Attributes:
        purses: By customer; only of those who have something.
        holders: Open hold -> its customer.
        resolved: The newest holds that ended.
        grants: Every grant ever given, by id; `voided` has those that were ended early.
        keyed: Idempotency key -> request and seq of the newest commands that came with one.
        booked: Ledger transactions since somebody last took them.
    """

    def __init__(self) -> None:
        self.purses: dict[str, Purse] = {}
        self.holders: dict[str, str] = {}
        self.resolved: OrderedDict[str, Resolution] = OrderedDict()
        self.grants: dict[str, Issued] = {}
        self.voided: set[str] = set()
        self.keyed: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.booked: list[Booked] = []
        self._due: list[tuple[int, str]] = []

    def purse(self, customer: str) -> Purse:
        """That of a customer; an empty one if it has none yet."""
        found = self.purses.get(customer)
        if found is None:
            found = self.purses[customer] = Purse(customer)
        return found

    def hold(self, hold_id: str) -> Hold | None:
        """An open one."""
        customer = self.holders.get(hold_id)
        return None if customer is None else self.purses[customer].holds[hold_id]

    def due(self, now: int) -> list[str]:
        """Customers for whom time has something to do, in no particular order."""
        found: set[str] = set()
        while self._due and self._due[0][0] <= now:
            at, customer = heappop(self._due)
            purse = self.purses[customer]
            if purse.scheduled_at != at:
                continue  # an earlier look has taken its place
            purse.scheduled_at = None
            if self.is_due(customer, now):
                found.add(customer)
            else:
                self._schedule(purse)
        for customer in found:
            self._look_at(self.purses[customer], now)  # again, until it was advanced
        return sorted(found)

    def is_due(self, customer: str, now: int) -> bool:
        purse = self.purses.get(customer)
        due_at = None if purse is None else purse.looked_at
        return due_at is not None and due_at <= now

    # --- applying ---

    def apply(self, effect: Effect, at: int, seq: int) -> None:
        """
        Args:
            at: When the entry was received.
            seq: Of the entry; a burn and a reversal have their own.
        """
        purse = self.purse(effect.customer)
        self._advance(purse, at, seq)
        match effect:
            case Burn():
                self._burn(purse, effect, at)
            case Reverse():
                self._reverse(purse, effect, at)
            case PayInvoice():
                self._pay_invoice(purse, effect, at, seq)
            case RepayInvoice():
                self._repay_invoice(purse, effect, at, seq)
            case Reserve():
                self._reserve(purse, effect, at, seq)
            case Extend():
                self._extend(purse, effect, at, seq)
            case Settle():
                self._settle(purse, effect, at, seq)
            case Release():
                self._end(purse, purse.holds[effect.id], "released", at, seq)
            case Issue():
                self._issue(purse, effect.grant, at, seq)
            case Void():
                self._void(purse, effect, at, seq)
            case Refund():
                cause = {"do": "refund", "grant": effect.grant, "reason": effect.reason}
                wallet = purse.wallet(effect.credit)
                booked = wallet.refund(effect.amount_pico, effect.grant, at, cause)
                self._book(purse, effect.credit, seq, booked)
            case Transfer():
                self._transfer(purse, effect, at, seq)
            case Keyed():
                self._remember(effect, seq)
            case _:
                self._configure(purse, effect, at)
        self._top_up(purse, at, seq)
        self._schedule(purse)

    def _remember(self, keyed: Keyed, seq: int) -> None:
        self.keyed[keyed.key] = keyed.request, seq
        if len(self.keyed) > MAX_KEYED:
            self.keyed.popitem(last=False)

    def _configure(self, purse: Purse, effect: Effect, at: int) -> None:
        match effect:
            case SetTopUp(credit=credit, top_up=top_up):
                if top_up is None:
                    purse.top_ups.pop(credit, None)
                else:
                    purse.top_ups[credit] = top_up
            case SetBudget(budget=budget):
                purse.budgets[budget.id] = budget
            case DropBudget(id=budget_id):
                purse.budgets.pop(budget_id, None)
            case TakeSeat(feature=feature, holder=holder, until=until):
                seats = purse.seats.setdefault(feature, {})
                since = seats[holder].since if holder in seats else at
                seats[holder] = Seat(since, until)
            case LeaveSeat(feature=feature, holder=holder):
                purse.seats.get(feature, {}).pop(holder, None)
            case Block(feature=feature, by=by, reason=reason, until=until):
                blocked = Blocked(by, reason, at, until)
                purse.blocked.setdefault(feature, {})[by] = blocked
            case Throttle(feature=feature, by=by, reason=reason, until=until, rate=rate):
                throttled = Throttled(by, reason, at, until, rate=rate)
                purse.throttled.setdefault(feature, {})[by] = throttled
            case Unblock(feature=feature, by=by):
                purse.lift(feature, by)
            case Fire(imposed=imposed):
                for one in imposed:
                    self._configure(purse, one, at)
            case Advance():
                pass

    # --- time ---

    def _advance(self, purse: Purse, at: int, seq: int) -> None:
        due_at = purse.due_at
        while due_at is not None and due_at <= at:
            for hold in purse.lapsed(due_at):
                self._end(purse, hold, "lapsed", due_at, seq)
            for credit, wallet in purse.wallets.items():
                self._book(purse, credit, seq, wallet.advance(due_at))
            _free_seats(purse, due_at)
            if purse.blocked or purse.throttled:
                purse.lift_ended(due_at)
            due_at = purse.due_at

    def _schedule(self, purse: Purse) -> None:
        due_at = purse.looked_at
        # One entry a purse, not one for each of its thousand debits before a far expiry.
        if due_at is not None and (purse.scheduled_at is None or due_at < purse.scheduled_at):
            self._look_at(purse, due_at)

    def _look_at(self, purse: Purse, at: int) -> None:
        purse.scheduled_at = at
        heappush(self._due, (at, purse.customer))

    # --- spending ---

    def _burn(self, purse: Purse, burn: Burn, at: int) -> None:
        cause = {"do": "usage", "feature": burn.feature, "seq": burn.seq}
        left = burn.cost_pico
        hold = purse.holds.get(burn.lease) if burn.lease is not None else None
        if hold is not None:
            left = self._draw(purse, hold, burn, at, cause)
        if burn.credit is None or not left:
            return
        for funder in (purse, *(self.purse(key) for key in burn.pools)):
            if funder is not purse:
                self._advance(funder, at, burn.seq)
            wallet = funder.wallet(burn.credit)
            part = min(left, max(0, wallet.available_pico(burn.feature)))
            if part:
                booked, _ = wallet.burn(part, burn.feature, at, cause)
                self._book(funder, burn.credit, burn.seq, booked)
                left -= part
                if funder is not purse:
                    self._top_up(funder, at, burn.seq)
                    self._schedule(funder)
        if left:
            # Usage is a fact: what nobody's credit covers is overage.
            booked, _ = purse.wallet(burn.credit).burn(left, burn.feature, at, cause)
            self._book(purse, burn.credit, burn.seq, booked)
            purse.overage[burn.credit] = purse.overage.get(burn.credit, 0) + left

    def _reverse(self, purse: Purse, reverse: Reverse, at: int) -> None:
        cause = {
            "do": "retract",
            "feature": reverse.feature,
            "seq": reverse.seq,
            "event": reverse.event,
        }
        grants = self._running(lot for lot, _ in reverse.parts)
        burned = Burned(reverse.parts, reverse.overage_pico, reverse.overdraft_pico)
        wallet = purse.wallet(reverse.credit)
        booked = wallet.reverse(burned, reverse.feature, at, cause, grants)
        self._book(purse, reverse.credit, reverse.seq, booked)
        left = purse.overage.get(reverse.credit, 0) - reverse.overage_pico
        if left > 0:
            purse.overage[reverse.credit] = left
        else:
            purse.overage.pop(reverse.credit, None)

    def _pay_invoice(self, purse: Purse, pay: PayInvoice, at: int, seq: int) -> None:
        cause = {"do": "invoice", "invoice": pay.id, "seq": seq}
        wallet = purse.wallet(pay.credit)
        booked, burned = wallet.burn(pay.amount_pico, None, at, cause)
        assert not burned.overage_pico, "credit was found to cover it"
        self._book(purse, pay.credit, seq, booked)
        purse.invoices.setdefault(pay.id, {})[pay.credit] = burned.parts

    def _repay_invoice(self, purse: Purse, repay: RepayInvoice, at: int, seq: int) -> None:
        cause = {"do": "invoice_void", "invoice": repay.id, "seq": seq}
        paid: _Paid = purse.invoices.pop(repay.id, {})
        if repay.amount_pico is not None:
            cause = {"do": "credit_note", "invoice": repay.id, "note": repay.note, "seq": seq}
            paid, kept = _split(paid, repay.amount_pico)
            if kept:
                purse.invoices[repay.id] = kept
        for credit, parts in paid.items():
            grants = self._running(lot for lot, _ in parts)
            booked = purse.wallet(credit).reverse(Burned(parts), "", at, cause, grants)
            self._book(purse, credit, seq, booked)

    def _running(self, lots: Iterable[str]) -> dict[str, Grant]:
        """Grants by lot, without those that were voided."""
        return {
            lot: self.grants[lot].grant
            for lot in lots
            if lot in self.grants and lot not in self.voided
        }

    def _draw(self, purse: Purse, hold: Hold, burn: Burn, at: int, cause: dict[str, Any]) -> int:
        """A usage event uses up part of a lease; returns the cost that the lease does not cover."""
        units = min(hold.units_pico, burn.units_pico)
        left = burn.cost_pico
        parts: list[tuple[str, int]] = []
        for funder, held in hold.parts:
            spent = min(left, held)
            if spent:
                assert hold.credit is not None
                wallet = self.purse(funder).wallet(hold.credit)
                booked = wallet.spend_held(hold.id, spent, at, cause)
                self._book(self.purse(funder), hold.credit, burn.seq, booked)
                left -= spent
            if held > spent:
                parts.append((funder, held - spent))
        self._count_reserved(hold, -units, -(burn.cost_pico - left))
        hold.parts = parts
        hold.units_pico -= units
        hold.used_pico += burn.units_pico
        return left

    # --- holds ---

    def _reserve(self, purse: Purse, reserve: Reserve, at: int, seq: int) -> None:
        hold = Hold(
            id=reserve.id,
            customer=reserve.customer,
            feature=reserve.feature,
            units_pico=reserve.units_pico,
            created_at=reserve.created_at,
            expires_at=reserve.expires_at,
            seq=seq,
            credit=reserve.credit,
            pools=reserve.pools,
            scope=reserve.scope,
            lease=reserve.lease,
            data=reserve.data,
            granted_pico=reserve.units_pico,
        )
        hold.parts = self._set_aside(hold, reserve.cost_pico, at, seq)
        purse.add_hold(hold)
        self.holders[hold.id] = purse.customer
        for pool in hold.pools:
            self.purse(pool).count_reserved(hold, hold.units_pico, hold.cost_pico)
        self._top_up_pools(hold, at, seq)

    def _top_up_pools(self, hold: Hold, at: int, seq: int) -> None:
        """After credit of parents was set aside or spent."""
        for pool in hold.pools:
            self._top_up(self.purse(pool), at, seq)
            self._schedule(self.purse(pool))

    def _set_aside(self, hold: Hold, cost_pico: int, at: int, seq: int) -> list[tuple[str, int]]:
        """Hold credit of the customer first, then of those it pools with."""
        parts: list[tuple[str, int]] = []
        for funder in (hold.customer, *hold.pools):
            if not cost_pico:
                break
            assert hold.credit is not None
            purse = self.purse(funder)
            if funder != hold.customer:
                self._advance(purse, at, seq)
            wallet = purse.wallet(hold.credit)
            part = min(cost_pico, max(0, wallet.available_pico(hold.feature)))
            if part:
                held = wallet.hold(hold.id, part, hold.feature, at)
                assert held, "what is available can be held"
                parts.append((funder, part))
                cost_pico -= part
        assert not cost_pico, "decided before: the credit is there"
        return parts

    def _extend(self, purse: Purse, extend: Extend, at: int, seq: int) -> None:
        hold = purse.holds[extend.id]
        added = self._hold_more(hold, extend.cost_pico, at)
        self._count_reserved(hold, extend.units_pico, extend.cost_pico)
        parts = dict(hold.parts)
        for funder, pico in added:
            parts[funder] = parts.get(funder, 0) + pico
        hold.parts = list(parts.items())
        hold.units_pico += extend.units_pico
        hold.granted_pico += extend.units_pico
        hold.extensions += 1
        if extend.expires_at != hold.expires_at:
            hold.expires_at = extend.expires_at
            purse.will_expire(hold)
        self._top_up_pools(hold, at, seq)

    def _hold_more(self, hold: Hold, cost_pico: int, at: int) -> list[tuple[str, int]]:
        added: list[tuple[str, int]] = []
        held_by = {funder for funder, _ in hold.parts}
        for funder in (hold.customer, *hold.pools):
            if not cost_pico:
                break
            assert hold.credit is not None
            wallet = self.purse(funder).wallet(hold.credit)
            part = min(cost_pico, max(0, wallet.available_pico(hold.feature)))
            if part:
                if funder in held_by:
                    held = wallet.hold_more(hold.id, part, at)
                else:
                    held = wallet.hold(hold.id, part, hold.feature, at)
                assert held, "what is available can be held"
                added.append((funder, part))
                cost_pico -= part
        assert not cost_pico, "decided before: the credit is there"
        return added

    def _settle(self, purse: Purse, settle: Settle, at: int, seq: int) -> None:
        hold = purse.holds[settle.id]
        cause = {"do": "settle", "feature": hold.feature, "hold": hold.id, "seq": seq}
        if hold.credit is not None:
            self._pay(hold, settle, at, seq, cause)
            self._top_up_pools(hold, at, seq)
        self._forget(purse, hold, "settled", at)

    def _pay(self, hold: Hold, settle: Settle, at: int, seq: int, cause: dict[str, Any]) -> None:
        assert hold.credit is not None
        left = settle.cost_pico
        beyond = max(0, left - hold.cost_pico)
        for place, (funder, held) in enumerate(hold.parts):
            # What was used beyond the hold is booked by whoever paid first, even below zero.
            pay = min(left, held) + (beyond if place == 0 else 0)
            purse = self.purse(funder)
            wallet = purse.wallet(hold.credit)
            booked = wallet.settle(hold.id, pay, at, cause, allow_overage=settle.overage)
            self._book(purse, hold.credit, seq, booked)
            left -= min(left, held)
        if beyond and not hold.parts:
            purse = self.purse(hold.customer)
            booked, _ = purse.wallet(hold.credit).burn(beyond, hold.feature, at, cause)
            self._book(purse, hold.credit, seq, booked)

    def _end(self, purse: Purse, hold: Hold, status: str, at: int, seq: int) -> None:
        """Released or lapsed: what it held is free again."""
        cause = {"do": status, "feature": hold.feature, "hold": hold.id}
        for funder, _ in hold.parts:
            assert hold.credit is not None
            held_by = self.purse(funder)
            booked = held_by.wallet(hold.credit).release(hold.id, at, cause)
            self._book(held_by, hold.credit, seq, booked)
        self._forget(purse, hold, status, at)

    def _forget(self, purse: Purse, hold: Hold, status: str, at: int) -> None:
        for pool in hold.pools:
            self.purse(pool).count_reserved(hold, -hold.units_pico, -hold.cost_pico)
        purse.remove_hold(hold)
        del self.holders[hold.id]
        self.resolved[hold.id] = Resolution(purse.customer, status, at)
        if len(self.resolved) > MAX_RESOLVED:
            self.resolved.popitem(last=False)

    def _count_reserved(self, hold: Hold, units_pico: int, cost_pico: int) -> None:
        for customer in (hold.customer, *hold.pools):
            self.purse(customer).count_reserved(hold, units_pico, cost_pico)

    # --- grants ---

    def _issue(self, purse: Purse, grant: Grant, at: int, seq: int) -> None:
        self.grants[grant.id] = Issued(purse.customer, grant)
        source = grant.metadata.get(PLAN_GRANT)
        if source is not None:
            purse.plan_grants[source] = grant.id
        self._book(purse, grant.credit, seq, purse.wallet(grant.credit).grant(grant, at))
        self._take_drawn(purse, grant, at, seq)

    def _take_drawn(self, purse: Purse, grant: Grant, at: int, seq: int) -> None:
        """What was drawn in a period stays drawn when its grant is replaced by another."""
        share = grant.metadata.get(PLAN_SHARE)
        start, drawn_pico = purse.plan_drawn.get(share, (None, 0)) if share else (None, 0)
        if share is None or not drawn_pico:
            return
        wallet = purse.wallet(grant.credit)
        running = wallet.drawn(grant.id)
        if start is None or running is None or running[0] != start:
            return
        cause = {"do": "void", "grant": grant.id, "reason": "drawn before in the same period"}
        booked, taken_pico = wallet.take_back(grant.id, drawn_pico, at, cause)
        self._book(purse, grant.credit, seq, booked)
        purse.plan_drawn[share] = start, drawn_pico - taken_pico

    def _remember_drawn(self, purse: Purse, grant: Grant) -> None:
        share = grant.metadata.get(PLAN_SHARE)
        running = purse.wallet(grant.credit).drawn(grant.id)
        if share is None or running is None:
            return
        start, drawn_pico = running
        before, earlier_pico = purse.plan_drawn.get(share, (start, 0))
        total_pico = drawn_pico + (earlier_pico if before == start else 0)
        purse.plan_drawn[share] = start, total_pico

    def _void(self, purse: Purse, void: Void, at: int, seq: int) -> None:
        cause = {"do": "void", "grant": void.grant, "reason": void.reason}
        wallet = purse.wallet(void.credit)
        if void.grant in purse.plan_grants.values():
            self._remember_drawn(purse, self.grants[void.grant].grant)
        self._book(purse, void.credit, seq, wallet.void(void.grant, at, cause))
        self.voided.add(void.grant)
        for source, grant in list(purse.plan_grants.items()):
            if grant == void.grant:
                del purse.plan_grants[source]

    def _transfer(self, purse: Purse, transfer: Transfer, at: int, seq: int) -> None:
        target = self.purse(transfer.to)
        self._advance(target, at, seq)
        cause = {
            "do": "transfer",
            "id": transfer.id,
            "from": transfer.customer,
            "to": transfer.to,
        }
        out = purse.wallet(transfer.credit)
        booked, moved = out.transfer_out(transfer.id, transfer.amount_pico, at, cause)
        self._book(purse, transfer.credit, seq, booked)
        for grant in moved:
            self.grants[grant.id] = Issued(transfer.to, grant)
        into = target.wallet(transfer.credit)
        self._book(target, transfer.credit, seq, into.transfer_in(moved, at, cause))
        self._schedule(target)

    def _top_up(self, purse: Purse, at: int, seq: int) -> None:
        for credit, top_up in purse.top_ups.items():
            made = purse.topped_up.setdefault(credit, [])
            if top_up.is_due(purse.wallet(credit).available_pico(None), made, at):
                purse.topped_up[credit] = [one for one in made if at - DAY < one] + [at]
                grant = Grant(
                    id=f"auto:{purse.customer}:{credit}:{seq}",
                    credit=credit,
                    amount_pico=top_up.amount_pico,
                    effective_at=at,
                    expires_at=None if top_up.lifetime_us is None else at + top_up.lifetime_us,
                    kind="paid",
                    cause="auto top-up",
                )
                self._issue(purse, grant, at, seq)

    def _book(
        self, purse: Purse, credit: str, seq: int, transactions: Iterable[Transaction]
    ) -> None:
        for transaction in transactions:
            self.booked.append(Booked(purse.customer, credit, seq, transaction))

    # --- as bytes ---

    def dump(self) -> dict[str, Any]:
        """Plain JSON-able values; equal states give equal dumps."""
        return {
            "purses": {
                key: dumped
                for key, purse in sorted(self.purses.items())
                if (dumped := purse.dump())
            },
            "resolved": msgspec.to_builtins(list(self.resolved.items())),
            "grants": msgspec.to_builtins(dict(sorted(self.grants.items()))),
            "voided": sorted(self.voided),
            "keyed": [[key, *command] for key, command in self.keyed.items()],
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Inverse of `dump`, into an empty state."""
        for key, one in dumped.get("purses", {}).items():
            purse = self.purse(key)
            purse.load(one)
            for hold in purse.holds.values():
                self.holders[hold.id] = key
        for purse in list(self.purses.values()):
            for hold in purse.holds.values():
                for pool in hold.pools:
                    self.purse(pool).count_reserved(hold, hold.units_pico, hold.cost_pico)
            self._schedule(purse)
        resolved = msgspec.convert(dumped.get("resolved", []), list[tuple[str, Resolution]])
        self.resolved = OrderedDict(resolved)
        self.grants = msgspec.convert(dumped.get("grants", {}), dict[str, Issued])
        self.voided = set(dumped.get("voided", ()))
        self.keyed = OrderedDict(
            (key, (request, seq)) for key, request, seq in dumped.get("keyed", ())
        )


def _free_seats(purse: Purse, at: int) -> None:
    for feature, seats in list(purse.seats.items()):
        kept = {h: seat for h, seat in seats.items() if seat.until is None or seat.until > at}
        if kept:
            purse.seats[feature] = kept
        else:
            del purse.seats[feature]


def _split(paid: _Paid, amount_pico: int) -> tuple[_Paid, _Paid]:
    """The last parts up to an amount, and the rest."""
    back: _Paid = {}
    kept: _Paid = {}
    for credit, parts in reversed(paid.items()):
        given: list[tuple[str, int]] = []
        left: list[tuple[str, int]] = []
        for lot, pico in reversed(parts):
            part = min(pico, amount_pico)
            amount_pico -= part
            given += [(lot, part)] if part else []
            left += [(lot, pico - part)] if pico > part else []
        for target, found in ((back, given), (kept, left)):
            if found:
                target[credit] = tuple(reversed(found))
    return back, dict(reversed(kept.items()))
