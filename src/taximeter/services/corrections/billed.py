"""
Which invoices hold events that a correction is about: those stay as they are (K15), and what
changes of them is an adjustment or a credit note.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from taximeter.corrections.facts import Change
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice
from taximeter.services.billing.evidence.cited import has_events, line_scope
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


async def invoices_with(
    core: Core, tenant: Tenant, changes: Sequence[Change]
) -> list[dict[str, Any]]:
    """Invoices that are not void, each with its lines that billed usage of that kind and time."""
    of_customer: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        account = tenant.live.by_subject.get(change.event.subject)
        if account is not None:
            of_customer[account.customer].append(change)
    found: dict[str, dict[str, Any]] = {}
    for customer, own in sorted(of_customer.items()):
        since = min(change.at for change in own)
        for one in await core.books.run(
            core.books.books.invoices_since, tenant.name, _payers(tenant, customer), since
        ):
            lines = _lines(tenant, parse_invoice(one.document), own)
            if lines:
                shown = found.setdefault(
                    one.id,
                    {"id": one.id, "number": one.number, "status": one.status, "lines": []},
                )
                shown["lines"] = sorted({*shown["lines"], *lines})
            await asyncio.sleep(0)
    return list(found.values())


def _payers(tenant: Tenant, customer: str) -> list[str]:
    """Who may have been sent an invoice for a customer's usage: itself, and those above it."""
    found: list[str] = []
    above: str | None = customer
    while above is not None:
        found.append(above)
        above = tenant.customers[above].parent
    return found


def _lines(tenant: Tenant, invoice: Invoice, changes: Sequence[Change]) -> list[str]:
    lines = []
    for line in invoice.lines:
        if not has_events(line):
            continue
        scope, _ = line_scope(tenant, invoice, line)
        if any(
            change.event.type == scope.meter.event_type
            and change.event.subject in scope.subjects
            and line.period.contains(change.at)
            and change.seq <= scope.upto
            for change in changes
        ):
            lines.append(line.id)
    return lines
