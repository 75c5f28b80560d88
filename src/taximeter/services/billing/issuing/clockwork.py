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

TICK_S: Final = 1.0
REST: Final = 20
"""So many times as long as looking took is waited before looking again: where there are thousands
of subscriptions to look through, nobody else waits for it."""
ISSUED_AT_ONCE: Final = 100
ACTOR: Final = "system"
"""Who is named in the audit trail."""


async def run(core: Core) -> None:
    """For ever."""
    clock = asyncio.get_running_loop().time
    rests_until: dict[str, float] = {}
    for tenant in list(core.tenants.values()):
        await _safely(core, tenant, finish_voids)
    while True:
        await asyncio.sleep(TICK_S)
        for tenant in list(core.tenants.values()):
            began = clock()
            if began >= rests_until.get(tenant.name, 0.0):
                await _safely(core, tenant, tick)
                rests_until[tenant.name] = clock() + REST * (clock() - began)


async def _safely(
    core: Core, tenant: Tenant, work: Callable[[Core, Tenant], Awaitable[None]]
) -> None:
    """Where it fails it is put off, and no other namespace waits for that."""
    try:
        await work(core, tenant)
    except TaximeterError as error:
        logger.warning("billing of %s is put off: %s", tenant.name, error.message)
    except Exception:
        logger.exception("billing of %s failed", tenant.name)


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
