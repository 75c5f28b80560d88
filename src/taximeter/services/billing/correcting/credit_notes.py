"""
Credit notes: a part of an issued invoice taken back, booked at once, above a size by two people.

What is open on the invoice is lowered first; what was paid is a balance of the customer's, which
pays its next invoices; what prepaid credit paid goes back into its grants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.errors import Denied, NotFound, Refused, Rejected
from taximeter.instants import format_instant
from taximeter.invoices.credit_note import (
    CreditLine,
    CreditNote,
    amount_of_quantity,
    amounts_of_total,
    draft_note,
    dump_credit_note,
    left_of_lines,
    parse_credit_note,
)
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.money import exponent, parse_amount
from taximeter.notices.notice import CREDIT_NOTE_ISSUED
from taximeter.ports import StoredCreditNote
from taximeter.quantities import parse_quantity
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.billing.evidence.cited import find_line
from taximeter.services.billing.issuing.credits import funded, give_back_part
from taximeter.services.core import Core, audit
from taximeter.services.ids import new_id
from taximeter.services.notices.service import publish
from taximeter.services.tenant import Tenant
from taximeter.taxes.documents import Exact

STATUSES = ("pending", "issued", "rejected")
MAX_NOTES = 1_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class LineWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is taken back of a line: an `amount`, a part of its `quantity`, or all that is left."""

    line: str
    amount: Exact | None = None
    quantity: Exact | None = None


class NoteWish(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Lines, or an `amount` with its tax over all of them; with neither, all that is left."""

    id: str | None = None
    reason: str
    lines: tuple[LineWish, ...] | None = None
    amount: Exact | None = None


Build = Callable[[str, Sequence[CreditNote]], CreditNote]


async def credit(
    core: Core,
    tenant: Tenant,
    invoice_id: str,
    wish: NoteWish,
    actor: str,
    *,
    corrects: bool = False,
) -> StoredCreditNote:
    """
    Issue a credit note, or leave it for a second person if the settings want one. The same id again
    gives the same one.

    Raises:
        NotFound: No such invoice, or line.
        Rejected: `invalid_request`; `exceeds_invoice`: more than is left of it.
        Refused: `invoice_not_issued`; `credit_note_exists`: another one has the id.
    """
    invoice = parse_invoice((await find_invoice(core, tenant, invoice_id)).document)
    _check(wish)
    now = core.clock.now()
    note = _asked(tenant, invoice, wish, actor, now, corrects=corrects)
    known = await core.books.run(core.books.books.credit_note, tenant.name, note.id)
    if known is not None:
        return await _again(core, tenant, known, note)
    if invoice.number is not None:
        earlier = await issued_notes(core, tenant, invoice_id)
        total_minor = _built(invoice, note, now)("", earlier).total_minor
        if needs_second(tenant, invoice.currency, total_minor):
            entry = audit(tenant, now, actor, "credit_note.ask", note.id, invoice=invoice_id)
            await core.books.run(core.books.books.put_credit_note, note, entry)
            return note
    return await _issue(core, tenant, invoice, note, actor, "credit_note.issue")


async def foreseen(core: Core, tenant: Tenant, invoice_id: str, wish: NoteWish) -> dict[str, Any]:
    """
    What a credit note would come to, and whether it would wait for a second person. Makes none.

    Raises:
        NotFound, Rejected, Refused: As `credit`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    invoice = parse_invoice(stored.document)
    _check(wish)
    if invoice.number is None or stored.status == Status.VOID.value:
        raise Refused("invoice_not_issued", f"Invoice {invoice_id!r} is {stored.status}.")
    now = core.clock.now()
    note = _asked(tenant, invoice, wish, "", now)
    built = _built(invoice, note, now)("", await issued_notes(core, tenant, invoice_id))
    shown = dump_credit_note(built)
    names = ("currency", "lines", "taxes", "subtotal", "tax", "total", "credits_returned")
    return {
        **{name: shown[name] for name in names},
        "needs_approval": needs_second(tenant, invoice.currency, built.total_minor),
    }


async def approve(core: Core, tenant: Tenant, note_id: str, actor: str) -> StoredCreditNote:
    """
    Issue a credit note that waits for a second person.

    Raises:
        NotFound: No such credit note.
        Denied: `four_eyes`: who asked for it does not approve it.
        Rejected: `exceeds_invoice`: so much is not left any more.
        Refused: `credit_note_settled`, `invoice_not_issued`.
    """
    note = await _pending(core, tenant, note_id)
    if note.made_by == actor:
        raise Denied("four_eyes", "Who asked for a credit note does not approve it.", made_by=actor)
    invoice = parse_invoice((await find_invoice(core, tenant, note.invoice)).document)
    note = replace(note, decided_by=actor, decided_at=core.clock.now())
    return await _issue(core, tenant, invoice, note, actor, "credit_note.approve")


async def reject(
    core: Core, tenant: Tenant, note_id: str, reason: str, actor: str
) -> StoredCreditNote:
    """
    Give up a credit note that waits for a second person.

    Raises:
        NotFound: No such credit note.
        Refused: `credit_note_settled`.
    """
    note = await _pending(core, tenant, note_id)
    now = core.clock.now()
    note = replace(note, status="rejected", decided_by=actor, decided_at=now)
    entry = audit(tenant, now, actor, "credit_note.reject", note_id, reason=reason)
    await core.books.run(core.books.books.put_credit_note, note, entry)
    if note.request["corrects"]:
        await _open_again(core, tenant, note)
    return note


async def _open_again(core: Core, tenant: Tenant, note: StoredCreditNote) -> None:
    """The late usage that a credit note would have settled goes on the next invoice."""
    found = await core.books.run(
        core.books.books.late_usage,
        tenant.name,
        customer=None,
        status="credited",
        before=None,
        limit=MAX_NOTES,
    )
    entries = [
        replace(one, status="pending", by_invoice=None, by_credit_note=None, settled_at=None)
        for one in found
        if one.by_credit_note == note.id
    ]
    await core.books.run(core.books.books.settle_late, entries, ("credited",))


async def find_note(core: Core, tenant: Tenant, note_id: str) -> StoredCreditNote:
    """
    Raises:
        NotFound: No such credit note.
    """
    found = await core.books.run(core.books.books.credit_note, tenant.name, note_id)
    if found is None:
        raise NotFound("not_found", f"There is no credit note {note_id!r}.")
    return found


async def issued_notes(core: Core, tenant: Tenant, invoice_id: str) -> list[CreditNote]:
    """Those that an invoice has, newest first."""
    found = await core.books.run(
        core.books.books.credit_notes,
        tenant.name,
        invoice=invoice_id,
        customer=None,
        status="issued",
        before=None,
        limit=MAX_NOTES,
    )
    return [parse_credit_note(one.document) for one in found if one.document is not None]


def needs_second(tenant: Tenant, currency: str, total_minor: int) -> bool:
    """Whether a credit note of this size waits for a second person."""
    least_minor = tenant.billing.four_eyes_minor.get(currency)
    return least_minor is not None and total_minor >= least_minor


def note_json(note: StoredCreditNote) -> dict[str, Any]:
    """The document as issued, with who made it beside; of one not issued, what it asks."""
    document: dict[str, Any] = {
        "id": note.id,
        "number": None,
        "invoice": note.invoice,
        "customer": note.customer,
    }
    if note.document is not None:
        document = msgspec.json.decode(note.document)
    return {
        **document,
        "status": note.status,
        "requested": note.request,
        "made_by": note.made_by,
        "made_at": format_instant(note.made_at),
        "decided_by": note.decided_by,
        "decided_at": None if note.decided_at is None else format_instant(note.decided_at),
    }


def _asked(
    tenant: Tenant, invoice: Invoice, wish: NoteWish, actor: str, at: int, *, corrects: bool = False
) -> StoredCreditNote:
    return StoredCreditNote(
        namespace=tenant.name,
        id=wish.id or new_id("cn"),
        invoice=invoice.id,
        customer=invoice.customer,
        status="pending",
        request={**_plain(wish), "corrects": corrects},
        made_by=actor,
        made_at=at,
    )


# --- made -------------------------------------------------------------------------------------


async def _again(
    core: Core, tenant: Tenant, known: StoredCreditNote, note: StoredCreditNote
) -> StoredCreditNote:
    if (known.invoice, known.request) != (note.invoice, note.request):
        raise Refused(
            "credit_note_exists",
            f"Credit note {note.id!r} takes back something else; choose another id.",
        )
    await _return_credit(core, tenant, known)
    return known


async def _pending(core: Core, tenant: Tenant, note_id: str) -> StoredCreditNote:
    note = await find_note(core, tenant, note_id)
    if note.status != "pending":
        raise Refused(
            "credit_note_settled",
            f"Credit note {note_id!r} is {note.status} already.",
            status=note.status,
        )
    return note


async def _issue(
    core: Core, tenant: Tenant, invoice: Invoice, note: StoredCreditNote, actor: str, action: str
) -> StoredCreditNote:
    now = core.clock.now()
    entry = audit(tenant, now, actor, action, note.id, invoice=note.invoice)
    build = _built(invoice, note, now)
    issued = await core.books.run(
        core.books.books.issue_credit_note, note, build, entry, funded(tenant, invoice)
    )
    await _return_credit(core, tenant, issued)
    document = note_json(issued)
    data = {
        "credit_note": issued.id,
        **{name: document[name] for name in ("number", "invoice", "invoice_number", "customer")},
        **{name: document[name] for name in ("currency", "total", "reason")},
    }
    key = f"{CREDIT_NOTE_ISSUED}:{issued.id}"
    publish(core, tenant, CREDIT_NOTE_ISSUED, issued.customer, data, key)
    return issued


async def _return_credit(core: Core, tenant: Tenant, note: StoredCreditNote) -> None:
    """Once, however often it is asked for: a node may have died before it did."""
    if note.document is not None:
        issued = parse_credit_note(note.document)
        if issued.credits_minor:
            await give_back_part(
                core, tenant, issued.customer, issued.invoice, issued.id,
                issued.credits_minor, issued.currency,
            )  # fmt: skip


def _built(invoice: Invoice, note: StoredCreditNote, now: int) -> Build:
    wish = note.request
    total_minor = _minor(wish["amount"], invoice.currency) if "amount" in wish else None

    def build(number: str, earlier: Sequence[CreditNote]) -> CreditNote:
        lines = _lines(invoice, earlier, wish, total_minor)
        return draft_note(
            invoice,
            earlier,
            lines,
            note_id=note.id,
            number=number,
            at=now,
            reason=wish["reason"],
            total_minor=total_minor,
            corrects=wish["corrects"],
        )

    return build


def _lines(
    invoice: Invoice,
    earlier: Sequence[CreditNote],
    wish: Mapping[str, Any],
    total_minor: int | None,
) -> list[CreditLine]:
    whole = [{"line": line.id} for line in invoice.lines]
    found: list[CreditLine] = []
    if total_minor is not None:
        amounts = amounts_of_total(invoice, earlier, total_minor)
        return [_line(invoice, line, minor, None) for line, minor in amounts.items()]
    asked = wish.get("lines", whole)
    for one in asked:
        line = find_line(invoice, one["line"])
        quantity_pico = None
        if "amount" in one:
            minor = _minor(one["amount"], invoice.currency)
        elif "quantity" in one:
            quantity_pico = parse_quantity(one["quantity"])
            minor = amount_of_quantity(line, quantity_pico, invoice.currency)
        else:
            minor = left_of_lines(invoice, earlier).get(line.id, 0)
        if minor > 0:
            found.append(_line(invoice, line.id, minor, quantity_pico))
    if not found:
        raise Rejected("exceeds_invoice", "Nothing of that is left to take back.")
    return found


def _line(invoice: Invoice, line: str, minor: int, quantity_pico: int | None) -> CreditLine:
    return CreditLine(
        line=line,
        description=find_line(invoice, line).description,
        amount_minor=minor,
        quantity_pico=quantity_pico,
    )


# --- what was asked ---------------------------------------------------------------------------


def _check(wish: NoteWish) -> None:
    if wish.id is not None and not _ID.fullmatch(wish.id):
        raise Rejected("invalid_request", "id: 1 to 64 letters, digits and _ . -")
    if not wish.reason.strip():
        raise Rejected("invalid_request", "reason: why it is taken back; the customer reads it.")
    if wish.lines is not None and wish.amount is not None:
        raise Rejected("invalid_request", "Either lines or an amount over all of them.")
    lines = () if wish.lines is None else wish.lines
    if wish.lines is not None and not lines:
        text = "lines: names none; leave it out to take back all that is left of the invoice."
        raise Rejected("invalid_request", text)
    names = [one.line for one in lines]
    if len(set(names)) != len(names):
        raise Rejected("invalid_request", "lines: each line at most once.")
    for one in lines:
        if one.amount is not None and one.quantity is not None:
            raise Rejected("invalid_request", f"{one.line}: either an amount or a quantity.")


def _plain(wish: NoteWish) -> dict[str, Any]:
    """As it is stored: amounts and quantities as text."""
    plain: dict[str, Any] = {"reason": wish.reason}
    if wish.amount is not None:
        plain["amount"] = str(wish.amount)
    if wish.lines:
        plain["lines"] = [
            {
                name: str(value)
                for name, value in (
                    ("line", one.line), ("amount", one.amount), ("quantity", one.quantity),
                )
                if value is not None
            }
            for one in wish.lines
        ]  # fmt: skip
    return plain


def _minor(text: str, currency: str) -> int:
    """
    Raises:
        Rejected: `invalid_amount` for what is no amount above 0 of the currency.
    """
    digits = exponent(currency)
    try:
        scaled = parse_amount(text) * 10**digits
    except Rejected:
        scaled = Fraction(0)
    if scaled <= 0 or scaled.denominator != 1:
        raise Rejected(
            "invalid_amount",
            f"{text[:40]!r} is not an amount of {currency}: above 0, with a point and at most "
            f"{digits} fractional digits.",
        )
    return int(scaled)
