"""
Which items of a request may be counted: the time is acceptable (K16), the metered values are
quantities (K18). Only identity can still keep out what is admitted here.

A clean batch is looked at as a whole; if anything is wrong with it, item by item, so that each
rejected one has its own reason and its neighbours are not affected. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeGuard

import msgspec

from taximeter.corrections.facts import SOURCE
from taximeter.errors import Rejected
from taximeter.events.acceptance import IN_FUTURE, TOO_OLD, AcceptanceWindow, resolve_times
from taximeter.events.decode import Decoded
from taximeter.events.envelope import Event, Format, Rejection, Verdict
from taximeter.instants import format_instant
from taximeter.services.tenant import Tenant


class Outcome(msgspec.Struct, gc=False):
    """
    What was decided about one request.

    Attributes:
        verdicts: One `Verdict` value a byte, in the order of the request.
        seqs: Where each event stands in the log, 0 for rejected ones; a duplicate or conflict
            names the event it repeats.
        errors: Rejected and conflicting items.
        rejected_bodies: The rejected ones as received, in the order of `errors`.
        position: Seq of the newest event when the request was decided.
    """

    verdicts: bytes
    seqs: list[int]
    errors: list[Rejection]
    rejected_bodies: list[bytes]
    position: int

    def count(self, verdict: Verdict) -> int:
        return self.verdicts.count(verdict.value)


Answered = Callable[[Outcome, Exception | None], None]
"""Told the outcome once it is durable, or why there is none; never raises."""

_RESERVED: Final = f"Only a correction is an event of {SOURCE}; see /v1/events/retract and /amend."

UNREAD: Final = Decoded(b"", Format.OBJECT, [])


class Arrival(msgspec.Struct, gc=False):
    """A request waiting for its turn, which is at the end of the loop's present one or later."""

    tenant: Tenant
    body: bytes
    form: Format
    received_at: int
    backfill: bool
    answered: Answered
    decoded: Decoded = UNREAD


class Admissible(msgspec.Struct, gc=False):
    """
    Items that only their identity can still keep out, as parallel lists.

    Attributes:
        places: Of each, its index in the request.
    """

    places: Sequence[int]
    events: list[Event]
    times: list[int]
    values: list[tuple[Any, ...] | None]


def admit_together(arrivals: list[Arrival]) -> Admissible | None:
    """All items of clean bodies at once; None if any of them has to be looked at by itself."""
    if any(arrival.decoded.rejected for arrival in arrivals):
        return None
    first = arrivals[0]
    events = [event for arrival in arrivals for event in arrival.decoded.items]
    if _any_reserved(events):
        return None
    # They arrived within one turn of the loop; whoever sent no time has its own time of receipt.
    if len({arrival.received_at for arrival in arrivals}) > 1 and any(
        event.time is None for event in events
    ):
        times = [
            time
            for arrival in arrivals
            for time in resolve_times(arrival.decoded.items, arrival.received_at, _window(first))
        ]
    else:
        times = resolve_times(events, first.received_at, _window(first))
    if not _all_instants(times):
        return None
    try:
        return Admissible(range(len(events)), events, times, _measure(first.tenant, events))
    except Rejected:
        return None


def _window(arrival: Arrival) -> AcceptanceWindow:
    window = arrival.tenant.window
    return window.for_backfill() if arrival.backfill else window


def admit(arrival: Arrival) -> tuple[Admissible, list[Rejection]]:
    """Split items into those that may be counted and those that are rejected, with the reason."""
    tenant, decoded, received_at = arrival.tenant, arrival.decoded, arrival.received_at
    events = decoded.events
    times = resolve_times(events, received_at, _window(arrival))
    if decoded.rejected == 0 and _all_instants(times) and not _any_reserved(events):
        try:
            return Admissible(range(len(events)), events, times, _measure(tenant, events)), []
        except Rejected:
            pass  # some value is at fault: find out whose, one by one
    return _admit_each(decoded, tenant, times, received_at)


def _any_reserved(events: list[Event]) -> bool:
    """Whether one of them says that the node has made it."""
    return SOURCE in {event.source for event in events}


def _all_instants(times: list[Any]) -> TypeGuard[list[int]]:
    """Whether no item was given a rejection code in place of its instant."""
    return set(map(type, times)) <= {int}


def _measure(tenant: Tenant, events: list[Event]) -> list[tuple[Any, ...] | None]:
    programs = tenant.live.layout.programs
    if len(programs) == 1:
        ((name, program),) = programs.items()
        measure = program.measure
        return [measure(e) if e.type == name else None for e in events]
    measures = {name: program.measure for name, program in programs.items()}
    return [measures.get(event.type, _uncounted)(event) for event in events]


def _uncounted(_event: Event) -> None:
    """What measures events of a type that no meter selects."""


def _admit_each(
    decoded: Decoded, tenant: Tenant, times: list[int | str], received_at: int
) -> tuple[Admissible, list[Rejection]]:
    places: list[int] = []
    admissible = Admissible(places, [], [], [])
    errors: list[Rejection] = []
    resolved = iter(times)
    for index, item in enumerate(decoded.items):
        if isinstance(item, Rejection):
            errors.append(item)
            continue
        at = next(resolved)
        if item.source == SOURCE:
            errors.append(Rejection(index, item.id, "reserved_source", _RESERVED))
            continue
        if isinstance(at, str):
            errors.append(Rejection(index, item.id, at, _why(at, item, tenant, received_at)))
            continue
        try:
            values = _measure(tenant, [item])
        except Rejected as error:
            errors.append(Rejection(index, item.id, error.code, error.message))
            continue
        places.append(index)
        admissible.events.append(item)
        admissible.times.append(at)
        admissible.values += values
    return admissible, errors


def _why(code: str, event: Event, tenant: Tenant, received_at: int) -> str:
    window = tenant.window
    if code == TOO_OLD:
        earliest = format_instant(received_at - window.past_us)
        return f"{event.time} is before {earliest}, the earliest accepted; import it as a backfill."
    if code == IN_FUTURE:
        latest = format_instant(received_at + window.future_us)
        return f"{event.time} is after {latest}, the latest accepted; check the sender's clock."
    return f"{event.time!r} is no RFC 3339 instant with an offset, like 2026-11-20T10:00:00Z."
