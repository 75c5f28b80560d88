"""
Publishing a catalogue: read, compare, store as a new immutable version, count accordingly.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from taximeter.catalog.diff import Change, diff
from taximeter.catalog.document import (
    Catalog,
    canonical_document,
    dump_catalog,
    parse_catalog,
)
from taximeter.errors import Rejected
from taximeter.ports import CatalogVersion
from taximeter.services.core import Core, audit
from taximeter.services.rebuild import mark_history, rebuild
from taximeter.services.tenant import Tenant

REBUILD_WAIT_S = 5.0


class Published(msgspec.Struct):
    """
    Attributes:
        version: The newest version; unchanged if nothing changed.
        rebuilding: History is still being folded into new or changed meters.
    """

    version: int
    changes: list[Change]
    rebuilding: bool = False


async def publish(
    core: Core, tenant: Tenant, document: dict[str, Any], actor: str, *, dry_run: bool = False
) -> Published:
    """
    Make a document the newest version of the catalogue, effective for the very next request.

    A new or redefined meter is folded from the beginning of the log while events go on being
    counted; short histories are done when this returns.

    Raises:
        DocumentInvalid: With every problem.
        Rejected: `catalog_invalid` if it drops what a running subscription needs.
    """
    catalog = parse_catalog(document)
    async with core.lock(tenant):
        return await _publish(core, tenant, catalog, actor, dry_run=dry_run)


async def put_meter(
    core: Core, tenant: Tenant, key: str, meter: dict[str, Any], actor: str
) -> Published:
    """Publish the catalogue with one meter added or replaced."""
    async with core.lock(tenant):
        # Read under the lock, so that of two meters put at once neither loses the other.
        document = dump_catalog(tenant.catalog)
        document["meters"] = {**document["meters"], key: meter}
        return await _publish(core, tenant, parse_catalog(document), actor)


async def _publish(
    core: Core, tenant: Tenant, catalog: Catalog, actor: str, *, dry_run: bool = False
) -> Published:
    changes = diff(tenant.catalog, catalog)
    now = core.clock.now()
    _keep_what_is_used(tenant, catalog, now)
    if not changes or dry_run:
        return Published(tenant.version, changes)
    version = tenant.version + 1
    await core.books.run(
        core.books.books.add_catalog_version,
        CatalogVersion(tenant.name, version, canonical_document(catalog), now, actor),
        audit(tenant, now, actor, "catalog.publish", str(version), changes=len(changes)),
    )
    tenant.add_catalog(version, catalog, now)
    rebuilding = await count_as_wanted(core, tenant, f"catalogue version {version}")
    return Published(version, changes, rebuilding)


async def count_as_wanted(core: Core, tenant: Tenant, reason: str) -> bool:
    """
    Count what the catalogues in use need, and fetch the history of what is new.

    Returns:
        Whether history is still on its way after a few seconds.
    """
    missing = mark_history(core, tenant, tenant.live.set_counters(tenant.wanted_counters()))
    if missing is None:
        return False
    task = asyncio.create_task(rebuild(core, tenant, missing, reason))
    core.keep(task)
    done, _ = await asyncio.wait([task], timeout=REBUILD_WAIT_S)
    return not done


def _keep_what_is_used(tenant: Tenant, catalog: Catalog, now: int) -> None:
    """A running subscription's plan stays in the catalogue, so that its limits can be looked up."""
    lost = sorted(_plans_in_use(tenant, now) - catalog.plans.keys())
    if lost:
        raise Rejected(
            "catalog_invalid",
            "\n".join(
                f"plans.{plan}: has active subscriptions and cannot be removed" for plan in lost
            ),
        )


def _plans_in_use(tenant: Tenant, now: int) -> set[str]:
    """Of subscriptions that run or will, now and after every change that is planned."""
    return {
        segment.plan
        for subscription in tenant.subscriptions.values()
        if subscription.end is None or subscription.end > now
        for segment in subscription.segments
        if segment.start > now or segment is subscription.segment_at(now)
    }
