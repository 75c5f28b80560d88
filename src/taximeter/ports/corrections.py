"""Corrections and backfills, with who made them and why: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from taximeter.ports.audit import AuditEntry


class StoredCorrection(msgspec.Struct, frozen=True):
    """
    A correction of events. The facts themselves are in the log.

    Attributes:
        rank: Grows with each; 0 until stored.
        action: "retract", "amend" or "revert".
        status: "pending" (waits for a second person), "rejected", "committing" (on its way into
            the log), "committed", or "reverted" (by another correction).
        request: What was asked for, as it was asked.
        seqs: Of the events it is about; () in lists. `events` is how many.
        fact: Id of the first of its facts, of which there are `facts`; `after` is the position of
            the log before them.
        first, last: Seqs of its facts in the log; 0 before.
        reverts, reverted_by: Ids of other corrections.
    """

    rank: int
    namespace: str
    id: str
    action: str
    status: str
    reason: str
    made_by: str
    made_at: int
    events: int
    request: dict[str, Any]
    seqs: tuple[int, ...] = ()
    approved_by: str | None = None
    approved_at: int | None = None
    fact: str = ""
    facts: int = 0
    after: int = 0
    first: int = 0
    last: int = 0
    reverts: str | None = None
    reverted_by: str | None = None


class StoredBackfill(msgspec.Struct, frozen=True):
    """
    An import of history: staged, looked at, committed, and perhaps taken back.

    Attributes:
        rank: Grows with each; 0 until stored.
        status: "open", "committing", "committed", "reverting" or "reverted".
        events: Staged so far; `bytes` of them.
        accepted, duplicates, rejected: What became of them when they were committed.
    """

    rank: int
    namespace: str
    id: str
    status: str
    reason: str
    made_by: str
    made_at: int
    events: int = 0
    bytes: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    committed_by: str | None = None
    committed_at: int | None = None
    reverted_by: str | None = None
    reverted_at: int | None = None


class BackfillPart(msgspec.Struct, frozen=True):
    """
    The events of one request to a backfill, one a line.

    Attributes:
        number: 1, 2, 3, ... within the backfill: the order they are committed in.
        body: b"" once committed.
        sent_from: Position of the log before it was sent there; None before.
        spans: Seqs of what was accepted, as (first, last); None before it is committed.
    """

    number: int
    received_at: int
    events: int
    body: bytes
    sent_from: int | None = None
    spans: tuple[tuple[int, int], ...] | None = None


class CorrectionBooks(Protocol):
    """Corrections and backfills. See `Books`."""

    def put_correction(self, correction: StoredCorrection, audit: AuditEntry | None = None) -> None:
        """Store one, or its status and what goes with that if its id is known."""
        ...

    def drop_correction(self, namespace: str, correction_id: str) -> None:
        """Forget one that never came into the log."""
        ...

    def unfinished_corrections(self) -> list[StoredCorrection]:
        """Those that are committing, of all namespaces, oldest first."""
        ...

    def correction(self, namespace: str, correction_id: str) -> StoredCorrection | None: ...
    def corrections(
        self, namespace: str, *, status: str | None, before: int | None, limit: int
    ) -> list[StoredCorrection]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def add_backfill(self, backfill: StoredBackfill, audit: AuditEntry) -> bool:
        """False, with nothing stored, if its id is known."""
        ...

    def update_backfill(self, backfill: StoredBackfill, audit: AuditEntry | None = None) -> None:
        """Store its status and counts."""
        ...

    def backfill(self, namespace: str, backfill_id: str) -> StoredBackfill | None: ...
    def backfills(self, namespace: str, *, before: int | None, limit: int) -> list[StoredBackfill]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def unfinished_backfills(self) -> list[StoredBackfill]:
        """Those that are committing or reverting, of all namespaces, oldest first."""
        ...

    def add_backfill_part(self, namespace: str, backfill_id: str, part: BackfillPart) -> int:
        """Stage events of an open backfill; returns the number given to the part. Raises
        `Refused` (`backfill_closed`)."""
        ...

    def update_backfill_part(
        self, namespace: str, backfill_id: str, part: BackfillPart
    ) -> None: ...
    def backfill_parts(
        self, namespace: str, backfill_id: str, *, after: int, limit: int
    ) -> Sequence[BackfillPart]:
        """With number > after, ascending."""
        ...
