"""
Correcting an issued invoice at once, instead of with the next one: by an invoice of adjustments
alone, or by a credit note for what came out too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from taximeter.errors import Refused, Rejected
from taximeter.invoices.adjustments import place_of
from taximeter.invoices.credit_note import left_of_lines
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.invoices.states import UNISSUED
from taximeter.money import format_minor
from taximeter.ports import LateUsage, StoredCreditNote, StoredInvoice
from taximeter.services.billing.correcting.adjustments import (
    Adjusted,
    Corrected,
    adjusted,
    open_corrections,
    outcomes,
)
from taximeter.services.billing.correcting.credit_notes import (
    LineWish,
    NoteWish,
    credit,
    issued_notes,
)
from taximeter.services.billing.correcting.late import OPEN, sweep
from taximeter.services.billing.drafting.assembly import Draft, corrections_alone
from taximeter.services.billing.drafting.drafts import find_invoice, store_corrections
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MODES = ("adjust", "credit_note")


async def correct(
    core: Core, tenant: Tenant, invoice_id: str, mode: str, reason: str, actor: str
) -> StoredInvoice | StoredCreditNote:
    """
    Args:
        mode: "adjust": a draft with what came late for the invoice's periods, up or down;
            "credit_note": what they come to less is given back.

    Raises:
        NotFound: No such invoice.
        Rejected: `invalid_request`; `exceeds_invoice`: more than is left of a line.
        Refused: `invoice_not_issued`; `nothing_to_adjust`.
    """
    if mode not in MODES:
        raise Rejected("invalid_request", f"mode: {' or '.join(MODES)}.")
    stored = await find_invoice(core, tenant, invoice_id)
    if Status(stored.status) in {*UNISSUED, Status.VOID}:
        raise Refused(
            "invoice_not_issued",
            f"Invoice {invoice_id!r} is {stored.status}; a draft is made again instead.",
            status=stored.status,
        )
    async with core.lock(tenant):
        upto = await core.upto()
        billed = await core.books.run(core.books.books.billed_periods, tenant.name)
        await sweep(core, tenant, billed, upto)
        invoice = parse_invoice(stored.document)
        periods = (await open_corrections(core, tenant, upto)).of(invoice)
        if mode == "adjust":
            return await _adjust(core, tenant, invoice_id, periods, upto, actor)
        return await _credit(core, tenant, invoice, periods, upto, reason, actor)


async def _adjust(
    core: Core,
    tenant: Tenant,
    invoice_id: str,
    periods: Sequence[Corrected],
    upto: int,
    actor: str,
) -> StoredInvoice:
    draft: Draft | tuple[LateUsage, ...] = ()
    if periods:
        draft = await corrections_alone(core, tenant, periods, upto)
        for made in await store_corrections(core, tenant, draft, core.clock.now(), actor):
            return await find_invoice(core, tenant, made)
    raise _nothing(invoice_id)


async def _credit(
    core: Core,
    tenant: Tenant,
    invoice: Invoice,
    periods: Sequence[Corrected],
    upto: int,
    reason: str,
    actor: str,
) -> StoredCreditNote:
    found = [await adjusted(core, tenant, one, None, upto) for one in periods]
    less = {delta.place: -delta.minor for one in found for delta in one.found if delta.minor < 0}
    more = [delta for one in found for delta in one.found if delta.minor > 0]
    if more:
        raise Refused(
            "nothing_to_adjust",
            f"{more[0].line.description} comes to more than was billed, which no credit note can "
            "bill; correct it with mode adjust.",
        )
    if not less:
        raise _nothing(invoice.id)
    left = left_of_lines(invoice, await issued_notes(core, tenant, invoice.id))
    lines: list[LineWish] = []
    for line in invoice.lines:
        part = min(less.get(place_of(line), 0), left.get(line.id, 0))
        if part:
            less[place_of(line)] -= part
            lines.append(LineWish(line.id, amount=format_minor(part, invoice.currency)))
    missing = sum(less.values())
    if missing:
        raise Rejected(
            "exceeds_invoice",
            f"{format_minor(missing, invoice.currency)} {invoice.currency} of it is not left on "
            f"invoice {invoice.number}; correct it with mode adjust.",
        )
    wish = NoteWish(reason=reason or "Usage was corrected.", lines=tuple(lines))
    note = await credit(core, tenant, invoice.id, wish, actor, corrects=True)
    await _settle(core, found, note)
    return note


async def _settle(core: Core, found: Iterable[Adjusted], note: StoredCreditNote) -> None:
    now = core.clock.now()
    entries = [
        replace(
            one,
            status="credited",
            by_invoice=note.invoice,
            by_credit_note=note.id,
            settled_at=now,
        )
        for corrected in found
        for one in outcomes(corrected, None, now)
        if one.status == "pending"
    ]
    await core.books.run(core.books.books.settle_late, entries, OPEN)


def _nothing(invoice_id: str) -> Refused:
    return Refused(
        "nothing_to_adjust", f"Nothing came late that changes what invoice {invoice_id!r} billed."
    )
