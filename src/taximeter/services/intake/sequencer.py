"""
The one writer: what is decided about each event, in order, in memory, without a pause.

From identity to the place in the next frame nothing yields, so identity, counters and log can never
disagree, and no lock exists. A request is acknowledged when its frame is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from taximeter.corrections.facts import retracts
from taximeter.events.decode import Decoded, decode
from taximeter.events.entry import KIND_EVENTS, Entry
from taximeter.events.envelope import Event, Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.events.replay import stored_times
from taximeter.gate.effects import Burn, Caused, Effect, Reverse, Settle, encode_effects
from taximeter.live.corrected import fold_correction
from taximeter.services.intake.admission import (
    UNREAD,
    Admissible,
    Answered,
    Arrival,
    Outcome,
    admit,
    admit_together,
)
from taximeter.services.intake.committer import Committer
from taximeter.services.tenant import Tenant

EVENTS_PER_TURN = 100
_NOTHING = Outcome(b"", [], [], [], 0)

ACCEPTED = Verdict.ACCEPTED.value
DUPLICATE = Verdict.DUPLICATE.value
CONFLICT = Verdict.CONFLICT.value
REJECTED = Verdict.REJECTED.value


class Identities(Protocol):
    """The index of everything accepted within the acceptance window."""

    def decide(self, keys: Any, fingerprints: Any, next_seq: int) -> tuple[Any, Any]: ...
    def lookup(self, key: Any) -> tuple[int, int] | None: ...


class CorrectionStep(NamedTuple):
    """
    Attributes:
        first_seq: Of its first fact.
        effects: All it did to credits, in order.
        again: Customers whose history has to be folded again.
    """

    first_seq: int
    effects: list[Effect]
    again: set[str]


class Sequencer:
    """
    Decides, folds and hands over to the committer.

    Requests that arrive in one turn of the event loop are decided together: most of the cost of
    deciding one event is the same for thirty.

    Args:
        position: Seq of the last event in the log.
        on_batch: Told (tenant, events, verdicts, seqs) of what was decided, to feed live views.
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
        self._arrivals: deque[Arrival] = deque()
        self.position = position
        self.idle_entries = 0  # entries without accepted events since the last accepted one
        self.on_touched: Callable[[Tenant], None] | None = None
        self.on_fired: Callable[[], None] | None = None

    def enqueue(
        self,
        tenant: Tenant,
        body: bytes,
        form: Format,
        received_at: int,
        answered: Answered,
        *,
        backfill: bool = False,
    ) -> None:
        """
        Take a body, to be read and decided in order of arrival.

        Args:
            answered: Told `Rejected` if the body as a whole is no event: nothing of it was counted
                or stored.
            backfill: An explicit import: the past bound of the acceptance window is lifted (K16).

        Raises:
            Unavailable: The log cannot take it now; nothing was counted or stored.
        """
        self._committer.admit()
        if not self._arrivals:
            asyncio.get_running_loop().call_soon(self._decide_arrivals)
        self._arrivals.append(Arrival(tenant, body, form, received_at, backfill, answered))

    def peek(self, keys: Any, fingerprints: Any) -> tuple[Verdict, int]:
        """What would be decided about one identity, and the seq of the event it repeats."""
        found = self._index.lookup(keys[0])
        if found is None:
            return Verdict.ACCEPTED, 0
        seq, fingerprint = found
        same = fingerprint == int(fingerprints[0])
        return (Verdict.DUPLICATE if same else Verdict.CONFLICT), seq

    def accept_one(
        self,
        tenant: Tenant,
        event: Event,
        identity: tuple[Any, Any],
        at: int,
        effects: Sequence[Effect] = (),
        *,
        is_usage: bool,
        is_paid: bool = False,
    ) -> tuple[int, list[Effect]]:
        """
        Accept an event of the node's own, whose identity `peek` found to be new, and apply what
        else it does.

        Args:
            identity: Its key and fingerprint.
            effects: Applied before the event is counted: a hold ends before its usage is spent.
            is_usage: Whether it is counted, or is a command in the form of an event.
            is_paid: Whether something else has paid for it: a hold pays when it is settled.

        Returns:
            Its seq and all its effects. The caller submits the entry without yielding before.

        Raises:
            Rejected: `invalid_quantity`; nothing was changed.
        """
        live = tenant.live
        values = None
        if is_usage:
            program = live.layout.programs.get(event.type)
            values = program.measure(event) if program is not None else None
        _, seqs = self._index.decide(*identity, self.position + 1)
        self.position += 1
        self.idle_entries = 0
        seq = self.position
        assert int(seqs[0]) == seq, "peek said it is new"
        applied = list(effects)
        if is_usage:
            tenant.counts.received += 1
            tenant.counts.accepted += 1
            caused = live.fold(event, at, values, at, seq)
            if is_paid or any(isinstance(effect, Settle) for effect in applied):
                caused = [one for one in caused if not isinstance(one, Burn)]
            applied += caused
            self._on_batch(tenant, [event], b"\x00", [seq])
        live.apply(applied, at, seq)
        self.tell_touched(tenant)
        return seq, applied

    def accept_correction(
        self,
        tenant: Tenant,
        facts: list[Event],
        reversals: Mapping[int, Sequence[Reverse]],
        now: int,
    ) -> CorrectionStep | None:
        """
        Accept all facts of a correction, in one step, and apply what follows from them.

        Args:
            reversals: By seq of an event that is taken back: what it gives back.

        Returns:
            None, with nothing changed, if one of them is known already: somebody was faster. The
            caller submits the entry without yielding before.
        """
        keys, fingerprints = identities(tenant.seed, facts, stored_times(facts, now))
        if any(self._index.lookup(key) is not None for key in keys):
            return None
        first = self.position + 1
        decided, _ = self._index.decide(keys, fingerprints, first)
        assert not decided.any(), "each fact of a correction once"
        self.position += len(facts)
        self.idle_entries = 0
        effects: list[Effect] = [
            msgspec.structs.replace(reversal, seq=first + place)
            for place, fact in enumerate(facts)
            for reversal in reversals.get(retracts(fact.id), ())
        ]
        folded = fold_correction(tenant.live, facts, effects, now, first)
        effects += folded.caused
        tenant.live.apply(effects, now, first)
        self.tell_touched(tenant)
        return CorrectionStep(first, effects, folded.again)

    def tell_touched(self, tenant: Tenant) -> None:
        """Once for everything that changed in this step."""
        if tenant.live.touched and self.on_touched is not None:
            self.on_touched(tenant)
        if tenant.live.fired and self.on_fired is not None:
            self.on_fired()

    def _decide_arrivals(self) -> None:
        """
        Read and decide what waits, in order, but no more than one turn's worth of events: checks
        are answered between the turns, and must not wait behind every batch that came in with them.
        """
        arrivals = self._arrivals
        alike: list[Arrival] = []
        size = 0
        while arrivals and size < EVENTS_PER_TURN:
            arrival = arrivals[0]
            if not _read(arrival):
                arrivals.popleft()
                continue
            if alike and not _go_together(alike[0], arrival):
                break
            alike.append(arrivals.popleft())
            size += len(arrival.decoded.items)
        if arrivals:
            asyncio.get_running_loop().call_soon(self._decide_arrivals)
        try:
            if alike:
                self._decide_alike(alike)
        except Exception as error:
            # What was decided half is known to nobody: as after a failed write, only a restart,
            # which rebuilds from the log, can tell the truth again.
            failure = self._committer.stop(error)
            for arrival in alike:
                arrival.answered(_NOTHING, failure)

    def _decide_alike(self, arrivals: list[Arrival]) -> None:
        """Requests of one tenant with clean bodies go as one if every item is admissible."""
        if len(arrivals) > 1:
            together = admit_together(arrivals)
            if together is not None:
                received = arrivals[0].received_at
                verdicts, seqs, caused = self._identify(arrivals[0].tenant, together, received)
                start = 0
                for arrival in arrivals:
                    stop = start + len(arrival.decoded.items)
                    part = Admissible(
                        range(stop - start),
                        together.events[start:stop],
                        together.times[start:stop],
                        [],
                    )
                    own = _caused_by(caused, seqs[start:stop]) if caused else caused
                    self._conclude(arrival, part, verdicts[start:stop], seqs[start:stop], [], own)
                    start = stop
                self.tell_touched(arrivals[0].tenant)
                return
        for arrival in arrivals:
            admissible, errors = admit(arrival)
            verdicts, seqs, caused = self._identify(arrival.tenant, admissible, arrival.received_at)
            self._conclude(arrival, admissible, verdicts, seqs, errors, caused)
            self.tell_touched(arrival.tenant)

    def _identify(
        self, tenant: Tenant, admissible: Admissible, received_at: int
    ) -> tuple[bytes, list[int], list[Caused]]:
        """Decide new, duplicate or conflict for each, and fold the new ones."""
        events = admissible.events
        if not events:
            return b"", [], []
        keys, fingerprints = identities(tenant.seed, events, admissible.times)
        decided, places = self._index.decide(keys, fingerprints, self.position + 1)
        verdicts: bytes = decided.tobytes()
        seqs: list[int] = places.tolist()
        self.position += verdicts.count(ACCEPTED)
        caused = _fold(tenant, admissible, verdicts, seqs, received_at)
        self._on_batch(tenant, events, verdicts, seqs)
        return verdicts, seqs, caused

    def _conclude(
        self,
        arrival: Arrival,
        admissible: Admissible,
        verdicts: bytes,
        seqs: list[int],
        errors: list[Rejection],
        caused: Sequence[Caused],
    ) -> None:
        """Count, spend, log, and answer when it is durable."""
        received = len(arrival.decoded.items)
        accepted = verdicts.count(ACCEPTED)
        if accepted != len(verdicts):
            errors += _conflicts(admissible, verdicts, seqs)
            errors.sort(key=lambda error: error.index)
        if len(verdicts) != received:
            verdicts, seqs = _with_rejected(received, admissible.places, verdicts, seqs)
        counts = arrival.tenant.counts
        counts.received += received
        counts.accepted += accepted
        counts.rejected += verdicts.count(REJECTED)
        counts.conflicts += verdicts.count(CONFLICT)
        counts.duplicates += verdicts.count(DUPLICATE)
        decoded = arrival.decoded
        bodies = [decoded.raw(e.index) for e in errors if verdicts[e.index] == REJECTED]
        outcome = Outcome(verdicts, seqs, errors, bodies, self.position)
        self.idle_entries = 0 if accepted else self.idle_entries + 1
        answered = arrival.answered
        if caused:
            arrival.tenant.live.apply(caused, arrival.received_at, caused[0].seq)
        entry = _entry(arrival, verdicts, caused)
        self._committer.submit(entry, lambda error: answered(outcome, error))


def _read(arrival: Arrival) -> bool:
    """Decode a body, once; whether there are events in it. If not, its sender is told."""
    try:
        if arrival.decoded is UNREAD:
            arrival.decoded = decode(arrival.body, arrival.form)
    except Exception as error:
        arrival.answered(_NOTHING, error)
        return False
    return True


def _go_together(a: Arrival, b: Arrival) -> bool:
    clean = a.decoded.rejected == 0 == b.decoded.rejected
    return clean and a.tenant is b.tenant and a.backfill == b.backfill


def _caused_by(caused: list[Caused], seqs: Sequence[int]) -> list[Caused]:
    """Those of one request among those of several."""
    own = set(seqs)
    return [one for one in caused if one.seq in own]


def _entry(arrival: Arrival, verdicts: bytes, caused: Sequence[Caused]) -> Entry:
    """What the log keeps of a request."""
    body, form = arrival.body, arrival.form
    if ACCEPTED not in verdicts:
        # Nothing new: the verdicts are kept for the counts, the bytes are known already.
        body, form = b"", Format.LINES
    elif REJECTED in verdicts:
        body, form = _without_rejected(arrival.decoded, verdicts), Format.LINES
    effects = encode_effects(caused) if caused else b""
    return Entry(
        arrival.tenant.name, arrival.received_at, form, verdicts, body, KIND_EVENTS, effects
    )


def _with_rejected(
    received: int, places: Sequence[int], verdicts: bytes, seqs: list[int]
) -> tuple[bytes, list[int]]:
    """Verdicts and seqs of all items of a request, from those of the admissible ones."""
    all_verdicts = bytearray([REJECTED]) * received
    all_seqs = [0] * received
    for place, verdict, seq in zip(places, verdicts, seqs, strict=True):
        all_verdicts[place] = verdict
        all_seqs[place] = seq
    return bytes(all_verdicts), all_seqs


def _fold(
    tenant: Tenant, admissible: Admissible, verdicts: bytes, seqs: Sequence[int], now: int
) -> list[Caused]:
    """Count what was accepted; returns what it brings about."""
    live = tenant.live
    find = live.by_subject.get
    add_by_type = {name: program.add for name, program in live.layout.programs.items()}
    caused: list[Caused] = []
    for event, at, values, verdict, seq in zip(
        admissible.events, admissible.times, admissible.values, verdicts, seqs, strict=True
    ):
        if verdict:
            continue
        account = find(event.subject)
        if (
            values is not None
            and account is not None
            and account.period_start <= at < account.period_end
            and now < account.plain_until
        ):
            # What `LiveState.fold` does for nearly every event, without the call.
            add_by_type[event.type](account.cells, values, at, event.id)
        else:
            caused += live.fold(event, at, values, now, seq)
    return caused


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
