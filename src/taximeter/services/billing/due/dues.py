"""
Dues: what one period of one subscription is billed by.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from taximeter.catalog.prices import Percentage, Seat, UsagePrice
from taximeter.customers import Customer, Subscription
from taximeter.invoices.charges import Charge, Stretch, charges_of
from taximeter.invoices.discounts import Discount
from taximeter.invoices.plan_lines import PlanTerms
from taximeter.meters.counter import Counter
from taximeter.periods import Period
from taximeter.rating.ramp import turning_points
from taximeter.services.billing.due.plan_dues import discounts_of, plan_terms
from taximeter.services.billing.due.tariffs import Tariffs, currency_of
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.standing import stretches
from taximeter.subscriptions.terms import Terms
from taximeter.subscriptions.timeline import Timeline, timeline_of


class Due(msgspec.Struct, frozen=True):
    """
    One period of one subscription.

    Attributes:
        metering: The catalogue version whose meters count at the end of the period.
        charges: None are due in a trial.
        part: Which of the period is billed: "period" for all of it; see `invoice.Cover`.
        terms: What its plans say of all their lines together.
        discounts: Those its plans give in this period.
    """

    customer: Customer
    subscription: Subscription
    currency: str
    metering: int
    period: Period
    charges: tuple[Charge, ...]
    part: str = "period"
    terms: tuple[PlanTerms, ...] = ()
    discounts: tuple[Discount, ...] = ()

    def usage_charges(self) -> Iterator[tuple[int, Charge, UsagePrice]]:
        """Those that bill what a meter counted, with their place among the charges."""
        for place, charge in enumerate(self.charges):
            if isinstance(charge.price, UsagePrice):
                yield place, charge, charge.price

    def seat_charges(self) -> Iterator[tuple[int, Charge, Seat]]:
        """Those that bill seats, likewise."""
        for place, charge in enumerate(self.charges):
            if isinstance(charge.price, Seat):
                yield place, charge, charge.price

    @property
    def is_split(self) -> bool:
        """
        Whether something is billed that no live counter counts: for a part of the period, by hours
        of the day, by each event's own amount, for seats.
        """
        return any(self.seat_charges()) or any(
            charge.period != self.period or charge.parts or _is_clamped(price)
            for _, charge, price in self.usage_charges()
        )


def _is_clamped(price: UsagePrice) -> bool:
    return isinstance(price, Percentage) and price.is_clamped


def due_of(
    tenant: Tenant,
    subscription: Subscription,
    index: int,
    *,
    currency: str | None = None,
    rates_version: int | None = None,
) -> Due:
    """
    Args:
        index: Of the period in the subscription's timeline.
        currency: Of the invoice; None to find out.
        rates_version: Of the catalogue whose rates are used; None for the newest.
    """
    timeline = timeline_of(subscription)
    period = timeline.nth(index)
    customer = tenant.customers[subscription.customer]
    held = [
        (part, segment, tenant.plans.billed(subscription, part.start, period.start))
        for part, segment in stretches(subscription, period)
    ]
    number = charged_number(timeline, index)
    tariffs = Tariffs(tenant, period, number, rates_version)
    currency = currency or currency_of(customer, [terms for *_, terms in held], tariffs)
    metering = tenant.metering_version(held[-1][1])
    if timeline.in_trial(index):
        return Due(customer, subscription, currency, metering, period, ())
    pieces = [
        (piece, segment, terms)
        for part, segment, terms in held
        for piece in _between(part, _turning_points(terms))
    ]
    alone = len(pieces) == 1
    cut = [
        Stretch(
            piece,
            tariffs.priced(segment, terms, currency, piece.start, alone=alone),
            segment.paused,
        )
        for piece, segment, terms in pieces
    ]
    plans = [(terms.parts[0], tariffs.rates_for(terms.parts[0])) for *_, terms in pieces]
    whole = timeline.whole(index)
    began_before = _is_charged(subscription, period.start - 1)
    goes_on = _is_charged(subscription, period.end)
    return Due(
        customer,
        subscription,
        currency,
        metering,
        period,
        charges_of(cut, whole, subscription.timezone, began_before=began_before, goes_on=goes_on),
        terms=plan_terms(
            subscription, plans, cut, whole, currency, began_before=began_before, goes_on=goes_on
        ),
        discounts=discounts_of(plans, currency, number),
    )


def charged_number(timeline: Timeline, index: int) -> int:
    """Which billing period one is, not counting trials; the first is 1."""
    trials = sum(run.schedule is None and run.first <= index for run in timeline.runs)
    return index + 1 - trials


def counter_of(tenant: Tenant, charge: Charge, price: UsagePrice) -> Counter:
    """What counts for a charge."""
    version = int(charge.reference.rpartition("@")[2])
    return tenant.billed_counter(version, price, charge.metering)


def _turning_points(terms: Terms) -> set[int]:
    return turning_points(price for part in terms.parts for price in part.plan.all_prices())


def _between(period: Period, points: set[int]) -> Iterator[Period]:
    """The period, cut at the points it holds."""
    inside = sorted(at for at in points if period.start < at < period.end)
    for start, end in pairwise((period.start, *inside, period.end)):
        yield Period(start, end)


def _is_charged(subscription: Subscription, at: int) -> bool:
    """Whether an instant is in time that is charged for."""
    segment = subscription.segment_at(at)
    return subscription.runs_at(at) and not (segment.trial or segment.paused)
