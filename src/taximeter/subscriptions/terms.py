"""
Terms: what a segment of a subscription means once its plan and add-ons are looked up.

A plan is looked up in the catalogue version a segment names. A segment that is not pinned follows
newer versions: limits at once, prices with the next billing period, so that a price never changes
under a period that runs (K20). Entitlements are derived here each time, never copied into a
subscription: one source of truth.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from taximeter.catalog.combine import combined
from taximeter.catalog.document import Catalog
from taximeter.catalog.features import Entitlement
from taximeter.catalog.overrides import with_overrides
from taximeter.catalog.plans import Plan, PlanGrant
from taximeter.catalog.prices import Price
from taximeter.customers import Segment, Subscription

BEFORE_ALL: Final = -1
MAX_REMEMBERED: Final = 20_000
"""Terms that are kept looked up."""


class PlanVersion(msgspec.Struct, frozen=True):
    """
    A plan or an add-on as one catalogue version has it.

    Attributes:
        version: The catalogue version in which it last changed; what invoices cite.
        created_at: When that version was published.
        staged: Only segments that name exactly that version are on it.
    """

    plan: Plan
    version: int
    created_at: int
    staged: bool = False

    def is_named_by(self, catalog_version: int) -> bool:
        """Whether it is in what a catalogue version contains, or was before it."""
        if self.staged:
            return self.version == catalog_version
        return self.version <= catalog_version


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

    def add_catalog(
        self, version: int, catalog: Catalog, created_at: int, *, staged: bool = False
    ) -> None:
        """
        Versions come in order; an unchanged plan is no new version of it.

        Args:
            staged: Nobody follows it by itself.
        """
        self._catalogs[version] = catalog
        if not staged:
            self._created_at[version] = created_at
        for known, found in ((self._plans, catalog.plans), (self._addons, catalog.addons)):
            for key, plan in found.items():
                versions = known.setdefault(key, [])
                published = [one for one in versions if not one.staged]
                if not published or published[-1].plan != plan:
                    versions.append(PlanVersion(plan, version, created_at, staged))
        self._current.clear()

    def plan(self, key: str, catalog_version: int) -> PlanVersion | None:
        """The plan as that catalogue version has it; None if it has no such plan."""
        if key not in self._catalogs.get(catalog_version, Catalog()).plans:
            return None
        return [p for p in self._plans[key] if p.is_named_by(catalog_version)][-1]

    def addon(self, key: str, catalog_version: int) -> PlanVersion | None:
        """The add-on as that catalogue version has it; None if it has no such add-on."""
        if key not in self._catalogs.get(catalog_version, Catalog()).addons:
            return None
        return [p for p in self._addons[key] if p.is_named_by(catalog_version)][-1]

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
            found = self._terms(segment, None)
            if len(self._current) == MAX_REMEMBERED:  # previews can name anything
                self._current.clear()
            self._current[key] = found
        return found

    def billed(self, subscription: Subscription, at: int, period_start: int) -> Terms:
        """
        What a subscription is billed by at an instant of a period: the versions that were the
        newest when the period began, or when what was not there before was taken up; never ones
        from before what its segment names. Other overrides are another contract: they are read
        with the catalogue of their day.
        """
        segment = subscription.segment_at(at)
        plan_at = _since(subscription, segment, partial(_same_contract, segment))
        addons_at = {
            key: max(period_start, _since(subscription, segment, partial(_has_addon, key)))
            for key in segment.addons
        }
        return self._terms(segment, max(period_start, plan_at), addons_at)

    def possible_parts(self, segment: Segment) -> Iterator[Part]:
        """The parts of all terms that a segment is, or by now may be, billed by; some repeated."""
        yield from self._terms(segment, BEFORE_ALL).parts
        if not segment.pinned:
            for versions in (self._plans[segment.plan], *(self._addons[k] for k in segment.addons)):
                for one in versions:
                    if one.version > segment.catalog_version:
                        yield from self._terms(segment, one.created_at).parts

    def _terms(
        self, segment: Segment, at: int | None, addons_at: Mapping[str, int] | None = None
    ) -> Terms:
        """
        Args:
            at: Versions published later are not seen; None for all.
            addons_at: The same for each add-on, where it is another instant.
        """
        version = _version(self._plans[segment.plan], segment, at)
        plan = version.plan
        if segment.overrides:
            catalog = self._catalogs[self._catalog_version(segment, at)]
            plan = with_overrides(catalog, plan, segment.overrides)
        parts = [Part(segment.plan, plan, version.version)]
        entitlements: Mapping[str, Entitlement] = plan.entitlements
        for key, quantity in sorted(segment.addons.items()):
            addon_at = at if addons_at is None else addons_at[key]
            addon = _version(self._addons[key], segment, addon_at)
            parts.append(Part(f"{segment.plan}+{key}", addon.plan, addon.version, quantity))
            entitlements = combined(entitlements, addon.plan.entitlements, quantity)
        return Terms(tuple(parts), entitlements)

    def _catalog_version(self, segment: Segment, at: int | None) -> int:
        if segment.pinned:
            return segment.catalog_version
        known = [v for v, created_at in self._created_at.items() if at is None or created_at <= at]
        return max((segment.catalog_version, *known))


def _version(versions: Sequence[PlanVersion], segment: Segment, at: int | None) -> PlanVersion:
    """The newest one a segment may be on at an instant."""
    found = versions[0]
    for one in versions:
        is_out = not (segment.pinned or one.staged) and (at is None or one.created_at <= at)
        if is_out or one.is_named_by(segment.catalog_version):
            found = one
    return found


def _since(subscription: Subscription, segment: Segment, goes_on: Callable[[Segment], bool]) -> int:
    """The start of the earliest segment from which on something goes on up to this one."""
    since = segment.start
    for other in reversed(subscription.segments):
        if other.start <= segment.start:
            if not goes_on(other):
                break
            since = other.start
    return since


def _same_contract(one: Segment, other: Segment) -> bool:
    return (one.plan, one.catalog_version, one.pinned, one.overrides) == (
        other.plan, other.catalog_version, other.pinned, other.overrides,
    )  # fmt: skip


def _has_addon(key: str, segment: Segment) -> bool:
    return key in segment.addons
