"""
Revenue: what subscriptions come to in their billing periods, by the code that bills them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from taximeter.customers import Subscription
from taximeter.invoices.invoice import Invoice
from taximeter.services.billing.assembly import fare_of
from taximeter.services.billing.counted import recounted
from taximeter.services.billing.dues import Due, due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

CHARGES_AT_ONCE = 20_000


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


async def fares(
    core: Core, tenant: Tenant, dues: Sequence[Due], upto: int, *, proofs: bool = False
) -> list[Invoice]:
    """The invoices these periods would be now."""
    usages = await recounted(core, tenant, dues, upto, proofs=proofs)
    found = []
    for due, usage in zip(dues, usages, strict=True):
        found.append(fare_of(tenant, due, due.customer.key, usage, upto))
        await asyncio.sleep(0)  # thousands take a while, and checks do not wait
    return found


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
    for batch in _batches(dues):
        for invoice in await fares(core, tenant, batch, upto):
            one = found[invoice.customer, invoice.currency]
            one.minor += net_minor(invoice)
            one.periods += 1
        done(len(batch))
    return found


def _batches(dues: Iterable[Due]) -> Iterable[list[Due]]:
    """Neighbours by customer, whose events stand together."""
    batch: list[Due] = []
    charges = 0
    for due in sorted(dues, key=lambda due: due.customer.key):
        batch.append(due)
        charges += len(due.charges)
        if charges >= CHARGES_AT_ONCE:
            yield batch
            batch, charges = [], 0
    if batch:
        yield batch
