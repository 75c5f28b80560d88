"""
Dues: what one period of one subscription is billed by.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from taximeter.catalog.prices import Flat, UsagePrice
from taximeter.customers import Customer, Segment, Subscription
from taximeter.invoices.charges import Charge, Priced, Stretch, charges_of
from taximeter.meters.counter import Counter
from taximeter.periods import Period
from taximeter.services.tenant import Tenant, usage_prices
from taximeter.subscriptions.standing import stretches
from taximeter.subscriptions.terms import Terms
from taximeter.subscriptions.timeline import timeline_of


class Due(msgspec.Struct, frozen=True):
    """
    One period of one subscription.

    Attributes:
        metering: The catalogue version whose meters count at the end of the period.
        charges: None are due in a trial.
        part: Which of the period is billed: "period" for all of it; see `invoice.Cover`.
    """

    customer: Customer
    subscription: Subscription
    currency: str
    metering: int
    period: Period
    charges: tuple[Charge, ...]
    part: str = "period"

    def usage_charges(self) -> Iterator[tuple[int, Charge, UsagePrice]]:
        """Those that bill what a meter counted, with their place among the charges."""
        for place, charge in enumerate(self.charges):
            if not isinstance(charge.price, Flat):
                yield place, charge, charge.price

    @property
    def is_split(self) -> bool:
        """Whether something is billed for a part of the period only, as a counter does not know."""
        return any(charge.period != self.period for _, charge, _ in self.usage_charges())


def due_of(tenant: Tenant, subscription: Subscription, index: int) -> Due:
    """
    Args:
        index: Of the period in the subscription's timeline.
    """
    timeline = timeline_of(subscription)
    period = timeline.nth(index)
    held = list(stretches(subscription, period))
    terms = [tenant.plans.billed(subscription, part.start, period.start) for part, _ in held]
    charges: tuple[Charge, ...] = ()
    if not timeline.in_trial(index):
        charges = charges_of(
            [
                Stretch(stretch, _priced(tenant, segment, found), segment.paused)
                for (stretch, segment), found in zip(held, terms, strict=True)
            ],
            timeline.whole(index),
            subscription.timezone,
            began_before=_is_charged(subscription, period.start - 1),
            goes_on=_is_charged(subscription, period.end),
        )
    return Due(
        tenant.customers[subscription.customer],
        subscription,
        terms[-1].plan.currency,
        tenant.metering_version(held[-1][1]),
        period,
        charges,
    )


def counter_of(tenant: Tenant, charge: Charge, price: UsagePrice) -> Counter:
    """What counts for a charge."""
    return tenant.billed_counter(_version(charge), price, charge.metering)


def _version(charge: Charge) -> int:
    return int(charge.reference.rpartition("@")[2])


def _priced(tenant: Tenant, segment: Segment, terms: Terms) -> tuple[Priced, ...]:
    metering = tenant.metering_version(segment)
    return tuple(
        Priced(
            name=part.name,
            version=part.version,
            metering=metering,
            prices=part.prices,
            counters={
                price.key: tenant.billed_counter(part.version, price, metering).key
                for price in usage_prices(part.prices.values())
            },
            quantity=part.quantity,
        )
        for part in terms.parts
    )


def _is_charged(subscription: Subscription, at: int) -> bool:
    """Whether an instant is in time that is charged for."""
    segment = subscription.segment_at(at)
    return subscription.runs_at(at) and not (segment.trial or segment.paused)
