"""
The life of an invoice.

    draft -> issued -> paid
      |        |
      +--------+-----> void

From `issued` on nothing but the status changes: amounts are corrected by later entries (K15).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from taximeter.errors import Refused
from taximeter.invoices.invoice import Invoice, Status

TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.DRAFT: frozenset({Status.ISSUED, Status.VOID}),
    Status.ISSUED: frozenset({Status.PAID, Status.VOID}),
    Status.PAID: frozenset(),
    Status.VOID: frozenset(),
}


def issue(invoice: Invoice, number: str, at: int) -> Invoice:
    """
    Make a draft final, under the next number of its series.

    Args:
        at: Microseconds since the epoch.

    Raises:
        Refused: `invoice_not_draft`.
    """
    if invoice.status is not Status.DRAFT:
        raise Refused(
            "invoice_not_draft",
            f"invoice {invoice.id} is {invoice.status}; only a draft can be finalised",
            status=invoice.status.value,
        )
    return replace(invoice, status=Status.ISSUED, number=number, issued_at=at)


def pay(invoice: Invoice) -> Invoice:
    """
    Mark an issued invoice as paid.

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
    Take back a draft, or an issued invoice nobody has paid; its number stays used.

    Raises:
        Refused: `invoice_final`.
    """
    if Status.VOID not in TRANSITIONS[invoice.status]:
        raise Refused(
            "invoice_final",
            f"invoice {invoice.id} is {invoice.status} and stays so; "
            "correct it with a later entry instead",
            status=invoice.status.value,
        )
    return replace(invoice, status=Status.VOID)
