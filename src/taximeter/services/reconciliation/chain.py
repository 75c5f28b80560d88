"""
The chain of one customer: what each stage says of each meter and period, side by side.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from taximeter.accounting.standing import InvoiceStanding
from taximeter.errors import NotFound
from taximeter.invoices.invoice import Status
from taximeter.money import format_exact, format_minor
from taximeter.reconciliation.compare import Count
from taximeter.services.billing.drafting.fare import preview
from taximeter.services.billing.evidence.cited import cover_of
from taximeter.services.billing.evidence.recheck import Rechecked, recheck
from taximeter.services.core import Core
from taximeter.services.reconciliation.counts import Counted, count_again
from taximeter.services.tenant import Tenant

Amounts = dict[str, str]
"""By meter; "" for what no meter counts."""


async def chain(core: Core, tenant: Tenant, customer: str, periods: int) -> dict[str, Any]:
    """
    Args:
        periods: The newest so many of each subscription.
    """
    counted, position = await count_again(core, tenant, [customer], newest=periods)
    plain = [one for one in counted if not one.counter.group_by and one.counter.filter is None]
    items = []
    for (subscription, period), slots in groupby(plain, key=lambda s: (s.subscription, s.period)):
        checked = await _checked(core, tenant, subscription, period.start)
        fare = None
        if not checked and period.contains(core.clock.now()):
            fare = await _fare(core, tenant, customer, subscription)
        items.append(
            {
                "subscription": subscription or None,
                "period": period.to_json(),
                "meters": [_meter(slot, checked, fare) for slot in slots],
                "invoices": [await _invoice(core, tenant, one) for one in checked],
            }
        )
    return {"customer": customer, "position": f"0:{position}", "items": items}


async def _checked(core: Core, tenant: Tenant, subscription: str, start: int) -> list[Rechecked]:
    if not subscription:
        return []
    books = core.books.books
    stored = await core.books.run(books.invoices_of_period, tenant.name, subscription, start)
    return [await recheck(core, tenant, one) for one in stored]


async def _fare(core: Core, tenant: Tenant, customer: str, subscription: str) -> Amounts | None:
    """The running fare by meter; None where nothing is charged."""
    if not subscription:
        return None
    try:
        invoice = await preview(core, tenant, customer, None, subscription)
    except NotFound:
        return None
    found: dict[str, int] = {}
    for line in invoice.lines:
        found[line.meter or ""] = found.get(line.meter or "", 0) + line.amount_minor
    return {meter: format_minor(minor, invoice.currency) for meter, minor in found.items()}


def _meter(slot: Counted, checked: list[Rechecked], fare: Amounts | None) -> dict[str, Any]:
    meter = slot.counter.meter.key
    return {
        "meter": meter,
        "unit": slot.counter.meter.unit,
        "accepted": _count(slot.store.get((), Count())),
        "counted": _count(slot.live.get((), Count())),
        "rated": _amount(slot, checked, again=True) if checked else (fare or {}).get(meter),
        "invoiced": _amount(slot, checked, again=False) if checked else None,
    }


def _count(count: Count) -> dict[str, Any]:
    return {"events": count.events, "quantity": format_exact(count.value)}


def _amount(slot: Counted, checked: list[Rechecked], *, again: bool) -> str:
    """What lines bill of a meter in a period, as they are or as they should be."""
    minor = sum(
        line.amount_minor
        for one in checked
        for line in (one.lines if again else one.invoice.lines)
        if line.meter == slot.counter.meter.key
        if cover_of(one.invoice, line).subscription == slot.subscription
        if slot.period.contains(line.period.start)
    )
    return format_minor(minor, checked[0].invoice.currency)


async def _invoice(core: Core, tenant: Tenant, checked: Rechecked) -> dict[str, Any]:
    invoice, books = checked.invoice, core.books.books
    standing: InvoiceStanding | None = None
    if checked.stored.status not in (Status.DRAFT, Status.IN_REVIEW):
        found = await core.books.run(books.invoice_standings, tenant.name, [invoice.id])
        standing = found.get(invoice.id)

    def money(minor: int | None) -> str | None:
        return None if minor is None else format_minor(minor, invoice.currency)

    return {
        "invoice": invoice.id,
        "number": invoice.number,
        "status": checked.stored.status,
        "currency": invoice.currency,
        "rated": money(checked.as_it_should_be.amount_due_minor),
        "invoiced": money(invoice.amount_due_minor),
        "posted": money(None if standing is None else standing.billed_minor),
        "paid": money(None if standing is None else standing.paid_minor),
        "open": money(None if standing is None else standing.open_minor),
    }
