"""
The life of an invoice.

    draft          -> in_review, issued, void
    in_review      -> draft (approved), void
    issued         -> paid, uncollectible, void
    paid           -> issued (its payment was taken back)
    uncollectible  -> paid (recovered), issued (its write-off was taken back)
    void

From `issued` on nothing but the status changes: amounts are corrected by later entries (K15).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from taximeter.errors import Refused
from taximeter.invoices.invoice import Invoice, Status

TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.DRAFT: frozenset({Status.IN_REVIEW, Status.ISSUED, Status.VOID}),
    Status.IN_REVIEW: frozenset({Status.DRAFT, Status.VOID}),
    Status.ISSUED: frozenset({Status.PAID, Status.UNCOLLECTIBLE, Status.VOID}),
    Status.PAID: frozenset({Status.ISSUED}),
    Status.UNCOLLECTIBLE: frozenset({Status.PAID, Status.ISSUED}),
    Status.VOID: frozenset(),
}

UNISSUED: Final = frozenset({Status.DRAFT, Status.IN_REVIEW})
"""Not final yet: without a number, and without effect on any account."""


def issue(invoice: Invoice, number: str, at: int, due_at: int | None = None) -> Invoice:
    """
    Make a draft final, under the next number of its series.

    Args:
        at: Microseconds since the epoch.
        due_at: When it is to be paid; None without terms.

    Raises:
        Refused: `invoice_not_draft`, `invoice_in_review`.
    """
    check_issuable(invoice.id, invoice.status)
    return replace(invoice, status=Status.ISSUED, number=number, issued_at=at, due_at=due_at)


def check_issuable(invoice_id: str, status: Status) -> None:
    """
    Raises:
        Refused: `invoice_not_draft`, `invoice_in_review`.
    """
    if status is Status.IN_REVIEW:
        raise Refused(
            "invoice_in_review",
            f"invoice {invoice_id} is in review; approve it first",
            status=status.value,
        )
    if status is not Status.DRAFT:
        raise Refused(
            "invoice_not_draft",
            f"invoice {invoice_id} is {status}; only a draft can be finalised",
            status=status.value,
        )


def check_held(invoice_id: str, status: Status) -> None:
    """
    Whether an invoice waits for a person's approval.

    Raises:
        Refused: `invoice_not_in_review`.
    """
    if status is not Status.IN_REVIEW:
        raise Refused(
            "invoice_not_in_review",
            f"invoice {invoice_id} is {status}; only one in review can be approved",
            status=status.value,
        )


def pay(invoice: Invoice) -> Invoice:
    """
    Mark an issued invoice, or one given up, as paid.

    Raises:
        Refused: `invoice_not_issued`.
    """
    if Status.PAID not in TRANSITIONS[invoice.status]:
        raise Refused(
            "invoice_not_issued",
            f"invoice {invoice.id} is {invoice.status}; only an issued one can be paid",
            status=invoice.status.value,
        )
    return replace(invoice, status=Status.PAID)


def void(invoice: Invoice) -> Invoice:
    """
    Take back a draft, or an issued invoice nobody has paid; its number stays used. One with nothing
    to pay, or that prepaid credit has paid whole, is paid without anybody paying.

    Raises:
        Refused: `invoice_final`.
    """
    nobody_paid = invoice.status is Status.PAID and invoice.amount_due_minor <= 0
    if Status.VOID not in TRANSITIONS[invoice.status] and not nobody_paid:
        raise Refused(
            "invoice_final",
            f"invoice {invoice.id} is {invoice.status} and stays so; "
            "correct it with a later entry instead",
            status=invoice.status.value,
        )
    return replace(invoice, status=Status.VOID)
