"""TaxEngine: who is asked what the taxes of an invoice are."""

from __future__ import annotations

from typing import Protocol

from taximeter.invoices.invoice import Invoice
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.decide import Situation, Unknown


class TaxEngine(Protocol):
    async def taxes(
        self, namespace: str, invoice: Invoice, situation: Situation
    ) -> tuple[AppliedTax, ...] | Unknown:
        """
        The taxes of an invoice, within a bounded time.

        Args:
            invoice: With its lines and their discounts; without taxes.

        Returns:
            `Unknown` with the reason for whatever goes wrong: never a guess, never an exception.
        """
        ...
