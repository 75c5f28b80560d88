"""What is told about invoices, exactly once each."""

from __future__ import annotations

import msgspec

from taximeter.ports import StoredInvoice
from taximeter.services.core import Core
from taximeter.services.notices.service import publish
from taximeter.services.tenant import Tenant


def tell(core: Core, tenant: Tenant, type: str, stored: StoredInvoice) -> None:
    """
    Args:
        type: As of `notices.notice`, such as "invoice.issued".
    """
    document = msgspec.json.decode(stored.document)
    data = {
        "invoice": stored.id,
        "number": stored.number,
        "customer": stored.customer,
        "status": stored.status,
        "currency": document["currency"],
        "total": document["total"],
        "amount_due": document["amount_due"],
        "due_at": document.get("due_at"),
    }
    publish(core, tenant, type, stored.customer, data, f"{type}:{stored.id}")
