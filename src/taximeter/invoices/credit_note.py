"""
The credit note: a part of an issued invoice taken back, by lines, with the tax on them.

An invoice never changes (K15), so what was too much is another document, with a number of its own
series. All credit notes of an invoice are together never above it. Tax is taken back by the rates
the invoice has: what of a tax all credit notes take back is its share of what they take back of its
lines, rounded once, so that everything taken back in parts is everything, to the cent (K6, K7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.document_parts import (
    dump_party,
    dump_tax,
    parse_minor,
    parse_party,
    parse_tax,
)
from taximeter.invoices.invoice import Invoice, Line
from taximeter.money import allocate, format_minor, whole_minor
from taximeter.parties import Party
from taximeter.quantities import E12, format_quantity


class CreditLine(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is taken back of a line.

    Attributes:
        line: Its id on the invoice.
        amount_minor: Of what it is behind its discounts, with a tax that is in its price; above 0.
        quantity_pico: For how much of its quantity, if that was said.
    """

    line: str
    description: str
    amount_minor: int
    quantity_pico: int | None = None


class CreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        corrects: It gives back what late events and corrections have made too much, so that no
            adjustment does; else it is a concession, which changes nothing of what is rated.
        credits_minor: The part of the total that goes back into grants of prepaid credit.
    """

    id: str
    number: str
    invoice: str
    invoice_number: str
    customer: str
    currency: str
    issued_at: int
    reason: str
    lines: tuple[CreditLine, ...]
    taxes: tuple[AppliedTax, ...] = ()
    credits_minor: int = 0
    corrects: bool = False
    issuer: Party | None = None
    billed_to: Party | None = None

    @property
    def subtotal_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)

    @property
    def tax_minor(self) -> int:
        return sum(tax.amount_minor for tax in self.taxes)

    @property
    def total_minor(self) -> int:
        added = sum(tax.amount_minor for tax in self.taxes if not tax.inclusive)
        return self.subtotal_minor + added

    @property
    def nets(self) -> dict[str, int]:
        """Line -> minor units without tax; a tax in the prices is split over the lines (K7)."""
        nets = {line.line: line.amount_minor for line in self.lines}
        included = sum(tax.amount_minor for tax in self.taxes if tax.inclusive)
        for line, part in zip(nets, allocate(included, list(nets.values())), strict=True):
            nets[line] -= part
        return nets


# --- how much ---------------------------------------------------------------------------------


def left_of_lines(invoice: Invoice, earlier: Iterable[CreditNote]) -> dict[str, int]:
    """Line -> what can still be taken back of it, minor units; lines with nothing are absent."""
    left = {line.id: line.net_minor for line in invoice.lines}
    for note in earlier:
        for one in note.lines:
            left[one.line] -= one.amount_minor
    return {line: minor for line, minor in left.items() if minor > 0}


def left_of(invoice: Invoice, earlier: Iterable[CreditNote]) -> int:
    """What can still be taken back of an invoice, tax and all, minor units."""
    return invoice.total_minor - sum(note.total_minor for note in earlier)


def amounts_of_total(
    invoice: Invoice, earlier: Sequence[CreditNote], total_minor: int
) -> dict[str, int]:
    """
    An amount with its tax, over what is left of the lines (K7).

    Returns:
        Line -> minor units without the tax that comes on top.

    Raises:
        Rejected: `exceeds_invoice`.
    """
    left, most = left_of_lines(invoice, earlier), left_of(invoice, earlier)
    _check_most(invoice, total_minor, most if left else 0)
    net_minor = sum(left.values())
    whole = net_minor + sum(
        tax.amount_minor for tax in _taxes(invoice, earlier, left) if not tax.inclusive
    )
    if total_minor < whole:
        net_minor = whole_minor(Fraction(total_minor * net_minor, whole))
    parts = allocate(net_minor, list(left.values()))
    return {line: part for line, part in zip(left, parts, strict=True) if part}


def amount_of_quantity(line: Line, quantity_pico: int, currency: str) -> int:
    """
    What a part of a line's quantity came to, behind its discounts; rounded once (K5).

    Raises:
        Rejected: `invalid_request`: it has not so much.
    """
    if not 0 < quantity_pico <= line.quantity_pico:
        raise Rejected(
            "invalid_request",
            f"{line.id}: its quantity is {format_quantity(line.quantity_pico)}; "
            "a part of it can be taken back.",
        )
    return whole_minor(Fraction(line.net_minor * quantity_pico, line.quantity_pico))


def draft_note(
    invoice: Invoice,
    earlier: Sequence[CreditNote],
    lines: Sequence[CreditLine],
    *,
    note_id: str,
    number: str,
    at: int,
    reason: str,
    total_minor: int | None = None,
    corrects: bool = False,
) -> CreditNote:
    """
    Args:
        earlier: All credit notes the invoice has.
        lines: At least one; of each line of the invoice at most one.
        total_minor: What it has to come to exactly, tax and all, if that was said; then the tax
            gives way, by no more than rounding does.

    Raises:
        Rejected: `exceeds_invoice`: more than is left of a line, or of the invoice.
    """
    left = left_of_lines(invoice, earlier)
    for one in lines:
        _check_line(invoice, one, left.get(one.line, 0))
    amounts = {one.line: one.amount_minor for one in lines}
    taxes = _taxes(invoice, earlier, amounts)
    note = CreditNote(
        id=note_id,
        number=number,
        invoice=invoice.id,
        invoice_number=invoice.number or "",
        customer=invoice.customer,
        currency=invoice.currency,
        issued_at=at,
        reason=reason,
        lines=tuple(lines),
        taxes=taxes,
        corrects=corrects,
        issuer=invoice.issuer,
        billed_to=invoice.billed_to,
    )
    if total_minor is not None:
        note = _exactly(note, total_minor)
    most = left_of(invoice, earlier)
    _check_most(invoice, note.total_minor, most)
    taken = sum(one.total_minor - one.credits_minor for one in earlier)
    money_left = max(0, invoice.amount_due_minor - taken)
    return replace(note, credits_minor=max(0, note.total_minor - money_left))


def _check_line(invoice: Invoice, one: CreditLine, left_minor: int) -> None:
    if one.amount_minor > left_minor:
        raise Rejected(
            "exceeds_invoice",
            f"{one.line} has {format_minor(left_minor, invoice.currency)} {invoice.currency} left "
            f"to take back, not {format_minor(one.amount_minor, invoice.currency)}.",
            line=one.line,
            left=format_minor(left_minor, invoice.currency),
        )


def _check_most(invoice: Invoice, minor: int, most_minor: int) -> None:
    if minor > most_minor:
        raise Rejected(
            "exceeds_invoice",
            f"Invoice {invoice.number or invoice.id} has "
            f"{format_minor(max(0, most_minor), invoice.currency)} {invoice.currency} left to take "
            f"back, not {format_minor(minor, invoice.currency)}.",
            left=format_minor(max(0, most_minor), invoice.currency),
        )


def _exactly(note: CreditNote, total_minor: int) -> CreditNote:
    missing = total_minor - note.total_minor
    taxes = list(note.taxes)
    for place, tax in enumerate(taxes):
        if missing and not tax.inclusive and tax.amount_minor + missing >= 0:
            taxes[place] = replace(tax, amount_minor=tax.amount_minor + missing)
            missing = 0
    return replace(note, taxes=tuple(taxes))


def _taxes(
    invoice: Invoice, earlier: Sequence[CreditNote], amounts: Mapping[str, int]
) -> tuple[AppliedTax, ...]:
    """What of each tax of the invoice these amounts of its lines take back; none of 0."""
    before: dict[str, int] = {}
    for note in earlier:
        for one in note.lines:
            before[one.line] = before.get(one.line, 0) + one.amount_minor
    found: list[AppliedTax] = []
    for place, tax in enumerate(invoice.taxes):
        taxed = taxed_lines(invoice, tax)
        base = sum(line.net_minor for line in taxed)
        was = sum(before.get(line.id, 0) for line in taxed)
        now = was + sum(amounts.get(line.id, 0) for line in taxed)
        known = [_same_tax(note, invoice, place) for note in earlier]
        amount = _share(tax.amount_minor, now, base, invoice.currency) - sum(
            one.amount_minor for one in known
        )
        taxable = _share(tax.taxable_minor, now, base, invoice.currency) - sum(
            one.taxable_minor for one in known
        )
        if now > was:
            found.append(replace(tax, taxable_minor=taxable, amount_minor=amount))
    return tuple(found)


def _same_tax(note: CreditNote, invoice: Invoice, place: int) -> AppliedTax:
    """What a credit note has of one of the invoice's taxes."""
    wanted = _identity(invoice.taxes[place])
    nothing = replace(invoice.taxes[place], taxable_minor=0, amount_minor=0)
    return next((tax for tax in note.taxes if _identity(tax) == wanted), nothing)


def _identity(tax: AppliedTax) -> Any:
    return (tax.name, tax.jurisdiction, tax.category, tax.rate, tax.inclusive, tax.note)


def _share(amount_minor: int, part: int, whole: int, currency: str) -> int:
    if part >= whole:
        return amount_minor
    return whole_minor(Fraction(amount_minor * part, whole))


def taxed_lines(invoice: Invoice, tax: AppliedTax) -> Sequence[Line]:
    """
    Those a tax is on: of its category, or, of a standard rate, of those that have no rate of their
    own. Where that does not say (an engine outside has its own categories), all of them.
    """
    special = {one.category for one in invoice.taxes if one.name == tax.name} - {""}
    if tax.category:
        lines = [line for line in invoice.lines if line.tax_category == tax.category]
    else:
        lines = [line for line in invoice.lines if line.tax_category not in special]
    included = sum(
        one.amount_minor for one in invoice.taxes if one.inclusive and one.category == tax.category
    )
    net_minor = sum(line.net_minor for line in lines) - (included if tax.inclusive else 0)
    return lines if lines and net_minor == tax.taxable_minor else invoice.lines


# --- as a document ----------------------------------------------------------------------------


def dump_credit_note(note: CreditNote) -> dict[str, Any]:
    """The JSON of the HTTP interface, `digest` included."""
    document = _dump(note)
    return document | {"digest": f"sha256:{sha256(_canonical(document)).hexdigest()}"}


def credit_note_bytes(note: CreditNote) -> bytes:
    """Canonical JSON, what is stored for ever; the digest is of it without `digest`."""
    return _canonical(dump_credit_note(note))


def parse_credit_note(document: bytes) -> CreditNote:
    """Inverse of `credit_note_bytes`."""
    content = msgspec.json.decode(document)
    currency = content["currency"]
    return CreditNote(
        id=content["id"],
        number=content["number"],
        invoice=content["invoice"],
        invoice_number=content["invoice_number"],
        customer=content["customer"],
        currency=currency,
        issued_at=parse_instant(content["issued_at"]),
        reason=content["reason"],
        lines=tuple(
            CreditLine(
                line=one["line"],
                description=one["description"],
                amount_minor=parse_minor(one["amount"], currency),
                quantity_pico=int(Fraction(one["quantity"]) * E12) if "quantity" in one else None,
            )
            for one in content["lines"]
        ),
        taxes=tuple(parse_tax(tax, currency) for tax in content["taxes"]),
        credits_minor=parse_minor(content["credits_returned"], currency),
        corrects=content["corrects"],
        issuer=parse_party(content.get("issuer")),
        billed_to=parse_party(content.get("billed_to")),
    )


def _canonical(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document, order="sorted")


def _dump(note: CreditNote) -> dict[str, Any]:
    currency = note.currency
    document: dict[str, Any] = {
        "id": note.id,
        "number": note.number,
        "invoice": note.invoice,
        "invoice_number": note.invoice_number,
        "customer": note.customer,
        "currency": currency,
        "issued_at": format_instant(note.issued_at),
        "reason": note.reason,
        "lines": [_dump_line(line, currency) for line in note.lines],
        "taxes": [dump_tax(tax, currency) for tax in note.taxes],
        "subtotal": format_minor(note.subtotal_minor, currency),
        "tax": format_minor(note.tax_minor, currency),
        "total": format_minor(note.total_minor, currency),
        "credits_returned": format_minor(note.credits_minor, currency),
        "corrects": note.corrects,
    }
    parties = {"issuer": dump_party(note.issuer), "billed_to": dump_party(note.billed_to)}
    return document | {name: party for name, party in parties.items() if party}


def _dump_line(line: CreditLine, currency: str) -> dict[str, Any]:
    document = {
        "line": line.line,
        "description": line.description,
        "amount": format_minor(line.amount_minor, currency),
    }
    if line.quantity_pico is not None:
        document["quantity"] = format_quantity(line.quantity_pico)
    return document
