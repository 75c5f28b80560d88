"""
Changes: a subscription -> its next revision.

Every change sets some members of the segments on a stretch [at, until) and leaves all others as
they are, so changes of different kinds do not disturb each other: a pause that is planned stays
planned when the plan is upgraded. A change without an end goes through everything that was
scheduled behind it: an upgrade now takes the place of a downgrade that was planned for later.
Nothing can be changed before the present: what has been may have been billed.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from taximeter.customers import Segment, Subscription
from taximeter.errors import Refused, Rejected
from taximeter.instants import format_instant
from taximeter.subscriptions.timeline import timeline_of

NOW = "now"
PERIOD_END = "period_end"


def effective_at(subscription: Subscription, at: str | int, now: int) -> int:
    """
    The instant a change that is asked for at `now` takes effect.

    Args:
        at: `now`, `period_end` (the end of the trial or period that runs), or an instant. Before
            the subscription begins, its beginning counts as its present.

    Raises:
        Refused: `subscription_ended` if that is not before its end.
        Rejected: `change_in_past`.
    """
    present = max(now, subscription.start)
    _still_there(subscription, present)
    if at == NOW:
        return present
    if at == PERIOD_END:
        return timeline_of(subscription).containing(present).end
    assert isinstance(at, int), at
    if at < now:
        raise Rejected(
            "change_in_past",
            f"{format_instant(at)} has passed; a change takes effect now or later.",
            now=format_instant(now),
        )
    return max(at, subscription.start)


def patched(
    subscription: Subscription, at: int, until: int | None = None, **members: Any
) -> Subscription:
    """
    Set members of every segment on [at, until); neighbours that are alike become one.

    Args:
        at: Not before its start.
        until: None for ever.
    """
    assert at >= subscription.start, "nothing holds before the start"
    segments: list[Segment] = []
    for segment, end in _with_ends(subscription.segments):
        inside = max(segment.start, at), _earlier(end, until)
        if not _before(*inside):
            segments.append(segment)
            continue
        if segment.start < at:
            segments.append(segment)
        segments.append(replace(segment, start=inside[0], **members))
        if until is not None and _before(until, end):
            segments.append(replace(segment, start=until))
    return replace(subscription, segments=merged(segments))


def paused(subscription: Subscription, at: int, until: int | None) -> Subscription:
    """
    Pause on [at, until).

    Raises:
        Refused: `subscription_unchanged` if it is paused then anyway.
        Rejected: `invalid_parameter` for a pause that ends before it begins.
    """
    _still_there(subscription, at)
    if until is not None and until <= at:
        raise Rejected("invalid_parameter", "until: a pause ends after it begins.")
    return _changed(
        subscription, patched(subscription, at, until, paused=True), "is paused then already"
    )


def resumed(subscription: Subscription, at: int) -> Subscription:
    """
    End the pause that holds at an instant, and take back those planned behind it.

    Raises:
        Refused: `subscription_unchanged` if it is not paused then or later.
    """
    _still_there(subscription, at)
    return _changed(subscription, patched(subscription, at, paused=False), "is not paused")


def cancelled(subscription: Subscription, at: int) -> Subscription:
    """
    End at an instant, instead of any other end it had. What was scheduled behind it stays on
    record, and counts again if the end is taken back.

    Raises:
        Refused: `subscription_unchanged` if it ends then anyway.
    """
    return _changed(subscription, replace(subscription, end=at), "ends then already")


def uncancelled(subscription: Subscription, now: int) -> Subscription:
    """
    Take back an end that has not come yet.

    Raises:
        Refused: `subscription_ended`, or `subscription_unchanged` if no end is planned.
    """
    _still_there(subscription, max(now, subscription.start))
    return _changed(subscription, replace(subscription, end=None), "has no end to take back")


def with_addons(subscription: Subscription, at: int, quantities: dict[str, int]) -> Subscription:
    """
    From an instant on have these add-ons in these quantities, 0 for none; others stay as they are.
    """
    changed = subscription
    for segment, end in _with_ends(subscription.segments):
        start = max(at, segment.start)
        if _before(start, end):
            addons = {k: n for k, n in {**segment.addons, **quantities}.items() if n}
            changed = patched(changed, start, end, addons=dict(sorted(addons.items())))
    return changed


def unscheduled(subscription: Subscription, at: int, now: int) -> Subscription:
    """
    Take back what is scheduled for an instant: what held before it goes on to the next change.

    The end of a trial is not taken back by this.

    Raises:
        Refused: `subscription_unchanged` if nothing is scheduled for that instant.
    """
    if at > now and subscription.end == at:
        return replace(subscription, end=None)
    segments: list[Segment] = []
    for segment in subscription.segments:
        if segment.start == at and at > now and segments:
            segment = replace(segments[-1], start=at, trial=segment.trial)
        segments.append(segment)
    return _changed(
        subscription,
        replace(subscription, segments=merged(segments)),
        f"has no change scheduled for {format_instant(at)}",
    )


def merged(segments: list[Segment]) -> tuple[Segment, ...]:
    """The same terms at every instant, in as few segments as there can be."""
    kept: list[Segment] = []
    for segment in segments:
        if not kept or replace(segment, start=kept[-1].start) != kept[-1]:
            kept.append(segment)
    return tuple(kept)


def _changed(before: Subscription, after: Subscription, otherwise: str) -> Subscription:
    if after == before:
        raise Refused(
            "subscription_unchanged", f"Subscription {before.id!r} {otherwise}; nothing changed."
        )
    return after


def _still_there(subscription: Subscription, at: int) -> None:
    end = subscription.end
    if end is not None and at >= end:
        raise Refused(
            "subscription_ended",
            f"Subscription {subscription.id!r} ends at {format_instant(end)}; "
            "it cannot be changed from then on.",
            end=format_instant(end),
        )


def _with_ends(segments: tuple[Segment, ...]) -> list[tuple[Segment, int | None]]:
    ends = [segment.start for segment in segments[1:]]
    return list(zip(segments, [*ends, None], strict=True))


def _before(at: int, end: int | None) -> bool:
    return end is None or at < end


def _earlier(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)
