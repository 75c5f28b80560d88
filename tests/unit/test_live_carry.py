"""What weighs time opens a period with what was before it, however the counters came about."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.envelope import Event
from taximeter.instants import DAY, parse_instant
from taximeter.live.account import EARLIER, Lane
from taximeter.live.refold import FoldAccount, FoldSpec, refold
from taximeter.live.snapshot import dump_state, load_state
from taximeter.live.state import LiveState
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.meters.definition import parse_meter
from taximeter.periods import Anchor, Cadence, Period
from taximeter.subscriptions.timeline import timeline_of

E12 = 10**12
MARCH, APRIL, MAY, JUNE = (
    parse_instant(f"2026-{month}-01T00:00:00Z") for month in ("03", "04", "05", "06")
)


def gauge(mode: str = "set", **further: Any) -> Counter:
    document = {"event_type": "disk", "aggregation": "weighted_sum", "value": "data.gb"}
    return Counter(parse_meter("disk", document | {"mode": mode, "per": "day"} | further))


BOTH = pytest.mark.parametrize("counter", [gauge("set"), gauge("delta")], ids=["set", "delta"])
OTHER = Counter(parse_meter("calls", {"event_type": "call", "aggregation": "count"}))
ACME = Customer("acme")
SUBSCRIPTION = Subscription(
    "sub", "acme", Anchor.CALENDAR, "UTC", (Segment(APRIL, "pro", 1, Cadence.MONTH),)
)
LANES = (Lane("sub", timeline_of(SUBSCRIPTION)),)


def state(*counters: Counter) -> LiveState:
    """Acme, subscribed from April on."""
    live = LiveState(counters)
    live.put_customer(ACME, LANES)
    return live


def level(at: int, gb: int, event_id: str = "e") -> tuple[Event, int]:
    return Event(event_id, "disk", "acme", data={"gb": gb}), at


def days(live: LiveState, counter: Counter, start: int, until: int) -> int:
    """GB-days from the start of a period to an instant."""
    end = {APRIL: MAY, MAY: JUNE}[start]
    (_, pico) = live.usage(live.accounts["acme"], counter, Period(start, end), until)
    assert pico % E12 == 0
    return pico // E12


def history(counter: Counter, *events: tuple[Event, int]) -> Any:
    """What `services.rebuild` gets from the store."""
    spec = FoldSpec("x", 0, len(events), (counter,), (FoldAccount(ACME, LANES),))
    layout = Layout((counter,))
    (lanes,) = refold(spec, events).values()
    loaded = [{s: layout.load_cells(dumped) for s, dumped in lane.items()} for lane in lanes]
    return loaded, layout


@BOTH
def test_a_level_from_before_the_subscription_opens_its_first_period(counter: Counter) -> None:
    live = state(counter)
    live.fold_stored([level(MARCH, 2)])
    assert days(live, counter, APRIL, APRIL + 10 * DAY) == 20
    assert days(live, counter, MAY, MAY + DAY) == 2


@BOTH
def test_a_late_event_changes_every_later_period(counter: Counter) -> None:
    live = state(counter)
    live.fold_stored([level(MAY + DAY, 0)])
    assert days(live, counter, APRIL, MAY) == 0
    live.fold_stored([level(MAY - DAY, 7)])
    assert days(live, counter, APRIL, MAY) == 7
    assert days(live, counter, MAY, MAY + DAY) == 7
    live.fold_stored([level(MARCH, 1)])
    assert days(live, counter, APRIL, MAY - DAY) == 29


@BOTH
def test_history_that_arrives_later_opens_periods_it_does_not_hold(counter: Counter) -> None:
    """The counter is new, May was counted already, and the history ends in April."""
    live = state()
    live.set_counters((counter,))
    live.fold_stored([level(MAY + DAY, 0)])
    live.merge("acme", *history(counter, level(MARCH, 3), level(APRIL, 0)), live.layout.slots)
    expected = {"set": 0, "delta": 3}[str(counter.meter.mode)]
    assert days(live, counter, APRIL, APRIL + DAY) == expected
    assert days(live, counter, MAY, MAY + DAY) == expected
    live = state()
    live.set_counters((counter,))
    live.fold_stored([level(MAY + DAY, 0)])
    live.merge("acme", *history(counter, level(APRIL, 3)), live.layout.slots)
    assert days(live, counter, MAY, MAY + DAY) == 3


@BOTH
def test_history_counts_once_in_the_periods_that_it_opens(counter: Counter) -> None:
    live = state(counter)
    live.merge("acme", *history(counter, level(APRIL, 3), level(MAY, 3)), live.layout.slots)
    expected = {"set": 3, "delta": 6}[str(counter.meter.mode)]
    assert days(live, counter, MAY, MAY + DAY) == expected


@BOTH
def test_what_was_before_the_subscription_outlives_a_change_of_the_counters(
    counter: Counter,
) -> None:
    live = state(counter)
    live.fold_stored([level(MARCH, 2)])
    live.set_counters((OTHER, counter))
    assert days(live, counter, APRIL, APRIL + DAY) == 2
    live.set_counters((OTHER,))
    live.set_counters((counter,))
    assert days(live, counter, APRIL, APRIL + DAY) == 0


@BOTH
def test_a_snapshot_holds_what_was_before_the_subscription(counter: Counter) -> None:
    live = state(counter)
    live.fold_stored([level(MARCH, 2)])
    customers = {"acme": ACME}
    again = state(counter)
    load_state(again, customers, dump_state(live, customers, {}))
    assert days(again, counter, APRIL, APRIL + DAY) == 2


def test_what_lies_after_the_period_asked_for_does_not_matter() -> None:
    counter = gauge()
    live = state(counter)
    live.fold_stored([level(APRIL, 1), level(APRIL + 2 * DAY, 5), level(MAY, 9)])
    assert days(live, counter, APRIL, APRIL + DAY) == 1
    assert days(live, counter, APRIL, APRIL + 3 * DAY) == 7


def test_meters_that_do_not_weigh_time_open_with_nothing() -> None:
    live = state(OTHER)
    live.fold_stored([(Event("1", "call", "acme"), MARCH), (Event("2", "call", "acme"), APRIL)])
    account = live.accounts["acme"]
    assert account.earlier is None
    assert live.usage(account, OTHER, Period(APRIL, MAY)) == (1, E12)
    assert live.usage(account, OTHER, Period(MAY, JUNE)) == (0, 0)


def test_history_before_the_subscription_is_named_apart_from_every_period() -> None:
    (lane,), _ = history(gauge(), level(MARCH, 3))
    assert list(lane) == [EARLIER]


def test_differences_that_cancel_out_leave_no_group_however_they_arrive() -> None:
    meter = gauge("delta", dimensions={"region": "data.region"}).meter
    counter = Counter(meter, group_by=("region",))
    up, down = (
        (Event(str(gb), "disk", "acme", data={"gb": gb, "region": "eu"}), APRIL) for gb in (5, -5)
    )
    at_once, late, in_parts = state(counter), state(counter), state(counter)
    may = Event("may", "disk", "acme", data={"gb": 1, "region": "us"}), MAY
    at_once.fold_stored([up, down, may])
    late.fold_stored([may, up, down])
    in_parts.fold_stored([may])
    for part in (up, down):
        in_parts.merge("acme", *history(counter, part), in_parts.layout.slots)
    customers = {"acme": ACME}
    dumps = [dump_state(live, customers, {}) for live in (at_once, late, in_parts)]
    assert dumps[0] == dumps[1] == dumps[2]
