"""The event store: every accepted event, to be counted again at any position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from taximeter.events.envelope import Event
from taximeter.meters.definition import Meter
from taximeter.periods import Period


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """
    One accepted event with its place in the log and its resolved instants (microseconds).

    Attributes:
        retracted_by: Seq of the retraction that took it back, if the answer tells.
        replaced_by: Seq of the event that stands in for it, likewise.
    """

    seq: int
    time: int
    received_at: int
    event: Event
    retracted_by: int | None = None
    replaced_by: int | None = None


class UsageQuery(msgspec.Struct, frozen=True):
    """
    Usage of one meter over given windows.

    Attributes:
        subjects: Only these; None for all.
        windows: Half-open, ascending by start and by end. They may overlap: an event is in each
            that holds its time.
        group_by: Names of the meter's dimensions, in the order of the answer's group values.
        filter: A further filter expression, or None.
        upto: Log position; later events are not seen.
        corrected: Without what was taken back by then; False for all that was ever accepted.
    """

    namespace: str
    meter: Meter
    windows: tuple[Period, ...]
    upto: int
    subjects: tuple[str, ...] | None = None
    group_by: tuple[str, ...] = ()
    filter: str | None = None
    corrected: bool = True


class UsageRow(msgspec.Struct, frozen=True):
    """
    Usage in one window and group; those without usage and events are absent.

    `events` is how many counted with a time in the window. What weighs time can have usage without.
    """

    window: int
    group: tuple[str | None, ...]
    value_pico: int
    events: int


class LineScope(msgspec.Struct, frozen=True):
    """
    The exact events behind one invoice line. `group` fixes a value for each of `group_by`.

    Attributes:
        parts: Only these of the period: ascending, apart, at least one; () for all of it. Not of a
            meter that weighs time.
        within: Only events of an amount in [first, second), in pico; None for no bound. Of a meter
            that sums amounts, and not of `line_events`.
    """

    namespace: str
    meter: Meter
    subjects: tuple[str, ...]
    period: Period
    upto: int
    filter: str | None = None
    group_by: tuple[str, ...] = ()
    parts: tuple[Period, ...] = ()
    within: tuple[int | None, int | None] = (None, None)


class Recount(msgspec.Struct, frozen=True):
    """One group of a recounted scope. `digest` is "sha256:" + hex of the Merkle root (RFC 6962)
    over the canonical bytes of its events in seq order: those of the period, also where the
    quantity depends on what was before. None where no proof was asked for."""

    group: tuple[str | None, ...]
    value_pico: int
    events: int
    digest: str | None


class EventsQuery(msgspec.Struct, frozen=True):
    """
    Stored events, newest seq first, with what became of them. `before` is exclusive and serves as
    the cursor.
    """

    namespace: str
    upto: int
    subjects: tuple[str, ...] | None = None
    type: str | None = None
    start: int | None = None
    end: int | None = None
    before: int | None = None
    limit: int = 100


class LateQuery(msgspec.Struct, frozen=True):
    """
    What arrived, or was taken back, with seq in (after, upto] and a time before an instant.
    `subjects`: only of these; None for all.
    """

    namespace: str
    after: int
    upto: int
    before: int
    subjects: tuple[str, ...] | None = None


class LateRow(msgspec.Struct, frozen=True):
    """
    News of one subject and event type with times in one day (UTC).

    Attributes:
        first, last: The least and the greatest time.
        events, retractions: How many arrived, and how many were taken back.
        position: Greatest seq of what arrived or took back.
    """

    subject: str
    type: str
    first: int
    last: int
    events: int
    retractions: int
    position: int


class Selection(msgspec.Struct, frozen=True):
    """
    Events to be looked at one by one, ascending by seq, with what became of them.

    Attributes:
        upto: Log position; neither later events nor later corrections are seen.
        seqs: Only these; None for all. `first` and `last` bound them, both inclusive.
        filter: A filter expression, or None.
        standing: Leave out what was taken back.
    """

    namespace: str
    upto: int
    limit: int
    seqs: tuple[int, ...] | None = None
    first: int = 1
    last: int | None = None
    subjects: tuple[str, ...] | None = None
    type: str | None = None
    start: int | None = None
    end: int | None = None
    filter: str | None = None
    standing: bool = False


class EventStore(Protocol):
    """Every accepted event, columnar. Sees the log up to any durable position asked for."""

    def usage(self, query: UsageQuery) -> list[UsageRow]: ...

    def recount(
        self, scopes: Sequence[LineScope], proofs: bool = True, anew: bool = False
    ) -> list[list[Recount]]:
        """One list per scope, ordered by group. Without `group_by` always exactly one element.
        Without `proofs` there are no digests, which is several times as fast, and what was counted
        before may be gone on from, unless it is to be counted `anew`."""
        ...

    def events(self, query: EventsQuery) -> list[StoredEvent]: ...

    def line_events(
        self, scope: LineScope, group: tuple[str | None, ...], after: int, limit: int
    ) -> list[StoredEvent]:
        """Events of one line with seq > after, ascending."""
        ...

    def late(self, query: LateQuery) -> list[LateRow]:
        """By subject, type and day."""
        ...

    def select(self, selection: Selection) -> list[StoredEvent]:
        """Raises `Rejected` (`invalid_filter`)."""
        ...

    def find(self, namespace: str, seq: int) -> StoredEvent | None: ...

    def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]:
        """How many events that stand each of these subjects has, of any type; those without are
        absent."""
        ...

    def scan(
        self,
        namespace: str,
        upto: int,
        types: Iterable[str],
        subjects: Iterable[str] | None = None,
    ) -> Iterator[StoredEvent]:
        """All events of these types (and subjects), in any order, for a fold."""
        ...
