"""
What just happened, in the words and the size of a screen: events with verdicts, decisions.

Senders choose ids, subjects and data freely and may make them long; what goes to a browser is cut
here, so that a message has a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from taximeter.adapters.console.rendering import short
from taximeter.events.envelope import Event, Rejection
from taximeter.ports import StoredEvent
from taximeter.services.feed import Decision, Seen, recent
from taximeter.services.tenant import Tenant

MAX_SHOWN = 24
_DATA_LENGTH = 120
_MAX_MEMBERS = 12
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Happening(msgspec.Struct, frozen=True):
    """
    One event, or one item that was refused.

    Attributes:
        verdict: `accepted`, `unmatched` (accepted, of a subject nobody claims), `duplicate`,
            `conflict`, `rejected`.
        position: Of the event; a duplicate or conflict shows the one it repeats. "" if rejected.
        text: Its data in a line, or why it was rejected.
    """

    verdict: str
    position: str
    id: str
    type: str
    subject: str
    customer: str | None
    text: str


class Choice(msgspec.Struct, frozen=True):
    """One answer of the gate."""

    customer: str
    feature: str
    allowed: bool
    reason: str
    amount: str


class Happenings:
    """Follows a namespace by looking, so that events cost nothing more for being watched."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._last_batch: object = None
        self._rejected = tenant.counts.rejected
        self.choices: deque[Choice] = deque(maxlen=MAX_SHOWN)
        self._mark()

    def now(self, customer: str | None = None) -> list[Happening]:
        """The last ones, newest first."""
        refused = [refusal(one) for one in reversed(self._tenant.rejections)]
        seen = [happening(one) for one in recent(self._tenant, 10 * MAX_SHOWN)]
        if customer is not None:
            return [one for one in seen if one.customer == customer][:MAX_SHOWN]
        return [*seen[: MAX_SHOWN - len(refused[:4])], *refused[:4]][:MAX_SHOWN]

    def fresh(self) -> list[Happening]:
        """Those since the last call, newest first, the newest ones if there are too many."""
        tenant = self._tenant
        seen = recent(tenant, MAX_SHOWN, self._last_batch)
        rejected = min(tenant.counts.rejected - self._rejected, len(tenant.rejections), 8)
        refused = [tenant.rejections[-1 - place] for place in range(rejected)]
        self._mark()
        return [*map(refusal, refused), *map(happening, seen)][:MAX_SHOWN]

    def decided(self, items: Iterable[Any]) -> list[Choice]:
        """Decisions among what a watcher has buffered, newest first."""
        fresh = [choice(item) for item in items if isinstance(item, Decision)]
        self.choices.extend(fresh)
        return fresh[: -MAX_SHOWN - 1 : -1]

    def _mark(self) -> None:
        self._last_batch = self._tenant.recent[-1] if self._tenant.recent else None
        self._rejected = self._tenant.counts.rejected


def happening(seen: Seen) -> Happening:
    verdict = "unmatched" if seen.verdict == "accepted" and not seen.customer else seen.verdict
    return _shown(verdict, seen.seq, seen.event, seen.customer)


def stored_happening(stored: StoredEvent, customer: str | None) -> Happening:
    """An event from the store; everything there was accepted."""
    return _shown("accepted" if customer else "unmatched", stored.seq, stored.event, customer)


def _shown(verdict: str, seq: int, event: Event, customer: str | None) -> Happening:
    return Happening(
        verdict=verdict,
        position=f"0:{seq}" if seq else "",
        id=short(event.id),
        type=short(event.type),
        subject=short(event.subject),
        customer=customer,
        text=short(_members(event.data), _DATA_LENGTH),
    )


def _members(data: Any) -> str:
    """The members of an event's data in a line: `model=opus input_tokens=812`."""
    if not isinstance(data, dict):
        return "" if data is None else _json(data)
    shown = list(data.items())[:_MAX_MEMBERS]
    return " ".join(
        f"{name}={value if isinstance(value, str) else _json(value)}" for name, value in shown
    )


def _json(value: Any) -> str:
    return _encode(value).decode()


def refusal(rejection: Rejection) -> Happening:
    return Happening(
        verdict="rejected",
        position="",
        id=short(rejection.id or ""),
        type=rejection.code,
        subject="",
        customer=None,
        text=short(rejection.detail, _DATA_LENGTH),
    )


def choice(decision: Decision) -> Choice:
    return Choice(
        short(decision.customer),
        short(decision.feature),
        decision.allowed,
        decision.reason,
        decision.amount,
    )
