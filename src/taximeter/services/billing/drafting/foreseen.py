"""
What a close would make, before it is made.
"""

from __future__ import annotations

import msgspec

from taximeter.instants import format_instant
from taximeter.money import format_minor
from taximeter.services.billing.correcting.adjustments import open_corrections
from taximeter.services.billing.correcting.late import look
from taximeter.services.billing.drafting.assembly import assembled, usages_of
from taximeter.services.billing.drafting.close import HeldBack, due_bills
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MAX_SHOWN = 100


class Foreseen(msgspec.Struct, frozen=True):
    """
    One draft that would be made.

    Attributes:
        review: Why somebody would have to look at it first.
    """

    customer: str
    subscription: str
    period: dict[str, str]
    currency: str
    total: str
    review: tuple[str, ...]


class Preview(msgspec.Struct, frozen=True):
    """
    Attributes:
        count: How many drafts would be made of what is due.
        items: The first hundred of them, oldest period first.
        held: What would wait until its gap is closed.
    """

    as_of: str
    count: int
    items: list[Foreseen]
    held: list[HeldBack]


async def foreseen(core: Core, tenant: Tenant, as_of: int) -> Preview:
    """
    The drafts that `close` would make now. Makes none.

    Raises:
        Rejected: As `close`.
    """
    await look(core, tenant)
    billed, bills, held = await due_bills(core, tenant, as_of)
    shown = bills[:MAX_SHOWN]
    upto = await core.upto()
    late = await open_corrections(core, tenant, upto)
    usages = await usages_of(core, tenant, shown, upto)
    items = []
    for bill in shown:
        own = late.take(bill)
        draft = await assembled(core, tenant, bill, usages, billed, upto, corrected=own)
        invoice = draft.invoice
        items.append(
            Foreseen(
                invoice.customer,
                invoice.subscription,
                invoice.period.to_json(),
                invoice.currency,
                format_minor(invoice.total_minor, invoice.currency),
                draft.reasons,
            )
        )
    return Preview(format_instant(as_of), len(bills), items, held)
