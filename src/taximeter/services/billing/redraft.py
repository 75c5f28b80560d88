"""
Making a draft again: with what has arrived and what has been corrected since.
"""

from __future__ import annotations

from msgspec.structs import replace

from taximeter.errors import Refused
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Cover, Invoice, Status
from taximeter.ports import StoredInvoice
from taximeter.services.billing.ahead import ADVANCE, fees_in_advance
from taximeter.services.billing.assembly import Draft, assembled, usages_of
from taximeter.services.billing.bills import Bill
from taximeter.services.billing.drafts import find_invoice, redrafted
from taximeter.services.billing.dues import Due, due_of
from taximeter.services.billing.thresholds import is_on_account
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant


async def refresh(core: Core, tenant: Tenant, invoice_id: str, actor: str) -> StoredInvoice:
    """
    Rate everything on a draft again, as of now. It keeps its id and what it bills.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_draft`, `invoice_changed`.
    """
    async with core.lock(tenant):
        stored = await find_invoice(core, tenant, invoice_id)
        if stored.status not in (Status.DRAFT.value, Status.IN_REVIEW.value):
            raise Refused(
                "invoice_not_draft",
                f"invoice {invoice_id} is {stored.status}; only a draft can be made again",
                status=stored.status,
            )
        draft = await _again(core, tenant, parse_invoice(stored.document))
        entry = audit(tenant, core.clock.now(), actor, "invoice.refresh", invoice_id)
        return await redrafted(core, stored, draft, entry)


async def _again(core: Core, tenant: Tenant, invoice: Invoice) -> Draft:
    billed = await core.books.run(core.books.books.billed_periods, tenant.name)
    bill = Bill(invoice.customer, tuple(_due(tenant, cover) for cover in invoice.covered))
    upto = await core.upto()
    usages = await usages_of(core, tenant, [bill], upto)
    return await assembled(core, tenant, bill, usages, billed, upto, invoice.id)


def _due(tenant: Tenant, cover: Cover) -> Due:
    subscription = tenant.subscriptions[cover.subscription]
    due = due_of(tenant, subscription, tenant.timeline(subscription).index(cover.period.start))
    if cover.part == ADVANCE:
        return replace(due, charges=fees_in_advance(due), part=ADVANCE)
    if is_on_account(cover.part):
        charges = tuple(charge for _, charge, _ in due.usage_charges())
        return replace(due, charges=charges, part=cover.part)
    return due
