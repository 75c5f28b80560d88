"""
Leases: decided in this process, within the slice, and never beyond what the server set aside.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import threading
import time
from collections import Counter
from decimal import Decimal

import pytest
from tests.property.effort import FULL
from tests.sdk.fake import Fake, lost, status
from tests.sdk.test_processes import finish, start
from tests.sdk.test_track import adds_up, until

from taximeter_sdk import AsyncTaximeter, OverLimit, Rejection, Taximeter
from taximeter_sdk.base import BaseMeter


def asked(fake: Fake) -> int:
    return len(fake.seen("/v1/check")) + len(fake.seen("/v1/consume"))


def test_a_leased_check_asks_nobody_and_says_how_old_and_how_sure_it_is(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        decision = meter.check("acme", "chat", 40)
        assert decision
        assert (decision.decided_by, decision.reason) == ("lease", "within_limit")
        assert decision.left == 100
        assert decision.overshoot_bound == 100
        assert 0 <= decision.staleness_s < 5
        assert asked(fake) == 0


def test_a_leased_consume_uses_up_the_slice_and_names_its_lease(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        lease = meter.lease("acme", "chat", 100)
        decision = meter.consume("acme", "chat", 30, id="r1", data={"model": "opus"})
        assert (decision.decided_by, decision.left) == ("lease", 70)
        assert meter.flush()
        assert asked(fake) == 0
        assert fake.open_leases() == 70
    event = fake.events["taximeter/consume", "r1"]
    assert event["data"] == {"model": "opus", "lease_id": lease.id, "tokens": 30}
    assert fake.used == 30


def test_the_same_id_again_gives_the_same_answer_and_counts_once(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        first = meter.consume("acme", "chat", 30, id="r1")
        assert meter.consume("acme", "chat", 30, id="r1") is first
        assert meter.check("acme", "chat").left == 70
    assert fake.used == 30


def test_an_id_in_doubt_is_decided_by_lease_later_and_counts_once(fake: Fake) -> None:
    """The server consumed it and its answer got lost twice; then there is a lease."""
    refused: list[Rejection] = []
    with Taximeter(fake.url, timeout=1.0, on_reject=refused.append) as meter:
        fake.next(lost, lost)
        assert not meter.consume("acme", "chat", 30, id="r1")
        meter.lease("acme", "chat", 100)
        assert meter.consume("acme", "chat", 30, id="r1").decided_by == "lease"
        assert meter.flush()
        assert meter.stats.duplicates == 1
    assert fake.used == 30
    assert not refused


def test_a_lease_is_given_back_at_close_after_its_usage(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        lease = meter.lease("acme", "chat", 100)
        meter.consume("acme", "chat", 30)
        assert fake.left() == 900
    assert fake.slots[lease.id].resolved == "released"
    assert fake.left() == 970
    assert [path for _, path, _ in fake.requests][-1] == f"/v1/leases/{lease.id}/release"


def test_below_a_quarter_the_slice_is_refilled_in_the_background(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        lease = meter.lease("acme", "chat", 100)
        by = Counter[str]()
        for _ in range(500):
            decision = meter.consume("acme", "chat", 1)
            assert decision
            by[decision.decided_by] += 1
            if decision.left is not None and decision.left < 25:
                until(lambda: (meter.check("acme", "chat").left or 0) > 25)
        # On a busy machine a slice can end before it is refilled: the server decides meanwhile.
        assert by["lease"] > 400, by
        assert len(fake.seen(f"/v1/leases/{lease.id}/extend")) >= 5
        meter.flush()
    assert fake.used == 500


def test_features_named_at_the_start_are_leased_by_themselves(fake: Fake) -> None:
    with Taximeter(fake.url, lease={"chat": 100}) as meter:
        assert meter.check("acme", "chat").decided_by == "server"
        until(lambda: meter.check("acme", "chat").decided_by == "lease")
        assert meter.check("acme", "free").decided_by == "server"
        (body,) = fake.seen("/v1/leases")
        assert body["amount"] == "100"
        assert body["allow_partial"] is True


def test_each_scope_has_its_own_slice(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100, scope={"user": "u7"})
        assert meter.check("acme", "chat", scope={"user": "u7"}).decided_by == "lease"
        assert meter.check("acme", "chat", scope={"user": "u8"}).decided_by == "server"
        assert meter.check("acme", "chat").decided_by == "server"
        meter.consume("acme", "chat", 5, id="r", scope={"user": "u7"})
    assert fake.events["taximeter/consume", "r"]["data"]["user"] == "u7"


def test_what_does_not_fit_the_slice_is_asked_of_the_server(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        assert meter.check("acme", "chat", 500).decided_by == "server"
        assert meter.consume("acme", "chat", 500).decided_by == "server"
        assert not meter.check("acme", "chat", 901)


def test_what_did_not_fit_took_nothing_of_the_slice(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 10)
        assert meter.consume("acme", "chat", 6).decided_by == "lease"
        assert meter.consume("acme", "chat", 5).decided_by == "server"
        assert meter.check("acme", "chat").left == 4


def test_a_lease_taken_again_gives_the_first_one_back(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        first = meter.lease("acme", "chat", 10)
        meter.lease("acme", "chat", 50)
        until(lambda: fake.slots[first.id].resolved == "released")
        assert meter.check("acme", "chat").left == 50


def test_on_a_partition_the_slice_is_used_up_and_then_the_fail_policy_decides(fake: Fake) -> None:
    with Taximeter(fake.url, timeout=1.0, fail={"chat": "lease"}) as meter:
        meter.lease("acme", "chat", 100)
        fake.away = True
        allowed = [bool(meter.consume("acme", "chat", 10)) for _ in range(20)]
        assert allowed == [True] * 10 + [False] * 10
        assert meter.check("acme", "chat").decided_by == "fail_closed"
        fake.away = False
        assert meter.flush(60)
    assert fake.used == 100


def test_a_lease_ends_here_before_it_ends_on_the_server(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Taximeter(fake.url, timeout=1.0) as meter:
        lease = meter.lease("acme", "chat", 100, ttl=30)
        fake.away = True
        remaining_here = lease.expires_at - time.clock_gettime(time.CLOCK_BOOTTIME)
        remaining_there = fake.slots[lease.id].expires - time.time()
        assert 1 < remaining_there - remaining_here < 3
        lease.expires_at -= 30
        assert meter.check("acme", "chat").decided_by == "fail_closed"
        fake.away = False


def test_the_wall_clock_does_not_matter(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert meter.check("acme", "chat").decided_by == "lease"


def test_a_lease_in_use_is_renewed_and_an_idle_one_lapses(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        used = meter.lease("acme", "chat", 100, ttl=1.5)
        meter.lease("acme", "free", 100, ttl=1.5)
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            assert meter.consume("acme", "chat").decided_by == "lease"
            time.sleep(0.05)
        assert fake.seen(f"/v1/leases/{used.id}/extend")
        assert ("acme", "free") not in meter._slices
        assert meter.check("acme", "free").decided_by == "server"


def test_nothing_to_lease_is_over_limit(fake: Fake) -> None:
    fake.limit = Decimal(0)
    with Taximeter(fake.url) as meter, pytest.raises(OverLimit):
        meter.lease("acme", "chat", 10)


def test_an_automatic_lease_that_is_refused_is_not_asked_for_by_every_request(fake: Fake) -> None:
    fake.limit = Decimal(0)
    with Taximeter(fake.url, lease={"chat": 10}) as meter:
        began = time.monotonic()
        for _ in range(20):
            assert not meter.check("acme", "chat")
        asked = len(fake.seen("/v1/leases"))
        assert asked <= 1 + (time.monotonic() - began)  # one a second


def test_a_refill_whose_answer_got_lost_never_lets_more_through_than_is_set_aside(
    fake: Fake,
) -> None:
    """Both tries carry one key, so the second finds the first; if not, the next answer does."""
    fake.limit = Decimal(150)
    with Taximeter(fake.url, timeout=1.0) as meter:
        meter.lease("acme", "chat", 100)
        fake.next(lost)
        allowed = sum(bool(meter.consume("acme", "chat", 10)) for _ in range(9))
        time.sleep(0.3)
        allowed += sum(bool(meter.consume("acme", "chat", 10)) for _ in range(20))
        assert allowed <= 15
        assert meter.flush(60)
    assert fake.used == allowed * 10


def test_a_lease_comes_back_after_an_outage_longer_than_its_time(fake: Fake) -> None:
    with Taximeter(fake.url, timeout=1.0) as meter:
        lease = meter.lease("acme", "chat", 100)
        fake.away = True
        lease.expires_at = 0.0
        lease.refill()
        assert not meter._slices
        assert meter.check("acme", "chat").decided_by == "fail_closed"
        fake.away = False
        until(lambda: meter.check("acme", "chat").decided_by == "lease")
        lease.close()
        assert meter.check("acme", "chat").decided_by == "server"
        assert fake.open_leases() == 100  # the first one, until its time is over


def test_leases_are_given_back_when_the_process_just_ends(fake: Fake) -> None:
    program = """
meter = Taximeter()
meter.lease("acme", "chat", 100)
"""
    finish(start(program, fake.url))
    assert fake.open_leases() == 0


def test_a_lease_the_server_has_forgotten_is_replaced(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        lease = meter.lease("acme", "chat", 100)
        del fake.slots[lease.id]
        meter.consume("acme", "chat", 80)
        until(lambda: meter._slices.get(("acme", "chat")) not in (lease, None))
        assert meter.check("acme", "chat").left == 100


def test_the_slice_counts_what_is_on_its_way_as_used(fake: Fake) -> None:
    """A refill whose answer knows nothing of tracked usage must not hand it out again."""
    with Taximeter(fake.url, linger=60) as meter:
        lease = meter.lease("acme", "chat", 100)
        meter.consume("acme", "chat", 60)
        lease.refill()
        # 100 + 60 asked for are 160 on the server, of which 60 are used and not counted yet.
        assert meter.check("acme", "chat").left == 100
        assert meter.flush()
        lease.refill()
        assert meter.check("acme", "chat").left == 100
        assert fake.open_leases() == 100


def test_a_forked_child_does_not_spend_its_parents_slice(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, meter.check("acme", "chat").decided_by.encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"server"
        os.close(read)
        os.close(write)
        assert meter.check("acme", "chat").decided_by == "lease"


def test_threads_together_never_pass_the_slice(fake: Fake) -> None:
    fake.limit = Decimal(100)
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 100)
        allowed: list[bool] = []

        def work() -> None:
            allowed.extend(bool(meter.consume("acme", "chat", 3)) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(allowed) == 33
        assert meter.flush()
    assert fake.used == 99


@pytest.mark.parametrize("seed", range(100 if FULL else 3))
def test_overshoot_is_at_most_the_sum_of_open_leases(fake: Fake, seed: int) -> None:
    """
    Several processes' worth of meters spend one limit, with refills and consumes lost, refused and
    cut off at random; one of them dies with its slice. What is counted in the end never passes the
    limit by more than the bound that was stated at the time.
    """
    chance = random.Random(seed)
    fake.limit = Decimal(150)
    meters = [Taximeter(fake.url, timeout=0.1, linger=0.005) for _ in range(3)]
    bound = Decimal(0)
    for meter in meters:
        meter.lease("acme", "chat", chance.choice([20, 50]))
        bound = max(bound, fake.open_leases())
    for _ in range(60):
        if chance.random() < 0.2:
            fake.next(chance.choice([lost, status(503)]))
        fake.away = chance.random() < 0.2
        decision = chance.choice(meters).consume("acme", "chat", chance.randint(1, 9))
        bound = max(bound, decision.overshoot_bound, fake.open_leases())
    fake.away = False
    fake.faults.clear()
    abandon(meters.pop())
    for meter in meters:
        assert meter.flush(60)
        assert meter.close()
        assert adds_up(meter.stats)
    assert fake.used <= fake.limit + bound


def abandon(meter: BaseMeter) -> None:
    """As if its process had died: nothing is flushed or given back."""
    meter._engine.delivery.stop(1)
    meter._engine.keeper.stop(1)


def test_the_asyncio_meter_decides_by_lease_too(fake: Fake) -> None:
    async def story() -> None:
        async with AsyncTaximeter(fake.url, lease={"free": 50}) as meter:
            await meter.lease("acme", "chat", 100)
            assert (await meter.check("acme", "chat")).decided_by == "lease"
            assert (await meter.consume("acme", "chat", 30)).left == 70
            await meter.check("acme", "free")
            deadline = time.monotonic() + 60
            while (await meter.check("acme", "free")).decided_by != "lease":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    asyncio.run(story())
    assert fake.used == 30
    assert fake.open_leases() == 0


def test_a_leased_check_takes_microseconds(fake: Fake) -> None:
    """2 us is the promise, measured on a quiet machine; here it only must not become a call."""
    with Taximeter(fake.url) as meter:
        meter.lease("acme", "chat", 1_000)
        times = []
        for _ in range(20_000):
            started = time.perf_counter_ns()
            meter.check("acme", "chat")
            times.append(time.perf_counter_ns() - started)
    assert statistics.median(times) < 10_000
