"""
Who is billed: customers, the subjects they claim, and what they are subscribed to.

A subject is whatever an event's `subject` names. It belongs to at most one customer; a customer's
own key is always one of its subjects. Events of a subject nobody claims are kept, reported as
unmatched, and counted as soon as a customer claims it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.periods import Anchor


class Customer(msgspec.Struct, frozen=True):
    """
    A billable account.

    Attributes:
        currency: ISO 4217, or None for the currency of its plan.
        timezone: IANA name; billing periods begin at its local midnight (K2).
        parent: Key of the customer it belongs to, or None.
    """

    key: str
    name: str = ""
    subjects: tuple[str, ...] = ()
    currency: str | None = None
    timezone: str = "UTC"
    parent: str | None = None
    metadata: dict[str, Any] = {}
    created_at: int = 0

    @property
    def all_subjects(self) -> tuple[str, ...]:
        """The key itself first, then the claimed ones, without repetition."""
        return (self.key, *(s for s in self.subjects if s != self.key))


class Subscription(msgspec.Struct, frozen=True):
    """
    One customer on one version of a plan.

    Attributes:
        catalog_version: The catalogue version its plan was taken from.
        pinned: Stay on exactly that version; otherwise newer versions apply, limits at the next
            request and prices with the next period.
        start: Exact instant the first period begins.
        end: Exact instant it ended or will end, exclusive; None while it runs.
        timezone: The customer's zone when it began; kept, so that periods never move (K2).
    """

    id: str
    customer: str
    plan: str
    catalog_version: int
    start: int
    anchor: Anchor
    timezone: str
    pinned: bool = False
    status: str = "active"
    end: int | None = None
    overrides: dict[str, Any] = {}
    created_at: int = 0
