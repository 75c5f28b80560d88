"""
Holds: cut at the cap, settled whatever happens, nothing used for nothing.
"""

from __future__ import annotations

import asyncio
import os
import time
from decimal import Decimal

import pytest
from tests.sdk.fake import Fake, dropped, lost, status
from tests.sdk.test_track import adds_up, until

from taximeter_sdk import AsyncTaximeter, OverLimit, Taximeter, Unavailable


def test_a_hold_is_used_locally_and_settled_when_it_is_left(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=100) as hold:
            assert hold.granted == 100
            asked = len(fake.requests)
            assert all(hold.use(7) for _ in range(5))
            assert len(fake.requests) == asked
            assert (hold.used, hold.left, fake.used) == (35, 65, 0)
        assert hold.settled
        assert (hold.used, hold.balance_after) == (35, 965)
    assert fake.used == 35


def test_use_says_no_at_the_cap_and_claims_nothing_then(fake: Fake) -> None:
    with Taximeter(fake.url) as meter, meter.reserve("acme", "chat", up_to=10) as hold:
        assert hold.use(7)
        assert not hold.use(4)
        assert hold.use(3)
        assert not hold.use()
    assert fake.used == 10


def test_little_credit_grants_little(fake: Fake) -> None:
    fake.limit = Decimal(6)
    with Taximeter(fake.url) as meter, meter.reserve("acme", "chat", up_to=10) as hold:
        assert hold.granted == 6
        assert not hold.use(7)
        assert hold.use(6)
        # A part was granted because there is no more: nobody is asked for it again.
        assert not fake.seen(f"/v1/reservations/{hold.id}/extend")
    assert fake.used == 6


def test_nothing_to_reserve_is_over_limit(fake: Fake) -> None:
    fake.limit = Decimal(0)
    with (
        Taximeter(fake.url) as meter,
        pytest.raises(OverLimit) as refused,
        meter.reserve("acme", "chat", up_to=10),
    ):
        raise AssertionError
    assert refused.value.status == 403
    assert refused.value.decision.reason == "limit_reached"


def test_all_or_nothing_on_demand(fake: Fake) -> None:
    fake.limit = Decimal(6)
    with (
        Taximeter(fake.url) as meter,
        pytest.raises(OverLimit),
        meter.reserve("acme", "chat", up_to=10, allow_partial=False),
    ):
        raise AssertionError


def test_an_unused_hold_is_released(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=10) as hold:
            pass
        assert hold.settled
    assert fake.seen(f"/v1/reservations/{hold.id}/release") == [{}]
    assert fake.left() == 1000


def test_an_exception_inside_still_settles_what_was_used(fake: Fake) -> None:
    def story(meter: Taximeter) -> None:
        with meter.reserve("acme", "chat", up_to=10) as hold:
            hold.use(4)
            raise KeyError

    with Taximeter(fake.url) as meter, pytest.raises(KeyError):
        story(meter)
    assert fake.used == 4


def test_blocks_are_reserved_ahead_of_need_up_to_the_cap(fake: Fake) -> None:
    with (
        Taximeter(fake.url) as meter,
        meter.reserve("acme", "chat", up_to=100, block=20) as hold,
    ):
        assert hold.granted == 20
        used = 0
        while hold.use():
            used += 1
        assert used == 100
        assert hold.granted == 100
    assert fake.used == 100
    assert len(fake.seen(f"/v1/reservations/{hold.id}/extend")) == 4


def test_blocks_end_where_the_credit_ends(fake: Fake) -> None:
    fake.limit = Decimal(33)
    with (
        Taximeter(fake.url) as meter,
        meter.reserve("acme", "chat", up_to=100, block=10) as hold,
    ):
        assert sum(hold.use() for _ in range(100)) == 33
    assert fake.used == 33


def test_one_step_larger_than_a_block_fetches_enough(fake: Fake) -> None:
    with (
        Taximeter(fake.url) as meter,
        meter.reserve("acme", "chat", up_to=100, block=10) as hold,
    ):
        assert hold.use(35)
        assert not hold.use(70)
    assert fake.used == 35


def test_what_has_happened_already_is_recorded_past_the_cap(fake: Fake) -> None:
    with Taximeter(fake.url) as meter, meter.reserve("acme", "chat", up_to=10) as hold:
        hold.record(15)
        assert not hold.use()
    assert fake.used == 15


def test_a_long_stream_keeps_its_reservation_alive(fake: Fake) -> None:
    with (
        Taximeter(fake.url) as meter,
        meter.reserve("acme", "chat", up_to=10, ttl=0.8) as hold,
    ):
        hold.use(4)
        time.sleep(1.6)
        assert fake.slots[hold.id].expires > time.time()
        assert hold.granted == 10
        assert hold.use(6)
    assert hold.settled
    assert fake.used == 10


def test_a_settlement_whose_answer_got_lost_is_settled_once(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=10) as hold:
            hold.use(4)
            fake.next(lost)
        assert hold.balance_after == 996
    assert fake.used == 4


def test_a_settlement_that_cannot_be_told_is_delivered_later(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=10) as hold:
            hold.use(4)
            fake.away = True
        assert (hold.settled, hold.balance_after) == (False, None)
        fake.away = False
        assert meter.flush(60)
        assert meter.stats.settled == 1
        assert adds_up(meter.stats)
    assert fake.used == 4
    assert fake.left() == 996


def test_usage_of_a_reservation_that_lapsed_counts_as_an_event(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=10, data={"model": "opus"}) as hold:
            hold.use(4)
            fake.slots[hold.id].expires = 0
        assert meter.flush(60)
        assert adds_up(meter.stats)
    event = fake.events["taximeter/lapsed", hold.id]
    assert event["data"] == {"model": "opus", "tokens": 4}
    assert fake.used == 4


def test_while_the_server_is_away_only_an_open_feature_is_held(fake: Fake) -> None:
    fake.away = True
    with Taximeter(fake.url, fail={"free": "open"}, timeout=0.5) as meter:
        with pytest.raises(Unavailable), meter.reserve("acme", "chat", up_to=10):
            raise AssertionError
        with meter.reserve("acme", "free", up_to=10) as hold:
            assert hold.decision.decided_by == "fail_open"
            assert hold.use(10)
            assert not hold.use()
        fake.away = False
        assert meter.flush(60)
    assert fake.used == 10


def test_a_stream_is_cut_at_its_block_when_the_server_goes_away(fake: Fake) -> None:
    with (
        Taximeter(fake.url, timeout=0.3) as meter,
        meter.reserve("acme", "chat", up_to=100, block=10) as hold,
    ):
        fake.away = True
        assert sum(hold.use() for _ in range(100)) == 10
        fake.away = False
    assert fake.used == 10


def test_a_server_that_is_back_in_time_is_not_noticed(fake: Fake) -> None:
    with (
        Taximeter(fake.url, timeout=0.3) as meter,
        meter.reserve("acme", "chat", up_to=30, block=10) as hold,
    ):
        fake.away = True
        assert all(hold.use() for _ in range(8))
        until(lambda: not hold.is_extending)
        fake.away = False
        time.sleep(0.6)
        assert sum(hold.use() for _ in range(30)) == 22
    assert fake.used == 30


def test_an_open_feature_streams_on_when_the_server_goes_away(fake: Fake) -> None:
    with Taximeter(fake.url, timeout=0.3, fail="open") as meter:
        with meter.reserve("acme", "chat", up_to=30, block=10) as hold:
            fake.away = True
            assert sum(hold.use() for _ in range(50)) == 30
            fake.away = False
        meter.flush(60)
    assert fake.used == 30


def test_opening_is_retried_with_the_same_identity(fake: Fake) -> None:
    fake.next(lost)
    with Taximeter(fake.url) as meter, meter.reserve("acme", "chat", up_to=10, id="h1") as hold:
        assert hold.id == "h1"
    assert len(fake.slots) == 1


@pytest.mark.parametrize("block", [0, 11])
def test_a_block_must_fit(block: int) -> None:
    meter = Taximeter("http://127.0.0.1:9")
    with pytest.raises(ValueError), meter.reserve("acme", "chat", up_to=10, block=block):
        raise AssertionError


def test_in_asyncio_a_hold_waits_for_its_next_block(fake: Fake) -> None:
    async def story() -> None:
        async with AsyncTaximeter(fake.url) as meter:
            async with meter.reserve("acme", "chat", up_to=100, block=20) as hold:
                used = 0
                while await hold.take():
                    used += 1
                assert used == 100
            assert hold.settled
            assert hold.balance_after == 900

    asyncio.run(story())


def test_in_asyncio_use_never_waits(fake: Fake) -> None:
    async def story() -> None:
        async with (
            AsyncTaximeter(fake.url) as meter,
            meter.reserve("acme", "chat", up_to=100, block=10) as hold,
        ):
            fake.next(dropped, dropped)
            assert sum(hold.use() for _ in range(20)) == 10

    asyncio.run(story())
    assert fake.used == 10


def test_a_cancelled_task_settles_what_it_used(fake: Fake) -> None:
    async def story() -> None:
        async with AsyncTaximeter(fake.url) as meter:

            async def stream() -> None:
                async with meter.reserve("acme", "chat", up_to=100) as hold:
                    hold.use(9)
                    await asyncio.sleep(30)

            task = asyncio.create_task(stream())
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    until(lambda: fake.used == 9)


def test_a_forked_child_leaves_the_hold_to_its_parent(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        with meter.reserve("acme", "chat", up_to=10) as hold:
            hold.use(4)
            child = os.fork()
            if not child:
                status_code = 0
                try:
                    assert not hold.use()
                    meter._end(hold)
                except BaseException:
                    status_code = 1
                os._exit(status_code)
            assert os.waitpid(child, 0)[1] == 0
            assert fake.slots[hold.id].resolved == ""
        assert hold.settled
    assert fake.used == 4


def test_an_overloaded_server_is_asked_once_more(fake: Fake) -> None:
    fake.next(status(429))
    with Taximeter(fake.url) as meter, meter.reserve("acme", "chat", up_to=10) as hold:
        assert hold
