"""The gate's state is a fold: any cut, any way there, the same purses and the same ledger."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import thorough

from taximeter.credits.grant import Grant
from taximeter.gate.effects import (
    Advance,
    Burn,
    Effect,
    Extend,
    Issue,
    Refund,
    Release,
    Reserve,
    Settle,
    Transfer,
    Void,
    decode_effects,
    encode_effects,
)
from taximeter.gate.state import GateState

CUSTOMERS = ("a", "b")
CREDIT = "usd"
PARENT = "parent"

Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["issue", "burn", "reserve", "lease", "draw", "extend", "settle", "over", "release",
             "void", "refund", "transfer", "time"]
        ),
        st.integers(0, 5),
        st.integers(1, 40),
        st.integers(0, 30),
    ),
    max_size=40,
)  # fmt: skip


class World:
    """Turns arbitrary steps into effects that the services could have decided."""

    def __init__(self) -> None:
        self.state = GateState()
        self.at = 0
        self.seq = 0
        self.entries: list[tuple[bytes, int, int]] = []

    def do(self, step: Step) -> None:
        what, pick, amount, wait = step
        self.at += wait
        effect = self._effect(what, pick, amount)
        if effect is not None:
            self.seq += 1
            if isinstance(effect, Burn):
                effect = msgspec.structs.replace(effect, seq=self.seq)
            # As it comes back from the log.
            (effect,) = decode_effects(encode_effects([effect]))
            self.entries.append((encode_effects([effect]), self.at, self.seq))
            self.state.apply(effect, self.at, self.seq)

    def _effect(self, what: str, pick: int, amount: int) -> Effect | None:
        customer = CUSTOMERS[pick % 2]
        self._pass_time(customer)
        pools = (PARENT,) if customer == "b" else ()
        available = self._available(customer, pools)
        match what:
            case "issue":
                return self._issue(pick, amount)
            case "burn":
                return Burn(
                    customer, feature="f", seq=0, units_pico=amount, credit=CREDIT,
                    cost_pico=amount, pools=pools,
                )  # fmt: skip
            case "reserve" | "lease":
                return Reserve(
                    customer, id=f"h{self.seq}", feature="f", units_pico=amount,
                    created_at=self.at, expires_at=self.at + 1 + pick * 7, credit=CREDIT,
                    cost_pico=min(amount, available), pools=pools, scope={"user": f"u{pick}"},
                    lease=what == "lease",
                )  # fmt: skip
            case "time":
                return Advance(customer)
            case "transfer":
                free = self.state.purse(customer).wallet(CREDIT).transferable_pico
                target = CUSTOMERS[1 - pick % 2]
                if free < amount:
                    return None
                return Transfer(
                    customer, to=target, credit=CREDIT, amount_pico=amount, id=f"t{self.seq}"
                )
            case "void" | "refund":
                return self._on_a_grant(what, pick, amount)
            case _:
                return self._on_a_hold(what, pick, amount)

    def _pass_time(self, *customers: str) -> None:
        """What the services do before they decide; recorded as an entry of its own."""
        for customer in (*customers, PARENT):
            if self.state.is_due(customer, self.at):
                self.seq += 1
                self.entries.append((encode_effects([Advance(customer)]), self.at, self.seq))
                self.state.apply(Advance(customer), self.at, self.seq)

    def _available(self, customer: str, pools: tuple[str, ...]) -> int:
        wallets = [self.state.purse(one).wallet(CREDIT) for one in (customer, *pools)]
        return sum(max(0, wallet.available_pico("f")) for wallet in wallets)

    def _issue(self, pick: int, amount: int) -> Issue:
        owner = (*CUSTOMERS, PARENT)[pick % 3]
        grant = Grant(
            id=f"g{self.seq}",
            credit=CREDIT,
            amount_pico=amount,
            effective_at=self.at + (pick % 2) * 5,
            expires_at=None if pick % 3 else self.at + 6 + amount,
            priority=pick % 2,
            kind="paid" if pick % 2 else "promotional",
        )
        return Issue(owner, grant=grant)

    def _on_a_grant(self, what: str, pick: int, amount: int) -> Effect | None:
        known = [g for g in self.state.grants if g not in self.state.voided]
        if not known:
            return None
        issued = self.state.grants[known[pick % len(known)]]
        self._pass_time(issued.customer)
        if what == "void":
            return Void(issued.customer, credit=CREDIT, grant=issued.grant.id)
        wallet = self.state.purse(issued.customer).wallet(CREDIT)
        if wallet.refundable_pico(issued.grant.id) < amount:
            return None
        return Refund(issued.customer, credit=CREDIT, grant=issued.grant.id, amount_pico=amount)

    def _on_a_hold(self, what: str, pick: int, amount: int) -> Effect | None:
        for customer in CUSTOMERS:
            self._pass_time(customer)
        open_holds = list(self.state.holders)
        if not open_holds:
            return None
        hold = self.state.hold(open_holds[pick % len(open_holds)])
        assert hold is not None
        match what:
            case "release":
                return Release(hold.customer, id=hold.id)
            case "settle":
                used = min(amount, hold.cost_pico)
                return Settle(hold.customer, id=hold.id, units_pico=used, cost_pico=used)
            case "over":
                used = hold.cost_pico + amount
                return Settle(
                    hold.customer, id=hold.id, units_pico=used, cost_pico=used, overage=True
                )
            case "extend":
                more = min(amount, self._available(hold.customer, hold.pools))
                return Extend(
                    hold.customer, id=hold.id, expires_at=self.at + 3 + amount, units_pico=amount,
                    cost_pico=more,
                )  # fmt: skip
            case _:
                return Burn(
                    hold.customer, feature="f", seq=0, units_pico=amount, credit=CREDIT,
                    cost_pico=amount, pools=hold.pools, lease=hold.id,
                )  # fmt: skip


def played(sequence: list[Step]) -> World:
    world = World()
    for step in sequence:
        world.do(step)
    return world


def replayed(state: GateState, entries: list[tuple[bytes, int, int]]) -> GateState:
    for effects, at, seq in entries:
        for effect in decode_effects(effects):
            state.apply(effect, at, seq)
    return state


@thorough
@given(sequence=steps, cut=st.integers(0, 60))
def test_a_snapshot_and_the_tail_give_what_the_whole_log_gives(
    sequence: list[Step], cut: int
) -> None:
    world = played(sequence)
    cut = min(cut, len(world.entries))
    first = replayed(GateState(), world.entries[:cut])
    again = GateState()
    again.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
    replayed(again, world.entries[cut:])
    assert again.dump() == world.state.dump() == replayed(GateState(), world.entries).dump()
    assert first.booked + again.booked == world.state.booked


@thorough
@given(sequence=steps)
def test_every_transaction_balances_and_no_wallet_has_a_gap(sequence: list[Step]) -> None:
    """K19: postings sum to zero, and the postings alone give the balances."""
    world = played(sequence)
    ordinals: dict[str, int] = defaultdict(int)
    balances: dict[str, int] = defaultdict(int)
    for booked in world.state.booked:
        one = booked.transaction
        assert sum(posting.amount_pico for posting in one.postings) == 0
        ordinals[booked.customer] += 1
        assert one.ordinal == ordinals[booked.customer]
        balances[booked.customer] += sum(
            posting.amount_pico
            for posting in one.postings
            if posting.account.startswith("wallet/") or posting.account == "overdraft"
        )
        assert one.balance_after_pico == balances[booked.customer]
    for customer, purse in world.state.purses.items():
        assert purse.wallet(CREDIT).balance_pico == balances[customer]


@thorough
@given(sequence=steps)
def test_what_is_reserved_is_what_open_holds_hold(sequence: list[Step]) -> None:
    """K14: on every level, in units and in credit, for the customer and for its pool."""
    world = played(sequence)
    expected: dict[str, dict[tuple[str, ...], int]] = defaultdict(lambda: defaultdict(int))
    held_of: dict[str, int] = defaultdict(int)
    for hold_id in world.state.holders:
        hold = world.state.hold(hold_id)
        assert hold is not None
        for owner in (hold.customer, *hold.pools):
            for level, value in hold.levels():
                expected[owner]["f", level, value] += hold.units_pico
                expected[owner]["credit", CREDIT, level, value] += hold.cost_pico
        for funder, pico in hold.parts:
            held_of[funder] += pico
    for customer, purse in world.state.purses.items():
        found = {key: pico for key, pico in expected[customer].items() if pico}
        assert purse.reserved == found
        assert purse.wallet(CREDIT).reserved_pico == held_of[customer]


def test_a_thousand_debits_before_an_expiry_are_one_appointment() -> None:
    state = GateState()
    grant = Grant(id="g", credit=CREDIT, amount_pico=10_000, effective_at=0, expires_at=10**9)
    state.apply(Issue("a", grant=grant), 0, 1)
    for seq in range(2, 1002):
        burn = Burn("a", feature="f", seq=seq, units_pico=1, credit=CREDIT, cost_pico=1, pools=())
        state.apply(burn, seq, seq)
    assert len(state._due) == 1
    assert state.due(10**9 - 1) == []
    assert state.due(10**9) == ["a"] == state.due(10**9)
    state.apply(Advance("a"), 10**9, 1002)
    assert state.due(10**9) == []
