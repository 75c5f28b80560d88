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
from taximeter.subscriptions.phases import parse_length, term_end
from taximeter.subscriptions.timeline import timeline_of

NOW = "now"
PERIOD_END = "period_end"
TERM_END = "term_end"


def effective_at(subscription: Subscription, at: str | int, now: int) -> int:
    """
    The instant a change that is asked for at `now` takes effect.

    Args:
        at: `now`, `period_end` (the end of the trial or period that runs), `term_end`, or an
            instant. Before the subscription begins, its beginning counts as its present.

    Raises:
        Refused: `subscription_ended` if that is not before its end.
        Rejected: `change_in_past`; `invalid_parameter` for the end of a term it does not have.
    """
    present = max(now, subscription.start)
    _still_there(subscription, present)
    if at == NOW:
        return present
    if at == PERIOD_END:
        return timeline_of(subscription).containing(present).end
    if at == TERM_END:
        end = end_of_term(subscription, present)
        if end is None:
            raise Rejected("invalid_parameter", "at: term_end needs a subscription with a term.")
        return end
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
    after = replace(subscription, end=at, auto_renew=False)
    return _changed(subscription, after, "ends then already")


def uncancelled(subscription: Subscription, now: int) -> Subscription:
    """
    Take back an end that has not come yet.

    Raises:
        Refused: `subscription_ended`, or `subscription_unchanged` if no end is planned.
    """
    _still_there(subscription, max(now, subscription.start))
    return _changed(subscription, _endless(subscription), "has no end to take back")


def end_of_term(subscription: Subscription, at: int) -> int | None:
    """The end of the term that an instant lies in; None without terms."""
    if subscription.term is None:
        return None
    length = parse_length(subscription.term)
    return term_end(length, subscription.start, at, subscription.timezone)


def renewed(
    subscription: Subscription, now: int, term: str | None, auto_renew: bool | None
) -> Subscription:
    """
    Go on for another term behind the planned end, or from now on without end.

    Args:
        term: Its length, counted from the end that is planned; None for the agreed one, counted
            from the start.
        auto_renew: True to go on term by term; False to end with the term; None for one more term.

    Raises:
        Refused: `subscription_ended`, or `subscription_unchanged`.
        Rejected: `invalid_parameter` if there is no term to renew by.
    """
    present = max(now, subscription.start)
    _still_there(subscription, present)
    length = term or subscription.term
    if length is None:
        raise Rejected("invalid_parameter", "term: it has none; say for how long, such as P1Y.")
    after = replace(subscription, term=length, auto_renew=bool(auto_renew))
    start, timezone = subscription.start, subscription.timezone
    if auto_renew:
        end = None
    elif subscription.end is None:
        end = term_end(parse_length(length), start, present, timezone)
    elif auto_renew is False and term is None:
        end = subscription.end
    elif length == subscription.term:
        end = term_end(parse_length(length), start, subscription.end, timezone)
    else:
        end = parse_length(length).after(subscription.end, timezone)
    return _changed(subscription, replace(after, end=end), "is renewed like that already")


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
        return _endless(subscription)
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


def _endless(subscription: Subscription) -> Subscription:
    """Without a planned end; with terms, one follows the other."""
    return replace(subscription, end=None, auto_renew=subscription.term is not None)


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
