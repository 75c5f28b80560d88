"""
A gap: two stages of the chain do not say the same of one thing.

    sent = accepted = counted = rated = invoiced = posted = paid

Every gap names its cause and what would close it. What closes a gap is a replay: something is
derived again from what is upstream of it. Nothing is ever edited to fit.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.money import format_exact
from taximeter.periods import Period


class Stage(StrEnum):
    """A place where the same usage is known, in the order it gets there."""

    SENT = "sent"  # clients say so
    ACCEPTED = "accepted"  # in the log, and in the event store made from it
    COUNTED = "counted"  # in the live counters
    RATED = "rated"  # priced again from the events
    INVOICED = "invoiced"  # on lines of invoices
    POSTED = "posted"  # in the journal, or in the ledger of credits
    PAID = "paid"  # payments against invoices


class Cause(StrEnum):
    """Why two stages differ."""

    LATE = "late"  # came after its period was billed
    UNMATCHED = "unmatched"  # of a subject that no customer claims
    QUARANTINED = "quarantined"  # rejected, and kept as a dead letter
    RATE = "rate"  # the same quantity, another amount
    UNIT = "unit"  # the same events, another quantity, by the price's transform
    MISSING = "missing"  # upstream has it, downstream does not
    DUPLICATE = "duplicate"  # downstream has more than upstream
    CODE = "code"  # the same events, another number: something counts or writes it wrongly
    ALTERED = "altered"  # a document is not what its digest says


class Repair(StrEnum):
    """What closes a gap."""

    REBUILD_ACCOUNT = "rebuild_account"  # fold the customer's counters again from the events
    REBUILD_STORE = "rebuild_store"  # write the event store again from the log
    REBUILD_LEDGER = "rebuild_ledger"  # write transactions of credit again from the log
    REPLAY_DEAD_LETTERS = "replay_dead_letters"  # try rejected items again
    RERATE = "rerate"  # rate an invoice again; its digest says whether it is the same one
    REPOST = "repost"  # book an invoice again
    ADJUST = "adjust"  # the next close bills it
    RESEND = "resend"  # the sender sends again; what is known is a duplicate
    CLAIM_SUBJECT = "claim_subject"  # a customer claims the subject
    LOOK = "look"  # a person has to


AUTOMATIC: Final = frozenset(
    {
        Repair.REBUILD_ACCOUNT,
        Repair.REBUILD_STORE,
        Repair.REBUILD_LEDGER,
        Repair.REPLAY_DEAD_LETTERS,
        Repair.RERATE,
        Repair.REPOST,
    }
)
"""Repairs that the node can make when it is asked to."""

WRONG: Final = frozenset({Cause.RATE, Cause.UNIT, Cause.MISSING, Cause.DUPLICATE, Cause.CODE})
"""Causes by which a bill would come out wrong: beyond the tolerance they hold back the close."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        upstream, downstream: The stages that differ; `expected` is what upstream says.
        unit: What `expected` and `found` count: "events", the meter's unit, a currency.
        target: What it is about beside customer, meter and period: an invoice's line, a source, a
            wallet; "" for nothing.
        detail: One sentence for people.
    """

    upstream: Stage
    downstream: Stage
    cause: Cause
    expected: Fraction
    found: Fraction
    unit: str
    detail: str
    repair: Repair
    customer: str | None = None
    meter: str | None = None
    period: Period | None = None
    target: str = ""

    @property
    def id(self) -> str:
        """The same gap has the same id, whenever and wherever it is found."""
        facts = [
            self.upstream, self.downstream, self.cause, str(self.expected), str(self.found),
            self.unit, self.customer, self.meter, self.target,
            None if self.period is None else [self.period.start, self.period.end],
        ]  # fmt: skip
        return f"gap_{hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:20]}"

    @property
    def difference(self) -> Fraction:
        """Positive where downstream has more."""
        return self.found - self.expected

    @property
    def is_automatic(self) -> bool:
        return self.repair in AUTOMATIC

    def exceeds(self, tolerance: Fraction) -> bool:
        """
        Whether it is more than a share of what is expected.

        Args:
            tolerance: 0 for nothing at all; 1/1000 lets one in a thousand pass.
        """
        if not self.difference:
            return True  # it differs in something else than its amount
        return abs(self.difference) > tolerance * abs(self.expected)

    def blocks(self, tolerance: Fraction, customer: str, period: Period) -> bool:
        """Whether a period of a customer should not be closed over it."""
        return (
            self.cause in WRONG
            and self.customer == customer
            and self.period is not None
            and self.period.overlap(period) is not None
            and self.exceeds(tolerance)
        )


def dump_gap(gap: Gap, tolerance: Fraction) -> dict[str, Any]:
    """The JSON of the HTTP interface."""
    return {
        "id": gap.id,
        "between": [gap.upstream.value, gap.downstream.value],
        "cause": gap.cause.value,
        "customer": gap.customer,
        "meter": gap.meter,
        "period": None if gap.period is None else gap.period.to_json(),
        "target": gap.target,
        "unit": gap.unit,
        "expected": format_exact(gap.expected),
        "found": format_exact(gap.found),
        "difference": format_exact(gap.difference),
        "detail": gap.detail,
        "repair": gap.repair.value,
        "automatic": gap.is_automatic,
        "blocks": gap.cause in WRONG and gap.customer is not None and gap.exceeds(tolerance),
    }
