"""
Nets: what there is to earn from each line of an invoice, without discounts and without tax.

What a discount takes off is not revenue, and a tax that is in a price is not either. All nets of an
invoice and all its taxes are together exactly its total.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.invoice import Invoice, Line
from taximeter.money import allocate


def nets_of(invoice: Invoice) -> dict[str, int]:
    """Line -> minor units; an inclusive tax is split over the lines of its category (K7)."""
    nets = {line.id: line.net_minor for line in invoice.lines}
    for line_id, part_minor in _shares(invoice.lines, _undistributed(invoice)):
        nets[line_id] -= part_minor
    for tax in invoice.taxes:
        if tax.inclusive:
            for line_id, part_minor in _shares(_taxed(invoice, tax), tax.amount_minor):
                nets[line_id] -= part_minor
    return nets


def _undistributed(invoice: Invoice) -> int:
    """The part of the discounts that no line carries."""
    return invoice.discount_minor - sum(
        line.amount_minor - line.net_minor for line in invoice.lines
    )


def _taxed(invoice: Invoice, tax: AppliedTax) -> Sequence[Line]:
    lines = [line for line in invoice.lines if line.tax_category == tax.category]
    return lines or invoice.lines


def _shares(lines: Sequence[Line], amount_minor: int) -> Iterable[tuple[str, int]]:
    """An amount over lines by how much they bill: those of its own sign, else all alike."""
    if not amount_minor:
        return []
    assert lines, "nothing to take it from"
    sign = 1 if amount_minor > 0 else -1
    weights = [max(0, sign * line.net_minor) for line in lines]
    if not any(weights):
        weights = [1] * len(lines)
    parts = allocate(amount_minor, weights)
    return zip((line.id for line in lines), parts, strict=True)
