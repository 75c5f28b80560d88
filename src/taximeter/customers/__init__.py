"""
Who is billed: customers, the subjects they claim, and what they are subscribed to.

A subject is whatever an event's `subject` names. It belongs to at most one customer; a customer's
own key is always one of its subjects. Events of a subject nobody claims are kept, reported as
unmatched, and counted as soon as a customer claims it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.parties import Party
from taximeter.periods import Anchor, Cadence
from taximeter.taxes.rules import Exemption


class BillingDetails(Party, frozen=True):
    """
    Who a customer's invoices are billed to.

    Attributes:
        name: "" for the customer's own.
        tax_exempt: None for a customer who owes tax like any other.
    """

    tax_exempt: Exemption | None = None


class Customer(msgspec.Struct, frozen=True):
    """
    A billable account.

    Attributes:
        currency: ISO 4217, or None for the currency of its plan.
        timezone: IANA name; billing periods begin at its local midnight (K2).
        parent: Key of the customer it belongs to, or None.
        pool: It shares the parent's allowances and, behind its own, the parent's credits.
        paid_by_parent: Its invoices are the parent's to pay.
        billing: None if nothing is known but the customer itself.
    """

    key: str
    name: str = ""
    subjects: tuple[str, ...] = ()
    currency: str | None = None
    timezone: str = "UTC"
    parent: str | None = None
    pool: bool = False
    metadata: dict[str, Any] = {}
    created_at: int = 0
    billing: BillingDetails | None = None
    paid_by_parent: bool = False

    @property
    def billed_to(self) -> Party | None:
        """As its invoices name it; None if nothing is known but the customer itself."""
        if self.billing is None:
            return None
        known = {name: getattr(self.billing, name) for name in Party.__struct_fields__}
        return Party(**known | {"name": self.billing.name or self.name or self.key})

    @property
    def all_subjects(self) -> tuple[str, ...]:
        """The key itself first, then the claimed ones, without repetition."""
        return (self.key, *(s for s in self.subjects if s != self.key))


class Segment(msgspec.Struct, frozen=True):
    """
    What a subscription is on from an instant until its next segment.

    Attributes:
        start: Microseconds since the epoch.
        catalog_version: The catalogue version its plan was taken from.
        cadence: Of the plan as it was taken: a running schedule never moves.
        pinned: Stay on exactly that version; otherwise newer versions apply, limits at the next
            request and prices with the next period.
        addons: Add-on -> how many of it; at least 1.
        overrides: What this customer has other than the plan: a document with `entitlements`,
            `prices` and `grants`, as in a plan.
        trial: Nothing is charged.
        paused: Nothing may be used, and no fee is charged.
    """

    start: int
    plan: str
    catalog_version: int
    cadence: Cadence
    pinned: bool = False
    addons: dict[str, int] = {}
    overrides: dict[str, Any] = {}
    trial: bool = False
    paused: bool = False


class Subscription(msgspec.Struct, frozen=True):
    """
    One customer on a plan, through everything that has been and will be changed about it.

    What holds at an instant is a function of the subscription and the instant: a scheduled change
    happens by itself, without a job that has to run.

    Attributes:
        anchor: Where billing periods begin (K3).
        timezone: The customer's zone when it began; kept, so that periods never move (K2).
        segments: Ascending; the first begins with the subscription, neighbours differ.
        end: Exact instant it ended or will end, exclusive; None while no end is known.
        revision: Counts its changes, from 1.
        term: Length it is agreed on for, such as "P1Y", counted from its start; None for open end.
        auto_renew: Another term follows by itself; else it ends with the one that is agreed on.
    """

    id: str
    customer: str
    anchor: Anchor
    timezone: str
    segments: tuple[Segment, ...]
    end: int | None = None
    created_at: int = 0
    revision: int = 1
    term: str | None = None
    auto_renew: bool = False

    @property
    def start(self) -> int:
        """Exact instant the first period begins."""
        return self.segments[0].start

    def runs_at(self, at: int) -> bool:
        """Whether it has begun and not ended; also true while it is paused."""
        return self.start <= at and (self.end is None or at < self.end)

    def segment_at(self, at: int) -> Segment:
        """The segment an instant lies in, whatever the end; the first before the start."""
        found = self.segments[0]
        for segment in self.segments[1:]:
            if segment.start > at:
                break
            found = segment
        return found
