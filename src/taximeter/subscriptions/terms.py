"""
Terms: what a segment of a subscription means once its plan and add-ons are looked up.

A plan is looked up in the catalogue version a segment names. A segment that is not pinned follows
newer versions: limits at once, prices with the next billing period, so that a price never changes
under a period that runs (K20). Entitlements are derived here each time, never copied into a
subscription: one source of truth.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final

import msgspec

from taximeter.catalog.combine import combined
from taximeter.catalog.document import Catalog
from taximeter.catalog.features import Entitlement
from taximeter.catalog.overrides import with_overrides
from taximeter.catalog.plans import Plan, PlanGrant
from taximeter.catalog.prices import Price
from taximeter.customers import Segment

BEFORE_ALL: Final = -1


class PlanVersion(msgspec.Struct, frozen=True):
    """
    A plan or an add-on as one catalogue version has it.

    Attributes:
        version: The catalogue version in which it last changed; what invoices cite.
        created_at: When that version was published.
    """

    plan: Plan
    version: int
    created_at: int


class Part(msgspec.Struct, frozen=True):
    """
    The plan, or one add-on, of some terms.

    Attributes:
        name: What lines cite: "pro", or "pro+boost" for an add-on.
        quantity: Of an add-on; 1 for the plan.
    """

    name: str
    plan: Plan
    version: int
    quantity: int = 1

    @property
    def prices(self) -> Mapping[str, Price]:
        return self.plan.prices

    @property
    def grants(self) -> Mapping[str, PlanGrant]:
        return self.plan.grants


class Terms(msgspec.Struct, frozen=True):
    """
    A plan with its add-ons and this customer's overrides.

    Attributes:
        parts: The plan first, then the add-ons by key.
        entitlements: By feature, of all parts together.
        version: The newest catalogue version in which one of the parts changed.
    """

    parts: tuple[Part, ...]
    entitlements: Mapping[str, Entitlement]

    @property
    def plan(self) -> Plan:
        return self.parts[0].plan

    @property
    def version(self) -> int:
        return max(part.version for part in self.parts)


def pricing_of(segment: Segment) -> Hashable:
    """Segments with equal pricing have the same prices at the same time."""
    return (
        segment.plan,
        segment.catalog_version,
        segment.pinned,
        tuple(sorted(segment.addons)),
        msgspec.json.encode(segment.overrides.get("prices"), order="deterministic"),
    )


class PlanBook:
    """
    Every version of every plan and add-on of a namespace.
    """

    def __init__(self) -> None:
        self._catalogs: dict[int, Catalog] = {}
        self._created_at: dict[int, int] = {}
        self._plans: dict[str, list[PlanVersion]] = {}
        self._addons: dict[str, list[PlanVersion]] = {}
        self._current: dict[tuple[Any, ...], Terms] = {}

    def add_catalog(self, version: int, catalog: Catalog, created_at: int) -> None:
        """Versions come in order; an unchanged plan is no new version of it."""
        self._catalogs[version] = catalog
        self._created_at[version] = created_at
        for known, found in ((self._plans, catalog.plans), (self._addons, catalog.addons)):
            for key, plan in found.items():
                versions = known.setdefault(key, [])
                if not versions or versions[-1].plan != plan:
                    versions.append(PlanVersion(plan, version, created_at))
        self._current.clear()

    def plan(self, key: str, catalog_version: int) -> PlanVersion | None:
        """The plan as that catalogue version has it; None if it has no such plan."""
        if key not in self._catalogs.get(catalog_version, Catalog()).plans:
            return None
        return [p for p in self._plans[key] if p.version <= catalog_version][-1]

    def addon(self, key: str, catalog_version: int) -> PlanVersion | None:
        """The add-on as that catalogue version has it; None if it has no such add-on."""
        if key not in self._catalogs.get(catalog_version, Catalog()).addons:
            return None
        return [p for p in self._addons[key] if p.version <= catalog_version][-1]

    def current(self, segment: Segment) -> Terms:
        """
        What decides what may be used now: the pinned version, else the newest, so that a raised
        limit counts for the very next request.
        """
        key = (
            segment.plan,
            segment.catalog_version,
            segment.pinned,
            tuple(sorted(segment.addons.items())),
            msgspec.json.encode(segment.overrides, order="deterministic"),
        )
        found = self._current.get(key)
        if found is None:
            found = self._current[key] = self._terms(segment, None)
        return found

    def billed(self, segment: Segment, period_start: int) -> Terms:
        """
        What a stretch of a period is rated by: the versions that were the newest when the period
        or, later, the segment began, but none from before what the segment names.
        """
        return self._terms(segment, max(period_start, segment.start))

    def possible_parts(self, segment: Segment) -> Iterator[Part]:
        """The parts of all terms that a segment is, or by now may be, billed by; some repeated."""
        yield from self._terms(segment, BEFORE_ALL).parts
        if not segment.pinned:
            for versions in (self._plans[segment.plan], *(self._addons[k] for k in segment.addons)):
                for one in versions:
                    if one.version > segment.catalog_version:
                        yield from self._terms(segment, one.created_at).parts

    def _terms(self, segment: Segment, at: int | None) -> Terms:
        """Of the versions published by an instant; None for all."""
        catalog = self._catalogs[self._catalog_version(segment, at)]
        version = self._version(self._plans[segment.plan], segment, at)
        plan = version.plan
        if segment.overrides:
            plan = with_overrides(catalog, plan, segment.overrides)
        parts = [Part(segment.plan, plan, version.version)]
        entitlements: Mapping[str, Entitlement] = plan.entitlements
        for key, quantity in sorted(segment.addons.items()):
            addon = self._version(self._addons[key], segment, at)
            parts.append(Part(f"{segment.plan}+{key}", addon.plan, addon.version, quantity))
            entitlements = combined(entitlements, addon.plan.entitlements, quantity)
        return Terms(tuple(parts), entitlements)

    def _catalog_version(self, segment: Segment, at: int | None) -> int:
        if segment.pinned:
            return segment.catalog_version
        known = [v for v, created_at in self._created_at.items() if at is None or created_at <= at]
        return max((segment.catalog_version, *known))

    @staticmethod
    def _version(versions: list[PlanVersion], segment: Segment, at: int | None) -> PlanVersion:
        taken = [p for p in versions if p.version <= segment.catalog_version]
        assert taken, "what a segment names exists in its catalogue version"
        later = [
            p
            for p in versions
            if p.version > segment.catalog_version and (at is None or p.created_at <= at)
        ]
        return later[-1] if later and not segment.pinned else taken[-1]
