"""
Invoices as they are shown: the document as stored, and beside it what came after.

What stands beside it is not covered by the digest (see `invoices.document.BESIDE`), and is there
only once there is something to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taximeter.accounting.standing import InvoiceStanding
from taximeter.invoices.invoice import Status
from taximeter.money import format_minor
from taximeter.ports import StoredInvoice
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


async def shown(
    core: Core, tenant: Tenant, stored: Sequence[StoredInvoice]
) -> list[dict[str, Any]]:
    """Each with its status by now, and once issued with what was paid, credited and disputed."""
    issued = [one.id for one in stored if one.number is not None]
    standings: dict[str, InvoiceStanding] = {}
    disputed: dict[str, dict[str, int]] = {}
    if issued:
        standings = await core.books.run(core.books.books.invoice_standings, tenant.name, issued)
        disputed = await core.books.run(core.books.books.disputed, tenant.name, issued)
    return [
        invoice_json(one, standings.get(one.id)) | _disputed(disputed.get(one.id, {}))
        for one in stored
    ]


def _disputed(lines: Mapping[str, int]) -> dict[str, Any]:
    return {"disputed": list(lines)} if lines else {}


async def shown_one(core: Core, tenant: Tenant, stored: StoredInvoice) -> dict[str, Any]:
    (document,) = await shown(core, tenant, [stored])
    return document


def invoice_json(stored: StoredInvoice, standing: InvoiceStanding | None = None) -> dict[str, Any]:
    """
    Args:
        standing: None for what was never booked.
    """
    document: dict[str, Any] = msgspec.json.decode(stored.document)
    document["status"] = stored.status
    if stored.review is not None:
        document["review"] = msgspec.json.decode(stored.review)
    is_void = stored.status == Status.VOID.value
    if standing and not is_void and standing.open_minor != standing.billed_minor:
        currency = document["currency"]
        document["amount_paid"] = format_minor(standing.paid_minor, currency)
        document["amount_remaining"] = format_minor(standing.open_minor, currency)
        document["credited"] = format_minor(standing.credited_minor, currency)
    return document
