"""
What one client sends: a pure function of the seed, the client's number and the base instant.

A client sends one request at a time and repeats it until it is answered, so each identity has a
known first content, and what is a repeat or a conflict is certain when it is sent.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

CUSTOMERS = 12
MAX_BATCH = 500
REPEATS = 0.10
CONFLICTS = 0.02
REJECTED = 0.01
LATE = 0.05
MODELS = ("opus", "sonnet", "haiku")

CATALOG: dict[str, Any] = {
    "meters": {
        "requests": {"aggregation": "count"},
        "input_tokens": {"aggregation": "sum", "value": "data.input_tokens"},
        "cost": {"aggregation": "sum", "value": "data.cost"},
        "peak": {"aggregation": "max", "value": "data.input_tokens"},
        "users": {"aggregation": "unique", "value": "data.user"},
    },
    "features": {"chat": {"type": "metered", "meter": "input_tokens"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {"chat": {"limit": 10**15, "enforcement": "hard", "reset": "period"}},
            "prices": {},
        }
    },
}
for _meter in CATALOG["meters"].values():
    _meter |= {"event_type": "llm.request", "dimensions": {"model": "data.model"}}


class Kind(StrEnum):
    """Why an item is sent, which fixes the verdict it must get."""

    NEW = "new"
    REPEAT = "repeat"
    CONFLICT = "conflict"
    TOO_OLD = "too_old"


@dataclass(frozen=True)
class Item:
    """One event of a request, as the JSON text that is sent."""

    kind: Kind
    text: str


def customer(number: int) -> str:
    return f"customer-{number}"


def customers() -> list[str]:
    return [customer(number) for number in range(CUSTOMERS)]


def alias(key: str) -> str:
    """The second subject by which events name a customer."""
    return f"user-of-{key}"


class Workload:
    """
    The requests of one client, in order.

    Args:
        base: Events are dated before this instant: the last hour, or up to 80 days if late.
    """

    def __init__(self, seed: int, client: int, base: datetime) -> None:
        self._random = random.Random(f"{seed}/{client}")
        self._client = client
        self._base = base
        self._made = 0
        self._first_texts: list[str] = []  # of every new event, in the order of sending

    def next_request(self) -> list[Item]:
        """Between 1 and 500 items; small requests are as likely as large ones."""
        size = int(MAX_BATCH ** self._random.random())
        return [self._item() for _ in range(size)]

    def _item(self) -> Item:
        draw = self._random.random()
        if draw < REJECTED:
            return Item(Kind.TOO_OLD, self._event(days=self._random.uniform(100, 200)))
        draw -= REJECTED
        if self._first_texts and draw < CONFLICTS:
            return Item(Kind.CONFLICT, self._altered(self._random.choice(self._first_texts)))
        draw -= CONFLICTS
        if self._first_texts and draw < REPEATS:
            return Item(Kind.REPEAT, self._random.choice(self._first_texts))
        late = self._random.random() < LATE
        days = self._random.uniform(1, 80) if late else self._random.uniform(0, 1 / 24)
        text = self._event(days=days)
        self._first_texts.append(text)
        return Item(Kind.NEW, text)

    def _event(self, days: float) -> str:
        draw = self._random
        self._made += 1
        key = customer(draw.randrange(CUSTOMERS))
        time = (self._base - timedelta(days=days)).astimezone(UTC)
        return encode(
            id=f"event-{self._made}",
            source=f"client-{self._client}",
            subject=draw.choice((key, alias(key))),
            time=time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            model=draw.choice(MODELS),
            input_tokens=draw.randrange(1, 100_000),
            cost=f"{draw.randrange(10)}.{draw.randrange(1, 10**9):09d}",
            user=f"u{draw.randrange(1000)}",
        )

    def _altered(self, text: str) -> str:
        """The same identity with another quantity."""
        event = json.loads(text, parse_float=str)
        data = event["data"] | {"input_tokens": event["data"]["input_tokens"] + 1}
        del event["data"], event["type"]
        return encode(**event, **data)


def encode(
    *,
    id: str,
    source: str,
    subject: str,
    time: str,
    model: str,
    input_tokens: int,
    cost: str,
    user: str,
) -> str:
    """JSON by hand, because the standard library cannot write an exact decimal number."""
    return (
        f'{{"id":"{id}","source":"{source}","type":"llm.request","subject":"{subject}",'
        f'"time":"{time}","data":{{"model":"{model}","input_tokens":{input_tokens},'
        f'"cost":{cost},"user":"{user}"}}}}'
    )
