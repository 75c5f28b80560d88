"""
The product with one bug, to see that the auditor finds it:
`python -m tests.audit.seeded BUG serve ...`.

Each bug is a mistake somebody could make, put in by replacing one function of the running server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from taximeter.credits.lot import Lot
from taximeter.credits.wallet import Wallet
from taximeter.entitlements import decide as deciding
from taximeter.events.identity import identities
from taximeter.gate.effects import Burn
from taximeter.gate.purse import Purse
from taximeter.gate.state import GateState
from taximeter.services.gate import commands, consume, credits, reservations
from taximeter.services.gate.check import Weighed

BUGS: dict[str, Callable[[], None]] = {}


def bug(seed: Callable[[], None]) -> Callable[[], None]:
    BUGS[seed.__name__] = seed
    return seed


def replace_everywhere(old: Any, new: Any) -> None:
    """A function, in its module and in all that imported it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("taximeter") and getattr(module, old.__name__, None) is old:
            setattr(module, old.__name__, new)


def when_recovered(then: Callable[[Any], None]) -> None:
    """Do something once a node has read its log, before it answers anybody."""
    from taximeter.adapters.node import Node

    start = Node.start

    async def started(self: Node) -> None:
        then(self)
        await start(self)

    Node.start = started  # type: ignore[method-assign]


@bug
def settle_keeps_the_rest() -> None:
    """What a settlement did not use is never freed."""
    settle = Wallet.settle

    def settle_only(self: Wallet, *args: Any, **options: Any) -> Any:
        free, Wallet._free = Wallet._free, lambda *_: None  # type: ignore[method-assign, assignment]
        try:
            return settle(self, *args, **options)
        finally:
            Wallet._free = free  # type: ignore[method-assign]

    Wallet.settle = settle_only  # type: ignore[method-assign]


@bug
def usable_at_its_end() -> None:
    """A lot can still be spent at the very instant at which it expires."""
    make = Lot.__init__

    def with_inclusive_end(self: Lot, grant: Any, number: int, start: int, end: int) -> None:
        make(self, grant, number, start, end if grant.expires_at is None else end + 1)

    Lot.__init__ = with_inclusive_end  # type: ignore[method-assign]


@bug
def granted_again_on_a_retry() -> None:
    """A grant that is sent a second time is given a second time."""
    grant, seen = credits.grant, set()

    def grant_each(
        core: Any, by: Any, tenant: Any, customer: str, document: Any, now: int, **more: Any
    ) -> Any:
        name = document.get("id")
        if name in seen:
            again = document | {"id": f"{name}.again"}
            grant(core, by, tenant, customer, again, now, **more)
        seen.add(name)
        return grant(core, by, tenant, customer, document, now, **more)

    replace_everywhere(grant, grant_each)


@bug
def burns_oldest_first() -> None:
    """Priority and expiry do not matter, only when a lot began."""
    make = Lot.__init__

    def by_age(self: Lot, *args: Any) -> None:
        make(self, *args)
        self.burn_key = (0, 0, self.start, self.id)

    Lot.__init__ = by_age  # type: ignore[method-assign]


@bug
def settled_stays_open() -> None:
    """A hold that was settled can still be released."""
    settle = GateState._settle

    def and_open(self: GateState, purse: Purse, effect: Any, at: int, seq: int) -> None:
        kept = msgspec.structs.replace(purse.holds[effect.id], parts=[])
        settle(self, purse, effect, at, seq)
        purse.add_hold(kept)
        self.holders[kept.id] = purse.customer

    GateState._settle = and_open  # type: ignore[method-assign]


@bug
def lapses_forgotten_in_a_restart() -> None:
    """Holds that were open before a restart never lapse."""

    def forget(node: Any) -> None:
        for tenant in node.tenants.values():
            for purse in tenant.live.gate.purses.values():
                purse._expiries.clear()

    when_recovered(forget)


@bug
def check_ignores_holds() -> None:
    """A debit is allowed whatever others have reserved."""
    weigh = consume.weigh

    def of_the_balance(tenant: Any, ask: Any, now: int, event: Any = None) -> Any:
        weighed = weigh(tenant, ask, now, event)
        if not isinstance(weighed, Weighed) or weighed.funds is None:
            return weighed
        wallet = tenant.live.gate.purse(weighed.account.customer).wallet(weighed.funds.credit)
        funds = msgspec.structs.replace(weighed.funds, available_pico=wallet.balance_pico)
        decision = deciding.decide(ask.feature, weighed.readings, ask.amount_pico, funds)
        return msgspec.structs.replace(weighed, decision=decision, funds=funds)

    consume.weigh = of_the_balance


@bug
def transfer_arrives_twice() -> None:
    """Twice of what left one wallet comes into the other."""
    transfer_in = Wallet.transfer_in

    def doubled(self: Wallet, moved: Any, at: int, cause: Any) -> Any:
        twice = [msgspec.structs.replace(g, amount_pico=2 * g.amount_pico) for g in moved]
        return transfer_in(self, twice, at, cause)

    Wallet.transfer_in = doubled  # type: ignore[method-assign]


@bug
def refund_of_what_was_spent() -> None:
    """A refund looks at what the wallet has, not at what is left of the grant."""

    def anything(self: Wallet, grant_id: str) -> list[Lot]:
        return list(self._lots.spendable)

    Wallet._refundable = anything  # type: ignore[method-assign]


@bug
def replay_drops_effects() -> None:
    """A restart forgets one in fifty debits."""
    apply, seen = GateState.apply, 0

    def most(self: GateState, effect: Any, at: int, seq: int) -> None:
        nonlocal seen
        seen += isinstance(effect, Burn)
        if not isinstance(effect, Burn) or seen % 50:
            apply(self, effect, at, seq)

    def recovered(node: Any) -> None:
        GateState.apply = apply  # type: ignore[method-assign]

    GateState.apply = most  # type: ignore[method-assign]
    when_recovered(recovered)


@bug
def part_is_half_of_it() -> None:
    """Who takes less than asked gets half of what is there."""
    part = reservations._part
    reservations._part = lambda *args: part(*args) // 2


@bug
def consumed_again_on_a_retry() -> None:
    """A consumption that is sent a second time is debited a second time."""
    earlier = commands.Commands.earlier

    def never(self: Any, tenant: Any, event: Any) -> Any:
        identity, found = earlier(self, tenant, event)
        if found is None or event.source != "taximeter/consume":
            return identity, found
        again = msgspec.structs.replace(event, id=f"{event.id}.again")
        return identities(tenant.seed, [again]), None

    commands.Commands.earlier = never  # type: ignore[method-assign]


@bug
def answered_before_it_is_durable() -> None:
    """Answers do not wait for the disk, so a crash undoes what was answered."""
    record = commands.Commands.record

    def at_once(self: Any, *args: Any, **options: Any) -> Any:
        answered = record(self, *args, **options)
        answered.durable.add_done_callback(lambda done: done.exception())
        already = asyncio.get_running_loop().create_future()
        already.set_result(None)
        return answered._replace(durable=already)

    commands.Commands.record = at_once  # type: ignore[method-assign]


@bug
def overage_is_forgotten() -> None:
    """Usage that no credit covers is not booked."""
    burn = Wallet.burn

    def what_is_there(self: Wallet, amount_pico: int, feature: Any, at: int, cause: Any) -> Any:
        covered = min(amount_pico, self._lots.free_pico(feature))
        return burn(self, covered, feature, at, cause)

    Wallet.burn = what_is_there  # type: ignore[method-assign]


def main() -> int:
    import taximeter.adapters.node
    from taximeter.adapters.cli import main as taximeter

    BUGS[sys.argv.pop(1)]()
    return taximeter()


if __name__ == "__main__":
    sys.exit(main())
