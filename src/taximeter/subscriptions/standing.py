"""
What holds of one subscription at an instant, and of all a customer has together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from taximeter.catalog.combine import combined
from taximeter.catalog.features import Entitlement
from taximeter.catalog.plans import PlanGrant
from taximeter.customers import Segment, Subscription
from taximeter.instants import MAX_INSTANT
from taximeter.periods import Period
from taximeter.subscriptions.terms import PlanBook, Terms
from taximeter.subscriptions.timeline import Timeline

NONE: Final = "none"
"""The status of a customer without a running subscription."""


class Status(StrEnum):
    """Where a subscription stands at an instant."""

    SCHEDULED = "scheduled"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


def status_at(subscription: Subscription, at: int) -> Status:
    """A paused trial is paused; what was cancelled before it began has ended."""
    end = subscription.end
    if end is not None and (at >= end or end <= subscription.start):
        return Status.ENDED
    if at < subscription.start:
        return Status.SCHEDULED
    segment = subscription.segment_at(at)
    if segment.paused:
        return Status.PAUSED
    return Status.TRIALING if segment.trial else Status.ACTIVE


def stretches(subscription: Subscription, period: Period) -> Iterator[tuple[Period, Segment]]:
    """The segments of a part of the subscription, in order, each with the stretch it holds for."""
    starts = [segment.start for segment in subscription.segments[1:]]
    for segment, following in zip(subscription.segments, [*starts, None], strict=True):
        end = period.end if following is None else min(period.end, following)
        start = max(period.start, segment.start)
        if start < end:
            yield Period(start, end), segment


def next_boundary(subscription: Subscription, at: int) -> int | None:
    """The first instant after `at` at which its status or segment changes; None for never."""
    boundaries = [segment.start for segment in subscription.segments]
    if subscription.end is not None:
        boundaries = [b for b in boundaries if b < subscription.end] + [subscription.end]
    return next((boundary for boundary in sorted(boundaries) if boundary > at), None)


class GrantedCredit(msgspec.Struct, frozen=True):
    """
    Credits that come with a running subscription in its present period.

    Attributes:
        source: Key of the plan, or of the add-on ("pro+boost"), that grants it.
        quantity: How many times: that of the add-on; 1 for a plan.
        period: The period of the subscription it is granted for.
    """

    subscription: str
    source: str
    grant: PlanGrant
    quantity: int
    period: Period


class Standing(msgspec.Struct, frozen=True):
    """
    All that a customer's subscriptions say at an instant in [since, until).

    Attributes:
        status: "active" or "trialing" if anything may be used; else "paused", or "none".
        entitlements: By feature, those of all running subscriptions together.
        lanes: Feature -> which of the account's lanes measures it: that of the oldest running
            subscription that grants it. `lane` is that of the main subscription.
        period: The present billing period of the main subscription: the one that began first of
            those that may be used. Without any: [since, until).
        until: The next instant at which anything here could differ by the passing of time.
        plan: Key of the main subscription's plan, and (`version`) the catalogue version in which
            what it may use now was last changed; None without a subscription.
        credits: In the order of the subscriptions, their plan first, then its add-ons.
    """

    status: str
    since: int
    until: int
    period: Period
    entitlements: Mapping[str, Entitlement] = {}
    lanes: Mapping[str, int] = {}
    lane: int = 0
    subscription: str | None = None
    plan: str | None = None
    version: int | None = None
    credits: tuple[GrantedCredit, ...] = ()


_Lane = tuple[int, Subscription, Period, Terms]


def standing_of(
    lanes: Sequence[tuple[Subscription, Timeline]], plans: PlanBook, now: int
) -> Standing:
    """
    Put together what a customer's subscriptions say at an instant.

    Args:
        lanes: All that run or may come to run, the one that began first first.
    """
    until = MAX_INSTANT
    usable: list[_Lane] = []
    paused: list[_Lane] = []
    status: str = NONE
    for lane, (subscription, timeline) in enumerate(lanes):
        until = min(until, next_boundary(subscription, now) or MAX_INSTANT)
        if not subscription.runs_at(now):
            continue
        period = timeline.containing(now)
        until = min(until, period.end)
        terms = plans.current(subscription.segment_at(now))
        found = status_at(subscription, now)
        (paused if found is Status.PAUSED else usable).append((lane, subscription, period, terms))
        if status != Status.ACTIVE and found is not Status.PAUSED:
            status = found.value
    if not usable and not paused:
        return Standing(status, now, until, Period(now, until))
    lane, main, period, terms = (usable or paused)[0]
    entitlements, measured = _together(usable)
    return Standing(
        status=status if usable else Status.PAUSED.value,
        since=now,
        until=until,
        period=period,
        entitlements=entitlements,
        lanes=measured,
        lane=lane,
        subscription=main.id,
        plan=terms.plan.key,
        version=terms.version,
        credits=tuple(
            credit for _, one, period, terms in usable for credit in _granted(one, period, terms)
        ),
    )


def _together(usable: Sequence[_Lane]) -> tuple[Mapping[str, Entitlement], dict[str, int]]:
    """Entitlements of several subscriptions, and the lane that measures each."""
    entitlements: Mapping[str, Entitlement] = {}
    measured: dict[str, int] = {}
    for lane, _, _, terms in usable:
        granted = terms.entitlements
        entitlements = combined(entitlements, granted) if entitlements else granted
        measured = dict.fromkeys(granted, lane) | measured
    return entitlements, measured


def _granted(subscription: Subscription, period: Period, terms: Terms) -> Iterator[GrantedCredit]:
    for part in terms.parts:
        for grant in part.grants.values():
            yield GrantedCredit(subscription.id, part.name, grant, part.quantity, period)
