"""
Revenue: what subscriptions come to in their billing periods, by the code that bills them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from taximeter.customers import Subscription
from taximeter.invoices.invoice import Invoice
from taximeter.services.billing.drafting.assembly import fare_of
from taximeter.services.billing.drafting.pipeline import counted_ahead
from taximeter.services.billing.due.commitments import Drawing
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


class Earned(msgspec.Struct):
    """What one customer comes to in one currency; `due` of those periods."""

    minor: int = 0
    periods: int = 0


def periods_of(subscription: Subscription, tenant: Tenant, start: int, end: int) -> list[Due]:
    """The billing periods that end after `start` and begin before `end`, trials aside."""
    timeline = tenant.timeline(subscription)
    begins = timeline.start
    if begins is None or begins >= end:
        return []
    index = timeline.index(start) if timeline.covers(start) else 0
    if start > begins and not timeline.covers(start):
        return []  # it had ended
    dues: list[Due] = []
    while True:
        if not timeline.in_trial(index):
            dues.append(due_of(tenant, subscription, index))
        following = timeline.nth(index).end
        if following >= end or not timeline.covers(following):
            return dues
        index += 1


def net_minor(invoice: Invoice) -> int:
    """Revenue: after discounts, before tax."""
    return invoice.subtotal_minor - invoice.discount_minor


async def earned(
    core: Core,
    tenant: Tenant,
    dues: Sequence[Due],
    upto: int,
    done: Callable[[int], None] = lambda _: None,
) -> dict[tuple[str, str], Earned]:
    """
    (customer, currency) -> what its due periods come to.

    Args:
        done: Told how many periods are rated, as they are.
    """
    found: defaultdict[tuple[str, str], Earned] = defaultdict(Earned)
    drawing = Drawing()
    counted = counted_ahead(core, tenant, dues, upto, proofs=False)
    async with contextlib.aclosing(counted):
        async for due, usage in counted:
            invoice = fare_of(tenant, drawing.before(due), due.customer.key, usage, upto)
            drawing.add(due, invoice.lines)
            one = found[invoice.customer, invoice.currency]
            one.minor += net_minor(invoice)
            one.periods += 1
            done(1)
            await asyncio.sleep(0)  # thousands take a while, and checks do not wait
    return found
