"""
Two customers of Lumen who pay in advance: every answer is a reservation while its tokens stream.

Quill's wallet tops itself up; Ember's runs dry, is refused in the middle of an answer, and is paid
for half a minute later.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from taximeter.adapters.client import Client
from taximeter.errors import Refused, TaximeterError

BLOCK = 400  # tokens that are held at a time
LONGEST = 2400
TOKENS_A_TICK = 90
TTL_S = 30
PAYS_AFTER_TICKS = 150


class Writer(msgspec.Struct, frozen=True):
    """
    A customer who pays in advance.

    Attributes:
        streams: How many answers it reads at the same time.
        opening: What it has paid at the beginning, in usd.
        tops_up: By itself, before it runs dry.
    """

    key: str
    name: str
    streams: int
    opening: str
    tops_up: bool


WRITERS = (
    Writer("quill", "Quill Notes (tops up by itself)", 3, "6", True),
    Writer("ember", "Ember Chat (runs dry, then pays)", 2, "3", False),
)


def set_up(client: Client) -> None:
    """Customers, subscriptions, what they have paid, and who is told when it runs low."""
    for writer in WRITERS:
        path = f"/v1/customers/{writer.key}"
        client.put(path, {"name": writer.name})
        client.post("/v1/subscriptions", {"customer": writer.key, "plan": "prepaid"})
        gift = {"id": f"{writer.key}-welcome", "credit": "usd", "amount": "1", "priority": -1}
        client.post(f"{path}/grants", gift)
        order = {"id": f"{writer.key}-order-1", "credit": "usd", "amount": writer.opening}
        client.post(f"{path}/top-ups", order)
        if writer.tops_up:
            rule = {"below": "2", "amount": "5", "max_per_day": 10_000, "lifetime_s": 3600}
            client.put(f"{path}/auto-top-ups/usd", rule)
        daily = {"credit": "usd", "limit": "500", "reset": "day", "enforcement": "soft"}
        client.put(f"{path}/budgets/daily", daily)
    client.put(
        "/v1/alerts/credit-low",
        {"on": "balance", "customer": "ember", "credit": "usd", "thresholds": ["1", "0.2"]},
    )
    client.put("/v1/alerts/plan-80", {"on": "usage", "feature": "chat", "thresholds": ["80%"]})


class _Stream(msgspec.Struct):
    """An answer that is being written."""

    id: str
    length: int
    held: int
    written: int = 0


class Streams:
    """What one writer's gateway does, tick by tick."""

    def __init__(self, client: Client, writer: Writer, run: str, rng: random.Random) -> None:
        self._client = client
        self._writer = writer
        self._run = f"{run}-{writer.key}"
        self._rng = rng
        self._open: list[_Stream] = []
        self._number = 0
        self._dry_for = 0

    def tick(self) -> None:
        """Begin an answer, write on at those that are open, and pay when it is time to."""
        try:
            if self._dry_for:
                self._wait()
            elif len(self._open) < self._writer.streams and self._rng.randrange(3) == 0:
                self._begin()
            for stream in list(self._open):
                self._write(stream)
        except Refused:
            self._dry_for = 1
        except TaximeterError:
            self._open.clear()  # the server is away: what was held lapses by itself

    def _begin(self) -> None:
        self._number += 1
        stream = _Stream(f"{self._run}-{self._number}", self._rng.randrange(300, LONGEST), BLOCK)
        body: dict[str, Any] = {
            "customer": self._writer.key,
            "feature": "write",
            "amount": BLOCK,
            "id": stream.id,
            "ttl_s": TTL_S,
            "scope": {"user": f"u{self._rng.randrange(6)}"},
        }
        self._client.post("/v1/reservations", body)
        self._open.append(stream)

    def _write(self, stream: _Stream) -> None:
        stream.written = min(stream.length, stream.written + TOKENS_A_TICK)
        is_over = stream.written >= stream.length
        if not is_over and stream.written + TOKENS_A_TICK > stream.held:
            is_over = not self._extend(stream)
        if is_over:
            self._open.remove(stream)
            used = {"amount": min(stream.written, stream.held)}
            self._client.post(f"/v1/reservations/{stream.id}/settle", used)

    def _extend(self, stream: _Stream) -> bool:
        """Hold the next block; without credit the answer is cut here."""
        more = {"ttl_s": TTL_S, "amount": BLOCK}
        try:
            self._client.post(f"/v1/reservations/{stream.id}/extend", more)
        except Refused:
            self._dry_for = 1
            return False
        stream.held += BLOCK
        return True

    def _wait(self) -> None:
        """Somebody notices, and pays."""
        self._dry_for += 1
        if self._dry_for < PAYS_AFTER_TICKS:
            return
        self._dry_for = 0
        self._number += 1
        order = {"id": f"{self._run}-order-{self._number}", "credit": "usd", "amount": "3"}
        self._client.post(f"/v1/customers/{self._writer.key}/top-ups", order)
