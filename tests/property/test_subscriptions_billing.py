"""What any course of changes costs, against a reckoning day by day and event by event (K4, K20)."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.effort import FULL, thorough

from taximeter.catalog.document import parse_catalog
from taximeter.catalog.prices import Flat
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.instants import DAY, HOUR, parse_instant
from taximeter.periods import Anchor, Cadence, local_day, local_midnight
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.tenant import Tenant
from taximeter.subscriptions import changes

effort = thorough if FULL else settings(thorough, max_examples=60)
BEGIN = parse_instant("2026-10-20T00:00:00Z")
FEES = {"basic": 30, "pro": 60, "yearly": 365}
CADENCES = {"basic": Cadence.MONTH, "pro": Cadence.MONTH, "yearly": Cadence.YEAR}
PACK = 7


def plan(key: str, **members: Any) -> dict[str, Any]:
    prices = {
        "base": {"type": "flat", "amount": FEES[key]},
        "tokens": {"type": "per_unit", "meter": "tokens", "unit": 1},
    }
    return {
        "currency": "USD", "cadence": CADENCES[key].value, "prices": prices, **members,
    }  # fmt: skip


CATALOG = parse_catalog(
    {
        "meters": {"tokens": {"event_type": "t", "aggregation": "count"}},
        "plans": {key: plan(key) for key in FEES},
        "addons": {
            "boost": {"currency": "USD", "prices": {"pack": {"type": "flat", "amount": PACK}}}
        },
    }
)

MONTHS = [parse_instant(f"{month}-01T00:00:00Z") for month in ("2026-11", "2026-12", "2027-01")]
# Most of what can go wrong goes wrong where periods begin, and on one day.
instants = st.one_of(
    st.integers(0, 100 * 24).map(lambda hour: BEGIN + hour * HOUR),
    st.builds(
        lambda month, hour: month + hour * HOUR, st.sampled_from(MONTHS), st.integers(-6, 30)
    ),
)
steps = st.one_of(
    st.tuples(st.just("plan"), st.sampled_from(sorted(FEES))),
    st.tuples(st.just("paused"), st.integers(1, 12) | st.integers(1, 60 * 24)),
    st.tuples(st.just("boost"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.just(0)),
)


@st.composite
def courses(draw: st.DrawFn) -> Subscription:
    """A beginning, perhaps with a trial, and changes in the order in which they take effect."""
    start = draw(instants)
    segment = Segment(start, "basic", 1, Cadence.MONTH)
    course = Subscription(
        "sub_1", "acme", draw(st.sampled_from(Anchor)),
        draw(st.sampled_from(["UTC", "Europe/Berlin", "America/Havana"])), (segment,),
    )  # fmt: skip
    if draw(st.booleans()):
        course = changes.patched(course, start, start + draw(st.integers(1, 30)) * DAY, trial=True)
    for at in sorted(draw(st.lists(instants.filter(lambda one: one >= start), max_size=5))):
        kind, value = draw(steps)
        if kind == "plan":
            course = changes.patched(course, at, plan=value, cadence=CADENCES[str(value)])
        elif kind == "paused":
            course = changes.patched(course, at, at + int(value) * HOUR, paused=True)
        elif kind == "boost":
            course = changes.with_addons(course, at, {"boost": int(value)})
        elif at > start:
            return changes.cancelled(course, at)
    return course


def dues(course: Subscription) -> list[Due]:
    """Of the first periods, trials left out."""
    tenant = Tenant("x", bytes(32), AcceptanceWindow())
    tenant.add_catalog(1, CATALOG, 0)
    tenant.customers["acme"] = Customer("acme")
    tenant.put_subscription(course)
    timeline = tenant.timeline(course)
    count = timeline.ended_by(BEGIN + 200 * DAY)
    return [due_of(tenant, course, n) for n in range(count) if not timeline.in_trial(n)]


# --- fees, day by day -------------------------------------------------------------------------


def is_charged(course: Subscription, at: int) -> bool:
    segment = course.segment_at(at)
    return course.runs_at(at) and not segment.trial and not segment.paused


def fee(segment: Segment) -> int:
    return FEES[segment.plan] + PACK * segment.addons.get("boost", 0)


def reckoned(course: Subscription, due: Due, whole_days: int) -> Fraction:
    """Each day costs what is there when it ends; a visit that ends on its day, what it was."""
    total = Fraction(0)
    timezone = course.timezone
    day = local_day(due.period.start, timezone)
    while (midnight := local_midnight(day, timezone)) < due.period.end:
        day += timedelta(days=1)
        night = local_midnight(day, timezone)
        if night <= due.period.end:
            payer = night - 1 if is_charged(course, night - 1) else None
        else:
            payer = None  # the period was cut on this day
        payer = payer or visit(course, due, max(midnight, due.period.start), night)
        if payer is not None:
            total += Fraction(fee(course.segment_at(payer)), whole_days)
    return total


def visit(course: Subscription, due: Due, start: int, night: int) -> int | None:
    """The last instant of a stay that began on this day and was over before its end, if nobody
    is there at the end of it."""
    if is_charged(course, night - 1):
        return None
    boundaries = sorted({one.start for one in course.segments} | {course.end or night, start})
    inside = [at for at in boundaries if start <= at < night]
    for before, after in pairwise([*inside, night][::-1]):
        at = before - 1
        began = after
        while began > start and is_charged(course, began - 1):
            began = max(one for one in inside if one < began)
        if is_charged(course, at) and not is_charged(course, began - 1):
            return at
    return None


@effort
@given(course=courses())
def test_fees_are_those_of_a_reckoning_day_by_day(course: Subscription) -> None:
    for due in dues(course):
        fees = [charge for charge in due.charges if isinstance(charge.price, Flat)]
        if not fees:
            continue
        assert fees[0].days is not None
        total = sum(
            (
                charge.price.amount * charge.quantity * charge.days.share
                for charge in fees
                if isinstance(charge.price, Flat) and charge.days is not None
            ),
            Fraction(0),
        )
        assert total == reckoned(course, due, fees[0].days.of)


# --- usage, event by event --------------------------------------------------------------------


@effort
@given(course=courses(), at=instants)
def test_every_event_is_billed_once_by_the_plan_of_its_instant(
    course: Subscription, at: int
) -> None:
    billing = [
        charge.reference
        for due in dues(course)
        for _, charge, _ in due.usage_charges()
        if charge.period.contains(at)
    ]
    segment = course.segment_at(at)
    if not course.runs_at(at) or segment.trial:
        assert billing == []
    elif billing:
        assert billing == [f"{segment.plan}/tokens@1"]
    else:
        assert at >= min(
            (due.period.start for due in dues(course) if due.period.end > BEGIN + 200 * DAY),
            default=0,
        ), "only a period that has not ended yet bills nothing"


@effort
@given(course=courses())
def test_charges_of_a_price_never_overlap_and_neighbours_differ(course: Subscription) -> None:
    """K20: a price that goes on unchanged is one charge, with its tiers whole."""
    for due in dues(course):
        for one, other in pairwise(due.charges):
            if (one.name, one.price.key) == (other.name, other.price.key):
                assert one.period.end <= other.period.start
                touching = one.period.end == other.period.start
                assert not (touching and one.quantity == other.quantity)
