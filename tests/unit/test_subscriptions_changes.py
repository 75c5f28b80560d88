"""Changes, phases and what several subscriptions say together, by example."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from taximeter.catalog.document import parse_catalog
from taximeter.catalog.features import MeteredEntitlement
from taximeter.customers import Segment, Subscription
from taximeter.errors import Refused, Rejected
from taximeter.instants import DAY, parse_instant
from taximeter.periods import Anchor, Cadence
from taximeter.quantities import E12
from taximeter.subscriptions import changes
from taximeter.subscriptions.phases import Length, parse_length, phase_ends
from taximeter.subscriptions.standing import Standing, Status, standing_of, status_at
from taximeter.subscriptions.terms import PlanBook
from taximeter.subscriptions.timeline import timeline_of

NOV = parse_instant("2026-11-01T00:00:00Z")
NOW = parse_instant("2026-11-11T12:00:00Z")
DEC = parse_instant("2026-12-01T00:00:00Z")


def subscription(plan: str = "basic", start: int = NOV, **members: Any) -> Subscription:
    segment = Segment(start, plan, 1, Cadence.MONTH)
    return Subscription(f"sub_{plan}", "acme", Anchor.CALENDAR, "UTC", (segment,), **members)


# --- when a change takes effect ---------------------------------------------------------------


def test_now_period_end_and_an_instant() -> None:
    one = subscription()
    assert changes.effective_at(one, "now", NOW) == NOW
    assert changes.effective_at(one, "period_end", NOW) == DEC
    assert changes.effective_at(one, DEC + DAY, NOW) == DEC + DAY


def test_the_period_end_of_a_trial_is_its_end() -> None:
    trial = changes.patched(subscription(), NOV, NOW + DAY, trial=True)
    assert changes.effective_at(trial, "period_end", NOW) == NOW + DAY


def test_before_it_begins_its_beginning_is_its_present() -> None:
    planned = subscription(start=DEC)
    assert changes.effective_at(planned, "now", NOW) == DEC
    assert changes.effective_at(planned, NOW + DAY, NOW) == DEC
    cancelled = changes.cancelled(planned, DEC)
    assert status_at(cancelled, NOW) is Status.ENDED
    assert timeline_of(cancelled).ended_by(DEC + 100 * DAY) == 0, "there is nothing to bill"


def test_nothing_is_changed_in_the_past_or_behind_the_end() -> None:
    with pytest.raises(Rejected) as past:
        changes.effective_at(subscription(), NOW - 1, NOW)
    assert past.value.code == "change_in_past"
    with pytest.raises(Refused) as ended:
        changes.effective_at(subscription(end=NOW), "now", NOW)
    assert ended.value.code == "subscription_ended"


def test_a_pause_ends_after_it_begins_and_before_the_end() -> None:
    with pytest.raises(Rejected):
        changes.paused(subscription(), NOW, NOW)
    with pytest.raises(Refused):
        changes.paused(subscription(end=DEC), DEC, None)


def test_a_pause_that_was_planned_stays_when_the_plan_changes() -> None:
    paused = changes.paused(subscription(), DEC, DEC + DAY)
    after = changes.patched(paused, NOW, plan="pro")
    assert [(one.plan, one.paused) for one in after.segments] == [
        ("basic", False), ("pro", False), ("pro", True), ("pro", False),
    ]  # fmt: skip


def test_the_end_of_a_trial_is_not_taken_back_like_a_change() -> None:
    trial = changes.patched(subscription(), NOV, DEC, trial=True)
    with pytest.raises(Refused):
        changes.unscheduled(trial, DEC, NOW)
    both = changes.patched(trial, DEC, plan="pro")
    assert changes.unscheduled(both, DEC, NOW) == trial


def test_a_planned_end_can_be_taken_back_by_its_instant() -> None:
    assert changes.unscheduled(subscription(end=DEC), DEC, NOW) == subscription()


# --- phases -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P1M", Length(months=1)),
        ("P2Y", Length(months=24)),
        ("P2W", Length(days=14)),
        ("P10D", Length(days=10)),
    ],
)
def test_lengths(text: str, length: Length) -> None:
    assert parse_length(text) == length


@pytest.mark.parametrize("text", ["", "P", "P0M", "1M", "PT5H", "P1M2D", "P-1D", "P1m", "P99999D"])
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(Rejected):
        parse_length(text)


def test_phases_from_a_31st_are_counted_from_the_start() -> None:
    start = parse_instant("2026-12-31T09:00:00Z")
    month = (Length(months=1), None)
    ends = phase_ends(start, "Europe/Berlin", [month, month, month, (None, None)])
    assert ends == [
        parse_instant("2027-01-30T23:00:00Z"),
        parse_instant("2027-02-27T23:00:00Z"),
        parse_instant("2027-03-30T22:00:00Z"),
        None,
    ]


@pytest.mark.parametrize(
    "phases",
    [
        [(Length(months=1), DEC)],
        [(None, None), (None, None)],
        [(None, NOV)],
        [(None, DEC), (None, DEC)],
    ],
)
def test_phases_that_are_unclear_or_take_no_time(
    phases: list[tuple[Length | None, int | None]],
) -> None:
    with pytest.raises(Rejected, match="phases"):
        phase_ends(NOV, "UTC", phases)


# --- what they say together -------------------------------------------------------------------


def plans() -> PlanBook:
    def plan(limit: int, **members: Any) -> dict[str, Any]:
        return {"currency": "USD", "entitlements": {"chat": {"limit": limit}}, **members}

    grants = {"monthly": {"credit": "usd", "amount": 5}}
    document = {
        "meters": {"tokens": {"event_type": "t", "aggregation": "sum", "value": "data.n"}},
        "features": {
            "chat": {"type": "metered", "meter": "tokens"},
            "export": {"type": "boolean"},
        },
        "plans": {"basic": plan(100), "pro": plan(1000, grants=grants)},
        "addons": {"boost": plan(10, grants=grants)},
    }
    document["plans"]["pro"]["entitlements"]["export"] = True
    book = PlanBook()
    book.add_catalog(1, parse_catalog(document), 0)
    return book


def standing(*subscriptions: Subscription, now: int = NOW) -> Standing:
    return standing_of([(one, timeline_of(one)) for one in subscriptions], plans(), now)


def limit(found: Standing) -> int:
    chat = found.entitlements["chat"]
    assert isinstance(chat, MeteredEntitlement)
    return chat.limits[0].limit_pico // E12


def test_limits_of_several_add_up_and_the_oldest_measures() -> None:
    found = standing(subscription("basic"), subscription("pro", NOV + DAY))
    assert (found.status, found.plan, limit(found)) == ("active", "basic", 1100)
    assert found.lanes == {"chat": 0, "export": 1}
    assert found.until == DEC


def test_a_paused_one_grants_nothing_beside_one_that_is_not() -> None:
    paused = changes.paused(subscription("basic"), NOV, None)
    found = standing(paused, subscription("pro", NOV + DAY))
    assert (found.status, found.plan, found.lane, limit(found)) == ("active", "pro", 1, 1000)
    alone = standing(paused)
    assert (alone.status, alone.plan, dict(alone.entitlements)) == ("paused", "basic", {})


def test_a_standing_holds_until_any_of_them_changes() -> None:
    assert standing(subscription(end=NOW + DAY)).until == NOW + DAY
    assert standing(subscription(), subscription("pro", NOW + DAY)).until == NOW + DAY
    planned = changes.patched(subscription(), NOW + DAY, plan="pro")
    assert standing(planned).until == NOW + DAY
    none = standing(subscription(start=DEC))
    assert (none.status, none.until) == ("none", DEC)


def test_a_trial_counts_as_one_and_an_active_one_beside_it_wins() -> None:
    trial = changes.patched(subscription(), NOV, DEC, trial=True)
    assert standing(trial).status == "trialing"
    assert standing(trial, subscription("pro")).status == "active"


def test_credits_come_from_plans_and_add_ons_with_their_quantity_and_period() -> None:
    boosted = changes.with_addons(subscription("pro"), NOV, {"boost": 3})
    found = standing(boosted)
    assert limit(found) == 1030
    assert [(one.source, one.quantity, one.period.start) for one in found.credits] == [
        ("pro", 1, NOV), ("pro+boost", 3, NOV),
    ]  # fmt: skip


def test_overrides_replace_what_the_plan_says() -> None:
    (segment,) = subscription().segments
    custom = replace(segment, overrides={"entitlements": {"chat": {"limit": 7}}})
    assert limit(standing(replace(subscription(), segments=(custom,)))) == 7


# --- versions ---------------------------------------------------------------------------------


def test_a_pause_or_an_add_on_does_not_bring_a_new_price_into_a_period_that_runs() -> None:
    """Prices follow with the next period, whatever else happens to the subscription."""
    book, document = PlanBook(), {"plans": {"basic": {"currency": "USD"}}, "addons": {"boost": {}}}
    book.add_catalog(1, parse_catalog(document), 0)
    document["plans"]["basic"]["prices"] = {"base": {"type": "flat", "amount": 5}}  # type: ignore[index]
    book.add_catalog(2, parse_catalog(document), NOW)
    course = changes.paused(subscription(), NOW + DAY, NOW + 2 * DAY)
    course = changes.with_addons(course, NOW + 3 * DAY, {"boost": 1})
    versions = [book.billed(course, NOW + n * DAY, NOV).parts[0].version for n in range(5)]
    assert versions == [1] * 5
    assert book.billed(course, DEC, DEC).parts[0].version == 2
    assert book.current(course.segments[0]).version == 2, "limits hold at once"


def test_overrides_of_today_may_name_what_came_after_the_period_began() -> None:
    book = PlanBook()
    document: dict[str, Any] = {
        "features": {"old": {"type": "boolean"}},
        "plans": {"basic": {"currency": "USD", "entitlements": {"old": True}}},
    }
    book.add_catalog(1, parse_catalog(document), 0)
    document = {"features": {"new": {"type": "boolean"}}, "plans": {"basic": {"currency": "USD"}}}
    book.add_catalog(2, parse_catalog(document), NOW)
    custom = changes.patched(subscription(), NOW + DAY, overrides={"entitlements": {"new": True}})
    assert set(book.billed(custom, NOW, NOV).entitlements) == {"old"}
    assert set(book.billed(custom, NOW + DAY, NOV).entitlements) == {"new"}
