"""
The one writer: what is decided about each event, in order, in memory, without a pause.

`Sequencer.ingest` runs from the first look at a decoded batch to its place in the next frame
without yielding, so identity, counters and log can never disagree, and no lock exists. The caller
acknowledges when the returned future says the frame is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeGuard

import msgspec
import numpy as np

from taximeter.errors import Rejected
from taximeter.events.acceptance import IN_FUTURE, TOO_OLD, resolve_times
from taximeter.events.decode import Decoded, decode
from taximeter.events.entry import KIND_EVENTS, Entry
from taximeter.events.envelope import Event, Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.instants import format_instant
from taximeter.services.committer import Committer
from taximeter.services.tenant import Tenant

ACCEPTED = Verdict.ACCEPTED.value
CONFLICT = Verdict.CONFLICT.value
REJECTED = Verdict.REJECTED.value


class Identities(Protocol):
    """The index of everything accepted within the acceptance window."""

    def decide(self, keys: Any, fingerprints: Any, next_seq: int) -> tuple[Any, Any]: ...
    def lookup(self, key: Any) -> tuple[int, int] | None: ...


class Outcome(msgspec.Struct, gc=False):
    """
    What became of one request.

    Attributes:
        verdicts: One `Verdict` value a byte, in the order of the request.
        seqs: Where each event stands in the log, 0 for rejected ones; a duplicate or conflict
            names the event it repeats.
        errors: Rejected and conflicting items.
        position: Seq of the newest event sequenced so far.
        durable: Resolves when all of it is on disk.
    """

    verdicts: bytes
    seqs: list[int]
    errors: list[Rejection]
    rejected_bodies: list[bytes]
    position: int
    durable: asyncio.Future[int]

    def count(self, verdict: Verdict) -> int:
        return self.verdicts.count(verdict.value)


class Admissible(msgspec.Struct, gc=False):
    """Items that only their identity can still keep out, as parallel lists."""

    places: Sequence[int]
    events: list[Event]
    times: list[int]
    values: list[tuple[Any, ...] | None]


class Sequencer:
    """
    Decides, folds and hands over to the committer.

    Args:
        position: Seq of the last event in the log.
        on_batch: Told (tenant, events, verdicts, seqs) of each request, to feed live views.
    """

    def __init__(
        self,
        index: Identities,
        committer: Committer,
        position: int,
        on_batch: Callable[[Tenant, list[Event], bytes, list[int]], None],
    ) -> None:
        self._index = index
        self._committer = committer
        self._on_batch = on_batch
        self.position = position
        self.idle_entries = 0  # entries without accepted events since the last accepted one

    def ingest(
        self, tenant: Tenant, body: bytes, form: Format, received_at: int, *, backfill: bool = False
    ) -> Outcome:
        """
        Decide every item of a body and queue it for the log.

        Args:
            backfill: An explicit import: the past bound of the acceptance window is lifted (K16).

        Raises:
            Rejected: The body as a whole is no event; nothing was counted or stored.
            Unavailable: The log cannot take it now; nothing was counted or stored.
        """
        self._committer.admit()
        decoded = decode(body, form)
        received = len(decoded.items)
        tenant.counts.received += received
        admissible, errors = _admit(decoded, tenant, received_at, backfill)
        verdicts = bytearray([REJECTED]) * received
        seqs = [0] * received
        self._decide(tenant, admissible, verdicts, seqs, errors)
        return self._log(tenant, decoded, body, form, received_at, verdicts, seqs, errors)

    def peek(self, keys: Any, fingerprints: Any) -> tuple[Verdict, int]:
        """What would be decided about one identity, and the seq of the event it repeats."""
        found = self._index.lookup(keys[0])
        if found is None:
            return Verdict.ACCEPTED, 0
        seq, fingerprint = found
        same = fingerprint == int(fingerprints[0])
        return (Verdict.DUPLICATE if same else Verdict.CONFLICT), seq

    def accept_one(
        self, tenant: Tenant, event: Event, keys: Any, fingerprints: Any, at: int
    ) -> int:
        """
        Accept an event of the node's own, whose identity `peek` found to be new.

        Returns:
            Its seq. The caller submits the entry without yielding before.

        Raises:
            Rejected: `invalid_quantity`; nothing was changed.
        """
        program = tenant.live.layout.programs.get(event.type)
        values = program.measure(event) if program is not None else None
        _, seqs = self._index.decide(keys, fingerprints, self.position + 1)
        self.position += 1
        self.idle_entries = 0
        assert int(seqs[0]) == self.position, "peek said it is new"
        tenant.counts.received += 1
        tenant.counts.accepted += 1
        tenant.live.fold(event, at, values)
        self._on_batch(tenant, [event], b"\x00", [self.position])
        return self.position

    def _decide(
        self,
        tenant: Tenant,
        admissible: Admissible,
        verdicts: bytearray,
        seqs: list[int],
        errors: list[Rejection],
    ) -> None:
        events = admissible.events
        if not events:
            return
        keys, fingerprints = identities(tenant.seed, events, admissible.times)
        decided, places = self._index.decide(keys, fingerprints, self.position + 1)
        accepted = int(np.count_nonzero(decided == ACCEPTED))
        self.position += accepted
        item_verdicts = decided.tobytes()
        item_seqs = places.tolist()
        if len(events) == len(seqs):
            verdicts[:] = item_verdicts
            seqs[:] = item_seqs
        else:
            for place, verdict, seq in zip(
                admissible.places, item_verdicts, item_seqs, strict=True
            ):
                verdicts[place] = verdict
                seqs[place] = seq
        _fold(tenant, admissible, item_verdicts)
        if accepted != len(events):
            errors += _conflicts(admissible, item_verdicts, item_seqs)
            errors.sort(key=lambda error: error.index)
        self._on_batch(tenant, events, item_verdicts, item_seqs)

    def _log(
        self,
        tenant: Tenant,
        decoded: Decoded,
        body: bytes,
        form: Format,
        received_at: int,
        verdicts: bytearray,
        seqs: list[int],
        errors: list[Rejection],
    ) -> Outcome:
        stored = bytes(verdicts)
        counts = tenant.counts
        accepted = stored.count(ACCEPTED)
        rejected = stored.count(REJECTED)
        conflicts = stored.count(CONFLICT)
        counts.accepted += accepted
        counts.rejected += rejected
        counts.conflicts += conflicts
        counts.duplicates += len(stored) - accepted - rejected - conflicts
        self.idle_entries = 0 if accepted else self.idle_entries + 1
        if not accepted:
            # Nothing new: the verdicts are kept for the counts, the bytes are known already.
            body, form = b"", Format.LINES
        elif rejected:
            body, form = _without_rejected(decoded, stored), Format.LINES
        entry = Entry(tenant.name, received_at, form, stored, body, KIND_EVENTS)
        bodies = [decoded.raw(e.index) for e in errors if stored[e.index] == REJECTED]
        return Outcome(stored, seqs, errors, bodies, self.position, self._committer.submit(entry))


def _admit(
    decoded: Decoded, tenant: Tenant, received_at: int, backfill: bool
) -> tuple[Admissible, list[Rejection]]:
    """Split items into those that may be counted and those that are rejected, with the reason."""
    events = decoded.events
    window = tenant.window.for_backfill() if backfill else tenant.window
    times = resolve_times(events, received_at, window)
    if decoded.rejected == 0 and _all_instants(times):
        try:
            return Admissible(range(len(events)), events, times, _measure(tenant, events)), []
        except Rejected:
            pass  # some value is at fault: find out whose, one by one
    return _admit_each(decoded, tenant, times, received_at)


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


def _fold(tenant: Tenant, admissible: Admissible, verdicts: bytes) -> None:
    live = tenant.live
    find = live.by_subject.get
    add_by_type = {name: program.add for name, program in live.layout.programs.items()}
    for event, at, values, verdict in zip(
        admissible.events, admissible.times, admissible.values, verdicts, strict=True
    ):
        if verdict:
            continue
        account = find(event.subject)
        if (
            values is not None
            and account is not None
            and account.period_start <= at < account.period_end
        ):
            # What `LiveState.fold` does for nearly every event, without the call.
            add_by_type[event.type](account.cells, values, at, event.id)
        else:
            live.fold(event, at, values)


def _conflicts(admissible: Admissible, verdicts: bytes, seqs: list[int]) -> list[Rejection]:
    return [
        Rejection(
            place,
            event.id,
            "event_conflict",
            f"An event with this source and id but other content is at position 0:{seq}.",
        )
        for place, event, verdict, seq in zip(
            admissible.places, admissible.events, verdicts, seqs, strict=True
        )
        if verdict == CONFLICT
    ]


def _without_rejected(decoded: Decoded, verdicts: bytes) -> bytes:
    """The items as lines, `null` in place of a rejected one: it lies with the dead letters."""
    return b"\n".join(
        b"null" if verdict == REJECTED else decoded.raw(index).replace(b"\n", b" ")
        for index, verdict in enumerate(verdicts)
    )
