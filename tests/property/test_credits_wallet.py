"""
Wallets against a slow oracle that moves single units (K13, K14, K19): after every step the same
balances, lots and accounts, a ledger that proves itself, and no difference between one long step of
time and many short ones, between a wallet and its dump read back, or for a copy taken before.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.property.credits_oracle import Oracle
from tests.property.effort import FULL, thorough

from taximeter.credits.grant import Grant, Rollover
from taximeter.credits.wallet import Burned, Wallet
from taximeter.instants import HOUR
from taximeter.ledger.audit import audit
from taximeter.ledger.statement import trial_balance
from taximeter.ledger.transaction import OVERDRAFT, WALLET, Kind, Transaction

CAUSE = {"by": "test"}
FEATURES = ("chat", "image")

units = st.integers(0, 12)
features = st.sampled_from([*FEATURES, None])
all_terms = st.fixed_dictionaries(
    {
        "amount": st.integers(1, 12),
        "begins": st.integers(-6, 4),
        "lasts": st.none() | st.integers(1, 12),
        "priority": st.integers(0, 1),
        "only": st.sampled_from([(), (), ("chat",), ("image",), FEATURES]),
        "every": st.sampled_from([None, "PT1H", "PT2H", "PT5H"]),
        "rolls": st.none() | st.builds(Rollover, st.sampled_from([None, 0, 3, 8])),
        "kind": st.sampled_from(["paid", "promotional"]),
    }
)


class Subject:
    """A wallet, the same wallet led through time in short steps, and the oracle of both."""

    def __init__(self, name: str) -> None:
        self.wallet = Wallet("tokens", name)
        self.plodder = Wallet("tokens", name)
        self.oracle = Oracle()
        self.ledger: list[Transaction] = []
        self.kept: list[tuple[Wallet, str]] = []
        self.costs: list[tuple[Burned, str | None]] = []  # of usage that is not taken back

    @property
    def now(self) -> int:
        return self.oracle.now

    def pass_time(self, hours: int) -> None:
        before = self.now
        self.oracle.tick_to(before + hours * HOUR)
        booked = self.wallet.advance(self.now)
        plodded = []
        for half in range(1, 2 * hours + 1):
            plodded += self.plodder.advance(before + half * HOUR // 2)
        assert booked == plodded
        self.ledger += booked

    def do(self, command: str, *args: Any, **options: Any) -> Any:
        """The same command to both wallets; what it books goes to the ledger."""
        result = getattr(self.wallet, command)(*args, **options)
        assert result == getattr(self.plodder, command)(*args, **options)
        transactions = result[0] if isinstance(result, tuple) else result
        if isinstance(transactions, list):
            self.ledger += transactions
        return result


def cost_of(settled: Transaction) -> Burned:
    """What a settlement cost, from its postings."""
    given = {p.account: -p.amount_pico for p in settled.postings if p.amount_pico < 0}
    overdraft_pico = given.pop(OVERDRAFT, 0)
    parts = tuple((account.removeprefix(WALLET), pico) for account, pico in given.items())
    return Burned(parts, overdraft_pico=overdraft_pico)


class Wallets(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.subjects = (Subject("acme"), Subject("umbrella"))
        self.names = 0

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def subject(self, data: st.DataObject) -> Subject:
        return data.draw(st.sampled_from(self.subjects), label="wallet")

    def open_hold(self, data: st.DataObject) -> tuple[Subject, str]:
        subject = data.draw(st.sampled_from([s for s in self.subjects if s.oracle.holds]))
        return subject, data.draw(st.sampled_from(sorted(subject.oracle.holds)), label="hold")

    @property
    def has_holds(self) -> bool:
        return any(subject.oracle.holds for subject in self.subjects)

    # --- commands -------------------------------------------------------------------------------

    @initialize(data=st.data())
    def begin_with_something(self, data: Any) -> None:
        for subject in self.subjects:
            for terms in data.draw(st.lists(all_terms, min_size=1, max_size=4), label="grants"):
                self.add_grant(subject, terms)

    @rule(data=st.data(), several=st.lists(all_terms, min_size=1, max_size=3))
    def grant(self, data: Any, several: list[dict[str, Any]]) -> None:
        subject = self.subject(data)
        for terms in several:
            self.add_grant(subject, terms)

    def add_grant(self, subject: Subject, terms: dict[str, Any]) -> None:
        effective_at = max(0, subject.now + terms["begins"] * HOUR)
        lasts, every = terms["lasts"], terms["every"]
        grant = Grant(
            self.name("g"),
            "tokens",
            terms["amount"],
            effective_at,
            priority=terms["priority"],
            expires_at=None if lasts is None else effective_at + lasts * HOUR,
            features=terms["only"],
            recurrence=every,
            rollover=None if every is None else terms["rolls"],
            kind=terms["kind"],
        )
        subject.do("grant", grant, subject.now)
        subject.oracle.grant(grant)

    @rule(data=st.data(), hours=st.integers(1, 9))
    def time(self, data: Any, hours: int) -> None:
        self.subject(data).pass_time(hours)

    @rule(data=st.data(), amount=units, feature=features, late=st.integers(0, 3))
    def burn(self, data: Any, amount: int, feature: str | None, late: int) -> None:
        subject = self.subject(data)
        at = max(0, subject.now - late * HOUR)  # before its time: a wallet never goes back
        coverable = subject.oracle.coverable(feature)
        assert subject.wallet.can_cover(amount, feature) == (amount <= coverable)
        _, burned = subject.do("burn", amount, feature, at, CAUSE)
        assert burned.overage_pico == subject.oracle.burn(amount, feature)
        assert sum(pico for _, pico in burned.parts) + burned.overage_pico == amount
        subject.costs.append((burned, feature))

    @rule(data=st.data(), amount=st.integers(0, 5), feature=features)
    def hold(self, data: Any, amount: int, feature: str | None) -> None:
        subject, hold = self.subject(data), self.name("h")
        covered = amount <= subject.oracle.coverable(feature)
        assert subject.do("hold", hold, amount, feature, subject.now) == covered
        if covered:
            subject.oracle.hold(hold, amount, feature)

    @precondition(lambda self: self.has_holds)
    @rule(data=st.data(), amount=units)
    def hold_more(self, data: Any, amount: int) -> None:
        subject, hold = self.open_hold(data)
        feature, _ = subject.oracle.holds[hold]
        covered = amount <= subject.oracle.coverable(feature)
        assert subject.do("hold_more", hold, amount, subject.now) == covered
        if covered:
            subject.oracle.hold(hold, amount, feature)

    @precondition(lambda self: self.has_holds)
    @rule(data=st.data(), beyond=st.booleans())
    def settle(self, data: Any, beyond: bool) -> None:
        subject, hold = self.open_hold(data)
        most = subject.oracle.held(hold) + (40 if beyond else 0)
        amount = data.draw(st.integers(0, most), label="amount")
        subject.do("settle", hold, amount, subject.now, CAUSE, allow_overage=beyond)
        subject.oracle.settle(hold, amount)

    @rule(data=st.data(), amount=st.integers(1, 9), feature=features)
    def overdraw(self, data: Any, amount: int, feature: str | None) -> None:
        subject, hold = self.subject(data), self.name("h")
        everything = subject.oracle.coverable(feature)
        subject.do("hold", hold, 0, feature, subject.now)
        subject.oracle.hold(hold, 0, feature)
        beyond = everything + amount
        booked = subject.do("settle", hold, beyond, subject.now, CAUSE, allow_overage=True)
        subject.oracle.settle(hold, beyond)
        (settled,) = [one for one in booked if one.kind is Kind.SETTLE]
        subject.costs.append((cost_of(settled), feature))

    @precondition(lambda self: self.has_holds)
    @rule(data=st.data())
    def spend_held(self, data: Any) -> None:
        subject, hold = self.open_hold(data)
        amount = data.draw(st.integers(0, subject.oracle.held(hold)), label="amount")
        subject.do("spend_held", hold, amount, subject.now, CAUSE)
        subject.oracle.spend_held(hold, amount)

    @precondition(lambda self: self.has_holds)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        subject, hold = self.open_hold(data)
        subject.do("release", hold, subject.now, CAUSE)
        subject.oracle.release(hold)

    @precondition(lambda self: any(subject.costs for subject in self.subjects))
    @rule(data=st.data())
    def reverse(self, data: Any) -> None:
        subject = data.draw(st.sampled_from([s for s in self.subjects if s.costs]))
        place = data.draw(st.integers(0, len(subject.costs) - 1), label="cost")
        burned, feature = subject.costs.pop(place)
        subject.do("reverse", burned, feature, subject.now, CAUSE, {})
        subject.oracle.reverse(
            list(burned.parts), burned.overage_pico, burned.overdraft_pico, feature
        )

    @rule(data=st.data())
    def void(self, data: Any) -> None:
        subject = self.subject(data)
        known = sorted({lot.grant for lot in subject.wallet.lots()})
        grant = data.draw(st.sampled_from([*known, "unknown"]), label="grant")
        subject.do("void", grant, subject.now, CAUSE)
        subject.oracle.void(grant)

    @rule(data=st.data())
    def refund(self, data: Any) -> None:
        subject = self.subject(data)
        known = sorted({lot.grant for lot in subject.wallet.lots()})
        grant = data.draw(st.sampled_from([*known, "unknown"]), label="grant")
        most = subject.oracle.refundable(grant)
        assert subject.wallet.refundable_pico(grant) == most
        amount = data.draw(st.integers(0, most), label="amount")
        subject.do("refund", amount, grant, subject.now, CAUSE)
        subject.oracle.refund(amount, grant)

    @rule(data=st.data())
    def transfer(self, data: Any) -> None:
        source = self.subject(data)
        (target,) = (other for other in self.subjects if other is not source)
        at = max(source.now, target.now)
        for one in self.subjects:
            one.pass_time((at - one.now) // HOUR)
        amount = data.draw(st.integers(0, source.wallet.transferable_pico), label="amount")
        _, moved = source.do("transfer_out", self.name("t"), amount, at, CAUSE)
        assert source.oracle.transfer_out(amount) == {
            grant.id.rpartition("~")[0]: grant.amount_pico for grant in moved
        }
        target.do("transfer_in", moved, at, CAUSE)
        target.oracle.transfer_in(moved)

    @rule(data=st.data(), how=st.sampled_from(["dump and load", "keep a copy", "look ahead"]))
    def change_nothing(self, data: Any, how: str) -> None:
        subject = self.subject(data)
        if how == "dump and load":
            subject.wallet = Wallet.load(json.loads(json.dumps(subject.wallet.dump())))
            return
        copy = subject.wallet.copy()
        if how == "look ahead":
            copy.advance(subject.now + 7 * HOUR)
            copy.burn(5, "chat", copy.at, CAUSE)
        subject.kept.append((copy, json.dumps(copy.dump())))

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def agrees_with_the_oracle(self) -> None:
        for subject in self.subjects:
            wallet, oracle = subject.wallet, subject.oracle
            assert wallet.balance_pico == oracle.balance
            assert wallet.reserved_pico == oracle.reserved
            assert wallet.overdraft_pico == len(oracle.owed)
            assert wallet.available_pico(None) == oracle.balance - oracle.reserved
            for feature in FEATURES:
                assert wallet.available_pico(feature) == oracle.available(feature)
            for hold in oracle.holds:
                assert wallet.held_pico(hold) == oracle.held(hold)
            left = {lot.id: (lot.remaining_pico, lot.reserved_pico) for lot in wallet.lots()}
            held = {pile.id: sum(pile.held.values()) for pile in oracle.piles}
            assert left == {
                pile.id: (pile.free + held[pile.id], held[pile.id])
                for pile in oracle.piles
                if not pile.over or held[pile.id]
            }

    @invariant()
    def proves_itself(self) -> None:
        for subject in self.subjects:
            assert audit(subject.ledger) == []
            accounts = trial_balance(subject.ledger)
            assert sum(accounts.values()) == 0
            assert _used(accounts) == _used(subject.oracle.accounts)
            assert subject.wallet.ordinal == len(subject.ledger)

    @invariant()
    def is_the_same_however_it_came_there(self) -> None:
        for subject in self.subjects:
            assert subject.wallet.dump() == subject.plodder.dump()
            next_at = subject.wallet.next_change_at
            assert next_at == subject.plodder.next_change_at
            assert next_at is None or next_at > subject.now

    @invariant()
    def leaves_its_copies_alone(self) -> None:
        for subject in self.subjects:
            for copy, dumped in subject.kept:
                assert json.dumps(copy.dump()) == dumped

    @invariant()
    def has_no_free_credit_beside_a_debt_it_could_pay(self) -> None:
        for subject in self.subjects:
            for feature in set(subject.oracle.owed):
                assert not subject.wallet.can_cover(1, feature)


def _used(accounts: dict[str, int]) -> dict[str, int]:
    return {account: pico for account, pico in accounts.items() if pico}


TestWallets = Wallets.TestCase
TestWallets.settings = settings(
    thorough, max_examples=4_000 if FULL else 30, stateful_step_count=40
)
