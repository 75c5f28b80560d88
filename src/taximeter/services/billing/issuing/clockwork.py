"""
What billing does by itself, where the settings want it: periods are closed when they end, usage is
billed on account at its thresholds, drafts are issued when their grace is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from taximeter.errors import TaximeterError
from taximeter.services.billing.drafting.close import close
from taximeter.services.billing.drafting.progressive import bill_on_account
from taximeter.services.billing.drafting.redraft import refresh
from taximeter.services.billing.issuing.credits import finish_voids
from taximeter.services.billing.issuing.life import finalize
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

TICK_S: Final = 5.0
ISSUED_AT_ONCE: Final = 100
ACTOR: Final = "system"
"""Who is named in the audit trail."""


async def run(core: Core) -> None:
    """For ever."""
    await _each(core, finish_voids)
    while True:
        await asyncio.sleep(TICK_S)
        await _each(core, tick)


async def _each(core: Core, work: Callable[[Core, Tenant], Awaitable[None]]) -> None:
    """Do something in every namespace; where it fails it is put off."""
    for tenant in list(core.tenants.values()):
        try:
            await work(core, tenant)
        except TaximeterError as error:
            logger.warning("billing of %s is put off: %s", tenant.name, error.message)


async def tick(core: Core, tenant: Tenant) -> None:
    """Everything that is due in a namespace."""
    if tenant.billing.thresholds_minor:
        await bill_on_account(core, tenant, ACTOR)
    if tenant.billing.auto_close:
        await close(core, tenant, core.clock.now(), ACTOR)
    if tenant.billing.auto_issue:
        await issue_drafts(core, tenant)


async def issue_drafts(core: Core, tenant: Tenant) -> list[str]:
    """
    Issue drafts whose grace is over, the oldest first, each made again with what arrived in it.

    Returns:
        Their ids.
    """
    before = core.clock.now() - tenant.billing.grace_us
    due = await core.books.run(core.books.books.drafts_made_by, tenant.name, before, ISSUED_AT_ONCE)
    issued: list[str] = []
    for invoice_id in due:
        if tenant.billing.grace_us:
            again = await refresh(core, tenant, invoice_id, ACTOR)
            if again.status != "draft":
                continue  # it is for a person by now
        await finalize(core, tenant, invoice_id, ACTOR)
        issued.append(invoice_id)
    return issued
