"""
One namespace in memory: what is configured, and the live state that follows from it.

The books hold the same facts durably; services write there first and then here. All methods run on
the one sequencing thread, so a reader never sees half a change.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from taximeter.catalog.counters import counters_of
from taximeter.catalog.document import Catalog, Plan
from taximeter.customers import Customer, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Rejection
from taximeter.events.identity import namespace_seed
from taximeter.live.account import Account
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.periods import Cadence
from taximeter.services.telemetry import RateMeter, VerdictCounts


class PlanVersion(msgspec.Struct, frozen=True):
    """
    A plan as one catalogue version has it.

    Attributes:
        version: The catalogue version in which the plan last changed; what invoices cite.
    """

    plan: Plan
    version: int
    created_at: int


class Tenant:
    """
    Attributes:
        seed: Secret of this namespace for its event identities.
        catalogs: Catalogue version -> document; versions count from 1.
        subscriptions: By id; `active` holds the running one of each customer.
        counts: Items received and their verdicts, ever.
        feature_counters: Metered feature -> key of the counter the gate reads for it.
        recent: The last requests with events, for people who begin to watch.
        rejections: The last items that were refused, oldest first.
        rate: Accepted events a second.
    """

    def __init__(self, name: str, secret: bytes, window: AcceptanceWindow) -> None:
        self.name = name
        self.seed = namespace_seed(secret, name)
        self.window = window
        self.catalogs: dict[int, Catalog] = {}
        self.created_at: dict[int, int] = {}
        self.customers: dict[str, Customer] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.active: dict[str, Subscription] = {}
        self.live = LiveState()
        self.counts = VerdictCounts()
        self.recent: deque[Any] = deque(maxlen=50)
        self.rejections: deque[Rejection] = deque(maxlen=50)
        self.rate = RateMeter()
        self.feature_counters: dict[str, str] = {}
        self._plans: dict[str, list[PlanVersion]] = {}

    # --- catalogue ---

    @property
    def version(self) -> int:
        """The newest catalogue version; 0 while there is none."""
        return len(self.catalogs)

    @property
    def catalog(self) -> Catalog:
        return self.catalogs.get(self.version) or Catalog()

    def add_catalog(self, version: int, catalog: Catalog, created_at: int) -> None:
        """Publish a version. `apply_counters` makes the live state follow."""
        self.catalogs[version] = catalog
        self.created_at[version] = created_at
        for key, plan in catalog.plans.items():
            known = self._plans.setdefault(key, [])
            if not known or known[-1].plan != plan:
                known.append(PlanVersion(plan, version, created_at))
        self.feature_counters = {
            key: Counter(catalog.meters[feature.meter]).key
            for key, feature in catalog.features.items()
            if feature.meter is not None
        }

    def plan_version(self, key: str, catalog_version: int) -> PlanVersion | None:
        """The plan as that catalogue version has it."""
        if key not in self.catalogs.get(catalog_version, Catalog()).plans:
            return None
        known = [p for p in self._plans.get(key, ()) if p.version <= catalog_version]
        return known[-1] if known else None

    def current_plan(self, subscription: Subscription) -> PlanVersion:
        """
        The plan that decides what a subscriber may do now: the pinned version if one was asked
        for, else the newest, so that a raised limit counts for the very next request.
        """
        pinned = self.plan_version(subscription.plan, subscription.catalog_version)
        assert pinned is not None, "a subscription's plan exists in its catalogue version"
        if subscription.pinned:
            return pinned
        newest = self._plans[subscription.plan][-1]
        return max(pinned, newest, key=lambda p: p.version)

    def billed_plan(self, subscription: Subscription, period_start: int) -> PlanVersion:
        """
        The plan one period is rated by: the newest published when the period began, but never one
        from before the subscription. A price change so takes effect with the next period.
        """
        pinned = self.plan_version(subscription.plan, subscription.catalog_version)
        assert pinned is not None, "a subscription's plan exists in its catalogue version"
        if subscription.pinned:
            return pinned
        candidates = [
            p
            for p in self._plans[subscription.plan]
            if p.version > pinned.version and p.created_at <= period_start
        ]
        return candidates[-1] if candidates else pinned

    def wanted_counters(self) -> list[Counter]:
        """Every counter the gate or a running fare may ask for."""
        catalogs = {self.version: self.catalog}
        for subscription in self.active.values():
            version = subscription.catalog_version
            catalogs[version] = self.catalogs[version]
        by_key: dict[str, Counter] = {}
        for version in sorted(catalogs, reverse=True):
            for counter in counters_of(catalogs[version]):
                by_key.setdefault(counter.key, counter)
        return list(by_key.values())

    # --- customers and subscriptions ---

    def put_customer(self, customer: Customer) -> Account:
        """Add or replace; the account starts empty (see LiveState.put_customer)."""
        self.customers[customer.key] = customer
        return self.reset_account(customer.key)

    def put_subscription(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.id] = subscription
        if subscription.status == "active":
            self.active[subscription.customer] = subscription
        elif self.active.get(subscription.customer, subscription).id == subscription.id:
            self.active.pop(subscription.customer, None)

    def reset_account(self, key: str) -> Account:
        """An empty account with the schedule its customer has now."""
        subscription = self.active.get(key)
        cadence = None if subscription is None else self.cadence(subscription)
        return self.live.put_customer(self.customers[key], subscription, cadence)

    def cadence(self, subscription: Subscription) -> Cadence:
        """That of the plan as it was subscribed to: a running schedule never moves."""
        plan = self.plan_version(subscription.plan, subscription.catalog_version)
        assert plan is not None, "a subscription's plan exists in its catalogue version"
        return plan.plan.cadence

    def account(self, customer: str) -> Account | None:
        """By customer key, or by a subject it claims."""
        return self.live.accounts.get(customer) or self.live.by_subject.get(customer)
