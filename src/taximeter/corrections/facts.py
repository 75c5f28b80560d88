"""
Corrections as facts of the log.

A *retraction* is an event of the node's own: it names the seq of the event that counts no more, and
says who took it back and why. A *replacement* is an event that stands in for another one: same
type, subject and time, other data. An amendment is both, side by side in one entry, so that no
reader of the log ever sees half of it.

An event is taken back at most once and replaced at most once, so their ids follow from its seq: the
identity index (K11) then keeps two corrections of one event apart, whoever comes first. What was
replaced can be corrected again through its replacement.

The log's retraction also holds what it takes back, so that live state stays a fold of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from taximeter.events.envelope import Event
from taximeter.instants import format_instant, parse_instant

SOURCE: Final = "taximeter/corrections"
RETRACTION: Final = "taximeter.retraction"
MAX_CHANGES: Final = 10_000
"""Events that one correction, and so one entry of the log, can take back or replace."""

_RETRACT: Final = "retract:"
_REPLACE: Final = "replace:"


class Why(msgspec.Struct, frozen=True):
    """
    Attributes:
        correction: Id of the correction this is a part of.
        by: Key id of who made it.
    """

    correction: str
    by: str
    reason: str


class Change(msgspec.Struct, frozen=True):
    """
    What a correction does about one event.

    Attributes:
        seq: Of the event; it is what a replacement stands in for.
        event: The event as it was accepted.
        at: Its instant.
        retract: It counted until now, and does no more. Without it, it was taken back before.
        data: Of its replacement; UNSET for none. One of the two is always asked for.
    """

    seq: int
    event: Event
    at: int
    retract: bool = True
    data: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def replacement(self) -> Event | None:
        """The event that stands in for it, not yet checked against any bounds."""
        if self.data is msgspec.UNSET:
            return None
        return Event(
            id=replacement_id(self.seq),
            type=self.event.type,
            subject=self.event.subject,
            source=SOURCE,
            time=format_instant(self.at),
            data=self.data,
        )

    def facts(self, why: Why) -> list[Event]:
        """What the log is to hold, in order: at most a retraction and a replacement."""
        made = [_retraction(self, why)] if self.retract else []
        replacement = self.replacement
        return made if replacement is None else [*made, replacement]


def _retraction(change: Change, why: Why) -> Event:
    event = change.event
    return Event(
        id=retraction_id(change.seq),
        type=RETRACTION,
        subject=event.subject,
        source=SOURCE,
        data={
            "seq": change.seq,
            "source": event.source,
            "id": event.id,
            "reason": why.reason,
            "by": why.by,
            "correction": why.correction,
            "event": {"type": event.type, "time": format_instant(change.at), "data": event.data},
        },
    )


def retraction_id(seq: int) -> str:
    """Identity, under `SOURCE`, of the retraction of an event."""
    return f"{_RETRACT}{seq}"


def replacement_id(seq: int) -> str:
    """Identity, under `SOURCE`, of what stands in for an event."""
    return f"{_REPLACE}{seq}"


def retracts(fact_id: str) -> int:
    """The seq that a fact of a correction takes back; 0 if it takes back none."""
    return int(fact_id.removeprefix(_RETRACT)) if fact_id.startswith(_RETRACT) else 0


def replaces(fact_id: str) -> int:
    """The seq that a fact of a correction stands in for; 0 if it stands in for none."""
    return int(fact_id.removeprefix(_REPLACE)) if fact_id.startswith(_REPLACE) else 0


def why_of(retraction: Event) -> Why:
    data = retraction.data or {}
    return Why(data["correction"], data["by"], data["reason"])


class Fact(NamedTuple):
    """
    One fact of an entry, to be folded.

    Attributes:
        seq: That it takes back or stands in for.
        event: What counts no more if `taken_back`, else what counts from now on.
        at: The instant it counts at, or did.
    """

    seq: int
    event: Event
    at: int
    taken_back: bool


def facts_of(events: Sequence[Event]) -> Iterator[Fact]:
    """The facts of the events of one entry, in order."""
    for event in events:
        seq = retracts(event.id)
        if not seq:
            assert event.time is not None, "a replacement has a time"
            yield Fact(replaces(event.id), event, parse_instant(event.time), taken_back=False)
            continue
        assert event.data is not None, "a retraction says what it takes back"
        held = event.data["event"]
        original = Event(
            id=event.data["id"],
            type=held["type"],
            subject=event.subject,
            source=event.data["source"],
            time=held["time"],
            data=held["data"],
        )
        yield Fact(seq, original, parse_instant(held["time"]), taken_back=True)
