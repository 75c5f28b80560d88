"""
What time does without a request: expiries and lapses are written down, plan credits renewed,
gauges nobody needs any more forgotten.

Every answer is exact without it, because each first lets pass the time for its own customer. This
is so that ledgers, notices and other customers' pools hear of it soon, too.
"""

from __future__ import annotations

import asyncio
import logging

from taximeter.errors import TaximeterError
from taximeter.services.core import Core
from taximeter.services.gate.commands import Commands
from taximeter.services.gate.plan_grants import sync_plan_grants
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

TICK_S = 0.2
CUSTOMERS_PER_ENTRY = 500
SYNCS_PER_TICK = 200
PRUNE_EVERY_TICKS = 300
MEMORIES_AT_ONCE = 20


def prepare(commands: Commands, tenant: Tenant, customer: str, now: int) -> None:
    """Before a customer is asked about: everything that is due for it or for whom it pools with."""
    account = tenant.account(customer)
    if account is None:
        return
    sync_plan_grants(commands, tenant, account, now)
    pool = tenant.pool_of(account.customer)
    for parent in pool:
        sync_plan_grants(commands, tenant, parent, now)
    if tenant.live.gate.purses:
        everyone = [account.customer, *(parent.customer for parent in pool)]
        commands.let_time_pass(tenant, everyone, now)


def tick(commands: Commands, tenant: Tenant, now: int) -> None:
    """Everything that is due in a namespace."""
    due = tenant.live.gate.due(now)
    for start in range(0, len(due), CUSTOMERS_PER_ENTRY):
        commands.let_time_pass(tenant, due[start : start + CUSTOMERS_PER_ENTRY], now)
    _sync_some(commands, tenant, now)


def _sync_some(commands: Commands, tenant: Tenant, now: int) -> None:
    """Plan credits of customers whose subscriptions have changed, a bounded number a time."""
    if not tenant.gives_credit:
        tenant.unsettled.clear()
        return
    for customer, standing in list(tenant.granted.items()):
        if standing.until <= now:
            tenant.unsettled.add(customer)
    for _ in range(min(SYNCS_PER_TICK, len(tenant.unsettled))):
        account = tenant.live.accounts.get(tenant.unsettled.pop())
        if account is not None:
            sync_plan_grants(commands, tenant, account, now)


def prune(tenant: Tenant, now: int) -> None:
    """Forget gauges that no later instant can ask for: users and keys come and go."""
    for purse in tenant.live.gate.purses.values():
        for key, gauge in list(purse.gauges.items()):
            if not gauge.prune(now):
                del purse.gauges[key]


async def prune_memories(tenant: Tenant, now: int) -> None:
    """The same for what rules remember, a few customers at a time: others wait between."""
    memories = tenant.live.memories
    for number, customer in enumerate(list(memories), 1):
        if not memories[customer].prune(now):
            del memories[customer]
        if number % MEMORIES_AT_ONCE == 0:
            await asyncio.sleep(0)


async def run(core: Core, commands: Commands) -> None:
    """For ever."""
    ticks = 0
    while True:
        await asyncio.sleep(TICK_S)
        ticks += 1
        for tenant in list(core.tenants.values()):
            now = core.clock.now()
            try:
                tick(commands, tenant, now)
                if ticks % PRUNE_EVERY_TICKS == 0:
                    prune(tenant, now)
                    await prune_memories(tenant, now)
            except TaximeterError as error:
                logger.warning("what is due is put off: %s", error.message)
