"""The event log: what was accepted, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from taximeter.events.entry import Entry


class LoggedEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry and where it stands: its accepted events are first_seq, first_seq + 1, ..."""

    first_seq: int
    entry: Entry


class EventLog(Protocol):
    """Accepted events in order, durable when `append` returns."""

    @property
    def position(self) -> int:
        """Seq of the last durable accepted event; 0 for an empty log."""
        ...

    def append(self, entries: Sequence[Entry]) -> int:
        """
        Write entries as one frame and sync. Called by one thread at a time.

        Returns:
            The new position.

        Raises:
            Unavailable: `storage_full` (nothing was kept, may be tried again) or `storage_failed`
                (for good: every later append fails too).
        """
        ...

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        """Entries holding any seq in (after, upto], plus entries without accepted events
        between them, in order. Only durable entries are seen."""
        ...
