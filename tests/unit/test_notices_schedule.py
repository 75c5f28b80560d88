"""The retry schedule of Standard Webhooks."""

from __future__ import annotations

from itertools import pairwise

from taximeter.instants import DAY, HOUR, MINUTE, SECOND
from taximeter.notices.schedule import DELAYS, MAX_ATTEMPTS, next_attempt_at

AT = 1_795_000_000_000_000


def delays(delivery: str) -> list[int]:
    found = []
    for attempts in range(1, MAX_ATTEMPTS):
        at = next_attempt_at(delivery, attempts, AT)
        assert at is not None
        found.append(at - AT)
    return found


def test_the_whole_of_it_takes_75_hours_35_minutes_and_5_seconds() -> None:
    assert sum(DELAYS) == 75 * HOUR + 35 * MINUTE + 5 * SECOND
    assert MAX_ATTEMPTS == 10


def test_after_the_last_attempt_there_is_none() -> None:
    assert next_attempt_at("d", MAX_ATTEMPTS - 1, AT) is not None
    assert next_attempt_at("d", MAX_ATTEMPTS, AT) is None


def test_a_delay_becomes_longer_by_less_than_a_tenth_and_never_shorter() -> None:
    for n in range(500):
        for delay, plain in zip(delays(f"dlv_{n}"), DELAYS, strict=True):
            assert plain <= delay < plain + plain // 10 + 1


def test_each_wait_is_longer_than_the_one_before() -> None:
    assert all(a < b for a, b in pairwise(delays("dlv_1")))


def test_deliveries_that_failed_together_do_not_come_back_together() -> None:
    seconds = {next_attempt_at(f"dlv_{n}", 3, AT) // SECOND for n in range(1000)}
    assert len(seconds) > 150, "spread over the three minutes of jitter"


def test_a_schedule_is_the_same_each_time_it_is_asked_for() -> None:
    assert delays("dlv_1") == delays("dlv_1") != delays("dlv_2")


def test_what_the_receiver_asks_for_is_heeded_if_it_is_later_but_not_for_ever() -> None:
    assert next_attempt_at("d", 1, AT, 60 * SECOND) == AT + 60 * SECOND
    assert next_attempt_at("d", 2, AT, 1 * SECOND) == next_attempt_at("d", 2, AT)
    assert next_attempt_at("d", 1, AT, 900 * DAY) == AT + DAY
