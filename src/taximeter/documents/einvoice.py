"""
The e-invoice: a paper in the terms of EN 16931, before any syntax; or what is missing for it.

The standard has one VAT category and rate a line, amounts without tax and of at most two digits,
and parties that can be found. A paper that lacks something is refused with all of it at once:
half an e-invoice is none.

    discounts   on one line: an allowance of the line (BG-27); on several: of the document (BG-20),
                one for each rate, as each lowers another tax
    prices      tiers have no unit price: such a line says its amount "for so many units" (BT-149)
    credits     what grants have paid is the paid amount (BT-113)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import Final

import msgspec

from taximeter.documents.nets import LineNet, nets_of, tax_of, taxed_by_line
from taximeter.documents.paper import Paper, PaperKind
from taximeter.documents.sheet import line_notes, line_proof, named
from taximeter.documents.unit_prices import explaining_price
from taximeter.documents.words import last_day, plain
from taximeter.errors import Rejected
from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.invoice import Invoice, Line, Status
from taximeter.money import exponent, format_exact, format_minor
from taximeter.parties import COUNTRIES, Party
from taximeter.periods import Period, local_day
from taximeter.quantities import E12, format_quantity

GUIDELINE: Final = "urn:cen.eu:en16931:2017"
UNIT: Final = "C62"  # "one" in UN/ECE Recommendation 20
DISCOUNT: Final = "95"  # UNCL 5189

NOT_SUBJECT: Final = "O"
REVERSE_CHARGE: Final = "AE"
EXEMPT: Final = "E"


class Vat(msgspec.Struct, frozen=True, order=True):
    """
    A VAT category (UNCL 5305) and its rate.

    Attributes:
        code: S standard, Z zero, E exempt, AE reverse charge, O not subject to VAT.
    """

    code: str
    rate: Fraction

    @property
    def percent(self) -> str | None:
        """ "19"; None where the standard wants no rate."""
        return None if self.code == NOT_SUBJECT else format_exact(self.rate * 100)

    @property
    def reason(self) -> tuple[str | None, str | None]:
        """Why nothing is due, as code (VATEX) and text."""
        return _REASONS.get(self.code, (None, None))


NO_VAT: Final = Vat(NOT_SUBJECT, Fraction(0))

_REASONS: Final[Mapping[str, tuple[str | None, str]]] = {
    REVERSE_CHARGE: ("VATEX-EU-AE", "Reverse charge"),
    EXEMPT: (None, "Exempt from tax"),
    NOT_SUBJECT: ("VATEX-EU-O", "Not subject to VAT"),
}


class Days(msgspec.Struct, frozen=True):
    """First and last day; the standard's periods include both."""

    first: date
    last: date


class EParty(msgspec.Struct, frozen=True):
    """
    A party, and under which of the standard's identifiers its tax id goes.

    Attributes:
        id: BT-29 or BT-46; None for none.
        vat_id: With its country before it (BT-31, BT-48).
        tax_id: One that is not a VAT id (BT-32).
    """

    party: Party
    id: str | None = None
    vat_id: str | None = None
    tax_id: str | None = None


class Allowance(msgspec.Struct, frozen=True):
    """Something taken off; `vat` for an allowance of the document."""

    reason: str
    amount: str
    vat: Vat | None = None


class ELine(msgspec.Struct, frozen=True):
    """
    quantity x price / base = net + allowances.

    Attributes:
        base: How many units the price is for (BT-149); None for one.
        note: What it was billed for, to be checked.
    """

    id: str
    name: str
    description: str
    note: str
    quantity: str
    price: str
    base: str | None
    net: str
    vat: Vat
    days: Days
    allowances: tuple[Allowance, ...]


class ETax(msgspec.Struct, frozen=True):
    vat: Vat
    taxable: str
    amount: str


class EInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """
    Amounts are decimal text in the invoice's currency; names as in the standard's model.

    Attributes:
        days: The period; its last day is that of delivery (BT-72).
    """

    kind: PaperKind
    number: str
    issued: date
    due: date | None
    terms: str | None
    currency: str
    notes: tuple[str, ...]
    days: Days
    corrects: tuple[str, date] | None
    seller: EParty
    buyer: EParty
    lines: tuple[ELine, ...]
    allowances: tuple[Allowance, ...]
    taxes: tuple[ETax, ...]
    line_total: str
    allowance_total: str
    tax_basis: str
    tax_total: str
    grand_total: str
    prepaid: str
    payable: str


def einvoice_of(paper: Paper) -> EInvoice:
    """
    Raises:
        Rejected: `einvoice_incomplete`; its detail `missing` names all that lacks.
    """
    missing = list(missing_of(paper))
    if missing:
        raise Rejected(
            "einvoice_incomplete",
            f"An e-invoice of {paper.invoice.number or paper.invoice.id} lacks "
            f"{'; '.join(missing)}.",
            missing=", ".join(missing),
        )
    return _Writer(paper).einvoice()


# --- what is missing --------------------------------------------------------------------------


def missing_of(paper: Paper) -> Iterator[str]:
    """What an e-invoice of this paper would lack, in words; nothing for a complete one."""
    invoice = paper.invoice
    if invoice.number is None or invoice.issued_at is None:
        yield "a number (it is a draft)"
    if paper.status is Status.VOID:
        yield "validity (it is void)"
    if not invoice.lines:
        yield "a line"
    yield from _missing_parties(invoice)
    yield from _missing_taxes(invoice)
    if exponent(invoice.currency) > 2 and not _fits(invoice):
        yield f"amounts of two digits (the standard has no third one, as {invoice.currency} has)"


def _missing_parties(invoice: Invoice) -> Iterator[str]:
    for name, party in (("issuer", invoice.issuer), ("billed_to", invoice.billed_to)):
        for member in ("name", "country"):
            if not getattr(party, member, ""):
                yield f"{name}.{member}"
    if not (invoice.issuer and invoice.issuer.tax_id):
        yield "issuer.tax_id"
    reverse = any(tax.note == "reverse_charge" for tax in invoice.taxes)
    if reverse and not (invoice.billed_to and _is_vat_id(invoice.billed_to.tax_id)):
        yield "billed_to.tax_id (a VAT id, for reverse charge)"


def _missing_taxes(invoice: Invoice) -> Iterator[str]:
    for tax in invoice.taxes:
        if tax.jurisdiction.partition("-")[0] == "US" and tax.amount_minor:
            yield f"VAT ({plain(tax.name)} of {tax.jurisdiction} is none)"
    if not taxed_by_line(invoice):
        yield "one VAT rate for each line (it has several, or they cannot be told apart)"


def _fits(invoice: Invoice) -> bool:
    """Whether every amount ends in a zero where the standard has no digit."""
    unit = 10 ** (exponent(invoice.currency) - 2)
    amounts = [invoice.credits_applied_minor]
    for net in nets_of(invoice):
        amounts += [net.listed_minor, *net.discounts_minor]
    for tax in invoice.taxes:
        amounts += [tax.amount_minor, tax.taxable_minor]
    return all(amount % unit == 0 for amount in amounts)


def _is_vat_id(text: str) -> bool:
    """With its country before it, as the standard wants (BR-CO-09); Greece is EL there."""
    return len(text) > 4 and (text[:2] in COUNTRIES or text[:2] == "EL")


# --- the terms --------------------------------------------------------------------------------


class _Writer:
    """One complete paper on its way."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self._invoice = paper.invoice
        self._nets = nets_of(paper.invoice)
        counted = Counter(
            one.id for line in paper.invoice.lines for one in line.discounts if one.amount_minor
        )
        self._wide = {discount for discount, lines in counted.items() if lines > 1}

    def einvoice(self) -> EInvoice:
        invoice, zone = self._invoice, self._paper.timezone
        assert invoice.number is not None, "a complete paper has a number"
        assert invoice.issued_at is not None, "and was issued"
        lines = tuple(self._lines())
        lines_minor = sum(self._line_minor(place) for place in range(len(lines)))
        wide = self._wide_minor()
        allowances_minor = sum(wide.values())
        tax_minor = invoice.tax_minor
        basis_minor = lines_minor - allowances_minor
        assert basis_minor + tax_minor == invoice.total_minor, invoice.id
        return EInvoice(
            kind=self._paper.kind,
            number=plain(invoice.number),
            issued=local_day(invoice.issued_at, zone),
            due=None if invoice.due_at is None else local_day(invoice.due_at, zone),
            terms="Payable on receipt" if invoice.due_at is None else None,
            currency=invoice.currency,
            notes=tuple(self._notes()),
            days=self._days(invoice.period),
            corrects=self._corrects(),
            seller=self._seller(),
            buyer=self._buyer(),
            lines=lines,
            allowances=tuple(
                Allowance(plain(named(invoice, discount)), self._text(minor), vat)
                for (discount, vat), minor in wide.items()
            ),
            taxes=tuple(self._taxes()),
            line_total=self._text(lines_minor),
            allowance_total=self._text(allowances_minor),
            tax_basis=self._text(basis_minor),
            tax_total=self._text(tax_minor),
            grand_total=self._text(invoice.total_minor),
            prepaid=self._text(invoice.credits_applied_minor),
            payable=self._text(invoice.amount_due_minor),
        )

    def _text(self, minor: int) -> str:
        """At most two digits, which a complete paper keeps to."""
        text = format_minor(minor, self._invoice.currency)
        over = exponent(self._invoice.currency) - 2
        return text[:-over] if over > 0 else text

    def _days(self, period: Period) -> Days:
        zone = self._paper.timezone
        return Days(local_day(period.start, zone), last_day(period, zone))

    def _notes(self) -> Iterator[str]:
        if self._paper.reason:
            yield plain(self._paper.reason)
        if self._paper.digest:
            yield f"Digest of this document: {self._paper.digest}"

    def _corrects(self) -> tuple[str, date] | None:
        corrected = self._paper.corrects
        if corrected is None:
            return None
        return plain(corrected.number), local_day(corrected.issued_at, self._paper.timezone)

    # --- who ---

    def _seller(self) -> EParty:
        party = self._invoice.issuer or Party()
        if self._is_untaxed:  # then the standard forbids a VAT id
            return EParty(party, id=party.tax_id)
        if _is_vat_id(party.tax_id):
            return EParty(party, vat_id=party.tax_id)
        return EParty(party, id=party.tax_id, tax_id=party.tax_id)

    def _buyer(self) -> EParty:
        party = self._invoice.billed_to or Party()
        has_vat_id = _is_vat_id(party.tax_id) and not self._is_untaxed
        return EParty(
            party, id=plain(self._invoice.customer), vat_id=party.tax_id if has_vat_id else None
        )

    @property
    def _is_untaxed(self) -> bool:
        return not self._invoice.taxes

    # --- what ---

    def _vat_of(self, line: Line) -> Vat:
        tax = tax_of(self._invoice, line)
        if tax is not None:
            return _vat(tax)
        # Nothing of the line is left to tax; so it may stand under any rate there is.
        return _vat(self._invoice.taxes[0]) if self._invoice.taxes else NO_VAT

    def _line_minor(self, place: int) -> int:
        """A line behind its own allowances, before those of the document."""
        net = self._nets[place]
        return net.listed_minor - sum(minor for _, minor in self._own(place))

    def _own(self, place: int) -> Iterator[tuple[str, int]]:
        line, net = self._invoice.lines[place], self._nets[place]
        for one, minor in zip(line.discounts, net.discounts_minor, strict=True):
            if one.id not in self._wide and minor:
                yield one.id, minor

    def _wide_minor(self) -> dict[tuple[str, Vat], int]:
        """What each discount on several lines takes off under each rate."""
        found: dict[tuple[str, Vat], int] = {}
        for line, net in zip(self._invoice.lines, self._nets, strict=True):
            for one, minor in zip(line.discounts, net.discounts_minor, strict=True):
                if one.id in self._wide and minor:
                    key = (one.id, self._vat_of(line))
                    found[key] = found.get(key, 0) + minor
        return found

    def _lines(self) -> Iterator[ELine]:
        told = frozenset(one.id for one in self._invoice.discounts)
        for place, line in enumerate(self._invoice.lines):
            quantity, price, base = self._priced(line, self._nets[place])
            yield ELine(
                id=plain(line.id),
                name=plain(line.description) or plain(line.price),
                description="; ".join(plain(note) for note in line_notes(self._paper, line, told)),
                note=line_proof(line),
                quantity=quantity,
                price=price,
                base=base,
                net=self._text(self._line_minor(place)),
                vat=self._vat_of(line),
                days=self._days(line.period),
                allowances=tuple(
                    Allowance(plain(named(self._invoice, discount)), self._text(minor))
                    for discount, minor in self._own(place)
                ),
            )

    def _priced(self, line: Line, net: LineNet) -> tuple[str, str, str | None]:
        """Quantity, price (never negative, BR-27) and how many units that is for."""
        listed = net.listed_minor
        if listed < 0:
            return "-1", self._text(-listed), None
        if line.quantity_pico in (0, E12):
            return ("1" if listed else "0"), self._text(listed), None
        quantity = format_quantity(line.quantity_pico)
        price = explaining_price(line, listed, self._invoice.currency)
        if price is not None and "/" not in format_exact(price):
            return quantity, format_exact(price), None
        return quantity, self._text(listed), quantity

    def _taxes(self) -> Iterator[ETax]:
        taxable: dict[Vat, int] = {}
        for line, net in zip(self._invoice.lines, self._nets, strict=True):
            vat = self._vat_of(line)
            taxable[vat] = taxable.get(vat, 0) + net.net_minor
        due = dict.fromkeys(taxable, 0)
        for tax in self._invoice.taxes:
            due[_vat(tax)] += tax.amount_minor
        for vat in sorted(taxable):
            yield ETax(vat, self._text(taxable[vat]), self._text(due[vat]))


def _vat(tax: AppliedTax) -> Vat:
    if tax.note == "reverse_charge":
        return Vat(REVERSE_CHARGE, Fraction(0))
    if tax.note == "exempt":
        return Vat(EXEMPT, Fraction(0))
    return Vat("S" if tax.rate else "Z", tax.rate)
