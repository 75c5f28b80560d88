"""
Making a draft again: with what has arrived and what has been corrected since.
"""

from __future__ import annotations

from msgspec.structs import replace

from taximeter.errors import Refused
from taximeter.invoices.adjustments import is_adjusting
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Cover, Invoice, Status
from taximeter.ports import StoredInvoice
from taximeter.services.billing.correcting.adjustments import OpenCorrections, open_corrections
from taximeter.services.billing.correcting.late import billed_anew, sweep
from taximeter.services.billing.drafting.ahead import ADVANCE, fees_in_advance
from taximeter.services.billing.drafting.assembly import (
    BilledParts,
    Draft,
    assembled,
    corrections_alone,
    usages_of,
)
from taximeter.services.billing.drafting.bills import Bill
from taximeter.services.billing.drafting.drafts import find_invoice, redrafted
from taximeter.services.billing.drafting.thresholds import is_on_account
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant


async def refresh(core: Core, tenant: Tenant, invoice_id: str, actor: str) -> StoredInvoice:
    """
    Rate everything on a draft again, as of now. It keeps its id and what it bills.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_draft`, `invoice_changed`, `nothing_to_adjust`.
    """
    async with core.lock(tenant):
        stored = await find_invoice(core, tenant, invoice_id)
        if stored.status not in (Status.DRAFT.value, Status.IN_REVIEW.value):
            raise Refused(
                "invoice_not_draft",
                f"invoice {invoice_id} is {stored.status}; only a draft can be made again",
                status=stored.status,
            )
        upto = await core.upto()
        billed = await core.books.run(core.books.books.billed_periods, tenant.name)
        await sweep(core, tenant, billed, upto)
        late = await open_corrections(core, tenant, upto, invoice_id)
        draft = await _again(core, tenant, parse_invoice(stored.document), billed, late, upto)
        entry = audit(tenant, core.clock.now(), actor, "invoice.refresh", invoice_id)
        again = await redrafted(core, stored, draft, entry)
        await billed_anew(core, draft.invoice, upto, late.entries_of(draft.invoice))
        return again


async def _again(
    core: Core,
    tenant: Tenant,
    invoice: Invoice,
    billed: BilledParts,
    late: OpenCorrections,
    upto: int,
) -> Draft:
    own = [cover for cover in invoice.covered if not is_adjusting(cover.part)]
    if own:
        bill = Bill(invoice.customer, tuple(_due(tenant, cover) for cover in own))
        usages = await usages_of(core, tenant, [bill], upto)
        corrected = late.take(bill)
        return await assembled(core, tenant, bill, usages, billed, upto, invoice.id, corrected)
    draft = await corrections_alone(core, tenant, late.of(invoice), upto, invoice.id)
    if isinstance(draft, Draft):
        return draft
    raise Refused(
        "nothing_to_adjust",
        f"Nothing is left for invoice {invoice.id} to correct; void it instead.",
    )


def _due(tenant: Tenant, cover: Cover) -> Due:
    subscription = tenant.subscriptions[cover.subscription]
    due = due_of(tenant, subscription, tenant.timeline(subscription).index(cover.period.start))
    if cover.part == ADVANCE:
        return replace(due, charges=fees_in_advance(due), part=ADVANCE)
    if is_on_account(cover.part):
        charges = tuple(charge for _, charge, _ in due.usage_charges())
        return replace(due, charges=charges, part=cover.part)
    return due
