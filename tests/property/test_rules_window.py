"""
Rolling thresholds against the plainest meaning: go through all events again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import FULL, patient, thorough

from taximeter.catalog.document import parse_catalog
from taximeter.events.envelope import Event
from taximeter.instants import DAY, MINUTE, SECOND
from taximeter.periods import Period
from taximeter.rules import trial as trial_of
from taximeter.rules.memory import Memory
from taximeter.rules.trial import TrialAccount, TrialSpec, run_trial
from taximeter.rules.watcher import Watcher
from taximeter.rules.window import AHEAD_US, Window

effort = thorough if FULL else patient

START = 1_795_000_000_000_000
SPAN = 30 * MINUTE
windows_us = st.sampled_from([10 * SECOND, 59 * SECOND, 60 * SECOND, 601 * SECOND, 10 * MINUTE])
instants = st.integers(START, START + SPAN)
amounts = st.integers(-5, 10)
streams = st.lists(st.tuples(instants, amounts), max_size=40)


def holds(counted: list[tuple[int, int]], at: int, window_us: int, slack_us: int) -> int:
    """What lies in the window that ends at an instant, a little more at both ends."""
    return sum(n for time, n in counted if at - window_us - slack_us < time <= at + slack_us)


@thorough
@given(stream=streams, window_us=windows_us)
def test_a_window_holds_the_buckets_it_overlaps(
    stream: list[tuple[int, int]], window_us: int
) -> None:
    window = Window(window_us)
    width = max(-(-window_us // 60), SECOND)
    reach = -(-window_us // width)
    ahead = -(-AHEAD_US // width)
    counted: list[tuple[int, int]] = []
    newest = 0
    for at, n in stream:
        found = window.add(at, n)
        index, newest = at // width, max(newest, at // width)
        counted.append((at, n))
        if index < newest - ahead:
            assert found is None, "too far behind to be judged"
        else:
            first = index - reach
            assert found == sum(m for t, m in counted if first <= t // width <= index)


@thorough
@given(stream=st.lists(st.tuples(instants, st.integers(0, 10)), max_size=40), window_us=windows_us)
def test_what_truly_lies_in_the_window_is_never_missed_nor_more_than_a_bucket_beside_it(
    stream: list[tuple[int, int]], window_us: int
) -> None:
    window = Window(window_us)
    width = max(-(-window_us // 60), SECOND)
    counted: list[tuple[int, int]] = []
    for at, n in stream:
        found = window.add(at, n)
        counted.append((at, n))
        if found is not None:
            assert holds(counted, at, window_us, 0) <= found
            assert found <= holds(counted, at, window_us, 2 * width)


@thorough
@given(stream=streams, window_us=windows_us, cut=st.integers(0, 40))
def test_a_window_cut_anywhere_goes_on_as_if_it_had_not_been(
    stream: list[tuple[int, int]], window_us: int, cut: int
) -> None:
    whole, parts = Window(window_us), Window(window_us)
    for number, (at, n) in enumerate(stream):
        if number == cut:
            parts = Window(window_us, json.loads(json.dumps(parts.dump())))
        assert whole.add(at, n) == parts.add(at, n)


# --- a trial is what running would have been ----------------------------------------------------

customers = st.sampled_from(["acme", "globex"])
users = st.sampled_from(["u1", "u2", None])
delays = st.integers(-4 * MINUTE, 20 * MINUTE)
histories = st.lists(
    st.tuples(customers, users, st.integers(0, 5), st.integers(0, MINUTE), delays), max_size=60
)


@effort
@given(history=histories, more_than=st.integers(0, 20), by_user=st.booleans())
def test_a_trial_fires_exactly_where_running_would_have(
    history: list[tuple[str, Any, int, int, int]], more_than: int, by_user: bool
) -> None:
    over = {
        "sum": "data.n",
        "window": "5m",
        "more_than": more_than,
        "by": "user" if by_user else "customer",
    }
    document = {"on": "t", "when": "data.n > 0", "do": "block", "mode": "on", "cooldown": "1m"}
    rule = parse_catalog({"rules": {"r": document | {"over": over}}}).rules["r"]
    by_path = "data.user" if by_user else None
    received = []
    now = START
    for seq, (customer, user, n, pause, delay) in enumerate(history, 1):
        now += pause
        event = Event(id=str(seq), type="t", subject=customer, data={"n": n, "user": user})
        received.append((seq, event, now - delay, now))

    running = Watcher(rule, 1, by_path)
    memories = {"acme": Memory(), "globex": Memory()}
    fired = []
    for seq, event, at, now in received:
        memory = memories[event.subject]
        sighting = running.see(lambda memory=memory: memory, event, at, now)  # type: ignore[misc]
        if sighting is not None:
            fire = running.fire(memory, sighting, event.subject, event, at, now, seq)
            if fire is not None:
                fired.append((fire.customer, fire.seq, fire.value, fire.observed_pico))

    accounts = (TrialAccount("acme", ("acme",)), TrialAccount("globex", ("globex",)))
    spec = TrialSpec("x", rule, by_path, accounts, START, START + DAY, len(history))
    trial = run_trial(spec, received)
    assert trial.fires == len(fired)
    assert trial.events == len(received)
    tried = {one.customer: one for one in trial.tried}
    for customer in ("acme", "globex"):
        expected = [fire for fire in fired if fire[0] == customer]
        found = tried[customer].samples if customer in tried else []
        assert [(f.customer, f.seq, f.value, f.observed_pico) for f in found] == expected[:5]


@effort
@given(spans=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=5))
def test_a_trial_looks_at_a_customer_only_while_the_rule_concerns_it(
    spans: list[tuple[int, int]],
) -> None:
    apart: list[Period] = []
    for start, length in sorted(spans):
        if not apart or start > apart[-1].end:
            apart.append(Period(START + start, START + start + length))
    rule = parse_catalog({"rules": {"r": {"on": "t", "do": "flag", "cooldown": "1s"}}}).rules["r"]
    account = TrialAccount("acme", ("acme",), tuple(apart))
    spec = TrialSpec("x", rule, None, (account,), START, START + DAY, 100)
    events = [
        (n + 1, Event(id=str(n), type="t", subject="acme"), START + n, START + n) for n in range(70)
    ]
    expected = sum(any(one.start <= at < one.end for one in apart) for _, _, at, _ in events)
    assert run_trial(spec, events).events == expected


def test_a_trial_of_too_many_events_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_of, "MAX_EVENTS", 10)
    rule = parse_catalog({"rules": {"r": {"on": "t", "do": "flag"}}}).rules["r"]
    spec = TrialSpec("x", rule, None, (TrialAccount("acme", ("acme",)),), START, START + DAY, 100)
    events = [
        (n + 1, Event(id=str(n), type="t", subject="acme"), START + n, START + n) for n in range(11)
    ]
    assert run_trial(spec, events[:10]).stopped_at is None
    stopped = run_trial(spec, events)
    assert (stopped.events, stopped.stopped_at) == (10, START + 10)
