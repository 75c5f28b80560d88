"""Billing periods of subscriptions with any course, against a walk from day to day (K2, K3)."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.property.effort import FULL, thorough

from taximeter.customers import Segment, Subscription
from taximeter.instants import DAY, HOUR
from taximeter.periods import Anchor, Cadence, Period, local_day, local_midnight
from taximeter.subscriptions import changes
from taximeter.subscriptions.standing import next_boundary, status_at, stretches
from taximeter.subscriptions.timeline import same_periods, timeline_of

effort = thorough if FULL else settings(thorough, max_examples=60)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Beirut", "America/Santiago")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN = int(EPOCH.timestamp()) * 1_000_000
SPAN_DAYS = 500

instants = st.integers(0, 400 * 24).map(lambda hour: BEGIN + hour * HOUR)


@st.composite
def subscriptions(draw: st.DrawFn) -> Subscription:
    starts = sorted(draw(st.lists(instants, min_size=1, max_size=5, unique=True)))
    trial_until = draw(st.sampled_from([0, 0, len(starts) - 1]))
    segments = [
        Segment(
            start,
            draw(st.sampled_from(["basic", "pro"])),
            1,
            draw(st.sampled_from(Cadence)),
            addons=draw(st.sampled_from([{}, {"boost": 1}])),
            trial=place < trial_until,
            paused=draw(st.booleans()),
        )
        for place, start in enumerate(starts)
    ]
    end = draw(st.none() | instants.filter(lambda at: at >= starts[0]))
    return Subscription(
        "sub_1", "acme", draw(st.sampled_from(Anchor)), draw(st.sampled_from(ZONES)),
        changes.merged(segments), end,
    )  # fmt: skip


# --- periods ----------------------------------------------------------------------------------


def walked(subscription: Subscription) -> list[int]:
    """Where periods begin within the span, found by looking at every single day."""
    found: list[int] = []
    head: Segment | None = None
    ends = [*(one.start for one in subscription.segments[1:]), BEGIN + SPAN_DAYS * DAY]
    for segment, end in zip(subscription.segments, ends, strict=True):
        if head is None or _is_new(head, segment):
            head = segment
            found.append(segment.start)
        head = replace(head, trial=segment.trial)
        if head.trial:
            continue
        day = local_day(segment.start, subscription.timezone)
        while (midnight := local_midnight(day, subscription.timezone)) < end:
            if midnight > max(head.start, segment.start - 1) and _opens(day, head, subscription):
                found.append(midnight)
            day += timedelta(days=1)
    unique = sorted(set(found))
    return [at for at in unique if subscription.end is None or at < subscription.end]


def _is_new(before: Segment, after: Segment) -> bool:
    return before.trial != after.trial or (not after.trial and before.cadence != after.cadence)


def _opens(day: date, head: Segment, subscription: Subscription) -> bool:
    """Whether a period of a schedule begins on a day, by the words of K3."""
    first = local_day(head.start, subscription.timezone)
    if subscription.anchor is Anchor.CALENDAR:
        match head.cadence:
            case Cadence.DAY:
                return True
            case Cadence.WEEK:
                return day.weekday() == calendar.MONDAY
            case Cadence.MONTH:
                return day.day == 1
            case Cadence.QUARTER:
                return day.day == 1 and day.month in (1, 4, 7, 10)
            case Cadence.YEAR:
                return day.day == 1 and day.month == 1
    if head.cadence in (Cadence.DAY, Cadence.WEEK):
        return (day - first).days % (1 if head.cadence is Cadence.DAY else 7) == 0
    months = (day.year - first.year) * 12 + day.month - first.month
    step = {Cadence.MONTH: 1, Cadence.QUARTER: 3, Cadence.YEAR: 12}[head.cadence]
    last = calendar.monthrange(day.year, day.month)[1]
    return months % step == 0 and day.day == min(first.day, last)


@effort
@given(subscription=subscriptions())
def test_periods_begin_on_the_days_that_a_walk_finds(subscription: Subscription) -> None:
    timeline = timeline_of(subscription)
    starts = walked(subscription)
    assert [timeline.nth(n).start for n in range(len(starts))] == starts
    if timeline.runs and timeline.end is not None:
        assert timeline.ended_by(timeline.end) == len(starts)
        assert timeline.nth(len(starts) - 1).end == timeline.end


@effort
@given(subscription=subscriptions(), at=instants)
def test_every_instant_of_a_subscription_lies_in_exactly_one_period(
    subscription: Subscription, at: int
) -> None:
    timeline = timeline_of(subscription)
    assert timeline.covers(at) == subscription.runs_at(at)
    n = timeline.index(at)
    if not timeline.covers(at):
        assert n == -1
        assert timeline.find(at) is None
        return
    period = timeline.containing(at)
    assert period == timeline.nth(n)
    assert period.contains(at)
    assert timeline.ended_by(at) == n
    assert timeline.whole(n).start <= period.start < period.end <= timeline.whole(n).end
    if n:
        assert timeline.nth(n - 1).end == period.start, "adjacent: nothing between is lost"


@effort
@given(subscription=subscriptions(), at=instants)
def test_stretches_tile_a_period_and_hold_what_holds(subscription: Subscription, at: int) -> None:
    timeline = timeline_of(subscription)
    if not timeline.covers(at):
        return
    period = timeline.containing(at)
    held = list(stretches(subscription, period))
    assert held[0][0].start == period.start
    assert held[-1][0].end == period.end
    for (one, _), (other, _) in pairwise(held):
        assert one.end == other.start
    for part, segment in held:
        assert subscription.segment_at(part.start) is segment
        assert subscription.segment_at(part.end - 1) is segment


@effort
@given(subscription=subscriptions(), at=instants)
def test_nothing_changes_before_the_next_boundary(subscription: Subscription, at: int) -> None:
    following = next_boundary(subscription, at)
    upto = BEGIN + SPAN_DAYS * DAY if following is None else following
    for later in range(at, min(upto, at + 40 * DAY), 7 * HOUR):
        assert status_at(subscription, later) == status_at(subscription, at)
        if subscription.runs_at(at):
            assert subscription.segment_at(later) == subscription.segment_at(at)
    if following is not None:
        assert following > at


# --- changes ----------------------------------------------------------------------------------


def terms_at(subscription: Subscription, at: int) -> Segment:
    return replace(subscription.segment_at(at), start=0)


@effort
@given(
    subscription=subscriptions(),
    at=instants,
    until=st.none() | instants,
    probe=instants,
    paused=st.booleans(),
)
def test_a_patch_sets_its_members_on_its_stretch_and_nothing_else(
    subscription: Subscription, at: int, until: int | None, probe: int, paused: bool
) -> None:
    """Instant by instant."""
    at = max(at, subscription.start)
    probe = max(probe, subscription.start)
    after = changes.patched(subscription, at, until, paused=paused)
    before_terms = terms_at(subscription, probe)
    inside = at <= probe and (until is None or probe < until)
    expected = replace(before_terms, paused=paused) if inside else before_terms
    assert terms_at(after, probe) == expected
    assert after.start == subscription.start
    starts = [one.start for one in after.segments]
    assert starts == sorted(set(starts))
    for one, other in pairwise(after.segments):
        assert replace(one, start=0) != replace(other, start=0), "neighbours differ"


@effort
@given(subscription=subscriptions(), at=instants, probe=instants, number=st.integers(0, 2))
def test_add_ons_change_their_own_quantity_alone(
    subscription: Subscription, at: int, probe: int, number: int
) -> None:
    at = max(at, subscription.start)
    probe = max(probe, subscription.start)
    after = changes.with_addons(subscription, at, {"boost": number})
    expected = dict(terms_at(subscription, probe).addons)
    if probe >= at:
        expected = {"boost": number} if number else {}
    assert terms_at(after, probe) == replace(terms_at(subscription, probe), addons=expected)


@effort
@given(subscription=subscriptions(), now=instants, at=instants, until=st.none() | instants)
def test_what_was_before_a_change_stays(
    subscription: Subscription, now: int, at: int, until: int | None
) -> None:
    """The periods and terms of the past are those that were billed."""
    at = max(at, now, subscription.start)
    if subscription.end is not None and subscription.end <= at:
        return  # it cannot be changed
    for after in (
        changes.patched(subscription, at, until, paused=True, cadence=Cadence.WEEK),
        replace(subscription, end=at),
    ):
        one, other = timeline_of(subscription), timeline_of(after)
        for n in range(one.ended_by(now)):
            assert other.nth(n) == one.nth(n)
        assert same_periods(one, other, subscription.start, now - 1)


@effort
@given(a=subscriptions(), b=subscriptions(), since=instants, until=instants)
def test_same_periods_means_instant_by_instant(
    a: Subscription, b: Subscription, since: int, until: int
) -> None:
    until = min(until, since + 60 * DAY)
    one, other = timeline_of(a), timeline_of(replace(b, timezone=a.timezone))

    def start(found: Period | None) -> int | None:
        return None if found is None else found.start

    alike = all(
        start(one.find(at)) == start(other.find(at)) for at in range(since, until + 1, HOUR)
    )
    assert same_periods(one, other, since, until) == alike
