"""
A credit note as paper: what is given back of an invoice, in positive amounts, laid out like it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from taximeter.documents.nets import tax_of
from taximeter.documents.paper import Corrected, Paper, PaperKind
from taximeter.invoices.applied import AppliedCredit
from taximeter.invoices.credit_note import CreditLine, CreditNote
from taximeter.invoices.invoice import Invoice, Line, Status
from taximeter.quantities import E12


def credit_note_paper(
    note: CreditNote,
    invoice: Invoice,
    *,
    timezone: str = "UTC",
    digest: str = "",
    names: Mapping[str, str] | None = None,
) -> Paper:
    """
    Args:
        invoice: The issued one it takes back a part of.
        digest: Of the credit note.
    """
    assert note.invoice == invoice.id, note.id
    billed = {line.id: line for line in invoice.lines}
    given_back = Invoice(
        id=note.id,
        customer=note.customer,
        subscription=invoice.subscription,
        currency=note.currency,
        period=invoice.period,
        lines=tuple(_line(line, billed[line.line]) for line in note.lines),
        status=Status.ISSUED,
        number=note.number,
        issued_at=note.issued_at,
        taxes=note.taxes,
        credits=(AppliedCredit("", "", note.credits_minor),) if note.credits_minor else (),
        issuer=note.issuer,
        billed_to=note.billed_to,
    )
    return Paper(
        invoice=_told_by_line(given_back),
        status=Status.ISSUED,
        timezone=timezone,
        digest=digest,
        kind=PaperKind.CREDIT_NOTE,
        names=names or {},
        corrects=Corrected(note.invoice_number, invoice.issued_at or note.issued_at),
        reason=note.reason,
    )


def _line(line: CreditLine, billed: Line) -> Line:
    return Line(
        id=line.line,
        kind=billed.kind,
        description=line.description,
        price=billed.price,
        period=billed.period,
        quantity_pico=E12 if line.quantity_pico is None else line.quantity_pico,
        amount_minor=line.amount_minor,
        meter=billed.meter,
        group=billed.group,
        subscription=billed.subscription,
        customer=billed.customer,
        tax_category=billed.tax_category,
    )


def _told_by_line(invoice: Invoice) -> Invoice:
    """
    Net and tax that are in a price are each rounded for themselves when a part is given back; the
    lines say what they are together.
    """
    on_lines = [(line.amount_minor, tax_of(invoice, line)) for line in invoice.lines]
    taxes = []
    for tax in invoice.taxes:
        lines_minor = sum(minor for minor, found in on_lines if found is tax)
        if tax.inclusive and lines_minor:
            tax = replace(tax, taxable_minor=lines_minor - tax.amount_minor)
        taxes.append(tax)
    return replace(invoice, taxes=tuple(taxes))
