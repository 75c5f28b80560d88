"""
Where an issued invoice stands: what is open on it decides its status.
"""

from __future__ import annotations

import msgspec

from taximeter.invoices.invoice import Status


class InvoiceStanding(msgspec.Struct, frozen=True):
    """
    What became of the amount due of an issued invoice; minor units.

    Attributes:
        billed_minor: When it was issued; 0 for one that was below zero.
        paid_minor: By payments and by the customer's balance.
        credited_minor: By credit notes, as far as it was open.
        lost_minor: Given up, and not recovered since.
        open_minor: Still to be paid.
    """

    billed_minor: int = 0
    paid_minor: int = 0
    credited_minor: int = 0
    lost_minor: int = 0
    open_minor: int = 0


def settled(open_minor: int, lost_minor: int) -> Status:
    """
    The status of an issued invoice that is not void.

    Args:
        open_minor: Still to be paid.
        lost_minor: Given up, and not recovered since.
    """
    if open_minor > 0:
        return Status.ISSUED
    return Status.UNCOLLECTIBLE if lost_minor > 0 else Status.PAID
