"""
Dunning: customers are reminded of what is overdue, each step once, also after a time off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from taximeter.accounting.aging import days_overdue
from taximeter.accounting.dunning import Reminder, reminders
from taximeter.accounting.matching import OpenInvoice
from taximeter.errors import TaximeterError
from taximeter.instants import DAY, format_instant
from taximeter.money import format_minor
from taximeter.notices.notice import INVOICE_OVERDUE
from taximeter.services.core import Core
from taximeter.services.notices.service import publish
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

TICK_S: Final = 1.0


async def run(core: Core) -> None:
    """For ever."""
    while True:
        await asyncio.sleep(TICK_S)
        for tenant in list(core.tenants.values()):
            try:
                await remind(core, tenant)
            except TaximeterError as error:
                logger.warning("reminders of %s are put off: %s", tenant.name, error.message)


async def remind(core: Core, tenant: Tenant) -> list[Reminder]:
    """Tell everything that is due to be told in a namespace, the longest awaited first."""
    days = tenant.billing.dunning_days
    if not days:
        return []
    now = core.clock.now()
    before = now - days[0] * DAY
    due = await core.books.run(core.books.books.due_invoices, tenant.name, before, len(days))
    found = reminders(await _undisputed(core, tenant, due), days, now)
    for reminder in found:
        _tell(core, tenant, reminder, len(days), now)
    if found and core.notices is not None:
        # Noted only when the notices are in the books: a crash between tells them once more, and
        # the same notice twice is one.
        await core.notices.settled()
    for reminder in found:
        await core.books.run(
            core.books.books.note_reminded, tenant.name, reminder.invoice.id, reminder.step
        )
    return found


async def _undisputed(core: Core, tenant: Tenant, due: Sequence[OpenInvoice]) -> list[OpenInvoice]:
    """Without what is disputed: nobody is reminded of that."""
    names = [one.id for one in due]
    disputed = await core.books.run(core.books.books.disputed, tenant.name, names)
    left = [
        replace(one, open_minor=one.open_minor - sum(disputed.get(one.id, {}).values()))
        for one in due
    ]
    return [one for one in left if one.open_minor > 0]


def _tell(core: Core, tenant: Tenant, reminder: Reminder, steps: int, now: int) -> None:
    invoice = reminder.invoice
    data = {
        "invoice": invoice.id,
        "number": invoice.number,
        "customer": invoice.customer,
        "step": reminder.step,
        "steps": steps,
        "currency": invoice.currency,
        "amount_remaining": format_minor(invoice.open_minor, invoice.currency),
        "due_at": format_instant(invoice.due_at),
        "days_overdue": days_overdue(invoice.due_at, now),
    }
    key = f"{INVOICE_OVERDUE}:{invoice.id}:{reminder.step}"
    publish(core, tenant, INVOICE_OVERDUE, invoice.customer, data, key)
