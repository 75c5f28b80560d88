"""
Simulation: the invoices of periods to come, by the code that bills.

Usage is that of the last periods, grown, or quantities somebody names; prices are those of the
customer's own plan, of another one, or of a catalogue that is only tried. Nothing is changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.catalog.document import Catalog
from taximeter.catalog.prices import Percentage, UsagePrice
from taximeter.customers import Customer, Segment, Subscription
from taximeter.errors import NotFound, Rejected
from taximeter.instants import format_instant
from taximeter.invoices.build import Usage
from taximeter.invoices.document import dump_invoice
from taximeter.invoices.invoice import Invoice
from taximeter.meters.reading import suggestion
from taximeter.money import format_minor
from taximeter.periods import Anchor, Cadence
from taximeter.pricing.profile import Group, Used, grown, mean_of
from taximeter.rating import Band
from taximeter.rating.percentage import limits
from taximeter.services.billing.drafting.assembly import fare_of
from taximeter.services.billing.due.commitments import Drawing
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.billing.due.seats import seat_times
from taximeter.services.core import Core, require_customer
from taximeter.services.pricing.revenue import net_minor
from taximeter.services.pricing.supposed import Supposed, supposing
from taximeter.services.subscriptions.agreement import check_plan
from taximeter.services.tenant import Tenant
from taximeter.subscriptions import changes
from taximeter.subscriptions.timeline import timeline_of

MAX_PERIODS = 60
MAX_LEARNED = 24
SIMULATED = "simulated"


class Given(msgspec.Struct, frozen=True):
    """Usage of one meter in every period, for one group."""

    quantity_pico: int
    events: int = 0
    group: Mapping[str, str | None] = {}


class Simulation(msgspec.Struct, frozen=True):
    """
    Attributes:
        customer: Whose subscription and past it is; None for usage that is given.
        usage: Meter -> what is used of it in the first period; None to learn it from the past.
        plan: Another plan from the next period on; None for the customer's own.
        catalog: Tried: a document or a version; None for what the customer would be billed by.
        periods: How many, from the next billing period on.
        growth: Of usage, from one period to the next.
        learned: How many ended periods the mean is taken of.
    """

    customer: str | None = None
    usage: Mapping[str, tuple[Given, ...]] | None = None
    plan: str | None = None
    catalog: Catalog | int | None = None
    periods: int = 3
    growth: Fraction = Fraction(0)
    learned: int = 3


async def simulate(core: Core, tenant: Tenant, wanted: Simulation) -> dict[str, Any]:
    """
    Raises:
        NotFound: No such customer, or one without a subscription, or no such version.
        Rejected: `unknown_plan`; `invalid_parameter` for what makes no sense.
    """
    _check(tenant, wanted)
    now = core.clock.now()
    supposed, subscription = _subscription(tenant, wanted, now)
    timeline = timeline_of(subscription)
    first = timeline.index(now) + 1 if timeline.covers(now) else 0
    dues: list[Due] = []
    while len(dues) < wanted.periods and timeline.covers(timeline.nth(first + len(dues)).start):
        dues.append(due_of(supposed, subscription, first + len(dues)))
        if timeline.end == dues[-1].period.end:
            break
    upto = await core.upto()
    usages, learned = await _usages(core, tenant, supposed, wanted, subscription, dues, upto)
    for usage, seats in zip(usages, await seat_times(core, supposed, dues, upto), strict=True):
        usage += [Usage(place, (), 0, 0, None, seats=time) for place, time in seats.items()]
    payer = subscription.customer
    drawing, invoices = Drawing(), []
    for due, usage in zip(dues, usages, strict=True):
        invoices.append(fare_of(supposed, drawing.before(due), payer, usage, upto))
        drawing.add(due, invoices[-1].lines)
    return {
        "customer": wanted.customer,
        "plan": subscription.segments[-1].plan,
        "position": f"0:{upto}",
        "learned_from": [
            {"start": format_instant(due.period.start), "end": format_instant(due.period.end)}
            for due in learned
        ],
        "invoices": [dump_invoice(invoice) for invoice in invoices],
        "totals": _totals(invoices),
    }


def _totals(invoices: Sequence[Invoice]) -> list[dict[str, str]]:
    """Revenue of all periods together, in each currency."""
    sums: dict[str, int] = {}
    for invoice in invoices:
        sums[invoice.currency] = sums.get(invoice.currency, 0) + net_minor(invoice)
    return [
        {"currency": currency, "revenue": format_minor(minor, currency)}
        for currency, minor in sorted(sums.items())
    ]


def _check(tenant: Tenant, wanted: Simulation) -> None:
    if not 1 <= wanted.periods <= MAX_PERIODS:
        raise Rejected("invalid_parameter", f"periods: 1 to {MAX_PERIODS}.")
    if not 1 <= wanted.learned <= MAX_LEARNED:
        raise Rejected("invalid_parameter", f"learned: 1 to {MAX_LEARNED} periods.")
    if wanted.customer is not None:
        require_customer(tenant, wanted.customer)
    elif wanted.usage is None or wanted.plan is None:
        raise Rejected("invalid_parameter", "Without a customer, give `usage` and `plan`.")


# --- which subscription -----------------------------------------------------------------------


def _subscription(tenant: Tenant, wanted: Simulation, now: int) -> tuple[Tenant, Subscription]:
    """The namespace to rate in, and the subscription as it is supposed to be."""
    supposed, version = supposing(tenant, wanted.catalog, now)
    if wanted.customer is None:
        return supposed, _stranger(supposed, wanted, version, now)
    found = tenant.running(wanted.customer, now)
    if found is None:
        raise NotFound("not_found", f"Customer {wanted.customer!r} has no running subscription.")
    if wanted.plan is None and wanted.catalog is None:
        return supposed, found
    at = timeline_of(found).containing(now).end
    segment = found.segment_at(at)
    plan = wanted.plan or segment.plan
    return supposed, changes.patched(
        found,
        at,
        plan=plan,
        catalog_version=check_plan(supposed, plan, version),
        cadence=_cadence(supposed, plan, version),
        pinned=wanted.catalog is not None,
        overrides=segment.overrides if plan == segment.plan else {},
    )


def _stranger(supposed: Supposed, wanted: Simulation, version: int, now: int) -> Subscription:
    """Somebody who would subscribe now, by the calendar."""
    assert wanted.plan is not None, "it was checked"
    check_plan(supposed, wanted.plan, version)
    supposed.customers = {**supposed.customers, SIMULATED: Customer(SIMULATED)}
    cadence = _cadence(supposed, wanted.plan, version)
    segment = Segment(now, wanted.plan, version, cadence, pinned=True)
    return Subscription(SIMULATED, SIMULATED, Anchor.CALENDAR, "UTC", (segment,))


def _cadence(tenant: Tenant, plan: str, version: int) -> Cadence:
    known = tenant.plans.plan(plan, version)
    assert known is not None, "it was checked"
    return known.plan.cadence


# --- what is used -----------------------------------------------------------------------------


async def _usages(
    core: Core,
    tenant: Tenant,
    supposed: Tenant,
    wanted: Simulation,
    subscription: Subscription,
    dues: Sequence[Due],
    upto: int,
) -> tuple[list[list[Usage]], list[Due]]:
    """Usage of each period to come, and the past periods it was learned from."""
    if wanted.usage is not None:
        _check_given(supposed, wanted.usage)
        found = [
            [
                one
                for place, _, price in due.usage_charges()
                for one in _given(price, place, wanted.usage, wanted.growth, n)
            ]
            for n, due in enumerate(dues)
        ]
        return found, []
    past = _past(tenant, subscription, core.clock.now(), wanted.learned)
    usages = []
    for n, due in enumerate(dues, start=1):
        usages.append(await _learned(core, supposed, due, past, wanted.growth, n, upto))
    return usages, past


def _past(tenant: Tenant, subscription: Subscription, now: int, learned: int) -> list[Due]:
    """The newest periods that have ended; the one that runs if none has."""
    timeline = tenant.timeline(subscription)
    ended = timeline.ended_by(now)
    indices = range(max(0, ended - learned), ended) if ended else range(1)
    held = tenant.subscriptions[subscription.id]
    return [due_of(tenant, held, index) for index in indices]


async def _learned(
    core: Core,
    supposed: Tenant,
    due: Due,
    past: Sequence[Due],
    growth: Fraction,
    nth: int,
    upto: int,
) -> list[Usage]:
    """What the prices of a period to come would have counted in the past ones, grown."""
    places = [place for place, _, _ in due.usage_charges()]
    asked = [
        replace(
            due, charges=tuple(replace(one, period=old.period, parts=()) for one in due.charges)
        )
        for old in past
    ]
    counted = await recounted(core, supposed, asked, upto, proofs=False)
    usages: list[Usage] = []
    for place in places:
        whole = [
            {u.group: Used(u.quantity_pico, u.events) for u in usage if u.charge == place}
            for usage in counted
        ]
        bands = {u.group: len(u.bands) for usage in counted for u in usage if u.charge == place}
        for group, mean in mean_of(whole).items():
            used = grown(mean, growth, nth)
            usages.append(
                Usage(
                    place,
                    group,
                    used.quantity_pico,
                    used.events,
                    None,
                    _bands(counted, place, group, bands[group], growth, nth),
                )
            )
    return usages


def _bands(
    counted: Sequence[Sequence[Usage]],
    place: int,
    group: Group,
    count: int,
    growth: Fraction,
    nth: int,
) -> tuple[Band, ...]:
    """Of a price that looks at each event's amount: as many more events of the same amounts."""
    found = []
    for band in range(count):
        past = [
            {group: Used(u.bands[band].value_pico, u.bands[band].events)}
            for usage in counted
            for u in usage
            if (u.charge, u.group) == (place, group)
        ]
        past += [{}] * (len(counted) - len(past))
        used = grown(mean_of(past)[group], growth, nth)
        found.append(Band(used.events, used.quantity_pico))
    return tuple(found)


def _check_given(tenant: Tenant, usage: Mapping[str, tuple[Given, ...]]) -> None:
    for meter in usage:
        if meter not in tenant.catalog.meters:
            hint = suggestion(meter, tenant.catalog.meters)
            raise Rejected("invalid_parameter", f"usage: there is no meter {meter!r}{hint}.")


def _given(
    price: UsagePrice,
    place: int,
    usage: Mapping[str, tuple[Given, ...]],
    growth: Fraction,
    nth: int,
) -> list[Usage]:
    """By the groups of a price; what has other dimensions is added up."""
    sums: dict[Group, Used] = {}
    for one in usage.get(price.meter, ()):
        group = tuple(one.group.get(name) for name in price.group_by)
        known = sums.get(group, Used(0, 0))
        sums[group] = Used(known.quantity_pico + one.quantity_pico, known.events + one.events)
    found = []
    for group, used in sums.items():
        mean = (Fraction(used.quantity_pico), Fraction(used.events))
        taken_on = grown(mean, growth, nth)
        bands = _alike(price, taken_on)
        found.append(Usage(place, group, taken_on.quantity_pico, taken_on.events, None, bands))
    return found


def _alike(price: UsagePrice, used: Used) -> tuple[Band, ...]:
    """Of a price that looks at each event's amount: as if all events had the same."""
    if not (isinstance(price, Percentage) and price.is_clamped):
        return ()
    edges = limits(price)
    place = bisect_right(edges, used.quantity_pico // used.events if used.events else 0)
    whole, nothing = Band(used.events, used.quantity_pico), Band(0, 0)
    return tuple(whole if n == place else nothing for n in range(len(edges) + 1))
