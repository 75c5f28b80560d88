"""
The sheet: a paper as the page that is printed, every text in its place and ready to be read.

PDF and HTML are two layouts of one sheet, so they cannot say different things. All of it is data:
a layout puts text on a page and never reads it as markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction

import msgspec

from taximeter.catalog.prices import SeatMode
from taximeter.documents import words
from taximeter.documents.paper import Paper, PaperKind
from taximeter.documents.unit_prices import price_of
from taximeter.documents.words import amount, exact, percent, plain, quantity
from taximeter.invoices.applied import AppliedTax
from taximeter.invoices.invoice import Invoice, Line, Status
from taximeter.money import exponent, format_exact
from taximeter.parties import Party
from taximeter.periods import local_day
from taximeter.rating import RatedSeats, RatedTier

LAYOUT = 1
"""Counts changes that make another page of the same document. A PDF once made is kept with it."""


class Fact(msgspec.Struct, frozen=True):
    label: str
    value: str


class SheetLine(msgspec.Struct, frozen=True):
    """
    Attributes:
        unit: Price of each where one price explains the amount, else "".
        notes: How the amount comes about, one remark each.
        proof: How many events, and the beginning of their digest; "" for a fee.
    """

    text: str
    quantity: str
    unit: str
    amount: str
    notes: tuple[str, ...] = ()
    proof: str = ""


class Section(msgspec.Struct, frozen=True):
    """Lines of one subscription. `title` and `subtotal` are "" where there is only one."""

    title: str
    subtotal: str
    lines: tuple[SheetLine, ...]


class Sum(msgspec.Struct, frozen=True):
    """A row of the sums at the foot. `strong` for the ones a reader looks for first."""

    label: str
    amount: str
    note: str = ""
    strong: bool = False


class Address(msgspec.Struct, frozen=True):
    label: str
    name: str
    lines: tuple[str, ...]


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        mark: What is printed across every page, "DRAFT" or "VOID"; "" for nothing.
        headline: The amount, with its currency; `deadline` says when it is to be paid.
        date: Day, month and year of the paper, for the properties of a PDF; None for a draft.
        proof: How anyone checks the numbers.
    """

    title: str
    name: str
    mark: str
    headline: str
    deadline: str
    currency: str
    facts: tuple[Fact, ...]
    parties: tuple[Address, ...]
    sections: tuple[Section, ...]
    sums: tuple[Sum, ...]
    remarks: tuple[str, ...]
    proof: tuple[Fact, ...]
    date: tuple[int, int, int] | None
    layout: int = LAYOUT


def sheet_of(paper: Paper) -> Sheet:
    """
    Args:
        paper: Of any status; one without a number is marked as a draft.
    """
    invoice = paper.invoice
    issued = None if invoice.issued_at is None else local_day(invoice.issued_at, paper.timezone)
    return Sheet(
        title="Credit note" if paper.kind is PaperKind.CREDIT_NOTE else "Invoice",
        name=invoice.number or invoice.id,
        mark=_mark(paper),
        headline=f"{invoice.currency} {amount(invoice.amount_due_minor, invoice.currency)}",
        deadline=_deadline(paper),
        currency=invoice.currency,
        facts=tuple(_facts(paper)),
        parties=tuple(_parties(paper)),
        sections=tuple(_sections(paper)),
        sums=tuple(_sums(paper)),
        remarks=tuple(_remarks(paper)),
        proof=tuple(_proof(paper)),
        date=None if issued is None else (issued.day, issued.month, issued.year),
    )


def _mark(paper: Paper) -> str:
    if paper.status is Status.VOID:
        return "VOID"
    return "" if paper.is_final else "DRAFT"


def _deadline(paper: Paper) -> str:
    invoice = paper.invoice
    if paper.status is Status.VOID:
        return "void"
    if not paper.is_final:
        return "not issued yet"
    if paper.kind is PaperKind.CREDIT_NOTE:
        return "credited to you"
    if invoice.amount_due_minor <= 0:
        return "nothing to pay"
    if invoice.due_at is None:
        return "to pay"
    return f"to pay by {words.day(invoice.due_at, paper.timezone)}"


# --- who and when -----------------------------------------------------------------------------


def _facts(paper: Paper) -> Iterator[Fact]:
    invoice, zone = paper.invoice, paper.timezone
    yield Fact("Number", invoice.number or f"{plain(invoice.id)} (not issued)")
    if paper.corrects is not None:
        corrected = words.day(paper.corrects.issued_at, zone)
        yield Fact("For invoice", f"{plain(paper.corrects.number)} of {corrected}")
    if invoice.issued_at is not None:
        yield Fact("Issued", words.day(invoice.issued_at, zone))
    if invoice.due_at is not None:
        yield Fact("Due", words.day(invoice.due_at, zone))
    yield Fact("Period", words.span(invoice.period, zone))
    yield Fact("Customer", plain(invoice.customer))


def _parties(paper: Paper) -> Iterator[Address]:
    invoice = paper.invoice
    if invoice.issuer is not None:
        yield _address("From", invoice.issuer, "")
    billed_to = invoice.billed_to or Party()
    yield _address("Billed to", billed_to, paper.name_of(invoice.customer))


def _address(label: str, party: Party, known_as: str) -> Address:
    town = " ".join(part for part in (party.postal_code, party.city) if part)
    place = ", ".join(part for part in (town, party.region, party.country) if part)
    tax_id = f"Tax ID {party.tax_id}" if party.tax_id else ""
    lines = (*party.address, place, tax_id, party.email)
    return Address(
        label, plain(party.name or known_as), tuple(plain(line) for line in lines if line)
    )


# --- what is charged --------------------------------------------------------------------------


def _sections(paper: Paper) -> Iterator[Section]:
    """Lines of one customer and subscription together, in the order the document names them."""
    invoice = paper.invoice
    on_all = _discounts_on_all(invoice)
    owned: dict[tuple[str, str], list[Line]] = {}
    for line in invoice.lines:
        customer = line.customer or invoice.customer
        owned.setdefault((customer, line.subscription or invoice.subscription), []).append(line)
    titles = [_title(paper, customer, lines[0]) for (customer, _), lines in owned.items()]
    for title, ((_, subscription), lines) in zip(titles, owned.items(), strict=True):
        if len(owned) == 1:
            heading = subtotal = ""
        else:
            heading = title if titles.count(title) == 1 else f"{title} ({subscription})"
            subtotal = amount(sum(line.amount_minor for line in lines), invoice.currency)
        shown = tuple(_line(paper, line, on_all) for line in lines)
        yield Section(plain(heading), subtotal, shown)


def _title(paper: Paper, customer: str, line: Line) -> str:
    return f"{paper.name_of(customer)} · {line.price.partition('/')[0]}"


def _line(paper: Paper, line: Line, told: frozenset[str]) -> SheetLine:
    currency = paper.invoice.currency
    return SheetLine(
        text=plain(line.description),
        quantity=quantity(line.quantity_pico),
        unit=_unit(line, exponent(currency)),
        amount=amount(line.amount_minor, currency),
        notes=tuple(plain(note) for note in line_notes(paper, line, told)),
        proof=line_proof(line),
    )


def _unit(line: Line, digits: int) -> str:
    price = price_of(line)
    return "" if price is None else f"{exact(price, digits)}{_source(line)}"


def _source(line: Line) -> str:
    """The currency or unit of a price that is not the invoice's, to stand behind an amount."""
    return f" {line.conversions[0].source}" if line.conversions else ""


def line_notes(paper: Paper, line: Line, told: frozenset[str]) -> Iterator[str]:
    """
    What stands between the quantity and the amount, in the order it is reckoned (K10).

    Args:
        told: Discounts that are told elsewhere.
    """
    invoice, zone = paper.invoice, paper.timezone
    digits = exponent(invoice.currency)
    if line.period != invoice.period and line.adjusts is None:
        yield words.span(line.period, zone)
    if line.metered_pico is not None:
        yield f"{quantity(line.metered_pico)} metered"
    if line.hours and line.hours not in line.description:
        yield line.hours
    if line.seats is not None:
        yield _seats(line.seats)
    if line.free_pico:
        yield f"{quantity(line.free_pico)} included"
    if price_of(line) is None:
        yield from (_tier(tier, digits) + _source(line) for tier in line.tiers)
    if line.multiplier != 1:
        yield f"× {format_exact(line.multiplier)}"
    if line.adjustment:
        bound = "raised to the minimum" if line.adjustment > 0 else "held to the maximum"
        yield f"{bound}: {_signed(line.adjustment, digits)}{_source(line)}"
    for one in line.conversions:
        since = "" if not one.effective_at else f", since {words.day(one.effective_at, zone)}"
        yield f"1 {one.source} = {format_exact(one.rate)} {one.target}{since}"
    if line.adjusts is not None:
        old = line.adjusts
        if old.number not in line.description:
            yield f"Corrects invoice {old.number}"
        now = amount(old.rerated_minor, invoice.currency)
        before = amount(old.billed_minor, invoice.currency)
        yield f"{words.span(old.period, zone)}: now {now}, billed before {before}"
    for part in line.discounts:
        if part.id not in told:
            yield f"{named(invoice, part.id)}: −{amount(part.amount_minor, invoice.currency)}"


def named(invoice: Invoice, discount: str) -> str:
    """What a discount is called, or its id."""
    names = {one.id: one.name for one in invoice.discounts}
    return names.get(discount) or discount


def _discounts_on_all(invoice: Invoice) -> frozenset[str]:
    """Discounts that every line has a part of: the sums tell them better."""
    charged = [line for line in invoice.lines if line.amount_minor]
    counted = Counter(one.id for line in charged for one in line.discounts)
    return frozenset(discount for discount, lines in counted.items() if lines == len(charged))


def _seats(seats: RatedSeats) -> str:
    if seats.mode is SeatMode.PEAK:
        return f"{seats.peak:,} seats at most at one time"
    share = Fraction(seats.charged, seats.of)
    return f"{seats.peak:,} seats at most, {words.rounded(share)} in the mean of the period"


def _tier(tier: RatedTier, digits: int) -> str:
    if tier.packages is not None:
        text = f"{tier.packages:,} packages × {exact(tier.unit, digits)}"
    else:
        text = f"{quantity(tier.quantity_pico)} × {exact(tier.unit, digits)}"
    if tier.flat:
        text += f" + {exact(tier.flat, digits)}"
    return f"{text} = {exact(tier.amount, digits)}"


def _signed(value: Fraction, digits: int) -> str:
    return f"{'+' if value > 0 else '−'}{exact(abs(value), digits)}"


def line_proof(line: Line) -> str:
    if line.lineage is None:
        return ""
    events = "1 event" if line.lineage.events == 1 else f"{line.lineage.events:,} events"
    return f"{events} · {_short(line.lineage.digest)}" if line.lineage.digest else events


# --- the sums ---------------------------------------------------------------------------------


def _sums(paper: Paper) -> Iterator[Sum]:
    invoice, currency = paper.invoice, paper.invoice.currency
    yield Sum("Subtotal", amount(invoice.subtotal_minor, currency))
    for discount in invoice.discounts:
        name = plain(discount.name or discount.id)
        yield Sum(name, amount(-discount.amount_minor, currency))
    for tax in invoice.taxes:
        taxable = amount(tax.taxable_minor, currency)
        if tax.inclusive:
            note = f"{amount(tax.amount_minor, currency)} on {taxable}"
            yield Sum(f"Includes {_tax_name(tax)}", "", note)
        else:
            yield Sum(_tax_name(tax), amount(tax.amount_minor, currency), f"on {taxable}")
    credited = paper.kind is PaperKind.CREDIT_NOTE
    alone = not invoice.credits
    total = amount(invoice.total_minor, currency)
    yield Sum("Total credited" if credited else "Total", total, strong=alone)
    for credit in invoice.credits:
        name = plain(f"Credit {credit.credit}, grant {credit.grant}")
        name = "Back into prepaid credit" if credited else name
        yield Sum(name, amount(-credit.amount_minor, currency))
    if not alone:
        due = "Given back" if credited else "Amount due"
        yield Sum(due, amount(invoice.amount_due_minor, currency), strong=True)


def _tax_name(tax: AppliedTax) -> str:
    return plain(f"{tax.name} {percent(tax.rate)} {tax.jurisdiction}")


def _remarks(paper: Paper) -> Iterator[str]:
    if paper.reason:
        yield plain(paper.reason)
    notes = {tax.note for tax in paper.invoice.taxes}
    if "reverse_charge" in notes:
        yield "Reverse charge: the recipient of the service is liable for the tax."
    if "exempt" in notes:
        yield "Exempt from tax."


# --- proof ------------------------------------------------------------------------------------


def _proof(paper: Paper) -> Iterator[Fact]:
    if paper.digest:
        yield Fact("Digest of this document", paper.digest)
    position = _position(paper.invoice.lines)
    if position:
        yield Fact("Usage read up to position", position)
    if paper.digest and paper.kind is PaperKind.INVOICE:
        path = f"/v1/invoices/{paper.invoice.id}/verify"
        yield Fact("Recount it from the events", plain(f"GET {path}"))


def _position(lines: Iterable[Line]) -> str:
    found = [line.lineage.position for line in lines if line.lineage is not None]
    return max(found, key=lambda position: int(position.rpartition(":")[2]), default="")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
