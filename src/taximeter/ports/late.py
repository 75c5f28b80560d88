"""Late usage and what became of it: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from taximeter.ports.audit import AuditEntry


class LateUsage(msgspec.Struct, frozen=True, kw_only=True):
    """
    News of one meter in one billed period of a subscription, from the first to the last event
    until something became of it.

    Attributes:
        rank: Grows with each; 0 until stored.
        status: "pending" (goes on the next invoice), "held" (waits for a person), "adjusted",
            "repriced" (the draft was made again), "written_off", "no_effect", "credited".
        policy: As of `invoices.settings.LateUsage`, when it was first noticed.
        position: Of the log, up to which it is counted here.
        events, retractions: That arrived, that took back.
        quantity_pico, amount_minor: What it changes, once known; of `currency`.
        withheld: (price, start, end, hours, group as JSON, minor units) of what was written off.
        invoice: The one that billed the period.
        by_invoice, by_lines, by_credit_note: Where it was settled.
    """

    namespace: str
    id: str
    customer: str
    subscription: str
    meter: str
    period_start: int
    period_end: int
    status: str
    policy: str
    invoice: str
    position: int
    noticed_at: int
    events: int = 0
    retractions: int = 0
    rank: int = 0
    currency: str | None = None
    quantity_pico: int | None = None
    amount_minor: int | None = None
    withheld: tuple[tuple[str, int, int, str, str, int], ...] = ()
    by_invoice: str | None = None
    by_lines: tuple[str, ...] = ()
    by_credit_note: str | None = None
    settled_at: int | None = None
    settled_by: str | None = None
    reason: str = ""


class LateBooks(Protocol):
    """The ledger of late usage. See `Books`."""

    def note_late(
        self, namespace: str, found: Sequence[LateUsage], position: int
    ) -> list[LateUsage]:
        """Store what was found up to a position of the log, together with that position. What is
        open for the same meter and period is added to. Returns what is new."""
        ...

    def late_position(self, namespace: str) -> int | None:
        """Up to which late usage was looked for; None if never."""
        ...

    def billed_until(self, namespace: str) -> int | None:
        """The latest end of a period that is billed; None without."""
        ...

    def open_late(self, namespace: str, by_invoice: str | None = None) -> list[LateUsage]:
        """What is pending or held, or was settled by an invoice that is void by now, oldest
        first; and what was settled by `by_invoice`."""
        ...

    def late_of_period(self, namespace: str, subscription: str, start: int) -> list[LateUsage]:
        """All of a period, oldest first."""
        ...

    def billed_to(self, namespace: str, subjects: Sequence[str]) -> dict[str, set[str]]:
        """Subject -> customers that were billed for it, on invoices that are not void; subjects
        without are absent. Looks at every invoice."""
        ...

    def late(self, namespace: str, late_id: str) -> LateUsage | None: ...
    def settle_late(
        self, found: Sequence[LateUsage], expected: Sequence[str], audit: AuditEntry | None = None
    ) -> bool:
        """Store what became of some; False, and nothing stored, if the status of one is not
        among those expected."""
        ...

    def late_usage(
        self,
        namespace: str,
        *,
        customer: str | None,
        status: str | None,
        before: int | None,
        limit: int,
    ) -> list[LateUsage]:
        """Newest first; `before` is the rank of the last one seen."""
        ...
