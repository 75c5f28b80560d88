"""
The life of an invoice from draft to its end.
"""

from __future__ import annotations

import msgspec

from taximeter.errors import Refused
from taximeter.instants import DAY
from taximeter.invoices import states
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Status
from taximeter.notices.notice import INVOICE_ISSUED, INVOICE_PAID, INVOICE_VOIDED
from taximeter.ports import StoredInvoice
from taximeter.services.billing.drafting.drafts import find_invoice, review_of, stored_invoice
from taximeter.services.billing.issuing.credits import funded, give_back, pay_with_credits
from taximeter.services.billing.issuing.tell import tell
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant


async def finalize(core: Core, tenant: Tenant, invoice_id: str, actor: str) -> StoredInvoice:
    """
    Issue a draft: it gets the next number and never changes again (K15).

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_draft`, `invoice_in_review`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    draft = parse_invoice(stored.document)
    states.check_issuable(invoice_id, Status(stored.status))
    draft = await pay_with_credits(core, tenant, draft)
    now = core.clock.now()
    due_at = now + tenant.billing.due_days * DAY

    def issued(number: str) -> StoredInvoice:
        invoice = states.issue(draft, number, now, due_at)
        return stored_invoice(tenant, invoice, stored.created_at, review_of(stored))

    final = await core.books.run(
        core.books.books.issue_invoice,
        tenant.name,
        invoice_id,
        tenant.billing.number_prefix,
        issued,
        audit(tenant, now, actor, "invoice.finalize", invoice_id),
        funded=funded(tenant, draft),
    )
    tell(core, tenant, INVOICE_ISSUED, final)
    if final.status == Status.PAID.value:
        tell(core, tenant, INVOICE_PAID, final)
    return final


async def void(
    core: Core, tenant: Tenant, invoice_id: str, reason: str, actor: str
) -> StoredInvoice:
    """
    End an invoice without payment; its periods can then be closed again.

    The document of an issued invoice stays as it was; only its status moves on beside it.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_final`, `invoice_changed`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    now = core.clock.now()
    invoice = msgspec.structs.replace(parse_invoice(stored.document), status=Status(stored.status))
    voided = states.void(invoice)
    replacement = msgspec.structs.replace(stored, status=voided.status.value)
    if Status(stored.status) in states.UNISSUED:
        replacement = msgspec.structs.replace(replacement, document=canonical_bytes(voided))
    done = await core.books.run(
        core.books.books.replace_invoice,
        replacement,
        stored.status,
        audit(tenant, now, actor, "invoice.void", invoice_id, reason=reason),
    )
    if not done:
        raise Refused("invoice_changed", "The invoice changed meanwhile; read it again.")
    await give_back(core, tenant, invoice)
    tell(core, tenant, INVOICE_VOIDED, replacement)
    return replacement
