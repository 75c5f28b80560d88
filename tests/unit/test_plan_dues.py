"""For which time a commitment per term holds (K2, K3)."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.customers import Segment, Subscription
from taximeter.instants import format_instant, parse_instant
from taximeter.periods import Anchor, Cadence
from taximeter.services.billing.due.plan_dues import term_of


def subscription(*segments: tuple[str, str, bool], **members: Any) -> Subscription:
    """Of segments from (day, plan, trial)."""
    return Subscription(
        id="sub",
        customer="acme",
        anchor=Anchor.CALENDAR,
        timezone="Europe/Berlin",
        segments=tuple(
            Segment(parse_instant(f"{day}T12:00:00Z"), plan, 1, Cadence.MONTH, trial=trial)
            for day, plan, trial in segments
        ),
        **members,
    )


PRO = ("2026-01-31", "pro", False)
END = parse_instant("2026-09-30T22:00:00Z")


@pytest.mark.parametrize(
    ("one", "at", "term"),
    [
        # Without a term: all of the time on the plan.
        (subscription(PRO), "2026-06-01", ("2026-01-31T12:00:00Z", None)),
        (subscription(PRO, end=END), "2026-06-01",
         ("2026-01-31T12:00:00Z", "2026-09-30T22:00:00Z")),
        # Terms follow each other from the start, and a 31st does not drift.
        (subscription(PRO, term="P1M"), "2026-02-10",
         ("2026-01-31T12:00:00Z", "2026-02-27T23:00:00Z")),
        (subscription(PRO, term="P1M"), "2026-03-15",
         ("2026-02-27T23:00:00Z", "2026-03-30T22:00:00Z")),
        (subscription(PRO, term="P3M"), "2026-05-01",
         ("2026-04-29T22:00:00Z", "2026-07-30T22:00:00Z")),
        # The end of the subscription, a trial before and a change of plan cut it.
        (subscription(PRO, term="P1Y", end=END), "2026-06-01",
         ("2026-01-31T12:00:00Z", "2026-09-30T22:00:00Z")),
        (subscription(("2026-01-31", "pro", True), ("2026-02-14", "pro", False)), "2026-06-01",
         ("2026-02-14T12:00:00Z", None)),
        (subscription(PRO, ("2026-05-05", "max", False), term="P1Y"), "2026-03-01",
         ("2026-01-31T12:00:00Z", "2026-05-05T12:00:00Z")),
        (subscription(PRO, ("2026-05-05", "max", False), term="P1Y"), "2026-05-06",
         ("2026-05-05T12:00:00Z", "2027-01-30T23:00:00Z")),
        # Another segment of the same plan does not.
        (subscription(PRO, ("2026-05-05", "pro", False)), "2026-06-01",
         ("2026-01-31T12:00:00Z", None)),
    ],
)  # fmt: skip
def test_a_term_is_that_of_the_subscription_as_far_as_it_is_on_the_plan(
    one: Subscription, at: str, term: tuple[str, str | None]
) -> None:
    start, end = term_of(one, parse_instant(f"{at}T00:00:00Z"))
    assert (format_instant(start), None if end is None else format_instant(end)) == term
