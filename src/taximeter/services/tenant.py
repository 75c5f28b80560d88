"""
One namespace in memory: what is configured, and the live state that follows from it.

The books hold the same facts durably; services write there first and then here. All methods run on
the one sequencing thread, so a reader never sees half a change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

from taximeter.catalog.counters import counters_of
from taximeter.catalog.document import Catalog
from taximeter.catalog.prices import Price, UsagePrice
from taximeter.catalog.scopes import scope_path
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Rejection
from taximeter.events.identity import namespace_seed
from taximeter.invoices.coupons import CustomerDiscount
from taximeter.invoices.settings import BillingSettings
from taximeter.live.account import Account, Lane
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.services.gate.hooks import make_hooks
from taximeter.services.telemetry import RateMeter, VerdictCounts
from taximeter.subscriptions.standing import Standing, standing_of
from taximeter.subscriptions.terms import PlanBook, pricing_of
from taximeter.subscriptions.timeline import Timeline, timeline_of


class Tenant:
    """
    Attributes:
        seed: Secret of this namespace for its event identities.
        catalogs: Catalogue version -> document; versions count from 1.
        staged: Those of them that hold only for whom a rollout puts on them.
        plans: Every version of every plan and add-on.
        subscriptions: By id, also those that have ended.
        billing: How invoices are made now; `billing_version` is 0 while nobody has said so.
        counts: Items received and their verdicts, ever.
        feature_counters: Metered feature -> key of the counter the gate reads for it.
        recent: The last requests with events, for people who begin to watch.
        rejections: The last items that were refused, oldest first.
        rate: Accepted events a second.
        granted: By customer: the standing whose plan credits have been issued.
        unsettled: Customers whose subscriptions have changed since somebody looked at that.
        gives_credit: Some plan that was ever published comes with credit.
        discounts: By customer, in the order they were given; also those that have ended.
    """

    def __init__(self, name: str, secret: bytes, window: AcceptanceWindow) -> None:
        self.name = name
        self.seed = namespace_seed(secret, name)
        self.window = window
        self.catalogs: dict[int, Catalog] = {}
        self.created_at: dict[int, int] = {}
        self.staged: set[int] = set()
        self.plans = PlanBook()
        self.customers: dict[str, Customer] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.live = LiveState()
        self.live.hooks_of = partial(make_hooks, self)
        self.billing = BillingSettings()
        self.billing_version = 0
        self.counts = VerdictCounts()
        self.recent: deque[Any] = deque(maxlen=50)
        self.rejections: deque[Rejection] = deque(maxlen=50)
        self.rate = RateMeter()
        self.feature_counters: dict[str, str] = {}
        self._version = 0
        self._counters: dict[Hashable, Counter] = {}
        self._of_customer: dict[str, tuple[Subscription, ...]] = {}
        self._timelines: dict[str, Timeline] = {}
        self._standings: dict[str, Standing] = {}
        self.granted: dict[str, Standing] = {}
        self.unsettled: set[str] = set()
        self.gives_credit = False
        self.discounts: dict[str, tuple[CustomerDiscount, ...]] = {}
        self._has_pools = False
        self._pricings: dict[Hashable, Segment] = {}

    # --- catalogue ---

    @property
    def version(self) -> int:
        """The newest catalogue version that is published for all; 0 while there is none."""
        return self._version

    @property
    def catalog(self) -> Catalog:
        return self.catalogs.get(self.version) or Catalog()

    def add_catalog(
        self, version: int, catalog: Catalog, created_at: int, *, staged: bool = False
    ) -> None:
        """
        Publish a version; `live.set_counters(wanted_counters())` makes the live state follow.

        Args:
            staged: It is only there to be rolled out.
        """
        self.catalogs[version] = catalog
        self.created_at[version] = created_at
        self.plans.add_catalog(version, catalog, created_at, staged=staged)
        self.gives_credit = self.gives_credit or any(
            plan.grants for plan in (*catalog.plans.values(), *catalog.addons.values())
        )
        if staged:
            self.staged.add(version)
            return
        self._version = version
        self.feature_counters = {
            key: Counter(catalog.meters[feature.meter]).key
            for key, feature in catalog.features.items()
            if feature.meter is not None
        }
        self._standings.clear()
        self.unsettled.update(self.customers)

    def metering_version(self, segment: Segment) -> int:
        """
        The catalogue version whose meters count for a segment: the pinned one, else the newest.
        Unlike a price, a meter that is corrected is corrected for all its history.
        """
        return segment.catalog_version if segment.pinned else self.version

    def billed_counter(self, plan_version: int, price: UsagePrice, metering: int) -> Counter:
        """
        What a price bills, with the meters of one catalogue version.

        Args:
            plan_version: The catalogue version the price is of.
        """
        key = (plan_version, metering, price.meter, price.filter, price.group_by)
        known = self._counters.get(key)
        if known is None:
            known = self._counters[key] = self._counter(plan_version, price, metering)
        return known

    def _counter(self, plan_version: int, price: UsagePrice, metering: int) -> Counter:
        meter = self.catalogs[metering].meters.get(price.meter)
        if meter is None or not meter.dimensions.keys() >= set(price.group_by):
            # It has been removed, or lost what this older price groups by.
            meter = self.catalogs[plan_version].meters[price.meter]
        return Counter(meter, price.filter, price.group_by)

    def wanted_counters(self) -> list[Counter]:
        """Every counter the gate or a running fare may ask for."""
        wanted = {counter.key: counter for counter in counters_of(self.catalog)}
        for counter in self._billed_counters():
            wanted.setdefault(counter.key, counter)
        return list(wanted.values())

    def _billed_counters(self) -> Iterable[Counter]:
        self._pricings = {
            pricing_of(segment): segment
            for customer in self._of_customer
            for subscription in _unsettled(self.of_customer(customer))
            for segment in subscription.segments
        }
        for segment in self._pricings.values():
            metering = self.metering_version(segment)
            for part in self.plans.possible_parts(segment):
                for price in usage_prices(part.prices.values()):
                    yield self.billed_counter(part.version, price, metering)

    # --- customers and subscriptions ---

    def know_customer(self, customer: Customer) -> None:
        """Add or replace what is known of a customer whose account stays as it is."""
        self.customers[customer.key] = customer
        self._has_pools = self._has_pools or customer.pool
        self.forget_hooks(customer.key)

    def put_customer(self, customer: Customer) -> Account:
        """Add or replace; the account starts empty (see LiveState.put_customer)."""
        self.know_customer(customer)
        return self.reset_account(customer.key)

    def put_subscription(self, subscription: Subscription) -> bool:
        """
        Add or replace one, without touching what is counted (see `reset_account`).

        Returns:
            Whether it is priced like no other, so that other counters may be wanted.
        """
        self.subscriptions[subscription.id] = subscription
        self._timelines[subscription.id] = timeline_of(subscription)
        others = [s for s in self.of_customer(subscription.customer) if s.id != subscription.id]
        self._of_customer[subscription.customer] = tuple(
            sorted((*others, subscription), key=lambda s: (s.start, s.created_at, s.id))
        )
        self._forget_standing(subscription.customer)
        return not self._pricings.keys() >= {pricing_of(s) for s in subscription.segments}

    def _forget_standing(self, customer: str) -> None:
        self._standings.pop(customer, None)
        self.unsettled.add(customer)
        self.forget_hooks(customer)

    def of_customer(self, customer: str) -> tuple[Subscription, ...]:
        """All subscriptions a customer has or had, the one that began first first."""
        return self._of_customer.get(customer, ())

    def running(self, customer: str, now: int) -> Subscription | None:
        """The main subscription: of those that run at an instant, the one that began first."""
        return next((s for s in self.of_customer(customer) if s.runs_at(now)), None)

    def running_subscriptions(self, now: int) -> int:
        """How many run at an instant."""
        return sum(one.runs_at(now) for one in self.subscriptions.values())

    def timeline(self, subscription: Subscription) -> Timeline:
        """Its billing periods."""
        return self._timelines[subscription.id]

    def reset_account(self, key: str) -> Account:
        """An empty account with the periods its customer has now."""
        self._forget_standing(key)
        return self.live.put_customer(self.customers[key], self.lanes(key))

    def lanes(self, customer: str) -> tuple[Lane, ...]:
        """What a customer's usage is counted by: the periods of each subscription that matters."""
        return tuple(
            Lane(one.id, self.timeline(one)) for one in _unsettled(self.of_customer(customer))
        )

    def standing(self, account: Account, now: int) -> Standing:
        """What the customer's subscriptions say at an instant; remembered while that is so."""
        known = self._standings.get(account.customer)
        if known is None or not known.since <= now < known.until:
            known = self._standings[account.customer] = self.standing_at(account, now)
        return known

    def standing_at(self, account: Account, at: int) -> Standing:
        """The same for any instant, worked out anew."""
        lanes = [
            (self.subscriptions[lane.subscription], lane.schedule)
            for lane in account.lanes
            if lane.subscription
        ]
        return standing_of(lanes, self.plans, at)

    def lane_of(self, account: Account, feature: str | None) -> Account:
        """The lane whose periods a feature is measured by; the main one if nothing measures it."""
        standing = self._standings.get(account.customer)
        if standing is None or feature is None:
            return account.lanes[0 if standing is None else standing.lane]
        return account.lanes[standing.lanes.get(feature, standing.lane)]

    def has_changed(self, subscription: str) -> bool:
        """Whether a subscription was ever, or will be, on other terms than at its beginning."""
        found = self.subscriptions.get(subscription)
        return found is not None and len(found.segments) > 1

    def scope_path(self, level: str) -> str:
        """Where an event names its value of a level below the customer."""
        return scope_path(self.catalog.scopes, level)

    def pool_of(self, customer: str) -> tuple[Account, ...]:
        """The parents it pools with, nearest first."""
        found: list[Account] = []
        one = self.customers[customer]
        while one.pool and one.parent is not None:
            found.append(self.live.accounts[one.parent])
            one = self.customers[one.parent]
        return tuple(found)

    def forget_hooks(self, customer: str) -> None:
        """After what a customer is entitled to has changed: its own and those of who pools."""
        account = self.live.accounts.get(customer)
        if account is not None:
            account.forget_hooks()
        if self._has_pools:
            for key, one in self.customers.items():
                pooling = self.live.accounts.get(key) if one.pool else None
                if pooling is not None:
                    pooling.forget_hooks()

    def account(self, customer: str) -> Account | None:
        """By customer key, or by a subject it claims."""
        return self.live.accounts.get(customer) or self.live.by_subject.get(customer)


def usage_prices(prices: Iterable[Price]) -> list[UsagePrice]:
    """The prices that bill what a meter counted."""
    return [price for price in prices if isinstance(price, UsagePrice)]


def _unsettled(subscriptions: tuple[Subscription, ...]) -> list[Subscription]:
    """
    Without those that had ended when another was made: nothing can be used by them any more, and
    what they bill is counted from the events.
    """
    newest = max((one.created_at for one in subscriptions), default=0)
    return [one for one in subscriptions if one.end is None or one.end > newest]
