"""
What clients do: debits, holds, grants and their ends, over a few wallets, on purpose near empty.

Half of the debits should find just enough or just too little, lots should expire while they are
held, and two clients should try to resolve one hold: that is where mistakes are.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.audit.amounts import E12, pico, plain

CREDIT = "usd"
COSTS = {"chat": "0.5", "image": "0.033"}
METERS = {"chat": "tokens", "image": "pixels"}
EVENT_TYPES = {"chat": "llm.request", "image": "image.made"}

CATALOG: dict[str, Any] = {
    "meters": {
        METERS[feature]: {
            "event_type": EVENT_TYPES[feature],
            "aggregation": "sum",
            "value": "data.n",
        }
        for feature in COSTS
    },
    "features": {feature: {"type": "metered", "meter": METERS[feature]} for feature in COSTS},
    "plans": {
        "paygo": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                feature: {"credit": CREDIT, "cost": cost} for feature, cost in COSTS.items()
            },
            "prices": {},
        }
    },
}

SHARES = {
    "consume": 34,
    "reserve": 16,
    "resolve": 18,
    "extend": 4,
    "grant": 9,
    "top_up": 2,
    "void": 1,
    "refund": 2,
    "transfer": 3,
    "event": 5,
    "balance": 2,
    "again": 3,
    "conflict": 1,
}
"""How often what is done; `resolve` is settle or release."""


@dataclass(frozen=True, slots=True)
class Request:
    """One operation, as it goes over the wire."""

    op: str
    kind: str
    wallet: str
    ask: dict[str, Any]
    method: str
    path: str
    body: dict[str, Any] | None
    key: bool = False  # sent with an Idempotency-Key
    repeat: str = ""


@dataclass(slots=True)
class _Open:
    """A hold somebody may resolve."""

    id: str
    wallet: str
    quantity: int


@dataclass
class _Known:
    """What a client process has learned about one wallet."""

    holds: deque[_Open] = field(default_factory=lambda: deque(maxlen=24))
    grants: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=24))


class Workload:
    """
    The operations of one client process; its lanes share it, so that they get in each other's way.

    Args:
        wallets: Customers' keys.
        now: The wall clock in microseconds, for instants in requests.
    """

    def __init__(self, seed: int, client: int, wallets: list[str], now: Any) -> None:
        self._draw = random.Random(f"{seed}/{client}")
        self._client = client
        self._wallets = wallets
        self._now = now
        self._made = 0
        self._known = {wallet: _Known() for wallet in wallets}
        self._accepted: deque[Request] = deque(maxlen=500)
        self._kinds = list(SHARES)
        self._weights = list(SHARES.values())

    def next(self) -> Request:
        """What to do next. Falls back to a grant or a debit when there is nothing to end."""
        draw = self._draw
        (choice,) = draw.choices(self._kinds, self._weights)
        wallet = self._wallets[int(len(self._wallets) * draw.random() ** 1.5)]
        self._made += 1
        op = f"c{self._client}-{self._made}"
        made: Request | None = getattr(self, f"_{choice}")(op, wallet)
        return made or self._consume(op, wallet)

    def learn(self, request: Request, status: int, answer: dict[str, Any]) -> None:
        """Remember what can be ended or repeated."""
        if request.repeat or not 200 <= status < 300 or answer.get("seq") is None:
            return
        known = self._known[request.wallet]
        match request.kind:
            case "reserve":
                hold = _Open(request.ask["id"], request.wallet, pico(answer["granted"]))
                known.holds.append(hold)
            case "grant" | "top_up":
                paid = request.kind == "top_up" or request.ask["paid"]
                known.grants.append((request.ask["id"], paid))
            case "extend":
                for hold in known.holds:
                    if hold.id == request.ask["hold"]:
                        hold.quantity += pico(request.ask["amount"])
        if "id" in request.ask:
            self._accepted.append(request)

    # --- debits ---

    def _consume(self, op: str, wallet: str) -> Request:
        feature, amount = self._feature(), self._units()
        ask = {"id": op, "feature": feature, "amount": amount}
        body = {"customer": wallet, "feature": feature, "amount": amount, "id": op}
        return Request(op, "consume", wallet, ask, "POST", "/v1/consume", body)

    def _event(self, op: str, wallet: str) -> Request:
        feature, amount = self._feature(), self._units()
        ask = {"id": op, "feature": feature, "amount": amount}
        body = {
            "id": op, "source": "audit", "type": EVENT_TYPES[feature], "subject": wallet,
            "data": {"n": amount},
        }  # fmt: skip
        return Request(op, "event", wallet, ask, "POST", "/v1/events?receipts=1", body)

    # --- holds ---

    def _reserve(self, op: str, wallet: str) -> Request:
        draw = self._draw
        feature, amount = self._feature(), self._units()
        ttl = draw.choice((1, 1, 2, 3, 8, 3600))
        partial = draw.random() < 0.25
        ask = {"id": op, "feature": feature, "amount": amount, "ttl": ttl, "partial": partial}
        body = {
            "customer": wallet, "feature": feature, "amount": amount, "id": op, "ttl_s": ttl,
            "allow_partial": partial,
        }  # fmt: skip
        return Request(op, "reserve", wallet, ask, "POST", "/v1/reservations", body)

    def _resolve(self, op: str, wallet: str) -> Request | None:
        hold = self._take_hold(wallet)
        if hold is None:
            return None
        if self._draw.random() < 0.2:
            ask: dict[str, Any] = {"hold": hold.id}
            path = f"/v1/reservations/{hold.id}/release"
            return Request(op, "release", wallet, ask, "POST", path, {}, key=True)
        amount, overage = self._used(hold)
        ask = {"hold": hold.id, "amount": amount, "overage": overage}
        body = {"amount": amount, "allow_overage": overage}
        path = f"/v1/reservations/{hold.id}/settle"
        return Request(op, "settle", wallet, ask, "POST", path, body, key=True)

    def _used(self, hold: _Open) -> tuple[str, bool]:
        """How much of a hold was really used, and whether more than it may be booked."""
        draw = self._draw.random()
        if draw < 0.3:
            return plain(hold.quantity), False
        if draw < 0.4:
            return plain(hold.quantity + self._draw.randrange(1, 5) * E12), True
        if draw < 0.45:
            return plain(hold.quantity + 1), False
        if draw < 0.5:
            return "0", False
        return plain(int(hold.quantity * self._draw.random())), False

    def _extend(self, op: str, wallet: str) -> Request | None:
        holds = self._known[wallet].holds
        if not holds:
            return None
        hold = self._draw.choice(holds)
        amount = "0" if self._draw.random() < 0.3 else self._units()
        ttl = self._draw.choice((1, 2, 3600))
        ask = {"hold": hold.id, "amount": amount, "ttl": ttl}
        path = f"/v1/reservations/{hold.id}/extend"
        body = {"amount": amount, "ttl_s": ttl}
        return Request(op, "extend", wallet, ask, "POST", path, body, key=True)

    def _take_hold(self, wallet: str) -> _Open | None:
        holds = self._known[wallet].holds
        if not holds:
            return None
        if self._draw.random() < 0.1:
            return self._draw.choice(holds)  # and leave it there: somebody else may try as well
        self._draw.shuffle(holds)
        return holds.pop()

    # --- credit ---

    def _grant(self, op: str, wallet: str) -> Request:
        draw, now = self._draw, self._now()
        amount = plain(draw.randrange(1, 30_000) * 10**9)
        begins = now + draw.randrange(100, 2_000) * 1000 if draw.random() < 0.1 else 0
        lives = draw.choice((0, 0, 500, 1_500, 4_000, 10_000))
        ends = max(begins, now) + (lives + draw.randrange(500)) * 1000 if lives else 0
        features = draw.choice(((), (), (), ("chat",), ("image",)))
        paid = draw.random() < 0.3
        ask = {
            "id": op, "amount": amount, "priority": draw.randrange(3), "effective_at": begins,
            "expires_at": ends, "features": features, "paid": paid,
        }  # fmt: skip
        body = {
            "id": op, "credit": CREDIT, "amount": amount, "priority": ask["priority"],
            "features": features, "kind": "paid" if paid else "promotional",
        }  # fmt: skip
        body |= {"effective_at": instant(begins)} if begins else {}
        body |= {"expires_at": instant(ends)} if ends else {}
        path = f"/v1/customers/{wallet}/grants"
        return Request(op, "grant", wallet, ask, "POST", path, body)

    def _top_up(self, op: str, wallet: str) -> Request:
        amount = plain(self._draw.randrange(1, 20) * E12)
        ask = {"id": op, "amount": amount, "expires_at": 0}
        body = {"id": op, "credit": CREDIT, "amount": amount}
        return Request(op, "top_up", wallet, ask, "POST", f"/v1/customers/{wallet}/top-ups", body)

    def _void(self, op: str, wallet: str) -> Request | None:
        grants = self._known[wallet].grants
        if not grants:
            return None
        grant, _ = self._draw.choice(grants)
        path = f"/v1/grants/{grant}/void"
        body = {"reason": "audit"}
        return Request(op, "void", wallet, {"grant": grant}, "POST", path, body, key=True)

    def _refund(self, op: str, wallet: str) -> Request | None:
        paid = [grant for grant, is_paid in self._known[wallet].grants if is_paid]
        if not paid:
            return None
        grant = self._draw.choice(paid)
        amount = plain(self._draw.randrange(1, 4_000) * 10**9)
        ask = {"id": op, "grant": grant, "amount": amount}
        body = {"id": op, "amount": amount, "reason": "audit"}
        return Request(op, "refund", wallet, ask, "POST", f"/v1/grants/{grant}/refund", body)

    def _transfer(self, op: str, wallet: str) -> Request | None:
        to = self._draw.choice(self._wallets)
        if to == wallet:
            return None
        amount = plain(self._draw.randrange(1, 8_000) * 10**9)
        ask = {"id": op, "to": to, "amount": amount}
        body = {"id": op, "to": to, "credit": CREDIT, "amount": amount}
        return Request(
            op, "transfer", wallet, ask, "POST", f"/v1/customers/{wallet}/transfers", body
        )

    # --- reading, and saying it again ---

    def _balance(self, op: str, wallet: str) -> Request:
        path = f"/v1/customers/{wallet}/balance?credit={CREDIT}"
        return Request(op, "balance", wallet, {}, "GET", path, None)

    def _again(self, op: str, wallet: str) -> Request | None:
        if not self._accepted:
            return None
        first = self._draw.choice(self._accepted)
        return Request(
            op, first.kind, first.wallet, first.ask, first.method, first.path, first.body,
            repeat="again",
        )  # fmt: skip

    def _conflict(self, op: str, wallet: str) -> Request | None:
        if not self._accepted:
            return None
        first = self._draw.choice(self._accepted)
        assert first.body is not None
        amount = plain(pico(first.ask["amount"]) + 1)
        changed = {"data": {"n": amount}} if first.kind == "event" else {"amount": amount}
        return Request(
            op, first.kind, first.wallet, first.ask | {"amount": amount}, first.method,
            first.path, first.body | changed, repeat="conflict",
        )  # fmt: skip

    # --- amounts ---

    def _feature(self) -> str:
        return "chat" if self._draw.random() < 0.6 else "image"

    def _units(self) -> str:
        """Between a crumb and what is more than most wallets hold; some with many digits."""
        if self._draw.random() < 0.1:
            return plain(self._draw.randrange(1, 20 * E12))
        return plain(int(80 ** self._draw.random()) * E12)


def instant(us: int) -> str:
    at = datetime.fromtimestamp(us // 1_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{us % 1_000_000:06d}Z"
