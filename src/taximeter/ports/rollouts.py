"""Rollouts and who is on which side of them: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from taximeter.ports.audit import AuditEntry
from taximeter.pricing.rollout import Assignment, Rollout


class RolloutBooks(Protocol):
    """See `Books`."""

    def put_rollout(
        self,
        namespace: str,
        rollout: Rollout,
        assignments: Sequence[Assignment],
        audit: AuditEntry,
    ) -> None:
        """Add or replace it, and these assignments of it; others stay."""
        ...

    def rollouts(self, namespace: str) -> list[Rollout]:
        """By id."""
        ...

    def rollout(self, namespace: str, rollout_id: str) -> Rollout | None: ...
    def assignments(self, namespace: str, rollout_id: str) -> list[Assignment]:
        """By subscription."""
        ...

    def assignments_of(self, namespace: str, customer: str) -> list[tuple[str, Assignment]]:
        """Of one customer, with the rollout of each; by rollout."""
        ...
