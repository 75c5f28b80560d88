"""
The invoice: rounded lines, and totals that are sums of them (K5, K10).

    subtotal = sum of lines      total = subtotal - discount + tax
    amount due = total - credits applied
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction

import msgspec

from taximeter.periods import Period
from taximeter.rating import Proration, RatedTier


class Status(StrEnum):
    """Where an invoice stands; `states` says what may follow what."""

    DRAFT = "draft"
    ISSUED = "issued"
    PAID = "paid"
    VOID = "void"


class Kind(StrEnum):
    """What a line charges for."""

    FLAT = "flat"
    USAGE = "usage"


class Lineage(msgspec.Struct, frozen=True):
    """
    The events behind a line.

    Attributes:
        events: How many were counted.
        position: Position of the log up to which they were read, such as "0:91822".
        digest: "sha256:" + hex of their Merkle root, see `lineage`; None on a running fare, which
            comes from counters and not from a recount.
    """

    events: int
    position: str
    digest: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """
    One charge, rounded once, with everything that explains it.

    Attributes:
        id: Unique on its invoice.
        price: "PLAN/PRICE@VERSION": the plan ("PLAN+ADDON" for an add-on), the price's key, the
            catalogue version.
        meter: What was measured; None for a flat fee.
        quantity_pico: Billable quantity; of a flat fee 1 unit, or how many of the add-on.
        metered_pico: What the meter counted, where the price has other units; else None.
        amount_minor: Minor units of the invoice's currency.
        group: Values of the price's `group_by` dimensions; empty without.
        free_pico: How much of the quantity was free.
        tiers: Exact steps; their sum x `multiplier` + `adjustment` is the amount before rounding.
        multiplier: By the values of the group; 1 without.
        adjustment: What a minimum added or (negative) a maximum took off; exact.
        proration: Days a flat fee was due for, if not all of its period.
        lineage: None for a flat fee.
        metering_version: Of the catalogue whose meter counted, where it is not the invoice's.
    """

    id: str
    kind: Kind
    description: str
    price: str
    period: Period
    quantity_pico: int
    amount_minor: int
    meter: str | None = None
    group: dict[str, str | None] = {}
    metered_pico: int | None = None
    free_pico: int = 0
    tiers: tuple[RatedTier, ...] = ()
    multiplier: Fraction = Fraction(1)
    adjustment: Fraction = Fraction(0)
    proration: Proration | None = None
    lineage: Lineage | None = None
    metering_version: int | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a customer owes for one period of one subscription.

    Attributes:
        subjects: Whose events were billed; the customer may claim others later.
        metering_version: Of the catalogue whose meters counted; a line's price cites its own.
        number: From the gapless series of its namespace; None until issued.
        issued_at: Microseconds since the epoch; None until issued.
    """

    id: str
    customer: str
    subscription: str
    currency: str
    period: Period
    lines: tuple[Line, ...]
    subjects: tuple[str, ...] = ()
    metering_version: int = 0
    status: Status = Status.DRAFT
    number: str | None = None
    issued_at: int | None = None
    discount_minor: int = 0
    tax_minor: int = 0
    credits_applied_minor: int = 0

    @property
    def subtotal_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - self.discount_minor + self.tax_minor

    @property
    def amount_due_minor(self) -> int:
        return self.total_minor - self.credits_applied_minor
