"""
Tracking: never in the way, never lost, never counted twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.fake import Fake, dropped, late, lost, status

from taximeter_sdk import Rejection, Stats, Taximeter, stable_id


def adds_up(stats: Stats) -> bool:
    came = stats.tracked + stats.recovered
    answered = stats.accepted + stats.duplicates + stats.conflicts + stats.rejected
    assert stats.sent == answered
    return came == answered + stats.settled + stats.dropped + stats.buffered + stats.spooled


def until(done: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def test_what_is_tracked_arrives_with_its_identity_and_time(fake: Fake) -> None:
    at = datetime(2026, 11, 20, 10, 0, 0, 123456, UTC)
    with Taximeter(fake.url, source="api") as meter:
        given = meter.track("acme", "llm.request", id="r1", at=at, model="opus", tokens=5)
        made = meter.track("acme", "llm.request", data={"class": "x"}, amount=2)
    assert given == "r1"
    assert fake.events["api", "r1"] == {
        "id": "r1",
        "source": "api",
        "type": "llm.request",
        "subject": "acme",
        "time": "2026-11-20T10:00:00.123456Z",
        "data": {"model": "opus", "tokens": 5},
    }
    assert fake.events["api", made]["data"] == {"class": "x", "amount": 2}
    assert fake.events["api", made]["time"].endswith("Z")


def test_usage_of_a_feature_becomes_an_event_of_its_meter(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.track("acme", feature="chat", amount=Decimal("2.5"), id="a", at="receipt")
        meter.track("acme", feature="calls", id="b", at="receipt", scope={"user": "u7"})
        meter.track("acme", feature="calls", amount=3, id="c", at="receipt")
        meter.track("acme", feature="calls", amount="1.5", id="d")
    assert fake.events["", "a"] == {
        "id": "a",
        "source": "",
        "type": "llm.request",
        "subject": "acme",
        "data": {"tokens": 2.5},
    }
    assert fake.events["", "b"]["data"] == {"user": "u7"}
    # A meter that counts events counts as many.
    assert [event_id for _, event_id in fake.events] == ["a", "b", "c", "c#2", "c#3"]
    assert meter.stats.accepted == 3
    assert meter.stats.rejected == 1
    assert adds_up(meter.stats)


def test_tracking_neither_waits_nor_raises_while_the_server_is_away() -> None:
    meter = Taximeter("http://127.0.0.1:9")
    started = time.monotonic()
    for _ in range(1000):
        meter.track("acme", "llm.request", tokens=1)
    assert time.monotonic() - started < 1
    assert not meter.flush(0.05)
    assert meter.stats.buffered == 1000
    assert "refused" in str(meter.stats.last_error)
    meter.close(0)
    assert meter.stats.dropped == 1000
    assert adds_up(meter.stats)


def test_a_try_whose_answer_got_lost_counts_once(fake: Fake) -> None:
    fake.next(lost, lost)
    with Taximeter(fake.url) as meter:
        meter.track("acme", "llm.request", tokens=7)
        assert meter.flush(10)
        assert meter.stats.duplicates == 1
        assert meter.stats.retries == 2
        assert adds_up(meter.stats)
    assert fake.used == 7


@pytest.mark.parametrize("fault", [dropped, status(503), status(429), status(500)])
def test_what_did_not_get_through_is_sent_again(fake: Fake, fault: Any) -> None:
    fake.next(fault, fault)
    with Taximeter(fake.url) as meter:
        meter.track("acme", "llm.request", tokens=7)
        assert meter.flush(10)
        assert meter.stats.accepted == 1


def test_retry_after_is_obeyed(fake: Fake) -> None:
    fake.next(status(429, retry_after_s=1))
    with Taximeter(fake.url) as meter:
        started = time.monotonic()
        meter.track("acme", "llm.request")
        assert meter.flush(10)
    assert time.monotonic() - started >= 1


def test_a_wrong_key_keeps_usage_until_it_is_mended(fake: Fake) -> None:
    fake.next(status(401), status(403), status(404))
    with Taximeter(fake.url) as meter:
        meter.track("acme", "llm.request")
        assert meter.flush(10)
        assert meter.stats.accepted == 1


def test_a_refused_item_is_reported_and_its_neighbours_are_counted(fake: Fake) -> None:
    refused: list[Rejection] = []
    with Taximeter(fake.url, on_reject=refused.append) as meter:
        meter.track("acme", "llm.request", tokens=1)
        meter.track("bad", "llm.request", id="no")
        meter.track("acme", feature="export")
        meter.track("acme", feature="both")
        meter.track("acme", "llm.request", tokens=1)
        assert meter.flush()
        assert (meter.stats.accepted, meter.stats.rejected) == (2, 3)
        assert adds_up(meter.stats)
    codes = {one.code for one in refused}
    assert codes == {"invalid_quantity", "feature_not_metered"}
    assert [one.item["id"] for one in refused if one.code == "invalid_quantity"] == ["no"]


def test_one_item_that_spoils_its_request_is_found_and_refused_alone(fake: Fake) -> None:
    refused: list[Rejection] = []
    with Taximeter(fake.url, on_reject=refused.append) as meter:
        for number in range(20):
            meter.track("poison" if number == 13 else "acme", "llm.request", tokens=1)
        assert meter.flush()
        assert (meter.stats.accepted, meter.stats.rejected) == (19, 1)
        assert adds_up(meter.stats)
    assert fake.used == 19
    assert [one.code for one in refused] == ["invalid_event"]


def test_a_callback_that_fails_does_not_stop_delivery(fake: Fake) -> None:
    def fail(rejection: Rejection) -> None:
        raise RuntimeError

    with Taximeter(fake.url, on_reject=fail) as meter:
        meter.track("bad", "llm.request")
        assert meter.flush()
        meter.track("acme", "llm.request")
        assert meter.flush()


def test_the_same_id_with_other_content_is_a_conflict_and_counts_once(fake: Fake) -> None:
    refused: list[Rejection] = []
    with Taximeter(fake.url, on_reject=refused.append) as meter:
        meter.track("acme", "llm.request", id="x", tokens=1)
        meter.track("acme", "llm.request", id="x", tokens=2)
        meter.flush()
        assert meter.stats.conflicts == 1
    assert fake.used == 1
    assert [one.code for one in refused] == ["event_conflict"]


def test_an_operation_that_runs_twice_is_a_duplicate_with_a_stable_id_and_time(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        for _ in range(2):
            order = stable_id("order", 17, "shipped")
            meter.track("acme", "llm.request", id=order, at="receipt", tokens=1)
        meter.flush()
        assert (meter.stats.accepted, meter.stats.duplicates) == (1, 1)
    assert stable_id("ab", "c") != stable_id("a", "bc")


def test_what_is_over_the_bound_is_dropped_newest_first_and_counted(fake: Fake) -> None:
    fake.away = True
    meter = Taximeter(fake.url, max_events=10)
    for number in range(15):
        meter.track("acme", "llm.request", id=str(number), tokens=1)
    assert meter.stats.dropped == 5
    fake.away = False
    assert meter.flush(60)
    assert {event_id for _, event_id in fake.events} == {str(n) for n in range(10)}
    meter.close()
    assert adds_up(meter.stats)


def test_memory_is_bounded_in_bytes_too(fake: Fake) -> None:
    fake.away = True
    meter = Taximeter(fake.url, max_bytes=10_000)
    for _ in range(30):
        meter.track("acme", "llm.request", text="x" * 1000)
    assert 5 <= meter.stats.buffered <= 10
    meter.close(0)
    assert adds_up(meter.stats)


def test_overflow_block_waits_for_room_and_loses_nothing(fake: Fake) -> None:
    fake.next(late(0.2))
    with Taximeter(fake.url, max_events=5, batch=5, overflow="block") as meter:
        for _ in range(20):
            meter.track("acme", "llm.request", tokens=1)
        assert meter.flush()
        assert meter.stats.dropped == 0
    assert fake.used == 20


def test_overflow_block_gives_up_after_its_time() -> None:
    meter = Taximeter("http://127.0.0.1:9", max_events=1, overflow="block", block_s=0.05)
    meter.track("acme", "t")
    meter.track("acme", "t")
    assert meter.stats.dropped == 1
    meter.close(0)


def test_threads_track_together_and_nothing_is_lost_or_doubled(fake: Fake) -> None:
    with Taximeter(fake.url, batch=50, linger=0.01) as meter:

        def work() -> None:
            for _ in range(200):
                meter.track("acme", "llm.request", tokens=1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert meter.flush()
        assert meter.stats.accepted == 1600
    assert fake.used == 1600


def test_a_batch_waits_only_as_long_as_it_lingers(fake: Fake) -> None:
    with Taximeter(fake.url, linger=0.05) as meter:
        meter.track("acme", "llm.request", tokens=1)
        until(lambda: fake.used == 1, 30)
        assert meter.stats.tracked == 1


def test_a_full_batch_does_not_linger(fake: Fake) -> None:
    with Taximeter(fake.url, linger=60, batch=3) as meter:
        for _ in range(3):
            meter.track("acme", "llm.request", tokens=1)
        until(lambda: fake.used == 3, 30)
        assert len(fake.seen("/v1/events")) == 1
        assert meter.close()


def test_nothing_is_taken_after_close_and_that_is_counted(fake: Fake) -> None:
    meter = Taximeter(fake.url)
    meter.close()
    meter.track("acme", "llm.request")
    assert meter.stats.dropped == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda m: m.track("", "t"), "customer"),
        (lambda m: m.track("acme", ""), "type"),
        (lambda m: m.track("acme"), "event type or a feature"),
        (lambda m: m.track("acme", "t", feature="chat"), "not both"),
        (lambda m: m.track("acme", "t", at=datetime(2026, 1, 1)), "offset"),  # noqa: DTZ001
        (lambda m: m.track("acme", "t", at="now"), "offset"),
        (lambda m: m.track("acme", "t", scope={"user": "u7"}), "scope"),
        (lambda m: m.track("acme", "t", x=object()), "JSON"),
        (lambda m: m.track("acme", "t", x=float("nan")), "JSON"),
        (lambda m: m.track("acme", feature="chat", amount=-1), "0"),
        (lambda m: m.track("acme", feature="chat", amount="much"), "decimal"),
    ],
)
def test_what_can_never_be_sent_is_refused_where_it_is_written(
    wrong: Callable[[Taximeter], object], why: str
) -> None:
    meter = Taximeter("http://127.0.0.1:9")
    with pytest.raises((TypeError, ValueError), match=why):
        wrong(meter)
    assert meter.stats.tracked == 0


def test_no_thread_and_no_connection_before_the_first_use() -> None:
    before = threading.active_count()
    meter = Taximeter("http://127.0.0.1:9")
    assert threading.active_count() == before
    assert meter.close()


def test_what_changes_after_tracking_does_not_change_the_event(fake: Fake) -> None:
    data: dict[str, Any] = {"tokens": 1}
    with Taximeter(fake.url) as meter:
        meter.track("acme", "llm.request", data=data)
        data["tokens"] = 100
    assert fake.used == 1


# --- the spool --------------------------------------------------------------------------------


def test_a_spool_keeps_what_memory_cannot_and_delivers_it_in_order(
    fake: Fake, tmp_path: Path
) -> None:
    fake.away = True
    with Taximeter(fake.url, max_events=10, batch=10, spool=tmp_path) as meter:
        for number in range(100):
            meter.track("acme", "llm.request", id=f"{number:03}", tokens=1)
        stats = meter.stats
        assert (stats.dropped, stats.buffered, stats.spooled) == (0, 10, 90)
        assert adds_up(stats)
        fake.away = False
        assert meter.flush(30)
        assert adds_up(meter.stats)
        assert meter.stats.accepted == 100
    assert [event_id for _, event_id in fake.events] == [f"{n:03}" for n in range(100)]
    assert not list(tmp_path.iterdir())


def test_what_was_not_delivered_is_left_for_the_next_process(fake: Fake, tmp_path: Path) -> None:
    first = Taximeter("http://127.0.0.1:9", spool=tmp_path)
    for _ in range(5):
        first.track("acme", "llm.request", tokens=1)
    assert not first.close(0)
    assert first.stats.dropped == 0
    assert adds_up(first.stats)
    with Taximeter(fake.url, spool=tmp_path) as second:
        until(lambda: second.stats.accepted == 5)
        assert second.stats.recovered == 5
        assert adds_up(second.stats)
    assert fake.used == 5
    assert not list(tmp_path.iterdir())


def test_a_torn_tail_is_counted_and_everything_before_it_is_delivered(
    fake: Fake, tmp_path: Path
) -> None:
    first = Taximeter("http://127.0.0.1:9", spool=tmp_path)
    for _ in range(3):
        first.track("acme", "llm.request", tokens=1)
    first.close(0)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with Taximeter(fake.url, spool=tmp_path) as second:
        until(lambda: second.stats.accepted == 2)
        assert second.stats.damaged == 1
        assert adds_up(second.stats)
    assert fake.used == 2


def test_a_spool_in_use_is_not_taken_over(fake: Fake, tmp_path: Path) -> None:
    fake.away = True
    first = Taximeter(fake.url, spool=tmp_path)
    first.track("acme", "llm.request", tokens=1)
    second = Taximeter(fake.url, spool=tmp_path)
    time.sleep(0.1)
    assert second.stats.recovered == 0
    fake.away = False
    assert first.flush()
    first.close()
    second.close()
    assert fake.used == 1


def test_with_fsync_the_name_and_the_content_are_on_disk_when_track_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append("directory"))
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append("file"))
    meter = Taximeter("http://127.0.0.1:9", spool=tmp_path, fsync=True, linger=60)
    meter.track("acme", "llm.request")
    assert synced == ["directory", "file"]
    meter.track("acme", "llm.request")
    assert synced == ["directory", "file", "file"]
    meter.close(0)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_disk_that_refuses_leaves_the_event_in_memory_and_says_so(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(28, "No space left on device")

    fake.away = True
    meter = Taximeter(fake.url, spool=tmp_path, fsync=True, linger=60)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        meter.track("acme", "llm.request", tokens=1)
    meter.track("acme", "llm.request", tokens=1)
    stats = meter.stats
    assert (stats.buffered, stats.spool_errors) == (2, 1)
    assert "No space" in str(stats.last_error)
    fake.away = False
    assert meter.flush(60)
    meter.close()
    assert fake.used == 2
    assert not list(tmp_path.iterdir())


def test_a_full_spool_drops_and_counts(fake: Fake, tmp_path: Path) -> None:
    fake.away = True
    meter = Taximeter(fake.url, max_events=2, spool=tmp_path, spool_bytes=2000)
    for _ in range(30):
        meter.track("acme", "llm.request", tokens=1)
    stats = meter.stats
    assert stats.dropped > 0
    assert stats.spooled > 0
    assert adds_up(stats)
    fake.away = False
    assert meter.flush(60)
    meter.close()
    assert adds_up(meter.stats)


def test_the_spool_is_emptied_as_events_are_answered(fake: Fake, tmp_path: Path) -> None:
    with Taximeter(fake.url, spool=tmp_path, linger=0.001) as meter:
        for _ in range(3):
            meter.track("acme", "llm.request", tokens=1)
            assert meter.flush()
        (segment,) = tmp_path.iterdir()
        assert segment.stat().st_size == 0
        assert segment.stat().st_mode & 0o777 == 0o600
