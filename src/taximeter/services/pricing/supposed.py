"""
Supposing: a namespace as it would be with another catalogue, to rate by, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from taximeter.catalog.document import Catalog
from taximeter.customers import Segment, Subscription
from taximeter.errors import NotFound
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.terms import PlanBook
from taximeter.subscriptions.timeline import Timeline, timeline_of


class Supposed(Tenant):
    """
    What is known of a real namespace, shared with it, and maybe one catalogue more. Only for
    reading: whoever changed anything here would change the real one.
    """

    def __init__(self, real: Tenant, catalogs: Mapping[int, Catalog], now: int) -> None:
        self.__dict__.update(real.__dict__)
        self.catalogs = {**real.catalogs, **catalogs}
        self.created_at = {**dict.fromkeys(catalogs, now), **real.created_at}
        self._version = max((real.version, *catalogs))
        self._counters = {}
        self.plans = PlanBook()
        for version, document in self.catalogs.items():
            self.plans.add_catalog(
                version,
                document,
                self.created_at[version],
                staged=version in real.staged,
            )

    def timeline(self, subscription: Subscription) -> Timeline:
        """Of the subscription as it is supposed to be."""
        return timeline_of(subscription)


def supposing(tenant: Tenant, catalog: Catalog | int | None, now: int) -> tuple[Supposed, int]:
    """
    The namespace to rate in, and the version to rate by.

    Args:
        catalog: A document, or a version there is; None for the newest.

    Raises:
        NotFound: No such version.
    """
    if isinstance(catalog, Catalog):
        tried = max(tenant.catalogs, default=0) + 1
        return Supposed(tenant, {tried: catalog}, now), tried
    version = tenant.version if catalog is None else catalog
    if version not in tenant.catalogs:
        raise NotFound("not_found", f"There is no catalogue version {version}.")
    return Supposed(tenant, {}, now), version


def held_at(
    tenant: Tenant, subscription: Subscription, version: int
) -> tuple[Subscription | None, tuple[str, ...]]:
    """
    The subscription as if it had been on one catalogue version from its beginning.

    Returns:
        None, and what that version lacks, if it cannot be.
    """
    catalog = tenant.catalogs[version]
    lacking = tuple(dict.fromkeys(_lacking(catalog, subscription.segments)))
    if lacking:
        return None, lacking
    segments = tuple(
        replace(segment, catalog_version=version, pinned=True) for segment in subscription.segments
    )
    return replace(subscription, segments=segments), ()


def _lacking(catalog: Catalog, segments: Iterable[Segment]) -> Iterable[str]:
    for segment in segments:
        if segment.plan not in catalog.plans:
            yield f"plan {segment.plan!r}"
        for addon in segment.addons:
            if addon not in catalog.addons:
                yield f"add-on {addon!r}"
