"""
Whether a person has to look at a draft before it is issued.
"""

from __future__ import annotations

from typing import Final

from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.invoices.review import COMPARED, unusual
from taximeter.invoices.settings import Review
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

_COUNT: Final = (Status.ISSUED.value, Status.PAID.value, Status.UNCOLLECTIBLE.value)
_READ: Final = 4 * COMPARED


async def reasons_to_look(core: Core, tenant: Tenant, draft: Invoice) -> tuple[str, ...]:
    """As the billing settings want it; () for a draft that goes on by itself."""
    match tenant.billing.review:
        case Review.NONE:
            return ()
        case Review.ALL:
            return ("Every invoice is reviewed.",)
        case Review.ANOMALIES:
            return unusual(draft, await _earlier(core, tenant, draft))


async def _earlier(core: Core, tenant: Tenant, draft: Invoice) -> list[int]:
    found = await core.books.run(
        core.books.books.invoices,
        tenant.name,
        customer=draft.customer,
        status=None,
        after=None,
        limit=_READ,
    )
    issued = [
        parse_invoice(one.document)
        for one in found
        if one.status in _COUNT and one.subscription == draft.subscription
    ]
    return [one.total_minor for one in issued if one.currency == draft.currency][:COMPARED]
