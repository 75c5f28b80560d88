"""
Publishing a catalogue: read, compare, store as a new immutable version, count accordingly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from taximeter.catalog.diff import Change, diff
from taximeter.catalog.document import (
    Catalog,
    canonical_document,
    dump_catalog,
    parse_catalog,
)
from taximeter.catalog.overrides import with_overrides
from taximeter.customers import Segment, Subscription
from taximeter.errors import Rejected
from taximeter.meters.reading import DocumentInvalid
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
    core: Core,
    tenant: Tenant,
    document: dict[str, Any],
    actor: str,
    *,
    dry_run: bool = False,
    staged: bool = False,
    reason: str = "",
) -> Published:
    """
    Make a document the newest version of the catalogue, effective for the very next request.

    A new or redefined meter is folded from the beginning of the log while events go on being
    counted; short histories are done when this returns.

    Args:
        staged: It holds for nobody until a rollout puts somebody on it.
        reason: For the record.

    Raises:
        DocumentInvalid: With every problem.
        Rejected: `catalog_invalid` if it drops what a running subscription needs.
    """
    catalog = parse_catalog(document)
    async with core.lock(tenant):
        return await publish_catalog(
            core, tenant, catalog, actor, dry_run=dry_run, staged=staged, reason=reason
        )


async def put_meter(
    core: Core, tenant: Tenant, key: str, meter: dict[str, Any], actor: str
) -> Published:
    """Publish the catalogue with one meter added or replaced."""
    async with core.lock(tenant):
        # Read under the lock, so that of two meters put at once neither loses the other.
        document = dump_catalog(tenant.catalog)
        document["meters"] = {**document["meters"], key: meter}
        return await publish_catalog(core, tenant, parse_catalog(document), actor)


async def publish_catalog(
    core: Core,
    tenant: Tenant,
    catalog: Catalog,
    actor: str,
    *,
    dry_run: bool = False,
    staged: bool = False,
    reason: str = "",
) -> Published:
    """As `publish`; the namespace is locked."""
    changes = diff(tenant.catalog, catalog)
    now = core.clock.now()
    _keep_what_is_used(tenant, catalog, now)
    if not changes or dry_run:
        return Published(tenant.version, changes)
    version = len(tenant.catalogs) + 1
    stored = CatalogVersion(
        tenant.name, version, canonical_document(catalog), now, actor, reason, staged
    )
    action = "catalog.stage" if staged else "catalog.publish"
    entry = audit(tenant, now, actor, action, str(version), changes=len(changes), reason=reason)
    await core.books.run(core.books.books.add_catalog_version, stored, entry)
    tenant.add_catalog(version, catalog, now, staged=staged)
    if staged:
        return Published(version, changes)
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
    """
    What running and planned subscriptions are on stays in the catalogue, so that their limits can
    be looked up, and what their contracts override stays readable.
    """
    problems: set[str] = set()
    for subscription, segment in _held(tenant, now):
        for section, keys, known in (
            ("plans", [segment.plan], catalog.plans),
            ("addons", segment.addons, catalog.addons),
        ):
            problems |= {
                f"{section}.{key}: has active subscriptions and cannot be removed"
                for key in keys
                if key not in known
            }
        if segment.overrides and not segment.pinned and segment.plan in catalog.plans:
            try:
                with_overrides(catalog, catalog.plans[segment.plan], segment.overrides)
            except DocumentInvalid as error:
                who = f"{subscription.id} of customer {subscription.customer!r}"
                problems |= {f"{problem} (subscription {who})" for problem in error.problems}
    if problems:
        raise Rejected("catalog_invalid", "\n".join(sorted(problems)))


def _held(tenant: Tenant, now: int) -> Iterator[tuple[Subscription, Segment]]:
    """The segments that hold now or later."""
    for subscription in tenant.subscriptions.values():
        if subscription.end is None or subscription.end > now:
            present = subscription.segment_at(now)
            for segment in subscription.segments:
                if segment.start >= present.start:
                    yield subscription, segment
