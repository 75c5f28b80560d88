"""
Paper: an invoice or a credit note with all that is known beside it when it is shown to someone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from taximeter.invoices.invoice import Invoice, Status


class PaperKind(StrEnum):
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class Corrected(msgspec.Struct, frozen=True):
    """The issued invoice that a credit note takes back, or takes a part of."""

    number: str
    issued_at: int


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        invoice: What is charged; of a credit note what is given back, in positive amounts.
        status: Where it stands by now; the document keeps the status it was issued with.
        timezone: IANA zone its days are told in: the one its periods were made in (K2).
        digest: "sha256:..." of the canonical document; "" for none.
        names: Customer -> its name, of the payer and of the children it pays for.
        corrects: Of a credit note.
        reason: Why there is a credit note; "" if not said.
    """

    invoice: Invoice
    status: Status
    timezone: str = "UTC"
    digest: str = ""
    kind: PaperKind = PaperKind.INVOICE
    names: Mapping[str, str] = {}
    corrects: Corrected | None = None
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """It has its number and never changes again (K15)."""
        return self.invoice.number is not None

    def name_of(self, customer: str) -> str:
        """Its name, or its key where it has none."""
        return self.names.get(customer) or customer
