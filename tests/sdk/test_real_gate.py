"""
The gate of the real server through the SDK: credits, holds, leases, scopes, live updates.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.sdk.test_track import adds_up, until
from tests.serving import Served, serve

from taximeter_sdk import AsyncTaximeter, OverLimit, Rejected, Taximeter, Update

CATALOG: dict[str, Any] = {
    "scopes": [{"user": "data.user_id"}],
    "meters": {
        "tokens": {
            "event_type": "llm.request",
            "aggregation": "sum",
            "value": "data.tokens",
            "dimensions": {"model": "data.model"},
        },
        "images": {"event_type": "image.created", "aggregation": "count"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens", "fail": "open"},
        "image": {"type": "metered", "meter": "images"},
        "export": {"type": "boolean"},
    },
    "credits": {"usd": {}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {
                "chat": {"limit": 1000, "enforcement": "hard", "reset": "period"},
                "image": {"credit": "usd", "cost": "0.02"},
                "export": True,
            },
            "prices": {},
        }
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("gate"), "--dev") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server).open(CATALOG)
    scene.ask(
        "POST",
        "/v1/customers/acme/grants",
        {"id": "g1", "credit": "usd", "amount": "1.00"},
        status=201,
    )
    return scene


@pytest.fixture
def meter(scene: Scene) -> Iterator[Taximeter]:
    key = scene.new_key("ingest", "check", "read")
    with Taximeter(scene.server.url, key, linger=0.02) as meter:
        yield meter


def test_a_refusal_says_what_is_left_when_it_resets_and_what_would_help(meter: Taximeter) -> None:
    decision = meter.check("acme", "chat", 1001)
    assert not decision
    assert decision.reason == "limit_reached"
    assert decision.left == 1000
    assert decision.resets_at is not None
    assert decision.retry_after is not None
    assert "1000" in decision.sentence()


def test_what_consume_and_track_count_is_one_usage(meter: Taximeter, scene: Scene) -> None:
    assert meter.consume("acme", "chat", 30, id="r1").seq
    assert meter.consume("acme", "chat", 30, id="r1").seq
    meter.track("acme", feature="chat", amount="2.5", scope={"user": "u7"})
    meter.track("acme", "llm.request", tokens=7)
    assert meter.flush()
    assert meter.check("acme", "chat").used == Decimal("39.5")
    with pytest.raises(Rejected) as wrong:
        meter.consume("acme", "chat", 31, id="r1")
    assert wrong.value.code == "event_conflict"


def test_a_hold_is_settled_as_usage_with_its_dimensions(meter: Taximeter, scene: Scene) -> None:
    with meter.reserve("acme", "chat", up_to=500, data={"model": "opus"}) as hold:
        assert hold.granted == 500
        assert meter.check("acme", "chat").reserved == 500
        assert hold.use(120)
    assert hold.settled
    decision = meter.check("acme", "chat")
    assert (decision.used, decision.reserved, decision.left) == (120, 0, 880)
    (item,) = scene.usage(group_by="model")["items"]
    assert (item["group"], item["value"]) == ({"model": "opus"}, "120")


def test_a_stream_in_blocks_is_cut_where_the_limit_is(meter: Taximeter) -> None:
    meter.consume("acme", "chat", 900)
    with meter.reserve("acme", "chat", up_to=500, block=30) as hold:
        used = 0
        while hold.use():
            used += 1
    assert used == 100
    assert meter.check("acme", "chat").used == 1000
    with pytest.raises(OverLimit) as refused, meter.reserve("acme", "chat", up_to=10):
        raise AssertionError
    assert refused.value.decision.reason == "limit_reached"
    assert refused.value.status == 403


def test_credit_pays_for_what_was_used_of_a_hold(meter: Taximeter) -> None:
    with meter.reserve("acme", "image", up_to=80) as hold:
        assert hold.granted == 50
        assert meter.balance("acme", "usd") == 0
        assert hold.use(10)
    assert hold.balance_after == Decimal("0.80")
    assert meter.balance("acme", "usd") == Decimal("0.80")
    meter.track("acme", feature="image", amount=5)
    assert meter.flush()
    assert meter.balance("acme", "usd") == Decimal("0.70")


def test_without_credit_a_hold_is_refused_with_402(meter: Taximeter) -> None:
    with meter.reserve("acme", "image", up_to=50) as hold:
        assert hold.use(50)
    with pytest.raises(OverLimit) as refused, meter.reserve("acme", "image", up_to=1):
        raise AssertionError
    assert (refused.value.status, refused.value.code) == (402, "insufficient_credit")


def test_a_settlement_delivered_later_counts_the_same(
    meter: Taximeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with meter.reserve("acme", "chat", up_to=100) as hold:
        hold.use(40)
        hold.record(70)
        monkeypatch.setattr(meter._engine.breaker, "is_open", lambda now: True)
    assert not hold.settled
    assert meter.flush()
    monkeypatch.undo()
    assert meter.stats.settled == 1
    assert meter.check("acme", "chat").used == 110


def test_usage_of_a_lapsed_hold_is_counted(meter: Taximeter) -> None:
    with meter.reserve("acme", "chat", up_to=100) as hold:
        hold.use(40)
        # Somebody resolved it: what was used is settled there, not here.
        meter._engine.ask(hold.last_call(hold.settlement()))
    assert meter.check("acme", "chat").used == 40
    with meter.reserve("acme", "chat", up_to=100, ttl=1) as hold:
        hold._renew_at = float("inf")
        hold.use(40)
        threading.Event().wait(1.2)
    assert meter.flush()
    assert adds_up(meter.stats)
    decision = meter.check("acme", "chat")
    assert (decision.used, decision.reserved) == (80, 0)


def test_a_leased_slice_is_reserved_drawn_on_and_given_back(meter: Taximeter) -> None:
    lease = meter.lease("acme", "chat", 100)
    assert meter.consume("acme", "chat", 30).decided_by == "lease"
    assert meter.check("acme", "chat").overshoot_bound == 100
    assert meter.flush()
    asked = meter.check("acme", "chat", 500)
    assert asked.decided_by == "server"
    assert (asked.used, asked.reserved) == (30, 70)
    lease.close()
    asked = meter.check("acme", "chat")
    assert (asked.used, asked.reserved, asked.left) == (30, 0, 970)


def test_leases_of_several_meters_never_pass_a_hard_limit_together(scene: Scene) -> None:
    """1,000 tokens, three processes' worth of meters, each in its own slices: exactly 1,000."""
    meters = [
        Taximeter(scene.server.url, scene.key, lease={"chat": 50}, linger=0.01, fail="closed")
        for _ in range(3)
    ]
    allowed = [0] * len(meters)

    def work(place: int) -> None:
        refused = 0
        while refused < 100:
            if meters[place].consume("acme", "chat", 1):
                allowed[place] += 1
                refused = 0
            else:
                refused += 1
                threading.Event().wait(0.01)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for meter in meters:
        assert meter.close()
        assert adds_up(meter.stats)
    assert int(scene.check()["used"]) == sum(allowed)
    assert sum(allowed) <= 1000
    assert sum(allowed) > 500, "slices that are held elsewhere come back only so soon"
    assert scene.check()["reserved"] == "0"


def test_a_feature_paid_by_credit_can_be_leased(meter: Taximeter) -> None:
    meter.lease("acme", "image", 20)
    assert meter.balance("acme", "usd") == Decimal("0.60")
    assert meter.consume("acme", "image", 5).decided_by == "lease"
    assert meter.flush()
    meter.close()


def test_the_fail_policy_is_learned_from_the_catalogue(scene: Scene) -> None:
    meter = Taximeter(scene.server.url, scene.key, timeout=0.3)
    assert meter.check("acme", "chat")
    until(lambda: meter._engine.catalogue.fail_of("chat") == "open")
    assert meter._engine.catalogue.fail_of("image") == "closed"
    meter.close()


def test_entitlements_have_live_numbers(meter: Taximeter) -> None:
    meter.consume("acme", "chat", 10)
    found = meter.entitlements("acme")
    assert found["chat"].left == 990
    assert found["export"]
    assert found["export"].reason == "enabled"


def test_live_updates_come_as_usage_happens(meter: Taximeter) -> None:
    seen: list[Update] = []
    watch = meter.watch("acme", on_update=seen.append)
    until(lambda: seen)
    assert seen[0].entitlements["chat"].used == 0
    meter.track("acme", "llm.request", tokens=7)
    until(lambda: any(u.entitlements and u.entitlements["chat"].used == 7 for u in seen))
    watch.close()


def test_live_updates_can_be_followed_in_asyncio(scene: Scene) -> None:
    async def story() -> None:
        async with AsyncTaximeter(scene.server.url, scene.key) as meter:
            watch = meter.watch("acme")
            async for update in watch:
                if not update.entitlements:
                    continue
                used = update.entitlements["chat"].used
                if used == 9:
                    break
                await meter.consume("acme", "chat", 9, id="r1")
            watch.close()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_an_unknown_customer_has_no_stream(meter: Taximeter) -> None:
    with pytest.raises(Rejected):
        next(iter(meter.watch("nobody")))


def test_asyncio_streams_through_a_hold(scene: Scene) -> None:
    async def story() -> None:
        async with AsyncTaximeter(scene.server.url, scene.key) as meter:
            async with meter.reserve("acme", "chat", up_to=2000, block=100) as hold:
                used = 0
                while await hold.take():
                    used += 1
            assert used == 1000
            assert hold.settled

    asyncio.run(story())
    assert scene.check()["used"] == "1000"
