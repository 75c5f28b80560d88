"""
What a line of an invoice cites: the period and subscription it bills, its price, its events.

All of it follows from the document and from facts that never change, so a line can be explained
and counted again for ever.
"""

from __future__ import annotations

from taximeter.catalog.prices import Price, UsagePrice
from taximeter.errors import NotFound
from taximeter.invoices.invoice import Cover, Invoice, Line
from taximeter.ports import LineScope
from taximeter.rating.daytime import Hours, named_hours
from taximeter.rating.ramp import price_at
from taximeter.rating.tariff import own_price
from taximeter.services.billing.due.dues import charged_number
from taximeter.services.tenant import Tenant

Group = tuple[str | None, ...]


def find_line(invoice: Invoice, line_id: str) -> Line:
    for line in invoice.lines:
        if line.id == line_id:
            return line
    raise NotFound("not_found", f"Invoice {invoice.id!r} has no line {line_id!r}.")


def has_events(line: Line) -> bool:
    """Whether it bills what a meter counted."""
    return line.lineage is not None


def cover_of(invoice: Invoice, line: Line) -> Cover:
    """The period of a subscription that a line bills a part of."""
    wanted = line.subscription or invoice.subscription
    covers = [cover for cover in invoice.covered if cover.subscription == wanted]
    start = line.period.start
    return next((cover for cover in covers if cover.period.contains(start)), covers[0])


def cited_price(tenant: Tenant, invoice: Invoice, line: Line) -> tuple[int, Price]:
    """
    The price a line cites, such as "pro/tokens@3", as this customer had it, and the catalogue
    version it is of. It follows from the subscription: what has been of that never changes.
    """
    reference, _, version = line.price.rpartition("@")
    name, _, key = reference.partition("/")
    cover = cover_of(invoice, line)
    subscription = tenant.subscriptions[cover.subscription]
    terms = tenant.plans.billed(subscription, line.period.start, cover.period.start)
    (part,) = (part for part in terms.parts if part.name == name)
    timeline = tenant.timeline(subscription)
    number = charged_number(timeline, timeline.index(cover.period.start))
    price = own_price(part.plan, key, invoice.currency)
    return int(version), price_at(price, number, line.period.start)


def usage_price(tenant: Tenant, invoice: Invoice, line: Line) -> tuple[int, UsagePrice]:
    """The same of a line with events."""
    version, price = cited_price(tenant, invoice, line)
    assert isinstance(price, UsagePrice), "a line with events has a usage price"
    return version, price


def hours_of_line(tenant: Tenant, invoice: Invoice, line: Line, price: UsagePrice) -> Hours | None:
    """The hours of the day a line is of; None for all of them."""
    if not line.hours:
        return None
    subscription = tenant.subscriptions[cover_of(invoice, line).subscription]
    return named_hours(price.time_of_day, line.hours, line.period, subscription.timezone)


def line_scope(tenant: Tenant, invoice: Invoice, line: Line) -> tuple[LineScope, Group]:
    """The events behind a line, as they were defined when it was made."""
    assert line.lineage is not None, "only lines with events have a scope"
    version, price = usage_price(tenant, invoice, line)
    cover = cover_of(invoice, line)
    metering = line.metering_version or cover.metering_version
    hours = hours_of_line(tenant, invoice, line, price)
    scope = LineScope(
        namespace=tenant.name,
        meter=tenant.billed_counter(version, price, metering).meter,
        subjects=cover.subjects,
        period=line.period,
        upto=int(line.lineage.position.partition(":")[2]),
        filter=price.filter,
        group_by=price.group_by,
        parts=() if hours is None else hours.parts,
    )
    return scope, tuple(line.group[name] for name in price.group_by)
