"""
A right server in one process and virtual time, to try the judge on: it makes a history.

Operations overlap like those of a few lanes: each begins before the ones before it are over, and is
done at some instant in between. What they are answered is worked out with the auditor's own
wallet, so this says nothing about the wallet; `test_wallet` does.
"""

from __future__ import annotations

import random
from typing import Any

from tests.audit.amounts import pico, plain
from tests.audit.judge import RESOLVED, affordable, cost_of
from tests.audit.record import Record
from tests.audit.wallet import NEVER, Hold, Lot, Wallet
from tests.audit.workload import Request, Workload, instant

BASE = 1_790_000_000_000_000
STEP = 8_000
WALLETS = ["w0", "w1", "w2"]


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class StandIn:
    """
    The state of the server.

    Attributes:
        answers: First requests and what they were told, by identifier.
        booked_at: Seq -> instant of the usage events.
    """

    def __init__(self) -> None:
        self.wallets = {name: Wallet() for name in WALLETS}
        self.seq = 0
        self.answers: dict[str, tuple[Request, dict[str, Any]]] = {}
        self.booked_at: dict[int, int] = {}

    def answer(self, request: Request, at: int) -> tuple[int, dict[str, Any]]:
        for wallet in self.wallets.values():
            wallet.advance(at)
        name = request.ask.get("id")
        if name in self.answers:
            first, said = self.answers[name]
            return self._known(request, first, said)
        try:
            said = getattr(self, f"_{request.kind}")(self.wallets[request.wallet], request.ask)
        except Refused as refused:
            return refused.status, {"code": refused.code, "as_of": self._as_of()}
        if request.kind == "balance":
            return 200, said | {"as_of": self._as_of()}
        if said.get("allowed") is False:
            return 200, said | {"as_of": self._as_of(), "seq": None}
        self.seq += 1
        said |= {"seq": self.seq}
        if request.kind == "event":
            self.booked_at[self.seq] = at
        if name is not None:
            self.answers[name] = request, said
        return 200, said

    def _known(
        self, request: Request, first: Request, said: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if request.kind == "event":
            status = "duplicate" if request.body == first.body else "conflict"
            return 200, said | {"status": status}
        if request.body == first.body:
            return 200, said
        return 409, {"code": "event_conflict"}

    def _as_of(self) -> dict[str, str]:
        return {"position": f"0:{self.seq}"}

    def _after(self, wallet: Wallet, **more: Any) -> dict[str, Any]:
        numbers = {"balance_after": wallet.balance, "available_after": wallet.available}
        return {name: plain(amount) for name, amount in numbers.items()} | more

    def _consume(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        cost = cost_of(ask["feature"], ask["amount"])
        if cost > wallet.usable(ask["feature"]):
            return {"allowed": False, "reason": "insufficient_credit"}
        wallet.spend(cost, ask["feature"])
        return self._after(wallet, allowed=True)

    def _event(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        wallet.use(cost_of(ask["feature"], ask["amount"]), ask["feature"])
        return {"status": "accepted"}

    def _reserve(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        granted, feature = ask["amount"], ask["feature"]
        usable = wallet.usable(feature)
        if cost_of(feature, granted) > usable:
            most = affordable(feature, usable)
            if not most or not ask["partial"]:
                raise Refused(402, "insufficient_credit")
            granted = plain(most)
        expires_at = wallet.at + ask["ttl"] * 1_000_000
        hold = Hold(ask["id"], feature, pico(granted), expires_at)
        wallet.hold(hold, cost_of(feature, granted))
        return self._after(wallet, granted=granted, expires_at=instant(expires_at))

    def _open(self, wallet: Wallet, hold_id: str) -> Hold:
        if hold_id not in wallet.holds:
            raise Refused(409, RESOLVED[wallet.resolved[hold_id]])
        return wallet.holds[hold_id]

    def _settle(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        hold = self._open(wallet, ask["hold"])
        if pico(ask["amount"]) > hold.quantity and not ask["overage"]:
            raise Refused(422, "exceeds_reservation")
        cost = cost_of(hold.feature, ask["amount"])
        wallet.settle(hold, min(cost, hold.amount) if not ask["overage"] else cost)
        return self._after(wallet, status="settled")

    def _release(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        wallet.release(self._open(wallet, ask["hold"]))
        return self._after(wallet, status="released")

    def _extend(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        hold = self._open(wallet, ask["hold"])
        more = pico(ask["amount"])
        cost = cost_of(hold.feature, ask["amount"])
        if cost > wallet.usable(hold.feature):
            raise Refused(402, "insufficient_credit")
        hold.quantity += more
        hold.expires_at = wallet.at + ask["ttl"] * 1_000_000
        wallet.hold(hold, cost)
        return self._after(wallet, expires_at=instant(hold.expires_at))

    def _grant(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        if 0 < ask["expires_at"] <= wallet.at:
            raise Refused(422, "invalid_request")
        wallet.grant(
            Lot(
                ask["id"],
                pico(ask["amount"]),
                ask.get("priority", 0),
                ask.get("effective_at") or wallet.at,
                ask["expires_at"] or NEVER,
                tuple(ask.get("features", ())),
                ask.get("paid", True),
            )
        )
        return self._after(wallet)

    _top_up = _grant

    def _void(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        lot = wallet.known[ask["grant"]]
        if wallet.is_over(lot):
            raise Refused(409, "grant_ended")
        gone = wallet.void(lot)
        return self._after(wallet, voided=plain(gone))

    def _refund(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        lot = wallet.known[ask["grant"]]
        if pico(ask["amount"]) > wallet.refundable(lot):
            raise Refused(409, "insufficient_credit")
        wallet.refund(lot, pico(ask["amount"]))
        return self._after(wallet)

    def _transfer(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        amount, target = pico(ask["amount"]), self.wallets[ask["to"]]
        if amount > wallet.usable(None):
            raise Refused(409, "insufficient_credit")
        wallet.move(amount, target, ask["id"])
        return self._after(wallet, to_balance_after=plain(target.balance))

    def _balance(self, wallet: Wallet, ask: dict[str, Any]) -> dict[str, Any]:
        numbers = {
            "balance": wallet.balance,
            "available": wallet.available,
            "reserved": wallet.reserved,
        }
        return {name: plain(amount) for name, amount in numbers.items()}


def history(operations: int, seed: int = 1) -> tuple[list[Record], dict[int, int]]:
    """
    A right server at work.

    Returns:
        Records in the order in which they were answered, and seq -> instant of the usage events.
    """
    draw = random.Random(seed)
    server, now = StandIn(), BASE
    workload = Workload(seed, 0, WALLETS, lambda: now)
    records = []
    for _ in range(operations):
        now += draw.randrange(1, STEP)
        request = workload.next()
        started, ended = now - draw.randrange(3 * STEP), now + draw.randrange(3 * STEP)
        status, answer = server.answer(request, now)
        workload.learn(request, status, answer)
        records.append(
            Record(
                request.op, request.kind, request.wallet, request.ask, started, ended, started, 1,
                status, answer, request.repeat,
            )
        )  # fmt: skip
    return sorted(records, key=lambda record: record.ended), server.booked_at
