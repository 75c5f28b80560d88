"""When a rule fires, and what it remembers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taximeter.catalog.document import parse_catalog
from taximeter.catalog.rules import Rule
from taximeter.events.envelope import Event
from taximeter.gate.effects import Block, Fire, Throttle
from taximeter.instants import DAY, HOUR, MINUTE, SECOND
from taximeter.rules.memory import MAX_RESTING, Memory
from taximeter.rules.watcher import Watcher, watcher
from taximeter.rules.window import MAX_VALUES, Window

E12 = 10**12
AT = 1_795_000_000_000_000 // (10 * SECOND) * (10 * SECOND)
MANY = {"count": "events", "window": "10m", "more_than": 2}


def rule(**members: Any) -> Rule:
    document = {"on": "t", "do": "flag", "mode": "on"} | members
    features = {"chat": {"type": "boolean"}, "image": {"type": "boolean"}}
    return parse_catalog({"features": features, "rules": {"r": document}}).rules["r"]


class Customer:
    """One customer that a rule looks at."""

    def __init__(self, by_path: str | None = None, **members: Any) -> None:
        self.memory = Memory()
        self.watcher = Watcher(rule(**members), 3, by_path)
        self.seq = 0

    def send(self, at: int = AT, now: int | None = None, **data: Any) -> Fire | None:
        self.seq += 1
        event = Event(id=f"e{self.seq}", type="t", subject="acme", data=data)
        now = at if now is None else now
        seen = self.watcher.see(lambda: self.memory, event, at, now)
        if seen is None:
            return None
        return self.watcher.fire(self.memory, seen, "acme", event, at, now, self.seq)

    def fires(self, *args: Any, **data: Any) -> bool:
        return self.send(*args, **data) is not None


def test_a_rule_without_a_window_fires_on_an_event_that_passes_its_filter() -> None:
    acme = Customer(when="data.n > 5")
    assert not acme.fires(n=5)
    fire = acme.send(n=6)
    assert fire is not None
    assert (fire.rule, fire.version, fire.seq, fire.event) == ("r", 3, 2, "e2")
    assert (fire.at, fire.value, fire.observed_pico) == (AT, "", None)


def test_a_rule_fires_above_its_threshold_and_not_at_it() -> None:
    acme = Customer(over=MANY)
    assert [acme.fires() for _ in range(3)] == [False, False, True]


def test_a_sum_is_exact_to_the_last_place() -> None:
    over = {"sum": "data.n", "window": "10m", "more_than": "0.3"}
    acme = Customer(over=over)
    assert not acme.fires(n="0.1")
    assert not acme.fires(n="0.2")
    fire = acme.send(n="0.000000000001")
    assert fire is not None
    assert fire.observed_pico == 3 * E12 // 10 + 1


def test_an_event_counts_until_but_not_a_bucket_after_the_window() -> None:
    """10 minutes in buckets of 10 seconds: what is 10 minutes old may count 10 seconds longer."""
    at_the_edge = Customer(over=MANY)
    assert [at_the_edge.fires(at) for at in (AT, AT, AT + 10 * MINUTE)] == [False, False, True]
    beyond = Customer(over=MANY)
    late = AT + 10 * MINUTE + 10 * SECOND
    assert [beyond.fires(at) for at in (AT, AT, late)] == [False, False, False]


def test_a_value_that_cannot_be_read_counts_nothing_and_refuses_nothing() -> None:
    acme = Customer(over={"sum": "data.n", "window": "1m", "more_than": 0})
    for value in (None, "many", {"n": 1}, [1], True, "1e999999", "NaN", 10**30):
        assert not acme.fires(n=value)
    assert not acme.fires()
    assert acme.fires(n=1)


def test_a_rule_rests_for_its_cooldown_and_fires_again_at_its_end() -> None:
    acme = Customer(cooldown="10m")
    assert acme.fires(AT)
    assert not acme.fires(AT + 10 * MINUTE - 1)
    assert acme.fires(AT + 10 * MINUTE)


def test_users_are_looked_at_and_rest_one_by_one() -> None:
    acme = Customer("data.user", over=MANY | {"by": "user"})
    assert [acme.fires(user="u1") for _ in range(2)] == [False, False]
    assert not acme.fires(user="u2")
    fire = acme.send(user="u1")
    assert fire is not None
    assert fire.value == "u1"
    assert not acme.fires(user="u1"), "it rests"
    assert not acme.fires(user="u2")
    assert acme.fires(user="u2")


def test_an_event_that_names_no_user_is_nobodys() -> None:
    acme = Customer("data.user", over=MANY | {"by": "user", "more_than": 0})
    assert not acme.fires()
    assert not acme.fires(user=None)
    assert acme.fires(user=7), "numbers name users, too"


def test_a_late_event_is_judged_by_the_window_that_ends_with_it() -> None:
    acme = Customer(over=MANY)
    assert [acme.fires(AT) for _ in range(2)] == [False, False]
    assert not acme.fires(AT - 5 * MINUTE), "what is later does not count against it"
    assert acme.fires(AT), "but it counts for what is later"


def test_an_event_far_behind_the_newest_one_is_passed_over() -> None:
    acme = Customer(over=MANY | {"more_than": 0, "window": "1m"}, cooldown="1s")
    assert acme.fires(AT + HOUR)
    assert not acme.fires(AT, AT + 2 * HOUR)


def test_history_is_looked_at_by_no_rule() -> None:
    acme = Customer()
    assert not acme.fires(AT - DAY - 1, AT)
    assert acme.fires(AT - DAY, AT)


def test_a_sender_whose_clock_is_ahead_hides_nobody() -> None:
    acme = Customer(over=MANY | {"window": "1m"})
    assert not acme.fires(AT + 300 * SECOND, AT)
    assert [acme.fires(AT) for _ in range(3)] == [False, False, True]


def test_a_block_concerns_the_features_that_are_named() -> None:
    fire = Customer(do="block", features=["chat", "image"]).send()
    assert fire is not None
    assert [(one.feature, one.until) for one in fire.imposed] == [("chat", None), ("image", None)]


def test_a_block_holds_for_its_time_and_a_throttle_until_it_is_lifted() -> None:
    acme = Customer(
        do=[{"block": {"for": "1h"}}, {"throttle": {"limit": 5, "per": "1m"}}], reason="too fast"
    )
    fire = acme.send()
    assert fire is not None
    block, throttle = fire.imposed
    assert isinstance(block, Block)
    assert (block.feature, block.by, block.reason) == ("", "rule r", "too fast")
    assert block.until == AT + HOUR
    assert isinstance(throttle, Throttle)
    assert throttle.until is None
    assert throttle.rate.key == "throttle:r:rate:1m"


def test_a_rule_that_tries_out_fires_and_imposes_nothing() -> None:
    fire = Customer(mode="dry_run", do="block").send()
    assert fire is not None
    assert fire.dry
    assert fire.imposed == ()


def test_one_watcher_serves_all_customers() -> None:
    assert watcher(rule(), 1, None) is watcher(rule(), 1, None)
    assert watcher(rule(), 1, None) is not watcher(rule(), 2, None)


def test_a_new_threshold_goes_on_with_what_was_counted_and_a_new_window_does_not() -> None:
    acme = Customer(over=MANY)
    assert [acme.fires() for _ in range(2)] == [False, False]
    acme.watcher = Watcher(rule(over=MANY | {"more_than": 1}), 4, None)
    assert acme.fires()
    acme.watcher = Watcher(rule(over=MANY | {"window": "20m"}, cooldown="1s"), 5, None)
    assert not acme.fires(AT + 11 * MINUTE)


# --- memory -----------------------------------------------------------------------------------


def test_very_many_users_cost_bounded_memory_and_the_busy_ones_stay() -> None:
    acme = Customer("data.user", over=MANY | {"by": "user", "more_than": 10_000})
    for number in range(3 * MAX_VALUES):
        acme.send(user=f"u{number}")
        acme.send(user="busy")
    (windows,) = acme.memory.windows.values()
    assert len(windows) == MAX_VALUES
    assert acme.memory.windows
    acme.watcher = Watcher(rule(over=MANY | {"by": "user", "more_than": 2999}), 4, "data.user")
    assert acme.fires(user="busy")


def test_very_many_fires_cost_bounded_memory() -> None:
    memory = Memory()
    for number in range(MAX_RESTING + 10):
        memory.rest("r", f"u{number}", AT)
    assert len(memory.resting) == MAX_RESTING


def test_a_very_long_value_is_cut() -> None:
    fire = Customer("data.user", over=MANY | {"by": "user", "more_than": 0}).send(user="u" * 10_000)
    assert fire is not None
    assert len(fire.value) == 256


def test_a_window_of_three_months_keeps_a_bounded_number_of_buckets() -> None:
    window = Window(90 * DAY)
    for minute in range(0, 200 * 24 * 60, 60):
        window.add(AT + minute * MINUTE, 1)
    assert len(window.dump()) <= 62


def test_a_memory_goes_on_from_what_it_was_dumped_as() -> None:
    acme = Customer("data.user", over=MANY | {"by": "user"})
    for user in ("u1", "u1", "u1", "u2", "u2"):
        acme.send(user=user)
    dumped = json.loads(json.dumps(acme.memory.dump()))
    acme.memory = Memory(dumped)
    assert acme.memory.dump() == dumped
    assert not acme.fires(user="u1"), "it still rests"
    assert acme.fires(user="u2")


def test_what_can_matter_no_more_is_forgotten() -> None:
    acme = Customer(over=MANY | {"more_than": 0})
    acme.send()
    assert acme.memory.prune(AT + DAY), "an event of the last day may still come"
    assert not acme.memory.prune(AT + DAY + 21 * MINUTE)
    assert acme.memory.dump() == {}


@pytest.mark.parametrize("data", [None, {}, {"n": {"deep": [1, {"x": None}]}}, {"n": "\x00" * 999}])
def test_no_event_makes_a_rule_fail(data: Any) -> None:
    acme = Customer(
        "data.user.name.first",
        when="data.n > 5 or data.n.deep in ['a'] or not exists(data.n)",
        over={"sum": "max(data.n, 1) * 2 - data.m", "window": "1m", "more_than": 1, "by": "user"},
    )
    event = Event(id="1", type="t", subject="acme", data=data)
    acme.watcher.see(lambda: acme.memory, event, AT, AT)
