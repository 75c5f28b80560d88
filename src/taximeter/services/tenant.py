"""
One namespace in memory: what is configured, and the live state that follows from it.

The books hold the same facts durably; services write there first and then here. All methods run on
the one sequencing thread, so a reader never sees half a change.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, NamedTuple

import msgspec

from taximeter.catalog.counters import counters_of
from taximeter.catalog.document import Catalog, Plan
from taximeter.catalog.prices import Flat, UsagePrice
from taximeter.customers import Customer, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Rejection
from taximeter.events.identity import namespace_seed
from taximeter.live.account import Account
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.periods import Cadence
from taximeter.services.hooks import make_hooks
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


class Terms(NamedTuple):
    """What two subscriptions must share to be on the same plan for ever."""

    plan: str
    catalog_version: int
    pinned: bool


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
        self.live.hooks_of = partial(make_hooks, self)
        self.counts = VerdictCounts()
        self.recent: deque[Any] = deque(maxlen=50)
        self.rejections: deque[Rejection] = deque(maxlen=50)
        self.rate = RateMeter()
        self.feature_counters: dict[str, str] = {}
        self._plans: dict[str, list[PlanVersion]] = {}
        self._current_plans: dict[Terms, PlanVersion] = {}
        self._terms: set[Terms] = set()

    # --- catalogue ---

    @property
    def version(self) -> int:
        """The newest catalogue version; 0 while there is none."""
        return len(self.catalogs)

    @property
    def catalog(self) -> Catalog:
        return self.catalogs.get(self.version) or Catalog()

    def add_catalog(self, version: int, catalog: Catalog, created_at: int) -> None:
        """Publish a version; `live.set_counters(wanted_counters())` makes the live state follow."""
        self.catalogs[version] = catalog
        self.created_at[version] = created_at
        for key, plan in catalog.plans.items():
            known = self._plans.setdefault(key, [])
            if not known or known[-1].plan != plan:
                known.append(PlanVersion(plan, version, created_at))
        self._current_plans.clear()
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

    def subscribed_plan(self, subscription: Subscription) -> PlanVersion:
        """The plan as it was subscribed to."""
        plan = self.plan_version(subscription.plan, subscription.catalog_version)
        assert plan is not None, "a subscription's plan exists in its catalogue version"
        return plan

    def current_plan(self, subscription: Subscription) -> PlanVersion:
        """
        The plan that decides what a subscriber may do now: the pinned version if one was asked
        for, else the newest, so that a raised limit counts for the very next request.
        """
        terms = Terms(subscription.plan, subscription.catalog_version, subscription.pinned)
        found = self._current_plans.get(terms)
        if found is None:
            found = self.subscribed_plan(subscription)
            if not subscription.pinned:
                found = max(found, self._plans[subscription.plan][-1], key=lambda p: p.version)
            self._current_plans[terms] = found
        return found

    def billed_plan(self, subscription: Subscription, period_start: int) -> PlanVersion:
        """
        The plan one period is rated by: the newest published when the period began, but never one
        from before the subscription. A price change so takes effect with the next period.
        """
        subscribed = self.subscribed_plan(subscription)
        if subscription.pinned:
            return subscribed
        later = [
            p
            for p in self._plans[subscription.plan]
            if p.version > subscribed.version and p.created_at <= period_start
        ]
        return later[-1] if later else subscribed

    def metering_version(self, subscription: Subscription) -> int:
        """
        The catalogue version whose meters count for a subscription: the pinned one, else the
        newest. Unlike a price, a meter that is corrected is corrected for all its history.
        """
        return subscription.catalog_version if subscription.pinned else self.version

    def billed_counter(self, plan: PlanVersion, price: UsagePrice, metering: int) -> Counter:
        """What a price of a plan bills, with the meters of one catalogue version."""
        meter = self.catalogs[metering].meters.get(price.meter)
        if meter is None or not meter.dimensions.keys() >= set(price.group_by):
            # It has been removed, or lost what this older price groups by.
            meter = self.catalogs[plan.version].meters[price.meter]
        return Counter(meter, price.filter, price.group_by)

    def wanted_counters(self) -> list[Counter]:
        """Every counter the gate or a running fare may ask for."""
        wanted = {counter.key: counter for counter in counters_of(self.catalog)}
        for terms, subscription in {
            Terms(s.plan, s.catalog_version, s.pinned): s for s in self.active.values()
        }.items():
            metering = self.metering_version(subscription)
            first = self.subscribed_plan(subscription).version
            for plan in self._plans[terms.plan]:
                if plan.version == first or (plan.version > first and not terms.pinned):
                    for price in usage_prices(plan.plan):
                        counter = self.billed_counter(plan, price, metering)
                        wanted.setdefault(counter.key, counter)
        return list(wanted.values())

    # --- customers and subscriptions ---

    def put_customer(self, customer: Customer) -> Account:
        """Add or replace; the account starts empty (see LiveState.put_customer)."""
        self.customers[customer.key] = customer
        return self.reset_account(customer.key)

    def put_subscription(self, subscription: Subscription) -> bool:
        """
        Returns:
            Whether these are the first of their terms, so that other counters may be wanted.
        """
        self.subscriptions[subscription.id] = subscription
        terms = Terms(subscription.plan, subscription.catalog_version, subscription.pinned)
        first = terms not in self._terms
        self._terms.add(terms)
        if subscription.status == "active":
            self.active[subscription.customer] = subscription
        elif self.active.get(subscription.customer, subscription).id == subscription.id:
            self.active.pop(subscription.customer, None)
        return first

    def reset_account(self, key: str) -> Account:
        """An empty account with the schedule its customer has now."""
        subscription = self.active.get(key)
        cadence = None if subscription is None else self.cadence(subscription)
        return self.live.put_customer(self.customers[key], subscription, cadence)

    def cadence(self, subscription: Subscription) -> Cadence:
        """That of the plan as it was subscribed to: a running schedule never moves."""
        return self.subscribed_plan(subscription).plan.cadence

    def account(self, customer: str) -> Account | None:
        """By customer key, or by a subject it claims."""
        return self.live.accounts.get(customer) or self.live.by_subject.get(customer)


def usage_prices(plan: Plan) -> list[UsagePrice]:
    """The prices of a plan that bill what a meter counted."""
    return [price for price in plan.prices.values() if not isinstance(price, Flat)]
