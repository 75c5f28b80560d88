"""Rules that fired, and the queue of reviews: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from taximeter.ports.audit import AuditEntry


class RuleFire(msgspec.Struct, frozen=True):
    """
    A rule that fired on an event.

    Attributes:
        rank: Grows with each; 0 until stored.
        id: "{rule}@{version}:{seq}".
        value: Of the level the rule looks at; "" for the customer.
        event: Its id; `event_at` is its time, `at` when it was received.
        mode: "on" or "dry_run".
        observed: What the rule's window held; None for a rule without one.
        outcomes: Action -> what came of it.
        pending: The change of plan is still to be made.
        review: "open", "approved" or "dismissed"; None if there is nothing to review.
    """

    rank: int
    namespace: str
    id: str
    rule: str
    version: int
    seq: int
    customer: str
    value: str
    event: str
    event_at: int
    at: int
    mode: str
    observed: str | None
    outcomes: dict[str, str]
    pending: bool = False
    review: str | None = None
    reviewed_at: int | None = None
    reviewed_by: str | None = None
    note: str | None = None


class RuleBooks(Protocol):
    """Rules that fired, and the queue of reviews. See `Books`."""

    def add_fires(self, fires: Sequence[tuple[RuleFire, Sequence[AuditEntry]]]) -> set[str]:
        """Store fires with their audit entries; of a rule and an event that are known, nothing.
        Returns the ids of the new ones."""
        ...

    def conclude_fire(self, fire: RuleFire, audit: AuditEntry) -> None:
        """Store the outcomes of one that is pending; any other is passed over."""
        ...

    def resolve_review(self, fire: RuleFire, audit: AuditEntry) -> bool:
        """Store what the review came to; False if it is not open."""
        ...

    def fires(
        self,
        namespace: str,
        *,
        rule: str | None = None,
        customer: str | None = None,
        mode: str | None = None,
        review: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[RuleFire]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def fire(self, namespace: str, fire_id: str) -> RuleFire | None: ...
    def pending_fires(self) -> list[RuleFire]:
        """Of all namespaces, oldest first."""
        ...

    def count_fires(self, namespace: str, since: int) -> dict[tuple[str, str], int]:
        """(rule, mode) -> how many since an instant."""
        ...

    def open_reviews(self) -> dict[str, int]:
        """Namespace -> how many; those without are absent."""
        ...

    def forget_dry_fires(self, before: int) -> int:
        """Delete what only would have been done, before an instant; returns how many."""
        ...
