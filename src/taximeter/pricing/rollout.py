"""
Rollouts: a staged version of the catalogue, given to some before all, and who is on which side.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from taximeter.pricing.cohorts import Cohort, Side


class RolloutStatus(StrEnum):
    """Where a rollout stands."""

    RUNNING = "running"
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"


class Rollout(msgspec.Struct, frozen=True):
    """
    Attributes:
        version: The staged catalogue version.
        start: When those who get it get it: `now`, `period_end`, or an instant.
        ended_at: When it was rolled back or completed; None while it runs.
    """

    id: str
    version: int
    cohort: Cohort
    start: str | int
    created_at: int
    created_by: str
    reason: str = ""
    status: RolloutStatus = RolloutStatus.RUNNING
    ended_at: int | None = None


class Assignment(msgspec.Struct, frozen=True):
    """
    One subscription's side.

    Attributes:
        at: From when on it counts to its side; of the treatment, when the version takes effect.
        from_version, from_pinned: What its segment named before.
    """

    subscription: str
    customer: str
    side: Side
    at: int
    from_version: int
    from_pinned: bool = False
