"""
The invoice: rounded lines, and totals that are sums of them (K5, K10).

    subtotal = sum of lines      total = subtotal - discounts + taxes that are not in the prices
    amount due = total - credits applied
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction

import msgspec

from taximeter.catalog.rates import Conversion
from taximeter.invoices.applied import AppliedCredit, AppliedDiscount, AppliedTax, LineDiscount
from taximeter.parties import Party
from taximeter.periods import Period
from taximeter.rating import Proration, RatedSeats, RatedTier


class Status(StrEnum):
    """Where an invoice stands; `states` says what may follow what."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    ISSUED = "issued"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


class Kind(StrEnum):
    """What a line charges for."""

    FLAT = "flat"
    USAGE = "usage"
    SEAT = "seat"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    COMMITMENT = "commitment"
    ADJUSTMENT = "adjustment"
    ON_ACCOUNT = "on_account"


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


class Adjusts(msgspec.Struct, frozen=True):
    """
    What an adjustment line corrects (K15): its amount is `rerated_minor` - `billed_minor`.

    Attributes:
        invoice, number: The issued invoice that billed the period first.
        period: The old period.
        billed_minor: Everything billed for that period and price before this line.
        rerated_minor: What it comes to by now.
    """

    invoice: str
    number: str
    period: Period
    billed_minor: int
    rerated_minor: int


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
        subscription: None for the invoice's own.
        customer: Whose usage it is, where that is a child of who pays; else None.
        tax_category: As its price says; "" for the standard one.
        discounts: What each discount takes off this line.
        adjusts: Of an adjustment only.
        hours: The hours of the day it is of, where its price has such; else "".
        seats: What the seats came to, of a line for seats; it then explains the amount instead of
            tiers.
        conversions: In which the amount before rounding was converted, in their order; () where
            the price is in the invoice's currency.
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
    subscription: str | None = None
    customer: str | None = None
    tax_category: str = ""
    discounts: tuple[LineDiscount, ...] = ()
    adjusts: Adjusts | None = None
    hours: str = ""
    seats: RatedSeats | None = None
    conversions: tuple[Conversion, ...] = ()

    @property
    def net_minor(self) -> int:
        """Behind its discounts."""
        return self.amount_minor - sum(one.amount_minor for one in self.discounts)


class Cover(msgspec.Struct, frozen=True):
    """
    One period of one subscription that an invoice bills.

    Attributes:
        subjects: Whose events were billed; the customer may claim others later.
        metering_version: Of the catalogue whose meters counted; a line's price cites its own.
        part: "period"; or what is billed of it before its end: "advance", "on_account:1", ...
    """

    subscription: str
    customer: str
    period: Period
    subjects: tuple[str, ...]
    metering_version: int
    part: str = "period"


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a customer owes, for one period of one subscription unless `covers` has more.

    Attributes:
        subjects: Whose events were billed; the customer may claim others later.
        metering_version: Of the catalogue whose meters counted; a line's price cites its own.
        number: From the gapless series of its namespace; None until issued.
        issued_at: Microseconds since the epoch; None until issued.
        due_at: When it is to be paid; None without terms, and until issued.
        covers: All it bills, if that is not just the period of the subscription named.
        issuer, billed_to: Who bills whom, as known when it was made; None if nothing was.
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
    due_at: int | None = None
    discounts: tuple[AppliedDiscount, ...] = ()
    taxes: tuple[AppliedTax, ...] = ()
    credits: tuple[AppliedCredit, ...] = ()
    covers: tuple[Cover, ...] = ()
    issuer: Party | None = None
    billed_to: Party | None = None

    @property
    def subtotal_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)

    @property
    def discount_minor(self) -> int:
        return sum(one.amount_minor for one in self.discounts)

    @property
    def tax_minor(self) -> int:
        """All taxes, also those that are in the prices."""
        return sum(tax.amount_minor for tax in self.taxes)

    @property
    def total_minor(self) -> int:
        added = sum(tax.amount_minor for tax in self.taxes if not tax.inclusive)
        return self.subtotal_minor - self.discount_minor + added

    @property
    def credits_applied_minor(self) -> int:
        return sum(one.amount_minor for one in self.credits)

    @property
    def amount_due_minor(self) -> int:
        return self.total_minor - self.credits_applied_minor

    @property
    def covered(self) -> tuple[Cover, ...]:
        """Every period it bills; at least one."""
        own = Cover(
            self.subscription, self.customer, self.period, self.subjects, self.metering_version
        )
        return self.covers or (own,)
