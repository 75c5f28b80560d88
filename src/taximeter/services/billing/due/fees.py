"""
The lines of an invoice that no meter counts, once more: fees, seats, and what plans say of all
their lines together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from taximeter.catalog.prices import UsagePrice
from taximeter.customers import Subscription
from taximeter.invoices.build import Usage
from taximeter.invoices.invoice import Cover, Invoice, Kind, Line
from taximeter.invoices.plan_lines import plan_lines
from taximeter.services.billing.drafting.bills import priced_lines
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.billing.due.seats import seat_times
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.timeline import timeline_of

FEES: Final = frozenset({Kind.FLAT, Kind.SEAT, Kind.MINIMUM, Kind.MAXIMUM, Kind.COMMITMENT})


async def fees_again(
    core: Core, tenant: Tenant, invoice: Invoice, lines: Sequence[Line], made_at: int
) -> list[Line]:
    """
    The same lines, those that are fees as the subscription's course, the seats and the other lines
    make them by now; 0 for one there is no reason for.

    Args:
        lines: Of the invoice, those with events counted and rated again.
        made_at: When the invoice was made: what is billed before the end of its period is billed
            by what was known then.
    """
    if not any(line.kind in FEES for line in lines):
        return list(lines)
    found: dict[Any, list[Line]] = {}
    for cover in invoice.covered:
        mine = [line for line in lines if _is_of(line, invoice, cover)]
        for line in await _fees(core, tenant, invoice, cover, mine, made_at):
            found.setdefault(_key(cover.subscription, line), []).append(line)
    return [
        _again(line, found, line.subscription or invoice.subscription)
        if line.kind in FEES
        else line
        for line in lines
    ]


def _again(line: Line, found: Mapping[Any, list[Line]], subscription: str) -> Line:
    alike = found.get(_key(subscription, line), [])
    if not alike:
        return replace(line, quantity_pico=0, amount_minor=0, proration=None)
    # Of a commitment there may be two: what is paid in advance, and what is drawn.
    same_sign = [one for one in alike if (one.amount_minor < 0) == (line.amount_minor < 0)]
    again = (same_sign or alike)[0]
    return replace(
        line,
        quantity_pico=again.quantity_pico,
        free_pico=again.free_pico,
        amount_minor=again.amount_minor,
        adjustment=again.adjustment,
        proration=again.proration,
        seats=again.seats,
        conversions=again.conversions,
    )


def _key(subscription: str, line: Line) -> Any:
    return subscription, line.kind, line.price, line.period


def _is_of(line: Line, invoice: Invoice, cover: Cover) -> bool:
    subscription = line.subscription or invoice.subscription
    return subscription == cover.subscription and cover.period.contains(line.period.start)


async def _fees(
    core: Core,
    tenant: Tenant,
    invoice: Invoice,
    cover: Cover,
    lines: Sequence[Line],
    made_at: int,
) -> list[Line]:
    subscription = await _subscription(core, tenant, cover, made_at)
    due = _due_again(tenant, subscription, invoice, cover, lines)
    (seats,) = await seat_times(core, tenant, [due], await core.upto())
    charges = [
        (place, charge)
        for place, charge in enumerate(due.charges)
        if not isinstance(charge.price, UsagePrice)
    ]
    usage = [
        Usage(number, (), 0, 0, None, seats=seats[place])
        for number, (place, _) in enumerate(charges)
        if place in seats
    ]
    fees = priced_lines(replace(due, charges=tuple(one for _, one in charges)), usage)
    counted = [line for line in lines if line.kind is Kind.USAGE]
    terms = (await with_drawn(core, tenant, due)).terms
    return list(plan_lines(terms, [*fees, *counted], invoice.currency))


async def _subscription(core: Core, tenant: Tenant, cover: Cover, made_at: int) -> Subscription:
    """As it is; for a part that was billed before the end of its period, as it was then."""
    subscription = tenant.subscriptions[cover.subscription]
    if cover.part == "period":
        return subscription
    revisions = await core.books.run(
        core.books.books.subscription_revisions, tenant.name, subscription.id
    )
    known = [one.subscription for one in revisions if one.at <= made_at]
    return known[-1] if known else subscription


def _due_again(
    tenant: Tenant,
    subscription: Subscription,
    invoice: Invoice,
    cover: Cover,
    lines: Iterable[Line],
) -> Due:
    """What was due, in the invoice's currency and by the rates it cites."""
    index = timeline_of(subscription).index(cover.period.start)
    cited = [one.version for line in lines for one in line.conversions]
    return due_of(
        tenant,
        subscription,
        index,
        currency=invoice.currency,
        rates_version=max(cited, default=None),
    )
