"""
Disputes: a line that its customer does not accept. Until it is resolved, nobody is reminded of what
it comes to.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import format_instant
from taximeter.invoices.credit_note import CreditLine, draft_note, left_of_lines
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Status
from taximeter.invoices.states import UNISSUED
from taximeter.money import format_minor
from taximeter.ports import Dispute
from taximeter.services.billing.correcting.credit_notes import (
    LineWish,
    NoteWish,
    credit,
    issued_notes,
)
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.billing.evidence.cited import find_line
from taximeter.services.core import Core, audit
from taximeter.services.ids import new_id
from taximeter.services.tenant import Tenant

OUTCOMES = ("rejected", "credited")


async def dispute(
    core: Core, tenant: Tenant, invoice_id: str, line_id: str, reason: str, actor: str
) -> Dispute:
    """
    Raises:
        NotFound: No such invoice or line.
        Refused: `invoice_not_issued`, `already_disputed`.
        Rejected: `exceeds_invoice`: nothing is left of the line.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    invoice = parse_invoice(stored.document)
    line = find_line(invoice, line_id)
    if Status(stored.status) in {*UNISSUED, Status.VOID}:
        raise Refused(
            "invoice_not_issued",
            f"Invoice {invoice_id!r} is {stored.status}; only what is issued can be disputed.",
            status=stored.status,
        )
    now = core.clock.now()
    earlier = await issued_notes(core, tenant, invoice_id)
    left_minor = left_of_lines(invoice, earlier).get(line_id, 0)
    if not left_minor:
        raise Rejected("exceeds_invoice", f"Nothing is left of {line_id} that could be disputed.")
    whole = CreditLine(line=line_id, description=line.description, amount_minor=left_minor)
    would = draft_note(invoice, earlier, [whole], note_id="", number="", at=now, reason=reason)
    found = Dispute(
        namespace=tenant.name,
        id=new_id("dsp"),
        invoice=invoice_id,
        line=line_id,
        customer=invoice.customer,
        status="open",
        amount_minor=would.total_minor,
        reason=reason,
        opened_by=actor,
        opened_at=now,
    )
    entry = audit(tenant, now, actor, "dispute.open", invoice_id, line=line_id, reason=reason)
    if not await core.books.run(core.books.books.put_dispute, found, None, entry):
        raise Refused("already_disputed", f"{line_id} of {invoice_id!r} is disputed already.")
    return found


async def resolve(
    core: Core,
    tenant: Tenant,
    invoice_id: str,
    line_id: str,
    outcome: str,
    actor: str,
    *,
    amount: Any = None,
    note: str = "",
) -> Dispute:
    """
    End a dispute: the line stays, or is credited, all that is left of it or an amount.

    Raises:
        NotFound: No such invoice or line.
        Refused: `not_disputed`, `credit_note_exists`.
        Rejected: `invalid_request`, `invalid_amount`, `exceeds_invoice`.
    """
    if outcome not in OUTCOMES:
        raise Rejected("invalid_request", f"outcome: {' or '.join(OUTCOMES)}.")
    if amount is not None and outcome != "credited":
        raise Rejected("invalid_request", "amount: only of what is credited.")
    find_line(parse_invoice((await find_invoice(core, tenant, invoice_id)).document), line_id)
    found = await core.books.run(core.books.books.dispute, tenant.name, invoice_id, line_id)
    if found is None or found.status != "open":
        raise Refused("not_disputed", f"{line_id} of {invoice_id!r} is not disputed.")
    if outcome == "credited":
        wish = NoteWish(
            id=f"cn_{found.id}",
            reason=note or found.reason,
            lines=(LineWish(line_id, amount=amount),),
        )
        issued = await credit(core, tenant, invoice_id, wish, actor)
        found = replace(found, credit_note=issued.id)
    now = core.clock.now()
    ended = replace(found, status=outcome, note=note, resolved_by=actor, resolved_at=now)
    entry = audit(tenant, now, actor, "dispute.resolve", invoice_id, line=line_id, outcome=outcome)
    if not await core.books.run(core.books.books.put_dispute, ended, "open", entry):
        raise Refused("not_disputed", f"{line_id} of {invoice_id!r} is not disputed any more.")
    return ended


async def find_dispute(core: Core, tenant: Tenant, invoice_id: str, line_id: str) -> Dispute:
    """
    Raises:
        NotFound: The line was never disputed.
    """
    found = await core.books.run(core.books.books.dispute, tenant.name, invoice_id, line_id)
    if found is None:
        raise NotFound("not_found", f"{line_id} of {invoice_id!r} was never disputed.")
    return found


async def dispute_json(core: Core, tenant: Tenant, found: Dispute) -> dict[str, Any]:
    invoice = parse_invoice((await find_invoice(core, tenant, found.invoice)).document)
    return {
        "id": found.id,
        "invoice": found.invoice,
        "line": found.line,
        "customer": found.customer,
        "status": found.status,
        "amount": format_minor(found.amount_minor, invoice.currency),
        "currency": invoice.currency,
        "reason": found.reason,
        "opened_by": found.opened_by,
        "opened_at": format_instant(found.opened_at),
        "note": found.note,
        "credit_note": found.credit_note,
        "resolved_by": found.resolved_by,
        "resolved_at": None if found.resolved_at is None else format_instant(found.resolved_at),
    }
