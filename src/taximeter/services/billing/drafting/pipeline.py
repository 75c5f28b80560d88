"""
Counting ahead: the store counts the next batch in its process while this one rates the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from taximeter.invoices.build import Usage
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

CHARGES_AT_ONCE = 10_000


async def counted_ahead(
    core: Core, tenant: Tenant, dues: Iterable[Due], upto: int, *, proofs: bool
) -> AsyncGenerator[tuple[Due, list[Usage]], None]:
    """Due periods by customer, each with what its charges counted up to a position."""
    following: asyncio.Task[list[list[Usage]]] | None = None
    batch: list[Due] = []
    try:
        for next_batch in [*_batches(dues), []]:
            counting, following = following, None
            if next_batch:
                asking = recounted(core, tenant, next_batch, upto, proofs=proofs)
                following = asyncio.create_task(asking)
                await asyncio.sleep(0)  # it is asked before anything is rated
            if counting is not None:
                for due, usage in zip(batch, await counting, strict=True):
                    yield due, usage
            batch = next_batch
    finally:
        if following is not None:
            following.cancel()


def _batches(dues: Iterable[Due]) -> list[list[Due]]:
    """Neighbours by customer, whose events stand together in the files."""
    batches: list[list[Due]] = []
    charges = CHARGES_AT_ONCE
    for due in sorted(dues, key=lambda due: due.customer.key):
        if charges >= CHARGES_AT_ONCE:
            batches.append([])
            charges = 0
        batches[-1].append(due)
        charges += len(due.charges)
    return batches
